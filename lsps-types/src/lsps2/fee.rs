//! The opening fee, and its split over the parts of a payment.

use alloc::vec::Vec;

use crate::units::{Msat, Ppm};

/// Opening fee, in millisatoshis, on a first payment of `size`.
///
/// `max(min_fee, ceil(size × proportional / 1_000_000))` in `u64`. Each step is checked, the rounding addition too: both
/// sides must fail on the same inputs. `None` on overflow; a service answers `payment_size_too_large`.
///
/// Spec: LSPS2 §1 "Computing the `opening_fee`". Its prose divides by `10000000`, its two reference routines by
/// `1000000`; we follow the routines.
///
/// ```
/// # use lsps_types::{lsps2::fee::opening_fee, Msat, Ppm};
/// assert_eq!(opening_fee(Msat(42_000_001), Msat(1_000), Ppm(1_200)), Some(Msat(50_401)));
/// ```
#[must_use]
pub fn opening_fee(size: Msat, min_fee: Msat, proportional: Ppm) -> Option<Msat> {
    let scaled = size.0.checked_mul(u64::from(proportional.0))?;
    let fee = scaled.checked_add(999_999)? / 1_000_000;
    Some(Msat(fee.max(min_fee.0)))
}

/// What each part of a payment gives towards `fee`, in the order of `parts`.
///
/// Greedy: each part gives all it can while keeping `htlc_minimum` (and at least 1 msat), until the fee is covered. The
/// sum is exactly `fee`. `None` if the parts cannot carry it; then the payment fails before a channel is opened.
///
/// Spec: LSPS2 §3 "Forwarding The Payment Parts".
#[must_use]
pub fn split(fee: Msat, parts: &[Msat], htlc_minimum: Msat) -> Option<Vec<Msat>> {
    let keep = htlc_minimum.max(Msat(1));
    let mut left = fee;
    let mut shares = Vec::with_capacity(parts.len());
    for part in parts {
        let share = part.checked_sub(keep)?.min(left);
        left = left.checked_sub(share)?;
        shares.push(share);
    }
    (left == Msat::ZERO).then_some(shares)
}

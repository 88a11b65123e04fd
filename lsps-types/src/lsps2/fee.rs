//! The opening fee, and its distribution over the parts of a payment.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::codes::BuyError;
use crate::units::{Msat, Ppm};

/// Terms that decide the price of a JIT channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeTerms {
    /// Least opening fee.
    pub min_fee: Msat,
    /// Opening fee as a share of the first payment.
    pub proportional: Ppm,
    /// Smallest payment, inclusive.
    pub min_payment_size: Msat,
    /// Largest payment, inclusive.
    pub max_payment_size: Msat,
}

impl FeeTerms {
    /// Opening fee on a payment whose size was agreed in [`Buy`](super::Buy).
    ///
    /// # Errors
    ///
    /// The size is out of bounds, the fee overflows, or the fee leaves nothing of the payment. Spec: LSPS2 §2; reading
    /// R-21.
    pub fn fee_on(&self, size: Msat) -> Result<Msat, BuyError> {
        if size < self.min_payment_size {
            return Err(BuyError::PaymentSizeTooSmall);
        }
        if size > self.max_payment_size {
            return Err(BuyError::PaymentSizeTooLarge);
        }
        let fee = opening_fee(size, self.min_fee, self.proportional).ok_or(BuyError::PaymentSizeTooLarge)?;
        if fee < size { Ok(fee) } else { Err(BuyError::PaymentSizeTooSmall) }
    }

    /// Opening fee on a single-part payment whose size was not agreed; `None` if the part cannot pay the fee and still
    /// be forwarded. Spec: LSPS2 §3, "no-MPP+var-invoice".
    #[must_use]
    pub fn fee_on_single_part(&self, amount: Msat, htlc_minimum: Msat) -> Option<Msat> {
        let within = self.min_payment_size <= amount && amount <= self.max_payment_size;
        let fee = opening_fee(amount, self.min_fee, self.proportional).filter(|_| within)?;
        let needed = fee.checked_add(htlc_minimum.max(Msat(1)))?;
        (needed <= amount).then_some(fee)
    }
}

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

/// Splits `fee` over the parts of a payment; the result has the order of `parts`.
///
/// The share of a part is proportional to its amount above `htlc_minimum` (at least 1 msat), up to 1 msat more or less.
/// So a client that claims only some of the parts pays their share of the fee. The sum is exactly `fee`. The result is
/// `None` if the parts cannot pay the fee, or on overflow; then the payment fails before a channel is opened.
///
/// Spec: LSPS2 §3 "Forwarding The Payment Parts".
#[must_use]
pub fn split(fee: Msat, parts: &[Msat], htlc_minimum: Msat) -> Option<Vec<Msat>> {
    let keep = htlc_minimum.max(Msat(1));
    let spare = parts.iter().map(|part| part.checked_sub(keep)).collect::<Option<Vec<Msat>>>()?;
    let all = Msat::checked_sum(spare.iter().copied()).filter(|all| *all >= fee)?;
    // The shares of the parts so far add up to their proportion, rounded down, so no part pays more than it can spare.
    let (mut sum, mut given) = (0_u64, 0_u64);
    let share = |spare: Msat| {
        sum = sum.checked_add(spare.0)?;
        let give = u128::from(fee.0).saturating_mul(sum.into()).checked_div(all.0.into()).unwrap_or_default();
        let share = u64::try_from(give).ok()?.checked_sub(given)?;
        given = given.checked_add(share)?;
        Some(Msat(share))
    };
    spare.into_iter().map(share).collect()
}

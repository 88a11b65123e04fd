//! Choice of the terms of a menu.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt, time::Duration};

use lsps_types::{
    Blocks, Msat, Ppm, Timestamp,
    lsps2::{Buy, Menu, OpeningFeeParams, fee::opening_fee},
};

use super::{Rules, judge::within_share};

/// Request for a JIT channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveRequest {
    /// Payment to receive.
    pub payment: Payment,
    /// Limits of the opening fee.
    pub limits: FeeLimits,
    /// Time for which the invoice has to be valid. Terms that are valid as long are preferred to cheaper ones; `None`:
    /// any do.
    pub expiry: Option<Duration>,
}

/// Payment to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// The invoice names the amount; the payer may split it.
    Fixed(Msat),
    /// The invoice leaves the amount to the payer, who must send it in one part.
    Variable {
        /// Amount at which prices are compared and checked against the limits. The payment may have another.
        expected: Msat,
    },
}

impl Payment {
    /// Amount at which prices are compared.
    #[must_use]
    pub fn size(self) -> Msat {
        match self {
            Self::Fixed(size) | Self::Variable { expected: size } => size,
        }
    }
}

/// Limits of the cost of a channel; `None` sets no limit. There is no default: an application that wants no limit uses
/// [`FeeLimits::UNLIMITED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeLimits {
    /// Largest fee.
    pub max_total_fee: Option<Msat>,
    /// Largest fee as a share of the payment.
    pub max_proportional_fee: Option<Ppm>,
}

impl FeeLimits {
    /// No limit, as long as something of the payment is left. For tests, and for applications that ask their user about
    /// the fee.
    pub const UNLIMITED: Self = Self { max_total_fee: None, max_proportional_fee: None };

    /// Limits the fee to this amount.
    #[must_use]
    pub fn total(most: Msat) -> Self {
        Self { max_total_fee: Some(most), ..Self::UNLIMITED }
    }

    /// Limits the fee to this share of the payment.
    #[must_use]
    pub fn share(most: Ppm) -> Self {
        Self { max_proportional_fee: Some(most), ..Self::UNLIMITED }
    }
}

/// The chosen terms, and their price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Terms as the menu had them.
    pub params: OpeningFeeParams,
    /// Payment for which they were chosen.
    pub payment: Payment,
    /// Opening fee at [`Payment::size`].
    pub fee: Msat,
    /// Whether the terms are valid for [`ReceiveRequest::expiry`]; otherwise the invoice expires sooner.
    pub lasts: bool,
}

impl Choice {
    /// The `lsps2.buy` request for these terms. The size is included only if the invoice will name an amount.
    ///
    /// Spec: LSPS2 §2.
    #[must_use]
    pub fn buy(&self) -> Buy {
        let payment_size_msat = match self.payment {
            Payment::Fixed(size) => Some(size),
            Payment::Variable { .. } => None,
        };
        Buy { opening_fee_params: self.params.clone(), payment_size_msat }
    }
}

/// Chooses the cheapest terms that fit `request`: among those that are valid as long as it asks for, or else among all.
/// Of equally cheap terms it takes those valid longest, then the first.
///
/// The order of the entries does not matter: LSPs should sort their menus, but deployed ones do not always.
///
/// Spec: LSPS2 §1 "Computing the `opening_fee`", and the client's duty to judge the fee before buying.
///
/// # Errors
///
/// [`NoOffer`] has the reason for each entry, in the order of the menu.
pub fn choose(menu: &Menu, request: &ReceiveRequest, rules: &Rules, now: Timestamp) -> Result<Choice, NoOffer> {
    let mut reasons = Vec::new();
    let mut best: Option<Choice> = None;
    for params in &menu.opening_fee_params_menu {
        match price(params, request, rules, now) {
            Err(unfit) => reasons.push(unfit),
            Ok(fee) => {
                let rank = |choice: &Choice| (!choice.lasts, choice.fee, Reverse(choice.params.valid_until.instant()));
                let lasts = request.expiry.is_none_or(|expiry| now + expiry <= params.valid_until.instant());
                let choice = Choice { params: params.clone(), payment: request.payment, fee, lasts };
                if best.as_ref().is_none_or(|best| rank(&choice) < rank(best)) {
                    best = Some(choice);
                }
            }
        }
    }
    best.ok_or(NoOffer { reasons })
}

/// The opening fee of one entry, if the entry is consistent and fits.
fn price(params: &OpeningFeeParams, request: &ReceiveRequest, rules: &Rules, now: Timestamp) -> Result<Msat, Unfit> {
    let (size, min, max) = (request.payment.size(), params.min_payment_size_msat, params.max_payment_size_msat);
    if params.valid_until.instant() < now + rules.min_validity {
        return Err(Unfit::ExpiresTooSoon);
    }
    if min > max {
        return Err(Unfit::EmptyRange);
    }
    if size < min {
        return Err(Unfit::PaymentTooSmall { min });
    }
    if size > max {
        return Err(Unfit::PaymentTooLarge { max });
    }
    let max_delay = Blocks(params.max_client_to_self_delay);
    if max_delay < rules.to_self_delay {
        return Err(Unfit::SelfDelayTooShort { max: max_delay });
    }
    let fee = opening_fee(size, params.min_fee_msat, params.proportional).ok_or(Unfit::FeeOverflow)?;
    if fee >= size {
        return Err(Unfit::FeeSwallowsPayment { fee });
    }
    let net = Msat(size.0.saturating_sub(fee.0));
    if net < rules.least_net {
        return Err(Unfit::LeavesTooLittle { net, least: rules.least_net });
    }
    if request.limits.max_total_fee.is_some_and(|limit| fee > limit) {
        return Err(Unfit::FeeAboveLimit { fee });
    }
    if request.limits.max_proportional_fee.is_some_and(|limit| !within_share(fee, size, limit)) {
        return Err(Unfit::FeeAboveShare { fee });
    }
    Ok(fee)
}

/// Error: no entry of the menu fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoOffer {
    /// Reason for each entry; empty if the LSP offers no JIT channels now.
    pub reasons: Vec<Unfit>,
}

impl core::error::Error for NoOffer {}

impl fmt::Display for NoOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reasons.is_empty() {
            return f.write_str("the LSP offers no channels now");
        }
        f.write_str("none of the LSP's offers will do: ")?;
        for (n, reason) in self.reasons.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{reason}")?;
        }
        Ok(())
    }
}

/// Reason for which an entry of the menu does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The terms have expired, or nearly so.
    #[error("expires too soon")]
    ExpiresTooSoon,
    /// The smallest payment is above the largest.
    #[error("takes no payment at all")]
    EmptyRange,
    /// The payment is below the minimum.
    #[error("takes payments from {min} only")]
    PaymentTooSmall {
        /// Smallest payment.
        min: Msat,
    },
    /// The payment is above the maximum.
    #[error("takes payments up to {max} only")]
    PaymentTooLarge {
        /// Largest payment.
        max: Msat,
    },
    /// The largest allowed `to_self_delay` is below the one that the wallet wants, which is its time to punish a
    /// revoked state.
    #[error("lets us ask for a delay of {} blocks at most", max.0)]
    SelfDelayTooShort {
        /// Largest `to_self_delay` allowed.
        max: Blocks,
    },
    /// The fee overflows 64 bits.
    #[error("its fee is absurd")]
    FeeOverflow,
    /// The fee leaves nothing of the payment.
    #[error("its fee of {fee} leaves nothing of the payment")]
    FeeSwallowsPayment {
        /// Opening fee.
        fee: Msat,
    },
    /// The fee leaves less than [`Rules::least_net`].
    #[error("its fee leaves {net} of the payment, and at least {least} are wanted")]
    LeavesTooLittle {
        /// Amount that would be left.
        net: Msat,
        /// Least amount that has to be left.
        least: Msat,
    },
    /// The fee is above [`FeeLimits::max_total_fee`].
    #[error("its fee of {fee} is above the limit")]
    FeeAboveLimit {
        /// Opening fee.
        fee: Msat,
    },
    /// The fee is above [`FeeLimits::max_proportional_fee`].
    #[error("its fee of {fee} is too large a share of the payment")]
    FeeAboveShare {
        /// Opening fee.
        fee: Msat,
    },
}

//! Which terms of a menu to buy on.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt, time::Duration};

use lsps_types::{
    Blocks, Msat, Ppm, Timestamp,
    lsps2::{Buy, Menu, OpeningFeeParams, fee::opening_fee},
};

use super::{Rules, judge::within_share};

/// What is wanted of an LSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The payment to come.
    pub payment: Payment,
    /// What it may cost.
    pub limits: FeeLimits,
    /// How long the invoice is to stand. Terms that last as long are preferred to cheaper ones that do not; `None`: any do.
    pub expiry: Option<Duration>,
}

/// The payment to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// The invoice names the amount; the payer may split it.
    Fixed(Msat),
    /// The invoice leaves the amount to the payer, who must send it in one piece.
    Variable {
        /// The size at which prices are compared and held against the limits. What arrives may be another.
        expected: Msat,
    },
}

impl Payment {
    /// The size at which prices are compared.
    #[must_use]
    pub fn size(self) -> Msat {
        match self {
            Self::Fixed(size) | Self::Variable { expected: size } => size,
        }
    }
}

/// Limits of the cost of an opening; `None` sets no limit. There is no default: an application that wants no limit says
/// [`FeeLimits::UNLIMITED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeLimits {
    /// The most in all.
    pub max_total_fee: Option<Msat>,
    /// The most as a share of the payment.
    pub max_proportional_fee: Option<Ppm>,
}

impl FeeLimits {
    /// Any fee that leaves something of the payment. For tests, and for applications that ask their user about the fee.
    pub const UNLIMITED: Self = Self { max_total_fee: None, max_proportional_fee: None };

    /// No more than this in all.
    #[must_use]
    pub fn total(most: Msat) -> Self {
        Self { max_total_fee: Some(most), ..Self::UNLIMITED }
    }

    /// No more than this share of the payment.
    #[must_use]
    pub fn share(most: Ppm) -> Self {
        Self { max_proportional_fee: Some(most), ..Self::UNLIMITED }
    }
}

/// The terms that won, and what they cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As the menu had them.
    pub params: OpeningFeeParams,
    /// The payment they were chosen for.
    pub payment: Payment,
    /// The opening fee at [`Payment::size`].
    pub fee: Msat,
    /// Whether the terms last for [`Want::expiry`]; else the invoice ends sooner.
    pub lasts: bool,
}

impl Choice {
    /// The request that buys it: the terms are echoed, the size only given when the invoice will name it.
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

/// The cheapest terms that fit `want`, of those that last as long as it wants, or else of all; of equally cheap ones those
/// valid longest, then the first.
///
/// Entries are taken in any order: LSPs should sort their menus, deployed ones do not always.
///
/// Spec: LSPS2 §1 "Computing the `opening_fee`", and the client's duty to judge the fee before buying.
///
/// # Errors
///
/// [`NoOffer`] with the reason for each entry, in the order of the menu.
pub fn choose(menu: &Menu, want: &Want, rules: &Rules, now: Timestamp) -> Result<Choice, NoOffer> {
    let mut reasons = Vec::new();
    let mut best: Option<Choice> = None;
    for params in &menu.opening_fee_params_menu {
        match price(params, want, rules, now) {
            Err(unfit) => reasons.push(unfit),
            Ok(fee) => {
                let rank = |choice: &Choice| (!choice.lasts, choice.fee, Reverse(choice.params.valid_until.instant()));
                let lasts = want.expiry.is_none_or(|expiry| now + expiry <= params.valid_until.instant());
                let choice = Choice { params: params.clone(), payment: want.payment, fee, lasts };
                if best.as_ref().is_none_or(|best| rank(&choice) < rank(best)) {
                    best = Some(choice);
                }
            }
        }
    }
    best.ok_or(NoOffer { reasons })
}

/// The opening fee of one entry, if the entry makes sense and fits.
fn price(params: &OpeningFeeParams, want: &Want, rules: &Rules, now: Timestamp) -> Result<Msat, Unfit> {
    let (size, min, max) = (want.payment.size(), params.min_payment_size_msat, params.max_payment_size_msat);
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
    if want.limits.max_total_fee.is_some_and(|limit| fee > limit) {
        return Err(Unfit::FeeAboveLimit { fee });
    }
    if want.limits.max_proportional_fee.is_some_and(|limit| !within_share(fee, size, limit)) {
        return Err(Unfit::FeeAboveShare { fee });
    }
    Ok(fee)
}

/// No entry of the menu will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoOffer {
    /// Why not, entry by entry; empty if the LSP offers no JIT channels now.
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

/// Why an entry of the menu will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Expired, or nearly so.
    #[error("expires too soon")]
    ExpiresTooSoon,
    /// Its least payment is above its largest.
    #[error("takes no payment at all")]
    EmptyRange,
    /// The payment is below what the entry takes.
    #[error("takes payments from {min} only")]
    PaymentTooSmall {
        /// The least it takes.
        min: Msat,
    },
    /// The payment is above what the entry takes.
    #[error("takes payments up to {max} only")]
    PaymentTooLarge {
        /// The most it takes.
        max: Msat,
    },
    /// The wallet would have less time than it wants to punish a revoked state.
    #[error("lets us ask for a delay of {} blocks at most", max.0)]
    SelfDelayTooShort {
        /// The longest `to_self_delay` it allows.
        max: Blocks,
    },
    /// The fee cannot be computed in 64 bits.
    #[error("its fee is absurd")]
    FeeOverflow,
    /// Nothing would be left.
    #[error("its fee of {fee} leaves nothing of the payment")]
    FeeSwallowsPayment {
        /// The fee.
        fee: Msat,
    },
    /// Less would be left than [`Rules::least_net`].
    #[error("its fee leaves {net} of the payment, and at least {least} are wanted")]
    LeavesTooLittle {
        /// The amount that would be left.
        net: Msat,
        /// The least that has to be.
        least: Msat,
    },
    /// More than [`FeeLimits::max_total_fee`].
    #[error("its fee of {fee} is above the limit")]
    FeeAboveLimit {
        /// The fee.
        fee: Msat,
    },
    /// More than [`FeeLimits::max_proportional_fee`].
    #[error("its fee of {fee} is too large a share of the payment")]
    FeeAboveShare {
        /// The fee.
        fee: Msat,
    },
}

//! Checks of the amounts of a payment against the promise.

use lsps_types::{
    Blocks, Msat, Ppm,
    bolt4::decode_extra_fee,
    lsps2::{OpeningFeeParams, fee::opening_fee},
};
use serde::{Deserialize, Serialize};

/// Fee that an LSP may keep of a payment, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Promised {
    /// A fixed fee: the amount of the payment was known at the purchase.
    Fee(Msat),
    /// The fee by the formula for the amount that arrives.
    Rate {
        /// Minimum opening fee.
        min_fee: Msat,
        /// Fee as a share of the payment.
        proportional: Ppm,
    },
}

impl Promised {
    /// The promise of these terms for a payment of `size`, or of any size. `None` on overflow.
    #[must_use]
    pub fn by(params: &OpeningFeeParams, size: Option<Msat>) -> Option<Self> {
        let rate = Self::Rate { min_fee: params.min_fee_msat, proportional: params.proportional };
        match size {
            Some(size) => rate.on(size).map(Self::Fee),
            None => Some(rate),
        }
    }

    /// The fee on a payment of `gross`, the amount before the fee. `None` on overflow.
    ///
    /// Spec: LSPS2 §1 "Computing the `opening_fee`".
    #[must_use]
    pub fn on(self, gross: Msat) -> Option<Msat> {
        match self {
            Self::Fee(fee) => Some(fee),
            Self::Rate { min_fee, proportional } => opening_fee(gross, min_fee, proportional),
        }
    }
}

/// The promise for the payment of an outstanding purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Amount of the invoice, if it has one.
    pub amount: Option<Msat>,
    /// Fee that the LSP may keep.
    pub promised: Promised,
    /// Largest share of the payment that may be kept, regardless of the promise.
    pub max_share: Option<Ppm>,
    /// Least amount that has to arrive if a fee was kept.
    pub least_net: Msat,
}

/// A node's report of a payment that waits to be claimed or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Sums over a complete set of parts. The node checked each part and its TLV itself, as LDK does.
    Totals {
        /// Amount that arrived.
        received: Msat,
        /// Fee that was kept on the way, as announced in `extra_fee`.
        skimmed: Msat,
    },
    /// The parts so far, for a node that leaves the checks to this library.
    Parts(&'a [Part<'a>]),
}

/// An HTLC of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Amount to forward according to the onion.
    pub onion: Msat,
    /// Amount of the HTLC.
    pub amount: Msat,
    /// Value of TLV 65537 in `update_add_htlc`, if there is one.
    pub extra_fee: Option<&'a [u8]>,
}

/// Decision on the amounts of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The payment is as promised and may be claimed. Without a purchase: no fee was kept of it.
    Claim,
    /// Parts are still missing; the node's usual time-out for them applies.
    WaitForMore,
    /// All HTLCs of the payment have to be failed.
    Reject(Fault),
}

/// Reason to fail a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The fee that was kept is above the promise.
    #[error("{skimmed} kept, {promised} promised")]
    SkimAbovePromise {
        /// Sum kept over all parts.
        skimmed: Msat,
        /// Promised fee; zero if it was paid before.
        promised: Msat,
    },
    /// The fee that was kept is within the promise, but is a larger share of this payment than the wallet allows.
    #[error("{skimmed} kept of {gross}, which is too large a share")]
    SkimAboveShare {
        /// Sum kept over all parts.
        skimmed: Msat,
        /// Amount that arrived plus the fee that was kept.
        gross: Msat,
    },
    /// A fee was kept of a payment without a purchase.
    #[error("a fee was kept of a payment that opens no channel")]
    SkimWithoutPurchase,
    /// The payer sent less than the invoice asks for.
    #[error("{gross} paid, {wanted} wanted")]
    TooLittle {
        /// Amount that arrived plus the fee that was kept.
        gross: Msat,
        /// Amount of the invoice.
        wanted: Msat,
    },
    /// The fee leaves nothing of the payment.
    #[error("an opening fee of {fee} on a payment of {gross}")]
    FeeSwallowsPayment {
        /// Promised fee.
        fee: Msat,
        /// Amount that arrived plus the fee that was kept.
        gross: Msat,
    },
    /// The fee leaves less than the wallet's minimum.
    #[error("{received} of {gross} arrived, and at least {least} have to: the wallet's `least_net`")]
    LeavesTooLittle {
        /// Amount that arrived.
        received: Msat,
        /// Amount that arrived plus the fee that was kept.
        gross: Msat,
        /// Least amount that has to arrive.
        least: Msat,
    },
    /// The promised fee was kept, but the LSP has not opened a channel for it.
    #[error("{skimmed} kept for a channel that was not opened")]
    NoChannelOpened {
        /// Sum kept over all parts.
        skimmed: Msat,
    },
    /// The fee was kept by a peer that is not the LSP of the purchase.
    #[error("{skimmed} kept by a peer from which nothing was bought for this payment")]
    KeptByAnother {
        /// Sum kept over all parts.
        skimmed: Msat,
    },
    /// The payment arrived over a channel that its funder could still double-spend, and it cannot be held until that is
    /// confirmed.
    #[error("it came over a channel with {confirmations} confirmation(s), and {wanted} are waited for")]
    Unconfirmed {
        /// Confirmations of the channel's funding transaction.
        confirmations: u32,
        /// Confirmations that the wallet waits for.
        wanted: u16,
    },
    /// A channel over which a part of the payment arrived is closed, so that part cannot be claimed from its peer any
    /// more.
    #[error("a channel that it came over is closed; the payer has to pay again")]
    ChannelGone,
    /// The payment arrived over a channel whose funding transaction was never published, and it cannot be held until it
    /// is.
    #[error("it came over a channel whose funding transaction is not published")]
    Unpublished,
    /// An `extra_fee` is not eight bytes long.
    #[error("malformed extra fee")]
    MalformedExtraFee,
    /// The amount of a part is not the amount in its onion less its extra fee.
    #[error("a part does not carry what it says")]
    WrongPartAmount,
    /// A sum overflows 64 bits.
    #[error("absurd amounts")]
    Overflow,
}

/// Checks the amounts of a payment against its purchase, or as an ordinary payment (`None`).
///
/// The fee is checked on the gross amount, summed over all parts: the fee that was kept must not be above the promise,
/// and the amount that the payer sent must not be below the invoice. The node checks whether an ordinary payment is
/// large enough.
///
/// Spec: LSPS2 §3 "Forwarding The Payment Parts", bLIP-25.
#[must_use]
pub fn judge(expected: Option<&Expected>, received: &Received<'_>) -> Verdict {
    let weighed = Sums::of(received, expected.is_some()).and_then(|sums| match expected {
        Some(expected) => sums.against(expected),
        None if sums.skimmed == Msat::ZERO => Ok(Verdict::Claim),
        None => Err(Fault::SkimWithoutPurchase),
    });
    weighed.unwrap_or_else(Verdict::Reject)
}

/// Whether enough blocks are left to claim an HTLC. Its expiry is compared with the normal final delta, not with the
/// larger one in the invoice.
///
/// Spec: LSPS2 §2 "Invoice".
#[must_use]
pub fn enough_blocks_left(left: Blocks, normal_min_final_cltv_expiry_delta: u16) -> bool {
    left >= Blocks(u32::from(normal_min_final_cltv_expiry_delta))
}

/// Whether `fee` is at most this share of `size`. The computation cannot overflow.
pub(crate) fn within_share(fee: Msat, size: Msat, share: Ppm) -> bool {
    u128::from(fee.0) * MILLION <= u128::from(size.0) * u128::from(share.0)
}

/// Sums over the parts of a payment.
struct Sums {
    gross: Msat,
    skimmed: Msat,
    complete: bool,
}

impl Sums {
    fn of(received: &Received<'_>, bought: bool) -> Result<Self, Fault> {
        match received {
            Received::Totals { received, skimmed } => {
                let gross = received.checked_add(*skimmed).ok_or(Fault::Overflow)?;
                Ok(Self { gross, skimmed: *skimmed, complete: true })
            }
            Received::Parts(parts) => {
                let mut sums = Self { gross: Msat::ZERO, skimmed: Msat::ZERO, complete: false };
                for part in *parts {
                    let kept = part.kept(bought)?;
                    sums.gross = sums.gross.checked_add(part.onion).ok_or(Fault::Overflow)?;
                    sums.skimmed = sums.skimmed.checked_add(kept).ok_or(Fault::Overflow)?;
                }
                Ok(sums)
            }
        }
    }

    fn against(&self, expected: &Expected) -> Result<Verdict, Fault> {
        let (gross, skimmed) = (self.gross, self.skimmed);
        let promised = expected.promised.on(gross).ok_or(Fault::Overflow)?;
        if skimmed > promised {
            return Err(Fault::SkimAbovePromise { skimmed, promised });
        }
        if expected.max_share.is_some_and(|share| !within_share(skimmed, gross, share)) {
            return Err(Fault::SkimAboveShare { skimmed, gross });
        }
        match expected.amount {
            Some(wanted) if gross < wanted && self.complete => Err(Fault::TooLittle { gross, wanted }),
            Some(wanted) if gross < wanted => Ok(Verdict::WaitForMore),
            Some(_) => self.worth_it(expected.least_net),
            None if gross == Msat::ZERO => Ok(Verdict::WaitForMore),
            None if skimmed > Msat::ZERO && promised >= gross => {
                Err(Fault::FeeSwallowsPayment { fee: promised, gross })
            }
            None => self.worth_it(expected.least_net),
        }
    }
}

impl Sums {
    fn worth_it(&self, least: Msat) -> Result<Verdict, Fault> {
        let Self { gross, skimmed, .. } = *self;
        let received = gross.checked_sub(skimmed).ok_or(Fault::Overflow)?;
        if skimmed > Msat::ZERO && received < least {
            return Err(Fault::LeavesTooLittle { received, gross, least });
        }
        Ok(Verdict::Claim)
    }
}

impl Part<'_> {
    /// The fee that was kept of this part; an error if the part does not announce it, or announces another amount.
    fn kept(&self, bought: bool) -> Result<Msat, Fault> {
        let kept = match self.extra_fee {
            None => Msat::ZERO,
            Some(_) if !bought => return Err(Fault::SkimWithoutPurchase),
            Some(value) => decode_extra_fee(value).ok_or(Fault::MalformedExtraFee)?,
        };
        let due = self.onion.checked_sub(kept).ok_or(Fault::WrongPartAmount)?;
        if self.amount == due { Ok(kept) } else { Err(Fault::WrongPartAmount) }
    }
}

const MILLION: u128 = 1_000_000;

//! Whether what arrived is what was promised.

use lsps_types::{
    Blocks, Msat, Ppm,
    bolt4::decode_extra_fee,
    lsps2::{OpeningFeeParams, fee::opening_fee},
};
use serde::{Deserialize, Serialize};

/// What an LSP may keep of a payment, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Promised {
    /// This much: the payment's size was known at the purchase.
    Fee(Msat),
    /// What the formula gives for the payment that comes.
    Rate {
        /// The least.
        min_fee: Msat,
        /// The share of the payment.
        proportional: Ppm,
    },
}

impl Promised {
    /// The promise that terms make for a payment of `size`, or for one of any size. `None` on overflow.
    #[must_use]
    pub fn by(params: &OpeningFeeParams, size: Option<Msat>) -> Option<Self> {
        let rate = Self::Rate { min_fee: params.min_fee_msat, proportional: params.proportional };
        match size {
            Some(size) => rate.on(size).map(Self::Fee),
            None => Some(rate),
        }
    }

    /// The fee on a payment of `gross`, before the fee is taken. `None` on overflow.
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

/// What a payment for an outstanding purchase should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The amount of the invoice, if it names one.
    pub amount: Option<Msat>,
    /// What may be missing from it.
    pub promised: Promised,
    /// The largest share of it that may be missing, whatever was promised.
    pub max_share: Option<Ppm>,
    /// The least that has to arrive where something was kept.
    pub least_net: Msat,
}

/// What a node reports of a payment that waits to be claimed or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Sums over a complete set of parts; the node checked each part and its TLV itself, as LDK does.
    Totals {
        /// What came in.
        received: Msat,
        /// What was kept on the way, as announced in `extra_fee`.
        skimmed: Msat,
    },
    /// The parts so far, for a node that leaves the checks to us.
    Parts(&'a [Part<'a>]),
}

/// One HTLC of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// What its onion says should arrive.
    pub onion: Msat,
    /// What the HTLC carries.
    pub amount: Msat,
    /// The value of TLV 65537 of its `update_add_htlc`, if there is one.
    pub extra_fee: Option<&'a [u8]>,
}

/// What to do with a payment that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As promised: it may be claimed. For a payment that is no purchase: nothing was kept of it.
    Claim,
    /// Parts are still missing; the node's usual time-out for them applies.
    WaitForMore,
    /// Fail all of it back.
    Reject(Fault),
}

/// Why a payment is to be failed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// More was kept than promised.
    #[error("{skimmed} kept, {promised} promised")]
    SkimAbovePromise {
        /// Kept, over all parts.
        skimmed: Msat,
        /// The opening fee; zero if it was paid before.
        promised: Msat,
    },
    /// What was kept is as promised, but a larger share of this payment than the wallet gives.
    #[error("{skimmed} kept of {gross}, which is too large a share")]
    SkimAboveShare {
        /// Kept, over all parts.
        skimmed: Msat,
        /// What arrived and what was kept.
        gross: Msat,
    },
    /// Something was kept of a payment for which nothing was bought.
    #[error("a fee was kept of a payment that opens no channel")]
    SkimWithoutPurchase,
    /// The payer meant less than the invoice asks for.
    #[error("{gross} paid, {wanted} wanted")]
    TooLittle {
        /// What arrived and what was kept.
        gross: Msat,
        /// The amount of the invoice.
        wanted: Msat,
    },
    /// The payment is not worth its fee.
    #[error("an opening fee of {fee} on a payment of {gross}")]
    FeeSwallowsPayment {
        /// The promised fee.
        fee: Msat,
        /// What arrived and what was kept.
        gross: Msat,
    },
    /// The fee leaves too little of the payment to be worth a channel.
    #[error("{received} of {gross} arrived, and at least {least} have to: the wallet's `least_net`")]
    LeavesTooLittle {
        /// The amount that arrived.
        received: Msat,
        /// The amount that arrived and the fee that was kept, together.
        gross: Msat,
        /// The least that has to arrive.
        least: Msat,
    },
    /// The promised fee was kept, and the LSP has not opened a channel for it.
    #[error("{skimmed} kept for a channel that was not opened")]
    NoChannelOpened {
        /// Kept, over all parts.
        skimmed: Msat,
    },
    /// A fee was kept by a peer that is not the LSP from which the channel was bought.
    #[error("{skimmed} kept by a peer from which nothing was bought for this payment")]
    KeptByAnother {
        /// Kept, over all parts.
        skimmed: Msat,
    },
    /// The payment came over a channel that its funder could still take back, and cannot wait until it is confirmed.
    #[error("it came over a channel with {confirmations} confirmation(s), and {wanted} are waited for")]
    Unconfirmed {
        /// Of the channel's funding transaction.
        confirmations: u32,
        /// Confirmations that the wallet waits for.
        wanted: u16,
    },
    /// A channel over which a part of the payment came is gone: what came over it cannot be claimed from its peer any more.
    #[error("a channel that it came over is closed; the payer has to pay again")]
    ChannelGone,
    /// The payment came over a channel whose funding transaction was never published, and cannot wait until it is.
    #[error("it came over a channel whose funding transaction is not published")]
    Unpublished,
    /// An `extra_fee` that is not eight bytes long.
    #[error("malformed extra fee")]
    MalformedExtraFee,
    /// A part does not carry its onion's amount less its extra fee.
    #[error("a part does not carry what it says")]
    WrongPartAmount,
    /// A sum above 2^64 millisatoshis.
    #[error("absurd amounts")]
    Overflow,
}

/// Judges a payment: against what was bought, or as an ordinary one (`None`).
///
/// The fee is judged on the gross amount, summed over all parts: what was kept must not be above the promise, and what
/// the payer meant to pay must not be below the invoice. Whether an ordinary payment is large enough is the node's to say.
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

/// Whether enough blocks are left to claim an HTLC: its expiry is held to the normal final delta, not to the larger one
/// that the invoice asked for.
///
/// Spec: LSPS2 §2 "Invoice".
#[must_use]
pub fn enough_blocks_left(left: Blocks, normal_min_final_cltv_expiry_delta: u16) -> bool {
    left >= Blocks(u32::from(normal_min_final_cltv_expiry_delta))
}

/// Whether `fee` is at most this share of `size`. Cannot overflow.
pub(crate) fn within_share(fee: Msat, size: Msat, share: Ppm) -> bool {
    u128::from(fee.0) * MILLION <= u128::from(size.0) * u128::from(share.0)
}

/// A payment in sums.
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
    /// What was kept of this part, which must say so and be right about it.
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

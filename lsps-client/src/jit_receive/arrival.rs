//! Decision on a complete payment by the channels over which it arrived.
//!
//! [`judge`](super::judge) checks the amounts alone. A promise is made by one LSP and for a channel: no other peer may
//! keep the fee, and nobody before a channel was opened. And the funder of a channel whose funding is not confirmed can
//! take it back, together with every payment that was claimed over it, bought or not.

use lsps_types::{Msat, PeerId, bolt4::decode_extra_fee};

use super::{Fault, Received};
use crate::effect::ChannelKey;

/// A channel over which a payment arrived, as the node reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// Peer of the channel; `None` if the channel is closed and the node no longer knows it.
    pub peer: Option<PeerId>,
    /// Key that the host gave to the channel.
    pub key: ChannelKey,
    /// Confirmations of its funding transaction.
    pub confirmations: u32,
    /// Whether this node funded the channel, so that nobody else can double-spend the funding transaction.
    pub is_ours: bool,
    /// Whether the funding transaction was published; `None` where the host cannot tell.
    pub is_seen: Option<bool>,
}

/// Decision on a payment that the node holds completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The payment may be claimed now. Without a purchase: no fee was kept of it.
    Claim,
    /// The payment is as promised, but a channel over which it arrived is not confirmed (or not published) yet. Report
    /// [`Input::PaymentHeld`](crate::Input::PaymentHeld).
    Hold,
    /// Parts are still missing; the node's usual time-out for them applies.
    WaitForMore,
    /// All HTLCs of the payment have to be failed.
    Reject(Fault),
}

impl Via {
    /// Whether a payment over this channel is safe to claim. A claim gains nothing if the channel is gone, but gives
    /// its peer the preimage. `takes_unseen`: the wallet trusts the LSP to publish the funding.
    pub(crate) fn bears(&self, confirmations: u16, takes_unseen: bool) -> bool {
        let is_seen = self.confirmations > 0 || takes_unseen || self.is_seen != Some(false);
        let is_safe = self.is_ours || (is_seen && self.confirmations >= u32::from(confirmations));
        self.peer.is_some() && is_safe
    }
}

impl Received<'_> {
    /// Sum of the fees that were kept on the way. A part with a malformed TLV counts as zero; `judge` refuses it.
    pub(crate) fn skimmed(&self) -> Msat {
        match self {
            Self::Totals { skimmed, .. } => *skimmed,
            Self::Parts(parts) => {
                let kept = parts.iter().filter_map(|part| part.extra_fee.and_then(decode_extra_fee));
                kept.fold(Msat::ZERO, |sum, kept| sum.checked_add(kept).unwrap_or(Msat(u64::MAX)))
            }
        }
    }
}

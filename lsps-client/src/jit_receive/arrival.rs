//! Whether a payment may be claimed, by the channels over which it came.
//!
//! [`judge`](super::judge) looks at amounts alone. A promise is made by one LSP and for a channel: nobody else may keep the
//! fee, and nobody before a channel was opened. And a channel whose funding is not confirmed can be taken back by its
//! funder, together with every payment that was claimed over it, bought or not.

use lsps_types::{Msat, PeerId, bolt4::decode_extra_fee};

use super::{Fault, Received};
use crate::effect::ChannelKey;

/// A channel over which a payment came, as the node tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// The peer at its other end; `None` where the channel is closed and the node does not know any more.
    pub peer: Option<PeerId>,
    /// The host's name for the channel.
    pub key: ChannelKey,
    /// Confirmations of its funding transaction.
    pub confirmations: u32,
    /// Whether this node funded it: then nobody else can spend the inputs of the funding transaction again.
    pub is_ours: bool,
    /// Whether the funding transaction was published; `None` where the host cannot tell.
    pub is_seen: Option<bool>,
}

/// Verdict on a payment that the node holds complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The payment may be claimed now. For a payment that was not bought: nothing was kept of it.
    Claim,
    /// The payment is as promised, but a channel that it came over is not confirmed (or not seen) yet: told
    /// with [`Input::PaymentHeld`](crate::Input::PaymentHeld).
    Hold,
    /// Parts are still missing; the node's usual time-out for them applies.
    WaitForMore,
    /// Fail all of it back.
    Reject(Fault),
}

impl Via {
    /// Whether a payment over this channel is safe to claim: a claim takes nothing from a channel that is gone, and gives its
    /// peer the preimage all the same. `takes_unseen`: the wallet trusts the LSP to publish the funding.
    pub(crate) fn bears(&self, confirmations: u16, takes_unseen: bool) -> bool {
        let is_seen = self.confirmations > 0 || takes_unseen || self.is_seen != Some(false);
        let is_safe = self.is_ours || (is_seen && self.confirmations >= u32::from(confirmations));
        self.peer.is_some() && is_safe
    }
}

impl Received<'_> {
    /// The sum of what was kept on the way. A part whose TLV is malformed counts as nothing; `judge` refuses it.
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

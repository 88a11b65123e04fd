//! The one channel of an offer.

use alloc::vec::Vec;

use lsps_types::{BlockHeight, Msat, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::ChannelId;
use crate::input::FundingOutput;

/// `None -> Opening -> Pending -> Ready -> Closed`; an open that ended early, or whose funding will never be broadcast,
/// goes back to `None` by way of `Abandoning`, which gives the inputs back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Channel {
    None,
    Opening {
        since: Timestamp,
        capacity_sat: u64,
        deliver: Msat,
        client_reserve: Ppm,
        step: Step,
    },
    /// Both sides signed. `funding` stays until it is confirmed.
    Pending {
        funding: Option<Funding>,
    },
    /// Both sides sent `channel_ready`.
    Ready {
        funding: Option<Funding>,
        channel_id: ChannelId,
    },
    /// Closed after its funding was broadcast.
    Closed {
        funding: Option<Funding>,
    },
    Abandoning {
        funding: Option<Funding>,
    },
}

/// How far an open has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// The node was asked to open.
    Asked,
    /// The client accepted; the wallet was asked for the transaction.
    Negotiated { output: FundingOutput },
    /// The transaction is on record; the node was given it.
    Funded(Funding),
}

/// A funding transaction that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Funding {
    pub tx: Vec<u8>,
    /// What it pays to the miners.
    pub mining_sat: u64,
    /// How often the node was asked to broadcast it, and the height at which that was last.
    pub ask: u32,
    pub asked_at: BlockHeight,
}

impl Channel {
    /// The funding transaction, where it may have to be broadcast or its inputs given back.
    pub fn funding(&self) -> Option<&Funding> {
        match self {
            Self::Opening { step: Step::Funded(funding), .. } => Some(funding),
            Self::None | Self::Opening { step: Step::Asked | Step::Negotiated { .. }, .. } => None,
            Self::Pending { funding }
            | Self::Ready { funding, .. }
            | Self::Closed { funding }
            | Self::Abandoning { funding } => funding.as_ref(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opening { step: Step::Asked, .. } => "asked",
            Self::Opening { step: Step::Negotiated { .. }, .. } => "negotiated",
            Self::Opening { step: Step::Funded(_), .. } => "funded",
            Self::Pending { .. } => "pending",
            Self::Ready { .. } => "ready",
            Self::Closed { .. } => "closed",
            Self::Abandoning { .. } => "abandoning",
        }
    }

    pub fn funding_mut(&mut self) -> Option<&mut Funding> {
        match self {
            Self::Opening { step: Step::Funded(funding), .. } => Some(funding),
            Self::None | Self::Opening { step: Step::Asked | Step::Negotiated { .. }, .. } => None,
            Self::Pending { funding }
            | Self::Ready { funding, .. }
            | Self::Closed { funding }
            | Self::Abandoning { funding } => funding.as_mut(),
        }
    }

    /// Same state, with the transaction no longer needed.
    pub fn confirmed(&mut self) {
        match self {
            Self::Pending { funding } | Self::Ready { funding, .. } | Self::Closed { funding } => *funding = None,
            Self::None | Self::Opening { .. } | Self::Abandoning { .. } => {}
        }
    }

    /// Whether the world has something to do for it: open, broadcast, abandon.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::None => true,
            Self::Pending { funding } | Self::Ready { funding, .. } | Self::Closed { funding } => funding.is_none(),
            Self::Opening { .. } | Self::Abandoning { .. } => false,
        }
    }
}

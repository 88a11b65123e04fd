//! The one channel of an offer.

use alloc::vec::Vec;

use lsps_types::{Msat, Timestamp};
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
        step: Step,
    },
    /// Both sides signed. `funding` stays until it is confirmed.
    Pending {
        funding: Option<Vec<u8>>,
    },
    /// Both sides sent `channel_ready`.
    Ready {
        funding: Option<Vec<u8>>,
        channel_id: ChannelId,
    },
    /// Closed after its funding was broadcast.
    Closed {
        funding: Option<Vec<u8>>,
    },
    Abandoning {
        funding: Option<Vec<u8>>,
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
    Funded { tx: Vec<u8> },
}

impl Channel {
    /// The funding transaction, where it may have to be broadcast or its inputs given back.
    pub fn funding(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Opening { step: Step::Funded { tx }, .. } => Some(tx),
            Self::None | Self::Opening { step: Step::Asked | Step::Negotiated { .. }, .. } => None,
            Self::Pending { funding }
            | Self::Ready { funding, .. }
            | Self::Closed { funding }
            | Self::Abandoning { funding } => funding.as_ref(),
        }
    }

    /// Same state, with the transaction no longer needed.
    pub fn confirmed(self) -> Self {
        match self {
            Self::Pending { .. } => Self::Pending { funding: None },
            Self::Ready { channel_id, .. } => Self::Ready { funding: None, channel_id },
            Self::Closed { .. } => Self::Closed { funding: None },
            unchanged @ (Self::None | Self::Opening { .. } | Self::Abandoning { .. }) => unchanged,
        }
    }
}

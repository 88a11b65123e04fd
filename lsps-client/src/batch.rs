//! Write before act: the records of a turn are written first, then its messages and effects are released.

use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use lsps_flow::UnknownFlow;
use lsps_types::{PaymentHash, PeerId};
use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::jit_receive::Event;
use crate::order::{self, OrderKey};
use crate::webhooks;

/// Records, messages, effects and notices since the last drain. Write the records, then call `written`.
pub type Batch = lsps_flow::Batch<FlowId, Released>;

/// A batch that is still being collected.
pub(crate) type Changes = lsps_flow::Changes<FlowId, Released>;

/// Messages, effects and notices that may go out, now that the records are durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Payloads of type 37913, each with its receiver, in order.
    pub messages: Vec<(PeerId, Vec<u8>)>,
    /// Effects for the wallet's node to execute, in order.
    pub effects: Vec<Effect>,
    /// Notices for the application or its operator.
    pub notices: Vec<Notice>,
}

impl lsps_flow::Release for Released {
    fn is_empty(&self) -> bool {
        let Self { messages, effects, notices } = self;
        messages.is_empty() && effects.is_empty() && notices.is_empty()
    }
}

impl Released {
    /// Adds a notice unless it is in the list, so that a peer that repeats itself does not make the list grow.
    pub(crate) fn tell_once(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }
}

/// Information that requires no action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Notice {
    /// A purchase changed. After [`Event::Registered`] its invoice may be handed out.
    Purchase(PaymentHash, Event),
    /// An order changed.
    Order(OrderKey, order::Event),
    /// A webhook at this LSP changed.
    Webhooks(PeerId, webhooks::Event),
    /// An LSP sent a payload that is not a JSON-RPC 2.0 response. The LSP receives no more requests until it
    /// reconnects.
    BadPayload(PeerId),
    /// An LSP sent a notification that this library does not know.
    UnknownNotification(PeerId),
}

/// Id of a flow, which has a record of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FlowId {
    /// A purchase of a JIT channel, by the payment hash of its invoice.
    Purchase(PaymentHash),
    /// An order of a channel, by its local key.
    Order(OrderKey),
    /// The webhooks at one LSP.
    Webhooks(PeerId),
}

/// Displays the name of the flow's record: only letters, digits and `-`, which any store accepts.
impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Purchase(hash) => write!(f, "{PURCHASE}{hash}"),
            Self::Order(key) => write!(f, "{ORDER}{key}"),
            Self::Webhooks(lsp) => write!(f, "{WEBHOOKS}{lsp}"),
        }
    }
}

impl FromStr for FlowId {
    type Err = UnknownFlow;

    fn from_str(text: &str) -> Result<Self, UnknownFlow> {
        let purchase = text.strip_prefix(PURCHASE).and_then(|hash| hash.parse().ok()).map(Self::Purchase);
        let order = || text.strip_prefix(ORDER).and_then(|key| key.parse().ok()).map(Self::Order);
        let webhooks = || text.strip_prefix(WEBHOOKS).and_then(|lsp| lsp.parse().ok()).map(Self::Webhooks);
        purchase.or_else(order).or_else(webhooks).ok_or_else(|| UnknownFlow(text.into()))
    }
}

const PURCHASE: &str = "purchase-";
const ORDER: &str = "order-";
const WEBHOOKS: &str = "webhooks-";

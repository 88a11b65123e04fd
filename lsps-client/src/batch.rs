//! Write before act: records first, then messages and effects.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use lsps_types::{PaymentHash, PeerId};
use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::jit_receive::Event;
use crate::order::{self, OrderKey};
use crate::webhooks;

/// Everything since the last drain. Write the records, then ask for the rest.
#[derive(Debug, Default)]
#[must_use = "records that are never written are lost in a crash"]
pub struct Batch {
    pub(crate) records: BTreeMap<FlowId, Option<Vec<u8>>>,
    pub(crate) released: Released,
}

impl Batch {
    /// What to make durable, in any order: the new content of a record, or `None` where it is to be deleted.
    pub fn records(&self) -> impl Iterator<Item = (FlowId, Option<&[u8]>)> {
        self.records.iter().map(|(id, bytes)| (*id, bytes.as_deref()))
    }

    /// Call once the records are durable; nothing else yields the messages and effects.
    #[must_use = "these are the requests and the acts that were waited for"]
    pub fn written(self) -> Released {
        self.released
    }

    /// Whether there is nothing to write, send, do or tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Released { messages, effects, notices } = &self.released;
        self.records.is_empty() && messages.is_empty() && effects.is_empty() && notices.is_empty()
    }
}

/// What may happen now that the records are durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Payloads of type 37913, each for one LSP, in order.
    pub messages: Vec<(PeerId, Vec<u8>)>,
    /// Acts of the wallet's node, in order.
    pub effects: Vec<Effect>,
    /// What an application or an operator may want to know.
    pub notices: Vec<Notice>,
}

impl Released {
    /// A peer that repeats itself does not make the list grow.
    pub(crate) fn tell_once(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }
}

/// Something worth telling; nothing has to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Notice {
    /// A purchase moved on. After [`Event::Registered`] its invoice may be handed out.
    Purchase(PaymentHash, Event),
    /// An order moved on.
    Order(OrderKey, order::Event),
    /// Something became of a webhook at that LSP.
    Webhooks(PeerId, webhooks::Event),
    /// An LSP sent what is no JSON-RPC 2.0 response. It is asked nothing more until it reconnects.
    BadPayload(PeerId),
    /// An LSP sent a notification that means nothing here.
    UnknownNotification(PeerId),
}

/// A thing with a life and a record of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FlowId {
    /// One purchase of a JIT channel, by the payment hash of its invoice.
    Purchase(PaymentHash),
    /// One order of a channel, by its local name.
    Order(OrderKey),
    /// The webhooks at one LSP.
    Webhooks(PeerId),
}

/// Also the name of the flow's record: letters, digits and `-` only, as any store takes them.
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

/// A record whose name no flow of this version has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of record is named {0:?}")]
pub struct UnknownFlow(pub String);

const PURCHASE: &str = "purchase-";
const ORDER: &str = "order-";
const WEBHOOKS: &str = "webhooks-";

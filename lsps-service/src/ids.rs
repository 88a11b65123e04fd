//! Names of flows, channels and parts.

use alloc::string::String;
use core::{fmt, str::FromStr};

use lsps_types::{PeerId, Scid, Timestamp};
use serde::{Deserialize, Serialize};

/// One HTLC held by the node. LDK: the intercept id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartId(pub [u8; 32]);

/// The node's name of an open channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId(pub [u8; 32]);

/// The node's name of a BOLT 12 offer. LDK: the offer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OfferId(pub [u8; 32]);

/// The node's name of a payment that it received: two with the same hash have two. LDK: the payment id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PaymentId(pub [u8; 32]);

/// A thing with a life and a record of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FlowId {
    /// One accepted `lsps2.buy`, by the SCID it was given.
    JitChannel(Scid),
    /// One `lsps1.create_order`.
    Order(OrderNumber),
    /// The webhooks of one client.
    Webhooks(PeerId),
}

/// Our own short name of an order: the first half of its id on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderNumber(pub u64);

impl fmt::Display for OrderNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Also the name of the flow's record: letters, digits and `-` only, as any store takes them.
impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JitChannel(scid) => write!(f, "{JIT_CHANNEL}{scid}"),
            Self::Order(number) => write!(f, "{ORDER}{number}"),
            Self::Webhooks(client) => write!(f, "{WEBHOOKS}{client}"),
        }
    }
}

impl FromStr for FlowId {
    type Err = UnknownFlow;

    fn from_str(text: &str) -> Result<Self, UnknownFlow> {
        let scid = text.strip_prefix(JIT_CHANNEL).and_then(|scid| scid.parse().ok()).map(Self::JitChannel);
        let order = || {
            let digits = text.strip_prefix(ORDER)?;
            let number = OrderNumber(u64::from_str_radix(digits, 16).ok()?);
            (alloc::format!("{number}") == digits).then_some(Self::Order(number))
        };
        let webhooks = || text.strip_prefix(WEBHOOKS).and_then(|client| client.parse().ok()).map(Self::Webhooks);
        scid.or_else(order).or_else(webhooks).ok_or_else(|| UnknownFlow(text.into()))
    }
}

/// A record whose name no flow of this version has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of record is named {0:?}")]
pub struct UnknownFlow(pub String);

/// One attempt of a flow to open a channel, so that a late event of an earlier attempt cannot be taken for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelKey {
    /// Whose channel it is.
    pub flow: FlowId,
    /// Counted from 1.
    pub attempt: u32,
}

impl ChannelKey {
    /// As a number that the node keeps with the channel. LDK: the user channel id. 0 for a flow that has no channels.
    #[must_use]
    pub fn to_u128(self) -> u128 {
        let (tag, flow) = match self.flow {
            FlowId::JitChannel(Scid(scid)) => (JIT_CHANNEL_TAG, scid),
            FlowId::Order(OrderNumber(number)) => (ORDER_TAG, number),
            FlowId::Webhooks(_) => return 0,
        };
        tag << TAG_SHIFT | u128::from(self.attempt) << ATTEMPT_SHIFT | u128::from(flow)
    }

    /// The key that gave this number, or `None` for a channel that is not ours.
    #[must_use]
    pub fn from_u128(number: u128) -> Option<Self> {
        let attempt = u32::try_from(number >> ATTEMPT_SHIFT & u128::from(u32::MAX)).ok()?;
        let flow = u64::try_from(number & u128::from(u64::MAX)).ok()?;
        let flow = match number >> TAG_SHIFT {
            JIT_CHANNEL_TAG => FlowId::JitChannel(Scid(flow)),
            ORDER_TAG => FlowId::Order(OrderNumber(flow)),
            _ => return None,
        };
        (attempt > 0).then_some(Self { flow, attempt })
    }
}

/// One refund of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RefundKey {
    /// Of which order.
    pub order: OrderNumber,
    /// Counted from 0 in each order.
    pub number: u32,
}

/// An entry of the book. Never given out twice, even where an SCID is used anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BookKey {
    /// What it is about.
    pub flow: FlowId,
    /// When it happened.
    pub at: Timestamp,
    /// Counted from 0 in each flow.
    pub number: u32,
}

/// Also the name of the entry in a store: letters, digits and `-` only.
impl fmt::Display for BookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.flow, self.at.unix_millis(), self.number)
    }
}

/// A question that the policy left to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QuestionId {
    /// Who waits for the answer.
    pub client: PeerId,
    /// Rises, and goes on rising after a restart as long as the clock does.
    pub number: u64,
}

const JIT_CHANNEL: &str = "jit-";
const ORDER: &str = "order-";
const WEBHOOKS: &str = "webhooks-";
/// Tells our channels from those of an application that numbers its own.
const JIT_CHANNEL_TAG: u128 = 0x4c53_5032;
const ORDER_TAG: u128 = 0x4c53_5031;
const TAG_SHIFT: u32 = 96;
const ATTEMPT_SHIFT: u32 = 64;

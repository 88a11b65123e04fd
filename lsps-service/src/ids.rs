//! Identifiers of flows, channels, parts and book entries.

use core::{fmt, str::FromStr};

use lsps_flow::UnknownFlow;
use lsps_types::{PeerId, Scid, Timestamp};
use serde::{Deserialize, Serialize};

/// Id of an HTLC that the node holds. LDK: the intercept id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartId(pub [u8; 32]);

/// Id that the node gave to an open channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId(pub [u8; 32]);

/// Id that the node gave to a BOLT 12 offer. LDK: the offer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OfferId(pub [u8; 32]);

/// Id that the node gave to a received payment; two payments with the same hash have different ids. LDK: the payment
/// id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PaymentId(pub [u8; 32]);

/// Id of a flow, which has a record of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FlowId {
    /// An accepted `lsps2.buy`, by the SCID in its reply.
    JitChannel(Scid),
    /// An accepted `lsps1.create_order`.
    Order(OrderNumber),
    /// The webhooks of one client.
    Webhooks(PeerId),
}

/// Short number of an order: the first half of its id on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderNumber(pub u64);

impl fmt::Display for OrderNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Displays the name of the flow's record: only letters, digits and `-`, which any store accepts.
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

/// Key of one attempt of a flow to open a channel. A late event of an earlier attempt has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelKey {
    /// Flow that the channel belongs to.
    pub flow: FlowId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

impl ChannelKey {
    /// Encodes the key as the number that the node stores with the channel. LDK: the user channel id. The result is 0
    /// for a flow that has no channels.
    #[must_use]
    pub fn to_u128(self) -> u128 {
        let (tag, flow) = match self.flow {
            FlowId::JitChannel(Scid(scid)) => (JIT_CHANNEL_TAG, scid),
            FlowId::Order(OrderNumber(number)) => (ORDER_TAG, number),
            FlowId::Webhooks(_) => return 0,
        };
        tag << TAG_SHIFT | u128::from(self.attempt) << ATTEMPT_SHIFT | u128::from(flow)
    }

    /// Decodes the key from the node's number; `None` if the channel belongs to no flow.
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

/// Key of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RefundKey {
    /// Order of the refund.
    pub order: OrderNumber,
    /// Number of the refund within its order, from 0.
    pub number: u32,
}

/// Key of a book entry. A key is never used twice, even if an SCID is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BookKey {
    /// Flow of the entry.
    pub flow: FlowId,
    /// Time of the event.
    pub at: Timestamp,
    /// Number of the entry within its flow, from 0.
    pub number: u32,
}

/// Displays the name of the entry in a store: only letters, digits and `-`.
impl fmt::Display for BookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.flow, self.at.unix_millis(), self.number)
    }
}

/// Id of a decision that the policy left to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DecisionId {
    /// Client that waits for the answer.
    pub client: PeerId,
    /// Number that rises with each pending decision, also after a restart as long as the clock does.
    pub number: u64,
}

const JIT_CHANNEL: &str = "jit-";
const ORDER: &str = "order-";
const WEBHOOKS: &str = "webhooks-";
/// Tag that distinguishes these channels from those of an application that numbers its own.
const JIT_CHANNEL_TAG: u128 = 0x4c53_5032;
const ORDER_TAG: u128 = 0x4c53_5031;
const TAG_SHIFT: u32 = 96;
const ATTEMPT_SHIFT: u32 = 64;

//! Records: a version byte, then the state of a flow.

mod v1;
mod webhooks_v1;

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::ids::{FlowId, UnknownFlow};
use crate::lsps1::order::Order;
use crate::lsps2::jit_channel::JitChannel;
use crate::lsps5::webhooks::Webhooks;

/// A record as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the record: a [`FlowId`] as text.
    pub name: String,
    /// Content of the record.
    pub bytes: Vec<u8>,
}

/// Error for a record that cannot be read. Other records are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The name belongs to no flow.
    #[error(transparent)]
    Name(#[from] UnknownFlow),
    /// A later version of this program wrote the record.
    #[error("record {name:?} has version {version}; this program reads up to {newest}")]
    Newer {
        /// Name of the record.
        name: String,
        /// Version of the record.
        version: u8,
        /// Newest version of this kind of record that this program reads.
        newest: u8,
    },
    /// The store lists the record and fails to read it.
    #[error("record {name:?} cannot be read from the store: {why}; it is left alone, and read again at the next start")]
    Store {
        /// Name of the record.
        name: String,
        /// Error text of the store.
        why: String,
    },
    /// The bytes are damaged.
    #[error("record {name:?} is damaged")]
    Damaged {
        /// Name of the record.
        name: String,
    },
}

/// A flow of any kind.
pub(crate) enum AnyFlow {
    JitChannel(Box<JitChannel>),
    Order(Box<Order>),
    Webhooks(Box<Webhooks>),
}

pub(crate) fn encode_offer(offer: &JitChannel) -> Vec<u8> {
    encode(OFFER_VERSION, offer)
}

pub(crate) fn encode_order(order: &Order) -> Vec<u8> {
    encode(ORDER_VERSION, order)
}

pub(crate) fn encode_webhooks(webhooks: &Webhooks) -> Vec<u8> {
    encode(WEBHOOKS_VERSION, webhooks)
}

fn encode(version: u8, flow: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(flow, alloc::vec![version]).expect("flows hold nothing that postcard cannot write")
}

pub(crate) fn decode(record: &Record) -> Result<AnyFlow, Unreadable> {
    let id: FlowId = record.name.parse()?;
    let damaged = || Unreadable::Damaged { name: record.name.clone() };
    let (version, bytes) = record.bytes.split_first().ok_or_else(damaged)?;
    let newest = match id {
        FlowId::JitChannel(_) => OFFER_VERSION,
        FlowId::Order(_) => ORDER_VERSION,
        FlowId::Webhooks(_) => WEBHOOKS_VERSION,
    };
    if *version > newest {
        return Err(Unreadable::Newer { name: record.name.clone(), version: *version, newest });
    }
    let read = match (id, version) {
        (FlowId::JitChannel(_), 1) => postcard::from_bytes::<v1::JitChannel>(bytes).map(JitChannel::from).map(offer),
        (FlowId::JitChannel(_), 2) => postcard::from_bytes(&v1::offer_of_v2(bytes)).map(offer),
        (FlowId::JitChannel(_), 3) => postcard::from_bytes(&v1::offer_of_v3(bytes)).map(offer),
        (FlowId::JitChannel(_), _) => postcard::from_bytes(bytes).map(offer),
        (FlowId::Order(_), 1) => postcard::from_bytes(&v1::order(bytes)).map(order),
        (FlowId::Order(_), _) => postcard::from_bytes(bytes).map(order),
        (FlowId::Webhooks(_), 1) => {
            postcard::from_bytes::<webhooks_v1::Webhooks>(bytes).map(|v1| of_client(Box::new(v1.into())))
        }
        (FlowId::Webhooks(_), _) => postcard::from_bytes(bytes).map(of_client),
    };
    let (found, flow) = read.map_err(|_| damaged())?;
    if found == id { Ok(flow) } else { Err(damaged()) }
}

fn offer(offer: JitChannel) -> (FlowId, AnyFlow) {
    (offer.flow(), AnyFlow::JitChannel(Box::new(offer)))
}

fn order(order: Box<Order>) -> (FlowId, AnyFlow) {
    (order.flow(), AnyFlow::Order(order))
}

fn of_client(webhooks: Box<Webhooks>) -> (FlowId, AnyFlow) {
    (FlowId::Webhooks(webhooks.client), AnyFlow::Webhooks(webhooks))
}

const OFFER_VERSION: u8 = 4;
const ORDER_VERSION: u8 = 2;
const WEBHOOKS_VERSION: u8 = 2;

//! Records: a version byte, then the state of a flow.

mod v1;
mod webhooks_v1;

use alloc::{boxed::Box, vec::Vec};

use lsps_flow::record::{damaged, encode, version};
pub use lsps_flow::{Record, Unreadable};
use serde::de::DeserializeOwned;

use crate::ids::FlowId;
use crate::lsps1::order::Order;
use crate::lsps2::jit_channel::JitChannel;
use crate::lsps5::webhooks::Webhooks;

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

pub(crate) fn decode(record: &Record) -> Result<AnyFlow, Unreadable> {
    let id: FlowId = record.name.parse()?;
    let newest = match id {
        FlowId::JitChannel(_) => OFFER_VERSION,
        FlowId::Order(_) => ORDER_VERSION,
        FlowId::Webhooks(_) => WEBHOOKS_VERSION,
    };
    let (version, bytes) = version(record, newest)?;
    let (found, flow) = match (id, version) {
        (FlowId::JitChannel(_), 1) => offer(read::<v1::JitChannel>(record, bytes)?.into()),
        (FlowId::JitChannel(_), 2) => offer(read(record, &v1::offer_of_v2(bytes))?),
        (FlowId::JitChannel(_), 3) => offer(read(record, &v1::offer_of_v3(bytes))?),
        (FlowId::JitChannel(_), _) => offer(read(record, bytes)?),
        (FlowId::Order(_), 1) => order(read(record, &v1::order(bytes))?),
        (FlowId::Order(_), 2) => order(read(record, &v1::order_of_v2(bytes))?),
        (FlowId::Order(_), _) => order(read(record, bytes)?),
        (FlowId::Webhooks(_), 1) => of_client(Box::new(read::<webhooks_v1::Webhooks>(record, bytes)?.into())),
        (FlowId::Webhooks(_), _) => of_client(read(record, bytes)?),
    };
    if found == id { Ok(flow) } else { Err(damaged(record)) }
}

fn read<T: DeserializeOwned>(record: &Record, bytes: &[u8]) -> Result<T, Unreadable> {
    lsps_flow::record::decode(record, bytes)
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
const ORDER_VERSION: u8 = 3;
const WEBHOOKS_VERSION: u8 = 2;

//! An LSP around the service, in virtual time, as stories.
#![allow(non_snake_case)]

mod attacks;
mod book;
mod capacity;
mod channels;
mod clock;
mod crowd;
mod doubt;
mod field;
mod hostile;
mod jit_channel;
mod orders;
mod records;
mod requests;
mod restarts;
mod sales;
mod scale;
mod waiting;
mod webhooks;
mod webhooks_any;
mod wire;

use std::time::Duration;

use lsps_service::{ChannelKey, FlowId, PartId};
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, peer};
use lsps_types::bolt4::FailureCode;
use lsps_types::{Msat, Scid, Timestamp};

const SCID: Scid = Scid(1 << 40);
const OTHER_SCID: Scid = Scid(2 << 40);
const SIZE: Msat = Msat(1_000_000_000);
const FEE: Msat = Msat(1_200_000);

/// An LSP whose connected client bought a channel for a payment of `SIZE`, or of any size.
fn lsp_with_offer(payment_size: Option<Msat>) -> Lsp {
    offered(payment_size, LspSetup::default())
}

/// An LSP with this setup whose connected client bought a channel for a payment of this size, or of any size.
fn offered(payment_size: Option<Msat>, setup: LspSetup) -> Lsp {
    let mut lsp = Lsp::at(NOON, LspSetup { scids: vec![SCID, OTHER_SCID], ..setup });
    assert_eq!(buys(&mut lsp, peer(1), payment_size).jit_channel_scid, SCID);
    lsp.connects(peer(1));
    lsp
}

fn key(attempt: u32) -> ChannelKey {
    ChannelKey { flow: FlowId::JitChannel(SCID), attempt }
}

fn id(part: u8) -> PartId {
    PartId([part; 32])
}

fn forwards(part: u8, amount: u64, extra_fee: u64) -> Act {
    Act::Forward { part: id(part), amount: Msat(amount), extra_fee: Msat(extra_fee) }
}

fn fails(part: u8, code: FailureCode) -> Act {
    Act::Fail { part: id(part), code }
}

/// The requested channel opens and becomes ready. Returns the acts that follow.
fn opens(lsp: &mut Lsp) -> Vec<Act> {
    lsp.funding_signed(key(1));
    lsp.channel_ready(key(1));
    lsp.acts()
}

/// The time this many minutes after the sale.
fn minutes(minutes: u64) -> Timestamp {
    NOON + Duration::from_secs(60 * minutes)
}

/// The acts on parts (forwards and failures), without the other acts.
fn of_parts(acts: Vec<Act>) -> Vec<Act> {
    acts.into_iter().filter(|act| matches!(act, Act::Forward { .. } | Act::Fail { .. })).collect()
}

//! Records of many flows, without an execution of each sale.

use std::time::Duration;

use lsps_service::{FlowId, Input, PartId, Record};
use lsps_types::{Msat, PeerId, Scid};

use crate::lsp::{Act, Lsp, buys};
use crate::setup::{LspSetup, NOON, peer};

/// Offers of a fixed size, each of another client, with SCIDs from 1 on.
#[must_use]
pub fn offers(count: u32, size: Msat) -> Vec<Record> {
    let sold = sold(size);
    let record = |number: u32| {
        let mut client = [2; 33];
        client[1..5].copy_from_slice(&number.to_be_bytes());
        copy(&sold, Scid(u64::from(number) << 40), PeerId(client))
    };
    (1..=count).map(record).collect()
}

/// An offer of a fixed size that waits for its payment, to be [copied](copy).
#[must_use]
pub fn sold(size: Msat) -> Record {
    only_record(&seller(size))
}

/// An offer that was paid for, with its channel in use and its parts dropped, to be [copied](copy).
///
/// # Panics
///
/// The service does not behave as expected.
#[must_use]
pub fn paid(size: Msat) -> Record {
    let mut lsp = seller(size);
    lsp.connects(peer(1));
    lsp.part(1, TEMPLATE, 1, size);
    let [Act::Open { key, .. }] = lsp.acts()[..] else { panic!("a channel") };
    lsp.funding_signed(key);
    lsp.channel_ready(key);
    lsp.claimed(PartId([1; 32]));
    lsp.feed(Input::FundingConfirmed { key });
    lsp.wait_until(NOON + Duration::from_secs(1_800));
    only_record(&lsp)
}

/// Copies an offer to another SCID and another client.
#[must_use]
pub fn copy(template: &Record, scid: Scid, client: PeerId) -> Record {
    // The record is a version, the SCID (0, in one byte), then the client, 33 bytes after their length.
    let (version, rest) = (template.bytes[0], &template.bytes[2 + 1 + 33..]);
    let bytes = [&[version], varint(scid.0).as_slice(), &[33], &client.0, rest].concat();
    Record { name: FlowId::JitChannel(scid).to_string(), bytes }
}

/// Copies the webhooks of a client to another client.
#[must_use]
pub fn copy_webhooks(template: &Record, client: PeerId) -> Record {
    // The record is a version, then the client, 33 bytes after their length.
    let (head, rest) = (&template.bytes[..2], &template.bytes[2 + 33..]);
    Record { name: FlowId::Webhooks(client).to_string(), bytes: [head, &client.0, rest].concat() }
}

fn seller(size: Msat) -> Lsp {
    let mut lsp = Lsp::at(NOON, LspSetup { scids: vec![TEMPLATE], ..LspSetup::default() });
    buys(&mut lsp, peer(1), Some(size));
    lsp
}

fn only_record(lsp: &Lsp) -> Record {
    let (name, bytes) = lsp.records().iter().next().expect("one record");
    Record { name: name.clone(), bytes: bytes.clone() }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let seven = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(seven);
            return bytes;
        }
        bytes.push(seven | 0x80);
    }
}

const TEMPLATE: Scid = Scid(0);

//! Records of many offers, without having sold each.

use lsps_service::{FlowId, Record};
use lsps_types::{Msat, Scid};

use crate::lsp::{Lsp, LspSetup, NOON, buys, peer};

/// Offers of a fixed size, each of another client, by SCID from 1 on.
#[must_use]
pub fn offers(count: u32, size: Msat) -> Vec<Record> {
    let mut lsp = Lsp::at(NOON, LspSetup { scids: vec![Scid(0)], ..LspSetup::default() });
    buys(&mut lsp, peer(1), Some(size));
    let sold = lsp.records().values().next().expect("one record").clone();
    // A version, the SCID (0, in one byte), then the client, 33 bytes after their length.
    let (version, rest) = (sold[0], &sold[2 + 1 + 33..]);
    let record = |number: u32| {
        let scid = Scid(u64::from(number) << 40);
        let mut client = [2; 33];
        client[1..5].copy_from_slice(&number.to_be_bytes());
        let bytes = [&[version], varint(scid.0).as_slice(), &[33], &client, rest].concat();
        Record { name: FlowId::JitChannel(scid).to_string(), bytes }
    };
    (1..=count).map(record).collect()
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

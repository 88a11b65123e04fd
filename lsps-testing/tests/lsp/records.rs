//! Records: their size, and that old versions can be read.

use lsps_service::{Booking, ChannelEnd, Config, FlowId, Record, Service, StandardPolicy, Trust, Unreadable};
use lsps_testing::{Act, Lsp, LspSetup, NOON};
use lsps_types::lsps2::PromiseKey;
use lsps_types::{Msat, Scid};

use crate::{SCID, SIZE, lsp_with_offer, minutes, offered, opens};

/// One line for each state that version 1 wrote: a name, the record's name, its bytes in hex.
const V1: &str = include_str!("../../records/v1.tsv");

fn old_records() -> impl Iterator<Item = (&'static str, Record)> {
    V1.lines().map(|line| {
        let [state, name, hex] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        (state, Record { name: name.into(), bytes })
    })
}

fn service() -> Service {
    let key = PromiseKey::new([42; 32]);
    Service::new(Config::default(), StandardPolicy::default(), || SCID, key).expect("valid settings")
}

#[test]
fn case_H04_every_state_that_an_older_version_wrote_is_read_and_goes_on() {
    assert_eq!(old_records().count(), 18);
    for (state, record) in old_records() {
        let mut lsp = Lsp::at(NOON, LspSetup { scids: vec![Scid(9)], ..LspSetup::default() });
        lsp.finds(record);
        let acts = lsp.acts();
        let owes = |wanted: fn(&Act) -> bool| acts.iter().filter(|act| wanted(act)).count();
        let (opens, forwards) =
            (owes(|act| matches!(act, Act::Open { .. })), owes(|act| matches!(act, Act::Forward { .. })));
        let expected = match state.split_once("trusts_").expect("whose risk it is").1 {
            "opening" => (1, 0),
            "ready" => (0, 2),
            _ => (0, 0),
        };
        assert_eq!((opens, forwards), expected, "{state}: {acts:?}");
        let broadcasts = acts.contains(&Act::Broadcast(crate::key(1)));
        let unconfirmed = ["pending", "ready", "claimed"].iter().any(|late| state.ends_with(late));
        let may = state.starts_with("lsp_trusts") || state.ends_with("claimed");
        assert_eq!(broadcasts, unconfirmed && may, "{state}");
        let rewritten = lsp.records().values().next().map(|bytes| bytes[0]);
        assert!(matches!(rewritten, Some(1 | 4)), "{state}: still on record");
    }
}

/// Version 2 booked a fee when it was charged, and its record ends before the mark that says so.
#[test]
fn case_H04_a_fee_that_version_2_has_in_its_book_is_lost_or_earned_there() {
    for is_claimed in [false, true] {
        let mut lsp = lsp_with_offer(Some(SIZE));
        lsp.part(1, SCID, 1, SIZE);
        if is_claimed {
            lsp.funding_signed(crate::key(1));
            lsp.channel_ready(crate::key(1));
        }
        let (name, mut bytes) = lsp.records().iter().next().map(|(name, it)| (name.clone(), it.clone())).expect("one");
        assert_eq!((bytes[0], bytes.pop(), bytes.pop()), (4, Some(0), Some(u8::from(is_claimed))));
        bytes[0] = 2;
        let mut lsp = Lsp::at(NOON, LspSetup { scids: vec![Scid(9)], ..LspSetup::default() });
        lsp.finds(Record { name, bytes });
        let what: fn(&Booking) -> bool = if is_claimed {
            lsp.claimed(crate::id(1));
            |what| matches!(what, Booking::FeeEarned { was_lost: false, .. })
        } else {
            lsp.channel_ends(crate::key(1), ChannelEnd::Rejected);
            |what| matches!(what, Booking::FeeLost { .. })
        };
        assert_eq!(lsp.book().filter(|entry| what(&entry.what)).count(), 1);
        assert!(!lsp.book().any(|entry| matches!(entry.what, Booking::FeeAsked { .. })), "it is there by now");
    }
}

/// Version 3 ends before the time at which a channel was opened to other payments.
#[test]
fn case_H04_a_channel_that_version_3_kept_others_off_is_opened_to_them_when_its_offer_is_over() {
    let mut lsp = offered(Some(SIZE), LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    lsp.part(2, SCID, 1, Msat(SIZE.0 / 2));
    opens(&mut lsp);
    lsp.claimed(crate::id(1));
    let (name, mut bytes) = lsp.records().iter().next().map(|(name, it)| (name.clone(), it.clone())).expect("one");
    assert_eq!((bytes[0], bytes.pop()), (4, Some(0)));
    bytes[0] = 3;
    lsp.finds(Record { name, bytes });
    assert!(!lsp.carries_others(crate::key(1)));
    lsp.failed_by_client(crate::id(2));
    lsp.wait_until(minutes(60));
    assert!(lsp.carries_others(crate::key(1)));
}

#[test]
fn case_H04_a_newer_record_is_refused_with_its_name() {
    let (_, mut record) = old_records().next().expect("there are some");
    record.bytes[0] = 5;
    let refused = service().load(&record);
    assert_eq!(refused, Err(Unreadable::Newer { name: "jit-1x0x0".into(), version: 5, newest: 4 }));
    assert_eq!(
        refused.expect_err("newer").to_string(),
        "record \"jit-1x0x0\" has version 5; this program reads up to 4"
    );
}

#[test]
fn case_H02_a_record_that_cannot_be_read_does_not_keep_others_from_being_served() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    let good = lsp.records().iter().next().map(|(name, bytes)| Record { name: name.clone(), bytes: bytes.clone() });
    let good = good.expect("one record");
    let mut service = service();
    for cut in 0..good.bytes.len() {
        let damaged = Record { name: good.name.clone(), bytes: good.bytes[..cut].to_vec() };
        assert_eq!(service.load(&damaged), Err(Unreadable::Damaged { name: good.name.clone() }), "{cut} bytes");
    }
    let misnamed = Record { name: FlowId::JitChannel(Scid(5)).to_string(), bytes: good.bytes.clone() };
    assert!(matches!(service.load(&misnamed), Err(Unreadable::Damaged { .. })));
    let strange = Record { name: "order-5".into(), bytes: good.bytes.clone() };
    assert!(matches!(service.load(&strange), Err(Unreadable::Name(_))));
    assert_eq!(service.load(&good), Ok(()));
    lsp.acts();
}

#[test]
fn a_record_is_small_and_names_its_version() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    let bytes = lsp.records().values().next().expect("one record").clone();
    assert!(bytes.len() < 120, "{} bytes without parts", bytes.len());
    let before = bytes.len();
    lsp.part(1, SCID, 1, Msat(600_000_000));
    let one = lsp.records().values().next().expect("one record").len();
    assert!(one - before <= 100, "{} bytes for a payment and its part", one - before);
    lsp.part(2, SCID, 1, Msat(100_000_000));
    let two = lsp.records().values().next().expect("one record").len();
    assert!(two - one <= 60, "{} bytes for another part", two - one);
    assert_eq!(bytes[0], 4);
}

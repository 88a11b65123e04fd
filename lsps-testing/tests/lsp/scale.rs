//! The cost of one event does not depend on how many other offers, clients and orders there are.

use lsps_service::{Config, HeldHtlc, Input, NodeFacts, PartId, Service, WakeReason};
use lsps_testing::{LspSetup, NOON, many, peer};
use lsps_types::lsps2::PromiseKey;
use lsps_types::{Msat, PaymentHash, PeerId, Scid};

use crate::SIZE;

/// Allocations and written bytes for half a payment, beside this many other offers.
fn cost_beside(offers: u32) -> (u64, usize) {
    let key = PromiseKey::new([42; 32]);
    let mut service = Service::new(Config::default(), LspSetup::default(), || Scid(7), key).expect("valid settings");
    for record in many::offers(offers, SIZE) {
        service.load(&record).expect("it is ours");
    }
    let _ = service.handle(&Input::PeerConnected { peer: peer(1) }, NOON);
    assert!(service.drain().is_empty());
    let idle = allocation_counter::measure(|| {
        let _ = service.handle(&Input::NodeFacts(NodeFacts::default()), NOON);
    });
    assert_eq!(idle.count_total, 0, "a block concerns those that wait for it");
    let htlc = HeldHtlc {
        part: PartId([1; 32]),
        scid: Scid(u64::from(offers / 2) << 40),
        payment_hash: PaymentHash([1; 32]),
        amount_in: Msat(SIZE.0 / 2),
        onion_amount: Msat(SIZE.0 / 2),
        cltv_expiry: None,
    };
    let mut written = 0;
    let allocated = allocation_counter::measure(|| {
        let _ = service.handle(&Input::HtlcHeld(htlc), NOON);
        let batch = service.drain();
        assert_eq!(batch.records().count(), 1, "one record");
        written = batch.records().filter_map(|(_, bytes)| bytes).map(<[u8]>::len).sum();
    });
    (allocated.count_total, written)
}

/// Allocations for one notification beside this many clients with webhooks, and for a tick on which nothing is due.
fn cost_of_a_call_beside(clients: u32) -> (u64, u64) {
    let key = PromiseKey::new([42; 32]);
    let config = crate::webhooks::serving();
    let mut service = Service::new(config, LspSetup::default(), || Scid(7), key).expect("valid settings");
    let template = crate::webhooks::record();
    for number in 0..clients {
        let mut client = [2; 33];
        client[1..5].copy_from_slice(&number.to_be_bytes());
        service.load(&many::copy_webhooks(&template, PeerId(client))).expect("it is ours");
    }
    let _ = service.handle(&Input::Tick, NOON);
    assert!(service.drain().is_empty());
    let idle = allocation_counter::measure(|| {
        let _ = service.handle(&Input::Tick, NOON);
        assert!(service.drain().is_empty() && service.next_wake().is_some());
    });
    let mut called = [2; 33];
    called[1..5].copy_from_slice(&(clients / 2).to_be_bytes());
    let call = allocation_counter::measure(|| {
        let _ = service.handle(&Input::WakeUp { peer: PeerId(called), reason: WakeReason::PaymentIncoming }, NOON);
        let batch = service.drain();
        assert_eq!((batch.records().count(), batch.written().effects.len()), (1, 1), "one record, one post");
    });
    (call.count_total, idle.count_total)
}

#[test]
fn case_N10_one_notification_costs_beside_100_000_clients_what_it_costs_beside_100() {
    let ((few, idle), (many, also_idle)) = (cost_of_a_call_beside(100), cost_of_a_call_beside(100_000));
    assert!(many <= few + few / 5, "{few} allocations beside 100 clients, {many} beside 100 000");
    assert_eq!((idle, also_idle), (0, 0), "nothing is looked at before it is due");
}

#[test]
fn case_J35_one_htlc_costs_beside_100_000_offers_what_it_costs_beside_1_000() {
    let ((few, small), (many, large)) = (cost_beside(1_000), cost_beside(100_000));
    assert!(many <= few + few / 5, "{few} allocations beside 1 000 offers, {many} beside 100 000");
    assert!(large <= small + 4 && large < 400, "{small} and {large} bytes");
}

//! What one thing costs does not depend on how much else there is.

use lsps_service::{Config, HeldHtlc, Input, PartId, Service};
use lsps_testing::{LspSetup, NOON, many, peer};
use lsps_types::lsps2::PromiseKey;
use lsps_types::{Msat, PaymentHash, Scid};

use crate::SIZE;

/// Allocations, and bytes written, for half a payment to one of so many offers.
fn cost_beside(offers: u32) -> (u64, usize) {
    let key = PromiseKey::new([42; 32]);
    let mut service = Service::new(Config::default(), LspSetup::default(), || Scid(7), key).expect("valid settings");
    for record in many::offers(offers, SIZE) {
        service.load(&record).expect("it is ours");
    }
    let _ = service.handle(Input::PeerConnected { peer: peer(1) }, NOON);
    assert!(service.drain().is_empty());
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
        let _ = service.handle(Input::HtlcHeld(htlc), NOON);
        let batch = service.drain();
        assert_eq!(batch.records().count(), 1, "one record");
        written = batch.records().filter_map(|(_, bytes)| bytes).map(<[u8]>::len).sum();
    });
    (allocated.count_total, written)
}

#[test]
fn case_J35_one_htlc_costs_beside_100_000_offers_what_it_costs_beside_1_000() {
    let ((few, small), (many, large)) = (cost_beside(1_000), cost_beside(100_000));
    assert!(many <= few + few / 5, "{few} allocations beside 1 000 offers, {many} beside 100 000");
    assert!(large <= small + 4 && large < 400, "{small} and {large} bytes");
}

//! What an LSP's service costs beside many offers: medians of one run, and their ratio.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lsps_service::{Config, HeldHtlc, Input, PartId, Record, Service};
use lsps_testing::{LspSetup, NOON, many, peer};
use lsps_types::lsps2::PromiseKey;
use lsps_types::{Msat, PaymentHash, Scid};

fn main() {
    let records = many::offers(100_000, SIZE);
    let begun = Instant::now();
    let service_with_many = service(&records);
    println!("100 000 offers loaded in {:?}", begun.elapsed());
    let few = median_of_parts(service(&records[..1_000]), 1_000);
    let many = median_of_parts(service_with_many, 100_000);
    println!("one part and its record, beside   1 000 offers: {few:?}");
    println!("one part and its record, beside 100 000 offers: {many:?}");
    println!("ratio: {:.2}", many.as_secs_f64() / few.as_secs_f64());
    println!("a tick with nothing due, beside 100 000 offers: {:?}", tick(service(&records)));
}

fn service(records: &[Record]) -> Service {
    let key = PromiseKey::new([42; 32]);
    let mut service = Service::new(Config::default(), LspSetup::default(), || Scid(7), key).expect("valid settings");
    for record in records {
        service.load(record).expect("it is ours");
    }
    let _ = service.handle(Input::PeerConnected { peer: peer(1) }, NOON);
    service
}

/// Half a payment to each of some offers.
fn median_of_parts(mut service: Service, offers: u32) -> Duration {
    let half = Msat(SIZE.0 / 2);
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|run| {
            let mut name = [0; 32];
            name[..4].copy_from_slice(&run.to_be_bytes());
            let scid = Scid(u64::from(offers / RUNS * run + 1) << 40);
            let (part, payment_hash) = (PartId(name), PaymentHash(name));
            let htlc = HeldHtlc { part, scid, payment_hash, amount_in: half, onion_amount: half, cltv_expiry: None };
            let begun = Instant::now();
            let _ = black_box(service.handle(Input::HtlcHeld(htlc), NOON));
            let _ = black_box(service.drain());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn tick(mut service: Service) -> Duration {
    let begun = Instant::now();
    for _ in 0..RUNS {
        let _ = black_box(service.handle(Input::Tick, NOON));
        let _ = black_box(service.drain());
    }
    begun.elapsed() / RUNS
}

const SIZE: Msat = Msat(1_000_000_000);
const RUNS: u32 = 900;

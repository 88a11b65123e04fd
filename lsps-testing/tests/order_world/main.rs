//! Random scripts of clients who order channels, payers, a chain that reconsiders, node failures and crashes, with
//! everything checked.
//!
//! `cargo test --release -p lsps-testing --test order_world -- --ignored --nocapture soak` plays for long; `LSPS_STEPS` says how
//! long, `LSPS_SEED` from where.

#![allow(non_snake_case)]

mod crashes;
mod stories;

use std::collections::BTreeMap;

use lsps_testing::order_world::{Amount, OrderWorld, Step};
use proptest::collection::vec;
use proptest::prelude::*;

fn any_step() -> impl Strategy<Value = Step> {
    any::<[u8; 4]>().prop_map(Step::from_bytes)
}

/// Somebody is there and has ordered, so that short scripts come to the point.
const OPENING: [Step; 2] = [Step::Connect { client: 0 }, Step::Order { client: 0, size: 0, refundable: true }];

fn plays(steps: &[Step]) -> OrderWorld {
    OrderWorld::new().play(&OPENING).play(steps).comes_to_rest()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_script_of_orders_keeps_the_invariants(steps in vec(any_step(), 0..120)) {
        let _ = plays(&steps);
    }
}

/// A small generator, so that a seed is all there is to remember.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn script(&mut self, length: usize) -> Vec<Step> {
        (0..length).map(|_| Step::from_bytes(self.next().to_be_bytes()[..4].try_into().expect("four"))).collect()
    }
}

/// The same failure in as few steps as leaving out one by one gives.
fn shrunk(mut script: Vec<Step>) -> Vec<Step> {
    let mut at = script.len();
    while at > 0 {
        at -= 1;
        let mut shorter = script.clone();
        shorter.remove(at);
        if std::panic::catch_unwind(|| plays(&shorter)).is_err() {
            script = shorter;
        }
    }
    script
}

#[test]
#[ignore = "long: see the head of this file"]
fn soak() {
    let read = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (steps, first_seed) = (read("LSPS_STEPS", 10_000_000), read("LSPS_SEED", 1));
    let mut seen: BTreeMap<_, u64> = BTreeMap::new();
    let (mut played, mut deaths, mut channels, mut refunds, mut seed) = (0, 0, 0, 0, first_seed);
    while played < steps {
        let script = Random(seed).script(200);
        let world = std::panic::catch_unwind(|| plays(&script));
        let world = world.unwrap_or_else(|_| panic!("seed {seed}: {:?}", shrunk(script)));
        deaths += world.deaths();
        channels += world.fundings();
        refunds += world.refunds();
        for (pair, count) in world.seen {
            *seen.entry(pair).or_default() += count;
        }
        played += 200;
        seed += 1;
    }
    println!("{played} steps, seeds {first_seed}..{seed}, {deaths} deaths, {channels} channels, {refunds} refunds");
    for ((stage, channel, input), count) in &seen {
        println!("{stage}\t{channel}\t{input}\t{count}");
    }
}

/// The first order is paid.
const PAID: Step = Step::Pay { order: 0, by_offer: false, amount: Amount::Exact, expires_soon: false };

//! Random scripts of clients who order channels, payers, a chain that reconsiders, node failures and crashes, with
//! everything checked.
//!
//! `cargo test --release -p lsps-testing --test order_world -- --ignored --nocapture soak` plays for long; `LSPS_STEPS` says how
//! long, `LSPS_SEED` from where.

#![allow(non_snake_case)]

mod crashes;
mod stories;

use lsps_testing::Seen;
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

#[test]
#[ignore = "long: see the head of this file"]
fn soak() {
    let mut seen = Seen::new();
    let (mut deaths, mut channels, mut refunds) = (0, 0, 0);
    lsps_testing::soak(
        Step::from_bytes,
        |_, script| plays(script),
        |world| {
            deaths += world.deaths();
            channels += world.fundings();
            refunds += world.refunds();
            world.seen().iter().for_each(|(pair, count)| *seen.entry(*pair).or_default() += count);
        },
    );
    println!("{deaths} deaths, {channels} channels, {refunds} refunds; inputs by state of order and channel:");
    for ((stage, channel, input), count) in &seen {
        println!("{stage}\t{channel}\t{input}\t{count}");
    }
}

/// The first order is paid.
const PAID: Step = Step::Pay { order: 0, by_offer: false, amount: Amount::Exact, expires_soon: false };

//! Random scripts of a wallet with false LSPs, on a node that loses unsaved state, with crashes between any two writes
//! and acts. All invariants are checked.
//!
//! Long run: `cargo test --release -p lsps-testing --test wallet_world -- --ignored --nocapture soak`. `LSPS_STEPS`
//! sets its length, `LSPS_SEED` its first seed.

#![allow(non_snake_case)]

mod found;
mod stories;
mod tapes;

use lsps_testing::wallet_world::{Step, WalletWorld};
use proptest::collection::vec;
use proptest::prelude::*;

fn plays(kind: u64, steps: &[Step]) -> WalletWorld {
    WalletWorld::new(kind).play(steps).comes_to_rest()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_script_of_a_wallet_keeps_the_invariants(kind in 0..8u64, steps in vec(any::<[u8; 4]>(), 0..120)) {
        let steps: Vec<Step> = steps.into_iter().map(Step::from_bytes).collect();
        let _ = plays(kind, &steps);
    }
}

/// Each run plays the same scripts; `soak` plays others.
#[test]
fn no_script_takes_money_from_a_wallet() {
    lsps_testing::play_seeds(1..40, Step::from_bytes, plays, drop);
}

#[test]
#[ignore = "long: see the head of this file"]
fn soak() {
    let (mut deaths, mut sums) = (0, [0; 3]);
    lsps_testing::soak(Step::from_bytes, plays, |world| {
        deaths += world.deaths();
        sums.iter_mut().zip(world.sums()).for_each(|(sum, more)| *sum += more);
    });
    let [claimed, fees, orders] = sums;
    println!("{deaths} deaths, {claimed} payments claimed, {fees} fees kept, {orders} orders paid");
}

/// Prints the number of steps until each kind of failure; `soak` stops at the first failure.
#[test]
#[ignore = "long: see the head of this file"]
fn power() {
    lsps_testing::power(Step::from_bytes, plays);
}

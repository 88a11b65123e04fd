//! Random scripts of clients that order channels, payers, chain reorganizations, node failures and crashes, with all
//! checks.
//!
//! `cargo test --release -p lsps-testing --test order_world -- --ignored --nocapture soak` plays for long; `LSPS_STEPS`
//! says how long, `LSPS_SEED` from where.

#![allow(non_snake_case)]

mod crashes;
mod found;
mod stories;

use lsps_testing::Seen;
use lsps_testing::order_world::{Amount, OrderWorld, Step};
use proptest::collection::vec;
use proptest::prelude::*;

fn any_step() -> impl Strategy<Value = Step> {
    any::<[u8; 4]>().prop_map(Step::from_bytes)
}

/// A client is connected and has ordered, so that short scripts reach the interesting states.
const OPENING: [Step; 2] = [Step::Connect { client: 0 }, Step::Order { client: 0, size: 0, refundable: true }];

fn plays(is_taped: bool, steps: &[Step]) -> OrderWorld {
    let world = OrderWorld::new();
    let world = if is_taped { world.taped() } else { world };
    world.play(&OPENING).play(steps).comes_to_rest()
}

fn plays_hostile(is_taped: bool, steps: &[Step]) -> OrderWorld {
    let world = OrderWorld::new().hostile();
    let world = if is_taped { world.taped() } else { world };
    world.play(&OPENING).play(steps).comes_to_rest()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn any_script_of_orders_keeps_the_invariants(steps in vec(any_step(), 0..120)) {
        let _ = plays(false, &steps);
    }
}

#[test]
#[ignore = "long: see the head of this file"]
fn soak() {
    let mut seen = Seen::new();
    let (mut deaths, mut channels, mut refunds) = (0, 0, 0);
    lsps_testing::soak(
        kept,
        |seed, script| played(seed % 8 == 0, script),
        |world| {
            deaths += world.deaths();
            channels += world.fundings();
            refunds += world.refunds();
            world.seen().into_iter().for_each(|(pair, count)| *seen.entry(pair).or_default() += count);
        },
    );
    println!("{deaths} deaths, {channels} channels, {refunds} refunds; inputs by state of order and channel:");
    for ((stage, channel, input), count) in &seen {
        println!("{stage}\t{channel}\t{input}\t{count}");
    }
}

/// The test plays the same scripts in each run; `soak` plays others.
#[test]
fn no_hostile_script_takes_money_from_an_lsp_that_sells_orders() {
    lsps_testing::play_seeds(1..100, Step::hostile, |_, script| plays_hostile(false, script), drop);
}

/// The same scripts for a node that is reached over a connection.
#[test]
fn no_hostile_script_takes_money_from_an_lsp_whose_node_is_reached_over_a_connection() {
    let plays =
        |_: u64, script: &[Step]| OrderWorld::new().remote().hostile().play(&OPENING).play(script).comes_to_rest();
    lsps_testing::play_seeds(1..60, Step::hostile, plays, drop);
}

/// Prints how soon the world finds each fault; `soak` stops at the first.
#[test]
#[ignore = "long: see the head of this file"]
fn power() {
    lsps_testing::power(kept, |_, script| played(false, script));
}

fn played(is_taped: bool, script: &[Step]) -> OrderWorld {
    let play = if malice().as_deref() == Some(NONE) { plays } else { plays_hostile };
    play(is_taped, script)
}

/// `LSPS_MALICE` names the hostile steps that may happen, for example `PayOdd,Dust`, so that one sees what each of them
/// finds. With `none` the world is not hostile.
fn malice() -> Option<String> {
    std::env::var("LSPS_MALICE").ok()
}

fn kept(bytes: [u8; 4]) -> Step {
    let step = Step::hostile(bytes);
    let Some(only) = malice() else { return step };
    if only == NONE {
        return Step::from_bytes(bytes);
    }
    let name = format!("{step:?}").split(' ').next().unwrap_or_default().to_string();
    if MALICE.contains(&name.as_str()) && !only.split(',').any(|kept| kept == name) { Step::Save } else { step }
}

const NONE: &str = "none";
const MALICE: [&str; 6] = ["PayOdd", "WrongSecret", "Dust", "Feerate", "Ordinary", "Proceed"];

/// The first order is paid.
const PAID: Step = Step::Pay { order: 0, by_offer: false, amount: Amount::Exact, expires_soon: false };

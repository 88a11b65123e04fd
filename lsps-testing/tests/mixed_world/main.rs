//! Random scripts of clients who buy JIT channels, order channels and have webhooks at the same LSP, with everything checked.
//!
//! `cargo test --release -p lsps-testing --test mixed_world -- --ignored --nocapture soak` plays for long; `LSPS_STEPS` says
//! how long, `LSPS_SEED` from where.

#![allow(non_snake_case)]

mod crashes;

use lsps_service::Trust;
use lsps_testing::mixed_world::{MixedWorld, Step};
use lsps_testing::{Seen, order_world, world};

/// A client is there, has ordered a channel, and has bought one.
const OPENING: [Step; 3] = [
    Step::Order(order_world::Step::Connect { client: 0 }),
    Step::Order(order_world::Step::Order { client: 0, size: 0, refundable: true }),
    Step::Sale(world::Step::Buy { client: 0, fixed: true }),
];

fn plays(trust: Trust, is_taped: bool, steps: &[Step]) -> MixedWorld {
    let world = MixedWorld::new(trust);
    let world = if is_taped { world.taped() } else { world };
    world.play(&OPENING).play(steps).comes_to_rest()
}

fn trust(seed: u64) -> Trust {
    if seed.is_multiple_of(2) { Trust::LspTrustsClient } else { Trust::ClientTrustsLsp }
}

/// The same scripts at each run; `soak` plays others.
#[test]
fn no_script_of_sales_and_orders_takes_money_from_an_lsp() {
    lsps_testing::play_seeds(1..150, Step::hostile, |seed, script| plays(trust(seed), false, script), drop);
}

#[test]
#[ignore = "long: see the head of this file"]
fn soak() {
    let (mut seen, mut deaths, mut fundings) = (Seen::new(), 0, [0, 0]);
    lsps_testing::soak(
        Step::hostile,
        |seed, script| plays(trust(seed), seed % 16 == 0, script),
        |world| {
            deaths += world.deaths();
            fundings.iter_mut().zip(world.fundings()).for_each(|(sum, count)| *sum += count);
            world.seen().into_iter().for_each(|(pair, count)| *seen.entry(pair).or_default() += count);
        },
    );
    println!("{deaths} deaths; {fundings:?} channels of sales and of orders; inputs by state:");
    for ((first, second, input), count) in &seen {
        println!("{first}\t{second}\t{input}\t{count}");
    }
}

/// How soon the world finds what, where `soak` stops at the first.
#[test]
#[ignore = "long: see the head of this file"]
fn power() {
    lsps_testing::power(Step::hostile, |seed, script| plays(trust(seed), false, script));
}

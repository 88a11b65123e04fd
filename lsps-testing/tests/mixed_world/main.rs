//! Random scripts of clients that buy JIT channels, order channels and register webhooks at one LSP. All invariants are
//! checked.
//!
//! Long run: `cargo test --release -p lsps-testing --test mixed_world -- --ignored --nocapture soak`. `LSPS_STEPS` sets
//! its length, `LSPS_SEED` its first seed.

#![allow(non_snake_case)]

mod crashes;
mod found;

use lsps_service::Trust;
use lsps_testing::mixed_world::{MixedWorld, Step};
use lsps_testing::{Seen, order_world, world};

/// A client connects, orders a channel, and buys a JIT channel.
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

/// Each run plays the same scripts; `soak` plays others.
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

/// Prints the number of steps until each kind of failure; `soak` stops at the first failure.
#[test]
#[ignore = "long: see the head of this file"]
fn power() {
    lsps_testing::power(Step::hostile, |seed, script| plays(trust(seed), false, script));
}

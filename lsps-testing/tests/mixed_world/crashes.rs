//! The LSP's process crashes at every possible point while a client pays for an order, is paid over a JIT channel and
//! is notified by its webhook. Each script then ends as it does without a crash.

use lsps_service::Trust;
use lsps_testing::mixed_world::{MixedWorld, Step};
use lsps_testing::order_world::{self, Amount};
use lsps_testing::world;

use crate::OPENING;

const HOOK: Step = Step::Sale(world::Step::SetWebhook { client: 0, app: 0, url: 0 });
const AWAY: Step = Step::Order(order_world::Step::Disconnect { client: 0 });
const PAY_ORDER: Step =
    Step::Order(order_world::Step::Pay { order: 0, by_offer: false, amount: Amount::Exact, expires_soon: false });
const PAY_ON_CHAIN: Step = Step::Order(order_world::Step::Deposit { order: 0, amount: Amount::Exact, is_dear: false });
const PAY_CLIENT: Step = Step::Sale(world::Step::Pay { offer: 0, hash: 0, tenths: 10, expires_soon: false });
const BLOCK: Step = Step::Sale(world::Step::Block { is_full: false });
/// The client connects, and both channels proceed as far as they can.
const PROCEED: Step = Step::Sale(world::Step::Proceed { client: 0 });
const CLAIM: Step = Step::Sale(world::Step::Claim { payment: 0, rounded: false });
/// Repeats steps that a crash undid.
const AGAIN: [Step; 6] = [PROCEED, PROCEED, CLAIM, PROCEED, CLAIM, BLOCK];

/// Complete scripts, each of which ends with a channel of the order and a JIT channel.
const LIVES: [(&str, &[Step]); 3] = [
    ("the order is paid first", &[HOOK, PAY_ORDER, PROCEED, PAY_CLIENT, PROCEED, CLAIM, BLOCK]),
    ("both are paid while the client is away", &[HOOK, AWAY, PAY_CLIENT, PAY_ORDER, PROCEED, CLAIM, BLOCK]),
    ("on the chain, beside a JIT payment", &[PAY_CLIENT, PAY_ON_CHAIN, BLOCK, PROCEED, CLAIM, BLOCK]),
];

fn plays(trust: Trust, steps: &[Step]) -> MixedWorld {
    MixedWorld::new(trust).play(&OPENING).play(steps)
}

#[test]
fn a_crash_anywhere_costs_neither_the_channel_of_an_order_nor_that_of_a_sale() {
    let mut points = 0;
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        for (name, life) in LIVES {
            assert_eq!(plays(trust, life).play(&AGAIN).comes_to_rest().fundings(), [1, 1], "{name} without a crash");
            for at in 1..=life.len() {
                for saved in [false, true] {
                    for after in 0.. {
                        let (before, rest) = life.split_at(at);
                        let (last, before) = before.split_last().expect("at least one");
                        let crash = [Step::Sale(world::Step::Crash { after, saved }), *last];
                        let world = plays(trust, before).play(&crash);
                        if world.deaths() == 0 {
                            break; // it does not do so much in this step
                        }
                        points += 1;
                        let world = world.play(rest).play(&AGAIN).comes_to_rest();
                        assert_eq!(world.fundings(), [1, 1], "{name}: {crash:?} at step {at}");
                    }
                }
            }
        }
    }
    assert!(points > 200, "{points} crash points");
}

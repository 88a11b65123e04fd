//! The LSP's process dies at every possible place: before a write, after it, and after each act, with the node saved at
//! the last moment or not. A life with a crash has to end like the same life without one. In any case no money is lost,
//! nobody hears two outcomes and nothing is stuck, which the world checks.

use lsps_service::Trust;
use lsps_testing::world::{Step, World};

/// Lives in steps. After a crash all peers connect again and repeat the messages that the crash swallowed.
const LIVES: [(&str, &[Step]); 7] = [
    (
        "a payment in two parts",
        &[BUY, HALF, HALF, ACCEPT, SIGN, Step::Save, READY, Step::Save, CLAIM, Step::Save, BLOCK],
    ),
    (
        "one part of any size",
        &[Step::Buy { client: 0, fixed: false }, WHOLE, ACCEPT, SIGN, Step::Save, READY, Step::Save, CLAIM],
    ),
    (
        "a probe, then a payment in two parts",
        &[
            BUY,
            WHOLE,
            ACCEPT,
            SIGN,
            Step::Save,
            READY,
            Step::Save,
            FAIL,
            Step::Save,
            HALF_2,
            HALF_2,
            ACCEPT,
            SIGN,
            Step::Save,
            READY,
            Step::Save,
            CLAIM,
        ],
    ),
    (
        "an open that is refused",
        &[BUY, WHOLE, Step::Reject { channel: 0 }, WHOLE_2, ACCEPT, SIGN, Step::Save, READY, Step::Save, CLAIM],
    ),
    (
        "half a payment",
        &[BUY, HALF, Step::Wait { seconds: 91 }, HALF_2, HALF_2, ACCEPT, SIGN, Step::Save, READY, Step::Save, CLAIM],
    ),
    (
        "a client that is called by its webhooks",
        &[
            Step::SetWebhook { client: 0, app: 0, url: 0 },
            Step::SetWebhook { client: 0, app: 2, url: 0 },
            BUY,
            Step::Disconnect { client: 0 },
            WHOLE,
            CONNECT,
            ACCEPT,
            SIGN,
            Step::Save,
            READY,
            Step::Save,
            CLAIM,
        ],
    ),
    (
        "a client that goes and comes",
        &[
            BUY,
            Step::Disconnect { client: 0 },
            WHOLE,
            CONNECT,
            ACCEPT,
            SIGN,
            Step::Save,
            Step::Disconnect { client: 0 },
            CONNECT,
            USABLE,
            READY,
            Step::Save,
            CLAIM,
        ],
    ),
];

const BUY: Step = Step::Buy { client: 0, fixed: true };
const CONNECT: Step = Step::Connect { client: 0 };
const USABLE: Step = Step::Usable { client: 0 };
const HALF: Step = Step::Pay { offer: 0, hash: 0, tenths: 5, expires_soon: false };
const WHOLE: Step = Step::Pay { offer: 0, hash: 0, tenths: 10, expires_soon: false };
const HALF_2: Step = Step::Pay { offer: 0, hash: 1, tenths: 5, expires_soon: false };
const WHOLE_2: Step = Step::Pay { offer: 0, hash: 1, tenths: 10, expires_soon: false };
const ACCEPT: Step = Step::Accept { channel: 0, greedy: false };
const SIGN: Step = Step::Sign { channel: 0 };
const READY: Step = Step::Ready { channel: 0 };
const CLAIM: Step = Step::Claim { payment: 0, rounded: false };
const FAIL: Step = Step::Fail { payment: 0 };
const BLOCK: Step = Step::Block { is_full: false };
/// Steps that complete a payment after a crash set it back: all clients are connected again, and the channel that the
/// payment needs is opened.
const AGAIN: [Step; 12] =
    [CONNECT, USABLE, Step::Save, ACCEPT, SIGN, Step::Save, READY, Step::Save, USABLE, CLAIM, Step::Save, BLOCK];

fn plays(trust: Trust, steps: &[Step]) -> World {
    World::new(trust).play(&[CONNECT, USABLE]).play(steps)
}

/// Whether the payer of the last payment paid.
fn is_paid(world: &World) -> bool {
    world.outcomes().last() == Some(&Some(true))
}

#[test]
fn case_J32_case_H03_a_crash_anywhere_changes_no_outcome() {
    let (mut points, mut deaths) = (0, 0);
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        for (name, life) in LIVES {
            assert!(is_paid(&plays(trust, life).play(&AGAIN).comes_to_rest()), "{name} without a crash");
            for at in 1..=life.len() {
                for saved in [false, true] {
                    let mut after = 0;
                    loop {
                        let (before, rest) = life.split_at(at);
                        let (last, before) = before.split_last().expect("at least one");
                        let crash = [Step::Crash { after, saved }, *last];
                        let world = plays(trust, before).play(&crash);
                        if world.deaths() == 0 {
                            break; // it does not do so much in this step
                        }
                        points += 1;
                        let world = world.play(&[CONNECT, USABLE]).play(rest).play(&AGAIN);
                        deaths += world.deaths();
                        let world = world.comes_to_rest();
                        // The outcome may differ for a sale that was never answered, and for a client that leaves while
                        // the second open waits for it.
                        let may_differ = world.outcomes().is_empty() || name.starts_with("a client that goes");
                        assert!(is_paid(&world) || may_differ, "{name}, {trust:?}: {crash:?} at step {at}");
                        after += 1;
                    }
                }
            }
        }
    }
    println!("{points} crash points, {deaths} deaths");
    assert!(points > 500, "{points} crash points");
}

#[test]
fn case_H01_a_store_that_fails_for_a_while_changes_no_outcome() {
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        for (name, life) in LIVES {
            for from in 1..life.len() {
                for until in from..=life.len() {
                    let (before, rest) = life.split_at(from);
                    let (during, after) = rest.split_at(until - from);
                    let world = plays(trust, before).play(&[Step::Store { works: false }]).play(during);
                    let world = world.play(&[Step::Store { works: true }]).play(after).play(&AGAIN).comes_to_rest();
                    // Nothing is sent while nothing is written, so a life may have to be lived again.
                    assert!(world.outcomes().iter().all(Option::is_some), "{name}, {trust:?}: {from}..{until}");
                }
            }
        }
    }
}

#[test]
fn what_is_another_processs_is_left_alone_at_once() {
    let mut points = 0;
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        for (name, life) in LIVES {
            for at in 1..=life.len() {
                for is_told in [false, true] {
                    for after in 0.. {
                        let (before, rest) = life.split_at(at);
                        let (last, before) = before.split_last().expect("at least one");
                        let fence = [Step::Fence { after, is_told }, *last];
                        // The world fails if anything is written, sent, broadcast or requested of the node after that.
                        let world = plays(trust, before).play(&fence);
                        if world.deaths() == 0 {
                            break; // it does not write so much in this step
                        }
                        points += 1;
                        let world = world.play(&[CONNECT, USABLE]).play(rest).play(&AGAIN).comes_to_rest();
                        let may_differ = world.outcomes().is_empty() || name.starts_with("a client that goes");
                        assert!(is_paid(&world) || may_differ, "{name}, {trust:?}: {fence:?} at step {at}");
                    }
                }
            }
        }
    }
    println!("{points} times another process took over");
    assert!(points > 200, "{points}");
}

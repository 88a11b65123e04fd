//! The LSP's process dies at every possible place: before a write, after it, and after each act, with the node saved at
//! the last moment or not. A life with a crash has to end like the same life without one.

use lsps_testing::order_world::{Amount, OrderWorld, Step};

use crate::{OPENING, PAID};

/// Outcome of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Channel,
    Refund,
}

/// Lives in steps, and their outcomes. A crash changes when things happen and may end an open, but does not change the
/// outcome.
const LIVES: [(&str, &[Step], End); 7] = [
    ("O06: an invoice is paid", &[PAID, ACCEPT, SIGN, Step::Save, READY, Step::Save, BLOCKS], End::Channel),
    ("O06: an offer is paid", &[PAID_BY_OFFER, ACCEPT, SIGN, Step::Save, READY, Step::Save, BLOCKS], End::Channel),
    ("O07: a transaction pays", &[DEPOSIT, BLOCK, ACCEPT, SIGN, Step::Save, READY, Step::Save, BLOCKS], End::Channel),
    ("O07: two half payments", &[HALF, HALF, BLOCK, ACCEPT, SIGN, Step::Save, READY, Step::Save, BLOCKS], End::Channel),
    ("O07: half a payment", &[HALF, BLOCK, Step::Wait { seconds: 7_201 }, BLOCKS, BLOCKS], End::Refund),
    ("O08: its client stays away", &[AWAY, DEPOSIT, BLOCK, Step::Wait { seconds: 7_201 }, BLOCKS, BLOCKS], End::Refund),
    (
        "O09: an open without an answer",
        &[
            DEPOSIT,
            BLOCK,
            ACCEPT,
            Step::Wait { seconds: 61 },
            Step::Wait { seconds: 61 },
            ACCEPT,
            Step::Wait { seconds: 7_201 },
            BLOCKS,
        ],
        End::Refund,
    ),
];

const GIFT: Step = Step::Gift { client: 0 };
const PAID_BY_OFFER: Step = Step::Pay { order: 0, by_offer: true, amount: Amount::Exact, expires_soon: false };
const DEPOSIT: Step = Step::Deposit { order: 0, amount: Amount::Exact, is_dear: false };
const HALF: Step = Step::Deposit { order: 0, amount: Amount::Half, is_dear: false };
const AWAY: Step = Step::Disconnect { client: 0 };
const ACCEPT: Step = Step::Accept { channel: 0 };
const SIGN: Step = Step::Sign { channel: 0 };
const READY: Step = Step::Ready { channel: 0 };
const BLOCK: Step = Step::Blocks { count: 1, are_full: false };
const BLOCKS: Step = Step::Blocks { count: 6, are_full: false };
/// Steps that complete an order after a crash set it back: its client is connected again, and the paid channel is
/// opened.
const AGAIN: [Step; 8] = [OPENING[0], Step::Save, ACCEPT, SIGN, Step::Save, READY, Step::Save, BLOCK];

fn plays(steps: &[Step]) -> OrderWorld {
    OrderWorld::new().play(&OPENING).play(steps)
}

/// Has the process die at each point of each step of `life`, and passes each world, the steps that are left and the text of the
/// crash to `check`. Returns the number of points.
fn crashes(life: &[Step], plays: impl Fn(&[Step]) -> OrderWorld, check: impl Fn(OrderWorld, &[Step], &str)) -> usize {
    let mut points = 0;
    for at in 1..=life.len() {
        for saved in [false, true] {
            for after in 0.. {
                let (before, rest) = life.split_at(at);
                let (last, before) = before.split_last().expect("at least one");
                let crash = [Step::Crash { after, saved }, *last];
                let world = plays(before).play(&crash);
                if world.deaths() == 0 {
                    break; // it does not do so much in this step
                }
                points += 1;
                check(world, rest, &format!("{crash:?} at step {at}"));
            }
        }
    }
    points
}

fn end(world: &OrderWorld) -> End {
    if world.fundings() > 0 { End::Channel } else { End::Refund }
}

#[test]
fn case_O15_a_crash_anywhere_changes_no_outcome() {
    let mut points = 0;
    for (name, life, wanted) in LIVES {
        let again = if wanted == End::Channel { AGAIN.as_slice() } else { &[] };
        assert_eq!(end(&plays(life).play(again).comes_to_rest()), wanted, "{name} without a crash");
        points += crashes(life, plays, |world, rest, crash| {
            let world = world.play(rest).play(again).comes_to_rest();
            assert_eq!(end(&world), wanted, "{name}: {crash}");
            let is_paid = world.outcomes().iter().all(|outcome| *outcome == Some(true));
            assert!(is_paid || wanted == End::Refund, "{name}: {crash}");
        });
    }
    assert!(points > 300, "{points} crash points");
}

/// A client that got no answer asks again; what it was given before that answer was lost, it refuses.
#[test]
fn case_Z03_a_crash_between_any_two_steps_takes_no_free_channel_and_gives_no_second() {
    const LIFE: [Step; 7] = [GIFT, ACCEPT, SIGN, Step::Save, READY, Step::Save, BLOCKS];
    let plays = |steps: &[Step]| OrderWorld::new().play(&OPENING[..1]).play(steps);
    assert_eq!(plays(&LIFE).comes_to_rest().fundings(), 1);
    let points = crashes(&LIFE, plays, |world, rest, crash| {
        let mut world = world.play(&[OPENING[0]]);
        let is_known = !world.attempts().is_empty();
        let asks = if is_known { &[][..] } else { &[GIFT][..] };
        let world = world.play(asks).play(rest).play(&AGAIN).comes_to_rest();
        assert_eq!((world.fundings(), world.outcomes()), (1, vec![]), "{crash}");
    });
    assert!(points > 30, "{points} crash points");
}

#[test]
fn case_H01_a_store_that_fails_for_a_while_changes_no_outcome_of_an_order() {
    for (name, life, wanted) in LIVES {
        for from in 1..life.len() {
            let (before, rest) = life.split_at(from);
            let (during, after) = rest.split_at(1);
            let world = plays(before).play(&[Step::Store { works: false }]).play(during);
            let world = world.play(&[Step::Store { works: true }]).play(after);
            let world = if wanted == End::Channel { world.play(&AGAIN) } else { world };
            assert_eq!(end(&world.comes_to_rest()), wanted, "{name}: at step {from}");
        }
    }
}

//! Situations that need a node with a memory of its own, or a chain reorganization; most were found by random testing.

use lsps_testing::order_world::{Amount, OrderWorld, Step};

use crate::{OPENING, PAID};

const DEPOSIT: Step = Step::Deposit { order: 0, amount: Amount::Exact, is_dear: true };
const OPENS: [Step; 4] = [Step::Accept { channel: 0 }, Step::Sign { channel: 0 }, Step::Save, Step::Save];

fn plays(steps: &[Step]) -> OrderWorld {
    OrderWorld::new().play(&OPENING).play(steps)
}

#[test]
fn case_O06_a_paid_order_has_its_channel() {
    let world = plays(&[PAID]).play(&OPENS).comes_to_rest();
    assert_eq!((world.fundings(), world.outcomes(), world.refunds()), (1, vec![Some(true)], 0));
}

/// An order that is paid in each way, opened at a second try, and one that is refunded.
#[test]
fn an_order_at_a_node_that_is_reached_over_a_connection_ends_as_at_one_in_the_process() {
    let fails = [Step::Reject { channel: 0 }, Step::Cancel { order: 0 }];
    let blocks = Step::Blocks { count: 8, are_full: false };
    for script in [vec![PAID], vec![DEPOSIT], vec![PAID, DEPOSIT], [&[DEPOSIT][..], &fails, &[blocks]].concat()] {
        let ends = |world: OrderWorld| {
            let world = world.play(&OPENING).play(&script).play(&OPENS).comes_to_rest();
            (world.fundings(), world.outcomes(), world.refunds())
        };
        assert_eq!(ends(OrderWorld::new().remote()), ends(OrderWorld::new()), "{script:?}");
    }
}

#[test]
fn case_O08_no_channel_is_tried_with_a_client_that_leaves_as_the_block_comes_that_pays_its_order() {
    let mut world = plays(&[Step::Deposit { order: 0, amount: Amount::Exact, is_dear: false }]);
    assert_eq!(world.attempts(), [0], "it has to confirm");
    world = world.leaves_as_a_block_comes(0);
    assert_eq!(world.attempts(), [0], "its client is away");
    let world = world.play(&[Step::Connect { client: 0 }]).play(&OPENS).comes_to_rest();
    assert_eq!((world.fundings(), world.refunds()), (1, 0));
}

#[test]
fn case_O11_two_ways_paid_at_once_make_one_channel_and_one_refund() {
    let world = plays(&[PAID, DEPOSIT]).play(&OPENS).comes_to_rest();
    assert_eq!((world.fundings(), world.outcomes(), world.refunds()), (1, vec![Some(true)], 1));
}

#[test]
fn case_O07_a_payment_without_confirmations_that_is_replaced_and_comes_back_is_not_given_back() {
    let (replaced, back) = (Step::Replace { deposit: 0 }, Step::ComeBack { deposit: 0 });
    let world = plays(&[DEPOSIT]).play(&OPENS).play(&[replaced, back]).comes_to_rest();
    assert_eq!((world.fundings(), world.refunds()), (1, 0));
}

/// Found by random testing: a deposit was not kept because another deposit of its order was already being kept.
#[test]
fn case_O07_dust_of_an_order_that_is_no_more_is_kept_each_by_itself() {
    let pay = Step::Pay { order: 0, by_offer: true, amount: Amount::Over, expires_soon: false };
    let deposit = |amount, is_dear| Step::Deposit { order: 0, amount, is_dear };
    let (exact, dust) = (deposit(Amount::Exact, false), |is_dear| deposit(Amount::Dust, is_dear));
    let day = Step::Blocks { count: 150, are_full: false };
    let crash = |after, saved| Step::Crash { after, saved };
    let start = [pay, Step::NoCoins, OPENS[0], exact, exact, exact, Step::Retry { order: 0 }, day, OPENING[0]];
    let world = plays(&start).play(&[Step::Wait { seconds: 601 }, crash(11, false), dust(false)]);
    let world = world.play(&[Step::Store { works: true }, crash(8, true), dust(true), deposit(Amount::Half, true)]);
    let world = world.play(&[Step::Blocks { count: 2, are_full: false }]).comes_to_rest();
    assert_eq!(world.fundings(), 0);
}

#[test]
fn case_O06_a_claim_that_waited_for_the_store_takes_the_payment_that_came_after() {
    let late = |amount| Step::Pay { order: 0, by_offer: false, amount, expires_soon: true };
    let store = |works| Step::Store { works };
    let day = Step::Blocks { count: 150, are_full: false };
    let world = plays(&[late(Amount::Over)]).play(&OPENS[..2]).play(&[store(false), Step::Save, day, Step::Save]);
    let world = world.play(&[late(Amount::Exact), store(true)]).comes_to_rest();
    assert_eq!((world.fundings(), world.outcomes()), (1, vec![Some(false), Some(true)]));
}

/// The deposit pays for the channel while the store fails, and is replaced before the wallet is told that it may spend it.
#[test]
fn case_O07_a_deposit_that_is_replaced_while_the_store_fails_is_booked_as_received_and_lost() {
    let deposit = |amount, is_dear| Step::Deposit { order: 0, amount, is_dear };
    let store_fails = [OPENS[0], Step::Store { works: false }, OPENS[1], deposit(Amount::Exact, false), Step::Save];
    let world = plays(&[deposit(Amount::Over, true)]).play(&store_fails).play(&[Step::Replace { deposit: 0 }]);
    assert_eq!(world.comes_to_rest().fundings(), 1);
}

#[test]
fn case_O15_a_claim_that_a_crash_takes_back_is_asked_for_again() {
    for saved in [false, true] {
        for after in 0..8 {
            let crash = [Step::Crash { after, saved }, Step::Save, OPENING[0], Step::Save];
            let world = plays(&[PAID]).play(&OPENS[..2]).play(&crash).play(&OPENS).comes_to_rest();
            assert_eq!((world.fundings(), world.outcomes()), (1, vec![Some(true)]), "{after}, {saved}");
        }
    }
}

#[test]
fn case_O10_dust_that_came_after_the_payment_is_no_part_of_it() {
    let deposit = |amount, is_dear| Step::Deposit { order: 0, amount, is_dear };
    let (proceed, block) = (Step::Proceed { client: 0 }, Step::Blocks { count: 1, are_full: false });
    let parts = [deposit(Amount::Short, true), deposit(Amount::Half, false), block, proceed];
    let dust = [Step::Watch { works: false }, proceed, Step::Dust { order: 0, count: 4 }];
    let world = OrderWorld::new().hostile().play(&OPENING).play(&parts).play(&dust);
    assert_eq!(world.play(&[Step::Blocks { count: 3, are_full: false }]).comes_to_rest().fundings(), 1);
}

/// A client with one channel orders another, and signs it only when that is abandoned. Somebody pays the client a tiny
/// amount over its old channel. The node sends that over the new channel, which has the least room, and the client
/// holds it until the payment of its order is over.
#[test]
fn case_X07_who_signs_late_and_has_something_on_the_channel_pays_for_it() {
    let (store, ordinary) = (|works| Step::Store { works }, Step::Ordinary { client: 0, keeps: true });
    let order = Step::Order { client: 0, size: 1, refundable: false };
    let pay = Step::Pay { order: 1, by_offer: false, amount: Amount::Exact, expires_soon: false };
    let first = plays(&[PAID]).hostile().play(&OPENS).play(&[Step::Ready { channel: 0 }, Step::Save]);
    let late = [store(false), Step::Wait { seconds: 61 }, Step::Sign { channel: 0 }, Step::Save];
    let world = first.play(&[order, pay, Step::Accept { channel: 0 }]).play(&late);
    let used = [Step::Ready { channel: 0 }, Step::Save, ordinary, store(true), Step::Save];
    let day = Step::Blocks { count: 150, are_full: false };
    let world = world.play(&used).play(&[day, day, day]).comes_to_rest();
    assert_eq!((world.fundings(), world.outcomes()), (2, vec![Some(true), Some(true)]));
}

#[test]
fn case_O07_a_watcher_that_is_behind_at_the_start_makes_no_deposit_vanish() {
    let deposit = Step::Deposit { order: 0, amount: Amount::Exact, is_dear: false };
    let blocks = Step::Blocks { count: 2, are_full: false };
    let proceed = Step::Proceed { client: 0 };
    let dies = [Step::Behind { is_behind: true }, Step::Crash { after: 0, saved: true }, proceed];
    let world = plays(&[Step::Disconnect { client: 0 }, deposit, blocks]).play(&dies).play(&[proceed, proceed]);
    assert_eq!((world.deaths(), world.fundings()), (1, 1), "what was paid counts while nobody knows better");
    let world = world.play(&[Step::Behind { is_behind: false }, Step::Save]).comes_to_rest();
    assert_eq!((world.fundings(), world.refunds()), (1, 0));
}

/// A client with a channel, and a second order that is paid. The client has not yet answered the open.
fn paid_order_of_a_client_with_a_channel() -> OrderWorld {
    let order = Step::Order { client: 0, size: 0, refundable: false };
    let pay = Step::Pay { order: 1, by_offer: false, amount: Amount::Exact, expires_soon: false };
    let first = plays(&[PAID]).hostile().play(&OPENS).play(&[Step::Ready { channel: 0 }, Step::Save]);
    first.play(&[order, pay])
}

/// A stranger that knows the payment hash of an order sends the same amount through the LSP to a node of its own.
#[test]
fn case_X05_a_payment_that_is_gone_is_missed_though_an_htlc_with_its_hash_is_forwarded() {
    let stranger = [Step::SameHash { client: 0, payment: 1 }, Step::PayerGone { payment: 0 }, Step::Save];
    let world = paid_order_of_a_client_with_a_channel().play(&stranger).play(&[Step::Wait { seconds: 6 }]);
    let world = world.play(&OPENS).comes_to_rest();
    assert_eq!((world.fundings(), world.outcomes()), (1, vec![Some(true), Some(false)]));
}

/// The channel of a part was closed, or the part failed by itself: LDK would claim nothing.
#[test]
fn case_X05_an_order_whose_payment_is_incomplete_by_now_is_not_published() {
    let gone = [OPENS[0], Step::Wait { seconds: 6 }, Step::PartGone { payment: 0 }];
    let world = paid_order_of_a_client_with_a_channel().play(&gone);
    let world = world.play(&OPENS[1..]).comes_to_rest();
    assert_eq!((world.fundings(), world.outcomes()), (1, vec![Some(true), Some(false)]));
}

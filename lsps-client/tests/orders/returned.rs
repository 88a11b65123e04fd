//! A payment over Lightning that was failed: only the LSP knows whether it held the payment.

use lsps_client::Effect;
use lsps_client::jit_receive::{Handled, RefuseChannel};
use lsps_client::order::{End, Event, OrderKey, Payment, PaymentMethod, Unpaid};
use lsps_types::lsps1::{LightningState, OnchainState, Order as Reply};

use crate::channels::request;
use crate::common::{DAY, HOUR, LSP};
use crate::desk::{Desk, Manner, completed, failed, made, order, with_states};

const BOTH: [PaymentMethod; 2] = [PaymentMethod::Bolt11, PaymentMethod::Bolt12];
const NOT_FOUND: Manner = Manner::Says("error", r#"{"code":101,"message":"?","data":{}}"#);

/// L1-073, L1-081, L1-087
#[test]
fn case_O06_a_payment_that_the_lsp_held_and_gave_back_before_it_was_asked_is_a_refund() {
    for method in BOTH {
        let mut desk = Desk::new();
        let key = desk.pays(method);
        desk.asked.clear();
        desk.tells(failed(&lightning(LightningState::Refunded)));
        returns(&mut desk, key);
        assert_eq!(desk.asked, [desk.now], "at once, not when it would have been its turn");
        assert_eq!(desk.order(key).end(), Some(&End::Refunded));
        assert_eq!(desk.effects(), [], "it is not paid again, nor stopped");
        let questions = desk.asked.len();
        desk.passes(DAY);
        assert_eq!(desk.asked.len(), questions);
    }
}

#[test]
fn case_O06_one_that_the_lsp_never_had_was_not_sent() {
    for reply in [lightning(LightningState::ExpectPayment), failed(&lightning(LightningState::ExpectPayment))] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.tells(reply);
        returns(&mut desk, key);
        assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)));
    }
}

#[test]
fn case_O06_one_that_the_lsp_still_calls_held_was_there() {
    for state in [LightningState::Hold, LightningState::Paid] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.tells(lightning(state));
        returns(&mut desk, key);
        assert_eq!(desk.order(key).end(), Some(&End::Refunded));
    }
}

#[test]
fn case_O06_what_was_answered_before_it_came_back_does_not_count() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    // A request is pending, and its answer on its method, when the payment fails.
    desk.passes(HOUR / 30);
    desk.lsp = Manner::Silent;
    let before = desk.asked.len();
    while desk.asked.len() == before {
        desk.passes(HOUR / 120);
    }
    assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken);
    desk.turn();
    assert_eq!(desk.asked.len(), before + 1, "one question at a time");
    desk.answers_late(&lightning(LightningState::ExpectPayment));
    desk.tells(failed(&lightning(LightningState::Refunded)));
    desk.turn();
    assert_eq!(desk.order(key).end(), Some(&End::Refunded));
}

/// L1-065
#[test]
fn case_O06_an_lsp_that_does_not_tell_is_not_waited_for_longer_than_some_minutes() {
    for lsp in [Manner::Silent, Manner::Says("result", "[]")] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.lsp = lsp;
        returns(&mut desk, key);
        assert!(matches!(desk.order(key).paying().unwrap().payment, Payment::Returned { .. }));
        desk.passes(HOUR / 15);
        assert_eq!(desk.order(key).end(), None);
        desk.passes(HOUR / 15);
        assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)));
    }

    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.lsp = NOT_FOUND;
    returns(&mut desk, key);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)), "it knows nothing of it");

    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.lsp = Manner::Silent;
    returns(&mut desk, key);
    desk.client.abandon_order(key, desk.now).unwrap();
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)), "nobody has to wait for it");
}

#[test]
fn case_O15_a_restart_while_it_is_asked_changes_nothing() {
    for is_failed in [false, true] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        if is_failed {
            desk.tells(failed(&lightning(LightningState::Refunded)));
            desk.passes(HOUR);
        }
        desk.lsp = Manner::Silent;
        returns(&mut desk, key);
        desk.restarts();
        assert_eq!(desk.effects(), [], "it is not paid again");
        assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken, "the node repeats itself");
        desk.tells(failed(&lightning(LightningState::Refunded)));
        desk.client.peer_disconnected(LSP);
        desk.connects();
        desk.turn();
        assert_eq!(desk.order(key).end(), Some(&End::Refunded));
    }
}

#[test]
fn an_order_whose_payment_came_back_takes_no_channel_unless_it_was_opened_all_the_same() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.lsp = Manner::Silent;
    returns(&mut desk, key);
    let refused = desk.client.open_requested(&request(1), desk.now);
    assert_eq!(refused, Err(RefuseChannel::NothingBought));
    assert!(!desk.effects().iter().any(|effect| matches!(effect, Effect::AcceptChannel { .. })));
    desk.tells(completed(&lightning(LightningState::Refunded)));
    desk.passes(HOUR / 30);
    assert_eq!(desk.order(key).end(), Some(&End::Refunded), "it says that a channel is open, which nobody has seen");

    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.has_channel();
    desk.lsp = Manner::Silent;
    returns(&mut desk, key);
    desk.tells(completed(&lightning(LightningState::Refunded)));
    desk.passes(HOUR / 30);
    assert!(matches!(desk.order(key).end(), Some(End::Done { .. })), "the channel is there");
}

#[test]
fn proof_of_payment_outweighs_that_it_came_back() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.lsp = Manner::Silent;
    returns(&mut desk, key);
    assert_eq!(desk.client.order_settled(key, desk.now), Handled::Taken);
    desk.turn();
    assert!(matches!(desk.events.last(), Some(Event::Settled)));
    desk.passes(HOUR);
    assert_eq!(desk.order(key).end(), None, "it waits for its channel");
}

fn lightning(state: LightningState) -> Reply {
    with_states(&made("a1", &order()), state, OnchainState::ExpectPayment)
}

fn returns(desk: &mut Desk, key: OrderKey) {
    assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken);
    desk.turn();
}

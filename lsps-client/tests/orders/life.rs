//! How orders proceed and end: payment methods in turn, payments that expire, and orders that are abandoned.

use lsps_client::jit_receive::{Handled, RefuseChannel};
use lsps_client::order::{
    End, Event, OrderError, OrderKey, Payment, PaymentInstructions, PaymentMethod, Polling, RefusePlace, State,
    Trouble, Unpaid,
};
use lsps_client::{Config, Effect};
use lsps_types::lsps1::{LightningState, OnchainState, Order as Reply};

use crate::common::{DAY, HOUR, NOON};
use crate::desk::{
    Desk, Facts, HASH, Manner, checked, completed, failed, made, open_as_ordered, order, request, with_states,
};

const TX: &[u8] = &[2, 0, 0, 0];
const NOT_FOUND: Manner = Manner::Says("error", r#"{"code":101,"message":"?","data":{}}"#);
const ALL: [PaymentMethod; 3] = [PaymentMethod::Bolt11, PaymentMethod::Bolt12, PaymentMethod::Onchain];

fn signed() -> (Desk, OrderKey) {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    desk.client.order_signed(key, TX.into(), NOON).unwrap();
    desk.effects();
    (desk, key)
}

fn broadcast(order: OrderKey) -> Effect {
    Effect::BroadcastPayment { order, transaction: TX.into() }
}

fn onchain(state: OnchainState) -> Reply {
    with_states(&made("a1", &order()), LightningState::ExpectPayment, state)
}

#[test]
fn a_way_whose_last_moment_is_now_is_not_begun_with() {
    let mut desk = Desk::new();
    let key = desk.places(&order());
    let [invoice, chain] = [PaymentMethod::Bolt11, PaymentMethod::Onchain]
        .map(|kind| desk.order(key).payment_option(kind).unwrap().pay_by);
    assert!(invoice < chain);
    assert_eq!(desk.client.pay_order(key, PaymentMethod::Bolt11, invoice), Err(OrderError::TooLate));
    desk.client.pay_order_in_turn(key, &[PaymentMethod::Bolt11, PaymentMethod::Onchain], invoice).unwrap();
    assert_eq!(desk.order(key).paying().unwrap().method, PaymentMethod::Onchain);
}

/// On the chain nothing comes back that was not sent.
#[test]
fn an_order_whose_transaction_could_not_be_made_is_over_at_once() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)));
}

#[test]
fn a_channel_that_is_funded_is_not_accepted_again_after_a_restart_nor_told_twice() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.has_channel();
    let told = desk.events.len();
    let channel = desk.order(key).channel().unwrap();
    assert_eq!(desk.client.channel_funded(channel.key, channel.funding.unwrap(), desk.now), Handled::Taken);
    desk.turn();
    assert_eq!(desk.events.len(), told, "the node repeats itself");
    desk.restarts();
    let accepts = |effect: &Effect| matches!(effect, Effect::AcceptChannel { .. });
    assert!(!desk.effects().iter().any(accepts));
}

/// The wallet first stops the payment that its node may still make. A user who asks a second time does not want to wait
/// for that.
#[test]
fn an_order_that_is_called_off_twice_is_given_up() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    assert_eq!(desk.client.abandon_order(key, desk.now), Ok(()));
    assert!(matches!(desk.state(key), State::Refunding(_)), "the payment is waited for");
    assert_eq!(desk.client.abandon_order(key, desk.now), Ok(()));
    assert_eq!(desk.order(key).end(), Some(&End::GivenUp));
}

/// The LSP did not fail the order: it was not even asked when its payment was taken.
#[test]
fn an_lsp_that_takes_a_payment_that_was_called_off_too_late_is_not_accused_before_it_is_asked() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    assert_eq!(desk.client.abandon_order(key, desk.now), Ok(()));
    assert_eq!(desk.client.order_settled(key, desk.now), Handled::Taken);
    assert_eq!(desk.order(key).trouble(), None);
}

/// The phone was off for a month, between the record and the broadcast.
#[test]
fn case_X35_a_payment_whose_time_is_over_is_not_broadcast_before_the_lsp_says_that_its_order_stands() {
    let (mut desk, key) = signed();
    desk.now = NOON + DAY * 20;
    desk.lsp = Manner::Silent;
    desk.restarts();
    assert_eq!(desk.effects(), [reserve(key)], "nobody knows whether it is still wanted, nor whether somebody has it");
    desk.restarts();
    assert_eq!(desk.effects(), [reserve(key)]);
    desk.tells(failed(&onchain(OnchainState::ExpectPayment)));
    desk.passes(HOUR);
    assert_eq!(desk.effects(), [], "it is not");
    assert!(matches!(desk.state(key), State::Refunding(_)));
    desk.passes(DAY * 2);
    assert_eq!(desk.order(key).trouble(), None, "nothing shows that the LSP was paid");

    let (mut desk, key) = signed();
    desk.now = NOON + DAY * 20;
    desk.tells(onchain(OnchainState::Paid));
    desk.restarts();
    assert_eq!(desk.effects(), [reserve(key), broadcast(key)], "the LSP has seen it");

    // The LSP now names a later expiry than at first, or an earlier one that has passed.
    for (days, stands) in [(30, true), (19, false)] {
        let (mut desk, key) = signed();
        desk.now = NOON + DAY * 20;
        let mut reply = onchain(OnchainState::ExpectPayment);
        reply.payment.onchain.as_mut().unwrap().expires_at = (NOON + DAY * days).into();
        desk.tells(reply);
        desk.restarts();
        let expected = if stands { vec![reserve(key), broadcast(key)] } else { vec![reserve(key)] };
        assert_eq!(desk.effects(), expected, "{days}");
        assert_eq!(desk.order(key).may_broadcast(desk.now), stands);
        let told = desk.events.len();
        desk.passes(DAY);
        assert_eq!((desk.effects(), desk.events.len()), (vec![], told), "that was all");
    }
}

#[test]
fn case_X35_in_time_it_is_broadcast_again_after_a_restart() {
    let (mut desk, key) = signed();
    desk.lsp = Manner::Silent;
    desk.restarts();
    assert_eq!(desk.effects(), [broadcast(key)]);
    desk.restarts();
    desk.now = NOON + HOUR;
    assert_eq!(desk.effects(), [broadcast(key)]);
    assert!(desk.order(key).may_broadcast(desk.now));
    assert!(!desk.order(key).may_broadcast(desk.now + DAY), "the effect may have waited for the store");
    desk.passes(DAY);
    assert!(desk.events.contains(&Event::Late));
    assert!(!desk.order(key).may_broadcast(NOON), "nor if the clock is set back");
    assert_eq!(desk.effects(), []);
    desk.restarts();
    assert_eq!(desk.effects(), [reserve(key)], "that is on record");
}

fn reserve(order: OrderKey) -> Effect {
    Effect::ReservePayment { order, transaction: TX.into() }
}

fn forget(order: OrderKey) -> Effect {
    Effect::ForgetPayment { order, transaction: TX.into() }
}

/// The store failed until the order had expired, so that the effect came too late.
fn signed_and_never_broadcast(methods: &[PaymentMethod]) -> (Desk, OrderKey) {
    let mut desk = Desk::new();
    desk.broadcasts = false;
    let key = desk.places(&order());
    desk.tells(made("a1", &order()));
    desk.client.pay_order_in_turn(key, methods, NOON).unwrap();
    desk.turn();
    desk.client.order_signed(key, TX.into(), NOON).unwrap();
    desk.turn();
    desk.effects.clear();
    (desk, key)
}

#[test]
fn a_payment_that_was_never_broadcast_in_time_frees_its_coins_and_the_next_way_is_tried() {
    let (mut desk, key) = signed_and_never_broadcast(&[PaymentMethod::Onchain]);
    desk.passes(DAY);
    assert_eq!(desk.effects(), [forget(key)]);
    assert!(!desk.client.broadcasts_payment(key, NOON), "nor if the clock is set back");
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Expired)));
    desk.restarts();
    assert_eq!(desk.effects(), [forget(key)], "until the wallet has done so");
    assert_eq!(desk.client.payment_forgotten(key, desk.now), Handled::Taken);
    assert_eq!(desk.client.payment_forgotten(key, desk.now), Handled::NotMine);
    desk.turn();
    desk.restarts();
    assert_eq!(desk.effects(), []);

    let mut reply = made("a1", &order());
    reply.payment.bolt12.as_mut().unwrap().expires_at = (NOON + DAY * 2).into();
    let (mut desk, key) = (Desk::new(), Desk::new().places(&order()));
    desk.broadcasts = false;
    assert_eq!(desk.places_quote(checked(request(order())).verify(&reply, &Facts, NOON).unwrap()), key);
    desk.tells(reply);
    desk.client.pay_order_in_turn(key, &[PaymentMethod::Onchain, PaymentMethod::Bolt12], NOON).unwrap();
    desk.turn();
    desk.client.order_signed(key, TX.into(), NOON).unwrap();
    desk.turn();
    desk.effects.clear();
    desk.passes(DAY);
    let effects = desk.effects();
    let [first, Effect::PayOrder { option, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((first, option.method()), (&forget(key), PaymentMethod::Bolt12));
}

#[test]
fn a_payment_that_was_never_broadcast_ends_with_its_order_and_frees_its_coins() {
    let (mut desk, key) = signed_and_never_broadcast(&[PaymentMethod::Onchain, PaymentMethod::Bolt11]);
    desk.client.abandon_order(key, desk.now).unwrap();
    assert_eq!(desk.effects(), [forget(key)]);
    assert!(!desk.client.broadcasts_payment(key, desk.now));
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Abandoned)));

    let (mut desk, key) = signed_and_never_broadcast(&[PaymentMethod::Onchain, PaymentMethod::Bolt11]);
    desk.tells(failed(&made("a1", &order())));
    desk.passes(HOUR / 60);
    assert_eq!(desk.effects(), [forget(key)]);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Closed)));
}

/// The transaction may be in a mempool that the wallet does not see, and may still be mined.
#[test]
fn the_coins_of_a_payment_that_may_be_out_stay_reserved_until_mempools_have_dropped_it() {
    // The transaction was broadcast, or loaded from a record that does not say.
    for restarts in [false, true] {
        for abandons in [false, true] {
            let (mut desk, key) =
                if restarts { signed_and_never_broadcast(&[PaymentMethod::Onchain]) } else { signed() };
            if restarts {
                desk.broadcasts = true;
                desk.restarts();
                desk.effects.clear();
            }
            desk.tells(failed(&onchain(OnchainState::ExpectPayment)));
            desk.passes(DAY * 2);
            assert_eq!(desk.effects(), []);
            desk.restarts();
            assert_eq!(desk.effects(), [reserve(key)]);
            if abandons {
                desk.client.abandon_order(key, desk.now).unwrap();
            } else {
                desk.passes(DAY * 30);
            }
            assert_eq!(desk.order(key).end(), Some(&End::GivenUp));
            desk.passes(DAY * 13);
            assert_eq!(desk.effects(), [], "{restarts} {abandons}");
            desk.restarts();
            assert_eq!(desk.effects(), [reserve(key)]);
            desk.passes(DAY * 3);
            assert_eq!(desk.effects(), [forget(key)]);
            assert_eq!(desk.client.order(key), None);
        }
    }
}

#[test]
fn an_order_whose_payment_may_be_out_does_not_make_room() {
    let mut desk = Desk::with(Config { orders: 1, ..Config::default() });
    let key = desk.pays(PaymentMethod::Onchain);
    desk.client.order_signed(key, TX.into(), NOON).unwrap();
    desk.turn();
    desk.client.abandon_order(key, desk.now).unwrap();
    desk.effects();
    let mut reply = made("a2", &order());
    reply.payment.bolt11 = None;
    let another = checked(request(order())).verify(&reply, &Facts, NOON).unwrap();
    assert_eq!(desk.client.place_order(another, NOON), Err(RefusePlace::TooMany));
    assert_eq!(desk.effects(), []);
}

/// The LSP never sends the invoice of its offer.
#[test]
fn case_X41_an_order_whose_payment_is_not_sent_can_be_called_off_and_is_not_paid_afterwards() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt12);
    desk.client.abandon_order(key, NOON).unwrap();
    let [Effect::StopPaying { order, .. }] = desk.effects()[..] else { panic!("the node is to stop") };
    assert_eq!(order, key);
    desk.restarts();
    assert!(matches!(desk.effects()[..], [Effect::StopPaying { .. }]), "and to stay so");
    assert_eq!(desk.client.open_requested(&open_as_ordered(1), desk.now), Err(RefuseChannel::NothingBought));
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    desk.turn();
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Abandoned)));
    assert_eq!(desk.client.abandon_order(key, desk.now), Err(OrderError::NotExpected));
}

#[test]
fn case_X41_an_order_in_trouble_that_is_given_up_is_not_paid_afterwards() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.lsp = NOT_FOUND;
    desk.passes(HOUR);
    assert_eq!(desk.order(key).trouble(), Some(&Trouble::Forgotten));
    desk.client.abandon_order(key, desk.now).unwrap();
    assert!(matches!(desk.effects()[..], [Effect::StopPaying { .. }]));
    assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken);
    desk.turn();
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Abandoned)), "it came back: nothing is lost");

    // The LSP takes the payment although the order was abandoned.
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.client.abandon_order(key, desk.now).unwrap();
    desk.turn();
    assert_eq!(desk.client.order_settled(key, desk.now), Handled::Taken);
    desk.turn();
    assert_eq!(desk.order(key).end(), None, "the money is out");
    desk.client.abandon_order(key, desk.now).unwrap();
    assert_eq!(desk.order(key).end(), Some(&End::GivenUp));
}

#[test]
fn case_X41_a_channel_that_was_there_when_the_order_was_called_off_is_the_orders() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.has_channel();
    desk.client.abandon_order(key, desk.now).unwrap();
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR);
    assert!(matches!(desk.order(key).end(), Some(End::Done { .. })));
}

/// The LSP reports anything, or nothing, after it was paid.
#[test]
fn case_X41_every_order_ends_by_itself() {
    let hold = with_states(&made("a1", &order()), LightningState::Hold, OnchainState::Seen);
    for lsp in [
        Manner::Silent,
        Manner::Tells(Box::new(made("a1", &order()))),
        Manner::Tells(Box::new(hold)),
        Manner::Tells(Box::new(completed(&made("a1", &order())))),
        Manner::Tells(Box::new(failed(&made("a1", &order())))),
        NOT_FOUND,
    ] {
        for method in ALL {
            for settled in [true, false] {
                let seldom = Polling { longest: DAY / 2, slow: DAY / 2, ..Polling::default() };
                let mut desk = Desk::with(Config { polling: seldom, ..Config::default() });
                let key = desk.pays(method);
                match method {
                    PaymentMethod::Onchain => desk.client.order_signed(key, TX.into(), NOON).unwrap(),
                    _ if settled => assert_eq!(desk.client.order_settled(key, NOON), Handled::Taken),
                    _ => {}
                }
                desk.lsp = lsp.clone();
                desk.passes(DAY * 30);
                assert_eq!(desk.order(key).end(), None, "it is waited for");
                desk.passes(DAY * 2);
                if method != PaymentMethod::Onchain && !settled {
                    let stops = |effect: &Effect| matches!(effect, Effect::StopPaying { .. });
                    assert!(desk.effects().iter().any(stops), "nothing is paid afterwards: {lsp:?}");
                }
                assert_eq!(desk.order(key).end(), Some(&End::GivenUp), "{lsp:?} {method}");
                desk.passes(DAY * 15);
                assert_eq!((desk.client.order(key), desk.client.next_wake()), (None, None));
            }
        }
    }
}

/// The node may need a while to report the outcome of a payment that is stopped.
#[test]
fn case_X41_when_the_time_of_an_order_is_over_its_payment_is_stopped_and_its_end_waited_for() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt12);
    desk.lsp = Manner::Silent;
    desk.passes(DAY * 31);
    assert!(matches!(desk.effects()[..], [Effect::StopPaying { .. }]));
    desk.passes(HOUR * 20);
    assert_eq!(desk.order(key).end(), None);
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Abandoned)), "nothing is lost");
}

fn in_turn(methods: &[PaymentMethod]) -> (Desk, OrderKey) {
    let mut desk = Desk::new();
    let key = desk.places(&order());
    desk.tells(made("a1", &order()));
    desk.client.pay_order_in_turn(key, methods, NOON).unwrap();
    desk.turn();
    (desk, key)
}

fn pays(desk: &mut Desk) -> Vec<PaymentMethod> {
    let kind = |effect| match effect {
        Effect::PayOrder { option, .. } => Some(option.method()),
        _ => None,
    };
    desk.effects().into_iter().filter_map(kind).collect()
}

/// There is no route and no invoice, so only the address is left.
#[test]
fn case_X53b_the_next_way_is_paid_when_nothing_of_the_one_before_was_sent() {
    let (mut desk, key) = in_turn(&ALL);
    assert_eq!(pays(&mut desk), [PaymentMethod::Bolt11]);
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), [PaymentMethod::Bolt12]);
    desk.restarts();
    assert_eq!(pays(&mut desk), [PaymentMethod::Bolt12], "which is on record");
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    let effects = desk.effects();
    let [Effect::PayOrder { option, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert!(matches!(option.instructions, PaymentInstructions::Address { .. }));
    desk.client.order_signed(key, TX.into(), desk.now).unwrap();
    desk.has_channel();
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR);
    assert!(matches!(desk.order(key).end(), Some(End::Done { .. })));
    let chosen = |event: &Event| matches!(event, Event::Chosen { .. });
    assert_eq!(desk.events.iter().filter(|event| chosen(event)).count(), 3);
}

/// The LSP opens the channel before it is paid.
#[test]
fn case_X53b_a_channel_that_is_there_already_is_kept_when_the_next_way_is_paid() {
    let (mut desk, key) = in_turn(&ALL);
    pays(&mut desk);
    desk.has_channel();
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), [PaymentMethod::Bolt12]);
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR / 60);
    assert!(matches!(desk.order(key).end(), Some(End::Done { .. })));
}

#[test]
fn case_X53b_what_came_back_is_paid_another_way_only_while_the_lsp_says_that_the_order_stands() {
    let (mut desk, key) = in_turn(&ALL);
    pays(&mut desk);
    desk.lsp = Manner::Silent;
    assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), [], "nobody knows");
    desk.passes(HOUR);
    assert_eq!(pays(&mut desk), []);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)));

    for (reply, next) in [
        (made("a1", &order()), vec![PaymentMethod::Bolt12]),
        (failed(&made("a1", &order())), vec![]),
        (with_states(&made("a1", &order()), LightningState::Refunded, OnchainState::ExpectPayment), vec![]),
    ] {
        let (mut desk, key) = in_turn(&ALL);
        pays(&mut desk);
        desk.tells(reply);
        assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken);
        assert_eq!(pays(&mut desk), next);
        assert_eq!(desk.order(key).end().is_some(), next.is_empty());
    }
}

/// A node pays an invoice once, and does not answer if it is asked again: the order would wait for a month.
#[test]
fn case_X53b_a_way_that_is_named_twice_is_tried_once() {
    let (mut desk, key) =
        in_turn(&[PaymentMethod::Bolt11, PaymentMethod::Bolt12, PaymentMethod::Bolt11, PaymentMethod::Bolt12]);
    assert_eq!(pays(&mut desk), [PaymentMethod::Bolt11]);
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), [PaymentMethod::Bolt12]);
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), []);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)));
}

#[test]
fn case_X53b_a_way_whose_time_is_over_is_passed_over_and_without_one_the_order_ends() {
    let (mut desk, key) = in_turn(&ALL);
    pays(&mut desk);
    assert_eq!(desk.order(key).next_method(desk.now), Some(PaymentMethod::Bolt12));
    desk.passes(HOUR);
    assert_eq!(desk.order(key).next_method(desk.now), Some(PaymentMethod::Onchain));
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), [PaymentMethod::Onchain], "the offer is over, the address is not");
    assert_eq!(desk.order(key).next_method(desk.now), None);
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)));

    let (mut desk, key) = in_turn(&[PaymentMethod::Onchain, PaymentMethod::Bolt11]);
    pays(&mut desk);
    desk.passes(HOUR / 2);
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), [PaymentMethod::Bolt11]);
    desk.client.abandon_order(key, desk.now).unwrap();
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Abandoned)));

    let (mut desk, key) = in_turn(&[PaymentMethod::Bolt11, PaymentMethod::Onchain]);
    pays(&mut desk);
    desk.client.abandon_order(key, desk.now).unwrap();
    desk.turn();
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), []);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Abandoned)), "called off");

    // An order that the LSP failed is not paid by another method.
    let (mut desk, key) = in_turn(&[PaymentMethod::Bolt11, PaymentMethod::Onchain]);
    pays(&mut desk);
    desk.tells(failed(&made("a1", &order())));
    desk.passes(HOUR / 60);
    assert!(matches!(desk.state(key), State::Refunding(_)));
    assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
    assert_eq!(pays(&mut desk), []);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::NotSent)));

    let mut late = Desk::new();
    let key = late.places(&order());
    let after = NOON + HOUR;
    assert_eq!(late.client.pay_order_in_turn(key, &[], after), Err(OrderError::NoSuchMethod));
    assert_eq!(late.client.pay_order_in_turn(key, &ALL[..2], after), Err(OrderError::TooLate));
    late.client.pay_order_in_turn(key, &ALL, after).unwrap();
    assert_eq!(late.order(key).paying().unwrap().method, PaymentMethod::Onchain);
    assert_eq!(late.order(key).payment_hash(), Some(HASH));
    assert_eq!(late.order(key).paying().unwrap().payment, Payment::Asked);
}

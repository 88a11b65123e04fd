//! Orders from the choice of a payment method to the channel or the refund.

use lsps_client::jit_receive::Handled;
use lsps_client::order::{End, Event, Lease, OrderError, Payment, PaymentInstructions, PaymentMethod, State, Unpaid};
use lsps_client::{Effect, Notice};
use lsps_types::Sat;
use lsps_types::lsps1::{LightningState, OnchainState};

use crate::common::{DAY, HOUR, LSP, NOON};
use crate::desk::{BALANCE, CHAIN_FEE, Desk, HASH, OUTPOINT, address, completed, failed, made, order, with_states};

const TX: &[u8] = &[2, 0, 0, 0];

fn lease() -> Lease {
    Lease { funding: OUTPOINT, funded_at: NOON + HOUR / 2, until: NOON + DAY * 30 }
}

/// L1-078, L1-086
#[test]
fn case_O12_what_is_to_be_paid_is_on_record_before_it_is_paid() {
    for method in [PaymentMethod::Bolt11, PaymentMethod::Bolt12] {
        let mut desk = Desk::new();
        let key = desk.places(&order());
        desk.client.pay_order(key, method, NOON).unwrap();
        let batch = desk.client.drain();
        let names: Vec<_> = batch.records().map(|(name, bytes)| (name.to_string(), bytes.is_some())).collect();
        assert_eq!(names, [(format!("order-{key}"), true)]);
        let released = batch.written();
        assert_eq!(released.notices, [Notice::Order(key, Event::Chosen { method, then: vec![] })]);
        let [Effect::PayOrder { order, lsp: LSP, option: pays }] = &released.effects[..] else { panic!("pay") };
        assert_eq!((*order, pays), (key, desk.order(key).payment_option(method).unwrap()));
        match &pays.instructions {
            PaymentInstructions::Invoice { payment_hash, .. } => {
                assert_eq!((method, *payment_hash), (PaymentMethod::Bolt11, HASH))
            }
            PaymentInstructions::Offer { .. } => assert_eq!(method, PaymentMethod::Bolt12),
            PaymentInstructions::Address { .. } => panic!("by Lightning"),
        }
    }
}

/// L1-096
#[test]
fn case_O12_on_chain_the_transaction_is_on_record_before_it_is_broadcast() {
    let mut desk = Desk::new();
    let key = desk.places(&order());
    desk.client.pay_order(key, PaymentMethod::Onchain, NOON).unwrap();
    let [Effect::PayOrder { option, .. }] = &desk.effects()[..] else { panic!("asked to make a transaction") };
    let PaymentInstructions::Address { address: to, .. } = &option.instructions else { panic!("on-chain") };
    assert_eq!((to, option.total), (&address(), Sat(CHAIN_FEE.0 + BALANCE.0)));

    desk.client.order_signed(key, TX.into(), NOON).unwrap();
    let broadcast = Effect::BroadcastPayment { order: key, transaction: TX.into() };
    assert_eq!(desk.effects(), std::slice::from_ref(&broadcast));
    desk.client.order_signed(key, vec![9], NOON).unwrap();
    assert_eq!(desk.effects(), [], "the second it made is not used");
    desk.restarts();
    assert_eq!(desk.effects(), [broadcast]);
    assert_eq!(desk.order(key).paying().unwrap().payment, Payment::Signed(TX.into()));
}

#[test]
fn case_O11_a_way_that_is_chosen_again_is_not_begun_anew() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    desk.client.order_signed(key, TX.into(), NOON).unwrap();
    desk.effects();
    desk.client.pay_order(key, PaymentMethod::Onchain, NOON).unwrap();
    assert_eq!(desk.effects(), []);
    assert_eq!(desk.order(key).paying().unwrap().payment, Payment::Signed(TX.into()));
}

#[test]
fn case_O11_only_one_way_is_ever_paid() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.client.pay_order(key, PaymentMethod::Bolt11, NOON).unwrap();
    assert_eq!(desk.effects(), [], "chosen twice is paid once");
    let refused = desk.client.pay_order(key, PaymentMethod::Onchain, NOON);
    assert_eq!(refused, Err(OrderError::OtherMethod(PaymentMethod::Bolt11)));
    assert_eq!(desk.client.order_returned(key, NOON), Handled::Taken);
    let refused = desk.client.pay_order(key, PaymentMethod::Onchain, NOON);
    assert_eq!(refused, Err(OrderError::OtherMethod(PaymentMethod::Bolt11)), "although it came back");
    desk.turn();
    assert_eq!(desk.client.pay_order(key, PaymentMethod::Onchain, NOON), Err(OrderError::NotExpected), "it is over");
    assert_eq!(desk.effects(), []);

    let key = Desk::new().places(&order());
    let mut late = Desk::new();
    late.places(&order());
    assert_eq!(late.client.pay_order(key, PaymentMethod::Bolt11, NOON + HOUR), Err(OrderError::TooLate));
}

/// L1-063, L1-097
#[test]
fn case_O13_an_order_that_is_done_has_its_channel_and_the_end_of_its_lease() {
    for method in [PaymentMethod::Bolt11, PaymentMethod::Onchain] {
        let mut desk = Desk::new();
        let key = desk.pays(method);
        let reply = made("a1", &order());
        if method == PaymentMethod::Onchain {
            desk.client.order_signed(key, TX.into(), NOON).unwrap();
        }
        desk.passes(HOUR / 4);
        desk.tells(with_states(&reply, LightningState::Hold, OnchainState::Paid));
        desk.passes(HOUR / 4);
        assert!(desk.order(key).paying().unwrap().held);
        desk.has_channel();
        let channel = desk.order(key).channel();
        desk.tells(completed(&with_states(&reply, LightningState::Paid, OnchainState::Paid)));
        desk.passes(HOUR / 4);
        let done = End::Done { lease: lease(), channel };
        assert_eq!(desk.order(key).end(), Some(&done));
        assert_eq!(done.to_string(), format!("the channel is funded by {OUTPOINT}"));
        let settled = desk.client.order_settled(key, desk.now);
        assert_eq!(settled, Handled::Taken, "the node may tell later than the LSP");

        let questions = desk.asked.len();
        desk.passes(DAY * 29);
        assert_eq!(desk.order(key).end(), Some(&done), "kept for as long as the lease");
        assert_eq!(desk.asked.len(), questions);
        desk.passes(DAY * 2);
        assert_eq!(desk.client.order(key), None);
    }
}

#[test]
fn a_payment_that_could_not_be_made_ends_the_order() {
    for (method, held, end) in [
        (PaymentMethod::Bolt11, false, End::Unpaid(Unpaid::NotSent)),
        (PaymentMethod::Bolt11, true, End::Refunded),
        (PaymentMethod::Onchain, false, End::Unpaid(Unpaid::NotSent)),
    ] {
        let mut desk = Desk::new();
        let key = desk.pays(method);
        if held {
            desk.tells(with_states(&made("a1", &order()), LightningState::Hold, OnchainState::ExpectPayment));
            desk.passes(HOUR / 4);
        }
        assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken);
        assert_eq!(desk.order(key).end(), Some(&end));
        assert_eq!(desk.client.order_not_sent(key, desk.now), Handled::Taken, "the node repeats itself");
        assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken, "in other words too");
    }
}

/// L1-073
#[test]
fn over_lightning_the_node_says_whether_the_money_is_back() {
    let refunded = with_states(&made("a1", &order()), LightningState::Refunded, OnchainState::ExpectPayment);
    for (reply, end) in [
        (failed(&refunded), End::Refunded),
        (refunded, End::Refunded),
        (failed(&made("a1", &order())), End::Unpaid(Unpaid::NotSent)),
    ] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.tells(reply);
        desk.passes(DAY);
        assert!(matches!(desk.state(key), State::Refunding(_)), "failed, and not seen to come back yet");
        desk.restarts();
        let [Effect::StopPaying { .. }] = &desk.effects()[..] else {
            panic!("an order that failed is not paid any more")
        };
        assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken);
        desk.turn();
        assert_eq!(desk.order(key).end(), Some(&end));
    }
}

#[test]
fn an_lsp_that_keeps_the_payment_of_a_failed_order_is_seen_to() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    assert_eq!(desk.client.order_settled(key, NOON), Handled::Taken);
    assert_eq!(desk.client.order_returned(key, NOON), Handled::NotMine, "the node knows that it is paid");
    desk.tells(failed(&with_states(&made("a1", &order()), LightningState::Refunded, OnchainState::ExpectPayment)));
    desk.passes(DAY * 10);
    let State::Refunding(paying) = desk.state(key) else { panic!("its word is not the money") };
    assert_eq!(paying.payment, Payment::Settled);
    desk.client.abandon_order(key, desk.now).unwrap();
    assert_eq!(desk.order(key).end(), Some(&End::GivenUp));
}

/// L1-109
#[test]
fn on_chain_the_lsp_says_when_it_sent_the_money_back() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    desk.client.order_signed(key, TX.into(), NOON).unwrap();
    let reply = made("a1", &order());
    desk.tells(failed(&with_states(&reply, LightningState::Refunded, OnchainState::Paid)));
    desk.passes(DAY);
    assert!(matches!(desk.state(key), State::Refunding(_)));
    desk.tells(failed(&with_states(&reply, LightningState::Refunded, OnchainState::Refunded)));
    desk.passes(HOUR);
    assert_eq!(desk.order(key).end(), Some(&End::Refunded));
}

#[test]
fn a_transaction_that_comes_too_late_is_not_used() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    desk.tells(failed(&made("a1", &order())));
    desk.passes(HOUR);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Closed)), "nothing was signed");
    assert_eq!(desk.client.order_signed(key, TX.into(), desk.now), Err(OrderError::NotExpected));

    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    desk.passes(DAY);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Expired)));
    assert_eq!(desk.effects(), []);
}

#[test]
fn an_order_is_given_up_while_no_money_is_out_or_nothing_goes_on() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    desk.client.abandon_order(key, NOON).unwrap();
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Abandoned)));

    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Onchain);
    desk.client.order_signed(key, TX.into(), NOON).unwrap();
    desk.lsp = crate::desk::Manner::Says("error", r#"{"code":101,"message":"?","data":{}}"#);
    desk.passes(HOUR);
    desk.client.abandon_order(key, desk.now).unwrap();
    assert_eq!(desk.order(key).end(), Some(&End::GivenUp));
    assert_eq!(desk.client.abandon_order(key, desk.now), Err(OrderError::NotExpected), "it is over");
}

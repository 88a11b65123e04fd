//! Orders that cost nothing: they are placed and awaited like paid ones, and nothing is paid.

use lsps_client::order::{End, PaymentMethod, Quote, RefuseOrder, State, Unpaid};
use lsps_client::{Config, Effect};
use lsps_types::PeerId;
use lsps_types::lsps1::{CreateOrder, Order as Reply, OrderState, Payment};

use crate::common::{DAY, HOUR, NOON};
use crate::desk::{Desk, Facts, checked, completed, failed, made, order, request};

/// The LSP's reply to an order that it gives away.
fn gift() -> Reply {
    Reply { payment: Payment::default(), ..made("a1", &order()) }
}

fn weighs(reply: &Reply) -> Result<Quote, RefuseOrder> {
    checked(request(order())).verify(reply, &Facts, NOON)
}

/// A free order that is on record, and awaited.
fn awaiting(desk: &mut Desk) -> lsps_client::order::OrderKey {
    let quote = weighs(&gift()).expect("it is free");
    let methods = quote.ranked(|_| None);
    assert_eq!(methods, [PaymentMethod::Free]);
    let key = desk.places_quote(quote);
    desk.tells(gift());
    desk.client.pay_order_in_turn(key, &methods, desk.now).expect("nothing is to be paid");
    desk.turn();
    key
}

/// L1-135, L1-136
#[test]
fn case_Z03_an_order_without_ways_to_pay_is_free_and_one_with_unknown_ways_is_not() {
    assert!(weighs(&gift()).expect("it is free").is_free());
    assert!(weighs(&completed(&gift())).expect("the LSP was quick").is_free());
    assert_eq!(weighs(&failed(&gift())), Err(RefuseOrder::NotNew));
    assert!(!weighs(&made("a1", &order())).expect("it has ways").is_free());
    let unknown = Payment { has_others: true, ..Payment::default() };
    assert_eq!(
        weighs(&Reply { payment: unknown, ..gift() }),
        Err(RefuseOrder::NoPaymentMethod(vec![])),
        "it is to be paid in a way that the wallet does not know"
    );
    let mut unusable = made("a1", &order());
    unusable.payment.bolt12 = None;
    unusable.payment.onchain = None;
    unusable.payment.bolt11.as_mut().expect("an invoice").invoice = "nothing".into();
    assert!(matches!(weighs(&unusable), Err(RefuseOrder::NoPaymentMethod(why)) if why.len() == 1));
}

/// The process dies after every write, and after none.
#[test]
fn case_Z03_a_free_order_is_awaited_and_not_paid_whenever_the_wallet_dies() {
    for dies_before in [None, Some(0), Some(1), Some(2), Some(3)] {
        let mut desk = Desk::new();
        let key = awaiting(&mut desk);
        let dies = |desk: &mut Desk, step| {
            if dies_before == Some(step) {
                desk.restarts();
            }
        };
        dies(&mut desk, 0);
        desk.passes(HOUR);
        assert!(matches!(desk.state(key), State::Paying(paying) if paying.method == PaymentMethod::Free));
        dies(&mut desk, 1);
        desk.has_channel();
        dies(&mut desk, 2);
        desk.tells(completed(&gift()));
        desk.passes(HOUR);
        dies(&mut desk, 3);
        assert!(matches!(desk.order(key).end(), Some(End::Done { channel: Some(_), .. })), "{:?}", desk.state(key));
        let paid = desk.effects().into_iter().find(|effect| matches!(effect, Effect::PayOrder { .. }));
        assert_eq!(paid, None);
    }
}

#[test]
fn case_Z03_a_free_order_that_fails_or_is_called_off_owes_nobody_anything() {
    let mut desk = Desk::new();
    let key = awaiting(&mut desk);
    desk.tells(failed(&gift()));
    desk.passes(HOUR);
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Closed)));

    let mut desk = Desk::new();
    let key = awaiting(&mut desk);
    desk.client.abandon_order(key, desk.now).expect("it may be");
    desk.turn();
    assert_eq!(desk.order(key).end(), Some(&End::Unpaid(Unpaid::Abandoned)));
}

/// The time is the wallet's own, as the LSP names none.
#[test]
fn case_Z03_a_free_order_whose_channel_never_comes_is_given_up_and_forgotten() {
    let mut desk = Desk::new();
    let key = awaiting(&mut desk);
    desk.passes(DAY * 29);
    assert_eq!(desk.order(key).end(), None);
    desk.passes(DAY * 2);
    assert_eq!(desk.order(key).end(), Some(&End::GivenUp));
    desk.passes(DAY * 20);
    assert!(desk.client.order(key).is_none() && desk.store.is_empty());
}

#[test]
fn case_Z03_nothing_else_is_paid_for_a_free_order_and_no_other_order_is_free() {
    let mut desk = Desk::new();
    let key = desk.places_quote(weighs(&gift()).expect("it is free"));
    assert!(desk.client.pay_order(key, PaymentMethod::Bolt11, desk.now).is_err());
    let mut desk = Desk::new();
    let key = desk.places(&order());
    assert!(desk.client.pay_order(key, PaymentMethod::Free, desk.now).is_err());
}

/// The layout of version 4 is that of version 3, in which no order was free.
#[test]
fn records_of_version_3_are_read() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.has_channel();
    let name = format!("order-{key}");
    let bytes = desk.store.get_mut(&name).expect("it is on record");
    assert_eq!(std::mem::replace(&mut bytes[0], 3), 4);
    let before = desk.order(key).clone();
    desk.restarts();
    assert_eq!(desk.order(key), &before);
}

/// An LSP's published sample lacks `required_channel_confirmations`.
#[test]
fn case_Z18_an_echo_that_is_left_out_is_read_as_asked_if_the_wallet_says_so() {
    let lsp = PeerId([9; 33]);
    for reads_absent_echoes in [false, true] {
        let config = Config { read_absent_echoes: reads_absent_echoes, ..Config::default() };
        let mut client = lsps_client::Client::new(config, [7; 32]);
        client.peer_connected(lsp);
        let ordered = CreateOrder { token: Some("SPRING".into()), ..order() };
        let mut answered = |leaves_out: &[&str], changed: Option<u64>| {
            let ticket = client.call(lsp, &ordered, NOON).expect("it is connected");
            let (_, sent) = client.drain().written().messages.remove(0);
            let id = serde_json::from_slice::<serde_json::Value>(&sent).expect("JSON")["id"].clone();
            let mut result = serde_json::to_value(made("a1", &ordered)).expect("JSON");
            let members = result.as_object_mut().expect("an object");
            leaves_out.iter().for_each(|name| drop(members.remove(*name)));
            if let Some(changed) = changed {
                members.insert("required_channel_confirmations".into(), changed.into());
            }
            let answer = serde_json::json!({ "jsonrpc": "2.0", "id": id, "result": result });
            let _ = client.receive(lsp, answer.to_string().as_bytes());
            client.take(&ticket).expect("it is answered").ok()
        };
        let whole = answered(&[], None).expect("it is whole");
        assert_eq!(whole.order_state, OrderState::Created);
        let sample = answered(&["required_channel_confirmations", "announce_channel", "token"], None);
        assert_eq!(sample.as_ref(), Some(&whole).filter(|_| reads_absent_echoes));
        let other = answered(&[], Some(7)).expect("it can be read");
        assert!(other.mirrors(&ordered).is_err(), "what is there is compared");
        assert_eq!(answered(&["payment"], None), None, "what was not asked is not made up");
    }
}

//! Records of orders, and what the client restores from them.

use std::collections::BTreeMap;

use lsps_client::jit_receive::Handled;
use lsps_client::order::{End, Order, Payment, PaymentMethod, State, Trouble};
use lsps_client::{Config, Effect, Unreadable, Wake};
use lsps_types::lsps1::CreateOrder;

use crate::common::{HOUR, LSP, NOON};
use crate::desk::{Desk, OUTPOINT, completed, made, order};

#[test]
fn a_restart_at_any_point_changes_nothing() {
    let mut desk = Desk::new();
    let ordered = CreateOrder { token: Some("coupon ü".into()), ..order() };
    let key = desk.places(&ordered);
    for step in 0..3 {
        match step {
            0 => desk.client.pay_order(key, PaymentMethod::Onchain, desk.now).unwrap(),
            1 => desk.client.order_signed(key, vec![1, 2, 3], desk.now).unwrap(),
            _ => {
                desk.has_channel();
                desk.tells(completed(&made("a1", &ordered)));
                desk.passes(HOUR);
            }
        }
        desk.turn();
        let before = desk.order(key).clone();
        desk.restarts();
        desk.client.tick(desk.now);
        let after = desk.order(key).clone();
        assert_eq!(
            (before.state(), before.ordered(), before.payment_options()),
            (after.state(), &ordered, after.payment_options())
        );
    }
    assert!(desk.order(key).end().is_some());
}

#[test]
fn a_payment_that_was_to_be_made_is_asked_for_again() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.restarts();
    let [Effect::PayOrder { order, .. }] = &desk.effects()[..] else { panic!("pay") };
    assert_eq!(*order, key);
    assert_eq!(desk.client.order_settled(key, desk.now), Handled::Taken);
    desk.turn();
    desk.restarts();
    assert_eq!(desk.effects(), []);
    assert!(matches!(desk.state(key), State::Paying(_)));
}

#[test]
fn a_record_that_cannot_be_read_hurts_no_other() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    let name = format!("order-{key}");
    let good = desk.store[&name].clone();
    let mut client = crate::common::taped(Config::default(), [9; 32]);
    let is_damaged = |read: Result<(), Unreadable>| matches!(read, Err(Unreadable::Damaged { .. }));
    let mut newer = good.clone();
    newer[0] = 9;
    let refused = Unreadable::Newer { name: name.clone(), version: 9, newest: 4 };
    assert_eq!(client.load(&name, &newer), Err(refused));
    for damaged in [&good[..0], &good[..good.len() - 1], &[&good[..], &[0]].concat(), &[1, 2, 3]] {
        assert!(is_damaged(client.load(&name, damaged)));
    }
    let misnamed = format!("order-{:032x}", key.0 ^ 1);
    assert!(is_damaged(client.load(&misnamed, &good)));
    for unknown in ["order-", "order-12", &format!("order-+{:031x}", 1), "orders-1"] {
        assert!(matches!(client.load(unknown, &good), Err(Unreadable::Name(_))), "{unknown}");
    }
    assert_eq!(client.load(&name, &good), Ok(()));
    assert_eq!(client.load(&name, &good), Err(Unreadable::Twice { name: name.clone() }));
    assert_eq!(client.orders().count(), 1);
}

/// The host compares its records with the node before the first tick.
#[test]
fn what_is_told_right_after_the_start_takes_nothing_from_what_is_owed() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.has_channel();
    let mut client = crate::common::taped(Config::default(), [9; 32]);
    for (name, bytes) in &desk.store {
        client.load(name, bytes).unwrap();
    }
    assert_eq!(
        client.next_wake().map(|(_, why)| why),
        Some(Wake::OrdersLoaded),
        "what is owed is released at the first tick"
    );
    assert_eq!(client.channel_ended(desk.order(key).channel().unwrap().key, NOON), Handled::Taken);
    client.tick(NOON);
    let effects = client.drain().written().effects;
    let [Effect::PayOrder { order, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(*order, key);
}

/// Loads the lines of `text`: for each order a description, a name and bytes that a version with this layout wrote.
fn loaded(text: &'static str) -> BTreeMap<&'static str, Order> {
    let mut orders = BTreeMap::new();
    for line in text.lines() {
        let [what, name, hex] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
        let mut client = crate::common::taped(Config::default(), [9; 32]);
        assert_eq!(client.load(name, &bytes), Ok(()), "{what}");
        let order = client.orders().next().expect("it is there").clone();
        assert_eq!((order.lsp(), order.id().as_str(), order.payment_options().len()), (LSP, "a1", 3), "{what}");
        orders.insert(what, order);
        // The order is written again as a record of the present version.
        client.tick(NOON + HOUR * 24 * 400);
        for (name, bytes) in client.drain().records().filter_map(|(id, bytes)| Some((id.to_string(), bytes?))) {
            assert_eq!(crate::common::taped(Config::default(), [9; 32]).load(&name, bytes), Ok(()), "{what}");
        }
    }
    orders
}

#[test]
fn records_of_version_2_are_read() {
    let orders = loaded(include_str!("v2.tsv"));
    let state = |what| orders[what].state();
    let paying = |what| orders[what].paying().expect("it is being paid");
    assert_eq!((orders.len(), state("quoted")), (8, &State::Quoted));
    let opening = paying("paying by invoice, then on-chain, its channel pending");
    assert_eq!((opening.method, &opening.then[..]), (PaymentMethod::Bolt11, &[PaymentMethod::Onchain][..]));
    assert_eq!(opening.channel.and_then(|its| its.funding), Some(OUTPOINT));
    for (what, is_late) in [("signed", false), ("signed, late", true)] {
        assert_eq!((&paying(what).payment, paying(what).late), (&Payment::Signed(vec![2, 0, 0, 0]), is_late));
        assert!(!paying(what).unsent, "it may have been broadcast");
    }
    assert!(matches!(paying("returned").payment, Payment::Returned { .. }));
    assert_eq!(orders["refunding, in trouble"].trouble(), Some(&Trouble::Kept));
    assert_eq!(orders["given up"].end(), Some(&End::GivenUp));
    assert!(matches!(orders["done"].end(), Some(End::Done { channel: Some(_), .. })));
}

#[test]
fn records_of_version_1_are_read() {
    let orders = loaded(include_str!("v1.tsv"));
    let state = |what| orders[what].state();
    let paying = |what| orders[what].paying().expect("it is being paid");
    assert_eq!((orders.len(), state("quoted")), (6, &State::Quoted));
    assert_eq!(orders["quoted"].ordered().token.as_deref(), Some("coupon"));
    let opening = paying("paying by invoice, its channel pending");
    assert_eq!(
        (opening.method, opening.held, opening.channel.map(|its| its.pending)),
        (PaymentMethod::Bolt11, true, Some(true))
    );
    assert_eq!(paying("signed").payment, Payment::Signed(vec![2, 0, 0, 0]));
    assert!(matches!(paying("returned").payment, Payment::Returned { .. }));
    assert!(matches!(state("refunding, in trouble"), State::Refunding(_)));
    assert!(matches!(orders["refunding, in trouble"].trouble(), Some(Trouble::Differs { .. })));
    assert!(matches!(orders["done"].end(), Some(End::Done { .. })));
}

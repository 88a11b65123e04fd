//! What is kept of orders, and what is made of what was kept.

use lsps_client::jit_receive::Handled;
use lsps_client::order::{State, WayKind};
use lsps_client::{Client, Config, Effect, Unreadable, UnreadableContent};
use lsps_types::lsps1::CreateOrder;

use crate::common::HOUR;
use crate::desk::{Desk, completed, made, order};

#[test]
fn a_restart_at_any_point_changes_nothing() {
    let mut desk = Desk::new();
    let ordered = CreateOrder { token: Some("coupon ü".into()), ..order() };
    let key = desk.places(&ordered);
    for step in 0..3 {
        match step {
            0 => desk.client.pay_order(key, WayKind::Onchain, desk.now).unwrap(),
            1 => desk.client.order_signed(key, vec![1, 2, 3], desk.now).unwrap(),
            _ => {
                desk.tells(completed(&made("a1", &ordered)));
                desk.passes(HOUR);
            }
        }
        desk.turn();
        let before = desk.order(key).clone();
        desk.restarts();
        desk.client.tick(desk.now);
        let after = desk.order(key).clone();
        assert_eq!((before.state(), before.ordered(), before.ways()), (after.state(), &ordered, after.ways()));
    }
    assert!(desk.order(key).end().is_some());
}

#[test]
fn a_payment_that_was_to_be_made_is_asked_for_again() {
    let mut desk = Desk::new();
    let key = desk.pays(WayKind::Bolt11);
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
    let key = desk.pays(WayKind::Bolt11);
    let name = format!("order-{key}");
    let good = desk.store[&name].clone();
    let mut client = Client::new(Config::default(), [9; 32]);
    let content = |read: Result<(), Unreadable>| match read {
        Err(Unreadable::Content(why)) => why,
        other => panic!("{other:?}"),
    };
    let mut newer = good.clone();
    newer[0] = 9;
    assert_eq!(content(client.load(&name, &newer)), UnreadableContent::Version(9));
    for damaged in [&good[..0], &good[..good.len() - 1], &[&good[..], &[0]].concat(), &[1, 2, 3]] {
        assert_eq!(content(client.load(&name, damaged)), UnreadableContent::Damaged);
    }
    let misnamed = format!("order-{:032x}", key.0 ^ 1);
    assert_eq!(content(client.load(&misnamed, &good)), UnreadableContent::Damaged);
    for unknown in ["order-", "order-12", &format!("order-+{:031x}", 1), "orders-1"] {
        assert!(matches!(client.load(unknown, &good), Err(Unreadable::Name(_))), "{unknown}");
    }
    assert_eq!(client.load(&name, &good), Ok(()));
    assert_eq!(content(client.load(&name, &good)), UnreadableContent::Twice);
    assert_eq!(client.orders().count(), 1);
}

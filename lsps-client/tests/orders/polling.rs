//! Polling of an order's state, in virtual time.

use std::time::Duration;

use lsps_client::jit_receive::Handled;
use lsps_client::order::{PaymentMethod, Polling, State, Trouble};
use lsps_types::Timestamp;
use lsps_types::lsps1::{LightningState, OnchainState, Order as Reply, OrderId};
use lsps_types::{DateTime, Sat};

use crate::common::{DAY, HOUR, LSP, NOON};
use crate::desk::{Desk, Manner, completed, made, order, with_states};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn pauses(asked: &[Timestamp]) -> Vec<u64> {
    asked.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect()
}

const NOT_FOUND: Manner = Manner::Says("error", r#"{"code":101,"message":"?","data":{}}"#);

/// L1-063, L1-110
#[test]
fn an_order_is_asked_about_ever_slower_until_something_happens() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.passes(HOUR / 2);
    assert_eq!(pauses(&desk.asked), [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]);
    let before = desk.asked.len();
    desk.tells(with_states(&made("a1", &order()), LightningState::Hold, OnchainState::ExpectPayment));
    desk.passes(seconds(420));
    let news = &desk.asked[before..];
    assert_eq!(pauses(news)[..4], [2, 2, 4, 8], "what happened makes it quick again");
    assert!(matches!(desk.state(key), State::Paying(_)));

    // The client keeps waiting for the LSP, however long ago the order expired by its announcement.
    desk.passes(DAY * 20);
    assert!(matches!(desk.state(key), State::Paying(_)));
    desk.has_channel();
    desk.tells(completed(&made("a1", &order())));
    desk.passes(seconds(300));
    assert!(desk.order(key).end().is_some());
}

#[test]
fn an_lsp_that_says_nothing_for_long_is_silent_and_asked_slowly() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.passes(seconds(60));
    desk.lsp = Manner::Silent;
    desk.passes(HOUR * 5);
    assert_eq!(desk.order(key).trouble(), None, "not for long enough");
    desk.passes(HOUR * 3);
    let Some(Trouble::Silent { since }) = desk.order(key).trouble() else { panic!("it is silent") };
    assert!(since.since(NOON) < HOUR / 12);
    let since = *since;

    desk.asked.clear();
    desk.passes(DAY);
    assert!((23..=25).contains(&desk.asked.len()), "about once an hour: {}", desk.asked.len());
    desk.restarts();
    assert_eq!(desk.order(key).trouble(), Some(&Trouble::Silent { since }), "known after a restart");
    assert!(matches!(desk.state(key), State::Paying(_)));

    desk.tells(made("a1", &order()));
    desk.passes(HOUR * 2);
    assert_eq!(desk.order(key).trouble(), None, "it is back");
    desk.has_channel();
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR);
    assert!(desk.order(key).end().is_some());
}

#[test]
fn an_lsp_that_cannot_be_reached_is_asked_at_once_when_it_is_back() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.passes(HOUR);
    desk.client.peer_disconnected(LSP);
    desk.passes(DAY);
    assert!(matches!(desk.order(key).trouble(), Some(Trouble::Silent { .. })), "not heard of either");
    desk.asked.clear();
    desk.has_channel();
    desk.tells(completed(&made("a1", &order())));
    desk.client.peer_connected(LSP);
    desk.turn();
    assert_eq!(desk.asked, [desk.now]);
    assert!(desk.order(key).end().is_some());
}

#[test]
fn a_wallet_that_was_off_does_not_call_its_lsp_silent() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.now = NOON + DAY * 3;
    desk.restarts();
    assert_eq!(desk.order(key).trouble(), None);
    assert_eq!(desk.asked, [desk.now], "it is asked at once");
}

/// L1-065
#[test]
fn an_lsp_that_forgot_the_order_is_told_apart_and_may_remember() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.lsp = NOT_FOUND;
    desk.passes(seconds(60));
    assert_eq!(desk.order(key).trouble(), Some(&Trouble::Forgotten));
    desk.restarts();
    assert_eq!(desk.order(key).trouble(), Some(&Trouble::Forgotten));
    desk.tells(made("a1", &order()));
    desk.passes(HOUR);
    assert_eq!(desk.order(key).trouble(), None);
}

#[test]
fn case_O12_an_answer_about_another_order_changes_nothing_but_is_told() {
    let changed = |change: &dyn Fn(&mut Reply)| {
        let mut reply = completed(&made("a1", &order()));
        change(&mut reply);
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Onchain);
        desk.tells(reply);
        desk.passes(seconds(60));
        assert!(matches!(desk.state(key), State::Paying(_)), "it is not done");
        let Some(Trouble::Differs { field }) = desk.order(key).trouble() else { panic!("it differs") };
        field.clone()
    };
    assert_eq!(changed(&|r| r.order_id = OrderId::try_from("a2".to_string()).unwrap()), "order_id");
    assert_eq!(changed(&|r| r.lsp_balance_sat = Sat(1)), "lsp_balance_sat");
    assert_eq!(changed(&|r| r.announce_channel = true), "announce_channel");
    assert_eq!(changed(&|r| r.payment.onchain.as_mut().unwrap().order_total_sat = Sat(1)), "order_total_sat");
    let elsewhere = "bcrt1qxyzqqqq";
    assert_eq!(changed(&|r| r.payment.onchain.as_mut().unwrap().address = elsewhere.into()), "payment.onchain.address");
}

/// L1-067, L1-069, L1-074
#[test]
fn other_ways_to_pay_may_come_and_go() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    let mut reply = made("a1", &order());
    (reply.payment.onchain, reply.payment.bolt12) = (None, None);
    desk.tells(reply.clone());
    desk.passes(seconds(60));
    reply.payment.bolt11 = None;
    desk.tells(reply.clone());
    desk.passes(seconds(60));
    assert_eq!((desk.order(key).trouble(), desk.order(key).paying().unwrap().held), (None, false));
    desk.has_channel();
    desk.tells(completed(&reply));
    desk.passes(HOUR);
    assert!(desk.order(key).end().is_some());
}

#[test]
fn case_X53_answers_that_mean_nothing_are_no_answers_and_unreadable_ones_are_told_as_such() {
    for (member, text) in [
        ("error", r#"{"code":-32603,"message":"later"}"#),
        ("error", r#"{"code":1,"message":"go away"}"#),
        ("result", "{}"),
        ("result", r#"{"order_id":7}"#),
    ] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.lsp = Manner::Says(member, text);
        desk.passes(DAY);
        match desk.order(key).trouble() {
            Some(Trouble::Silent { .. }) => assert_eq!(member, "error"),
            Some(Trouble::Unreadable { .. }) => assert_eq!(member, "result", "it answers, and not what it should"),
            other => panic!("{text}: {other:?}"),
        }
        assert!(desk.asked.len() < 200, "{}", desk.asked.len());
    }
}

#[test]
fn completed_without_a_channel_is_not_done() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    let reply = completed(&made("a1", &order()));
    desk.tells(Reply { channel: None, ..reply.clone() });
    desk.passes(HOUR);
    assert!(matches!(desk.state(key), State::Paying(_)));
    let mut lease = reply.clone();
    lease.channel.as_mut().unwrap().expires_at = DateTime::from(NOON + DAY * 400);
    desk.has_channel();
    desk.tells(lease);
    desk.passes(HOUR);
    assert!(desk.order(key).end().is_some());
}

#[test]
fn questions_of_the_application_come_first() {
    let config = lsps_client::Config {
        calls_per_lsp: 1,
        polling: Polling { silent_after: HOUR, ..Polling::default() },
        ..lsps_client::Config::default()
    };
    let mut desk = Desk::with(config);
    let key = desk.pays(PaymentMethod::Bolt11);
    desk.lsp = Manner::Silent;
    let ask = lsps_types::lsps0::ListProtocols {};
    let ticket = desk.client.call_within(LSP, &ask, DAY, desk.now).unwrap();
    desk.passes(HOUR * 3);
    assert_eq!(desk.order(key).trouble(), None, "that it was not asked is no silence");
    desk.client.forget(&ticket);
    desk.has_channel();
    desk.tells(completed(&made("a1", &order())));
    desk.passes(HOUR);
    assert!(desk.order(key).end().is_some());
}

/// How the clock comes to show another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// The host reports the change.
    Told,
    /// The host does not notice.
    Unseen,
    /// The clock changes while the wallet does not run.
    Away,
}

fn sets_clock(desk: &mut Desk, to: Timestamp, how: Set) {
    if how == Set::Told {
        desk.client.clock_set(desk.now, to);
    }
    desk.now = to;
    if how == Set::Away {
        desk.restarts();
    }
}

fn earlier(instant: Timestamp, span: Duration) -> Timestamp {
    let span = u64::try_from(span.as_millis()).expect("some days");
    Timestamp::from_unix_millis(instant.unix_millis() - span)
}

#[test]
fn case_X19_an_lsp_is_silent_and_asked_in_time_when_the_clock_is_set() {
    for (how, is_back) in [(Set::Told, true), (Set::Told, false), (Set::Unseen, true), (Set::Away, true)] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.passes(seconds(60));
        desk.lsp = Manner::Silent;
        desk.passes(HOUR * 5);
        let to = if is_back { earlier(desk.now, DAY) } else { desk.now + DAY };
        sets_clock(&mut desk, to, how);
        desk.asked.clear();
        desk.passes(HOUR / 2);
        assert_eq!((desk.order(key).trouble(), desk.asked.is_empty()), (None, false), "{how:?} {is_back}");
        desk.passes(if how == Set::Told { HOUR } else { HOUR * 7 });
        let Some(Trouble::Silent { since }) = desk.order(key).trouble() else { panic!("{how:?} {is_back}") };
        assert!(desk.now.since(*since) < HOUR * 8);
        sets_clock(&mut desk, earlier(to, DAY), how);
        let Some(Trouble::Silent { since }) = desk.order(key).trouble() else { panic!("{how:?} {is_back}") };
        assert!(*since <= desk.now || how == Set::Unseen, "nothing was silent in the future");
        desk.asked.clear();
        desk.passes(HOUR + seconds(61));
        assert!(!desk.asked.is_empty(), "asked once an hour, {how:?} {is_back}");
    }
}

#[test]
fn case_X19_a_payment_that_came_back_is_asked_about_for_some_minutes_when_the_clock_is_set() {
    for (how, is_back) in [(Set::Told, true), (Set::Told, false), (Set::Unseen, true), (Set::Away, true)] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.lsp = Manner::Silent;
        assert_eq!(desk.client.order_returned(key, desk.now), Handled::Taken);
        desk.turn();
        let to = if is_back { earlier(desk.now, DAY) } else { desk.now + HOUR / 2 };
        sets_clock(&mut desk, to, how);
        desk.passes(seconds(299));
        assert_eq!(desk.order(key).end(), None, "{how:?} {is_back}");
        desk.passes(seconds(1));
        assert!(desk.order(key).end().is_some(), "{how:?} {is_back}");
    }
}

#[test]
fn case_X19_a_channel_has_as_long_to_be_confirmed_when_the_clock_is_set() {
    for (how, is_back) in [(Set::Told, true), (Set::Told, false), (Set::Unseen, true), (Set::Away, true)] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.has_channel();
        desk.tells(completed(&made("a1", &order())));
        desk.passes(seconds(60));
        assert!(desk.order(key).end().is_some());
        let to = if is_back { earlier(desk.now, DAY) } else { desk.now + DAY };
        sets_clock(&mut desk, to, how);
        desk.passes(HOUR * 3);
        assert_eq!(desk.order(key).trouble(), None, "{how:?} {is_back}");
        desk.passes(HOUR * 3 / 2);
        assert!(desk.order(key).trouble().is_some(), "{how:?} {is_back}");
    }
}

/// The clock was a day ahead when the channel was funded; the lease is compared with the present time.
#[test]
fn case_X19_a_lease_is_not_short_because_the_clock_was_ahead() {
    let mut desk = Desk::new();
    let key = desk.pays(PaymentMethod::Bolt11);
    sets_clock(&mut desk, NOON + DAY * 30, Set::Told);
    desk.has_channel();
    sets_clock(&mut desk, NOON, Set::Told);
    let mut reply = completed(&made("a1", &order()));
    reply.channel.as_mut().unwrap().expires_at = DateTime::from(NOON + DAY);
    desk.tells(reply);
    desk.passes(seconds(60));
    assert_eq!((desk.order(key).end().is_some(), desk.order(key).trouble()), (true, None));
}

#[test]
fn case_X19_what_our_node_does_not_see_is_a_lie_in_time_when_the_clock_is_set() {
    for (how, is_back) in [(Set::Told, true), (Set::Told, false), (Set::Unseen, true), (Set::Away, true)] {
        let mut desk = Desk::new();
        let key = desk.pays(PaymentMethod::Bolt11);
        desk.tells(completed(&made("a1", &order())));
        desk.passes(seconds(4));
        let to = if is_back { earlier(desk.now, DAY) } else { desk.now + DAY };
        sets_clock(&mut desk, to, how);
        desk.passes(seconds(90));
        assert_eq!(desk.order(key).trouble(), None, "{how:?} {is_back}");
        desk.passes(seconds(400));
        assert!(matches!(desk.order(key).trouble(), Some(Trouble::NoChannel { .. })), "{how:?} {is_back}");
    }
}

//! Opens that are slow, fail, or are repeated.

use std::time::Duration;

use lsps_service::{
    Booking, ChannelEnd, ChannelKey, FlowId, Input, OrderConfig, OrderFailure, OrderStage, PartId, WhichPart,
};
use lsps_testing::{Act, NOON, buys, peer};
use lsps_types::lsps1::{CreateOrder, OrderState};
use lsps_types::{Blocks, Msat};

use super::{HEIGHT, LEASE, Shop, TOTAL, coin, order, selling, with_orders};
use crate::minutes;

fn seconds(seconds: u64) -> lsps_types::Timestamp {
    NOON + Duration::from_secs(seconds)
}

/// L1-118, L1-119, L1-121, L1-122, L1-124, L1-125, L1-126, L1-131, L1-132
#[test]
fn case_O06_the_channel_is_what_was_ordered() {
    let mut shop = Shop::new();
    shop.pays();
    let acts = shop.lsp.acts();
    let [Act::Open { terms, .. }] = acts[..] else { panic!("{acts:?}") };
    assert_eq!((terms.capacity_sat, terms.push), (600_000, Msat(100_000_000)));
    assert_eq!((terms.confirmations, terms.confirm_within), (0, Some(Blocks(6))));
    assert!(!terms.announce);
    assert_eq!(terms.max_client_to_self_delay, None);
}

/// L1-120, L1-125
#[test]
fn a_channel_is_announced_and_waits_for_confirmations_as_was_ordered() {
    let ordered = CreateOrder { required_channel_confirmations: 3, announce_channel: true, ..order() };
    let mut shop = Shop::with(selling(), &ordered);
    shop.pays();
    let acts = shop.lsp.acts();
    let [Act::Open { terms, .. }] = acts[..] else { panic!("{acts:?}") };
    assert_eq!((terms.confirmations, terms.announce), (3, true));
}

#[test]
fn case_O09_an_open_without_an_answer_is_given_up_then_refunded_and_never_both() {
    let mut shop = Shop::new();
    shop.pays();
    shop.deposit(1, TOTAL, Some(HEIGHT));
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.accepts_channel(key, None);
    shop.lsp.acts();
    shop.lsp.wait_until(seconds(60));
    let acts = shop.lsp.acts();
    assert!(
        matches!(acts[..], [Act::Abandon(_), Act::FailPayment(failed), Act::Refund { .. }] if failed == hash),
        "{acts:?}"
    );
    shop.lsp.funding_signed(key);
    shop.lsp.channel_ready(key);
    assert_eq!(shop.lsp.acts(), [], "it comes too late");
    assert_eq!(shop.asked().order_state, OrderState::Failed);
    assert_eq!(shop.known().stage, OrderStage::Failed { why: OrderFailure::OpenUnanswered });
}

#[test]
fn case_O09_an_open_is_tried_as_often_as_the_operator_says() {
    let mut shop = Shop::of(with_orders(OrderConfig { attempts: 3, ..OrderConfig::default() }));
    shop.pays();
    let cannot = || ChannelEnd::CannotOpen("no coins".into());
    for (attempt, why) in [(1, ChannelEnd::Rejected), (2, cannot())] {
        let begun = u64::from(attempt - 1) * 60;
        shop.lsp.acts();
        let key = shop.key(attempt);
        shop.lsp.channel_ends(key, why);
        assert_eq!(shop.lsp.acts(), [], "it waits");
        assert_eq!(shop.known().retry_at, Some(seconds(begun + 60)));
        shop.lsp.restarts();
        shop.lsp.wait_until(seconds(begun + 59));
        assert_eq!(shop.lsp.acts(), []);
        shop.lsp.wait_until(seconds(begun + 60));
    }
    let acts = shop.lsp.acts();
    assert!(matches!(acts[..], [Act::Open { key, .. }] if key == shop.key(3)), "{acts:?}");
    let (key, hash) = (shop.key(3), shop.hash());
    shop.lsp.channel_ends(key, cannot());
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)]);
    assert_eq!(shop.known().stage, OrderStage::Failed { why: OrderFailure::Open(cannot()) }, "and it says why");
}

#[test]
fn case_O09_what_our_restart_or_the_clients_absence_ended_does_not_count() {
    let mut shop = Shop::new();
    shop.pays();
    for attempt in 1..5 {
        shop.lsp.acts();
        let key = shop.key(attempt);
        shop.lsp.channel_ends(key, ChannelEnd::TryAgain);
        let acts = shop.lsp.acts();
        assert!(matches!(acts[..], [Act::Open { key, .. }] if key == shop.key(attempt + 1)), "{acts:?}");
    }
    shop.lsp.disconnects(peer(1));
    let key = shop.key(5);
    shop.lsp.channel_ends(key, ChannelEnd::PeerGone);
    shop.lsp.connects(peer(1));
    assert_eq!((shop.known().attempts, shop.known().stage), (6, OrderStage::Open));
}

/// L1-028, L1-030
#[test]
fn a_channel_that_is_ready_or_in_a_block_sooner_than_was_asked_is_the_one_that_was_ordered() {
    let mut shop = Shop::new();
    shop.pays();
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    shop.lsp.acts();
    let before = shop.asked();
    shop.lsp.channel_ready(key);
    shop.lsp.feed(lsps_service::Input::FundingConfirmed { key });
    assert_eq!((shop.asked(), shop.lsp.acts()), (before, vec![]));
}

/// A host would ask forever if it asked a peer again that it still takes for connected.
#[test]
fn case_O09_a_peer_that_is_gone_though_nobody_said_so_is_not_asked_again_at_once() {
    let mut shop = Shop::new();
    shop.pays();
    shop.lsp.acts();
    let key = shop.key(1);
    shop.lsp.channel_ends(key, ChannelEnd::PeerGone);
    assert_eq!(shop.lsp.acts(), []);
    shop.lsp.wait_until(seconds(60));
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]), "but later, and it counted as no failure");
}

/// L1-115, L1-116; reading R-16
#[test]
fn case_O13_the_lease_is_kept_by_date_and_by_height() {
    let mut shop = Shop::new();
    shop.pays();
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    let lease_ends = seconds(600 * u64::from(LEASE));
    let channel = shop.asked().channel.expect("a channel");
    assert_eq!((channel.funded_at.instant(), channel.expires_at.instant()), (NOON, lease_ends));
    let OrderStage::Completed { lease_ends: known, .. } = shop.known().stage else { panic!("it is open") };
    assert_eq!(known, lease_ends);
    let may_close = |shop: &Shop| shop.lsp.service().may_close(key).map_err(|promised| promised.until.map(|at| at.0));
    assert_eq!(may_close(&shop), Err(None), "not in a block");
    shop.lsp.feed(lsps_service::Input::FundingConfirmed { key });
    assert_eq!(may_close(&shop), Err(Some(HEIGHT + LEASE)));
    shop.lsp.block(HEIGHT + LEASE);
    assert!(may_close(&shop).is_err(), "blocks came fast");
    shop.lsp.wait_until(lease_ends);
    assert_eq!(may_close(&shop), Ok(()));
    shop.lsp.block(HEIGHT + LEASE - 1);
    assert!(may_close(&shop).is_err(), "blocks came slowly");
}

#[test]
fn case_O13_a_channel_that_its_client_closed_is_promised_no_longer() {
    let mut shop = Shop::new();
    shop.pays();
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    shop.lsp.acts();
    shop.lsp.channel_ends(key, ChannelEnd::Closed);
    assert_eq!(shop.lsp.service().may_close(key), Ok(()));
    assert_eq!((shop.asked().order_state, shop.lsp.acts()), (OrderState::Completed, vec![]), "it had what it paid for");
}

#[test]
fn case_O09_a_funding_that_is_stuck_is_broadcast_again_and_never_refunded() {
    let mut shop = Shop::new();
    shop.deposit(1, TOTAL, Some(HEIGHT));
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    assert_eq!(shop.lsp.acts().last(), Some(&Act::Keep(coin(1), TOTAL)));
    shop.lsp.block(HEIGHT + 12);
    assert_eq!(shop.lsp.acts(), [Act::BroadcastAgain(key)]);
}

/// Node and service differ: the node forwards over any channel of the client, including one whose funding is signed
/// without the service's knowledge.
fn with_a_payment_of_the_client(shop: &mut Shop) {
    let scid = buys(&mut shop.lsp, peer(1), None).jit_channel_scid;
    shop.lsp.part(1, scid, 1, Msat(50_000_000));
    let key = ChannelKey { flow: FlowId::JitChannel(scid), attempt: 1 };
    shop.lsp.funding_signed(key);
    shop.lsp.channel_ready(key);
    assert!(shop.lsp.acts().iter().any(|act| matches!(act, Act::Forward { .. })), "it is with the client");
}

#[test]
fn case_X07_what_was_paid_does_not_go_back_before_the_channel_is_given_up() {
    for is_signed in [false, true] {
        let mut shop = Shop::new();
        shop.deposit(1, TOTAL, Some(HEIGHT));
        let key = shop.key(1);
        shop.lsp.accepts_channel(key, None); // the node has its funding by now
        with_a_payment_of_the_client(&mut shop);
        shop.lsp.keeps_abandoned = true;
        shop.lsp.feed(Input::CancelOrder { order: shop.number });
        if is_signed {
            shop.lsp.funding_signed(key);
        }
        let is_refund = |act: &Act| matches!(act, Act::Refund { .. });
        assert!(!shop.lsp.acts().iter().any(is_refund), "the channel may be the client's yet");
        shop.lsp.feed(Input::ChannelAbandoned { key });
        assert!(shop.lsp.acts().iter().any(is_refund), "the node has told all, and nothing was claimed over it");
        assert_eq!(shop.asked().order_state, OrderState::Failed);
    }
}

#[test]
fn case_X07_a_channel_over_which_the_client_claimed_is_published_whoever_paid_for_it() {
    for ends in [false, true] {
        let mut shop = Shop::new();
        shop.deposit(1, TOTAL, Some(HEIGHT));
        let key = shop.key(1);
        shop.lsp.accepts_channel(key, None);
        with_a_payment_of_the_client(&mut shop);
        shop.lsp.keeps_abandoned = true;
        shop.lsp.feed(Input::CancelOrder { order: shop.number });
        if ends {
            shop.lsp.channel_ends(key, ChannelEnd::Closed);
        }
        shop.lsp.acts();
        let part = WhichPart::Id(PartId([1; 32]));
        shop.lsp.feed(Input::PartForwarded { part, over: Some(key) });
        assert!(shop.lsp.acts().contains(&Act::Broadcast(key)), "what is claimed over it is the client's");
        let order = shop.asked();
        assert_eq!((order.order_state, order.channel.is_some()), (OrderState::Completed, true));
        let paid = Booking::OrderPaid { fee: Msat(8_888_000), surplus: Msat::ZERO };
        assert!(shop.lsp.book().any(|entry| entry.what == paid), "with what was paid for it");
        shop.lsp.funding_signed(key);
        shop.lsp.restarts();
        assert!(shop.lsp.acts().contains(&Act::Broadcast(key)), "until it is in the chain");
    }
}

/// The node has signed with the client and carried an ordinary payment, and reports this after the open was abandoned.
#[test]
fn case_X07_a_paid_channel_that_is_given_up_and_was_claimed_over_is_published_and_paid_for() {
    for by_invoice in [false, true] {
        let mut shop = Shop::of(with_orders(OrderConfig { attempts: 3, ..OrderConfig::default() }));
        if by_invoice {
            shop.pays();
        } else {
            shop.deposit(1, TOTAL, Some(HEIGHT));
        }
        let key = shop.key(1);
        shop.lsp.accepts_channel(key, None);
        shop.lsp.keeps_abandoned = true;
        shop.lsp.wait_until(seconds(61));
        assert!(shop.lsp.acts().contains(&Act::Abandon(key)), "nobody signed, as far as is known");
        shop.lsp.feed(Input::ChannelPending { key });
        shop.lsp.feed(Input::PartForwarded { part: ordinary(), over: Some(key) });
        let acts = shop.lsp.acts();
        assert!(acts.contains(&Act::Broadcast(key)) && !acts.contains(&Act::Abandon(key)), "{acts:?}");
        assert_eq!(shop.asked().order_state, OrderState::Completed);
        let paid = Booking::OrderPaid { fee: Msat(8_888_000), surplus: Msat::ZERO };
        assert_eq!(shop.lsp.book().filter(|entry| entry.what == paid).count(), 1, "by what was paid for it");
    }
}

/// As above, but the payment is close to its expiry, or the channel was closed before the claim was reported.
#[test]
fn case_X07_a_channel_that_was_claimed_over_is_paid_for_with_the_payment_that_was_kept_for_it() {
    for is_closed in [false, true] {
        let mut shop = Shop::of(with_orders(OrderConfig { attempts: 3, ..OrderConfig::default() }));
        shop.pays_until(Some(HEIGHT + 100));
        let (key, hash) = (shop.key(1), shop.hash());
        shop.lsp.accepts_channel(key, None);
        if is_closed {
            with_a_payment_of_the_client(&mut shop);
            shop.lsp.channel_ends(key, ChannelEnd::Closed);
        } else {
            shop.lsp.keeps_abandoned = true;
            shop.lsp.wait_until(seconds(61));
            shop.lsp.block(HEIGHT + 99);
        }
        assert!(!shop.lsp.acts().contains(&Act::FailPayment(hash)), "the channel may be the client's yet");
        shop.lsp.feed(Input::PartForwarded { part: ordinary(), over: Some(key) });
        shop.lsp.failed_by_client(PartId([1; 32]));
        assert_eq!(shop.asked().order_state, OrderState::Completed);
        let acts = shop.lsp.acts();
        let is_broadcast = acts.contains(&Act::Broadcast(key)) || acts.contains(&Act::BroadcastAgain(key));
        assert!(is_broadcast && !acts.contains(&Act::Abandon(key)), "{acts:?}");
        assert!(acts.contains(&Act::Claim(hash)), "{acts:?}");
        let paid = Booking::OrderPaid { fee: Msat(8_888_000), surplus: Msat::ZERO };
        assert_eq!(shop.lsp.book().filter(|entry| entry.what == paid).count(), 1);
    }
}

/// A client pays its own order, signs only when the payment has to be failed, and meanwhile holds another HTLC of its
/// own. An accomplice then pays 1 sat over the client's other channel, and the node sends that over the channel of the
/// order.
#[test]
fn case_X07_a_client_that_signs_late_and_claims_a_trifle_has_no_channel_for_nothing() {
    let story = |signs: bool| {
        let mut shop = Shop::of(with_orders(OrderConfig { attempts: 3, ..OrderConfig::default() }));
        shop.pays_until(Some(HEIGHT + 100));
        let key = shop.key(1);
        shop.lsp.accepts_channel(key, None);
        with_a_payment_of_the_client(&mut shop);
        shop.lsp.keeps_abandoned = true;
        shop.lsp.wait_until(seconds(61));
        assert!(shop.lsp.acts().contains(&Act::Abandon(key)), "whatever else is with the client: the node is asked");
        shop.lsp.block(HEIGHT + 70);
        assert!(!shop.lsp.acts().contains(&Act::FailPayment(shop.hash())), "the channel is not given up yet");
        if signs {
            shop.lsp.feed(Input::ChannelPending { key });
        }
        (shop, key)
    };
    let (mut shop, key) = story(true);
    shop.lsp.feed(Input::ChannelCarries { key });
    assert!(is_sold(&mut shop, key), "the client signed, and has something on it");

    let (mut shop, key) = story(true);
    shop.lsp.feed(Input::PartForwarded { part: ordinary(), over: Some(key) });
    assert!(is_sold(&mut shop, key));
    let unpaid = |what: &Booking| matches!(what, Booking::OrderUnpaid { .. });
    assert!(!shop.lsp.book().any(|entry| unpaid(&entry.what)));

    let (mut shop, key) = story(false);
    shop.lsp.feed(Input::ChannelAbandoned { key });
    assert!(shop.lsp.acts().contains(&Act::FailPayment(shop.hash())), "nobody signed");
    shop.lsp.feed(Input::PartForwarded { part: ordinary(), over: Some(key) });
    assert_eq!(shop.lsp.acts(), [], "the node has no such channel any more");

    let (mut shop, key) = story(true);
    shop.lsp.feed(Input::PaymentGone { payment_hash: shop.hash() });
    shop.lsp.feed(Input::ChannelCarries { key });
    assert!(!is_sold(&mut shop, key), "nobody pays for it");
    assert_eq!(shop.asked().channel, None);
}

/// Whether the channel is published and its payment claimed.
fn is_sold(shop: &mut Shop, key: ChannelKey) -> bool {
    let acts = shop.lsp.acts();
    let is_broadcast = acts.contains(&Act::Broadcast(key)) || acts.contains(&Act::BroadcastAgain(key));
    is_broadcast && acts.contains(&Act::Claim(shop.hash()))
}

fn ordinary() -> WhichPart {
    WhichPart::Id(PartId([99; 32]))
}

/// A channel over which something was claimed has to be published, whoever paid for it.
#[test]
fn case_X06_the_channel_of_an_order_carries_nothing_else_until_it_is_published() {
    let mut shop = Shop::new();
    shop.pays();
    let key = shop.key(1);
    assert!(!shop.lsp.carries_others(key), "it is being opened");
    shop.lsp.funding_signed(key);
    assert!(shop.lsp.acts().contains(&Act::Broadcast(key)) && shop.lsp.carries_others(key), "before it is ready");
    shop.lsp.channel_ready(key);
    assert!(shop.lsp.carries_others(key));

    let mut shop = Shop::new();
    shop.deposit(1, TOTAL, Some(HEIGHT));
    let key = shop.key(1);
    shop.lsp.accepts_channel(key, None);
    with_a_payment_of_the_client(&mut shop);
    shop.lsp.keeps_abandoned = true;
    shop.lsp.feed(Input::CancelOrder { order: shop.number });
    shop.lsp.feed(Input::ChannelPending { key });
    assert!(!shop.lsp.carries_others(key), "nobody paid for it");
    shop.lsp.feed(Input::PartForwarded { part: ordinary(), over: Some(key) });
    assert!(shop.lsp.carries_others(key), "it is the client's by now");
}

/// The process is away for longer than outcomes are remembered; the node has yet to report that it claimed another
/// payment.
#[test]
fn case_X03_an_outcome_of_a_payment_is_kept_until_the_node_has_told_its_events() {
    let mut shop = Shop::new();
    shop.pays();
    let (key, payment_hash) = (shop.key(1), shop.hash());
    shop.lsp.funding_signed(key);
    shop.lsp.channel_ready(key);
    shop.lsp.feed(Input::FundingConfirmed { key });
    shop.lsp.restarts_before_its_node();
    shop.lsp.wait_until(minutes(60 * 24 * 60));
    shop.lsp.block(HEIGHT + 10 * LEASE);
    let another = Some(lsps_service::PaymentId([2; 32]));
    shop.lsp.feed(Input::PaymentClaimed { payment_hash, id: another, amount: Msat(7_000) });
    let again = Booking::OrderPaidAgain { payment_hash, amount: Msat(7_000) };
    assert_eq!(shop.lsp.book().filter(|entry| entry.what == again).count(), 1);
    shop.lsp.feed(Input::NodeCaughtUp);
    assert!(shop.lsp.records().is_empty() && shop.lsp.service().next_wake().is_none(), "now none will come");
}

//! Orders that ended, and the operator's view and actions.

use std::time::Duration;

use lsps_service::{Input, OrderConfig, OrderFailure, OrderStage};
use lsps_testing::{Act, NOON, call, peer};
use lsps_types::codes::GetOrderError;
use lsps_types::jsonrpc::Refusal;
use lsps_types::lsps1::{GetOrder, LightningState, OnchainState, OrderState};

use super::{HEIGHT, LEASE, Shop, TOTAL, with_orders};
use crate::minutes;

fn days(days: u64) -> lsps_types::Timestamp {
    NOON + Duration::from_secs(86_400 * days)
}

fn is_gone(shop: &mut Shop) -> bool {
    let order_id = shop.order.order_id.as_str().into();
    let answer = call(&mut shop.lsp, peer(1), &GetOrder { order_id }).map_err(|error| error.refusal);
    answer == Err(Refusal::Method(GetOrderError::NotFound)) && shop.lsp.records().is_empty()
}

/// Reading R-36
#[test]
fn case_O10_an_order_that_nobody_paid_fails_with_its_last_way_and_is_forgotten_a_day_later() {
    let mut shop = Shop::new();
    shop.lsp.wait_until(minutes(60));
    let order = shop.asked();
    assert_eq!(order.order_state, OrderState::Created, "it can be paid on the chain");
    assert_eq!(order.payment.bolt11.expect("an invoice").state, LightningState::Refunded);
    shop.lsp.wait_until(minutes(120));
    let order = shop.asked();
    assert_eq!(order.order_state, OrderState::Failed);
    assert_eq!(order.payment.onchain.expect("an address").state, OnchainState::ExpectPayment);
    shop.lsp.wait_until(minutes(120) + Duration::from_secs(86_399));
    assert!(!is_gone(&mut shop));
    shop.lsp.wait_until(minutes(120) + Duration::from_secs(86_400));
    assert!(is_gone(&mut shop));
    assert_eq!(shop.lsp.service().next_wake(), None);
}

#[test]
fn case_O10_a_failed_order_that_was_paid_answers_for_as_long_as_was_set() {
    let keep_ended = Duration::from_secs(7 * 86_400);
    let mut shop = Shop::of(with_orders(OrderConfig { keep_ended, ..OrderConfig::default() }));
    shop.pays();
    let key = shop.key(1);
    shop.lsp.channel_ends(key, lsps_service::ChannelEnd::Rejected);
    shop.lsp.wait_until(days(6));
    shop.lsp.restarts();
    assert_eq!(shop.asked().order_state, OrderState::Failed);
    shop.lsp.wait_until(days(7));
    assert!(is_gone(&mut shop));
}

#[test]
fn case_O10_a_completed_order_answers_until_its_lease_has_ended_and_longer() {
    let keep_ended = Duration::from_secs(7 * 86_400);
    let mut shop = Shop::of(with_orders(OrderConfig { keep_ended, ..OrderConfig::default() }));
    shop.pays();
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    shop.lsp.feed(Input::FundingConfirmed { key });
    shop.lsp.wait_until(days(9));
    assert_eq!(shop.asked().order_state, OrderState::Completed, "by height the lease goes on");
    shop.lsp.block(HEIGHT + LEASE);
    assert!(is_gone(&mut shop));
}

#[test]
fn case_O14_an_operator_sees_orders_and_why_they_failed_and_cancels_them() {
    let mut shop = Shop::new();
    let known = shop.known();
    assert_eq!((known.id, known.client, known.created_at), (shop.order.order_id.clone(), peer(1), NOON));
    assert_eq!((known.stage, known.attempts, known.retry_at), (OrderStage::Open, 0, None));
    shop.pays();
    shop.deposit(1, TOTAL, Some(HEIGHT));
    shop.lsp.acts();
    let hash = shop.hash();
    let cancel = Input::CancelOrder { order: shop.number };
    shop.lsp.feed(cancel.clone());
    let acts = shop.lsp.acts();
    assert!(
        acts.contains(&Act::FailPayment(hash)) && acts.iter().any(|act| matches!(act, Act::Refund { .. })),
        "{acts:?}"
    );
    assert_eq!(shop.known().stage, OrderStage::Failed { why: OrderFailure::Cancelled });
    shop.lsp.feed(cancel);
    assert_eq!(shop.lsp.acts(), [], "once");
}

#[test]
fn case_O14_what_is_published_cannot_be_cancelled() {
    let mut shop = Shop::new();
    shop.pays();
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    shop.lsp.acts();
    shop.lsp.feed(Input::CancelOrder { order: shop.number });
    assert_eq!((shop.lsp.acts(), shop.asked().order_state), (vec![], OrderState::Completed));
}

#[test]
fn case_O14_an_operator_has_an_open_tried_again_at_once() {
    let mut shop = Shop::of(with_orders(OrderConfig { attempts: 2, ..OrderConfig::default() }));
    let retry = Input::RetryOrder { order: shop.number };
    shop.lsp.feed(retry.clone());
    assert_eq!(shop.lsp.acts(), [], "nothing has failed");
    shop.pays();
    shop.lsp.acts();
    let key = shop.key(1);
    shop.lsp.channel_ends(key, lsps_service::ChannelEnd::Rejected);
    shop.lsp.feed(retry);
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { key, .. }] if key == shop.key(2)));
    let (key, hash) = (shop.key(2), shop.hash());
    shop.lsp.channel_ends(key, lsps_service::ChannelEnd::Rejected);
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)], "which counts as the second");
}

#[test]
fn case_O14_a_watcher_that_is_silent_ends_in_a_failure_that_is_seen_and_no_payment_is_lost() {
    let mut shop = Shop::new();
    shop.lsp.wait_until(minutes(120));
    assert_eq!(shop.known().stage, OrderStage::Failed { why: OrderFailure::Expired });
    shop.deposit(1, TOTAL, Some(HEIGHT));
    assert!(matches!(shop.lsp.acts()[..], [Act::Refund { .. }]), "when it speaks again");
    shop.lsp.wait_until(days(60));
    assert_eq!(
        shop.lsp.service().unconfirmed_refunds().count(),
        1,
        "and the refund is not forgotten before it is sure"
    );
}

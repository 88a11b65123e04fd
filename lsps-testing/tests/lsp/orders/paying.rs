//! Payments over Lightning.

use lsps_service::{
    Booking, ChannelEnd, HeldPayment, Input, OrderFailure, OrderStage, PaidBy, PaymentId, PaymentMethod,
};
use lsps_testing::{Act, offer_id, peer};
use lsps_types::lsps1::{LightningState, OnchainState, OrderState};
use lsps_types::{Msat, PaymentHash, Preimage};

use super::{HEIGHT, OVER_LIGHTNING, Shop, TOTAL, coin};
use crate::minutes;

fn bolt11(shop: &mut Shop) -> LightningState {
    shop.asked().payment.bolt11.expect("an invoice").state
}

#[test]
fn case_O06_a_payment_is_held_until_both_have_signed_and_claimed_with_the_broadcast() {
    let mut shop = Shop::new();
    shop.pays();
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]), "nothing is claimed");
    assert_eq!(bolt11(&mut shop), LightningState::Hold);
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    let hash = shop.hash();
    assert_eq!(shop.lsp.acts(), [Act::Broadcast(key), Act::Claim(hash)]);
    let order = shop.asked();
    assert_eq!(order.order_state, OrderState::Completed);
    assert_eq!(order.payment.bolt11.expect("an invoice").state, LightningState::Paid);
    assert_eq!(order.payment.bolt12.expect("an offer").state, LightningState::Refunded, "and nothing else is taken");
}

#[test]
fn case_O06_a_payment_whose_order_expires_or_whose_open_fails_goes_back() {
    let mut shop = Shop::new();
    shop.lsp.disconnects(peer(1));
    shop.pays();
    assert!(matches!(shop.lsp.acts()[..], [Act::Wake { .. }]));
    shop.lsp.wait_until(minutes(60));
    let hash = shop.hash();
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)], "its client stayed away");
    shop.lsp.connects(peer(1));
    assert_eq!(bolt11(&mut shop), LightningState::Refunded);
    shop.pays();
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)], "the same hash again after its outcome");

    let mut shop = Shop::new();
    shop.pays();
    shop.lsp.acts();
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.channel_ends(key, ChannelEnd::Rejected);
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)]);
    assert_eq!(shop.asked().order_state, OrderState::Failed);
    assert_eq!(bolt11(&mut shop), LightningState::Refunded);
}

#[test]
fn case_O06_an_htlc_near_its_deadline_goes_back_although_the_channel_is_being_opened() {
    let mut shop = Shop::new();
    shop.pays_until(Some(HEIGHT + 50));
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.accepts_channel(key, None);
    shop.lsp.acts();
    shop.lsp.block(HEIGHT + 8);
    assert_eq!(shop.lsp.acts(), [Act::Abandon(key), Act::FailPayment(hash)]);
    shop.lsp.funding_signed(key);
    assert_eq!(shop.lsp.acts(), [], "too late");
    assert_eq!(bolt11(&mut shop), LightningState::Refunded);
}

#[test]
fn case_O06_an_open_that_has_begun_may_end_after_the_order_expired() {
    let mut shop = Shop::new();
    shop.lsp.wait_until(minutes(59) + std::time::Duration::from_secs(55));
    shop.pays();
    shop.lsp.acts();
    shop.lsp.wait_until(minutes(60));
    assert_eq!(bolt11(&mut shop), LightningState::Hold);
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.funding_signed(key);
    assert_eq!(shop.lsp.acts(), [Act::Broadcast(key), Act::Claim(hash)]);
}

#[test]
fn case_O06_what_is_not_the_payment_that_was_asked_for_is_refused_and_not_recorded() {
    let mut shop = Shop::new();
    let held = |shop: &Shop, amount: u64| HeldPayment { amount: Msat(amount), ..shop.payment() };
    let total = OVER_LIGHTNING.to_msat().expect("few").0;
    let before = shop.lsp.records().clone();
    let short = held(&shop, total - 1);
    shop.lsp.feed(Input::PaymentHeld(short));
    // The order gets the preimage of another payment, then none.
    for preimage in [Some(Preimage([5; 32])), None] {
        let (by, payment_hash) = (PaidBy::Offer(offer_id(shop.number)), PaymentHash([4; 32]));
        let wrong = HeldPayment { by, payment_hash, preimage, ..shop.payment() };
        shop.lsp.feed(Input::PaymentHeld(wrong));
    }
    let hash = shop.hash();
    let refused = [hash, PaymentHash([4; 32]), PaymentHash([4; 32])].map(Act::FailPayment);
    assert_eq!(shop.lsp.acts(), refused);
    assert_eq!(*shop.lsp.records(), before);
    let more = held(&shop, total + 5);
    shop.lsp.feed(Input::PaymentHeld(more));
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]), "more is enough");
}

#[test]
fn case_O11_of_two_ways_paid_at_once_one_opens_and_the_other_is_returned() {
    let mut shop = Shop::new();
    shop.pays();
    shop.deposit(1, TOTAL, Some(HEIGHT));
    let preimage = Preimage([3; 32]);
    let (by, by_offer) = (PaidBy::Offer(offer_id(shop.number)), PaymentHash::of(&preimage));
    let held = HeldPayment { by, payment_hash: by_offer, preimage: Some(preimage), ..shop.payment() };
    shop.lsp.feed(Input::PaymentHeld(held));
    let acts = shop.lsp.acts();
    assert!(matches!(acts[..], [Act::Open { .. }, Act::FailPayment(hash)] if hash == by_offer), "{acts:?}");
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.funding_signed(key);
    let acts = shop.lsp.acts();
    assert_eq!(acts[..2], [Act::Broadcast(key), Act::Claim(hash)]);
    assert!(matches!(&acts[2..], [Act::Refund { deposits, .. }] if deposits[..] == [(coin(1), TOTAL)]), "{acts:?}");
    let payment = shop.asked().payment;
    assert_eq!(payment.onchain.expect("an address").state, OnchainState::Refunded);
    assert!(matches!(shop.known().stage, OrderStage::Completed { paid_by: PaymentMethod::Bolt11, .. }));
}

#[test]
fn case_O11_what_was_paid_on_the_chain_opens_where_the_other_payment_runs_out_of_time() {
    let mut shop = Shop::new();
    shop.pays_until(Some(HEIGHT + 50));
    shop.deposit(1, TOTAL, Some(HEIGHT));
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.acts();
    shop.lsp.block(HEIGHT + 8);
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)], "the open goes on");
    shop.lsp.funding_signed(key);
    assert_eq!(shop.lsp.acts(), [Act::Broadcast(key), Act::Keep(coin(1), TOTAL)]);
}

#[test]
fn case_O06_a_payment_lost_after_the_channel_is_published_is_in_the_book() {
    let mut shop = Shop::new();
    shop.lsp.is_slow_to_claim = true;
    shop.pays();
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.funding_signed(key);
    shop.pays();
    assert_eq!(shop.lsp.acts().last(), Some(&Act::Claim(hash)), "told again, so asked again");
    shop.lsp.feed(Input::PaymentGone { payment_hash: hash });
    let totals = lsps_service::BookTotals::of(shop.lsp.book());
    assert_eq!((totals.asked, totals.lost, totals.earned.0), (Msat(8_888_000), Msat(8_888_000), 0));
    assert_eq!(totals.given, Msat(100_000_000), "what the client has in its channel");
    assert_eq!(shop.asked().order_state, OrderState::Completed, "it stays the client's");
}

#[test]
fn case_O08_a_client_that_is_away_is_called_and_waited_for() {
    let mut shop = Shop::new();
    shop.lsp.disconnects(peer(1));
    shop.pays();
    assert_eq!(shop.lsp.acts(), [Act::Wake { peer: peer(1), call: 1 }]);
    shop.lsp.wait_until(minutes(30));
    assert_eq!(shop.lsp.acts(), []);
    shop.lsp.connects(peer(1));
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]));
    let key = shop.key(1);
    shop.lsp.disconnects(peer(1));
    shop.lsp.channel_ends(key, ChannelEnd::PeerGone);
    assert_eq!(shop.lsp.acts(), [Act::Wake { peer: peer(1), call: 2 }], "it left, which is no failure");
    shop.lsp.connects(peer(1));
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]));
}

#[test]
fn case_O08_a_client_that_stays_away_has_its_money_back() {
    let mut shop = Shop::new();
    shop.lsp.disconnects(peer(1));
    shop.deposit(1, TOTAL, Some(HEIGHT));
    assert_eq!(shop.lsp.acts(), [Act::Wake { peer: peer(1), call: 1 }]);
    shop.lsp.wait_until(minutes(119));
    assert_eq!(shop.lsp.acts(), []);
    shop.lsp.wait_until(minutes(120));
    assert!(matches!(shop.lsp.acts()[..], [Act::Refund { .. }]));
    assert_eq!(shop.known().stage, OrderStage::Failed { why: OrderFailure::Expired });
}

/// A payment that the node holds and could not claim is failed before anything is opened, and leaves no trace.
#[test]
fn case_X02_what_the_node_would_not_claim_goes_back_at_once() {
    let mut shop = Shop::new();
    let before = shop.lsp.records().clone();
    let refused = HeldPayment { claimable: false, ..shop.payment() };
    shop.lsp.feed(Input::PaymentHeld(refused));
    let hash = shop.hash();
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)]);
    assert_eq!(*shop.lsp.records(), before);
    shop.pays();
    assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]), "its client may pay as it should");
}

/// A payment that is reported again after a restart is the same payment; another one with the same hash is not.
#[test]
fn case_X05_another_payment_with_the_hash_of_one_that_is_claimed_goes_back() {
    let mut shop = Shop::new();
    shop.lsp.is_slow_to_claim = true;
    shop.pays();
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.funding_signed(key);
    let another = HeldPayment { id: Some(PaymentId([2; 32])), ..shop.payment() };
    shop.lsp.acts();
    shop.lsp.feed(Input::PaymentHeld(another));
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)], "to claim it would be to take it too");
    shop.lsp.restarts();
    assert_eq!(shop.lsp.acts(), [Act::Broadcast(key), Act::Claim(hash)], "the first is still to be claimed");
    shop.lsp.feed(Input::PaymentHeld(another));
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)]);
    let (id, amount) = (Some(PaymentId([1; 32])), another.amount);
    shop.lsp.feed(Input::PaymentClaimed { payment_hash: hash, id, amount });
    assert_eq!(shop.lsp.book().count(), 1, "paid once");
}

/// A claim is by payment hash. A node that is told to claim again, because its crash undid the first claim, may take a
/// second payment.
#[test]
fn case_X05_a_second_payment_that_is_claimed_all_the_same_is_in_the_book_by_itself() {
    let mut shop = Shop::new();
    shop.pays();
    let (key, hash) = (shop.key(1), shop.hash());
    shop.lsp.funding_signed(key);
    let amount = Msat(TOTAL.0 * 1_000);
    for (id, entries) in [(1, 1), (2, 2), (2, 2)] {
        let id = Some(PaymentId([id; 32]));
        shop.lsp.feed(Input::PaymentClaimed { payment_hash: hash, id, amount });
        assert_eq!(shop.lsp.book().count(), entries, "each of them once");
    }
    let again = Booking::OrderPaidAgain { payment_hash: hash, amount };
    assert!(shop.lsp.book().any(|entry| entry.what == again));
}

/// The node holds one payment per hash. If it reports another one, the payment on record is gone, and the other one is
/// held.
#[test]
fn case_X05_a_held_payment_that_another_took_the_place_of_ends_its_order_and_both_go_back() {
    let mut shop = Shop::new();
    shop.lsp.disconnects(peer(1));
    shop.pays();
    shop.lsp.acts();
    let another = HeldPayment { id: Some(PaymentId([2; 32])), ..shop.payment() };
    let hash = shop.hash();
    shop.lsp.feed(Input::PaymentHeld(another));
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)]);
    shop.lsp.connects(peer(1));
    assert_eq!((shop.lsp.acts(), bolt11(&mut shop)), (vec![], LightningState::Refunded));
}

//! Edge cases of an order that no other test covers.

use std::time::Duration;

use lsps_service::{
    ChannelEnd, HeldPayment, Input, MethodTerms, OrderFailure, OrderStage, OrderTerms, PaidBy, Prepared,
};
use lsps_testing::{Act, Lsp, LspSetup, NOON, address_of, anything, call, offer_id, peer};
use lsps_types::lsps1::{Confirmation, LightningState, OrderState};
use lsps_types::{FeeRate, PaymentHash, Preimage};

use super::{FEE, HEIGHT, LEASE, Shop, TOTAL, coin, order, selling, selling_with};
use crate::minutes;

/// A payment of the offer, with a payment hash of its own.
fn by_offer(shop: &Shop, number: u8) -> HeldPayment {
    let preimage = Preimage([number; 32]);
    let (by, payment_hash) = (PaidBy::Offer(offer_id(shop.number)), PaymentHash::of(&preimage));
    HeldPayment { by, payment_hash, id: None, preimage: Some(preimage), ..shop.payment() }
}

/// The outcome of the first payment is forgotten by then; only the payment method still says that it is closed.
#[test]
fn case_O06_a_way_that_was_told_to_be_refunded_takes_no_payment_again() {
    let mut shop = Shop::new();
    shop.lsp.disconnects(peer(1));
    shop.pays();
    let payment_hash = shop.hash();
    shop.lsp.feed(Input::PaymentGone { payment_hash });
    let offered = by_offer(&shop, 3);
    shop.lsp.feed(Input::PaymentHeld(offered));
    shop.lsp.feed(Input::PaymentGone { payment_hash: offered.payment_hash });
    shop.lsp.connects(peer(1));
    let payment = shop.asked().payment;
    let states = (payment.bolt11.expect("an invoice").state, payment.bolt12.expect("an offer").state);
    assert_eq!(states, (LightningState::Refunded, LightningState::Refunded));
    shop.lsp.wait_until(minutes(12));
    shop.lsp.acts();
    shop.pays();
    let another = by_offer(&shop, 4);
    shop.lsp.feed(Input::PaymentHeld(another));
    assert_eq!(shop.lsp.acts(), [payment_hash, another.payment_hash].map(Act::FailPayment));
}

#[test]
fn case_O11_an_order_that_is_paid_on_the_chain_takes_no_payment_besides() {
    let mut shop = Shop::new();
    shop.lsp.disconnects(peer(1));
    shop.deposit(1, TOTAL, Some(HEIGHT));
    shop.lsp.acts();
    shop.pays();
    let hash = shop.hash();
    assert_eq!(shop.lsp.acts(), [Act::FailPayment(hash)]);
}

fn at_once() -> Shop {
    Shop::of(selling_with(Confirmation::AtOnce { above: Some(FeeRate(999)) }))
}

fn is_refund_of(acts: &[Act], tx: u8) -> bool {
    matches!(acts, [Act::Refund { deposits, .. }] if deposits[..] == [(coin(tx), TOTAL)])
}

/// An unconfirmed deposit could be replaced, and its refund with it.
#[test]
fn case_O07_what_is_in_no_block_is_not_given_back_though_it_would_count() {
    let mut failed = at_once();
    failed.lsp.wait_until(minutes(120));
    let mut paid = at_once();
    paid.deposit(1, TOTAL, Some(HEIGHT));
    let key = paid.key(1);
    paid.lsp.funding_signed(key);
    for mut shop in [failed, paid] {
        shop.lsp.acts();
        shop.deposit(2, TOTAL, None);
        assert_eq!(shop.lsp.acts(), []);
        shop.deposit(2, TOTAL, Some(HEIGHT));
        let acts = shop.lsp.acts();
        assert!(is_refund_of(&acts, 2), "{acts:?}");
    }
}

#[test]
fn case_O14_an_order_that_is_cancelled_gives_an_unconfirmed_payment_back_once_it_is_confirmed() {
    let mut shop = at_once();
    shop.deposit(1, TOTAL, None);
    let key = shop.key(1);
    shop.lsp.accepts_channel(key, None);
    shop.lsp.acts();
    shop.lsp.feed(Input::CancelOrder { order: shop.number });
    assert_eq!(shop.lsp.acts(), [Act::Abandon(key)]);
    shop.lsp.funding_signed(key);
    assert_eq!(shop.lsp.acts(), [], "and nothing is published");
    shop.deposit(1, TOTAL, Some(HEIGHT));
    let acts = shop.lsp.acts();
    assert!(is_refund_of(&acts, 1), "{acts:?}");
}

/// The LSP takes one payment method only, so that the order ends with that method.
fn selling_by(lightning: Option<Duration>, onchain: Option<Duration>) -> LspSetup {
    let way = |valid: Duration| MethodTerms { fee: FEE, expires_at: NOON + valid };
    let once = Confirmation::After(std::num::NonZeroU16::MIN);
    let onchain = onchain.map(|valid| (way(valid), once));
    let terms = OrderTerms { bolt11: lightning.map(way), bolt12: None, onchain, remember_until: None };
    LspSetup { orders: Some((anything(), terms)), ..LspSetup::default() }
}

#[test]
fn case_O10_the_last_way_may_expire_while_the_channel_is_being_opened() {
    let hour = Some(Duration::from_secs(3_600));
    for setup in [selling_by(hour, None), selling_by(None, hour)] {
        let mut shop = Shop::of(setup);
        let is_onchain = shop.order.payment.bolt11.is_none();
        shop.lsp.wait_until(minutes(59) + Duration::from_secs(55));
        if is_onchain {
            shop.deposit(1, TOTAL, Some(HEIGHT));
        } else {
            shop.pays();
        }
        assert!(matches!(shop.lsp.acts()[..], [Act::Open { .. }]));
        shop.lsp.wait_until(minutes(60));
        assert_eq!((shop.lsp.acts(), shop.known().stage), (vec![], OrderStage::Open));
        let key = shop.key(1);
        shop.lsp.funding_signed(key);
        assert_eq!(shop.lsp.acts()[0], Act::Broadcast(key));
        assert_eq!(shop.asked().order_state, OrderState::Completed);
    }
}

#[test]
fn case_O10_no_open_is_begun_when_the_way_that_paid_has_expired() {
    let hours = |hours: u64| Some(Duration::from_secs(3_600 * hours));
    let mut shop = Shop::of(selling_by(hours(2), hours(1)));
    shop.lsp.wait_until(minutes(60));
    shop.deposit(1, TOTAL, Some(HEIGHT));
    assert_eq!((shop.lsp.acts(), shop.known().stage), (vec![], OrderStage::Open), "it can be paid by invoice only");
    shop.lsp.wait_until(minutes(120));
    let acts = shop.lsp.acts();
    assert!(is_refund_of(&acts, 1), "{acts:?}");
    assert_eq!(shop.known().stage, OrderStage::Failed { why: OrderFailure::Expired });
}

/// A payment to an address or offer pays for one order only.
#[test]
fn case_O05_an_address_or_an_offer_of_one_order_is_not_anothers() {
    let mut lsp = Lsp::at(NOON, selling());
    lsp.block(HEIGHT);
    lsp.connects(peer(1));
    let first = call(&mut lsp, peer(1), &order()).expect("an order");
    let number = lsp.service().known_orders().next().expect("one").number;
    lsp.is_slow = true;
    let request = lsps_types::jsonrpc::encode_request("another", &order()).expect("a short request");
    assert!(lsp.receives(peer(1), &request).is_empty());
    let other = lsp.service().known_orders().find(|known| known.number != number).expect("a draft").number;
    let offer = first.payment.bolt12.expect("an offer").offer;
    let (invoice, address) = (Some("invoice".into()), Some(address_of(number)));
    let prepared = Prepared { invoice, offer: Some((offer, offer_id(number))), address };
    lsp.feed(Input::OrderPrepared { order: other, prepared });
    let known = lsp.service().known_order(other).expect("an order");
    assert_eq!(known.address, None);
    let reply = String::from_utf8_lossy(&lsp.sent_to(peer(1))[0]).into_owned();
    assert!(reply.contains("bolt11") && !reply.contains("bolt12") && !reply.contains("onchain"), "{reply}");
}

#[test]
fn case_O10_an_order_is_not_forgotten_while_its_funding_is_owed() {
    let mut shop = Shop::new();
    shop.pays();
    let key = shop.key(1);
    shop.lsp.funding_signed(key);
    shop.lsp.channel_ends(key, ChannelEnd::Closed);
    shop.lsp.acts();
    shop.lsp.block(HEIGHT + LEASE * 2);
    shop.lsp.wait_until(minutes(60 * 24 * 60));
    shop.lsp.acts();
    shop.lsp.restarts();
    assert_eq!(shop.lsp.acts(), [Act::BroadcastAgain(key)], "its client's money is in it");
    shop.lsp.feed(Input::FundingConfirmed { key });
    assert!(shop.lsp.records().is_empty());
}

//! Orders that are paid by their BOLT 12 offers: invoice request, invoice and payment between real nodes.

use std::sync::{Arc, OnceLock};

use lightning::events::Event;
use lightning::ln::channelmanager::{OptionalOfferPaymentParams, PaymentId};
use lightning::offers::offer::Offer;
use lsps_client::order::{PaymentInstructions, PaymentMethod, Quote};
use lsps_client::session::NotOrdered;
use lsps_node::node::within;
use lsps_service::{ChannelEnd, OrderFailure, OrderStage, PaymentMethod as PaidBy};
use lsps_testing::scene::{Script, Who};
use lsps_transport_ldk::wallet::CannotOrderChannel;
use lsps_types::PeerId;
use lsps_types::lsps1::{LdkInvoices, ReadInvoices as _};

use crate::order_world::{Cast, World, pays_by, wallet_leaves_when_it_has_paid};

/// L1-084, L1-086, L1-087
#[tokio::test(flavor = "multi_thread")]
async fn case_O06_a_channel_is_paid_by_its_offer_and_claimed_once_it_is_published() {
    let world = World::new().await;
    let handle = world.orders(PaymentMethod::Bolt12).await;
    world.is_done(&handle, PaidBy::Bolt12).await;
    let told = world.told.lock().unwrap();
    let at = |what| told.iter().position(|told| *told == what).unwrap_or_else(|| panic!("{what}: {told:?}"));
    assert!(at("held") < at("signed") && at("signed") < at("claimed"), "{told:?}");
}

/// L1-087
#[tokio::test(flavor = "multi_thread")]
async fn case_O06_an_lsp_that_cannot_open_gives_a_payment_by_offer_back() {
    let world = World::new().await;
    let spend = |quote: &Quote| {
        world.scene.lsp_spends_its_coins();
        pays_by(PaymentMethod::Bolt12)(quote)
    };
    let handle = world.orders_choosing(world.wish(), spend).await;
    let why = world.is_refunded(&handle).await;
    assert!(matches!(why, OrderFailure::Open(ChannelEnd::CannotOpen(_))), "{why:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O08_a_payment_by_offer_waits_for_its_client_and_opens_when_that_is_back() {
    let world = World::tricking(wallet_leaves_when_it_has_paid).await;
    let handle = world.pays_and_is_away(PaymentMethod::Bolt12).await;
    // These blocks are as many as an order may wait within its validity.
    world.scene.chain.mine(12);
    world.all_have_seen_the_last_block().await;
    assert_eq!(world.order().await.stage, OrderStage::Open);
    world.scene.connect().await.unwrap();
    world.is_done(&handle, PaidBy::Bolt12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O15_an_lsp_that_dies_while_a_payment_by_offer_waits_for_its_client_opens_afterwards() {
    let mut world = World::tricking(wallet_leaves_when_it_has_paid).await;
    let handle = world.pays_and_is_away(PaymentMethod::Bolt12).await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.is_done(&handle, PaidBy::Bolt12).await;
}

/// An offer with the node's own key can be paid by whoever knows the node. A node that hides signs with a key that
/// identifies nobody.
#[tokio::test(flavor = "multi_thread")]
async fn case_O12_an_offer_names_its_node_or_nobody() {
    let world = World::new().await;
    let (lsp, network) = (&world.scene.lsp.node, lsps_types::Network::Regtest);
    let payee = |offer: &str| LdkInvoices.bolt12(offer, network).expect("an offer").payee;
    let named = |quote: &Quote| {
        let way = quote.options.iter().find(|way| way.method() == PaymentMethod::Bolt12)?;
        let PaymentInstructions::Offer { offer } = &way.instructions else { return None };
        assert_eq!(payee(offer), Some(PeerId(lsp.node_id().serialize())));
        None
    };
    let limits = lsps_client::jit_receive::FeeLimits::UNLIMITED;
    let ordered = world.scene.wallet.host.order_channel_paying(lsp.node_id(), world.wish(), limits, named).await;
    let Err(CannotOrderChannel::NotOrdered(why)) = ordered else { panic!("nothing is ordered") };
    assert!(matches!(*why, NotOrdered::NothingChosen), "{why:?}");
    let hiding = lsp.channel_manager().create_offer_builder().expect("a path").build().expect("an offer");
    assert!(hiding.issuer_signing_pubkey().is_some_and(|key| key != lsp.node_id()));
    assert_eq!(payee(&hiding.to_string()), None);
}

/// L1-129
#[tokio::test(flavor = "multi_thread")]
async fn case_O11_an_offer_that_is_paid_twice_is_taken_once() {
    let (offer, cast) = (Arc::new(OnceLock::new()), Arc::new(Cast::default()));
    let (of_order, on) = (Arc::clone(&offer), Arc::clone(&cast));
    let script = Script {
        // The first payment is held at that time.
        on_event: Arc::new(move |who, event| {
            if let (Who::Wallet, Event::OpenChannelRequest { .. }) = (who, event) {
                pays(&on, of_order.get().expect("it was offered"), 1);
            }
        }),
        ..Script::of_orders()
    };
    let world = World::playing(script, Arc::clone(&cast)).await;
    let choose = |quote: &Quote| {
        let way = quote.options.iter().find(|way| way.method() == PaymentMethod::Bolt12)?;
        let PaymentInstructions::Offer { offer: text } = &way.instructions else { return None };
        offer.set(text.parse::<Offer>().ok()?).ok()?;
        Some(PaymentMethod::Bolt12)
    };
    let handle = world.orders_choosing(world.wish(), choose).await;
    world.is_done(&handle, PaidBy::Bolt12).await;
    assert!(within(|| failures(&world) == 1).await, "the second goes back: {:?}", world.told.lock().unwrap());
    pays(&cast, offer.get().expect("it was offered"), 2);
    assert!(within(|| failures(&world) == 2).await, "and so does one when all is over");
    world.is_done(&handle, PaidBy::Bolt12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O06_an_invoice_that_does_not_come_in_time_is_asked_for_again() {
    let world = World::new().await;
    let wallet = &world.scene.wallet.node;
    let wire = world.wallet_connects_by_wire().await;
    let choose = |quote: &Quote| {
        wire.clogs(); // the wallet is heard, and hears nothing
        pays_by(PaymentMethod::Bolt12)(quote)
    };
    let handle = world.orders_choosing(world.wish(), choose).await;
    let is_asked_for = || wallet.channel_manager().list_recent_payments().len() == 1;
    assert!(within(is_asked_for).await, "the invoice is asked for");
    minutes_pass(&world);
    assert!(within(|| failures(&world) == 1).await, "LDK gives the request up");
    assert!(within(is_asked_for).await, "the invoice is asked for again");
    assert!(handle.snapshot().unwrap().end().is_none(), "the order may still be paid");

    world.wallet_leaves().await;
    world.scene.connect().await.unwrap();
    let usable = || !wallet.channel_manager().list_usable_channels().is_empty();
    assert!(within(usable).await);
    minutes_pass(&world);
    world.is_done(&handle, PaidBy::Bolt12).await;
}

/// The LSP sends no invoice for its offer, and the order can also be paid on-chain.
#[tokio::test(flavor = "multi_thread")]
async fn case_X53b_when_no_invoice_comes_for_the_offer_the_next_way_is_paid() {
    let world = World::new().await;
    let (lsp, wallet) = (&world.scene.lsp.node, &world.scene.wallet.node);
    let wire = world.wallet_connects_by_wire().await;
    let before_it_pays = || wire.clogs(); // the wallet is heard, and hears nothing
    let handle = world.orders_in_turn(&[PaymentMethod::Bolt12, PaymentMethod::Onchain], before_it_pays).await;
    let way = || handle.snapshot().and_then(|order| order.paying().map(|paying| paying.method));
    assert_eq!(way(), Some(PaymentMethod::Bolt12));
    assert!(within(|| wallet.channel_manager().list_recent_payments().len() == 1).await, "the invoice is asked for");
    minutes_pass(&world);
    assert!(within(|| failures(&world) == 1).await, "LDK gives the request up");
    assert!(within(|| way() == Some(PaymentMethod::Onchain)).await, "{:?}", handle.snapshot());
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    assert!(wallet.channel_manager().list_recent_payments().is_empty(), "nothing is paid twice");

    world.wallet_leaves().await;
    world.scene.connect().await.unwrap();
    assert!(within(|| !lsp.channel_manager().list_usable_channels().is_empty()).await);
    world.is_done(&handle, PaidBy::Onchain).await;
}

/// Timer ticks by which LDK counts the time-out of an invoice request.
fn minutes_pass(world: &World) {
    for _ in 0..2 {
        world.scene.wallet.node.channel_manager().timer_tick_occurred();
    }
}

fn failures(world: &World) -> usize {
    world.told.lock().unwrap().iter().filter(|told| **told == "failed").count()
}

/// The wallet's node pays the offer in addition to the payment of its order.
fn pays(cast: &Cast, offer: &Offer, number: u8) {
    let (wallet, id) = (cast.wallet(), PaymentId([number; 32]));
    let manager = wallet.channel_manager();
    manager.pay_for_offer(offer, None, id, OptionalOfferPaymentParams::default()).expect("its LSP is there");
}

//! Channels that our wallet orders from our LSP, on real nodes: each order ends with a channel or with a refund, and
//! all balances add up to the satoshi.

use std::sync::{Arc, OnceLock};

use bitcoin::{Address, FeeRate};
use lightning::events::Event;
use lightning::ln::channel_state::ChannelDetails;
use lightning_invoice::Bolt11Invoice;
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, PaymentInstructions, PaymentMethod, Quote};
use lsps_node::chain::embedded::FEE_SAT_PER_KW;
use lsps_node::node::within;
use lsps_service::{ChannelEnd, ChannelKey, OrderFailure, OrderStage, PaymentMethod as PaidBy, TokenTerms};
use lsps_testing::scene::{Script, Who};
use lsps_transport_ldk::Msat;
use lsps_transport_ldk::ports::OnchainWallet as _;
use lsps_types::lsps1::CreateOrder;
use lsps_types::{BlockHeight, Ppm, Sat};

use crate::doom::Doom;
use crate::order_world::{World, pays_by, wallet_leaves_when_it_has_paid};

/// L1-075
#[tokio::test(flavor = "multi_thread")]
async fn case_O06_a_channel_is_paid_by_hold_invoice_and_claimed_once_it_is_published() {
    let world = World::new().await;
    let handle = world.orders(PaymentMethod::Bolt11).await;
    world.is_done(&handle, PaidBy::Bolt11).await;
    let told = world.told.lock().unwrap();
    let at = |what| told.iter().position(|told| *told == what).unwrap_or_else(|| panic!("{what}: {told:?}"));
    assert!(at("held") < at("signed") && at("signed") < at("claimed"), "{told:?}");
}

/// L1-090
#[tokio::test(flavor = "multi_thread")]
async fn case_O07_a_channel_is_paid_on_the_chain_when_the_payment_is_confirmed() {
    let world = World::new().await;
    let handle = world.orders(PaymentMethod::Onchain).await;
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    assert!(crate::passes(300).await);
    assert_eq!(world.order().await.attempts, 0, "it has to confirm");
    world.is_done(&handle, PaidBy::Onchain).await;
    assert!(
        world.answers.lock().unwrap().iter().all(|answer| !answer.contains("HOLD")),
        "such a payment is never on hold"
    );
}

/// L1-133, L1-134, L1-135. The limit of the wallet is nothing, and nothing is what it pays.
#[tokio::test(flavor = "multi_thread")]
async fn case_Z03_a_channel_that_is_given_away_is_awaited_and_not_paid() {
    let mut script = Script::of_orders();
    let gift = TokenTerms { discount: Ppm(1_000_000), ..TokenTerms::default() };
    script.policy.tokens = [("GIFT".into(), gift)].into();
    let world = World::playing(script, Arc::default()).await;
    let wish = CreateOrder { client_balance_sat: Sat(0), token: Some("GIFT".into()), ..world.wish() };
    let lsp = world.scene.lsp.node.node_id();
    let handle = world.scene.wallet.host.order_channel(lsp, wish, FeeLimits::total(Msat(0))).await.expect("it is free");
    world.is_done(&handle, PaidBy::Free).await;
    let told = world.told.lock().unwrap();
    assert!(!told.contains(&"held") && !told.contains(&"claimed"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O06_an_lsp_that_cannot_open_gives_the_held_payment_back() {
    cannot_open(PaymentMethod::Bolt11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O07_an_lsp_that_cannot_open_refunds_on_the_chain() {
    cannot_open(PaymentMethod::Onchain).await;
}

async fn cannot_open(method: PaymentMethod) {
    let world = World::new().await;
    let spend = |quote: &Quote| {
        world.scene.lsp_spends_its_coins();
        pays_by(method)(quote)
    };
    let handle = world.orders_choosing(world.wish(), spend).await;
    let why = world.is_refunded(&handle).await;
    assert!(matches!(why, OrderFailure::Open(ChannelEnd::CannotOpen(_))), "{why:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O08_a_held_payment_waits_for_its_client_and_opens_when_that_is_back() {
    let world = World::tricking(wallet_leaves_when_it_has_paid).await;
    let handle = world.pays_and_is_away(PaymentMethod::Bolt11).await;
    world.scene.connect().await.unwrap();
    world.is_done(&handle, PaidBy::Bolt11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O08_a_payment_on_the_chain_waits_for_its_client_and_opens_when_that_is_back() {
    let world = World::new().await;
    let handle = world.pays_and_is_away(PaymentMethod::Onchain).await;
    world.scene.connect().await.unwrap();
    world.is_done(&handle, PaidBy::Onchain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O08_a_held_payment_whose_client_stays_away_past_the_expiry_goes_back() {
    let world = World::tricking(wallet_leaves_when_it_has_paid).await;
    world.stays_away_too_long(PaymentMethod::Bolt11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O08_a_payment_on_the_chain_whose_client_stays_away_past_the_expiry_is_refunded() {
    World::new().await.stays_away_too_long(PaymentMethod::Onchain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O09_a_wallet_that_refuses_the_channel_has_its_held_payment_back() {
    refuses_the_channel(PaymentMethod::Bolt11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O09_a_wallet_that_refuses_the_channel_is_refunded_on_the_chain() {
    refuses_the_channel(PaymentMethod::Onchain).await;
}

async fn refuses_the_channel(method: PaymentMethod) {
    let world = World::tricking(|cast, who, event| {
        if let (Who::Wallet, Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. }) =
            (who, event)
        {
            let (wallet, words) = (cast.wallet(), "it likes it no more".into());
            let manager = wallet.channel_manager();
            let _it_is_told_once =
                manager.force_close_broadcasting_latest_txn(temporary_channel_id, counterparty_node_id, words);
        }
    })
    .await;
    let handle = world.orders(method).await;
    let why = world.is_refunded(&handle).await;
    assert_eq!(why, OrderFailure::Open(ChannelEnd::Rejected));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O11_what_comes_on_the_chain_beside_a_held_payment_is_refunded() {
    let world = World::new().await;
    let handle = world
        .orders_choosing(world.wish(), |quote| {
            let way = quote.options.iter().find(|way| way.method() == PaymentMethod::Onchain)?;
            let PaymentInstructions::Address { address, .. } = &way.instructions else { return None };
            let script = address.to_string().parse::<Address<_>>().ok()?.assume_checked().script_pubkey();
            let rate = FeeRate::from_sat_per_kwu(FEE_SAT_PER_KW.into());
            let tx = world.scene.wallet.node.wallet().pay(&script, way.total.0, rate).expect("it has coins");
            world.scene.chain.submit(tx).expect("it is valid");
            Some(PaymentMethod::Bolt11)
        })
        .await;
    let is_held = || world.told.lock().unwrap().contains(&"held");
    assert!(within(is_held).await, "before the other is confirmed");
    world.is_done(&handle, PaidBy::Bolt11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O11_what_comes_by_invoice_beside_a_payment_on_the_chain_goes_back() {
    let world = World::new().await;
    let invoice = OnceLock::new();
    let handle = world
        .orders_choosing(world.wish(), |quote| {
            let way = quote.options.iter().find(|way| way.method() == PaymentMethod::Bolt11)?;
            let PaymentInstructions::Invoice { invoice: text, .. } = &way.instructions else { return None };
            invoice.set((text.parse::<Bolt11Invoice>().ok()?, way.total)).ok()?;
            Some(PaymentMethod::Onchain)
        })
        .await;
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    world.scene.chain.mine(1);
    assert!(world.lsp_has(|order| order.attempts == 1).await, "it is being opened");
    let (invoice, total) = invoice.get().expect("it was offered");
    world.scene.wallet.node.pay(invoice, total.0 * 1_000).expect("a route");
    world.is_done(&handle, PaidBy::Onchain).await;
    assert!(world.told.lock().unwrap().contains(&"failed"), "the second payment failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O15_an_lsp_that_dies_while_a_held_payment_waits_for_its_client_opens_afterwards() {
    dies_while_it_waits(World::tricking(wallet_leaves_when_it_has_paid).await, PaymentMethod::Bolt11, PaidBy::Bolt11)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O15_an_lsp_that_dies_while_a_payment_on_the_chain_waits_for_its_client_opens_afterwards() {
    dies_while_it_waits(World::new().await, PaymentMethod::Onchain, PaidBy::Onchain).await;
}

async fn dies_while_it_waits(mut world: World, kind: PaymentMethod, way: PaidBy) {
    let handle = world.pays_and_is_away(kind).await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.is_done(&handle, way).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O15_an_lsp_that_dies_before_it_pays_for_the_channel_opens_another() {
    dies_at(PaymentMethod::Bolt11, PaidBy::Bolt11, |event| matches!(event, Event::FundingGenerationReady { .. })).await;
    dies_at(PaymentMethod::Onchain, PaidBy::Onchain, |event| matches!(event, Event::FundingGenerationReady { .. }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O15_an_lsp_that_dies_with_both_signatures_there_goes_on_with_that_channel() {
    dies_at(PaymentMethod::Bolt11, PaidBy::Bolt11, |event| matches!(event, Event::FundingTxBroadcastSafe { .. })).await;
    dies_at(PaymentMethod::Onchain, PaidBy::Onchain, |event| matches!(event, Event::FundingTxBroadcastSafe { .. }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O15_an_lsp_that_dies_between_publishing_and_the_news_of_its_claim_is_paid_once() {
    dies_at(PaymentMethod::Bolt11, PaidBy::Bolt11, |event| matches!(event, Event::PaymentClaimed { .. })).await;
}

async fn dies_at(kind: PaymentMethod, way: PaidBy, is_it: fn(&Event) -> bool) {
    let (doom, script) = Doom::at(is_it, Script::of_orders());
    let mut world = World::playing(script, Arc::default()).await;
    doom.awaits(&world.scene);
    let handle = world.orders(kind).await;
    if kind == PaymentMethod::Onchain {
        assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
        world.scene.chain.mine(1);
    }
    doom.passes(&mut world.scene).await;
    world.is_done(&handle, way).await;
}

/// The order waits for its payment to confirm while a JIT channel is opened that would suit it.
#[tokio::test(flavor = "multi_thread")]
async fn case_X45_a_payment_through_a_jit_channel_arrives_beside_an_open_order() {
    let script = Script { payer_channels: vec![1_000_000], ..Script::of_orders() };
    let world = World::playing(script, Arc::default()).await;
    let wish = CreateOrder { required_channel_confirmations: 1, ..world.scene.order(Sat(100_000), Sat(0)) };
    let handle = world.orders_choosing(wish, pays_by(PaymentMethod::Onchain)).await;
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");

    let (amount, wallet) = (Msat(150_000_000), &world.scene.wallet.host);
    let jit =
        wallet.receive_via_jit_channel(amount, "meanwhile", crate::HOUR, Msat(50_000_000)).await.expect("it sells");
    world.scene.payer.pay(&jit.invoice, amount.0).expect("a route");
    assert!(within(|| world.scene.seen.facts().received.is_some()).await, "it arrives");

    let over = world.is_over(&handle).await;
    let End::Done { lease, channel: Some(channel) } = over else { panic!("{over:?}") };
    let channels = world.scene.wallet.node.channel_manager().list_channels();
    let funds = |its: &&ChannelDetails| its.user_channel_id == channel.key.0;
    let funding = channels.iter().find(funds).and_then(|its| its.funding_txo).expect("it is there");
    assert_eq!(funding.txid.to_string(), lease.funding.txid.to_string());
    assert_eq!(world.leased(), 2, "one was bought, the other ordered");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O15_an_lsp_may_spend_what_it_was_paid_after_a_restart_too() {
    let mut world = World::new().await;
    let handle = world.orders(PaymentMethod::Onchain).await;
    world.is_done(&handle, PaidBy::Onchain).await;
    world.scene.restart_lsp().await.unwrap();
    assert!(crate::passes(1_500).await);
    let coins = world.scene.lsp.node.wallet();
    assert_eq!(coins.spendable_sat(), coins.balance_sat());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O13_a_leased_channel_is_not_closed_before_blocks_and_date_are_over() {
    let world = World::new().await;
    let wish = CreateOrder { channel_expiry_blocks: 144, ..world.wish() };
    let handle = world.orders_choosing(wish, pays_by(PaymentMethod::Onchain)).await;
    world.is_done(&handle, PaidBy::Onchain).await;
    let channels = world.scene.lsp.node.channel_manager().list_channels();
    let leased = channels.iter().find(|channel| channel.is_outbound).expect("it is there");
    let key = ChannelKey::from_u128(leased.user_channel_id).expect("a key of ours");
    let may_close = async || world.scene.lsp.host.may_close(key).await;
    let until = may_close().await.expect_err("it is promised").until.expect("it is confirmed");
    world.mines_up_to(BlockHeight(until.0 - 1)).await;
    world.clock.jump(24 * 3_600);
    assert!(may_close().await.is_err(), "a block is missing");
    world.mines_up_to(until).await;
    assert_eq!(may_close().await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O13_blocks_that_come_fast_do_not_end_a_lease() {
    let world = World::new().await;
    let wish = CreateOrder { channel_expiry_blocks: 144, ..world.wish() };
    let handle = world.orders_choosing(wish, pays_by(PaymentMethod::Onchain)).await;
    let funding = world.is_done(&handle, PaidBy::Onchain).await;
    world.mines_up_to(BlockHeight(world.scene.chain.height() + 150)).await;
    let channels = world.scene.lsp.node.channel_manager().list_channels();
    let leased = channels.iter().find(|channel| channel.funding_txo.is_some_and(|its| its.txid == funding));
    let key = ChannelKey::from_u128(leased.expect("it is there").user_channel_id).expect("a key of ours");
    assert!(world.scene.lsp.host.may_close(key).await.is_err(), "its day is not over");
}

/// The wallet's older channel has hardly any inbound capacity, so the payment arrives over the ordered one.
#[tokio::test(flavor = "multi_thread")]
async fn case_X24_an_ordinary_invoice_is_paid_over_a_channel_that_was_ordered() {
    let script = Script { payer_channels: vec![400_000], ..Script::of_orders() };
    let world = World::playing(script, Arc::default()).await;
    let handle = world.orders(PaymentMethod::Onchain).await;
    world.is_done(&handle, PaidBy::Onchain).await;
    crate::is_paid_by_an_ordinary_invoice(&world.scene, Msat(100_000_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O14_an_operator_sees_orders_and_cancels_one_that_waits() {
    let world = World::tricking(wallet_leaves_when_it_has_paid).await;
    let handle = world.pays_and_is_away(PaymentMethod::Bolt11).await;
    let order = world.order().await;
    assert_eq!((order.stage, order.attempts), (OrderStage::Open, 0));
    assert_eq!(handle.snapshot().map(|it| it.id().clone()), Some(order.id), "both know it by the same name");
    let lsp = &world.scene.lsp.host;
    assert!(lsp.cancel_order(order.number).await);
    assert!(!lsp.cancel_order(order.number).await, "only once");
    assert!(!lsp.retry_order(order.number).await, "it is over");
    world.scene.connect().await.unwrap();
    assert_eq!(world.is_refunded(&handle).await, OrderFailure::Cancelled);
}

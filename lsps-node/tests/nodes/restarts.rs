//! Processes that die at a bad moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lightning::events::Event;
use lsps_node::node::{passes, within};
use lsps_service::Trust;
use lsps_testing::scene::Script;

use crate::doom::Doom;
use crate::router::Router;
use crate::{AMOUNT, World};

#[tokio::test(flavor = "multi_thread")]
async fn case_J32_an_lsp_that_dies_between_buy_and_payment_still_opens_the_channel() {
    let mut world = World::with(Trust::LspTrustsClient).await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.payer_is_back().await;
    world.pays();
    world.is_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J32_an_lsp_that_dies_while_a_payment_waits_for_its_wallet_goes_on_when_that_is_back() {
    let mut world = World::with(Trust::LspTrustsClient).await;
    world.wallet_leaves().await;
    world.pays();
    world.lsp_holds(1).await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.is_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J32_an_lsp_that_dies_while_it_collects_adds_the_part_that_comes_after() {
    let mut world = World::with(Trust::LspTrustsClient).await;
    let router = Router::between_payer_and_lsp_of(&mut world).await;
    router.waits(true);
    world.pays_by([world.direct(AMOUNT.0 / 2), router.path(&world, AMOUNT.0 / 2)]);
    world.lsp_holds(1).await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    router.connects(&world).await;
    assert!(crate::passes(300).await);
    assert_eq!(world.channels(), 0, "half of it opens nothing");
    router.waits(false);
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J32_an_lsp_that_dies_before_it_pays_for_the_channel_opens_another() {
    dies_at(|event| matches!(event, Event::FundingGenerationReady { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J32_an_lsp_that_dies_with_both_signatures_there_goes_on_with_that_channel() {
    dies_at(|event| matches!(event, Event::FundingTxBroadcastSafe { .. })).await;
}

/// The power is cut when the LSP's node reports this event. The payment still succeeds, with one channel.
async fn dies_at(is_it: fn(&Event) -> bool) {
    let (doom, script) = Doom::at(is_it, Script::default());
    let mut world = World::playing(script).await;
    doom.awaits(&world.scene);
    world.pays();
    doom.passes(&mut world.scene).await;
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J32_an_lsp_that_dies_between_forward_and_claim_has_its_fee_once() {
    let mut world = World::on_hold(Script::default()).await;
    world.pays();
    world.wallet_is_asked_to_claim().await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.payer_is_back().await;
    world.wallet_claims();
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_dies_with_its_invoice_out_is_still_paid() {
    let mut world = World::with(Trust::LspTrustsClient).await;
    world.scene.restart_wallet().await.unwrap();
    let purchases = world.scene.wallet.host.purchases();
    assert!(purchases[0].is_unpaid(), "the purchase was on record before the invoice was out");
    world.wallet_is_back().await;
    world.pays();
    world.is_settled().await;
}

/// A node that synchronizes with the chain for minutes after a start reports its events only then, among them the claim
/// of the payment. By then the state of the node looks as if the payment had failed.
#[tokio::test(flavor = "multi_thread")]
async fn case_X03_a_claim_that_the_node_tells_long_after_a_restart_keeps_the_channel() {
    let are_kept = Arc::new(AtomicBool::new(true));
    let kept = Arc::clone(&are_kept);
    let is_claim = |event: &Event| matches!(event, Event::PaymentForwarded { .. });
    let script = Script {
        trust: Trust::ClientTrustsLsp,
        lsp_keeps_back: Arc::new(move |event| is_claim(event) && kept.load(Ordering::SeqCst)),
        ..Script::default()
    };
    let mut world = World::playing(script).await;
    world.pays();
    let is_paid = || world.scene.seen.facts().sent.is_some() && world.scene.seen.facts().received.is_some();
    assert!(within(is_paid).await, "wallet and payer are done");
    let channels = || world.scene.lsp.node.channel_manager().list_channels();
    let is_idle =
        || channels().iter().all(|c| c.pending_inbound_htlcs.is_empty() && c.pending_outbound_htlcs.is_empty());
    assert!(within(is_idle).await, "nothing is under way at the LSP's node");
    assert!(passes(300).await, "and it is saved like that");
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    assert!(passes(7_000).await);
    assert_eq!(world.channels(), 1, "nothing is given up before the node has told its events");
    are_kept.store(false, Ordering::SeqCst);
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

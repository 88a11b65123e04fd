//! Payments that open a channel and are then failed by the wallet.

use lsps_node::node::logger::FailureCode;
use lsps_node::node::pay::equal_parts;
use lsps_node::node::within;
use lsps_service::Trust;
use lsps_testing::scene::Script;

use crate::hold::hash;
use crate::{AMOUNT, Shifted, TEMPORARY_CHANNEL_FAILURE, World};

fn on_trust() -> Script {
    Script { trust: Trust::ClientTrustsLsp, ..Script::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J15_an_lsp_that_trusts_keeps_the_channel_and_the_next_payment_pays_for_it() {
    let mut world = World::on_hold(Script::default()).await;
    world.probe_fails().await;
    assert_eq!(world.channels(), 1, "it cost something, so it is kept");
    assert_eq!(world.scene.chain.mempool().len(), 1, "its funding");
    world.pays();
    world.wallet_is_asked_to_claim().await;
    world.wallet_claims();
    world.is_settled().await;
    assert_eq!(world.channels(), 1, "no other");
}

/// The payer retries before the LSP looks for failed parts, which it does some seconds after a start.
#[tokio::test(flavor = "multi_thread")]
async fn case_J15_a_payer_that_tries_again_at_once_pays_for_the_channel_too() {
    let mut world = World::on_hold(Script::default()).await;
    world.pays();
    world.wallet_is_asked_to_claim().await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.payer_is_back().await;
    world.scene.wallet.node.channel_manager().fail_htlc_backwards(&hash());
    assert!(within(|| world.scene.seen.facts().has_failed).await);
    world.tries_again();
    world.pays();
    world.wallet_is_asked_to_claim().await;
    world.wallet_claims();
    world.is_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J16_what_comes_after_a_probe_in_parts_is_collected_in_full_before_any_goes_on() {
    let (clock, script) = Shifted::script();
    let mut world = World::on_hold(Script { payer_channels: vec![100_000; 3], ..script }).await;
    world.probe_fails().await;
    // The channel exists and could carry the parts.
    world.pays_in_parts(&[20_000_000, 10_000_000]);
    world.lsp_holds(2).await;
    clock.jump(91);
    world.fails_in_parts(2, TEMPORARY_CHANNEL_FAILURE, "the rest did not come").await;

    world.tries_again();
    world.pays_in_parts(&equal_parts(AMOUNT.0, 3));
    world.wallet_is_asked_to_claim().await;
    world.wallet_claims();
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J15_an_lsp_that_is_trusted_abandons_the_channel_and_has_its_coins_back() {
    let mut world = World::on_hold(on_trust()).await;
    let spendable = world.spendable_sat();
    world.probe_fails().await;
    let wallet = world.scene.wallet.node.channel_manager();
    assert!(within(|| world.channels() == 0 && wallet.list_channels().is_empty()).await, "it cost nothing, so it goes");
    assert!(within(|| world.spendable_sat() == spendable).await, "its coins are free");
    world.pays();
    world.wallet_is_asked_to_claim().await;
    world.wallet_claims();
    world.is_settled().await;
    assert_eq!(world.channels(), 1, "another one");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J21_a_payment_that_fails_after_the_open_never_brings_the_funding_to_the_chain() {
    let mut world = World::on_hold(on_trust()).await;
    world.pays();
    world.wallet_is_asked_to_claim().await;
    let funding = world.funding();
    world.wallet_fails_it().await;
    for _ in 0..3 {
        world.scene.chain.mine(6);
        assert!(crate::passes(400).await);
    }
    assert!(world.scene.chain.transaction(&funding).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J21_an_lsp_that_dies_between_claim_and_broadcast_broadcasts_when_it_is_back() {
    let mut world = World::on_hold(on_trust()).await;
    world.pays();
    world.wallet_is_asked_to_claim().await;
    let funding = world.funding();
    // Transactions that the LSP broadcasts from now on are lost.
    world.scene.lsp.node.broadcaster().cut_off(true);
    world.wallet_claims();
    assert!(within(|| world.scene.seen.facts().sent.is_some()).await, "the payer has its preimage");
    assert!(crate::passes(300).await);
    assert!(world.scene.chain.transaction(&funding).is_none(), "lost on its way out");
    world.scene.restart_lsp().await.unwrap();
    assert!(within(|| world.scene.chain.transaction(&funding).is_some()).await, "by itself, before anybody connects");
    world.scene.connect().await.unwrap();
    world.is_settled().await;
    assert!(world.scene.chain.confirmations(&funding).is_some());
}

impl World {
    /// A payment opens a channel, arrives, and is failed by the wallet.
    pub async fn probe_fails(&mut self) {
        self.pays();
        self.wallet_is_asked_to_claim().await;
        self.wallet_fails_it().await;
    }

    pub async fn wallet_fails_it(&mut self) {
        self.scene.wallet.node.channel_manager().fail_htlc_backwards(&hash());
        self.fails_with(INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS, "the wallet says so").await;
        self.tries_again();
    }

    fn funding(&self) -> bitcoin::Txid {
        let channels = self.scene.wallet.node.channel_manager().list_channels();
        assert_eq!(channels.len(), 1);
        channels[0].funding_txo.expect("funded").txid
    }
}

/// Failure code that the payer sees when the wallet fails a payment.
const INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS: FailureCode = FailureCode(0x400f);

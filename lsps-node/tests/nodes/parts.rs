//! Payments in several parts, and late payments.

use std::sync::{Arc, Mutex};

use lightning::events::Event;
use lightning::types::payment::PaymentPreimage;
use lightning_invoice::Bolt11Invoice;
use lsps_node::node::pay::equal_parts;
use lsps_node::node::within;
use lsps_service::Trust;
use lsps_testing::scene::{Script, Who};

use crate::{AMOUNT, Shifted, TEMPORARY_CHANNEL_FAILURE, World};

#[tokio::test(flavor = "multi_thread")]
async fn case_J01_a_payment_in_one_part_opens_one_channel() {
    opens_one_channel_for(&[AMOUNT.0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J01_a_payment_in_four_parts_opens_one_channel() {
    opens_one_channel_for(&equal_parts(AMOUNT.0, 4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J01_a_payment_in_ten_parts_opens_one_channel() {
    opens_one_channel_for(&equal_parts(AMOUNT.0, 10)).await;
}

async fn opens_one_channel_for(parts_msat: &[u64]) {
    let got = Arc::new(Mutex::new(vec![]));
    let g = Arc::clone(&got);
    let on_event: lsps_testing::scene::OnEvent = Arc::new(move |who, event| {
        if let (Who::Wallet, Event::PaymentClaimed { htlcs, .. }) = (who, event) {
            *g.lock().unwrap() = htlcs.iter().map(|h| (h.value_msat, h.counterparty_skimmed_fee_msat)).collect();
        }
    });
    let payer_channels = vec![100_000; parts_msat.len().min(4)];
    let world = World::playing(Script { payer_channels, on_event, ..Script::default() }).await;
    world.pays_in_parts(parts_msat);
    let account = world.is_settled().await;
    assert_eq!((account.paid, account.received + account.kept), (AMOUNT.0, AMOUNT.0));
    assert_eq!(world.scene.seen.facts().intercepted, parts_msat.len());
    assert_eq!(world.channels(), 1);
    let got = got.lock().unwrap().clone();
    let mut whole: Vec<u64> = got.iter().map(|(value, kept)| value + kept).collect();
    let mut sent = parts_msat.to_vec();
    whole.sort_unstable();
    sent.sort_unstable();
    assert_eq!(whole, sent, "each part arrives, less what was kept of it");
    assert!(got.iter().all(|(value, _)| *value > 0), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J08_parts_that_stay_alone_for_90_s_go_back_and_a_new_payment_works() {
    let (clock, script) = Shifted::script();
    let mut world = World::playing(Script { payer_channels: vec![100_000; 2], ..script }).await;
    world.pays_in_parts(&[10_000_000, 20_000_000]);
    world.lsp_holds(2).await;
    clock.jump(85);
    assert!(crate::passes(1_200).await);
    assert!(!world.scene.seen.facts().has_failed, "90 s are not over");
    assert_eq!(world.channels(), 0, "for less than the whole no channel is opened");
    clock.jump(6);
    world.fails_in_parts(2, TEMPORARY_CHANNEL_FAILURE, "the rest did not come").await;

    world.tries_again();
    world.pays_in_parts(&equal_parts(AMOUNT.0, 2));
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J24_a_late_payment_over_the_same_scid_is_forwarded_whole() {
    let mut world = World::with(Trust::LspTrustsClient).await;
    world.pays();
    world.is_settled().await;
    world.tries_again();
    let before = world.scene.balances().unwrap();
    let late = world.invoice_over_the_same_scid(LATE, AMOUNT.0 / 2);
    world.scene.payer.pay(&late, AMOUNT.0 / 2).unwrap();
    let asked = || world.scene.seen.facts().unconfirmed_at_claim.is_some();
    assert!(within(asked).await, "the payment arrives");
    world.scene.wallet.node.channel_manager().claim_funds(PaymentPreimage(LATE));
    assert!(within(|| world.scene.seen.facts().sent.is_some() && world.scene.balances().is_ok()).await);
    let (after, facts) = (world.scene.balances().unwrap(), world.scene.seen.facts());
    assert_eq!((facts.intercepted, facts.received), (1, Some((AMOUNT.0 / 2, 0))), "whole, over that SCID");
    assert_eq!(after.wallet.total_msat() - before.wallet.total_msat(), AMOUNT.0 / 2);
    assert_eq!(after.lsp.total_msat(), before.lsp.total_msat(), "no fee");
    assert_eq!(world.channels(), 1);
}

const LATE: [u8; 32] = [24; 32];

impl World {
    /// An ordinary invoice of the wallet's application, with the route hint that was bought.
    fn invoice_over_the_same_scid(&self, preimage: [u8; 32], amount_msat: u64) -> Bolt11Invoice {
        let hint = self.jit.invoice.route_hints()[0].clone();
        self.scene.wallet.node.invoice_over(hint, Some(amount_msat), Some(preimage)).expect("an invoice")
    }
}

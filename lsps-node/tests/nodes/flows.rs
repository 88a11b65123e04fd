//! A payment over a bought channel arrives, and all balances add up to the millisatoshi.

use lightning_invoice::Bolt11Invoice;
use lsps_service::Trust;
use lsps_testing::scene::{Scene, Script};
use lsps_transport_ldk::Msat;

use crate::{AMOUNT, FEE_LIMIT, HOUR, SHARE_LIMIT, World, is_paid_by_an_ordinary_invoice};

/// L2-078, L2-079
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_without_channels_is_paid_through_a_channel_opened_for_it() {
    let world = World::with(Trust::LspTrustsClient).await;
    assert!(world.scene.wallet.node.channel_manager().list_channels().is_empty());
    assert_eq!(world.jit.invoice.get_payee_pub_key(), world.scene.wallet.node.node_id());
    assert_eq!(world.jit.invoice.route_hints().iter().map(|hint| hint.0.len()).collect::<Vec<_>>(), [1], "one hop");
    world.pays();
    let account = world.is_settled().await;
    assert_eq!(account.paid, AMOUNT.0);
    assert_eq!(world.scene.seen.facts().unconfirmed_at_claim, Some(1), "the funding was out before the claim");
    assert_eq!(world.scene.wallet.host.purchases().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_without_amount_pays_the_fee_of_what_arrives() {
    let scene = Scene::set(Script::default()).await.unwrap();
    let before = scene.balances().unwrap();
    let wallet = &scene.wallet.host;
    let jit = wallet.receive_variable_via_jit_channel(AMOUNT, "as you like", HOUR, SHARE_LIMIT).await.unwrap();
    assert_eq!(jit.invoice.amount_milli_satoshis(), None);
    scene.payer.pay(&jit.invoice, AMOUNT.0).unwrap();
    scene.settle(before, jit.fee.0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J21_where_the_client_trusts_the_lsp_the_funding_stays_off_the_chain_until_the_claim() {
    let world = World::with(Trust::ClientTrustsLsp).await;
    assert!(world.jit.client_trusts_lsp);
    world.pays();
    world.is_settled().await;
    assert_eq!(world.scene.seen.facts().unconfirmed_at_claim, Some(0), "nothing was out before the claim");
    let channels = world.scene.wallet.node.channel_manager().list_channels();
    let funding = channels[0].funding_txo.expect("funded").txid;
    assert!(world.scene.chain.confirmations(&funding).is_some(), "and confirmed after it");
}

/// L2-119, L2-146, L2-147
#[tokio::test(flavor = "multi_thread")]
async fn later_invoices_name_the_channel_by_its_alias_and_fees_and_not_by_the_scid_that_was_bought() {
    let world = World::with(Trust::LspTrustsClient).await;
    world.pays();
    world.is_settled().await;
    let manager = world.scene.wallet.node.channel_manager();
    let invoice = is_paid_by_an_ordinary_invoice(&world.scene, Msat(AMOUNT.0 / 2)).await;
    let hint = |invoice: &Bolt11Invoice| invoice.route_hints()[0].0[0].clone();
    let (bought, later) = (hint(&world.jit.invoice), hint(&invoice));
    let channels = manager.list_channels();
    let forwarding = channels[0].counterparty.forwarding_info.as_ref().unwrap();
    assert_eq!(Some(later.short_channel_id), channels[0].get_inbound_payment_scid());
    assert_ne!(later.short_channel_id, bought.short_channel_id);
    assert_eq!(
        (later.fees.base_msat, later.cltv_expiry_delta),
        (forwarding.fee_base_msat, forwarding.cltv_expiry_delta)
    );
    assert_eq!(later.fees.proportional_millionths, forwarding.fee_proportional_millionths);
}

/// The wallet writes an ordinary invoice, whose route hint is the alias of the bought channel.
#[tokio::test(flavor = "multi_thread")]
async fn case_X24_an_ordinary_invoice_is_paid_over_a_channel_that_was_opened_just_in_time() {
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        let world = World::with(trust).await;
        world.pays();
        world.is_settled().await;
        is_paid_by_an_ordinary_invoice(&world.scene, Msat(AMOUNT.0 / 2)).await;
        assert_eq!(world.channels(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_payment_over_the_same_channel_costs_no_opening_fee() {
    let world = World::with(Trust::LspTrustsClient).await;
    world.pays();
    world.is_settled().await;
    let second = World { before: world.scene.balances().unwrap(), ..world };
    let manager = second.scene.wallet.node.channel_manager();
    let accepts = || manager.list_channels()[0].config.is_some_and(|config| config.accept_underpaying_htlcs);
    assert!(lsps_node::node::within(|| !accepts()).await, "nothing more may be kept on that channel");
    let jit = second.scene.wallet.host.receive_via_jit_channel(AMOUNT, "another", HOUR, FEE_LIMIT).await.unwrap();
    assert!(accepts(), "until the next purchase");
    second.scene.payer.pay(&jit.invoice, AMOUNT.0).unwrap();
    assert!(lsps_node::node::within(|| manager.list_usable_channels().len() == 2).await, "each purchase opens one");
}

//! Processes die at the wrong moment.

use lsps_examples::node::within;
use lsps_service::Trust;
use lsps_transport_ldk::onchain::{Clock, SystemClock};

use crate::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_lsp_that_dies_between_buy_and_payment_still_opens_the_channel() {
    let mut world = World::with(Trust::LspTrustsClient).await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.payer_is_back().await;
    world.pays();
    world.is_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_lsp_that_dies_while_it_holds_a_part_goes_on_when_the_wallet_is_back() {
    let mut world = World::with(Trust::LspTrustsClient).await;
    world.wallet_leaves().await;
    world.pays();
    world.lsp_holds_a_part().await;
    world.scene.restart_lsp().await.unwrap();
    world.scene.connect().await.unwrap();
    world.is_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_dies_with_its_invoice_out_is_still_paid() {
    let mut world = World::with(Trust::LspTrustsClient).await;
    world.scene.restart_wallet().await.unwrap();
    let purchases = world.scene.wallet.host.purchases();
    assert!(purchases[0].is_unpaid(), "the purchase was on record before the invoice was out");
    let lsp = &world.scene.lsp.node;
    assert!(world.scene.wallet.node.connect(lsp.node_id(), lsp.address()).await);
    world.pays();
    world.is_settled().await;
}

impl World {
    /// On record: the answer to a part's event comes after its record is written, and the node asks for nothing before.
    pub async fn lsp_holds_a_part(&self) {
        let held = || self.scene.seen.facts().intercepted == 1;
        assert!(within(held).await, "the part arrives");
        let start = SystemClock.now();
        assert!(within(|| SystemClock.now().since(start).as_millis() >= 300).await);
    }
}

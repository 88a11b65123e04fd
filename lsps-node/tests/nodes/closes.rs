//! Channels that end: their balances return to the coins of both sides.

use std::sync::Arc;

use lsps_node::node::types::ChannelManager;
use lsps_node::node::within;
use lsps_testing::scene::{Balances, Script};

use crate::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_both_close_leaves_its_money_in_their_wallets() {
    let mut world = sold(false).await;
    // The nodes restart, so that the addresses were made by an earlier process.
    world.scene.restart_lsp().await.unwrap();
    world.scene.restart_wallet().await.unwrap();
    world.scene.connect().await.unwrap();
    assert!(within(|| !world.leased().list_usable_channels().is_empty()).await);
    let (before, height) = (world.scene.balances().unwrap(), world.scene.chain.height());
    let (channel, lsp) = (world.leased().list_channels()[0].channel_id, world.scene.lsp.node.node_id());
    world.leased().close_channel(&channel, &lsp).expect("nothing is under way");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "both have signed");
    world.scene.chain.mine(6);
    world.is_home(before, height).await;
    assert_eq!(world.transactions_since(height), 1, "no further one was needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_the_lsp_closes_by_itself_leaves_its_money_too() {
    closes_by_itself(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_with_anchors_that_the_lsp_closes_by_itself_leaves_its_money_too() {
    closes_by_itself(true).await;
}

async fn closes_by_itself(anchors: bool) {
    let world = sold(anchors).await;
    let (before, height) = (world.scene.balances().unwrap(), world.scene.chain.height());
    let (channel, wallet) = (world.leased().list_channels()[0].channel_id, world.scene.wallet.node.node_id());
    let lsp = world.scene.lsp.node.channel_manager();
    lsp.force_close_broadcasting_latest_txn(&channel, &wallet, "enough".into()).expect("it is there");
    assert!(within(|| !world.scene.chain.mempool().is_empty()).await, "it is broadcast");
    // The wallet can spend its balance at once, the LSP a day later.
    world.scene.chain.mine(200);
    assert!(within(|| world.scene.chain.mempool().len() == 2).await, "both fetch it");
    world.scene.chain.mine(6);
    // The wallet does not spend its anchor output.
    world.is_home_but_for(before, height, if anchors { 330 } else { 0 }).await;
}

/// A world whose wallet has a channel with a balance.
async fn sold(anchors: bool) -> World {
    let world = World::playing(Script { anchors, ..Script::default() }).await;
    world.pays();
    world.is_settled().await;
    let kind = world.leased().list_channels()[0].channel_type.clone().expect("it is open");
    assert_eq!(kind.supports_anchors_zero_fee_htlc_tx(), anchors, "{kind}");
    let channels = world.scene.payer.channel_manager();
    assert!(within(|| channels.list_channels().iter().all(|channel| channel.pending_outbound_htlcs.is_empty())).await);
    assert!(crate::passes(500).await, "nor do monitors know of the payment");
    world.scene.chain.mine(6);
    world
}

impl World {
    fn leased(&self) -> &Arc<ChannelManager> {
        self.scene.wallet.node.channel_manager()
    }

    async fn is_home(&self, before: Balances, height: u32) {
        self.is_home_but_for(before, height, 0).await;
    }

    async fn is_home_but_for(&self, before: Balances, height: u32, left_sat: u64) {
        let is_home = || {
            let after = self.scene.balances().ok()?;
            let both = |all: Balances| all.lsp.total_msat() + all.wallet.total_msat();
            let missing = both(before) - both(after) - self.fees_since(height) * 1_000;
            (after.wallet.channels_msat == 0 && after.wallet.coins_sat > 0).then_some(missing)
        };
        assert!(
            within(|| is_home() == Some(left_sat * 1_000)).await,
            "{:?} is missing: {:?}",
            is_home(),
            self.scene.balances()
        );
    }

    fn fees_since(&self, height: u32) -> u64 {
        let chain = &self.scene.chain;
        let blocks = (height + 1..=chain.height()).filter_map(|height| chain.block_at(height));
        let paid = blocks.flat_map(|block| block.txdata).filter(|tx| !tx.is_coinbase());
        paid.filter_map(|tx| chain.fee_sat(&tx.compute_txid())).sum()
    }

    fn transactions_since(&self, height: u32) -> usize {
        let blocks = (height + 1..=self.scene.chain.height()).filter_map(|height| self.scene.chain.block_at(height));
        blocks.map(|block| block.txdata.len() - 1).sum()
    }
}

//! Channels that fail to open: the payment is failed, the coins are free, and the offer remains.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bitcoin::FeeRate;
use bitcoin::secp256k1::PublicKey;
use lightning::events::Event;
use lightning::ln::types::ChannelId;
use lsps_node::chain::embedded::FEE_SAT_PER_KW;
use lsps_node::node::{Node, within};
use lsps_testing::scene::{Script, Who};
use lsps_transport_ldk::LspsMessageHandler;
use lsps_transport_ldk::ports::OnchainWallet as _;

use crate::{TEMPORARY_CHANNEL_FAILURE, UNKNOWN_NEXT_PEER, World};

type OurNode = Node<LspsMessageHandler>;

#[tokio::test(flavor = "multi_thread")]
async fn case_J18_a_wallet_that_leaves_before_it_accepts_can_come_back_and_be_paid() {
    let mut world = at_the_first_open(|wallet, lsp, _| wallet.peer_manager().disconnect_by_node_id(*lsp)).await;
    let spendable = world.spendable_sat();
    world.pays();
    world.fails_with(TEMPORARY_CHANNEL_FAILURE, "the wallet may come back").await;
    world.is_as_if_nothing_had_been_opened(spendable).await;
    world.wallet_is_back().await;
    world.pays_after_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J18_a_wallet_that_leaves_before_it_signs_can_come_back_and_be_paid() {
    let (mut world, lsp) = once(Who::Lsp, |lsp, event| {
        let Event::FundingGenerationReady { counterparty_node_id, .. } = event else { return false };
        lsp.peer_manager().disconnect_by_node_id(*counterparty_node_id);
        true
    })
    .await;
    assert!(lsp.set(Arc::downgrade(&world.scene.lsp.node)).is_ok());
    let spendable = world.spendable_sat();
    world.pays();
    world.fails_with(TEMPORARY_CHANNEL_FAILURE, "the wallet may come back").await;
    world.is_as_if_nothing_had_been_opened(spendable).await;
    world.wallet_is_back().await;
    world.pays_after_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J18_a_wallet_that_rejects_the_open_can_think_better_of_it() {
    let thinks_better = Arc::new(AtomicBool::new(false));
    let thought = Arc::clone(&thinks_better);
    // LDK offers a rejected channel again, with another type.
    let (mut world, wallet) = once(Who::Wallet, move |wallet, event| {
        let Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. } = event else { return false };
        if !thought.load(Ordering::SeqCst) {
            let (manager, channel) = (wallet.channel_manager(), temporary_channel_id);
            let rejected = manager.force_close_broadcasting_latest_txn(channel, counterparty_node_id, "no".into());
            rejected.expect("it waits for an answer");
        }
        thought.load(Ordering::SeqCst)
    })
    .await;
    assert!(wallet.set(Arc::downgrade(&world.scene.wallet.node)).is_ok());
    let spendable = world.spendable_sat();
    world.pays();
    world.fails_with(UNKNOWN_NEXT_PEER, "the wallet does not want the channel").await;
    world.is_as_if_nothing_had_been_opened(spendable).await;
    thinks_better.store(true, Ordering::SeqCst);
    world.pays_after_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J18_an_lsp_without_coins_fails_the_payment_and_sells_when_it_has_some() {
    let mut world = World::playing(Script::default()).await;
    let coins = world.scene.lsp.node.wallet();
    let spendable = world.spendable_sat();
    // The LSP's only coin is reserved for another transaction.
    let rate = FeeRate::from_sat_per_kwu(FEE_SAT_PER_KW.into());
    let other = coins.pay(&coins.script(), 10_000, rate).expect("a coin");
    assert_eq!(world.spendable_sat(), 0);
    world.pays();
    world.fails_with(TEMPORARY_CHANNEL_FAILURE, "the LSP may have coins later").await;
    world.is_as_if_nothing_had_been_opened(0).await;
    let inputs: Vec<_> = other.input.iter().map(|input| input.previous_output).collect();
    world.scene.lsp.node.wallet().release(&inputs);
    assert_eq!(world.spendable_sat(), spendable);
    world.pays_after_all().await;
}

/// A world whose wallet does this when the first channel is offered, before it answers.
async fn at_the_first_open(act: impl Fn(&OurNode, &PublicKey, &ChannelId) + Send + Sync + 'static) -> World {
    let (world, wallet) = once(Who::Wallet, move |node, event| {
        let Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. } = event else { return false };
        act(node, counterparty_node_id, temporary_channel_id);
        true
    })
    .await;
    assert!(wallet.set(Arc::downgrade(&world.scene.wallet.node)).is_ok());
    world
}

/// A world in which one node acts on its events until `act` returns true. The caller sets the node.
async fn once(
    whose: Who,
    act: impl Fn(&OurNode, &Event) -> bool + Send + Sync + 'static,
) -> (World, Arc<OnceLock<Weak<OurNode>>>) {
    let (node, is_done) = (Arc::new(OnceLock::<Weak<OurNode>>::new()), AtomicBool::new(false));
    let at = Arc::clone(&node);
    let on_event: lsps_testing::scene::OnEvent = Arc::new(move |who, event| {
        let node = at.get().and_then(Weak::upgrade);
        if let Some(node) = node.filter(|_| who == whose && !is_done.load(Ordering::SeqCst)) {
            is_done.store(act(&node, event), Ordering::SeqCst);
        }
    });
    (World::playing(Script { on_event, ..Script::default() }).await, node)
}

impl World {
    async fn is_as_if_nothing_had_been_opened(&self, spendable_sat: u64) {
        let wallet = self.scene.wallet.node.channel_manager();
        let is_gone = || self.channels() == 0 && wallet.list_channels().is_empty();
        assert!(within(is_gone).await, "neither side has a channel");
        assert!(within(|| self.spendable_sat() == spendable_sat).await, "no coin is kept for one");
        assert!(self.scene.chain.mempool().is_empty());
    }

    async fn pays_after_all(&mut self) {
        self.tries_again();
        self.pays();
        self.is_settled().await;
        assert_eq!(self.channels(), 1);
    }
}

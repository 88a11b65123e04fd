//! A node between payer and LSP that keeps part of a payment and can delay it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lightning::events::Event;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::routing::router::RouteHop;
use lightning::util::config::UserConfig;
use lsps_node::node::pay::{hop, last_hop};
use lsps_node::node::{Node, Setup, while_there, within};
use lsps_node::store::MemoryStore;
use lsps_testing::scene::{Script, open_channels};

use crate::{AMOUNT, Shifted, TEMPORARY_CHANNEL_FAILURE, UNKNOWN_NEXT_PEER, World};

#[tokio::test(flavor = "multi_thread")]
async fn case_J05_a_part_of_which_too_little_arrives_is_failed_and_the_offer_stands() {
    let mut world = World::playing(Script::default()).await;
    let router = Router::between_payer_and_lsp_of(&mut world).await;
    router.keeps(1);
    world.pays_by([router.path(&world, AMOUNT.0)]);
    world.fails_with(UNKNOWN_NEXT_PEER, "a millisatoshi is missing").await;
    assert_eq!(world.channels(), 0, "for that nothing is opened");

    world.tries_again();
    router.keeps(0);
    world.pays_by([router.path(&world, AMOUNT.0)]);
    world.is_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J05_of_two_parts_only_the_one_that_was_robbed_is_failed() {
    let (clock, script) = Shifted::script();
    let mut world = World::playing(script).await;
    let router = Router::between_payer_and_lsp_of(&mut world).await;
    router.keeps(1_000);
    world.pays_by([world.direct(AMOUNT.0 / 2), router.path(&world, AMOUNT.0 / 2)]);
    world.lsp_holds(2).await;
    let codes = || world.scene.payer.logger().failure_codes();
    assert!(within(|| codes() == [UNKNOWN_NEXT_PEER]).await, "{:?}", codes());
    assert!(!world.scene.seen.facts().has_failed, "the other part waits for the rest");
    world.failures = 1;
    clock.jump(91);
    world.fails_with(TEMPORARY_CHANNEL_FAILURE, "the rest did not come").await;

    world.tries_again();
    router.keeps(0);
    world.pays_by([world.direct(AMOUNT.0 / 2), router.path(&world, AMOUNT.0 / 2)]);
    world.is_settled().await;
    assert_eq!(world.channels(), 1);
}

/// A node with a channel from the payer and one to the LSP.
pub struct Router {
    node: Arc<Node>,
    keeps: Arc<AtomicU64>,
    waits: Arc<AtomicBool>,
    held: Arc<Mutex<Vec<(InterceptId, u64)>>>,
    /// Intercept SCID of the hop from this node to the LSP.
    scid: u64,
}

impl Router {
    pub async fn between_payer_and_lsp_of(world: &mut World) -> Self {
        let mut config = UserConfig { accept_intercept_htlcs: true, ..UserConfig::default() };
        config.channel_handshake_config.max_inbound_htlc_value_in_flight_percent_of_channel = 100;
        let (chain, store) = (world.scene.chain.clone(), Arc::new(MemoryStore::new()));
        let setup = Setup { name: "router", seed: [9; 32], store, config, chain: Arc::new(chain.clone()) };
        let node = Node::build(setup, Arc::new(IgnoringMessageHandler {})).await.unwrap();
        let held = Arc::new(Mutex::new(vec![]));
        let (weak, h) = (Arc::downgrade(&node), Arc::clone(&held));
        node.run(move |event| {
            if let Event::HTLCIntercepted { intercept_id, expected_outbound_amount_msat, .. } = event {
                h.lock().unwrap().push((intercept_id, expected_outbound_amount_msat));
            } else if let Some(node) = weak.upgrade() {
                node.chores(&event).expect("enough coins");
            }
            std::future::ready(Ok(()))
        });
        let scid = node.channel_manager().get_intercept_scid();
        let router = Self { node, keeps: Arc::default(), waits: Arc::default(), held, scid };
        router.open(world).await;
        router.forward_on(world);
        // The router's balance counts as the payer's: both are on that side of the LSP.
        world.before = world.scene.balances().unwrap();
        router
    }

    async fn open(&self, world: &World) {
        let (chain, payer, lsp) = (&world.scene.chain, &world.scene.payer, &world.scene.lsp.node);
        for coins in [payer.wallet(), self.node.wallet()] {
            chain.give(&coins.script(), 400_000);
        }
        assert!(payer.connect(self.node.node_id(), self.node.address()).await);
        assert!(self.node.connect(lsp.node_id(), lsp.address()).await);
        open_channels(chain, payer, &self.node, &[150_000]).await.unwrap();
        open_channels(chain, &self.node, lsp, &[150_000]).await.unwrap();
        // The payer counts the expiry of its HTLCs from the block that it knows, and the wallet may know the last one.
        let is_at_tip = || payer.channel_manager().current_best_block().height == chain.height();
        assert!(within(is_at_tip).await, "the payer sees the last block");
    }

    /// Forwards held parts in the background, less the amount that the router keeps, unless it is told to wait.
    fn forward_on(&self, world: &World) {
        let (weak, lsp) = (Arc::downgrade(&self.node), world.scene.lsp.node.node_id());
        let (keeps, waits, held) = (Arc::clone(&self.keeps), Arc::clone(&self.waits), Arc::clone(&self.held));
        tokio::spawn(while_there(weak, move |node| {
            let manager = node.channel_manager();
            let usable = manager.list_usable_channels().into_iter().find(|c| c.counterparty.node_id == lsp);
            if let Some(channel) = usable.filter(|_| !waits.load(Ordering::SeqCst)) {
                for (part, amount) in held.lock().unwrap().drain(..) {
                    let amount = amount - keeps.load(Ordering::SeqCst);
                    manager.forward_intercepted_htlc(part, &channel.channel_id, lsp, amount).expect("still held");
                }
            }
        }));
    }

    /// Keeps this many millisatoshis of each part, though the router announced no fee.
    pub fn keeps(&self, msat: u64) {
        self.keeps.store(msat, Ordering::SeqCst);
    }

    /// Sets whether the router holds parts for now.
    pub fn waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::SeqCst);
    }

    /// Reconnects to the LSP after the LSP was away.
    pub async fn connects(&self, world: &World) {
        let lsp = &world.scene.lsp.node;
        assert!(self.node.connect(lsp.node_id(), lsp.address()).await);
    }

    /// Path from the payer over this node to the LSP, and over the bought channel to the wallet.
    pub fn path(&self, world: &World, amount_msat: u64) -> Vec<RouteHop> {
        let first = hop(self.node.node_id(), world.scid_to(&self.node.node_id()), 0, DELTA);
        let lsp = hop(world.scene.lsp.node.node_id(), self.scid, 0, world.delta());
        vec![first, lsp, last_hop(&world.jit.invoice, amount_msat).unwrap()]
    }
}

impl World {
    /// Pays with one part along each path.
    pub fn pays_by(&self, paths: impl IntoIterator<Item = Vec<RouteHop>>) {
        self.scene.payer.pay_along(&self.jit.invoice, paths.into_iter().collect()).expect("usable channels");
    }

    /// Path from the payer directly to the LSP.
    pub fn direct(&self, amount_msat: u64) -> Vec<RouteHop> {
        let lsp = self.scene.lsp.node.node_id();
        vec![
            hop(lsp, self.scid_to(&lsp), 0, self.delta()),
            last_hop(&self.jit.invoice, amount_msat).expect("it has a hint"),
        ]
    }

    fn scid_to(&self, peer: &bitcoin::secp256k1::PublicKey) -> u64 {
        let channels = self.scene.payer.channel_manager().list_channels_with_counterparty(peer);
        channels.iter().find_map(|channel| channel.get_outbound_payment_scid()).expect("a channel")
    }

    fn delta(&self) -> u32 {
        self.jit.invoice.route_hints()[0].0[0].cltv_expiry_delta.into()
    }
}

/// CLTV delta of this node in blocks.
const DELTA: u32 = 72;

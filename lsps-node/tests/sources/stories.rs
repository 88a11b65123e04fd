//! The stories.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::util::config::UserConfig;
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, PaymentMethod, PaymentOption};
use lsps_client::session::Outcome;
use lsps_node::node::{Node, Setup, passes, within};
use lsps_node::store::MemoryStore;
use lsps_service::Trust;
use lsps_testing::scene::{Balances, Scene, Script, Stock};
use lsps_transport_ldk::Msat;
use lsps_transport_ldk::wallet::JitInvoice;
use lsps_types::Sat;

use crate::backend::{Backend, Kind};

const AMOUNT: Msat = Msat(200_000_000);
/// Without estimates of feerates the LSP expects a dear funding.
const FEE_LIMIT: Msat = Msat(50_000_000);
/// Amount for which a channel has room after its first payment.
const LITTLE: Msat = Msat(5_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

pub async fn jit(kind: Kind) {
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        let Some(world) = World::new(kind, Script { trust, ..Script::default() }).await else { return };
        world.is_paid().await;
        world.scene.stop().await;
    }
}

pub async fn order(kind: Kind) {
    let Some(world) = World::new(kind, Script::of_orders()).await else { return };
    let scene = &world.scene;
    let stock = Stock { lsp: Sat(200_000), client: Sat(50_000), fee: Sat(50_000), has_channel: false };
    scene.stock_for_order(&stock).await.expect("coins");
    let lsp = scene.lsp.node.node_id();
    let limits = FeeLimits { max_total_fee: stock.fee.to_msat(), max_proportional_fee: None };
    let on_chain = |quote: &lsps_client::order::Quote| {
        quote.options.iter().map(PaymentOption::method).find(|method| *method == PaymentMethod::Onchain)
    };
    let order = scene.order(stock.lsp, stock.client);
    let handle = scene.wallet.host.order_channel_paying(lsp, order, limits, on_chain).await.expect("it sells");
    assert!(within(|| scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    let end = scene.while_blocks_come(handle.wait(), || ()).await.expect("it ends");
    assert!(matches!(end, Outcome::Ended(End::Done { .. })), "{end:?}");
    let channels = scene.wallet.node.channel_manager().list_channels();
    assert_eq!(channels.iter().map(|channel| channel.channel_value_satoshis).collect::<Vec<_>>(), [250_000]);
}

pub async fn reorganisation(kind: Kind) {
    let Some(world) = World::new(kind, Script::default()).await else { return };
    world.is_paid().await;
    let scene = &world.scene;
    let funding = scene.wallet.node.channel_manager().list_channels()[0].funding_txo.expect("it is funded").txid;
    scene.chain.mine(2);
    scene.trio().are_current().await.unwrap();
    assert_eq!(scene.chain.confirmations(&funding), Some(3));
    scene.chain.reorganize(3);
    scene.trio().are_current().await.unwrap();
    assert!(scene.chain.in_mempool(&funding), "its block is gone");
    // LDK closes a channel whose funding is not confirmed any more.
    let is_closed = || {
        let managers = [&scene.lsp.node, &scene.wallet.node].map(|node| node.channel_manager().list_channels());
        managers.iter().flatten().all(|channel| channel.funding_txo.is_none_or(|txo| txo.txid != funding))
    };
    assert!(within(is_closed).await, "both are told");
    world.is_resolved().await;
    assert!(scene.chain.confirmations(&funding).is_some(), "it is in another block");
    world.is_paid_again().await;
}

pub async fn absence(kind: Kind) {
    let Some(mut world) = World::new(kind, Script::default()).await else { return };
    world.is_paid().await;
    // An HTLC that is not gone on both sides would expire.
    let nodes = [&world.scene.lsp.node, &world.scene.wallet.node];
    let is_pending = |channel: &ChannelDetails| {
        !channel.pending_inbound_htlcs.is_empty() || !channel.pending_outbound_htlcs.is_empty()
    };
    let is_quiet = || !nodes.iter().any(|node| node.channel_manager().list_channels().iter().any(is_pending));
    assert!(within(is_quiet).await && passes(500).await);
    world.scene.wallet.node.stop().await;
    world.scene.chain.mine(300);
    world.scene.restart_wallet().await.expect("it starts");
    world.scene.trio().are_current().await.unwrap();
    world.scene.connect().await.unwrap();
    world.is_paid_by_an_ordinary_invoice().await;
}

pub async fn gone(kind: Kind) {
    let Some(world) = World::new(kind, Script::default()).await else { return };
    world.is_paid().await;
    let (scene, Some(cable)) = (&world.scene, &world.backend.cable) else { return };
    let nodes = [&scene.lsp.node, &scene.wallet.node];
    cable.cut(true);
    assert!(within(|| nodes.iter().all(|node| node.chain().status().gone.is_some())).await, "they say so");
    let height = nodes[0].chain().status().height;
    scene.chain.mine(5);
    world.is_paid_by_an_ordinary_invoice().await;
    assert!(nodes.iter().all(|node| node.chain().status().height == height));
    // A transaction that is made meanwhile waits for the source.
    let tx = nodes[0].wallet().pay(&scene.wallet.node.wallet().script(), 12_345, RATE).expect("coins");
    let before = scene.wallet.node.wallet().balance_sat();
    nodes[0].chain().broadcast(&[&tx]);
    cable.cut(false);
    scene.trio().are_current().await.unwrap();
    assert!(within(|| scene.chain.in_mempool(&tx.compute_txid())).await, "it is broadcast");
    scene.chain.mine(1);
    scene.trio().are_current().await.unwrap();
    assert!(within(|| scene.wallet.node.wallet().balance_sat() == before + 12_345).await);
}

pub async fn wrong_network(kind: Kind) {
    if kind == Kind::Embedded {
        return; // it has only one
    }
    let Some(backend) = Backend::new(kind).await else { return };
    let chain = backend.source(Network::Signet);
    let (store, config) = (Arc::new(MemoryStore::new()), UserConfig::default());
    let setup = Setup { name: "lost", seed: [9; 32], store, config, chain };
    let refused = Node::build(setup, Arc::new(IgnoringMessageHandler {})).await.err().expect("it is refused");
    assert!(refused.to_string().contains("another network"), "{refused}");
}

pub async fn force_close(kind: Kind) {
    let Some(world) = World::new(kind, Script { anchors: true, ..Script::default() }).await else {
        return;
    };
    world.is_paid().await;
    let scene = &world.scene;
    let (lsp, wallet) = (&scene.lsp.node, &scene.wallet.node);
    scene.chain.mine(6);
    scene.trio().are_current().await.unwrap();
    let channel = wallet.channel_manager().list_channels()[0].channel_id;
    let coins = || [lsp, wallet].map(|node| node.wallet().balance_sat());
    let before = coins();
    scene.chain.set_fee_sat_per_kw(2_000); // so that the commitment transaction does not pay enough by itself
    // The wallet, which has no coins, cannot bump its own.
    let know = || [lsp, wallet].iter().all(|node| node.chain().fee_rate_within(6).to_sat_per_kwu() >= 2_000);
    assert!(within(know).await);
    lsp.channel_manager().force_close_broadcasting_latest_txn(&channel, &wallet.node_id(), "enough".into()).unwrap();
    let is_bumped = || scene.chain.mempool().len() == 2;
    assert!(within(is_bumped).await, "commitment and the child that pays for it: {:?}", scene.chain.mempool());
    world.is_resolved().await;
    let received = (AMOUNT.0 - FEE_LIMIT.0) / 1_000;
    assert!(within(|| coins()[1] > before[1] + received).await, "{before:?} {:?}", coins());
}

struct World {
    backend: Arc<Backend>,
    scene: Scene,
}

impl World {
    async fn new(kind: Kind, script: Script) -> Option<Self> {
        let backend = Arc::new(Backend::new(kind).await?);
        let scene = Scene::set(backend.script(script)).await.expect("the nodes start");
        Some(Self { backend, scene })
    }

    /// The wallet buys a channel, and is paid over it; all balances add up.
    async fn is_paid(&self) {
        let scene = &self.scene;
        scene.seen.forget();
        let jit = scene.wallet.host.receive_via_jit_channel(AMOUNT, "a first payment", HOUR, FEE_LIMIT).await;
        let jit: JitInvoice = jit.expect("the LSP sells");
        let before: Balances = scene.balances().expect("nothing is under way");
        scene.payer.pay(&jit.invoice, AMOUNT.0).expect("a route");
        scene.settle(before, jit.fee.0).await.unwrap_or_else(|why| panic!("{why}"));
    }

    /// The wallet buys another channel, and is paid over it.
    async fn is_paid_again(&self) {
        let scene = &self.scene;
        scene.seen.forget();
        let jit = scene.wallet.host.receive_via_jit_channel(AMOUNT, "another payment", HOUR, FEE_LIMIT).await;
        scene.payer.pay(&jit.expect("the LSP sells").invoice, AMOUNT.0).expect("a route");
        let facts = || scene.seen.facts();
        assert!(within(|| facts().has_failed || facts().received.is_some()).await, "it ends");
        assert!(!facts().has_failed, "{:?}", scene.payer.logger().failure_codes());
    }

    /// Mines until the closed channels' outputs are all spent, and those transactions final.
    async fn is_resolved(&self) {
        let scene = &self.scene;
        let nodes = [&scene.lsp.node, &scene.wallet.node];
        let closed = || {
            nodes.map(|node| {
                let open = node.channel_manager().list_channels();
                node.chain_monitor().get_claimable_balances(&open.iter().collect::<Vec<_>>())
            })
        };
        for _ in 0..40 {
            scene.chain.mine(10);
            scene.trio().are_current().await.unwrap();
            for _ in 0..10 {
                if !scene.chain.mempool().is_empty() || closed().iter().all(Vec::is_empty) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            if closed().iter().all(Vec::is_empty) {
                return;
            }
        }
        panic!("not all is claimed: {:?}", closed());
    }

    async fn is_paid_by_an_ordinary_invoice(&self) {
        use bitcoin::hashes::{Hash as _, sha256};
        use lightning::ln::channelmanager::Bolt11InvoiceParameters;
        use lightning::types::payment::{PaymentHash, PaymentPreimage};
        let scene = &self.scene;
        scene.seen.forget();
        let preimage = [24; 32];
        let hash = PaymentHash(sha256::Hash::hash(&preimage).to_byte_array());
        let manager = scene.wallet.node.channel_manager();
        let prices =
            || manager.list_usable_channels().into_iter().filter_map(|channel| channel.counterparty.forwarding_info);
        assert!(
            within(|| prices().any(|price| price.fee_base_msat < u32::MAX)).await,
            "the LSP tells its price: {:?}",
            manager.list_channels()
        );
        let (amount_msats, payment_hash) = (Some(LITTLE.0), Some(hash));
        let terms = Bolt11InvoiceParameters { amount_msats, payment_hash, ..Default::default() };
        let invoice = manager.create_bolt11_invoice(terms).expect("an invoice");
        assert!(within(|| !scene.payer.channel_manager().list_usable_channels().is_empty()).await);
        scene.payer.pay(&invoice, LITTLE.0).expect("a route");
        let facts = || scene.seen.facts();
        assert!(within(|| facts().has_failed || facts().unconfirmed_at_claim.is_some()).await, "it ends somewhere");
        assert!(!facts().has_failed, "{:?}", scene.payer.logger().failure_codes());
        manager.claim_funds(PaymentPreimage(preimage));
        assert!(within(|| facts().sent.is_some() && facts().received.is_some()).await, "it is claimed");
    }
}

const RATE: bitcoin::FeeRate = bitcoin::FeeRate::from_sat_per_kwu(500);

//! Further requests of a wallet, and what it has to remember.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use lightning::events::Event;
use lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::types::payment::PaymentPreimage;
use lightning::util::config::UserConfig;
use lightning::util::persist::KVStoreSyncWrapper;
use lsps_client::jit_receive::State;
use lsps_node::Chain;
use lsps_node::node::{Node, Setup, within};
use lsps_node::store::MemoryStore;
use lsps_service::StandardPolicy;
use lsps_testing::scene::{OnEvent, Scene, Script};
use lsps_transport_ldk::ports::OnchainWallet;
use lsps_transport_ldk::types::PeerId;
use lsps_transport_ldk::wallet::{Connect, Connecting, WalletEvent};
use lsps_transport_ldk::{
    CannotStart, Lsp, LspParts, LspsMessageHandler, PaymentHash, PromiseKey, Role, SettingMissing, Wallet, WalletParts,
    preset_for_lsp, preset_for_wallet,
};
use tokio::sync::{Notify, broadcast};

use crate::{AMOUNT, FEE_LIMIT, HOUR, World};

fn patient() -> Script {
    Script { confirmations_to_wait: 3, ..Script::default() }
}

impl World {
    fn is_holding(&self) -> bool {
        matches!(self.scene.wallet.host.purchases()[0].state(), State::Holding(_))
    }

    async fn holds(&self) {
        assert!(within(|| self.is_holding()).await, "the payment is here and not claimed");
    }
}

/// L2-004, L2-005
#[tokio::test(flavor = "multi_thread")]
async fn a_patient_wallet_claims_when_its_channel_is_confirmed() {
    let world = World::playing(patient()).await;
    let mut events = world.scene.wallet.host.events();
    world.pays();
    world.holds().await;
    assert!(world.scene.seen.facts().received.is_none());
    world.scene.chain.mine(2);
    assert!(!within_short(|| world.scene.seen.facts().received.is_some()).await, "two are not three");
    world.scene.chain.mine(1);
    world.is_settled().await;
    let told = std::iter::from_fn(|| events.try_recv().ok());
    let waits = |event: &WalletEvent| matches!(event, WalletEvent::Holding { confirmations: 3, .. });
    assert!(told.into_iter().any(|event| waits(&event)));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_W10_a_wallet_that_restarts_while_it_waits_claims_all_the_same() {
    let mut world = World::playing(patient()).await;
    world.pays();
    world.holds().await;
    world.scene.restart_wallet().await.unwrap();
    assert!(world.is_holding(), "that is on record");
    let lsp = &world.scene.lsp.node;
    assert!(world.scene.wallet.node.connect(lsp.node_id(), lsp.address()).await);
    world.scene.chain.mine(3);
    world.is_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_channel_never_confirms_goes_back() {
    let world = World::playing(patient()).await;
    world.pays();
    world.holds().await;
    // Blocks are mined without the funding transaction. The expiry that the payer chose is not known to the test.
    let wallet = &world.scene.wallet.node;
    let left = || {
        let channels = wallet.channel_manager().list_channels();
        let expiry =
            channels.iter().flat_map(|channel| &channel.pending_inbound_htlcs).map(|htlc| htlc.cltv_expiry).min();
        expiry.map_or(0, |expiry| expiry.saturating_sub(world.scene.chain.height()))
    };
    assert!(left() >= u32::from(MIN_FINAL_CLTV_EXPIRY_DELTA) + 2 + 3, "as the invoice asked");
    world.scene.chain.mine_without_mempool(left() - u32::from(MIN_FINAL_CLTV_EXPIRY_DELTA));
    assert!(within(|| world.scene.seen.facts().has_failed).await, "the payer has its money back");
    assert!(within(|| !world.is_holding()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_W11_an_application_with_the_preimage_claims_by_itself() {
    let scene = Scene::set(Script::default()).await.unwrap();
    let (before, preimage) = (scene.balances().unwrap(), [42; 32]);
    let hash = PaymentHash(sha256::Hash::hash(&preimage).to_byte_array());
    let wallet = &scene.wallet.host;
    let jit = wallet.receive_via_jit_channel_for_hash(hash, AMOUNT, "on hold", HOUR, FEE_LIMIT).await.unwrap();
    assert_eq!(jit.invoice.payment_hash().to_byte_array(), hash.0);
    scene.payer.pay(&jit.invoice, AMOUNT.0).unwrap();
    assert!(within(|| scene.seen.facts().unconfirmed_at_claim.is_some()).await, "the application is asked to claim");
    assert!(scene.seen.facts().received.is_none(), "nobody else does");
    scene.wallet.node.channel_manager().claim_funds(PaymentPreimage(preimage));
    scene.settle(before, jit.fee.0).await.unwrap();
    assert!(!wallet.purchases()[0].is_unpaid());
}

/// The application has the preimage, and therefore gets the event of the claim, too.
#[tokio::test(flavor = "multi_thread")]
async fn case_X49_an_application_that_claims_by_itself_hears_that_it_has_the_money() {
    let claimed = Arc::new(AtomicBool::new(false));
    let to = Arc::clone(&claimed);
    let on_left: OnEvent = Arc::new(move |_, event| {
        to.fetch_or(matches!(event, Event::PaymentClaimed { .. }), Ordering::SeqCst);
    });
    let world = World::on_hold(Script { on_left, ..Script::default() }).await;
    world.pays();
    world.wallet_is_asked_to_claim().await;
    world.wallet_claims();
    world.is_settled().await;
    assert!(within(|| claimed.load(Ordering::SeqCst)).await, "that event is the application's too");
    assert!(!world.scene.wallet.host.purchases()[0].is_unpaid(), "and on record");
}

/// The application is asked to claim only when the wallet would claim a payment of its own.
#[tokio::test(flavor = "multi_thread")]
async fn case_X32_a_hold_invoice_waits_for_the_confirmations_that_its_wallet_wants_also_over_a_restart() {
    let left = Arc::new(AtomicBool::new(false));
    let to = Arc::clone(&left);
    let on_left: OnEvent = Arc::new(move |_, event| {
        to.fetch_or(matches!(event, Event::PaymentClaimable { .. }), Ordering::SeqCst);
    });
    let mut world = World::on_hold(Script { on_left, ..patient() }).await;
    world.pays();
    world.holds().await;
    world.scene.restart_wallet().await.unwrap();
    let events = Mutex::new(world.scene.wallet.host.events());
    let is_asked = || matches!(events.lock().unwrap().try_recv(), Ok(WalletEvent::Claimable { .. }));
    let lsp = &world.scene.lsp.node;
    assert!(world.scene.wallet.node.connect(lsp.node_id(), lsp.address()).await);
    world.scene.chain.mine(2);
    assert!(!within_short(is_asked).await, "two are not three");
    world.scene.chain.mine(1);
    assert!(within(is_asked).await, "now it may be claimed");
    assert!(!left.load(Ordering::SeqCst), "it was not asked before");
    world.wallet_claims();
    world.is_settled().await;
}

/// L0-011
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_connects_by_itself_and_again() {
    let scene = Scene::set(Script { wallet_connects: true, ..Script::default() }).await.unwrap();
    let buys = || scene.wallet.host.receive_via_jit_channel(AMOUNT, "a payment", HOUR, FEE_LIMIT);
    buys().await.expect("it connects to ask");
    scene.lsp.node.peer_manager().disconnect_by_node_id(scene.wallet.node.node_id());
    let is_back = || scene.wallet.node.peer_manager().peer_by_node_id(&scene.lsp.node.node_id()).is_some();
    assert!(within(|| !is_back()).await && within(is_back).await, "and when it was cut off");
    buys().await.expect("the same LSP answers");
}

/// `Connect` may return when the socket is open, before the handshake of the peers.
#[tokio::test(flavor = "multi_thread")]
async fn case_X50_an_lsp_that_was_reached_is_asked_once_it_has_shaken_hands() {
    struct Hasty(Arc<dyn Connect>);
    impl Connect for Hasty {
        fn connect(&self, peer: PeerId, address: &str) -> Connecting {
            let (inner, address) = (Arc::clone(&self.0), address.to_owned());
            tokio::spawn(async move {
                MAY_SHAKE_HANDS.notified().await;
                inner.connect(peer, &address).await
            });
            Box::pin(std::future::ready(true))
        }
    }
    static MAY_SHAKE_HANDS: Notify = Notify::const_new();
    let script = Script { wallet_connects: true, wallet_connector: |it| Arc::new(Hasty(it)), ..Script::default() };
    let scene = Scene::set(script).await.unwrap();
    let mut events = scene.wallet.host.events();
    let shakes = async {
        begins_to_ask(&mut events).await;
        MAY_SHAKE_HANDS.notify_one();
    };
    let buys = scene.wallet.host.receive_via_jit_channel(AMOUNT, "a payment", HOUR, FEE_LIMIT);
    let (bought, ()) = tokio::join!(buys, shakes);
    bought.expect("it waits for the handshake");
}

/// The network comes up a moment after the wallet: neither its own first attempt nor that of the call succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn case_X50_an_lsp_that_cannot_be_reached_right_after_the_start_is_waited_for() {
    struct Late(Arc<dyn Connect>);
    impl Connect for Late {
        fn connect(&self, peer: PeerId, address: &str) -> Connecting {
            let is_up = ATTEMPTS.fetch_add(1, Ordering::SeqCst) >= 2;
            if is_up { self.0.connect(peer, address) } else { Box::pin(std::future::ready(false)) }
        }
    }
    static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);
    let script = Script { wallet_connects: true, wallet_connector: |it| Arc::new(Late(it)), ..Script::default() };
    let scene = Scene::set(script).await.unwrap();
    let bought = scene.wallet.host.receive_via_jit_channel(AMOUNT, "a payment", HOUR, FEE_LIMIT).await;
    bought.expect("it waits for the network");
}

/// Waits until the wallet looks for its LSPs.
async fn begins_to_ask(events: &mut broadcast::Receiver<WalletEvent>) {
    while !matches!(events.recv().await, Ok(WalletEvent::Asked)) {}
}

/// Only the application connects the LSP, and the wallet was asked to buy a moment too early.
#[tokio::test(flavor = "multi_thread")]
async fn case_X50_an_lsp_that_the_application_connects_is_waited_for_while_there_is_no_other() {
    let scene = Scene::set(Script::default()).await.unwrap();
    let (lsp, wallet) = (&scene.lsp.node, &scene.wallet.node);
    wallet.peer_manager().disconnect_by_node_id(lsp.node_id());
    assert!(within(|| wallet.peer_manager().peer_by_node_id(&lsp.node_id()).is_none()).await);
    let mut events = scene.wallet.host.events();
    let connects = async {
        begins_to_ask(&mut events).await;
        wallet.connect(lsp.node_id(), lsp.address()).await
    };
    let buys = scene.wallet.host.receive_via_jit_channel(AMOUNT, "a payment", HOUR, FEE_LIMIT);
    let (bought, connected) = tokio::join!(buys, connects);
    assert!(connected);
    bought.expect("it waits for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X51_an_invoice_that_ends_sooner_than_was_wanted_says_so() {
    let scene = Scene::set(Script::default()).await.unwrap();
    let wallet = &scene.wallet.host;
    let year = HOUR * 24 * 365;
    let early = wallet.receive_via_jit_channel(AMOUNT, "next year", year, FEE_LIMIT).await.unwrap();
    assert!(early.ends_early);
    let asked = early.invoice.duration_since_epoch() + year;
    assert!(std::time::Duration::from_millis(early.expires_at.unix_millis()) < asked);
    let in_time = wallet.receive_via_jit_channel(AMOUNT, "soon", HOUR / 60, FEE_LIMIT).await.unwrap();
    assert!(!in_time.ends_early);
}

/// L0-063
#[tokio::test(flavor = "multi_thread")]
async fn case_H06_a_forgotten_setting_is_an_error_at_the_start() {
    let (node, messages) = plain(Role::Client, UserConfig::default()).await;
    let (manager, peers, keys) = (node.channel_manager().clone(), node.peer_manager().clone(), node.keys().clone());
    let store = || Arc::new(KVStoreSyncWrapper(node.store().clone()));
    let parts = WalletParts::new(manager, peers, messages, store(), keys, Network::Regtest, [node.node_id()]);
    let Err(CannotStart::Setting(missing)) = Wallet::start(parts).await else { panic!("it starts") };
    assert_eq!((missing.setting, missing.value), ("manually_accept_inbound_channels", "true"));

    let missing = lsp_with(UserConfig::default()).await.expect_err("it starts");
    assert_eq!(missing.setting, "accept_intercept_htlcs");

    let bit = |role| {
        let features = LspsMessageHandler::new(role).provided_node_features();
        features.le_flags().get(729 / 8).is_some_and(|byte| byte & 1 << (729 % 8) != 0)
    };
    assert!(bit(Role::Service) && !bit(Role::Client), "only a service says that it is one");
}

/// The start of an LSP checks each setting of the preset, unless it is also set per channel.
#[tokio::test(flavor = "multi_thread")]
async fn case_X24_a_setting_of_the_preset_that_is_undone_is_an_error_at_the_start_of_an_lsp() {
    type Undo = fn(&mut UserConfig);
    let undone: [(&str, Undo); 4] = [
        ("accept_intercept_htlcs", |config| config.accept_intercept_htlcs = false),
        ("accept_forwards_to_priv_channels", |config| config.accept_forwards_to_priv_channels = false),
        ("channel_handshake_config.negotiate_scid_privacy", |config| {
            config.channel_handshake_config.negotiate_scid_privacy = false;
        }),
        ("channel_config.cltv_expiry_delta", |config| config.channel_config.cltv_expiry_delta = 47),
    ];
    let mut config = UserConfig::default();
    preset_for_lsp(&mut config);
    assert_eq!(lsp_with(config.clone()).await, Ok(()), "the preset is enough");
    for (setting, undo) in undone {
        let mut config = config.clone();
        undo(&mut config);
        assert_eq!(lsp_with(config).await.map_err(|missing| missing.setting), Err(setting));
    }
}

/// The node is on regtest.
#[tokio::test(flavor = "multi_thread")]
async fn case_X29_neither_lsp_nor_wallet_starts_for_another_network_than_its_nodes() {
    let mut config = UserConfig::default();
    preset_for_lsp(&mut config);
    let (node, messages) = plain(Role::Service, config).await;
    let (manager, peers) = (node.channel_manager().clone(), node.peer_manager().clone());
    let (coins, chain): (Arc<dyn OnchainWallet>, _) = (node.wallet().clone(), node.broadcaster().clone());
    let store = || Arc::new(KVStoreSyncWrapper(node.store().clone()));
    let mut parts = LspParts::new(manager, peers, messages, store(), coins, chain, PromiseKey::new([1; 32]));
    parts.config.orders.network = Some(lsps_types::Network::Bitcoin);
    let orders = Some(lsps_service::OrderPolicy::default());
    let started = Lsp::start(parts, StandardPolicy { orders, ..StandardPolicy::default() }).await;
    assert!(matches!(started, Err(CannotStart::Lsp(lsps_transport_ldk::host::CannotStart::OrdersElsewhere))));

    let mut config = UserConfig::default();
    preset_for_wallet(&mut config);
    let (node, messages) = plain(Role::Client, config).await;
    let (manager, peers, keys) = (node.channel_manager().clone(), node.peer_manager().clone(), node.keys().clone());
    let parts = WalletParts::new(manager, peers, messages, store(), keys, Network::Signet, [node.node_id()]);
    let started = Wallet::start(parts).await;
    assert!(matches!(started, Err(CannotStart::WrongNetwork { node: Some(Network::Regtest), .. })));
}

/// Starts an LSP on a node with these settings.
async fn lsp_with(config: UserConfig) -> Result<(), SettingMissing> {
    let (node, messages) = plain(Role::Service, config).await;
    let (manager, peers) = (node.channel_manager().clone(), node.peer_manager().clone());
    let coins: Arc<dyn OnchainWallet> = node.wallet().clone();
    let chain = node.broadcaster().clone();
    let store = Arc::new(KVStoreSyncWrapper(node.store().clone()));
    let parts = LspParts::new(manager, peers, messages, store, coins, chain, PromiseKey::new([1; 32]));
    match Lsp::start(parts, StandardPolicy::default()).await {
        Ok((lsp, _)) => {
            lsp.stop().await;
            Ok(())
        }
        Err(CannotStart::Setting(missing)) => Err(missing),
        Err(other) => panic!("{other}"),
    }
}

/// A node with these settings.
async fn plain(role: Role, config: UserConfig) -> (Arc<Node<LspsMessageHandler>>, Arc<LspsMessageHandler>) {
    let messages = LspsMessageHandler::new(role);
    let store = Arc::new(MemoryStore::new());
    let setup = Setup { name: "node", seed: [9; 32], store, config, chain: Arc::new(Chain::new()) };
    (Node::build(setup, Arc::clone(&messages)).await.unwrap(), messages)
}

/// Whether the condition becomes true within half a second; used where it must not.
async fn within_short(is_true: impl Fn() -> bool) -> bool {
    tokio::time::timeout(std::time::Duration::from_millis(500), within(is_true)).await.unwrap_or(false)
}

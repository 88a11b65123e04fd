//! A crowd of strangers: a fresh node ID costs one handshake, no channel and no coin. The tests run an LSP on a node
//! with the messages of its peers, which need no nodes of their own.
#![allow(non_snake_case)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::io;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::events::Event;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::msgs::Init;
use lightning::ln::peer_handler::CustomMessageHandler as _;
use lightning::types::features::InitFeatures;
use lightning::util::config::UserConfig;
use lightning::util::persist::{KVStore, KVStoreSync as _};
use lsps_node::chain::embedded::Chain;
use lsps_node::node::{Node, Setup, within};
use lsps_node::store::MemoryStore;
use lsps_service::{AmountRule, Config, OrderPolicy, StandardPolicy};
use lsps_transport_ldk::ports::{ChainWatch, Clock as _, OnchainWallet, SeenOutput, SystemClock};
use lsps_transport_ldk::{Lsp, LspParts, LspsMessage, LspsMessageHandler, PromiseKey, Role, preset_for_lsp};
use lsps_types::jsonrpc::{FromLsp, encode_request};
use lsps_types::lsps2::{Buy, GetInfo, Unpromised};
use lsps_types::{DateTime, Msat, PeerId, Ppm, Request, Sat};

type Answer<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, io::Error>> + Send>>;

/// A store in memory whose writes take time and are counted.
#[derive(Default)]
struct SlowStore {
    disk: Arc<MemoryStore>,
    pause: Duration,
    begun: Arc<AtomicUsize>,
    /// Largest number of writes that were under way at the same time.
    at_once: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
    refuses: Arc<std::sync::atomic::AtomicBool>,
}

impl SlowStore {
    fn taking(pause: Duration) -> Arc<Self> {
        Arc::new(Self { pause, ..Self::default() })
    }

    fn writes(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn change(&self, done: impl FnOnce(&MemoryStore) -> Result<(), io::Error> + Send + 'static) -> Answer<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let (disk, pause) = (Arc::clone(&self.disk), self.pause);
        let (under_way, at_once) = (Arc::clone(&self.under_way), Arc::clone(&self.at_once));
        let refuses = Arc::clone(&self.refuses);
        Box::pin(async move {
            at_once.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(pause).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            if refuses.load(Ordering::SeqCst) {
                return Err(io::Error::new(io::ErrorKind::Other, "the store is ill"));
            }
            done(&disk)
        })
    }
}

impl KVStore for SlowStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Answer<Vec<u8>> {
        let read = self.disk.read(primary, secondary, key);
        Box::pin(async move { read })
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, bytes: Vec<u8>) -> Answer<()> {
        let at = [primary, secondary, key].map(String::from);
        self.change(move |disk| disk.write(&at[0], &at[1], &at[2], bytes))
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _: bool) -> Answer<()> {
        let at = [primary, secondary, key].map(String::from);
        self.change(move |disk| disk.remove(&at[0], &at[1], &at[2], false))
    }

    fn list(&self, primary: &str, secondary: &str) -> Answer<Vec<String>> {
        let list = self.disk.list(primary, secondary);
        Box::pin(async move { list })
    }
}

/// A recipient, and the payload of a message.
type Sent = (PublicKey, Vec<u8>);

/// An LSP on a node of its own. Its peers consist only of their messages.
struct Stall {
    chain: Chain,
    node: Arc<Node<LspsMessageHandler>>,
    messages: Arc<LspsMessageHandler>,
    host: Lsp,
    store: Arc<SlowStore>,
    /// Messages that the LSP sent, by recipient.
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Stall {
    async fn with(store: Arc<SlowStore>, config: Config) -> Self {
        Self::that_sees(store, config, None, StandardPolicy::default()).await
    }

    async fn that_sees(
        store: Arc<SlowStore>,
        config: Config,
        deposits: Option<Arc<dyn ChainWatch>>,
        policy: StandardPolicy,
    ) -> Self {
        let chain = Chain::new();
        let mut settings = UserConfig::default();
        preset_for_lsp(&mut settings);
        let messages = LspsMessageHandler::new(Role::Service);
        let sent = Arc::<Mutex<Vec<_>>>::default();
        let notes = Arc::clone(&sent);
        messages.observe(move |message| {
            if message.sent {
                notes.lock().unwrap().push((*message.peer, message.payload.to_vec()));
            }
        });
        let node_store = Arc::new(MemoryStore::new());
        let setup =
            Setup { name: "LSP", seed: [1; 32], store: node_store, config: settings, chain: Arc::new(chain.clone()) };
        let node = Node::build(setup, Arc::clone(&messages)).await.unwrap();
        let coins: Arc<dyn OnchainWallet> = node.wallet().clone();
        let mut parts = LspParts::new(
            Arc::clone(node.channel_manager()),
            Arc::clone(node.peer_manager()),
            Arc::clone(&messages),
            Arc::clone(&store),
            coins,
            node.broadcaster().clone(),
            key(),
        );
        (parts.config, parts.deposits) = (config, deposits);
        let (host, _) = Lsp::start(parts, policy).await.unwrap();
        Self { chain, node, messages, host, store, sent }
    }

    fn connects(&self, peer: PublicKey) {
        let init = Init { features: InitFeatures::empty(), networks: None, remote_network_address: None };
        self.messages.peer_connected(peer, &init, true).unwrap();
    }

    fn hears(&self, peer: PublicKey, request: &impl Request, id: &str) {
        let payload = encode_request(id, request).unwrap();
        self.messages.handle_custom_message(LspsMessage { payload }, peer).unwrap();
    }

    /// Lets `strangers` peers buy `buys` times each, all at the same time.
    fn is_crowded(&self, strangers: usize, buys: usize) {
        let strangers: Vec<PublicKey> = (0..strangers).map(stranger).collect();
        let buys =
            strangers.iter().flat_map(|peer| (0..buys).map(|id| (*peer, encode_request(&id.to_string(), &buy(*peer)))));
        let buys: Vec<(PublicKey, Vec<u8>)> = buys.map(|(peer, payload)| (peer, payload.unwrap())).collect();
        strangers.iter().for_each(|peer| self.connects(*peer));
        for (peer, payload) in buys {
            self.messages.handle_custom_message(LspsMessage { payload }, peer).unwrap();
        }
    }

    fn answers_to(&self, peer: PublicKey) -> Vec<Vec<u8>> {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|(to, _)| *to == peer).map(|(_, payload)| payload.clone()).collect()
    }

    /// Sells to this client, and returns the SCID.
    async fn sells_to(&self, peer: PublicKey) -> u64 {
        self.connects(peer);
        self.hears(peer, &buy(peer), "the first");
        assert!(within(|| !self.answers_to(peer).is_empty()).await, "it sells");
        let answer = &self.answers_to(peer)[0];
        let Ok(FromLsp::Response { outcome: Ok(raw), .. }) = FromLsp::decode(answer) else { panic!("not sold") };
        raw.reply::<Buy>().unwrap().jit_channel_scid.0
    }
}

/// The event of an HTLC to this SCID, of the smallest payment size that can be bought.
fn intercepted(scid: u64, id: u8) -> Event {
    Event::HTLCIntercepted {
        intercept_id: InterceptId([id; 32]),
        requested_next_hop_scid: scid,
        payment_hash: lightning::types::payment::PaymentHash([id; 32]),
        inbound_amount_msat: AMOUNT.0,
        expected_outbound_amount_msat: AMOUNT.0,
    }
}

fn buy(client: PublicKey) -> Buy {
    let terms = Unpromised {
        min_fee_msat: Msat(1_000),
        proportional: Ppm(1_000),
        valid_until: DateTime::from(SystemClock.now() + Duration::from_secs(3_600)),
        min_lifetime: 144,
        max_client_to_self_delay: 2016,
        min_payment_size_msat: Msat(1),
        max_payment_size_msat: Msat(1_000_000_000),
    };
    let opening_fee_params = key().issue(terms, PeerId(client.serialize()), None).unwrap();
    Buy { opening_fee_params, payment_size_msat: None }
}

fn key() -> PromiseKey {
    PromiseKey::new([9; 32])
}

fn stranger(number: usize) -> PublicKey {
    let mut secret = [1; 32];
    secret[24..].copy_from_slice(&u64::try_from(number + 1).unwrap().to_be_bytes());
    PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&secret).unwrap())
}

/// Removes the limit on sales to strangers within a second; these tests are about the other limits.
fn sells_without_end() -> Config {
    let mut config = Config::default();
    config.limits.sales_to_strangers = usize::MAX;
    config
}

const AMOUNT: Msat = Msat(40_000_000);
/// Records that may be written before an event is answered: those of a turn that has begun, and its own.
const WRITES: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn case_X56_an_event_waits_for_few_writes_whatever_a_crowd_buys() {
    let stall = Stall::with(SlowStore::taking(Duration::from_millis(20)), sells_without_end()).await;
    let client = stranger(1_000_000);
    let scid = stall.sells_to(client).await;
    let before = stall.store.writes();
    stall.is_crowded(400, 20);
    assert!(within(|| stall.store.writes() > before).await, "they are being sold to");
    for (id, scid) in [(1, scid), (2, stall.node.channel_manager().get_intercept_scid())] {
        let told = stall.store.writes();
        let answer = stall.host.handle_event(&intercepted(scid, id)).await;
        let waited = stall.store.writes() - told;
        assert!(answer.is_ok(), "the event is dealt with");
        assert!(waited <= WRITES, "{waited} records were written meanwhile");
    }
    let sold = stall.store.writes() - before;
    assert!(sold < 7_900, "the crowd is still there: {sold} sales were written");
    stall.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X13_nothing_is_taken_in_while_nothing_can_be_written() {
    let store = SlowStore::taking(Duration::from_millis(1));
    let stall = Stall::with(Arc::clone(&store), sells_without_end()).await;
    store.refuses.store(true, Ordering::SeqCst);
    let asks = |number: usize, requests: usize| {
        stall.connects(stranger(number));
        for id in 0..requests {
            stall.hears(stranger(number), &GetInfo { token: None }, &id.to_string());
        }
    };
    stall.connects(stranger(0));
    stall.hears(stranger(0), &buy(stranger(0)), "the first");
    let tries = store.writes();
    assert!(within(|| store.writes() > tries + 2).await, "what was sold is not written, however often it is tried");
    // Menus need no record, but their answers would wait for the records of others.
    for _ in 0..10 {
        (1..=20).for_each(|number| asks(number, 64));
        let tries = store.writes();
        assert!(within(|| store.writes() > tries).await, "it tries again");
    }
    assert_eq!(stall.messages.dropped(), 9 * 20 * 64, "what cannot be answered is not kept");
    assert!(stall.sent.lock().unwrap().is_empty(), "nothing is said that could be forgotten");
    store.refuses.store(false, Ordering::SeqCst);
    assert!(within(|| stall.sent.lock().unwrap().len() == 1 + 20 * 64).await, "then all that waited is answered");
    stall.host.stop().await;
}

/// A chain view that knows which addresses have news, and counts how often it is asked about one.
#[derive(Default)]
struct QuietChain {
    watched: AtomicUsize,
    asked: AtomicUsize,
    looked_at: AtomicUsize,
}

impl ChainWatch for QuietChain {
    fn watch(&self, _: &bitcoin::ScriptBuf) {
        self.watched.fetch_add(1, Ordering::SeqCst);
    }

    fn touched(&self) -> Option<Vec<bitcoin::ScriptBuf>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Some(vec![])
    }

    fn outputs_to(&self, _: &bitcoin::ScriptBuf) -> Option<Vec<SeenOutput>> {
        self.looked_at.fetch_add(1, Ordering::SeqCst);
        Some(vec![])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X15_case_X27_a_block_costs_no_look_without_news_and_orders_are_judged_by_what_the_node_told_last() {
    let chain = Arc::<QuietChain>::default();
    let confirmations = vec![AmountRule { up_to_sat: u64::MAX, confirmations: 1 }];
    let orders = Some(OrderPolicy { confirmations, onchain: true, ..OrderPolicy::default() });
    let policy = StandardPolicy { orders, ..StandardPolicy::default() };
    let store = SlowStore::taking(Duration::ZERO);
    let stall = Stall::that_sees(store, sells_without_end(), Some(Arc::clone(&chain) as Arc<_>), policy).await;
    // Without coins every order would be refused. The next event makes the service look at the node's coins again.
    stall.chain.give(&stall.node.wallet().script(), 10_000_000);
    stall.host.handle_event(&intercepted(7, 1)).await.unwrap();
    let refund = bitcoin::Address::from_script(&stall.node.wallet().script(), bitcoin::Network::Regtest).unwrap();
    for number in 0..20 {
        let order = lsps_types::lsps1::CreateOrder {
            lsp_balance_sat: Sat(1_000_000),
            channel_expiry_blocks: 4_320,
            refund_onchain_address: Some(refund.to_string().parse().expect("an address")),
            ..lsps_testing::an_order()
        };
        stall.connects(stranger(number));
        stall.hears(stranger(number), &order, "an order");
    }
    let sent = || stall.sent.lock().unwrap().len();
    assert!(within(|| sent() == 20).await, "{} answers", sent());
    assert_eq!(chain.watched.load(Ordering::SeqCst), 20, "each order has an address");
    let looks = chain.looked_at.load(Ordering::SeqCst);
    stall.chain.mine(1);
    let manager = stall.node.channel_manager();
    for height in manager.current_best_block().height + 1..=stall.chain.height() {
        let block = stall.chain.block_at(height).unwrap();
        lightning::chain::Listen::block_connected(&**manager, &block, height);
    }
    let asked = chain.asked.load(Ordering::SeqCst);
    assert!(within(|| chain.asked.load(Ordering::SeqCst) >= asked + 3).await, "the block was seen");
    assert_eq!(chain.looked_at.load(Ordering::SeqCst), looks);
    stall.host.stop().await;
}

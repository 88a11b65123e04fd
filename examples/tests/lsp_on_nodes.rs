//! The LSP host on real LDK nodes over loopback TCP: payer, LSP, and a wallet without channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{FeeRate, Transaction, Txid};
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, Retry};
use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::routing::gossip::RoutingFees;
use lightning::routing::router::{RouteHint, RouteHintHop, RouteParametersConfig};
use lightning::sign::{NodeSigner, Recipient};
use lightning::util::config::{ChannelConfigOverrides, ChannelConfigUpdate, ChannelHandshakeConfigUpdate, UserConfig};
use lightning::util::persist::KVStoreSyncWrapper;
use lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder};

use lsps_client::jit_receive::{AcceptTrust, FeeLimits, InvoiceTerms, Payment, Rules, Want, Wish, choose, prepare};
use lsps_client::{Client, Config};
use lsps_examples::node::logger::FailureCode;
use lsps_examples::node::{Setup, within};
use lsps_examples::store::{MemoryStore, Store};
use lsps_examples::{Chain, Node};
use lsps_service::{StandardPolicy, Trust};
use lsps_transport_ldk::onchain::{ChainAccess, Clock, OnchainWallet, SystemClock};
use lsps_transport_ldk::{Lsp, LspParts, LspsMessageHandler, PeerEvent, PromiseKey, Role, preset_for_lsp};
use lsps_types::{Msat, PeerId, Request, Scid, Timestamp, lsps2::GetInfo};

const AMOUNT: Msat = Msat(40_000_000);
const RATE: FeeRate = FeeRate::from_sat_per_kwu(253);

struct OurChain(Chain);

impl ChainAccess for OurChain {
    fn broadcast(&self, tx: &Transaction) {
        self.0.broadcast_transactions(&[tx]);
    }

    fn is_confirmed(&self, txid: &Txid) -> bool {
        self.0.confirmations(txid).is_some()
    }

    fn fee_rate(&self) -> FeeRate {
        RATE
    }
}

/// The system's clock, and what the test adds to it.
#[derive(Default)]
struct Shifted(AtomicU64);

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// What the nodes' event handlers saw.
#[derive(Default)]
struct Seen {
    skimmed: AtomicU64,
    paid: AtomicU64,
    /// Transactions in the mempool when the wallet was asked to claim.
    unconfirmed_at_claim: AtomicU64,
}

struct World {
    chain: Chain,
    payer: Arc<Node>,
    lsp_node: Arc<Node<LspsMessageHandler>>,
    lsp_store: Store,
    lsp_messages: Arc<LspsMessageHandler>,
    lsp: Arc<Lsp>,
    wallet: Arc<Node<LspsMessageHandler>>,
    wallet_messages: Arc<LspsMessageHandler>,
    client: Client,
    seen: Arc<Seen>,
    trust: Trust,
    clock: Arc<Shifted>,
}

impl World {
    async fn new(trust: Trust) -> Self {
        let chain = Chain::new();
        let seen = Arc::new(Seen::default());
        let ignoring = Arc::new(IgnoringMessageHandler {});
        let payer =
            Node::build(setup("payer", 1, memory(), UserConfig::default(), &chain), ignoring).await.expect("payer");
        run_payer(&payer, &seen);
        let lsp_store = memory();
        let clock = Arc::new(Shifted::default());
        let (lsp_node, lsp_messages, lsp) = start_lsp(&chain, &lsp_store, trust, &clock).await;
        let config = UserConfig { manually_accept_inbound_channels: true, ..UserConfig::default() };
        let wallet_messages = LspsMessageHandler::new(Role::Client);
        let of_wallet = setup("wallet", 3, memory(), config, &chain);
        let wallet = Node::build(of_wallet, Arc::clone(&wallet_messages)).await.expect("wallet");
        wake_by(&wallet, &wallet_messages);
        run_wallet(&wallet, &seen, &chain);
        chain.give(&payer.wallet().script(), 5_000_000);
        chain.give(&lsp_node.wallet().script(), 5_000_000);
        let client = Client::new(Config::default(), [5; 32]);
        let world = Self {
            chain,
            payer,
            lsp_node,
            lsp_store,
            lsp_messages,
            lsp,
            wallet,
            wallet_messages,
            client,
            seen,
            trust,
            clock,
        };
        world.connect().await;
        world.payer_opens_channel().await;
        world
    }

    async fn connect(&self) {
        assert!(self.payer.connect(self.lsp_node.node_id(), self.lsp_node.address()).await, "payer reaches LSP");
        assert!(self.wallet.connect(self.lsp_node.node_id(), self.lsp_node.address()).await, "wallet reaches LSP");
    }

    async fn payer_opens_channel(&self) {
        let manager = self.payer.channel_manager();
        manager.create_channel(self.lsp_node.node_id(), 1_000_000, 0, 1, None, None).expect("a channel");
        assert!(within(|| !self.chain.mempool().is_empty()).await, "the funding is broadcast");
        self.chain.mine(6);
        assert!(within(|| manager.list_usable_channels().len() == 1).await, "the payer has a channel");
        assert!(within(|| self.lsp_node.channel_manager().list_usable_channels().len() == 1).await);
        tokio::time::sleep(Duration::from_millis(600)).await; // the LSP's view of its liquidity is half a second old
    }

    async fn call<R: Request>(&mut self, request: &R) -> R::Reply {
        let (lsp, now) = (PeerId(self.lsp_node.node_id().serialize()), SystemClock.now());
        self.client.peer_connected(lsp);
        let ticket = self.client.call(lsp, request, now).expect("connected");
        let to = |(_, payload): (PeerId, Vec<u8>)| (self.lsp_node.node_id(), payload);
        self.wallet_messages.send(self.client.drain().written().messages.into_iter().map(to));
        for _ in 0..2_000 {
            for event in self.wallet_messages.take() {
                if let PeerEvent::Message(_, payload) = event {
                    self.client.receive(lsp, &payload);
                }
            }
            if let Some(reply) = self.client.take(&ticket) {
                return reply.expect("the LSP agrees");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the LSP does not answer");
    }

    /// Buys a channel for a payment of `AMOUNT`; the invoice and the fee agreed.
    async fn buys(&mut self) -> (Bolt11Invoice, Msat) {
        self.buys_for(Payment::Fixed(AMOUNT)).await
    }

    async fn buys_for(&mut self, payment: Payment) -> (Bolt11Invoice, Msat) {
        let (lsp, now) = (PeerId(self.lsp_node.node_id().serialize()), SystemClock.now());
        let rules = Rules { accept_trust: AcceptTrust::Yes, ..Rules::default() };
        let menu = self.call(&GetInfo { token: None }).await;
        let want = Want { payment, limits: FeeLimits::default() };
        let choice = choose(&menu, &want, &rules, now).expect("fair terms");
        let buy = choice.buy();
        let bought = self.call(&buy).await;
        assert_eq!(bought.client_trusts_lsp, self.trust == Trust::ClientTrustsLsp);
        let wish = Wish { normal_min_final_cltv_expiry_delta: 24, confirmations_to_wait: 0, expiry: None };
        let prepared = prepare(lsp, &buy, &bought, &wish, &rules, now).expect("an invoice can be made");
        (self.invoice(&prepared.invoice), choice.fee)
    }

    fn invoice(&self, terms: &InvoiceTerms) -> Bolt11Invoice {
        let expiry = u32::try_from(terms.expiry_secs).expect("some hours");
        let delta = terms.min_final_cltv_expiry_delta;
        let manager = self.wallet.channel_manager();
        let (hash, secret) = manager
            .create_inbound_payment(terms.amount.map(|amount| amount.0), expiry, Some(delta))
            .expect("a payment can be received");
        let hint = RouteHint(vec![RouteHintHop {
            src_node_id: PublicKey::from_slice(&terms.hint.node_id.0).expect("the LSP's key"),
            short_channel_id: terms.hint.scid.0,
            fees: RoutingFees { base_msat: 0, proportional_millionths: 0 },
            cltv_expiry_delta: terms.hint.cltv_expiry_delta,
            htlc_minimum_msat: None,
            htlc_maximum_msat: None,
        }]);
        let invoice = InvoiceBuilder::new(Currency::Regtest)
            .description("first payment".into())
            .payment_hash(sha256::Hash::from_byte_array(hash.0))
            .payment_secret(secret)
            .duration_since_epoch(Duration::from_millis(terms.timestamp.unix_millis()))
            .expiry_time(Duration::from_secs(terms.expiry_secs))
            .min_final_cltv_expiry_delta(u64::from(delta))
            .private_route(hint);
        let raw = match terms.amount {
            Some(amount) => invoice.amount_milli_satoshis(amount.0).basic_mpp().build_raw(),
            None => invoice.build_raw(),
        };
        let raw = raw.expect("an invoice");
        let signature = self.wallet.keys().sign_invoice(&raw, Recipient::Node).expect("our key");
        let signed = raw.sign(|_| Ok::<_, ()>(signature)).expect("signed");
        Bolt11Invoice::from_signed(signed).expect("a valid invoice")
    }

    async fn wallet_leaves(&self) {
        self.wallet.peer_manager().disconnect_by_node_id(self.lsp_node.node_id());
        let lsp_peers = self.lsp_node.peer_manager();
        assert!(within(|| lsp_peers.peer_by_node_id(&self.wallet.node_id()).is_none()).await, "the wallet is gone");
    }

    async fn lsp_holds_a_part(&self) {
        let incoming =
            || self.lsp_node.channel_manager().list_channels().iter().any(|c| !c.pending_inbound_htlcs.is_empty());
        assert!(within(incoming).await, "the part arrives");
        tokio::time::sleep(Duration::from_millis(300)).await; // it is intercepted, and on record
    }

    async fn lsp_dies_and_starts_again(&mut self) {
        self.lsp_node.kill();
        let (node, messages, lsp) = start_lsp(&self.chain, &self.lsp_store, self.trust, &self.clock).await;
        (self.lsp_node, self.lsp_messages, self.lsp) = (node, messages, lsp);
    }

    async fn pays(&self, invoice: &Bolt11Invoice) {
        let (id, config) = (PaymentId([1; 32]), RouteParametersConfig::default());
        let manager = self.payer.channel_manager();
        let amount = invoice.amount_milli_satoshis().is_none().then_some(AMOUNT.0);
        manager.pay_for_bolt11_invoice(invoice, id, amount, config, Retry::Attempts(0)).expect("a route");
    }

    /// The payer has the preimage, the wallet all but the fee, and the LSP's channel is on the chain.
    async fn is_settled(&self, fee: Msat) {
        let paid = within(|| self.seen.paid.load(Ordering::SeqCst) == AMOUNT.0).await;
        assert!(paid, "the payer gets the preimage; codes {:?}", self.payer.logger().failure_codes());
        assert_eq!(self.seen.skimmed.load(Ordering::SeqCst), fee.0, "exactly the fee agreed is kept");
        let balance = || {
            let channels = self.wallet.channel_manager().list_channels();
            // What is ours beyond what we could spend is the LSP's capacity less what it could send us.
            let ours = |c: &lightning::ln::channel_state::ChannelDetails| {
                c.channel_value_satoshis * 1_000
                    - c.inbound_capacity_msat
                    - c.counterparty.unspendable_punishment_reserve * 1_000
            };
            channels.iter().map(ours).sum::<u64>()
        };
        assert!(within(|| balance() == AMOUNT.0 - fee.0).await, "paid = received + fee; the wallet has {}", balance());
        assert!(within(|| self.chain.mempool().len() == 1).await, "the LSP's funding is broadcast");
        self.chain.mine(1);
        assert!(self.chain.mempool().is_empty(), "and confirmed");
    }
}

fn memory() -> Store {
    Arc::new(MemoryStore::new())
}

fn setup(name: &'static str, seed: u8, store: Store, config: UserConfig, chain: &Chain) -> Setup {
    Setup { name, seed: [seed; 32], store, config, chain: chain.clone() }
}

fn wake_by(node: &Arc<Node<LspsMessageHandler>>, messages: &Arc<LspsMessageHandler>) {
    let peers = Arc::downgrade(node.peer_manager());
    messages.set_wake(move || {
        if let Some(peers) = peers.upgrade() {
            peers.process_events();
        }
    });
}

async fn start_lsp(
    chain: &Chain,
    store: &Store,
    trust: Trust,
    clock: &Arc<Shifted>,
) -> (Arc<Node<LspsMessageHandler>>, Arc<LspsMessageHandler>, Arc<Lsp>) {
    let mut config = UserConfig::default();
    preset_for_lsp(&mut config);
    let messages = LspsMessageHandler::new(Role::Service);
    let of_lsp = setup("LSP", 2, Arc::clone(store), config, chain);
    let node = Node::build(of_lsp, Arc::clone(&messages)).await.expect("LSP");
    wake_by(&node, &messages);
    let wallet: Arc<dyn OnchainWallet> = node.wallet().clone();
    let mut parts = LspParts::new(
        Arc::clone(node.channel_manager()),
        Arc::clone(&messages),
        KVStoreSyncWrapper(Arc::clone(store)),
        wallet,
        Arc::new(OurChain(chain.clone())),
        PromiseKey::new([9; 32]),
    );
    parts.clock = Arc::clone(clock) as Arc<dyn Clock>;
    let (lsp, unreadable) =
        Lsp::start(parts, StandardPolicy { trust, ..StandardPolicy::default() }).await.expect("started");
    assert_eq!(unreadable, []);
    let lsp = Arc::new(lsp);
    let handler = Arc::clone(&lsp);
    node.run(move |event| {
        let lsp = Arc::clone(&handler);
        async move { lsp.handle_event(&event).await.map(drop) }
    });
    (node, messages, lsp)
}

fn run_payer(payer: &Arc<Node>, seen: &Arc<Seen>) {
    let (node, seen) = (Arc::downgrade(payer), Arc::clone(seen));
    payer.run(move |event| {
        if let Some(node) = node.upgrade() {
            match event {
                Event::FundingGenerationReady {
                    temporary_channel_id,
                    counterparty_node_id,
                    channel_value_satoshis,
                    output_script,
                    ..
                } => {
                    let tx = node.wallet().pay(&output_script, channel_value_satoshis, RATE).expect("enough coins");
                    let manager = node.channel_manager();
                    manager
                        .funding_transaction_generated(temporary_channel_id, counterparty_node_id, tx)
                        .expect("taken");
                }
                Event::PaymentSent { amount_msat, .. } => {
                    seen.paid.store(amount_msat.unwrap_or_default(), Ordering::SeqCst);
                }
                _ => {}
            }
        }
        async { Ok(()) }
    });
}

fn run_wallet(wallet: &Arc<Node<LspsMessageHandler>>, seen: &Arc<Seen>, chain: &Chain) {
    let (node, seen, chain) = (Arc::downgrade(wallet), Arc::clone(seen), chain.clone());
    wallet.run(move |event| {
        if let Some(node) = node.upgrade() {
            let manager = node.channel_manager();
            match event {
                Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. } => {
                    let overrides = ChannelConfigOverrides {
                        handshake_overrides: Some(ChannelHandshakeConfigUpdate {
                            max_inbound_htlc_value_in_flight_percent_of_channel: Some(100),
                            ..Default::default()
                        }),
                        update_overrides: Some(ChannelConfigUpdate {
                            accept_underpaying_htlcs: Some(true),
                            ..Default::default()
                        }),
                    };
                    manager
                        .accept_inbound_channel_from_trusted_peer_0conf(
                            &temporary_channel_id,
                            &counterparty_node_id,
                            7,
                            Some(overrides),
                        )
                        .expect("accepted");
                }
                Event::PaymentClaimable { counterparty_skimmed_fee_msat, purpose, .. } => {
                    seen.skimmed.store(counterparty_skimmed_fee_msat, Ordering::SeqCst);
                    seen.unconfirmed_at_claim.store(chain.mempool().len() as u64, Ordering::SeqCst);
                    manager.claim_funds(purpose.preimage().expect("our own invoice"));
                }
                _ => {}
            }
        }
        async { Ok(()) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_without_channels_is_paid_through_a_channel_opened_for_it() {
    let mut world = World::new(Trust::LspTrustsClient).await;
    let (invoice, fee) = world.buys().await;
    world.pays(&invoice).await;
    world.is_settled(fee).await;
    assert_eq!(world.seen.unconfirmed_at_claim.load(Ordering::SeqCst), 1, "the funding was out before the claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_without_amount_pays_the_fee_of_what_arrives() {
    let mut world = World::new(Trust::LspTrustsClient).await;
    let (invoice, fee) = world.buys_for(Payment::Variable { expected: AMOUNT }).await;
    assert_eq!(invoice.amount_milli_satoshis(), None);
    world.pays(&invoice).await;
    world.is_settled(fee).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_client_trusts_the_lsp_the_funding_stays_off_the_chain_until_the_claim() {
    let mut world = World::new(Trust::ClientTrustsLsp).await;
    let (invoice, fee) = world.buys().await;
    world.pays(&invoice).await;
    world.is_settled(fee).await;
    assert_eq!(world.seen.unconfirmed_at_claim.load(Ordering::SeqCst), 0, "nothing was out before the claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_lsp_that_dies_between_buy_and_payment_still_opens_the_channel() {
    let mut world = World::new(Trust::LspTrustsClient).await;
    let (invoice, fee) = world.buys().await;
    world.lsp_dies_and_starts_again().await;
    world.connect().await;
    assert!(within(|| world.payer.channel_manager().list_usable_channels().len() == 1).await, "the payer is back");
    world.pays(&invoice).await;
    world.is_settled(fee).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_lsp_that_dies_while_it_holds_a_part_goes_on_when_the_wallet_is_back() {
    let mut world = World::new(Trust::LspTrustsClient).await;
    let (invoice, fee) = world.buys().await;
    world.wallet_leaves().await;
    world.pays(&invoice).await;
    world.lsp_holds_a_part().await;
    world.lsp_dies_and_starts_again().await;
    world.connect().await;
    world.is_settled(fee).await;
}

#[tokio::test(flavor = "multi_thread")]
#[allow(non_snake_case)]
async fn case_H07_the_payer_sees_the_code_that_the_spec_wants() {
    let mut world = World::new(Trust::LspTrustsClient).await;
    let (invoice, _) = world.buys().await;
    world.wallet_leaves().await;
    world.pays(&invoice).await;
    world.lsp_holds_a_part().await;
    world.clock.0.store(91, Ordering::SeqCst);
    let codes = || world.payer.logger().failure_codes();
    assert!(within(|| codes().len() == 1).await, "the client stays away: the part is failed");
    assert_eq!(codes(), [FailureCode(0x1007)], "temporary_channel_failure");
}

#[tokio::test(flavor = "multi_thread")]
#[allow(non_snake_case)]
async fn case_J06_a_payment_to_an_scid_that_nobody_issued_fails_at_once() {
    let world = World::new(Trust::LspTrustsClient).await;
    let scid = Scid(world.lsp_node.channel_manager().get_intercept_scid());
    let invoice = world.invoice(&InvoiceTerms {
        hint: lsps_client::jit_receive::RouteHint {
            node_id: PeerId(world.lsp_node.node_id().serialize()),
            scid,
            cltv_expiry_delta: 144,
        },
        amount: Some(AMOUNT),
        min_final_cltv_expiry_delta: 26,
        timestamp: SystemClock.now(),
        expiry_secs: 600,
        basic_mpp: true,
    });
    world.pays(&invoice).await;
    let codes = || world.payer.logger().failure_codes();
    assert!(within(|| codes().len() == 1).await, "the part is failed");
    assert_eq!(codes(), [FailureCode(0x400a)], "unknown_next_peer");
}

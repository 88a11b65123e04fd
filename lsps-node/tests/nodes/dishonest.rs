//! An LSP that is played by the test, and keeps more than it may.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{FeeRate, Transaction};
use lightning::chain::chaininterface::BroadcasterInterface as _;
use lightning::events::Event;
use lightning::ln::channelmanager::{Bolt11InvoiceParameters, InterceptId};
use lightning::types::payment::PaymentHash;
use lightning::util::config::UserConfig;
use lsps_client::jit_receive::{Fault, Purchase, State};
use lsps_client::session::WhyNot;
use lsps_node::Chain;
use lsps_node::node::{Node, Setup, while_there, within};
use lsps_node::store::{MemoryStore, Store};
use lsps_testing::scene;
use lsps_testing::scene::{Script, WalletNode, Who, open_channels, shares, start_payer};
use lsps_transport_ldk::ports::{Clock, SystemClock};
use lsps_transport_ldk::wallet::WalletEvent;
use lsps_transport_ldk::{KnownLsp, LspsMessageHandler, Msat, PeerEvent, Ppm, Role, preset_for_lsp};
use lsps_types::codes::BuyError;
use lsps_types::jsonrpc::{ErrorObject, Incoming, encode_error, encode_reply};
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::lsps2::{Bought, Buy, GetInfo, Menu, OpeningFeeParams, Promise};
use lsps_types::{DateTime, Method, PeerId, Scid};

use crate::{AMOUNT, FEE_LIMIT, HOUR};

const FEE: Msat = Msat(1_000_000);

#[tokio::test(flavor = "multi_thread")]
async fn case_W04_one_millisatoshi_above_the_promise_is_refused_and_the_payer_keeps_its_money() {
    let outcome = pay_through_an_lsp_that_keeps(Msat(FEE.0 + 1)).await;
    let why = Fault::SkimAbovePromise { skimmed: Msat(FEE.0 + 1), promised: FEE };
    assert_eq!(outcome.refused, Some(why));
    assert_eq!(outcome.paid, None);
    assert!(outcome.has_failed, "the payer has its money back");
    assert_eq!((outcome.wallet_msat, outcome.payer_lost_msat), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_promise_is_claimed() {
    let outcome = pay_through_an_lsp_that_keeps(FEE).await;
    assert_eq!((outcome.refused, outcome.has_failed), (None, false));
    assert_eq!(outcome.paid, Some(AMOUNT.0));
    assert_eq!((outcome.wallet_msat, outcome.payer_lost_msat), (AMOUNT.0 - FEE.0, AMOUNT.0));
}

/// The wallet already has a channel with this LSP, over which the LSP can skim as well.
#[tokio::test(flavor = "multi_thread")]
async fn case_X42_a_fee_for_a_channel_that_was_never_opened_is_not_paid() {
    let stage = Stage::set(0, FEE).await;
    stage.pays_for_a_channel().await;
    assert!(stage.has_paid().await, "the first channel is opened and paid for");
    stage.forgets();
    stage.lies.opens.store(false, Ordering::SeqCst);
    stage.pays_for_a_channel().await;
    assert!(stage.has_failed().await, "the payer has its money back");
    assert_eq!(stage.refused(), [Fault::NoChannelOpened { skimmed: FEE }]);
    assert_eq!(stage.wallet.node.channel_manager().list_channels().len(), 1);
}

/// The payment of the purchase is held. Another payment over the same channel cannot be held, as its invoice leaves no
/// blocks for that.
#[tokio::test(flavor = "multi_thread")]
async fn case_X32_a_patient_wallet_takes_no_other_payment_over_a_channel_that_is_not_confirmed() {
    let stage = Stage::set(3, FEE).await;
    stage.pays_for_a_channel().await;
    let holds = || matches!(stage.wallet.host.purchases()[0].state(), State::Holding(_));
    assert!(within(holds).await, "the first payment waits");
    let manager = stage.wallet.node.channel_manager();
    let ordinary = Bolt11InvoiceParameters { amount_msats: Some(10_000_000), ..Bolt11InvoiceParameters::default() };
    let ordinary = manager.create_bolt11_invoice(ordinary).expect("there is a channel");
    stage.payer.pay(&ordinary, 10_000_000).expect("a route");
    assert!(stage.has_failed().await, "the payer of the other payment has its money back");
    assert_eq!(stage.refused(), [Fault::Unconfirmed { confirmations: 0, wanted: 3 }]);
    stage.chain.mine(3);
    assert!(stage.has_paid().await, "what waited is claimed");
    stage.forgets();
    let hash = PaymentHash(ordinary.payment_hash().to_byte_array());
    stage.payer.pay(&ordinary, 10_000_000).expect("a route");
    assert!(within(|| stage.handed_on.lock().unwrap().contains(&hash)).await, "the application may claim it now");
}

/// One part arrives over a confirmed channel, the other over the bought one. The LSP closes the latter, and would learn
/// the preimage by the claim of the other part.
#[tokio::test(flavor = "multi_thread")]
async fn case_X32_a_payment_in_parts_that_waits_goes_back_when_one_of_its_channels_is_closed() {
    for restarts in [false, true] {
        let mut stage = Stage::set(3, FEE).await;
        stage.pays_for_a_channel().await;
        assert!(within(|| stage.is_holding()).await, "the first payment waits");
        stage.chain.mine(3);
        assert!(stage.has_paid().await, "the first channel is confirmed and paid for");
        stage.forgets();
        stage.lies.spreads.store(true, Ordering::SeqCst);
        let jit = stage.wallet.host.receive_via_jit_channel(AMOUNT, "in parts", HOUR, FEE_LIMIT).await.unwrap();
        stage.payer.pay_in_parts(&jit.invoice, &[15_000_000, AMOUNT.0 - 15_000_000]).unwrap();
        assert!(within(|| stage.is_holding()).await, "the payment waits for the second channel");
        let channels = || stage.lsp.channel_manager().list_channels_with_counterparty(&stage.wallet.node.node_id());
        let bought = channels().into_iter().find(|channel| channel.confirmations == Some(0)).expect("it was opened");
        if restarts {
            stage.wallet.node.kill();
        }
        let closed = "there is no such channel".to_owned();
        let peer = stage.wallet.node.node_id();
        stage.lsp.channel_manager().force_close_broadcasting_latest_txn(&bought.channel_id, &peer, closed).unwrap();
        if restarts {
            stage.restarts_wallet().await;
        }
        assert!(within(|| !stage.is_holding()).await, "it waits no more");
        let no_parts = || {
            let channels = stage.wallet.node.channel_manager().list_channels();
            channels.len() == 1 && channels[0].pending_inbound_htlcs.is_empty()
        };
        assert!(within(no_parts).await, "the other part is failed back");
        let is_paid = |purchase: &Purchase| matches!(purchase.state(), State::Paid { .. });
        assert_eq!(stage.wallet.host.purchases().iter().filter(|it| is_paid(it)).count(), 1, "only the first is paid");
        assert!(stage.refused().is_empty());
    }
}

/// The LSP says that it trusts its client, but withholds the funding transaction.
#[tokio::test(flavor = "multi_thread")]
async fn case_X33_a_wallet_that_can_see_the_mempool_waits_until_the_funding_is_in_it() {
    let stage = Stage::set(0, FEE).await;
    stage.lies.publishes.store(false, Ordering::SeqCst);
    stage.pays_for_a_channel().await;
    let holds = || matches!(stage.wallet.host.purchases()[0].state(), State::Holding(_));
    assert!(within(holds).await, "the payment waits: nothing of the channel was seen");
    assert!(stage.chain.mempool().is_empty());
    let withheld = stage.lies.withheld.lock().unwrap().take().expect("it was funded");
    stage.lsp.broadcaster().broadcast_transactions(&[&withheld]);
    assert!(stage.has_paid().await, "it is claimed at once, without a block");
    assert_eq!(stage.chain.mempool().len(), 1);
}

/// The cheaper LSP quotes, but does not sell.
#[tokio::test(flavor = "multi_thread")]
async fn case_X40_when_the_cheapest_does_not_sell_the_next_does_and_is_asked_first_from_then_on() {
    let (chain, cheaper) = (Chain::new(), Msat(FEE.0 / 2));
    let tempting = Arc::new(Lies::asking(cheaper, cheaper));
    tempting.sells.store(false, Ordering::SeqCst);
    let tempting = start_dishonest(&chain, 7, tempting).await;
    let honest = start_dishonest(&chain, 8, Arc::new(Lies::asking(FEE, FEE))).await;
    let script = Script { other_lsps: vec![KnownLsp::new(tempting.node_id())], ..Script::default() };
    let at = (honest.node_id(), honest.address());
    let wallet = WalletNode::start(&chain, &(Arc::new(MemoryStore::new()) as _), at, &script).await.unwrap();
    for lsp in [&tempting, &honest] {
        assert!(wallet.node.connect(lsp.node_id(), lsp.address()).await);
    }
    let mut events = wallet.host.events();
    let mut asked = vec![];
    for _ in 0..2 {
        let jit =
            wallet.host.receive_via_jit_channel(AMOUNT, "from anybody", HOUR, FEE_LIMIT).await.expect("one sells");
        assert_eq!((jit.lsp, jit.fee), (honest.node_id(), FEE));
        let why = jit.others.get(&PeerId(tempting.node_id().serialize()));
        asked.push((
            why.map(|why| matches!(why, WhyNot::Buy(_))),
            std::iter::from_fn(|| events.try_recv().ok())
                .filter_map(|event| if let WalletEvent::Offered { lsp, .. } = event { Some(lsp) } else { None })
                .collect::<Vec<_>>(),
        ));
    }
    let [tempting, honest] = [tempting.node_id(), honest.node_id()].map(PeerId::from);
    assert_eq!(asked[0], (Some(true), vec![tempting, honest]), "the cheaper one first");
    assert_eq!(asked[1], (None, vec![honest]), "its word weighs less now");
}

struct Outcome {
    refused: Option<Fault>,
    paid: Option<u64>,
    has_failed: bool,
    wallet_msat: u64,
    payer_lost_msat: u64,
}

async fn pay_through_an_lsp_that_keeps(kept: Msat) -> Outcome {
    let stage = Stage::set(0, kept).await;
    let [before, _] = shares(&stage.lsp).unwrap();
    stage.pays_for_a_channel().await;
    let over = || stage.paid.load(Ordering::SeqCst) > 0 || stage.failed.load(Ordering::SeqCst) > 0;
    assert!(within(over).await, "the payer hears how it ended");
    let at_rest = || shares(&stage.lsp).is_ok() && shares(&stage.wallet.node).is_ok();
    assert!(within(at_rest).await, "nothing is under way any more");
    let ([after, _], [_, wallet_msat]) = (shares(&stage.lsp).unwrap(), shares(&stage.wallet.node).unwrap());
    let amount = stage.paid.load(Ordering::SeqCst);
    Outcome {
        refused: stage.refused().first().copied(),
        paid: (amount > 0).then_some(amount),
        has_failed: stage.failed.load(Ordering::SeqCst) > 0,
        wallet_msat,
        payer_lost_msat: before - after,
    }
}

/// A payer, a wallet, and a dishonest LSP.
struct Stage {
    chain: Chain,
    payer: Arc<Node>,
    lsp: Arc<Node<LspsMessageHandler>>,
    wallet: WalletNode,
    lies: Arc<Lies>,
    paid: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    /// Payments that were left to the wallet's application.
    handed_on: Arc<Mutex<Vec<PaymentHash>>>,
    told: Mutex<tokio::sync::broadcast::Receiver<WalletEvent>>,
    script: Script,
    wallet_store: Store,
}

/// Ways in which the LSP is dishonest.
struct Lies {
    asks: Msat,
    sells: AtomicBool,
    keeps: AtomicU64,
    opens: AtomicBool,
    /// Whether the first part goes over a new channel that is just large enough, and the others over an old one.
    spreads: AtomicBool,
    publishes: AtomicBool,
    withheld: Mutex<Option<Transaction>>,
}

impl Lies {
    /// An LSP that only lies about the fee: it asks for one and keeps another.
    fn asking(asks: Msat, kept: Msat) -> Self {
        let (sells, opens, publishes) = (AtomicBool::new(true), AtomicBool::new(true), AtomicBool::new(true));
        let (keeps, spreads) = (AtomicU64::new(kept.0), AtomicBool::new(false));
        Self { asks, sells, keeps, opens, spreads, publishes, withheld: Mutex::default() }
    }
}

impl Stage {
    async fn set(confirmations_to_wait: u16, kept: Msat) -> Self {
        let (paid, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (p, f) = (Arc::clone(&paid), Arc::clone(&failed));
        let handed_on = Arc::new(Mutex::new(vec![]));
        let h = Arc::clone(&handed_on);
        let on_event: scene::OnEvent = Arc::new(move |who, event| match (who, event) {
            (Who::Payer, Event::PaymentSent { amount_msat, .. }) => {
                p.store(amount_msat.unwrap_or_default(), Ordering::SeqCst);
            }
            (Who::Payer, Event::PaymentFailed { .. }) => f.store(1, Ordering::SeqCst),
            _ => {}
        });
        let on_left: scene::OnEvent = Arc::new(move |_, event| {
            if let Event::PaymentClaimable { payment_hash, .. } = event {
                h.lock().unwrap().push(*payment_hash);
            }
        });
        let script =
            Script { on_event, on_left, confirmations_to_wait, wallet_sees_mempool: true, ..Script::default() };
        let chain = Chain::new();
        let payer = start_payer(&chain, &script).await.unwrap();
        let lies = Arc::new(Lies::asking(FEE, kept));
        let lsp = start_dishonest(&chain, 7, Arc::clone(&lies)).await;
        let at = (lsp.node_id(), lsp.address());
        let wallet_store: Store = Arc::new(MemoryStore::new());
        let wallet = WalletNode::start(&chain, &wallet_store, at, &script).await.unwrap();
        for coins in [payer.wallet(), lsp.wallet()] {
            chain.give(&coins.script(), 2_000_000);
        }
        assert!(payer.connect(lsp.node_id(), lsp.address()).await);
        assert!(wallet.node.connect(lsp.node_id(), lsp.address()).await);
        open_channels(&chain, &payer, &lsp, &[1_000_000]).await.unwrap();
        let told = Mutex::new(wallet.host.events());
        Self { chain, payer, lsp, wallet, lies, paid, failed, handed_on, told, script, wallet_store }
    }

    /// Starts the killed wallet again, and connects it.
    async fn restarts_wallet(&mut self) {
        let at = (self.lsp.node_id(), self.lsp.address());
        self.wallet = WalletNode::start(&self.chain, &self.wallet_store, at, &self.script).await.unwrap();
        self.told = Mutex::new(self.wallet.host.events());
        assert!(self.wallet.node.connect(at.0, at.1).await);
    }

    fn is_holding(&self) -> bool {
        self.wallet.host.purchases().iter().any(|purchase| matches!(purchase.state(), State::Holding(_)))
    }

    async fn pays_for_a_channel(&self) {
        let jit = self.wallet.host.receive_via_jit_channel(AMOUNT, "on trust", HOUR, FEE_LIMIT).await.unwrap();
        self.payer.pay(&jit.invoice, AMOUNT.0).unwrap();
    }

    async fn has_paid(&self) -> bool {
        within(|| self.paid.load(Ordering::SeqCst) > 0).await
    }

    async fn has_failed(&self) -> bool {
        within(|| self.failed.load(Ordering::SeqCst) > 0).await
    }

    fn forgets(&self) {
        self.paid.store(0, Ordering::SeqCst);
        self.failed.store(0, Ordering::SeqCst);
    }

    fn refused(&self) -> Vec<Fault> {
        let mut told = self.told.lock().unwrap();
        let told = std::iter::from_fn(|| told.try_recv().ok());
        told.filter_map(|event| if let WalletEvent::Refused { why, .. } = event { Some(why) } else { None }).collect()
    }
}

/// Starts an LSP that sells, opens a channel when the payment arrives, and forwards the parts less what it keeps.
async fn start_dishonest(chain: &Chain, seed: u8, lies: Arc<Lies>) -> Arc<Node<LspsMessageHandler>> {
    let mut config = UserConfig { accept_forwards_to_priv_channels: true, ..UserConfig::default() };
    preset_for_lsp(&mut config);
    config.channel_handshake_config.negotiate_scid_privacy = true;
    let messages = LspsMessageHandler::new(Role::Service);
    let setup = Setup {
        name: "LSP",
        seed: [seed; 32],
        store: Arc::new(MemoryStore::new()),
        config,
        chain: Arc::new(chain.clone()),
    };
    let lsp = Node::build(setup, Arc::clone(&messages)).await.unwrap();
    let client = Arc::new(Mutex::new(None));
    answer(&lsp, messages, Arc::clone(&client), Arc::clone(&lies));
    let (weak, held) = (Arc::downgrade(&lsp), Mutex::new(None::<(InterceptId, u64)>));
    lsp.run(move |event| {
        let Some(lsp) = weak.upgrade() else { return std::future::ready(Ok(())) };
        let manager = lsp.channel_manager();
        match &event {
            Event::HTLCIntercepted { intercept_id, expected_outbound_amount_msat, .. } => {
                let (part, amount) = (*intercept_id, *expected_outbound_amount_msat);
                let client = client.lock().unwrap().expect("somebody bought");
                let spreads = lies.spreads.load(Ordering::SeqCst);
                let opens =
                    if spreads { lies.opens.swap(false, Ordering::SeqCst) } else { lies.opens.load(Ordering::SeqCst) };
                if opens {
                    *held.lock().unwrap() = Some((part, amount));
                    // LDK forwards over the smallest sufficient channel, whichever channel it is told.
                    let size = if spreads { 20_000 } else { 200_000 };
                    manager.create_channel(client, size, 0, JIT, None, None).expect("connected");
                } else {
                    let channels = manager.list_channels_with_counterparty(&client);
                    let old = channels.iter().find(|channel| channel.is_usable).expect("there is one").channel_id;
                    // The fee is kept of the part that goes over the new channel, if there is one.
                    let keeps = if spreads { 0 } else { lies.keeps.load(Ordering::SeqCst) };
                    manager.forward_intercepted_htlc(part, &old, client, amount - keeps).expect("still held");
                }
            }
            Event::FundingGenerationReady {
                temporary_channel_id: id,
                counterparty_node_id: peer,
                channel_value_satoshis,
                output_script,
                user_channel_id: JIT,
            } if !lies.publishes.load(Ordering::SeqCst) => {
                let rate = FeeRate::from_sat_per_kwu(253);
                let tx = lsp.wallet().pay(output_script, *channel_value_satoshis, rate).expect("enough coins");
                *lies.withheld.lock().unwrap() = Some(tx.clone());
                manager.funding_transaction_generated_manual_broadcast(*id, *peer, tx).expect("it waits for it");
            }
            Event::ChannelReady { channel_id, counterparty_node_id, user_channel_id: JIT, .. } => {
                if let Some((part, amount)) = held.lock().unwrap().take() {
                    let rest = amount - lies.keeps.load(Ordering::SeqCst);
                    let forwarded = manager.forward_intercepted_htlc(part, channel_id, *counterparty_node_id, rest);
                    forwarded.expect("still held");
                }
            }
            _ => lsp.chores(&event).expect("enough coins"),
        }
        std::future::ready(Ok(()))
    });
    lsp
}

fn answer(
    lsp: &Arc<Node<LspsMessageHandler>>,
    messages: Arc<LspsMessageHandler>,
    client: Arc<Mutex<Option<PublicKey>>>,
    lies: Arc<Lies>,
) {
    let (weak, now) = (Arc::downgrade(lsp), SystemClock.now());
    let terms = OpeningFeeParams {
        min_fee_msat: lies.asks,
        proportional: Ppm(0),
        valid_until: DateTime::from(now + Duration::from_secs(3_600)),
        min_lifetime: 1_008,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: Msat(1_000),
        max_payment_size_msat: Msat(1_000_000_000),
        promise: Promise::received("trust-me").expect("short enough"),
    };
    tokio::spawn(while_there(weak, move |lsp| {
        for event in messages.take() {
            let PeerEvent::Message(peer, payload) = event else { continue };
            let request = Incoming::decode(&payload).expect("the wallet writes requests");
            let reply = match request.method() {
                Some(Method::Lsps0ListProtocols) => {
                    encode_reply::<ListProtocols>(request.id(), &Protocols { protocols: vec![2] })
                }
                Some(Method::Lsps2GetInfo) => {
                    let menu = Menu { opening_fee_params_menu: vec![terms.clone()] };
                    encode_reply::<GetInfo>(request.id(), &menu)
                }
                Some(Method::Lsps2Buy) if !lies.sells.load(Ordering::SeqCst) => {
                    encode_error(request.id(), &ErrorObject::of_method(BuyError::InvalidOpeningFeeParams))
                }
                Some(Method::Lsps2Buy) => {
                    *client.lock().unwrap() = PublicKey::from_slice(&peer.0).ok();
                    let jit_channel_scid = Scid(lsp.channel_manager().get_intercept_scid());
                    let bought = Bought { jit_channel_scid, lsp_cltv_expiry_delta: 144, client_trusts_lsp: false };
                    encode_reply::<Buy>(request.id(), &bought)
                }
                other => panic!("the wallet asks {other:?}"),
            };
            messages.send([(peer, reply)]);
        }
        lsp.peer_manager().process_events();
    }));
}

/// Key of the JIT channel.
const JIT: u128 = 77;

//! Channels that a wallet orders from an LSP which is played by the test, and pays for, on real nodes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Network};
use lightning::events::Event;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::{Bolt11InvoiceParameters, PaymentId, Retry};
use lightning::routing::router::RouteParametersConfig;
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use lightning::util::config::UserConfig;
use lightning_invoice::Bolt11Invoice;
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, OrderRequest, PaymentMethod, Polling, Quote, Rules, Trouble, Unpaid};
use lsps_client::session::{Failed, OrderHandle, Outcome, Session};
use lsps_client::{CallError, ChannelKey};
use lsps_node::node::{Node, Setup, while_there, within};
use lsps_node::store::{MemoryStore, Store};
use lsps_testing::fault::{Shifted, SickStore};
use lsps_testing::scene::{Scene, Script};
use lsps_transport_ldk::ports::OnchainWallet as _;
use lsps_transport_ldk::wallet::{CannotOrderChannel, WalletEvent};
use lsps_transport_ldk::{LspsMessageHandler, Msat, PeerEvent, Role};
use lsps_types::jsonrpc::{Incoming, encode_reply};
use lsps_types::lsps1::{
    Bolt11Payment, Channel, Confirmation, CreateOrder, GetInfo, GetOrder, LdkInvoices, LightningState, OnchainPayment,
    OnchainState, Options, Order, OrderId, OrderState, Payment,
};
use lsps_types::{DateTime, FeeRate, Method, OutPoint, PeerId, Sat, Timestamp, Txid};

/// The limit covers the fee, and as much again for miners or routing.
const LIMITS: FeeLimits = FeeLimits { max_total_fee: Some(Msat(2_000_000)), max_proportional_fee: None };
const FEE: u64 = 1_000;
const BALANCE: u64 = 50_000;
const CAPACITY: u64 = 250_000;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn case_O12_a_channel_is_paid_on_chain_then_another_over_it() {
    let world = World::new().await;
    let handle = world.orders(&world.order()).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    assert!(world.scene.chain.mempool()[0].output.iter().any(|out| out.value.to_sat() == FEE + BALANCE));
    world.scene.chain.mine(1);
    world.seller.opens(&world, 1, |_| ()).await;
    let channel = world.is_done(&handle).await;
    assert_eq!((channel.channel_value_satoshis, channel.outbound_capacity_msat > 0), (CAPACITY, true));
    assert!(!channel.is_announced);
    world.is_usable(1).await;

    // The wallet's balance in the new channel pays for the next one.
    let order = CreateOrder { client_balance_sat: Sat(10_000), ..world.order() };
    world.seller.takes_invoices();
    let handle = world.orders(&order).await.expect("it sells again");
    assert_eq!(handle.snapshot().unwrap().paying().unwrap().method, PaymentMethod::Bolt11);
    assert!(within(|| world.seller.has_payment()).await, "the payment is here, on hold");
    world.seller.opens(&world, 1, |_| ()).await;
    world.seller.claims();
    world.is_done(&handle).await;
    world.is_usable(2).await;
    assert!(handle.snapshot().unwrap().end().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O12_a_channel_that_was_ordered_unconfirmed_is_used_at_once_and_a_restart_forgets_nothing() {
    let mut world = World::new().await;
    let order = CreateOrder { required_channel_confirmations: 0, ..world.order() };
    let key = world.orders(&order).await.expect("it sells").key();
    assert!(within(|| world.scene.chain.mempool().len() == 1).await);
    world.restarts().await;
    world.wallet_looks().await;
    assert_eq!(world.scene.chain.mempool().len(), 1, "paid once");
    let handle = world.scene.wallet.host.order(key);
    world.seller.opens(&world, 0, |_| ()).await;
    world.is_done(&handle).await;
    let usable = || !world.scene.wallet.node.channel_manager().list_usable_channels().is_empty();
    assert!(within(usable).await, "before a block");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O12_a_channel_that_is_not_as_ordered_is_not_accepted() {
    let world = World::new().await;
    let handle = world.orders(&world.order()).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await);
    let too_small: [fn(&mut Open); 2] = [|open| open.capacity -= 1, |open| open.push_msat -= 1];
    for change in too_small {
        let key = world.seller.asks_to_open(&world, change);
        let gone = || !world.seller.node.channel_manager().list_channels().iter().any(|c| c.user_channel_id == key);
        assert!(within(gone).await, "it is refused");
    }
    assert!(handle.snapshot().unwrap().channel().is_none());
    assert!(world.scene.wallet.node.channel_manager().list_channels().is_empty());
    world.seller.opens(&world, 1, |open| open.push_msat += 1).await;
    world.is_done(&handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_O12_a_payment_without_a_route_is_given_up_with_its_order_and_an_announced_channel_needs_its_setting() {
    let world = World::new().await;
    let announced = CreateOrder { announce_channel: true, ..world.order() };
    assert!(matches!(world.orders(&announced).await, Err(CannotOrderChannel::Setting(_))));

    world.seller.takes_invoices();
    let wallet = &world.scene.wallet.host;
    let lsp = world.seller.node.node_id();
    let by_invoice = |_: &Quote| Some(PaymentMethod::Bolt11);
    let handle = wallet.order_channel_paying(lsp, world.order(), LIMITS, by_invoice).await.expect("it sells");
    world.wallet_looks().await;
    assert!(handle.snapshot().unwrap().end().is_none(), "it may find a route yet");
    world.seller.set(|order| order.order_state = OrderState::Failed);
    let failed = tokio::time::timeout(PATIENCE, handle.over()).await.expect("nothing was sent");
    assert_eq!(failed, Outcome::Ended(End::Unpaid(Unpaid::NotSent)));
}

/// The LSP names a feerate of 20 000 sat/vB above which it opens at once: a mining fee of 2.8 million satoshis.
#[tokio::test(flavor = "multi_thread")]
async fn case_X30_a_wallet_does_not_pay_the_feerate_that_its_lsp_names_but_its_own() {
    let world = World::new().await;
    world.scene.chain.give(&world.scene.wallet.node.wallet().script(), 4_000_000);
    *world.seller.shop.at_once_above.lock().unwrap() = Some(FeeRate(5_000_000));
    world.orders(&world.order()).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    let paid = &world.scene.chain.mempool()[0];
    assert!(paid.output.iter().any(|out| out.value.to_sat() == FEE + BALANCE));
    let mined = world.scene.chain.fee_sat(&paid.compute_txid()).expect("it waits");
    assert!(mined <= 1_000, "{mined} sat");

    // The feerate would be reasonable, but costs more than the limits leave.
    let dear = CreateOrder { client_balance_sat: Sat(BALANCE + 1), ..world.order() };
    *world.seller.shop.at_once_above.lock().unwrap() = Some(FeeRate(25_000));
    world.orders(&dear).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 2).await, "the payment is broadcast");
    let mempool = world.scene.chain.mempool();
    let mined = mempool.iter().map(|tx| world.scene.chain.fee_sat(&tx.compute_txid()).expect("it waits"));
    assert!(mined.clone().all(|fee| fee <= 1_000), "{:?} sat", mined.collect::<Vec<_>>());
}

/// The LSP reports a funded channel that does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn case_X36_a_channel_that_only_the_lsp_knows_is_no_channel() {
    let world = World::new().await;
    let handle = world.orders(&world.order()).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    let paid = world.scene.chain.mempool()[0].compute_txid().to_string().parse().expect("a txid");
    let funding = OutPoint { txid: paid, index: 0 };
    world.seller.set(|order| *order = completed(order, funding));
    let stuck = tokio::time::timeout(PATIENCE, handle.wait()).await.expect("it is told");
    assert_eq!(stuck, Outcome::Stuck(Trouble::NoChannel { funding: Some(funding) }));
    world.seller.opens(&world, 1, |_| ()).await;
    world.is_done(&handle).await;
}

/// The channel is used before a block, and its funding transaction waits, or is never published.
#[tokio::test(flavor = "multi_thread")]
async fn case_X36_a_channel_that_is_never_confirmed_is_told_although_its_order_is_done() {
    let clock = Arc::new(Shifted::default());
    let world = World::playing(Script { wallet_clock: clock.clone(), ..Script::default() }).await;
    let mut events = world.scene.wallet.host.events();
    let order = CreateOrder { required_channel_confirmations: 0, ..world.order() };
    let handle = world.orders(&order).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    world.seller.opens(&world, 0, |_| ()).await;
    world.is_done(&handle).await;
    let trouble = || handle.snapshot().and_then(|order| order.trouble().cloned());
    assert_eq!(trouble(), None);
    clock.jump(6 * 3_600);
    let is_troubled = || matches!(trouble(), Some(Trouble::Unconfirmed { .. }));
    assert!(world.comes_true(is_troubled).await, "{:?}", handle.snapshot());
    let told = async { while !matches!(events.recv().await, Ok(WalletEvent::OrderStuck { .. })) {} };
    tokio::time::timeout(PATIENCE, told).await.expect("the application is told");
    world.scene.chain.mine(1);
    assert!(world.comes_true(|| trouble().is_none()).await, "it is confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_X36_a_channel_that_is_closed_before_it_is_confirmed_is_told_although_its_order_is_done() {
    let world = World::new().await;
    let order = CreateOrder { required_channel_confirmations: 0, ..world.order() };
    let handle = world.orders(&order).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    world.seller.opens(&world, 0, |_| ()).await;
    let ours = world.is_done(&handle).await;
    let (wallet, why) = (world.scene.wallet.node.node_id(), String::from("never mind"));
    world.seller.node.channel_manager().force_close_broadcasting_latest_txn(&ours.channel_id, &wallet, why).unwrap();
    let trouble = || handle.snapshot().and_then(|order| order.trouble().cloned());
    assert!(within(|| matches!(trouble(), Some(Trouble::Unconfirmed { .. }))).await, "{:?}", handle.snapshot());
}

/// The first order is the small one, and the large channel would suit it.
#[tokio::test(flavor = "multi_thread")]
async fn case_X44_of_two_orders_at_one_lsp_the_second_may_be_opened_first() {
    let world = World::new().await;
    let small = world.orders(&world.order()).await.expect("it sells");
    let order = CreateOrder { lsp_balance_sat: Sat(CAPACITY + 50_000), ..world.order() };
    let large = world.orders(&order).await.expect("it sells again");
    assert!(within(|| world.scene.chain.mempool().len() == 2).await, "the payments are broadcast");
    world.scene.chain.mine(1);
    for (n, handle, capacity) in [(1, &large, CAPACITY + 100_000), (0, &small, CAPACITY)] {
        world.seller.turns_to(n);
        world.seller.opens(&world, 1, |_| ()).await;
        assert_eq!(world.is_done(handle).await.channel_value_satoshis, capacity);
    }
}

/// The invoice is cheaper, but the wallet has no channel yet.
#[tokio::test(flavor = "multi_thread")]
async fn case_X53b_a_first_channel_is_paid_on_the_chain_where_lightning_is_cheaper_and_there_is_no_route() {
    let world = World::new().await;
    world.seller.takes_both();
    let handle = world.orders(&world.order()).await.expect("it sells");
    assert_eq!(handle.snapshot().unwrap().paying().unwrap().method, PaymentMethod::Onchain);
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    world.scene.chain.mine(1);
    world.seller.opens(&world, 1, |_| ()).await;
    world.is_done(&handle).await;
}

/// The wallet had a channel when it chose.
#[tokio::test(flavor = "multi_thread")]
async fn case_X53b_when_there_is_no_route_the_next_way_is_paid() {
    let world = World::new().await;
    world.seller.takes_both();
    let (lsp, session) = (world.seller.node.node_id(), world.scene.wallet.host.session());
    let request = OrderRequest {
        order: world.order(),
        limits: LIMITS,
        network: lsps_types::Network::Regtest,
        large_channels: false,
        rules: Rules::default(),
    };
    let quote = session.lsp(PeerId(lsp.serialize())).quote_channel(request, &LdkInvoices).await.expect("it sells");
    let handle =
        session.pay_quote_in_turn(quote, &[PaymentMethod::Bolt11, PaymentMethod::Onchain]).expect("there is room");
    assert_eq!(handle.snapshot().unwrap().paying().unwrap().method, PaymentMethod::Bolt11);
    let paid = within_half_a_minute(|| world.scene.chain.mempool().len() == 1);
    assert!(paid.await, "the payment is broadcast");
    world.scene.chain.mine(1);
    world.seller.opens(&world, 1, |_| ()).await;
    world.is_done(&handle).await;
}

/// The application's payment is pending when the LSP uses its payment hash in the invoice of an order.
#[tokio::test(flavor = "multi_thread")]
async fn case_X34_an_order_does_not_pay_the_hash_of_the_applications_payment_nor_take_its_news() {
    let world = World::new().await;
    let handle = world.orders(&world.order()).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    world.scene.chain.mine(1);
    world.seller.opens(&world, 1, |_| ()).await;
    world.is_done(&handle).await;
    world.is_usable(1).await;

    let params = Bolt11InvoiceParameters { amount_msats: Some(1_000_000), ..Default::default() };
    let invoice = world.seller.node.channel_manager().create_bolt11_invoice(params).expect("an invoice");
    let hash = invoice.payment_hash().to_byte_array();
    // Applications use the payment hash as the payment id, as LDK advises.
    let (wallet, id) = (&world.scene.wallet, PaymentId(hash));
    let pay = |invoice: &Bolt11Invoice| {
        let (limits, retry) = (RouteParametersConfig::default(), Retry::Attempts(0));
        wallet.node.channel_manager().pay_for_bolt11_invoice(invoice, id, None, limits, retry)
    };
    pay(&invoice).expect("a route");
    assert!(within(|| world.seller.has_payment()).await, "it is here, on hold");

    *world.seller.shop.payment_hash.lock().unwrap() = Some(PaymentHash(hash));
    world.seller.takes_invoices();
    let order = CreateOrder { client_balance_sat: Sat(10_000), ..world.order() };
    let handle = world.orders(&order).await.expect("it sells again");
    let over = tokio::time::timeout(PATIENCE, handle.over()).await.expect("it is not paid");
    assert_eq!(over, Outcome::Ended(End::Unpaid(Unpaid::NotSent)));
    let hears = Event::PaymentSent {
        payment_id: Some(id),
        payment_preimage: PaymentPreimage([7; 32]),
        payment_hash: PaymentHash(hash),
        amount_msat: Some(1_000_000),
        fee_paid_msat: Some(0),
        bolt12_invoice: None,
    };
    assert!(!wallet.host.handle_event(&hears).await.unwrap(), "the application's payment is the application's");
    world.seller.claims();
    let is_paid = || wallet.node.channel_manager().list_channels()[0].pending_outbound_htlcs.is_empty();
    assert!(within(is_paid).await);
}

/// Full mempools drop transactions with a low fee, and nobody else broadcasts them again.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_mempools_lost_is_broadcast_with_every_block_while_its_order_lives() {
    let world = World::new().await;
    let handle = world.orders(&world.order()).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    let paid = world.scene.chain.mempool()[0].compute_txid();
    let is_lost = || {
        world.scene.chain.evict(&paid);
        world.scene.chain.mine(1);
    };
    for _ in 0..2 {
        is_lost();
        assert!(within(|| world.scene.chain.in_mempool(&paid)).await, "it is broadcast again");
    }
    world.seller.set(|order| order.order_state = OrderState::Failed);
    let failed = tokio::time::timeout(PATIENCE, handle.wait()).await.expect("it is told");
    assert_eq!(failed, Outcome::Failed);
    is_lost();
    let wallet = world.scene.wallet.node.channel_manager();
    assert!(within(|| wallet.current_best_block().height == world.scene.chain.height()).await);
    world.wallet_looks().await;
    assert!(!world.scene.chain.in_mempool(&paid), "an order that failed is not paid");
}

/// The mempool that the wallet sees lost the payment; another mempool may have it.
#[tokio::test(flavor = "multi_thread")]
async fn coins_of_a_payment_that_may_be_out_stay_reserved_after_a_restart_when_its_order_failed() {
    let mut world = World::new().await;
    let handle = world.orders(&world.order()).await.expect("it sells");
    assert!(within(|| world.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
    world.seller.set(|order| order.order_state = OrderState::Failed);
    let failed = tokio::time::timeout(PATIENCE, handle.wait()).await.expect("it is told");
    assert_eq!(failed, Outcome::Failed);
    world.scene.chain.evict(&world.scene.chain.mempool()[0].compute_txid());
    assert_eq!(world.scene.wallet.node.wallet().spendable_sat(), 0);
    world.restarts().await;
    world.wallet_looks().await;
    assert_eq!(world.scene.wallet.node.wallet().spendable_sat(), 0, "it has one coin");
}

/// The wallet's store failed between signing and broadcasting, until it was too late to pay.
#[tokio::test(flavor = "multi_thread")]
async fn coins_of_a_payment_that_was_signed_and_never_broadcast_are_free_again() {
    let store = Arc::new(SickStore::new(Arc::new(MemoryStore::new())));
    let (wallet_store, clock): (Store, _) = (store.clone(), Arc::new(Shifted::default()));
    let script = Script { wallet_store: Some(wallet_store), wallet_clock: clock.clone(), ..Script::default() };
    let world = World::playing(script).await;
    let coins = world.scene.wallet.node.wallet();
    let before = coins.spendable_sat();
    store.falls_ill_after("lsps", 1);
    let handle = world.orders(&world.order()).await.expect("it sells");
    assert!(within(|| store.refused() >= 2).await, "that it is signed cannot be recorded");
    assert!(coins.spendable_sat() < before, "the coins of the payment are reserved");
    clock.jump(3_600);
    store.recovers();
    let over = tokio::time::timeout(PATIENCE, handle.over()).await.expect("it is too late");
    assert_eq!(over, Outcome::Ended(End::Unpaid(Unpaid::Expired)));
    assert!(within(|| coins.spendable_sat() == before).await, "they are free");
    assert!(world.scene.chain.mempool().is_empty(), "nothing was broadcast");
}

/// The wallet's clock is set while its LSP does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn case_X19_an_answer_is_waited_for_as_long_as_ever_when_the_wallets_clock_is_set() {
    let clock = Arc::new(Shifted::default());
    clock.is_set_ahead(3_600);
    let world = World::playing(Script { wallet_clock: clock.clone(), ..Script::default() }).await;
    let session = world.scene.wallet.host.session();
    let lsp = session.lsp(PeerId(world.seller.node.node_id().serialize()));
    world.seller.is_silent();
    let waits = |within: u64| {
        let lsp = lsp.clone();
        tokio::spawn(async move { lsp.call_within(&GetInfo {}, Duration::from_secs(within)).await })
    };
    let (short, long) = (waits(3), waits(600));
    assert!(within(|| session.with(|client, _| client.pending_calls()) == 2).await, "it is asked");
    for ahead in [0, 7_200] {
        clock.is_set_ahead(ahead);
        session.with(|client, now| client.tick(now));
        assert!(!long.is_finished(), "ten minutes are not over, {ahead}");
    }
    let late = tokio::time::timeout(PATIENCE, short).await.expect("three seconds are over").unwrap();
    assert!(matches!(late, Err(Failed::Call(CallError::TimedOut))), "{late:?}");
    assert!(!long.is_finished());
}

struct World {
    scene: Scene,
    seller: Seller,
}

impl World {
    async fn new() -> Self {
        Self::playing(Script::default()).await
    }

    async fn playing(script: Script) -> Self {
        // Orders are polled often, and lies of the LSP are reported soon.
        let second = Duration::from_secs(1);
        let often = Polling { first: second / 5, longest: second, slow: second, ..Polling::default() };
        let polling = Polling { seen_within: second * 5, ..often };
        let scene = Scene::set(Script { polling, ..script }).await.expect("the nodes start");
        let seller = Seller::start(&scene).await;
        scene.chain.give(&scene.wallet.node.wallet().script(), 400_000);
        let world = Self { scene, seller };
        world.connects().await;
        world
    }

    async fn connects(&self) {
        let seller = &self.seller.node;
        assert!(self.scene.wallet.node.connect(seller.node_id(), seller.address()).await);
        assert!(within(|| seller.channel_manager().current_best_block().height == self.scene.chain.height()).await);
        let (session, id) = (self.scene.wallet.host.session(), PeerId(seller.node_id().serialize()));
        assert!(within(|| can_be_asked(session, id)).await);
    }

    /// Whether the condition becomes true while the wallet is kept busy. Left alone, it polls once a minute.
    async fn comes_true(&self, is_true: impl Fn() -> bool) -> bool {
        let looks = async {
            while !is_true() {
                self.wallet_looks().await;
            }
        };
        tokio::time::timeout(PATIENCE, looks).await.is_ok()
    }

    /// Makes the wallet take at least two turns: one before its request, and one before the answer.
    async fn wallet_looks(&self) {
        let lsp = self.scene.wallet.host.session().lsp(PeerId(self.seller.node.node_id().serialize()));
        lsp.call(&GetInfo {}).await.expect("an answer");
    }

    async fn restarts(&mut self) {
        self.scene.restart_wallet().await.expect("it starts again");
        self.connects().await;
    }

    fn order(&self) -> CreateOrder {
        let script = self.scene.wallet.node.wallet().script();
        let refund = Address::from_script(&script, Network::Regtest).expect("SegWit").to_string();
        CreateOrder {
            lsp_balance_sat: Sat(CAPACITY - BALANCE),
            client_balance_sat: Sat(BALANCE),
            required_channel_confirmations: 1,
            funding_confirms_within_blocks: 6,
            channel_expiry_blocks: 144,
            token: None,
            refund_onchain_address: Some(refund.parse().expect("an address")),
            announce_channel: false,
        }
    }

    async fn orders(&self, order: &CreateOrder) -> Result<OrderHandle, CannotOrderChannel> {
        self.scene.wallet.host.order_channel(self.seller.node.node_id(), order.clone(), LIMITS).await
    }

    /// Checks that the order is done, and returns the wallet's view of the channel.
    async fn is_done(&self, handle: &OrderHandle) -> ChannelDetails {
        let done = tokio::time::timeout(PATIENCE, handle.over()).await.expect("it is told");
        let Outcome::Ended(End::Done { lease, channel: Some(channel) }) = done else { panic!("{done:?}") };
        let channels = self.scene.wallet.node.channel_manager().list_channels();
        let ours = channels.into_iter().find(|its| ChannelKey(its.user_channel_id) == channel.key).expect("it is open");
        let funding = ours.funding_txo.expect("it is funded");
        assert_eq!(lease.funding.txid.to_string(), funding.txid.to_string());
        ours
    }

    async fn is_usable(&self, channels: usize) {
        self.scene.chain.mine(6);
        let usable = || self.scene.wallet.node.channel_manager().list_usable_channels().len() == channels;
        assert!(within(usable).await, "it can be used");
        let lsp = self.seller.node.channel_manager();
        assert!(within(|| lsp.list_usable_channels().len() == channels).await);
    }
}

/// Whether the wallet's own task knows that the LSP is connected.
pub fn can_be_asked(session: &Session, lsp: PeerId) -> bool {
    session.with(|client, now| client.call(lsp, &GetInfo {}, now).map(|ticket| client.forget(&ticket)).is_ok())
}

/// Like `within`, three times as long, for conditions that depend on retries.
async fn within_half_a_minute(is_true: impl Fn() -> bool) -> bool {
    for _ in 0..3 {
        if within(&is_true).await {
            return true;
        }
    }
    false
}

/// An LSP that the test controls.
struct Seller {
    node: Arc<Node<LspsMessageHandler>>,
    shop: Arc<Shop>,
}

#[derive(Default)]
struct Shop {
    orders: Mutex<Vec<Order>>,
    /// Index of the order in `orders` that the seller deals with.
    turn: Mutex<usize>,
    invoices: Mutex<bool>,
    onchain_too: Mutex<bool>,
    at_once_above: Mutex<Option<FeeRate>>,
    /// Payment hash of the invoice, instead of one of the seller's own.
    payment_hash: Mutex<Option<PaymentHash>>,
    /// Preimage of the payment that arrived and is held.
    payment: Mutex<Option<PaymentPreimage>>,
    opened: Mutex<u128>,
    is_silent: Mutex<bool>,
}

/// The order after this output has funded its channel, with a lease of a day.
fn completed(order: &Order, funding_outpoint: OutPoint) -> Order {
    let (now, day) = (now(), Duration::from_secs(24 * 60 * 60));
    let channel = Channel { funded_at: DateTime::from(now), funding_outpoint, expires_at: DateTime::from(now + day) };
    Order { order_state: OrderState::Completed, channel: Some(channel), ..order.clone() }
}

struct Open {
    capacity: u64,
    push_msat: u64,
}

impl Seller {
    async fn start(scene: &Scene) -> Self {
        let messages = LspsMessageHandler::new(Role::Service);
        let (store, mut config) = (Arc::new(MemoryStore::new()), UserConfig::default());
        config.channel_handshake_config.max_inbound_htlc_value_in_flight_percent_of_channel = 100;
        let setup = Setup { name: "seller", seed: [77; 32], store, config, chain: Arc::new(scene.chain.clone()) };
        let node = Node::build(setup, Arc::clone(&messages)).await.expect("it starts");
        let shop = Arc::new(Shop::default());
        let (weak, s) = (Arc::downgrade(&node), Arc::clone(&shop));
        node.run(move |event| {
            if let Event::PaymentClaimable { purpose, .. } = &event {
                *s.payment.lock().unwrap() = purpose.preimage();
            } else if let Some(node) = weak.upgrade() {
                node.chores(&event).expect("enough coins");
            }
            std::future::ready(Ok(()))
        });
        scene.chain.give(&node.wallet().script(), 400_000);
        scene.chain.give(&node.wallet().script(), 400_000);
        let (weak, s) = (Arc::downgrade(&node), Arc::clone(&shop));
        tokio::spawn(while_there(weak, move |node| {
            for event in messages.take() {
                if let PeerEvent::Message(peer, payload) = event
                    && !*s.is_silent.lock().unwrap()
                {
                    messages.send([(peer, s.answer(node, &payload))]);
                    node.peer_manager().process_events();
                }
            }
        }));
        Self { node, shop }
    }

    fn set(&self, change: impl FnOnce(&mut Order)) {
        change(&mut self.shop.orders.lock().unwrap()[*self.shop.turn.lock().unwrap()]);
    }

    /// From now on the seller deals with this order instead of the previous one.
    fn turns_to(&self, order: usize) {
        *self.shop.turn.lock().unwrap() = order;
    }

    fn is_silent(&self) {
        *self.shop.is_silent.lock().unwrap() = true;
    }

    fn takes_both(&self) {
        self.takes_invoices();
        *self.shop.onchain_too.lock().unwrap() = true;
    }

    fn takes_invoices(&self) {
        *self.shop.invoices.lock().unwrap() = true;
    }

    fn has_payment(&self) -> bool {
        self.shop.payment.lock().unwrap().is_some()
    }

    fn claims(&self) {
        let preimage = self.shop.payment.lock().unwrap().take().expect("it is on hold");
        self.node.channel_manager().claim_funds(preimage);
    }

    fn asks_to_open(&self, world: &World, change: impl FnOnce(&mut Open)) -> u128 {
        let order = self.shop.orders.lock().unwrap()[*self.shop.turn.lock().unwrap()].clone();
        let (lsp, client) = (order.lsp_balance_sat.0, order.client_balance_sat.0);
        let mut open = Open { capacity: lsp + client, push_msat: client * 1_000 };
        change(&mut open);
        let mut opened = self.shop.opened.lock().unwrap();
        *opened += 1;
        let to = world.scene.wallet.node.node_id();
        let asked = self.node.channel_manager().create_channel(to, open.capacity, open.push_msat, *opened, None, None);
        asked.expect("it asks");
        *opened
    }

    /// Opens the ordered channel, and reports it after this many blocks.
    async fn opens(&self, world: &World, blocks: u32, change: impl FnOnce(&mut Open)) {
        let (before, key) = (world.scene.chain.mempool().len(), self.asks_to_open(world, change));
        assert!(within(|| world.scene.chain.mempool().len() > before).await, "the channel is funded");
        let channels = self.node.channel_manager().list_channels();
        let funding = channels.iter().find(|its| its.user_channel_id == key).and_then(|its| its.funding_txo).unwrap();
        world.scene.chain.mine(blocks);
        let txid: Txid = funding.txid.to_string().parse().expect("a txid");
        self.set(|order| *order = completed(order, OutPoint { txid, index: funding.index }));
    }
}

impl Shop {
    fn answer(&self, node: &Node<LspsMessageHandler>, payload: &[u8]) -> Vec<u8> {
        let incoming = Incoming::decode(payload).expect("a request");
        let id = incoming.id();
        match incoming.method() {
            Some(Method::Lsps1GetInfo) => encode_reply::<GetInfo>(id, &options()),
            Some(Method::Lsps1CreateOrder) => {
                let order = self.sells(node, &incoming.params().expect("an order"));
                let reply = encode_reply::<CreateOrder>(id, &order);
                let mut orders = self.orders.lock().unwrap();
                *self.turn.lock().unwrap() = orders.len();
                orders.push(order);
                reply
            }
            Some(Method::Lsps1GetOrder) => {
                let GetOrder { order_id } = incoming.params().expect("a question");
                let orders = self.orders.lock().unwrap();
                let order = orders.iter().find(|order| order.order_id.as_str() == order_id);
                encode_reply::<GetOrder>(id, order.expect("it is known"))
            }
            other => panic!("{other:?}"),
        }
    }

    fn sells(&self, node: &Node<LspsMessageHandler>, ordered: &CreateOrder) -> Order {
        let total = Sat(FEE + ordered.client_balance_sat.0);
        let expires_at = DateTime::from(now() + Duration::from_secs(3_600));
        let (by_invoice, onchain_too) = (*self.invoices.lock().unwrap(), *self.onchain_too.lock().unwrap());
        let bolt11 = by_invoice.then(|| {
            let (amount_msats, payment_hash) = (total.to_msat().map(|msat| msat.0), *self.payment_hash.lock().unwrap());
            let params = Bolt11InvoiceParameters { amount_msats, payment_hash, ..Default::default() };
            let invoice = node.channel_manager().create_bolt11_invoice(params).expect("an invoice").to_string();
            let (state, expires_at) = (LightningState::ExpectPayment, expires_at.clone());
            Bolt11Payment { state, expires_at, fee_total_sat: Sat(FEE), order_total_sat: total, invoice }
        });
        let address = Address::from_script(&node.wallet().script(), Network::Regtest).expect("SegWit").to_string();
        let onchain = (!by_invoice || onchain_too).then(|| OnchainPayment {
            state: OnchainState::ExpectPayment,
            expires_at,
            fee_total_sat: Sat(FEE),
            order_total_sat: total,
            address,
            confirmation: Confirmation::AtOnce { above: *self.at_once_above.lock().unwrap() },
            refund_onchain_address: ordered.refund_onchain_address.as_ref().map(ToString::to_string),
        });
        let mut number = self.opened.lock().unwrap();
        *number += 100;
        Order {
            order_id: OrderId::try_from(format!("order {number}")).expect("short"),
            lsp_balance_sat: ordered.lsp_balance_sat,
            client_balance_sat: ordered.client_balance_sat,
            required_channel_confirmations: ordered.required_channel_confirmations,
            funding_confirms_within_blocks: ordered.funding_confirms_within_blocks,
            channel_expiry_blocks: ordered.channel_expiry_blocks,
            token: String::new(),
            created_at: DateTime::from(now()),
            announce_channel: ordered.announce_channel,
            order_state: OrderState::Created,
            payment: Payment { bolt11, onchain, ..Payment::default() },
            channel: None,
        }
    }
}

fn options() -> Options {
    Options {
        min_required_channel_confirmations: 0,
        min_funding_confirms_within_blocks: 1,
        supports_zero_channel_reserve: false,
        max_channel_expiry_blocks: 20_000,
        min_initial_client_balance_sat: Sat(0),
        max_initial_client_balance_sat: Sat(1_000_000),
        min_initial_lsp_balance_sat: Sat(1),
        max_initial_lsp_balance_sat: Sat(1_000_000),
        min_channel_balance_sat: Sat(20_000),
        max_channel_balance_sat: Sat(1_000_000),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp::from_unix_millis(since.as_millis().try_into().expect("before the year 9999"))
}

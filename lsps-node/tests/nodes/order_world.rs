//! A wallet that orders channels from an LSP, and the checks of a finished order.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bitcoin::Txid;
use lightning::events::Event;
use lightning_invoice::Bolt11Invoice;
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{End, OrderRequest, PaymentInstructions, PaymentMethod, Quote, Rules};
use lsps_client::session::{OrderHandle, Outcome};
use lsps_node::node::{Node, within};
use lsps_service::{KnownOrder, OrderFailure, OrderStage, PaymentMethod as PaidBy};
use lsps_testing::fault::{Power, Shifted, Wire};
use lsps_testing::scene::{Error, Ledger, Scene, Script, Stock, Who};
use lsps_transport_ldk::{LspEvent, LspsMessageHandler, Msat};
use lsps_types::lsps1::{CreateOrder, LdkInvoices};
use lsps_types::{BlockHeight, PeerId, Sat};

/// A scene whose wallet can pay for a channel by each payment method.
pub struct World {
    pub scene: Scene,
    pub clock: Arc<Shifted>,
    pub before: Ledger,
    /// Events of the nodes, one word for each.
    pub told: Arc<Mutex<Vec<&'static str>>>,
    /// Messages of the LSP.
    pub answers: Arc<Mutex<Vec<String>>>,
}

/// The nodes, for tests that act on an event of a node.
#[derive(Default)]
pub struct Cast(pub OnceLock<[Weak<Node<LspsMessageHandler>>; 2]>);

impl Cast {
    pub fn lsp(&self) -> Arc<Node<LspsMessageHandler>> {
        self.0.get().and_then(|cast| cast[0].upgrade()).expect("it is there")
    }

    pub fn wallet(&self) -> Arc<Node<LspsMessageHandler>> {
        self.0.get().and_then(|cast| cast[1].upgrade()).expect("it is there")
    }
}

pub fn wallet_leaves_when_it_has_paid(cast: &Cast, who: Who, event: &Event) {
    if let (Who::Lsp, Event::PaymentClaimable { .. }) = (who, event)
        && cast.0.get().is_some_and(|[lsp, _]| lsp.upgrade().is_some())
    {
        cast.lsp().peer_manager().disconnect_by_node_id(cast.wallet().node_id());
    }
}

pub fn pays_by(method: PaymentMethod) -> impl Fn(&Quote) -> Option<PaymentMethod> {
    move |quote| quote.options.iter().map(lsps_client::order::PaymentOption::method).find(|other| *other == method)
}

impl World {
    pub async fn new() -> Self {
        Self::tricking(|_, _, _| ()).await
    }

    /// Calls `trick` at each event of a node, before the host handles it.
    pub async fn tricking(trick: fn(&Cast, Who, &Event)) -> Self {
        let cast = Arc::new(Cast::default());
        let on = Arc::clone(&cast);
        let on_event: lsps_testing::scene::OnEvent = Arc::new(move |who, event| trick(&on, who, event));
        Self::playing(Script { on_event, ..Script::of_orders() }, cast).await
    }

    pub async fn playing(script: Script, cast: Arc<Cast>) -> Self {
        let (told, answers): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>) = (Arc::default(), Arc::default());
        let (clock, t, a, first) = (Arc::new(Shifted::default()), told.clone(), answers.clone(), script.on_event);
        let script = Script {
            clock: clock.clone(),
            on_event: Arc::new(move |who, event| {
                t.lock().unwrap().extend(in_a_word(who, event));
                first(who, event);
            }),
            on_request: Arc::new(move |message| {
                a.lock().unwrap().push(String::from_utf8_lossy(message.payload).into_owned());
            }),
            ..script
        };
        let scene = Scene::set(script).await.expect("the nodes start");
        scene.stock_for_order(&STOCK).await.expect("the wallet's channel opens");
        let nodes = [&scene.lsp.node, &scene.wallet.node].map(Arc::downgrade);
        assert!(cast.0.set(nodes).is_ok());
        told.lock().unwrap().clear();
        let before = Ledger::read(&scene).expect("nothing is under way");
        Self { scene, clock, before, told, answers }
    }

    pub fn wish(&self) -> CreateOrder {
        self.scene.order(STOCK.lsp, STOCK.client)
    }

    pub async fn orders(&self, method: PaymentMethod) -> OrderHandle {
        self.orders_choosing(self.wish(), pays_by(method)).await
    }

    /// Creates an order at the LSP without paying it, and returns its invoice.
    pub async fn ordered(&self) -> Bolt11Invoice {
        let mut invoice = None;
        let limits = FeeLimits { max_total_fee: STOCK.fee.to_msat(), max_proportional_fee: None };
        let read = |quote: &Quote| {
            let way = quote.options.iter().find(|way| way.method() == PaymentMethod::Bolt11)?;
            let PaymentInstructions::Invoice { invoice: text, .. } = &way.instructions else { return None };
            invoice = text.parse::<Bolt11Invoice>().ok();
            None
        };
        let lsp = self.scene.lsp.node.node_id();
        let ordered = self.scene.wallet.host.order_channel_paying(lsp, self.wish(), limits, read).await;
        assert!(ordered.is_err(), "it only looks");
        invoice.expect("it was offered")
    }

    pub async fn orders_choosing(
        &self,
        wish: CreateOrder,
        choose: impl FnOnce(&Quote) -> Option<PaymentMethod>,
    ) -> OrderHandle {
        let lsp = self.scene.lsp.node.node_id();
        self.scene.wallet.host.order_channel_paying(lsp, wish, limits(), choose).await.expect("it sells")
    }

    /// Places an order with these payment methods, in turn.
    pub async fn orders_in_turn(&self, methods: &[PaymentMethod], before_it_pays: impl FnOnce()) -> OrderHandle {
        let lsp = self.scene.lsp.node.node_id();
        let (session, id) = (self.scene.wallet.host.session(), PeerId(lsp.serialize()));
        assert!(within(|| crate::orders::can_be_asked(session, id)).await);
        let (network, rules) = (lsps_types::Network::Regtest, Rules::default());
        let request = OrderRequest { order: self.wish(), limits: limits(), network, large_channels: false, rules };
        let quote = session.lsp(id).quote_channel(request, &LdkInvoices).await.expect("it sells");
        before_it_pays();
        session.pay_quote_in_turn(quote, methods).expect("there is room")
    }

    /// Connects the wallet to its LSP by a wire that can be clogged.
    pub async fn wallet_connects_by_wire(&self) -> Wire {
        let (lsp, wallet) = (&self.scene.lsp.node, &self.scene.wallet.node);
        self.wallet_leaves().await;
        let wire = Wire::to(lsp.address(), Power::default()).await.unwrap();
        assert!(wallet.connect(lsp.node_id(), wire.address()).await);
        assert!(within(|| !wallet.channel_manager().list_usable_channels().is_empty()).await);
        wire
    }

    pub async fn wallet_leaves(&self) {
        let (lsp, wallet) = (&self.scene.lsp.node, &self.scene.wallet.node);
        wallet.peer_manager().disconnect_by_node_id(lsp.node_id());
        assert!(within(|| lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none()).await, "it is gone");
    }

    /// The wallet pays and disconnects, so that the LSP has the payment but cannot open the channel.
    pub async fn pays_and_is_away(&self, method: PaymentMethod) -> OrderHandle {
        let mut events = self.scene.lsp.host.events();
        let handle = self.orders(method).await;
        if method == PaymentMethod::Onchain {
            assert!(within(|| self.scene.chain.mempool().len() == 1).await, "the payment is broadcast");
            self.wallet_leaves().await;
            self.scene.chain.mine(1);
        }
        let client = PeerId(self.scene.wallet.node.node_id().serialize());
        let called = async {
            while !matches!(events.recv().await, Some(LspEvent::ClientNeeded { client: called, .. }) if called == client)
            {
            }
        };
        tokio::time::timeout(PATIENCE, called).await.expect("the client is called");
        assert_eq!(self.order().await.attempts, 0);
        handle
    }

    pub async fn stays_away_too_long(&self, method: PaymentMethod) {
        let handle = self.pays_and_is_away(method).await;
        self.clock.jump(24 * 3_600 + 1);
        assert!(self.lsp_has(|order| matches!(order.stage, OrderStage::Failed { .. })).await, "it waits no longer");
        self.scene.connect().await.unwrap();
        assert_eq!(self.is_refunded(&handle).await, OrderFailure::Expired);
    }

    /// The only order of the LSP.
    pub async fn order(&self) -> KnownOrder {
        let mut orders = self.scene.lsp.host.orders().await;
        assert_eq!(orders.len(), 1);
        orders.remove(0)
    }

    pub async fn lsp_has(&self, is_true: impl Fn(&KnownOrder) -> bool) -> bool {
        let comes_true = async { while !is_true(&self.order().await) {} };
        tokio::time::timeout(PATIENCE, comes_true).await.is_ok()
    }

    /// Waits until both nodes know the last block and the LSP has handled it; the LSP does so before it answers.
    pub async fn all_have_seen_the_last_block(&self) {
        let nodes = [self.scene.lsp.node.channel_manager(), self.scene.wallet.node.channel_manager()];
        let knows = |height| nodes.iter().all(|manager| manager.current_best_block().height == height);
        assert!(within(|| knows(self.scene.chain.height())).await);
        // The second request is answered after the turn of the first one has ended.
        for _ in 0..2 {
            self.scene.lsp.host.orders().await;
        }
    }

    /// Checks that the order got its channel and nothing was refunded. Returns the id of the funding transaction.
    pub async fn is_done(&self, handle: &OrderHandle, by: PaidBy) -> Txid {
        let End::Done { lease, channel: Some(_) } = self.is_over(handle).await else {
            panic!("{:?}", handle.snapshot())
        };
        let OrderStage::Completed { paid_by, outpoint, .. } = self.order().await.stage else {
            panic!("not at the LSP")
        };
        assert_eq!((paid_by, outpoint), (by, lease.funding));
        let kind = match by {
            PaidBy::Bolt11 => PaymentMethod::Bolt11,
            PaidBy::Bolt12 => PaymentMethod::Bolt12,
            PaidBy::Onchain => PaymentMethod::Onchain,
            PaidBy::Free => PaymentMethod::Free,
        };
        let fee = handle.snapshot().and_then(|order| match kind {
            PaymentMethod::Free => order.is_free().then_some(Sat(0)),
            _ => Some(order.payment_option(kind)?.fee),
        });
        let fee = fee.expect("it was quoted");
        self.adds_up(self.before.check_done(&self.scene, fee, &lease)).await;
        assert_eq!(self.leased(), 1);
        lease.funding.txid.to_string().parse().expect("a txid")
    }

    /// Checks that there is no channel, and that all balances are as before. Returns the reason.
    pub async fn is_refunded(&self, handle: &OrderHandle) -> OrderFailure {
        assert_eq!(self.is_over(handle).await, End::Refunded);
        self.adds_up(self.before.check_refunded(&self.scene)).await;
        assert_eq!(self.leased(), 0);
        let OrderStage::Failed { why } = self.order().await.stage else { panic!("not at the LSP") };
        why
    }

    /// Waits for the balances to add up. Meanwhile blocks are mined, because a refund may still need one.
    async fn adds_up(&self, check: impl Future<Output = Result<(), Error>>) {
        let checked = self.scene.while_blocks_come(check, || ()).await;
        checked.expect("in time").expect("all adds up");
    }

    pub async fn is_over(&self, handle: &OrderHandle) -> End {
        let outcome = self.scene.while_blocks_come(handle.over(), || ()).await;
        let Ok(Outcome::Ended(end)) = outcome else { panic!("{outcome:?}: {:?}", handle.snapshot()) };
        // Blocks are mined until nothing more can follow: a refund is made once its payment is confirmed.
        for _ in 0..3 {
            self.scene.chain.mine(2);
            self.all_have_seen_the_last_block().await;
        }
        end
    }

    /// Channels that the LSP opened.
    pub fn leased(&self) -> usize {
        let channels = self.scene.lsp.node.channel_manager().list_channels();
        channels.iter().filter(|channel| channel.is_outbound).count()
    }

    pub async fn mines_up_to(&self, height: BlockHeight) {
        self.scene.chain.mine(height.0 - self.scene.chain.height());
        self.all_have_seen_the_last_block().await;
    }
}

fn limits() -> FeeLimits {
    FeeLimits { max_total_fee: Some(Msat((STOCK.fee.0 + MINING.0) * 1_000)), max_proportional_fee: None }
}

fn in_a_word(who: Who, event: &Event) -> Option<&'static str> {
    Some(match (who, event) {
        (Who::Lsp, Event::PaymentClaimable { .. }) => "held",
        (Who::Lsp, Event::FundingTxBroadcastSafe { .. }) => "signed",
        (Who::Lsp, Event::PaymentClaimed { .. }) => "claimed",
        (Who::Wallet, Event::PaymentFailed { .. }) => "failed",
        _ => return None,
    })
}

const PATIENCE: Duration = Duration::from_secs(60);
const STOCK: Stock = Stock { lsp: Sat(500_000), client: Sat(50_000), fee: Sat(20_000), has_channel: true };
/// Maximum mining fee of a payment on-chain.
const MINING: Sat = Sat(1_000);

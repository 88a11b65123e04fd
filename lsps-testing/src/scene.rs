//! Payer, LSP and a wallet without channels, on a chain of their own: the basis of the examples and their tests.

mod account;
mod balance;
mod ledger;
mod lsp;
mod ordering;
mod wallet;

use std::path::PathBuf;
use std::sync::Arc;

use lightning::events::{Event, ReplayEvent};
use lightning::ln::peer_handler::{CustomMessageHandler, IgnoringMessageHandler};
use lightning::util::config::UserConfig;
use lsps_client::order::Polling;
use lsps_node::chain::ChainSource;
use lsps_node::chain::embedded::{Chain, FEE_SAT_PER_KW};
use lsps_node::node::types::ChannelManager;
use lsps_node::node::{Node, Setup, within};
use lsps_node::store::{MemoryStore, Store, in_directory};
use lsps_service::{StandardPolicy, Trust};
use lsps_transport_ldk::ports::{Clock, SystemClock};
use lsps_transport_ldk::wallet::Connect;
use lsps_transport_ldk::webhook::DeliveryConfig;
use lsps_transport_ldk::{KnownLsp, LspsMessageHandler, Observed};

pub use crate::Error;
pub use account::{Account, Facts, Seen};
pub use balance::{Balance, Balances, shares};
pub use ledger::Ledger;
pub use lsp::LspNode;
pub use ordering::Stock;
pub use wallet::WalletNode;

/// Role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The node that pays the invoice.
    Payer,
    /// The node that opens the channel.
    Lsp,
    /// The node that is paid.
    Wallet,
}

impl Who {
    /// Name of the role.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Payer => "payer",
            Self::Lsp => "LSP",
            Self::Wallet => "wallet",
        }
    }

    fn seed(self) -> [u8; 32] {
        [self as u8 + 1; 32]
    }
}

/// Settings of a scene.
pub struct Script {
    /// Directory of the nodes' files; without it they are kept in memory.
    pub directory: Option<PathBuf>,
    /// Trust model of the first payment.
    pub trust: Trust,
    /// Policy of the LSP, except its trust model.
    pub policy: StandardPolicy,
    /// Token that the wallet gives to the LSP.
    pub token: Option<String>,
    /// Chain of the scene.
    pub chain: Chain,
    /// Source of the nodes for the scene's chain.
    pub source: SourceOf,
    /// Satoshis in each of the payer's channels to the LSP.
    pub payer_channels: Vec<u64>,
    /// Store of the LSP, unless the default is used.
    pub lsp_store: Option<Store>,
    /// Store of the wallet, unless the default is used.
    pub wallet_store: Option<Store>,
    /// Whether LSP and wallet open channels with anchors.
    pub anchors: bool,
    /// Feerate of the chain, in satoshis per 1000 weight units.
    pub fee_sat_per_kw: u32,
    /// Confirmations that the wallet waits for before it claims.
    pub confirmations_to_wait: u16,
    /// Whether the wallet can see unconfirmed transactions.
    pub wallet_sees_mempool: bool,
    /// Whether the wallet connects to its LSP by itself, and reconnects.
    pub wallet_connects: bool,
    /// Wrapper of the wallet's connector.
    pub wallet_connector: fn(Arc<dyn Connect>) -> Arc<dyn Connect>,
    /// Further LSPs of the wallet, which the test connects.
    pub other_lsps: Vec<KnownLsp>,
    /// Intervals at which the wallet asks about its orders.
    pub polling: Polling,
    /// Delivery of the LSP to webhooks, if it serves them.
    pub webhooks: Option<DeliveryConfig>,
    /// Clock of the LSP.
    pub clock: Arc<dyn Clock>,
    /// Clock of the wallet.
    pub wallet_clock: Arc<dyn Clock>,
    /// File for the tape of the LSP's service, for a replay.
    pub lsp_tape: Option<PathBuf>,
    /// Observer of every event of the nodes before it is handled, and of its repetitions.
    pub on_event: OnEvent,
    /// Observer of every event that the wallet's host leaves to its application.
    pub on_left: OnEvent,
    /// Events that the LSP's node holds back, with all later ones: it repeats them until this lets them through.
    pub lsp_keeps_back: KeepsBack,
    /// Observer of every protocol message of the wallet.
    pub on_message: OnMessage,
    /// Observer of every protocol message of the LSP.
    pub on_request: OnMessage,
}

/// See [`Script::source`].
pub type SourceOf = Arc<dyn Fn(&Chain) -> Arc<dyn ChainSource> + Send + Sync>;

/// See [`Script::on_message`].
pub type OnMessage = Arc<dyn Fn(Observed<'_>) + Send + Sync>;

/// See [`Script::on_event`].
pub type OnEvent = Arc<dyn Fn(Who, &Event) + Send + Sync>;

/// See [`Script::lsp_keeps_back`].
pub type KeepsBack = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

impl Default for Script {
    fn default() -> Self {
        Self {
            directory: None,
            trust: Trust::LspTrustsClient,
            policy: StandardPolicy::default(),
            token: None,
            chain: Chain::new(),
            source: Arc::new(|chain| Arc::new(chain.clone())),
            payer_channels: vec![1_000_000],
            lsp_store: None,
            wallet_store: None,
            anchors: false,
            fee_sat_per_kw: FEE_SAT_PER_KW,
            confirmations_to_wait: 0,
            wallet_sees_mempool: false,
            wallet_connects: false,
            wallet_connector: |connector| connector,
            other_lsps: vec![],
            polling: Polling::default(),
            webhooks: None,
            clock: Arc::new(SystemClock),
            wallet_clock: Arc::new(SystemClock),
            lsp_tape: None,
            on_event: Arc::new(|_, _| ()),
            on_left: Arc::new(|_, _| ()),
            lsp_keeps_back: Arc::new(|_| false),
            on_message: Arc::new(|_| ()),
            on_request: Arc::new(|_| ()),
        }
    }
}

/// The three nodes, connected, with the payer's channels open.
pub struct Scene {
    /// Chain of the nodes.
    pub chain: Chain,
    /// Node with channels to the LSP.
    pub payer: Arc<Node>,
    /// LSP that sells channels.
    pub lsp: LspNode,
    /// Wallet without channels.
    pub wallet: WalletNode,
    /// Facts that the nodes reported.
    pub seen: Arc<Seen>,
    script: Script,
    lsp_store: Store,
    wallet_store: Store,
}

/// Three nodes that pay each other, with any message handlers at LSP and wallet.
#[derive(Clone, Copy)]
pub struct Trio<'a, L: Handler, W: Handler> {
    /// Chain of the nodes.
    pub chain: &'a Chain,
    /// Node with channels to the LSP.
    pub payer: &'a Node,
    /// Node that opens channels to the wallet.
    pub lsp: &'a Node<L>,
    /// Node that is paid.
    pub wallet: &'a Node<W>,
    /// Facts that the nodes reported.
    pub seen: &'a Seen,
}

/// Handler of a node's custom messages.
pub trait Handler: CustomMessageHandler + Send + Sync + 'static {}
impl<T: CustomMessageHandler + Send + Sync + 'static> Handler for T {}

impl Scene {
    /// Starts the nodes, funds payer and LSP, and opens the payer's channels.
    ///
    /// # Errors
    ///
    /// A node cannot start, or the channels do not open.
    pub async fn set(mut script: Script) -> Result<Self, Error> {
        let (chain, seen) = (script.chain.clone(), Arc::new(Seen::default()));
        chain.set_fee_sat_per_kw(script.fee_sat_per_kw);
        script.on_event = noting(&seen, &chain, script.on_event);
        let payer = start_payer(&chain, &script).await?;
        let lsp_store = script.lsp_store.clone().unwrap_or_else(|| script.store(Who::Lsp));
        let wallet_store = script.wallet_store.clone().unwrap_or_else(|| script.store(Who::Wallet));
        let lsp = LspNode::start(&chain, &lsp_store, &script).await?;
        let at = (lsp.node.node_id(), lsp.node.address());
        let wallet = WalletNode::start(&chain, &wallet_store, at, &script).await?;
        for size in &script.payer_channels {
            chain.give(&payer.wallet().script(), size + SPARE_SAT);
        }
        let payable: u64 = script.payer_channels.iter().sum();
        chain.give(&lsp.node.wallet().script(), payable + payable / 10 + SPARE_SAT);
        let scene = Self { chain, payer, lsp, wallet, seen, script, lsp_store, wallet_store };
        scene.trio().are_current().await?;
        scene.connect().await?;
        open_channels(&scene.chain, &scene.payer, &scene.lsp.node, &scene.script.payer_channels).await?;
        scene.trio().are_current().await?; // a wallet may follow after the channels
        Ok(scene)
    }

    /// The nodes, for methods of any three nodes.
    #[must_use]
    pub fn trio(&self) -> Trio<'_, LspsMessageHandler, LspsMessageHandler> {
        let (lsp, wallet) = (&self.lsp.node, &self.wallet.node);
        Trio { chain: &self.chain, payer: &self.payer, lsp, wallet, seen: &self.seen }
    }

    /// Connects payer and wallet to the LSP.
    ///
    /// # Errors
    ///
    /// One of them cannot reach the LSP.
    pub async fn connect(&self) -> Result<(), Error> {
        let (id, address) = (self.lsp.node.node_id(), self.lsp.node.address());
        let by_itself = self.script.wallet_connects;
        let reached =
            self.payer.connect(id, address).await && (by_itself || self.wallet.node.connect(id, address).await);
        if reached { Ok(()) } else { Err("the LSP cannot be reached".into()) }
    }

    /// Stops everything in order.
    pub async fn stop(self) {
        for node in [&self.wallet.node, &self.lsp.node] {
            node.stop().await;
        }
        self.payer.stop().await;
        if let Some(wallet) = Arc::into_inner(self.wallet.host) {
            wallet.stop().await;
        }
        if let Some(lsp) = Arc::into_inner(self.lsp.host) {
            lsp.stop().await;
        }
    }

    /// Kills all nodes. A test that plays one scene after the other needs this: tasks of a node keep it alive.
    pub fn kill(&self) {
        self.payer.kill();
        self.lsp.node.kill();
        self.wallet.node.kill();
    }

    /// Stops the LSP as a power cut would, and starts it from its store. Its peers are disconnected.
    ///
    /// # Errors
    ///
    /// The LSP does not start again.
    pub async fn restart_lsp(&mut self) -> Result<(), Error> {
        self.lsp.node.kill();
        self.start_lsp_from(Arc::clone(&self.lsp_store)).await
    }

    /// Starts the LSP from another store, after it was stopped.
    ///
    /// # Errors
    ///
    /// The LSP does not start.
    pub async fn start_lsp_from(&mut self, store: Store) -> Result<(), Error> {
        self.lsp_store = store;
        self.lsp = LspNode::start(&self.chain, &self.lsp_store, &self.script).await?;
        Ok(())
    }

    /// Stops the wallet as a power cut would, and starts it from its store.
    ///
    /// # Errors
    ///
    /// The wallet does not start again.
    pub async fn restart_wallet(&mut self) -> Result<(), Error> {
        self.wallet.node.kill();
        self.start_wallet_from(Arc::clone(&self.wallet_store)).await
    }

    /// Starts the wallet from another store, after it was stopped.
    ///
    /// # Errors
    ///
    /// The wallet does not start.
    pub async fn start_wallet_from(&mut self, store: Store) -> Result<(), Error> {
        self.wallet_store = store;
        let at = (self.lsp.node.node_id(), self.lsp.node.address());
        self.wallet = WalletNode::start(&self.chain, &self.wallet_store, at, &self.script).await?;
        Ok(())
    }
}

impl<L: Handler, W: Handler> Trio<'_, L, W> {
    /// Waits until all nodes have processed the newest block.
    ///
    /// # Errors
    ///
    /// One of them does not get there within a minute.
    pub async fn are_current(&self) -> Result<(), Error> {
        let all = || {
            let (payer, lsp, wallet) = (self.payer.chain(), self.lsp.chain(), self.wallet.chain());
            [payer, lsp, wallet].map(|chain| chain.status())
        };
        let are_there = || all().iter().all(|status| status.gone.is_none() && status.height == self.chain.height());
        if within(are_there).await {
            return Ok(());
        }
        Err(format!("the chain is at block {}, payer, LSP and wallet: {:?}", self.chain.height(), all()).into())
    }
}

impl Script {
    fn store(&self, who: Who) -> Store {
        match &self.directory {
            Some(directory) => in_directory(directory.join(who.name())),
            None => Arc::new(MemoryStore::new()),
        }
    }

    /// Setup of the node of this role.
    pub fn setup(&self, who: Who, store: Store, config: UserConfig, chain: &Chain) -> Setup {
        Setup { name: who.name(), seed: who.seed(), store, config, chain: (self.source)(chain) }
    }
}

/// Starts a node that only pays.
///
/// # Errors
///
/// The node cannot start.
pub async fn start_payer(chain: &Chain, script: &Script) -> Result<Arc<Node>, Error> {
    let setup = script.setup(Who::Payer, script.store(Who::Payer), UserConfig::default(), chain);
    let payer = Node::build(setup, Arc::new(IgnoringMessageHandler {})).await?;
    let (node, on_event) = (Arc::downgrade(&payer), Arc::clone(&script.on_event));
    payer.run(move |event| {
        let (node, on_event) = (node.upgrade(), Arc::clone(&on_event));
        async move {
            on_event(Who::Payer, &event);
            node.map_or(Ok(()), |node| finish(&node, &event))
        }
    });
    Ok(payer)
}

/// Opens channels of these sizes, in satoshis, and mines until both sides can use them.
///
/// # Errors
///
/// The peer cannot be reached, or a channel does not open within a minute.
pub async fn open_channels<F: Handler, T: Handler>(
    chain: &Chain,
    from: &Node<F>,
    to: &Node<T>,
    sizes: &[u64],
) -> Result<(), Error> {
    let channels: Vec<(u64, u128)> = sizes.iter().copied().zip(1..).collect();
    let mut open = 0;
    for some in channels.chunks(UNFUNDED_AT_ONCE) {
        for (size, key) in some {
            let opened = from.channel_manager().create_channel(to.node_id(), *size, 0, *key, None, None);
            opened.map_err(|e| format!("a channel of {size} sat cannot be opened: {e:?}"))?;
        }
        open += some.len();
        let all_broadcast = within(|| chain.mempool().len() == some.len()).await;
        chain.mine(CONFIRMATIONS);
        let usable = |manager: &ChannelManager, peer| {
            manager.list_channels_with_counterparty(&peer).iter().filter(|channel| channel.is_usable).count()
        };
        let ready = within(|| {
            usable(from.channel_manager(), to.node_id()) == open && usable(to.channel_manager(), from.node_id()) == open
        });
        if !(all_broadcast && ready.await) {
            return Err("the channels do not open".into());
        }
    }
    Ok(())
}

/// Records events in `seen` before it passes them to `and_then`.
#[must_use]
pub fn noting(seen: &Arc<Seen>, chain: &Chain, and_then: OnEvent) -> OnEvent {
    let (seen, chain) = (Arc::clone(seen), chain.clone());
    Arc::new(move |who, event| {
        seen.note(who, event, || chain.mempool().len());
        and_then(who, event);
    })
}

/// Handles events that no host took.
pub fn finish<H: Handler>(node: &Node<H>, event: &Event) -> Result<(), ReplayEvent> {
    if let Err(why) = node.chores(event) {
        eprintln!("{}: {why}", node.name());
    }
    Ok(())
}

/// Satoshis for fees, and for the reserve of the JIT channel.
pub const SPARE_SAT: u64 = 200_000;
/// Confirmations that LDK waits for before it uses a channel of a stranger.
const CONFIRMATIONS: u32 = 6;
/// Largest number of unfunded channels that LDK accepts from one peer.
const UNFUNDED_AT_ONCE: usize = 4;

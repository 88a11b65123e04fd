//! A complete Lightning node from LDK's parts, on any chain source.

pub mod broadcast;
mod chores;
pub mod dice;
mod follow;
mod invoice;
pub mod logger;
pub mod messages;
pub mod pay;
mod run;
pub mod save;
pub mod types;
mod wait;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::secp256k1::PublicKey;
use bitcoin::{BlockHash, io};
use lightning::chain::BestBlock;
use lightning::ln::channelmanager::{ChainParameters, ChannelManagerReadArgs};
use lightning::ln::peer_handler::{CustomMessageHandler, IgnoringMessageHandler, MessageHandler};
use lightning::routing::scoring::{ProbabilisticScoringDecayParameters, ProbabilisticScoringFeeParameters};
use lightning::sign::{EntropySource, KeysManager, NodeSigner, Recipient};
use lightning::util::config::UserConfig;
use lightning::util::persist::{
    CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
    CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE, read_channel_monitors,
};
use lightning::util::ser::ReadableArgs;
use lsps_transport_ldk::types::PeerId;
use lsps_transport_ldk::wallet::{Connect, Connecting};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::chain::follow::{Follower, Ldk, Position, catch_up};
use crate::chain::{ChainSource, ChainView, Feed, check_network};
use crate::store::Store;
use crate::wallet::{BdkWallet, HomeKeys};

pub use wait::{passes, while_there, within};

use broadcast::Broadcaster;
use dice::Dice;
use logger::NodeLogger;
use save::SaveQueue;
use types::{
    ChainMonitor, ChannelManager, ChannelMonitor, MessageRouter, NetworkGraph, OnionMessenger, OwnRouter, PeerManager,
    Router, Scorer,
};

/// Settings of one node.
pub struct Setup {
    /// Name in logs.
    pub name: &'static str,
    /// Seed of all its keys.
    pub seed: [u8; 32],
    /// Store of the node. A store that contains a node restores that node.
    pub store: Store,
    /// LDK's settings.
    pub config: UserConfig,
    /// Source of the node's chain. Its network is that of the node.
    pub chain: Arc<dyn ChainSource>,
}

/// Parts of a node that exist before it has peers.
pub struct Core {
    /// Channel manager.
    pub manager: Arc<ChannelManager>,
    /// Keys.
    pub keys: Arc<KeysManager>,
    /// Broadcaster.
    pub broadcaster: Arc<Broadcaster>,
}

/// A node: keys, channels, monitors, peers over loopback TCP, coins. [`run`](Self::run) starts its tasks.
pub struct Node<H: CustomMessageHandler + Send + Sync + 'static = IgnoringMessageHandler> {
    name: &'static str,
    chain: Arc<ChainView>,
    keys: Arc<KeysManager>,
    dice: Arc<Dice>,
    wallet: Arc<BdkWallet>,
    logger: Arc<NodeLogger>,
    broadcaster: Arc<Broadcaster>,
    manager: Arc<ChannelManager>,
    monitor: Arc<ChainMonitor>,
    peers: Arc<PeerManager<H>>,
    onions: Arc<OnionMessenger>,
    saves: Arc<SaveQueue>,
    store: Store,
    /// First address of those on which it listens.
    address: OnceLock<SocketAddr>,
    /// Block up to which manager and monitors have processed the chain.
    seen: Mutex<BestBlock>,
    was_loaded: bool,
    stopping: AtomicBool,
    life: Mutex<Option<JoinHandle<()>>>,
    /// Thread that asks a source outside this process.
    asking: Mutex<Option<std::thread::JoinHandle<()>>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl<H: CustomMessageHandler + Send + Sync + 'static> Node<H> {
    /// Builds the node, or restores it from its store, and listens; its channels do nothing before it runs.
    ///
    /// # Errors
    ///
    /// The store or the network fails, or the stored state cannot be read.
    pub async fn build(setup: Setup, messages: Arc<H>) -> io::Result<Arc<Self>> {
        Self::build_with(setup, |_| std::future::ready(Ok(messages))).await
    }

    /// Builds the node with a custom message handler that needs the node's own parts.
    ///
    /// # Errors
    ///
    /// Errors of [`build`](Self::build) and of `messages`.
    pub async fn build_with<F>(setup: Setup, messages: impl FnOnce(Core) -> F) -> io::Result<Arc<Self>>
    where
        F: Future<Output = io::Result<Arc<H>>>,
    {
        let coins = setup.seed;
        let node = Self::assemble(setup, &coins, messages).await?;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        node.listen(anywhere).await.map_err(|e| broken(e.to_string()))?;
        Ok(node)
    }

    /// Builds a node that does not listen yet, with another seed for its coins than for its channels.
    pub(crate) async fn assemble<F>(
        setup: Setup,
        coins: &[u8],
        messages: impl FnOnce(Core) -> F,
    ) -> io::Result<Arc<Self>>
    where
        F: Future<Output = io::Result<Arc<H>>>,
    {
        let Setup { name, seed, store, config, chain } = setup;
        let chain = ChainView::new(chain);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u32::try_from(since_epoch.as_secs()).unwrap_or(u32::MAX);
        let keys = Arc::new(KeysManager::new(&seed, since_epoch.as_secs(), since_epoch.subsec_nanos(), true));
        let dice = Arc::new(Dice::new(Arc::clone(&keys)));
        let wallet = BdkWallet::new(coins, Arc::clone(&chain), Arc::clone(&store))?;
        let channel_keys = Arc::new(HomeKeys::new(Arc::clone(&keys), Arc::clone(&wallet)));
        let (logger, saves) = (Arc::new(NodeLogger::new(name)), Arc::new(SaveQueue::default()));
        let broadcaster = Arc::new(Broadcaster::new(Arc::clone(&chain)));
        let fees = Arc::clone(&chain);
        let filter = match chain.source().feed() {
            Feed::Blocks(_) => None,
            Feed::Transactions(feed) => Some(feed.filter()),
        };
        let monitor: Arc<ChainMonitor> = Arc::new(ChainMonitor::new(
            filter,
            Arc::clone(&broadcaster),
            Arc::clone(&logger),
            Arc::clone(&fees),
            Arc::clone(&saves),
            Arc::clone(&keys),
            keys.get_peer_storage_key(),
        ));
        let graph = Arc::new(NetworkGraph::new(chain.network(), Arc::clone(&logger)));
        let decay = ProbabilisticScoringDecayParameters::default();
        let scorer = Arc::new(RwLock::new(Scorer::new(decay, Arc::clone(&graph), Arc::clone(&logger))));
        let scoring = ProbabilisticScoringFeeParameters::default();
        let own = OwnRouter::new(Arc::clone(&graph), Arc::clone(&logger), Arc::clone(&keys), scorer, scoring);
        let router = Arc::new(Router::new(Arc::new(own), Arc::clone(&keys), HOLD));
        let message_router = Arc::new(MessageRouter::new(graph, Arc::clone(&keys)));

        let parts = Parts {
            keys: Arc::clone(&keys),
            dice: Arc::clone(&dice),
            channel_keys: Arc::clone(&channel_keys),
            logger: Arc::clone(&logger),
            broadcaster: Arc::clone(&broadcaster),
            fees: Arc::clone(&fees),
            monitor: Arc::clone(&monitor),
            wallet: Arc::clone(&wallet),
            chain: Arc::clone(&chain),
            store: Arc::clone(&store),
            router: Arc::clone(&router),
            message_router: Arc::clone(&message_router),
        };
        let (stored, tip) = parts.load_on_any_thread(config.clone()).await?;
        let was_loaded = stored.is_some();
        if was_loaded && !chain.source().is_local() {
            saves.want_manager(); // it has seen the blocks since
        }
        let manager = Arc::new(stored.unwrap_or_else(|| {
            let params = ChainParameters { network: chain.network(), best_block: tip };
            ChannelManager::new(
                fees,
                Arc::clone(&monitor),
                Arc::clone(&broadcaster),
                router,
                Arc::clone(&message_router),
                Arc::clone(&logger),
                Arc::clone(&dice),
                Arc::clone(&keys),
                channel_keys,
                config,
                params,
                now,
            )
        }));
        let core =
            Core { manager: Arc::clone(&manager), keys: Arc::clone(&keys), broadcaster: Arc::clone(&broadcaster) };
        let messages = messages(core).await?;
        let onions = messages::messenger(&keys, &logger, &manager, message_router);
        let handlers = MessageHandler {
            chan_handler: Arc::clone(&manager),
            route_handler: Arc::new(IgnoringMessageHandler {}),
            onion_message_handler: Arc::clone(&onions),
            custom_message_handler: messages,
            send_only_message_handler: Arc::new(IgnoringMessageHandler {}),
        };
        let random = keys.get_secure_random_bytes();
        let peers = Arc::new(PeerManager::new(handlers, now, &random, Arc::clone(&logger), Arc::clone(&keys)));
        Ok(Arc::new(Self {
            name,
            wallet,
            seen: Mutex::new(manager.current_best_block()),
            chain,
            keys,
            dice,
            logger,
            broadcaster,
            manager,
            monitor,
            peers,
            onions,
            saves,
            store,
            address: OnceLock::new(),
            was_loaded,
            stopping: AtomicBool::new(false),
            life: Mutex::default(),
            asking: Mutex::default(),
            connections: Mutex::default(),
        }))
    }

    /// Listens for peers at this address, and returns it with the port that was chosen.
    ///
    /// # Errors
    ///
    /// The address is not free.
    pub async fn listen(&self, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let _ = self.address.set(address);
        self.keep(tokio::spawn(listen(listener, Arc::clone(&self.peers))));
        Ok(address)
    }

    /// Name of the node in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The channel manager.
    #[must_use]
    pub fn channel_manager(&self) -> &Arc<ChannelManager> {
        &self.manager
    }

    /// The chain monitor of the channels.
    #[must_use]
    pub fn chain_monitor(&self) -> &Arc<ChainMonitor> {
        &self.monitor
    }

    /// The peer manager.
    #[must_use]
    pub fn peer_manager(&self) -> &Arc<PeerManager<H>> {
        &self.peers
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Arc<KeysManager> {
        &self.keys
    }

    /// The source of random bytes of the channel manager.
    #[must_use]
    pub fn dice(&self) -> &Dice {
        &self.dice
    }

    /// The on-chain wallet.
    #[must_use]
    pub fn wallet(&self) -> &Arc<BdkWallet> {
        &self.wallet
    }

    /// The log, with the failure codes that it collected.
    #[must_use]
    pub fn logger(&self) -> &Arc<NodeLogger> {
        &self.logger
    }

    /// The broadcaster.
    #[must_use]
    pub fn broadcaster(&self) -> &Arc<Broadcaster> {
        &self.broadcaster
    }

    /// The node's view of its chain.
    #[must_use]
    pub fn chain(&self) -> &Arc<ChainView> {
        &self.chain
    }

    /// The store of the node.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The queue of the channel manager and the monitors to be saved.
    #[must_use]
    pub fn saves(&self) -> &SaveQueue {
        &self.saves
    }

    /// Saves the node now, as its task does continuously.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub fn save(&self) -> io::Result<()> {
        self.saves.save(&self.manager, &self.monitor, &self.store)
    }

    /// Node id.
    ///
    /// # Panics
    ///
    /// Never: `KeysManager` knows its own key.
    #[must_use]
    pub fn node_id(&self) -> PublicKey {
        self.keys.get_node_id(Recipient::Node).expect("a node knows its own key")
    }

    /// Address on which the node listens.
    ///
    /// # Panics
    ///
    /// The node does not listen; only a node of a [`Builder`](crate::builder::Builder) may not.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        *self.address.get().expect("the node listens")
    }

    /// Connects to a peer; `false` if the peer cannot be reached. A connection that ends before its handshake is tried again:
    /// LDK drops each one whose handshake is under way when its timer ticks.
    pub async fn connect(&self, peer: PublicKey, address: SocketAddr) -> bool {
        for _ in 0..CONNECTIONS {
            let peers = Arc::clone(&self.peers);
            let Some(connection) = lightning_net_tokio::connect_outbound(peers, peer, address).await else {
                return false;
            };
            let task = tokio::spawn(connection);
            let is_there = || self.peers.peer_by_node_id(&peer).is_some();
            within(|| is_there() || task.is_finished()).await;
            self.keep(task);
            if is_there() {
                return true;
            }
        }
        false
    }

    /// A connector for a wallet on this node.
    #[must_use]
    pub fn connector(self: &Arc<Self>) -> Arc<dyn Connect> {
        Arc::new(Connector(Arc::downgrade(self)))
    }

    fn keep(&self, task: JoinHandle<()>) {
        let mut connections = lock(&self.connections);
        connections.retain(|task| !task.is_finished());
        connections.push(task);
    }
}

struct Connector<H: CustomMessageHandler + Send + Sync + 'static>(Weak<Node<H>>);

impl<H: CustomMessageHandler + Send + Sync + 'static> Connect for Connector<H> {
    fn connect(&self, peer: PeerId, address: &str) -> Connecting {
        let (node, peer, address) = (self.0.upgrade(), PublicKey::from_slice(&peer.0), address.parse());
        Box::pin(async move {
            let (Some(node), Ok(node_id), Ok(address)) = (node, peer, address) else { return false };
            node.connect(node_id, address).await
        })
    }
}

/// Parts that restore a stored channel manager.
struct Parts {
    keys: Arc<KeysManager>,
    dice: Arc<Dice>,
    channel_keys: Arc<HomeKeys>,
    logger: Arc<NodeLogger>,
    broadcaster: Arc<Broadcaster>,
    fees: Arc<ChainView>,
    monitor: Arc<ChainMonitor>,
    wallet: Arc<BdkWallet>,
    chain: Arc<ChainView>,
    store: Store,
    router: Arc<Router>,
    message_router: Arc<MessageRouter>,
}

type Monitors = Vec<(BlockHash, ChannelMonitor)>;

impl Parts {
    /// Loads without keeping a thread of the runtime waiting for the source.
    async fn load_on_any_thread(self, config: UserConfig) -> io::Result<(Option<ChannelManager>, BestBlock)> {
        if self.chain.source().is_local() {
            return self.load(config);
        }
        tokio::task::spawn_blocking(move || self.load(config)).await.map_err(broken)?
    }

    /// Restores the stored node, if there is one, and connects it to the blocks since. Returns the newest block too.
    fn load(&self, config: UserConfig) -> io::Result<(Option<ChannelManager>, BestBlock)> {
        let source = self.chain.source();
        check_network(&**source)?;
        let tip = source.tip()?;
        self.chain.note_source(Ok(tip));
        let stored = self.read(config)?;
        self.wallet.begin()?;
        if !source.is_local() {
            self.chain.refresh(true)?;
        }
        let Some((manager, monitors)) = stored else { return Ok((None, tip)) };
        let listeners: Vec<_> = monitors.into_iter().map(|(_, monitor)| self.listener(monitor)).collect();
        if let Feed::Blocks(feed) = source.feed() {
            let of_manager = Position { at: manager.current_best_block(), follower: Box::new(Ldk(&manager)) };
            let of_monitors = listeners.iter().map(|listener| {
                let follower: Box<dyn Follower> = Box::new(Ldk(listener));
                Position { at: listener.0.current_best_block(), follower }
            });
            let mut positions: Vec<_> = of_monitors.chain([of_manager]).collect();
            if !source.is_local() {
                positions.push(self.wallet.position());
            }
            catch_up(feed, &mut positions, &mut |block| {
                self.chain.note_height(block);
                Ok(())
            })?;
        }
        if !source.is_local() {
            self.wallet.keep()?; // the way to the newest block may have been long
        }
        for (monitor, ..) in listeners {
            let (channel, update) = (monitor.channel_id(), monitor.get_latest_update_id());
            let loaded = self.monitor.load_existing_monitor(channel, monitor);
            loaded.map_err(|()| broken("a channel monitor is stored twice"))?;
            // A manager that was saved while a new channel waited for its first monitor would wait forever.
            let _ = self.monitor.channel_monitor_updated(channel, update);
        }
        Ok((Some(manager), tip))
    }

    fn listener(&self, monitor: ChannelMonitor) -> MonitorListener {
        (monitor, Arc::clone(&self.broadcaster), Arc::clone(&self.fees), Arc::clone(&self.logger))
    }

    fn read(&self, config: UserConfig) -> io::Result<Option<(ChannelManager, Monitors)>> {
        let read = self.store.read(
            CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
            CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE,
            CHANNEL_MANAGER_PERSISTENCE_KEY,
        );
        let bytes = match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        save::finish(&self.store)?;
        let (keys, channel_keys) = (Arc::clone(&self.keys), Arc::clone(&self.channel_keys));
        let monitors = read_channel_monitors(Arc::clone(&self.store), keys, channel_keys)?;
        let args = ChannelManagerReadArgs::new(
            Arc::clone(&self.dice),
            Arc::clone(&self.keys),
            Arc::clone(&self.channel_keys),
            Arc::clone(&self.fees),
            Arc::clone(&self.monitor),
            Arc::clone(&self.broadcaster),
            Arc::clone(&self.router),
            Arc::clone(&self.message_router),
            Arc::clone(&self.logger),
            config,
            monitors.iter().map(|(_, monitor)| monitor).collect(),
        );
        let (_, manager) = <(BlockHash, ChannelManager)>::read(&mut bytes.as_slice(), args)
            .map_err(|e| broken(format!("the stored node cannot be read: {e:?}")))?;
        Ok(Some((manager, monitors)))
    }
}

type MonitorListener = (ChannelMonitor, Arc<Broadcaster>, Arc<ChainView>, Arc<NodeLogger>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each use is one call on the content.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::Other, why.to_string())
}

async fn listen<H: CustomMessageHandler + Send + Sync + 'static>(listener: TcpListener, peers: Arc<PeerManager<H>>) {
    while let Ok((stream, _)) = listener.accept().await {
        if let Ok(stream) = stream.into_std() {
            tokio::spawn(lightning_net_tokio::setup_inbound(Arc::clone(&peers), stream));
        }
    }
}

/// Longest time for which a payment by offer is held.
const HOLD: Duration = Duration::from_secs(60 * 60);
/// Connections that are tried before a peer counts as out of reach.
const CONNECTIONS: usize = 5;

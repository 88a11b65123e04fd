//! The wallet on LDK: one call that receives, one that orders a channel, and the events of the node that follow from them.

#[path = "../../lsps-transport-ldk/src/wallet/invoice.rs"]
mod invoice;
#[path = "wallet/lsps.rs"]
mod lsps;
#[path = "wallet/events.rs"]
mod news;
#[path = "../../lsps-transport-ldk/src/wallet/node.rs"]
mod node;
#[path = "wallet/opens.rs"]
mod opens;
#[path = "wallet/orders.rs"]
mod orders;
#[path = "wallet/pay.rs"]
mod pay;
#[path = "wallet/pump.rs"]
mod pump;
#[path = "wallet/receive.rs"]
mod receive;

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use lightning::events::{Event, ReplayEvent};
use lightning::sign::{EntropySource, NodeSigner};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use lsps_client::jit_receive::{Purchase, Rules};
use lsps_client::order;
use lsps_client::select::{Cheapest, Select};
use lsps_client::session::{NotRegistered, Session};
use lsps_client::{Client, Config, Unreadable};
use lsps_types::lsps5::{AppName, WebhookUrl};

use crate::config::{CannotStart, Takes, require_for_wallet};
use crate::handler::LspsMessageHandler;
use crate::peers::{Manager, PeerManager, Peers, network_of, peer_id};
use crate::store::{KvRecords, Store, nobody_there};
use lsps_host::Records;
use lsps_host::ports::{Clock, Mempool, OnchainPayer, StoreError, SystemClock};

pub use lsps::{Connect, KnownLsp};
pub use lsps_client::session::{OrderHandle, Outcome};
pub use news::WalletEvent;
pub use orders::CannotOrderChannel;
pub use receive::{CannotReceive, JitInvoice};

use lsps::Lsps;
use node::Node;
use pump::{Pump, Told};

/// What a wallet that receives through JIT channels is made of.
pub struct WalletParts<M, P, K> {
    /// The node's channel manager.
    pub channel_manager: M,
    /// Its peer manager.
    pub peer_manager: P,
    /// The handler that the peer manager was given.
    pub messages: Arc<LspsMessageHandler>,
    /// Where the records of purchases go; any LDK store.
    pub store: K,
    /// Signs invoices and draws random numbers.
    pub keys: Arc<dyn Keys>,
    /// For the prefix of invoices.
    pub network: Network,
    /// From whom channels are bought.
    pub lsps: Vec<KnownLsp>,
    /// Connects those that have an address, and again when they are gone; without it the application does.
    pub connect: Option<Arc<dyn Connect>>,
    /// Chooses among those that make an offer within the limits; [`Cheapest`] unless an application knows better.
    pub select: Arc<dyn Select>,
    /// How long the slowest LSP may take to tell its terms while the others have.
    pub patience: Duration,
    /// What the wallet puts up with. Its `to_self_delay` is the node's own, its `accept_trust` that of each LSP.
    pub rules: Rules,
    /// The wallet's rules for channels that it orders.
    pub order_rules: order::Rules,
    /// How long it waits, and how much it remembers.
    pub config: Config,
    /// The time; [`SystemClock`] unless a test brings its own.
    pub clock: Arc<dyn Clock>,
    /// Pays for ordered channels on-chain; without it they are paid over Lightning only.
    pub onchain: Option<Arc<dyn OnchainPayer>>,
    /// Tells whether a funding transaction was published. With it, a payment over a channel that is not confirmed waits
    /// until its funding was seen, unless its LSP is trusted; without it the wallet takes the LSP's word for that.
    pub mempool: Option<Arc<dyn Mempool>>,
}

/// What the wallet needs of the node's keys. LDK's `KeysManager` is one.
pub trait Keys: NodeSigner + EntropySource + Send + Sync {}
impl<T: NodeSigner + EntropySource + Send + Sync> Keys for T {}

impl<M, P, K> WalletParts<M, P, K> {
    /// The usual parts, with the defaults for the rest.
    pub fn new(
        channel_manager: M,
        peer_manager: P,
        messages: Arc<LspsMessageHandler>,
        store: K,
        keys: Arc<impl Keys + 'static>,
        network: Network,
        lsps: impl IntoIterator<Item = impl Into<KnownLsp>>,
    ) -> Self {
        Self {
            channel_manager,
            peer_manager,
            messages,
            store,
            keys,
            network,
            lsps: lsps.into_iter().map(Into::into).collect(),
            connect: None,
            select: Arc::new(Cheapest),
            patience: Duration::from_secs(10),
            rules: Rules::default(),
            order_rules: order::Rules::default(),
            config: Config::default(),
            clock: Arc::new(SystemClock),
            onchain: None,
            mempool: None,
        }
    }
}

/// A wallet that can be paid before it has a channel. Dropping it stops it; every invoice it handed out is on record.
pub struct Wallet {
    session: Session,
    told: mpsc::UnboundedSender<Told>,
    events: broadcast::Sender<WalletEvent>,
    lsps: Arc<Lsps>,
    select: Arc<dyn Select>,
    patience: Duration,
    rules: Rules,
    order_rules: order::Rules,
    network: Network,
    /// The channels that the node takes.
    takes: Takes,
    onchain: Option<Arc<dyn OnchainPayer>>,
    /// Ends with the wallet.
    _connecting: JoinSet<()>,
    stopped: oneshot::Receiver<()>,
}

impl Wallet {
    /// Loads the purchases, compares them with the node, and listens. Call it once the node's own state is loaded and
    /// before its peers connect.
    ///
    /// Records that cannot be read are reported and left alone; the others are served.
    ///
    /// # Errors
    ///
    /// When a setting is missing or the store cannot be read at all.
    pub async fn start<M: Manager, P: PeerManager, K: Store>(
        parts: WalletParts<M, P, K>,
    ) -> Result<(Self, Vec<Unreadable>), CannotStart> {
        let (configured, node) = (parts.network, network_of(&parts.channel_manager));
        if node != Some(configured) {
            return Err(CannotStart::WrongNetwork { configured, node });
        }
        let node = Node::new(parts.channel_manager, Arc::clone(&parts.keys), parts.network);
        require_for_wallet(&node.config())?;
        let store = Records::new(KvRecords::shared(parts.store, None), "client");
        let loaded = store.load(&*parts.clock).await.map_err(CannotStart::Store)?;
        let wake = Arc::new(Notify::new());
        let client = Client::new(parts.config, parts.keys.get_secure_random_bytes());
        let session = {
            let (clock, steady, wake) = (Arc::clone(&parts.clock), parts.clock, Arc::clone(&wake));
            Session::with_steady_clock(client, move || clock.now(), move || steady.steady(), move || wake.notify_one())
        };
        let rules = Rules { to_self_delay: node.to_self_delay(), ..parts.rules };
        let lsps = Arc::new(Lsps::new(parts.lsps, Arc::clone(&parts.messages), parts.connect));
        let peers = Peers::new(parts.messages, parts.peer_manager);
        let (told, queue) = mpsc::unbounded_channel();
        let events = broadcast::Sender::new(EVENTS_KEPT);
        let (network, takes, onchain) = (parts.network, Takes::of(&node.config()), parts.onchain.clone());
        let pump = Pump::new(session.clone(), node, peers, store, queue, wake, events.clone());
        let pump = pump.waiting_for(rules.confirmations_to_wait, parts.mempool);
        let mut pump = pump.paying_onchain(parts.onchain);
        let mut unreadable = pump.load(loaded.records);
        unreadable.extend(loaded.failed.into_iter().map(unread));
        let (done, stopped) = oneshot::channel();
        tokio::spawn(async move {
            pump.run().await;
            let _ = done.send(());
        });
        let connecting = lsps.keep_connected();
        let (select, patience) = (parts.select, parts.patience);
        let wallet = Self {
            session,
            told,
            events,
            lsps,
            select,
            patience,
            rules,
            order_rules: parts.order_rules,
            network,
            takes,
            onchain,
            _connecting: connecting,
            stopped,
        };
        Ok((wallet, unreadable))
    }

    /// Offers an event of the node. `true`: it was ours and is dealt with, durably. `false`: it is the application's, a
    /// channel request or a payment too; such a payment is one of which nothing was kept, or one to a hash of the
    /// application's.
    ///
    /// Every payment has to pass here before the application claims it: one over a channel with fewer confirmations than
    /// [`Rules::confirmations_to_wait`] goes back.
    ///
    /// # Errors
    ///
    /// When the store failed: return this from the event handler, and LDK tells the event again.
    pub async fn handle_event(&self, event: &Event) -> Result<bool, ReplayEvent> {
        let Some(news) = news::of(event) else { return Ok(false) };
        let (done, answer) = oneshot::channel();
        let _nobody_answers_then = self.told.send(Told::News(news, done));
        match answer.await {
            // The pump waited before it gave up an answer, so that a store that is away is not asked in a tight loop.
            Ok(answer) => answer.ok_or(ReplayEvent()),
            Err(_) => Err(nobody_there().await),
        }
    }

    /// What happens from now on, for a user interface. A receiver that falls behind loses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<WalletEvent> {
        self.events.subscribe()
    }

    /// All purchases on record, open and over.
    #[must_use]
    pub fn purchases(&self) -> Vec<Purchase> {
        self.session.with(|client, _| client.purchases().cloned().collect())
    }

    /// Has this LSP call an app while the wallet is away: keeps its webhook registered from now on, also after a restart,
    /// and waits until it is for the first time. Dropping the future ends only the waiting.
    ///
    /// # Errors
    ///
    /// When it cannot be kept, or the LSP refuses it.
    pub async fn keep_registered(&self, lsp: &PublicKey, app: AppName, url: WebhookUrl) -> Result<(), NotRegistered> {
        self.session.lsp(peer_id(lsp)).keep_registered(app, url).await
    }

    /// The client below, for calls that this wallet does not make by itself.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Stops after what is under way, and waits for it.
    pub async fn stop(self) {
        let Self { told, stopped, .. } = self;
        drop(told);
        let _ = stopped.await;
    }

    /// Connects whom it can; then waits for a turn of the pump. `None`: it was stopped.
    async fn know_who_is_connected(&self) -> Option<()> {
        self.lsps.connect_all(self.patience).await;
        let (done, turned) = oneshot::channel();
        self.told.send(Told::Turn(done)).ok()?;
        turned.await.ok()
    }

    fn tell(&self, event: WalletEvent) {
        let _ = self.events.send(event); // fails when nobody listens
    }
}

/// A record that the store could not give back.
fn unread((name, error): (String, StoreError)) -> Unreadable {
    Unreadable::Store { name, why: error.to_string() }
}

/// Events that a slow listener may lag behind.
const EVENTS_KEPT: usize = 256;

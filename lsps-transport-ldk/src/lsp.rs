//! The LSP on LDK: events to inputs. The core behind it is owned by the [`pump`].

mod book;
mod events;
mod markers;
mod news;
mod node;
mod orders;
mod perform;
mod pump;
mod report;
mod watch;
mod webhooks;

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::events::{Event, ReplayEvent};
use lightning::io;
use tokio::sync::{mpsc, oneshot};

use lsps_service::{
    BookEntry, ChannelKey, Config, Decision, Input, KnownOrder, Occasion, OrderNumber, Outcome, Policy, Promised,
    QuestionId, Tape, Unreadable,
};
use lsps_types::lsps2::PromiseKey;

use crate::config::{CannotStart, require_for_lsp};
use crate::handler::LspsMessageHandler;
use crate::onchain::{ChainAccess, ChainWatch, Clock, OnchainWallet, SystemClock};
use crate::peers::{Manager, PeerManager, Peers, network_name, network_of, peer_id};
use crate::store::{BatchStore, RecordStore, Store, nobody_there};

use book::Book;
pub use book::{BookPage, BookPages};
use events::Events;
pub use events::LspEvents;
pub use news::{LspEvent, Owed};
use news::{NodeNews, news};
use node::Node;
use pump::{Pump, Told};
pub use webhooks::{Notifier, Post, PostFate, Posted};

/// What an LSP is made of.
pub struct LspParts<M, P, K> {
    /// The node's channel manager.
    pub channel_manager: M,
    /// Its peer manager.
    pub peer_manager: P,
    /// The handler that the peer manager was given.
    pub messages: Arc<LspsMessageHandler>,
    /// Where the records go; any LDK store.
    pub store: K,
    /// The same store, where it can make several records durable in one transaction. Without it they are written side by
    /// side.
    pub batches: Option<Arc<dyn BatchStore>>,
    /// Pays for channels.
    pub wallet: Arc<dyn OnchainWallet>,
    /// Sees payments on the chain for orders of channels (LSPS1); without it they cannot be paid there.
    pub deposits: Option<Arc<dyn ChainWatch>>,
    /// Broadcasts transactions and knows feerates.
    pub chain: Arc<dyn ChainAccess>,
    /// The time; [`SystemClock`] unless a test brings its own.
    pub clock: Arc<dyn Clock>,
    /// Secret and stable: offers made with one key cannot be bought with another.
    pub promise_key: PromiseKey,
    /// How the service behaves.
    pub config: Config,
    /// Hand back HTLCs for SCIDs that are not ours, instead of failing them, because something else intercepts too.
    pub others_intercept: bool,
    /// Posts notifications to webhooks (LSPS5), as `webhook::WebhookNotifier` does; needed where
    /// [`WebhookConfig::serve`](lsps_service::WebhookConfig) is set.
    pub notifier: Option<Arc<dyn Notifier>>,
    /// Keeps all that the service is told and does, for [`replay`](lsps_service::replay). It grows without end.
    pub tape: Option<Box<dyn Tape>>,
}

impl<M, P, K> LspParts<M, P, K> {
    /// The usual parts, with the defaults for the rest.
    pub fn new(
        channel_manager: M,
        peer_manager: P,
        messages: Arc<LspsMessageHandler>,
        store: K,
        wallet: Arc<dyn OnchainWallet>,
        chain: Arc<dyn ChainAccess>,
        promise_key: PromiseKey,
    ) -> Self {
        let (clock, config, others_intercept) = (Arc::new(SystemClock), Config::default(), false);
        Self {
            channel_manager,
            peer_manager,
            messages,
            store,
            batches: None,
            wallet,
            deposits: None,
            chain,
            clock,
            promise_key,
            config,
            others_intercept,
            notifier: None,
            tape: None,
        }
    }
}

/// A running LSP. Dropping it stops it; everything that was promised is on record.
pub struct Lsp {
    inputs: mpsc::UnboundedSender<Told>,
    events: Arc<Events>,
    book: Book,
    others_intercept: bool,
    stopped: Option<oneshot::Receiver<()>>,
}

impl Lsp {
    /// Loads the records, compares them with the node, and serves. Call it once the node's own state is loaded, its monitors
    /// in its `ChainMonitor`, and before its peers connect.
    ///
    /// Records that cannot be read are reported and left alone; the others are served.
    ///
    /// # Errors
    ///
    /// When a setting is missing or the store cannot be read at all.
    pub async fn start<M: Manager, P: PeerManager, K: Store>(
        parts: LspParts<M, P, K>,
        policy: impl Policy + 'static,
    ) -> Result<(Self, Vec<Unreadable>), CannotStart> {
        let mut config = parts.config;
        let network = network_of(&parts.channel_manager).map(network_name);
        if config.orders.network.is_some() && network.is_some() && config.orders.network != network {
            return Err(CannotStart::OrdersElsewhere);
        }
        config.orders.network = config.orders.network.or(network);
        let node = Node::new(parts.channel_manager);
        require_for_lsp(&node.config())?;
        if config.webhooks.serve && parts.notifier.is_none() {
            return Err(CannotStart::NoNotifier);
        }
        let store = RecordStore::with_batches(parts.store, parts.batches, "service");
        let loaded = store.load().await.map_err(CannotStart::Store)?;
        let scids = {
            let node = Arc::clone(&node);
            move || node.draw_scid()
        };
        let mut service = lsps_service::Service::new(config, policy, scids, parts.promise_key)?;
        if let Some(tape) = parts.tape {
            service.record_on(tape);
        }
        let peers = Peers::new(parts.messages, parts.peer_manager);
        let (inputs, queue) = mpsc::unbounded_channel();
        let (events, book) = (Arc::<Events>::default(), Book::beside(&store));
        let outside = pump::Outside {
            wallet: parts.wallet,
            deposits: parts.deposits,
            notifier: parts.notifier,
            chain: parts.chain,
            clock: parts.clock,
            store,
            book: book.clone(),
            events: Arc::clone(&events),
        };
        let mut pump = Pump::new(service, node, peers, outside, queue, inputs.downgrade());
        let mut unreadable = pump.load(loaded.records);
        unreadable.extend(loaded.failed.into_iter().map(report::unread));
        let (done, stopped) = oneshot::channel();
        tokio::spawn(async move {
            pump.run().await;
            let _ = done.send(());
        });
        let others_intercept = parts.others_intercept;
        Ok((Self { inputs, events, book, others_intercept, stopped: Some(stopped) }, unreadable))
    }

    /// Offers an event of the node. `true`: it was ours and is dealt with, durably.
    ///
    /// Offer every event, in the order in which LDK tells them. The LSP has the node tell `PaymentFailed` events with
    /// payment ids of its own behind others, to know that those were told; until one comes back no failure is assumed and
    /// no channel that was signed is given up.
    ///
    /// # Errors
    ///
    /// When the store failed: return this from the event handler, and LDK tells the event again.
    pub async fn handle_event(&self, event: &Event) -> Result<bool, ReplayEvent> {
        let Some(news) = news(event) else { return Ok(false) };
        let is_htlc = matches!(event, Event::HTLCIntercepted { .. });
        let fail_if_not_mine = is_htlc && !self.others_intercept;
        match self.tell(news, fail_if_not_mine).await {
            Some(Outcome::NotMine) => Ok(fail_if_not_mine),
            Some(Outcome::Taken | Outcome::Refused(_)) => Ok(true),
            // The pump waited before it answered, so that a store that is away is not asked in a tight loop.
            None if self.inputs.is_closed() => Err(nobody_there().await),
            None => Err(ReplayEvent()),
        }
    }

    /// The events from now on. However slowly a caller reads, it misses no event that somebody has to act on; made
    /// orders are counted.
    #[must_use]
    pub fn events(&self) -> LspEvents {
        self.events.subscribe()
    }

    /// Answers what the policy left to others ([`LspEvent::Undecided`]). `false`: nobody waits for it any more.
    pub async fn decide(&self, question: QuestionId, decision: Decision) -> bool {
        let news = NodeNews::Input(Input::Decided { question, decision });
        self.tell(news, false).await == Some(Outcome::Taken)
    }

    /// Calls a client by its webhooks, unless it is there or was called for the same lately. `false`: it has none.
    pub async fn call(&self, client: &PublicKey, occasion: Occasion) -> bool {
        let news = NodeNews::Input(Input::Occasion { peer: peer_id(client), occasion });
        self.tell(news, false).await == Some(Outcome::Taken)
    }

    /// All orders of channels on record: what became of them, and why.
    pub async fn orders(&self) -> Vec<KnownOrder> {
        let (done, answer) = oneshot::channel();
        let asked = self.inputs.send(Told::Orders { done });
        if asked.is_err() { vec![] } else { answer.await.unwrap_or_default() }
    }

    /// Cancels an order whose channel is not published; what was paid goes back. `false`: it is too late.
    pub async fn cancel_order(&self, order: OrderNumber) -> bool {
        self.tell(NodeNews::Input(Input::CancelOrder { order }), false).await == Some(Outcome::Taken)
    }

    /// Has the channel of an order that could not be opened tried again at once. `false`: nothing waits for that.
    pub async fn retry_order(&self, order: OrderNumber) -> bool {
        self.tell(NodeNews::Input(Input::RetryOrder { order }), false).await == Some(Outcome::Taken)
    }

    /// Whether a channel may be closed without breaking a promise to its client: ask before closing one that has a key,
    /// [`ChannelKey::from_u128`] of its `user_channel_id`.
    ///
    /// # Errors
    ///
    /// While it is promised. Spec: LSPS2 `min_lifetime`.
    pub async fn may_close(&self, key: ChannelKey) -> Result<(), Promised> {
        let (done, answer) = oneshot::channel();
        let asked = self.inputs.send(Told::MayClose { key, done });
        // A service that has stopped cannot tell: the promise stands.
        let unknown = Err(Promised { until: None });
        if asked.is_err() { unknown } else { answer.await.unwrap_or(unknown) }
    }

    /// The book in pages, as it grows for ever: every fee asked, earned or lost, and what channels cost, by time.
    ///
    /// # Errors
    ///
    /// When the store cannot be listed.
    pub async fn book_pages(&self) -> Result<BookPages, io::Error> {
        self.book.pages().await
    }

    /// All of the book at once.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or an entry is damaged; [`book_pages`](Self::book_pages) reads the others.
    pub async fn book(&self) -> Result<Vec<BookEntry>, io::Error> {
        self.book.read().await
    }

    /// `None`: not durable, or stopped.
    async fn tell(&self, news: NodeNews, fail_if_not_mine: bool) -> Option<Outcome> {
        let (done, answer) = oneshot::channel();
        self.inputs.send(Told::News { news, fail_if_not_mine, done }).ok()?;
        answer.await.ok().flatten()
    }

    /// Stops after what is under way, and waits for it.
    pub async fn stop(mut self) {
        let (nobody, _) = mpsc::unbounded_channel();
        drop(std::mem::replace(&mut self.inputs, nobody));
        if let Some(stopped) = self.stopped.take() {
            let _ = stopped.await;
        }
    }
}

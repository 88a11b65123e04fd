//! The LSP's host: a handle for applications. The core behind it is owned by the [`pump`].

mod book;
mod channels;
mod events;
mod execute;
mod htlcs;
mod markers;
mod orders;
mod poll;
mod pump;
mod report;

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use lsps_service::{
    BookEntry, ChannelKey, Config, ConfigError, Decision, Input, KnownOrder, Occasion, OrderNumber, Outcome, Policy,
    Promised, QuestionId, Service, Tape, Unreadable,
};
use lsps_types::PeerId;
use lsps_types::lsps2::PromiseKey;

use crate::ports::{
    ChainAccess, ChainWatch, Clock, LspNode, Messages, NodeEvent, Notifier, OnchainWallet, RecordStore, StoreError,
    SystemClock,
};
use crate::records::Records;

use book::Book;
pub use book::{BookPage, BookPages};
pub use channels::Posted;
use events::Events;
pub use events::{LspEvent, LspEvents, Owed};
use pump::{Outside, Pump, Request};

/// The parts of an LSP.
pub struct LspParts<N> {
    /// The node.
    pub node: Arc<N>,
    /// Its peers.
    pub messages: Arc<dyn Messages>,
    /// Where the records go.
    pub store: Arc<dyn RecordStore>,
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
    /// Posts notifications to webhooks (LSPS5), as `webhook::WebhookNotifier` does; needed where
    /// [`WebhookConfig::serve`](lsps_service::WebhookConfig) is set.
    pub notifier: Option<Arc<dyn Notifier>>,
    /// Keeps all that the service is told and does, for [`replay`](lsps_service::replay). It grows without end.
    pub tape: Option<Box<dyn Tape>>,
}

impl<N: LspNode> LspParts<N> {
    /// The parts that every LSP has, with the defaults for the rest.
    pub fn new(
        node: Arc<N>,
        messages: Arc<dyn Messages>,
        store: Arc<dyn RecordStore>,
        wallet: Arc<dyn OnchainWallet>,
        chain: Arc<dyn ChainAccess>,
        promise_key: PromiseKey,
    ) -> Self {
        let (clock, config) = (Arc::new(SystemClock), Config::default());
        let (deposits, notifier, tape) = (None, None, None);
        Self { node, messages, store, wallet, deposits, chain, clock, promise_key, config, notifier, tape }
    }
}

/// Why an LSP could not start.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// The LSP's own configuration does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Webhooks are to be served ([`WebhookConfig::serve`](lsps_service::WebhookConfig)), and nobody posts to them.
    #[error("webhooks are to be served, but there is no `LspParts::notifier`")]
    NoNotifier,
    /// Refunds would go to addresses of another network than the node's.
    #[error("`OrderConfig::network` is not the node's network; leave it out, and the node is asked")]
    OrdersElsewhere,
    /// The records could not be read from the store.
    #[error("the store cannot be read: {0}")]
    Store(StoreError),
}

/// A running LSP. Once all handles are dropped the LSP stops; everything that was promised is on record.
pub struct Lsp {
    requests: mpsc::UnboundedSender<Request>,
    events: Arc<Events>,
    book: Book,
}

/// An LSP that was just started.
pub struct Started<N> {
    /// The handle.
    pub lsp: Lsp,
    /// Serves while it is polled.
    pub runner: Runner<N>,
    /// Records that cannot be read; they are left alone, the others are served.
    pub unreadable: Vec<Unreadable>,
}

/// The task of an LSP.
pub struct Runner<N>(Pump<N>);

impl<N: LspNode> Runner<N> {
    /// Serves until the handle is dropped. Spawn this future, or poll it in another way; dropped before it ends, it is as if
    /// the process had died.
    pub fn run(self) -> impl Future<Output = Stopped> + Send {
        self.0.run()
    }
}

/// Why an LSP stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The handle was dropped. What was under way is done.
    Asked,
    /// Another process owns the records. Nothing was written, sent or done since that was known.
    LostOwnership,
}

impl Lsp {
    /// Loads the records and compares them with the node. Call it once the node's own state is loaded, and before its peers
    /// connect.
    ///
    /// # Errors
    ///
    /// When a setting does not fit or the store cannot be read at all.
    pub async fn start<N: LspNode>(
        parts: LspParts<N>,
        policy: impl Policy + 'static,
    ) -> Result<Started<N>, CannotStart> {
        let mut config = parts.config;
        let (network, node) = (parts.node.network(), parts.node);
        if config.orders.network.is_some() && network.is_some() && config.orders.network != network {
            return Err(CannotStart::OrdersElsewhere);
        }
        config.orders.network = config.orders.network.or(network);
        if config.webhooks.serve && parts.notifier.is_none() {
            return Err(CannotStart::NoNotifier);
        }
        let store = Records::new(parts.store, "service");
        let loaded = store.load(&*parts.clock).await.map_err(CannotStart::Store)?;
        let scids = {
            let node = Arc::clone(&node);
            move || node.draw_scid()
        };
        let mut service = Service::new(config, policy, scids, parts.promise_key)?;
        if let Some(tape) = parts.tape {
            service.record_on(tape);
        }
        let (requests, queue) = mpsc::unbounded_channel();
        let (events, book) = (Arc::<Events>::default(), Book::beside(&store));
        let outside = Outside {
            messages: parts.messages,
            wallet: parts.wallet,
            deposits: parts.deposits,
            notifier: parts.notifier,
            chain: parts.chain,
            clock: parts.clock,
            store,
            book: book.clone(),
            events: Arc::clone(&events),
        };
        let mut pump = Pump::new(service, node, outside, queue, requests.downgrade());
        let mut unreadable = pump.load(loaded.records);
        unreadable.extend(loaded.failed.into_iter().map(report::unread));
        Ok(Started { lsp: Self { requests, events, book }, runner: Runner(pump), unreadable })
    }

    /// Offers an event of the node, and waits until what follows from it is durable. Offer all of them, one after the other,
    /// in the order in which the node tells them. `fail_if_not_mine`: an HTLC to an SCID that is nobody's is failed, as
    /// nothing else takes such HTLCs.
    ///
    /// # Errors
    ///
    /// When the store failed or the LSP has stopped: the node has to tell the event again.
    pub async fn handle_node_event(&self, event: NodeEvent, fail_if_not_mine: bool) -> Result<Outcome, TellAgain> {
        let (done, answer) = oneshot::channel();
        let asked = self.requests.send(Request::Event { event, fail_if_not_mine, done });
        asked.map_err(|_| TellAgain { is_stopped: true })?;
        let outcome = answer.await.ok().flatten();
        outcome.ok_or_else(|| TellAgain { is_stopped: self.is_stopped() })
    }

    /// Whether the LSP has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.requests.is_closed()
    }

    /// Looks at the service as it is. `None`: the LSP has stopped.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Service) -> T + Send + 'static) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let look = Request::Look(Box::new(move |service| drop(done.send(look(service)))));
        self.requests.send(look).ok()?;
        answer.await.ok()
    }

    /// The events from now on. However slowly a caller reads, it misses no event that somebody has to act on; made
    /// orders are counted.
    #[must_use]
    pub fn events(&self) -> LspEvents {
        self.events.subscribe()
    }

    /// Answers a question that the policy left to others ([`LspEvent::Undecided`]). `false`: nobody waits for it any more.
    pub async fn decide(&self, question: QuestionId, decision: Decision) -> bool {
        self.takes(Input::Decided { question, decision }).await
    }

    /// Calls a client by its webhooks, unless it is there or was called for the same lately. `false`: it has none.
    pub async fn call(&self, peer: PeerId, occasion: Occasion) -> bool {
        self.takes(Input::Occasion { peer, occasion }).await
    }

    /// All orders of channels on record: what became of them, and why.
    pub async fn orders(&self) -> Vec<KnownOrder> {
        self.look(|service| service.known_orders().collect()).await.unwrap_or_default()
    }

    /// Cancels an order whose channel is not published; what was paid goes back. `false`: it is too late.
    pub async fn cancel_order(&self, order: OrderNumber) -> bool {
        self.takes(Input::CancelOrder { order }).await
    }

    /// Has the channel of an order that could not be opened tried again at once. `false`: nothing waits for that.
    pub async fn retry_order(&self, order: OrderNumber) -> bool {
        self.takes(Input::RetryOrder { order }).await
    }

    /// Whether a channel may be closed without breaking a promise to its client: ask before closing one that has a
    /// [`ChannelKey`].
    ///
    /// # Errors
    ///
    /// While it is promised. Spec: LSPS2 `min_lifetime`.
    pub async fn may_close(&self, key: ChannelKey) -> Result<(), Promised> {
        // A service that has stopped cannot tell: the promise stands.
        self.look(move |service| service.may_close(key)).await.unwrap_or(Err(Promised { until: None }))
    }

    /// The book in pages, as it grows for ever: every fee asked, earned or lost, and what channels cost, by time.
    ///
    /// # Errors
    ///
    /// When the store cannot be listed.
    pub async fn book_pages(&self) -> Result<BookPages, StoreError> {
        self.book.pages().await
    }

    /// All of the book at once.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or an entry is damaged; [`book_pages`](Self::book_pages) reads the others.
    pub async fn book(&self) -> Result<Vec<BookEntry>, StoreError> {
        self.book.read().await
    }

    /// Whether the core took an input of the application.
    async fn takes(&self, input: Input) -> bool {
        self.handle_node_event(NodeEvent::Input(input), false).await == Ok(Outcome::Taken)
    }
}

/// An event that was not dealt with. It has to be told again, after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event is not dealt with; tell it again")]
pub struct TellAgain {
    /// Whether the LSP has stopped. Otherwise the host has paused already.
    pub is_stopped: bool,
}

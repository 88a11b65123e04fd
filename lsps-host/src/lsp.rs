//! The LSP's host: a handle for applications. The [`pump`] owns the core behind it.

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
mod unread;

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use lsps_service::{
    BookEntry, ChannelKey, Config, ConfigError, Decision, DecisionId, Input, KnownOrder, OrderNumber, Outcome, Policy,
    Promised, Service, Tape, Turn, Unreadable, WakeReason,
};
use lsps_types::PeerId;
use lsps_types::lsps2::PromiseKey;

use crate::ports::{
    ChainAccess, ChainWatch, Clock, LspNode, Messages, NodeEvent, Notifier, OnchainWallet, RecordStore, StoreError,
    SystemClock,
};
use crate::pump::{Durable, Stopped, TellAgain, serve};
use crate::records::Records;

use book::Book;
pub use book::{BookPage, BookPages};
pub use channels::PostReporter;
use events::Events;
pub use events::{LspEvent, LspEvents, TxPurpose};
use pump::{Outside, Pump, Request};

/// The parts of which an LSP is built: the ports of its node, and [`LspSettings`], whose fields are those of the parts.
pub struct LspParts<N> {
    /// The LSP's node.
    pub node: Arc<N>,
    /// The peers of the node, and their messages.
    pub messages: Arc<dyn Messages>,
    /// The store of the LSP's records.
    pub store: Arc<dyn RecordStore>,
    /// Everything else.
    pub settings: LspSettings,
}

/// Parts of an LSP that are the same on every kind of node.
pub struct LspSettings {
    /// The on-chain wallet that pays for channels and keeps the deposits of orders.
    pub wallet: Arc<dyn OnchainWallet>,
    /// The watch for deposits of orders (LSPS1). `None`: orders cannot be paid on-chain.
    pub deposits: Option<Arc<dyn ChainWatch>>,
    /// The chain backend, which broadcasts transactions and knows feerates.
    pub chain: Arc<dyn ChainAccess>,
    /// The clock; [`SystemClock`] except in tests.
    pub clock: Arc<dyn Clock>,
    /// The secret key of promises and of the preimages and ids of orders. The key must be the same at every start:
    /// offers made with one key cannot be bought with another.
    pub promise_key: PromiseKey,
    /// The settings of the service.
    pub config: Config,
    /// The notifier that posts to webhooks (LSPS5), for example `webhook::WebhookNotifier`. An LSP with
    /// [`WebhookConfig::serve`](lsps_service::WebhookConfig) does not start without one.
    pub notifier: Option<Arc<dyn Notifier>>,
    /// A tape of all inputs and effects of the service, for [`replay`](lsps_service::replay). The tape grows without
    /// bound.
    pub tape: Option<Box<dyn Tape<Turn>>>,
}

impl LspSettings {
    /// Creates the settings that every LSP has, with defaults for the rest.
    pub fn new(wallet: Arc<dyn OnchainWallet>, chain: Arc<dyn ChainAccess>, promise_key: PromiseKey) -> Self {
        let (clock, config) = (Arc::new(SystemClock), Config::default());
        Self { wallet, deposits: None, chain, clock, promise_key, config, notifier: None, tape: None }
    }
}

impl<N: LspNode> LspParts<N> {
    /// Creates the parts that every LSP has, with defaults for the rest.
    pub fn new(
        node: Arc<N>,
        messages: Arc<dyn Messages>,
        store: Arc<dyn RecordStore>,
        wallet: Arc<dyn OnchainWallet>,
        chain: Arc<dyn ChainAccess>,
        promise_key: PromiseKey,
    ) -> Self {
        Self { node, messages, store, settings: LspSettings::new(wallet, chain, promise_key) }
    }
}

impl<N> Deref for LspParts<N> {
    type Target = LspSettings;

    fn deref(&self) -> &LspSettings {
        &self.settings
    }
}

impl<N> DerefMut for LspParts<N> {
    fn deref_mut(&mut self) -> &mut LspSettings {
        &mut self.settings
    }
}

/// The reason for which an LSP could not start.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// A setting of the LSP is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Webhooks are to be served ([`WebhookConfig::serve`](lsps_service::WebhookConfig)), and there is no notifier.
    #[error("webhooks are to be served, but there is no `LspParts::notifier`")]
    NoNotifier,
    /// The configured network for refund addresses is not the node's.
    #[error("`OrderConfig::network` is not the node's network; leave it out, and the node is asked")]
    OrdersElsewhere,
    /// The records could not be read from the store.
    #[error("the store cannot be read: {0}")]
    Store(StoreError),
}

/// The handle of a running LSP. The LSP stops when the handle is dropped; every promise is on record by then.
pub struct Lsp {
    requests: mpsc::UnboundedSender<Request>,
    events: Arc<Events>,
    book: Book,
}

/// An LSP whose records are loaded and compared with the node.
pub struct Started<N> {
    /// The handle of the LSP.
    pub lsp: Lsp,
    /// The task of the LSP, which serves while it is polled.
    pub runner: Runner<N>,
    /// The records that cannot be read. The host leaves them alone and serves the others. Records that the store failed
    /// to read ([`Unreadable::Store`]) are read again every second. Until all of them are read, no channel is funded,
    /// and the node has to repeat an event that may be about one of them.
    pub unreadable: Vec<Unreadable>,
}

/// The task of an LSP, which makes all calls to the ports, one after the other.
pub struct Runner<N> {
    pump: Pump<N>,
    queue: mpsc::UnboundedReceiver<Request>,
}

impl<N: LspNode> Runner<N> {
    /// Serves until the handle is dropped. Spawn this future, or poll it in another way. Dropping it early has the
    /// effect of a crash of the host; another host may be started while the node and its peers stay
    /// ([`Messages::attach`]).
    pub fn run(self) -> impl Future<Output = Stopped> + Send {
        serve(self.pump, self.queue)
    }
}

impl Lsp {
    /// Loads the records and compares them with the node. Call it after the node's own state is loaded, and before its
    /// peers connect.
    ///
    /// # Errors
    ///
    /// A setting is not valid, or the store cannot be read at all.
    pub async fn start<N: LspNode>(
        parts: LspParts<N>,
        policy: impl Policy + 'static,
    ) -> Result<Started<N>, CannotStart> {
        let LspParts { node, messages, store, settings: parts } = parts;
        let (mut config, network) = (parts.config, node.network());
        if config.orders.network.is_some() && network.is_some() && config.orders.network != network {
            return Err(CannotStart::OrdersElsewhere);
        }
        config.orders.network = config.orders.network.or(network);
        if config.webhooks.serve && parts.notifier.is_none() {
            return Err(CannotStart::NoNotifier);
        }
        let store = Records::new(store, "service");
        messages.attach();
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
            messages,
            wallet: parts.wallet,
            deposits: parts.deposits,
            notifier: parts.notifier,
            chain: parts.chain,
            clock: parts.clock,
            book: book.clone(),
            events: Arc::clone(&events),
        };
        let mut pump = Pump::new(service, node, outside, Durable::new(store), requests.downgrade());
        let mut unreadable = pump.load(loaded.records, loaded.failed.iter().map(|(name, _)| name.as_str()));
        unreadable.extend(loaded.failed.into_iter().map(report::unread));
        Ok(Started { lsp: Self { requests, events, book }, runner: Runner { pump, queue }, unreadable })
    }

    /// Passes an event of the node to the LSP, and waits until all records that follow from it are durable. Pass every
    /// event, one after the other, in the order in which the node reports them. `fail_if_not_mine`: the host fails an
    /// HTLC to an SCID that the LSP has not sold; pass `true` if nothing else intercepts HTLCs.
    ///
    /// # Errors
    ///
    /// The store failed or the LSP has stopped: the node must keep the event and report it again.
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

    /// Reads the present state of the service. `None`: the LSP has stopped.
    pub async fn inspect<T: Send + 'static>(&self, look: impl FnOnce(&Service) -> T + Send + 'static) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let look = Request::Look(Box::new(move |service| drop(done.send(look(service)))));
        self.requests.send(look).ok()?;
        answer.await.ok()
    }

    /// A reader of the LSP's events from now on. A slow reader misses no event that requires an action; order events
    /// are merged into a count.
    #[must_use]
    pub fn events(&self) -> LspEvents {
        self.events.subscribe()
    }

    /// Takes a decision that the policy left to others ([`LspEvent::Undecided`]). `false`: the answer is no longer
    /// needed.
    pub async fn decide(&self, id: DecisionId, decision: Decision) -> bool {
        self.takes(Input::Decided { id, decision }).await
    }

    /// Notifies the webhooks of a client, unless the client is connected or was notified for the same reason lately.
    /// `false`: the client has no webhook.
    pub async fn wake_client(&self, peer: PeerId, reason: WakeReason) -> bool {
        self.takes(Input::WakeUp { peer, reason }).await
    }

    /// The orders on record, each with its state and, if it failed, the reason.
    pub async fn orders(&self) -> Vec<KnownOrder> {
        self.inspect(|service| service.known_orders().collect()).await.unwrap_or_default()
    }

    /// Cancels an order whose channel is not published; a payment is refunded. `false`: it is too late.
    pub async fn cancel_order(&self, order: OrderNumber) -> bool {
        self.takes(Input::CancelOrder { order }).await
    }

    /// Retries to open the channel of an order at once, after an attempt failed. `false`: the order does not wait for a
    /// retry.
    pub async fn retry_order(&self, order: OrderNumber) -> bool {
        self.takes(Input::RetryOrder { order }).await
    }

    /// Checks that a channel can be closed without breaking a promise to its client. Call this before closing a channel
    /// that has a [`ChannelKey`].
    ///
    /// # Errors
    ///
    /// The channel is still promised to its client. Spec: LSPS2 `min_lifetime`.
    pub async fn may_close(&self, key: ChannelKey) -> Result<(), Promised> {
        // The service has stopped and cannot answer, so the promise is taken to hold.
        self.inspect(move |service| service.may_close(key)).await.unwrap_or(Err(Promised { until: None }))
    }

    /// The book in pages, by time: every fee charged, earned or lost, and the on-chain fee of every channel. The book
    /// grows without bound.
    ///
    /// # Errors
    ///
    /// The store cannot list the entries.
    pub async fn book_pages(&self) -> Result<BookPages, StoreError> {
        self.book.pages().await
    }

    /// The whole book at once.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or an entry is damaged; [`book_pages`](Self::book_pages) reads the others.
    pub async fn book(&self) -> Result<Vec<BookEntry>, StoreError> {
        self.book.read().await
    }

    /// Whether the core accepted an input of the application.
    async fn takes(&self, input: Input) -> bool {
        self.handle_node_event(NodeEvent::Input(input), false).await == Ok(Outcome::Taken)
    }
}

//! The wallet's host: one call to receive, one to order a channel, and the handling of the node's events that follow.
//! The `pump` behind the handle owns the client.

mod events;
mod held;
mod lsps;
mod opens;
mod orders;
mod pay;
mod pump;
mod receive;
mod report;
mod unread;

use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use lsps_client::jit_receive::{Handled, Purchase, Rules};
use lsps_client::order;
use lsps_client::select::{Cheapest, Select};
use lsps_client::session::{NotRegistered, Session};
use lsps_client::{Client, Config, Tape, Turn, Unreadable};
use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{PaymentHash, PeerId};

use crate::ports::{
    Clock, Connect, Mempool, Messages, OnchainPayer, RecordStore, StoreError, SystemClock, WalletNode, WalletNodeEvent,
};
use crate::pump::{Durable, Stopped, TellAgain, serve};
use crate::records::Records;

pub use events::WalletEvent;
pub use lsps::KnownLsp;
pub use lsps_client::session::{OrderHandle, Outcome};
pub use orders::{CannotEndOrder, CannotOrderChannel};
pub use receive::{CannotReceive, JitInvoice};

use events::Events;
use lsps::Lsps;
use pump::{Outside, Pump, Request};
use unread::Unread;

/// The parts of which a wallet is built: the ports of its node, and [`WalletSettings`], whose fields are those of the
/// parts.
pub struct WalletParts {
    /// The wallet's node.
    pub node: Arc<dyn WalletNode>,
    /// The peers of the node, and their messages.
    pub messages: Arc<dyn Messages>,
    /// The store of the wallet's records.
    pub store: Arc<dyn RecordStore>,
    /// Everything else.
    pub settings: WalletSettings,
}

/// Parts of a wallet that are the same on every kind of node.
pub struct WalletSettings {
    /// The LSPs that channels are bought from.
    pub lsps: Vec<KnownLsp>,
    /// Connects to the LSPs that have an address, and reconnects. Without it the application does that.
    pub connect: Option<Arc<dyn Connect>>,
    /// Chooses among the LSPs that make an offer within the limits; [`Cheapest`] by default.
    pub select: Arc<dyn Select>,
    /// Longest time to wait for the terms of the slowest LSP once the others have answered.
    pub patience: Duration,
    /// The wallet's rules for purchases. Their `to_self_delay` is the node's own, their `accept_trust` that of each LSP.
    pub rules: Rules,
    /// The wallet's rules for channels that it orders.
    pub order_rules: order::Rules,
    /// Time limits and bounds of the client.
    pub config: Config,
    /// The clock; [`SystemClock`] except in tests.
    pub clock: Arc<dyn Clock>,
    /// The on-chain wallet that pays for ordered channels; without it they are paid over Lightning only.
    pub onchain: Option<Arc<dyn OnchainPayer>>,
    /// Shows whether a funding transaction was published. With it, a payment over an unconfirmed channel waits until
    /// the funding was seen, unless the LSP is trusted; without it the wallet relies on the LSP for that.
    pub mempool: Option<Arc<dyn Mempool>>,
    /// A tape of all inputs and effects of the client, for [`replay`](lsps_client::replay). The tape grows without end, and
    /// contains preimages of held payments.
    pub tape: Option<Box<dyn Tape<Turn>>>,
}

impl WalletSettings {
    /// Creates the settings of a wallet that buys from these LSPs, with defaults for the rest.
    pub fn new(lsps: impl IntoIterator<Item = impl Into<KnownLsp>>) -> Self {
        Self {
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
            tape: None,
        }
    }
}

impl WalletParts {
    /// Creates the parts that every wallet has, with defaults for the rest.
    pub fn new(
        node: Arc<dyn WalletNode>,
        messages: Arc<dyn Messages>,
        store: Arc<dyn RecordStore>,
        lsps: impl IntoIterator<Item = impl Into<KnownLsp>>,
    ) -> Self {
        Self { node, messages, store, settings: WalletSettings::new(lsps) }
    }
}

impl Deref for WalletParts {
    type Target = WalletSettings;

    fn deref(&self) -> &WalletSettings {
        &self.settings
    }
}

impl DerefMut for WalletParts {
    fn deref_mut(&mut self) -> &mut WalletSettings {
        &mut self.settings
    }
}

/// The handle of a running wallet, which can receive before it has a channel. The wallet stops when the handle is
/// dropped; every invoice that it handed out is on record.
pub struct Wallet {
    session: Session,
    requests: mpsc::UnboundedSender<Request>,
    events: Events,
    lsps: Arc<Lsps>,
    select: Arc<dyn Select>,
    patience: Duration,
    rules: Rules,
    order_rules: order::Rules,
    node: Arc<dyn WalletNode>,
    onchain: Option<Arc<dyn OnchainPayer>>,
}

/// A wallet whose records are loaded and compared with the node.
pub struct Started {
    /// The handle of the wallet.
    pub wallet: Wallet,
    /// The task of the wallet, which works while it is polled.
    pub runner: Runner,
    /// The records that cannot be read. The host leaves them alone and works with the others. Records that the store
    /// failed to read ([`Unreadable::Store`]) are read again every second. Until all of them are read, the node has to
    /// repeat an event that belongs to no flow.
    pub unreadable: Vec<Unreadable>,
}

/// The task of a wallet, which makes all calls to the ports, one after the other.
pub struct Runner {
    pump: Pump,
    queue: mpsc::UnboundedReceiver<Request>,
    lsps: Arc<Lsps>,
}

impl Runner {
    /// Works until the handle is dropped. Spawn this future, or poll it in another way. Dropping it early has the
    /// effect of a crash of the host; another host may be started while the node and its peers stay
    /// ([`Messages::attach`]).
    pub fn run(self) -> impl Future<Output = Stopped> + Send {
        let Self { pump, queue, lsps } = self;
        async move {
            let (mut connecting, mut serving) = (lsps.keep_connected(), pin!(serve(pump, queue)));
            poll_fn(|context| {
                connecting.retain_mut(|one| one.as_mut().poll(context).is_pending());
                serving.as_mut().poll(context)
            })
            .await
        }
    }
}

/// Reason for which a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NotDone {
    #[error("it could not be stored")]
    NotStored,
    #[error("the wallet was stopped")]
    Stopped,
}

/// Reason for which a purchase is not abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotAbandon {
    /// No purchase of that payment hash is on record.
    #[error("there is no such purchase")]
    NotFound,
    /// The payment of the purchase has arrived, or the purchase was abandoned before.
    #[error("it is too late to call the purchase off")]
    TooLate,
    /// The store failed. The purchase is abandoned once the store writes again, unless the process ends before.
    #[error("the end of the purchase could not be stored")]
    NotStored,
    /// The wallet was stopped.
    #[error("the wallet was stopped")]
    Stopped,
}

impl From<NotDone> for CannotAbandon {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::NotStored => Self::NotStored,
            NotDone::Stopped => Self::Stopped,
        }
    }
}

impl Wallet {
    /// Loads the records and compares them with the node. Call it after the node's own state is loaded, and before its
    /// peers connect.
    ///
    /// # Errors
    ///
    /// The store cannot be read at all.
    pub async fn start(parts: WalletParts) -> Result<Started, StoreError> {
        let WalletParts { node, messages, store, settings: parts } = parts;
        let store = Records::new(store, "client");
        messages.attach();
        let loaded = store.load(&*parts.clock).await?;
        let wake = Arc::<Notify>::default();
        let session = {
            let mut client = Client::new(parts.config, node.draw_bytes());
            if let Some(tape) = parts.tape {
                client.record_on(tape);
            }
            let (clock, steady, wake) = (Arc::clone(&parts.clock), Arc::clone(&parts.clock), Arc::clone(&wake));
            Session::with_steady_clock(client, move || clock.now(), move || steady.steady(), move || wake.notify_one())
        };
        let rules = Rules { to_self_delay: node.to_self_delay(), ..parts.rules };
        let (heard, clock) = (Arc::clone(&messages), Arc::clone(&parts.clock));
        let lsps = Arc::new(Lsps::new(parts.lsps, heard, parts.connect, clock, parts.patience));
        let (requests, queue) = mpsc::unbounded_channel();
        let events = Events::default();
        let outside = Outside {
            messages,
            clock: parts.clock,
            onchain: parts.onchain.clone(),
            mempool: parts.mempool,
            events: events.clone(),
        };
        let (seen, wait) = (Arc::clone(&node), rules.confirmations_to_wait);
        let mut pump = Pump::new(session.clone(), seen, outside, Durable::new(store), wake, wait);
        pump.unread = Unread::of(loaded.failed.iter().map(|(name, _)| name.as_str()), pump.outside.clock.steady());
        let records = loaded.records.iter();
        let mut unreadable: Vec<Unreadable> =
            session.with(|client, _| records.filter_map(|(name, bytes)| client.load(name, bytes).err()).collect());
        pump.reconcile();
        unreadable.extend(loaded.failed.into_iter().map(report::unread));
        let wallet = Self {
            session,
            requests,
            events,
            lsps: Arc::clone(&lsps),
            select: parts.select,
            patience: parts.patience,
            rules,
            order_rules: parts.order_rules,
            node,
            onchain: parts.onchain,
        };
        Ok(Started { wallet, runner: Runner { pump, queue, lsps }, unreadable })
    }

    /// Passes an event of the node to the wallet, and waits until all records that follow from it are durable. Pass
    /// every event, one after the other, in the order in which the node reports them.
    ///
    /// [`Handled::NotMine`]: the event is the application's; it may also be a channel request or a payment: one of
    /// which no fee was kept, or one to a hash of the application. Every payment has to pass here before the
    /// application claims it: one over a channel with fewer confirmations than [`Rules::confirmations_to_wait`] is
    /// failed.
    ///
    /// # Errors
    ///
    /// The store failed or the wallet has stopped: the node must keep the event and report it again.
    pub async fn handle_node_event(&self, event: WalletNodeEvent) -> Result<Handled, TellAgain> {
        let (done, answer) = oneshot::channel();
        self.requests.send(Request::Event(event, done)).map_err(|_| TellAgain { is_stopped: true })?;
        let handled = answer.await.ok().flatten();
        handled.ok_or_else(|| TellAgain { is_stopped: self.is_stopped() })
    }

    /// Adds an LSP to buy from, or replaces what is known of it, until the wallet stops. Its address is tried when it is asked;
    /// keeping it connected between is the application's.
    pub fn add_lsp(&self, lsp: KnownLsp) {
        self.lsps.add(lsp);
    }

    /// Buys no more from this LSP. What was bought or ordered before goes on.
    pub fn remove_lsp(&self, lsp: PeerId) {
        self.lsps.remove(lsp);
    }

    /// Whether the wallet has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.requests.is_closed()
    }

    /// The events from now on, for a user interface. A receiver that falls behind loses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<WalletEvent> {
        self.events.subscribe()
    }

    /// All purchases on record, open and over.
    #[must_use]
    pub fn purchases(&self) -> Vec<Purchase> {
        self.session.with(|client, _| client.purchases().cloned().collect())
    }

    /// Abandons a purchase. No fee may be kept of a payment that arrives anyway.
    ///
    /// # Errors
    ///
    /// There is no such purchase, or its payment has arrived.
    pub async fn abandon(&self, payment_hash: PaymentHash) -> Result<(), CannotAbandon> {
        let abandon = move |session: &Session, _: &dyn WalletNode| {
            session.with(|client, now| match client.purchase(payment_hash).is_some() {
                false => Err(CannotAbandon::NotFound),
                true if client.abandon(payment_hash, now) == Handled::Taken => Ok(()),
                true => Err(CannotAbandon::TooLate),
            })
        };
        self.change(abandon, |_, ()| {}).await
    }

    /// Keeps the webhook of an app registered with this LSP from now on, also after a restart, and waits for the first
    /// registration. Dropping the future ends only the waiting.
    ///
    /// # Errors
    ///
    /// The limit of apps is reached, or the LSP refuses the webhook.
    pub async fn keep_registered(&self, lsp: PeerId, app: AppName, url: WebhookUrl) -> Result<(), NotRegistered> {
        self.session.lsp(lsp).keep_registered(app, url).await
    }

    /// The session of the client, for calls that this wallet does not make by itself.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Connects to the LSPs that can be reached, then waits for a turn of the pump. `None`: the wallet was stopped.
    async fn know_who_is_connected(&self) -> Option<()> {
        self.lsps.connect_all(&self.session, self.patience).await;
        self.look(|_| ()).await
    }

    /// Reads the node, after a turn. `None`: the wallet was stopped.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&dyn WalletNode) -> T + Send + 'static) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let look = Request::Look(Box::new(move |node| drop(done.send(look(node)))));
        self.requests.send(look).ok()?;
        answer.await.ok()
    }

    /// Makes a change and waits until it is durable. The change is undone if that fails, or if nobody waits for it any
    /// more.
    async fn change<T: Send + 'static, E: From<NotDone> + Send + 'static>(
        &self,
        change: impl FnOnce(&Session, &dyn WalletNode) -> Result<T, E> + Send + 'static,
        undo: impl FnOnce(&Session, &T) + Send + 'static,
    ) -> Result<T, E> {
        let (done, answer) = oneshot::channel();
        let change = Request::Change(Box::new(move |session, node| {
            let changed = if done.is_closed() { Err(NotDone::Stopped.into()) } else { change(session, node) };
            Box::new(move |session, written| {
                let answer = match changed {
                    Ok(value) if !written => {
                        undo(session, &value);
                        return drop(done.send(Err(NotDone::NotStored.into())));
                    }
                    changed => changed,
                };
                if let Err(Ok(value)) = done.send(answer) {
                    undo(session, &value); // nobody waits for it any more
                }
            })
        }));
        self.requests.send(change).map_err(|_| NotDone::Stopped)?;
        answer.await.unwrap_or_else(|_| Err(NotDone::Stopped.into()))
    }

    fn tell(&self, event: WalletEvent) {
        report::told(&event);
        self.events.send(event);
    }
}

//! The wallet's side of the protocols: calls out, answers in, and the purchases that come of them.

use alloc::{string::String, vec::Vec};
use core::task::{Poll, Waker};
use core::time::Duration;

use lsps_types::jsonrpc::{BadFormat, ErrorReply, FromLsp, InvalidReply, TooLarge};
use lsps_types::{Msat, OutPoint, PaymentHash, PeerId, Preimage, Request, Timestamp};

use crate::batch::{Batch, FlowId, Notice, UnknownFlow};
use crate::effect::{ChannelKey, Effect};
use crate::jit_receive::book::Book;
use crate::jit_receive::{
    Arrival, Handled, Input, OpenRequest, Prepared, Purchase, Received, RefuseChannel, RefusePurchase, Verdict, Via,
};
use crate::order::{self, Polling};
use crate::pending::{Pending, Ticket};
use crate::record;
use crate::webhooks as hooks;

mod orders;
mod webhooks;

pub(crate) use webhooks::RETRY;

/// How long a wallet waits, and how much it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long an answer may take. Spec: LSPS0 wants some minutes at the most.
    pub answer_within: Duration,
    /// How long an outcome is kept for a ticket that nobody asks about.
    pub keep_outcomes: Duration,
    /// Calls to one LSP that may wait at once, or whose outcomes wait.
    pub calls_per_lsp: usize,
    /// Purchases on record, open or over.
    pub purchases: usize,
    /// Orders on record, open or over.
    pub orders: usize,
    /// How often LSPs are asked about orders that are being paid.
    pub polling: Polling,
    /// Apps with webhooks on record, at all LSPs.
    pub webhook_apps: usize,
    /// How often an LSP is asked which webhooks it has.
    pub check_webhooks: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let (answer_within, keep_outcomes) = (Duration::from_secs(60), Duration::from_secs(10 * 60));
        let (purchases, orders, polling) = (1_000, 100, Polling::default());
        let (webhook_apps, check_webhooks) = (100, Duration::from_secs(6 * 60 * 60));
        Self {
            answer_within,
            keep_outcomes,
            calls_per_lsp: 32,
            purchases,
            orders,
            polling,
            webhook_apps,
            check_webhooks,
        }
    }
}

/// The client: inputs in; records, messages, effects and notices out.
///
/// It knows no node, store, clock or socket. Write what [`drain`](Self::drain) gives before acting on it.
#[derive(Debug)]
pub struct Client {
    pub(crate) config: Config,
    pub(crate) pending: Pending,
    book: Book,
    pub(crate) orders: order::book::Book,
    pub(crate) webhooks: hooks::book::Book,
    pub(crate) out: Batch,
    /// The last time that was told.
    pub(crate) ticked_at: Timestamp,
    /// Records were loaded since then.
    pub(crate) was_loaded: bool,
}

/// Why a call was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The LSP is not connected.
    #[error("the provider is not connected")]
    NotConnected,
    /// It sent something that is no message; it gets no more of ours until it reconnects. Spec: LSPS0 (SHOULD).
    #[error("the provider sent a malformed message; reconnect before asking it again")]
    Suspended,
    /// As many calls to it wait already as may.
    #[error("too many requests to the provider are waiting")]
    TooManyPending,
    /// It does not fit into a message.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Why a call that was sent has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E: lsps_types::codes::MethodError> {
    /// The LSP went away. It may have acted on the call all the same.
    #[error("the provider disconnected before it answered")]
    Disconnected,
    /// No answer in time. It may still have acted on the call.
    #[error("the provider did not answer in time")]
    TimedOut,
    /// The answer is not what the method promises.
    #[error(transparent)]
    InvalidReply(InvalidReply),
    /// The LSP said no.
    #[error(transparent)]
    Refused(ErrorReply<E>),
    /// The ticket was forgotten, or its outcome taken before or left for too long.
    #[error("nobody waits for this answer any more")]
    Forgotten,
}

/// What a payload from an LSP turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to a call that waits for it.
    Answer,
    /// An answer that nobody waits for, at least not from this LSP.
    UnknownId,
    /// An error without a request: the LSP could not read something of ours.
    UncorrelatedError,
    /// News of a kind we do not know; today all are.
    UnknownNotification,
    /// No message at all. It was dropped, and the LSP is suspended until it reconnects.
    BadFormat(BadFormat),
}

/// A record that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No flow has such a name.
    #[error(transparent)]
    Name(#[from] UnknownFlow),
    /// Its content.
    #[error("{0}")]
    Content(record::Unreadable),
    /// The store has it and does not give it back.
    #[error("record {name:?} cannot be read from the store: {why}; it is left alone, and read again at the next start")]
    Store {
        /// The record.
        name: String,
        /// The store's own words.
        why: String,
    },
}

impl Client {
    /// A client without purchases and orders; `entropy` is 32 random bytes, fresh at every start, that request ids come
    /// from.
    #[must_use]
    pub fn new(config: Config, entropy: [u8; 32]) -> Self {
        let (book, orders, webhooks, out, ticked_at, was_loaded) = Default::default();
        Self { config, pending: Pending::new(entropy), book, orders, webhooks, out, ticked_at, was_loaded }
    }

    /// Takes a record from an earlier life, and asks again for what it is owed.
    ///
    /// # Errors
    ///
    /// When the record cannot be read; the others are not affected.
    pub fn load(&mut self, name: &str, bytes: &[u8]) -> Result<(), Unreadable> {
        self.was_loaded = true;
        let loaded = match name.parse()? {
            FlowId::Purchase(hash) => self.book.load(hash, bytes, &mut self.out),
            FlowId::Order(key) => self.orders.load(key, bytes, &self.config.polling),
            FlowId::Webhooks(lsp) => self.webhooks.load(lsp, bytes),
        };
        loaded.map_err(Unreadable::Content)
    }

    /// Sends a request. The answer waits under the ticket; forget it where nobody will ask for it.
    ///
    /// # Errors
    ///
    /// When it cannot be sent now; nothing is left behind.
    pub fn call<R: Request>(&mut self, lsp: PeerId, request: &R, now: Timestamp) -> Result<Ticket<R>, NotSent> {
        self.call_within(lsp, request, self.config.answer_within, now)
    }

    /// The same for a caller who waits no longer than `within`.
    ///
    /// # Errors
    ///
    /// When it cannot be sent now; nothing is left behind.
    pub fn call_within<R: Request>(
        &mut self,
        lsp: PeerId,
        request: &R,
        within: Duration,
        now: Timestamp,
    ) -> Result<Ticket<R>, NotSent> {
        self.pending.call(lsp, request, self.config.calls_per_lsp, (now, within), &mut self.out)
    }

    /// Takes in a payload of type 37913. Nothing is ever answered to an LSP.
    pub fn receive(&mut self, from: PeerId, payload: &[u8]) -> Heard {
        let heard = match FromLsp::decode(payload) {
            Err(bad) => {
                self.pending.suspend(from);
                Heard::BadFormat(bad)
            }
            Ok(FromLsp::Notification { .. }) => Heard::UnknownNotification,
            Ok(FromLsp::Response { id: None, outcome: Err(_) }) => Heard::UncorrelatedError,
            Ok(FromLsp::Response { id: None, outcome: Ok(_) }) => Heard::UnknownId,
            Ok(FromLsp::Response { id: Some(id), outcome }) => self.pending.answer(from, id, outcome),
        };
        match heard {
            Heard::BadFormat(_) => self.out.released.tell_once(Notice::BadPayload(from)),
            Heard::UnknownNotification => self.out.released.tell_once(Notice::UnknownNotification(from)),
            Heard::Answer | Heard::UnknownId | Heard::UncorrelatedError => {}
        }
        heard
    }

    /// The outcome of a call, once; `None` while it is open.
    pub fn take<R: Request>(&mut self, ticket: &Ticket<R>) -> Option<Result<R::Reply, CallError<R::Error>>> {
        self.pending.take(ticket)
    }

    /// As [`take`](Self::take), for futures: wakes `waker` when there is an outcome.
    pub fn poll_take<R: Request>(
        &mut self,
        ticket: &Ticket<R>,
        waker: &Waker,
    ) -> Poll<Result<R::Reply, CallError<R::Error>>> {
        match self.pending.take(ticket) {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.pending.wake_later(ticket, waker);
                Poll::Pending
            }
        }
    }

    /// Nobody waits for this answer any more; it is ignored when it comes.
    pub fn forget<R: Request>(&mut self, ticket: &Ticket<R>) {
        self.pending.forget(ticket);
    }

    /// An LSP is connected.
    pub fn peer_connected(&mut self, lsp: PeerId) {
        self.pending.connected(lsp);
        self.orders.connected(lsp, &self.config.polling, &mut self.pending);
    }

    /// An LSP is gone: what it owed us is lost, and what was not sent yet is not sent any more.
    pub fn peer_disconnected(&mut self, lsp: PeerId) {
        self.out.released.messages.retain(|(to, _)| *to != lsp);
        self.pending.disconnected(lsp);
    }

    /// Time passes: calls time out, purchases and orders expire, LSPs are asked about orders and webhooks, and
    /// their answers looked at.
    pub fn tick(&mut self, now: Timestamp) {
        self.read_clock(now);
        self.pending.tick(now, self.config.keep_outcomes);
        self.book.tick(now, &mut self.out);
        self.orders.tick(now, &self.config, &mut self.pending, &mut self.out);
        self.look_after_webhooks(now);
    }

    /// When [`tick`](Self::tick) has something to do next.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        let wakes = [self.pending.next_deadline(), self.book.next_wake(), self.orders.next_wake(&self.pending)];
        let webhooks = self.webhooks.next_wake(self.config.check_webhooks, &self.pending);
        wakes.into_iter().chain([webhooks]).flatten().min()
    }

    /// Calls that are open or whose outcome was not taken yet.
    #[must_use]
    pub fn pending_calls(&self) -> usize {
        self.pending.len()
    }

    /// Answers that nobody waited for, since the start.
    #[must_use]
    pub fn ignored_answers(&self) -> u64 {
        self.pending.ignored()
    }

    /// Puts a purchase on record under the hash of its invoice. Hand the invoice out only after that is written.
    ///
    /// # Errors
    ///
    /// When it is too late, or there are too many; nothing is recorded then.
    pub fn register(&mut self, prepared: &Prepared, hash: PaymentHash, now: Timestamp) -> Result<(), RefusePurchase> {
        self.book.register(prepared, hash, self.config.purchases, now, &mut self.out)
    }

    /// An LSP wants to open a channel. Accepted: the effect says how, once it is written.
    ///
    /// One that is as ordered is taken for the order; while a purchase from that LSP waits for a channel too, on the terms
    /// of the purchase. Which it is for shows when a payment comes over it, or when the LSP names it as the order's.
    ///
    /// # Errors
    ///
    /// When it is not one that was bought or ordered. The application may know it; else refuse it.
    pub fn open_requested(&mut self, request: &OpenRequest, now: Timestamp) -> Result<(), RefuseChannel> {
        let bought = self.book.hopes_for_channel(request.lsp, now);
        let ordered = self.orders.open_requested(request, bought, &self.config.polling, now, &mut self.out);
        let Err(not_ordered) = ordered else { return Ok(()) };
        match self.book.open_requested(request, now, &mut self.out) {
            Ok(()) => {
                self.orders.passed_over(request, &self.config.polling, now, &mut self.out);
                Ok(())
            }
            Err(RefuseChannel::NothingBought) => Err(not_ordered),
            Err(not_bought) => Err(not_bought),
        }
    }

    /// There is a new channel with this peer, whoever opened it and for whatever: HTLCs of purchases may come over it too.
    pub fn channel_with(&mut self, lsp: PeerId) {
        let allow = Effect::AllowUnderpaying { lsp };
        if self.book.allows_underpaying(lsp) && !self.out.released.effects.contains(&allow) {
            self.out.released.effects.push(allow);
        }
    }

    /// A channel that was accepted is funded. For hosts that know no more of it; the channel of an order needs
    /// [`channel_funded`](Self::channel_funded).
    pub fn channel_pending(&mut self, key: ChannelKey, now: Timestamp) -> Handled {
        self.channel_moved(key, &Input::ChannelPending(key), &order::Input::ChannelPending { key, funding: None }, now)
    }

    /// A channel that was accepted is funded by this output. An order is done only when its LSP names that.
    pub fn channel_funded(&mut self, key: ChannelKey, funding: OutPoint, now: Timestamp) -> Handled {
        let ordered = order::Input::ChannelPending { key, funding: Some(funding) };
        self.channel_moved(key, &Input::ChannelPending(key), &ordered, now)
    }

    /// A channel that was accepted is no more; the LSP may open another for the same purchase.
    pub fn channel_ended(&mut self, key: ChannelKey, now: Timestamp) -> Handled {
        self.channel_moved(key, &Input::ChannelEnded(key), &order::Input::ChannelEnded(key), now)
    }

    /// The funding of a channel that was accepted has a first confirmation. Hosts look for it while an order that is done
    /// has an [`unconfirmed_channel`](crate::order::Order::unconfirmed_channel).
    pub fn channel_confirmed(&mut self, key: ChannelKey, now: Timestamp) -> Handled {
        let confirmed = order::Input::ChannelConfirmed(key);
        self.orders.channel_moved(key, &confirmed, &self.config.polling, now, &mut self.out)
    }

    /// Whether the amounts of a payment are as promised. Any skim of a payment that is no purchase is a reason to fail
    /// it. [`arrived`](Self::arrived) decides about complete payments, as it looks at their channels too.
    #[must_use]
    pub fn judge(&self, hash: PaymentHash, received: &Received<'_>) -> Verdict {
        self.book.judge(hash, received)
    }

    /// Decides about a payment that the node holds complete, by its amounts and by the channels that it came `over`.
    ///
    /// `wait`: confirmations that a payment which was not bought needs of a channel that its peer funded,
    /// [`Rules::confirmations_to_wait`](crate::jit_receive::Rules); purchases have their own on record.
    #[must_use]
    pub fn arrived(&self, hash: PaymentHash, received: &Received<'_>, over: &[Via], wait: u16) -> Arrival {
        let lsp = self.book.get(hash).map(Purchase::lsp);
        let ordered: Vec<_> =
            lsp.map(|lsp| self.orders.perhaps_bought(lsp).map(Into::into).collect()).unwrap_or_default();
        self.book.arrived(hash, received, over, &ordered, wait)
    }

    /// A payment that is to be held, by [`arrived`](Self::arrived), waits until its channels can bear it: the effect says so
    /// once it is written. Without a preimage the application is told then, and claims it.
    pub fn held(
        &mut self,
        hash: PaymentHash,
        (received, skimmed): (Msat, Msat),
        preimage: Option<Preimage>,
        over: &[ChannelKey],
        now: Timestamp,
    ) -> Handled {
        self.take_from_order(hash, skimmed, over, now);
        self.book.held(hash, (received, skimmed), preimage, over, now, &mut self.out)
    }

    /// A fee was kept for a purchase that has no channel, nor has another of its LSP one to spare: its channel was taken
    /// for that of an order. It is the purchase's now, and the order waits for another. Should the LSP say that the channel
    /// is the order's all the same, the order is done by that.
    fn take_from_order(&mut self, hash: PaymentHash, skimmed: Msat, over: &[ChannelKey], now: Timestamp) {
        let Some(purchase) = self.book.get(hash).filter(|it| it.can_hold() && skimmed > Msat::ZERO) else { return };
        if self.book.has_channel_to_spare(purchase) {
            return;
        }
        let ordered: Vec<_> = self.orders.perhaps_bought(purchase.lsp()).collect();
        let used = ordered.iter().find(|channel| over.contains(&channel.key));
        let Some(channel) = used.or_else(|| ordered.first()).copied() else { return };
        self.orders.used(channel.key, &self.config.polling, now, &mut self.out);
        self.book.passed(hash, channel.into(), now, &mut self.out);
    }

    /// A payment that was held went back to the payer, as its blocks ran out. It may come again.
    pub fn gave_up(&mut self, hash: PaymentHash, now: Timestamp) -> Handled {
        self.book.gave_up(hash, now, &mut self.out)
    }

    /// A payment was claimed, over these channels as far as the node tells.
    pub fn claimed(
        &mut self,
        hash: PaymentHash,
        received: Msat,
        skimmed: Msat,
        over: &[ChannelKey],
        now: Timestamp,
    ) -> Handled {
        self.take_from_order(hash, skimmed, over, now);
        self.book.claimed(hash, (received, skimmed), over, now, &mut self.out)
    }

    /// The wallet does not want this payment any more.
    pub fn abandon(&mut self, hash: PaymentHash, now: Timestamp) -> Handled {
        self.book.abandon(hash, now, &mut self.out)
    }

    /// A purchase, by the payment hash of its invoice.
    #[must_use]
    pub fn purchase(&self, hash: PaymentHash) -> Option<&Purchase> {
        self.book.get(hash)
    }

    /// All purchases on record.
    pub fn purchases(&self) -> impl Iterator<Item = &Purchase> {
        self.book.iter()
    }

    /// Whether [`drain`](Self::drain) would give nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// All changes since the last drain.
    pub fn drain(&mut self) -> Batch {
        core::mem::take(&mut self.out)
    }
}

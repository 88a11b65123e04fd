//! The client: inputs in, and the purchases, orders and webhooks that they change.

use alloc::{boxed::Box, vec::Vec};
use core::task::{Poll, Waker};
use core::time::Duration;

use lsps_flow::{Record, Recorder, Tape, Unreadable};
use lsps_types::jsonrpc::{ErrorReply, FromLsp, InvalidReply, RequestData};
use lsps_types::{ClientInfo, Method, Msat, PaymentHash, PeerId, Request, Timestamp};

use crate::batch::{Batch, Changes, FlowId, Notice};
use crate::effect::{ChannelKey, Effect};
use crate::input::{CallId, Input};
use crate::jit_receive::purchases::Purchases;
use crate::jit_receive::{Arrival, Command, Handled, OpenRequest, Purchase, Received, RefuseChannel, Verdict, Via};
use crate::order::orders::handled;
use crate::order::{self, Order, OrderKey, Polling, Quote, RefusePlace};
use crate::outcome::{Heard, NotSent, Outcome, Refusal};
use crate::pending::{Pending, RequestIds, Ticket};
use crate::tape::Turn;
use crate::wake::Wake;
use crate::webhooks as hooks;

mod by_name;
mod webhooks;

pub(crate) use webhooks::RETRY;

/// Time limits and bounds of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Time limit for an answer. Spec: LSPS0 asks for some minutes at most.
    pub answer_within: Duration,
    /// Time for which the outcome of a call is kept if it is not taken.
    pub keep_outcomes: Duration,
    /// Largest number of calls to one LSP that are open or whose outcome was not taken.
    pub calls_per_lsp: usize,
    /// Largest number of purchases on record, open or over.
    pub purchases: usize,
    /// Largest number of orders on record, open or over.
    pub orders: usize,
    /// Intervals at which LSPs are asked about orders that are being paid.
    pub polling: Polling,
    /// Largest number of apps with webhooks on record, at all LSPs together.
    pub webhook_apps: usize,
    /// Interval at which an LSP is asked for its list of webhooks.
    pub check_webhooks: Duration,
    /// Names and versions of this program and its node, for the requests that have a parameter for them (blips#69).
    /// `None` by default, as they make the wallet easier to recognise. An LSP that does not know the parameter is asked
    /// once more without it.
    pub client_info: Option<ClientInfo>,
    /// Whether an order of an LSP that leaves out fields of the request is read as if it repeated them. Off by default:
    /// LSPS1 has them repeated, so that the client can compare them.
    pub read_absent_echoes: bool,
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
            client_info: None,
            read_absent_echoes: false,
        }
    }
}

/// The wallet's side of the protocols: inputs in; records, messages, effects and notices out.
///
/// The client has no access to a node, store, clock or socket. The host reports events with [`handle`](Self::handle),
/// writes the records from [`drain`](Self::drain), and only then sends the messages and executes the effects.
#[derive(Debug)]
pub struct Client {
    pub(crate) config: Config,
    pub(crate) pending: Pending,
    purchases: Purchases,
    pub(crate) orders: order::orders::Orders,
    pub(crate) webhooks: hooks::registrations::Registrations,
    pub(crate) out: Changes,
    /// Time of the last input that carried one.
    pub(crate) ticked_at: Timestamp,
    /// Whether records were loaded since then.
    pub(crate) was_loaded: bool,
    tape: Recorder<Turn>,
}

/// Reason for which a call that was sent has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E: lsps_types::codes::MethodError> {
    /// The LSP disconnected. The call may have been executed anyway.
    #[error("the provider disconnected before it answered")]
    Disconnected,
    /// The LSP did not answer in time. The call may have been executed anyway.
    #[error("the provider did not answer in time")]
    TimedOut,
    /// The reply does not have the form that its method defines.
    #[error(transparent)]
    InvalidReply(InvalidReply),
    /// The LSP answered with an error.
    #[error(transparent)]
    Refused(ErrorReply<E>),
    /// The ticket was dropped, or its outcome was taken before or not taken for too long.
    #[error("nobody waits for this answer any more")]
    Forgotten,
}

impl Client {
    /// Creates a client without flows. `ids` is 32 random bytes, fresh at every start, from which request ids are
    /// derived.
    #[must_use]
    pub fn new(config: Config, ids: impl Into<RequestIds>) -> Self {
        let pending = Pending::new(ids.into());
        let (purchases, orders, webhooks, out, ticked_at, was_loaded, tape) = Default::default();
        Self { config, pending, purchases, orders, webhooks, out, ticked_at, was_loaded, tape }
    }

    /// Records all inputs and outputs from now on, so that [`replay`](crate::replay) can repeat them.
    pub fn record_on(&mut self, tape: Box<dyn Tape<Turn>>) {
        self.tape.begin(tape);
    }

    /// Restores a flow from its record, and repeats its outstanding effects.
    ///
    /// # Errors
    ///
    /// The record cannot be read; the others are not affected.
    pub fn load(&mut self, name: &str, bytes: &[u8]) -> Result<(), Unreadable> {
        let record = Record { name: name.into(), bytes: bytes.into() };
        self.tape.keep(|| Turn::Loaded(record.clone()));
        self.was_loaded = true;
        match name.parse()? {
            FlowId::Purchase(hash) => {
                self.purchases.load(hash, &record, &mut self.out)?;
                let used = self.purchases.shares_no_channel(hash, &mut self.out);
                used.into_iter().for_each(|channel| self.takes_from_order(channel));
            }
            FlowId::Order(key) => {
                self.orders.load(key, &record, &self.config.polling)?;
                let channel = self.orders.get(key).and_then(Order::channel).map(|channel| channel.key);
                let used = channel.filter(|channel| self.purchases.holds_over(*channel));
                used.into_iter().for_each(|channel| self.takes_from_order(channel));
            }
            FlowId::Webhooks(lsp) => self.webhooks.load(lsp, &record)?,
        }
        Ok(())
    }

    /// Takes a channel from the order that has it on record: a payment with a fee for it is held.
    fn takes_from_order(&mut self, channel: ChannelKey) {
        self.orders.used(channel, &self.config.polling, self.ticked_at, &mut self.out);
    }

    /// Handles one input. Its consequences wait for [`drain`](Self::drain).
    pub fn handle(&mut self, input: &Input, now: Timestamp) -> Outcome {
        self.tape.keep(|| Turn::Input(now, input.clone()));
        let outcome = self.hear(input, now);
        for id in self.pending.take_drawn() {
            self.tape.keep(|| Turn::Drew(id));
        }
        outcome
    }

    /// Routes an input to its flow.
    fn hear(&mut self, input: &Input, now: Timestamp) -> Outcome {
        use order::Command as OrderCommand;
        match input {
            Input::PeerConnected { peer } => self.connected(*peer),
            Input::PeerDisconnected { peer } => self.disconnected(*peer),
            Input::Message { peer, payload } => Outcome::Heard(self.message(*peer, payload)),
            Input::Call { lsp, request, answer_within } => self.calls(*lsp, request, *answer_within, now),
            Input::CallOver { call } => self.call_over(call),
            Input::RegisterPurchase { prepared, payment_hash } => {
                self.purchases.register(prepared, *payment_hash, self.config.purchases, now, &mut self.out).into()
            }
            Input::ChannelRequested(request) => self.channel_requested(request, now).into(),
            Input::ChannelWith { peer } => self.new_channel_with(*peer),
            Input::ChannelFunded { key, funding } => {
                let ordered = OrderCommand::ChannelPending { key: *key, funding: *funding };
                self.channel_moved(*key, &Command::ChannelPending(*key), &ordered, now).into()
            }
            Input::ChannelEnded { key } => {
                self.channel_moved(*key, &Command::ChannelEnded(*key), &OrderCommand::ChannelEnded(*key), now).into()
            }
            Input::ChannelConfirmed { key } => {
                let confirmed = OrderCommand::ChannelConfirmed(*key);
                self.orders.channel_moved(*key, &confirmed, &self.config.polling, now, &mut self.out).into()
            }
            Input::PaymentHeld { payment_hash: hash, received, skimmed, preimage, over } => {
                self.take_from_order(*hash, *skimmed, over, now);
                self.purchases.held(*hash, (*received, *skimmed), *preimage, over, now, &mut self.out).into()
            }
            Input::HeldPaymentFailed { payment_hash } => {
                self.purchases.gave_up(*payment_hash, now, &mut self.out).into()
            }
            Input::PaymentClaimed { payment_hash: hash, received, skimmed, over } => {
                self.take_from_order(*hash, *skimmed, over, now);
                self.purchases.claimed(*hash, (*received, *skimmed), over, now, &mut self.out).into()
            }
            Input::AbandonPurchase { payment_hash } => self.purchases.abandon(*payment_hash, now, &mut self.out).into(),
            Input::PlaceOrder(quote) => self.place(quote, now),
            Input::PayOrder { order, methods } => self.order_does(*order, &OrderCommand::Pay(methods.clone()), now),
            Input::OrderSigned { order, transaction } => {
                self.order_does(*order, &OrderCommand::Signed(transaction.clone()), now)
            }
            Input::Broadcasting { order } if self.orders.broadcasts(*order, now) => Outcome::Taken,
            Input::Broadcasting { .. } => Outcome::Refused(Refusal::MayNotBroadcast),
            Input::PaymentForgotten { order } => self.order_hears(*order, &OrderCommand::Forgotten, now),
            Input::OrderSettled { order } => self.order_hears(*order, &OrderCommand::Settled, now),
            Input::OrderNotSent { order } => self.order_hears(*order, &OrderCommand::NotSent, now),
            Input::OrderReturned { order } => {
                let ask_for = self.config.polling.after_return;
                self.order_hears(*order, &OrderCommand::Returned { ask_for }, now)
            }
            Input::AbandonOrder { order } => self.order_does(*order, &OrderCommand::Abandon, now),
            Input::KeepWebhook { lsp, app, url } => self.keeps_webhook(*lsp, app, url, now).into(),
            Input::RemoveWebhook { lsp, app } => {
                self.webhooks.step(*lsp, &hooks::Command::Remove(app.clone()), now, &mut self.out);
                Outcome::Taken
            }
            Input::ClockSet { from, to } => self.hears_of_clock(*from, *to),
            Input::Tick => self.time_passes(now),
        }
    }

    /// Sends a request. The outcome is kept for the ticket; call [`forget`](Self::forget) if it is not needed.
    ///
    /// # Errors
    ///
    /// The request cannot be sent now; no call is left open.
    pub fn call<R: Request>(&mut self, lsp: PeerId, request: &R, now: Timestamp) -> Result<Ticket<R>, NotSent> {
        self.call_as_long(lsp, request, None, now)
    }

    /// Sends a request whose answer is waited for no longer than `within`.
    ///
    /// # Errors
    ///
    /// The request cannot be sent now; no call is left open.
    pub fn call_within<R: Request>(
        &mut self,
        lsp: PeerId,
        request: &R,
        within: Duration,
        now: Timestamp,
    ) -> Result<Ticket<R>, NotSent> {
        self.call_as_long(lsp, request, Some(within), now)
    }

    fn call_as_long<R: Request>(
        &mut self,
        lsp: PeerId,
        request: &R,
        answer_within: Option<Duration>,
        now: Timestamp,
    ) -> Result<Ticket<R>, NotSent> {
        let request = RequestData::of(request);
        let request = match &self.config.client_info {
            Some(info) => request.with_client_info(info),
            None => request,
        };
        match self.handle(&Input::Call { lsp, request, answer_within }, now) {
            Outcome::Sent(call) => Ok(Ticket::of(call)),
            Outcome::Refused(Refusal::Call(why)) => Err(why),
            Outcome::Taken | Outcome::NotMine | Outcome::Heard(_) | Outcome::Placed(_) | Outcome::Refused(_) => {
                unreachable!("a call is sent or not")
            }
        }
    }

    /// Takes the outcome of a call, once; `None` while the call is open.
    pub fn take<R: Request>(&mut self, ticket: &Ticket<R>) -> Option<Result<R::Reply, CallError<R::Error>>> {
        let outcome = self.pending.outcome(ticket)?;
        self.forget(ticket);
        Some(outcome)
    }

    /// Like [`take`](Self::take), for futures: wakes `waker` when there is an outcome.
    pub fn poll_take<R: Request>(
        &mut self,
        ticket: &Ticket<R>,
        waker: &Waker,
    ) -> Poll<Result<R::Reply, CallError<R::Error>>> {
        match self.take(ticket) {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.pending.wake_later(ticket.call(), waker);
                Poll::Pending
            }
        }
    }

    /// Drops a call; its answer is ignored when it arrives.
    pub fn forget<R: Request>(&mut self, ticket: &Ticket<R>) {
        let over = Input::CallOver { call: ticket.call().clone() };
        let _it_may_be_over_already = self.handle(&over, self.ticked_at);
    }

    /// The next deadline and its reason. Report [`Input::Tick`] then.
    #[must_use]
    pub fn next_wake(&self) -> Option<(Timestamp, Wake)> {
        let wakes = [self.pending.next_wake(), self.purchases.next_wake(), self.orders.next_wake(&self.pending)];
        let webhooks = self.webhooks.next_wake(self.config.check_webhooks, &self.pending);
        wakes.into_iter().chain([webhooks]).flatten().min()
    }

    /// Number of calls that are open or whose outcome was not taken yet.
    #[must_use]
    pub fn pending_calls(&self) -> usize {
        self.pending.len()
    }

    /// Number of answers without an open call, since the start.
    #[must_use]
    pub fn ignored_answers(&self) -> u64 {
        self.pending.ignored()
    }

    /// Checks the amounts of a payment against the purchase. If there is no purchase, any skim is a reason to fail the
    /// payment. For complete payments use [`arrived`](Self::arrived), which also checks their channels.
    #[must_use]
    pub fn judge(&self, hash: PaymentHash, received: &Received<'_>) -> Verdict {
        self.purchases.judge(hash, received)
    }

    /// Decides on a payment that the node holds completely, by its amounts and by the channels `over` which it arrived.
    ///
    /// `wait`: confirmations that a peer-funded channel needs before a payment without a purchase is claimed,
    /// [`Rules::confirmations_to_wait`](crate::jit_receive::Rules). Purchases have their own number on record.
    #[must_use]
    pub fn arrived(&self, hash: PaymentHash, received: &Received<'_>, over: &[Via], wait: u16) -> Arrival {
        let lsp = self.purchases.get(hash).map(Purchase::lsp);
        let ordered: Vec<_> =
            lsp.map(|lsp| self.orders.perhaps_bought(lsp).map(Into::into).collect()).unwrap_or_default();
        self.purchases.arrived(hash, received, over, &ordered, wait)
    }

    /// The purchase with this payment hash.
    #[must_use]
    pub fn purchase(&self, hash: PaymentHash) -> Option<&Purchase> {
        self.purchases.get(hash)
    }

    /// All purchases on record.
    pub fn purchases(&self) -> impl Iterator<Item = &Purchase> {
        self.purchases.iter()
    }

    /// The order with this local key.
    #[must_use]
    pub fn order(&self, order: OrderKey) -> Option<&Order> {
        self.orders.get(order)
    }

    /// All orders on record.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter()
    }

    /// Wakes `waker` when this order changes or its record is removed; for futures.
    pub fn watch_order(&mut self, order: OrderKey, waker: &Waker) {
        self.orders.watch(order, waker);
    }

    /// Whether [`drain`](Self::drain) would return an empty batch.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// All changes since the last drain.
    pub fn drain(&mut self) -> Batch {
        let batch = self.out.drain();
        if !batch.is_empty() {
            self.tape.keep(|| Turn::gave(&batch));
        }
        batch
    }
}

/// Handlers of the inputs.
impl Client {
    fn connected(&mut self, lsp: PeerId) -> Outcome {
        self.pending.connected(lsp);
        self.orders.connected(lsp, &self.config.polling, &mut self.pending);
        Outcome::Taken
    }

    fn disconnected(&mut self, lsp: PeerId) -> Outcome {
        self.out.released.messages.retain(|(to, _)| *to != lsp);
        self.pending.disconnected(lsp);
        Outcome::Taken
    }

    fn message(&mut self, from: PeerId, payload: &[u8]) -> Heard {
        let heard = match FromLsp::decode(payload) {
            Err(bad) => {
                self.pending.suspend(from);
                Heard::BadFormat(bad)
            }
            Ok(FromLsp::Notification { .. }) => Heard::UnknownNotification,
            Ok(FromLsp::Response { id: None, outcome: Err(_) }) => Heard::UncorrelatedError,
            Ok(FromLsp::Response { id: None, outcome: Ok(_) }) => Heard::UnknownId,
            Ok(FromLsp::Response { id: Some(id), outcome }) => self.pending.answer(from, id, outcome, &mut self.out),
        };
        match heard {
            Heard::BadFormat(_) => self.out.released.tell_once(Notice::BadPayload(from)),
            Heard::UnknownNotification => self.out.released.tell_once(Notice::UnknownNotification(from)),
            Heard::Answer | Heard::UnknownId | Heard::UncorrelatedError => {}
        }
        heard
    }

    fn calls(&mut self, lsp: PeerId, request: &RequestData, within: Option<Duration>, now: Timestamp) -> Outcome {
        let within = within.unwrap_or(self.config.answer_within);
        let sent = self.pending.call(lsp, request, self.config.calls_per_lsp, (now, within), &mut self.out);
        if let Ok(call) = &sent
            && self.config.read_absent_echoes
            && request.method() == Method::Lsps1CreateOrder.name()
        {
            self.pending.fills(call, request);
        }
        sent.map_or_else(|why| Outcome::Refused(why.into()), Outcome::Sent)
    }

    fn call_over(&mut self, call: &CallId) -> Outcome {
        self.pending.forget(call);
        Outcome::Taken
    }

    fn time_passes(&mut self, now: Timestamp) -> Outcome {
        self.read_clock(now);
        self.pending.tick(now, self.config.keep_outcomes);
        self.purchases.tick(now, &mut self.out);
        self.orders.tick(now, &self.config, &mut self.pending, &mut self.out);
        self.look_after_webhooks(now);
        Outcome::Taken
    }

    fn channel_requested(&mut self, request: &OpenRequest, now: Timestamp) -> Result<(), RefuseChannel> {
        let bought = self.purchases.hopes_for_channel(request.lsp, now);
        let ordered = self.orders.open_requested(request, bought, &self.config.polling, now, &mut self.out);
        let Err(not_ordered) = ordered else { return Ok(()) };
        match self.purchases.open_requested(request, now, &mut self.out) {
            Ok(()) => {
                self.orders.passed_over(request, &self.config.polling, now, &mut self.out);
                Ok(())
            }
            Err(RefuseChannel::NothingBought) => Err(not_ordered),
            Err(not_bought) => Err(not_bought),
        }
    }

    fn new_channel_with(&mut self, lsp: PeerId) -> Outcome {
        let allow = Effect::AllowUnderpaying { lsp };
        if self.purchases.allows_underpaying(lsp) && !self.out.released.effects.contains(&allow) {
            self.out.released.effects.push(allow);
        }
        Outcome::Taken
    }

    /// Reports a channel event to purchases and orders. Both need it: a purchase may have a channel that turns out to
    /// be an order's.
    fn channel_moved(
        &mut self,
        key: ChannelKey,
        bought: &Command,
        ordered: &order::Command,
        now: Timestamp,
    ) -> Handled {
        let bought = self.purchases.channel_moved(key, bought, now, &mut self.out);
        let ordered = self.orders.channel_moved(key, ordered, &self.config.polling, now, &mut self.out);
        if ordered == Handled::Taken { ordered } else { bought }
    }

    /// Moves the channel of an order to a purchase: a fee was kept for the purchase, which has no channel, and no other
    /// purchase from this LSP has one to spare. The order waits for another channel. If the LSP says that the channel
    /// is the order's anyway, the order is done.
    fn take_from_order(&mut self, hash: PaymentHash, skimmed: Msat, over: &[ChannelKey], now: Timestamp) {
        let Some(purchase) = self.purchases.get(hash).filter(|it| it.can_hold() && skimmed > Msat::ZERO) else {
            return;
        };
        if self.purchases.has_channel_to_spare(purchase) {
            return;
        }
        let ordered: Vec<_> = self.orders.perhaps_bought(purchase.lsp()).collect();
        let used = ordered.iter().find(|channel| over.contains(&channel.key));
        let Some(channel) = used.or_else(|| ordered.first()).copied() else { return };
        self.orders.used(channel.key, &self.config.polling, now, &mut self.out);
        self.purchases.passed(hash, channel.into(), now, &mut self.out);
    }

    fn place(&mut self, quote: &Quote, now: Timestamp) -> Outcome {
        let is_known = quote.payment_hash().is_some_and(|hash| self.purchases.get(hash).is_some());
        let placed = match is_known {
            true => Err(RefusePlace::KnownPaymentHash),
            false => self.orders.place(quote.clone(), self.config.orders, now, &mut self.out),
        };
        placed.map_or_else(|why| Outcome::Refused(why.into()), Outcome::Placed)
    }

    /// Passes a command of the application to an order.
    fn order_does(&mut self, order: OrderKey, command: &order::Command, now: Timestamp) -> Outcome {
        self.orders.hear(order, command, &self.config.polling, now, &mut self.out).into()
    }

    /// Passes a report of the node to an order.
    fn order_hears(&mut self, order: OrderKey, command: &order::Command, now: Timestamp) -> Outcome {
        handled(&self.orders.hear(order, command, &self.config.polling, now, &mut self.out)).into()
    }
}

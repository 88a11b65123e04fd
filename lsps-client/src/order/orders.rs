//! All orders of a wallet, the loop that steps them, and the requests to their LSPs.

use alloc::{collections::BTreeMap, vec::Vec};
use core::task::Waker;

use lsps_flow::{Flows, Record, Unreadable, record};
use lsps_types::codes::GetOrderError;
use lsps_types::jsonrpc::{Refusal, RequestData};
use lsps_types::lsps1::{GetOrder, Order as Reply, OrderState};
use lsps_types::{Blocks, ClockShift, Msat, OutPoint, PeerId, Sat, Timestamp};

use super::polls::{Poll, Polling};
use super::{Accept, Asked, Channel, Command, Event, Order, OrderKey, Paying, PaymentMethod, Quote, Reject, v1};
use crate::batch::{Changes, FlowId, Notice};
use crate::client::{CallError, Config};
use crate::effect::{ChannelKey, Effect};
use crate::jit_receive::{Handled, OpenRequest, RefuseChannel};
use crate::outcome::NotSent;
use crate::pending::Pending;
use crate::wake::Wake;

/// The orders, by local key. Their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    orders: Flows<Order>,
    /// Poll state of each order that is being paid.
    polls: BTreeMap<OrderKey, Poll>,
    watchers: BTreeMap<OrderKey, Vec<Waker>>,
    /// Orders that were loaded. Their effects depend on the time, which the next tick reports.
    loaded: Vec<OrderKey>,
}

impl Orders {
    pub(crate) fn load(&mut self, key: OrderKey, record: &Record, polling: &Polling) -> Result<(), Unreadable> {
        if self.orders.contains_key(&key) {
            return Err(Unreadable::Twice { name: record.name.clone() });
        }
        let order = match record::version(record, VERSION)? {
            (1, fields) => record::decode::<v1::Order>(record, fields)?.into(),
            // Version 3 added fields at the end, which are empty in an order of before; version 4 added free orders.
            (2, fields) => record::decode::<Order>(record, &[fields, &NONE].concat())?,
            (_, fields) => record::decode::<Order>(record, fields)?,
        };
        if order.key != key || key != OrderKey::of(order.lsp, &order.id) {
            return Err(record::damaged(record));
        }
        self.loaded.push(key);
        self.keep_asking(&order, polling);
        self.orders.insert(order, &());
        Ok(())
    }

    /// Puts an order on record, unpaid.
    pub(crate) fn place(
        &mut self,
        quote: Quote,
        limit: usize,
        now: Timestamp,
        out: &mut Changes,
    ) -> Result<OrderKey, RefusePlace> {
        let order = Order::new(quote);
        let key = order.key;
        if order.deadline().is_none_or(|(end, _)| now >= end) {
            return Err(RefusePlace::Expired);
        }
        if self.orders.contains_key(&key) {
            return Err(RefusePlace::KnownOrder);
        }
        if order.payment_hash().is_some_and(|hash| self.orders.values().any(|it| it.payment_hash() == Some(hash))) {
            return Err(RefusePlace::KnownPaymentHash);
        }
        if self.orders.len() >= limit && !self.make_room(out) {
            return Err(RefusePlace::TooMany);
        }
        out.records.insert(FlowId::Order(key), Some(record::encode(VERSION, &order)));
        out.released.notices.push(Notice::Order(key, Event::Placed));
        self.orders.insert(order, &());
        Ok(key)
    }

    /// Executes a command to an order. A rejected command changes nothing.
    pub(crate) fn hear(
        &mut self,
        key: OrderKey,
        command: &Command,
        polling: &Polling,
        now: Timestamp,
        out: &mut Changes,
    ) -> Result<(), OrderError> {
        self.step(key, command, polling, now, out).map(|_| ())
    }

    /// Takes a requested channel for the paid order that it suits best. Its true purpose shows when the LSP names it.
    ///
    /// `purchases`: the strictest `to_self_delay` limit of purchases that wait for a channel from this LSP. A channel
    /// that could be for one of them is accepted on their terms.
    pub(crate) fn open_requested(
        &mut self,
        request: &OpenRequest,
        purchases: Option<Blocks>,
        polling: &Polling,
        now: Timestamp,
        out: &mut Changes,
    ) -> Result<(), RefuseChannel> {
        let asked = Asked::of(request);
        let waiting = || self.of(request.lsp).filter(|order| order.awaits_channel());
        if waiting().next().is_none() {
            return Err(RefuseChannel::NothingBought);
        }
        let fitting = || waiting().filter(|order| order.asked_for(&asked));
        if fitting().next().is_none() {
            return Err(RefuseChannel::NotAsOrdered);
        }
        let same = fitting().find(|order| order.channel().is_some_and(|channel| channel.key == request.key));
        let rank =
            |order: &&Order| (order.misses(&asked), order.options.iter().map(|option| option.pay_by).max(), order.key);
        let free = || fitting().filter(|order| order.channel().is_none()).min_by_key(rank);
        let key = match same.or_else(free).map(|order| order.key) {
            Some(key) => key,
            None => self.makes_free(&asked, request.lsp, polling, now, out).ok_or(RefuseChannel::AllHaveChannels)?,
        };
        let accept = self.accept(key, request, purchases);
        let asked = self.hear(key, &Command::OpenRequested { key: request.key, asked, accept }, polling, now, out);
        asked.map_err(|_| RefuseChannel::AllHaveChannels)
    }

    /// The terms on which to accept a channel. HTLCs of a purchase may arrive over any channel with the LSP; one
    /// without an initial balance of the wallet may be the purchase's.
    fn accept(&self, order: OrderKey, request: &OpenRequest, purchases: Option<Blocks>) -> Accept {
        let confirmations = self.orders.get(&order).map(|order| order.ordered.required_channel_confirmations);
        let own = Accept {
            confirmations: confirmations.unwrap_or(u16::MAX),
            max_to_self_delay: Blocks(u32::MAX),
            underpaying: false,
        };
        match purchases.filter(|_| !request.announced && request.scid_alias) {
            None => own,
            Some(max_to_self_delay) if request.pushed == Msat::ZERO => {
                Accept { confirmations: 0, max_to_self_delay, underpaying: true }
            }
            Some(max_to_self_delay) => Accept { max_to_self_delay, underpaying: true, ..own },
        }
    }

    /// An order that the new channel suits, and whose present channel suits another order, which gets it: the LSP opens
    /// channels in any sequence, and a large channel suits a small order.
    fn makes_free(
        &mut self,
        asked: &Asked,
        lsp: PeerId,
        polling: &Polling,
        now: Timestamp,
        out: &mut Changes,
    ) -> Option<OrderKey> {
        let waiting = || self.of(lsp).filter(|order| order.awaits_channel());
        let (holder, channel, other) = waiting().filter(|order| order.asked_for(asked)).find_map(|holder| {
            let channel = holder.channel()?;
            let asked = channel.asked?;
            let suits = |order: &&Order| order.channel().is_none() && order.asked_for(&asked);
            waiting().find(suits).map(|other| (holder.key, channel, other.key))
        })?;
        self.hear(holder, &Command::ChannelPassed(None), polling, now, out).ok()?;
        self.hear(other, &Command::ChannelPassed(Some(channel)), polling, now, out).ok()?;
        Some(holder)
    }

    /// Notes for an order that a channel which suits it was taken for a purchase, as the order has one. The LSP says
    /// which channel is whose.
    pub(crate) fn passed_over(&mut self, request: &OpenRequest, polling: &Polling, now: Timestamp, out: &mut Changes) {
        let asked = Asked::of(request);
        let waiting = self.of(request.lsp).filter(|order| order.awaits_channel());
        let fitting = waiting.filter(|order| order.asked_for(&asked) && order.channel().is_some());
        let Some(key) = fitting.min_by_key(|order| order.misses(&asked)).map(|order| order.key) else { return };
        let accept = self.accept(key, request, None);
        let other = Channel::new(request.key, asked, accept);
        let _it_has_another = self.hear(key, &Command::OtherChannel(other), polling, now, out);
    }

    /// Takes this channel from its order, as it turned out to be a purchase's. The order waits for another one, unless
    /// the LSP says that the channel is the order's, and the purchase has another. The order does not get a channel in
    /// exchange that was passed over for a purchase before: a fee was kept for that channel, too.
    pub(crate) fn used(&mut self, channel: ChannelKey, polling: &Polling, now: Timestamp, out: &mut Changes) {
        let held = |order: &Order| order.channel().filter(|its| its.key == channel).map(|its| (order.key, its));
        let Some((key, used)) = self.orders.values().find_map(held) else { return };
        for command in [Command::ChannelPassed(None), Command::OtherChannel(used)] {
            let moved = self.hear(key, &command, polling, now, out);
            debug_assert!(moved.is_ok(), "only an order that is being paid has a channel");
        }
    }

    /// Corrects the assignment of channels: the LSP says that this output funds the channel of an order. If that
    /// channel was assigned to another of its orders, the two are swapped.
    fn corrects(&mut self, key: OrderKey, funding: OutPoint, polling: &Polling, now: Timestamp, out: &mut Changes) {
        let Some(order) = self.orders.get(&key) else { return };
        let funds = |channel: &Channel| channel.funding == Some(funding);
        let own = order.channel();
        if own.is_some_and(|own| funds(&own)) {
            return;
        }
        let others = self.of(order.lsp).filter(|other| other.key != key);
        let holds = |other: &Order| Some((other.key, other.channel().filter(funds)?));
        let Some((holder, channel)) = others.filter_map(holds).next() else { return };
        let suits = |order: &Order, channel: &Channel| channel.asked.is_some_and(|asked| order.asked_for(&asked));
        if !suits(order, &channel) {
            return;
        }
        let back = own.filter(|own| self.orders.get(&holder).is_some_and(|holder| suits(holder, own)));
        for (key, command) in [(holder, Command::ChannelPassed(back)), (key, Command::ChannelPassed(Some(channel)))] {
            let passed = self.hear(key, &command, polling, now, out);
            debug_assert!(passed.is_ok(), "both are being paid");
        }
    }

    /// Whether the host may broadcast the payment. From then on others may have the transaction.
    pub(crate) fn broadcasts(&mut self, key: OrderKey, now: Timestamp) -> bool {
        let may_be = self.orders.get(&key).is_some_and(|order| order.may_broadcast(now));
        if may_be {
            self.orders.adjust(&key, &(), Order::is_broadcast);
        }
        may_be
    }

    /// Reports a channel event to the order of the channel, if there is one.
    pub(crate) fn channel_moved(
        &mut self,
        channel: ChannelKey,
        command: &Command,
        polling: &Polling,
        now: Timestamp,
        out: &mut Changes,
    ) -> Handled {
        let is_done_by = |order: &&Order| order.unconfirmed_channel().is_some_and(|its| its.key == channel);
        let holds = |order: &&Order| order.has(channel).is_some() || is_done_by(order);
        let mut all = Handled::NotMine;
        for key in self.orders.values().filter(holds).map(|order| order.key).collect::<Vec<_>>() {
            if self.hear(key, command, polling, now, out).is_ok() {
                all = Handled::Taken;
            }
        }
        all
    }

    /// Asks an LSP that connected about all its orders at once.
    pub(crate) fn connected(&mut self, lsp: PeerId, polling: &Polling, pending: &mut Pending) {
        for (key, poll) in &mut self.polls {
            if self.orders.get(key).is_some_and(|order| order.lsp == lsp) {
                if let Some(ticket) = poll.asked.take() {
                    pending.forget(ticket.call());
                }
                *poll = Poll::at_once(polling);
            }
        }
    }

    /// Handles answers, sends requests, and ends what has expired.
    pub(crate) fn tick(&mut self, now: Timestamp, config: &Config, pending: &mut Pending, out: &mut Changes) {
        for key in self.polls.keys().copied().collect::<Vec<_>>() {
            self.take_answer(key, now, config, pending, out);
            self.ask(key, now, config, pending, out);
        }
        for key in self.orders.due(now) {
            let ticked = self.hear(key, &Command::Tick, &config.polling, now, out);
            debug_assert!(ticked.is_ok(), "time passes for every order");
        }
        let loaded = core::mem::take(&mut self.loaded);
        let mut owed: Vec<_> =
            loaded.iter().filter_map(|key| self.orders.get(key)).flat_map(Order::owed_after_restart).collect();
        // Inputs that one order releases may belong to another order by now, which reserves them again.
        owed.sort_by_key(|effect| !matches!(effect, Effect::ForgetPayment { .. }));
        out.released.effects.extend(owed);
    }

    /// Shifts the waits of orders and polls after the clock was set.
    pub(crate) fn clock_set(&mut self, shift: &ClockShift, polling: &Polling, out: &mut Changes) {
        self.polls.values_mut().for_each(|poll| poll.clock_set(shift));
        for key in self.orders.values().map(|order| order.key).collect::<Vec<_>>() {
            let command = Command::ClockSet { shift: *shift, ask_for: polling.after_return };
            let told = self.step(key, &command, polling, shift.now, out);
            debug_assert!(told.is_ok(), "a clock is set for every order");
        }
    }

    /// The next deadline or request. Open requests have deadlines of their own; an answer is due at once.
    pub(crate) fn next_wake(&self, pending: &Pending) -> Option<(Timestamp, Wake)> {
        let at_once = Timestamp::default();
        let polls = self.polls.values().filter_map(|poll| match &poll.asked {
            Some(ticket) => pending.is_answered(ticket.call()).then_some((at_once, Wake::AnswerArrived)),
            None => Some((poll.next, Wake::OrderAsked)),
        });
        let loaded = self.loaded.first().map(|_| (at_once, Wake::OrdersLoaded));
        polls.chain(self.orders.next_wake()).chain(loaded).min()
    }

    /// Channels that were taken for orders of this LSP and may have been opened for a purchase: those without an
    /// initial balance of the wallet.
    pub(crate) fn perhaps_bought(&self, lsp: PeerId) -> impl Iterator<Item = super::Channel> {
        let is_alike = |order: &&Order| order.ordered.client_balance_sat == Sat::ZERO;
        self.of(lsp).filter(is_alike).filter_map(Order::channel)
    }

    pub(crate) fn get(&self, key: OrderKey) -> Option<&Order> {
        self.orders.get(&key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// Wakes `waker` at the next change of this order.
    pub(crate) fn watch(&mut self, key: OrderKey, waker: &Waker) {
        let watchers = self.watchers.entry(key).or_default();
        if !watchers.iter().any(|watcher| watcher.will_wake(waker)) {
            watchers.push(waker.clone());
        }
    }

    fn take_answer(
        &mut self,
        key: OrderKey,
        now: Timestamp,
        config: &Config,
        pending: &mut Pending,
        out: &mut Changes,
    ) {
        let Some(poll) = self.polls.get_mut(&key) else { return };
        let Some(outcome) = poll.asked.as_ref().and_then(|ticket| pending.take(ticket)) else { return };
        poll.asked = None;
        if core::mem::take(&mut poll.is_stale) {
            return;
        }
        let command = match outcome {
            Ok(reply) => {
                if let (OrderState::Completed, Some(channel)) = (reply.order_state, &reply.channel) {
                    self.corrects(key, channel.funding_outpoint, &config.polling, now, out);
                }
                self.heard(key, &reply, &config.polling)
            }
            Err(CallError::Refused(error)) if error.refusal == Refusal::Method(GetOrderError::NotFound) => {
                Some(Command::NotFound)
            }
            Err(CallError::InvalidReply(_)) => {
                Some(Command::NoAnswer { unreadable: true, silent_after: config.polling.silent_after })
            }
            Err(CallError::Refused(_) | CallError::Disconnected | CallError::TimedOut | CallError::Forgotten) => {
                Some(Command::NoAnswer { unreadable: false, silent_after: config.polling.silent_after })
            }
        };
        if let Some(command) = command {
            self.answered(key, &command, now, config, out);
        }
    }

    fn heard(&self, key: OrderKey, reply: &Reply, polling: &Polling) -> Option<Command> {
        let (order, Polling { seen_within, refund_within, .. }) = (self.orders.get(&key)?, *polling);
        let read = order.read(reply, order.paying()?.method);
        Some(read.map_or_else(Command::Differs, |said| Command::Said { said, seen_within, refund_within }))
    }

    fn ask(&mut self, key: OrderKey, now: Timestamp, config: &Config, pending: &mut Pending, out: &mut Changes) {
        let (Some(order), Some(poll)) = (self.orders.get(&key), self.polls.get_mut(&key)) else { return };
        if poll.asked.is_some() || now < poll.next {
            return;
        }
        let question = GetOrder { order_id: order.id.as_str().into() };
        // Half of the calls are reserved for the application.
        match pending.ask(order.lsp, &question, config.calls_per_lsp.div_ceil(2), (now, config.answer_within), out) {
            Ok(ticket) => {
                if config.read_absent_echoes {
                    pending.fills(ticket.call(), &RequestData::of(&order.ordered));
                }
                poll.asked = Some(ticket);
            }
            // The wallet's own limit is no fault of the LSP.
            Err(NotSent::TooManyPending) => poll.slower(&config.polling, false, now),
            Err(NotSent::NotConnected | NotSent::Suspended | NotSent::TooLarge(_)) => {
                let silent_after = config.polling.silent_after;
                self.answered(key, &Command::NoAnswer { unreadable: false, silent_after }, now, config, out);
            }
        }
    }

    /// Handles an answer, or the lack of one: without news the next request comes later.
    fn answered(&mut self, key: OrderKey, command: &Command, now: Timestamp, config: &Config, out: &mut Changes) {
        let stepped = self.step(key, command, &config.polling, now, out);
        debug_assert!(stepped.is_ok(), "only orders that are being paid are asked about");
        if let (Ok(Moved::No), Some(order), Some(poll)) = (stepped, self.orders.get(&key), self.polls.get_mut(&key)) {
            let is_returned = order.paying().is_some_and(Paying::is_returned);
            let stuck = !is_returned && (order.trouble.is_some() || !order.awaits_channel());
            poll.slower(&config.polling, stuck, now);
        }
    }

    /// Executes a command: applies and records its events, adds notices, and releases the new effects. No other code
    /// steps an order.
    fn step(
        &mut self,
        key: OrderKey,
        command: &Command,
        polling: &Polling,
        now: Timestamp,
        out: &mut Changes,
    ) -> Result<Moved, OrderError> {
        let (was_loaded, mut news) = (self.loaded.contains(&key), Moved::No);
        let seen = |event: &Event| {
            if !matches!(event, Event::Unanswered(_) | Event::Heard | Event::Troubled(_) | Event::ClockSet { .. }) {
                news = Moved::Yes;
            }
            out.released.notices.push(Notice::Order(key, event.clone()));
        };
        let moved = self.orders.step(key, command, &now, &(), seen).ok_or(OrderError::NoSuchOrder)??;
        let Some(owed) = moved.stepped.owed else { return Ok(Moved::No) };
        self.loaded.retain(|loaded| *loaded != key);
        let order = self.orders.get(&key);
        // The effects of a loaded order are released at the first tick.
        let owed = match order.or(moved.over.as_ref()).filter(|_| was_loaded) {
            Some(order) => order.owed_after_restart(),
            None => owed,
        };
        out.released.effects.extend(owed);
        out.records.insert(FlowId::Order(key), order.map(|order| record::encode(VERSION, order)));
        match order.and_then(Order::paying) {
            None => drop(self.polls.remove(&key)),
            Some(paying) if news == Moved::Yes => {
                let poll = self.polls.entry(key).or_insert_with(|| Poll::at_once(polling));
                if paying.is_returned() { poll.anew(polling) } else { poll.news(polling, now) }
            }
            Some(_) => {}
        }
        for waker in self.watchers.remove(&key).into_iter().flatten() {
            waker.wake();
        }
        Ok(news)
    }

    fn of(&self, lsp: PeerId) -> impl Iterator<Item = &Order> {
        self.orders.index().of_lsp.of(&lsp).filter_map(|key| self.orders.get(&key))
    }

    fn keep_asking(&mut self, order: &Order, polling: &Polling) {
        if order.paying().is_some() {
            self.polls.insert(order.key, Poll::at_once(polling));
        }
    }

    /// Removes the finished order that would be removed first, if there is one. An order whose payment may be in a
    /// mempool stays.
    fn make_room(&mut self, out: &mut Changes) -> bool {
        let over = self.orders.values().filter(|order| order.end().is_some() && !order.holds_coins());
        let Some(key) = over.min_by_key(|order| order.deadline().map(|(at, _)| at)).map(|order| order.key) else {
            return false;
        };
        let end = Timestamp::from_unix_millis(u64::MAX);
        self.hear(key, &Command::Tick, &Polling::default(), end, out).is_ok()
    }
}

/// Whether the order itself changed, and not only the record of whether its LSP answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Yes,
    No,
}

pub(crate) fn handled(done: &Result<(), OrderError>) -> Handled {
    if done.is_ok() { Handled::Taken } else { Handled::NotMine }
}

/// Reason for which an order is not put on record. Such an order must not be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusePlace {
    /// The order has expired.
    #[error("the order has expired")]
    Expired,
    /// The LSP has given the same id to another order.
    #[error("the LSP has another order of this name")]
    KnownOrder,
    /// The invoice has the payment hash of another order's invoice or of an invoice of this wallet. Its payment would
    /// prove nothing, and the outcome of one payment would be taken for the other's.
    #[error("the payment hash of the order's invoice was used before: order again")]
    KnownPaymentHash,
    /// Too many orders are open.
    #[error("too many orders are open")]
    TooMany,
}

/// Reason for which an order rejects an input. The state has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No order with this key is on record.
    #[error("there is no such order")]
    NoSuchOrder,
    /// Another payment method was chosen before; only one is ever used.
    #[error("the order is paid {0}")]
    OtherMethod(PaymentMethod),
    /// The order does not have this payment method.
    #[error("the order cannot be paid by that method")]
    NoSuchMethod,
    /// Too little time is left to pay.
    #[error("it is too late to begin with the payment")]
    TooLate,
    /// The state of the order does not allow the input.
    #[error("the order is not in a state for that")]
    NotExpected,
}

impl From<Reject> for OrderError {
    fn from(reject: Reject) -> Self {
        match reject {
            Reject::OtherMethod(method) => Self::OtherMethod(method),
            Reject::NoSuchMethod => Self::NoSuchMethod,
            Reject::TooLate => Self::TooLate,
            Reject::HasChannel | Reject::NotExpected => Self::NotExpected,
        }
    }
}

/// The fields that version 3 added.
const NONE: [u8; 2] = [0, 0];
/// Version of an order's record.
const VERSION: u8 = 4;

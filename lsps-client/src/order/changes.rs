//! Commands to an order, and the events that they cause.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use lsps_types::lsps1::OrderState;
use lsps_types::{ClockShift, OutPoint, Timestamp};

use super::reply::{PaymentState, Said};
use super::{
    Accept, Asked, Channel, End, Event, Lease, OUT_OF_MEMPOOLS, Order, Paying, Payment, PaymentMethod, Reserved, State,
    Trouble, Unpaid,
};
use crate::effect::ChannelKey;

/// Command to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Pay by the first of these methods that can be used, the others in turn if it fails.
    Pay(Vec<PaymentMethod>),
    /// The wallet signed this transaction, which pays the order.
    Signed(Vec<u8>),
    /// Lightning: the LSP claimed the payment.
    Settled,
    /// No payment was sent, and none will be.
    NotSent,
    /// Lightning: the payment failed. The LSP is asked for this time whether it had it.
    Returned { ask_for: Duration },
    /// The LSP answered with the order. The wallet has to see the claims of the answer within these times.
    Said { said: Said, seen_within: Duration, refund_within: Duration },
    /// The LSP answered with an order that differs in this field.
    Differs(String),
    /// The LSP does not know the order.
    NotFound,
    /// A request had no answer, or an invalid one. After `silent_after` the order is in trouble.
    NoAnswer { unreadable: bool, silent_after: Duration },
    /// The LSP asks to open this channel.
    OpenRequested { key: ChannelKey, asked: Asked, accept: Accept },
    /// A channel that suits the order is assigned to a purchase.
    OtherChannel(Channel),
    /// The funding of a channel is negotiated.
    ChannelPending { key: ChannelKey, funding: Option<OutPoint> },
    /// A channel could not be opened, or was closed.
    ChannelEnded(ChannelKey),
    /// The funding of a channel is confirmed.
    ChannelConfirmed(ChannelKey),
    /// The channel of this order turned out to be another flow's; the given one is the order's now.
    ChannelPassed(Option<Channel>),
    /// The wallet released the inputs of the transaction that is to be broadcast no more.
    Forgotten,
    /// The wallet gives the order up.
    Abandon,
    /// The clock was set.
    ClockSet { shift: ClockShift, ask_for: Duration },
    /// Time passed.
    Tick,
}

/// Reason for which an order rejects a command. The state has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Another payment method was chosen before.
    OtherMethod(PaymentMethod),
    /// The order does not have this payment method.
    NoSuchMethod,
    /// Too little time is left to pay.
    TooLate,
    /// The order has a channel already.
    HasChannel,
    /// The state of the order does not allow the command.
    NotExpected,
}

impl Order {
    /// The events that `command` causes, or the reason to reject it. Reads the state only.
    pub(crate) fn decide(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Reject> {
        use State as S;
        let event = match (&self.state, command) {
            (S::Quoted, Command::Pay(methods)) => return self.chooses(methods, now),
            (S::Paying(paying) | S::Refunding(paying), Command::Pay(methods))
                if methods.first() != Some(&paying.method) =>
            {
                return Err(Reject::OtherMethod(paying.method));
            }
            (S::Paying(_), Command::Pay(_)) => return Ok(Vec::new()),

            (S::Paying(paying), Command::Signed(tx)) => return self.signed(paying, tx, now),
            (S::Paying(paying) | S::Refunding(paying), Command::Settled) => return self.settled(paying),
            (S::Paying(paying) | S::Refunding(paying), Command::NotSent | Command::Returned { .. }) => {
                return self.came_back(paying, command, now);
            }
            // The node repeats its report.
            (S::Ended { .. }, Command::Settled | Command::NotSent | Command::Returned { .. }) => return Ok(Vec::new()),

            (S::Paying(paying) | S::Refunding(paying), Command::Said { said, seen_within, refund_within }) => {
                return Ok(self.said(paying, said, (*seen_within, *refund_within), now));
            }
            (S::Paying(_) | S::Refunding(_), Command::Differs(field)) => {
                return Ok(self.troubled(Trouble::Differs { field: field.clone() }));
            }
            (S::Paying(paying) | S::Refunding(paying), Command::NotFound) if paying.is_returned() => {
                self.ends(End::Unpaid(Unpaid::NotSent), now)
            }
            (S::Paying(_) | S::Refunding(_), Command::NotFound) => return Ok(self.troubled(Trouble::Forgotten)),
            (S::Paying(_) | S::Refunding(_), Command::NoAnswer { unreadable, silent_after }) => {
                return Ok(self.unanswered(*unreadable, *silent_after, now));
            }

            (
                S::Paying(_) | S::Refunding(_),
                Command::OpenRequested { .. }
                | Command::OtherChannel(_)
                | Command::ChannelPending { .. }
                | Command::ChannelEnded(_)
                | Command::ChannelPassed(_),
            ) => return self.channel_moves(command, now),

            (_, Command::Forgotten) if self.reserved.as_ref().is_some_and(|reserved| reserved.is_free) => {
                Event::Forgotten
            }
            (_, Command::ClockSet { shift, ask_for }) => {
                let (shift, ask_for) = (*shift, *ask_for);
                return Ok(if self.is_shifted_by(&shift, ask_for) {
                    Vec::from([Event::ClockSet { shift, ask_for }])
                } else {
                    Vec::new()
                });
            }
            (S::Quoted, Command::Abandon) => self.ends(End::Unpaid(Unpaid::Abandoned), now),
            (S::Paying(paying) | S::Refunding(paying), Command::Abandon) => return Ok(self.abandoned(paying, now)),

            (S::Quoted, Command::Tick) if self.deadline().is_some_and(|(end, _)| now >= end) => {
                self.ends(End::Unpaid(Unpaid::Expired), now)
            }
            (S::Paying(paying) | S::Refunding(paying), Command::Tick) => return Ok(self.time_passed(paying, now)),
            (S::Ended { .. }, Command::ChannelEnded(key) | Command::ChannelConfirmed(key))
                if self.unconfirmed_channel().is_some_and(|channel| channel.key == *key) =>
            {
                return Ok(self.shows_whether_it_is_confirmed(command));
            }
            (S::Ended { end: End::Done { lease, .. }, .. }, Command::Tick)
                if self.trouble.is_none() && self.confirm_by.is_some_and(|at| now >= at) =>
            {
                return Ok(self.troubled(Trouble::Unconfirmed { funding: lease.funding }));
            }
            (S::Ended { keep_until, .. }, Command::Tick) if now >= *keep_until => {
                if self.holds_coins() {
                    Event::InputsFree
                } else {
                    Event::Dropped
                }
            }
            (S::Quoted | S::Ended { .. } | S::Gone, Command::Tick) => return Ok(Vec::new()),

            (
                S::Quoted | S::Paying(_) | S::Refunding(_) | S::Ended { .. } | S::Gone,
                Command::Pay(_)
                | Command::Forgotten
                | Command::Signed(_)
                | Command::Settled
                | Command::NotSent
                | Command::Returned { .. }
                | Command::Said { .. }
                | Command::Differs(_)
                | Command::NotFound
                | Command::NoAnswer { .. }
                | Command::OpenRequested { .. }
                | Command::OtherChannel(_)
                | Command::ChannelPending { .. }
                | Command::ChannelEnded(_)
                | Command::ChannelConfirmed(_)
                | Command::ChannelPassed(_)
                | Command::Abandon,
            ) => return Err(Reject::NotExpected),
        };
        Ok(Vec::from([event]))
    }

    /// Chooses the first of these methods that can still be used.
    fn chooses(&self, methods: &[PaymentMethod], now: Timestamp) -> Result<Vec<Event>, Reject> {
        if self.is_free() && methods.contains(&PaymentMethod::Free) {
            return Ok(Vec::from([Event::Chosen { method: PaymentMethod::Free, then: Vec::new() }]));
        }
        let mut methods = methods.iter();
        let mut why = Reject::NoSuchMethod;
        while let Some(method) = methods.next() {
            match self.payment_option(*method) {
                Some(option) if now < option.pay_by => {
                    let then = methods.copied().filter(|other| other != method).collect();
                    return Ok(Vec::from([Event::Chosen { method: *method, then }]));
                }
                Some(_) => why = Reject::TooLate,
                None => {}
            }
        }
        Err(why)
    }

    /// Whether a transaction of the order may be in a mempool although the order is over.
    pub(crate) fn holds_coins(&self) -> bool {
        self.reserved.as_ref().is_some_and(|reserved| !reserved.is_free)
    }

    /// The event when nothing was sent by the present method, and nothing will be: the next method is tried if the
    /// order is open, or the order is over.
    fn unpaid(&self, paying: &Paying, why: Unpaid, now: Timestamp) -> Event {
        // One that is called off is refunding.
        let is_open = matches!(self.state, State::Paying(_));
        let next = if is_open { self.chooses(&paying.then, now).ok() } else { None };
        next.and_then(|mut events| events.pop()).unwrap_or_else(|| self.ends(End::Unpaid(why), now))
    }

    fn settled(&self, paying: &Paying) -> Result<Vec<Event>, Reject> {
        match (paying.method, &paying.payment) {
            // The preimage proves the payment, whatever the node reported before.
            (PaymentMethod::Bolt11 | PaymentMethod::Bolt12, Payment::Asked | Payment::Returned { .. }) => {
                let mut events = Vec::from([Event::Settled]);
                if matches!(self.state, State::Refunding(_)) && !paying.called_off {
                    events.extend(self.troubled(Trouble::Kept));
                }
                Ok(events)
            }
            (PaymentMethod::Bolt11 | PaymentMethod::Bolt12, Payment::Settled) => Ok(Vec::new()),
            (PaymentMethod::Onchain | PaymentMethod::Free, _) | (_, Payment::Signed(_) | Payment::Nothing) => {
                Err(Reject::NotExpected)
            }
        }
    }

    fn came_back(&self, paying: &Paying, command: &Command, now: Timestamp) -> Result<Vec<Event>, Reject> {
        let event = match (&paying.payment, command) {
            (Payment::Asked, _) if paying.held => self.ends(End::Refunded, now),
            (Payment::Asked, _) if paying.called_off => self.ends(End::Unpaid(Unpaid::Abandoned), now),
            // An LSP may fail a payment that it held before the first request about it.
            (Payment::Asked, Command::Returned { ask_for }) if paying.method != PaymentMethod::Onchain => {
                Event::Returned { ask_until: now + *ask_for }
            }
            (Payment::Asked, _) => self.unpaid(paying, Unpaid::NotSent, now),
            (Payment::Returned { .. }, _) => return Ok(Vec::new()),
            (Payment::Signed(_) | Payment::Settled | Payment::Nothing, _) => return Err(Reject::NotExpected),
        };
        Ok(Vec::from([event]))
    }

    fn channel_moves(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Reject> {
        let paying = self.paying().ok_or(Reject::NotExpected)?;
        let event = match *command {
            Command::OpenRequested { key, asked, accept } if matches!(self.state, State::Paying(_)) => {
                Event::ChannelAsked(match paying.channel {
                    None => Channel::new(key, asked, accept),
                    // The LSP repeats its request after a reconnect, so the node has to accept again.
                    Some(channel) if channel.key == key && !channel.pending => {
                        Channel { attempt: channel.attempt.saturating_add(1), ..channel }
                    }
                    Some(_) => return Err(Reject::HasChannel),
                })
            }
            Command::OtherChannel(channel) if self.has(channel.key).is_none() => Event::OtherChannel(channel),
            Command::OtherChannel(_) => return Ok(Vec::new()),
            Command::ChannelPending { key, funding } => match self.has(key) {
                Some(its) if its.pending && (funding.is_none() || its.funding == funding) => return Ok(Vec::new()),
                Some(_) => Event::ChannelPending { key, funding, at: now },
                None => return Err(Reject::NotExpected),
            },
            Command::ChannelEnded(key) if self.has(key).is_some() => Event::ChannelEnded(key),
            Command::ChannelPassed(channel) => Event::ChannelPassed(channel),
            Command::OpenRequested { .. }
            | Command::ChannelEnded(_)
            | Command::ChannelConfirmed(_)
            | Command::Pay(_)
            | Command::Signed(_)
            | Command::Settled
            | Command::NotSent
            | Command::Returned { .. }
            | Command::Said { .. }
            | Command::Differs(_)
            | Command::NotFound
            | Command::NoAnswer { .. }
            | Command::Forgotten
            | Command::Abandon
            | Command::ClockSet { .. }
            | Command::Tick => return Err(Reject::NotExpected),
        };
        Ok(Vec::from([event]))
    }

    /// The events of a completed order whose channel is confirmed now, or never will be.
    fn shows_whether_it_is_confirmed(&self, command: &Command) -> Vec<Event> {
        match (command, self.end()) {
            (Command::ChannelEnded(key), Some(End::Done { lease, .. })) => {
                let troubled = self.troubled(Trouble::Unconfirmed { funding: lease.funding });
                troubled.into_iter().chain([Event::ChannelEnded(*key)]).collect()
            }
            _ => self.heard(None, Vec::from([Event::Confirmed])),
        }
    }

    /// The events that end an order in any state. A payment that may still be sent is stopped first.
    fn abandoned(&self, paying: &Paying, now: Timestamp) -> Vec<Event> {
        let is_failed = matches!(self.state, State::Refunding(_));
        let event = if paying.unsent {
            return Vec::from([Event::Unsent, self.ends(End::Unpaid(Unpaid::Abandoned), now)]);
        } else if paying.is_unbegun() || paying.payment == Payment::Nothing {
            self.ends(End::Unpaid(Unpaid::Abandoned), now)
        } else if paying.is_returned() {
            self.ends(End::Unpaid(Unpaid::NotSent), now)
        } else if paying.is_under_way() && !is_failed {
            Event::CalledOff
        } else {
            self.ends(End::GivenUp, now)
        };
        Vec::from([event])
    }

    fn time_passed(&self, paying: &Paying, now: Timestamp) -> Vec<Event> {
        let is_past = |at: Option<Timestamp>| at.is_some_and(|at| now >= at);
        let event = if paying.unsent && is_past(self.is_late_at(paying)) {
            return Vec::from([Event::Unsent, self.unpaid(paying, Unpaid::Expired, now)]);
        } else if is_past(paying.asks_until()) {
            self.ends(End::Unpaid(Unpaid::NotSent), now)
        } else if is_past(self.unbegun_ends(paying)) {
            self.unpaid(paying, Unpaid::Expired, now)
        } else if now >= self.ends_at(paying) {
            match paying.is_under_way() && !paying.called_off {
                true => Event::CalledOff,
                false => self.ends(End::GivenUp, now),
            }
        } else if is_past(self.is_late_at(paying)) {
            Event::Late
        } else {
            return Vec::new();
        };
        Vec::from([event])
    }

    /// Applies an event. Never fails nor reads a clock. Nothing else assigns `self.state`.
    pub(crate) fn apply(&mut self, event: &Event) {
        let paying = match &mut self.state {
            State::Paying(paying) | State::Refunding(paying) => Some(paying),
            State::Quoted | State::Ended { .. } | State::Gone => None,
        };
        match (event, paying) {
            (Event::Placed, _) => self.state = State::Quoted,
            (Event::Chosen { method, then }, paying) => {
                let (channel, other) = paying.map_or((None, None), |paying| (paying.channel, paying.other));
                self.state = State::Paying(Paying { channel, other, ..Paying::by(*method, then.clone()) });
            }
            (Event::Signed(tx), Some(paying)) => (paying.payment, paying.unsent) = (Payment::Signed(tx.clone()), true),
            (Event::Unsent, Some(paying)) => {
                if let Payment::Signed(transaction) = core::mem::replace(&mut paying.payment, Payment::Asked) {
                    self.reserved = Some(Reserved { transaction, is_free: true });
                }
                paying.unsent = false;
            }
            (Event::InputsFree, _) => self.reserved.iter_mut().for_each(|reserved| reserved.is_free = true),
            (Event::Forgotten, _) => self.reserved = None,
            (Event::Late, Some(paying)) => paying.late = true,
            (Event::Stands { until }, Some(paying)) => (paying.late, paying.stands_until) = (false, *until),
            (Event::CalledOff, Some(paying)) => {
                let called_off = Paying { called_off: true, ..paying.clone() };
                self.state = State::Refunding(called_off);
            }
            (Event::Unseen(since), Some(paying)) => paying.unseen_since = Some(*since),
            (Event::Settled, Some(paying)) => paying.payment = Payment::Settled,
            (Event::Returned { ask_until }, Some(paying)) => {
                paying.payment = Payment::Returned { ask_until: *ask_until };
            }
            (Event::Held, Some(paying)) => paying.held = true,
            (Event::ChannelAsked(channel), Some(paying)) => paying.channel = Some(*channel),
            (Event::ChannelPending { key, funding, at }, Some(paying)) => {
                for channel in [&mut paying.channel, &mut paying.other].into_iter().flatten() {
                    if channel.key == *key {
                        let funded_at = channel.funded_at.or(funding.map(|_| *at));
                        *channel =
                            Channel { pending: true, funding: funding.or(channel.funding), funded_at, ..*channel };
                    }
                }
                paying.unseen_since = None;
            }
            (Event::ChannelEnded(key), Some(paying)) => {
                let lives = |channel: &Channel| channel.key != *key;
                paying.channel = paying.channel.filter(lives);
                paying.other = paying.other.filter(lives);
            }
            (Event::ChannelEnded(_) | Event::Confirmed, None) => self.confirm_by = None,
            (Event::Unconfirmed { until }, _) => self.confirm_by = Some(*until),
            (Event::ChannelPassed(channel), Some(paying)) => {
                paying.channel = *channel;
                paying.other = paying.other.filter(|other| channel.is_none_or(|channel| channel.key != other.key));
            }
            (Event::OtherChannel(channel), Some(paying)) => paying.other = Some(*channel),
            (Event::Refunding, Some(paying)) => {
                let failed = Paying { unseen_since: None, ..paying.clone() };
                self.state = State::Refunding(failed);
            }
            (Event::Unanswered(since), _) => self.unanswered_since = Some(*since),
            (Event::Heard, _) => (self.trouble, self.unanswered_since) = (None, None),
            (Event::Troubled(trouble), _) => {
                let silent = matches!(trouble, Trouble::Silent { .. } | Trouble::Unreadable { .. });
                self.unanswered_since = self.unanswered_since.filter(|_| silent);
                self.trouble = Some(trouble.clone());
            }
            (Event::Ended { end, keep_until }, paying) => {
                if let Some(Paying { payment: Payment::Signed(transaction), .. }) = paying {
                    self.reserved = Some(Reserved { transaction: transaction.clone(), is_free: false });
                }
                (self.trouble, self.unanswered_since) = (None, None);
                self.state = State::Ended { end: end.clone(), keep_until: *keep_until };
            }
            (Event::ClockSet { shift, ask_for }, _) => self.clock_set(shift, *ask_for),
            (Event::Dropped, _) => self.state = State::Gone,
            (
                Event::Signed(_)
                | Event::Late
                | Event::Unsent
                | Event::Stands { .. }
                | Event::CalledOff
                | Event::Unseen(_)
                | Event::Settled
                | Event::Returned { .. }
                | Event::Held
                | Event::ChannelAsked(_)
                | Event::ChannelPending { .. }
                | Event::ChannelPassed(_)
                | Event::OtherChannel(_)
                | Event::Refunding,
                None,
            )
            | (Event::Confirmed, Some(_)) => debug_assert!(false, "{event:?} cannot follow {:?}", self.state),
        }
    }

    /// Whether this clock correction changes any instant on record.
    fn is_shifted_by(&self, shift: &ClockShift, ask_for: Duration) -> bool {
        let mut shifted = self.clone();
        shifted.clock_set(shift, ask_for);
        shifted != *self
    }

    /// Shifts waits and their beginnings. The expiry of payment methods, of the order and of its record are dates and
    /// stay.
    fn clock_set(&mut self, shift: &ClockShift, ask_for: Duration) {
        let past = |at: &mut Option<Timestamp>| *at = at.map(|at| shift.past(at));
        past(&mut self.unanswered_since);
        if let Some(Trouble::Silent { since } | Trouble::Unreadable { since }) = &mut self.trouble {
            *since = shift.past(*since);
        }
        let wait = self.confirm_within();
        self.confirm_by = self.confirm_by.map(|at| shift.end(at, wait));
        if let State::Paying(paying) | State::Refunding(paying) = &mut self.state {
            past(&mut paying.unseen_since);
            for channel in [&mut paying.channel, &mut paying.other].into_iter().flatten() {
                past(&mut channel.funded_at);
            }
            if let Payment::Returned { ask_until } = &mut paying.payment {
                *ask_until = shift.end(*ask_until, ask_for);
            }
        }
    }

    fn signed(&self, paying: &Paying, tx: &[u8], now: Timestamp) -> Result<Vec<Event>, Reject> {
        match &paying.payment {
            Payment::Asked if paying.method != PaymentMethod::Onchain => Err(Reject::NotExpected),
            Payment::Asked if self.payment_option(paying.method).is_none_or(|option| now >= option.pay_by) => {
                Err(Reject::TooLate)
            }
            Payment::Asked => Ok(Vec::from([Event::Signed(tx.into())])),
            // Asked twice, the wallet may have signed two transactions. The first one counts.
            Payment::Signed(_) => Ok(Vec::new()),
            Payment::Settled | Payment::Returned { .. } | Payment::Nothing => Err(Reject::NotExpected),
        }
    }

    /// The events of the LSP's answer about the chosen method. Spec: LSPS1 §4, §5.
    ///
    /// The LSP's word changes an order only if the wallet's node, or nobody, can know better.
    fn said(
        &self,
        paying: &Paying,
        said: &Said,
        (seen_within, refund_within): (Duration, Duration),
        now: Timestamp,
    ) -> Vec<Event> {
        let (mut events, mut trouble, mut is_unseen) = (Vec::new(), None, false);
        let is_past = |within| paying.unseen_since.is_some_and(|since| now >= since + within);
        let opened = (said.state == OrderState::Completed).then(|| self.opened(said.lease, now));
        match (opened, said.payment) {
            (Some(Ok(end)), _) => {
                events.extend([self.ends(end, now), Event::Unconfirmed { until: now + self.confirm_within() }])
            }
            // The payment is back; it is only open whether the LSP had it.
            (opened, payment) if paying.is_returned() => {
                let was_there =
                    matches!(payment, Some(PaymentState::Held | PaymentState::Paid | PaymentState::Refunded));
                events.push(match was_there || opened.is_some() {
                    true => self.ends(End::Refunded, now),
                    false if said.state == OrderState::Created => self.unpaid(paying, Unpaid::NotSent, now),
                    false => self.ends(End::Unpaid(Unpaid::NotSent), now),
                });
            }
            (Some(Err(lie @ Trouble::ShortLease { .. })), _) => trouble = Some(lie),
            (Some(Err(lie)), _) => {
                is_unseen = true;
                trouble = is_past(seen_within).then_some(lie);
            }
            (None, payment) if said.state == OrderState::Failed || payment == Some(PaymentState::Refunded) => {
                events.extend(self.failing(paying, payment, now));
            }
            (None, Some(PaymentState::Held | PaymentState::Paid)) if !paying.held => events.push(Event::Held),
            (None, _) => {}
        }
        if paying.late && said.stands(now) {
            events.push(Event::Stands { until: said.open_until });
        }
        if events.iter().any(|event| matches!(event, Event::Ended { .. } | Event::Chosen { .. })) {
            let heard = (self.trouble.is_some() || self.unanswered_since.is_some()).then_some(Event::Heard);
            return heard.into_iter().chain(events).collect();
        }
        let is_failed = matches!(self.state, State::Refunding(_)) || events.contains(&Event::Refunding);
        let has_channel = paying.channel.is_some_and(|channel| channel.pending);
        match &paying.payment {
            Payment::Settled if is_failed => trouble = Some(Trouble::Kept),
            Payment::Settled if trouble.is_none() && !has_channel => {
                is_unseen = true;
                trouble = is_past(seen_within).then_some(Trouble::Kept);
            }
            Payment::Signed(_) if is_failed && !paying.late => {
                is_unseen = true;
                trouble = trouble.or(is_past(refund_within).then_some(Trouble::Kept));
            }
            Payment::Asked | Payment::Signed(_) | Payment::Settled | Payment::Returned { .. } | Payment::Nothing => {}
        }
        if is_unseen && (paying.unseen_since.is_none() || events.contains(&Event::Refunding)) {
            events.push(Event::Unseen(now));
        }
        self.heard(trouble, events)
    }

    /// The events of an answer: it ends any trouble unless that is unchanged.
    fn heard(&self, trouble: Option<Trouble>, events: Vec<Event>) -> Vec<Event> {
        let is_known = self.trouble == trouble && self.unanswered_since.is_none();
        let was = (self.trouble.is_some() || self.unanswered_since.is_some()) && !is_known;
        let heard = was.then_some(Event::Heard);
        let troubled = trouble.filter(|_| !is_known).map(Event::Troubled);
        heard.into_iter().chain(events).chain(troubled).collect()
    }

    /// Checks the channel that the LSP calls open against the wallet's node. Spec: LSPS1 §5.
    ///
    /// The channel of a purchase may be the order's if the purchase has another in exchange: with only one channel, the
    /// fee of the purchase was for that one, and the order has none yet.
    fn opened(&self, lease: Option<Lease>, now: Timestamp) -> Result<End, Trouble> {
        let lease = lease.ok_or(Trouble::NoChannel { funding: None })?;
        let own = self.channel();
        let is_own = |channel: &Channel| own.is_some_and(|own| own.key == channel.key || own.pending);
        let ours = self.channels().filter(is_own).find(|channel| channel.funding == Some(lease.funding));
        let ours = ours.ok_or(Trouble::NoChannel { funding: Some(lease.funding) })?;
        // The wallet's own clock is used, as the LSP chooses its times.
        let paid_for = LEAST_OF_BLOCK.saturating_mul(self.ordered.channel_expiry_blocks);
        if lease.until < ours.funded_at.unwrap_or(now) + paid_for {
            return Err(Trouble::ShortLease { until: lease.until });
        }
        Ok(End::Done { lease, channel: Some(ours) })
    }

    /// The events of an order that failed. The node reports whether a Lightning payment is back; for an on-chain refund
    /// the LSP does.
    fn failing(&self, paying: &Paying, payment: Option<PaymentState>, now: Timestamp) -> Vec<Event> {
        let closed = || self.ends(End::Unpaid(Unpaid::Closed), now);
        match (&paying.payment, payment) {
            (Payment::Asked, _) if paying.is_unbegun() => Vec::from([closed()]),
            (Payment::Nothing, _) => Vec::from([closed()]),
            (Payment::Signed(_), _) if paying.unsent => Vec::from([Event::Unsent, closed()]),
            (Payment::Signed(_), Some(PaymentState::Refunded)) => Vec::from([self.ends(End::Refunded, now)]),
            (Payment::Asked | Payment::Signed(_) | Payment::Settled | Payment::Returned { .. }, _) => {
                self.awaits_channel().then_some(Event::Refunding).into_iter().collect()
            }
        }
    }

    /// Time within which the funding should confirm: twice the usual time, and some more, as blocks come at random.
    fn confirm_within(&self) -> Duration {
        MOST_OF_BLOCK.saturating_mul(self.ordered.funding_confirms_within_blocks.into()) + LATE_BLOCKS
    }

    fn troubled(&self, trouble: Trouble) -> Vec<Event> {
        if self.trouble.as_ref() == Some(&trouble) { Vec::new() } else { Vec::from([Event::Troubled(trouble)]) }
    }

    fn unanswered(&self, unreadable: bool, silent_after: Duration, now: Timestamp) -> Vec<Event> {
        let trouble = |since| if unreadable { Trouble::Unreadable { since } } else { Trouble::Silent { since } };
        match self.unanswered_since {
            None => Vec::from([Event::Unanswered(now)]),
            Some(since) if now >= since + silent_after => self.troubled(trouble(since)),
            Some(_) => Vec::new(),
        }
    }

    fn ends(&self, end: End, now: Timestamp) -> Event {
        let kept = now + Duration::from_millis(self.keep_millis);
        let is_out = |paying: &Paying| matches!(paying.payment, Payment::Signed(_)) && !paying.unsent;
        let forget_at = if self.paying().is_some_and(is_out) { kept.max(now + OUT_OF_MEMPOOLS) } else { kept };
        let keep_until = match &end {
            End::Done { lease, .. } => forget_at.max(lease.until),
            End::Refunded | End::Unpaid(_) | End::GivenUp => forget_at,
        };
        Event::Ended { end, keep_until }
    }
}

/// Half of the usual time of a block, as blocks come at random.
const LEAST_OF_BLOCK: Duration = Duration::from_secs(300);
/// Twice the usual time of a block.
const MOST_OF_BLOCK: Duration = Duration::from_secs(1_200);
/// Time in which twelve blocks may come, and sometimes none does.
const LATE_BLOCKS: Duration = Duration::from_secs(2 * 60 * 60);

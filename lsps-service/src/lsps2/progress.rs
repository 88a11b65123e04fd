//! What follows from the state of an offer without any further input: deadlines, a complete set opens the channel, an
//! open channel carries it, claims pay the fee.
//!
//! Asked after every input until nothing follows, so that the same rule serves a part that arrives, a client that comes
//! back and a restart.

use alloc::{vec, vec::Vec};

use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, Msat, PaymentHash, Timestamp, lsps2::fee};

use crate::channel::{Channel, ChannelEvent, Step};
use crate::config::Config;
use crate::flow::{Context, Link};
use crate::lsps2::change::Event;
use crate::lsps2::jit_channel::{Fee, JitChannel, moved};
use crate::lsps2::parts::{PartState, Payment};
use crate::policy::ChannelRequest;
use crate::wake::Wake;

impl JitChannel {
    /// The next changes, or none: then the offer waits for the world.
    pub fn follow(&self, ctx: &Context<'_>) -> Vec<Event> {
        let steps = [
            Self::let_go,
            Self::give_up_opening,
            Self::settle_fee,
            Self::begin,
            Self::send,
            Self::abandon,
            Self::open_to_others,
            Self::broadcast_again,
            Self::call_client,
            Self::forget,
        ];
        steps.iter().map(|step| step(self, ctx)).find(|events| !events.is_empty()).unwrap_or_default()
    }

    /// Held parts whose time is up.
    fn let_go(&self, ctx: &Context<'_>) -> Vec<Event> {
        let mut events = vec![];
        for (hash, payment) in self.payments.iter().filter(|(_, payment)| payment.has_held()) {
            let (deadline, at_deadline) = self.deadline(*hash, payment, ctx.config);
            let code = if matches!(self.channel, Channel::Closed { .. }) {
                FailureCode::UnknownNextPeer
            } else if payment.held().any(|part| ctx.too_close(part.cltv_expiry)) {
                FailureCode::TemporaryChannelFailure
            } else if ctx.now >= deadline {
                at_deadline
            } else {
                continue;
            };
            events.extend(self.fail_held(*hash, code));
        }
        events
    }

    /// Until when held parts wait, and what their payer learns then.
    ///
    /// A set that was complete in time goes on past the end of the offer, but not for ever: its client may stay away.
    fn deadline(&self, hash: PaymentHash, payment: &Payment, config: &Config) -> (Timestamp, FailureCode) {
        let hold = payment.since + config.hold;
        if self.is_under_way(hash, payment) {
            return (hold + config.open_timeout, FailureCode::TemporaryChannelFailure);
        }
        let end = self.honoured_until(config);
        if end <= hold { (end, FailureCode::UnknownNextPeer) } else { (hold, FailureCode::TemporaryChannelFailure) }
    }

    /// A client that never answers an open does not get to hold the payment for ever. A channel that both may have signed
    /// stays while something may be on it.
    fn give_up_opening(&self, ctx: &Context<'_>) -> Vec<Event> {
        if self.channel.given_up_at(ctx.config).is_none_or(|at| ctx.now < at) {
            return vec![];
        }
        if self.may_be_signed() && may_be_in_use(ctx) {
            return if self.fee == Fee::Due {
                vec![]
            } else {
                self.payment_fails(FailureCode::TemporaryChannelFailure, ctx)
            };
        }
        self.open_fails(FailureCode::TemporaryChannelFailure, ChannelEvent::Abandoned, ctx)
    }

    fn settle_fee(&self, ctx: &Context<'_>) -> Vec<Event> {
        let charged = match &self.fee {
            Fee::Paid => return vec![],
            Fee::Due => return if self.is_paid_after_all() { vec![Event::FeePaid(ctx.now)] } else { vec![] },
            Fee::InFlight(charged) => charged,
        };
        let payment = self.payments.get(&charged.payment_hash);
        if payment.and_then(Payment::earned).is_some() && self.earned() >= charged.fee {
            return vec![Event::FeePaid(ctx.now)];
        }
        let hopeful = payment.is_some_and(|payment| {
            if self.is_complete(payment) && !payment.is_at_client() {
                // A new try for another amount has a fee of its own.
                self.price(payment).is_some_and(|price| price.fee == charged.fee)
            } else {
                self.is_complete(payment) || payment.has_sent()
            }
        });
        if hopeful { vec![] } else { vec![Event::FeeFreed(ctx.now)] }
    }

    /// A payment that was believed to have failed was claimed, and kept of it is the whole fee.
    fn is_paid_after_all(&self) -> bool {
        self.payments.values().any(|payment| {
            let sum = payment.claimed_sum();
            let fee = match self.terms.payment_size {
                Some(size) => self.terms.fee.fee_on(size).ok(),
                None => self.terms.fee_of_one(sum),
            };
            payment.earned().is_some() && fee.is_some_and(|fee| self.earned() >= fee)
        })
    }

    /// The first complete set gets the channel and pays for it.
    fn begin(&self, ctx: &Context<'_>) -> Vec<Event> {
        let mut complete: Vec<_> = self.payments.iter().filter(|(_, payment)| self.is_complete(payment)).collect();
        complete.sort_by_key(|(hash, payment)| (payment.since, **hash));
        let Some((hash, payment)) = complete.first().copied().filter(|_| self.fee == Fee::Due) else { return vec![] };
        let Some(Price { fee, due, deliver }) = self.price(payment) else {
            return self.fail_held(*hash, FailureCode::UnknownNextPeer);
        };
        let charged = Event::FeeCharged { payment_hash: *hash, fee, due };
        match &self.channel {
            Channel::None if self.terms.client_trusts_lsp && ctx.owes_a_fee => {
                self.fail_held(*hash, FailureCode::UnknownNextPeer)
            }
            Channel::None if ctx.link != Link::Away && ctx.may_open() => {
                let ask = ChannelRequest { client: self.client, deliver, htlcs: payment.held().count() };
                match ctx.policy.channel(&ask, ctx.facts) {
                    Some(plan) => vec![charged, Event::Opening { at: ctx.now, plan, deliver }],
                    // Feerates fall again.
                    None => self.fail_held(*hash, FailureCode::TemporaryChannelFailure),
                }
            }
            Channel::Ready { .. } if ctx.link == Link::Usable => vec![charged],
            Channel::None
            | Channel::Opening { .. }
            | Channel::Pending { .. }
            | Channel::Ready { .. }
            | Channel::Closed { .. }
            | Channel::Abandoning { .. } => vec![],
        }
    }

    /// Over a usable channel goes the payment that pays the fee; once that is paid, everything, whole.
    fn send(&self, ctx: &Context<'_>) -> Vec<Event> {
        if !matches!(self.channel, Channel::Ready { .. }) || ctx.link != Link::Usable {
            return vec![];
        }
        match &self.fee {
            Fee::Due => vec![],
            Fee::InFlight(charged) => {
                let payment = self.payments.get(&charged.payment_hash);
                let Some(payment) = payment.filter(|payment| self.completes(payment)) else { return vec![] };
                // Parts that come after the first were sent pay what those do not.
                let under_way = self.earned().0.saturating_add(payment.being_earned().0);
                let mut sent =
                    self.send_held(charged.payment_hash, payment, Msat(charged.fee.0.saturating_sub(under_way)));
                if !sent.is_empty() && !self.is_booked {
                    sent.insert(0, Event::FeeAsked(ctx.now));
                }
                sent
            }
            Fee::Paid => {
                let payments = self.payments.iter();
                payments.flat_map(|(hash, payment)| self.send_held(*hash, payment, Msat::ZERO)).collect()
            }
        }
    }

    fn send_held(&self, hash: PaymentHash, payment: &Payment, fee: Msat) -> Vec<Event> {
        let amounts: Vec<Msat> = payment.held().map(|part| part.onion_amount).collect();
        let shares = fee::split(fee, &amounts, self.terms.htlc_minimum).unwrap_or_default();
        let parts = payment.held().zip(shares);
        parts
            .filter_map(|(part, share)| {
                let amount = part.onion_amount.checked_sub(share)?;
                Some(moved(hash, part, PartState::Sent { amount, ask: 1 }))
            })
            .collect()
    }

    /// A channel at the LSP's expense is not kept for a payment that did not come, as long as it cost nothing; nor is it
    /// given up while something may be on it, or news may come that something was claimed over it: nodes forward over any
    /// channel of the client, and are ahead of what they told.
    fn abandon(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_unpaid = self.has_unpaid_channel() && !self.has_sent_ever();
        // The payment went away while the channel was being opened; nothing was spent yet.
        let is_idle = matches!(self.channel, Channel::Opening { .. }) && self.fee == Fee::Due;
        if (is_unpaid || is_idle) && !(self.may_be_signed() && may_be_in_use(ctx)) {
            return vec![Event::Channel(ChannelEvent::Abandoned)];
        }
        vec![]
    }

    /// Whether both sides may have signed its channel, by what is on record: the node may be ahead of that.
    fn may_be_signed(&self) -> bool {
        match &self.channel {
            Channel::Opening { step: Step::Funded(_), .. }
            | Channel::Pending { .. }
            | Channel::Ready { .. }
            | Channel::Closed { .. } => true,
            Channel::None
            | Channel::Opening { step: Step::Asked | Step::Negotiated { .. }, .. }
            | Channel::Abandoning { .. } => false,
        }
    }

    /// A channel that both may have signed, which costs nothing yet and nobody paid for: others' payments may be on it.
    pub fn may_carry_unpaid(&self) -> bool {
        self.has_unpaid_channel() || matches!(self.channel, Channel::Opening { step: Step::Funded(_), .. })
    }

    /// A channel that both signed, which costs nothing yet and nobody paid for.
    fn has_unpaid_channel(&self) -> bool {
        let is_signed = match &self.channel {
            Channel::Pending { .. } | Channel::Ready { .. } => true,
            Channel::Closed { funding } => funding.is_some(),
            Channel::None | Channel::Opening { .. } | Channel::Abandoning { .. } => false,
        };
        is_signed && self.fee == Fee::Due && !self.may_broadcast()
    }

    /// A channel on trust that is published without its whole fee, once nobody can pay the rest.
    fn open_to_others(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_over = self.fee == Fee::Due && ctx.now >= self.honoured_until(ctx.config);
        let is_due = is_over && self.may_broadcast() && self.is_closed_to_others();
        if is_due { vec![Event::OpenedToOthers(ctx.now)] } else { vec![] }
    }

    /// Whether its channel was opened on trust and carries nothing else yet.
    pub fn is_closed_to_others(&self) -> bool {
        let is_on_trust = self.terms.client_trusts_lsp && self.channel.is_signed();
        is_on_trust && self.fee != Fee::Paid && self.opened_to_others.is_none()
    }

    /// A funding transaction that stays unconfirmed for many blocks.
    fn broadcast_again(&self, ctx: &Context<'_>) -> Vec<Event> {
        let stuck = self.channel.is_stuck(ctx).filter(|_| self.may_broadcast());
        stuck.map(Event::Channel).into_iter().collect()
    }

    /// A payment that could go on if only its client were there.
    fn call_client(&self, ctx: &Context<'_>) -> Vec<Event> {
        let ready = |payment: &Payment| self.is_complete(payment) || (self.fee == Fee::Paid && payment.has_held());
        let waiting = self.payments.iter().filter(|(_, payment)| ready(payment));
        let until = waiting.map(|(hash, payment)| self.deadline(*hash, payment, ctx.config).0).min();
        let call = self.call.follow(until.filter(|_| ctx.link == Link::Away));
        call.map(Event::Call).into_iter().collect()
    }

    /// Outcomes are kept until the node has surely saved its own state since, and told what it had to tell.
    fn forget(&self, ctx: &Context<'_>) -> Vec<Event> {
        if !ctx.is_caught_up {
            return vec![];
        }
        let old = |at: Timestamp| ctx.now >= at + ctx.config.keep_resolved;
        let counts = |payment: &Payment| self.fee != Fee::Paid && payment.earned().is_some();
        let old_ones = self.payments.iter().filter(|(_, payment)| payment.resolved_at().is_some_and(old));
        old_ones.filter(|(_, payment)| !counts(payment)).map(|(hash, _)| Event::PaymentForgotten(*hash)).collect()
    }

    /// Whether the collecting deadlines no longer apply: its conditions were met in time.
    fn is_under_way(&self, hash: PaymentHash, payment: &Payment) -> bool {
        match &self.fee {
            Fee::InFlight(charged) => {
                charged.payment_hash == hash && (self.is_complete(payment) || payment.is_at_client())
            }
            Fee::Due | Fee::Paid => false,
        }
    }

    /// Whether held parts make up the payment together with those at the client. One whose whereabouts are in doubt belongs
    /// to an earlier try that failed, as a rule: with it a part of the next try would go on alone.
    fn completes(&self, payment: &Payment) -> bool {
        let sum = payment.held_sum().and_then(|held| held.checked_add(payment.sum_at_client()));
        let needed = self.terms.payment_size.unwrap_or(Msat(1));
        payment.has_held() && sum.is_some_and(|sum| sum >= needed)
    }

    fn is_complete(&self, payment: &Payment) -> bool {
        match self.terms.payment_size {
            Some(size) => payment.held_sum().is_some_and(|sum| sum >= size),
            None => payment.has_held(),
        }
    }

    /// What a complete set pays; `None` if its parts cannot carry it.
    fn price(&self, payment: &Payment) -> Option<Price> {
        let sum = payment.held_sum()?;
        let fee = match self.terms.payment_size {
            Some(size) => self.terms.fee.fee_on(size).ok()?,
            None => self.terms.fee_of_one(sum)?,
        };
        let due = fee.checked_sub(self.earned()).unwrap_or(Msat::ZERO);
        let amounts: Vec<Msat> = payment.held().map(|part| part.onion_amount).collect();
        fee::split(due, &amounts, self.terms.htlc_minimum)?;
        Some(Price { fee, due, deliver: sum.checked_sub(due)? })
    }

    /// What was kept of claimed parts so far; less than the fee where a client claimed only some parts of a payment.
    fn earned(&self) -> Msat {
        let earned = self.payments.values().filter_map(Payment::earned);
        earned.fold(Msat::ZERO, |sum, earned| Msat(sum.0.saturating_add(earned.0)))
    }

    /// The next instant at which [`follow`](Self::follow) may have something to say or the record may go, and why.
    pub fn next_wake(&self, config: &Config, now: Timestamp, is_caught_up: bool) -> Option<(Timestamp, Wake)> {
        let holding = self.payments.iter().filter(|(_, payment)| payment.has_held());
        let collecting = holding
            .map(|(hash, payment)| self.deadline(*hash, payment, config).0)
            .min()
            .map(|at| (at, Wake::PartsHeldTooLong));
        let opening = self.channel.given_up_at(config).map(|at| (at, Wake::OpenUnanswered));
        // Once that time has come, what is on a channel that both may have signed has to be over first.
        let opening = opening.filter(|(at, _)| *at > now || !self.may_be_signed());
        let forgettable = |payment: &&Payment| self.fee == Fee::Paid || payment.earned().is_none();
        let resolved = self.payments.values().filter(|_| is_caught_up).filter(forgettable);
        let resolved = resolved.filter_map(Payment::resolved_at).min();
        let forgetting = resolved.map(|at| (at + config.keep_resolved, Wake::OutcomeForgotten));
        let ends = [self.terms.valid_until, self.honoured_until(config)].into_iter().filter(|at| *at > now).min();
        let expiry = ends.map(|at| (at, Wake::OfferExpired));
        // Once that time has come, what it still waits for is a height or an input.
        let over = Some((self.over_at(config), Wake::OfferOver)).filter(|(at, _)| *at > now);
        [collecting, opening, forgetting, expiry, over].into_iter().flatten().min()
    }

    /// The next height at which the same holds.
    pub fn next_height(&self, config: &Config, height: BlockHeight) -> Option<BlockHeight> {
        let held = self.payments.values().flat_map(Payment::held);
        let expiry = held.filter_map(|part| part.cltv_expiry).min();
        let too_close = expiry.map(|expiry| BlockHeight(expiry.0.saturating_sub(config.htlc_safety_blocks.0)));
        let promise = self.may_close(height).err().and_then(|promised| promised.until);
        [too_close, self.stuck_at(config), promise].into_iter().flatten().min()
    }

    /// Whether nothing depends on the record any more. While the node has events of an earlier life to tell, one of them may
    /// be the claim of a part that is on it.
    pub fn is_over(&self, ctx: &Context<'_>) -> bool {
        ctx.now >= self.over_at(ctx.config)
            && (ctx.is_caught_up || self.payments.is_empty())
            && self.channel.is_settled()
            && self.ledger.is_clear()
            && self.may_close(ctx.facts.height).is_ok()
            && !self.payments.values().any(Payment::is_live)
    }

    /// From when on it may give way to another one: nothing ever came for it, and nothing can.
    pub fn gives_way_at(&self, config: &Config) -> Option<Timestamp> {
        let is_untouched = self.fee == Fee::Due && self.attempt == 0 && self.payments.is_empty();
        (is_untouched && self.ledger.is_clear()).then(|| self.honoured_until(config))
    }

    /// The least time for which the record is kept.
    fn over_at(&self, config: &Config) -> Timestamp {
        let end = self.terms.valid_until + config.keep_expired.max(config.honour_expired);
        let counted = self.terms.remember_until.filter(|_| self.fee == Fee::Paid);
        let resolved = self.payments.values().filter_map(Payment::resolved_at).max();
        // The node forgets a setting that it did not save, and is asked for it again as long as the record is there.
        let remembered = [resolved, self.opened_to_others].into_iter().flatten().max();
        let remembered = remembered.map(|at| at + config.keep_resolved);
        [counted, remembered].into_iter().flatten().fold(end, Timestamp::max)
    }

    fn stuck_at(&self, config: &Config) -> Option<BlockHeight> {
        self.channel.stuck_at(config.stuck_after).filter(|_| self.may_broadcast())
    }
}

/// Whether something that this flow does not know of may be on its channel, or have been claimed over it.
fn may_be_in_use(ctx: &Context<'_>) -> bool {
    ctx.carries_others || !ctx.is_caught_up
}

struct Price {
    fee: Msat,
    /// What is left of it to pay.
    due: Msat,
    /// What remains for the client.
    deliver: Msat,
}

//! Events that follow from the state of an offer without a command: deadlines pass, a complete set opens the channel,
//! an open channel forwards it, claims pay the fee.
//!
//! The rules are applied after every input until no event follows, so the same rule serves a part that arrives, a
//! client that reconnects, and a restart.

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
    /// The next events; none if the offer waits for an input.
    pub fn advance(&self, ctx: &Context<'_>) -> Vec<Event> {
        let steps = [
            Self::fail_overdue,
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

    /// Fails held parts whose deadline has passed.
    fn fail_overdue(&self, ctx: &Context<'_>) -> Vec<Event> {
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

    /// Time until which held parts wait, and the failure that their payer receives then.
    ///
    /// A set that was complete in time may wait past the end of the offer, but not forever, as its client may stay
    /// absent.
    fn deadline(&self, hash: PaymentHash, payment: &Payment, config: &Config) -> (Timestamp, FailureCode) {
        let hold = payment.since + config.hold;
        if self.is_under_way(hash, payment) {
            return (hold + config.open_timeout, FailureCode::TemporaryChannelFailure);
        }
        let end = self.honoured_until(config);
        if end <= hold { (end, FailureCode::UnknownNextPeer) } else { (hold, FailureCode::TemporaryChannelFailure) }
    }

    /// Abandons an open that the client does not answer, so that the payment is not held forever. A channel that both
    /// sides may have signed stays while an HTLC may be on it.
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
                // A new attempt for another amount has a fee of its own.
                self.price(payment).is_some_and(|price| price.fee == charged.fee)
            } else {
                self.is_complete(payment) || payment.has_sent()
            }
        });
        if hopeful { vec![] } else { vec![Event::FeeFreed(ctx.now)] }
    }

    /// Whether a payment that was presumed to have failed was claimed, and the whole fee was kept of it.
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

    /// Charges the first complete set the fee, and opens the channel for it.
    fn begin(&self, ctx: &Context<'_>) -> Vec<Event> {
        let may_begin = |payment: &Payment| self.is_complete(payment) && !payment.is_in_doubt();
        let mut complete: Vec<_> = self.payments.iter().filter(|(_, payment)| may_begin(payment)).collect();
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
            Channel::None if ctx.link != Link::Offline && ctx.may_open() => {
                let ask = ChannelRequest { client: self.client, deliver, htlcs: payment.held().count() };
                match ctx.policy.channel(&ask, ctx.facts) {
                    Some(plan) => vec![charged, Event::Opening { at: ctx.now, plan, deliver }],
                    // Feerates may fall again, so the payer may retry.
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

    /// Forwards over a usable channel: first the payment that pays the fee; once it is paid, every part in full.
    fn send(&self, ctx: &Context<'_>) -> Vec<Event> {
        if !matches!(self.channel, Channel::Ready { .. }) || ctx.link != Link::Usable {
            return vec![];
        }
        match &self.fee {
            Fee::Due => vec![],
            Fee::InFlight(charged) => {
                let payment = self.payments.get(&charged.payment_hash);
                let Some(payment) = payment.filter(|payment| self.completes(payment)) else { return vec![] };
                if self.terms.client_trusts_lsp && !self.pays_its_share(payment, charged.fee) {
                    return self.fail_held(charged.payment_hash, FailureCode::TemporaryChannelFailure);
                }
                // Parts that arrive after the first were sent pay the rest of the fee.
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

    /// Whether the held parts of a payment still have their share of the fee to pay. What is with the client was to pay its share
    /// of a smaller payment; a client that fails that and claims what comes later would have its channel for next to nothing.
    fn pays_its_share(&self, payment: &Payment, fee: Msat) -> bool {
        let (there, held) = (payment.sum_at_client(), payment.held_sum().unwrap_or(Msat(u64::MAX)));
        let whole = u128::from(held.0) + u128::from(payment.claimed_sum().0) + u128::from(there.0);
        // Shares are whole millisatoshis, and are told apart by whole satoshis.
        let rounded = (payment.parts.len() as u128).saturating_mul(u128::from(MSAT_PER_SAT) + 1);
        let charged = u128::from(payment.being_earned().0).saturating_sub(rounded);
        there == Msat::ZERO || charged.saturating_mul(whole) <= u128::from(fee.0).saturating_mul(there.0.into())
    }

    fn send_held(&self, hash: PaymentHash, payment: &Payment, fee: Msat) -> Vec<Event> {
        let onions: Vec<Msat> = payment.held().map(|part| part.onion_amount).collect();
        let shares = fee::split(fee, &onions, self.terms.htlc_minimum).unwrap_or_default();
        let amounts = onions.iter().zip(shares).map(|(onion, share)| onion.checked_sub(share).unwrap_or(Msat::ZERO));
        let mut amounts: Vec<Msat> = amounts.collect();
        if fee > Msat::ZERO {
            self.tell_apart(payment, &onions, &mut amounts);
        }
        let parts = payment.held().zip(amounts);
        parts.map(|(part, amount)| moved(hash, part, PartState::Sent { amount, ask: 1 })).collect()
    }

    /// Moves some satoshis between equal parts, so that no part is sent the amount of another part of its payment. Nodes
    /// tell a claim by its amount, in whole satoshis where it was made on the chain, and tell it again after a crash: of two
    /// equal parts, the claim of one that is told again would count for the other. Where no satoshi can be moved, a
    /// millisatoshi is. The sum stays; where no move helps, so do the amounts.
    fn tell_apart(&self, payment: &Payment, onions: &[Msat], amounts: &mut [Msat]) {
        let known = payment.parts.iter().filter_map(|part| part.sent().or(part.claimed()).or(part.unlikely()));
        let known: Vec<Msat> = known.collect();
        for unit in [MSAT_PER_SAT, 1] {
            self.tell_apart_by(unit, &known, onions, amounts);
        }
    }

    fn tell_apart_by(&self, unit: u64, known: &[Msat], onions: &[Msat], amounts: &mut [Msat]) {
        let least = self.terms.htlc_minimum.max(Msat(1));
        let most = u64::try_from(known.len().saturating_add(amounts.len())).unwrap_or(u64::MAX);
        let alike = |one: Msat, other: Msat| one.0.checked_div(unit) == other.0.checked_div(unit);
        for at in 0..amounts.len() {
            let now: &[Msat] = amounts;
            let is_free = |wanted: Msat, but: [usize; 2]| {
                let mut others = now.iter().enumerate().filter(|(other, _)| !but.contains(other));
                !known.iter().any(|amount| alike(*amount, wanted)) && others.all(|(_, amount)| !alike(*amount, wanted))
            };
            if now.get(at).is_none_or(|amount| is_free(*amount, [at, at])) {
                continue;
            }
            let moves = |by: Msat, less: usize, more: usize| {
                let lower = now.get(less)?.checked_sub(by).filter(|lower| *lower >= least)?;
                let higher = now.get(more)?.checked_add(by).filter(|higher| onions.get(more) >= Some(higher))?;
                let is_free = |wanted| is_free(wanted, [less, more]);
                let helps = !alike(lower, higher) && is_free(lower) && is_free(higher);
                helps.then_some([(less, lower), (more, higher)])
            };
            let others = (0..now.len()).filter(|other| *other != at);
            let found = (1..=most)
                .map(|units| Msat(units.saturating_mul(unit)))
                .find_map(|by| others.clone().find_map(|other| moves(by, at, other).or_else(|| moves(by, other, at))));
            for (place, amount) in found.into_iter().flatten() {
                amounts.get_mut(place).into_iter().for_each(|place| *place = amount);
            }
        }
    }

    /// Abandons a channel at the LSP's expense whose payment did not arrive, as long as the channel cost nothing. The
    /// channel stays while an HTLC may be on it, or a claim over it may still be reported: nodes forward over any
    /// channel of the client, and are ahead of their reports.
    fn abandon(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_unpaid = self.has_unpaid_channel() && !self.has_sent_ever();
        // The payment was failed while the channel was being opened; nothing was spent yet.
        let is_idle = matches!(self.channel, Channel::Opening { .. }) && self.fee == Fee::Due;
        if (is_unpaid || is_idle) && !(self.may_be_signed() && may_be_in_use(ctx)) {
            return vec![Event::Channel(ChannelEvent::Abandoned)];
        }
        vec![]
    }

    /// Whether both sides may have signed the channel, according to the record; the node may be ahead of it.
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

    /// Whether there is an unpublished and unpaid channel that both sides may have signed, so that other payments may
    /// be on it.
    pub fn may_carry_unpaid(&self) -> bool {
        self.has_unpaid_channel() || matches!(self.channel, Channel::Opening { step: Step::Funded(_), .. })
    }

    /// Whether there is an unpublished and unpaid channel that both sides signed.
    fn has_unpaid_channel(&self) -> bool {
        let is_signed = match &self.channel {
            Channel::Pending { .. } | Channel::Ready { .. } => true,
            Channel::Closed { funding } => funding.is_some(),
            Channel::None | Channel::Opening { .. } | Channel::Abandoning { .. } => false,
        };
        is_signed && self.fee == Fee::Due && !self.may_broadcast()
    }

    /// Opens a channel on trust, which was published without its whole fee, to other payments once nobody can pay the
    /// rest.
    fn open_to_others(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_over = self.fee == Fee::Due && ctx.now >= self.honoured_until(ctx.config);
        let is_due = is_over && self.may_broadcast() && self.is_closed_to_others();
        if is_due { vec![Event::OpenedToOthers(ctx.now)] } else { vec![] }
    }

    /// Whether the channel was opened on trust and does not forward other payments yet.
    pub fn is_closed_to_others(&self) -> bool {
        let is_on_trust = self.terms.client_trusts_lsp && self.channel.is_signed();
        is_on_trust && self.fee != Fee::Paid && self.opened_to_others.is_none()
    }

    /// Repeats the broadcast of a funding transaction that is unconfirmed for many blocks.
    fn broadcast_again(&self, ctx: &Context<'_>) -> Vec<Event> {
        let stuck = self.channel.is_stuck(ctx).filter(|_| self.may_broadcast());
        stuck.map(Event::Channel).into_iter().collect()
    }

    /// Calls the client of a payment that waits for its connection.
    fn call_client(&self, ctx: &Context<'_>) -> Vec<Event> {
        let ready = |payment: &Payment| self.is_complete(payment) || (self.fee == Fee::Paid && payment.has_held());
        let waiting = self.payments.iter().filter(|(_, payment)| ready(payment));
        let until = waiting.map(|(hash, payment)| self.deadline(*hash, payment, ctx.config).0).min();
        let wake_up = self.wake_up.advance(until.filter(|_| ctx.link == Link::Offline));
        wake_up.map(Event::WakeUp).into_iter().collect()
    }

    /// Drops old outcomes, once the node has surely persisted its state since and has reported all its events.
    fn forget(&self, ctx: &Context<'_>) -> Vec<Event> {
        if !ctx.is_caught_up {
            return vec![];
        }
        let old = |at: Timestamp| ctx.now >= at + ctx.config.keep_resolved;
        let old_ones = self.payments.iter().filter(|(_, payment)| payment.resolved_at().is_some_and(old));
        let old_ones = old_ones.filter(|(_, payment)| self.is_forgettable(payment));
        old_ones.map(|(hash, _)| Event::PaymentForgotten(*hash)).collect()
    }

    /// Whether the outcomes of a payment need not be known for longer than the node may forget them: what it paid of a fee that
    /// is still due is remembered.
    pub(super) fn is_forgettable(&self, payment: &Payment) -> bool {
        self.fee == Fee::Paid || payment.earned().is_none()
    }

    /// Whether the deadlines for collecting parts no longer apply, since the payment was complete in time.
    fn is_under_way(&self, hash: PaymentHash, payment: &Payment) -> bool {
        match &self.fee {
            Fee::InFlight(charged) => {
                charged.payment_hash == hash && (self.is_complete(payment) || payment.is_at_client())
            }
            Fee::Due | Fee::Paid => false,
        }
    }

    /// Whether held parts make up the payment together with those at the client. As long as the outcome of a part is in doubt,
    /// nothing is added to its payment: if the part failed, another part would go on alone, and if it was claimed, the fee
    /// would be kept twice.
    fn completes(&self, payment: &Payment) -> bool {
        let sum = payment.held_sum().and_then(|held| held.checked_add(payment.sum_at_client()));
        let needed = self.terms.payment_size.unwrap_or(Msat(1));
        payment.has_held() && !payment.is_in_doubt() && sum.is_some_and(|sum| sum >= needed)
    }

    fn is_complete(&self, payment: &Payment) -> bool {
        match self.terms.payment_size {
            Some(size) => payment.held_sum().is_some_and(|sum| sum >= size),
            None => payment.has_held(),
        }
    }

    /// The price that a complete set pays; `None` if its parts cannot pay it.
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

    /// The fee kept of claimed parts so far; less than the fee if a client claimed only some parts of a payment.
    fn earned(&self) -> Msat {
        let earned = self.payments.values().filter_map(Payment::earned);
        earned.fold(Msat::ZERO, |sum, earned| Msat(sum.0.saturating_add(earned.0)))
    }

    /// The next instant at which [`follow`](Self::follow) may cause events or the record may be removed, with the
    /// reason.
    pub fn next_wake(&self, config: &Config, now: Timestamp, is_caught_up: bool) -> Option<(Timestamp, Wake)> {
        let holding = self.payments.iter().filter(|(_, payment)| payment.has_held());
        let collecting = holding
            .map(|(hash, payment)| self.deadline(*hash, payment, config).0)
            .min()
            .map(|at| (at, Wake::PartsHeldTooLong));
        let opening = self.channel.given_up_at(config).map(|at| (at, Wake::OpenUnanswered));
        // Once that time has passed, HTLCs on a channel that both sides may have signed have to be resolved first.
        let opening = opening.filter(|(at, _)| *at > now || !self.may_be_signed());
        let resolved = self.payments.values().filter(|payment| is_caught_up && self.is_forgettable(payment));
        let resolved = resolved.filter_map(Payment::resolved_at).min();
        let forgetting = resolved.map(|at| (at + config.keep_resolved, Wake::OutcomeForgotten));
        let ends = [self.terms.valid_until, self.honoured_until(config)].into_iter().filter(|at| *at > now).min();
        let expiry = ends.map(|at| (at, Wake::OfferExpired));
        // Once that time has passed, the record waits for a height or an input.
        let over = Some((self.over_at(config), Wake::OfferOver)).filter(|(at, _)| *at > now);
        [collecting, opening, forgetting, expiry, over].into_iter().flatten().min()
    }

    /// The next height at which [`follow`](Self::follow) may cause events.
    pub fn next_height(&self, config: &Config, height: BlockHeight) -> Option<BlockHeight> {
        let held = self.payments.values().flat_map(Payment::held);
        let expiry = held.filter_map(|part| part.cltv_expiry).min();
        let too_close = expiry.map(|expiry| BlockHeight(expiry.0.saturating_sub(config.htlc_safety_blocks.0)));
        let promise = self.may_close(height).err().and_then(|promised| promised.until);
        [too_close, self.stuck_at(config), promise].into_iter().flatten().min()
    }

    /// Whether the record can be removed. While the node has events from before a restart to report, one of them may be
    /// the claim of a part on record.
    pub fn is_over(&self, ctx: &Context<'_>) -> bool {
        ctx.now >= self.over_at(ctx.config)
            && (ctx.is_caught_up || self.payments.is_empty())
            && self.channel.is_settled()
            && self.ledger.is_clear()
            && self.may_close(ctx.facts.height).is_ok()
            && self.payments.values().all(|payment| payment.resolved_at().is_some())
    }

    /// Time from which a new offer may replace this one: no payment ever arrived, and none can.
    pub fn gives_way_at(&self, config: &Config) -> Option<Timestamp> {
        let is_untouched = self.fee == Fee::Due && self.attempt == 0 && self.payments.is_empty();
        (is_untouched && self.ledger.is_clear()).then(|| self.honoured_until(config))
    }

    /// Least time until which the record is kept.
    fn over_at(&self, config: &Config) -> Timestamp {
        let end = self.terms.valid_until + config.keep_expired.max(config.honour_expired);
        let counted = self.terms.remember_until.filter(|_| self.fee == Fee::Paid);
        let resolved = self.payments.values().filter_map(Payment::resolved_at).max();
        // The node forgets a setting that it did not persist, and is asked for it again as long as the record exists.
        let remembered = [resolved, self.opened_to_others].into_iter().flatten().max();
        let remembered = remembered.map(|at| at + config.keep_resolved);
        [counted, remembered].into_iter().flatten().fold(end, Timestamp::max)
    }

    fn stuck_at(&self, config: &Config) -> Option<BlockHeight> {
        self.channel.stuck_at(config.stuck_after).filter(|_| self.may_broadcast())
    }
}

/// Whether an HTLC of another flow may be on the channel, or may have been claimed over it.
fn may_be_in_use(ctx: &Context<'_>) -> bool {
    ctx.carries_others || !ctx.is_caught_up
}

const MSAT_PER_SAT: u64 = 1_000;

struct Price {
    fee: Msat,
    /// Part of the fee that is still to be paid.
    due: Msat,
    /// Amount that is left for the client.
    deliver: Msat,
}

//! What follows from the state of an order without any further input: deadlines, a payment opens the channel, a signed
//! channel is published and paid for, what paid for nothing goes back.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use lsps_types::{BlockHeight, Blocks, OutPoint, Sat, Timestamp};

use crate::channel::{Channel, ChannelEvent};
use crate::config::Config;
use crate::flow::{Context, Link};
use crate::known::Promised;
use crate::lsps1::change::Event;
use crate::lsps1::order::{Order, OrderFailure, Stage};
use crate::lsps1::payments::{Fate, LEAST_FEERATE, Payment, PaymentState, Refund, Way, cost_of_input, sum};
use crate::wake::Wake;

impl Order {
    /// The next changes, or none: then the order waits for the world.
    pub fn follow(&self, ctx: &Context<'_>) -> Vec<Event> {
        let steps = [
            Self::drop_draft,
            Self::complete,
            Self::give_up_opening,
            Self::let_go,
            Self::cancel_ways,
            Self::begin,
            Self::abandon,
            Self::expire,
            Self::give_back,
            Self::keep_dust,
            Self::broadcast_again,
            Self::call_client,
            Self::forget,
        ];
        steps.iter().map(|step| step(self, ctx)).find(|events| !events.is_empty()).unwrap_or_default()
    }

    fn drop_draft(&self, ctx: &Context<'_>) -> Vec<Event> {
        match self.stage {
            // Its client has to be there to be answered.
            Stage::Draft { until } if ctx.now >= until || ctx.link == Link::Away => vec![Event::Dropped],
            Stage::Draft { .. } | Stage::Open | Stage::Completed(_) | Stage::Failed { .. } | Stage::Dropped => vec![],
        }
    }

    /// Both sides signed, and the payment is still there. Spec: LSPS1 §6: it is claimed now.
    fn complete(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_signed = matches!(self.channel, Channel::Pending { .. } | Channel::Ready { .. });
        let in_time = self.held().is_none_or(|(_, payment)| !ctx.too_close(payment.claim_before));
        match (self.paid_by(ctx), self.funding_outpoint) {
            (Some(paid_by), Some(outpoint)) if is_signed && in_time && self.stage == Stage::Open => {
                let deposits = self.deposits_that_pay(ctx);
                vec![Event::Published { at: ctx.now, paid_by, outpoint, deposits }]
            }
            (Some(_) | None, _) => vec![],
        }
    }

    /// A client that never answers an open does not get to hold its payment for ever. Whether both have signed by then, and
    /// something is on the channel, the node is asked before it is closed.
    fn give_up_opening(&self, ctx: &Context<'_>) -> Vec<Event> {
        if self.channel.given_up_at(ctx.config).is_none_or(|at| ctx.now < at) {
            return vec![];
        }
        self.open_fails(OrderFailure::OpenUnanswered, ChannelEvent::Abandoned, ctx)
    }

    /// A held payment whose time is up, or whose order has ended without it. Spec: LSPS1 §4.1. Not before the channel is
    /// given up: until then its client may have claimed something over it, and has to pay for the channel that it then has.
    fn let_go(&self, ctx: &Context<'_>) -> Vec<Event> {
        let Some((hash, payment)) = self.held().filter(|_| !self.has_unpaid_channel()) else { return vec![] };
        let failing = Event::PaymentMoved { hash, to: PaymentState::Failing { ask: 1 } };
        let expired = self.ways.expires_at(payment.way).is_none_or(|end| ctx.now >= end) && !self.is_being_opened();
        if self.has_ended() {
            vec![failing]
        } else if expired || ctx.too_close(payment.claim_before) {
            vec![failing, Event::WayClosed(payment.way)]
        } else {
            vec![]
        }
    }

    fn cancel_ways(&self, ctx: &Context<'_>) -> Vec<Event> {
        let in_use = |way: Way| self.held().is_some_and(|(_, payment)| payment.way == way);
        let over = self.ways.lightning().filter(|(way, terms)| {
            !terms.closed && ctx.now >= terms.expires_at && !in_use(*way) && self.stage == Stage::Open
        });
        over.map(|(way, _)| Event::WayClosed(way)).collect()
    }

    /// Paid for, and the client is there. Spec: LSPS1 §6.
    fn begin(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_free = self.channel == Channel::None && self.stage == Stage::Open && ctx.link != Link::Away;
        let may_try = self.retry_at.is_none_or(|at| ctx.now >= at) && ctx.may_open();
        let in_time = |way| self.ways.expires_at(way).is_some_and(|end| ctx.now < end);
        let is_paid = self.paid_by(ctx).is_some_and(in_time);
        if is_free && may_try && is_paid { vec![Event::Opening { at: ctx.now }] } else { vec![] }
    }

    /// Gives up a channel whose payment is gone or comes close to its end, or whose order was cancelled, while nothing was
    /// spent on it. That takes until the node has told all that it had to tell by then, and shows that nothing is on the
    /// channel; what is claimed over it meanwhile keeps it.
    fn abandon(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_late = self.held().is_some_and(|(_, payment)| ctx.too_close(payment.claim_before));
        let is_paid = self.stage == Stage::Open && self.paid_by(ctx).is_some() && !is_late;
        let is_wanted = self.lease().is_some() || is_paid;
        let is_given_up = match &self.channel {
            Channel::Opening { .. } | Channel::Pending { .. } | Channel::Ready { .. } => !is_wanted,
            // The node does not show any more whether something was claimed over it, so that is waited for a while.
            Channel::Closed { .. } => self.lease().is_none() && (is_late || !self.may_carry(ctx)),
            Channel::None | Channel::Abandoning { .. } => false,
        };
        if is_given_up { vec![Event::Channel(ChannelEvent::Abandoned)] } else { vec![] }
    }

    /// No way to pay is left. Spec: LSPS1 §4; reading R-36.
    fn expire(&self, ctx: &Context<'_>) -> Vec<Event> {
        let over = self.ways.lightning().all(|(_, terms)| terms.closed)
            && self.ways.onchain.as_ref().is_none_or(|way| ctx.now >= way.expires_at)
            && self.held().is_none()
            && !self.is_being_opened();
        if over && self.stage == Stage::Open {
            vec![Event::Failed { at: ctx.now, why: OrderFailure::Expired }]
        } else {
            vec![]
        }
    }

    /// Confirmed outputs that paid for nothing, together, but for those that cost more than they bring at this feerate:
    /// they wait for a lower one, until nobody asks for the order any more. Then the least feerate counts, with which the
    /// refund may wait in its turn. Spec: LSPS1 §4.3.
    fn give_back(&self, ctx: &Context<'_>) -> Vec<Event> {
        let today = ctx.facts.feerate_sat_per_kw;
        let feerate = if self.is_asked_for(ctx) { today } else { today.min(LEAST_FEERATE) };
        let cost = cost_of_input(feerate);
        let is_worth_it = |outpoint: &OutPoint| self.outputs.get(outpoint).is_some_and(|output| output.amount > cost);
        let mut due = self.deposits_left(ctx);
        due.retain(is_worth_it);
        if self.has_ended() && !due.is_empty() { vec![Event::RefundDue(due)] } else { vec![] }
    }

    /// Keeps outputs that are too small to give back at any feerate, once nobody asks for the order any more.
    fn keep_dust(&self, ctx: &Context<'_>) -> Vec<Event> {
        let left = if self.is_asked_for(ctx) { vec![] } else { self.deposits_left(ctx) };
        if left.is_empty() { vec![] } else { vec![Event::DustLeft { outpoints: left, at: ctx.now }] }
    }

    fn is_asked_for(&self, ctx: &Context<'_>) -> bool {
        self.over_at(ctx.config).is_none_or(|at| ctx.now < at)
    }

    fn has_ended(&self) -> bool {
        match self.stage {
            Stage::Completed(_) | Stage::Failed { .. } => true,
            Stage::Draft { .. } | Stage::Open | Stage::Dropped => false,
        }
    }

    /// A funding transaction that stays unconfirmed for many blocks, or a refund for six hours. Spec: LSPS1 §4.3.
    fn broadcast_again(&self, ctx: &Context<'_>) -> Vec<Event> {
        let funding = self.channel.is_stuck(ctx).filter(|_| self.lease().is_some());
        let mut events: Vec<Event> = funding.map(Event::Channel).into_iter().collect();
        for (number, refund) in (0..).zip(&self.refunds) {
            if let Refund::Built { tx, mining_sat, ask, asked_at } = refund
                && ctx.now >= *asked_at + REFUND_IS_STUCK
            {
                let (tx, mining_sat, ask) = (tx.clone(), *mining_sat, ask.saturating_add(1));
                let to = Refund::Built { tx, mining_sat, ask, asked_at: ctx.now };
                events.push(Event::RefundMoved { number, to, at: ctx.now });
            }
        }
        events
    }

    /// A paid order that could go on if only its client were there. Spec: LSPS1 §6.
    fn call_client(&self, ctx: &Context<'_>) -> Vec<Event> {
        let waits = self.stage == Stage::Open && self.channel == Channel::None && ctx.link == Link::Away;
        let until = self.paid_by(ctx).filter(|_| waits).and_then(|way| self.ways.expires_at(way));
        self.call.follow(until).map(Event::Call).into_iter().collect()
    }

    /// Outcomes are kept until the node has surely saved its own state since, and told what it had to tell.
    fn forget(&self, ctx: &Context<'_>) -> Vec<Event> {
        if !ctx.is_caught_up {
            return vec![];
        }
        let old = |payment: &Payment| payment.resolved_at().is_some_and(|at| ctx.now >= at + ctx.config.keep_resolved);
        let old = self.payments.iter().filter(|(_, payment)| old(payment));
        old.map(|(hash, _)| Event::PaymentForgotten(*hash)).collect()
    }

    /// Whether something of its client may have been claimed over its channel, of which the node has not told yet: a node
    /// forwards over any channel of the client, and may use one of which the service has not heard yet that both have signed.
    pub(super) fn may_carry(&self, ctx: &Context<'_>) -> bool {
        (ctx.carries_others || !ctx.is_caught_up) && self.channel.funding().is_some()
    }

    /// Whether it has a channel that nobody paid for, and which costs nothing yet.
    pub fn has_unpaid_channel(&self) -> bool {
        self.lease().is_none() && self.channel.funding().is_some()
    }

    /// Whether coins are held for its channel, or about to be, that nothing on the chain has spent.
    pub fn holds_coins(&self) -> bool {
        matches!(self.channel, Channel::Opening { .. }) || self.has_unpaid_channel()
    }

    fn is_being_opened(&self) -> bool {
        matches!(self.channel, Channel::Opening { .. } | Channel::Pending { .. } | Channel::Ready { .. })
    }

    /// Outputs that count, and that nothing can be paid with any more. Only those in the chain can be given back.
    fn deposits_left(&self, ctx: &Context<'_>) -> Vec<OutPoint> {
        let mut left = if self.has_unpaid_channel() { vec![] } else { self.deposits_that_count(ctx) };
        left.retain(|outpoint| self.outputs.get(outpoint).is_some_and(|output| output.confirmed_at.is_some()));
        left
    }

    /// Outputs that count and are nobody's yet.
    fn deposits_that_count(&self, ctx: &Context<'_>) -> Vec<OutPoint> {
        let Some(way) = &self.ways.onchain else { return vec![] };
        let outputs = self.outputs.iter().filter(|(_, output)| output.fate == Fate::Open);
        let counts = outputs.filter(|(_, output)| {
            let is_trusted = ctx.policy.trusts_deposit(self.client, output.amount, ctx.facts);
            output.counts(way.confirmation, is_trusted, ctx.facts.height)
        });
        counts.map(|(outpoint, _)| *outpoint).collect()
    }

    /// Of outputs that count as few as pay the total, unconfirmed and small ones left out first: what is not needed goes
    /// back.
    pub(super) fn deposits_that_pay(&self, ctx: &Context<'_>) -> Vec<OutPoint> {
        let amount = |outpoint: &OutPoint| self.outputs.get(outpoint).map_or(Sat::ZERO, |output| output.amount);
        let is_confirmed =
            |outpoint: &OutPoint| self.outputs.get(outpoint).is_some_and(|output| output.confirmed_at.is_some());
        let mut deposits = self.deposits_that_count(ctx);
        let Some(total) = self.ways.onchain.as_ref().and_then(|way| self.total(way.fee)) else { return deposits };
        deposits.sort_by_key(|outpoint| (is_confirmed(outpoint), amount(outpoint)));
        let mut received = sum(deposits.iter().map(amount));
        deposits.retain(|outpoint| {
            let without = Sat(received.0.saturating_sub(amount(outpoint).0));
            let is_needed = without < total;
            received = if is_needed { received } else { without };
            is_needed
        });
        deposits
    }

    /// The next instant at which [`follow`](Self::follow) may have something to say or the record may go, and why.
    pub fn next_wake(&self, config: &Config, now: Timestamp, is_caught_up: bool) -> Option<(Timestamp, Wake)> {
        let draft = match self.stage {
            Stage::Draft { until } => Some((until, Wake::OrderNotPrepared)),
            Stage::Open | Stage::Completed(_) | Stage::Failed { .. } | Stage::Dropped => None,
        };
        let opening = self.channel.given_up_at(config).map(|at| (at, Wake::OpenUnanswered));
        let refunds = self.refunds.iter().filter_map(|refund| match refund {
            Refund::Built { asked_at, .. } => Some((*asked_at + REFUND_IS_STUCK, Wake::RefundStuck)),
            Refund::Asked | Refund::Confirmed | Refund::Impossible | Refund::Void { .. } => None,
        });
        let resolved = self.payments.values().filter(|_| is_caught_up).filter_map(Payment::resolved_at).min();
        let forgetting = resolved.map(|at| (at + config.keep_resolved, Wake::OutcomeForgotten));
        // Once such a time has come, what it waits for is an input.
        let ends = [Way::Bolt11, Way::Bolt12, Way::Onchain].into_iter().filter_map(|way| self.ways.expires_at(way));
        let ends = ends.filter(|_| self.stage == Stage::Open).map(|at| (at, Wake::OrderExpired));
        let retry = self.retry_at.filter(|_| self.stage == Stage::Open).map(|at| (at, Wake::OpenTriedAgain));
        let over = self.over_at(config).map(|at| (at, Wake::OrderOver));
        let later = ends.chain(retry).chain(over).filter(|(at, _)| *at > now);
        [draft, opening, forgetting].into_iter().flatten().chain(refunds).chain(later).min()
    }

    /// The next height at which the same holds.
    pub fn next_height(&self, config: &Config, height: BlockHeight) -> Option<BlockHeight> {
        let claim_before = self.held().and_then(|(_, payment)| payment.claim_before);
        let too_close = claim_before.map(|end| BlockHeight(end.0.saturating_sub(config.htlc_safety_blocks.0)));
        let promise = self.may_close(height, None).err().and_then(|promised| promised.until);
        let rule = self.ways.onchain.as_ref().map(|way| way.confirmation);
        let open = self.outputs.values().filter(|output| output.fate == Fate::Open);
        let counts = open.flat_map(|output| rule.into_iter().flat_map(|rule| output.counts_from(rule)));
        let waits =
            self.has_ended() && self.outputs.values().any(|it| it.fate == Fate::Open && it.confirmed_at.is_some());
        let cheaper = waits.then(|| BlockHeight(height.0.saturating_add(FEERATES_CHANGE.0)));
        // Once that height has come, what it waits for is an input.
        let too_close = too_close.filter(|at| *at > height);
        let heights = [too_close, self.stuck_at(config), promise, cheaper].into_iter().flatten();
        heights.chain(counts.filter(|at| *at > height)).min()
    }

    /// Whether nothing depends on the record any more. While outcomes of payments are on it, the node has more to tell.
    pub fn is_over(&self, config: &Config, now: Timestamp, height: BlockHeight) -> bool {
        let settled = self.channel.is_settled()
            && self.payments.is_empty()
            && self.ledger.is_clear()
            && self.refunds.iter().all(Refund::is_settled)
            && !self.outputs.values().any(|output| matches!(output.fate, Fate::Open | Fate::Kept))
            && self.may_close(height, None).is_ok();
        self.stage == Stage::Dropped || (settled && self.over_at(config).is_some_and(|at| now >= at))
    }

    /// When it failed, if nothing ever came for it.
    fn unpaid_since(&self) -> Option<Timestamp> {
        let was_paid = self.attempt > 0 || !self.payments.is_empty() || !self.outputs.is_empty();
        match self.stage {
            Stage::Failed { at, .. } if !was_paid => Some(at),
            Stage::Failed { .. } | Stage::Draft { .. } | Stage::Open | Stage::Completed(_) | Stage::Dropped => None,
        }
    }

    /// From when on it may give way to another one: it failed, nothing ever came for it, and what comes late has had its time.
    /// An address is watched for an hour; over Lightning it is half as long as it could be paid.
    pub fn gives_way_at(&self) -> Option<Timestamp> {
        let failed_at = self.unpaid_since()?;
        if self.ways.onchain.is_some() {
            return Some(failed_at + LATE_PAYMENTS);
        }
        let end = self.ways.lightning().map(|(_, terms)| terms.expires_at).fold(self.created_at, Timestamp::max);
        let end = end.min(failed_at);
        Some(end + LATE_PAYMENTS.min(end.since(self.created_at) / 2))
    }

    /// The least time for which it is kept.
    fn over_at(&self, config: &Config) -> Option<Timestamp> {
        let resolved = self.payments.values().filter_map(Payment::resolved_at).max();
        let remembered = resolved.map_or(Timestamp::default(), |at| at + config.keep_resolved);
        match &self.stage {
            Stage::Draft { .. } | Stage::Open | Stage::Dropped => None,
            Stage::Failed { at, .. } => {
                let is_unpaid = self.unpaid_since().is_some();
                let keep = if is_unpaid { config.orders.keep_unpaid } else { config.orders.keep_ended };
                Some(remembered.max(*at + keep))
            }
            Stage::Completed(lease) => {
                let counted = self.remember_until.unwrap_or_default();
                Some(remembered.max(lease.expires_at + config.orders.keep_ended).max(counted))
            }
        }
    }

    /// Whether its channel may be closed without breaking the lease. Spec: LSPS1 §5; reading R-16: by date and by height.
    pub fn may_close(&self, height: BlockHeight, now: Option<Timestamp>) -> Result<(), Promised> {
        let Some(lease) = self.lease().filter(|_| !matches!(self.channel, Channel::Closed { .. })) else {
            return Ok(());
        };
        let until = self.confirmed_at.map(|at| BlockHeight(at.0.saturating_add(self.ordered.channel_expiry_blocks)));
        let has_ended = until.is_some_and(|until| height >= until) && now.is_none_or(|now| now >= lease.expires_at);
        if has_ended { Ok(()) } else { Err(Promised { until }) }
    }

    fn stuck_at(&self, config: &Config) -> Option<BlockHeight> {
        self.channel.stuck_at(config.stuck_after).filter(|_| self.lease().is_some())
    }
}

/// Payments that come so late are given back in any case.
const LATE_PAYMENTS: Duration = Duration::from_secs(3_600);
/// After so many blocks another feerate may hold.
const FEERATES_CHANGE: Blocks = Blocks(6);
/// Spec: LSPS1 §4.3.
const REFUND_IS_STUCK: Duration = Duration::from_secs(6 * 3_600);

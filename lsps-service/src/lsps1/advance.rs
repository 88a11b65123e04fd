//! Events that follow from the state of an order without a command: deadlines pass, a payment opens the channel, a
//! signed channel is published and paid for, deposits that paid for nothing are refunded.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use lsps_types::{BlockHeight, Blocks, OutPoint, Sat, Timestamp};

use crate::channel::{Channel, ChannelEvent};
use crate::config::Config;
use crate::flow::{Context, Link};
use crate::lsps1::change::Event;
use crate::lsps1::order::{Order, OrderFailure, Stage};
use crate::lsps1::payments::{
    DepositStatus, LEAST_FEERATE, Payment, PaymentMethod, PaymentState, Refund, cost_of_input, sum,
};
use crate::view::Promised;
use crate::wake::Wake;

impl Order {
    /// The next events; none if the order waits for an input.
    pub fn advance(&self, ctx: &Context<'_>) -> Vec<Event> {
        let steps = [
            Self::drop_draft,
            Self::complete,
            Self::give_up_opening,
            Self::fail_overdue,
            Self::cancel_ways,
            Self::begin,
            Self::abandon,
            Self::expire,
            Self::refund_deposits,
            Self::keep_dust,
            Self::broadcast_again,
            Self::call_client,
            Self::forget,
        ];
        steps.iter().map(|step| step(self, ctx)).find(|events| !events.is_empty()).unwrap_or_default()
    }

    fn drop_draft(&self, ctx: &Context<'_>) -> Vec<Event> {
        match self.stage {
            // The client has to be connected to receive the answer.
            Stage::Draft { until } if ctx.now >= until || ctx.link == Link::Offline => vec![Event::Dropped],
            Stage::Draft { .. } | Stage::Open | Stage::Completed(_) | Stage::Failed { .. } | Stage::Dropped => vec![],
        }
    }

    /// Publishes the channel once both sides signed it and the payment is still there. Spec: LSPS1 §6: the payment is
    /// claimed now.
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

    /// Abandons an open that the client does not answer, so that its payment is not held forever. Before the channel
    /// is closed, the host checks with the node whether both sides have signed meanwhile and an HTLC is on the channel.
    fn give_up_opening(&self, ctx: &Context<'_>) -> Vec<Event> {
        if self.channel.given_up_at(ctx.config).is_none_or(|at| ctx.now < at) {
            return vec![];
        }
        self.open_fails(OrderFailure::OpenUnanswered, ChannelEvent::Abandoned, ctx)
    }

    /// Fails a held payment that has expired, or whose order has ended. Spec: LSPS1 §4.1. The channel has to be
    /// abandoned first: until then the client may have claimed an HTLC over it, and has to pay for the channel in that
    /// case.
    fn fail_overdue(&self, ctx: &Context<'_>) -> Vec<Event> {
        let Some((hash, payment)) = self.held().filter(|_| !self.has_unpaid_channel()) else { return vec![] };
        let failing = Event::PaymentMoved { hash, to: PaymentState::Failing { ask: 1 } };
        let expired =
            self.methods.expires_at(payment.method).is_none_or(|end| ctx.now >= end) && !self.is_being_opened();
        if self.has_ended() {
            vec![failing]
        } else if expired || ctx.too_close(payment.claim_before) {
            vec![failing, Event::MethodClosed(payment.method)]
        } else {
            vec![]
        }
    }

    fn cancel_ways(&self, ctx: &Context<'_>) -> Vec<Event> {
        let in_use = |method: PaymentMethod| self.held().is_some_and(|(_, payment)| payment.method == method);
        let over = self.methods.lightning().filter(|(method, terms)| {
            !terms.closed && ctx.now >= terms.expires_at && !in_use(*method) && self.stage == Stage::Open
        });
        over.map(|(method, _)| Event::MethodClosed(method)).collect()
    }

    /// Opens the channel once the order is paid and the client connected. Spec: LSPS1 §6.
    fn begin(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_free = self.channel == Channel::None && self.stage == Stage::Open && ctx.link != Link::Offline;
        let may_try = self.retry_at.is_none_or(|at| ctx.now >= at) && ctx.may_open();
        let in_time = |method| self.expires_at(method).is_some_and(|end| ctx.now < end);
        let is_paid = self.paid_by(ctx).is_some_and(in_time);
        if is_free && may_try && is_paid { vec![Event::Opening { at: ctx.now }] } else { vec![] }
    }

    /// Abandons an unpublished channel whose payment is gone or about to expire, or whose order was cancelled.
    /// Abandonment waits until the node has reported all its events and shows no HTLC on the channel; a claim over it
    /// before that keeps the channel.
    fn abandon(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_late = self.held().is_some_and(|(_, payment)| ctx.too_close(payment.claim_before));
        let is_paid = self.stage == Stage::Open && self.paid_by(ctx).is_some() && !is_late;
        let is_wanted = self.lease().is_some() || is_paid;
        let is_given_up = match &self.channel {
            Channel::Opening { .. } | Channel::Pending { .. } | Channel::Ready { .. } => !is_wanted,
            // The node no longer shows whether an HTLC was claimed over the channel, so a report of it is waited for.
            Channel::Closed { .. } => self.lease().is_none() && (is_late || !self.may_carry(ctx)),
            Channel::None | Channel::Abandoning { .. } => false,
        };
        if is_given_up { vec![Event::Channel(ChannelEvent::Abandoned)] } else { vec![] }
    }

    /// Fails an order that can no longer be paid by any method. Spec: LSPS1 §4; reading R-36.
    fn expire(&self, ctx: &Context<'_>) -> Vec<Event> {
        let over = self.methods.lightning().all(|(_, terms)| terms.closed)
            && self.methods.onchain.as_ref().is_none_or(|method| ctx.now >= method.expires_at)
            && self.free_until.is_none_or(|end| ctx.now >= end)
            && self.held().is_none()
            && !self.is_being_opened();
        if over && self.stage == Stage::Open {
            vec![Event::Failed { at: ctx.now, why: OrderFailure::Expired }]
        } else {
            vec![]
        }
    }

    /// Refunds confirmed deposits that paid for nothing, together, except those that cost more to refund than they are
    /// worth at this feerate. These wait for a lower feerate as long as the order can be asked for. After that the
    /// least feerate applies, with which the refund itself may have to wait. Spec: LSPS1 §4.3.
    fn refund_deposits(&self, ctx: &Context<'_>) -> Vec<Event> {
        let today = ctx.facts.feerate_sat_per_kw;
        let feerate = if self.is_asked_for(ctx) { today } else { today.min(LEAST_FEERATE) };
        let cost = cost_of_input(feerate);
        let is_worth_it = |outpoint: &OutPoint| self.outputs.get(outpoint).is_some_and(|output| output.amount > cost);
        let mut due = self.deposits_left(ctx);
        due.retain(is_worth_it);
        if self.has_ended() && !due.is_empty() { vec![Event::RefundDue(due)] } else { vec![] }
    }

    /// Keeps deposits that are too small to refund at any feerate, once the order can no longer be asked for.
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

    /// Repeats the broadcast of a funding transaction that is unconfirmed for many blocks, or of a refund for six
    /// hours. Spec: LSPS1 §4.3.
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

    /// Calls the client of a paid order that waits for its connection. Spec: LSPS1 §6.
    fn call_client(&self, ctx: &Context<'_>) -> Vec<Event> {
        let waits = self.stage == Stage::Open && self.channel == Channel::None && ctx.link == Link::Offline;
        let until = self.paid_by(ctx).filter(|_| waits).and_then(|method| self.expires_at(method));
        self.wake_up.advance(until).map(Event::WakeUp).into_iter().collect()
    }

    /// Drops old outcomes of payments, once the node has surely persisted its state since and has reported all its
    /// events.
    fn forget(&self, ctx: &Context<'_>) -> Vec<Event> {
        if !ctx.is_caught_up {
            return vec![];
        }
        let old = |payment: &Payment| payment.resolved_at().is_some_and(|at| ctx.now >= at + ctx.config.keep_resolved);
        let old = self.payments.iter().filter(|(_, payment)| old(payment));
        old.map(|(hash, _)| Event::PaymentForgotten(*hash)).collect()
    }

    /// Whether the client may have claimed an HTLC over the channel that the node has not reported yet. A node forwards
    /// over any channel of the client, and may use one before the service learns that both sides signed it.
    pub(super) fn may_carry(&self, ctx: &Context<'_>) -> bool {
        (ctx.carries_others || !ctx.is_caught_up) && self.channel.funding().is_some()
    }

    /// Whether there is a channel that nobody paid for and whose funding is not published.
    pub fn has_unpaid_channel(&self) -> bool {
        self.lease().is_none() && self.channel.funding().is_some()
    }

    /// Whether coins are reserved for the channel, or about to be, and no published transaction has spent them.
    pub fn holds_coins(&self) -> bool {
        matches!(self.channel, Channel::Opening { .. }) || self.has_unpaid_channel()
    }

    fn is_being_opened(&self) -> bool {
        matches!(self.channel, Channel::Opening { .. } | Channel::Pending { .. } | Channel::Ready { .. })
    }

    /// Confirmed deposits that count and that no channel can use any more, so that they can be refunded.
    fn deposits_left(&self, ctx: &Context<'_>) -> Vec<OutPoint> {
        let mut left = if self.has_unpaid_channel() { vec![] } else { self.deposits_that_count(ctx) };
        left.retain(|outpoint| self.outputs.get(outpoint).is_some_and(|output| output.confirmed_at.is_some()));
        left
    }

    /// Undecided deposits that count.
    fn deposits_that_count(&self, ctx: &Context<'_>) -> Vec<OutPoint> {
        let Some(method) = &self.methods.onchain else { return vec![] };
        let outputs = self.outputs.iter().filter(|(_, output)| output.status == DepositStatus::Open);
        let counts = outputs.filter(|(_, output)| {
            let is_trusted = ctx.policy.trusts_deposit(self.client, output.amount, ctx.facts);
            output.counts(method.confirmation, is_trusted, ctx.facts.height)
        });
        counts.map(|(outpoint, _)| *outpoint).collect()
    }

    /// The deposits that pay for the channel: as few as reach the total, leaving out unconfirmed and small ones first.
    /// The others are refunded.
    pub(super) fn deposits_that_pay(&self, ctx: &Context<'_>) -> Vec<OutPoint> {
        let amount = |outpoint: &OutPoint| self.outputs.get(outpoint).map_or(Sat::ZERO, |output| output.amount);
        let is_confirmed =
            |outpoint: &OutPoint| self.outputs.get(outpoint).is_some_and(|output| output.confirmed_at.is_some());
        let mut deposits = self.deposits_that_count(ctx);
        let Some(total) = self.methods.onchain.as_ref().and_then(|method| self.total(method.fee)) else {
            return deposits;
        };
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

    /// The next instant at which [`follow`](Self::follow) may cause events or the record may be removed, with the
    /// reason.
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
        // Once one of these times has passed, the order waits for an input.
        let ends = [PaymentMethod::Bolt11, PaymentMethod::Bolt12, PaymentMethod::Onchain, PaymentMethod::Free]
            .into_iter()
            .filter_map(|method| self.expires_at(method));
        let ends = ends.filter(|_| self.stage == Stage::Open).map(|at| (at, Wake::OrderExpired));
        let retry = self.retry_at.filter(|_| self.stage == Stage::Open).map(|at| (at, Wake::OpenTriedAgain));
        let over = self.over_at(config).map(|at| (at, Wake::OrderOver));
        let later = ends.chain(retry).chain(over).filter(|(at, _)| *at > now);
        [draft, opening, forgetting].into_iter().flatten().chain(refunds).chain(later).min()
    }

    /// The next height at which [`follow`](Self::follow) may cause events.
    pub fn next_height(&self, config: &Config, height: BlockHeight) -> Option<BlockHeight> {
        let claim_before = self.held().and_then(|(_, payment)| payment.claim_before);
        let too_close = claim_before.map(|end| BlockHeight(end.0.saturating_sub(config.htlc_safety_blocks.0)));
        let promise = self.may_close(height, None).err().and_then(|promised| promised.until);
        let rule = self.methods.onchain.as_ref().map(|method| method.confirmation);
        let open = self.outputs.values().filter(|output| output.status == DepositStatus::Open);
        let counts = open.flat_map(|output| rule.into_iter().flat_map(|rule| output.counts_from(rule)));
        let waits = self.has_ended()
            && self.outputs.values().any(|it| it.status == DepositStatus::Open && it.confirmed_at.is_some());
        let cheaper = waits.then(|| BlockHeight(height.0.saturating_add(FEERATES_CHANGE.0)));
        // Once that height has passed, the order waits for an input.
        let too_close = too_close.filter(|at| *at > height);
        let heights = [too_close, self.stuck_at(config), promise, cheaper].into_iter().flatten();
        heights.chain(counts.filter(|at| *at > height)).min()
    }

    /// Whether the record can be removed. As long as it holds outcomes of payments, the node may have more to report.
    pub fn is_over(&self, config: &Config, now: Timestamp, height: BlockHeight) -> bool {
        let settled = self.channel.is_settled()
            && self.payments.is_empty()
            && self.ledger.is_clear()
            && self.refunds.iter().all(Refund::is_settled)
            && !self.outputs.values().any(|output| matches!(output.status, DepositStatus::Open | DepositStatus::Kept))
            && self.may_close(height, None).is_ok();
        self.stage == Stage::Dropped || (settled && self.over_at(config).is_some_and(|at| now >= at))
    }

    /// Time at which the order failed, if no payment for it ever arrived.
    fn unpaid_since(&self) -> Option<Timestamp> {
        let was_paid = self.attempt > 0 || !self.payments.is_empty() || !self.outputs.is_empty();
        match self.stage {
            Stage::Failed { at, .. } if !was_paid => Some(at),
            Stage::Failed { .. } | Stage::Draft { .. } | Stage::Open | Stage::Completed(_) | Stage::Dropped => None,
        }
    }

    /// Time from which a new order may replace this one: it failed, no payment ever arrived, and the time for late
    /// payments is over. An address is watched for an hour; over Lightning the time is half of that in which the order
    /// could be paid.
    pub fn gives_way_at(&self) -> Option<Timestamp> {
        let failed_at = self.unpaid_since()?;
        if self.methods.onchain.is_some() {
            return Some(failed_at + LATE_PAYMENTS);
        }
        let end = self.methods.lightning().map(|(_, terms)| terms.expires_at).fold(self.created_at, Timestamp::max);
        let end = end.min(failed_at);
        Some(end + LATE_PAYMENTS.min(end.since(self.created_at) / 2))
    }

    /// Least time until which the order is kept on record.
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

    /// Checks that the channel can be closed without breaking the lease. Spec: LSPS1 §5; reading R-16: by date and by
    /// height.
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

/// Time after the failure of an order in which a late payment is refunded in any case.
const LATE_PAYMENTS: Duration = Duration::from_secs(3_600);
/// Number of blocks after which the feerate is checked again.
const FEERATES_CHANGE: Blocks = Blocks(6);
/// Time after which an unconfirmed refund counts as stuck. Spec: LSPS1 §4.3.
const REFUND_IS_STUCK: Duration = Duration::from_secs(6 * 3_600);

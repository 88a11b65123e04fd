//! An order, from the request to the end of its lease. This module decides which events a command causes
//! ([`Order::decide`]). [`super::change`] applies events, [`super::progress`] derives those that follow from a state,
//! and [`super::outstanding`] the effects.
//!
//! The stage, the channel and each payment are separate states, so that "paid twice", "late" and "expired" are states
//! and not accidents. No payment is claimed and no funding broadcast before the order is `Completed`; nothing is
//! broadcast once it is `Failed`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec,
    vec::Vec,
};

use lsps_flow::Flow;
use lsps_types::{BlockHeight, Msat, OutPoint, PaymentHash, PeerId, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::book::Ledger;
use crate::channel::{Channel, ChannelEvent, ChannelNews, Step};
use crate::clock::Shift;
use crate::effect::Effect;
use crate::flow::{Context, Link, Reject, WakeUp};
use crate::ids::{ChannelKey, FlowId, OfferId, OrderNumber, PaymentId};
use crate::input::{ChannelEnd, Deposit, HeldPayment, PaidBy, Prepared};
use crate::lsps1::change::Event;
use crate::lsps1::payments::{
    DepositStatus, Output, Payment, PaymentMethod, PaymentMethods, PaymentState, Refund, sum,
};

/// State of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub number: OrderNumber,
    /// Id on the wire, a UUID.
    pub id: [u8; 16],
    pub client: PeerId,
    pub ordered: Ordered,
    pub created_at: Timestamp,
    pub methods: PaymentMethods,
    pub stage: Stage,
    /// Number of opens so far, which is the number of the current one.
    pub attempt: u32,
    /// Number of opens that failed, and the time from which the next may begin.
    pub failures: u32,
    pub retry_at: Option<Timestamp>,
    pub channel: Channel,
    pub funding_outpoint: Option<OutPoint>,
    /// Height at which the funding was confirmed.
    pub confirmed_at: Option<BlockHeight>,
    pub payments: BTreeMap<PaymentHash, Payment>,
    pub outputs: BTreeMap<OutPoint, Output>,
    pub refunds: Vec<Refund>,
    pub wake_up: WakeUp,
    pub ledger: Ledger,
    /// Time until which a completed order is kept on record.
    pub remember_until: Option<Timestamp>,
    /// Ids that the node gave to the payments, if it reports them. Version 1 of the record ends before this field.
    pub ids: BTreeMap<PaymentHash, PaymentId>,
    /// Time until which the client of a free order is waited for; such an order counts as paid. Version 2 of the record
    /// ends before this field.
    pub free_until: Option<Timestamp>,
}

/// The request for the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ordered {
    pub lsp_balance: Sat,
    pub client_balance: Sat,
    pub required_channel_confirmations: u16,
    pub funding_confirms_within_blocks: u16,
    pub channel_expiry_blocks: u32,
    pub token: Option<String>,
    pub announce_channel: bool,
}

/// Stage of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The host was asked for the payment methods. The order is not on record, since its client has no answer yet.
    Draft { until: Timestamp },
    /// The order can be paid, or is paid and waits for its channel.
    Open,
    /// The funding transaction is published.
    Completed(Lease),
    /// The order will have no channel; payments are refunded.
    Failed { at: Timestamp, why: OrderFailure },
    /// The order was never offered to the client.
    Dropped,
}

/// The channel that the client paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub paid_by: PaymentMethod,
    pub funded_at: Timestamp,
    pub outpoint: OutPoint,
    pub expires_at: Timestamp,
}

/// Reason for which an order has no channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderFailure {
    /// The order was not paid in time, or its client stayed absent.
    Expired,
    /// The channel could not be opened.
    Open(ChannelEnd),
    /// The client did not answer the open.
    OpenUnanswered,
    /// The operator cancelled it.
    Cancelled,
}

/// Command to an order.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    Prepared {
        invoice: Option<&'a str>,
        offer: Option<&'a (String, OfferId)>,
        address: Option<&'a str>,
    },
    PaymentHeld(&'a HeldPayment),
    PaymentClaimed(PaymentHash, Option<PaymentId>, Msat),
    PaymentGone(PaymentHash),
    Deposit(&'a Deposit),
    DepositGone(OutPoint),
    DepositKept(OutPoint),
    RefundBuilt {
        number: u32,
        tx: &'a [u8],
        mining_sat: u64,
    },
    RefundImpossible(u32),
    RefundConfirmed(u32),
    Booked(u32),
    Channel(ChannelNews<'a>),
    Cancel,
    Retry,
    ClockSet(Shift),
    /// The time, the link, the height or another shared fact changed.
    Environment,
}

impl Flow for Order {
    type Id = OrderNumber;
    type Command<'a> = Command<'a>;
    type Event = Event;
    type Reject = Reject;
    type Effect = Effect;
    type Context<'a> = Context<'a>;

    fn id(&self) -> OrderNumber {
        self.number
    }

    /// Spec: LSPS1 §4, §6.
    fn decide(&self, command: &Command<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        match command {
            Command::Prepared { invoice, offer, address } => match self.stage {
                Stage::Draft { .. } => {
                    let [invoice, address] = [invoice, address].map(|text| text.map(String::from));
                    Ok(vec![Event::Offered(Prepared { invoice, offer: offer.cloned(), address })])
                }
                Stage::Open | Stage::Completed(_) | Stage::Failed { .. } | Stage::Dropped => Err(Reject::Stale),
            },
            Command::PaymentHeld(held) => self.admit(held, ctx),
            Command::PaymentClaimed(hash, id, amount) => self.payment_claimed(*hash, *id, *amount, ctx.now),
            Command::PaymentGone(hash) => self.payment_gone(*hash, ctx.now),
            Command::Deposit(deposit) => self.receive(deposit, ctx),
            Command::DepositGone(outpoint) => self.deposit_gone(*outpoint, ctx.now),
            Command::DepositKept(outpoint) => match self.outputs.get(outpoint).map(|output| output.status) {
                Some(DepositStatus::Kept) => Ok(vec![Event::OutputSpendable(*outpoint)]),
                // The report is a repetition, or a later decision replaced this one.
                Some(
                    DepositStatus::Open | DepositStatus::Spendable | DepositStatus::Lost | DepositStatus::Refunded(_),
                )
                | None => Ok(vec![]),
            },
            Command::RefundBuilt { number, tx, mining_sat } => self.refund_built(*number, tx, *mining_sat, ctx.now),
            Command::RefundImpossible(number) => self.refund_impossible(*number, ctx.now),
            Command::RefundConfirmed(number) => self.refund_confirmed(*number, ctx.now),
            Command::Booked(number) if self.ledger.has(*number) => Ok(vec![Event::Booked(*number)]),
            Command::Booked(_) => Err(Reject::Stale),
            Command::Channel(news) => self.decide_channel(news, ctx),
            Command::Cancel => match self.stage {
                Stage::Open => Ok(vec![Event::Failed { at: ctx.now, why: OrderFailure::Cancelled }]),
                Stage::Draft { .. } | Stage::Completed(_) | Stage::Failed { .. } | Stage::Dropped => Err(Reject::Stale),
            },
            Command::Retry => match self.retry_at {
                Some(_) => Ok(vec![Event::RetryAt(ctx.now)]),
                None => Err(Reject::Stale),
            },
            Command::ClockSet(shift) if self.is_shifted_by(shift, &ctx.config.orders) => {
                let (prepare, retry) = (ctx.config.orders.prepare_timeout, ctx.config.orders.retry_after);
                Ok(vec![Event::ClockSet { shift: *shift, prepare, retry }])
            }
            Command::ClockSet(_) | Command::Environment => Ok(vec![]),
        }
    }

    fn apply(&mut self, event: Event) {
        self.apply(event);
    }

    /// Ends, as each event leads further on: the stage is passed through once, a channel is opened once for each attempt,
    /// which waits after a failure, and each payment and deposit is claimed, failed or refunded once.
    fn advance(&self, ctx: &Context<'_>) -> Vec<Event> {
        self.advance(ctx)
    }

    fn outstanding(&self) -> Vec<Effect> {
        self.outstanding()
    }

    fn is_over(&self, ctx: &Context<'_>) -> bool {
        self.is_over(ctx.config, ctx.now, ctx.facts.height)
    }
}

impl Order {
    pub fn flow(&self) -> FlowId {
        FlowId::Order(self.number)
    }

    pub fn key(&self) -> ChannelKey {
        ChannelKey { flow: self.flow(), attempt: self.attempt }
    }

    pub fn lease(&self) -> Option<&Lease> {
        match &self.stage {
            Stage::Completed(lease) => Some(lease),
            Stage::Draft { .. } | Stage::Open | Stage::Failed { .. } | Stage::Dropped => None,
        }
    }

    /// Time until which the order can be paid by this method and its client is waited for.
    pub(super) fn expires_at(&self, method: PaymentMethod) -> Option<Timestamp> {
        if method == PaymentMethod::Free { self.free_until } else { self.methods.expires_at(method) }
    }

    /// Amount to pay for the order by a method with this fee.
    pub fn total(&self, fee: Sat) -> Option<Sat> {
        fee.checked_add(self.ordered.client_balance)
    }

    /// Whether the node may hold a payment for this order. Refused payments are not recorded.
    fn admit(&self, held: &HeldPayment, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        let hash = held.payment_hash;
        if let Some(known) = self.payments.get(&hash) {
            let again = |to| Ok(vec![Event::PaymentMoved { hash, to }]);
            let is_another = self.is_another(hash, held.id);
            return match known.state {
                // A node holds one payment of a hash. A failure by hash would fail this one, as the one on record is
                // gone.
                PaymentState::Held if is_another => {
                    let failing = Event::PaymentMoved { hash, to: PaymentState::Failing { ask: 1 } };
                    Ok(vec![failing, Event::MethodClosed(known.method)])
                }
                PaymentState::Held => Ok(vec![]),
                // A claim is by hash, so the payer of the payment that was claimed before would pay twice.
                PaymentState::Claiming { .. } if is_another => Err(Reject::FailPayment),
                PaymentState::Claiming { ask } => again(PaymentState::Claiming { ask: ask.saturating_add(1) }),
                PaymentState::Failing { ask } => again(PaymentState::Failing { ask: ask.saturating_add(1) }),
                // The outcome is known, so this is another payment with the same hash.
                PaymentState::Claimed { .. } | PaymentState::Lost { .. } | PaymentState::Failed { .. } => {
                    Err(Reject::FailPayment)
                }
            };
        }
        let (method, preimage, terms) = match (held.by, &self.methods.bolt11, &self.methods.bolt12) {
            (PaidBy::Invoice, Some(method), _) => (PaymentMethod::Bolt11, Some(method.by), method.terms()),
            (PaidBy::Offer(id), _, Some(method)) if method.by == id => {
                (PaymentMethod::Bolt12, held.preimage, method.terms())
            }
            (PaidBy::Invoice, None, _) | (PaidBy::Offer(_), _, _) => return Err(Reject::FailPayment),
        };
        let total = self.total(terms.fee).and_then(Sat::to_msat);
        let is_first = self.payments.values().all(|other| other.resolved_at().is_some());
        let may_wait = self.stage == Stage::Open
            && is_first
            && !self.is_paid_onchain(ctx)
            && !terms.closed
            && ctx.now < terms.expires_at
            && held.claimable
            && !ctx.too_close(held.claim_before)
            && self.payments.len() < ctx.config.limits.payments_per_order
            && total.is_some_and(|total| held.amount >= total);
        let preimage = preimage.filter(|preimage| PaymentHash::of(preimage) == hash && may_wait);
        let preimage = preimage.ok_or(Reject::FailPayment)?;
        let (amount, claim_before, state) = (held.amount, held.claim_before, PaymentState::Held);
        let payment = Payment { method, preimage, amount, claim_before, state };
        Ok(vec![Event::PaymentAdded { hash, id: held.id, payment }])
    }

    fn payment_claimed(
        &self,
        hash: PaymentHash,
        id: Option<PaymentId>,
        amount: Msat,
        at: Timestamp,
    ) -> Result<Vec<Event>, Reject> {
        match self.payments.get(&hash).ok_or(Reject::Stale)?.state {
            PaymentState::Claiming { .. } => Ok(vec![Event::Paid { hash, id, amount, at }]),
            // The claim took another payment with the same hash, as the first was gone by then.
            PaymentState::Lost { .. } => Ok(vec![Event::PaidAfterAll { hash, id, amount, at }]),
            // The claim took a second payment too, so its payer has paid twice.
            PaymentState::Claimed { .. } if self.is_another(hash, id) => {
                Ok(vec![Event::PaidAgain { hash, id, amount, at }])
            }
            PaymentState::Claimed { .. } => Ok(vec![]),
            PaymentState::Held | PaymentState::Failing { .. } | PaymentState::Failed { .. } => Err(Reject::Stale),
        }
    }

    fn payment_gone(&self, hash: PaymentHash, at: Timestamp) -> Result<Vec<Event>, Reject> {
        let payment = self.payments.get(&hash).ok_or(Reject::Stale)?;
        let failed = Event::PaymentMoved { hash, to: PaymentState::Failed { at } };
        Ok(match payment.state {
            PaymentState::Held => vec![failed, Event::MethodClosed(payment.method)],
            PaymentState::Failing { .. } => vec![failed],
            PaymentState::Claiming { .. } => vec![Event::Unpaid { hash, at }],
            PaymentState::Claimed { .. } | PaymentState::Lost { .. } | PaymentState::Failed { .. } => vec![],
        })
    }

    /// Whether the node's id of a payment differs from the one on record for its hash.
    fn is_another(&self, hash: PaymentHash, id: Option<PaymentId>) -> bool {
        self.ids.get(&hash).zip(id).is_some_and(|(known, id)| *known != id)
    }

    /// The events of a deposit to the order's address.
    fn receive(&self, deposit: &Deposit, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        let Deposit { outpoint, amount, confirmed_at, fee_rate, .. } = *deposit;
        let known = self.outputs.get(&outpoint);
        // Refunded deposits, and those of the LSP, take no room from others: strangers send dust.
        let takes_room = |output: &&Output| matches!(output.status, DepositStatus::Open | DepositStatus::Kept);
        let taken = self.outputs.values().filter(takes_room).count();
        let is_full = known.is_none() && taken >= ctx.config.limits.deposits_per_order;
        let displaced = self.least_output().filter(|_| is_full);
        let worth = (confirmed_at.is_some(), amount);
        if is_full && displaced.is_none_or(|(least, _)| least >= worth) {
            return Err(Reject::Stale);
        }
        let fee_rate = fee_rate.or_else(|| known.and_then(|known| known.fee_rate));
        let status = known.map_or(DepositStatus::Open, |known| known.status);
        let output = Output { amount, confirmed_at, fee_rate, status };
        let seen = Event::OutputSeen { outpoint, output };
        Ok(match (status, displaced) {
            (DepositStatus::Lost, _) => vec![seen, Event::DepositFound { outpoint, at: ctx.now }],
            (_, Some((_, least))) => vec![Event::OutputGone(least), seen],
            (
                DepositStatus::Open | DepositStatus::Kept | DepositStatus::Spendable | DepositStatus::Refunded(_),
                None,
            ) if known == Some(&output) => vec![],
            (
                DepositStatus::Open | DepositStatus::Kept | DepositStatus::Spendable | DepositStatus::Refunded(_),
                None,
            ) => vec![seen],
        })
    }

    fn deposit_gone(&self, outpoint: OutPoint, at: Timestamp) -> Result<Vec<Event>, Reject> {
        let output = self.outputs.get(&outpoint).ok_or(Reject::Stale)?;
        let gone = Event::OutputGone(outpoint);
        Ok(match output.status {
            DepositStatus::Open => vec![gone],
            DepositStatus::Kept | DepositStatus::Spendable => vec![Event::DepositLost { outpoint, at }],
            DepositStatus::Lost => vec![],
            DepositStatus::Refunded(number) => match self.refund(number)? {
                Refund::Asked | Refund::Built { .. } => vec![Event::RefundVoid(number), gone],
                Refund::Confirmed | Refund::Impossible | Refund::Void { .. } => vec![],
            },
        })
    }

    /// The least undecided deposit, unconfirmed before confirmed. So strangers who send dust cannot displace a payment,
    /// and an unconfirmed deposit cannot displace a confirmed one.
    fn least_output(&self) -> Option<((bool, Sat), OutPoint)> {
        let open = self.outputs.iter().filter(|(_, output)| output.status == DepositStatus::Open);
        open.map(|(outpoint, output)| ((output.confirmed_at.is_some(), output.amount), *outpoint)).min()
    }

    /// The events of a channel event for the order; the channel itself decides the rest.
    fn decide_channel(&self, news: &ChannelNews<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        Ok(match (&self.channel, news) {
            (Channel::Opening { .. }, ChannelNews::Ended(why)) => {
                // The node itself ended an open that both sides had not signed, or a crash took it: the host tells that behind
                // all events of before. So no HTLC was on it.
                let is_unsigned = **why == ChannelEnd::TryAgain;
                let may_carry = self.may_carry(ctx) && !is_unsigned;
                let end = if may_carry { ChannelEvent::Closed } else { self.channel.open_ended() };
                self.open_fails(OrderFailure::Open((*why).clone()), end, ctx)
            }
            // The funding is not published, so nothing was spent.
            (Channel::Pending { .. } | Channel::Ready { .. }, ChannelNews::Ended(why)) if self.lease().is_none() => {
                let end = if self.may_carry(ctx) { ChannelEvent::Closed } else { ChannelEvent::Abandoned };
                self.open_fails(OrderFailure::Open((*why).clone()), end, ctx)
            }
            (channel, ChannelNews::Used) if self.has_unpaid_channel() => self.used(channel, ctx),
            // The channel could not be abandoned before the payment for it was gone. The client signed the channel, and
            // uses it.
            (Channel::Abandoning { .. }, ChannelNews::Carries) if self.has_unpaid_channel() && self.is_paid(ctx) => {
                self.used(&self.channel, ctx)
            }
            (Channel::Opening { step: Step::Negotiated { .. }, .. }, ChannelNews::FundingBuilt { outpoint, .. }) => {
                let mut events = vec![Event::FundingKnown(*outpoint)];
                events.extend(self.channel.decide(news, ctx)?.into_iter().map(Event::Channel));
                events
            }
            (channel, news) => channel.decide(news, ctx)?.into_iter().map(Event::Channel).collect(),
        })
    }

    /// The client claimed an HTLC over an unpublished channel. The channel is the client's from now on, and the payment
    /// for it is taken if it is still there.
    fn used(&self, channel: &Channel, ctx: &Context<'_>) -> Vec<Event> {
        let signed = match channel {
            // The node is ahead of its reports, or the claim came between the decision to abandon and its execution.
            Channel::Opening { .. } | Channel::Abandoning { .. } => Some(Event::Channel(ChannelEvent::Pending)),
            Channel::None | Channel::Pending { .. } | Channel::Ready { .. } | Channel::Closed { .. } => None,
        };
        let published = self.funding_outpoint.map(|outpoint| match self.paid_by(ctx) {
            Some(paid_by) => {
                let deposits = self.deposits_that_pay(ctx);
                Event::Published { at: ctx.now, paid_by, outpoint, deposits }
            }
            None => Event::Given { at: ctx.now, outpoint },
        });
        signed.into_iter().chain(published).collect()
    }

    /// The events of an open that ends early: a retry if that may help, up to the operator's limit.
    pub(super) fn open_fails(&self, why: OrderFailure, end: ChannelEvent, ctx: &Context<'_>) -> Vec<Event> {
        let later = Event::RetryAt(ctx.now + ctx.config.orders.retry_after);
        let again = match &why {
            // The reconnection was not reported yet, or has already happened.
            OrderFailure::Open(ChannelEnd::PeerGone) if ctx.link != Link::Offline => {
                return vec![Event::Channel(end), later];
            }
            // The open waits for its client, or the node ended it by itself.
            OrderFailure::Open(ChannelEnd::PeerGone | ChannelEnd::TryAgain) => None,
            OrderFailure::Open(ChannelEnd::Rejected | ChannelEnd::Closed | ChannelEnd::CannotOpen(_))
            | OrderFailure::OpenUnanswered
            | OrderFailure::Expired
            | OrderFailure::Cancelled => Some(self.failures.saturating_add(1) < ctx.config.orders.attempts),
        };
        let mut events = vec![Event::Channel(end)];
        match again {
            None => {}
            Some(true) => events.extend([Event::OpenFailed, later]),
            Some(false) => events.push(Event::Failed { at: ctx.now, why }),
        }
        events
    }

    pub(super) fn refund(&self, number: u32) -> Result<&Refund, Reject> {
        usize::try_from(number).ok().and_then(|number| self.refunds.get(number)).ok_or(Reject::Stale)
    }

    /// Unconfirmed refunds that spend one of these deposits.
    pub(super) fn refunds_of(&self, spent: &[(OutPoint, Sat)]) -> BTreeSet<u32> {
        let outputs = spent.iter().filter_map(|(outpoint, _)| self.outputs.get(outpoint));
        outputs
            .filter_map(|output| if let DepositStatus::Refunded(number) = output.status { Some(number) } else { None })
            .collect()
    }

    /// Whether the deposits that count add up to the total. Spec: LSPS1 §4.3; reading R-41.
    pub(super) fn is_paid_onchain(&self, ctx: &Context<'_>) -> bool {
        let Some(method) = &self.methods.onchain else { return false };
        let trusted = |output: &Output| ctx.policy.trusts_deposit(self.client, output.amount, ctx.facts);
        let counts = |output: &&Output| {
            output.status == DepositStatus::Open
                && output.counts(method.confirmation, trusted(output), ctx.facts.height)
        };
        let received = self.outputs.values().filter(counts).map(|output| output.amount);
        self.total(method.fee).is_some_and(|total| sum(received) >= total)
    }

    /// The payment that the node holds for the channel.
    pub(super) fn held(&self) -> Option<(PaymentHash, &Payment)> {
        self.payments.iter().find(|(_, payment)| payment.is_held()).map(|(hash, payment)| (*hash, payment))
    }

    /// Whether a payment for the channel is there.
    pub fn is_paid(&self, ctx: &Context<'_>) -> bool {
        self.paid_by(ctx).is_some()
    }

    /// The method that pays for the channel.
    pub(super) fn paid_by(&self, ctx: &Context<'_>) -> Option<PaymentMethod> {
        let lightning = self.held().map(|(_, payment)| payment.method);
        let free = self.free_until.filter(|_| self.stage == Stage::Open).map(|_| PaymentMethod::Free);
        lightning.or_else(|| self.is_paid_onchain(ctx).then_some(PaymentMethod::Onchain)).or(free)
    }

    /// Amount due by this method: its fee and the client's balance.
    pub(super) fn due_for(&self, method: PaymentMethod) -> Msat {
        let given = self.ordered.client_balance.to_msat().unwrap_or(Msat::ZERO);
        Msat(self.fee_of(method).0.saturating_add(given.0))
    }

    pub(super) fn fee_of(&self, method: PaymentMethod) -> Msat {
        let fee = match method {
            PaymentMethod::Bolt11 => self.methods.bolt11.as_ref().map(|method| method.fee),
            PaymentMethod::Bolt12 => self.methods.bolt12.as_ref().map(|method| method.fee),
            PaymentMethod::Onchain => self.methods.onchain.as_ref().map(|method| method.fee),
            PaymentMethod::Free => None,
        };
        fee.and_then(Sat::to_msat).unwrap_or(Msat::ZERO)
    }
}

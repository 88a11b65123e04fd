//! An accepted buy, from its SCID to the end of its use. This module decides which events a command causes
//! ([`JitChannel::decide`]). [`super::change`] applies events, [`super::progress`] derives those that follow from a
//! state, and [`super::outstanding`] the effects.
//!
//! The state is the product of three small state machines: the channel, the fee and the parts. A part may be in any
//! state whatever the states of the channel and the fee.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec, vec::Vec};

use lsps_flow::Flow;
use lsps_types::{BlockHeight, Blocks, Msat, PaymentHash, PeerId, Scid, Timestamp, lsps2::fee::FeeTerms};
use serde::{Deserialize, Serialize};

use crate::book::Ledger;
use crate::channel::{Channel, ChannelEvent, ChannelNews, Step};
use crate::clock::Shift;
use crate::config::Config;
use crate::effect::Effect;
use crate::flow::{Context, Reject, WakeUp};
use crate::ids::{ChannelKey, FlowId, PartId};
use crate::input::{ChannelEnd, HeldHtlc};
use crate::lsps2::change::Event;
use crate::lsps2::may_close;
use crate::lsps2::parts::{Part, PartState, Payment};
use crate::view::Promised;
use lsps_types::bolt4::FailureCode;

/// State of an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JitChannel {
    pub id: Scid,
    pub client: PeerId,
    /// Token for which it was sold.
    pub token: Option<String>,
    pub terms: Terms,
    /// Number of opens so far, which is the number of the current one.
    pub attempt: u32,
    pub channel: Channel,
    /// Whether a payment that was meant for another channel was claimed over this one.
    pub was_used: bool,
    /// Height at which the funding was confirmed, from which `min_lifetime` counts.
    pub confirmed_at: Option<BlockHeight>,
    pub fee: Fee,
    pub payments: BTreeMap<PaymentHash, Payment>,
    pub wake_up: WakeUp,
    pub ledger: Ledger,
    /// Whether the fee in flight is in the book, since a part of its payment was sent. A fee that is charged and whose
    /// payment is never sent has no entry, so that repeated refusals of opens do not fill the book. Version 2 of the
    /// record ends before this field.
    pub is_booked: bool,
    /// Time at which the channel, published without the whole fee, was opened to other payments, as the offer was over.
    /// Version 3 of the record ends before this field.
    pub opened_to_others: Option<Timestamp>,
}

/// Terms that were promised at the buy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Size of the payment. `None`: an invoice without amount, paid in one part of any size within the bounds.
    pub payment_size: Option<Msat>,
    pub fee: FeeTerms,
    pub valid_until: Timestamp,
    pub max_client_to_self_delay: u32,
    pub min_lifetime: u32,
    pub client_trusts_lsp: bool,
    /// Least HTLC amount that the channel forwards.
    pub htlc_minimum: Msat,
    /// Time until which a paid offer is kept on record.
    pub remember_until: Option<Timestamp>,
}

/// State of the opening fee, which is charged once per offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fee {
    Due,
    /// The payment with this hash is charged. The value is boxed, as most offers on record have no payment in flight.
    InFlight(Box<Charged>),
    Paid,
}

/// Charge of the fee to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charged {
    pub payment_hash: PaymentHash,
    pub fee: Msat,
    /// Part of the fee that was unpaid when it was charged, and the amount that this payment had paid by then.
    pub due: Msat,
    pub paid_before: Msat,
}

impl Fee {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::InFlight(_) => "in flight",
            Self::Paid => "paid",
        }
    }
}

/// Command to an offer.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    PartHeld(&'a HeldHtlc),
    PartGone(PartId),
    /// The node still holds the part; with the amount of the held HTLC.
    PartStillHeld(PartId, Msat),
    /// Whether the node shows the part at the client.
    PartAtClient(PartId, bool),
    /// The host was not asked to forward the part yet, and will not be.
    NotAsked(PartId),
    ForwardRefused(PartId),
    PartForwarded(PartId),
    PartFailed(PartId),
    PartPresumedFailed(PartId),
    Booked(u32),
    PeerDisconnected,
    Channel(ChannelNews<'a>),
    ClockSet(Shift),
    /// The node has reported all that it had to report after a start.
    NodeCaughtUp,
    /// The time, the link, the height or another shared fact changed.
    Environment,
}

impl Flow for JitChannel {
    type Id = Scid;
    type Command<'a> = Command<'a>;
    type Event = Event;
    type Reject = Reject;
    type Effect = Effect;
    type Context<'a> = Context<'a>;

    fn id(&self) -> Scid {
        self.id
    }

    fn decide(&self, command: &Command<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        self.decide(command, ctx)
    }

    fn apply(&mut self, event: Event) {
        self.apply(event);
    }

    /// Ends, as each event leads further on: parts are sent, claimed or failed once for each asking, a channel is opened once
    /// for each attempt, and an attempt begins only while parts wait.
    fn advance(&self, ctx: &Context<'_>) -> Vec<Event> {
        self.advance(ctx)
    }

    fn outstanding(&self) -> Vec<Effect> {
        self.outstanding()
    }

    fn is_over(&self, ctx: &Context<'_>) -> bool {
        self.is_over(ctx)
    }
}

impl JitChannel {
    pub fn new(id: Scid, client: PeerId, token: Option<String>, terms: Terms) -> Self {
        let (channel, fee, was_used, confirmed_at, is_booked) = (Channel::None, Fee::Due, false, None, false);
        let (payments, wake_up, ledger) = (BTreeMap::new(), WakeUp::default(), Ledger::default());
        Self {
            id,
            client,
            token,
            terms,
            attempt: 0,
            channel,
            was_used,
            confirmed_at,
            fee,
            payments,
            wake_up,
            ledger,
            is_booked,
            opened_to_others: None,
        }
    }

    pub fn flow(&self) -> FlowId {
        FlowId::JitChannel(self.id)
    }

    pub fn key(&self) -> ChannelKey {
        ChannelKey { flow: self.flow(), attempt: self.attempt }
    }

    /// The events that a command causes, or the reason to reject it. Reads the state only.
    pub fn decide(&self, command: &Command<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        match command {
            Command::PartHeld(_)
            | Command::PartStillHeld(..)
            | Command::PartAtClient(..)
            | Command::NotAsked(_)
            | Command::PartGone(_)
            | Command::ForwardRefused(_)
            | Command::PartForwarded(_)
            | Command::PartFailed(_)
            | Command::PartPresumedFailed(_)
            | Command::NodeCaughtUp => self.decide_part(command, ctx),
            Command::Booked(number) => {
                if self.ledger.has(*number) {
                    Ok(vec![Event::Booked(*number)])
                } else {
                    Err(Reject::Stale)
                }
            }
            Command::PeerDisconnected => Ok(match &self.channel {
                // No funding was handed over yet, and a node may keep such an open and repeat it: end it here.
                Channel::Opening { step: Step::Asked | Step::Negotiated { .. }, .. } => {
                    self.open_fails(FailureCode::TemporaryChannelFailure, ChannelEvent::Abandoned, ctx)
                }
                Channel::None
                | Channel::Opening { step: Step::Funded(_), .. }
                | Channel::Pending { .. }
                | Channel::Ready { .. }
                | Channel::Closed { .. }
                | Channel::Abandoning { .. } => vec![],
            }),
            Command::Channel(news) => self.decide_channel(news, ctx),
            Command::ClockSet(shift) if self.is_shifted_by(shift) => Ok(vec![Event::ClockSet(*shift)]),
            Command::ClockSet(_) | Command::Environment => Ok(vec![]),
        }
    }

    /// The events of a channel event for the payments; the channel itself decides the rest.
    fn decide_channel(&self, news: &ChannelNews<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        use Channel as C;
        Ok(match (&self.channel, news) {
            (C::Opening { step: Step::Asked, .. }, ChannelNews::Negotiated { to_self_delay: Some(delay), .. })
                if u32::from(*delay) > self.terms.max_client_to_self_delay =>
            {
                self.open_fails(FailureCode::UnknownNextPeer, ChannelEvent::Abandoned, ctx)
            }
            (C::Opening { .. }, ChannelNews::Ended(why)) => {
                let end = self.channel.open_ended();
                match why {
                    ChannelEnd::Rejected => self.open_fails(FailureCode::UnknownNextPeer, end, ctx),
                    ChannelEnd::PeerGone | ChannelEnd::Closed | ChannelEnd::CannotOpen(_) => {
                        self.open_fails(FailureCode::TemporaryChannelFailure, end, ctx)
                    }
                    ChannelEnd::TryAgain => vec![Event::FeeFreed(ctx.now), Event::Channel(end)],
                }
            }
            (C::Pending { .. } | C::Ready { .. }, ChannelNews::Ended(_)) => {
                // A part that is at the client may still be claimed, or its claim may not be reported yet. In that case
                // the funding has to be broadcast.
                let undecided = self.has_sent_ever() || ctx.carries_others || !ctx.is_caught_up;
                let is_owed = self.may_broadcast() || undecided;
                vec![Event::Channel(if is_owed { ChannelEvent::Closed } else { ChannelEvent::Abandoned })]
            }
            // The node is ahead of its reports, or the claim came between the decision to abandon and its execution.
            (C::Opening { step: Step::Funded(_), .. } | C::Abandoning { funding: Some(_) }, ChannelNews::Used) => {
                vec![Event::Channel(ChannelEvent::Pending), Event::Used]
            }
            (C::Pending { .. } | C::Ready { .. } | C::Closed { .. }, ChannelNews::Used) if !self.may_broadcast() => {
                vec![Event::Used]
            }
            (channel, news) => channel.decide(news, ctx)?.into_iter().map(Event::Channel).collect(),
        })
    }

    /// The events of an open that ends early: its payment fails too, and the offer is usable again.
    pub(super) fn open_fails(&self, code: FailureCode, end: ChannelEvent, ctx: &Context<'_>) -> Vec<Event> {
        let mut events = self.payment_fails(code, ctx);
        events.push(Event::Channel(end));
        events
    }

    /// The events that fail the payment for which the channel was opened.
    pub(super) fn payment_fails(&self, code: FailureCode, ctx: &Context<'_>) -> Vec<Event> {
        let mut events = match &self.fee {
            Fee::InFlight(charged) => self.fail_held(charged.payment_hash, code),
            Fee::Due | Fee::Paid => vec![],
        };
        events.push(Event::FeeFreed(ctx.now));
        events
    }

    pub(super) fn fail_held(&self, hash: PaymentHash, code: FailureCode) -> Vec<Event> {
        let held = self.payments.get(&hash).into_iter().flat_map(Payment::held);
        held.map(|part| moved(hash, part, failing(code))).collect()
    }

    /// Whether a part is at the client, or may be although the node did not show it.
    pub fn has_sent_ever(&self) -> bool {
        self.payments.values().any(Payment::has_sent_ever)
    }

    /// Whether coins are reserved for the channel, or about to be, that no published transaction has spent.
    pub fn holds_coins(&self) -> bool {
        matches!(self.channel, Channel::Opening { .. }) || (self.channel.funding().is_some() && !self.may_broadcast())
    }

    /// Whether the trust model allows the broadcast of the funding transaction.
    pub fn may_broadcast(&self) -> bool {
        !self.terms.client_trusts_lsp || self.fee == Fee::Paid || self.was_used || self.has_earned()
    }

    /// Checks that the channel can be closed without breaking the promise of `min_lifetime`.
    pub fn may_close(&self, height: BlockHeight) -> Result<(), Promised> {
        let min_lifetime = self.terms.min_lifetime;
        let depth = self.confirmed_at.map_or(0, |at| height.0.saturating_sub(at.0));
        let is_there = matches!(self.channel, Channel::Pending { .. } | Channel::Ready { .. });
        let may = may_close(self.fee == Fee::Paid && is_there, Blocks(depth), Blocks(min_lifetime));
        let until = self.confirmed_at.map(|at| BlockHeight(at.0.saturating_add(min_lifetime)));
        if may { Ok(()) } else { Err(Promised { until }) }
    }

    /// End of the offer. The end is later for a payment over a channel that is open and not paid for, if the operator
    /// allows that.
    pub fn honoured_until(&self, config: &Config) -> Timestamp {
        let is_open = matches!(self.channel, Channel::Ready { .. }) && self.fee != Fee::Paid;
        if is_open { self.terms.valid_until + config.honour_expired } else { self.terms.valid_until }
    }

    /// Whether something of it was claimed.
    pub fn has_earned(&self) -> bool {
        self.payments.values().any(|payment| payment.earned().is_some())
    }

    pub fn find(&self, id: PartId) -> Option<(PaymentHash, &Part)> {
        self.payments.iter().find_map(|(hash, payment)| Some((*hash, payment.part(id)?)))
    }
}

impl Terms {
    /// The fee on a single-part payment without agreed size; `None` if the part cannot pay it.
    pub fn fee_of_one(&self, amount: Msat) -> Option<Msat> {
        self.fee.fee_on_single_part(amount, self.htlc_minimum)
    }
}

pub(super) fn moved(payment_hash: PaymentHash, part: &Part, to: PartState) -> Event {
    Event::PartMoved { payment_hash, id: part.id, to }
}

pub(super) fn failing(code: FailureCode) -> PartState {
    PartState::Failing { code, ask: 1 }
}

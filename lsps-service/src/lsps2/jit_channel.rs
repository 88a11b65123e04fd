//! One accepted buy, from the SCID it was given to the end of its use: what inputs mean ([`JitChannel::decide`]).
//! What events change is in [`super::change`], what follows from a state by itself in [`super::progress`], what the world
//! owes it in [`super::outstanding`].
//!
//! The state is the product of three small machines, the channel, the fee and the parts: any part may be in any state
//! while the channel and the fee are in theirs.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec, vec::Vec};

use lsps_flow::Flow;
use lsps_types::{BlockHeight, Blocks, Msat, PaymentHash, PeerId, Scid, Timestamp, lsps2::fee::FeeTerms};
use serde::{Deserialize, Serialize};

use crate::book::Ledger;
use crate::channel::{Channel, ChannelEvent, ChannelNews, Step};
use crate::clock::Shift;
use crate::config::Config;
use crate::effect::Effect;
use crate::flow::{Call, Context, Reject};
use crate::ids::{ChannelKey, FlowId, PartId};
use crate::input::{ChannelEnd, HeldHtlc};
use crate::known::Promised;
use crate::lsps2::change::Event;
use crate::lsps2::may_close;
use crate::lsps2::parts::{Part, PartState, Payment};
use lsps_types::bolt4::FailureCode;

/// An offer and all that came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JitChannel {
    pub id: Scid,
    pub client: PeerId,
    /// For which it was sold.
    pub token: Option<String>,
    pub terms: Terms,
    /// Opens begun so far; the present one's number.
    pub attempt: u32,
    pub channel: Channel,
    /// Something was claimed over its channel that was meant for another.
    pub was_used: bool,
    /// The height at which its funding was confirmed: `min_lifetime` counts from there.
    pub confirmed_at: Option<BlockHeight>,
    pub fee: Fee,
    pub payments: BTreeMap<PaymentHash, Payment>,
    pub call: Call,
    pub ledger: Ledger,
    /// The fee in flight is in the book: something of its payment was sent. What is charged and never sent is no entry, so
    /// that opens that are refused again and again fill no book. Version 2 of the record ends before it.
    pub is_booked: bool,
    /// When its channel, published without the whole fee, was opened to others' payments, as the offer was over. Version 3 of
    /// the record ends before it.
    pub opened_to_others: Option<Timestamp>,
}

/// What was promised at buy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// `None`: an invoice without amount, paid by one part of any size within the bounds.
    pub payment_size: Option<Msat>,
    pub fee: FeeTerms,
    pub valid_until: Timestamp,
    pub max_client_to_self_delay: u32,
    pub min_lifetime: u32,
    pub client_trusts_lsp: bool,
    /// Least amount the channel carries.
    pub htlc_minimum: Msat,
    /// Remembered until then if it is paid for.
    pub remember_until: Option<Timestamp>,
}

/// The opening fee, charged once per offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fee {
    Due,
    /// Boxed, as most offers on record wait for a payment or had it.
    InFlight(Box<Charged>),
    Paid,
}

/// A payment that is to pay the fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charged {
    pub payment_hash: PaymentHash,
    pub fee: Msat,
    /// What was left of it to pay when it was charged, and what the payment had paid by then.
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

/// What an input means to one offer.
#[derive(Debug)]
pub(crate) enum Told<'a> {
    PartHeld(&'a HeldHtlc),
    PartGone(PartId),
    /// And what came in with what is held.
    PartStillHeld(PartId, Msat),
    /// And whether it is there.
    PartAtClient(PartId, bool),
    /// The host was not asked to forward it yet, and will not be.
    NotAsked(PartId),
    ForwardRefused(PartId),
    PartForwarded(PartId),
    PartFailed(PartId),
    PartPresumedFailed(PartId),
    Booked(u32),
    PeerDisconnected,
    Channel(ChannelNews<'a>),
    ClockSet(Shift),
    /// Something around it changed: the time, the link, the height.
    Surroundings,
}

impl Flow for JitChannel {
    type Id = Scid;
    type Command<'a> = Told<'a>;
    type Event = Event;
    type Reject = Reject;
    type Effect = Effect;
    type Context<'a> = Context<'a>;

    fn id(&self) -> Scid {
        self.id
    }

    fn decide(&self, told: &Told<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        self.decide(told, ctx)
    }

    fn apply(&mut self, event: Event) {
        self.apply(event);
    }

    /// Ends, as each event leads further on: parts are sent, claimed or failed once for each asking, a channel is opened once
    /// for each attempt, and an attempt begins only while parts wait.
    fn advance(&self, ctx: &Context<'_>) -> Vec<Event> {
        self.follow(ctx)
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
        let (payments, call, ledger) = (BTreeMap::new(), Call::default(), Ledger::default());
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
            call,
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

    /// Reads only: what the input means here, or why it means nothing.
    pub fn decide(&self, told: &Told<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        match told {
            Told::PartHeld(_)
            | Told::PartStillHeld(..)
            | Told::PartAtClient(..)
            | Told::NotAsked(_)
            | Told::PartGone(_)
            | Told::ForwardRefused(_)
            | Told::PartForwarded(_)
            | Told::PartFailed(_)
            | Told::PartPresumedFailed(_) => self.decide_part(told, ctx),
            Told::Booked(number) => {
                if self.ledger.has(*number) {
                    Ok(vec![Event::Booked(*number)])
                } else {
                    Err(Reject::Stale)
                }
            }
            Told::PeerDisconnected => Ok(match &self.channel {
                // Nothing of ours was handed over yet, and a node may keep such an open and send it again: end it here.
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
            Told::Channel(news) => self.decide_channel(news, ctx),
            Told::ClockSet(shift) if self.is_shifted_by(shift) => Ok(vec![Event::ClockSet(*shift)]),
            Told::ClockSet(_) | Told::Surroundings => Ok(vec![]),
        }
    }

    /// What news of the channel means to the payments; the rest is the channel's own.
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
                // What is still with the client may yet be claimed, or is and was not told, and then the funding is owed.
                let undecided = self.has_sent_ever() || ctx.carries_others || !ctx.is_caught_up;
                let is_owed = self.may_broadcast() || undecided;
                vec![Event::Channel(if is_owed { ChannelEvent::Closed } else { ChannelEvent::Abandoned })]
            }
            // The node is ahead of what it told, or the claim came between the decision to give it up and its being done.
            (C::Opening { step: Step::Funded(_), .. } | C::Abandoning { funding: Some(_) }, ChannelNews::Used) => {
                vec![Event::Channel(ChannelEvent::Pending), Event::Used]
            }
            (C::Pending { .. } | C::Ready { .. } | C::Closed { .. }, ChannelNews::Used) if !self.may_broadcast() => {
                vec![Event::Used]
            }
            (channel, news) => channel.decide(news, ctx)?.into_iter().map(Event::Channel).collect(),
        })
    }

    /// An open that ends early takes the payment it was for along; the offer is usable again.
    pub(super) fn open_fails(&self, code: FailureCode, end: ChannelEvent, ctx: &Context<'_>) -> Vec<Event> {
        let mut events = self.payment_fails(code, ctx);
        events.push(Event::Channel(end));
        events
    }

    /// The payment that the channel was opened for goes back.
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

    /// Whether something of it is with its client, or may be in spite of what the node showed.
    pub fn has_sent_ever(&self) -> bool {
        self.payments.values().any(Payment::has_sent_ever)
    }

    /// Whether coins are held for its channel, or about to be, that nothing on the chain has spent.
    pub fn holds_coins(&self) -> bool {
        matches!(self.channel, Channel::Opening { .. }) || (self.channel.funding().is_some() && !self.may_broadcast())
    }

    /// Whether the trust model allows the funding transaction on the chain.
    pub fn may_broadcast(&self) -> bool {
        let claimed = || self.payments.values().any(|payment| payment.earned().is_some());
        !self.terms.client_trusts_lsp || self.fee == Fee::Paid || self.was_used || claimed()
    }

    /// Whether its channel may be closed without breaking the promise of `min_lifetime`.
    pub fn may_close(&self, height: BlockHeight) -> Result<(), Promised> {
        let min_lifetime = self.terms.min_lifetime;
        let depth = self.confirmed_at.map_or(0, |at| height.0.saturating_sub(at.0));
        let is_there = matches!(self.channel, Channel::Pending { .. } | Channel::Ready { .. });
        let may = may_close(self.fee == Fee::Paid && is_there, Blocks(depth), Blocks(min_lifetime));
        let until = self.confirmed_at.map(|at| BlockHeight(at.0.saturating_add(min_lifetime)));
        if may { Ok(()) } else { Err(Promised { until }) }
    }

    /// The end of the offer; later for a payment over a channel that is open and not paid for, where the operator says so.
    pub fn honoured_until(&self, config: &Config) -> Timestamp {
        let is_open = matches!(self.channel, Channel::Ready { .. }) && self.fee != Fee::Paid;
        if is_open { self.terms.valid_until + config.honour_expired } else { self.terms.valid_until }
    }

    pub fn find(&self, id: PartId) -> Option<(PaymentHash, &Part)> {
        self.payments.iter().find_map(|(hash, payment)| Some((*hash, payment.part(id)?)))
    }
}

impl Terms {
    /// The fee on a payment of one part without agreed size, or `None` if the part cannot carry it.
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

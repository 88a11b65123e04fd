//! One accepted buy, from the SCID it was given to the end of its use: what inputs mean ([`JitChannel::decide`]).
//! What events change is in [`super::change`], what follows from a state by itself in [`super::progress`], what the world
//! owes it in [`super::outstanding`].
//!
//! The state is the product of three small machines, the channel, the fee and the parts: any part may be in any state
//! while the channel and the fee are in theirs.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec, vec::Vec};

use lsps_types::{BlockHeight, Blocks, Msat, PaymentHash, PeerId, Scid, Timestamp, lsps2::fee::FeeTerms};
use serde::{Deserialize, Serialize};

use crate::book::Ledger;
use crate::channel::{Channel, ChannelEvent, ChannelNews, Step};
use crate::config::Config;
use crate::effect::Effect;
use crate::flow::{Call, Context, Flow, Reject};
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
    /// Something around it changed: the time, the link, the height.
    Surroundings,
}

impl Flow for JitChannel {
    type Told<'a> = Told<'a>;
    type Event = Event;

    fn decide(&self, told: &Told<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        self.decide(told, ctx)
    }

    fn apply(&mut self, event: Event) {
        self.apply(event);
    }

    fn follow(&self, ctx: &Context<'_>) -> Vec<Event> {
        self.follow(ctx)
    }

    fn outstanding(&self) -> Vec<Effect> {
        self.outstanding()
    }
}

impl JitChannel {
    pub fn new(id: Scid, client: PeerId, token: Option<String>, terms: Terms) -> Self {
        let (channel, fee, was_used, confirmed_at) = (Channel::None, Fee::Due, false, None);
        let (payments, call, ledger) = (BTreeMap::new(), Call::default(), Ledger::default());
        Self { id, client, token, terms, attempt: 0, channel, was_used, confirmed_at, fee, payments, call, ledger }
    }

    pub fn flow(&self) -> FlowId {
        FlowId::JitChannel(self.id)
    }

    pub fn key(&self) -> ChannelKey {
        ChannelKey { flow: self.flow(), attempt: self.attempt }
    }

    /// Reads only: what the input means here, or why it means nothing.
    pub fn decide(&self, told: &Told<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        use PartState as P;
        match told {
            Told::PartHeld(htlc) => match self.find(htlc.part) {
                None => self.admit(htlc, ctx),
                Some((hash, part)) => {
                    // The name says only that the onions share a secret, and whoever made one can make others.
                    let is_same = htlc.payment_hash == hash && htlc.onion_amount == part.onion_amount;
                    self.told_again(hash, part, Some(htlc.amount_in).filter(|_| is_same))
                }
            },
            Told::PartStillHeld(id, amount_in) => {
                let (hash, part) = self.find(*id).ok_or(Reject::Stale)?;
                match part.state {
                    // Whatever was asked was not done; when and how much to send is decided anew.
                    P::Sent { .. } if part.in_doubt && *amount_in >= part.onion_amount => {
                        let not_sent = Event::PartNotSent { payment_hash: hash, id: *id, at: ctx.now };
                        Ok(brings(hash, part, *amount_in).into_iter().chain([not_sent]).collect())
                    }
                    // What is outstanding was asked again at load.
                    P::Failing { .. } => Ok(vec![]),
                    P::Held | P::Sent { .. } | P::Claimed { .. } | P::Failed { .. } => {
                        self.told_again(hash, part, Some(*amount_in))
                    }
                }
            }
            Told::PartAtClient(id, is_there) => {
                let (payment_hash, part) = self.find(*id).ok_or(Reject::Stale)?;
                let is_news = matches!(part.state, P::Sent { .. }) && part.in_doubt == *is_there;
                let doubted = Event::PartDoubted { payment_hash, id: *id, in_doubt: !is_there };
                Ok(if is_news { vec![doubted] } else { vec![] })
            }
            Told::NotAsked(id) => {
                let (payment_hash, part) = self.find(*id).ok_or(Reject::Stale)?;
                let is_sent = matches!(part.state, P::Sent { .. });
                let not_sent = Event::PartNotSent { payment_hash, id: *id, at: ctx.now };
                Ok(if is_sent { vec![not_sent] } else { vec![] })
            }
            Told::PartGone(id) | Told::PartFailed(id) => {
                let (hash, part) = self.find(*id).ok_or(Reject::Stale)?;
                Ok(match part.state {
                    P::Held if part.sent_before.is_some() => {
                        vec![moved(hash, part, P::Failed { sent: part.sent_before, at: ctx.now })]
                    }
                    P::Held => vec![Event::PartLost { payment_hash: hash, id: *id }],
                    P::Sent { amount, .. } => vec![moved(hash, part, P::Failed { sent: Some(amount), at: ctx.now })],
                    P::Failing { .. } => vec![moved(hash, part, P::Failed { sent: None, at: ctx.now })],
                    P::Claimed { .. } | P::Failed { .. } => vec![],
                })
            }
            Told::PartPresumedFailed(id) => {
                let (payment_hash, part) = self.find(*id).ok_or(Reject::Stale)?;
                match part.state {
                    P::Sent { .. } => Ok(vec![Event::PartPresumedFailed { payment_hash, id: *id, at: ctx.now }]),
                    P::Claimed { .. } | P::Failed { .. } => Ok(vec![]),
                    P::Held | P::Failing { .. } => Err(Reject::Stale),
                }
            }
            Told::ForwardRefused(id) => {
                let (hash, part) = self.find(*id).ok_or(Reject::Stale)?;
                let fails = moved(hash, part, failing(FailureCode::TemporaryChannelFailure));
                match part.state {
                    P::Sent { ask: 1, .. } => Ok(vec![fails]),
                    // What was asked before may have been done, and this be another HTLC with the same onion.
                    P::Sent { .. } => Ok(vec![Event::PartNotSent { payment_hash: hash, id: *id, at: ctx.now }, fails]),
                    P::Held | P::Claimed { .. } | P::Failing { .. } | P::Failed { .. } => Err(Reject::Stale),
                }
            }
            Told::PartForwarded(id) => {
                let (hash, part) = self.find(*id).ok_or(Reject::Stale)?;
                let amount = match part.state {
                    P::Sent { amount, .. } => amount,
                    P::Claimed { .. } => return Ok(vec![]),
                    P::Held | P::Failing { .. } | P::Failed { .. } => part.unlikely().ok_or(Reject::Stale)?,
                };
                Ok(vec![moved(hash, part, P::Claimed { skim: part.skim(amount), at: ctx.now })])
            }
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
            Told::Surroundings => Ok(vec![]),
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

    /// Whether a part that was not seen before may wait here.
    fn admit(&self, htlc: &HeldHtlc, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        let refuse = |code| Err(Reject::FailPart(code));
        let part = Part {
            id: htlc.part,
            onion_amount: htlc.onion_amount,
            surplus: htlc.amount_in.checked_sub(htlc.onion_amount).unwrap_or(Msat::ZERO),
            cltv_expiry: htlc.cltv_expiry,
            state: PartState::Held,
            sent_before: None,
            in_doubt: false,
        };
        let payment = self.payments.get(&htlc.payment_hash);
        let parts = || self.payments.values().flat_map(|payment| &payment.parts);
        let never_of_use = ctx.now >= self.honoured_until(ctx.config)
            || matches!(self.channel, Channel::Closed { .. })
            || htlc.amount_in < htlc.onion_amount
            || htlc.onion_amount < self.terms.htlc_minimum.max(Msat(1))
            || parts().filter(|part| part.is_live()).count() >= ctx.config.limits.parts_per_offer
            || parts().count() >= ctx.config.limits.known_parts_per_offer
            || payment.is_some_and(|set| set.held_sum().and_then(|sum| sum.checked_add(part.onion_amount)).is_none());
        if never_of_use {
            return refuse(FailureCode::UnknownNextPeer);
        }
        if ctx.too_close(htlc.cltv_expiry) {
            return refuse(FailureCode::TemporaryChannelFailure);
        }
        let one_part_only = self.terms.payment_size.is_none() && self.fee != Fee::Paid;
        if one_part_only
            && (payment.is_some_and(|payment| payment.parts.iter().any(|part| part.is_live() && !part.in_doubt))
                || self.terms.fee_of_one(htlc.onion_amount).is_none())
        {
            return refuse(FailureCode::UnknownNextPeer);
        }
        Ok(vec![Event::PartAdded { payment_hash: htlc.payment_hash, part, at: ctx.now }])
    }

    /// The node holds an HTLC by the name of a known part, which brings `amount_in`; `None`: it asks for something else. The
    /// name is free again once an HTLC was forwarded: whoever is upstream can send the same onion again, with less money.
    fn told_again(&self, hash: PaymentHash, part: &Part, amount_in: Option<Msat>) -> Result<Vec<Event>, Reject> {
        let enough = amount_in.filter(|amount_in| *amount_in >= part.onion_amount);
        let brings = enough.and_then(|amount_in| brings(hash, part, amount_in));
        match (part.state, &self.channel) {
            (PartState::Held, _) if enough.is_some() => Ok(brings.into_iter().collect()),
            // The node has let go of the HTLC on record, and holds another one that is to be failed.
            (PartState::Held, _) => Ok(vec![moved(hash, part, failing(FailureCode::UnknownNextPeer))]),
            (PartState::Sent { amount, ask }, Channel::Ready { .. }) if part.in_doubt && enough.is_some() => {
                let asked = moved(hash, part, PartState::Sent { amount, ask: ask.saturating_add(1) });
                Ok(brings.into_iter().chain([asked]).collect())
            }
            (PartState::Sent { .. }, _) if part.in_doubt && enough.is_some() => {
                Ok(vec![moved(hash, part, failing(FailureCode::TemporaryChannelFailure))])
            }
            // The HTLC on record is with the client, or is gone and another one brings too little.
            (PartState::Sent { .. }, _) => Err(Reject::FailPart(FailureCode::UnknownNextPeer)),
            (PartState::Failing { code, ask }, _) => {
                Ok(vec![moved(hash, part, PartState::Failing { code, ask: ask.saturating_add(1) })])
            }
            // The outcome is known, so this is another HTLC with the same onion.
            (PartState::Claimed { .. } | PartState::Failed { .. }, _) => {
                Err(Reject::FailPart(FailureCode::UnknownNextPeer))
            }
        }
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

/// Another HTLC took the place of a part, and brings enough, though not as much.
fn brings(payment_hash: PaymentHash, part: &Part, amount_in: Msat) -> Option<Event> {
    let surplus = amount_in.checked_sub(part.onion_amount).filter(|surplus| *surplus != part.surplus)?;
    Some(Event::PartBrings { payment_hash, id: part.id, surplus })
}

pub(super) fn failing(code: FailureCode) -> PartState {
    PartState::Failing { code, ask: 1 }
}

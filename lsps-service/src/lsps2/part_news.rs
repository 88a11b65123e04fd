//! Reports about HTLCs: whether a part may be held, whether a known id belongs to another HTLC, and the outcomes of
//! forwarded parts.

use alloc::{vec, vec::Vec};

use lsps_types::bolt4::FailureCode;
use lsps_types::{Msat, PaymentHash, Timestamp};

use crate::channel::Channel;
use crate::flow::{Context, Reject};
use crate::ids::PartId;
use crate::input::HeldHtlc;
use crate::lsps2::change::Event;
use crate::lsps2::jit_channel::{Command, Fee, JitChannel, failing, moved};
use crate::lsps2::parts::{Part, PartState, Payment};

impl JitChannel {
    /// The events of a command about a part. Other commands cause none. Reads the state only.
    pub(super) fn decide_part(&self, command: &Command<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        match command {
            Command::PartHeld(htlc) => match self.find(htlc.part) {
                None => self.admit(htlc, ctx),
                Some((hash, part)) => {
                    // The id only proves that the onions share a secret, and whoever made one onion can make others.
                    let is_same = htlc.payment_hash == hash && htlc.onion_amount == part.onion_amount;
                    let is_in_time = !ctx.too_close(htlc.cltv_expiry);
                    let amount_in = Some(htlc.amount_in).filter(|_| is_same && is_in_time);
                    let taken = self.told_again(hash, part, amount_in, ctx.now)?;
                    let expires = Event::PartExpires { payment_hash: hash, id: part.id, at: htlc.cltv_expiry };
                    let is_other = htlc.cltv_expiry != part.cltv_expiry;
                    Ok(is_other.then_some(expires).into_iter().chain(taken).collect())
                }
            },
            Command::PartStillHeld(id, amount_in) => self.still_held(*id, *amount_in, ctx),
            Command::PartAtClient(id, is_there) => self.part_at_client(*id, *is_there),
            Command::NotAsked(id) => {
                let (payment_hash, part) = self.find(*id).ok_or(Reject::Stale)?;
                let not_sent = Event::PartNotSent { payment_hash, id: *id, at: ctx.now };
                Ok(if part.sent().is_some() { vec![not_sent] } else { vec![] })
            }
            Command::PartGone(id) | Command::PartFailed(id) => self.part_failed(*id, ctx.now),
            Command::PartPresumedFailed(id) => self.part_presumed_failed(*id, ctx.now),
            Command::ForwardRefused(id) => self.forward_refused(*id, ctx.now),
            Command::PartForwarded(id) => self.part_forwarded(*id, ctx.now),
            Command::NodeCaughtUp => Ok(self.keep_claims(ctx.now)),
            Command::Booked(_)
            | Command::PeerDisconnected
            | Command::Channel(_)
            | Command::ClockSet(_)
            | Command::Environment => Ok(vec![]),
        }
    }

    /// The events that keep the claims on record from the end of a start on. The node was loaded as it was saved, perhaps
    /// before them, and the process may have been down for any time since. So it may have told them again just now, and does so
    /// once more if it dies before it is saved.
    fn keep_claims(&self, at: Timestamp) -> Vec<Event> {
        let payments = self.payments.iter().filter(|(_, payment)| self.is_forgettable(payment));
        let parts = payments.flat_map(|(hash, payment)| payment.parts.iter().map(|part| (*hash, part)));
        let claimed =
            parts.filter(|(_, part)| matches!(part.state, PartState::Claimed { at: before, .. } if before < at));
        claimed.map(|(payment_hash, part)| Event::OutcomeKept { payment_hash, id: part.id, at }).collect()
    }

    fn part_at_client(&self, id: PartId, is_there: bool) -> Result<Vec<Event>, Reject> {
        use PartState as P;
        let (payment_hash, part) = self.find(id).ok_or(Reject::Stale)?;
        let in_doubt = match part.state {
            P::Sent { .. } => !is_there,
            P::Claimed { .. } => is_there,
            P::Held | P::Failing { .. } | P::Failed { .. } => part.in_doubt,
        };
        let doubted = Event::PartDoubted { payment_hash, id, in_doubt };
        Ok(if in_doubt == part.in_doubt { vec![] } else { vec![doubted] })
    }

    fn part_failed(&self, id: PartId, at: Timestamp) -> Result<Vec<Event>, Reject> {
        use PartState as P;
        let (payment_hash, part) = self.find(id).ok_or(Reject::Stale)?;
        let failed = |sent| vec![moved(payment_hash, part, P::Failed { sent, at })];
        Ok(match part.state {
            P::Held if part.sent_before.is_some() => failed(part.sent_before),
            P::Held => vec![Event::PartLost { payment_hash, id }],
            P::Sent { amount, .. } => failed(Some(amount)),
            P::Failing { .. } => failed(None),
            P::Claimed { .. } | P::Failed { .. } if part.another_held => {
                vec![Event::AnotherHeld { payment_hash, id, is_held: false, at }]
            }
            P::Claimed { .. } | P::Failed { .. } => vec![],
        })
    }

    fn part_presumed_failed(&self, id: PartId, at: Timestamp) -> Result<Vec<Event>, Reject> {
        use PartState as P;
        let (payment_hash, part) = self.find(id).ok_or(Reject::Stale)?;
        match part.state {
            P::Sent { .. } => Ok(vec![Event::PartPresumedFailed { payment_hash, id, at }]),
            P::Claimed { .. } | P::Failed { .. } => Ok(vec![]),
            P::Held | P::Failing { .. } => Err(Reject::Stale),
        }
    }

    fn forward_refused(&self, id: PartId, at: Timestamp) -> Result<Vec<Event>, Reject> {
        use PartState as P;
        let (payment_hash, part) = self.find(id).ok_or(Reject::Stale)?;
        let fails = moved(payment_hash, part, failing(FailureCode::TemporaryChannelFailure));
        match part.state {
            P::Sent { ask: 1, .. } => Ok(vec![fails]),
            // An earlier forward may have been executed, so this may be another HTLC with the same onion.
            P::Sent { .. } => Ok(vec![Event::PartNotSent { payment_hash, id, at }, fails]),
            P::Held | P::Claimed { .. } | P::Failing { .. } | P::Failed { .. } => Err(Reject::Stale),
        }
    }

    fn part_forwarded(&self, id: PartId, at: Timestamp) -> Result<Vec<Event>, Reject> {
        use PartState as P;
        let (payment_hash, part) = self.find(id).ok_or(Reject::Stale)?;
        let amount = match part.state {
            P::Sent { amount, .. } => amount,
            P::Claimed { .. } if part.in_doubt => {
                let kept = Event::OutcomeKept { payment_hash, id, at };
                return Ok(vec![Event::PartDoubted { payment_hash, id, in_doubt: false }, kept]);
            }
            P::Claimed { .. } => return Ok(vec![]),
            P::Held | P::Failing { .. } | P::Failed { .. } => part.unlikely().ok_or(Reject::Stale)?,
        };
        let claimed = moved(payment_hash, part, P::Claimed { skim: part.skim(amount), at });
        // An HTLC that is held under this id is another one, of which nothing more is reported.
        let is_held = matches!(part.state, P::Held | P::Failing { .. });
        let another = Event::AnotherHeld { payment_hash, id, is_held, at };
        Ok([claimed].into_iter().chain(is_held.then_some(another)).collect())
    }

    /// Whether a new part may be held.
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
            another_held: false,
        };
        let payment = self.payments.get(&htlc.payment_hash);
        let never_of_use = ctx.now >= self.honoured_until(ctx.config)
            || matches!(self.channel, Channel::Closed { .. })
            || htlc.amount_in < htlc.onion_amount
            || htlc.onion_amount < self.terms.htlc_minimum.max(Msat(1))
            || payment.is_some_and(|set| set.held_sum().and_then(|sum| sum.checked_add(part.onion_amount)).is_none());
        if never_of_use {
            return refuse(FailureCode::UnknownNextPeer);
        }
        if ctx.too_close(htlc.cltv_expiry) || self.is_excess(htlc) {
            return refuse(FailureCode::TemporaryChannelFailure);
        }
        let cannot_pay = self.is_one_part_only() && self.terms.fee_of_one(htlc.onion_amount).is_none();
        if cannot_pay || self.is_one_too_many(htlc.payment_hash, htlc.part) {
            return refuse(FailureCode::UnknownNextPeer);
        }
        let mut events = self.make_room(htlc, ctx).ok_or(Reject::FailPart(FailureCode::UnknownNextPeer))?;
        events.push(Event::PartAdded { payment_hash: htlc.payment_hash, part, at: ctx.now });
        Ok(events)
    }

    /// Whether the payment that pays the fee has no agreed size, and so consists of one part.
    fn is_one_part_only(&self) -> bool {
        self.terms.payment_size.is_none() && self.fee != Fee::Paid
    }

    /// Whether a payment of one part has another part than this already.
    fn is_one_too_many(&self, hash: PaymentHash, id: PartId) -> bool {
        let is_there = |other: &Part| other.id != id && other.is_live() && !other.in_doubt;
        self.is_one_part_only() && self.payments.get(&hash).is_some_and(|payment| payment.parts.iter().any(is_there))
    }

    /// Whether a part exceeds a payment that is complete without it, while the LSP bears the risk of the channel. A
    /// client that claims only such parts would have the channel published and pay next to nothing for it. A set may
    /// have twice the size, as BOLT 4 lets payers overpay.
    fn is_excess(&self, htlc: &HeldHtlc) -> bool {
        let Some(size) = self.terms.payment_size.filter(|_| self.terms.client_trusts_lsp && self.fee != Fee::Paid)
        else {
            return false;
        };
        let there = self.payments.get(&htlc.payment_hash).map_or(Msat::ZERO, Payment::expected_sum);
        let most = size.0.saturating_mul(2);
        there >= size || (there > Msat::ZERO && there.0.saturating_add(htlc.onion_amount.0) > most)
    }

    /// The parts that are failed to make room for another; `None`: none may be. Anybody who knows the SCID can fill an
    /// offer with tiny parts, so the payment with the smaller sum is failed, and within a payment the smaller part.
    /// Outcomes that no claim can follow are dropped first.
    fn make_room(&self, htlc: &HeldHtlc, ctx: &Context<'_>) -> Option<Vec<Event>> {
        let limits = &ctx.config.limits;
        let parts =
            || self.payments.iter().flat_map(|(hash, payment)| payment.parts.iter().map(move |part| (*hash, part)));
        let mut events = vec![];
        let takes_slot = |part: &Part| matches!(part.state, PartState::Held | PartState::Sent { .. });
        if parts().filter(|(_, part)| takes_slot(part)).count() >= limits.parts_per_offer {
            events.extend(self.giving_way(htlc)?);
        }
        if parts().count() >= limits.known_parts_per_offer {
            let never_sent = parts().filter_map(|(hash, part)| match part.state {
                PartState::Failed { sent: None, at } => part.sent_before.is_none().then_some((at, hash, part.id)),
                PartState::Failed { sent: Some(_), .. }
                | PartState::Held
                | PartState::Sent { .. }
                | PartState::Claimed { .. }
                | PartState::Failing { .. } => None,
            });
            let (_, payment_hash, id) = never_sent.min()?;
            events.push(Event::PartLost { payment_hash, id });
        }
        Some(events)
    }

    /// The held parts that fail in favour of a new one.
    fn giving_way(&self, htlc: &HeldHtlc) -> Option<Vec<Event>> {
        let sum = |payment: &Payment| payment.held_sum().unwrap_or(Msat(u64::MAX));
        let own = self.payments.get(&htlc.payment_hash).map_or(0, |payment| sum(payment).0);
        let waiting = self.payments.iter().filter(|(hash, payment)| {
            **hash != htlc.payment_hash && payment.has_held() && !payment.has_sent_ever() && !self.is_charged(**hash)
        });
        let least = waiting.min_by_key(|(_, payment)| sum(payment));
        if let Some((hash, _)) = least.filter(|(_, other)| sum(other).0 < own.saturating_add(htlc.onion_amount.0)) {
            return Some(self.fail_held(*hash, FailureCode::UnknownNextPeer));
        }
        if self.is_charged(htlc.payment_hash) {
            return None;
        }
        let smallest = self.payments.get(&htlc.payment_hash)?.held().min_by_key(|part| part.onion_amount)?;
        let gives_way = smallest.onion_amount < htlc.onion_amount;
        gives_way.then(|| vec![moved(htlc.payment_hash, smallest, failing(FailureCode::UnknownNextPeer))])
    }

    /// Whether this payment is charged the fee.
    fn is_charged(&self, hash: PaymentHash) -> bool {
        matches!(&self.fee, Fee::InFlight(charged) if charged.payment_hash == hash)
    }

    /// The events for an HTLC that the node holds under the id of a part with another state on record.
    fn still_held(&self, id: PartId, amount_in: Msat, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        use PartState as P;
        let (payment_hash, part) = self.find(id).ok_or(Reject::Stale)?;
        match part.state {
            // No forward was executed; the time and amount of the next are decided again.
            P::Sent { .. }
                if part.in_doubt && amount_in == part.amount_in() && !self.is_one_too_many(payment_hash, id) =>
            {
                Ok(vec![Event::PartNotSent { payment_hash, id, at: ctx.now }])
            }
            // The outstanding effect was repeated at load.
            P::Failing { .. } => Ok(vec![]),
            P::Claimed { .. } | P::Failed { .. } => {
                Ok(vec![Event::AnotherHeld { payment_hash, id, is_held: true, at: ctx.now }])
            }
            P::Held | P::Sent { .. } => self.told_again(payment_hash, part, Some(amount_in), ctx.now),
        }
    }

    /// The events for an HTLC that the node holds under the id of a known part and that brings `amount_in`; `None`: its
    /// onion or its expiry differs. The id is free again once an HTLC was forwarded: an upstream node can send the same
    /// onion again, with another amount. Where the part may have been forwarded, such an HTLC cannot take its place: its
    /// claim and that of the part bring different amounts, and the record has one of them.
    fn told_again(
        &self,
        hash: PaymentHash,
        part: &Part,
        amount_in: Option<Msat>,
        now: Timestamp,
    ) -> Result<Vec<Event>, Reject> {
        let was_sent = part.sent_before.is_some() || part.sent().is_some();
        let fits = |amount_in: &Msat| *amount_in == part.amount_in() || (!was_sent && *amount_in >= part.onion_amount);
        let fitting = amount_in.filter(fits);
        match (part.state, &self.channel) {
            (PartState::Held, _) if fitting.is_some() => {
                Ok(fitting.and_then(|amount_in| brings(hash, part, amount_in)).into_iter().collect())
            }
            // The node has resolved the HTLC on record, and holds another one, which has to be failed.
            (PartState::Held, _) => Ok(vec![moved(hash, part, failing(FailureCode::UnknownNextPeer))]),
            (PartState::Sent { .. }, _) if part.in_doubt && self.is_one_too_many(hash, part.id) => {
                Err(Reject::FailPart(FailureCode::UnknownNextPeer))
            }
            // As with other parts: it goes on only with the rest of its payment.
            (PartState::Sent { .. }, Channel::Ready { .. })
                if part.in_doubt && fitting.is_some() && !self.goes_on_with(hash, part.id) =>
            {
                Ok(vec![Event::PartNotSent { payment_hash: hash, id: part.id, at: now }])
            }
            (PartState::Sent { amount, ask }, Channel::Ready { .. }) if part.in_doubt && fitting.is_some() => {
                Ok(vec![moved(hash, part, PartState::Sent { amount, ask: ask.saturating_add(1) })])
            }
            (PartState::Sent { .. }, _) if part.in_doubt && fitting.is_some() => {
                Ok(vec![moved(hash, part, failing(FailureCode::TemporaryChannelFailure))])
            }
            // The HTLC on record is at the client, or it is gone and another one brings another amount.
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

    /// Whether a payment is whole and beyond doubt if this part is there, or need not be whole.
    fn goes_on_with(&self, hash: PaymentHash, id: PartId) -> bool {
        let (Some(size), Some(payment)) = (self.terms.payment_size, self.payments.get(&hash)) else { return true };
        let is_there = |other: &Part| other.id == id || !other.in_doubt;
        let sum = payment.sum_of(|other| payment.part(other).is_some_and(is_there));
        let is_doubted = |other: &Part| other.id != id && other.sent().is_some() && other.in_doubt;
        self.fee == Fee::Paid || (sum >= size && !payment.parts.iter().any(is_doubted))
    }
}

/// The event for an HTLC that replaced that of a part, which was never sent, and brings enough, if its surplus differs.
fn brings(payment_hash: PaymentHash, part: &Part, amount_in: Msat) -> Option<Event> {
    let surplus = amount_in.checked_sub(part.onion_amount).filter(|surplus| *surplus != part.surplus)?;
    Some(Event::PartBrings { payment_hash, id: part.id, surplus })
}

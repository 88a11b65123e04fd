//! Events of a JIT channel offer, and the only code that applies them.

use alloc::{boxed::Box, vec, vec::Vec};

use lsps_types::{BlockHeight, Msat, PaymentHash, Timestamp};

use crate::book::Booking;
use crate::channel::{Channel, ChannelEvent};
use crate::clock::Shift;
use crate::flow::WakeUpEvent;
use crate::ids::PartId;
use crate::lsps2::jit_channel::{Charged, Fee, JitChannel};
use crate::lsps2::parts::{Part, PartState, Payment};
use crate::policy::ChannelPlan;

/// State change of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    PartAdded {
        payment_hash: PaymentHash,
        part: Part,
        at: Timestamp,
    },
    PartMoved {
        payment_hash: PaymentHash,
        id: PartId,
        to: PartState,
    },
    /// The part is held as if no forward had been asked for. Its payment waits again, so that reports of it have time to
    /// arrive.
    PartNotSent {
        payment_hash: PaymentHash,
        id: PartId,
        at: Timestamp,
    },
    /// The node's view of whether the part is at the client contradicts the record, or no longer does.
    PartDoubted {
        payment_hash: PaymentHash,
        id: PartId,
        in_doubt: bool,
    },
    /// The outcome of the part is known, and the node holds an HTLC with its id, or no longer does. The node has to
    /// persist that it resolved that HTLC before the outcome is dropped, so the outcome is kept as if it were of this
    /// time.
    AnotherHeld {
        payment_hash: PaymentHash,
        id: PartId,
        is_held: bool,
        at: Timestamp,
    },
    /// The node may have forgotten the outcome of the part, or has just told it again, and has to persist it. So the outcome
    /// is kept as if it were of this time.
    OutcomeKept {
        payment_hash: PaymentHash,
        id: PartId,
        at: Timestamp,
    },
    /// Another HTLC with the same onion replaced the part's, with this surplus above the amount to forward.
    PartBrings {
        payment_hash: PaymentHash,
        id: PartId,
        surplus: Msat,
    },
    /// The HTLC with the part's id now expires at another height.
    PartExpires {
        payment_hash: PaymentHash,
        id: PartId,
        at: Option<BlockHeight>,
    },
    /// The part is presumed to have failed; a later claim still counts.
    PartPresumedFailed {
        payment_hash: PaymentHash,
        id: PartId,
        at: Timestamp,
    },
    PartLost {
        payment_hash: PaymentHash,
        id: PartId,
    },
    PaymentForgotten(PaymentHash),
    FeeCharged {
        payment_hash: PaymentHash,
        fee: Msat,
        due: Msat,
    },
    /// A part of the payment that is to pay the fee is sent.
    FeeAsked(Timestamp),
    FeeFreed(Timestamp),
    FeePaid(Timestamp),
    WakeUp(WakeUpEvent),
    Booked(u32),
    Opening {
        at: Timestamp,
        plan: ChannelPlan,
        deliver: Msat,
    },
    /// State change of the open in progress, or of the channel.
    Channel(ChannelEvent),
    Used,
    OpenedToOthers(Timestamp),
    ClockSet(Shift),
}

impl JitChannel {
    /// Applies an event. The method never fails nor reads a clock, and nothing else assigns the state.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::PartAdded { payment_hash, part, at } => {
                let payment = self.payments.entry(payment_hash).or_insert(Payment { since: at, parts: vec![] });
                if !payment.has_held() && !payment.is_at_client() {
                    payment.since = at;
                }
                payment.parts.push(part);
            }
            Event::PartMoved { payment_hash, id, to } => self.move_part(payment_hash, id, to),
            Event::PartNotSent { payment_hash, id, at } => self.part_not_sent(payment_hash, id, at),
            Event::PartDoubted { payment_hash, id, in_doubt } => {
                self.part_mut(payment_hash, id).into_iter().for_each(|part| part.in_doubt = in_doubt);
            }
            Event::AnotherHeld { payment_hash, id, is_held, at } => {
                self.part_mut(payment_hash, id).into_iter().for_each(|part| part.another_is_held(is_held, at));
            }
            Event::OutcomeKept { payment_hash, id, at } => {
                self.part_mut(payment_hash, id).into_iter().for_each(|part| part.outcome_is_kept(at));
            }
            Event::PartBrings { payment_hash, id, surplus } => {
                self.part_mut(payment_hash, id).into_iter().for_each(|part| part.surplus = surplus);
            }
            Event::PartExpires { payment_hash, id, at } => {
                self.part_mut(payment_hash, id).into_iter().for_each(|part| part.cltv_expiry = at);
            }
            Event::PartPresumedFailed { payment_hash, id, at } => {
                let failed = |amount| PartState::Failed { sent: Some(amount), at };
                self.part_mut(payment_hash, id).into_iter().for_each(|part| part.seems_over(failed));
            }
            Event::PartLost { payment_hash, id } => {
                if let Some(payment) = self.payments.get_mut(&payment_hash) {
                    payment.parts.retain(|part| part.id != id);
                }
                self.payments.retain(|_, payment| !payment.parts.is_empty());
            }
            Event::PaymentForgotten(hash) => {
                self.payments.remove(&hash);
            }
            Event::FeeCharged { payment_hash, fee, due } => {
                let paid_before = self.paid_by(payment_hash);
                self.fee = Fee::InFlight(Box::new(Charged { payment_hash, fee, due, paid_before }));
                self.is_booked = false;
            }
            Event::FeeAsked(at) => self.book_charge(at),
            Event::FeeFreed(at) => self.fee_ends(Fee::Due, at),
            Event::FeePaid(at) => self.fee_ends(Fee::Paid, at),
            Event::WakeUp(event) => self.wake_up.apply(event),
            Event::Booked(number) => self.ledger.booked(number),
            Event::Opening { at, plan, deliver } => {
                self.attempt = self.attempt.saturating_add(1);
                let ChannelPlan { capacity_sat, client_reserve } = plan;
                self.channel.apply(ChannelEvent::Opening { at, capacity_sat, deliver, client_reserve });
            }
            Event::Channel(event) => self.change_channel(event),
            Event::Used => self.was_used = true,
            Event::OpenedToOthers(at) => self.opened_to_others = Some(at),
            Event::ClockSet(shift) => self.clock_set(&shift),
        }
    }

    /// Renames parts whose id now names another HTLC; returns whether there were any. A node holds one HTLC of an id at a
    /// time, so it does not hold these parts.
    pub fn rename_parts(&mut self, is_taken: impl Fn(PartId) -> bool) -> bool {
        let parts = self.payments.values_mut().flat_map(|payment| &mut payment.parts);
        let taken: Vec<&mut Part> = parts.filter(|part| is_taken(part.id)).collect();
        let is_any = !taken.is_empty();
        taken.into_iter().for_each(|part| part.id = PartId(part.id.0.map(|byte| !byte)));
        is_any
    }

    /// Whether this clock correction changes any instant on record.
    pub fn is_shifted_by(&self, shift: &Shift) -> bool {
        let has_waits = matches!(self.channel, Channel::Opening { .. }) || self.opened_to_others.is_some();
        if self.payments.is_empty() && !has_waits {
            return false;
        }
        let mut shifted = self.clone();
        shifted.clock_set(shift);
        shifted != *self
    }

    fn clock_set(&mut self, shift: &Shift) {
        for payment in self.payments.values_mut() {
            payment.since = shift.past(payment.since);
            for part in &mut payment.parts {
                if let PartState::Claimed { at, .. } | PartState::Failed { at, .. } = &mut part.state {
                    *at = shift.past(*at);
                }
            }
        }
        self.opened_to_others = self.opened_to_others.map(|at| shift.past(at));
        self.channel.clock_set(shift);
    }

    fn change_channel(&mut self, event: ChannelEvent) {
        if let (ChannelEvent::Confirmed { at, height }, Some(funding)) = (&event, self.channel.funding()) {
            let paid = Booking::ChannelPaid { key: self.key(), mining_sat: funding.mining_sat };
            self.ledger.enter(*at, paid);
            self.confirmed_at = Some(*height);
        }
        self.was_used &= event != ChannelEvent::Gone;
        self.channel.apply(event);
    }

    fn part_mut(&mut self, payment_hash: PaymentHash, id: PartId) -> Option<&mut Part> {
        self.payments.get_mut(&payment_hash)?.parts.iter_mut().find(|part| part.id == id)
    }

    fn part_not_sent(&mut self, payment_hash: PaymentHash, id: PartId, at: Timestamp) {
        let Some(payment) = self.payments.get_mut(&payment_hash) else { return };
        payment.since = at;
        let parts = payment.parts.iter_mut().filter(|part| part.id == id);
        parts.for_each(|part| part.seems_over(|_| PartState::Held));
    }

    fn move_part(&mut self, payment_hash: PaymentHash, id: PartId, to: PartState) {
        let Some(part) = self.part_mut(payment_hash, id) else { return };
        (part.state, part.in_doubt) = (to, part.in_doubt && matches!(to, PartState::Sent { .. }));
        let surplus = part.surplus;
        if let PartState::Claimed { skim: fee, at } = to
            && (fee > Msat::ZERO || surplus > Msat::ZERO)
        {
            let is_charged = matches!(&self.fee, Fee::InFlight(charged) if charged.payment_hash == payment_hash);
            let was_lost = fee > Msat::ZERO && !is_charged;
            if is_charged {
                self.book_charge(at); // a part that an earlier charge sent
            }
            self.ledger.enter(at, Booking::FeeEarned { payment_hash, part: id, fee, surplus, was_lost });
        }
    }

    /// Books the fee that is charged, once for each charge.
    fn book_charge(&mut self, at: Timestamp) {
        let Fee::InFlight(charged) = &self.fee else { return };
        let Charged { payment_hash, due, .. } = **charged;
        if !core::mem::replace(&mut self.is_booked, true) && due > Msat::ZERO {
            self.ledger.enter(at, Booking::FeeAsked { payment_hash, fee: due });
        }
    }

    /// Ends a charge. The part of the fee that was not received is booked as lost.
    fn fee_ends(&mut self, now: Fee, at: Timestamp) {
        if let Fee::InFlight(charged) = core::mem::replace(&mut self.fee, now) {
            let Charged { payment_hash, due, paid_before, .. } = *charged;
            let paid = self.paid_by(payment_hash).0.saturating_sub(paid_before.0);
            let fee = Msat(due.0.saturating_sub(paid));
            if fee > Msat::ZERO && self.is_booked {
                self.ledger.enter(at, Booking::FeeLost { payment_hash, fee });
            }
        }
    }

    fn paid_by(&self, payment_hash: PaymentHash) -> Msat {
        self.payments.get(&payment_hash).and_then(Payment::earned).unwrap_or(Msat::ZERO)
    }
}

//! Payments for orders at the node. A crash reverts claims and failures since the last save.

use std::collections::BTreeMap;

use lsps_host::ports::{IncomingHtlc, IncomingState, NodeEvent};
use lsps_service::{HeldPayment, Input, PaymentId};
use lsps_types::{Msat, PaymentHash};

/// A payment, from the payer's point of view.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The payment as the node reports it.
    pub held: HeldPayment,
    /// Index of its order.
    pub order: usize,
    /// Whether the payment was claimed or failed; set once.
    pub outcome: Option<bool>,
    /// Whether its channel was closed or it expired, so that nobody could have claimed it.
    pub lost: bool,
    /// Whether one of several HTLCs was failed. The node does not report that, and drops a claim of the rest.
    pub lacks_a_part: bool,
    /// Whether the onion has a custom TLV of an even type: the node holds the payment, and fails it instead of claiming
    /// it.
    pub is_odd: bool,
}

/// State of a payment at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All HTLCs are held.
    Held,
    /// The claim takes effect with the next save.
    Claiming,
    /// The failure takes effect with the next save.
    Failing,
    /// Neither claimed nor failed, until it expires.
    Dropped,
    /// The payer knows the outcome.
    Over,
}

/// All payments at the node.
#[derive(Debug, Default)]
pub struct Payments {
    now: BTreeMap<usize, Place>,
    disk: BTreeMap<usize, Place>,
    /// All payments that ever arrived.
    pub incoming: Vec<Incoming>,
}

impl Payments {
    /// Delivers a payment; returns the node's event. While another payment with its hash is in progress, the node fails
    /// it.
    pub fn arrives(&mut self, order: usize, held: HeldPayment, is_odd: bool) -> Option<NodeEvent> {
        let busy = self.now.iter().any(|(number, place)| {
            *place != Place::Over && self.incoming[*number].held.payment_hash == held.payment_hash
        });
        if busy {
            return None;
        }
        let number = self.incoming.len();
        let held = HeldPayment { id: Some(PaymentId([u8::try_from(number % 251).unwrap_or(0); 32])), ..held };
        self.now.insert(number, Place::Held);
        self.incoming.push(Incoming { held, order, outcome: None, lost: false, lacks_a_part: false, is_odd });
        Some(NodeEvent::Input(Input::PaymentHeld(held)))
    }

    /// Claims a payment, if it is held; returns the node's event.
    pub fn claim(&mut self, hash: PaymentHash) -> Option<NodeEvent> {
        let Incoming { is_odd, lacks_a_part, .. } = self.incoming[self.find(hash)?];
        if lacks_a_part {
            self.set(hash, Place::Dropped);
            return None;
        }
        self.set(hash, if is_odd { Place::Failing } else { Place::Claiming });
        is_odd.then_some(NodeEvent::FailedReceive(hash))
    }

    /// Fails a payment, if it is held; returns the node's event.
    pub fn fail(&mut self, hash: PaymentHash) -> Option<NodeEvent> {
        self.find(hash)?;
        self.set(hash, Place::Failing);
        Some(NodeEvent::FailedReceive(hash))
    }

    /// Loses a payment without a call; returns the node's event.
    pub fn lose(&mut self, number: usize) -> Option<NodeEvent> {
        if self.now.get(&number) != Some(&Place::Held) {
            return None;
        }
        self.now.insert(number, Place::Failing);
        self.incoming[number].lost = true;
        Some(NodeEvent::FailedReceive(self.incoming[number].held.payment_hash))
    }

    /// Fails held payments that expire at this height; returns the node's events.
    pub fn blocks(&mut self, height: u32) -> Vec<NodeEvent> {
        let late = |number: &usize| self.incoming[*number].held.claim_before.is_some_and(|at| at.0 <= height);
        let late: Vec<usize> = self.numbers(Place::Held).into_iter().filter(late).collect();
        late.into_iter().filter_map(|number| self.lose(number)).collect()
    }

    /// Persists the state, then informs payers; returns the node's events.
    pub fn save(&mut self) -> Vec<NodeEvent> {
        let mut told = vec![];
        for (place, outcome) in [(Place::Claiming, true), (Place::Failing, false)] {
            for number in self.numbers(place) {
                let incoming = &mut self.incoming[number];
                assert_eq!(incoming.outcome.replace(outcome), None, "a payer hears one outcome");
                if outcome {
                    let HeldPayment { payment_hash, id, amount, .. } = incoming.held;
                    told.push(NodeEvent::Input(Input::PaymentClaimed { payment_hash, id, amount }));
                }
                self.now.insert(number, Place::Over);
            }
        }
        self.disk = self.now.clone();
        told
    }

    /// Crashes, and restores the persisted state.
    pub fn crash(&mut self) {
        self.now = self.disk.clone();
    }

    /// HTLCs of all payments that are not over, as the node shows them. Lost ones are in no open channel.
    pub fn htlcs(&self) -> impl Iterator<Item = IncomingHtlc> {
        self.incoming.iter().enumerate().filter_map(|(number, incoming)| {
            let state = match self.now.get(&number) {
                Some(Place::Over) => return None,
                Some(Place::Claiming) => IncomingState::Claiming,
                Some(Place::Failing) => IncomingState::Failing,
                Some(Place::Held | Place::Dropped) | None => IncomingState::Committed,
            };
            let HeldPayment { payment_hash, amount, .. } = incoming.held;
            let amount = if incoming.lacks_a_part { Msat(amount.0 / 2) } else { amount };
            (!incoming.lost).then_some(IncomingHtlc { payment_hash, amount, state })
        })
    }

    /// Decodes payments that a crash left undecoded; returns the node's events.
    pub fn decode(&mut self) -> Vec<NodeEvent> {
        let mut told = vec![];
        for number in self.undecoded() {
            // The payment was lost before the node had it: the payer got it back.
            let place = if self.incoming[number].lost { Place::Failing } else { Place::Held };
            self.now.insert(number, place);
            if place == Place::Held {
                told.push(NodeEvent::Input(Input::PaymentHeld(self.incoming[number].held)));
            }
        }
        told
    }

    /// Payments in this state.
    pub fn numbers(&self, place: Place) -> Vec<usize> {
        self.now.iter().filter(|(_, other)| **other == place).map(|(number, _)| *number).collect()
    }

    fn undecoded(&self) -> Vec<usize> {
        (0..self.incoming.len()).filter(|number| !self.now.contains_key(number)).collect()
    }

    fn set(&mut self, hash: PaymentHash, place: Place) {
        if let Some(number) = self.find(hash) {
            self.now.insert(number, place);
        }
    }

    fn find(&self, hash: PaymentHash) -> Option<usize> {
        self.numbers(Place::Held).into_iter().find(|number| self.incoming[*number].held.payment_hash == hash)
    }
}

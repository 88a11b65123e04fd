//! Payments for orders at the node. What was claimed or failed since its last save a crash takes back.

use std::collections::BTreeMap;

use lsps_host::ports::{IncomingHtlc, IncomingState, NodeEvent};
use lsps_service::{HeldPayment, Input, PaymentId};
use lsps_types::{Msat, PaymentHash};

/// One payment; its payer's truth.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// As the node tells it.
    pub held: HeldPayment,
    /// For which order.
    pub order: usize,
    /// Set once: whether it was claimed or failed.
    pub outcome: Option<bool>,
    /// What carried it was closed, or it timed out: nobody could have claimed it.
    pub lost: bool,
    /// One HTLC of several was failed. The node does not say so, and drops the claim of what is left.
    pub lacks_a_part: bool,
    /// The onion has a custom TLV of an even type: the node holds the payment, and fails it when it is to claim it.
    pub is_odd: bool,
}

/// Where a payment is, as the node believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of it is here.
    Held,
    /// Claimed; the payer pays with the next save.
    Claiming,
    /// To be failed with the next save.
    Failing,
    /// Neither claimed nor failed, until its time is up.
    Dropped,
    /// The payer knows.
    Over,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Payments {
    now: BTreeMap<usize, Place>,
    disk: BTreeMap<usize, Place>,
    /// What came in, ever.
    pub incoming: Vec<Incoming>,
}

impl Payments {
    /// A payment comes in; what is to be told. While one of its hash is under way, the node fails it by itself.
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

    /// Claims it, if it is there; what is to be told.
    pub fn claim(&mut self, hash: PaymentHash) -> Option<NodeEvent> {
        let Incoming { is_odd, lacks_a_part, .. } = self.incoming[self.find(hash)?];
        if lacks_a_part {
            self.set(hash, Place::Dropped);
            return None;
        }
        self.set(hash, if is_odd { Place::Failing } else { Place::Claiming });
        is_odd.then_some(NodeEvent::FailedReceive(hash))
    }

    /// Fails it, if it is there; what is to be told.
    pub fn fail(&mut self, hash: PaymentHash) -> Option<NodeEvent> {
        self.find(hash)?;
        self.set(hash, Place::Failing);
        Some(NodeEvent::FailedReceive(hash))
    }

    /// It is gone by itself; what is to be told.
    pub fn lose(&mut self, number: usize) -> Option<NodeEvent> {
        if self.now.get(&number) != Some(&Place::Held) {
            return None;
        }
        self.now.insert(number, Place::Failing);
        self.incoming[number].lost = true;
        Some(NodeEvent::FailedReceive(self.incoming[number].held.payment_hash))
    }

    /// Held ones that time out at this height; what is to be told.
    pub fn blocks(&mut self, height: u32) -> Vec<NodeEvent> {
        let late = |number: &usize| self.incoming[*number].held.claim_before.is_some_and(|at| at.0 <= height);
        let late: Vec<usize> = self.numbers(Place::Held).into_iter().filter(late).collect();
        late.into_iter().filter_map(|number| self.lose(number)).collect()
    }

    /// Writes itself, then payers hear; what is to be told of that.
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

    /// Dies, and comes back as it was saved.
    pub fn crash(&mut self) {
        self.now = self.disk.clone();
    }

    /// The HTLCs of all that are not over, as the node shows them. What was lost is in no open channel.
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

    /// Decodes those that came in and that a crash left undecoded; what is to be told.
    pub fn decode(&mut self) -> Vec<NodeEvent> {
        let mut told = vec![];
        for number in self.undecoded() {
            // Lost before the node had it: the payer has it back.
            let place = if self.incoming[number].lost { Place::Failing } else { Place::Held };
            self.now.insert(number, place);
            if place == Place::Held {
                told.push(NodeEvent::Input(Input::PaymentHeld(self.incoming[number].held)));
            }
        }
        told
    }

    /// Those in some place.
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

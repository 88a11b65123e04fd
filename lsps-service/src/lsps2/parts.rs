//! The parts of the payments to one offer, by payment hash.

use alloc::vec::Vec;

use lsps_types::{BlockHeight, Msat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::PartId;
use lsps_types::bolt4::FailureCode;

/// All parts seen of one payment hash, in order of arrival. Resolved ones stay until the node has surely saved itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payment {
    /// When the first part of the present set arrived.
    pub since: Timestamp,
    pub parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub id: PartId,
    /// What its onion asks to forward, which is what the client compares with. Never more than came in.
    pub onion_amount: Msat,
    /// What came in above that.
    pub surplus: Msat,
    pub cltv_expiry: Option<BlockHeight>,
    pub state: PartState,
    /// What the client was to get when the node was asked before and, as it said, did nothing. Should that not be so, as the
    /// HTLC it holds is another one with the same onion, a claim still counts.
    pub sent_before: Option<Msat>,
    /// The node shows otherwise: the part was forwarded, and there is no undecided HTLC like it at the client; or it was
    /// claimed, and there is one, so that its claim will be told again. This is not on record: hosts tell it anew after each
    /// start.
    #[serde(skip)]
    pub in_doubt: bool,
    /// The part was claimed or failed, and the node holds an HTLC by its name, which is to be failed: another one with the same
    /// onion, or the part itself, if the node forgot that it failed it. This is not on record either: after a start hosts tell
    /// what is held.
    #[serde(skip)]
    pub another_held: bool,
}

/// `Held -> Sent -> Claimed | Failed`, or `Held | Sent -> Failing -> Failed`, or removed when the node lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PartState {
    /// The node waits for our word.
    Held,
    /// Asked to forward; the outcome is unknown. Written before asking.
    Sent { amount: Msat, ask: u32 },
    /// The client has it, and what was kept of it is ours.
    Claimed { skim: Msat, at: Timestamp },
    /// Asked to fail.
    Failing { code: FailureCode, ask: u32 },
    /// Failed back. A claim that is told later still counts: nodes may have to guess what failed.
    Failed { sent: Option<Msat>, at: Timestamp },
}

impl Payment {
    pub fn part(&self, id: PartId) -> Option<&Part> {
        self.parts.iter().find(|part| part.id == id)
    }

    pub fn held(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.state == PartState::Held)
    }

    /// Sum of the held parts. `None` on overflow, which no part is admitted to cause.
    pub fn held_sum(&self) -> Option<Msat> {
        Msat::checked_sum(self.held().map(|part| part.onion_amount))
    }

    /// Sum of the parts that wait or are with the client, as far as that is known.
    pub fn expected_sum(&self) -> Msat {
        let counts = |part: &&Part| matches!(part.state, PartState::Held | PartState::Sent { .. }) && !part.in_doubt;
        let amounts = self.parts.iter().filter(counts).map(|part| part.onion_amount.0);
        Msat(amounts.fold(0, u64::saturating_add))
    }

    pub fn has_held(&self) -> bool {
        self.held().next().is_some()
    }

    pub fn has_sent(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.state, PartState::Sent { .. }))
    }

    /// Sum of the parts that are with the client beyond doubt.
    pub fn sum_at_client(&self) -> Msat {
        let sum = self.parts.iter().filter(|part| part.is_at_client()).map(|part| part.onion_amount.0);
        Msat(sum.fold(0, u64::saturating_add))
    }

    pub fn is_at_client(&self) -> bool {
        self.parts.iter().any(Part::is_at_client)
    }

    /// Whether the client has some of it, or may have in spite of what the node said.
    pub fn has_sent_ever(&self) -> bool {
        self.has_sent() || self.parts.iter().any(|part| part.sent_before.is_some())
    }

    /// The fee that is kept of the payment once the client claims all parts that are with it beyond doubt.
    pub fn being_earned(&self) -> Msat {
        let sent = self.parts.iter().filter(|part| part.is_at_client()).filter_map(|part| match part.state {
            PartState::Sent { amount, .. } => Some(part.skim(amount)),
            PartState::Held | PartState::Claimed { .. } | PartState::Failing { .. } | PartState::Failed { .. } => None,
        });
        sent.fold(Msat::ZERO, |sum, skim| Msat(sum.0.saturating_add(skim.0)))
    }

    /// Whether the node may still hold or carry one of its HTLCs.
    pub fn is_live(&self) -> bool {
        self.parts.iter().any(Part::is_live)
    }

    /// What the client let us keep of it; `None` if it claimed nothing.
    pub fn earned(&self) -> Option<Msat> {
        self.parts.iter().fold(None, |sum, part| match part.state {
            PartState::Claimed { skim, .. } => Some(Msat(sum.unwrap_or(Msat::ZERO).0.saturating_add(skim.0))),
            PartState::Held | PartState::Sent { .. } | PartState::Failing { .. } | PartState::Failed { .. } => sum,
        })
    }

    /// Sum of the parts that the client claimed, as their onions ask for it.
    pub fn claimed_sum(&self) -> Msat {
        let claimed = self.parts.iter().filter(|part| matches!(part.state, PartState::Claimed { .. }));
        Msat(claimed.map(|part| part.onion_amount.0).fold(0, u64::saturating_add))
    }

    /// When its last part was resolved; `None` while one is not.
    pub fn resolved_at(&self) -> Option<Timestamp> {
        self.parts.iter().try_fold(Timestamp::default(), |latest, part| match part.state {
            PartState::Claimed { at, .. } | PartState::Failed { at, .. } => Some(latest.max(at)),
            PartState::Held | PartState::Sent { .. } | PartState::Failing { .. } => None,
        })
    }
}

impl Part {
    /// Whether the node may still hold or carry it.
    pub fn is_live(&self) -> bool {
        match self.state {
            PartState::Held | PartState::Sent { .. } | PartState::Failing { .. } => true,
            PartState::Claimed { .. } | PartState::Failed { .. } => false,
        }
    }

    /// Whether it was sent and nothing speaks against its being with the client.
    pub fn is_at_client(&self) -> bool {
        matches!(self.state, PartState::Sent { .. }) && !self.in_doubt
    }

    /// The amount that came in with the part.
    pub fn amount_in(&self) -> Msat {
        Msat(self.onion_amount.0.saturating_add(self.surplus.0))
    }

    /// It was sent, and by what the node says the client does not have it. A claim of it still counts.
    pub fn seems_over(&mut self, to: impl FnOnce(Msat) -> PartState) {
        if let PartState::Sent { amount, .. } = self.state {
            (self.sent_before, self.state, self.in_doubt) = (Some(amount), to(amount), false);
        }
    }

    /// The node holds an HTLC by the name of this part, whose outcome is known, or no longer does.
    pub fn another_is_held(&mut self, is_held: bool, now: Timestamp) {
        self.another_held = is_held;
        if let PartState::Claimed { at, .. } | PartState::Failed { at, .. } = &mut self.state {
            *at = now;
        }
    }

    /// The amount that the client was to get, while it is not known what became of the part.
    pub fn sent(&self) -> Option<Msat> {
        match self.state {
            PartState::Sent { amount, .. } => Some(amount),
            PartState::Held | PartState::Claimed { .. } | PartState::Failing { .. } | PartState::Failed { .. } => None,
        }
    }

    /// The amount that the client got, once it claimed the part.
    pub fn claimed(&self) -> Option<Msat> {
        match self.state {
            PartState::Claimed { skim, .. } => self.onion_amount.checked_sub(skim),
            PartState::Held | PartState::Sent { .. } | PartState::Failing { .. } | PartState::Failed { .. } => None,
        }
    }

    /// What the client would have got, where a claim is possible but not expected.
    pub fn unlikely(&self) -> Option<Msat> {
        match self.state {
            PartState::Failed { sent: Some(amount), .. } => Some(amount),
            PartState::Held | PartState::Failing { .. } | PartState::Failed { sent: None, .. } => self.sent_before,
            PartState::Sent { .. } | PartState::Claimed { .. } => None,
        }
    }

    /// What is kept of it when the client gets `amount`.
    pub fn skim(&self, amount: Msat) -> Msat {
        self.onion_amount.checked_sub(amount).unwrap_or(Msat::ZERO)
    }
}

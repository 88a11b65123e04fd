//! The parts of the payments to one offer, by payment hash.

use alloc::vec::Vec;

use lsps_types::{BlockHeight, Msat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::PartId;
use lsps_types::bolt4::FailureCode;

/// All parts of one payment hash, in order of arrival. Resolved parts stay until the node has surely persisted its
/// state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payment {
    /// Time at which the first part of the present set arrived.
    pub since: Timestamp,
    pub parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub id: PartId,
    /// Amount to forward according to the onion, with which the client compares. This amount never exceeds the incoming
    /// amount.
    pub onion_amount: Msat,
    /// Incoming amount above the amount to forward.
    pub surplus: Msat,
    pub cltv_expiry: Option<BlockHeight>,
    pub state: PartState,
    /// Amount to forward in an earlier call that the node reported as not executed. If the report is wrong, as the held
    /// HTLC is another one with the same onion, a claim still counts.
    pub sent_before: Option<Msat>,
    /// Whether the node's view contradicts the record: the part was forwarded, and there is no undecided HTLC like it
    /// at the client; or it was claimed, and there is one, so that its claim will be reported again. This is not on
    /// record: hosts report it again after each start.
    #[serde(skip)]
    pub in_doubt: bool,
    /// Whether the part was claimed or failed, and the node holds an HTLC with its id, which has to be failed: another
    /// one with the same onion, or the part itself, if the node forgot the failure. This is not on record either: after
    /// a start hosts report the held HTLCs.
    #[serde(skip)]
    pub another_held: bool,
}

/// `Held -> Sent -> Claimed | Failed`, or `Held | Sent -> Failing -> Failed`, or removed when the node lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PartState {
    /// The node holds the part and waits for a decision.
    Held,
    /// The node was asked to forward the part; the outcome is unknown. The record is written before the call.
    Sent { amount: Msat, ask: u32 },
    /// The client claimed the part, and the skim is the LSP's.
    Claimed { skim: Msat, at: Timestamp },
    /// The node was asked to fail the part.
    Failing { code: FailureCode, ask: u32 },
    /// The part was failed. A later report of a claim still counts: nodes may have to guess which part failed.
    Failed { sent: Option<Msat>, at: Timestamp },
}

impl Payment {
    pub fn part(&self, id: PartId) -> Option<&Part> {
        self.parts.iter().find(|part| part.id == id)
    }

    pub fn held(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.state == PartState::Held)
    }

    /// Sum of the held parts. `None` on overflow, which no admitted part causes.
    pub fn held_sum(&self) -> Option<Msat> {
        Msat::checked_sum(self.held().map(|part| part.onion_amount))
    }

    /// Sum of the parts that are held or at the client, as far as is known.
    pub fn expected_sum(&self) -> Msat {
        let counts = |part: &&Part| matches!(part.state, PartState::Held | PartState::Sent { .. }) && !part.in_doubt;
        let amounts = self.parts.iter().filter(counts).map(|part| part.onion_amount.0);
        Msat(amounts.fold(0, u64::saturating_add))
    }

    /// Sum of those parts that wait or were sent and are `there`.
    pub fn sum_of(&self, is_there: impl Fn(PartId) -> bool) -> Msat {
        let counts = |part: &&Part| matches!(part.state, PartState::Held | PartState::Sent { .. }) && is_there(part.id);
        let amounts = self.parts.iter().filter(counts).map(|part| part.onion_amount.0);
        Msat(amounts.fold(0, u64::saturating_add))
    }

    pub fn has_held(&self) -> bool {
        self.held().next().is_some()
    }

    pub fn has_sent(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.state, PartState::Sent { .. }))
    }

    /// Sum of the parts that are at the client without doubt.
    pub fn sum_at_client(&self) -> Msat {
        let sum = self.parts.iter().filter(|part| part.is_at_client()).map(|part| part.onion_amount.0);
        Msat(sum.fold(0, u64::saturating_add))
    }

    pub fn is_at_client(&self) -> bool {
        self.parts.iter().any(Part::is_at_client)
    }

    /// Whether the node shows no HTLC of a part that was sent: it failed, or was claimed, and that is about to be told.
    pub fn is_in_doubt(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.state, PartState::Sent { .. }) && part.in_doubt)
    }

    /// Whether a part is at the client, or may be in spite of the node's report.
    pub fn has_sent_ever(&self) -> bool {
        self.has_sent() || self.parts.iter().any(|part| part.sent_before.is_some())
    }

    /// The fee that is kept of the payment once the client claims all parts that are at it without doubt.
    pub fn being_earned(&self) -> Msat {
        let sent = self.parts.iter().filter(|part| part.is_at_client()).filter_map(|part| match part.state {
            PartState::Sent { amount, .. } => Some(part.skim(amount)),
            PartState::Held | PartState::Claimed { .. } | PartState::Failing { .. } | PartState::Failed { .. } => None,
        });
        sent.fold(Msat::ZERO, |sum, skim| Msat(sum.0.saturating_add(skim.0)))
    }

    /// Whether the node may still hold or forward one of its HTLCs.
    pub fn is_live(&self) -> bool {
        self.parts.iter().any(Part::is_live)
    }

    /// The fee that was kept of the claimed parts; `None` if none was claimed.
    pub fn earned(&self) -> Option<Msat> {
        self.parts.iter().fold(None, |sum, part| match part.state {
            PartState::Claimed { skim, .. } => Some(Msat(sum.unwrap_or(Msat::ZERO).0.saturating_add(skim.0))),
            PartState::Held | PartState::Sent { .. } | PartState::Failing { .. } | PartState::Failed { .. } => sum,
        })
    }

    /// Sum of the claimed parts, as amounts to forward according to their onions.
    pub fn claimed_sum(&self) -> Msat {
        let claimed = self.parts.iter().filter(|part| matches!(part.state, PartState::Claimed { .. }));
        Msat(claimed.map(|part| part.onion_amount.0).fold(0, u64::saturating_add))
    }

    /// Time at which the last part was resolved; `None` while one is not, or was claimed and is at the client by what the
    /// node shows: its claim will be repeated. `None` also while an HTLC with the id of one waits to be failed.
    pub fn resolved_at(&self) -> Option<Timestamp> {
        self.parts.iter().try_fold(Timestamp::default(), |latest, part| match part.state {
            PartState::Claimed { .. } if part.in_doubt => None,
            PartState::Claimed { .. } | PartState::Failed { .. } if part.another_held => None,
            PartState::Claimed { at, .. } | PartState::Failed { at, .. } => Some(latest.max(at)),
            PartState::Held | PartState::Sent { .. } | PartState::Failing { .. } => None,
        })
    }
}

impl Part {
    /// Whether the node may still hold or forward the part.
    pub fn is_live(&self) -> bool {
        match self.state {
            PartState::Held | PartState::Sent { .. } | PartState::Failing { .. } => true,
            PartState::Claimed { .. } | PartState::Failed { .. } => false,
        }
    }

    /// Whether the part was sent, and no report contradicts that it is at the client.
    pub fn is_at_client(&self) -> bool {
        matches!(self.state, PartState::Sent { .. }) && !self.in_doubt
    }

    /// Incoming amount of the part.
    pub fn amount_in(&self) -> Msat {
        Msat(self.onion_amount.0.saturating_add(self.surplus.0))
    }

    /// Changes the state of a sent part that the node does not show at the client. A claim of it still counts.
    pub fn seems_over(&mut self, to: impl FnOnce(Msat) -> PartState) {
        if let PartState::Sent { amount, .. } = self.state {
            (self.sent_before, self.state, self.in_doubt) = (Some(amount), to(amount), false);
        }
    }

    /// Notes that the node holds an HTLC with the id of this part, whose outcome is known, or no longer does.
    pub fn another_is_held(&mut self, is_held: bool, now: Timestamp) {
        self.another_held = is_held;
        self.outcome_is_kept(now);
    }

    /// Keeps the outcome, if it is known, as if it were of this time.
    pub fn outcome_is_kept(&mut self, now: Timestamp) {
        if let PartState::Claimed { at, .. } | PartState::Failed { at, .. } = &mut self.state {
            *at = now;
        }
    }

    /// Amount that is forwarded to the client, while the outcome of the part is unknown.
    pub fn sent(&self) -> Option<Msat> {
        match self.state {
            PartState::Sent { amount, .. } => Some(amount),
            PartState::Held | PartState::Claimed { .. } | PartState::Failing { .. } | PartState::Failed { .. } => None,
        }
    }

    /// Amount that the client received, once it claimed the part.
    pub fn claimed(&self) -> Option<Msat> {
        match self.state {
            PartState::Claimed { skim, .. } => self.onion_amount.checked_sub(skim),
            PartState::Held | PartState::Sent { .. } | PartState::Failing { .. } | PartState::Failed { .. } => None,
        }
    }

    /// Amount that the client would have received, if a claim is possible but not expected.
    pub fn unlikely(&self) -> Option<Msat> {
        match self.state {
            PartState::Failed { sent: Some(amount), .. } => Some(amount),
            PartState::Held | PartState::Failing { .. } | PartState::Failed { sent: None, .. } => self.sent_before,
            PartState::Sent { .. } | PartState::Claimed { .. } => None,
        }
    }

    /// Amount that is kept of the part if the client receives `amount`.
    pub fn skim(&self, amount: Msat) -> Msat {
        self.onion_amount.checked_sub(amount).unwrap_or(Msat::ZERO)
    }
}

//! The ways to pay an order, what came over them, and what goes back.

use alloc::{string::String, vec::Vec};

use lsps_types::lsps1::Confirmation;
use lsps_types::{BlockHeight, FeeRate, Msat, OutPoint, Preimage, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::capacity::MOST_DUST_LIMIT_SAT;
use crate::ids::OfferId;

/// One way to pay. Spec: LSPS1 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Way {
    /// By the hold invoice.
    Bolt11,
    /// By the offer.
    Bolt12,
    /// By transactions to the address.
    Onchain,
}

/// The ways to pay that an order has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ways {
    pub bolt11: Option<Lightning<Preimage>>,
    pub bolt12: Option<Lightning<OfferId>>,
    pub onchain: Option<Onchain>,
}

/// By HTLCs. `by` tells whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lightning<By> {
    pub fee: Sat,
    pub expires_at: Timestamp,
    pub by: By,
    /// The invoice or the offer.
    pub text: String,
    /// Nothing is taken over it any more.
    pub closed: bool,
}

/// By transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Onchain {
    pub fee: Sat,
    pub expires_at: Timestamp,
    pub confirmation: Confirmation,
    pub address: String,
    pub refund_to: String,
}

/// A payment that the node holds, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub way: Way,
    pub preimage: Preimage,
    pub amount: Msat,
    /// The node can claim it before this height.
    pub claim_before: Option<BlockHeight>,
    pub state: PaymentState,
}

/// `Held -> Claiming -> Claimed`, or `Held -> Failing -> Failed`. A claim can come too late: `Claiming -> Lost`; and take
/// another payment with the same hash yet: `Lost -> Claimed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PaymentState {
    Held,
    /// The node was asked to claim it, so often.
    Claiming {
        ask: u32,
    },
    Claimed {
        at: Timestamp,
    },
    /// The node was asked to fail it, so often.
    Failing {
        ask: u32,
    },
    Failed {
        at: Timestamp,
    },
    Lost {
        at: Timestamp,
    },
}

/// An output to the address of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub amount: Sat,
    pub confirmed_at: Option<BlockHeight>,
    pub fee_rate: Option<FeeRate>,
    pub fate: Fate,
}

/// Whose an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// Not decided.
    Open,
    /// It paid for the channel; the wallet is to be told.
    Kept,
    /// The wallet knows.
    Spendable,
    /// It paid for the channel, and something else was spent since; it may yet come back.
    Lost,
    /// It goes back, with this refund.
    Refunded(u32),
}

/// A transaction that gives outputs back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refund {
    /// The wallet was asked for it.
    Asked,
    /// It is on record, and broadcast until it is confirmed.
    Built { tx: Vec<u8>, mining_sat: u64, ask: u32, asked_at: Timestamp },
    /// It is deep in the chain.
    Confirmed,
    /// Its outputs are worth less than it would cost, or one went before it was built.
    Impossible,
    /// An output that it spends went, and the others go back anew. Should that one come back, this may be confirmed all the
    /// same.
    Void { tx: Vec<u8>, mining_sat: u64, spends: Vec<(OutPoint, Sat)> },
}

/// What the ways over Lightning have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub fee: Sat,
    pub expires_at: Timestamp,
    pub closed: bool,
}

impl<By> Lightning<By> {
    pub fn terms(&self) -> Terms {
        Terms { fee: self.fee, expires_at: self.expires_at, closed: self.closed }
    }
}

impl Ways {
    /// The ways over Lightning.
    pub fn lightning(&self) -> impl Iterator<Item = (Way, Terms)> {
        let bolt11 = self.bolt11.as_ref().map(|way| (Way::Bolt11, way.terms()));
        let bolt12 = self.bolt12.as_ref().map(|way| (Way::Bolt12, way.terms()));
        bolt11.into_iter().chain(bolt12)
    }

    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = Way> {
        [Way::Bolt11, Way::Bolt12, Way::Onchain].into_iter().filter(|way| self.expires_at(*way).is_some())
    }

    pub fn expires_at(&self, way: Way) -> Option<Timestamp> {
        let lightning = || self.lightning().find(|(other, _)| *other == way).map(|(_, terms)| terms.expires_at);
        if way == Way::Onchain { self.onchain.as_ref().map(|way| way.expires_at) } else { lightning() }
    }
}

impl Payment {
    /// Whether the node holds it.
    pub fn is_live(&self) -> bool {
        match self.state {
            PaymentState::Held | PaymentState::Claiming { .. } | PaymentState::Failing { .. } => true,
            PaymentState::Claimed { .. } | PaymentState::Failed { .. } | PaymentState::Lost { .. } => false,
        }
    }

    pub fn is_held(&self) -> bool {
        self.state == PaymentState::Held
    }

    pub fn resolved_at(&self) -> Option<Timestamp> {
        match self.state {
            PaymentState::Claimed { at } | PaymentState::Failed { at } | PaymentState::Lost { at } => Some(at),
            PaymentState::Held | PaymentState::Claiming { .. } | PaymentState::Failing { .. } => None,
        }
    }
}

impl Output {
    /// Blocks it is deep in the chain.
    pub fn depth(&self, height: BlockHeight) -> u32 {
        self.confirmed_at.map_or(0, |at| height.0.saturating_add(1).saturating_sub(at.0))
    }

    /// Whether it counts by the rule of its order, or only when it is sure. Spec: LSPS1 §4.3.
    pub fn counts(&self, rule: Confirmation, is_trusted: bool, height: BlockHeight) -> bool {
        let depth = self.depth(height);
        let early = match rule {
            Confirmation::AtOnce { above: Some(above) } => depth >= 1 || self.fee_rate.is_some_and(|rate| rate > above),
            Confirmation::AtOnce { above: None } => depth >= 1,
            Confirmation::After(blocks) => depth >= u32::from(blocks.get()),
        };
        early && is_trusted || depth >= SURE
    }

    /// The heights at which that may change.
    pub fn counts_from(&self, rule: Confirmation) -> impl Iterator<Item = BlockHeight> {
        let wanted = match rule {
            Confirmation::AtOnce { .. } => 1,
            Confirmation::After(blocks) => u32::from(blocks.get()),
        };
        let with = |at: BlockHeight, depth: u32| BlockHeight(at.0.saturating_add(depth).saturating_sub(1));
        self.confirmed_at.into_iter().flat_map(move |at| [with(at, wanted), with(at, SURE)])
    }
}

impl Refund {
    /// Whether the world has something to do for it.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Confirmed | Self::Impossible | Self::Void { .. } => true,
            Self::Asked | Self::Built { .. } => false,
        }
    }

    /// Its transaction, while that may still be confirmed.
    pub fn unconfirmed(&self) -> Option<&[u8]> {
        match self {
            Self::Built { tx, .. } | Self::Void { tx, .. } => Some(tx),
            Self::Asked | Self::Confirmed | Self::Impossible => None,
        }
    }
}

/// There are fewer satoshis than it can hold.
pub(super) fn sum(amounts: impl IntoIterator<Item = Sat>) -> Sat {
    amounts.into_iter().fold(Sat::ZERO, |sum, amount| Sat(sum.0.saturating_add(amount.0)))
}

/// Mining fee, at this feerate, of spending an output to an address of ours. An output of no more than that costs more
/// than it brings.
pub(super) fn cost_of_input(feerate_sat_per_kw: u32) -> Sat {
    Sat(INPUT_WEIGHT.saturating_mul(feerate_sat_per_kw.into()).div_ceil(1_000))
}

/// Outputs of less are not relayed, whatever kind of address they are to.
pub(super) const DUST: Sat = Sat(MOST_DUST_LIMIT_SAT);
/// In satoshis per 1 000 weight units, 1 sat/vB: transactions that pay less are not relayed.
pub(super) const LEAST_FEERATE: u32 = 250;
/// Of an input that spends P2WPKH; one that spends P2TR weighs less.
const INPUT_WEIGHT: u64 = 272;
/// Confirmations with which every payment counts. Spec: LSPS1 §4.3.
const SURE: u32 = 6;

//! Payment methods of an order, the payments received by them, and refunds.

use alloc::{string::String, vec::Vec};

use lsps_types::lsps1::Confirmation;
use lsps_types::{BlockHeight, FeeRate, Msat, OutPoint, Preimage, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::capacity::MOST_DUST_LIMIT_SAT;
use crate::ids::OfferId;

/// Payment method of an order. Spec: LSPS1 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PaymentMethod {
    /// BOLT 11 hold invoice.
    Bolt11,
    /// BOLT 12 offer.
    Bolt12,
    /// On-chain deposits to an address.
    Onchain,
    /// Nothing is to be paid: the price is zero, and the client gets no balance (reading R-47).
    Free,
}

/// The payment methods of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentMethods {
    pub bolt11: Option<Lightning<Preimage>>,
    pub bolt12: Option<Lightning<OfferId>>,
    pub onchain: Option<Onchain>,
}

/// A Lightning payment method. `by` identifies its payments: a preimage or an offer id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lightning<By> {
    pub fee: Sat,
    pub expires_at: Timestamp,
    pub by: By,
    /// Text of the invoice or the offer.
    pub text: String,
    /// Whether the method accepts no more payments.
    pub closed: bool,
}

/// The on-chain payment method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Onchain {
    pub fee: Sat,
    pub expires_at: Timestamp,
    pub confirmation: Confirmation,
    pub address: String,
    pub refund_to: String,
}

/// A Lightning payment that the node holds or held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub method: PaymentMethod,
    pub preimage: Preimage,
    pub amount: Msat,
    /// Height before which the node can claim it.
    pub claim_before: Option<BlockHeight>,
    pub state: PaymentState,
}

/// `Held -> Claiming -> Claimed`, or `Held -> Failing -> Failed`. A claim can come too late: `Claiming -> Lost`. A lost
/// claim can still claim another payment with the same hash: `Lost -> Claimed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PaymentState {
    Held,
    /// The node was asked to claim the payment; `ask` counts the requests.
    Claiming {
        ask: u32,
    },
    Claimed {
        at: Timestamp,
    },
    /// The node was asked to fail the payment; `ask` counts the requests.
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

/// A deposit: an output to the address of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub amount: Sat,
    pub confirmed_at: Option<BlockHeight>,
    pub fee_rate: Option<FeeRate>,
    pub status: DepositStatus,
}

/// State of a deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DepositStatus {
    /// Undecided: it may pay for the channel, or be refunded.
    Open,
    /// Used: the deposit paid for the channel, and the wallet was not allowed to spend it yet.
    Kept,
    /// Used, and the wallet may spend it.
    Spendable,
    /// Double-spent after it paid for the channel; it may still confirm.
    Lost,
    /// Refunded by the refund of this number.
    Refunded(u32),
}

/// A transaction that refunds deposits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refund {
    /// The wallet was asked to build the transaction.
    Asked,
    /// The transaction is on record, and is broadcast until it is confirmed.
    Built { tx: Vec<u8>, mining_sat: u64, ask: u32, asked_at: Timestamp },
    /// The transaction is confirmed deeply.
    Confirmed,
    /// The deposits are worth less than the refund would cost, one of them was gone before it was built, or another refund that
    /// spends one of them is confirmed.
    Impossible,
    /// A deposit that the transaction spends is gone, and the others are refunded again. If that deposit comes back,
    /// this transaction may still confirm.
    Void { tx: Vec<u8>, mining_sat: u64, spends: Vec<(OutPoint, Sat)> },
}

/// Terms that both Lightning methods have.
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

impl PaymentMethods {
    /// The Lightning methods that the order has.
    pub fn lightning(&self) -> impl Iterator<Item = (PaymentMethod, Terms)> {
        let bolt11 = self.bolt11.as_ref().map(|method| (PaymentMethod::Bolt11, method.terms()));
        let bolt12 = self.bolt12.as_ref().map(|method| (PaymentMethod::Bolt12, method.terms()));
        bolt11.into_iter().chain(bolt12)
    }

    /// All methods that the order has.
    pub fn all(&self) -> impl Iterator<Item = PaymentMethod> {
        [PaymentMethod::Bolt11, PaymentMethod::Bolt12, PaymentMethod::Onchain]
            .into_iter()
            .filter(|method| self.expires_at(*method).is_some())
    }

    pub fn expires_at(&self, method: PaymentMethod) -> Option<Timestamp> {
        match method {
            PaymentMethod::Onchain => self.onchain.as_ref().map(|method| method.expires_at),
            PaymentMethod::Bolt11 | PaymentMethod::Bolt12 => {
                self.lightning().find(|(other, _)| *other == method).map(|(_, terms)| terms.expires_at)
            }
            PaymentMethod::Free => None,
        }
    }
}

impl Payment {
    /// Whether the node holds the payment.
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
    /// Number of confirmations at this height.
    pub fn depth(&self, height: BlockHeight) -> u32 {
        self.confirmed_at.map_or(0, |at| height.0.saturating_add(1).saturating_sub(at.0))
    }

    /// Whether the deposit counts as paid, by the rule of its order if it is trusted, and with six confirmations
    /// always. Spec: LSPS1 §4.3.
    pub fn counts(&self, rule: Confirmation, is_trusted: bool, height: BlockHeight) -> bool {
        let depth = self.depth(height);
        let early = match rule {
            Confirmation::AtOnce { above: Some(above) } => depth >= 1 || self.fee_rate.is_some_and(|rate| rate > above),
            Confirmation::AtOnce { above: None } => depth >= 1,
            Confirmation::After(blocks) => depth >= u32::from(blocks.get()),
        };
        early && is_trusted || depth >= SURE
    }

    /// The heights at which the deposit may begin to count.
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
    /// Whether the refund needs nothing more from the host.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Confirmed | Self::Impossible | Self::Void { .. } => true,
            Self::Asked | Self::Built { .. } => false,
        }
    }

    /// The transaction, while it can still confirm.
    pub fn unconfirmed(&self) -> Option<&[u8]> {
        match self {
            Self::Built { tx, .. } | Self::Void { tx, .. } => Some(tx),
            Self::Asked | Self::Confirmed | Self::Impossible => None,
        }
    }
}

/// The sum; it saturates, though there are fewer satoshis than `u64` can hold.
pub(super) fn sum(amounts: impl IntoIterator<Item = Sat>) -> Sat {
    amounts.into_iter().fold(Sat::ZERO, |sum, amount| Sat(sum.0.saturating_add(amount.0)))
}

/// On-chain fee, at this feerate, of spending an output to an address of the wallet. An output of no greater value is
/// not worth its fee.
pub(super) fn cost_of_input(feerate_sat_per_kw: u32) -> Sat {
    Sat(INPUT_WEIGHT.saturating_mul(feerate_sat_per_kw.into()).div_ceil(1_000))
}

/// Dust limit in satoshis, for every kind of address: nodes do not relay outputs below it.
pub(super) const DUST: Sat = Sat(MOST_DUST_LIMIT_SAT);
/// Least feerate that nodes relay, in satoshis per 1 000 weight units: 1 sat/vB.
pub(super) const LEAST_FEERATE: u32 = 250;
/// Weight of an input that spends P2WPKH; one that spends P2TR weighs less.
const INPUT_WEIGHT: u64 = 272;
/// Confirmations with which every payment counts. Spec: LSPS1 §4.3.
const SURE: u32 = 6;

//! The ways to pay an order. Ways that are not known are skipped.

use alloc::string::String;
use core::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::strict::optional_object;
use crate::units::{DateTime, FeeRate, Sat};

/// How an order can be paid. Spec: LSPS1 §4. Each way has its own price and end; only one should be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// By a hold invoice.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_object")]
    pub bolt11: Option<Bolt11Payment>,
    /// By an offer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_object")]
    pub bolt12: Option<Bolt12Payment>,
    /// By a transaction; only with a refund address.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_object")]
    pub onchain: Option<OnchainPayment>,
}

/// Payment by BOLT 11 invoice. Spec: LSPS1 §4.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bolt11Payment {
    /// How far it is.
    pub state: LightningState,
    /// Until when it can be paid.
    pub expires_at: DateTime,
    /// What the LSP takes.
    pub fee_total_sat: Sat,
    /// What is to be paid: the fee and the client's balance.
    pub order_total_sat: Sat,
    /// The hold invoice over the total, at most [`MOST_CHARACTERS`]. Not looked at yet: see
    /// [`Order::judge`](super::Order::judge).
    pub invoice: String,
}

/// Payment by BOLT 12 offer. Spec: LSPS1 §4.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bolt12Payment {
    /// How far it is.
    pub state: LightningState,
    /// Until when it can be paid.
    pub expires_at: DateTime,
    /// What the LSP takes.
    pub fee_total_sat: Sat,
    /// What is to be paid: the fee and the client's balance.
    pub order_total_sat: Sat,
    /// The offer over the total, at most [`MOST_CHARACTERS`]. Not looked at yet: see [`Order::judge`](super::Order::judge).
    pub offer: String,
}

/// Payment by transaction. Spec: LSPS1 §4.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OnchainWire", into = "OnchainWire")]
pub struct OnchainPayment {
    /// How far it is.
    pub state: OnchainState,
    /// Until when it can be paid.
    pub expires_at: DateTime,
    /// What the LSP takes.
    pub fee_total_sat: Sat,
    /// What is to be paid: the fee and the client's balance.
    pub order_total_sat: Sat,
    /// Where to; an [`Address`](crate::Address) if the LSP behaves. Not looked at yet.
    pub address: String,
    /// When it counts.
    pub confirmation: Confirmation,
    /// Where it is returned to; as ordered.
    pub refund_onchain_address: Option<String>,
}

/// When an on-chain payment counts; at six confirmations always. Spec: LSPS1 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// At once, if its fee rate is above this one; else with the first block (reading R-14).
    AtOnce {
        /// Not below [`FeeRate::LEAST`] when written.
        above: Option<FeeRate>,
    },
    /// After so many blocks.
    After(NonZeroU16),
}

/// How far a Lightning payment is. Spec: LSPS1 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LightningState {
    /// Nothing came yet.
    ExpectPayment,
    /// It came and waits for the channel.
    Hold,
    /// The channel is open and the preimage is out.
    Paid,
    /// It went back, or cannot come any more. Also read as `CANCELLED` (reading R-12).
    #[serde(alias = "CANCELLED")]
    Refunded,
}

/// How far an on-chain payment is. Spec: LSPS1 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnchainState {
    /// Nothing came that counts.
    ExpectPayment,
    /// Seen and not confirmed: some LSPs say `HOLD`. Written as the spec has it, `EXPECT_PAYMENT` (reading R-13).
    #[serde(rename(serialize = "EXPECT_PAYMENT", deserialize = "HOLD"))]
    Seen,
    /// Confirmed.
    Paid,
    /// It went back.
    Refunded,
}

/// The most characters of an invoice or an offer. Spec: LSPS1 §4.1, §4.2.
pub const MOST_CHARACTERS: usize = 2_048;

#[derive(Clone, Serialize, Deserialize)]
struct OnchainWire {
    state: OnchainState,
    expires_at: DateTime,
    fee_total_sat: Sat,
    order_total_sat: Sat,
    address: String,
    min_onchain_payment_confirmations: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_fee_for_0conf: Option<FeeRate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refund_onchain_address: Option<String>,
}

impl From<OnchainWire> for OnchainPayment {
    fn from(wire: OnchainWire) -> Self {
        // With confirmations the fee rate means nothing (reading R-15).
        let confirmation = NonZeroU16::new(wire.min_onchain_payment_confirmations)
            .map_or(Confirmation::AtOnce { above: wire.min_fee_for_0conf }, Confirmation::After);
        Self {
            state: wire.state,
            expires_at: wire.expires_at,
            fee_total_sat: wire.fee_total_sat,
            order_total_sat: wire.order_total_sat,
            address: wire.address,
            confirmation,
            refund_onchain_address: wire.refund_onchain_address,
        }
    }
}

impl From<OnchainPayment> for OnchainWire {
    fn from(payment: OnchainPayment) -> Self {
        let (min_onchain_payment_confirmations, min_fee_for_0conf) = match payment.confirmation {
            Confirmation::AtOnce { above } => (0, above),
            Confirmation::After(blocks) => (blocks.get(), None),
        };
        Self {
            state: payment.state,
            expires_at: payment.expires_at,
            fee_total_sat: payment.fee_total_sat,
            order_total_sat: payment.order_total_sat,
            address: payment.address,
            min_onchain_payment_confirmations,
            min_fee_for_0conf,
            refund_onchain_address: payment.refund_onchain_address,
        }
    }
}

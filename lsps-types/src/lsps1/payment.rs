//! The payment methods of an order. Unknown methods are skipped.

use alloc::string::String;
use core::{fmt, num::NonZeroU16};

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::strict::Object;
use crate::units::{DateTime, FeeRate, Sat};

/// Payment methods of an order. Spec: LSPS1 §4. Each method has its own price and expiry; a client should use only one.
///
/// An order without any method is free (reading R-47).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Payment {
    /// Payment by BOLT 11 hold invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bolt11: Option<Bolt11Payment>,
    /// Payment by BOLT 12 offer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bolt12: Option<Bolt12Payment>,
    /// Payment by on-chain transaction; only if the client gave a refund address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onchain: Option<OnchainPayment>,
    /// Whether the reply also has methods that this library does not know. Never written.
    #[serde(skip)]
    pub has_others: bool,
}

impl Payment {
    /// Whether there is no payment method at all, so that nothing is to be paid. Null members count as none (reading
    ///
    #[must_use]
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

impl<'de> Deserialize<'de> for Payment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Methods;
        impl<'de> Visitor<'de> for Methods {
            type Value = Payment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Payment, A::Error> {
                let mut payment = Payment::default();
                while let Some(name) = members.next_key::<String>()? {
                    match &*name {
                        "bolt11" => payment.bolt11 = optional(&mut members)?,
                        "bolt12" => payment.bolt12 = optional(&mut members)?,
                        "onchain" => payment.onchain = optional(&mut members)?,
                        _ => payment.has_others |= members.next_value::<Option<IgnoredAny>>()?.is_some(),
                    }
                }
                Ok(payment)
            }
        }
        deserializer.deserialize_map(Methods)
    }
}

/// The next value, an object or null.
fn optional<'de, T: Deserialize<'de>, A: MapAccess<'de>>(members: &mut A) -> Result<Option<T>, A::Error> {
    Ok(members.next_value::<Option<Object<T>>>()?.map(|Object(value)| value))
}

/// Payment by BOLT 11 invoice. Spec: LSPS1 §4.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bolt11Payment {
    /// State of the payment.
    pub state: LightningState,
    /// Time until which it can be paid.
    pub expires_at: DateTime,
    /// Fee of the LSP.
    pub fee_total_sat: Sat,
    /// Amount to pay: the fee and the client's balance.
    pub order_total_sat: Sat,
    /// Hold invoice over the total, at most [`MOST_CHARACTERS`] long. [`Order::judge`](super::Order::judge) checks it;
    /// until then it is not validated.
    pub invoice: String,
}

/// Payment by BOLT 12 offer. Spec: LSPS1 §4.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bolt12Payment {
    /// State of the payment.
    pub state: LightningState,
    /// Time until which it can be paid.
    pub expires_at: DateTime,
    /// Fee of the LSP.
    pub fee_total_sat: Sat,
    /// Amount to pay: the fee and the client's balance.
    pub order_total_sat: Sat,
    /// Offer over the total, at most [`MOST_CHARACTERS`] long. [`Order::judge`](super::Order::judge) checks it; until
    /// then it is not validated.
    pub offer: String,
}

/// Payment by on-chain transaction. Spec: LSPS1 §4.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OnchainWire", into = "OnchainWire")]
pub struct OnchainPayment {
    /// State of the payment.
    pub state: OnchainState,
    /// Time until which it can be paid.
    pub expires_at: DateTime,
    /// Fee of the LSP.
    pub fee_total_sat: Sat,
    /// Amount to pay: the fee and the client's balance.
    pub order_total_sat: Sat,
    /// Address to pay to; not validated yet, an [`Address`](crate::Address) if the LSP follows the specification.
    pub address: String,
    /// Confirmations after which the LSP accepts the payment.
    pub confirmation: Confirmation,
    /// Address for a refund, as ordered.
    pub refund_onchain_address: Option<String>,
}

/// Rule by which the LSP accepts an on-chain payment; six confirmations always suffice. Spec: LSPS1 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// The payment counts at once if its feerate is above the given one; otherwise with its first confirmation (reading
    ///
    AtOnce {
        /// Feerate above which zero confirmations suffice; not below [`FeeRate::LEAST`] when written.
        above: Option<FeeRate>,
    },
    /// The payment counts after this number of confirmations.
    After(NonZeroU16),
}

/// State of a Lightning payment. Spec: LSPS1 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LightningState {
    /// No payment arrived yet.
    ExpectPayment,
    /// The payment is held until the channel is open.
    Hold,
    /// The LSP has opened the channel and released the preimage.
    Paid,
    /// The payment was refunded, or can no longer arrive. `CANCELLED` is read as this state too (reading R-12).
    #[serde(alias = "CANCELLED")]
    Refunded,
}

/// State of an on-chain payment. Spec: LSPS1 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnchainState {
    /// No sufficient payment arrived yet.
    ExpectPayment,
    /// The payment is in the mempool and not confirmed; some LSPs call this `HOLD`. This library writes
    /// `EXPECT_PAYMENT`, as the specification has it (reading R-13).
    #[serde(rename(serialize = "EXPECT_PAYMENT", deserialize = "HOLD"))]
    Seen,
    /// The payment is confirmed.
    Paid,
    /// The payment was refunded.
    Refunded,
}

/// Largest number of characters of an invoice or an offer. Spec: LSPS1 §4.1, §4.2.
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
        // With a number of confirmations the feerate has no meaning (reading R-15).
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

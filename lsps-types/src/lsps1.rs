//! LSPS1 (bLIP-51): ordering a channel.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::jsonrpc::InvalidParams;
use crate::strict::{empty_as_absent, not_zero, null_as_default, object, optional_object};
use crate::units::{Address, DateTime, Network, OutPoint, Sat};

mod check;
#[cfg(feature = "invoices")]
mod invoices;
mod options;
mod payment;

pub use check::{Expect, MirrorMismatch, PaymentFacts, ReadInvoices, Status, Statuses, Unusable};
#[cfg(feature = "invoices")]
pub use invoices::LdkInvoices;
pub use options::{OptionMismatch, Options};
pub use payment::{
    Bolt11Payment, Bolt12Payment, Confirmation, LightningState, MOST_CHARACTERS, OnchainPayment, OnchainState, Payment,
};

/// Request for the options of an LSP, which bound what can be ordered. Spec: LSPS1 §1 `lsps1.get_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetInfo {}

/// Request for a channel. Spec: LSPS1 §2 `lsps1.create_order`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateOrder {
    /// Balance of the LSP in the new channel; at least 1 sat.
    #[serde(deserialize_with = "not_zero")]
    pub lsp_balance_sat: Sat,
    /// Initial balance of the client in the new channel. The client pays for it on top of the fee.
    pub client_balance_sat: Sat,
    /// Confirmations after which the LSP has to send `channel_ready`.
    pub required_channel_confirmations: u16,
    /// Blocks within which the funding transaction has to confirm, counted from the payment.
    pub funding_confirms_within_blocks: u16,
    /// Blocks for which the LSP keeps the channel open; at least 1.
    #[serde(deserialize_with = "not_zero")]
    pub channel_expiry_blocks: u32,
    /// Discount code or the like that the LSP gave to the client. An empty one is read as absent, and not written
    /// (reading R-58).
    #[serde(default, skip_serializing_if = "is_absent", deserialize_with = "empty_as_absent")]
    pub token: Option<String>,
    /// Address to which an on-chain payment is refunded. Without it the LSP offers no on-chain payment. An empty text is
    /// read as absent (reading R-58).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_as_absent")]
    pub refund_onchain_address: Option<Address>,
    /// Whether the channel is to be announced to the network.
    pub announce_channel: bool,
}

impl CreateOrder {
    /// Checks that the refund address is of this network (reading R-09).
    ///
    /// # Errors
    ///
    /// The error object with which an LSP answers the request.
    pub fn fits(&self, network: Network) -> Result<(), InvalidParams> {
        if self.refund_onchain_address.as_ref().is_none_or(|address| address.is_on(network)) {
            return Ok(());
        }
        let (property, message) = ("refund_onchain_address".into(), "an address of another network".into());
        Err(InvalidParams { property: Some(property), message: Some(message), ..InvalidParams::default() })
    }

    /// Sum of both balances; `None` above 2^64 - 1 sat.
    #[must_use]
    pub fn capacity(&self) -> Option<Sat> {
        self.lsp_balance_sat.checked_add(self.client_balance_sat)
    }

    /// Whether the peer has to support large channels (BOLT 9 `option_support_large_channel`) before the client may
    /// send this order.
    ///
    /// Spec: LSPS1 §2.
    #[must_use]
    pub fn needs_large_channels(&self) -> bool {
        self.capacity().is_none_or(|capacity| capacity > LARGEST_SMALL_CHANNEL)
    }
}

/// Whether there is no token, or an empty one.
fn is_absent(token: &Option<String>) -> bool {
    token.as_ref().is_none_or(String::is_empty)
}

/// Request for the state of an order. Spec: LSPS1 §3 `lsps1.get_order`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetOrder {
    /// Id of the order, as the LSP gave it.
    pub order_id: String,
}

/// An order as the LSP sees it: the reply to [`CreateOrder`] and to [`GetOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Id of the order, to be used in [`GetOrder`].
    pub order_id: OrderId,
    /// Balance of the LSP, as ordered.
    pub lsp_balance_sat: Sat,
    /// Balance of the client, as ordered.
    pub client_balance_sat: Sat,
    /// Confirmations before `channel_ready`, as ordered.
    pub required_channel_confirmations: u16,
    /// Blocks within which the funding has to confirm, as ordered.
    pub funding_confirms_within_blocks: u16,
    /// Lifetime of the channel in blocks, as ordered.
    pub channel_expiry_blocks: u32,
    /// Token, as ordered; empty if the order had none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub token: String,
    /// Time at which the LSP created the order.
    pub created_at: DateTime,
    /// Whether the channel is announced, as ordered.
    pub announce_channel: bool,
    /// State of the order.
    pub order_state: OrderState,
    /// Payment methods of the order and their states.
    #[serde(deserialize_with = "object")]
    pub payment: Payment,
    /// The channel; null until the funding transaction is published.
    #[serde(default, deserialize_with = "optional_object")]
    pub channel: Option<Channel>,
}

/// State of an order. Spec: LSPS1 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OrderState {
    /// The order is not paid, or it is paid and the channel is not open yet.
    Created,
    /// The funding transaction is published.
    Completed,
    /// The LSP will not open the channel and refunds the payment.
    Failed,
}

/// The channel of an order. Spec: LSPS1 §5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Time at which the funding transaction was published.
    pub funded_at: DateTime,
    /// Funding output of the channel.
    pub funding_outpoint: OutPoint,
    /// Time before which the LSP does not close the channel (reading R-16).
    pub expires_at: DateTime,
}

/// Id of an order: 1 to 64 characters. This library creates ids as UUID v4.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(String);

impl OrderId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OrderId {
    type Error = InvalidOrderId;

    fn try_from(text: String) -> Result<Self, InvalidOrderId> {
        if (1..=64).contains(&text.chars().count()) { Ok(Self(text)) } else { Err(InvalidOrderId) }
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::PeerText::from(self.as_str()).fmt(f)
    }
}

/// Error for a text that is not an order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order id has 1 to 64 characters")]
pub struct InvalidOrderId;

/// Largest channel without `option_support_large_channel`, in satoshis.
const LARGEST_SMALL_CHANNEL: Sat = Sat(16_777_216);

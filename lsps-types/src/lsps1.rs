//! LSPS1 (bLIP-51): ordering a channel.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::jsonrpc::InvalidParams;
use crate::strict::{not_zero, null_as_default, object, optional_object};
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

/// Asks what can be ordered. Spec: LSPS1 §1 `lsps1.get_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetInfo {}

/// Orders a channel. Spec: LSPS1 §2 `lsps1.create_order`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateOrder {
    /// What the LSP is to put in; at least 1 sat.
    #[serde(deserialize_with = "not_zero")]
    pub lsp_balance_sat: Sat,
    /// What the client is to have at once. It pays for it.
    pub client_balance_sat: Sat,
    /// Confirmations after which the LSP is to send `channel_ready`.
    pub required_channel_confirmations: u16,
    /// Blocks within which the funding is to confirm, from the payment on.
    pub funding_confirms_within_blocks: u16,
    /// Blocks for which the LSP is to keep the channel; at least 1.
    #[serde(deserialize_with = "not_zero")]
    pub channel_expiry_blocks: u32,
    /// A coupon or the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where on-chain payments are returned to; without it none are offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_onchain_address: Option<Address>,
    /// Whether the channel is to be announced to the network.
    pub announce_channel: bool,
}

impl CreateOrder {
    /// Whether its address is of this network (reading R-09).
    ///
    /// # Errors
    ///
    /// What to answer.
    pub fn fits(&self, network: Network) -> Result<(), InvalidParams> {
        if self.refund_onchain_address.as_ref().is_none_or(|address| address.is_on(network)) {
            return Ok(());
        }
        let (property, message) = ("refund_onchain_address".into(), "an address of another network".into());
        Err(InvalidParams { property: Some(property), message: Some(message), ..InvalidParams::default() })
    }

    /// Both balances; `None` above 2^64 - 1 sat.
    #[must_use]
    pub fn capacity(&self) -> Option<Sat> {
        self.lsp_balance_sat.checked_add(self.client_balance_sat)
    }

    /// Whether a peer has to support large channels (BOLT 9 `option_support_large_channel`) before this may be sent.
    ///
    /// Spec: LSPS1 §2.
    #[must_use]
    pub fn needs_large_channels(&self) -> bool {
        self.capacity().is_none_or(|capacity| capacity > LARGEST_SMALL_CHANNEL)
    }
}

/// Asks for the state of an order. Spec: LSPS1 §3 `lsps1.get_order`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetOrder {
    /// As the LSP named it.
    pub order_id: String,
}

/// An order as the LSP sees it: the reply to [`CreateOrder`] and to [`GetOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Names it in [`GetOrder`].
    pub order_id: OrderId,
    /// As ordered.
    pub lsp_balance_sat: Sat,
    /// As ordered.
    pub client_balance_sat: Sat,
    /// As ordered.
    pub required_channel_confirmations: u16,
    /// As ordered.
    pub funding_confirms_within_blocks: u16,
    /// As ordered.
    pub channel_expiry_blocks: u32,
    /// As ordered; empty if none was given.
    #[serde(default, deserialize_with = "null_as_default")]
    pub token: String,
    /// When it was made.
    pub created_at: DateTime,
    /// As ordered.
    pub announce_channel: bool,
    /// Where it stands.
    pub order_state: OrderState,
    /// How it can be paid, and how far that is.
    #[serde(deserialize_with = "object")]
    pub payment: Payment,
    /// Null until the funding is published.
    #[serde(default, deserialize_with = "optional_object")]
    pub channel: Option<Channel>,
}

/// Where an order stands. Spec: LSPS1 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OrderState {
    /// Not paid, or paid and not open.
    Created,
    /// The funding is published.
    Completed,
    /// It will not be opened; what was paid goes back.
    Failed,
}

/// The channel of an order. Spec: LSPS1 §5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// When its funding was published.
    pub funded_at: DateTime,
    /// The output that funds it.
    pub funding_outpoint: OutPoint,
    /// Before this the LSP does not close it (reading R-16).
    pub expires_at: DateTime,
}

/// The name of an order: 1 to 64 characters. Writers draw a UUID v4.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(String);

impl OrderId {
    /// The name.
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

/// Why a text names no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order id has 1 to 64 characters")]
pub struct InvalidOrderId;

/// The largest channel that every peer takes.
const LARGEST_SMALL_CHANNEL: Sat = Sat(16_777_216);

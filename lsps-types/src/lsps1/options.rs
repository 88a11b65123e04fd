//! The options of an LSP, and the check of an order against them.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::CreateOrder;
use crate::strict::not_zero;
use crate::text::PeerText;
use crate::units::Sat;

/// Options of an LSP, which bound what can be ordered. Spec: LSPS1 §1. Each maximum is at least its minimum. An LSP
/// should change them at most once a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
#[allow(clippy::struct_field_names, reason = "the names of the spec")]
pub struct Options {
    /// Least number of confirmations that an order can require; 0 if the LSP opens 0-conf channels.
    pub min_required_channel_confirmations: u16,
    /// Least number of blocks within which an order can require the funding to confirm; at least 1.
    pub min_funding_confirms_within_blocks: u16,
    /// Whether the client may have a channel reserve of zero.
    pub supports_zero_channel_reserve: bool,
    /// Longest lifetime of a channel that can be ordered, in blocks; at least 1.
    pub max_channel_expiry_blocks: u32,
    /// Least initial balance of the client.
    pub min_initial_client_balance_sat: Sat,
    /// Largest initial balance of the client.
    pub max_initial_client_balance_sat: Sat,
    /// Least initial balance of the LSP.
    pub min_initial_lsp_balance_sat: Sat,
    /// Largest initial balance of the LSP.
    pub max_initial_lsp_balance_sat: Sat,
    /// Least sum of both balances.
    pub min_channel_balance_sat: Sat,
    /// Largest sum of both balances.
    pub max_channel_balance_sat: Sat,
}

/// `data` of error 100: an order outside the options. Spec: LSPS1 §2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionMismatch {
    /// Name of the option that is not met, without a path (reading R-18).
    pub property: String,
    /// Description for people to read.
    pub message: PeerText,
}

impl Options {
    /// Checks that the options are consistent. An LSP calls this before it offers them.
    ///
    /// # Errors
    ///
    /// A description of the first rule that is broken.
    pub fn validate(&self) -> Result<(), &'static str> {
        let rules = [
            (self.min_funding_confirms_within_blocks > 0, "min_funding_confirms_within_blocks has to be at least 1"),
            (self.max_channel_expiry_blocks > 0, "max_channel_expiry_blocks has to be at least 1"),
            (
                self.min_initial_client_balance_sat <= self.max_initial_client_balance_sat,
                "min_initial_client_balance_sat is above max_initial_client_balance_sat",
            ),
            (
                self.min_initial_lsp_balance_sat <= self.max_initial_lsp_balance_sat,
                "min_initial_lsp_balance_sat is above max_initial_lsp_balance_sat",
            ),
            (
                self.min_channel_balance_sat <= self.max_channel_balance_sat,
                "min_channel_balance_sat is above max_channel_balance_sat",
            ),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, broken)| Err(broken))
    }

    /// Checks that `order` is within the options. Clients call this before they send an order, LSPs when they receive
    /// one. Spec: LSPS1 §2.
    ///
    /// # Errors
    ///
    /// The first option that is not met, as an LSP answers it with error 100.
    pub fn allow(&self, order: &CreateOrder) -> Result<(), OptionMismatch> {
        // A sum that does not fit into 64 bits is too large.
        let sum = order.capacity().unwrap_or(Sat(u64::MAX));
        let overflows = order.capacity().is_none();
        let (lsp, client) = (order.lsp_balance_sat, order.client_balance_sat);
        let rules = [
            (lsp >= self.min_initial_lsp_balance_sat, "min_initial_lsp_balance_sat"),
            (lsp <= self.max_initial_lsp_balance_sat, "max_initial_lsp_balance_sat"),
            (client >= self.min_initial_client_balance_sat, "min_initial_client_balance_sat"),
            (client <= self.max_initial_client_balance_sat, "max_initial_client_balance_sat"),
            (sum >= self.min_channel_balance_sat, "min_channel_balance_sat"),
            (sum <= self.max_channel_balance_sat && !overflows, "max_channel_balance_sat"),
            (
                order.required_channel_confirmations >= self.min_required_channel_confirmations,
                "min_required_channel_confirmations",
            ),
            (
                order.funding_confirms_within_blocks >= self.min_funding_confirms_within_blocks,
                "min_funding_confirms_within_blocks",
            ),
            (order.channel_expiry_blocks <= self.max_channel_expiry_blocks, "max_channel_expiry_blocks"),
        ];
        let Some((_, property)) = rules.into_iter().find(|(holds, _)| !holds) else { return Ok(()) };
        Err(OptionMismatch { property: property.into(), message: "the order is outside this option".into() })
    }
}

/// The options as on the wire, before the check.
#[derive(Deserialize)]
#[allow(clippy::struct_field_names, reason = "the names of the spec")]
struct Unchecked {
    min_required_channel_confirmations: u16,
    #[serde(deserialize_with = "not_zero")]
    min_funding_confirms_within_blocks: u16,
    supports_zero_channel_reserve: bool,
    #[serde(deserialize_with = "not_zero")]
    max_channel_expiry_blocks: u32,
    min_initial_client_balance_sat: Sat,
    max_initial_client_balance_sat: Sat,
    min_initial_lsp_balance_sat: Sat,
    max_initial_lsp_balance_sat: Sat,
    min_channel_balance_sat: Sat,
    max_channel_balance_sat: Sat,
}

impl TryFrom<Unchecked> for Options {
    type Error = &'static str;

    fn try_from(wire: Unchecked) -> Result<Self, &'static str> {
        let options = Self {
            min_required_channel_confirmations: wire.min_required_channel_confirmations,
            min_funding_confirms_within_blocks: wire.min_funding_confirms_within_blocks,
            supports_zero_channel_reserve: wire.supports_zero_channel_reserve,
            max_channel_expiry_blocks: wire.max_channel_expiry_blocks,
            min_initial_client_balance_sat: wire.min_initial_client_balance_sat,
            max_initial_client_balance_sat: wire.max_initial_client_balance_sat,
            min_initial_lsp_balance_sat: wire.min_initial_lsp_balance_sat,
            max_initial_lsp_balance_sat: wire.max_initial_lsp_balance_sat,
            min_channel_balance_sat: wire.min_channel_balance_sat,
            max_channel_balance_sat: wire.max_channel_balance_sat,
        };
        options.validate().map(|()| options)
    }
}

//! LSPS2 (bLIP-52): JIT channels.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::codes::BuyError;
use crate::strict::{null_as_default, object, objects};
use crate::units::{DateTime, Msat, Ppm, Scid, Timestamp};

pub mod fee;
mod promise;

pub use promise::{InvalidPromise, NotPromised, Promise, PromiseKey, Unpromised};

/// Request for the fees of a JIT channel. Spec: LSPS2 §1 `lsps2.get_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetInfo {
    /// Discount code or the like that the LSP gave to the client outside this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Prices of a JIT channel. Spec: LSPS2 §1. An empty menu means that the LSP sells none now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Menu {
    /// Terms to choose from, in strictly rising order of fees if the LSP follows the specification.
    #[serde(deserialize_with = "objects")]
    pub opening_fee_params_menu: Vec<OpeningFeeParams>,
}

/// Terms for one JIT channel. The client copies them verbatim into [`Buy`].
///
/// Spec: LSPS2 §1. A client must refuse terms that it does not fully know, hence unknown fields are an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeningFeeParams {
    /// Least opening fee, in millisatoshis.
    pub min_fee_msat: Msat,
    /// Opening fee as a share of the first payment, in parts per million.
    pub proportional: Ppm,
    /// Last instant at which the terms can be bought; the payment must be complete before it. The text is kept as
    /// received.
    pub valid_until: DateTime,
    /// Blocks after confirmation during which the LSP does not close a channel that was paid for.
    pub min_lifetime: u32,
    /// Largest `to_self_delay`, in blocks, that the client may ask for.
    pub max_client_to_self_delay: u32,
    /// Smallest payment, inclusive.
    pub min_payment_size_msat: Msat,
    /// Largest payment, inclusive.
    pub max_payment_size_msat: Msat,
    /// Proof that the LSP made these terms; opaque to the client.
    pub promise: Promise,
}

/// Purchase of a JIT channel on terms from a [`Menu`]. Spec: LSPS2 §2 `lsps2.buy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buy {
    /// Terms as the menu had them.
    #[serde(deserialize_with = "object")]
    pub opening_fee_params: OpeningFeeParams,
    /// Size of the expected payment; absent for an invoice without amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_size_msat: Option<Msat>,
}

impl Buy {
    /// Checks that the terms are still valid and that the payment fits them: within their bounds, and larger than its
    /// fee. [`PromiseKey::check`] also checks that the LSP promised the terms.
    ///
    /// # Errors
    ///
    /// The error with which an LSP answers the request. Spec: LSPS2 §2.
    pub fn fits_its_terms(&self, now: Timestamp) -> Result<(), BuyError> {
        if self.opening_fee_params.valid_until.instant() < now {
            return Err(BuyError::InvalidOpeningFeeParams);
        }
        match self.payment_size_msat {
            Some(size) => self.opening_fee_params.fee_terms().fee_on(size).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// Reply to [`Buy`]: the hop hint for the invoice, and the trust model. Spec: LSPS2 §2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bought {
    /// SCID of the hop hint. An HTLC to it makes the LSP open the channel.
    pub jit_channel_scid: Scid,
    /// CLTV expiry delta of the hop from the LSP to the client.
    pub lsp_cltv_expiry_delta: u16,
    /// Whether the client has to release the preimage before the funding transaction is published.
    #[serde(default, deserialize_with = "null_as_default")]
    pub client_trusts_lsp: bool,
}

impl OpeningFeeParams {
    /// The terms that decide the fee.
    #[must_use]
    pub fn fee_terms(&self) -> fee::FeeTerms {
        fee::FeeTerms {
            min_fee: self.min_fee_msat,
            proportional: self.proportional,
            min_payment_size: self.min_payment_size_msat,
            max_payment_size: self.max_payment_size_msat,
        }
    }
}

impl Menu {
    /// Sorts entries into a menu as the specification requires: each entry has at least one fee above that of the entry
    /// before, and none below. Entries that do not fit into such an order are left out.
    #[must_use]
    pub fn rising(mut entries: Vec<OpeningFeeParams>) -> Self {
        entries.sort_by_key(|entry| (entry.min_fee_msat, entry.proportional));
        let mut menu: Vec<OpeningFeeParams> = Vec::with_capacity(entries.len());
        for entry in entries {
            let fees = (entry.min_fee_msat, entry.proportional);
            let dearer = |last: &OpeningFeeParams| {
                fees.0 >= last.min_fee_msat
                    && fees.1 >= last.proportional
                    && fees != (last.min_fee_msat, last.proportional)
            };
            if menu.last().is_none_or(dearer) {
                menu.push(entry);
            }
        }
        Self { opening_fee_params_menu: menu }
    }
}

//! LSPS2 (bLIP-52): JIT channels.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::codes::BuyError;
use crate::strict::{null_as_default, object, objects};
use crate::units::{DateTime, Msat, Ppm, Scid, Timestamp};

pub mod fee;
mod promise;

pub use promise::{InvalidPromise, NotPromised, Promise, PromiseKey, Unpromised};

/// Asks for the fees of a JIT channel. Spec: LSPS2 §1 `lsps2.get_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetInfo {
    /// A coupon or the like that the LSP gave out by other ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What a JIT channel costs. Spec: LSPS2 §1. May be empty: none are offered now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Menu {
    /// Terms to choose from, in strictly rising order of fees when the LSP follows the spec.
    #[serde(deserialize_with = "objects")]
    pub opening_fee_params_menu: Vec<OpeningFeeParams>,
}

/// Terms for one JIT channel, copied back verbatim in [`Buy`].
///
/// Spec: LSPS2 §1. A client must refuse terms it does not fully know, hence no unknown fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpeningFeeParams {
    /// Least fee, in millisatoshis.
    pub min_fee_msat: Msat,
    /// Share of the first payment, in parts per million.
    pub proportional: Ppm,
    /// Last instant at which they can be bought; a payment must be complete before it. Keeps its text.
    pub valid_until: DateTime,
    /// Blocks after confirmation during which the LSP does not close a channel that was paid for.
    pub min_lifetime: u32,
    /// The most blocks the client may ask for as `to_self_delay`.
    pub max_client_to_self_delay: u32,
    /// Least payment, inclusive.
    pub min_payment_size_msat: Msat,
    /// Largest payment, inclusive.
    pub max_payment_size_msat: Msat,
    /// The LSP's proof that it made these terms; opaque to the client.
    pub promise: Promise,
}

/// Buys a JIT channel on terms from a [`Menu`]. Spec: LSPS2 §2 `lsps2.buy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buy {
    /// The terms, as the menu had them.
    #[serde(deserialize_with = "object")]
    pub opening_fee_params: OpeningFeeParams,
    /// Size of the payment to come; absent for an invoice without amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_size_msat: Option<Msat>,
}

impl Buy {
    /// Whether the terms are still valid, and the payment fits them: within their bounds, and larger than the fee on it.
    /// Whether they were promised at all is [`PromiseKey::check`]'s to say.
    ///
    /// # Errors
    ///
    /// The error that answers the request. Spec: LSPS2 §2.
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

/// What to put into the invoice. Spec: LSPS2 §2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bought {
    /// The SCID that makes the LSP open the channel.
    pub jit_channel_scid: Scid,
    /// CLTV delta of the hop from the LSP.
    pub lsp_cltv_expiry_delta: u16,
    /// Whether the preimage is to be released before the funding transaction is seen.
    #[serde(default, deserialize_with = "null_as_default")]
    pub client_trusts_lsp: bool,
}

impl OpeningFeeParams {
    /// The part of the terms that money is computed with.
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
    /// A menu as the spec wants it: each entry dearer than the one before, in one of the two fees at the least and
    /// cheaper in none. Entries that do not fit into such an order are left out.
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

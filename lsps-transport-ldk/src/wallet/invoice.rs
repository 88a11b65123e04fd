//! The BOLT 11 invoice of a purchase.

use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning::routing::gossip::RoutingFees;
use lightning::routing::router::{RouteHint, RouteHintHop};
use lightning::sign::Recipient;
use lightning::types::payment::{PaymentHash, PaymentSecret};
use lightning_invoice::{Bolt11Invoice, Currency, Description, InvoiceBuilder};

use lsps_client::jit_receive::{InvoiceTerms, RouteHint as Hint};

use super::Keys;

/// Writes and signs the invoice, on exactly these terms.
///
/// Spec: LSPS2 §2 "Invoice".
///
/// # Errors
///
/// The terms do not fit into an invoice, or the signer refuses; the error is a text.
pub(super) fn write(
    terms: &InvoiceTerms,
    (hash, secret): (PaymentHash, PaymentSecret),
    description: Description,
    currency: Currency,
    keys: &dyn Keys,
) -> Result<Bolt11Invoice, String> {
    let src_node_id = PublicKey::from_slice(&terms.hint.node_id.0).map_err(|e| e.to_string())?;
    let fees = RoutingFees {
        base_msat: u32::try_from(Hint::FEE_BASE.0).map_err(|e| e.to_string())?,
        proportional_millionths: Hint::FEE_PROPORTIONAL_MILLIONTHS,
    };
    let hint = RouteHint(vec![RouteHintHop {
        src_node_id,
        short_channel_id: terms.hint.scid.0,
        fees,
        cltv_expiry_delta: terms.hint.cltv_expiry_delta,
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    }]);
    let invoice = InvoiceBuilder::new(currency)
        .description(description.to_string())
        .payment_hash(sha256::Hash::from_byte_array(hash.0))
        .payment_secret(secret)
        .duration_since_epoch(Duration::from_millis(terms.timestamp.unix_millis()))
        .expiry_time(Duration::from_secs(terms.expiry_secs))
        .min_final_cltv_expiry_delta(u64::from(terms.min_final_cltv_expiry_delta))
        .private_route(hint);
    let invoice = match terms.amount {
        Some(amount) => invoice.amount_milli_satoshis(amount.0),
        None => invoice,
    };
    let raw = if terms.basic_mpp { invoice.basic_mpp().build_raw() } else { invoice.build_raw() };
    let raw = raw.map_err(|e| e.to_string())?;
    let signed = raw.clone().sign(|_| keys.sign_invoice(&raw, Recipient::Node));
    let signed = signed.map_err(|()| "the signer refused".to_owned())?;
    Bolt11Invoice::from_signed(signed).map_err(|e| e.to_string())
}

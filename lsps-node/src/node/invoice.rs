//! Invoices with a route hint of the caller.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::Secp256k1;
use lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::routing::router::RouteHint;
use lightning::types::payment::PaymentHash;
use lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder};

use super::Node;

impl<H: CustomMessageHandler + Send + Sync + 'static> Node<H> {
    /// Creates an invoice with `hint`, valid for an hour; payable in parts if it names an amount. The node knows the
    /// preimage unless the caller gives `preimage`.
    ///
    /// # Errors
    ///
    /// LDK creates no invoice; the error is a text.
    pub fn invoice_over(
        &self,
        hint: RouteHint,
        amount_msat: Option<u64>,
        preimage: Option<[u8; 32]>,
    ) -> Result<Bolt11Invoice, String> {
        let (hour, delta) = (3_600, MIN_FINAL_CLTV_EXPIRY_DELTA + 2);
        let (hash, secret) = match preimage.map(|preimage| sha256::Hash::hash(&preimage)) {
            Some(hash) => {
                let ldk_hash = PaymentHash(hash.to_byte_array());
                let secret = self.manager.create_inbound_payment_for_hash(ldk_hash, amount_msat, hour, Some(delta));
                (hash, secret.map_err(|()| "LDK does not take the hash")?)
            }
            None => {
                let made = self.manager.create_inbound_payment(amount_msat, hour, Some(delta));
                let (hash, secret) = made.map_err(|()| "LDK makes no payment hash")?;
                (sha256::Hash::from_byte_array(hash.0), secret)
            }
        };
        let invoice = InvoiceBuilder::new(Currency::Regtest)
            .description("over a hint".into())
            .payment_hash(hash)
            .payment_secret(secret)
            .duration_since_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
            .expiry_time(Duration::from_secs(hour.into()))
            .min_final_cltv_expiry_delta(delta.into())
            .private_route(hint);
        let key = self.keys.get_node_secret_key();
        let sign = |message: &_| Secp256k1::new().sign_ecdsa_recoverable(message, &key);
        let signed = match amount_msat {
            Some(amount) => invoice.amount_milli_satoshis(amount).basic_mpp().build_signed(sign),
            None => invoice.build_signed(sign),
        };
        signed.map_err(|e| e.to_string())
    }
}

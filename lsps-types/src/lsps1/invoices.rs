//! Parser of invoices and offers on LDK.

use core::time::Duration;

use lightning::bitcoin;
use lightning::offers::offer::{Amount, Offer};
use lightning_invoice::{Bolt11Invoice, Currency};

use super::{PaymentFacts, ReadInvoices};
use crate::units::{Msat, Network, PaymentHash, PeerId, Timestamp};

/// Parses invoices and offers with LDK's parsers.
#[derive(Clone, Copy, Debug, Default)]
pub struct LdkInvoices;

impl ReadInvoices for LdkInvoices {
    fn bolt11(&self, invoice: &str, network: Network) -> Option<PaymentFacts> {
        let invoice: Bolt11Invoice = invoice.parse().ok()?;
        let currency = match network {
            Network::Bitcoin => Currency::Bitcoin,
            Network::Testnet => Currency::BitcoinTestnet,
            Network::Signet => Currency::Signet,
            Network::Regtest => Currency::Regtest,
        };
        let payee = invoice.get_payee_pub_key();
        Some(PaymentFacts {
            amount: invoice.amount_milli_satoshis().map(Msat),
            is_on_network: invoice.currency() == currency,
            payee: Some(PeerId(payee.serialize())),
            expires_at: invoice.expires_at().map(instant),
            payment_hash: Some(PaymentHash(*AsRef::<[u8; 32]>::as_ref(invoice.payment_hash()))),
        })
    }

    fn bolt12(&self, offer: &str, network: Network) -> Option<PaymentFacts> {
        let offer: Offer = offer.parse().ok()?;
        let network = match network {
            Network::Bitcoin => bitcoin::Network::Bitcoin,
            Network::Testnet => bitcoin::Network::Testnet,
            Network::Signet => bitcoin::Network::Signet,
            Network::Regtest => bitcoin::Network::Regtest,
        };
        let amount = match offer.amount() {
            Some(Amount::Bitcoin { amount_msats }) => Some(Msat(amount_msats)),
            Some(Amount::Currency { .. }) | None => None,
        };
        // An issuer that gives blinded paths to itself signs with a key made for the offer, which does not name its
        // node.
        let payee = offer.issuer_signing_pubkey().filter(|_| offer.paths().is_empty());
        Some(PaymentFacts {
            amount,
            is_on_network: offer.supports_chain(bitcoin::constants::ChainHash::using_genesis_block(network)),
            payee: payee.map(|key| PeerId(key.serialize())),
            expires_at: offer.absolute_expiry().map(instant),
            payment_hash: None,
        })
    }
}

fn instant(since_epoch: Duration) -> Timestamp {
    Timestamp::from_unix_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

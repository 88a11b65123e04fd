//! Model of invoices and offers: their texts list their facts.

use lsps_types::lsps1::PaymentFacts;
use lsps_types::{Msat, PaymentHash, PeerId, Timestamp};

/// Text of an invoice or of an offer.
pub fn write(amount: Msat, hash: PaymentHash, payee: PeerId, expires_at: Timestamp) -> String {
    format!("{}:{hash}:{payee}:{}", amount.0, expires_at.unix_millis())
}

/// Facts of an invoice or offer; `None` if the text is not one.
pub fn read(text: &str) -> Option<PaymentFacts> {
    let mut parts = text.split(':');
    let amount = parts.next()?.parse().ok().map(Msat);
    let payment_hash = Some(parts.next()?.parse().ok()?);
    let payee = Some(parts.next()?.parse().ok()?);
    let expires_at = parts.next()?.parse().ok().map(Timestamp::from_unix_millis);
    Some(PaymentFacts { amount, is_on_network: true, payee, expires_at, payment_hash })
}

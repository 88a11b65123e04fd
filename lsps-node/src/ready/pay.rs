//! Paying invoices.

use std::time::Duration;

use bitcoin::hashes::Hash as _;
use lightning::events::PaymentFailureReason;
use lightning::ln::channelmanager::{Bolt11PaymentError, PaymentId, RetryableSendFailure};
use lightning_invoice::Bolt11Invoice;
use lsps_transport_ldk::Msat;

use super::Node;
use super::history::{Payment, PaymentKind, PaymentStatus, now};

/// Reason for which an invoice is not paid. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotPay {
    /// The invoice is of another network.
    #[error("the invoice is for {invoice}, and this node is on {node}")]
    WrongNetwork {
        /// Network of the invoice.
        invoice: bitcoin::Network,
        /// Network of the node.
        node: bitcoin::Network,
    },
    /// The invoice names no amount, and none was given.
    #[error("the invoice names no amount: give one")]
    NoAmount,
    /// The invoice names an amount, and another was given.
    #[error("the invoice is over {} sat: give no other amount", asked.0 / 1_000)]
    HasAmount {
        /// Amount of the invoice.
        asked: Msat,
    },
    /// The invoice was paid, or is being paid.
    #[error("this invoice was paid before, or is being paid: `history` shows it")]
    Twice,
    /// The invoice has expired.
    #[error("the invoice has expired: ask for a new one")]
    Expired,
    /// The channels have too little balance.
    #[error("the channels can send {} sat, and the invoice is over {} sat", can.0 / 1_000, asked.0 / 1_000)]
    TooLittle {
        /// Amount that can be sent.
        can: Msat,
        /// Amount of the invoice.
        asked: Msat,
    },
    /// No route leads to the recipient.
    #[error("no route leads to the recipient with the present channels")]
    NoRoute,
    /// LDK refuses; its text.
    #[error("the node cannot pay this invoice: {0}")]
    Refused(String),
    /// The payment could not be put on record.
    #[error("the payment could not be stored: {0}")]
    NotStored(#[from] bitcoin::io::Error),
}

impl Node {
    /// Begins to pay an invoice, and returns its payment hash; `amount` is given if the invoice names none. An event tells the
    /// end, and [`paid`](Self::paid) waits for it. An invoice is paid once.
    ///
    /// # Errors
    ///
    /// Nothing was sent.
    pub fn pay(&self, invoice: &Bolt11Invoice, amount: Option<Msat>) -> Result<String, CannotPay> {
        let asked = self.amount_of(invoice, amount)?;
        let hash = *invoice.payment_hash();
        let id = hash.to_string();
        let history = &self.inner.state.history;
        let before = history.get(PaymentKind::Sent, &id);
        if before.as_ref().is_some_and(|before| before.status != PaymentStatus::Failed) {
            return Err(CannotPay::Twice);
        }
        let payment = Payment {
            id: id.clone(),
            kind: PaymentKind::Sent,
            status: PaymentStatus::Pending,
            amount_msat: Some(asked.0),
            fee_msat: None,
            description: invoice.description().to_string(),
            created_at: now(),
            expires_at: None,
        };
        // First the record: an end that comes at once finds it.
        history.put(payment.clone())?;
        let sent = self.inner.ldk.pay_as(PaymentId(hash.to_byte_array()), invoice, amount.map(|amount| amount.0));
        match sent.map_err(|why| refused(why, self.can_send(), asked)) {
            Ok(()) => Ok(id),
            // Another call, or an earlier life, pays it already.
            Err(CannotPay::Twice) => Err(CannotPay::Twice),
            Err(why) => {
                history.put(Payment { status: PaymentStatus::Failed, ..payment })?;
                Err(why)
            }
        }
    }

    /// Waits until a payment of this hash is sent, or has failed, and returns it. `None`: there is no such payment.
    pub async fn paid(&self, payment_hash: &str) -> Option<Payment> {
        self.ended(PaymentKind::Sent, payment_hash).await
    }

    /// Waits until the invoice of this hash is paid, or has expired, and returns its payment. `None`: this node has no such
    /// invoice.
    pub async fn received(&self, payment_hash: &str) -> Option<Payment> {
        self.ended(PaymentKind::Received, payment_hash).await
    }

    async fn ended(&self, kind: PaymentKind, id: &str) -> Option<Payment> {
        let history = &self.inner.state.history;
        loop {
            let changed = history.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // a change between the look and the wait is not missed
            let payment = history.get(kind, id)?;
            let left = payment.expires_at.map(|end| end.saturating_sub(now()));
            if payment.status != PaymentStatus::Pending {
                return Some(payment);
            }
            match left {
                Some(0) => return Some(Payment { status: PaymentStatus::Failed, ..payment }),
                Some(left) => {
                    let _ = tokio::time::timeout(Duration::from_secs(left), changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// Largest payment that the node's channels can send now, routing fees included.
    #[must_use]
    pub fn can_send(&self) -> Msat {
        let channels = self.inner.ldk.channel_manager().list_usable_channels();
        Msat(channels.iter().fold(0, |sum, channel| sum.saturating_add(channel.next_outbound_htlc_limit_msat)))
    }

    fn amount_of(&self, invoice: &Bolt11Invoice, amount: Option<Msat>) -> Result<Msat, CannotPay> {
        let (theirs, node) = (invoice.network(), self.inner.network);
        if theirs != node {
            return Err(CannotPay::WrongNetwork { invoice: theirs, node });
        }
        if invoice.would_expire(Duration::from_secs(now())) {
            return Err(CannotPay::Expired);
        }
        match (invoice.amount_milli_satoshis().map(Msat), amount) {
            (Some(asked), Some(other)) if asked != other => Err(CannotPay::HasAmount { asked }),
            (Some(asked), _) => Ok(asked),
            (None, Some(amount)) => Ok(amount),
            (None, None) => Err(CannotPay::NoAmount),
        }
    }
}

fn refused(why: Bolt11PaymentError, can: Msat, asked: Msat) -> CannotPay {
    match why {
        Bolt11PaymentError::SendingFailed(RetryableSendFailure::DuplicatePayment) => CannotPay::Twice,
        Bolt11PaymentError::SendingFailed(RetryableSendFailure::PaymentExpired) => CannotPay::Expired,
        Bolt11PaymentError::SendingFailed(RetryableSendFailure::RouteNotFound) if can < asked => {
            CannotPay::TooLittle { can, asked }
        }
        Bolt11PaymentError::SendingFailed(RetryableSendFailure::RouteNotFound) => CannotPay::NoRoute,
        other => CannotPay::Refused(format!("{other:?}")),
    }
}

/// A reason of LDK in words.
pub(super) fn reason(reason: PaymentFailureReason) -> &'static str {
    match reason {
        PaymentFailureReason::RecipientRejected => "the recipient refused it",
        PaymentFailureReason::UserAbandoned => "it was called off",
        PaymentFailureReason::RetriesExhausted => "no try reached the recipient",
        PaymentFailureReason::PaymentExpired => "the invoice expired",
        PaymentFailureReason::RouteNotFound => "no route leads to the recipient",
        _ => "it failed",
    }
}

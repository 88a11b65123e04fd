//! The payments of a node, on record.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::io;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::store::Store;

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Payment {
    /// Payment hash in hexadecimal; the id of the transaction for a payment on the chain.
    pub id: String,
    /// Direction and means.
    pub kind: PaymentKind,
    /// How far it is.
    pub status: PaymentStatus,
    /// Amount in millisatoshis: the amount of the invoice until it is paid, then the amount that arrived. `None`: the payer
    /// chooses it.
    pub amount_msat: Option<u64>,
    /// Fee in millisatoshis: that of an LSP for the channel, or for routing. `None`: not known yet.
    pub fee_msat: Option<u64>,
    /// Description in the invoice.
    pub description: String,
    /// Second since 1970 in which the invoice was made, or the payment begun.
    pub created_at: u64,
    /// Second since 1970 after which nobody pays it any more, for an invoice of this node.
    pub expires_at: Option<u64>,
}

/// Direction and means of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PaymentKind {
    /// Received over Lightning.
    Received,
    /// Sent over Lightning.
    Sent,
    /// Sent on the chain.
    SentOnchain,
}

/// State of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PaymentStatus {
    /// Not paid yet, or under way.
    Pending,
    /// Done.
    Succeeded,
    /// Not paid: failed, or its invoice expired.
    Failed,
}

/// Payments by kind and id.
pub(super) struct History {
    store: Store,
    payments: Mutex<BTreeMap<(PaymentKind, String), Payment>>,
    pub changed: Notify,
}

impl History {
    /// Reads all payments. Invoices that expired a day ago without a payment are forgotten.
    pub fn load(store: &Store) -> io::Result<Self> {
        let mut payments = BTreeMap::new();
        let long_ago = now().saturating_sub(DAY.as_secs());
        for name in store.list(PRIMARY, SECONDARY)? {
            let bytes = store.read(PRIMARY, SECONDARY, &name)?;
            let damaged = |why: serde_json::Error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("the record of payment {name} is damaged: {why}"))
            };
            let payment: Payment = serde_json::from_slice(&bytes).map_err(damaged)?;
            let is_pending = payment.status == PaymentStatus::Pending;
            if is_pending && payment.expires_at.is_some_and(|end| end < long_ago) {
                store.remove(PRIMARY, SECONDARY, &name, false)?;
            } else {
                payments.insert((payment.kind, payment.id.clone()), payment);
            }
        }
        Ok(Self { store: store.clone(), payments: Mutex::new(payments), changed: Notify::new() })
    }

    pub fn get(&self, kind: PaymentKind, id: &str) -> Option<Payment> {
        self.payments().get(&(kind, id.to_owned())).cloned()
    }

    /// Puts a payment on record, in the place of an earlier state.
    pub fn put(&self, payment: Payment) -> io::Result<()> {
        let bytes =
            serde_json::to_vec(&payment).map_err(|why| io::Error::new(io::ErrorKind::Other, why.to_string()))?;
        let mut payments = self.payments();
        self.store.write(PRIMARY, SECONDARY, &name(&payment), bytes)?;
        payments.insert((payment.kind, payment.id.clone()), payment);
        drop(payments);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Marks payments failed that were begun and that the node does not know: the process died before it saved them, so none of
    /// their HTLCs was sent.
    pub fn forget_unsent(&self, known: &[String]) -> io::Result<()> {
        let is_lost = |payment: &&Payment| {
            payment.kind == PaymentKind::Sent
                && payment.status == PaymentStatus::Pending
                && !known.contains(&payment.id)
        };
        let lost: Vec<_> = self.payments().values().filter(is_lost).cloned().collect();
        lost.into_iter().try_for_each(|payment| self.put(Payment { status: PaymentStatus::Failed, ..payment }))
    }

    /// All payments, the newest first. Of invoices that expired unpaid it says that they failed.
    pub fn all(&self) -> Vec<Payment> {
        let mut all: Vec<_> = self.payments().values().cloned().collect();
        for payment in &mut all {
            let is_over = payment.expires_at.is_some_and(|end| end < now());
            if payment.status == PaymentStatus::Pending && is_over {
                payment.status = PaymentStatus::Failed;
            }
        }
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }

    fn payments(&self) -> MutexGuard<'_, BTreeMap<(PaymentKind, String), Payment>> {
        // The map changes in single calls, after the store.
        self.payments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn name(payment: &Payment) -> String {
    let kind = match payment.kind {
        PaymentKind::Received => "received",
        PaymentKind::Sent => "sent",
        PaymentKind::SentOnchain => "onchain",
    };
    format!("{kind}-{}", payment.id)
}

const PRIMARY: &str = "node";
const SECONDARY: &str = "payments";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn payments_outlive_a_restart_and_invoices_nobody_paid_do_not_for_long() {
        let store: Store = Arc::new(MemoryStore::new());
        let payment = |id: &str, status, expires_at| Payment {
            id: id.into(),
            kind: PaymentKind::Received,
            status,
            amount_msat: Some(5),
            fee_msat: None,
            description: "coffee".into(),
            created_at: 7,
            expires_at: Some(expires_at),
        };
        let history = History::load(&store).unwrap();
        history.put(payment("paid", PaymentStatus::Succeeded, 8)).unwrap();
        history.put(payment("waits", PaymentStatus::Pending, now() + 60)).unwrap();
        history.put(payment("over", PaymentStatus::Pending, now() - 60)).unwrap();
        history.put(payment("longover", PaymentStatus::Pending, 8)).unwrap();
        let again = History::load(&store).unwrap().all();
        let shown: Vec<_> = again.iter().map(|payment| (payment.id.as_str(), payment.status)).collect();
        use PaymentStatus::{Failed, Pending, Succeeded};
        assert_eq!(shown, [("waits", Pending), ("paid", Succeeded), ("over", Failed)]);
    }
}

//! Payments for ordered channels from a node's coins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::{FeeRate, ScriptBuf, Transaction, Txid};
use lightning::chain::chaininterface::BroadcasterInterface;
use lsps_transport_ldk::ports::{CannotPay, Mempool, OnchainPayer, OnchainWallet as _};

use super::{BdkWallet, spent_by};
use crate::chain::embedded::Chain;
use crate::node::broadcast::{Broadcaster, SOON};

/// Pays with a node's coins, through the node's broadcaster.
pub struct Payer {
    /// The wallet.
    pub coins: Arc<BdkWallet>,
    /// The broadcaster.
    pub broadcaster: Arc<Broadcaster>,
    /// The transactions that were signed and not broadcast yet, by order.
    signed: Mutex<BTreeMap<u128, Transaction>>,
}

impl Payer {
    /// A payer with this wallet.
    #[must_use]
    pub fn new(coins: Arc<BdkWallet>, broadcaster: Arc<Broadcaster>) -> Self {
        Self { coins, broadcaster, signed: Mutex::default() }
    }

    fn signed(&self) -> MutexGuard<'_, BTreeMap<u128, Transaction>> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds a payment at the usual feerate, or at a higher one at which the LSP accepts it at once.
    fn pays(&self, script: &ScriptBuf, amount_sat: u64, at_once_above: Option<FeeRate>) -> Result<Paid, CannotPay> {
        let usual = self.coins.chain.fee_rate_within(SOON);
        let enough =
            at_once_above.map_or(usual, |rate| FeeRate::from_sat_per_kwu(rate.to_sat_per_kwu().saturating_add(1)));
        let tx = self.coins.pay(script, amount_sat, usual.max(enough))?;
        Ok(Paid { fee_sat: self.coins.mining_fee_sat(&tx), tx })
    }
}

struct Paid {
    tx: Transaction,
    fee_sat: u64,
}

impl OnchainPayer for Payer {
    fn mining_fee_sat(
        &self,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
    ) -> Result<u64, CannotPay> {
        let Paid { tx, fee_sat } = self.pays(script, amount_sat, at_once_above)?;
        self.forget(&tx);
        Ok(fee_sat)
    }

    fn sign(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
        max_fee_sat: u64,
    ) -> Result<Transaction, CannotPay> {
        // The host that had it signed may have ended before it was on record.
        let earlier = self.signed().remove(&key);
        earlier.iter().for_each(|tx| self.forget(tx));
        let Paid { tx, fee_sat } = self.pays(script, amount_sat, at_once_above)?;
        if fee_sat > max_fee_sat {
            self.forget(&tx);
            return Err(CannotPay::TooDear { fee_sat, max_fee_sat });
        }
        self.signed().insert(key, tx.clone());
        Ok(tx)
    }

    fn broadcast(&self, tx: &Transaction) {
        self.signed().retain(|_, signed| signed != tx);
        self.reserve(tx);
        self.broadcaster.broadcast_transactions(&[tx]);
    }

    fn reserve(&self, tx: &Transaction) {
        self.signed().retain(|_, signed| signed != tx);
        self.coins.lock(&spent_by(tx).collect::<Vec<_>>());
    }

    fn forget(&self, tx: &Transaction) {
        self.signed().retain(|_, signed| signed != tx);
        self.coins.release(&spent_by(tx).collect::<Vec<_>>());
    }
}

impl Mempool for Chain {
    fn has_seen(&self, txid: &Txid) -> bool {
        self.transaction(txid).is_some()
    }
}

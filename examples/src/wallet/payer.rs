//! What a wallet that orders channels asks of its coins.

use std::sync::Arc;

use bitcoin::{FeeRate, ScriptBuf, Transaction};
use lightning::chain::chaininterface::BroadcasterInterface;
use lsps_transport_ldk::onchain::{CannotFund, OnchainPayer, OnchainWallet};

use super::{BdkWallet, spent_by};
use crate::chain::FEE_SAT_PER_KW;
use crate::node::broadcast::Broadcaster;

/// Pays with a node's coins, by the node's own way out.
pub struct Payer {
    /// The coins.
    pub coins: Arc<BdkWallet>,
    /// The way out.
    pub broadcaster: Arc<Broadcaster>,
}

impl OnchainPayer for Payer {
    fn sign(
        &self,
        _: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
    ) -> Result<Transaction, CannotFund> {
        let usual = FeeRate::from_sat_per_kwu(FEE_SAT_PER_KW.into());
        let enough =
            at_once_above.map_or(usual, |rate| FeeRate::from_sat_per_kwu(rate.to_sat_per_kwu().saturating_add(1)));
        self.coins.pay(script, amount_sat, usual.max(enough))
    }

    fn broadcast(&self, tx: &Transaction) {
        self.coins.lock(&spent_by(tx).collect::<Vec<_>>());
        self.broadcaster.broadcast_transactions(&[tx]);
    }

    fn forget(&self, tx: &Transaction) {
        self.coins.release(&spent_by(tx).collect::<Vec<_>>());
    }
}

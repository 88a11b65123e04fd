//! What a wallet that orders channels asks of its coins.

use bitcoin::{FeeRate, ScriptBuf, Transaction};
use lightning::chain::chaininterface::BroadcasterInterface;
use lsps_transport_ldk::onchain::{CannotFund, OnchainPayer, OnchainWallet};

use super::{BdkWallet, spent_by};
use crate::chain::FEE_SAT_PER_KW;

impl OnchainPayer for BdkWallet {
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
        self.pay(script, amount_sat, usual.max(enough))
    }

    fn broadcast(&self, tx: &Transaction) {
        self.lock(&spent_by(tx).collect::<Vec<_>>());
        self.chain.broadcast_transactions(&[tx]);
    }

    fn forget(&self, tx: &Transaction) {
        self.release(&spent_by(tx).collect::<Vec<_>>());
    }
}

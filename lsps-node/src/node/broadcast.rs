//! The broadcaster of a node, with a switch.

use std::sync::atomic::{AtomicBool, Ordering};

use bitcoin::{FeeRate, Transaction, Txid};
use lightning::chain::chaininterface::BroadcasterInterface;

use lsps_transport_ldk::ports::{Broadcast, ChainAccess};

use crate::chain::embedded::Chain;

/// Submits transactions to the chain, unless it is cut off.
pub struct Broadcaster {
    chain: Chain,
    cut_off: AtomicBool,
}

impl Broadcaster {
    /// Creates a broadcaster that is not cut off.
    #[must_use]
    pub fn new(chain: Chain) -> Self {
        Self { chain, cut_off: AtomicBool::new(false) }
    }

    /// Cuts the broadcaster off, or reconnects it. Broadcasts meanwhile are lost, as in a power cut.
    pub fn cut_off(&self, cut: bool) {
        self.cut_off.store(cut, Ordering::SeqCst);
    }
}

impl ChainAccess for Broadcaster {
    fn broadcast(&self, tx: &Transaction) -> Broadcast {
        if self.cut_off.load(Ordering::SeqCst) {
            return Broadcast::Unanswered;
        }
        let is_known = self.chain.transaction(&tx.compute_txid()).is_some();
        match self.chain.submit(tx.clone()) {
            Ok(_) if is_known => Broadcast::Known,
            Ok(_) => Broadcast::Accepted,
            Err(why) => Broadcast::Refused(why.to_string()),
        }
    }

    fn confirmations(&self, txid: &Txid) -> u32 {
        self.chain.confirmations(txid).unwrap_or(0)
    }

    fn fee_rate(&self) -> FeeRate {
        FeeRate::from_sat_per_kwu(self.chain.fee_sat_per_kw().into())
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        if !self.cut_off.load(Ordering::SeqCst) {
            self.chain.broadcast_transactions(txs);
        }
    }
}

//! The broadcaster of a node, with a switch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcoin::{FeeRate, Transaction, Txid};
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget};

use lsps_transport_ldk::ports::{Broadcast, ChainAccess};

use crate::chain::ChainView;

/// Submits transactions to the chain, unless it is cut off.
pub struct Broadcaster {
    chain: Arc<ChainView>,
    cut_off: AtomicBool,
}

impl Broadcaster {
    /// Creates a broadcaster that is not cut off.
    #[must_use]
    pub fn new(chain: Arc<ChainView>) -> Self {
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
        self.chain.broadcast(&[tx]).pop().unwrap_or(Broadcast::Unanswered)
    }

    fn confirmations(&self, txid: &Txid) -> u32 {
        self.chain.confirmations(txid)
    }

    fn fee_rate(&self) -> FeeRate {
        self.chain.fee_rate_within(SOON)
    }

    fn commitment_fee_rate(&self) -> FeeRate {
        self.chain.fee_rate(ConfirmationTarget::NonAnchorChannelFee)
    }

    fn fee_rate_within(&self, blocks: u32) -> FeeRate {
        self.chain.fee_rate_within(u16::try_from(blocks).unwrap_or(u16::MAX))
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        if !self.cut_off.load(Ordering::SeqCst) {
            let _answers = self.chain.broadcast(txs);
        }
    }
}

/// Number of blocks within which fundings and refunds are to confirm.
pub(crate) const SOON: u16 = 6;

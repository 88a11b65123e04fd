//! The embedded chain as the source of a node.

use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, Network, Transaction, Txid};
use lightning::chain::BestBlock;
use lsps_transport_ldk::ports::Broadcast;

use super::Chain;
use crate::chain::{BlockFeed, ChainSource, FeeRates, Feed, Mempool, Sighting, SourceError};

impl ChainSource for Chain {
    fn network(&self) -> Network {
        Network::Regtest
    }

    fn is_local(&self) -> bool {
        true
    }

    fn birthday(&self) -> Option<u32> {
        Some(0)
    }

    fn genesis(&self) -> Result<BlockHash, SourceError> {
        self.hash_at(0).ok_or_else(|| SourceError::Refused("there is no first block".into()))
    }

    fn tip(&self) -> Result<BestBlock, SourceError> {
        Ok(self.best_block())
    }

    fn feed(&self) -> Feed<'_> {
        Feed::Blocks(self)
    }

    fn submit(&self, transactions: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        let submit = |tx: &Transaction| {
            let is_known = self.transaction(&tx.compute_txid()).is_some();
            match Chain::submit(self, tx.clone()) {
                Ok(_) if is_known => Broadcast::Known,
                Ok(_) => Broadcast::Accepted,
                Err(why) => Broadcast::Refused(why.to_string()),
            }
        };
        Ok(transactions.iter().map(submit).collect())
    }

    fn fee_rates(&self) -> Result<FeeRates, SourceError> {
        Ok(FeeRates::flat(self.fee_sat_per_kw()))
    }

    fn sighting(&self, txid: &Txid) -> Result<Option<Sighting>, SourceError> {
        let ledger = self.ledger();
        let height = ledger.mined_at(txid);
        let is_known = height.is_some() || ledger.waiting(txid).is_some();
        drop(ledger);
        Ok(is_known.then(|| Sighting { height, fee_rate: self.fee_rate_of(txid) }))
    }
}

impl BlockFeed for Chain {
    fn changes(&self) -> Option<u64> {
        Some(self.ledger().changes())
    }

    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        Ok(Chain::hash_at(self, height))
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, SourceError> {
        self.ledger().header(hash).ok_or(SourceError::UnknownBlock(*hash))
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
        self.ledger().block(hash).cloned().ok_or(SourceError::UnknownBlock(*hash))
    }

    fn mempool(&self, is_known: &dyn Fn(&Txid) -> bool) -> Result<Mempool, SourceError> {
        let ledger = self.ledger();
        let txids = ledger.mempool().map(Transaction::compute_txid).collect();
        let unknown = ledger.mempool().filter(|tx| !is_known(&tx.compute_txid())).cloned().collect();
        Ok(Mempool { txids, unknown })
    }
}

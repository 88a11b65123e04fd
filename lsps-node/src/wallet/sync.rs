//! Bringing the wallet to the newest block of its source.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bdk_wallet::Update;
use bdk_wallet::chain::BlockId;
use bitcoin::{Block, Transaction, Txid};
use lightning::chain::BestBlock;

use super::BdkWallet;
use super::coins::Coins;
use crate::chain::follow::{Follower, Position, catch_up};
use crate::chain::{BlockFeed, ChainSource, Feed, Mempool, SourceError, TransactionFeed};

impl BdkWallet {
    /// Sets the block from which a wallet without a record begins, if its source has one.
    pub(crate) fn begin(&self) -> Result<(), SourceError> {
        let source = Arc::clone(self.chain.source());
        if source.is_local() || self.lock_state().record.is_some() {
            return Ok(());
        }
        if let Feed::Blocks(feed) = source.feed() {
            let start = match source.birthday() {
                Some(height) => {
                    let missing = || SourceError::Refused(format!("it has no block {height}, where the wallet begins"));
                    BestBlock::new(feed.hash_at(height)?.ok_or_else(missing)?, height)
                }
                None => source.tip()?,
            };
            let state = &mut *self.lock_state();
            let block = BlockId { height: start.height, hash: start.block_hash };
            let first = state.coins.bdk.latest_checkpoint();
            if let Ok(chain) = first.push(block) {
                let update = Update { chain: Some(chain), ..Update::default() };
                state.coins.bdk.apply_update(update).map_err(|_| SourceError::UnknownBlock(start.block_hash))?;
            }
        }
        Ok(())
    }

    /// The newest block that the wallet knows.
    pub(crate) fn position(self: &Arc<Self>) -> Position<'static> {
        Position { at: self.lock_state().coins.tip(), follower: Box::new(Shared(Arc::clone(self))) }
    }

    /// Passes the mempool of a source of blocks to the wallet.
    pub(crate) fn see_mempool(&self, feed: &dyn BlockFeed) -> Result<(), SourceError> {
        let mempool = {
            let known = self.lock_state().coins.in_mempool.clone();
            feed.mempool(&|txid| known.contains(txid))?
        };
        self.lock_state().coins.see_mempool(mempool);
        Ok(())
    }

    /// Asks a source of transactions for those of the wallet.
    pub(crate) fn sync_transactions(&self, feed: &dyn TransactionFeed) -> Result<(), SourceError> {
        let has_record = self.lock_state().record.is_some();
        let update = if has_record {
            let request = self.lock_state().coins.bdk.start_sync_with_revealed_spks().build();
            feed.sync_wallet(request)?
        } else {
            let request = self.lock_state().coins.bdk.start_full_scan().build();
            feed.scan_wallet(request)?
        };
        let coins = &mut self.lock_state().coins;
        coins.bdk.apply_update(update).map_err(|error| SourceError::Refused(error.to_string()))?;
        if coins.bdk.staged().is_some() {
            coins.seen += 1;
        }
        Ok(())
    }

    /// Writes what the wallet has learnt.
    pub(crate) fn keep(&self) -> bitcoin::io::Result<()> {
        let state = &mut *self.lock_state();
        let record = state.record.get_or_insert_default();
        record.add(&mut state.coins.bdk);
        record.write(&self.store)
    }

    /// Height of the block with a transaction of the wallet.
    pub(crate) fn height_of(&self, txid: &Txid) -> Option<u32> {
        let state = self.lock_state();
        let tx = state.coins.bdk.get_tx(*txid)?;
        tx.chain_position.confirmation_height_upper_bound()
    }
}

struct Shared(Arc<BdkWallet>);

impl Follower for Shared {
    fn connect(&mut self, block: &Block, height: u32) -> Result<(), SourceError> {
        self.0.lock_state().coins.connect(block, height)
    }

    fn disconnect(&mut self, fork: BestBlock) {
        self.0.lock_state().coins.disconnect(fork);
    }
}

impl Coins {
    /// Brings the wallet to the present of a source in this process.
    pub(super) fn follow(&mut self, source: &dyn ChainSource) {
        let Feed::Blocks(feed) = source.feed() else { return };
        loop {
            let changes = feed.changes();
            if changes.is_none() || self.changes == changes {
                return; // blocks and mempool are of one instant
            }
            let at = self.tip();
            let followed = catch_up(feed, &mut [Position { at, follower: Box::new(&mut *self) }], &mut |_| Ok(()));
            let followed = followed.and_then(|()| feed.mempool(&|txid| self.in_mempool.contains(txid)));
            let Ok(mempool) = followed else { return }; // it never fails
            self.see_mempool(mempool);
            let _read_again_at_the_next_start = self.bdk.take_staged();
            self.changes = changes;
        }
    }

    fn tip(&self) -> BestBlock {
        let tip = self.bdk.latest_checkpoint();
        BestBlock::new(tip.hash(), tip.height())
    }

    fn see_mempool(&mut self, mempool: Mempool) {
        let Mempool { txids, unknown } = mempool;
        // BDK's clock: the latest sighting wins, and a transaction that is not seen any more is gone.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.clock = now.max(self.clock + 1);
        self.in_mempool.retain(|txid| txids.contains(txid));
        self.in_mempool.extend(unknown.iter().map(Transaction::compute_txid));
        self.bdk.apply_unconfirmed_txs(unknown.into_iter().map(|tx| (tx, self.clock)));
        let is_gone = |txid: &Txid| !txids.contains(txid);
        let unconfirmed = self.bdk.transactions().filter(|tx| !tx.chain_position.is_confirmed());
        let gone: Vec<_> =
            unconfirmed.map(|tx| tx.tx_node.txid).filter(is_gone).map(|txid| (txid, self.clock)).collect();
        if !gone.is_empty() {
            self.bdk.apply_evicted_txs(gone);
        }
        if self.bdk.staged().is_some() {
            self.seen += 1;
        }
    }
}

impl Follower for Coins {
    fn connect(&mut self, block: &Block, height: u32) -> Result<(), SourceError> {
        self.seen += 1;
        let connected = self.bdk.apply_block(block, height);
        connected.map_err(|_| SourceError::UnknownBlock(block.header.prev_blockhash))
    }

    /// BDK drops the blocks when it hears of the others at their heights; until then no block is newer than theirs.
    fn disconnect(&mut self, _: BestBlock) {}
}

impl Follower for &mut Coins {
    fn connect(&mut self, block: &Block, height: u32) -> Result<(), SourceError> {
        (**self).connect(block, height)
    }

    fn disconnect(&mut self, fork: BestBlock) {
        (**self).disconnect(fork);
    }
}

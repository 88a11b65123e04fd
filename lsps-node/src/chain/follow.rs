//! Following the blocks of a source, through reorganisations.

use bitcoin::{Block, BlockHash};
use lightning::chain::{BestBlock, Listen};

use super::{BlockFeed, SourceError};

/// An object that follows the chain block by block.
pub(crate) trait Follower {
    /// Connects the next block.
    fn connect(&mut self, block: &Block, height: u32) -> Result<(), SourceError>;

    /// Disconnects all blocks above `fork`.
    fn disconnect(&mut self, fork: BestBlock);
}

/// LDK's objects.
pub(crate) struct Ldk<'a, L: ?Sized>(pub(crate) &'a L);

impl<L: Listen + ?Sized> Follower for Ldk<'_, L> {
    fn connect(&mut self, block: &Block, height: u32) -> Result<(), SourceError> {
        self.0.block_connected(block, height);
        Ok(())
    }

    fn disconnect(&mut self, fork: BestBlock) {
        self.0.blocks_disconnected(fork);
    }
}

/// Channel manager and chain monitor together.
impl<T: Listen, U: Listen> Follower for (&T, &U) {
    fn connect(&mut self, block: &Block, height: u32) -> Result<(), SourceError> {
        self.0.block_connected(block, height);
        self.1.block_connected(block, height);
        Ok(())
    }

    fn disconnect(&mut self, fork: BestBlock) {
        self.0.blocks_disconnected(fork);
        self.1.blocks_disconnected(fork);
    }
}

/// A follower, and the newest block that it knows.
pub(crate) struct Position<'a> {
    pub(crate) at: BestBlock,
    pub(crate) follower: Box<dyn Follower + 'a>,
}

/// Brings all followers to the newest block; each block is fetched once. `progress` is called with each new block.
///
/// A failure leaves each follower at the block of its position, from which the next call goes on.
pub(crate) fn catch_up(
    feed: &dyn BlockFeed,
    positions: &mut [Position<'_>],
    progress: &mut dyn FnMut(BestBlock),
) -> Result<(), SourceError> {
    loop {
        for position in positions.iter_mut() {
            disconnect_stale(feed, position)?;
        }
        let Some(lowest) = positions.iter().map(|position| position.at.height).min() else { return Ok(()) };
        let Some(hash) = feed.hash_at(lowest + 1)? else {
            // Those above it are in the same chain, and then there is no block above the lowest either.
            return Ok(());
        };
        let block = checked(feed.block(&hash)?, hash)?;
        let next = BestBlock::new(hash, lowest + 1);
        let here = positions.iter_mut().filter(|position| position.at.height == lowest);
        for position in here.filter(|position| position.at.block_hash == block.header.prev_blockhash) {
            position.follower.connect(&block, next.height)?;
            position.at = next;
        }
        progress(next);
    }
}

/// Disconnects the blocks that are not in the chain any more.
fn disconnect_stale(feed: &dyn BlockFeed, position: &mut Position<'_>) -> Result<(), SourceError> {
    let mut fork = position.at;
    while feed.hash_at(fork.height)? != Some(fork.block_hash) {
        let header = feed.header(&fork.block_hash)?;
        let Some(below) = fork.height.checked_sub(1).filter(|_| header.block_hash() == fork.block_hash) else {
            return Err(SourceError::UnknownBlock(position.at.block_hash));
        };
        fork = BestBlock::new(header.prev_blockhash, below);
    }
    if fork.height < position.at.height {
        position.follower.disconnect(fork);
        position.at = fork;
    }
    Ok(())
}

fn checked(block: Block, hash: BlockHash) -> Result<Block, SourceError> {
    if block.block_hash() == hash && block.check_merkle_root() {
        return Ok(block);
    }
    Err(SourceError::Refused(format!("the block that it gives is not {hash}")))
}

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

/// Brings all followers to the newest block; each block is fetched once. `progress` is called with each new block; its error
/// ends the call.
///
/// A failure leaves each follower at the block of its position, from which the next call goes on.
pub(crate) fn catch_up(
    feed: &dyn BlockFeed,
    positions: &mut [Position<'_>],
    progress: &mut dyn FnMut(BestBlock) -> Result<(), SourceError>,
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
        progress(next)?;
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bitcoin::block::Header;
    use bitcoin::{ScriptBuf, Txid};

    use super::super::Mempool;
    use super::super::embedded::{Chain, START_HEIGHT};
    use super::*;

    /// The chain behind a line that fails at every third question, with twenty reorganisations, after every seventh.
    struct Flaky<'a> {
        chain: &'a Chain,
        questions: Cell<u32>,
        reorganisations: Cell<u32>,
    }

    impl Flaky<'_> {
        fn ask(&self) -> Result<(), SourceError> {
            self.questions.set(self.questions.get() + 1);
            if self.questions.get().is_multiple_of(7) && self.reorganisations.get() < 20 {
                self.reorganisations.set(self.reorganisations.get() + 1);
                self.chain.reorganize(1 + self.reorganisations.get() % 4);
            }
            if self.questions.get().is_multiple_of(3) && self.reorganisations.get() < 20 {
                Err(SourceError::Gone("no line".into()))
            } else {
                Ok(())
            }
        }
    }

    impl BlockFeed for Flaky<'_> {
        fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
            self.ask()?;
            BlockFeed::hash_at(self.chain, height)
        }

        fn header(&self, hash: &BlockHash) -> Result<Header, SourceError> {
            self.ask()?;
            self.chain.header(hash)
        }

        fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
            self.ask()?;
            self.chain.block(hash)
        }

        fn mempool(&self, is_known: &dyn Fn(&Txid) -> bool) -> Result<Mempool, SourceError> {
            BlockFeed::mempool(self.chain, is_known)
        }
    }

    /// Checks that each block is connected to the one before.
    struct Strict(Vec<BlockHash>);

    impl Follower for &mut Strict {
        fn connect(&mut self, block: &Block, height: u32) -> Result<(), SourceError> {
            assert_eq!((height as usize, block.header.prev_blockhash), (self.0.len(), *self.0.last().unwrap()));
            self.0.push(block.block_hash());
            Ok(())
        }

        fn disconnect(&mut self, fork: BestBlock) {
            assert!((fork.height as usize) < self.0.len() - 1, "something is disconnected");
            self.0.truncate(fork.height as usize + 1);
            assert_eq!(self.0.last(), Some(&fork.block_hash));
        }
    }

    fn position(strict: &mut Strict) -> Position<'_> {
        let at = BestBlock::new(*strict.0.last().unwrap(), u32::try_from(strict.0.len() - 1).unwrap());
        Position { at, follower: Box::new(strict) }
    }

    #[test]
    fn followers_get_to_the_newest_block_through_failures_and_reorganisations() {
        let chain = Chain::new();
        let up_to = |height| Strict((0..=height).filter_map(|height| chain.hash_at(height)).collect());
        let mut followers = [up_to(0), up_to(START_HEIGHT - 2), up_to(START_HEIGHT)];
        let flaky = Flaky { chain: &chain, questions: Cell::new(0), reorganisations: Cell::new(0) };
        let mut tries = 0;
        loop {
            let mut positions: Vec<_> = followers.iter_mut().map(position).collect();
            if catch_up(&flaky, &mut positions, &mut |_| Ok(())).is_ok() {
                break;
            }
            tries += 1;
        }
        assert!(tries > 20 && flaky.reorganisations.get() == 20, "{tries}");
        // The last reorganisation may have come after the last look at a follower.
        assert!(catch_up(&chain, &mut [], &mut |_| Ok(())).is_ok());
        for Strict(blocks) in &followers {
            assert_eq!(blocks.last(), chain.hash_at(u32::try_from(blocks.len() - 1).unwrap()).as_ref());
        }
    }

    #[test]
    fn a_node_of_another_chain_is_not_followed_but_told() {
        let (ours, theirs) = (Chain::new(), Chain::new());
        ours.give(&ScriptBuf::new(), 1_000);
        let mut follower = Strict((0..=ours.height()).filter_map(|height| ours.hash_at(height)).collect());
        let at = ours.best_block();
        let refused = catch_up(&theirs, &mut [Position { at, follower: Box::new(&mut follower) }], &mut |_| Ok(()));
        assert_eq!(refused, Err(SourceError::UnknownBlock(at.block_hash)));
    }
}

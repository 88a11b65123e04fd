//! Following the chain: at once if it is in this process, otherwise from a thread of its own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use lightning::chain::{BestBlock, Confirm};
use lightning::ln::peer_handler::CustomMessageHandler;

use super::{Node, lock};
use crate::chain::follow::{Position, catch_up};
use crate::chain::{Feed, SourceError};

impl<H: CustomMessageHandler + Send + Sync + 'static> Node<H> {
    /// Connects the blocks that LDK has not seen, if the chain is in this process. A payment needs that too: LDK counts the
    /// expiry of an HTLC from the last block that the sender knows, and a recipient that knows later blocks may find too few
    /// left.
    pub(super) fn follow_chain(&self) {
        if let (true, Feed::Blocks(feed)) = (self.chain.source().is_local(), self.chain.source().feed()) {
            let mut seen = lock(&self.seen);
            let mut positions = [self.position(*seen)];
            let followed = catch_up(feed, &mut positions, &mut |block| {
                self.chain.note_height(block);
                Ok(())
            });
            *seen = positions[0].at;
            drop(positions);
            self.chain.note_source(followed.as_ref().map(|()| *seen));
        }
    }

    fn position(&self, at: BestBlock) -> Position<'_> {
        Position { at, follower: Box::new((&*self.manager, &*self.monitor)) }
    }

    /// Starts the thread that asks a source outside this process, until the node stops.
    pub(super) fn ask_source(self: &Arc<Self>) {
        if self.chain.source().is_local() {
            return;
        }
        let (node, chain) = (Arc::downgrade(self), Arc::clone(&self.chain));
        let thread = thread::Builder::new().name(format!("chain of {}", self.name)).spawn(move || {
            let (mut round_at, mut fees_at, mut claims_at) = (None::<Instant>, None::<Instant>, Instant::now());
            let is_due = |last: Option<Instant>, interval| last.is_none_or(|at| at.elapsed() >= interval);
            while let Some(node) = Weak::upgrade(&node).filter(|node| !node.stopping.load(Ordering::SeqCst)) {
                let done = if is_due(round_at, chain.source().interval()) {
                    round_at = Some(Instant::now());
                    let with_fees = is_due(fees_at, chain.source().interval() * ROUNDS_PER_FEES);
                    let round = node.round(with_fees);
                    if with_fees && round.is_ok() {
                        fees_at = Some(Instant::now());
                    }
                    chain.note_source(round.as_ref().map(|tip| *tip));
                    round.map(drop)
                } else {
                    chain.work() // in between: what was queued or asked for
                };
                if claims_at.elapsed() >= REBROADCAST {
                    claims_at = Instant::now();
                    node.monitor.rebroadcast_pending_claims();
                }
                drop(node);
                if done.is_err() {
                    thread::park_timeout(PAUSE);
                }
                let passed = round_at.map_or(Duration::ZERO, |at| at.elapsed());
                chain.wait_for_work(chain.source().interval().saturating_sub(passed));
            }
        });
        match thread {
            Ok(thread) => *lock(&self.asking) = Some(thread),
            Err(error) => {
                self.chain.note_source(Err(&SourceError::Gone(format!("no thread could be started: {error}"))))
            }
        }
    }

    /// Asks the source once for all that the node wants to know. No lock is held while it answers.
    fn round(&self, with_fees: bool) -> Result<BestBlock, SourceError> {
        let source = self.chain.source();
        let tip = source.tip()?;
        self.chain.note_source(Ok(tip));
        match source.feed() {
            Feed::Blocks(feed) => {
                let mut positions = [self.position(*lock(&self.seen)), self.wallet.position()];
                let followed = catch_up(feed, &mut positions, &mut |block| self.progress(block));
                *lock(&self.seen) = positions[0].at;
                drop(positions);
                followed?;
                self.wallet.see_mempool(feed)?;
            }
            Feed::Transactions(feed) => {
                feed.sync_channels(&[
                    Arc::clone(&self.manager) as Arc<dyn Confirm + Send + Sync>,
                    self.monitor.clone(),
                ])?;
                *lock(&self.seen) = self.manager.current_best_block();
                self.wallet.sync_transactions(feed)?;
                self.chain.note_height(self.manager.current_best_block());
            }
        }
        self.keep_wallet()?;
        self.chain.refresh(with_fees)?;
        Ok(tip)
    }

    /// Notes a new block, and keeps some of the progress of a long way.
    fn progress(&self, block: BestBlock) -> Result<(), SourceError> {
        self.chain.note_height(block);
        if block.height.is_multiple_of(SAVE_BLOCKS) {
            self.saves.want_manager(); // the next start reads the blocks after this one only
        }
        if block.height.is_multiple_of(KEEP_BLOCKS) { self.keep_wallet() } else { self.goes_on() }
    }

    fn keep_wallet(&self) -> Result<(), SourceError> {
        self.goes_on()?;
        self.wallet.keep().map_err(|error| SourceError::Refused(format!("the wallet could not be saved: {error}")))
    }

    fn goes_on(&self) -> Result<(), SourceError> {
        if self.stopping.load(Ordering::SeqCst) { Err(SourceError::Gone("the node stops".into())) } else { Ok(()) }
    }
}

/// Number of blocks after which the channel manager is saved, if nothing else requires it.
const SAVE_BLOCKS: u32 = 50;
/// Number of blocks after which the wallet is written, also on the way to the newest block.
const KEEP_BLOCKS: u32 = 1_000;
/// Pause after a source did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Number of looks for news after which feerates are asked for.
const ROUNDS_PER_FEES: u32 = 30;
/// Interval at which LDK broadcasts claims of closed channels again.
const REBROADCAST: Duration = Duration::from_secs(60);

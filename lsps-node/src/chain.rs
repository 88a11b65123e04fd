//! Sources of blocks for a node.
//!
//! A [`ChainSource`] answers questions about the chain, and may take its time for it. [`ChainView`] is what a node, its
//! wallet and its LSP use: it answers at once, from what the source told before, and hands transactions to it in the
//! background. [`embedded`] is a chain inside the process, which answers at once.

#[cfg(feature = "bitcoind")]
#[cfg_attr(docsrs, doc(cfg(feature = "bitcoind")))]
pub mod bitcoind;
#[cfg(feature = "electrum")]
#[cfg_attr(docsrs, doc(cfg(feature = "electrum")))]
pub mod electrum;
pub mod embedded;
#[cfg(feature = "esplora")]
#[cfg_attr(docsrs, doc(cfg(feature = "esplora")))]
pub mod esplora;
mod fees;
pub(crate) mod follow;
pub(crate) mod since;
mod view;
#[cfg(any(feature = "bitcoind", feature = "esplora"))]
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use bdk_wallet::KeychainKind;
use bdk_wallet::chain::spk_client::{FullScanRequest, SyncRequest};
use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, FeeRate, Network, Transaction, Txid};
use lightning::chain::{BestBlock, Confirm, Filter};
use lsps_transport_ldk::ports::Broadcast;

pub use fees::FeeRates;
pub use view::{ChainView, Status};

/// A connection to the chain.
///
/// Its calls may wait for a server, and are made from a thread that does nothing else, so an implementation may block.
/// An implementation has to bound each wait, to half a minute or less. Each call that fails is made again, with a pause.
pub trait ChainSource: Send + Sync + 'static {
    /// Network of the chain.
    fn network(&self) -> Network;

    /// Whether the chain is in this process: each call returns at once and never fails.
    fn is_local(&self) -> bool {
        false
    }

    /// Height of the oldest block that matters to a wallet without a record of its own. `None`: such a wallet is new, and
    /// begins with the newest block.
    fn birthday(&self) -> Option<u32> {
        None
    }

    /// Interval at which the node asks for news.
    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Hash of the block at height 0.
    ///
    /// # Errors
    ///
    /// The source does not answer.
    fn genesis(&self) -> Result<BlockHash, SourceError>;

    /// The newest block.
    ///
    /// # Errors
    ///
    /// The source does not answer.
    fn tip(&self) -> Result<BestBlock, SourceError>;

    /// The form in which the source tells the chain.
    fn feed(&self) -> Feed<'_>;

    /// Submits transactions to the mempool, parents before children: as one package where the source can, so that a child
    /// pays for parents. Returns one answer per transaction.
    ///
    /// # Errors
    ///
    /// The source does not answer; some of the transactions may be in the mempool.
    fn submit(&self, transactions: &[Transaction]) -> Result<Vec<Broadcast>, SourceError>;

    /// Estimates of feerates.
    ///
    /// # Errors
    ///
    /// The source does not answer, or has no estimate; the node uses older ones, or its own.
    fn fee_rates(&self) -> Result<FeeRates, SourceError>;

    /// Whether and where a transaction is on the chain; `None`: neither in the mempool nor in a block that the source can
    /// search.
    ///
    /// # Errors
    ///
    /// The source does not answer.
    fn sighting(&self, txid: &Txid) -> Result<Option<Sighting>, SourceError>;
}

/// Form in which a source tells the chain.
pub enum Feed<'a> {
    /// Whole blocks.
    Blocks(&'a dyn BlockFeed),
    /// The transactions that were asked for.
    Transactions(&'a dyn TransactionFeed),
}

/// Source of whole blocks.
pub trait BlockFeed {
    /// Number of changes of blocks and mempool so far, if the source counts them.
    fn changes(&self) -> Option<u64> {
        None
    }

    /// Hash of the block at `height` in the chain of the newest block; `None`: the chain is shorter.
    ///
    /// # Errors
    ///
    /// The source does not answer.
    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError>;

    /// Header of a block, also of one that a reorganisation took out of the chain.
    ///
    /// # Errors
    ///
    /// The source does not answer, or does not know the block.
    fn header(&self, hash: &BlockHash) -> Result<Header, SourceError>;

    /// A block of the chain.
    ///
    /// # Errors
    ///
    /// The source does not answer, or does not know the block.
    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError>;

    /// Ids of the transactions in the mempool, and those transactions that `is_known` does not know. A source may leave
    /// transactions out until the next call if there are many.
    ///
    /// # Errors
    ///
    /// The source does not answer.
    fn mempool(&self, is_known: &dyn Fn(&Txid) -> bool) -> Result<Mempool, SourceError>;
}

/// Source that is asked for transactions and scripts, and does not tell whole blocks.
pub trait TransactionFeed {
    /// The transactions and outputs that channels ask for.
    fn filter(&self) -> Arc<dyn Filter + Send + Sync>;

    /// Brings LDK's objects to the newest block.
    ///
    /// # Errors
    ///
    /// The source does not answer; the objects may be part of the way.
    fn sync_channels(&self, objects: &[Arc<dyn Confirm + Send + Sync>]) -> Result<(), SourceError>;

    /// Looks for the outputs of the scripts that a wallet has given out.
    ///
    /// # Errors
    ///
    /// The source does not answer.
    fn sync_wallet(&self, request: SyncRequest<(KeychainKind, u32)>) -> Result<bdk_wallet::Update, SourceError>;

    /// Looks for the outputs of all scripts of a wallet whose record is lost.
    ///
    /// # Errors
    ///
    /// The source does not answer.
    fn scan_wallet(&self, request: FullScanRequest<KeychainKind>) -> Result<bdk_wallet::Update, SourceError>;
}

/// Content of a mempool.
#[derive(Clone, Debug, Default)]
pub struct Mempool {
    /// All transactions.
    pub txids: std::collections::HashSet<Txid>,
    /// Those that the caller does not know, parents before children.
    pub unknown: Vec<Transaction>,
}

/// Place of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Height of its block; `None` while it is in the mempool.
    pub height: Option<u32>,
    /// Feerate, where the source knows it.
    pub fee_rate: Option<FeeRate>,
}

/// Failure of a chain source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The source does not answer now.
    #[error("the chain source does not answer: {0}")]
    Gone(String),
    /// The source answers, but not the question.
    #[error("the chain source refuses: {0}")]
    Refused(String),
    /// The source is of another network.
    #[error("the chain source begins with block {theirs}, and {network} with {ours}: it is of another network")]
    WrongNetwork {
        /// Network that was expected.
        network: Network,
        /// Its first block.
        ours: BlockHash,
        /// First block of the source.
        theirs: BlockHash,
    },
    /// A block on record is not known to the source, and its place in the chain cannot be found.
    #[error(
        "the chain source does not know block {0}, up to which the node has seen the chain: it is of another network, or has lost it"
    )]
    UnknownBlock(BlockHash),
}

impl From<SourceError> for bitcoin::io::Error {
    fn from(error: SourceError) -> Self {
        Self::new(bitcoin::io::ErrorKind::Other, error.to_string())
    }
}

/// Checks that the source is of the network that it claims.
///
/// # Errors
///
/// The source is of another network, or does not answer.
pub(crate) fn check_network(source: &dyn ChainSource) -> Result<(), SourceError> {
    let (network, theirs) = (source.network(), source.genesis()?);
    let ours = bitcoin::constants::genesis_block(network).block_hash();
    if ours == theirs { Ok(()) } else { Err(SourceError::WrongNetwork { network, ours, theirs }) }
}

/// Answer for a transaction that a mempool did not take, from the reason in the words of Bitcoin Core.
#[cfg(any(feature = "bitcoind", feature = "electrum", feature = "esplora"))]
fn answer(why: &str) -> Broadcast {
    let is_known = ["already in utxo set", "txn-already-known", "txn-already-in-mempool", "already in block chain"];
    if is_known.iter().any(|known| why.contains(known)) { Broadcast::Known } else { Broadcast::Refused(why.into()) }
}

/// Converts bitcoin per 1000 virtual bytes to satoshis per 1000 weight units.
#[cfg(any(feature = "bitcoind", feature = "electrum"))]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // such a cast saturates
fn sat_per_kw(btc_per_kvb: f64) -> u32 {
    (btc_per_kvb * 25_000_000.0).ceil() as u32
}

/// Logger of libraries whose errors are returned anyway.
#[cfg(any(feature = "electrum", feature = "esplora"))]
struct Quiet;

#[cfg(any(feature = "electrum", feature = "esplora"))]
impl lightning::util::logger::Logger for Quiet {
    fn log(&self, _: lightning::util::logger::Record<'_>) {}
}

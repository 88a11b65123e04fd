//! Settings from which a ready node is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitcoin::{Network, io};
use lsps_transport_ldk::service::StandardPolicy;
use lsps_transport_ldk::types::Ppm;
use lsps_transport_ldk::types::units::{ConnectionString, InvalidConnectionString};
use lsps_transport_ldk::{BatchStore, CannotStart, KnownLsp, Msat};

use crate::chain::ChainSource;
use crate::ready::Node;
use crate::seed::Phrase;
use crate::store::{DirectoryLock, InUse, MemoryStore, Store, in_directory};

/// The parts of a [`Node`], each with a default but the chain.
pub struct Builder {
    pub(crate) network: Network,
    pub(crate) storage: Storage,
    pub(crate) chain: Option<Arc<dyn ChainSource>>,
    pub(crate) lsps: Vec<Result<Lsp, StartError>>,
    pub(crate) phrase: Option<Phrase>,
    pub(crate) passphrase: Option<String>,
    pub(crate) birthday: u32,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) sells: Option<StandardPolicy>,
    pub(crate) fee_limit: FeeLimit,
    pub(crate) accepts_channels: bool,
    pub(crate) anchors: bool,
}

/// An LSP of the builder.
pub(crate) struct Lsp {
    pub address: ConnectionString,
    pub known: KnownLsp,
}

/// Largest fee that a wallet pays for a channel when it receives: the larger of an amount and a share of the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeLimit {
    /// Amount that is paid for any payment.
    pub amount: Msat,
    /// Share of the payment, in parts per million.
    pub share: Ppm,
}

impl FeeLimit {
    /// The limit for a payment of this amount.
    #[must_use]
    pub fn of(self, payment: Msat) -> Msat {
        let share = u128::from(payment.0) * u128::from(self.share.0) / 1_000_000;
        self.amount.max(Msat(u64::try_from(share).unwrap_or(u64::MAX)))
    }
}

impl Default for FeeLimit {
    /// 5 000 sat, or 2 % of the payment if that is more.
    fn default() -> Self {
        Self { amount: Msat::from_sat(5_000), share: Ppm(20_000) }
    }
}

/// Place of a node's data.
pub(crate) enum Storage {
    Memory,
    Sqlite(PathBuf),
    Files(PathBuf),
    Given(Store, Option<Arc<dyn BatchStore>>),
}

impl Builder {
    pub(crate) fn new(network: Network) -> Self {
        Self {
            network,
            storage: Storage::Memory,
            chain: None,
            lsps: vec![],
            phrase: None,
            passphrase: None,
            birthday: 0,
            listen: None,
            sells: None,
            fee_limit: FeeLimit::default(),
            accepts_channels: false,
            anchors: true,
        }
    }

    /// Keeps the node in an SQLite database in this directory, which one process can use at a time. `~/` is the home
    /// directory. Without a storage the node is kept in memory, and ends with the process.
    #[must_use]
    pub fn storage(self, directory: impl AsRef<Path>) -> Self {
        Self { storage: Storage::Sqlite(home(directory.as_ref())), ..self }
    }

    /// Keeps the node in files in this directory, which one process can use at a time.
    #[must_use]
    pub fn storage_in_files(self, directory: impl AsRef<Path>) -> Self {
        Self { storage: Storage::Files(home(directory.as_ref())), ..self }
    }

    /// Keeps the node in this store, which nobody else may use.
    #[must_use]
    pub fn store(self, store: Store) -> Self {
        Self { storage: Storage::Given(store, None), ..self }
    }

    /// Like [`Self::store`], with a store that has transactions.
    #[must_use]
    pub fn store_with_batches<S>(self, store: Arc<S>) -> Self
    where
        S: lightning::util::persist::KVStoreSync + BatchStore + Send + Sync + 'static,
    {
        let batches = Arc::clone(&store) as Arc<dyn BatchStore>;
        Self { storage: Storage::Given(store, Some(batches)), ..self }
    }

    /// Sets the chain source, for example the embedded chain.
    #[must_use]
    pub fn chain(self, source: impl ChainSource) -> Self {
        self.chain_source(Arc::new(source))
    }

    /// Sets a chain source that others use too.
    #[must_use]
    pub fn chain_source(self, source: Arc<dyn ChainSource>) -> Self {
        Self { chain: Some(source), ..self }
    }

    /// Adds an LSP, `NODE-ID@HOST:PORT`, to buy channels from. Others can be added to the running node:
    /// [`Node::lsps`].
    #[must_use]
    pub fn lsp(self, address: impl AsRef<str>) -> Self {
        self.known_lsp(address.as_ref(), |known| known)
    }

    /// Adds an LSP that may ask for the preimage of a payment before it publishes the channel's funding. Such an LSP can
    /// keep one payment without opening the channel.
    #[must_use]
    pub fn trusted_lsp(self, address: impl AsRef<str>) -> Self {
        self.known_lsp(address.as_ref(), KnownLsp::trusted)
    }

    /// Adds an LSP that gave a token, for example a discount code.
    #[must_use]
    pub fn lsp_with_token(self, address: impl AsRef<str>, token: impl Into<String>) -> Self {
        self.known_lsp(address.as_ref(), |known| known.with_token(token))
    }

    fn known_lsp(mut self, address: &str, with: impl FnOnce(KnownLsp) -> KnownLsp) -> Self {
        let parsed = address.parse().map_err(|why| StartError::Address { text: address.into(), why });
        self.lsps.push(parsed.map(|address: ConnectionString| Lsp { known: with(address.node_id.into()), address }));
        self
    }

    /// Restores the node of this phrase, or checks that the store has the node of this phrase. Without it, a new store gets
    /// a new phrase: [`Node::phrase`].
    #[must_use]
    pub fn phrase(self, phrase: Phrase) -> Self {
        Self { phrase: Some(phrase), ..self }
    }

    /// Sets the height from which the chain is searched for the coins of a restored phrase: the whole chain otherwise, which
    /// takes long with a source of whole blocks.
    #[must_use]
    pub fn birthday(self, height: u32) -> Self {
        Self { birthday: height, ..self }
    }

    /// Encrypts the phrase in the store, or opens it. The rest of the store is not encrypted.
    #[must_use]
    pub fn passphrase(self, passphrase: impl Into<String>) -> Self {
        Self { passphrase: Some(passphrase.into()), ..self }
    }

    /// Listens for peers at this address. Without it the node is reached by nobody, and only connects to others.
    #[must_use]
    pub fn listen(self, address: SocketAddr) -> Self {
        Self { listen: Some(address), ..self }
    }

    /// Makes the node an LSP that sells channels by this policy. An LSP does not buy from others.
    #[must_use]
    pub fn sell(self, policy: StandardPolicy) -> Self {
        Self { sells: Some(policy), ..self }
    }

    /// Sets the largest fee for a channel that is bought to receive.
    #[must_use]
    pub fn opening_fee_at_most(self, limit: FeeLimit) -> Self {
        Self { fee_limit: limit, ..self }
    }

    /// Accepts channels that strangers open, too. They can be used when they are confirmed.
    #[must_use]
    pub fn accept_channels(self) -> Self {
        Self { accepts_channels: true, ..self }
    }

    /// Opens and accepts channels without anchors, whose commitment transactions need no coins to be confirmed when feerates
    /// rise, and cannot be sped up.
    #[must_use]
    pub fn without_anchors(self) -> Self {
        Self { anchors: false, ..self }
    }

    /// Starts the node: loads its data, follows the chain to its newest block, and connects its peers.
    ///
    /// # Errors
    ///
    /// Each names its remedy. Nothing runs then.
    pub async fn start(self) -> Result<Node, StartError> {
        Node::start(self).await
    }
}

/// A store that is open and belongs to this process.
pub(crate) struct Opened {
    pub store: Store,
    pub batches: Option<Arc<dyn BatchStore>>,
    pub lock: Option<DirectoryLock>,
}

impl Storage {
    pub fn open(self) -> Result<Opened, StartError> {
        match self {
            Self::Memory => Ok(Opened { store: Arc::new(MemoryStore::new()), batches: None, lock: None }),
            Self::Given(store, batches) => Ok(Opened { store, batches, lock: None }),
            Self::Files(directory) => {
                let lock = DirectoryLock::take(&directory)?;
                Ok(Opened { store: in_directory(directory.join("records")), batches: None, lock: Some(lock) })
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(directory) => {
                let lock = DirectoryLock::take(&directory)?;
                let store = Arc::new(crate::store::SqliteStore::open(directory.join("node.sqlite"))?);
                let batches = Arc::clone(&store) as Arc<dyn BatchStore>;
                Ok(Opened { store, batches: Some(batches), lock: Some(lock) })
            }
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => Err(StartError::NoSqlite),
        }
    }
}

/// Replaces a leading `~` by the user's home directory.
#[must_use]
pub fn home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.into(),
    }
}

/// Reason for which a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No chain source was given.
    #[error("the node has no chain source: give one with `Builder::chain`, for example the embedded chain")]
    NoChain,
    /// The text of an LSP is no address.
    #[error("{text:?} is no address of an LSP ({why}): write NODE-ID@HOST:PORT")]
    Address {
        /// The text.
        text: String,
        /// Reason.
        why: InvalidConnectionString,
    },
    /// An LSP was told to buy from another.
    #[error("a node that sells channels buys none: leave out either `sell` or `lsp`")]
    SellsAndBuys,
    /// Another process has the data.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// The crate was built without SQLite.
    #[error("this program was built without SQLite: use `Builder::storage_in_files`, or the feature `sqlite`")]
    NoSqlite,
    /// The data are of another network.
    #[error("the data are of a node on {stored}, and this one is to be on {asked}: choose another directory")]
    WrongNetwork {
        /// Network on record.
        stored: Network,
        /// Network that was asked for.
        asked: Network,
    },
    /// The chain source is of another network.
    #[error("the chain source is on {source_is}, and the node is to be on {asked}: choose another source or network")]
    WrongChain {
        /// Network of the source.
        source_is: Network,
        /// Network that was asked for.
        asked: Network,
    },
    /// The data are of the node of another phrase.
    #[error("the data are of a node with another phrase: restore this phrase in an empty directory")]
    AnotherNode,
    /// The phrase on record is encrypted.
    #[error("the phrase in this store is encrypted: give its passphrase")]
    PassphraseNeeded,
    /// The passphrase does not open the phrase.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// A passphrase was given, and the phrase on record is not encrypted.
    #[error(
        "the phrase in this store is not encrypted: start without a passphrase, or restore it in an empty directory with one"
    )]
    NotEncrypted,
    /// The record of the node cannot be read.
    #[error("the record of the node cannot be read: {0}")]
    Damaged(String),
    /// The address to listen at is not free.
    #[error("the node cannot listen at {address}: {why}; choose another port, or stop the program that has it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Error of the system.
        why: std::io::Error,
    },
    /// Store or chain source failed, or the stored channels cannot be read.
    #[error("the node cannot be loaded: {}", .0.get_ref().map_or_else(|| .0.to_string(), ToString::to_string))]
    Load(io::Error),
    /// The host of the wallet or of the LSP does not start.
    #[error(transparent)]
    Host(#[from] CannotStart),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Load(error)
    }
}

//! Stores that outlive nodes.

mod lock;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;

use lightning::util::persist::{KVStoreSync, KVStoreSyncWrapper};
use lightning_persister::fs_store::FilesystemStore;

pub use lock::{DirectoryLock, InUse};
pub use memory::MemoryStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// A key-value store with LDK's trait. A test uses one that loses power.
pub type Store = Arc<dyn KVStoreSync + Send + Sync>;

/// The same store through LDK's async trait, `KVStore`; each call is complete when it returns its future.
pub type AsyncStore = KVStoreSyncWrapper<Store>;

/// Creates a store in files below `directory`.
///
/// Each entry is a file that is written beside the old one, synced, and renamed over it, so a crash leaves the old or the
/// new entry. The store does not lock the directory: see [`DirectoryLock`].
#[must_use]
pub fn in_directory(directory: impl Into<PathBuf>) -> Store {
    Arc::new(FilesystemStore::new(directory.into()))
}

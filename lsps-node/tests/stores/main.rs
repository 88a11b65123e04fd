//! One suite over every store: what was written is read, batches are whole, and a process that is killed while it writes
//! leaves the store as its last answers said.
//!
//! The file system and SQLite are trusted with a power cut; `kill -9` takes only what the process still had.

mod kill;
mod lock;
mod node;
mod suite;

use std::path::Path;
use std::sync::Arc;

use lsps_node::store::{MemoryStore, SqliteStore, Store, in_directory};
use lsps_transport_ldk::BatchStore;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Files,
    Sqlite,
}

/// A store, and its transactions if it has any.
struct Opened {
    store: Store,
    batches: Option<Arc<dyn BatchStore>>,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Memory, Self::Files, Self::Sqlite];
    /// Those that outlive a process.
    const ON_DISK: [Self; 2] = [Self::Files, Self::Sqlite];

    fn open(self, directory: &Path) -> Opened {
        match self {
            Self::Memory => Opened { store: Arc::new(MemoryStore::new()), batches: None },
            Self::Files => Opened { store: in_directory(directory), batches: None },
            Self::Sqlite => {
                let store = Arc::new(SqliteStore::open(directory.join("node.sqlite")).expect("it opens"));
                Opened { store: Arc::clone(&store) as Store, batches: Some(store) }
            }
        }
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

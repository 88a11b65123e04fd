//! A store in memory that counts what is written to it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bitcoin::io;
use lightning::util::persist::KVStoreSync;
use lsps_node::store::MemoryStore;

/// A store that reads its initial records. Writes are counted and dropped, so that only the work before them is
/// measured.
#[derive(Default)]
pub struct Tally {
    found: MemoryStore,
    writes: AtomicUsize,
    bytes: AtomicUsize,
}

impl Tally {
    pub fn over(found: MemoryStore) -> Self {
        Self { found, ..Self::default() }
    }

    /// Number of writes and bytes since the last call.
    pub fn take(&self) -> (usize, usize) {
        (self.writes.swap(0, Relaxed), self.bytes.swap(0, Relaxed))
    }
}

impl KVStoreSync for Tally {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        self.found.read(primary, secondary, key)
    }

    fn write(&self, _: &str, _: &str, _: &str, value: Vec<u8>) -> Result<(), io::Error> {
        self.writes.fetch_add(1, Relaxed);
        self.bytes.fetch_add(value.len(), Relaxed);
        Ok(())
    }

    fn remove(&self, _: &str, _: &str, _: &str, _: bool) -> Result<(), io::Error> {
        self.writes.fetch_add(1, Relaxed);
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        self.found.list(primary, secondary)
    }
}

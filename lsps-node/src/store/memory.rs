//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::io;
use lightning::util::persist::KVStoreSync;

/// A store in memory: it outlives its node, but not the process.
#[derive(Default)]
pub struct MemoryStore {
    entries: Mutex<BTreeMap<Key, Vec<u8>>>,
}

impl MemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<u8>>> {
        // Every operation is one call on the map.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KVStoreSync for MemoryStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        let found = self.entries().get(&key_of(primary, secondary, key)).cloned();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such key"))
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Result<(), io::Error> {
        self.entries().insert(key_of(primary, secondary, key), value);
        Ok(())
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _lazy: bool) -> Result<(), io::Error> {
        self.entries().remove(&key_of(primary, secondary, key));
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        let entries = self.entries();
        let here = entries.keys().filter(|(p, s, _)| p == primary && s == secondary);
        Ok(here.map(|(_, _, key)| key.clone()).collect())
    }
}

/// Primary namespace, secondary namespace, key.
type Key = (String, String, String);

fn key_of(primary: &str, secondary: &str, key: &str) -> Key {
    (primary.into(), secondary.into(), key.into())
}

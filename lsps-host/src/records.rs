//! Records of one kind in a store.

use std::sync::Arc;
use std::time::Duration;

use crate::ports::{Change, Clock, RecordStore, StoreError};

/// The records of one kind in a store, each under its own name.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn RecordStore>,
    kind: &'static str,
}

/// The records of one kind, as they were read from a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The names and contents of the records.
    pub records: Vec<(String, Vec<u8>)>,
    /// The names of records that could not be read, and the error of each.
    pub failed: Vec<(String, StoreError)>,
}

impl Loaded {
    /// Whether another process owns the records.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.failed.iter().any(|(_, error)| *error == StoreError::LostOwnership)
    }
}

impl Records {
    /// The records of one kind: `service` or `book` of an LSP, `client` of a wallet.
    #[must_use]
    pub fn new(store: Arc<dyn RecordStore>, kind: &'static str) -> Self {
        Self { store, kind }
    }

    /// The records of another kind in the same store.
    #[must_use]
    pub fn beside(&self, kind: &'static str) -> Self {
        Self { store: Arc::clone(&self.store), kind }
    }

    /// Names of all records, in any order.
    ///
    /// # Errors
    ///
    /// The store failed to list them.
    pub async fn names(&self) -> Result<Vec<String>, StoreError> {
        self.store.list(self.kind).await
    }

    /// Whether this process still owns the records, as far as it knows.
    #[must_use]
    pub fn owns(&self) -> bool {
        self.store.owns()
    }

    /// All records, sorted by name. A record that cannot be read is tried again, and then left out. If no record can be
    /// read, the store is taken to be unreachable.
    ///
    /// # Errors
    ///
    /// The store cannot be read at all, or another process owns it.
    pub async fn load(&self, clock: &dyn Clock) -> Result<Loaded, StoreError> {
        let mut loaded = self.read(self.names().await?).await;
        for tries_left in (0..TRIES).rev() {
            if loaded.is_lost() {
                return Err(StoreError::LostOwnership);
            }
            if loaded.failed.is_empty() {
                break;
            }
            clock.sleep(RETRY).await;
            let again = self.read(loaded.failed.drain(..).map(|(name, _)| name).collect()).await;
            loaded.records.extend(again.records);
            loaded.failed = again.failed;
            if tries_left == 0
                && loaded.records.is_empty()
                && let Some((_, error)) = loaded.failed.pop()
            {
                return Err(error);
            }
        }
        if loaded.is_lost() {
            return Err(StoreError::LostOwnership);
        }
        loaded.records.sort_unstable();
        Ok(loaded)
    }

    /// The records with these names that exist.
    pub async fn read(&self, names: Vec<String>) -> Loaded {
        let mut loaded = Loaded::default();
        for some in names.chunks(AT_ONCE) {
            let contents = self.store.read(self.kind, some.to_vec()).await;
            for (name, content) in some.iter().zip(contents) {
                match content {
                    Ok(Some(bytes)) => loaded.records.push((name.clone(), bytes)),
                    Ok(None) => {} // it went away since it was listed
                    Err(error) => loaded.failed.push((name.clone(), error)),
                }
            }
        }
        loaded
    }

    /// Writes records, or removes those without content; each name occurs once. After an error some of the changes may
    /// be durable, and the same batch has to be written again.
    ///
    /// # Errors
    ///
    /// Not all changes are durable.
    pub async fn write(&self, records: impl Iterator<Item = (impl ToString, Option<&[u8]>)>) -> Result<(), StoreError> {
        self.write_all(changes(records)).await
    }

    /// Like [`Self::write`], for changes that were made by [`changes`].
    pub(crate) async fn write_all(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() { Ok(()) } else { self.store.write(self.kind, changes).await }
    }
}

/// Copies the contents: a future that may move between threads cannot hold records of a batch across an await.
pub(crate) fn changes<'a>(records: impl Iterator<Item = (impl ToString, Option<&'a [u8]>)>) -> Vec<Change> {
    records.map(|(name, content)| (name.to_string(), content.map(<[u8]>::to_vec))).collect()
}

/// Largest number of names in one call of the store.
const AT_ONCE: usize = 1_000;
/// Number of times that a record is read again before it is left out.
const TRIES: usize = 3;
/// Pause before a store that failed is called again, and before events are repeated. A longer pause would delay the
/// node's own writes.
pub const RETRY: Duration = Duration::from_millis(250);

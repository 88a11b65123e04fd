//! Where records are made durable.

use std::future::Future;
use std::pin::Pin;

/// Records by kind and name. A kind is a namespace: the host uses `service` for flows and `book` for the operator's book.
pub trait RecordStore: Send + Sync {
    /// The names of all records of a kind, in any order.
    fn list(&self, kind: &'static str) -> Answer<Vec<String>>;

    /// The content of each of these records, in the order of the names; `None` for one that is not there.
    fn read(&self, kind: &'static str, names: Vec<String>) -> ReadAnswer;

    /// Makes all these changes durable, in one transaction or as many as it can: after an error the host brings the whole
    /// batch again before it writes anything else. Each name is there once.
    fn write(&self, kind: &'static str, changes: Vec<Change>) -> Answer<()>;
}

/// One change of a store: the new content under a name, or `None` where the record is to be removed.
pub type Change = (String, Option<Vec<u8>>);

/// The answer of a store.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The answer to [`RecordStore::read`]: one for each name.
pub type ReadAnswer = Pin<Box<dyn Future<Output = Vec<Result<Option<Vec<u8>>, StoreError>>> + Send>>;

/// Why a store did not do as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process owns the records by now. The host stops at once: it writes, sends and does nothing more.
    #[error("another process owns the store; this one has to end, and what it had begun is the other's")]
    LostOwnership,
    /// Anything else, in the store's own words. The host tries again.
    #[error("{0}")]
    Failed(String),
}

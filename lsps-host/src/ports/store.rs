//! The port that makes records durable.

use std::future::Future;
use std::pin::Pin;

/// Records by kind and name. A kind is a namespace: an LSP uses `service` for its flows and `book` for the operator's
/// book, a wallet uses `client`.
///
/// A call must not block: the work is done in its future. The host awaits a write in its one task, so it acknowledges,
/// sends and does nothing else meanwhile. Only the book is read by the application, from a task of its own.
pub trait RecordStore: Send + Sync {
    /// The names of all records of a kind, in any order.
    fn list(&self, kind: &'static str) -> Answer<Vec<String>>;

    /// The content of each of these records, in the order of the names; `None` for a record that is not there.
    fn read(&self, kind: &'static str, names: Vec<String>) -> ReadAnswer;

    /// Makes all these changes durable. The store need not write them in one transaction: after an error some may be
    /// durable, and the host brings the whole batch again before it writes anything else. Each name is there once.
    fn write(&self, kind: &'static str, changes: Vec<Change>) -> Answer<()>;

    /// Whether this process still owns the records, as far as it knows without asking anybody: the term of a lease, say, has
    /// not passed by the clock that nobody sets. Asked before a turn, before messages are sent and before each act, so it must
    /// not block. `true` where only a write can tell.
    fn owns(&self) -> bool {
        true
    }
}

/// One change of a store: the new content under a name, or `None` where the record is to be removed.
pub type Change = (String, Option<Vec<u8>>);

/// The answer of a store.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The answer to [`RecordStore::read`]: one for each name.
pub type ReadAnswer = Pin<Box<dyn Future<Output = Vec<Result<Option<Vec<u8>>, StoreError>>> + Send>>;

/// The reason for which a store did not do as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process owns the records. The host stops at once: it writes, sends and does nothing more.
    #[error("another process owns the store; this one has to end, and what it had begun is the other's")]
    LostOwnership,
    /// The store failed otherwise; its own words. The host tries again.
    #[error("{0}")]
    Failed(String),
}

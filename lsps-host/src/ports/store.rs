//! The port that makes records durable.

use std::future::Future;
use std::pin::Pin;

/// Records by kind and name. A kind is a namespace: an LSP uses `service` for its flows and `book` for the operator's
/// book, a wallet uses `client`.
///
/// A call must not block: the work is done in its future. The host awaits a write in its one task, so it acknowledges,
/// sends and executes nothing else meanwhile. The application reads only the book, from a task of its own.
pub trait RecordStore: Send + Sync {
    /// The names of all records of a kind, in any order.
    fn list(&self, kind: &'static str) -> Answer<Vec<String>>;

    /// The content of each of these records, in the order of the names; `None` for a record that does not exist.
    fn read(&self, kind: &'static str, names: Vec<String>) -> ReadAnswer;

    /// Makes all these changes durable. The store need not write them in one transaction: after an error some may be
    /// durable, and the host repeats the whole batch before it writes anything else. Each name occurs once.
    fn write(&self, kind: &'static str, changes: Vec<Change>) -> Answer<()>;

    /// Whether this process still owns the records, as far as it knows without asking anybody: for example, whether the
    /// term of a lease has not passed by the steady clock. The host asks before each turn, before it sends messages and
    /// before each effect, so the call must not block. `true` if only a write can tell.
    fn owns(&self) -> bool {
        true
    }
}

/// One change of a store: the new content under a name, or `None` if the record is to be removed.
pub type Change = (String, Option<Vec<u8>>);

/// The future of a call to the store.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The future of [`RecordStore::read`], with one result for each name.
pub type ReadAnswer = Pin<Box<dyn Future<Output = Vec<Result<Option<Vec<u8>>, StoreError>>> + Send>>;

/// Reason for which a call to the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process owns the records. The host stops at once: it writes, sends and executes nothing more.
    #[error("another process owns the store; this one has to end, and what it had begun is the other's")]
    LostOwnership,
    /// The store failed for another reason; its error text. The host tries again.
    #[error("{0}")]
    Failed(String),
}

//! Records in any LDK store, such as files, SQLite or VSS.

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use lightning::events::ReplayEvent;
use lightning::io;
use lightning::util::persist::KVStore;
use lsps_host::RETRY;
pub use lsps_host::ports::Change;
use lsps_host::ports::{Answer, ReadAnswer, RecordStore, StoreError};

/// Any LDK store behind a pointer, such as `Arc<FilesystemStore>`.
pub trait Store: Deref<Target: KVStore> + Send + Sync + 'static {}
impl<T: Deref<Target: KVStore> + Send + Sync + 'static> Store for T {}

/// A store that makes several records durable in one transaction. Without one, the records of a batch are written side
/// by side, each by a call of [`KVStore`].
pub trait BatchStore: Send + Sync {
    /// Makes all these changes durable, or as many as possible: after an error the whole batch is repeated. Each key
    /// occurs once.
    ///
    /// # Errors
    ///
    /// Not all of them are durable. An error around [`StoreError::LostOwnership`] says that another process owns the
    /// records (`io::Error::new(kind, StoreError::LostOwnership)`); this holds for errors of a [`KVStore`] too.
    fn write_all(
        &self,
        primary_namespace: &str,
        secondary_namespace: &str,
        changes: Vec<Change>,
    ) -> Pin<Box<dyn Future<Output = Result<(), io::Error>> + Send>>;

    /// Whether this process still owns the records, as far as it knows without asking: see
    /// [`RecordStore::owns`](lsps_host::ports::RecordStore::owns).
    fn owns(&self) -> bool {
        true
    }
}

/// The record store port on an LDK store, with transactions if `batches` is given.
pub fn records<K: Store>(store: K, batches: Option<Arc<dyn BatchStore>>) -> Arc<dyn RecordStore> {
    Arc::new(KvRecords { store: Arc::new(store), batches })
}

struct KvRecords<K> {
    store: Arc<K>,
    batches: Option<Arc<dyn BatchStore>>,
}

impl<K: Store> RecordStore for KvRecords<K> {
    fn list(&self, kind: &'static str) -> Answer<Vec<String>> {
        let names = self.store.list(PRIMARY, kind);
        Box::pin(async move { names.await.map_err(failed) })
    }

    fn read(&self, kind: &'static str, names: Vec<String>) -> ReadAnswer {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let mut contents = vec![];
            for lot in names.chunks(AT_ONCE) {
                let lot: Vec<Pending<Vec<u8>>> =
                    lot.iter().map(|name| store.read(PRIMARY, kind, name) as Pending<_>).collect();
                let read = side_by_side(lot).await.into_iter().map(|read| match read {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(failed(error)),
                });
                contents.extend(read);
            }
            contents
        })
    }

    fn owns(&self) -> bool {
        self.batches.as_ref().is_none_or(|batches| batches.owns())
    }

    fn write(&self, kind: &'static str, changes: Vec<Change>) -> Answer<()> {
        if let Some(batches) = &self.batches {
            let written = batches.write_all(PRIMARY, kind, changes);
            return Box::pin(async move { written.await.map_err(failed) });
        }
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let mut changes = changes.into_iter();
            loop {
                // A call to the store may start its work at once, so no more calls are made than may run concurrently.
                let lot: Vec<Pending<()>> = changes
                    .by_ref()
                    .take(AT_ONCE)
                    .map(|(name, content)| match content {
                        Some(bytes) => store.write(PRIMARY, kind, &name, bytes) as Pending<_>,
                        None => store.remove(PRIMARY, kind, &name, false),
                    })
                    .collect();
                if lot.is_empty() {
                    return Ok(());
                }
                side_by_side(lot).await.into_iter().collect::<Result<(), _>>().map_err(failed)?;
            }
        })
    }
}

/// Waits for all answers, also if one fails: none may be in progress when the same record is written again.
async fn side_by_side<T>(answers: Vec<Pending<T>>) -> Vec<Result<T, io::Error>> {
    let mut waiting: Vec<_> = answers.into_iter().map(|answer| (answer, None)).collect();
    poll_fn(|context| {
        let mut all_done = true;
        for (answer, done) in &mut waiting {
            if done.is_none() {
                match answer.as_mut().poll(context) {
                    Poll::Ready(result) => *done = Some(result),
                    Poll::Pending => all_done = false,
                }
            }
        }
        if all_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, io::Error>> + Send>>;

/// Converts an error, which may say that another process owns the records.
fn failed(error: io::Error) -> StoreError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>());
    match inner {
        Some(StoreError::LostOwnership) => StoreError::LostOwnership,
        Some(StoreError::Failed(_)) | None => StoreError::Failed(error.to_string()),
    }
}

const PRIMARY: &str = "lsps";
/// Largest number of concurrent reads or writes: a store that answers over a network or syncs a disk takes as long for
/// some as for one.
const AT_ONCE: usize = 16;

/// The error for an event that cannot be handled because the host has stopped. It waits, as an immediate repetition
/// would keep a thread busy.
pub(crate) async fn nobody_there() -> ReplayEvent {
    tokio::time::sleep(RETRY).await;
    ReplayEvent()
}

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

/// The record store port on an LDK store.
pub(crate) struct KvRecords<K> {
    store: Arc<K>,
    batches: Option<Arc<dyn BatchStore>>,
}

impl<K: Store> KvRecords<K> {
    /// Creates the port, with transactions if `batches` is given.
    pub fn shared(store: K, batches: Option<Arc<dyn BatchStore>>) -> Arc<dyn RecordStore> {
        Arc::new(Self { store: Arc::new(store), batches })
    }
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

#[cfg(test)]
mod tests {
    #![allow(non_snake_case)]

    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use lsps_host::Records;
    use lsps_host::ports::SystemClock;

    use super::*;

    /// A store that answers after two polls, fails for some names for some time, and counts concurrent calls.
    #[derive(Default)]
    struct Disk {
        content: Mutex<BTreeMap<String, Vec<u8>>>,
        cannot_write: Mutex<Vec<&'static str>>,
        cannot_read: Mutex<Vec<&'static str>>,
        is_anothers: Mutex<Vec<&'static str>>,
        under_way: Mutex<usize>,
        most: Mutex<usize>,
        transactions: Mutex<usize>,
    }

    /// A store whose lease another process took.
    struct Fenced;

    impl BatchStore for Fenced {
        fn write_all(&self, _: &str, _: &str, _: Vec<Change>) -> Pending<()> {
            Box::pin(async { Err(anothers()) })
        }

        fn owns(&self) -> bool {
            false
        }
    }

    fn anothers() -> io::Error {
        io::Error::new(io::ErrorKind::Other, StoreError::LostOwnership)
    }

    fn ill() -> io::Error {
        io::Error::new(io::ErrorKind::Other, "ill")
    }

    /// A future that is done at its second poll.
    fn later<T: Send + 'static>(disk: &Arc<Disk>, done: impl FnOnce(&Disk) -> T + Send + 'static) -> Pending<T>
    where
        Result<T, io::Error>: Send,
    {
        let disk = Arc::clone(disk);
        Box::pin(async move {
            *disk.under_way.lock().unwrap() += 1;
            {
                let (under_way, mut most) = (*disk.under_way.lock().unwrap(), disk.most.lock().unwrap());
                *most = under_way.max(*most);
            }
            tokio::task::yield_now().await;
            *disk.under_way.lock().unwrap() -= 1;
            Ok(done(&disk))
        })
    }

    async fn flat<T>(answer: Pending<Result<T, io::Error>>) -> Result<T, io::Error> {
        answer.await?
    }

    struct Pointer(Arc<Disk>);

    impl Deref for Pointer {
        type Target = Self;

        fn deref(&self) -> &Self {
            self
        }
    }

    impl KVStore for Pointer {
        fn read(&self, _: &str, _: &str, key: &str) -> Pending<Vec<u8>> {
            let key = key.to_owned();
            Box::pin(flat(later(&self.0, move |disk| {
                if disk.is_anothers.lock().unwrap().contains(&&*key) {
                    return Err(anothers());
                }
                if disk.cannot_read.lock().unwrap().contains(&&*key) {
                    return Err(ill());
                }
                disk.content.lock().unwrap().get(&key).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
            })))
        }

        fn write(&self, _: &str, _: &str, key: &str, bytes: Vec<u8>) -> Pending<()> {
            let key = key.to_owned();
            Box::pin(flat(later(&self.0, move |disk| {
                if disk.is_anothers.lock().unwrap().contains(&&*key) {
                    return Err(anothers());
                }
                if disk.cannot_write.lock().unwrap().contains(&&*key) {
                    return Err(ill());
                }
                disk.content.lock().unwrap().insert(key, bytes);
                Ok(())
            })))
        }

        fn remove(&self, _: &str, _: &str, key: &str, _: bool) -> Pending<()> {
            let key = key.to_owned();
            later(&self.0, move |disk| drop(disk.content.lock().unwrap().remove(&key)))
        }

        fn list(&self, _: &str, _: &str) -> Pending<Vec<String>> {
            later(&self.0, |disk| disk.content.lock().unwrap().keys().cloned().collect())
        }
    }

    impl BatchStore for Pointer {
        fn write_all(&self, _: &str, _: &str, changes: Vec<Change>) -> Pending<()> {
            later(&self.0, move |disk| {
                *disk.transactions.lock().unwrap() += 1;
                let mut content = disk.content.lock().unwrap();
                for (name, bytes) in changes {
                    match bytes {
                        Some(bytes) => drop(content.insert(name, bytes)),
                        None => drop(content.remove(&name)),
                    }
                }
            })
        }
    }

    fn records(disk: &Arc<Disk>, batches: Option<Arc<dyn BatchStore>>) -> Records {
        Records::new(KvRecords::shared(Pointer(Arc::clone(disk)), batches), "service")
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{number:03}")).collect()
    }

    fn batch(names: &[String]) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        names.iter().map(|name| (name.as_str(), Some(name.as_bytes())))
    }

    #[tokio::test]
    async fn case_X56_records_of_a_batch_are_written_side_by_side_and_not_all_at_once() {
        let disk = Arc::<Disk>::default();
        let records = records(&disk, None);
        let names = names(100);
        records.write(batch(&names)).await.unwrap();
        assert_eq!(*disk.most.lock().unwrap(), AT_ONCE);
        let gone = names.iter().take(50).map(|name| (name.as_str(), None));
        records.write(gone).await.unwrap();
        let loaded = records.load(&SystemClock).await.unwrap();
        let left: Vec<_> = loaded.records.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!((left, loaded.failed.len()), (names[50..].to_vec(), 0));
        assert_eq!((*disk.most.lock().unwrap(), *disk.under_way.lock().unwrap()), (AT_ONCE, 0));
    }

    #[tokio::test]
    async fn case_X56_a_batch_that_failed_half_leaves_nothing_under_way_and_is_written_again_whole() {
        let disk = Arc::<Disk>::default();
        let records = records(&disk, None);
        let names = names(40);
        disk.cannot_write.lock().unwrap().push("003");
        assert!(records.write(batch(&names)).await.is_err());
        assert_eq!(*disk.under_way.lock().unwrap(), 0, "an older write never overtakes a newer one");
        disk.cannot_write.lock().unwrap().clear();
        records.write(batch(&names)).await.unwrap();
        assert_eq!(records.load(&SystemClock).await.unwrap().records.len(), 40);
    }

    #[tokio::test]
    async fn case_X56_a_store_with_transactions_takes_a_batch_in_one_call() {
        let disk = Arc::<Disk>::default();
        let batches = Some(Arc::new(Pointer(Arc::clone(&disk))) as Arc<dyn BatchStore>);
        let records = records(&disk, batches);
        let names = names(100);
        records.write(batch(&names)).await.unwrap();
        assert_eq!(*disk.transactions.lock().unwrap(), 1);
        assert_eq!(records.load(&SystemClock).await.unwrap().records.len(), 100);
    }

    #[tokio::test]
    async fn case_X65_a_record_that_cannot_be_read_does_not_keep_the_others_from_being_loaded() {
        let disk = Arc::<Disk>::default();
        let records = records(&disk, None);
        let names = names(40);
        records.write(batch(&names)).await.unwrap();
        disk.cannot_read.lock().unwrap().push("007");
        let loaded = records.load(&SystemClock).await.unwrap();
        assert_eq!(loaded.records.len(), 39);
        assert_eq!(loaded.failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["007"]);
    }

    #[tokio::test]
    async fn a_store_can_say_that_its_records_are_another_processs() {
        let (disk, names) = (Arc::<Disk>::default(), names(3));
        let batches: Arc<dyn BatchStore> = Arc::new(Fenced);
        let fenced = records(&disk, Some(batches));
        assert!(!fenced.owns());
        assert_eq!(fenced.write(batch(&names)).await, Err(StoreError::LostOwnership));
        // One record that belongs to another process suffices, even if others can be read.
        let records = records(&disk, None);
        assert!(records.owns());
        records.write(batch(&names)).await.unwrap();
        disk.is_anothers.lock().unwrap().push("001");
        assert_eq!(records.load(&SystemClock).await, Err(StoreError::LostOwnership));
        assert_eq!(records.write(batch(&names)).await, Err(StoreError::LostOwnership));
    }

    #[tokio::test]
    async fn a_store_of_which_nothing_can_be_read_is_away() {
        let disk = Arc::<Disk>::default();
        let records = records(&disk, None);
        records.write(batch(&names(2))).await.unwrap();
        disk.cannot_read.lock().unwrap().extend(["000", "001"]);
        assert!(records.load(&SystemClock).await.is_err());
    }
}

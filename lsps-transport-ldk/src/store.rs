//! Records in any LDK store: files, SQLite, VSS, …

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lightning::events::ReplayEvent;
use lightning::io;
use lightning::util::persist::KVStore;

/// Records of one kind, each under its own key.
#[derive(Clone)]
pub(crate) struct RecordStore {
    store: Arc<dyn DynStore>,
    namespace: &'static str,
}

/// The records of one kind in a store.
#[derive(Default)]
pub(crate) struct Loaded {
    /// By name.
    pub records: Vec<(String, Vec<u8>)>,
    /// Those that could not be read, and why.
    pub failed: Vec<(String, io::Error)>,
}

/// One change of a store: the new content under a key, or `None` where the key is to be removed.
pub type Change = (String, Option<Vec<u8>>);

/// A store that makes several records durable in one transaction. Without one, the records of a batch are written side by
/// side, each by a call of [`KVStore`].
pub trait BatchStore: Send + Sync {
    /// Makes all these changes durable, or as many as it can: after an error the whole batch comes again. Each key is there
    /// once.
    ///
    /// # Errors
    ///
    /// When not all of them are durable.
    fn write_all(
        &self,
        primary_namespace: &str,
        secondary_namespace: &str,
        changes: Vec<Change>,
    ) -> Pin<Box<dyn Future<Output = Result<(), io::Error>> + Send>>;
}

impl RecordStore {
    pub fn new(store: impl Store, namespace: &'static str) -> Self {
        Self { store: Arc::new(Shared { store, batches: None }), namespace }
    }

    /// With transactions, if there are any.
    pub fn with_batches(store: impl Store, batches: Option<Arc<dyn BatchStore>>, namespace: &'static str) -> Self {
        Self { store: Arc::new(Shared { store, batches }), namespace }
    }

    /// Another kind in the same store.
    pub fn beside(&self, namespace: &'static str) -> Self {
        Self { store: Arc::clone(&self.store), namespace }
    }

    /// The names of all records, in no order.
    pub async fn names(&self) -> Result<Vec<String>, io::Error> {
        self.store.list(self.namespace).await
    }

    /// All records, by name. One that cannot be read does not keep the others from being read; if none can, the store is
    /// away.
    pub async fn load(&self) -> Result<Loaded, io::Error> {
        let mut loaded = self.read(self.names().await?).await;
        for tries_left in (0..TRIES).rev() {
            if loaded.failed.is_empty() {
                break;
            }
            tokio::time::sleep(RETRY).await;
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
        loaded.records.sort_unstable();
        Ok(loaded)
    }

    /// Those of these names that are there.
    pub async fn read(&self, mut names: Vec<String>) -> Loaded {
        let mut loaded = Loaded::default();
        while !names.is_empty() {
            let some: Vec<String> = names.drain(names.len().saturating_sub(AT_ONCE)..).collect();
            let read = side_by_side(some.iter().map(|name| self.store.read(self.namespace, name)).collect()).await;
            for (name, read) in some.into_iter().zip(read) {
                match read {
                    Ok(bytes) => loaded.records.push((name, bytes)),
                    // It went away since it was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => loaded.failed.push((name, error)),
                }
            }
        }
        loaded
    }

    /// Puts records or, where there is no content, deletes them; each name is there once. All of them are durable, or there
    /// is an error: then some may be, and the same batch has to be written again.
    pub async fn write(&self, records: impl Iterator<Item = (impl ToString, Option<&[u8]>)>) -> Result<(), io::Error> {
        // Copied first: records of a batch cannot be held across an await by a task that may move between threads.
        let changes: Vec<Change> =
            records.map(|(name, content)| (name.to_string(), content.map(<[u8]>::to_vec))).collect();
        if changes.is_empty() {
            return Ok(());
        }
        if let Some(answer) = self.store.write_all(self.namespace, &changes) {
            return answer.await;
        }
        let mut changes = changes.into_iter();
        loop {
            let some = changes.by_ref().take(AT_ONCE).map(|(name, content)| match content {
                Some(bytes) => self.store.write(self.namespace, &name, bytes),
                None => self.store.remove(self.namespace, &name),
            });
            let some: Vec<Answer<()>> = some.collect();
            if some.is_empty() {
                return Ok(());
            }
            side_by_side(some).await.into_iter().collect::<Result<(), _>>()?;
        }
    }
}

/// Waits for all of them, also where one fails: none may be under way when the same record is written again.
async fn side_by_side<T>(answers: Vec<Answer<T>>) -> Vec<Result<T, io::Error>> {
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

/// Any LDK store, behind a pointer: `Arc<FilesystemStore>`, say.
pub trait Store: Deref<Target: KVStore> + Send + Sync + 'static {}
impl<T: Deref<Target: KVStore> + Send + Sync + 'static> Store for T {}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, io::Error>> + Send>>;

/// `KVStore` for our namespace, without its type.
trait DynStore: Send + Sync {
    fn list(&self, namespace: &str) -> Answer<Vec<String>>;
    fn read(&self, namespace: &str, key: &str) -> Answer<Vec<u8>>;
    fn write(&self, namespace: &str, key: &str, bytes: Vec<u8>) -> Answer<()>;
    fn remove(&self, namespace: &str, key: &str) -> Answer<()>;
    /// `None`: it has no transactions.
    fn write_all(&self, namespace: &str, changes: &[Change]) -> Option<Answer<()>>;
}

/// Whatever leads to a store.
struct Shared<K> {
    store: K,
    batches: Option<Arc<dyn BatchStore>>,
}

impl<K: Store> DynStore for Shared<K> {
    fn list(&self, namespace: &str) -> Answer<Vec<String>> {
        self.store.list(PRIMARY, namespace)
    }

    fn read(&self, namespace: &str, key: &str) -> Answer<Vec<u8>> {
        self.store.read(PRIMARY, namespace, key)
    }

    fn write(&self, namespace: &str, key: &str, bytes: Vec<u8>) -> Answer<()> {
        self.store.write(PRIMARY, namespace, key, bytes)
    }

    fn remove(&self, namespace: &str, key: &str) -> Answer<()> {
        self.store.remove(PRIMARY, namespace, key, false)
    }

    fn write_all(&self, namespace: &str, changes: &[Change]) -> Option<Answer<()>> {
        Some(self.batches.as_ref()?.write_all(PRIMARY, namespace, changes.to_vec()))
    }
}

const PRIMARY: &str = "lsps";
/// Reads or writes that are under way at once: a store that answers over a network or syncs a disk takes as long for some
/// as for one.
const AT_ONCE: usize = 16;
/// How often a record is read again that could not be read, before it is left out.
const TRIES: usize = 3;

/// Before a store that failed is asked again, and events are told again; longer would hold up the node's own saves.
pub(crate) const RETRY: Duration = Duration::from_millis(250);

/// An event that could not be dealt with as nobody is there to do so. Told again at once it would keep a thread busy.
pub(crate) async fn nobody_there() -> ReplayEvent {
    tokio::time::sleep(RETRY).await;
    ReplayEvent()
}

#[cfg(test)]
mod tests {
    #![allow(non_snake_case)]

    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    /// Answers after being asked twice, refuses some names for some time, and notes how much is under way.
    #[derive(Default)]
    struct Disk {
        content: Mutex<BTreeMap<String, Vec<u8>>>,
        cannot_write: Mutex<Vec<&'static str>>,
        cannot_read: Mutex<Vec<&'static str>>,
        under_way: Mutex<usize>,
        most: Mutex<usize>,
        transactions: Mutex<usize>,
    }

    fn ill() -> io::Error {
        io::Error::new(io::ErrorKind::Other, "ill")
    }

    /// Done when it is asked for the second time.
    fn later<T: Send + 'static>(disk: &Arc<Disk>, done: impl FnOnce(&Disk) -> T + Send + 'static) -> Answer<T>
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

    async fn flat<T>(answer: Answer<Result<T, io::Error>>) -> Result<T, io::Error> {
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
        fn read(&self, _: &str, _: &str, key: &str) -> Answer<Vec<u8>> {
            let key = key.to_owned();
            Box::pin(flat(later(&self.0, move |disk| {
                if disk.cannot_read.lock().unwrap().contains(&&*key) {
                    return Err(ill());
                }
                disk.content.lock().unwrap().get(&key).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
            })))
        }

        fn write(&self, _: &str, _: &str, key: &str, bytes: Vec<u8>) -> Answer<()> {
            let key = key.to_owned();
            Box::pin(flat(later(&self.0, move |disk| {
                if disk.cannot_write.lock().unwrap().contains(&&*key) {
                    return Err(ill());
                }
                disk.content.lock().unwrap().insert(key, bytes);
                Ok(())
            })))
        }

        fn remove(&self, _: &str, _: &str, key: &str, _: bool) -> Answer<()> {
            let key = key.to_owned();
            later(&self.0, move |disk| drop(disk.content.lock().unwrap().remove(&key)))
        }

        fn list(&self, _: &str, _: &str) -> Answer<Vec<String>> {
            later(&self.0, |disk| disk.content.lock().unwrap().keys().cloned().collect())
        }
    }

    impl BatchStore for Pointer {
        fn write_all(&self, _: &str, _: &str, changes: Vec<Change>) -> Answer<()> {
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

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{number:03}")).collect()
    }

    fn batch(names: &[String]) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        names.iter().map(|name| (name.as_str(), Some(name.as_bytes())))
    }

    #[tokio::test]
    async fn case_X56_records_of_a_batch_are_written_side_by_side_and_not_all_at_once() {
        let disk = Arc::<Disk>::default();
        let records = RecordStore::new(Pointer(Arc::clone(&disk)), "service");
        let names = names(100);
        records.write(batch(&names)).await.unwrap();
        assert_eq!(*disk.most.lock().unwrap(), AT_ONCE);
        let gone = names.iter().take(50).map(|name| (name.as_str(), None));
        records.write(gone).await.unwrap();
        let loaded = records.load().await.unwrap();
        let left: Vec<_> = loaded.records.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!((left, loaded.failed.len()), (names[50..].to_vec(), 0));
        assert_eq!((*disk.most.lock().unwrap(), *disk.under_way.lock().unwrap()), (AT_ONCE, 0));
    }

    #[tokio::test]
    async fn case_X56_a_batch_that_failed_half_leaves_nothing_under_way_and_is_written_again_whole() {
        let disk = Arc::<Disk>::default();
        let records = RecordStore::new(Pointer(Arc::clone(&disk)), "service");
        let names = names(40);
        disk.cannot_write.lock().unwrap().push("003");
        assert!(records.write(batch(&names)).await.is_err());
        assert_eq!(*disk.under_way.lock().unwrap(), 0, "an older write never overtakes a newer one");
        disk.cannot_write.lock().unwrap().clear();
        records.write(batch(&names)).await.unwrap();
        assert_eq!(records.load().await.unwrap().records.len(), 40);
    }

    #[tokio::test]
    async fn case_X56_a_store_with_transactions_takes_a_batch_in_one_call() {
        let disk = Arc::<Disk>::default();
        let batches = Some(Arc::new(Pointer(Arc::clone(&disk))) as Arc<dyn BatchStore>);
        let records = RecordStore::with_batches(Pointer(Arc::clone(&disk)), batches, "service");
        let names = names(100);
        records.write(batch(&names)).await.unwrap();
        assert_eq!(*disk.transactions.lock().unwrap(), 1);
        assert_eq!(records.load().await.unwrap().records.len(), 100);
    }

    #[tokio::test]
    async fn case_X65_a_record_that_cannot_be_read_does_not_keep_the_others_from_being_loaded() {
        let disk = Arc::<Disk>::default();
        let records = RecordStore::new(Pointer(Arc::clone(&disk)), "service");
        let names = names(40);
        records.write(batch(&names)).await.unwrap();
        disk.cannot_read.lock().unwrap().push("007");
        let loaded = records.load().await.unwrap();
        assert_eq!(loaded.records.len(), 39);
        assert_eq!(loaded.failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["007"]);
    }

    #[tokio::test]
    async fn a_store_of_which_nothing_can_be_read_is_away() {
        let disk = Arc::<Disk>::default();
        let records = RecordStore::new(Pointer(Arc::clone(&disk)), "service");
        records.write(batch(&names(2))).await.unwrap();
        disk.cannot_read.lock().unwrap().extend(["000", "001"]);
        assert!(records.load().await.is_err());
    }
}

//! Records in any LDK store: files, SQLite, VSS, …

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
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

impl RecordStore {
    pub fn new(store: impl Store, namespace: &'static str) -> Self {
        Self { store: Arc::new(Shared(store)), namespace }
    }

    /// Another kind in the same store.
    pub fn beside(&self, namespace: &'static str) -> Self {
        Self { store: Arc::clone(&self.store), namespace }
    }

    /// All records, by name.
    pub async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, io::Error> {
        let mut records = vec![];
        for name in self.store.list(self.namespace).await? {
            let bytes = self.store.read(self.namespace, &name).await?;
            records.push((name, bytes));
        }
        Ok(records)
    }

    /// Puts records or, where there is no content, deletes them.
    pub async fn write(&self, records: impl Iterator<Item = (impl ToString, Option<&[u8]>)>) -> Result<(), io::Error> {
        // Copied first: records of a batch cannot be held across an await by a task that may move between threads.
        let records: Vec<_> = records.map(|(name, content)| (name.to_string(), content.map(<[u8]>::to_vec))).collect();
        for (name, content) in records {
            match content {
                Some(bytes) => self.store.write(self.namespace, &name, bytes).await?,
                None => self.store.remove(self.namespace, &name).await?,
            }
        }
        Ok(())
    }
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
}

/// Whatever leads to a store.
struct Shared<K>(K);

impl<K: Store> DynStore for Shared<K> {
    fn list(&self, namespace: &str) -> Answer<Vec<String>> {
        self.0.list(PRIMARY, namespace)
    }

    fn read(&self, namespace: &str, key: &str) -> Answer<Vec<u8>> {
        self.0.read(PRIMARY, namespace, key)
    }

    fn write(&self, namespace: &str, key: &str, bytes: Vec<u8>) -> Answer<()> {
        self.0.write(PRIMARY, namespace, key, bytes)
    }

    fn remove(&self, namespace: &str, key: &str) -> Answer<()> {
        self.0.remove(PRIMARY, namespace, key, false)
    }
}

const PRIMARY: &str = "lsps";

/// Before a store that failed is asked again, and events are told again; longer would hold up the node's own saves.
pub(crate) const RETRY: Duration = Duration::from_millis(250);

/// An event that could not be dealt with as nobody is there to do so. Told again at once it would keep a thread busy.
pub(crate) async fn nobody_there() -> ReplayEvent {
    tokio::time::sleep(RETRY).await;
    ReplayEvent()
}

//! Records in any LDK store: files, SQLite, VSS, …

use std::future::Future;
use std::pin::Pin;

use lightning::io;
use lightning::util::persist::KVStore;

/// One role's records, each under its own key.
pub(crate) struct RecordStore {
    store: Box<dyn DynStore>,
    namespace: &'static str,
}

impl RecordStore {
    pub fn new<K: KVStore + Send + Sync + 'static>(store: K, namespace: &'static str) -> Self {
        Self { store: Box::new(store), namespace }
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

    /// Puts or, without content, deletes a record.
    pub async fn put(&self, name: &str, content: Option<Vec<u8>>) -> Result<(), io::Error> {
        match content {
            Some(bytes) => self.store.write(self.namespace, name, bytes).await,
            None => self.store.remove(self.namespace, name).await,
        }
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, io::Error>> + Send>>;

/// `KVStore` for our namespace, without its type.
trait DynStore: Send + Sync {
    fn list(&self, namespace: &str) -> Answer<Vec<String>>;
    fn read(&self, namespace: &str, key: &str) -> Answer<Vec<u8>>;
    fn write(&self, namespace: &str, key: &str, bytes: Vec<u8>) -> Answer<()>;
    fn remove(&self, namespace: &str, key: &str) -> Answer<()>;
}

impl<K: KVStore + Send + Sync> DynStore for K {
    fn list(&self, namespace: &str) -> Answer<Vec<String>> {
        KVStore::list(self, PRIMARY, namespace)
    }

    fn read(&self, namespace: &str, key: &str) -> Answer<Vec<u8>> {
        KVStore::read(self, PRIMARY, namespace, key)
    }

    fn write(&self, namespace: &str, key: &str, bytes: Vec<u8>) -> Answer<()> {
        KVStore::write(self, PRIMARY, namespace, key, bytes)
    }

    fn remove(&self, namespace: &str, key: &str) -> Answer<()> {
        KVStore::remove(self, PRIMARY, namespace, key, false)
    }
}

const PRIMARY: &str = "lsps";

//! Records in an LDK store: how many writes run at a time, and what an error leaves behind.

#![allow(non_snake_case)]

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use lightning::io;
use lightning::util::persist::KVStore;
use lsps_host::Records;
use lsps_host::ports::{StoreError, SystemClock};
use lsps_transport_ldk::{BatchStore, Change};

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, io::Error>> + Send>>;

/// Largest number of writes at a time.
const AT_ONCE: usize = 16;

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
    Records::new(lsps_transport_ldk::records(Pointer(Arc::clone(disk)), batches), "service")
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

//! Saving a node in an order that is safe at every power cut.
//!
//! A channel monitor that is newer on disk than the channel manager makes LDK close the channel at the next start. So
//! monitors wait: LDK gets the answer "in progress", the manager is written first, then the monitors, and only then LDK
//! learns that they are safe and continues with the peer.
//!
//! All bytes are of the instant at which the manager was serialised. If an update were in the manager and not in the
//! written monitor, a power cut would leave one monitor as new as the manager and another not.
//!
//! Monitors that were saved together reach the disk together: several are first written as one entry before each is
//! written to its place. If some of them were as new as the manager and others not, LDK 0.2 may panic at the next
//! start: it releases an update that waited for one channel before it replays those of the other.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bitcoin::io;
use lightning::chain::ChannelMonitorUpdateStatus;
use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::ChannelMonitorUpdate;
use lightning::ln::types::ChannelId;
use lightning::sign::InMemorySigner;
use lightning::util::persist::{
    ARCHIVED_CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE, ARCHIVED_CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE,
    CHANNEL_MANAGER_PERSISTENCE_KEY, CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
    CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE, CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE,
    CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE, MonitorName,
};
use lightning::util::ser::Writeable as _;
use tokio::sync::Notify;

use super::types::{ChainMonitor, ChannelManager, ChannelMonitor};
use crate::store::Store;

/// Monitors that LDK wants written and that are not yet.
#[derive(Default)]
pub struct SaveQueue {
    waiting: Mutex<Waiting>,
    /// Notified when a monitor was queued.
    pub(super) filled: Notify,
    watcher: OnceLock<Watcher>,
}

/// Step of a save, for tests that interrupt it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// LDK wants the monitor of this channel written, and waits until the watcher returns.
    Queueing(ChannelId),
    /// The monitors of these channels were taken from the queue to be written.
    Taken(Vec<ChannelId>),
    /// Manager and monitors are in the store.
    Written,
}

/// Observer of each step; it is called before the next step begins.
pub type Watcher = Box<dyn Fn(Step) + Send + Sync>;

impl SaveQueue {
    /// Sets the observer of the steps. Only the first one is used.
    pub fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    fn at(&self, step: impl FnOnce() -> Step) {
        if let Some(watcher) = self.watcher.get() {
            watcher(step());
        }
    }

    /// Writes the manager if it changed or monitors wait for it, then those monitors, then reports to LDK.
    ///
    /// The bytes of the manager and of the monitors are of one instant: monitors that LDK queues while the manager is
    /// serialised are added, and the manager is serialised again, until none arrives. That ends, as each channel waits
    /// for the monitor that it queued.
    ///
    /// # Errors
    ///
    /// The store fails. Everything that was not written stays queued and LDK's channels stay paused, so the save can be
    /// retried.
    pub(super) fn save(&self, manager: &ChannelManager, monitor: &ChainMonitor, store: &Store) -> io::Result<()> {
        let mut batch = std::mem::take(&mut *self.waiting());
        self.at(|| Step::Taken(batch.channels()));
        if !manager.get_and_clear_needs_persistence() && batch.is_empty() {
            return Ok(());
        }
        let bytes = loop {
            let bytes = manager.encode();
            let newer = std::mem::take(&mut *self.waiting());
            if newer.is_empty() {
                break bytes;
            }
            batch.add(newer);
        };
        let written = write_manager(bytes, store).and_then(|()| write_monitors(&batch, store));
        if let Err(error) = written {
            self.put_back(batch);
            return Err(error);
        }
        self.at(|| Step::Written);
        for (channel, update) in batch.updates() {
            // The call fails only for a monitor that was archived meanwhile, for which nothing waits.
            let _ = monitor.channel_monitor_updated(channel, update);
        }
        Ok(())
    }

    /// Returns a batch that was not written to the queue, behind the updates that were queued since.
    fn put_back(&self, mut batch: Waiting) {
        let mut waiting = self.waiting();
        batch.add(std::mem::take(&mut *waiting));
        *waiting = Waiting { unsaved_manager: true, ..batch };
    }

    /// Has the manager written with the next save.
    pub(super) fn want_manager(&self) {
        self.waiting().unsaved_manager = true;
        self.filled.notify_one();
    }

    fn queue(&self, name: MonitorName, monitor: &ChannelMonitor, update: Option<u64>) -> ChannelMonitorUpdateStatus {
        self.at(|| Step::Queueing(monitor.channel_id()));
        let mut waiting = self.waiting();
        let entry = waiting.monitors.entry(name.to_string()).or_insert_with(|| WaitingMonitor {
            channel: monitor.channel_id(),
            bytes: vec![],
            updates: vec![],
        });
        entry.bytes = monitor.encode();
        entry.updates.extend(update);
        drop(waiting);
        self.filled.notify_one();
        ChannelMonitorUpdateStatus::InProgress
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Serialising a monitor cannot leave the map half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Persist<InMemorySigner> for SaveQueue {
    fn persist_new_channel(&self, name: MonitorName, monitor: &ChannelMonitor) -> ChannelMonitorUpdateStatus {
        self.queue(name, monitor, Some(monitor.get_latest_update_id()))
    }

    /// Without an `update` the monitor has only processed a block, for which LDK awaits no confirmation.
    fn update_persisted_channel(
        &self,
        name: MonitorName,
        update: Option<&ChannelMonitorUpdate>,
        monitor: &ChannelMonitor,
    ) -> ChannelMonitorUpdateStatus {
        self.queue(name, monitor, update.map(|update| update.update_id))
    }

    fn archive_persisted_channel(&self, name: MonitorName) {
        self.waiting().archived.push(name.to_string());
        self.filled.notify_one();
    }
}

#[derive(Default)]
struct Waiting {
    monitors: BTreeMap<String, WaitingMonitor>,
    archived: Vec<String>,
    /// Whether the manager is to be written although LDK's flag is not set: a write failed after LDK had cleared it, or the manager
    /// has seen many blocks, of which LDK does not ask to save the last.
    unsaved_manager: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.monitors.is_empty() && self.archived.is_empty() && !self.unsaved_manager
    }

    /// Adds later entries: of two serialised states of one monitor the newer one stays.
    fn add(&mut self, later: Self) {
        self.unsaved_manager |= later.unsaved_manager;
        self.archived.extend(later.archived);
        for (key, newer) in later.monitors {
            match self.monitors.get_mut(&key) {
                Some(old) => {
                    old.bytes = newer.bytes;
                    old.updates.extend(newer.updates);
                }
                None => drop(self.monitors.insert(key, newer)),
            }
        }
    }

    fn channels(&self) -> Vec<ChannelId> {
        self.monitors.values().map(|monitor| monitor.channel).collect()
    }

    fn updates(&self) -> impl Iterator<Item = (ChannelId, u64)> {
        self.monitors.values().flat_map(|monitor| monitor.updates.iter().map(|update| (monitor.channel, *update)))
    }
}

struct WaitingMonitor {
    channel: ChannelId,
    /// State at the latest call, which contains the earlier ones.
    bytes: Vec<u8>,
    /// Ids of the updates that LDK waits for.
    updates: Vec<u64>,
}

fn write_manager(bytes: Vec<u8>, store: &Store) -> io::Result<()> {
    store.write(
        CHANNEL_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE,
        CHANNEL_MANAGER_PERSISTENCE_SECONDARY_NAMESPACE,
        CHANNEL_MANAGER_PERSISTENCE_KEY,
        bytes,
    )
}

fn write_monitors(batch: &Waiting, store: &Store) -> io::Result<()> {
    let (primary, secondary) =
        (CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE, CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE);
    let together = batch.monitors.len() > 1;
    if together {
        let all: Vec<_> = batch.monitors.iter().map(|(key, monitor)| (key.as_str(), &monitor.bytes[..])).collect();
        store.write(TOGETHER, "", TOGETHER, together::encode(&all))?;
    }
    for (key, monitor) in &batch.monitors {
        store.write(primary, secondary, key, monitor.bytes.clone())?;
    }
    if together {
        store.remove(TOGETHER, "", TOGETHER, false)?;
    }
    for key in &batch.archived {
        let bytes = match store.read(primary, secondary, key) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // archived before the retry
            read => read?,
        };
        store.write(
            ARCHIVED_CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE,
            ARCHIVED_CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE,
            key,
            bytes,
        )?;
        store.remove(primary, secondary, key, false)?;
    }
    Ok(())
}

/// Completes a save that a power cut interrupted; call it before the monitors are read.
///
/// # Errors
///
/// The store fails, or its content is damaged.
pub(super) fn finish(store: &Store) -> io::Result<()> {
    let bytes = match store.read(TOGETHER, "", TOGETHER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read?,
    };
    let all = together::decode(&bytes).ok_or_else(|| super::broken("the monitors that were saved last are damaged"))?;
    for (key, bytes) in all {
        let (primary, secondary) =
            (CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE, CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE);
        store.write(primary, secondary, key, bytes.to_vec())?;
    }
    store.remove(TOGETHER, "", TOGETHER, false)
}

const TOGETHER: &str = "monitors_saved_together";

/// Encoding of several named byte strings as one: the length and then the bytes of each name and each content.
mod together {
    pub fn encode(all: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![];
        for field in all.iter().flat_map(|(key, content)| [key.as_bytes(), content]) {
            bytes.extend(u64::try_from(field.len()).expect("fits").to_be_bytes());
            bytes.extend(field);
        }
        bytes
    }

    pub fn decode(mut bytes: &[u8]) -> Option<Vec<(&str, &[u8])>> {
        let mut all = vec![];
        while !bytes.is_empty() {
            all.push((std::str::from_utf8(field(&mut bytes)?).ok()?, field(&mut bytes)?));
        }
        Some(all)
    }

    fn field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        *bytes = rest;
        Some(field)
    }

    #[test]
    fn what_was_written_together_is_read_or_refused_together() {
        let all = [("one", &b"1"[..]), ("two", &[]), ("three", &[0; 300])];
        let bytes = encode(&all);
        assert_eq!(decode(&bytes).expect("whole"), all);
        assert!((1..bytes.len()).all(|end| decode(&bytes[..end]).is_none_or(|some| all.starts_with(&some))));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(&[255; 9]), None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lsps_testing::fault::{Power, PowerCutStore};

    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn a_power_cut_leaves_all_monitors_of_a_save_or_none() {
        let (primary, secondary) =
            (CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE, CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE);
        let names = ["one", "two", "three"];
        let (old, new) = (b"old".to_vec(), b"new".to_vec());
        let mut ends = vec![];
        for cut in 0.. {
            let (disk, power): (Store, _) = (Arc::new(MemoryStore::new()), Power::default());
            for name in names {
                disk.write(primary, secondary, name, old.clone()).unwrap();
            }
            let store: Store = Arc::new(PowerCutStore { disk: Arc::clone(&disk), power: power.clone() });
            let waiting = |name: &str| {
                let monitor = WaitingMonitor { channel: ChannelId([0; 32]), bytes: new.clone(), updates: vec![] };
                (name.to_owned(), monitor)
            };
            let batch = Waiting { monitors: names.map(waiting).into(), ..Waiting::default() };
            power.fail_after(cut, || ());
            write_monitors(&batch, &store).unwrap();
            finish(&disk).unwrap();
            let read = |name: &str| disk.read(primary, secondary, name).unwrap();
            let left = names.map(read);
            assert!(left.iter().all(|bytes| *bytes == left[0]), "{left:?} after {cut} writes");
            ends.push(left[0].clone());
            if !power.is_off() {
                break;
            }
        }
        assert_eq!((&ends[0], &ends[1]), (&old, &new), "all of it is in the first write");
        assert_eq!(ends.len(), names.len() + 3);
    }
}

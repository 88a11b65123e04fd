//! Events for the application, kept until they are acknowledged.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::io;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::store::Store;

/// An event of a node. Each is told until it is acknowledged, also after a restart.
///
/// An event can come twice if the process dies around its acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A payment was received.
    Received {
        /// Payment hash, in hexadecimal.
        payment_hash: String,
        /// Amount that arrived, in millisatoshis.
        amount_msat: u64,
        /// Fee that an LSP kept for the channel, in millisatoshis.
        fee_msat: u64,
    },
    /// A payment was sent, and its recipient has it.
    Sent {
        /// Payment hash, in hexadecimal.
        payment_hash: String,
        /// Amount of the payment, in millisatoshis.
        amount_msat: u64,
        /// Routing fee, in millisatoshis.
        fee_msat: u64,
    },
    /// A payment could not be sent; nothing of it is under way any more.
    NotSent {
        /// Payment hash, in hexadecimal.
        payment_hash: String,
        /// Reason.
        why: String,
    },
    /// A channel can be used.
    ChannelReady {
        /// Id of the channel, in hexadecimal.
        channel: String,
        /// The other node.
        peer: String,
    },
    /// A channel is closed. Its balance goes to the on-chain wallet, at the latest when the time-locks of a closure by force
    /// are over.
    ChannelClosed {
        /// Id of the channel, in hexadecimal.
        channel: String,
        /// The other node.
        peer: String,
        /// Reason.
        why: String,
    },
}

impl Event {
    /// Name of the record: an event that the node tells twice is one event.
    fn name(&self) -> String {
        match self {
            Self::Received { payment_hash, .. } => format!("received-{payment_hash}"),
            Self::Sent { payment_hash, .. } => format!("sent-{payment_hash}"),
            Self::NotSent { payment_hash, .. } => format!("not_sent-{payment_hash}"),
            Self::ChannelReady { channel, .. } => format!("ready-{channel}"),
            Self::ChannelClosed { channel, .. } => format!("closed-{channel}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    number: u64,
    event: Event,
}

/// The events that are not acknowledged, on record.
pub(super) struct Queue {
    store: Store,
    waiting: Mutex<BTreeMap<u64, Event>>,
    filled: Notify,
}

impl Queue {
    pub fn load(store: &Store) -> io::Result<Self> {
        let mut waiting = BTreeMap::new();
        for name in store.list(PRIMARY, SECONDARY)? {
            let bytes = store.read(PRIMARY, SECONDARY, &name)?;
            let damaged = |why: serde_json::Error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("the record of event {name} is damaged: {why}"))
            };
            let Record { number, event } = serde_json::from_slice(&bytes).map_err(damaged)?;
            waiting.insert(number, event);
        }
        Ok(Self { store: store.clone(), waiting: Mutex::new(waiting), filled: Notify::new() })
    }

    /// Puts an event on record, unless it waits there already.
    pub fn push(&self, event: Event) -> io::Result<()> {
        let mut waiting = self.waiting();
        if waiting.values().any(|other| other.name() == event.name()) {
            return Ok(());
        }
        let number = waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        let record = Record { number, event };
        let bytes = serde_json::to_vec(&record).map_err(|why| io::Error::new(io::ErrorKind::Other, why.to_string()))?;
        self.store.write(PRIMARY, SECONDARY, &record.event.name(), bytes)?;
        waiting.insert(number, record.event);
        drop(waiting);
        self.filled.notify_waiters();
        Ok(())
    }

    /// The oldest event, when there is one.
    pub async fn next(&self) -> Event {
        loop {
            let filled = self.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable(); // a push between the look and the wait is not missed
            if let Some(event) = self.waiting().first_key_value().map(|(_, event)| event.clone()) {
                return event;
            }
            filled.await;
        }
    }

    /// Forgets this event.
    pub fn acknowledge(&self, event: &Event) -> io::Result<()> {
        let mut waiting = self.waiting();
        let Some(number) = waiting.iter().find_map(|(number, other)| (other == event).then_some(*number)) else {
            return Ok(());
        };
        self.store.remove(PRIMARY, SECONDARY, &event.name(), false)?;
        waiting.remove(&number);
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Event>> {
        // The map changes in single calls, after the store.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PRIMARY: &str = "node";
const SECONDARY: &str = "events";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::MemoryStore;

    fn received(n: u8) -> Event {
        Event::Received { payment_hash: format!("{n:02}"), amount_msat: 1, fee_msat: 0 }
    }

    #[tokio::test]
    async fn an_event_is_told_until_it_is_acknowledged_also_after_a_restart_and_in_order() {
        let store: Store = Arc::new(MemoryStore::new());
        let queue = Queue::load(&store).unwrap();
        for n in [9, 1, 9, 5] {
            queue.push(received(n)).unwrap();
        }
        assert_eq!((queue.next().await, queue.next().await), (received(9), received(9)));
        queue.acknowledge(&received(9)).unwrap();
        queue.acknowledge(&received(9)).expect("twice is no error");
        let queue = Queue::load(&store).unwrap();
        assert_eq!(queue.next().await, received(1));
        queue.acknowledge(&received(1)).unwrap();
        queue.push(received(2)).unwrap();
        assert_eq!(queue.next().await, received(5));
        queue.acknowledge(&received(5)).unwrap();
        assert_eq!(queue.next().await, received(2), "it came last");
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let store: Store = Arc::new(MemoryStore::new());
        let queue = Arc::new(Queue::load(&store).unwrap());
        let waits = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        queue.push(received(3)).unwrap();
        assert_eq!(waits.await.unwrap(), received(3));
    }
}

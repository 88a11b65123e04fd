//! The webhooks of all clients. Finding those that time concerns needs no look at the others.

use alloc::{collections::BTreeMap, vec::Vec};

use lsps_types::{PeerId, Timestamp};

use crate::config::Config;
use crate::lsps5::webhooks::Webhooks;
use crate::service::Wake;

#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: BTreeMap<PeerId, Kept>,
    wakes: BTreeMap<(Timestamp, PeerId), Wake>,
}

/// A flow, and what `wakes` holds of it.
#[derive(Debug)]
struct Kept {
    flow: Webhooks,
    wake: Option<Timestamp>,
}

impl Registry {
    /// [`settle`](Self::settle) has to follow any change, the first too.
    pub fn insert(&mut self, flow: Webhooks) {
        let client = flow.client;
        let before = self.clients.insert(client, Kept { flow, wake: None });
        if let Some(at) = before.and_then(|before| before.wake) {
            self.wakes.remove(&(at, client));
        }
    }

    pub fn get(&self, client: PeerId) -> Option<&Webhooks> {
        self.clients.get(&client).map(|kept| &kept.flow)
    }

    pub fn get_mut(&mut self, client: PeerId) -> Option<&mut Webhooks> {
        self.clients.get_mut(&client).map(|kept| &mut kept.flow)
    }

    /// Enters the next deadline of a client, or forgets it where nothing depends on it any more; then `true`.
    pub fn settle(&mut self, client: PeerId, config: &Config, now: Timestamp) -> bool {
        let Some(kept) = self.clients.get_mut(&client) else { return false };
        let is_over = kept.flow.is_over(now);
        let wake = kept.flow.next_wake(config).filter(|_| !is_over);
        if let Some(at) = core::mem::replace(&mut kept.wake, wake.map(|(at, _)| at)) {
            self.wakes.remove(&(at, client));
        }
        self.wakes.extend(wake.map(|(at, why)| ((at, client), why)));
        if is_over {
            self.clients.remove(&client);
        }
        is_over
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Webhooks> {
        self.clients.values().map(|kept| &kept.flow)
    }

    pub fn next_wake(&self) -> Option<(Timestamp, Wake)> {
        self.wakes.first_key_value().map(|((at, _), why)| (*at, *why))
    }

    pub fn due(&self, now: Timestamp) -> Vec<PeerId> {
        self.wakes.keys().take_while(|(at, _)| *at <= now).map(|(_, client)| *client).collect()
    }
}

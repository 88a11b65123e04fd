//! Finding flows without looking at all of them. Rebuilt at load, never written.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use lsps_types::{BlockHeight, PeerId, Scid, Timestamp};

use crate::config::Config;
use crate::ids::PartId;
use crate::lsps2::jit_channel::JitChannel;
use crate::service::Wake;

#[derive(Debug, Default)]
pub(crate) struct Index {
    by_part: BTreeMap<PartId, Scid>,
    by_client: BTreeMap<PeerId, BTreeSet<Scid>>,
    wakes: BTreeSet<(Timestamp, Scid)>,
    heights: BTreeSet<(BlockHeight, Scid)>,
    entries: BTreeMap<Scid, Entry>,
}

/// What the other maps hold of one flow, so that it can be taken out again.
#[derive(Debug)]
struct Entry {
    client: PeerId,
    parts: Vec<PartId>,
    wake: Option<(Timestamp, Wake)>,
    height: Option<BlockHeight>,
}

impl Index {
    pub fn put(&mut self, flow: &JitChannel, config: &Config) {
        self.remove(flow.id);
        let entry = Entry {
            client: flow.client,
            parts: flow.payments.values().flat_map(|payment| &payment.parts).map(|part| part.id).collect(),
            wake: flow.next_wake(config),
            height: flow.next_height(config),
        };
        self.by_part.extend(entry.parts.iter().map(|part| (*part, flow.id)));
        self.by_client.entry(entry.client).or_default().insert(flow.id);
        self.wakes.extend(entry.wake.map(|(at, _)| (at, flow.id)));
        self.heights.extend(entry.height.map(|height| (height, flow.id)));
        self.entries.insert(flow.id, entry);
    }

    pub fn remove(&mut self, id: Scid) {
        let Some(entry) = self.entries.remove(&id) else { return };
        for part in &entry.parts {
            self.by_part.remove(part);
        }
        if let Some(flows) = self.by_client.get_mut(&entry.client) {
            flows.remove(&id);
            if flows.is_empty() {
                self.by_client.remove(&entry.client);
            }
        }
        if let Some((at, _)) = entry.wake {
            self.wakes.remove(&(at, id));
        }
        if let Some(height) = entry.height {
            self.heights.remove(&(height, id));
        }
    }

    pub fn of_part(&self, part: PartId) -> Option<Scid> {
        self.by_part.get(&part).copied()
    }

    pub fn of_client(&self, client: PeerId) -> impl Iterator<Item = Scid> {
        self.by_client.get(&client).into_iter().flatten().copied()
    }

    pub fn next_wake(&self) -> Option<(Timestamp, Wake)> {
        let (_, id) = self.wakes.first()?;
        self.entries.get(id)?.wake
    }

    pub fn due(&self, now: Timestamp) -> Vec<Scid> {
        self.wakes.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    pub fn due_at_height(&self, height: BlockHeight) -> Vec<Scid> {
        self.heights.iter().take_while(|(at, _)| *at <= height).map(|(_, id)| *id).collect()
    }
}

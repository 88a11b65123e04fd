//! Finding flows without looking at all of them. Rebuilt at load, never written.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use lsps_types::{BlockHeight, PeerId, Scid, Timestamp};

use crate::config::Config;
use crate::ids::PartId;
use crate::lsps2::channel::Channel;
use crate::lsps2::jit_channel::{Fee, JitChannel};
use crate::lsps2::parts::Payment;
use crate::policy::ClientHistory;
use crate::service::Wake;

#[derive(Debug, Default)]
pub(crate) struct Index {
    by_part: BTreeMap<PartId, Scid>,
    /// Offers that were not paid for, of all clients and by client.
    unpaid: BTreeSet<Scid>,
    unpaid_of: Groups<PeerId>,
    paid_of: Groups<PeerId>,
    /// Offers that the coming and going of their client, or a report about it, may concern.
    busy_of: Groups<PeerId>,
    /// Offers with parts that wait or are under way.
    live_of: Groups<PeerId>,
    /// Offers that count as uses of their token.
    uses_of: Groups<String>,
    /// Offers whose funding transaction is not confirmed.
    unconfirmed: BTreeSet<Scid>,
    wakes: BTreeSet<(Timestamp, Scid)>,
    heights: BTreeSet<(BlockHeight, Scid)>,
    entries: BTreeMap<Scid, Entry>,
}

/// What the other maps hold of one flow, so that only what changed is changed there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Entry {
    parts: Vec<PartId>,
    unpaid: Option<PeerId>,
    paid: Option<PeerId>,
    busy: Option<PeerId>,
    live: Option<PeerId>,
    use_of: Option<String>,
    is_unconfirmed: bool,
    wake: Option<(Timestamp, Wake)>,
    height: Option<BlockHeight>,
}

impl Entry {
    fn of(flow: &JitChannel, config: &Config, now: Timestamp, height: BlockHeight) -> Self {
        let parts: Vec<PartId> =
            flow.payments.values().flat_map(|payment| &payment.parts).map(|part| part.id).collect();
        let is_paid = flow.fee == Fee::Paid;
        let is_busy = !parts.is_empty() || flow.call.until.is_some() || matches!(flow.channel, Channel::Opening { .. });
        let client = |holds: bool| holds.then_some(flow.client);
        Self {
            unpaid: client(!is_paid),
            paid: client(is_paid),
            busy: client(is_busy),
            live: client(flow.payments.values().any(Payment::is_live)),
            use_of: flow.token.clone().filter(|_| is_paid || now < flow.terms.valid_until),
            is_unconfirmed: flow.channel.funding().is_some(),
            wake: flow.next_wake(config, now),
            height: flow.next_height(config, height),
            parts,
        }
    }
}

impl Index {
    pub fn put(&mut self, flow: &JitChannel, config: &Config, now: Timestamp, height: BlockHeight) {
        self.change(flow.id, Some(Entry::of(flow, config, now, height)));
    }

    pub fn remove(&mut self, id: Scid) {
        self.change(id, None);
    }

    fn change(&mut self, id: Scid, new: Option<Entry>) {
        let old = match &new {
            Some(entry) => self.entries.insert(id, entry.clone()),
            None => self.entries.remove(&id),
        };
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        if old.parts != new.parts {
            for part in &old.parts {
                self.by_part.remove(part);
            }
            self.by_part.extend(new.parts.iter().map(|part| (*part, id)));
        }
        let at = |wake: Option<(Timestamp, Wake)>| wake.map(|(at, _)| (at, id));
        shift(&mut self.wakes, at(old.wake), at(new.wake));
        let at = |height: Option<BlockHeight>| height.map(|height| (height, id));
        shift(&mut self.heights, at(old.height), at(new.height));
        shift(&mut self.unpaid, old.unpaid.map(|_| id), new.unpaid.map(|_| id));
        shift(&mut self.unconfirmed, old.is_unconfirmed.then_some(id), new.is_unconfirmed.then_some(id));
        self.unpaid_of.shift(id, old.unpaid, new.unpaid);
        self.paid_of.shift(id, old.paid, new.paid);
        self.busy_of.shift(id, old.busy, new.busy);
        self.live_of.shift(id, old.live, new.live);
        self.uses_of.shift(id, old.use_of, new.use_of);
    }

    pub fn of_part(&self, part: PartId) -> Option<Scid> {
        self.by_part.get(&part).copied()
    }

    pub fn busy_of(&self, client: PeerId) -> impl Iterator<Item = Scid> {
        self.busy_of.of(&client)
    }

    /// Clients with parts that wait or are under way.
    pub fn live_clients(&self) -> impl Iterator<Item = (PeerId, impl Iterator<Item = Scid>)> {
        self.live_of.0.iter().map(|(client, offers)| (*client, offers.iter().copied()))
    }

    pub fn unconfirmed(&self) -> impl Iterator<Item = Scid> {
        self.unconfirmed.iter().copied()
    }

    pub fn unpaid(&self) -> usize {
        self.unpaid.len()
    }

    pub fn history(&self, client: PeerId) -> ClientHistory {
        ClientHistory { unpaid: self.unpaid_of.count(&client), paid: self.paid_of.count(&client) }
    }

    pub fn token_uses(&self, token: Option<&str>) -> usize {
        token.and_then(|token| self.uses_of.0.get(token)).map_or(0, BTreeSet::len)
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

/// Offers by what they have in common.
#[derive(Debug)]
struct Groups<K>(BTreeMap<K, BTreeSet<Scid>>);

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Groups<K> {
    fn shift(&mut self, id: Scid, old: Option<K>, new: Option<K>) {
        if old == new {
            return;
        }
        if let Some(old) = old
            && let Some(group) = self.0.get_mut(&old)
        {
            group.remove(&id);
            if group.is_empty() {
                self.0.remove(&old);
            }
        }
        if let Some(new) = new {
            self.0.entry(new).or_default().insert(id);
        }
    }

    fn of<'a>(&'a self, key: &K) -> impl Iterator<Item = Scid> + use<'a, K> {
        self.0.get(key).into_iter().flatten().copied()
    }

    fn count(&self, key: &K) -> usize {
        self.0.get(key).map_or(0, BTreeSet::len)
    }
}

fn shift<T: Ord>(set: &mut BTreeSet<T>, old: Option<T>, new: Option<T>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        set.remove(&old);
    }
    set.extend(new);
}

//! Finding flows without looking at all of them. Rebuilt at load, never written.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::ops::Deref;

use lsps_types::{BlockHeight, PeerId, Scid, Timestamp};

use crate::channel::Channel;
use crate::config::Config;
use crate::ids::PartId;
use crate::lsps2::jit_channel::{Fee, JitChannel};
use crate::lsps2::parts::Payment;
use crate::policy::ClientHistory;
use crate::service::Wake;

#[derive(Debug, Default)]
pub(crate) struct Index {
    by_part: BTreeMap<PartId, Scid>,
    /// Offers that were paid for, of all clients and by client; and those that were not.
    paid: BTreeSet<Scid>,
    paid_of: Groups<PeerId>,
    unpaid_of: Groups<PeerId>,
    /// Offers that the coming and going of their client, or a report about it, may concern.
    busy_of: Groups<PeerId>,
    /// Offers with parts that wait or are under way.
    live_of: Groups<PeerId>,
    /// Offers that count as uses of their token.
    uses_of: Groups<String>,
    /// Offers whose funding transaction is not confirmed.
    unconfirmed: BTreeSet<Scid>,
    wakes: BTreeMap<(Timestamp, Scid), Wake>,
    heights: BTreeSet<(BlockHeight, Scid)>,
}

/// A flow, and what the index holds of it. In one place, so that whoever finds the one has found the other.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub flow: JitChannel,
    entry: Entry,
}

impl Indexed {
    /// Not in the index yet: [`Index::put`] enters it.
    pub fn new(flow: JitChannel) -> Self {
        Self { flow, entry: Entry::default() }
    }
}

impl Deref for Indexed {
    type Target = JitChannel;

    fn deref(&self) -> &JitChannel {
        &self.flow
    }
}

/// What the maps hold of one flow, so that only what changed is changed there.
#[derive(Debug, PartialEq, Eq, Default)]
struct Entry {
    parts: Vec<PartId>,
    is_unpaid: bool,
    is_paid: bool,
    is_busy: bool,
    is_live: bool,
    is_use: bool,
    is_unconfirmed: bool,
    wake: Option<(Timestamp, Wake)>,
    height: Option<BlockHeight>,
}

impl Entry {
    fn of(flow: &JitChannel, config: &Config, now: Timestamp, height: BlockHeight) -> Self {
        let parts: Vec<PartId> =
            flow.payments.values().flat_map(|payment| &payment.parts).map(|part| part.id).collect();
        let is_paid = flow.fee == Fee::Paid;
        Self {
            is_unpaid: !is_paid,
            is_paid,
            is_busy: !parts.is_empty() || flow.call.until.is_some() || matches!(flow.channel, Channel::Opening { .. }),
            is_live: flow.payments.values().any(Payment::is_live),
            is_use: is_paid || now < flow.terms.valid_until,
            is_unconfirmed: flow.channel.funding().is_some(),
            wake: flow.next_wake(config, now),
            height: flow.next_height(config, height),
            parts,
        }
    }
}

impl Index {
    pub fn put(&mut self, offer: &mut Indexed, config: &Config, now: Timestamp, height: BlockHeight) {
        let new = Entry::of(&offer.flow, config, now, height);
        if new != offer.entry {
            self.change(&offer.flow, &offer.entry, &new);
            offer.entry = new;
        }
    }

    pub fn remove(&mut self, offer: &Indexed) {
        self.change(&offer.flow, &offer.entry, &Entry::default());
    }

    fn change(&mut self, flow: &JitChannel, old: &Entry, new: &Entry) {
        let (id, client) = (flow.id, &flow.client);
        if old.parts != new.parts {
            for part in &old.parts {
                self.by_part.remove(part);
            }
            self.by_part.extend(new.parts.iter().map(|part| (*part, id)));
        }
        if old.wake != new.wake {
            if let Some((at, _)) = old.wake {
                self.wakes.remove(&(at, id));
            }
            self.wakes.extend(new.wake.map(|(at, why)| ((at, id), why)));
        }
        if old.height != new.height {
            if let Some(at) = old.height {
                self.heights.remove(&(at, id));
            }
            self.heights.extend(new.height.map(|at| (at, id)));
        }
        shift(&mut self.paid, id, old.is_paid, new.is_paid);
        shift(&mut self.unconfirmed, id, old.is_unconfirmed, new.is_unconfirmed);
        self.unpaid_of.shift(client, id, old.is_unpaid, new.is_unpaid);
        self.paid_of.shift(client, id, old.is_paid, new.is_paid);
        self.busy_of.shift(client, id, old.is_busy, new.is_busy);
        self.live_of.shift(client, id, old.is_live, new.is_live);
        if let Some(token) = &flow.token {
            self.uses_of.shift(token, id, old.is_use, new.is_use);
        }
    }

    pub fn of_part(&self, part: PartId) -> Option<Scid> {
        self.by_part.get(&part).copied()
    }

    pub fn busy_of(&self, client: PeerId) -> impl Iterator<Item = Scid> {
        self.busy_of.of(&client)
    }

    /// Clients with parts that wait or are under way.
    pub fn live_clients(&self) -> impl Iterator<Item = (PeerId, impl Iterator<Item = Scid>)> {
        self.live_of.0.iter().map(|(client, offers)| (*client, offers.iter()))
    }

    pub fn unconfirmed(&self) -> impl Iterator<Item = Scid> {
        self.unconfirmed.iter().copied()
    }

    pub fn paid(&self) -> usize {
        self.paid.len()
    }

    pub fn history(&self, client: PeerId) -> ClientHistory {
        ClientHistory { unpaid: self.unpaid_of.count(&client), paid: self.paid_of.count(&client) }
    }

    pub fn token_uses(&self, token: Option<&str>) -> usize {
        token.and_then(|token| self.uses_of.0.get(token)).map_or(0, Group::len)
    }

    pub fn next_wake(&self) -> Option<(Timestamp, Wake)> {
        self.wakes.first_key_value().map(|((at, _), why)| (*at, *why))
    }

    pub fn due(&self, now: Timestamp) -> Vec<Scid> {
        self.wakes.keys().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    pub fn due_at_height(&self, height: BlockHeight) -> Vec<Scid> {
        self.heights.iter().take_while(|(at, _)| *at <= height).map(|(_, id)| *id).collect()
    }
}

/// Offers by what they have in common.
#[derive(Debug)]
struct Groups<K>(BTreeMap<K, Group>);

/// Mostly it is one, which needs no tree of its own.
#[derive(Debug)]
enum Group {
    One(Scid),
    #[expect(clippy::box_collection, reason = "few have others; all have room for the box")]
    Others(Box<BTreeSet<Scid>>),
}

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Groups<K> {
    fn shift(&mut self, key: &K, id: Scid, was: bool, is: bool) {
        match (was, is) {
            (false, true) => match self.0.get_mut(key) {
                Some(group) => group.insert(id),
                None => drop(self.0.insert(key.clone(), Group::One(id))),
            },
            (true, false) => {
                if self.0.get_mut(key).is_some_and(|group| group.remove(id)) {
                    self.0.remove(key);
                }
            }
            (true, true) | (false, false) => {}
        }
    }

    fn of<'a>(&'a self, key: &K) -> impl Iterator<Item = Scid> + use<'a, K> {
        self.0.get(key).into_iter().flat_map(Group::iter)
    }

    fn count(&self, key: &K) -> usize {
        self.0.get(key).map_or(0, Group::len)
    }
}

impl Group {
    fn insert(&mut self, id: Scid) {
        match self {
            Self::One(one) if *one == id => {}
            Self::One(one) => *self = Self::Others(Box::new([*one, id].into())),
            Self::Others(ids) => drop(ids.insert(id)),
        }
    }

    /// Whether nothing is left.
    fn remove(&mut self, id: Scid) -> bool {
        match self {
            Self::One(one) => *one == id,
            Self::Others(ids) => {
                ids.remove(&id);
                ids.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = Scid> {
        let (one, others) = match self {
            Self::One(one) => (Some(*one), None),
            Self::Others(ids) => (None, Some(ids)),
        };
        one.into_iter().chain(others.into_iter().flat_map(|ids| ids.iter().copied()))
    }

    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Others(ids) => ids.len(),
        }
    }
}

fn shift(set: &mut BTreeSet<Scid>, id: Scid, was: bool, is: bool) {
    if was && !is {
        set.remove(&id);
    }
    if is && !was {
        set.insert(id);
    }
}

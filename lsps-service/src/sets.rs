//! Sets of flows by common keys and by deadlines. They are rebuilt at load and never written.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::borrow::Borrow;

use lsps_types::{BlockHeight, Timestamp};

use crate::wake::Wake;

/// Deadlines of all flows of one kind.
#[derive(Debug)]
pub(crate) struct Agenda<I> {
    /// Deadlines that something waits for.
    wakes: BTreeMap<(Timestamp, I), Wake>,
    /// Deadlines that nothing waits for: any number of them may be due at one instant.
    chores: BTreeMap<(Timestamp, I), Wake>,
    heights: BTreeSet<(BlockHeight, I)>,
}

impl<I> Default for Agenda<I> {
    fn default() -> Self {
        Self { wakes: BTreeMap::new(), chores: BTreeMap::new(), heights: BTreeSet::new() }
    }
}

/// The next deadlines of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub wake: Option<(Timestamp, Wake)>,
    /// Whether no payment, channel or client waits for the deadline.
    pub is_chore: bool,
    pub height: Option<BlockHeight>,
}

impl Due {
    /// Whether the deadline has passed.
    pub fn is_past(self, now: Timestamp) -> bool {
        self.wake.is_some_and(|(at, _)| at <= now)
    }
}

impl<I: Copy + Ord> Agenda<I> {
    pub fn shift(&mut self, id: I, old: Due, new: Due) {
        if (old.wake, old.is_chore) != (new.wake, new.is_chore) {
            if let Some((at, _)) = old.wake {
                self.wakes_of(old).remove(&(at, id));
            }
            self.wakes_of(new).extend(new.wake.map(|(at, why)| ((at, id), why)));
        }
        if old.height != new.height {
            if let Some(at) = old.height {
                self.heights.remove(&(at, id));
            }
            self.heights.extend(new.height.map(|at| (at, id)));
        }
    }

    pub fn next_wake(&self) -> Option<(Timestamp, Wake)> {
        let firsts = [&self.wakes, &self.chores].map(|wakes| wakes.first_key_value());
        firsts.into_iter().flatten().map(|((at, _), why)| (*at, *why)).min()
    }

    /// All flows with a deadline that is due and that something waits for.
    pub fn due(&self, now: Timestamp) -> Vec<I> {
        due(&self.wakes, now).collect()
    }

    /// The first of the flows with a deadline that is due and that nothing waits for.
    pub fn chores(&self, now: Timestamp) -> Vec<I> {
        due(&self.chores, now).take(CHORES).collect()
    }

    pub fn due_at_height(&self, height: BlockHeight) -> Vec<I> {
        self.heights.iter().take_while(|(at, _)| *at <= height).map(|(_, id)| *id).collect()
    }

    fn wakes_of(&mut self, due: Due) -> &mut BTreeMap<(Timestamp, I), Wake> {
        if due.is_chore { &mut self.chores } else { &mut self.wakes }
    }
}

fn due<I: Copy>(wakes: &BTreeMap<(Timestamp, I), Wake>, now: Timestamp) -> impl Iterator<Item = I> {
    wakes.keys().take_while(move |(at, _)| *at <= now).map(|(_, id)| *id)
}

/// Number of such flows that one tick handles: each may cause a write of its record.
const CHORES: usize = 32;

/// Flows grouped by a common key.
#[derive(Debug)]
pub(crate) struct Groups<K, I>(BTreeMap<K, Group<I>>);

/// A group of flows. Most groups have one member, which needs no tree of its own.
#[derive(Debug)]
pub(crate) enum Group<I> {
    One(I),
    #[expect(clippy::box_collection, reason = "few have others; all have room for the box")]
    Others(Box<BTreeSet<I>>),
}

impl<K, I> Default for Groups<K, I> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, I: Copy + Ord> Groups<K, I> {
    pub fn shift(&mut self, key: &K, id: I, was: bool, is: bool) {
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

    pub fn of<'a>(&'a self, key: &K) -> impl Iterator<Item = I> + use<'a, K, I> {
        self.0.get(key).into_iter().flat_map(Group::iter)
    }

    pub fn count<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map_or(0, Group::len)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, impl Iterator<Item = I>)> {
        self.0.iter().map(|(key, group)| (key, group.iter()))
    }
}

impl<I: Copy + Ord> Group<I> {
    fn insert(&mut self, id: I) {
        match self {
            Self::One(one) if *one == id => {}
            Self::One(one) => *self = Self::Others(Box::new([*one, id].into())),
            Self::Others(ids) => drop(ids.insert(id)),
        }
    }

    /// Removes a member; `true` if the group is empty then.
    fn remove(&mut self, id: I) -> bool {
        match self {
            Self::One(one) => *one == id,
            Self::Others(ids) => {
                ids.remove(&id);
                ids.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = I> {
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

pub(crate) fn shift<I: Ord>(set: &mut BTreeSet<I>, id: I, was: bool, is: bool) {
    if was && !is {
        set.remove(&id);
    }
    if is && !was {
        set.insert(id);
    }
}

/// Updates a map from keys to one flow each.
pub(crate) fn lead<'a, K: Ord + Clone + 'a, I: Copy>(
    map: &mut BTreeMap<K, I>,
    id: I,
    old: impl IntoIterator<Item = &'a K>,
    new: impl IntoIterator<Item = &'a K>,
) {
    for key in old {
        map.remove(key);
    }
    map.extend(new.into_iter().map(|key| (key.clone(), id)));
}

//! Index of flows of one kind by common keys. It is rebuilt at load and never written.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
};
use core::borrow::Borrow;

/// Flows grouped by a common key.
#[derive(Debug)]
pub struct Groups<K, I>(BTreeMap<K, Group<I>>);

/// A group of flows. Most groups have one member, which needs no tree of its own.
#[derive(Debug)]
enum Group<I> {
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
    /// Adds a flow to the group of a key, or removes it, if its membership changed.
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

    /// Flows of a key, by id.
    pub fn of<'a>(&'a self, key: &K) -> impl Iterator<Item = I> + use<'a, K, I> {
        self.0.get(key).into_iter().flat_map(Group::iter)
    }

    /// Number of flows of a key.
    pub fn count<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map_or(0, Group::len)
    }

    /// All keys, each with its flows.
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

    /// Removes a member. Returns whether the group is empty afterwards.
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

/// Adds a flow to a set, or removes it, if its membership changed.
pub fn shift<I: Ord>(set: &mut BTreeSet<I>, id: I, was: bool, is: bool) {
    if was && !is {
        set.remove(&id);
    }
    if is && !was {
        set.insert(id);
    }
}

/// Replaces the keys of one flow in a map from keys to flows.
pub fn lead<'a, K: Ord + Clone + 'a, I: Copy>(
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

//! Deadlines of flows, with reasons, and heights. Rebuilt at load, never written.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use lsps_types::{BlockHeight, Timestamp};

/// When each flow has to be looked at.
#[derive(Debug)]
pub struct Agenda<I, W> {
    /// Those that something waits for.
    wakes: BTreeMap<(Timestamp, I), W>,
    /// Those that nothing waits for: any number of them may be due at one instant.
    chores: BTreeMap<(Timestamp, I), W>,
    heights: BTreeSet<(BlockHeight, I)>,
}

impl<I, W> Default for Agenda<I, W> {
    fn default() -> Self {
        Self { wakes: BTreeMap::new(), chores: BTreeMap::new(), heights: BTreeSet::new() }
    }
}

/// What an agenda has of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<W> {
    /// Its next deadline, and why that is one.
    pub wake: Option<(Timestamp, W)>,
    /// Nothing waits for it: no payment, no channel, no client.
    pub is_chore: bool,
    /// The height at which it has to be looked at.
    pub height: Option<BlockHeight>,
}

/// Never.
impl<W> Default for Due<W> {
    fn default() -> Self {
        Self { wake: None, is_chore: false, height: None }
    }
}

impl<W> Due<W> {
    /// At this instant and no height.
    #[must_use]
    pub fn at(wake: Option<(Timestamp, W)>) -> Self {
        Self { wake, ..Self::default() }
    }

    /// Whether it should have been looked at by now.
    #[must_use]
    pub fn is_past(&self, now: Timestamp) -> bool {
        self.wake.as_ref().is_some_and(|(at, _)| *at <= now)
    }
}

impl<I: Copy + Ord, W: Copy + Ord> Agenda<I, W> {
    /// Replaces what is known of one flow.
    pub fn shift(&mut self, id: I, old: Due<W>, new: Due<W>) {
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

    /// The next deadline of all, and why that is one.
    #[must_use]
    pub fn next_wake(&self) -> Option<(Timestamp, W)> {
        let firsts = [&self.wakes, &self.chores].map(|wakes| wakes.first_key_value());
        firsts.into_iter().flatten().map(|((at, _), why)| (*at, *why)).min()
    }

    /// All that are due and that something waits for.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<I> {
        due(&self.wakes, now).collect()
    }

    /// The first of those that are due and that nothing waits for: each may be a record to write.
    #[must_use]
    pub fn chores(&self, now: Timestamp) -> Vec<I> {
        due(&self.chores, now).take(CHORES).collect()
    }

    /// All that are due at this height.
    #[must_use]
    pub fn due_at_height(&self, height: BlockHeight) -> Vec<I> {
        self.heights.iter().take_while(|(at, _)| *at <= height).map(|(_, id)| *id).collect()
    }

    fn wakes_of(&mut self, due: Due<W>) -> &mut BTreeMap<(Timestamp, I), W> {
        if due.is_chore { &mut self.chores } else { &mut self.wakes }
    }
}

fn due<I: Copy, W>(wakes: &BTreeMap<(Timestamp, I), W>, now: Timestamp) -> impl Iterator<Item = I> {
    wakes.keys().take_while(move |(at, _)| *at <= now).map(|(_, id)| *id)
}

/// How many of them are looked at in one tick: each may be a record to write.
const CHORES: usize = 32;

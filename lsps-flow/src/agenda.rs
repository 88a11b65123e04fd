//! Deadlines of flows, as times with reasons and as block heights. They are rebuilt at load and never written.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use lsps_types::{BlockHeight, Timestamp};

/// Deadlines of all flows of one kind.
#[derive(Debug)]
pub struct Agenda<I, W> {
    /// Deadlines that a payment, channel or client waits for.
    wakes: BTreeMap<(Timestamp, I), W>,
    /// Deadlines that no payment, channel or client waits for. Any number of them may be due at one instant.
    chores: BTreeMap<(Timestamp, I), W>,
    heights: BTreeSet<(BlockHeight, I)>,
}

impl<I, W> Default for Agenda<I, W> {
    fn default() -> Self {
        Self { wakes: BTreeMap::new(), chores: BTreeMap::new(), heights: BTreeSet::new() }
    }
}

/// The next deadlines of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<W> {
    /// Time of the next deadline, with its reason.
    pub wake: Option<(Timestamp, W)>,
    /// Whether no payment, channel or client waits for the deadline.
    pub is_chore: bool,
    /// Block height at which the flow has to be stepped.
    pub height: Option<BlockHeight>,
}

/// The default has no deadline.
impl<W> Default for Due<W> {
    fn default() -> Self {
        Self { wake: None, is_chore: false, height: None }
    }
}

impl<W> Due<W> {
    /// Creates a deadline at this time, and none at a height.
    #[must_use]
    pub fn at(wake: Option<(Timestamp, W)>) -> Self {
        Self { wake, ..Self::default() }
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_past(&self, now: Timestamp) -> bool {
        self.wake.as_ref().is_some_and(|(at, _)| *at <= now)
    }
}

impl<I: Copy + Ord, W: Copy + Ord> Agenda<I, W> {
    /// Replaces the deadlines of one flow.
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

    /// The next deadline of all flows, with its reason.
    #[must_use]
    pub fn next_wake(&self) -> Option<(Timestamp, W)> {
        let firsts = [&self.wakes, &self.chores].map(|wakes| wakes.first_key_value());
        firsts.into_iter().flatten().map(|((at, _), why)| (*at, *why)).min()
    }

    /// All flows with a due deadline that a payment, channel or client waits for.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<I> {
        due(&self.wakes, now).collect()
    }

    /// First flows with a due deadline that no payment, channel or client waits for. Their number is limited, as each
    /// may cause a write of its record.
    #[must_use]
    pub fn chores(&self, now: Timestamp) -> Vec<I> {
        due(&self.chores, now).take(CHORES).collect()
    }

    /// All flows that are due at this height.
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

/// Largest number of flows that [`Agenda::chores`] returns.
const CHORES: usize = 32;

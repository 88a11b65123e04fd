//! All flows of one kind: how they are found, told, put on record and forgotten.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::fmt;

use lsps_types::{BlockHeight, Timestamp};

use crate::agenda::{Agenda, Due};
use crate::flow::{Flow, Stepped, step};

/// A flow that is found without looking at all of its kind.
pub trait Indexed: Flow {
    /// What keys and deadlines depend on besides the flow.
    type Shared;
    /// What the index holds of one flow; the default is nothing.
    type Keys: Default + PartialEq + fmt::Debug;
    /// Finds flows by what they have in common. Rebuilt at load, never written.
    type Index: Default + fmt::Debug;
    /// Why a deadline is one.
    type Wake: Copy + Ord + fmt::Debug;
    /// A change that concerns other flows.
    type Signal;

    /// The keys by which it is to be found now.
    fn keys(&self, shared: &Self::Shared) -> Self::Keys;

    /// When it has to be looked at.
    fn due(&self, keys: &Self::Keys, shared: &Self::Shared) -> Due<Self::Wake>;

    /// Enters a change of its keys into the index.
    fn reindex(&self, index: &mut Self::Index, old: &Self::Keys, new: &Self::Keys);

    /// What a change of its keys means to other flows.
    fn signals(&self, _old: &Self::Keys, _new: &Self::Keys) -> Vec<Self::Signal> {
        Vec::new()
    }
}

/// The flows of one kind.
pub struct Flows<F: Indexed> {
    /// Boxed, as a map's nodes have room for more than they hold.
    all: BTreeMap<F::Id, Box<Entry<F>>>,
    index: F::Index,
    agenda: Agenda<F::Id, F::Wake>,
}

/// A flow, and what index and agenda hold of it.
struct Entry<F: Indexed> {
    flow: F,
    keys: F::Keys,
    due: Due<F::Wake>,
}

/// The result of a step of one flow among others.
pub struct Moved<F: Indexed> {
    /// What the flow itself did.
    pub stepped: Stepped<F::Effect>,
    /// The flow, if it is over: it was taken out, and its record is to be deleted.
    pub over: Option<F>,
    /// What that means to other flows.
    pub signals: Vec<F::Signal>,
}

impl<F: Indexed> Default for Flows<F> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), index: F::Index::default(), agenda: Agenda::default() }
    }
}

impl<F: Indexed + fmt::Debug> fmt::Debug for Flows<F>
where
    F::Id: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all.iter().map(|(id, entry)| (id, &entry.flow))).finish()
    }
}

impl<F: Indexed> Flows<F> {
    /// The flow of this name.
    #[must_use]
    pub fn get(&self, id: &F::Id) -> Option<&F> {
        self.all.get(id).map(|entry| &entry.flow)
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn contains_key(&self, id: &F::Id) -> bool {
        self.all.contains_key(id)
    }

    /// All of them, by name.
    pub fn values(&self) -> impl Iterator<Item = &F> {
        self.all.values().map(|entry| &entry.flow)
    }

    /// Their number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Finds them by what they have in common.
    #[must_use]
    pub fn index(&self) -> &F::Index {
        &self.index
    }

    /// Whether a flow should have been looked at by now.
    #[must_use]
    pub fn is_due(&self, id: F::Id, now: Timestamp) -> bool {
        self.all.get(&id).is_some_and(|entry| entry.due.is_past(now))
    }

    /// All that are due and that something waits for.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<F::Id> {
        self.agenda.due(now)
    }

    /// The first of those that are due and that nothing waits for.
    #[must_use]
    pub fn chores(&self, now: Timestamp) -> Vec<F::Id> {
        self.agenda.chores(now)
    }

    /// All that are due at this height.
    #[must_use]
    pub fn due_at_height(&self, height: BlockHeight) -> Vec<F::Id> {
        self.agenda.due_at_height(height)
    }

    /// The next deadline of all, and why that is one.
    #[must_use]
    pub fn next_wake(&self) -> Option<(Timestamp, F::Wake)> {
        self.agenda.next_wake()
    }

    /// Adds a flow, new or from a record, in the place of one of the same name.
    pub fn insert(&mut self, flow: F, shared: &F::Shared) {
        let id = flow.id();
        self.begin(flow);
        let _it_is_new = self.refresh(id, shared);
    }

    /// Adds a flow that has to be told something at once: before that index and agenda have nothing of it, as it may be over.
    pub fn begin(&mut self, flow: F) {
        let id = flow.id();
        let _replaced = self.remove(id);
        self.all.insert(id, Box::new(Entry { flow, keys: F::Keys::default(), due: Due::default() }));
    }

    /// Takes a flow out.
    pub fn remove(&mut self, id: F::Id) -> Option<F> {
        let Entry { flow, keys, due } = *self.all.remove(&id)?;
        flow.reindex(&mut self.index, &keys, &F::Keys::default());
        self.agenda.shift(id, due, Due::default());
        Some(flow)
    }

    /// Tells a flow; takes it out if it is over. `None`: there is none of this name. Where the command is rejected, nothing
    /// has changed.
    pub fn step(
        &mut self,
        id: F::Id,
        command: &F::Command<'_>,
        context: &F::Context<'_>,
        shared: &F::Shared,
        seen: impl FnMut(&F::Event),
    ) -> Option<Result<Moved<F>, F::Reject>> {
        let entry = self.all.get_mut(&id)?;
        let stepped = match step(&mut entry.flow, command, context, seen) {
            Ok(stepped) => stepped,
            Err(reject) => return Some(Err(reject)),
        };
        if entry.flow.is_over(context) {
            let signals = entry.flow.signals(&entry.keys, &F::Keys::default());
            return Some(Ok(Moved { stepped, over: self.remove(id), signals }));
        }
        let signals = self.refresh(id, shared);
        Some(Ok(Moved { stepped, over: None, signals }))
    }

    /// Enters what has changed of a flow.
    fn refresh(&mut self, id: F::Id, shared: &F::Shared) -> Vec<F::Signal> {
        let Some(entry) = self.all.get_mut(&id) else { return Vec::new() };
        let keys = entry.flow.keys(shared);
        let due = entry.flow.due(&keys, shared);
        if due != entry.due {
            self.agenda.shift(id, entry.due, due);
            entry.due = due;
        }
        if keys == entry.keys {
            return Vec::new();
        }
        let signals = entry.flow.signals(&entry.keys, &keys);
        entry.flow.reindex(&mut self.index, &entry.keys, &keys);
        entry.keys = keys;
        signals
    }
}

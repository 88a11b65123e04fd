//! Collection of all flows of one kind, in which they are found, stepped, recorded and removed.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::fmt;

use lsps_types::{BlockHeight, Timestamp};

use crate::agenda::{Agenda, Due};
use crate::flow::{Flow, Stepped, step};

/// A flow with index keys, by which it is found without a scan of all flows.
pub trait Indexed: Flow {
    /// Shared state that keys and deadlines depend on.
    type Shared;
    /// Index entry of one flow; the default is empty.
    type Keys: Default + PartialEq + fmt::Debug;
    /// Index that finds flows by common keys, rebuilt at load and never written.
    type Index: Default + fmt::Debug;
    /// Reason for a deadline.
    type Wake: Copy + Ord + fmt::Debug;
    /// Change that concerns other flows.
    type Signal;

    /// Present index entry of the flow.
    fn keys(&self, shared: &Self::Shared) -> Self::Keys;

    /// Next deadlines of the flow.
    fn due(&self, keys: &Self::Keys, shared: &Self::Shared) -> Due<Self::Wake>;

    /// Updates the index after a change of the entry.
    fn reindex(&self, index: &mut Self::Index, old: &Self::Keys, new: &Self::Keys);

    /// Signals to other flows that a change of the entry causes.
    fn signals(&self, _old: &Self::Keys, _new: &Self::Keys) -> Vec<Self::Signal> {
        Vec::new()
    }
}

/// All flows of one kind.
pub struct Flows<F: Indexed> {
    /// The flows are boxed, as a map's nodes reserve room for more entries than they hold.
    all: BTreeMap<F::Id, Box<Entry<F>>>,
    index: F::Index,
    agenda: Agenda<F::Id, F::Wake>,
}

/// A flow together with its index entry and deadlines.
struct Entry<F: Indexed> {
    flow: F,
    keys: F::Keys,
    due: Due<F::Wake>,
}

/// Result of a step of one flow.
pub struct Moved<F: Indexed> {
    /// Result of the flow itself.
    pub stepped: Stepped<F::Effect>,
    /// The flow, if it has ended. It was removed, and its record is to be deleted.
    pub over: Option<F>,
    /// Signals to other flows.
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
    /// The flow with this id.
    #[must_use]
    pub fn get(&self, id: &F::Id) -> Option<&F> {
        self.all.get(id).map(|entry| &entry.flow)
    }

    /// Whether a flow with this id exists.
    #[must_use]
    pub fn contains_key(&self, id: &F::Id) -> bool {
        self.all.contains_key(id)
    }

    /// All flows, by id.
    pub fn values(&self) -> impl Iterator<Item = &F> {
        self.all.values().map(|entry| &entry.flow)
    }

    /// Number of flows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether the collection is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &F::Index {
        &self.index
    }

    /// Whether a deadline of this flow has passed.
    #[must_use]
    pub fn is_due(&self, id: F::Id, now: Timestamp) -> bool {
        self.all.get(&id).is_some_and(|entry| entry.due.is_past(now))
    }

    /// All flows with a due deadline that a payment, channel or client waits for.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<F::Id> {
        self.agenda.due(now)
    }

    /// First flows with a due deadline that no payment, channel or client waits for.
    #[must_use]
    pub fn chores(&self, now: Timestamp) -> Vec<F::Id> {
        self.agenda.chores(now)
    }

    /// All flows that are due at this height.
    #[must_use]
    pub fn due_at_height(&self, height: BlockHeight) -> Vec<F::Id> {
        self.agenda.due_at_height(height)
    }

    /// The next deadline of all flows, with its reason.
    #[must_use]
    pub fn next_wake(&self) -> Option<(Timestamp, F::Wake)> {
        self.agenda.next_wake()
    }

    /// Inserts a flow, new or from a record, and replaces one with the same id.
    pub fn insert(&mut self, flow: F, shared: &F::Shared) {
        let id = flow.id();
        self.begin(flow);
        let _it_is_new = self.refresh(id, shared);
    }

    /// Inserts a flow that gets a command at once. Until then index and agenda omit it, as it may have ended.
    pub fn begin(&mut self, flow: F) {
        let id = flow.id();
        let _replaced = self.remove(id);
        self.all.insert(id, Box::new(Entry { flow, keys: F::Keys::default(), due: Due::default() }));
    }

    /// Removes a flow.
    pub fn remove(&mut self, id: F::Id) -> Option<F> {
        let Entry { flow, keys, due } = *self.all.remove(&id)?;
        flow.reindex(&mut self.index, &keys, &F::Keys::default());
        self.agenda.shift(id, due, Due::default());
        Some(flow)
    }

    /// Executes a command to a flow, and removes the flow if it has ended. Returns `None` if there is no flow with this
    /// id. A rejected command changes nothing.
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

    /// Changes state of a flow that is not part of its record, and therefore needs no event.
    pub fn adjust(&mut self, id: &F::Id, shared: &F::Shared, change: impl FnOnce(&mut F)) {
        if let Some(entry) = self.all.get_mut(id) {
            change(&mut entry.flow);
            let _others_need_not_know = self.refresh(*id, shared);
        }
    }

    /// Updates index and agenda after a change of a flow.
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

//! The webhooks of all clients, with the number of those of strangers.

use alloc::collections::BTreeSet;

use lsps_flow::{Due, Flows, Indexed, shift};
use lsps_types::PeerId;

use crate::flow::{Environment, Signal};
use crate::lsps5::webhooks::Webhooks;
use crate::wake::Wake;

/// The webhooks of all clients.
pub(crate) type Registry = Flows<Webhooks>;

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Clients that never had or paid for a channel.
    strangers: BTreeSet<PeerId>,
}

impl Index {
    pub fn strangers(&self) -> usize {
        self.strangers.len()
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    is_stranger: bool,
}

impl Indexed for Webhooks {
    type Shared = Environment;
    type Keys = Entry;
    type Index = Index;
    type Wake = Wake;
    type Signal = Signal;

    fn keys(&self, _: &Environment) -> Entry {
        Entry { is_stranger: !self.is_customer }
    }

    fn due(&self, _: &Entry, around: &Environment) -> Due<Wake> {
        Due { is_chore: !self.is_calling(), ..Due::at(self.next_wake(&around.config)) }
    }

    fn reindex(&self, index: &mut Index, old: &Entry, new: &Entry) {
        shift(&mut index.strangers, self.client, old.is_stranger, new.is_stranger);
    }
}

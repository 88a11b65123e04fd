//! The webhooks of all clients. Finding those that time concerns needs no look at the others.

use alloc::collections::{BTreeMap, BTreeSet};

use lsps_types::{PeerId, Timestamp};

use crate::config::Config;
use crate::lsps5::webhooks::Webhooks;
use crate::sets::{Agenda, Due, shift};

#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: BTreeMap<PeerId, Kept>,
    /// Clients that never had nor paid for a channel.
    strangers: BTreeSet<PeerId>,
    agenda: Agenda<PeerId>,
}

/// A flow, and what the agenda has of it.
#[derive(Debug)]
struct Kept {
    flow: Webhooks,
    due: Due,
}

impl Registry {
    /// [`settle`](Self::settle) has to follow any change, the first too.
    pub fn insert(&mut self, flow: Webhooks) {
        let client = flow.client;
        if let Some(before) = self.clients.insert(client, Kept { flow, due: Due::default() }) {
            self.agenda.shift(client, before.due, Due::default());
        }
    }

    pub fn get(&self, client: PeerId) -> Option<&Webhooks> {
        self.clients.get(&client).map(|kept| &kept.flow)
    }

    pub fn get_mut(&mut self, client: PeerId) -> Option<&mut Webhooks> {
        self.clients.get_mut(&client).map(|kept| &mut kept.flow)
    }

    /// Enters the next deadline of a client, or forgets it where nothing depends on it any more; then `true`.
    pub fn settle(&mut self, client: PeerId, config: &Config, now: Timestamp) -> bool {
        let Some(kept) = self.clients.get_mut(&client) else { return false };
        let is_over = kept.flow.is_over(now);
        let (was_stranger, is_stranger) = (self.strangers.contains(&client), !is_over && !kept.flow.is_customer);
        let wake = kept.flow.next_wake(config).filter(|_| !is_over);
        let due = Due { wake, is_chore: !kept.flow.is_calling(), height: None };
        self.agenda.shift(client, kept.due, due);
        kept.due = due;
        shift(&mut self.strangers, client, was_stranger, is_stranger);
        if is_over {
            self.clients.remove(&client);
        }
        is_over
    }

    /// Whether it should have been looked at by now.
    pub fn is_due(&self, client: PeerId, now: Timestamp) -> bool {
        self.clients.get(&client).is_some_and(|kept| kept.due.is_past(now))
    }

    pub fn customers(&self) -> usize {
        self.clients.len().saturating_sub(self.strangers.len())
    }

    pub fn strangers(&self) -> usize {
        self.strangers.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Webhooks> {
        self.clients.values().map(|kept| &kept.flow)
    }

    pub fn agenda(&self) -> &Agenda<PeerId> {
        &self.agenda
    }
}

//! The webhooks of all clients, with an agenda of their deadlines.

use alloc::collections::{BTreeMap, BTreeSet};

use lsps_types::{PeerId, Timestamp};

use crate::config::Config;
use crate::lsps5::webhooks::Webhooks;
use crate::sets::{Agenda, Due, shift};

#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: BTreeMap<PeerId, Kept>,
    /// Clients that never had or paid for a channel.
    strangers: BTreeSet<PeerId>,
    agenda: Agenda<PeerId>,
}

/// A flow together with its agenda entry.
#[derive(Debug)]
struct Kept {
    flow: Webhooks,
    due: Due,
}

impl Registry {
    /// Inserts the webhooks of a client. [`settle`](Self::settle) has to follow any change, including this one.
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

    /// Updates the agenda entry of a client, or removes the client if its record is over; `true` if it was removed.
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

    /// Whether a deadline of this client has passed.
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

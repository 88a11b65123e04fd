//! Finding offers without looking at all of them. Rebuilt at load, never written.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::ops::Deref;

use lsps_types::{PeerId, Scid, Timestamp};

use crate::channel::Channel;
use crate::flow::Surroundings;
use crate::ids::PartId;
use crate::lsps2::jit_channel::{Fee, JitChannel};
use crate::lsps2::parts::Payment;
use crate::policy::ClientHistory;
use crate::sets::{Agenda, Due, Groups, lead, shift};

#[derive(Debug, Default)]
pub(crate) struct Index {
    by_part: BTreeMap<PartId, Scid>,
    /// Offers that were paid for, of all clients and by client; and those that were not.
    paid: BTreeSet<Scid>,
    paid_of: Groups<PeerId, Scid>,
    unpaid_of: Groups<PeerId, Scid>,
    /// Offers that the coming and going of their client, or a report about it, may concern.
    busy_of: Groups<PeerId, Scid>,
    /// Offers with parts that wait or are under way.
    live_of: Groups<PeerId, Scid>,
    /// Offers with parts that are with their client, or may be in spite of what the node showed.
    sent_of: Groups<PeerId, Scid>,
    /// Offers that hold coins for a channel.
    opening_of: Groups<PeerId, Scid>,
    /// Offers that count as uses of their token.
    uses_of: Groups<String, Scid>,
    /// Offers whose funding transaction is not confirmed.
    unconfirmed: BTreeSet<Scid>,
    /// Offers for which nothing ever came, by when they may give way.
    give_way: BTreeSet<(Timestamp, Scid)>,
    agenda: Agenda<Scid>,
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

    pub fn due(&self) -> Due {
        self.entry.due
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
    is_sent: bool,
    is_opening: bool,
    is_use: bool,
    is_unconfirmed: bool,
    gives_way_at: Option<Timestamp>,
    due: Due,
}

impl Entry {
    fn of(flow: &JitChannel, around: &Surroundings) -> Self {
        let Surroundings { config, now, facts, is_caught_up, .. } = around;
        let parts: Vec<PartId> =
            flow.payments.values().flat_map(|payment| &payment.parts).map(|part| part.id).collect();
        let is_paid = flow.fee == Fee::Paid;
        let is_live = flow.payments.values().any(Payment::is_live);
        let is_busy = !parts.is_empty()
            || flow.call.until.is_some()
            || matches!(flow.channel, Channel::Opening { .. })
            || flow.may_carry_unpaid();
        Self {
            is_unpaid: !is_paid,
            is_paid,
            is_busy,
            is_live,
            is_sent: flow.has_sent_ever(),
            // What is being paid, or can be, is a use although its own time is over.
            is_use: is_paid || is_live || *now < flow.honoured_until(config),
            is_opening: flow.holds_coins(),
            is_unconfirmed: flow.channel.funding().is_some(),
            gives_way_at: flow.gives_way_at(config),
            due: Due {
                wake: flow.next_wake(config, *now, *is_caught_up),
                is_chore: !is_busy,
                height: flow.next_height(config, facts.height),
            },
            parts,
        }
    }
}

impl Index {
    pub fn put(&mut self, offer: &mut Indexed, around: &Surroundings) {
        let new = Entry::of(&offer.flow, around);
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
            lead(&mut self.by_part, id, &old.parts, &new.parts);
        }
        self.agenda.shift(id, old.due, new.due);
        shift(&mut self.paid, id, old.is_paid, new.is_paid);
        shift(&mut self.unconfirmed, id, old.is_unconfirmed, new.is_unconfirmed);
        self.unpaid_of.shift(client, id, old.is_unpaid, new.is_unpaid);
        self.paid_of.shift(client, id, old.is_paid, new.is_paid);
        self.busy_of.shift(client, id, old.is_busy, new.is_busy);
        self.live_of.shift(client, id, old.is_live, new.is_live);
        self.sent_of.shift(client, id, old.is_sent, new.is_sent);
        self.opening_of.shift(client, id, old.is_opening, new.is_opening);
        if old.gives_way_at != new.gives_way_at {
            old.gives_way_at.map(|at| self.give_way.remove(&(at, id)));
            new.gives_way_at.map(|at| self.give_way.insert((at, id)));
        }
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
        self.live_of.iter().map(|(client, offers)| (*client, offers))
    }

    /// Whether something of another offer is with this client, or may be.
    pub fn carries_others(&self, client: PeerId, id: Scid) -> bool {
        self.sent_of.of(&client).any(|other| other != id)
    }

    /// Whether something is with this client.
    pub fn carries(&self, client: PeerId) -> bool {
        self.sent_of.count(&client) > 0
    }

    /// How many offers of this client hold coins for a channel, this one not counted.
    pub fn opening_besides(&self, client: PeerId, id: Option<Scid>) -> usize {
        self.opening_of.of(&client).filter(|other| Some(*other) != id).count()
    }

    pub fn unconfirmed(&self) -> impl Iterator<Item = Scid> {
        self.unconfirmed.iter().copied()
    }

    pub fn paid(&self) -> usize {
        self.paid.len()
    }

    /// Offers of this client that were not paid for.
    pub fn unpaid_of(&self, client: PeerId) -> impl Iterator<Item = Scid> {
        self.unpaid_of.of(&client)
    }

    pub fn history(&self, client: PeerId) -> ClientHistory {
        ClientHistory { unpaid: self.unpaid_of.count(&client), paid: self.paid_of.count(&client) }
    }

    pub fn token_uses(&self, token: Option<&str>) -> usize {
        token.map_or(0, |token| self.uses_of.count(token))
    }

    /// The first that may give way to another one now.
    pub fn first_to_give_way(&self, now: Timestamp) -> Option<Scid> {
        self.give_way.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    pub fn agenda(&self) -> &Agenda<Scid> {
        &self.agenda
    }
}

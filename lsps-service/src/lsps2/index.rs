//! Indices that find JIT channel offers without a scan of all. They are rebuilt at load and never written.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use lsps_flow::{Due, Groups, Indexed, lead, shift};
use lsps_types::{PeerId, Scid, Timestamp};

use crate::channel::Channel;
use crate::flow::{Environment, Signal};
use crate::ids::PartId;
use crate::lsps2::jit_channel::{Fee, JitChannel};
use crate::lsps2::parts::Payment;
use crate::policy::ClientHistory;
use crate::wake::Wake;

#[derive(Debug, Default)]
pub(crate) struct Index {
    by_part: BTreeMap<PartId, Scid>,
    /// Paid offers, all and by client, and unpaid offers by client.
    paid: BTreeSet<Scid>,
    paid_of: Groups<PeerId, Scid>,
    unpaid_of: Groups<PeerId, Scid>,
    /// Offers that may change when their client connects or disconnects, or when the host reports on it.
    busy_of: Groups<PeerId, Scid>,
    /// Offers with parts that are held or in flight.
    live_of: Groups<PeerId, Scid>,
    /// Offers with parts at their client, or possibly there although the node did not show them.
    sent_of: Groups<PeerId, Scid>,
    /// Offers that reserve coins for a channel.
    opening_of: Groups<PeerId, Scid>,
    /// Offers that count as uses of their token.
    uses_of: Groups<String, Scid>,
    /// Offers whose funding transaction is not confirmed.
    unconfirmed: BTreeSet<Scid>,
    /// Offers that no payment ever reached, by the time from which a new one may replace them.
    give_way: BTreeSet<(Timestamp, Scid)>,
}

/// The values of one flow in the maps; only their differences are updated.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Entry {
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
}

impl Entry {
    fn of(flow: &JitChannel, around: &Environment) -> Self {
        let Environment { config, now, .. } = around;
        let parts: Vec<PartId> =
            flow.payments.values().flat_map(|payment| &payment.parts).map(|part| part.id).collect();
        let is_paid = flow.fee == Fee::Paid;
        let is_live = flow.payments.values().any(Payment::is_live);
        let is_busy = !parts.is_empty()
            || flow.wake_up.until.is_some()
            || matches!(flow.channel, Channel::Opening { .. })
            || flow.may_carry_unpaid();
        Self {
            is_unpaid: !is_paid,
            is_paid,
            is_busy,
            is_live,
            is_sent: flow.has_sent_ever(),
            // A payment in flight, or one that can still be made, counts as a use although the offer has expired.
            is_use: is_paid || is_live || *now < flow.honoured_until(config),
            is_opening: flow.holds_coins(),
            is_unconfirmed: flow.channel.funding().is_some(),
            gives_way_at: flow.gives_way_at(config),
            parts,
        }
    }
}

impl Index {
    fn change(&mut self, flow: &JitChannel, old: &Entry, new: &Entry) {
        let (id, client) = (flow.id, &flow.client);
        if old.parts != new.parts {
            lead(&mut self.by_part, id, &old.parts, &new.parts);
        }
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

    /// Clients with parts that are held or in flight, with their offers.
    pub fn live_clients(&self) -> impl Iterator<Item = (PeerId, impl Iterator<Item = Scid>)> {
        self.live_of.iter().map(|(client, offers)| (*client, offers))
    }

    /// Whether a part of another offer is at this client, or may be.
    pub fn carries_others(&self, client: PeerId, id: Scid) -> bool {
        self.sent_of.of(&client).any(|other| other != id)
    }

    /// Whether any part is at this client, or may be.
    pub fn carries(&self, client: PeerId) -> bool {
        self.sent_of.count(&client) > 0
    }

    /// Number of offers of this client, besides `id`, that reserve coins for a channel.
    pub fn opening_besides(&self, client: PeerId, id: Option<Scid>) -> usize {
        self.opening_of.of(&client).filter(|other| Some(*other) != id).count()
    }

    pub fn unconfirmed(&self) -> impl Iterator<Item = Scid> {
        self.unconfirmed.iter().copied()
    }

    pub fn paid(&self) -> usize {
        self.paid.len()
    }

    /// Unpaid offers of this client.
    pub fn unpaid_of(&self, client: PeerId) -> impl Iterator<Item = Scid> {
        self.unpaid_of.of(&client)
    }

    pub fn history(&self, client: PeerId) -> ClientHistory {
        ClientHistory { unpaid: self.unpaid_of.count(&client), paid: self.paid_of.count(&client) }
    }

    pub fn token_uses(&self, token: Option<&str>) -> usize {
        token.map_or(0, |token| self.uses_of.count(token))
    }

    /// The first offer that a new one may replace now.
    pub fn first_to_give_way(&self, now: Timestamp) -> Option<Scid> {
        self.give_way.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }
}

impl Indexed for JitChannel {
    type Shared = Environment;
    type Keys = Entry;
    type Index = Index;
    type Wake = Wake;
    type Signal = Signal;

    fn keys(&self, around: &Environment) -> Entry {
        Entry::of(self, around)
    }

    fn due(&self, keys: &Entry, around: &Environment) -> Due<Wake> {
        let Environment { config, now, facts, is_caught_up, .. } = around;
        Due {
            wake: self.next_wake(config, *now, *is_caught_up),
            is_chore: !keys.is_busy,
            height: self.next_height(config, facts.height),
        }
    }

    fn reindex(&self, index: &mut Index, old: &Entry, new: &Entry) {
        index.change(self, old, new);
    }

    fn signals(&self, old: &Entry, new: &Entry) -> Vec<Signal> {
        // A part that is removed from the record cannot be claimed any more.
        let came_back = old.is_sent && !new.is_sent;
        let came_back = came_back.then_some(Signal::NothingSent { client: self.client, offer: self.id });
        let gave_back = old.is_opening && !new.is_opening;
        came_back.into_iter().chain(gave_back.then_some(Signal::CoinsFree { client: self.client })).collect()
    }
}

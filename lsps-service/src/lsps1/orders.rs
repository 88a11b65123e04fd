//! All orders with their indices, which are rebuilt at load and never written.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use lsps_types::jsonrpc::RequestId;
use lsps_types::{PaymentHash, PeerId, Timestamp};

use crate::flow::Surroundings;
use crate::ids::{OfferId, OrderNumber};
use crate::lsps1::order::{Order, Stage};
use crate::sets::{Agenda, Due, Groups, lead, shift};

/// The orders of a service.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    all: BTreeMap<OrderNumber, Box<Shelved>>,
    /// Requests whose order is being prepared. They are kept in memory only: after a restart the client asks again.
    pub waiting: BTreeMap<OrderNumber, RequestId>,
    index: Index,
}

#[derive(Debug, Default)]
struct Index {
    by_hash: BTreeMap<PaymentHash, OrderNumber>,
    by_offer: BTreeMap<OfferId, OrderNumber>,
    by_address: BTreeMap<String, OrderNumber>,
    /// Orders that have no channel yet, or never will.
    without_channel: BTreeSet<OrderNumber>,
    /// Orders that reserve coins for a channel.
    opening_of: Groups<PeerId, OrderNumber>,
    /// Orders that can still be paid or opened.
    open_of: Groups<PeerId, OrderNumber>,
    /// Orders that may change when their client connects or disconnects.
    busy_of: Groups<PeerId, OrderNumber>,
    uses_of: Groups<String, OrderNumber>,
    /// Completed orders.
    leases_of: Groups<PeerId, OrderNumber>,
    /// Orders that failed before any payment arrived, by the time from which a new order may replace them.
    give_way: BTreeSet<(Timestamp, OrderNumber)>,
    /// Orders with an unconfirmed transaction.
    unconfirmed: BTreeSet<OrderNumber>,
    agenda: Agenda<OrderNumber>,
}

/// An order together with its index entry.
#[derive(Debug)]
struct Shelved {
    order: Order,
    entry: Entry,
}

#[derive(Debug, PartialEq, Eq, Default)]
struct Entry {
    hashes: Vec<PaymentHash>,
    offer: Option<OfferId>,
    address: Option<String>,
    lacks_channel: bool,
    is_open: bool,
    is_opening: bool,
    is_busy: bool,
    is_use: bool,
    is_leased: bool,
    gives_way_at: Option<Timestamp>,
    is_unconfirmed: bool,
    due: Due,
}

impl Entry {
    fn of(order: &Order, around: &Surroundings) -> Self {
        let Surroundings { config, now, facts, is_caught_up, .. } = around;
        let is_open = matches!(order.stage, Stage::Draft { .. } | Stage::Open);
        let invoice = order.ways.bolt11.as_ref().map(|way| PaymentHash::of(&way.by));
        let hashes: BTreeSet<PaymentHash> = order.payments.keys().copied().chain(invoice).collect();
        let has_something = !order.payments.is_empty() || !order.outputs.is_empty();
        let is_unconfirmed =
            order.channel.funding().is_some() || order.refunds.iter().any(|refund| refund.unconfirmed().is_some());
        let is_busy = matches!(order.stage, Stage::Draft { .. })
            || (is_open && has_something)
            || order.call.until.is_some()
            || order.has_unpaid_channel();
        Self {
            hashes: hashes.into_iter().collect(),
            offer: order.ways.bolt12.as_ref().map(|way| way.by).filter(|_| !matches!(order.stage, Stage::Draft { .. })),
            address: order.ways.onchain.as_ref().map(|way| way.address.clone()).filter(|address| !address.is_empty()),
            lacks_channel: order.lease().is_none(),
            is_open,
            is_opening: order.holds_coins(),
            is_busy,
            is_use: is_open || order.lease().is_some(),
            is_leased: order.lease().is_some(),
            gives_way_at: order.gives_way_at(),
            is_unconfirmed,
            due: Due {
                wake: order.next_wake(config, *now, *is_caught_up),
                is_chore: !is_busy && !is_unconfirmed,
                height: order.next_height(config, facts.height),
            },
        }
    }
}

impl Orders {
    pub fn get(&self, number: OrderNumber) -> Option<&Order> {
        self.all.get(&number).map(|shelved| &shelved.order)
    }

    pub fn get_mut(&mut self, number: OrderNumber) -> Option<&mut Order> {
        self.all.get_mut(&number).map(|shelved| &mut shelved.order)
    }

    /// Whether a deadline of the order has passed.
    pub fn is_due(&self, number: OrderNumber, now: Timestamp) -> bool {
        self.all.get(&number).is_some_and(|shelved| shelved.entry.due.is_past(now))
    }

    pub fn all(&self) -> impl Iterator<Item = &Order> {
        self.all.values().map(|shelved| &shelved.order)
    }

    pub fn insert(&mut self, order: Order, around: &Surroundings) {
        let number = order.number;
        self.remove(number);
        self.all.insert(number, Box::new(Shelved { order, entry: Entry::default() }));
        self.enter(number, around);
    }

    /// Updates the index entry of an order; called after each change.
    pub fn enter(&mut self, number: OrderNumber, around: &Surroundings) {
        let Some(shelved) = self.all.get_mut(&number) else { return };
        let new = Entry::of(&shelved.order, around);
        if new != shelved.entry {
            self.index.change(&shelved.order, &shelved.entry, &new);
            shelved.entry = new;
        }
    }

    pub fn remove(&mut self, number: OrderNumber) {
        if let Some(shelved) = self.all.remove(&number) {
            self.index.change(&shelved.order, &shelved.entry, &Entry::default());
        }
    }

    pub fn of_hash(&self, hash: PaymentHash) -> Option<OrderNumber> {
        self.index.by_hash.get(&hash).copied()
    }

    pub fn of_offer(&self, offer: OfferId) -> Option<OrderNumber> {
        self.index.by_offer.get(&offer).copied()
    }

    pub fn of_address(&self, address: &str) -> Option<OrderNumber> {
        self.index.by_address.get(address).copied()
    }

    pub fn busy_of(&self, client: PeerId) -> Vec<OrderNumber> {
        self.index.busy_of.of(&client).collect()
    }

    pub fn without_channel(&self) -> usize {
        self.index.without_channel.len()
    }

    pub fn leases_of(&self, client: PeerId) -> usize {
        self.index.leases_of.count(&client)
    }

    /// The first order that a new one may replace, and the time from which it may.
    pub fn first_to_give_way(&self) -> Option<(Timestamp, OrderNumber)> {
        self.index.give_way.first().copied()
    }

    pub fn open_of(&self, client: PeerId) -> usize {
        self.index.open_of.count(&client)
    }

    /// Number of orders of this client, besides `id`, that reserve coins for a channel.
    pub fn opening_besides(&self, client: PeerId, id: Option<OrderNumber>) -> usize {
        self.index.opening_of.of(&client).filter(|other| Some(*other) != id).count()
    }

    pub fn token_uses(&self, token: Option<&str>) -> usize {
        token.map_or(0, |token| self.index.uses_of.count(token))
    }

    pub fn unconfirmed(&self) -> impl Iterator<Item = &Order> {
        self.index.unconfirmed.iter().filter_map(|number| self.get(*number))
    }

    pub fn agenda(&self) -> &Agenda<OrderNumber> {
        &self.index.agenda
    }

    /// Whether a request of this client with this id waits for its order.
    pub fn has_waiting(&self, client: PeerId, request: &RequestId) -> bool {
        let mut drafts = self.index.open_of.of(&client).filter_map(|number| self.waiting.get(&number));
        drafts.any(|waiting| waiting == request)
    }
}

impl Index {
    fn change(&mut self, order: &Order, old: &Entry, new: &Entry) {
        let (id, client) = (order.number, &order.client);
        if old.hashes != new.hashes {
            lead(&mut self.by_hash, id, &old.hashes, &new.hashes);
        }
        if old.offer != new.offer {
            lead(&mut self.by_offer, id, &old.offer, &new.offer);
        }
        if old.address != new.address {
            lead(&mut self.by_address, id, &old.address, &new.address);
        }
        self.agenda.shift(id, old.due, new.due);
        shift(&mut self.without_channel, id, old.lacks_channel, new.lacks_channel);
        shift(&mut self.unconfirmed, id, old.is_unconfirmed, new.is_unconfirmed);
        self.open_of.shift(client, id, old.is_open, new.is_open);
        self.opening_of.shift(client, id, old.is_opening, new.is_opening);
        self.busy_of.shift(client, id, old.is_busy, new.is_busy);
        self.leases_of.shift(client, id, old.is_leased, new.is_leased);
        if old.gives_way_at != new.gives_way_at {
            old.gives_way_at.map(|at| self.give_way.remove(&(at, id)));
            new.gives_way_at.map(|at| self.give_way.insert((at, id)));
        }
        if let Some(token) = &order.ordered.token {
            self.uses_of.shift(token, id, old.is_use, new.is_use);
        }
    }
}

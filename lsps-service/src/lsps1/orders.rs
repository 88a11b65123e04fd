//! All orders with their indices, which are rebuilt at load and never written.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use lsps_flow::{Due, Flows, Groups, Indexed, Moved, lead, shift};
use lsps_types::jsonrpc::RequestId;
use lsps_types::{PaymentHash, PeerId, Timestamp};

use crate::flow::{Context, Environment, Reject, Signal};
use crate::ids::{OfferId, OrderNumber};
use crate::lsps1::order::{Command, Order, Stage};
use crate::wake::Wake;

/// The orders of a service.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    flows: Flows<Order>,
    /// Requests whose order is being prepared. They are kept in memory only: after a restart the client asks again.
    pub waiting: BTreeMap<OrderNumber, RequestId>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
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
}

#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Entry {
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
}

impl Entry {
    fn of(order: &Order) -> Self {
        let is_open = matches!(order.stage, Stage::Draft { .. } | Stage::Open);
        let invoice = order.methods.bolt11.as_ref().map(|method| PaymentHash::of(&method.by));
        let hashes: BTreeSet<PaymentHash> = order.payments.keys().copied().chain(invoice).collect();
        let has_something = !order.payments.is_empty() || !order.outputs.is_empty() || order.free_until.is_some();
        let is_unconfirmed =
            order.channel.funding().is_some() || order.refunds.iter().any(|refund| refund.unconfirmed().is_some());
        let is_busy = matches!(order.stage, Stage::Draft { .. })
            || (is_open && has_something)
            || order.wake_up.until.is_some()
            || order.has_unpaid_channel();
        Self {
            hashes: hashes.into_iter().collect(),
            offer: order
                .methods
                .bolt12
                .as_ref()
                .map(|method| method.by)
                .filter(|_| !matches!(order.stage, Stage::Draft { .. })),
            address: order
                .methods
                .onchain
                .as_ref()
                .map(|method| method.address.clone())
                .filter(|address| !address.is_empty()),
            lacks_channel: order.lease().is_none(),
            is_open,
            is_opening: order.holds_coins(),
            is_busy,
            is_use: is_open || order.lease().is_some(),
            is_leased: order.lease().is_some(),
            gives_way_at: order.gives_way_at(),
            is_unconfirmed,
        }
    }
}

impl Orders {
    pub fn get(&self, number: OrderNumber) -> Option<&Order> {
        self.flows.get(&number)
    }

    pub fn flows(&self) -> &Flows<Order> {
        &self.flows
    }

    /// Tells one of them; the service records and releases what follows.
    pub fn step(
        &mut self,
        number: OrderNumber,
        command: &Command<'_>,
        ctx: &Context<'_>,
        around: &Environment,
    ) -> Result<Moved<Order>, Reject> {
        self.flows.step(number, command, ctx, around, |_| {}).unwrap_or(Err(Reject::Stale))
    }

    /// Whether a deadline of the order has passed.
    pub fn is_due(&self, number: OrderNumber, now: Timestamp) -> bool {
        self.flows.is_due(number, now)
    }

    pub fn all(&self) -> impl Iterator<Item = &Order> {
        self.flows.values()
    }

    pub fn insert(&mut self, order: Order, around: &Environment) {
        self.flows.insert(order, around);
    }

    pub fn remove(&mut self, number: OrderNumber) {
        self.flows.remove(number);
    }

    pub fn of_hash(&self, hash: PaymentHash) -> Option<OrderNumber> {
        self.flows.index().by_hash.get(&hash).copied()
    }

    pub fn of_offer(&self, offer: OfferId) -> Option<OrderNumber> {
        self.flows.index().by_offer.get(&offer).copied()
    }

    pub fn of_address(&self, address: &str) -> Option<OrderNumber> {
        self.flows.index().by_address.get(address).copied()
    }

    pub fn busy_of(&self, client: PeerId) -> Vec<OrderNumber> {
        self.flows.index().busy_of.of(&client).collect()
    }

    pub fn without_channel(&self) -> usize {
        self.flows.index().without_channel.len()
    }

    pub fn leases_of(&self, client: PeerId) -> usize {
        self.flows.index().leases_of.count(&client)
    }

    /// The first order that a new one may replace, and the time from which it may.
    pub fn first_to_give_way(&self) -> Option<(Timestamp, OrderNumber)> {
        self.flows.index().give_way.first().copied()
    }

    pub fn open_of(&self, client: PeerId) -> usize {
        self.flows.index().open_of.count(&client)
    }

    /// Number of orders of this client, besides `id`, that reserve coins for a channel.
    pub fn opening_besides(&self, client: PeerId, id: Option<OrderNumber>) -> usize {
        self.flows.index().opening_of.of(&client).filter(|other| Some(*other) != id).count()
    }

    pub fn token_uses(&self, token: Option<&str>) -> usize {
        token.map_or(0, |token| self.flows.index().uses_of.count(token))
    }

    pub fn unconfirmed(&self) -> impl Iterator<Item = &Order> {
        self.flows.index().unconfirmed.iter().filter_map(|number| self.get(*number))
    }

    /// Whether a request of this client with this id waits for its order.
    pub fn has_waiting(&self, client: PeerId, request: &RequestId) -> bool {
        let mut drafts = self.flows.index().open_of.of(&client).filter_map(|number| self.waiting.get(&number));
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

impl Indexed for Order {
    type Shared = Environment;
    type Keys = Entry;
    type Index = Index;
    type Wake = Wake;
    type Signal = Signal;

    fn keys(&self, _: &Environment) -> Entry {
        Entry::of(self)
    }

    fn due(&self, keys: &Entry, around: &Environment) -> Due<Wake> {
        let Environment { config, now, facts, is_caught_up, .. } = around;
        Due {
            wake: self.next_wake(config, *now, *is_caught_up),
            is_chore: !keys.is_busy && !keys.is_unconfirmed,
            height: self.next_height(config, facts.height),
        }
    }

    fn reindex(&self, index: &mut Index, old: &Entry, new: &Entry) {
        index.change(self, old, new);
    }

    fn signals(&self, old: &Entry, new: &Entry) -> Vec<Signal> {
        let gave_back = old.is_opening && !new.is_opening;
        gave_back.then_some(Signal::CoinsFree { client: self.client }).into_iter().collect()
    }
}

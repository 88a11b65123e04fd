//! The service: it routes inputs to flows and collects their records, messages and effects.

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};
use core::time::Duration;

use lsps_flow::{Changes, Flow, Flows, Indexed, MOST_ROUNDS, Moved, Recorder, Stepped, Tape};
use lsps_types::jsonrpc::ErrorObject;
use lsps_types::lsps2::PromiseKey;
use lsps_types::{PeerId, Scid, Timestamp};

use crate::batch::{Batch, Released};
use crate::channel::ChannelNews;
use crate::config::{Config, ConfigError};
use crate::decisions::PendingDecisions;
use crate::effect::{Effect, EffectKey, PostKey};
use crate::flow::{Environment, Link, Signal};
use crate::ids::{BookKey, ChannelKey, FlowId, OrderNumber, PartId};
use crate::input::{HeldPayment, Input, PaidBy, Prepared};
use crate::lsps1::order::{self, Order};
use crate::lsps1::orders::Orders;
use crate::lsps2::jit_channel::{Command, JitChannel};
use crate::lsps5::registry::Registry;
use crate::lsps5::webhooks;
use crate::outcome::{Outcome, Refusal};
use crate::policy::{NodeFacts, Policy};
use crate::record::{self, AnyFlow, Record, Unreadable};
use crate::tape::Turn;
use crate::wake::Wake;

/// The LSP's side of the protocols: inputs in; records, messages and effects out.
///
/// The service has no access to a node, store, clock or socket. The host reports events with [`handle`](Self::handle),
/// writes the records from [`drain`](Self::drain), and only then sends the messages and executes the effects.
pub struct Service {
    pub(crate) around: Environment,
    pub(crate) scids: Box<dyn ScidSource>,
    pub(crate) promises: PromiseKey,
    pub(crate) offers: Flows<JitChannel>,
    pub(crate) orders: Orders,
    pub(crate) webhooks: Registry,
    /// Peers with whom the node has channels.
    pub(crate) with_channels: BTreeSet<PeerId>,
    pub(crate) pending_decisions: PendingDecisions,
    /// Number of sales to strangers within the present second.
    sold: Sold,
    pub(crate) changed: BTreeSet<FlowId>,
    pub(crate) released: Released,
    /// Parts that are to be forwarded for the first time, and whose forward the host was not asked for yet.
    pub(crate) unasked: BTreeSet<PartId>,
    /// Parts that the node showed at their client in the latest reports.
    pub(crate) shown: BTreeSet<PartId>,
    /// Parts that the node told to be claimed before it had told all events of an earlier life.
    pub(crate) retold: BTreeSet<PartId>,
    /// Whether records were loaded since the clock was last read. The process that wrote them may have read a clock
    /// that was ahead.
    pub(crate) was_loaded: bool,
    /// Changes of flows that others of their clients have not heard of yet.
    signals: VecDeque<Signal>,
    is_delivering: bool,
    tape: Recorder<Turn>,
}

/// Source of SCIDs that the node recognises as its own and intercepts.
///
/// The source need not remember which SCIDs it gave before, nor which are aliases of channels by now: the service draws
/// again.
pub trait ScidSource: Send {
    /// An SCID of that kind that others cannot predict.
    fn draw(&mut self) -> Scid;
}

impl<F: FnMut() -> Scid + Send> ScidSource for F {
    fn draw(&mut self) -> Scid {
        self()
    }
}

/// Number of sales to strangers since a second began.
#[derive(Debug, Default)]
struct Sold {
    since: Timestamp,
    count: usize,
}

impl Sold {
    fn one_more(&mut self, now: Timestamp, most: usize) -> bool {
        // The clock was ahead and was set right: sales before that do not count for this second.
        if now >= self.since + SECOND || now < self.since {
            *self = Self { since: now, count: 0 };
        }
        let has_room = self.count < most;
        self.count = self.count.saturating_add(usize::from(has_room));
        has_room
    }
}

const SECOND: Duration = Duration::from_secs(1);

impl Service {
    /// Creates a service without flows; [`load`](Self::load) restores the recorded ones.
    ///
    /// `promises` has to be the same key for as long as offers made with it are valid.
    ///
    /// # Errors
    ///
    /// A setting is out of range.
    pub fn new(
        config: Config,
        policy: impl Policy + 'static,
        scids: impl ScidSource + 'static,
        promises: PromiseKey,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        policy.validate()?;
        if policy.options().is_some() && config.orders.network.is_none() {
            let rule = "has to be the node's network where channels are sold, as refunds go to addresses of it";
            return Err(ConfigError { field: "orders.network", rule });
        }
        Ok(Self {
            around: Environment::new(config, Box::new(policy)),
            scids: Box::new(scids),
            promises,
            offers: Flows::default(),
            orders: Orders::default(),
            webhooks: Registry::default(),
            with_channels: BTreeSet::new(),
            pending_decisions: PendingDecisions::default(),
            sold: Sold::default(),
            changed: BTreeSet::new(),
            released: Released::default(),
            unasked: BTreeSet::new(),
            shown: BTreeSet::new(),
            retold: BTreeSet::new(),
            was_loaded: false,
            signals: VecDeque::new(),
            is_delivering: false,
            tape: Recorder::default(),
        })
    }

    /// Records all inputs and outputs from now on, so that [`replay`](crate::replay) can repeat them.
    pub fn record_on(&mut self, tape: Box<dyn Tape<Turn>>) {
        self.tape.begin(tape);
    }

    /// Restores a flow from its record, and repeats its outstanding effects. Load records before the first input, or
    /// later: until a record is loaded, no input about its flow may be reported.
    ///
    /// # Errors
    ///
    /// The record cannot be read. The service goes on without it.
    pub fn load(&mut self, record: &Record) -> Result<(), Unreadable> {
        self.on_tape(|| Turn::Loaded(record.clone()));
        (self.around.is_caught_up, self.was_loaded) = (false, true);
        let flow = record::decode(record)?;
        // Deadlines that have passed are handled with the next input, like those of records loaded at the start.
        let now = core::mem::take(&mut self.around.now);
        match flow {
            AnyFlow::JitChannel(mut offer) => {
                // An HTLC to another offer may have got the id of one of its parts before the record could be read.
                let id = offer.id;
                if offer.rename_parts(|part| self.offers.index().of_part(part).is_some_and(|other| other != id)) {
                    self.changed.insert(offer.flow());
                }
                self.released.effects.extend(offer.outstanding());
                self.offers.insert(*offer, &self.around);
            }
            AnyFlow::Order(order) => {
                self.released.effects.extend(order.outstanding());
                self.orders.insert(*order, &self.around);
            }
            AnyFlow::Webhooks(webhooks) => {
                self.released.effects.extend(webhooks.outstanding());
                self.webhooks.insert(*webhooks, &self.around);
            }
        }
        self.around.now = now;
        Ok(())
    }

    /// Handles one input. Its consequences wait for [`drain`](Self::drain).
    pub fn handle(&mut self, input: &Input, now: Timestamp) -> Outcome {
        self.on_tape(|| Turn::Input(now, input.clone()));
        self.read_clock(input, now);
        self.wake_due();
        if !matches!(input, Input::PartAtClient { .. } | Input::PartForwarded { .. }) {
            self.shown.clear();
        }
        self.hear(input)
    }

    /// Routes an input to its flow.
    fn hear(&mut self, input: &Input) -> Outcome {
        match input {
            Input::PeerConnected { peer } => self.link_changes(*peer, Link::Connected),
            Input::ChannelsUsable { peer } => self.link_changes(*peer, Link::Usable),
            Input::PeerDisconnected { peer } => self.link_changes(*peer, Link::Offline),
            Input::Message { peer, payload } => self.answer(*peer, payload),
            Input::HtlcHeld(htlc) => self.htlc_held(htlc),
            Input::PartGone { part } => self.part(*part, Command::PartGone(*part)),
            Input::PartStillHeld { part, amount_in } => self.part_still_held(*part, *amount_in),
            Input::PartAtClient { part, is_there } => self.part_at_client(*part, *is_there),
            Input::ForwardRefused { part } => self.part(*part, Command::ForwardRefused(*part)),
            Input::PartForwarded { part, over } => self.part_forwarded(*part, *over),
            Input::PartFailed { part } => self.part(*part, Command::PartFailed(*part)),
            Input::PartPresumedFailed { part } => self.part(*part, Command::PartPresumedFailed(*part)),
            Input::NodeCaughtUp => self.node_caught_up(),
            Input::ChannelAsked { key } => self.channel(*key, ChannelNews::Asked),
            Input::ChannelNegotiated { key, to_self_delay, output } => {
                self.channel(*key, ChannelNews::Negotiated { to_self_delay: *to_self_delay, output })
            }
            Input::FundingBuilt { key, tx, mining_sat, outpoint } => {
                self.channel(*key, ChannelNews::FundingBuilt { tx, mining_sat: *mining_sat, outpoint: *outpoint })
            }
            Input::ChannelPending { key } => self.channel(*key, ChannelNews::Pending),
            Input::ChannelReady { key, channel_id } => self.channel(*key, ChannelNews::Ready(*channel_id)),
            Input::ChannelEnded { key, why } => self.channel(*key, ChannelNews::Ended(why)),
            Input::ChannelAbandoned { key } => self.channel(*key, ChannelNews::Abandoned),
            Input::ChannelCarries { key } => self.channel(*key, ChannelNews::Carries),
            Input::FundingConfirmed { key } => self.channel(*key, ChannelNews::Confirmed),
            Input::OrderPrepared { order, prepared } => self.order_prepared(*order, prepared),
            Input::PaymentHeld(held) => self.payment_held(held),
            Input::PaymentClaimed { payment_hash, id, amount } => {
                let claimed = order::Command::PaymentClaimed(*payment_hash, *id, *amount);
                self.order(self.orders.of_hash(*payment_hash), &claimed)
            }
            Input::PaymentGone { payment_hash: hash } => {
                self.order(self.orders.of_hash(*hash), &order::Command::PaymentGone(*hash))
            }
            Input::Deposit(deposit) => {
                self.order(self.orders.of_address(&deposit.address), &order::Command::Deposit(deposit))
            }
            Input::DepositGone { address, outpoint } => {
                self.order(self.orders.of_address(address), &order::Command::DepositGone(*outpoint))
            }
            Input::DepositKept { outpoint, order } => self.order(Some(*order), &order::Command::DepositKept(*outpoint)),
            Input::RefundBuilt { key, tx, mining_sat } => self.order(
                Some(key.order),
                &order::Command::RefundBuilt { number: key.number, tx, mining_sat: *mining_sat },
            ),
            Input::RefundImpossible { key } => {
                self.order(Some(key.order), &order::Command::RefundImpossible(key.number))
            }
            Input::RefundConfirmed { key } => self.order(Some(key.order), &order::Command::RefundConfirmed(key.number)),
            Input::CancelOrder { order } => self.order(Some(*order), &order::Command::Cancel),
            Input::RetryOrder { order } => self.order(Some(*order), &order::Command::Retry),
            Input::Booked { key } => self.booked(*key),
            Input::Decided { id, decision } => self.decided(*id, decision),
            Input::NodeFacts(facts) => self.facts_changed(*facts),
            Input::ClockSet { .. } => Outcome::Taken,
            Input::Tick => self.do_chores(),
            Input::ChannelsWith { peer, any } => self.channels_with(*peer, *any),
            Input::WakeUp { peer, reason } => self.tell_webhooks(*peer, &webhooks::Command::WakeUp(reason)),
            Input::WebhookDelivered { key } | Input::WebhookFailed { key } => self.post_over(*key, true),
            Input::WebhookUnreached { key } => self.post_over(*key, false),
        }
    }

    fn order_prepared(&mut self, number: OrderNumber, prepared: &Prepared) -> Outcome {
        // An address or offer pays for one order only.
        let address = prepared.address.as_deref().filter(|address| self.orders.of_address(address).is_none());
        let offer = prepared.offer.as_ref().filter(|(_, id)| self.orders.of_offer(*id).is_none());
        let invoice = prepared.invoice.as_deref();
        self.order(Some(number), &order::Command::Prepared { invoice, offer, address })
    }

    fn payment_held(&mut self, held: &HeldPayment) -> Outcome {
        let by_offer = |offer| self.orders.of_offer(offer);
        let known = self.orders.of_hash(held.payment_hash);
        let order = known.or_else(|| if let PaidBy::Offer(id) = held.by { by_offer(id) } else { None });
        self.order(order, &order::Command::PaymentHeld(held))
    }

    fn booked(&mut self, BookKey { flow, number, .. }: BookKey) -> Outcome {
        match flow {
            FlowId::JitChannel(scid) if self.offers.contains_key(&scid) => {
                self.step(scid, &Command::Booked(number)).into()
            }
            FlowId::Order(order) => self.order(Some(order), &order::Command::Booked(number)),
            FlowId::JitChannel(_) | FlowId::Webhooks(_) => Outcome::NotMine,
        }
    }

    fn post_over(&mut self, PostKey { client, number }: PostKey, is_heard: bool) -> Outcome {
        self.tell_webhooks(client, &webhooks::Command::PostOver { number, is_heard })
    }

    fn facts_changed(&mut self, facts: NodeFacts) -> Outcome {
        self.around.facts = facts;
        for id in self.offers.due_at_height(facts.height) {
            self.look_around(id);
        }
        for order in self.orders.flows().due_at_height(facts.height) {
            self.look_around_order(order);
        }
        Outcome::Taken
    }

    /// Number of records and effects that [`drain`](Self::drain) would return now. A host with many messages drains
    /// once there are enough.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.changed.len().saturating_add(self.released.effects.len())
    }

    /// The next deadline and its reason. Report [`Input::Tick`] then if there is no other input. The deadline may be
    /// due still after that, as one tick handles only some of many flows that are due at one instant.
    #[must_use]
    pub fn next_wake(&self) -> Option<(Timestamp, Wake)> {
        let undecided = self.pending_decisions.next_deadline().map(|at| (at, Wake::NobodyDecided));
        let agendas = [self.offers.next_wake(), self.orders.flows().next_wake()];
        let wakes = agendas.into_iter().chain([self.webhooks.next_wake(), undecided]);
        wakes.into_iter().flatten().min()
    }

    /// All changes since the last drain, without effects that are no longer outstanding.
    pub fn drain(&mut self) -> Batch {
        self.take_back_forwards();
        let mut effects = core::mem::take(&mut self.released.effects);
        effects.retain(|effect| self.is_owed(&effect.key()));
        self.call_by_webhooks(&effects);
        let changed = core::mem::take(&mut self.changed);
        let records = changed.into_iter().map(|id| (id, self.record_of(id))).collect();
        let mut released = core::mem::take(&mut self.released);
        released.effects.splice(..0, effects);
        let batch = Changes { records, released }.drain();
        if !batch.is_empty() {
            self.on_tape(|| Turn::gave(&batch));
        }
        batch
    }

    /// The LSPS numbers that the service serves, as `lsps0.list_protocols` reports them.
    #[must_use]
    pub fn protocols(&self) -> Vec<u16> {
        let lsps1 = self.around.policy.options().map(|_| 1);
        let lsps5 = self.around.config.webhooks.serve.then_some(5);
        lsps1.into_iter().chain([2]).chain(lsps5).collect()
    }

    /// Content of a flow's record; `None` if the flow is over.
    fn record_of(&self, id: FlowId) -> Option<Vec<u8>> {
        match id {
            FlowId::JitChannel(scid) => self.offers.get(&scid).map(record::encode_offer),
            FlowId::Order(number) => self.orders.get(number).map(record::encode_order),
            FlowId::Webhooks(client) => self.webhooks.get(&client).map(record::encode_webhooks),
        }
    }

    fn link_changes(&mut self, peer: PeerId, link: Link) -> Outcome {
        let before = match link {
            Link::Offline => {
                self.pending_decisions.forget(peer);
                self.around.links.remove(&peer)
            }
            Link::Connected | Link::Usable => self.around.links.insert(peer, link),
        };
        if before.unwrap_or(Link::Offline) == link {
            return Outcome::Taken;
        }
        for id in self.offers.index().busy_of(peer).collect::<Vec<_>>() {
            let command = if link == Link::Offline { Command::PeerDisconnected } else { Command::Environment };
            let _no_rejects_here = self.step(id, &command);
        }
        for order in self.orders.busy_of(peer) {
            self.look_around_order(order);
        }
        if link != Link::Offline {
            let _it_may_have_none = self.tell_webhooks(peer, &webhooks::Command::Connected);
        }
        Outcome::Taken
    }

    pub(crate) fn channel(&mut self, key: ChannelKey, news: ChannelNews<'_>) -> Outcome {
        let attempt = self.channel_of(key.flow).map(|(attempt, _)| attempt);
        match (attempt, key.flow) {
            (None, _) | (_, FlowId::Webhooks(_)) => Outcome::NotMine,
            (Some(attempt), _) if attempt != key.attempt => Outcome::Refused(Refusal::Stale),
            (Some(_), FlowId::JitChannel(scid)) => self.step(scid, &Command::Channel(news)).into(),
            (Some(_), FlowId::Order(number)) => self.step_order(number, &order::Command::Channel(news)).into(),
        }
    }

    fn order(&mut self, number: Option<OrderNumber>, command: &order::Command<'_>) -> Outcome {
        // An order that is over is removed when it is looked at, and then belongs to no flow.
        if let Some(number) = number.filter(|number| self.orders.is_due(*number, self.around.now)) {
            self.look_around_order(number);
        }
        let Some(number) = number.filter(|number| self.orders.get(*number).is_some()) else { return Outcome::NotMine };
        self.step_order(number, command).into()
    }

    fn is_owed(&self, key: &EffectKey) -> bool {
        let of_offer = |scid| self.offers.get(&scid).map(|offer| offer.outstanding());
        let owed = match key.about() {
            Ok(FlowId::JitChannel(scid)) => of_offer(scid),
            Ok(FlowId::Order(number)) => self.orders.get(number).map(Order::outstanding),
            Ok(FlowId::Webhooks(client)) => self.webhooks.get(&client).map(Flow::outstanding),
            Err(part) => self.offers.index().of_part(part).and_then(of_offer),
        };
        owed.is_some_and(|owed| owed.iter().any(|owed| owed.key() == *key))
    }

    fn wake_due(&mut self) {
        for id in self.offers.due(self.around.now) {
            self.look_around(id);
        }
        for order in self.orders.flows().due(self.around.now) {
            self.look_around_order(order);
        }
        for client in self.webhooks.due(self.around.now) {
            let _it_is_there = self.tell_webhooks(client, &webhooks::Command::Environment);
        }
        for id in self.pending_decisions.due(self.around.now) {
            self.undecided(id);
        }
    }

    /// Handles some of the deadlines that are not urgent. A flow whose deadline has passed is also handled when an
    /// input is about it.
    fn do_chores(&mut self) -> Outcome {
        for id in self.offers.chores(self.around.now) {
            self.look_around(id);
        }
        for order in self.orders.flows().chores(self.around.now) {
            self.look_around_order(order);
        }
        for client in self.webhooks.chores(self.around.now) {
            let _it_is_there = self.tell_webhooks(client, &webhooks::Command::Environment);
        }
        Outcome::Taken
    }

    /// Whether a client has, had or paid for a channel: node ids cost nothing, channels do.
    pub(crate) fn is_known(&self, client: PeerId) -> bool {
        self.with_channels.contains(&client)
            || self.offers.index().history(client).paid > 0
            || self.orders.leases_of(client) > 0
            || self.webhooks.get(&client).is_some_and(|known| known.is_customer)
    }

    /// Counts a new record for this client within the present second, or refuses it if the limit is reached.
    pub(crate) fn may_be_sold_to(&mut self, client: PeerId) -> Result<(), ErrorObject> {
        if self.is_known(client) || self.sold.one_more(self.around.now, self.around.config.limits.sales_to_strangers) {
            return Ok(());
        }
        Err(ErrorObject::client_rejected("too many new clients ask at once; come back in a second"))
    }

    /// Number of offers and orders for a token that are paid or can still be.
    pub(crate) fn token_uses(&self, token: Option<&str>) -> usize {
        self.offers.index().token_uses(token).saturating_add(self.orders.token_uses(token))
    }

    /// Steps the orders of a client whose channel may be abandoned once no HTLC is with the client.
    pub(crate) fn look_around_unpaid_orders(&mut self, client: PeerId) {
        let waits = |order: &OrderNumber| self.orders.get(*order).is_some_and(Order::has_unpaid_channel);
        for order in self.orders.busy_of(client).into_iter().filter(waits).collect::<Vec<_>>() {
            self.look_around_order(order);
        }
    }

    pub(crate) fn look_around_order(&mut self, order: OrderNumber) {
        let _no_rejects_here = self.step_order(order, &order::Command::Environment);
    }

    /// A flow moved: what it newly asks for is released, its record is to be written, and others hear what concerns them.
    pub(crate) fn moved<F>(&mut self, id: FlowId, mut moved: Moved<F>)
    where
        F: Indexed<Effect = Effect, Signal = Signal>,
    {
        let signals = core::mem::take(&mut moved.signals);
        if self.release(id, moved) {
            self.changed.insert(id);
        }
        self.deliver(signals);
    }

    /// Releases what a flow newly asks for. Whether its record is another now.
    pub(crate) fn release<F: Indexed<Effect = Effect>>(&mut self, id: FlowId, moved: Moved<F>) -> bool {
        let Stepped { owed, has_no_end } = moved.stepped;
        self.released.alarms.extend(has_no_end.then_some(id));
        let is_changed = owed.is_some() || moved.over.is_some();
        self.released.effects.extend(owed.into_iter().flatten());
        is_changed
    }

    /// Delivers signals to the flows that they concern, and continues with the changes that follow.
    ///
    /// This ends: a signal follows from a part that was sent and no longer is, or from coins that were reserved and no
    /// longer are. A look at a flow does not send a part again that came back, and opens at most one channel. The bound
    /// only guards against defects; signals beyond it are delivered with the next step.
    pub(crate) fn deliver(&mut self, signals: Vec<Signal>) {
        self.signals.extend(signals);
        if core::mem::replace(&mut self.is_delivering, true) {
            return; // the loop below is under way
        }
        for _ in 0..MOST_ROUNDS {
            match self.signals.pop_front() {
                Some(Signal::NothingSent { client, offer }) => {
                    self.look_around_unpaid_offers(client, offer);
                    self.look_around_unpaid_orders(client);
                }
                Some(Signal::CoinsFree { client }) => self.open_what_waits(client),
                None => break,
            }
        }
        self.is_delivering = false;
    }

    pub(crate) fn on_tape(&mut self, turn: impl FnOnce() -> Turn) {
        self.tape.keep(turn);
    }

    pub(crate) fn send(&mut self, peer: PeerId, payload: Vec<u8>) {
        self.released.messages.push((peer, payload));
    }
}

//! The wallet's role of the pump: passes the node's events, messages and time to the client, and executes its effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use lsps_client::jit_receive::{Event, Handled, OpenRequest};
use lsps_client::order::{self, OrderKey};
use lsps_client::session::Session;
use lsps_client::{Batch, ChannelKey, Effect, Notice};
use lsps_types::{PaymentHash, PeerId};

use super::events::{Events, WalletEvent};
use super::held::Claim;
use super::pay::Payments;
use super::report;
use super::unread::Unread;
use crate::inbox::{Budget, PeerEvent};
use crate::ports::{
    Change, ChannelRequest, Clock, Marker, Mempool, Messages, OnchainPayer, StoreError, WalletChannel, WalletNode,
    WalletNodeEvent, to_lsps_outpoint,
};
use crate::pump::{BYTES, Durable, MESSAGES, MOVES, Waits};
use crate::records::{self, RETRY};

/// A request to the pump, with the channel for its answer.
pub(super) enum Request {
    /// An event of the node to handle. The answer is `None` if the event has to be reported again.
    Event(WalletNodeEvent, oneshot::Sender<Option<Handled>>),
    /// A function that reads the node, called after a turn in which the client learnt which peers are connected.
    Look(Reader),
    /// A change of the client, answered once it is durable.
    Change(ClientChange),
}

/// Function that reads the node.
pub(super) type Reader = Box<dyn FnOnce(&dyn WalletNode) + Send>;

/// Function that makes a change, and returns the function that answers it.
pub(super) type ClientChange = Box<dyn FnOnce(&Session, &dyn WalletNode) -> Reply + Send>;

/// Function that answers a change, or undoes it if it did not become durable (`false`).
pub(super) type Reply = Box<dyn FnOnce(&Session, bool) + Send>;

/// Ports other than the node and the store.
pub(super) struct Outside {
    pub messages: Arc<dyn Messages>,
    pub clock: Arc<dyn Clock>,
    pub onchain: Option<Arc<dyn OnchainPayer>>,
    pub mempool: Option<Arc<dyn Mempool>>,
    pub events: Events,
}

pub(super) struct Pump {
    pub(super) session: Session,
    pub(super) node: Arc<dyn WalletNode>,
    pub(super) outside: Outside,
    pub(super) durable: Durable<Batch>,
    /// Notified when the client has something to drain.
    wake: Arc<Notify>,
    pub(super) unread: Unread,
    /// Requests of LSPs that the client accepted and the node has not accepted yet.
    pub(super) requests: BTreeMap<ChannelKey, ChannelRequest>,
    /// Requests for a channel in place of an earlier one that the LSP may have lost in a crash. The end of the earlier
    /// channel, or its use, decides about them.
    pub(super) postponed: BTreeMap<ChannelKey, (OpenRequest, ChannelRequest)>,
    /// Payments that are claimed when their channels are confirmed.
    pub(super) held: BTreeMap<PaymentHash, Claim>,
    /// Confirmations that a channel needs before a payment over it is claimed.
    pub(super) wait: u16,
    /// Payments to hashes of the application that the node's own event reports to the application.
    pub(super) told: BTreeSet<PaymentHash>,
    /// Whether payments were added to `held` by the effects of this batch.
    pub(super) has_new_claims: bool,
    pub(super) payments: Payments,
    catching_up: CatchingUp,
}

/// Whether the node has reported the events that it had at the start.
enum CatchingUp {
    /// The marker has not come back.
    No {
        life: u64,
        /// Number of markers sent so far.
        number: u64,
        /// Time on the steady clock at which the last marker was sent.
        sent: Option<Duration>,
    },
    Done,
}

/// An answer that waits until the records are durable.
pub(super) enum Answer {
    Event(oneshot::Sender<Option<Handled>>, Option<Handled>),
    Change(Reply),
}

impl Pump {
    pub fn new(
        session: Session,
        node: Arc<dyn WalletNode>,
        outside: Outside,
        durable: Durable<Batch>,
        wake: Arc<Notify>,
        wait: u16,
    ) -> Self {
        let (requests, postponed, held) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (unread, payments) = (Unread::default(), Payments::default());
        let catching_up = CatchingUp::No { life: Marker::draw_life(), number: 0, sent: None };
        Self {
            session,
            node,
            outside,
            durable,
            wake,
            unread,
            requests,
            postponed,
            held,
            wait,
            told: BTreeSet::new(),
            has_new_claims: false,
            payments,
            catching_up,
        }
    }

    /// Compares all channels on record with the node: their fundings are noted, and channels that the node does not
    /// have are ended. Stops payments of orders that are not to be made any more.
    pub(super) fn reconcile(&mut self) {
        self.stop_earlier_payments();
        let keys: Vec<(PeerId, ChannelKey)> = self.session.with(|client, _| {
            let bought = client.purchases().filter_map(|it| Some((it.lsp(), it.channel()?.key)));
            let ordered = client.orders().flat_map(|it| it.channels().map(move |channel| (it.lsp(), channel.key)));
            bought.chain(ordered).collect()
        });
        for (lsp, key) in keys {
            let _ = match self.channel(lsp, key) {
                Some(channel) => self.is_funded(&channel),
                None => self.channel_ended(key),
            };
        }
    }

    /// Whether the node has reported all events that it had at the start.
    pub(super) fn is_caught_up(&self) -> bool {
        matches!(self.catching_up, CatchingUp::Done)
    }

    /// Sends a marker after the events that the node has to report, and a further one each minute until one comes back,
    /// as the application may not pass all events to the wallet.
    fn catch_up(&mut self) {
        let now = self.outside.clock.steady();
        let CatchingUp::No { life, number, sent } = &mut self.catching_up else { return };
        if sent.is_some_and(|at| now.saturating_sub(at) < OVERDUE) {
            return;
        }
        if sent.is_some() {
            report::marker_overdue(*number);
        }
        let marker = Marker::new(*life, *number + 1);
        if self.node.send_marker(marker, self.outside.clock.now()) {
            (*number, *sent) = (*number + 1, Some(now));
        }
    }

    /// Handles a marker. One of this run shows that all events before it were reported; one of an earlier run does not.
    fn marker_came_back(&mut self, marker: Marker) {
        if let CatchingUp::No { life, number, .. } = self.catching_up
            && (1..=number).any(|sent| Marker::new(life, sent) == marker)
        {
            self.catching_up = CatchingUp::Done;
        }
    }

    fn is_funded(&self, channel: &WalletChannel) -> Handled {
        match channel.funding.and_then(to_lsps_outpoint) {
            Some(funding) => self.session.with(|client, now| client.channel_funded(channel.key, funding, now)),
            None => Handled::Taken,
        }
    }

    pub(super) fn channel_ended(&self, key: ChannelKey) -> Handled {
        self.session.with(|client, now| client.channel_ended(key, now))
    }

    pub(super) fn channel(&self, peer: PeerId, key: ChannelKey) -> Option<WalletChannel> {
        self.node.channels_with(peer).into_iter().find(|channel| channel.key == key)
    }

    pub(super) fn tell(&self, event: WalletEvent) {
        report::told(&event);
        self.outside.events.send(event);
    }

    /// Handles connections, disconnections and messages of peers up to a budget.
    fn hear_peers(&mut self, budget: Budget) {
        for event in self.outside.messages.take(budget) {
            if let PeerEvent::Disconnected(peer) = event {
                // The node drops the open requests of a peer that disconnects; the peer repeats them after a reconnect.
                self.requests.retain(|_, request| request.peer != peer);
                self.postponed.retain(|_, (_, request)| request.peer != peer);
            }
            self.session.with(|client, _| match event {
                PeerEvent::Connected(peer) => client.peer_connected(peer),
                PeerEvent::Disconnected(peer) => client.peer_disconnected(peer),
                PeerEvent::Message(peer, payload) => {
                    report::message(peer, payload.len(), &client.receive(peer, &payload))
                }
            });
        }
    }

    /// Whether an event is about the payment of a purchase on record; it may be for the application even so.
    fn is_of_purchase(&self, event: &WalletNodeEvent) -> bool {
        let hash = match event {
            WalletNodeEvent::PaymentHeld(payment) => payment.payment_hash,
            WalletNodeEvent::PaymentClaimed { payment_hash, .. } => *payment_hash,
            WalletNodeEvent::ChannelRequested(_)
            | WalletNodeEvent::ChannelFunded { .. }
            | WalletNodeEvent::ChannelEnded { .. }
            | WalletNodeEvent::PaymentEnded { .. }
            | WalletNodeEvent::Marker(_) => return false,
        };
        self.session.with(|client, _| client.purchase(hash).is_some())
    }

    fn hear_node(&mut self, event: WalletNodeEvent) -> Handled {
        match event {
            WalletNodeEvent::Marker(marker) => {
                self.marker_came_back(marker);
                Handled::Taken
            }
            WalletNodeEvent::ChannelRequested(request) => self.open_requested(request),
            WalletNodeEvent::PaymentEnded { id, end } => self.payment_ended(id, end),
            WalletNodeEvent::PaymentHeld(payment) => self.payment_held(payment),
            WalletNodeEvent::ChannelFunded { key, peer, funding } => self.session.with(|client, now| {
                client.channel_with(peer);
                match funding.and_then(to_lsps_outpoint) {
                    Some(funding) => client.channel_funded(key, funding, now),
                    None => client.channel_pending(key, now),
                }
            }),
            WalletNodeEvent::ChannelEnded { key } => {
                self.requests.remove(&key);
                self.postponed.remove(&key);
                let handled = self.channel_ended(key);
                // Held payments over the closed channel are failed before its LSP asks for another channel.
                self.look_at_held();
                handled
            }
            WalletNodeEvent::PaymentClaimed { payment_hash, received, kept, over, by_application } => {
                let claimed = self.session.with(|client, now| client.claimed(payment_hash, received, kept, &over, now));
                // The wallet has recorded the claim, and the application has to receive the event too.
                if by_application { Handled::NotMine } else { claimed }
            }
        }
    }

    /// Checks the confirmations of ordered channels that are used without one, as nodes do not report them.
    fn look_for_confirmations(&mut self) {
        let waiting = |order: &order::Order| Some((order.lsp(), order.unconfirmed_channel()?.key));
        let waiting: Vec<_> = self.session.with(|client, _| client.orders().filter_map(waiting).collect());
        for (lsp, key) in waiting {
            let _ = match self.channel(lsp, key).map(|channel| channel.confirmations) {
                Some(0) => continue,
                Some(_) => self.session.with(|client, now| client.channel_confirmed(key, now)),
                None => self.channel_ended(key),
            };
        }
    }

    fn pass_on(&self, notice: Notice) {
        let (payment_hash, event) = match notice {
            Notice::Purchase(payment_hash, event) => (payment_hash, event),
            Notice::Order(order, event) => return self.pass_on_of_order(order, event),
            _ => return,
        };
        match event {
            Event::Registered => self.tell(WalletEvent::Bought { payment_hash }),
            Event::ChannelAsked(_) => self.tell(WalletEvent::ChannelOpening { payment_hash }),
            Event::Paid { received, skimmed } => {
                self.tell(WalletEvent::Received { payment_hash, received, fee: skimmed });
            }
            Event::Expired => self.tell(WalletEvent::Expired { payment_hash }),
            Event::GaveUp => self.tell(WalletEvent::GaveUp { payment_hash }),
            Event::ChannelPending
            | Event::Held(_)
            | Event::ChannelEnded
            | Event::ChannelPassed(_)
            | Event::Abandoned
            | Event::Dropped => {}
        }
    }

    fn pass_on_of_order(&self, order: OrderKey, event: order::Event) {
        use order::Event as E;
        match event {
            E::Chosen { method, .. } => self.tell(WalletEvent::Ordered { order, method }),
            E::Held => self.tell(WalletEvent::OrderPaid { order }),
            E::ChannelAsked(_) => self.tell(WalletEvent::OrderOpening { order }),
            E::Refunding => self.tell(WalletEvent::OrderFailed { order }),
            E::Troubled(why) => self.tell(WalletEvent::OrderStuck { order, why }),
            E::Ended { end, .. } => self.tell(WalletEvent::OrderOver { order, end }),
            E::Placed
            | E::Signed(_)
            | E::Late
            | E::Unsent
            | E::InputsFree
            | E::Forgotten
            | E::Stands { .. }
            | E::CalledOff
            | E::Settled
            | E::Returned { .. }
            | E::ChannelPending { .. }
            | E::ChannelEnded(_)
            | E::ChannelPassed(_)
            | E::OtherChannel(_)
            | E::Unseen(_)
            | E::Unanswered(_)
            | E::Heard
            | E::Unconfirmed { .. }
            | E::ClockSet { .. }
            | E::Confirmed
            | E::Dropped => {}
        }
    }

    fn pause(&self) -> Duration {
        if !self.durable.is_written() {
            return RETRY;
        }
        let due = self.session.with(|client, now| client.next_wake().map(|(at, _)| at.since(now)));
        let watches =
            !self.held.is_empty() || !self.postponed.is_empty() || !self.payments.is_idle() || !self.unread.is_empty();
        let watches = watches || !self.is_caught_up();
        let idle = if watches { WATCH } else { IDLE };
        due.unwrap_or(idle).clamp(Duration::from_millis(1), idle)
    }
}

impl crate::pump::Pump for Pump {
    type Request = Request;
    type Answer = Answer;
    type Batch = Batch;
    type Effect = Effect;

    fn durable(&mut self) -> &mut Durable<Batch> {
        &mut self.durable
    }

    fn waits(&self) -> Waits {
        let (messages, clock) = (Arc::clone(&self.outside.messages), Arc::clone(&self.outside.clock));
        let has_more = self.durable.is_written() && messages.has_news();
        Waits { messages, clock, wake: Arc::clone(&self.wake), at_most: self.pause(), has_more }
    }

    async fn read_unread(&mut self) {
        self.read_missing().await;
    }

    fn hear(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        self.hear_peers(MOVES);
        let mut answers = vec![];
        for request in requests {
            match request {
                Request::Event(event, done) if self.unread.may_be(&event) => answers.push(Answer::Event(done, None)),
                Request::Event(event, done) => {
                    let is_of_purchase = self.is_of_purchase(&event);
                    let handled = self.hear_node(event);
                    let is_anybodys = handled == Handled::NotMine;
                    let follows = !self.session.with(|client, _| client.is_idle()) || !self.durable.is_written();
                    if is_anybodys && !is_of_purchase && !self.unread.is_empty() {
                        answers.push(Answer::Event(done, None)); // it may be about a record that is not read yet
                    } else if is_anybodys && !follows {
                        let _ = done.send(Some(handled)); // nothing of it is on record, so there is nothing to wait for
                    } else {
                        answers.push(Answer::Event(done, Some(handled)));
                    }
                }
                Request::Look(look) => look(&*self.node),
                Request::Change(change) => answers.push(Answer::Change(change(&self.session, &*self.node))),
            }
        }
        self.catch_up();
        self.look_at_postponed();
        self.look_at_held();
        self.look_at_payments();
        self.broadcast_again();
        self.look_for_confirmations();
        self.session.with(|client, now| client.tick(now));
        answers
    }

    fn committed(&mut self, _: bool) {}

    fn hear_others(&mut self) {
        self.hear_peers(Budget { moves: 0, messages: MESSAGES, bytes: BYTES });
        self.session.with(|client, now| client.tick(now));
    }

    fn is_told_again(answer: &Answer) -> bool {
        matches!(answer, Answer::Event(_, None))
    }

    fn answer(&mut self, answer: Answer, written: bool) {
        match answer {
            Answer::Event(done, handled) => drop(done.send(handled.filter(|_| written))),
            Answer::Change(reply) => reply(&self.session, written),
        }
    }

    async fn write_ahead(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn drain(&mut self) -> Option<Batch> {
        Some(self.session.with(|client, _| client.drain())).filter(|batch| !batch.is_empty())
    }

    fn changes(batch: &Batch) -> Vec<Change> {
        records::changes(batch.records())
    }

    fn release(&mut self, batch: Batch) -> Vec<Effect> {
        batch.records().for_each(|(flow, _)| self.unread.is_written(flow));
        let released = batch.written();
        self.outside.messages.send(released.messages);
        for notice in released.notices {
            self.pass_on(notice);
        }
        released.effects
    }

    fn execute(&mut self, effect: Effect) {
        report::doing(&effect);
        match effect {
            Effect::AcceptChannel { key, lsp, terms, .. } => self.accept(key, lsp, &terms),
            Effect::ClaimAfter { purchase, preimage, confirmations, .. } => {
                self.claims_after(purchase, preimage, confirmations);
            }
            Effect::AllowUnderpaying { lsp } => self.node.set_underpaying(lsp, true),
            Effect::ForbidUnderpaying { lsp } => self.node.set_underpaying(lsp, false),
            Effect::PayOrder { order, option, .. } => self.has_to_pay(order, option),
            Effect::StopPaying { order, option } => self.pays_no_more(order, &option),
            Effect::BroadcastPayment { order, transaction } => self.broadcast(order, &transaction),
            Effect::ReservePayment { transaction, .. } => self.reserve(&transaction),
            Effect::ForgetPayment { order, transaction } => self.forget(order, &transaction),
        }
    }

    fn executed(&mut self) {
        if std::mem::take(&mut self.has_new_claims) {
            self.look_at_held();
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        report::store_failed(error);
        self.tell(match error {
            StoreError::LostOwnership => WalletEvent::LostOwnership,
            StoreError::Failed(why) => WalletEvent::StoreFails(why.clone()),
        });
    }
}

/// Longest sleep of the pump, as the clock may jump.
const IDLE: Duration = Duration::from_secs(60);
/// Interval of checks for states of the node that it does not report, and of retries.
const WATCH: Duration = Duration::from_millis(250);
/// Time after which another marker is sent if none came back.
const OVERDUE: Duration = Duration::from_secs(60);

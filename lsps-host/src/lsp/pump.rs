//! The task that owns the service: it passes inputs, writes records, then sends messages and executes effects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{FeeRate, OutPoint, Transaction};
use tokio::sync::{Notify, mpsc, oneshot};

use lsps_service::{
    Batch, BookEntry, BookKey, Effect, FlowId, HeldHtlc, Input, KnownPart, NodeFacts, Outcome, PartId, Record, Refusal,
    Service, Unreadable,
};
use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, PeerId, Timestamp};

use super::book::Book;
use super::events::{Events, LspEvent};
use super::markers::Unsettled;
use super::orders::Onchain;
use super::report;
use super::unread::Unread;
use crate::inbox::{Budget, PeerEvent};
use crate::ports::{
    ChainAccess, ChainWatch, Change, Clock, LspNode, Messages, NodeEvent, Notifier, OnchainWallet, Resolution,
    StoreError,
};
use crate::pump::{self, BYTES, Durable, MESSAGES, MOVES, Waits};
use crate::records;

/// A request to the pump, with the channel for its answer.
pub(crate) enum Request {
    /// An event of the node, to be handled.
    Event {
        event: NodeEvent,
        fail_if_not_mine: bool,
        /// Result of the event; `None` if it is not durable and has to be reported again.
        done: oneshot::Sender<Option<Outcome>>,
    },
    /// The result of a notification.
    Posted(Input),
    /// A function that reads the service.
    Look(Box<dyn FnOnce(&Service) + Send>),
}

/// The ports besides the node.
pub(crate) struct Outside {
    pub messages: Arc<dyn Messages>,
    pub wallet: Arc<dyn OnchainWallet>,
    pub deposits: Option<Arc<dyn ChainWatch>>,
    pub notifier: Option<Arc<dyn Notifier>>,
    pub chain: Arc<dyn ChainAccess>,
    pub clock: Arc<dyn Clock>,
    pub book: Book,
    pub events: Arc<Events>,
}

pub(crate) struct Pump<N> {
    pub(super) service: Service,
    pub(super) node: Arc<N>,
    pub(super) outside: Outside,
    pub(super) durable: Durable<Batch>,
    /// Results of notifications, which wait like messages of peers.
    posted: VecDeque<Input>,
    /// Sender for answers that take time.
    pub(super) requests: mpsc::WeakUnboundedSender<Request>,
    /// Entries that are not in the book yet.
    pub(super) unbooked: BTreeMap<BookKey, BookEntry>,
    pub(super) unread: Unread,
    /// The last reported claim, which is not on record yet.
    unrecorded: Option<Unrecorded>,
    /// Clients with claims on record that the node forgot.
    pub(super) forgotten: BTreeSet<PeerId>,
    /// HTLCs that the node refused to fail, each with whether the core waits for the failure. The node is asked again
    /// until it fails them.
    unfailed: BTreeMap<PartId, (FailureCode, bool)>,
    /// Effects that node and wallet have not finished. They are executed again in each turn.
    pub(super) unmade: Vec<Effect>,
    /// Decisions that are taken once the node has reported its events.
    pub(super) unsettled: Unsettled,
    /// Time of the start on the steady clock.
    pub(super) started_at: Duration,
    /// The peers that were reported to the service as having channels.
    pub(super) with_channels: BTreeSet<PeerId>,
    pub(super) onchain: Onchain,
    pub(super) height: BlockHeight,
    /// Whether the block at this height was not reported to the service yet.
    pub(super) tells_block: bool,
    /// Whether outstanding transactions have not been checked since the block at this height.
    pub(super) follows_block: bool,
    /// The facts that were last reported to the core.
    facts: NodeFacts,
    facts_at: Option<Duration>,
    /// Age up to which the facts are reused.
    facts_age: Duration,
    /// Whether the node has to send what it was asked to forward or to fail.
    flushes: bool,
    /// Parts that were forwarded since; no question to the node shows them yet.
    pub(super) unflushed: BTreeSet<PartId>,
    /// Last readings of the clock and of the steady clock.
    clock_read: Option<(Timestamp, Duration)>,
}

impl<N: LspNode> Pump<N> {
    pub fn new(
        service: Service,
        node: Arc<N>,
        outside: Outside,
        durable: Durable<Batch>,
        requests: mpsc::WeakUnboundedSender<Request>,
    ) -> Self {
        let (unbooked, posted) = (BTreeMap::new(), VecDeque::new());
        let (unsettled, started_at, with_channels) = (Unsettled::default(), outside.clock.steady(), BTreeSet::new());
        let (onchain, height, facts_at, facts_age) = (Onchain::default(), BlockHeight(0), None, Duration::ZERO);
        Self {
            service,
            node,
            outside,
            durable,
            posted,
            requests,
            unbooked,
            unread: Unread::default(),
            unrecorded: None,
            forgotten: BTreeSet::new(),
            unfailed: BTreeMap::new(),
            unmade: vec![],
            unsettled,
            started_at,
            with_channels,
            onchain,
            height,
            tells_block: false,
            follows_block: false,
            facts: NodeFacts::default(),
            facts_at,
            facts_age,
            flushes: false,
            unflushed: BTreeSet::new(),
            clock_read: None,
        }
    }

    /// Loads the records, then compares them with the node.
    pub fn load<'a>(
        &mut self,
        records: Vec<(String, Vec<u8>)>,
        unread: impl Iterator<Item = &'a str>,
    ) -> Vec<Unreadable> {
        self.unread = Unread::of(unread, self.outside.clock.steady());
        let mut unreadable = vec![];
        for (name, bytes) in records {
            unreadable.extend(self.service.load(&Record { name, bytes }).err());
        }
        self.tell_facts();
        self.reconcile(|_| true);
        self.look_at_channels();
        unreadable
    }

    /// Compares flows that were just loaded with the node.
    pub(super) fn reconcile(&mut self, is_new: impl Fn(FlowId) -> bool) {
        // Parts come first, so that no channel is opened for a payment that is gone.
        self.reconcile_parts(&is_new);
        self.reconcile_orders(&is_new);
        self.reconcile_channels(&is_new);
    }

    /// Handles events of peers up to a budget; returns the number of bytes of their messages.
    fn hear_peers(&mut self, budget: Budget) -> usize {
        let mut heard = 0;
        for event in self.outside.messages.take(budget) {
            let _ = match event {
                PeerEvent::Connected(peer) => self.feed(Input::PeerConnected { peer }),
                PeerEvent::Disconnected(peer) => self.feed(Input::PeerDisconnected { peer }),
                PeerEvent::Message(peer, payload) => {
                    heard += payload.len().max(1);
                    self.feed(Input::Message { peer, payload })
                }
            };
        }
        heard
    }

    fn hear_node(&mut self, event: NodeEvent, fail_if_not_mine: bool) -> Heard {
        self.facts_at = None; // what could be received or spent may have changed
        match event {
            NodeEvent::Input(input) => {
                if self.unread.names(&input) {
                    return Heard::AGAIN;
                }
                if let Some(claim) = self.unrecorded.as_mut().filter(|claim| claim.input == input) {
                    claim.is_being_told = true;
                    return Heard { outcome: Some(claim.outcome), changes: true };
                }
                if let Input::HtlcHeld(htlc) = &input
                    && self.node.held(htlc.part) != Some(htlc.amount_in)
                {
                    // Told again after a crash. The HTLC was failed meanwhile, or the node is about to tell another one.
                    return Heard { outcome: Some(Outcome::Taken), changes: false };
                }
                let is_unread = self.unread.may_be(&input);
                if let Input::HtlcHeld(htlc) = &input {
                    // The HTLC that was held under this id before is gone.
                    self.unfailed.retain(|part, (_, is_owed)| *part != htlc.part || *is_owed);
                    self.look_for_parts_like(htlc);
                }
                let part = if let Input::HtlcHeld(htlc) = &input { Some(htlc.part) } else { None };
                if let Input::PaymentHeld(held) = &input {
                    self.onchain.doubts(held.payment_hash, self.outside.clock.steady());
                }
                if let Input::ChannelPending { key } | Input::ChannelReady { key, .. } = &input {
                    self.look_before_publication(*key);
                }
                let is_ready = matches!(&input, Input::ChannelReady { .. });
                let claimed =
                    if let Input::PartForwarded { part, over } = &input { Some((*part, *over)) } else { None };
                claimed.into_iter().for_each(|(claimed, over)| self.tell_whereabouts_before(claimed, over));
                // A claim that nobody waits for may be that of a part on a record that is missing.
                let is_unexpected = |(claimed, over)| !self.service.expects_claim(claimed, over);
                if is_unread && claimed.is_some_and(is_unexpected) {
                    return Heard::AGAIN;
                }
                let told = claimed.is_some().then(|| input.clone());
                let held = claimed.map(|(claimed, _)| self.held_like(claimed)).unwrap_or_default();
                let outcome = self.feed(input);
                self.tell_held_and_claimed(&held);
                if is_unread && outcome == Outcome::NotMine {
                    return Heard::AGAIN;
                }
                if let Some(client) = claimed.and_then(|(claimed, _)| self.service.has_another_like(claimed)) {
                    self.unsettled.suspect(client);
                }
                if let Some(part) = part.filter(|_| outcome == Outcome::NotMine && fail_if_not_mine) {
                    let _looked_at_below = self.fail_htlc(part, FailureCode::UnknownNextPeer, false);
                    self.node.flush();
                }
                // The service has no record of the HTLC, so the node has to keep the event until it fails the HTLC.
                let is_refused = |part: &PartId| matches!(self.unfailed.get(part), Some((_, false)));
                if let Some(part) = part.filter(is_refused) {
                    self.unfailed.remove(&part);
                    return Heard::AGAIN;
                }
                if is_ready {
                    self.look_for_usable_clients();
                }
                // A claim that belongs to no part may have used an order's channel anyway, and a repeated claim
                // may have caused changes that the store refused to write.
                let changes = outcome != Outcome::NotMine || self.service.pending() > 0 || !self.durable.is_written();
                if let Some(input) = told.filter(|_| changes) {
                    self.unrecorded = Some(Unrecorded { input, outcome, is_being_told: true });
                }
                Heard { outcome: Some(outcome), changes }
            }
            NodeEvent::FailedTowards(peer) => {
                self.unsettled.suspect(peer);
                Heard { outcome: Some(Outcome::NotMine), changes: false }
            }
            NodeEvent::FailedReceive(payment_hash) => {
                let is_known = self.service.known_payments_with(payment_hash).next().is_some();
                if is_known {
                    self.onchain.doubts(payment_hash, self.outside.clock.steady());
                }
                if !is_known && self.unread.has_orders() {
                    return Heard::AGAIN;
                }
                let outcome = if is_known { Outcome::Taken } else { Outcome::NotMine };
                Heard { outcome: Some(outcome), changes: is_known }
            }
            NodeEvent::Marker(marker) => {
                self.marker_came_back(marker);
                Heard { outcome: Some(Outcome::Taken), changes: true }
            }
            NodeEvent::FailedHeld(scid) if self.unread.has_scid(scid) => Heard::AGAIN,
            NodeEvent::FailedHeld(scid) => {
                if self.service.known_parts_to(scid).next().is_none() {
                    // A node also reports this for an HTLC that it could not send, under an SCID of a channel that is
                    // gone.
                    self.unsettled.suspects_all = true;
                }
                let lost = |part: &KnownPart| part.is_live && part.sent.is_none() && self.node.held(part.id).is_none();
                let lost: Vec<PartId> = self.service.known_parts_to(scid).filter(lost).map(|part| part.id).collect();
                let changes = !lost.is_empty() || !self.durable.is_written();
                for part in lost {
                    let _ = self.feed(Input::PartGone { part });
                }
                Heard { outcome: Some(Outcome::NotMine), changes }
            }
        }
    }

    pub(super) fn feed_all(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            let _ = self.feed(input);
        }
    }

    /// Passes an input to the core, and undoes a refused one at its source.
    pub(super) fn feed(&mut self, input: Input) -> Outcome {
        let now = self.read_clock();
        let ends = if let Input::ChannelEnded { key, .. } = &input { Some(*key) } else { None };
        let client = ends.and_then(|key| self.service.known_channels().find(|channel| channel.key == key));
        let client = client.map(|channel| channel.client);
        let outcome = self.service.handle(&input, now);
        report::heard(&input, outcome);
        match (outcome, input) {
            (
                Outcome::Refused(Refusal::FailPart(code)),
                Input::HtlcHeld(HeldHtlc { part, .. }) | Input::PartStillHeld { part, .. },
            ) => {
                let _asked_again = self.fail_htlc(part, code, false);
                self.node.flush();
            }
            (Outcome::Refused(Refusal::FailPayment), Input::PaymentHeld(held)) => {
                self.node.fail_payment(held.payment_hash);
                self.node.flush();
            }
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Input::ChannelNegotiated { key, .. }) => {
                self.close_by_key(key);
            }
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Input::FundingBuilt { tx, .. }) => self.release(&tx),
            (Outcome::Taken, Input::ChannelEnded { key, why }) => {
                // HTLCs on the channel may have failed, and no other event may report that.
                client.into_iter().for_each(|client| self.unsettled.suspect(client));
                self.outside.events.send(LspEvent::ChannelEnded { key, why });
            }
            _ => {}
        }
        outcome
    }

    /// Fails a held HTLC. If the node refuses, the call is repeated later. `is_owed`: the HTLC is a part on record that
    /// the core wants failed, and not another HTLC with its id.
    pub(super) fn fail_htlc(&mut self, part: PartId, code: FailureCode, is_owed: bool) -> Resolution {
        let resolution = self.node.fail(part, code);
        match resolution {
            Resolution::Refused => {
                let entry = self.unfailed.entry(part).or_insert((code, is_owed));
                *entry = (code, entry.1 || is_owed);
            }
            Resolution::Done | Resolution::NotHeld => {
                let was_owed = self.unfailed.remove(&part).is_some_and(|(_, was_owed)| was_owed);
                if was_owed && !is_owed {
                    let _ = self.feed(Input::PartFailed { part }); // the core waits for the earlier call
                }
            }
        }
        resolution
    }

    /// Repeats the calls for HTLCs that the node refused to fail.
    pub(super) fn fail_again(&mut self) {
        for (part, (code, is_owed)) in std::mem::take(&mut self.unfailed) {
            if self.fail_htlc(part, code, is_owed) != Resolution::Refused && is_owed {
                let _ = self.feed(Input::PartFailed { part });
            }
        }
    }

    /// Reports to the core that the clock was set, before any other input with the new time.
    fn read_clock(&mut self) -> Timestamp {
        let (now, steady) = (self.outside.clock.now(), self.outside.clock.steady());
        let (was, then) = self.clock_read.replace((now, steady)).unwrap_or((now, steady));
        let from = was + steady.saturating_sub(then);
        if now.since(from).max(from.since(now)) >= CLOCK_SET {
            let input = Input::ClockSet { from, to: now };
            let outcome = self.service.handle(&input, now);
            report::heard(&input, outcome);
        }
        now
    }

    pub(super) fn loses_ownership(&mut self) {
        pump::loses_ownership(self);
    }

    /// Whether all decisions of the core are durable.
    pub(super) fn is_on_record(&self) -> bool {
        self.durable.is_written() && self.service.pending() == 0
    }

    fn refresh_facts(&mut self) {
        let now = self.outside.clock.steady();
        if self.facts_at.is_none_or(|at| now.saturating_sub(at) >= self.facts_age) {
            self.tell_facts();
        }
    }

    pub(super) fn tell_facts(&mut self) {
        self.notes_block();
        let begun = self.outside.clock.steady();
        let facts = NodeFacts {
            height: self.height,
            feerate_sat_per_kw: sat_per_kw(self.outside.chain.fee_rate()),
            commitment_feerate_sat_per_kw: sat_per_kw(self.outside.chain.commitment_fee_rate()),
            anchors: self.node.makes_anchors(),
            spendable_sat: self.outside.wallet.spendable_sat(),
            inbound: self.node.inbound(),
        };
        self.facts = facts;
        let done = self.outside.clock.steady();
        (self.facts_at, self.facts_age) = (Some(done), (done.saturating_sub(begun) * FACTS_SHARE).min(FACTS_AGE));
        let _ = self.feed(Input::NodeFacts(facts));
    }

    /// Reports the feerates if they changed. The other facts require a walk over all channels.
    fn tell_feerates(&mut self) {
        let feerate_sat_per_kw = sat_per_kw(self.outside.chain.fee_rate());
        let commitment_feerate_sat_per_kw = sat_per_kw(self.outside.chain.commitment_fee_rate());
        let facts = NodeFacts { feerate_sat_per_kw, commitment_feerate_sat_per_kw, ..self.facts };
        if facts != self.facts {
            self.facts = facts;
            let _ = self.feed(Input::NodeFacts(facts));
        }
    }

    fn pause(&self) -> Duration {
        let watching = self.unsettled.is_watched()
            || self.onchain.has_doubts()
            || !self.durable.is_written()
            || !self.unbooked.is_empty()
            || !self.unfailed.is_empty()
            || !self.unmade.is_empty()
            || self.unsettled.suspects_all
            || self.service.waiting_clients().next().is_some();
        let idle = if watching { WATCH } else { IDLE };
        let due = self.service.next_wake().map(|(at, _)| at.since(self.outside.clock.now()));
        due.unwrap_or(idle).min(idle).max(Duration::from_millis(1))
    }
}

impl<N: LspNode> pump::Pump for Pump<N> {
    type Request = Request;
    type Answer = Answer;
    type Batch = Batch;
    type Effect = Effect;

    fn durable(&mut self) -> &mut Durable<Batch> {
        &mut self.durable
    }

    fn waits(&self) -> Waits {
        let (messages, clock) = (Arc::clone(&self.outside.messages), Arc::clone(&self.outside.clock));
        let can_write = self.durable.is_written() && self.unbooked.is_empty();
        let has_more = can_write && (messages.has_news() || !self.posted.is_empty());
        Waits { messages, clock, wake: Arc::<Notify>::default(), at_most: self.pause(), has_more }
    }

    async fn read_unread(&mut self) {
        self.read_missing().await;
    }

    fn hear(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        // A channel may be planned for whoever comes back, or for an HTLC.
        self.tell_feerates();
        // A block can complete a payment: whether its client is connected has to be known by then.
        self.hear_peers(MOVES);
        self.look_at_block();
        let mut answers = vec![];
        for request in requests {
            match request {
                Request::Event { event, fail_if_not_mine, done } => match self.hear_node(event, fail_if_not_mine) {
                    // No record depends on it, so the answer need not wait.
                    Heard { outcome: Some(outcome), changes: false } => drop(done.send(Some(outcome))),
                    Heard { outcome, .. } => answers.push((done, outcome)),
                },
                Request::Posted(input) => self.posted.push_back(input),
                Request::Look(look) => look(&self.service),
            }
        }
        self.look_around();
        answers
    }

    fn committed(&mut self, written: bool) {
        self.unrecorded.take_if(|claim| std::mem::take(&mut claim.is_being_told) && written);
    }

    /// Handles messages of peers and results of notifications, in turn, until there is enough to write or execute.
    fn hear_others(&mut self) {
        // Writing takes time, and so does the pause of an event that is told again. Deadlines are judged by who is there now.
        self.tell_feerates();
        self.hear_peers(MOVES);
        if self.outside.messages.has_news() {
            self.refresh_facts();
        }
        let mut bytes_left = BYTES;
        for _ in 0..MESSAGES {
            let posted = self.posted.pop_front();
            let heard = self.hear_peers(Budget { moves: 0, messages: usize::from(bytes_left > 0), bytes: 1 });
            bytes_left = bytes_left.saturating_sub(heard);
            let nothing_left = posted.is_none() && heard == 0;
            self.feed_all(posted.into_iter().collect());
            if nothing_left || self.service.pending() >= CHANGES {
                break;
            }
        }
        let _ = self.feed(Input::Tick);
    }

    fn is_told_again((_, outcome): &Answer) -> bool {
        outcome.is_none()
    }

    fn answer(&mut self, (done, outcome): Answer, written: bool) {
        let _ = done.send(outcome.filter(|_| written));
    }

    /// Writes entries to the book before they are reported to the service as booked.
    async fn write_ahead(&mut self) -> Result<(), StoreError> {
        if self.unbooked.is_empty() {
            return Ok(());
        }
        self.outside.book.enter(&self.unbooked).await?;
        for (key, entry) in std::mem::take(&mut self.unbooked) {
            report::booked(&entry);
            if let Some(alarm) = LspEvent::alarm(&key, &entry) {
                self.outside.events.send(alarm);
            }
            let _ = self.feed(Input::Booked { key });
        }
        Ok(())
    }

    fn drain(&mut self) -> Option<Batch> {
        Some(self.service.drain()).filter(|batch| !batch.is_empty())
    }

    fn changes(batch: &Batch) -> Vec<Change> {
        records::changes(batch.records())
    }

    fn release(&mut self, batch: Batch) -> Vec<Effect> {
        batch.records().for_each(|(flow, _)| self.unread.is_written(flow));
        let released = batch.written();
        self.outside.messages.send(released.messages);
        for flow in released.alarms {
            report::runaway(flow);
            self.outside.events.send(LspEvent::Runaway { flow });
        }
        if let Some(notifier) = &self.outside.notifier {
            released.withdrawn.iter().for_each(|key| notifier.withdraw(*key));
        }
        for introduced in released.introduced {
            report::introduced(&introduced);
            self.outside.events.send(LspEvent::ClientIntroduced(introduced));
        }
        for decision in released.pending_decisions {
            self.outside.events.send(LspEvent::Undecided(decision));
        }
        released.effects
    }

    fn execute(&mut self, effect: Effect) {
        self.flushes |=
            matches!(effect, Effect::ForwardPart { .. } | Effect::FailPart { .. } | Effect::FailPayment { .. });
        let answers = self.carry_out(effect);
        self.feed_all(answers);
    }

    fn executed(&mut self) {
        if std::mem::take(&mut self.flushes) {
            self.node.flush();
            self.unflushed.clear();
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        report::store_failed(error);
        self.outside.events.send(match error {
            StoreError::LostOwnership => LspEvent::LostOwnership,
            StoreError::Failed(why) => LspEvent::StoreFails(why.clone()),
        });
    }
}

/// The sender of the answer to an event, and its outcome; `None`: the event has to be reported again.
type Answer = (oneshot::Sender<Option<Outcome>>, Option<Outcome>);

/// Result of an event of the node.
struct Heard {
    /// Outcome; `None` if the event has to be reported again.
    outcome: Option<Outcome>,
    /// Whether changes follow that have to be durable before the node may drop the event.
    changes: bool,
}

impl Heard {
    const AGAIN: Self = Self { outcome: None, changes: true };
}

/// A claim that the core has accepted and that is not on record yet. Nodes report each event until its record is
/// written, and later events only then: a repetition of this claim is not the claim of an equal part.
struct Unrecorded {
    input: Input,
    outcome: Outcome,
    /// Whether the event waits for its answer in this turn.
    is_being_told: bool,
}

/// Converts a feerate to satoshis per 1 000 weight units; it saturates.
pub(super) fn sat_per_kw(rate: FeeRate) -> u32 {
    u32::try_from(rate.to_sat_per_kwu()).unwrap_or(u32::MAX)
}

pub(super) fn inputs_of(tx: &Transaction) -> Vec<OutPoint> {
    tx.input.iter().map(|input| input.previous_output).collect()
}

/// Interval of checks while a client's channels, or an outcome, are waited for.
const WATCH: Duration = Duration::from_millis(50);
/// Interval of checks otherwise, by which blocks are noticed.
const IDLE: Duration = Duration::from_secs(1);
/// The largest change of a clock that does not count as having been set.
const CLOCK_SET: Duration = Duration::from_secs(5);
/// Highest age up to which facts are reused when a client asks; reading them walks all channels of the node. No event says
/// that a channel became usable, and a client that asks just then would be refused.
const FACTS_AGE: Duration = Duration::from_millis(50);
/// Facts are reused for this many times as long as it took to read them, so that reading takes a twentieth of the time.
const FACTS_SHARE: u32 = 20;
/// Number of records and effects after which a turn handles no more messages; the last message may add some.
const CHANGES: usize = 32;

//! The one task that owns the service: inputs in, records written, then messages and acts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{OutPoint, Transaction};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use lsps_service::{
    Batch, BookEntry, BookKey, ChannelKey, Effect, Input, KnownOrder, KnownPart, NodeFacts, Outcome, PartId, Promised,
    Record, Refusal, Service, Unreadable,
};
use lsps_types::{BlockHeight, PaymentHash, PeerId};

use super::book::Book;
use super::news::{LspEvent, NodeNews};
use super::node::Node;
use super::orders::Onchain;
use super::report;
use super::webhooks::Notifier;
use crate::handler::PeerEvent;
use crate::onchain::{ChainAccess, ChainWatch, Clock, OnchainWallet};
use crate::peers::{Manager, Peers, peer_id};
use crate::store::{RETRY, RecordStore};

/// What reaches the pump, and who waits for the answer.
pub(crate) enum Told {
    /// An event of the node, to be dealt with.
    News {
        news: NodeNews,
        fail_if_not_mine: bool,
        /// `None`: not durable; to be told again.
        done: oneshot::Sender<Option<Outcome>>,
    },
    /// See [`Service::may_close`].
    MayClose { key: ChannelKey, done: oneshot::Sender<Result<(), Promised>> },
    /// See [`Service::known_orders`].
    Orders { done: oneshot::Sender<Vec<KnownOrder>> },
}

/// The world besides node and peers.
pub(crate) struct Outside {
    pub wallet: Arc<dyn OnchainWallet>,
    pub deposits: Option<Arc<dyn ChainWatch>>,
    pub notifier: Option<Arc<dyn Notifier>>,
    pub chain: Arc<dyn ChainAccess>,
    pub clock: Arc<dyn Clock>,
    pub store: RecordStore,
    pub book: Book,
    pub events: broadcast::Sender<LspEvent>,
}

pub(crate) struct Pump<M> {
    pub(super) service: Service,
    pub(super) node: Arc<Node<M>>,
    pub(super) peers: Peers,
    pub(super) outside: Outside,
    queue: mpsc::UnboundedReceiver<Told>,
    /// Where answers come in that take their time.
    pub(super) inputs: mpsc::WeakUnboundedSender<Told>,
    /// A batch that the store refused; written before anything else happens.
    unwritten: Option<Batch>,
    /// Entries that are not in the book yet.
    pub(super) unbooked: BTreeMap<BookKey, BookEntry>,
    /// Clients of whose sent parts some failed, LDK does not say which; looked at when the dust has settled.
    pub(super) suspects: BTreeMap<PeerId, Instant>,
    /// Of whom the service was told that there are channels with them.
    pub(super) with_channels: BTreeSet<PeerId>,
    pub(super) onchain: Onchain,
    pub(super) height: u32,
    facts_at: Option<Instant>,
}

impl<M: Manager> Pump<M> {
    pub fn new(
        service: Service,
        node: Arc<Node<M>>,
        peers: Peers,
        outside: Outside,
        queue: mpsc::UnboundedReceiver<Told>,
        inputs: mpsc::WeakUnboundedSender<Told>,
    ) -> Self {
        let (unwritten, unbooked) = (None, BTreeMap::new());
        let (suspects, with_channels) = (BTreeMap::new(), BTreeSet::new());
        let (onchain, height, facts_at) = (Onchain::default(), 0, None);
        Self {
            service,
            node,
            peers,
            outside,
            queue,
            inputs,
            unwritten,
            unbooked,
            suspects,
            with_channels,
            onchain,
            height,
            facts_at,
        }
    }

    /// Takes the records, then compares them with what the node knows by now.
    pub fn load(&mut self, records: Vec<(String, Vec<u8>)>) -> Vec<Unreadable> {
        let mut unreadable = vec![];
        for (name, bytes) in records {
            unreadable.extend(self.service.load(&Record { name, bytes }).err());
        }
        self.tell_facts();
        // Parts first: what nobody waits for any more is not opened anew.
        self.reconcile_parts();
        self.reconcile_orders();
        self.reconcile_channels();
        self.look_at_channels();
        unreadable
    }

    pub async fn run(mut self) {
        self.turn(vec![]).await;
        loop {
            let pause = self.pause();
            let first = tokio::select! {
                told = self.queue.recv() => match told {
                    Some(told) => Some(told),
                    None => return,
                },
                () = self.peers.arrived() => None,
                () = tokio::time::sleep(pause) => None,
            };
            let mut told: Vec<Told> = first.into_iter().collect();
            while let Ok(more) = self.queue.try_recv() {
                told.push(more);
            }
            self.turn(told).await;
        }
    }

    async fn turn(&mut self, told: Vec<Told>) {
        self.look_at_block();
        self.hear_peers();
        let mut answers = vec![];
        for told in told {
            match told {
                Told::News { news, fail_if_not_mine, done } => {
                    answers.push((done, self.hear_node(news, fail_if_not_mine)));
                }
                Told::MayClose { key, done } => {
                    let _ = done.send(self.service.may_close(key));
                }
                Told::Orders { done } => {
                    let _ = done.send(self.service.known_orders().collect());
                }
            }
        }
        self.look_around();
        let written = self.commit().await;
        if !written {
            tokio::time::sleep(RETRY).await;
        }
        for (done, outcome) in answers {
            let _ = done.send(written.then_some(outcome));
        }
    }

    fn hear_peers(&mut self) {
        let events = self.peers.take();
        if events.iter().any(|event| matches!(event, PeerEvent::Message(..))) {
            self.refresh_facts();
        }
        for event in events {
            let _ = match event {
                PeerEvent::Connected(peer) => self.feed(Input::PeerConnected { peer: peer_id(&peer) }),
                PeerEvent::Disconnected(peer) => self.feed(Input::PeerDisconnected { peer: peer_id(&peer) }),
                PeerEvent::Message(peer, payload) => self.feed(Input::Message { peer: peer_id(&peer), payload }),
            };
        }
    }

    fn hear_node(&mut self, news: NodeNews, fail_if_not_mine: bool) -> Outcome {
        match news {
            NodeNews::Input(input) => {
                if let Input::HtlcHeld(htlc) = &input {
                    self.look_for_parts_like(htlc);
                }
                let part = if let Input::HtlcHeld(htlc) = &input { Some(htlc.part) } else { None };
                if let Input::PaymentHeld(held) = &input {
                    self.onchain.doubts(held.payment_hash);
                }
                let is_ready = matches!(&input, Input::ChannelReady { .. });
                let outcome = self.feed(input);
                if let Some(part) = part.filter(|_| outcome == Outcome::NotMine && fail_if_not_mine) {
                    self.node.fail(part, lsps_types::bolt4::FailureCode::UnknownNextPeer);
                    self.node.flush();
                }
                if is_ready {
                    self.look_for_usable_clients();
                }
                outcome
            }
            NodeNews::FailedTowards(peer) => {
                self.suspects.entry(peer_id(&peer)).or_insert_with(|| Instant::now() + SETTLE);
                Outcome::NotMine
            }
            NodeNews::FailedReceive(payment_hash) => {
                let is_known = self.service.known_payments_with(payment_hash).next().is_some();
                if is_known {
                    self.onchain.doubts(payment_hash);
                }
                if is_known { Outcome::Taken } else { Outcome::NotMine }
            }
            NodeNews::FailedHeld(scid) => {
                let lost = |part: &KnownPart| part.is_live && part.sent.is_none() && !self.node.holds(part.id);
                let lost: Vec<PartId> = self.service.known_parts_to(scid).filter(lost).map(|part| part.id).collect();
                for part in lost {
                    let _ = self.feed(Input::PartGone { part });
                }
                Outcome::NotMine
            }
        }
    }

    pub(super) fn feed_all(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            let _ = self.feed(input);
        }
    }

    /// Tells the core, and undoes at the source what it refuses.
    pub(super) fn feed(&mut self, input: Input) -> Outcome {
        let undo = match &input {
            Input::HtlcHeld(htlc) => Undo::Part(htlc.part),
            Input::PartStillHeld { part, .. } => Undo::Part(*part),
            Input::ChannelNegotiated { key, .. } => Undo::Channel(*key),
            Input::FundingBuilt { tx, .. } => Undo::Inputs(tx.clone()),
            Input::PaymentHeld(held) => Undo::Payment(held.payment_hash),
            _ => Undo::Nothing,
        };
        let told = input.clone();
        let outcome = self.service.handle(input, self.outside.clock.now());
        report::heard(&told, outcome);
        if let (Input::ChannelEnded { key, why }, Outcome::Taken) = (told, outcome) {
            let _nobody_listens = self.outside.events.send(LspEvent::ChannelEnded { key, why });
        }
        match (outcome, undo) {
            (Outcome::Refused(Refusal::FailPart(code)), Undo::Part(part)) => {
                self.node.fail(part, code);
                self.node.flush();
            }
            (Outcome::Refused(Refusal::FailPayment), Undo::Payment(hash)) => {
                self.node.fail_payment(hash);
                self.node.flush();
            }
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Undo::Channel(key)) => self.node.close_by_key(key),
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Undo::Inputs(tx)) => self.release(&tx),
            _ => {}
        }
        outcome
    }

    /// Writes all that changed, then lets out what that allows, until nothing more follows. `false`: the store failed.
    async fn commit(&mut self) -> bool {
        loop {
            if !self.keep_book().await {
                return false;
            }
            let batch = self.unwritten.take().unwrap_or_else(|| self.service.drain());
            if batch.is_empty() {
                return true;
            }
            if let Err(error) = self.outside.store.write(batch.records()).await {
                self.unwritten = Some(batch);
                self.store_failed(&error);
                return false;
            }
            let released = batch.written();
            self.peers.send(released.messages);
            for question in released.questions {
                let _nobody_listens = self.outside.events.send(LspEvent::Undecided(question));
            }
            let mut flush = false;
            for effect in released.effects {
                flush |=
                    matches!(effect, Effect::ForwardPart { .. } | Effect::FailPart { .. } | Effect::FailPayment { .. });
                let answers = self.perform(effect);
                self.feed_all(answers);
            }
            if flush {
                self.node.flush();
            }
        }
    }

    /// Entries go into the book before the service is told that they are there.
    async fn keep_book(&mut self) -> bool {
        while let Some((key, entry)) = self.unbooked.first_key_value() {
            if let Err(error) = self.outside.book.enter(*key, entry).await {
                self.store_failed(&error);
                return false;
            }
            report::booked(entry);
            if let Some(alarm) = LspEvent::alarm(key, entry) {
                let _nobody_listens = self.outside.events.send(alarm);
            }
            let key = *key;
            self.unbooked.remove(&key);
            let _ = self.feed(Input::Booked { key });
        }
        true
    }

    fn store_failed(&self, error: &lightning::io::Error) {
        report::store_failed(error);
        let _nobody_listens = self.outside.events.send(LspEvent::StoreFails(error.to_string()));
    }

    fn refresh_facts(&mut self) {
        if self.facts_at.is_none_or(|at| at.elapsed() >= FACTS_AGE) {
            self.tell_facts();
        }
    }

    pub(super) fn tell_facts(&mut self) {
        self.height = self.node.height();
        self.facts_at = Some(Instant::now());
        let facts = NodeFacts {
            height: BlockHeight(self.height),
            feerate_sat_per_kw: u32::try_from(self.outside.chain.fee_rate().to_sat_per_kwu()).unwrap_or(u32::MAX),
            spendable_sat: self.outside.wallet.spendable_sat(),
            inbound: self.node.inbound(),
        };
        let _ = self.feed(Input::NodeFacts(facts));
    }

    fn pause(&self) -> Duration {
        let watching = !self.suspects.is_empty()
            || self.onchain.has_doubts()
            || self.unwritten.is_some()
            || !self.unbooked.is_empty()
            || self.service.waiting_clients().next().is_some();
        let idle = if watching { WATCH } else { IDLE };
        let due = self.service.next_wake().map(|(at, _)| at.since(self.outside.clock.now()));
        due.unwrap_or(idle).min(idle).max(Duration::from_millis(1))
    }
}

/// What has to be taken back when the core refuses the news of it.
enum Undo {
    Nothing,
    Part(PartId),
    Channel(ChannelKey),
    Inputs(Vec<u8>),
    Payment(PaymentHash),
}

pub(super) fn inputs_of(tx: &Transaction) -> Vec<OutPoint> {
    tx.input.iter().map(|input| input.previous_output).collect()
}

/// While a client's channels, or an outcome, are waited for.
const WATCH: Duration = Duration::from_millis(50);
/// While nothing is; blocks are noticed this fast.
const IDLE: Duration = Duration::from_secs(1);
/// How old facts may be when a client asks for prices.
const FACTS_AGE: Duration = Duration::from_millis(500);
/// The claims that LDK tells after a failure arrive within this.
pub(super) const SETTLE: Duration = Duration::from_millis(200);

//! The one task that owns the service: inputs in, records written, then messages and acts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::{OutPoint, Transaction};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use lsps_service::{
    Batch, ChannelKey, Effect, Input, KnownPart, NodeFacts, Outcome, PartId, Record, Refusal, Service, Unreadable,
};
use lsps_types::{BlockHeight, PeerId};

use super::NodeNews;
use super::node::Node;
use crate::handler::PeerEvent;
use crate::onchain::{ChainAccess, Clock, OnchainWallet};
use crate::peers::{Manager, Peers, peer_id};
use crate::store::RecordStore;

/// An event of the node, and who waits for it to be dealt with.
pub(crate) struct Told {
    pub news: NodeNews,
    pub fail_if_not_mine: bool,
    /// `None`: not durable; to be told again.
    pub done: oneshot::Sender<Option<Outcome>>,
}

pub(crate) struct Pump<M> {
    pub(super) service: Service,
    pub(super) node: Arc<Node<M>>,
    pub(super) peers: Peers,
    store: RecordStore,
    pub(super) wallet: Arc<dyn OnchainWallet>,
    pub(super) chain: Arc<dyn ChainAccess>,
    clock: Arc<dyn Clock>,
    queue: mpsc::UnboundedReceiver<Told>,
    /// A batch that the store refused; written before anything else happens.
    unwritten: Option<Batch>,
    /// Forwards for clients whose channels are not usable at the moment.
    pub(super) waiting: Vec<Effect>,
    /// Clients of whose sent parts some failed, LDK does not say which; looked at when the dust has settled.
    pub(super) suspects: BTreeMap<PeerId, Instant>,
    pub(super) height: u32,
    facts_at: Option<Instant>,
}

impl<M: Manager> Pump<M> {
    #[allow(clippy::too_many_arguments)] // each is one thing the host gave
    pub fn new(
        service: Service,
        node: Arc<Node<M>>,
        peers: Peers,
        store: RecordStore,
        wallet: Arc<dyn OnchainWallet>,
        chain: Arc<dyn ChainAccess>,
        clock: Arc<dyn Clock>,
        queue: mpsc::UnboundedReceiver<Told>,
    ) -> Self {
        let (unwritten, waiting, suspects) = (None, vec![], BTreeMap::new());
        let (height, facts_at) = (0, None);
        Self {
            service,
            node,
            peers,
            store,
            wallet,
            chain,
            clock,
            queue,
            unwritten,
            waiting,
            suspects,
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
        self.reconcile_channels();
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
        self.hear_peers();
        let mut answers = vec![];
        for Told { news, fail_if_not_mine, done } in told {
            answers.push((done, self.hear_node(news, fail_if_not_mine)));
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
                    self.look_for_returned_parts(htlc);
                }
                let part = if let Input::HtlcHeld(htlc) = &input { Some(htlc.part) } else { None };
                let ready = if let Input::ChannelReady { key, .. } = &input { Some(*key) } else { None };
                let outcome = self.feed(input);
                if let Some(part) = part.filter(|_| outcome == Outcome::NotMine && fail_if_not_mine) {
                    self.node.fail(part, lsps_types::bolt4::FailureCode::UnknownNextPeer);
                }
                if ready.is_some() {
                    self.look_for_usable_clients();
                }
                outcome
            }
            NodeNews::FailedTowards(peer) => {
                self.suspects.entry(peer_id(&peer)).or_insert_with(|| Instant::now() + SETTLE);
                Outcome::NotMine
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
            Input::PartStillHeld { part } => Undo::Part(*part),
            Input::ChannelNegotiated { key, .. } => Undo::Channel(*key),
            Input::FundingBuilt { tx, .. } => Undo::Inputs(tx.clone()),
            _ => Undo::Nothing,
        };
        let outcome = self.service.handle(input, self.clock.now());
        match (outcome, undo) {
            (Outcome::Refused(Refusal::FailPart(code)), Undo::Part(part)) => {
                self.node.fail(part, code);
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
            let batch = self.unwritten.take().unwrap_or_else(|| self.service.drain());
            if batch.is_empty() {
                return true;
            }
            if self.store.write(batch.records()).await.is_err() {
                self.unwritten = Some(batch);
                return false;
            }
            let released = batch.written();
            self.peers.send(released.messages);
            let mut flush = false;
            for effect in released.effects {
                flush |= matches!(effect, Effect::ForwardPart { .. } | Effect::FailPart { .. });
                let answers = self.perform(effect);
                self.feed_all(answers);
            }
            if flush {
                self.node.flush();
            }
        }
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
            feerate_sat_per_kw: u32::try_from(self.chain.fee_rate().to_sat_per_kwu()).unwrap_or(u32::MAX),
            spendable_sat: self.wallet.spendable_sat(),
            inbound: self.node.inbound(),
        };
        let _ = self.feed(Input::NodeFacts(facts));
    }

    fn pause(&self) -> Duration {
        let watching = !self.waiting.is_empty()
            || !self.suspects.is_empty()
            || self.unwritten.is_some()
            || self.service.waiting_clients().next().is_some();
        let idle = if watching { WATCH } else { IDLE };
        let due = self.service.next_wake().map(|(at, _)| at.since(self.clock.now()));
        due.unwrap_or(idle).min(idle).max(Duration::from_millis(1))
    }
}

/// What has to be taken back when the core refuses the news of it.
enum Undo {
    Nothing,
    Part(PartId),
    Channel(ChannelKey),
    Inputs(Vec<u8>),
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
/// Before events are told again to a store that fails; longer would hold up the node's own saves.
const RETRY: Duration = Duration::from_millis(250);

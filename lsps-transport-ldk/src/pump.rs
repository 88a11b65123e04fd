//! The one task that owns the service: inputs in, records written, then messages and acts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, ScriptBuf, Transaction};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use lsps_service::{
    Batch, ChannelEnd, ChannelId, ChannelKey, ChannelStage, Effect, Input, KnownPart, NodeFacts, Outcome, PartId,
    Record, Refusal, Service, Unreadable,
};
use lsps_types::{BlockHeight, PeerId};

use crate::handler::{LspsMessageHandler, PeerEvent};
use crate::lsp::{NodeNews, peer_id};
use crate::node::{Asked, Manager, Node};
use crate::onchain::{ChainAccess, Clock, OnchainWallet};
use crate::store::RecordStore;

/// An event of the node, and who waits for it to be dealt with.
pub(crate) struct Told {
    pub news: NodeNews,
    pub fail_if_not_mine: bool,
    /// `None`: not durable; to be told again.
    pub done: oneshot::Sender<Option<Outcome>>,
}

pub(crate) struct Pump<M> {
    service: Service,
    node: Arc<Node<M>>,
    messages: Arc<LspsMessageHandler>,
    store: RecordStore,
    wallet: Arc<dyn OnchainWallet>,
    chain: Arc<dyn ChainAccess>,
    clock: Arc<dyn Clock>,
    queue: mpsc::UnboundedReceiver<Told>,
    /// A batch that the store refused; written before anything else happens.
    unwritten: Option<Batch>,
    /// Forwards for clients whose channels are not usable at the moment.
    waiting: Vec<Effect>,
    /// Clients of whose sent parts some failed, LDK does not say which; looked at when the dust has settled.
    suspects: BTreeMap<PeerId, Instant>,
    height: u32,
    facts_at: Option<Instant>,
}

impl<M: Manager> Pump<M> {
    #[allow(clippy::too_many_arguments)] // each is one thing the host gave
    pub fn new(
        service: Service,
        node: Arc<Node<M>>,
        messages: Arc<LspsMessageHandler>,
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
            messages,
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
        self.reconcile_channels();
        self.reconcile_parts();
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
                () = self.messages.arrived.notified() => None,
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
        let events = self.messages.take();
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
                let lost = |part: &KnownPart| {
                    part.scid == scid && part.is_live && part.sent.is_none() && !self.node.holds(part.id)
                };
                let lost: Vec<PartId> = self.service.known_parts().filter(lost).map(|part| part.id).collect();
                for part in lost {
                    let _ = self.feed(Input::PartGone { part });
                }
                Outcome::NotMine
            }
        }
    }

    /// What nobody tells: usable channels, blocks, deadlines, which of several parts failed.
    fn look_around(&mut self) {
        if self.node.height() != self.height {
            self.tell_facts();
            self.look_at_fundings();
        }
        self.look_for_usable_clients();
        let due: Vec<PeerId> =
            self.suspects.iter().filter(|(_, at)| **at <= Instant::now()).map(|(peer, _)| *peer).collect();
        for client in due {
            self.suspects.remove(&client);
            self.look_for_failed_parts(client);
        }
        for effect in std::mem::take(&mut self.waiting) {
            let answers = self.perform(effect);
            self.feed_all(answers);
        }
        let _ = self.feed(Input::Tick);
    }

    fn look_for_usable_clients(&mut self) {
        let waiting: Vec<PeerId> = self.service.waiting_clients().collect();
        for peer in waiting {
            if public_key(peer).is_some_and(|key| self.messages.is_connected(&key) && self.node.is_usable(&key)) {
                let _ = self.feed(Input::ChannelsUsable { peer });
            }
        }
    }

    /// A sent part that is neither held, nor on its way to the client, nor being claimed upstream has failed.
    fn look_for_failed_parts(&mut self, client: PeerId) {
        let Some(key) = public_key(client) else { return };
        let sent = self.service.known_parts().filter(|part| part.client == client);
        let sent: Vec<_> = sent.filter_map(|part| Some((part.id, part.payment_hash, part.sent?))).collect();
        for (part, hash, amount) in sent {
            let under_way = self.node.holds(part) || self.node.carries(&key, hash, amount);
            if !under_way && self.node.has_incoming(hash) {
                let _ = self.feed(Input::PartFailed { part });
            }
        }
    }

    /// A funding transaction that is owed is broadcast until it is in a block.
    fn look_at_fundings(&mut self) {
        let mut confirmed = vec![];
        for channel in self.service.known_channels().filter(|channel| channel.owed) {
            let Some(tx) = channel.funding.and_then(|tx| deserialize::<Transaction>(tx).ok()) else { continue };
            let details = public_key(channel.client).and_then(|peer| self.node.channel(&peer, channel.key));
            let depth = details.and_then(|details| details.confirmations).unwrap_or(0);
            match channel.stage {
                ChannelStage::Pending | ChannelStage::Ready | ChannelStage::Closed
                    if depth > 0 || self.chain.is_confirmed(&tx.compute_txid()) =>
                {
                    confirmed.push(channel.key);
                }
                ChannelStage::Pending | ChannelStage::Ready | ChannelStage::Closed => self.chain.broadcast(&tx),
                ChannelStage::Opening | ChannelStage::Abandoning => {}
            }
        }
        for key in confirmed {
            let _ = self.feed(Input::FundingConfirmed { key });
        }
    }

    fn reconcile_channels(&mut self) {
        let mut news = vec![];
        for channel in self.service.known_channels() {
            if let Some(tx) = channel.funding.and_then(|tx| deserialize::<Transaction>(tx).ok()) {
                self.wallet.lock(&inputs_of(&tx));
            }
            let key = channel.key;
            let there = public_key(channel.client).and_then(|peer| self.node.channel(&peer, key));
            match (channel.stage, there) {
                // Our transaction is broadcast later than this, so a monitor that LDK may have kept has nothing to guard.
                (ChannelStage::Opening, None) => news.push(Input::ChannelEnded { key, why: ChannelEnd::PeerGone }),
                (ChannelStage::Pending | ChannelStage::Ready, None) => {
                    news.push(Input::ChannelEnded { key, why: ChannelEnd::Closed });
                }
                (ChannelStage::Opening | ChannelStage::Pending | ChannelStage::Ready, Some(details)) => {
                    if details.funding_txo.is_some() {
                        news.push(Input::ChannelPending { key });
                    }
                    if details.is_channel_ready {
                        news.push(Input::ChannelReady { key, channel_id: ChannelId(details.channel_id.0) });
                    }
                }
                (ChannelStage::Closed | ChannelStage::Abandoning, _) => {}
            }
        }
        self.feed_all(news);
    }

    fn reconcile_parts(&mut self) {
        let known: Vec<_> = self.service.known_parts().collect();
        for part in known {
            if self.node.holds(part.id) {
                let _ = self.feed(Input::PartStillHeld { part: part.id });
            } else if part.is_live && part.sent.is_none() && !self.node.has_incoming(part.payment_hash) {
                let _ = self.feed(Input::PartGone { part: part.id });
            } else if part.sent.is_some() {
                self.suspects.insert(part.client, Instant::now() + SETTLE_AFTER_START);
            }
        }
    }

    fn feed_all(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            let _ = self.feed(input);
        }
    }

    /// Tells the core, and undoes at the source what it refuses.
    fn feed(&mut self, input: Input) -> Outcome {
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
            let records: Vec<_> =
                batch.records().map(|(id, content)| (id.to_string(), content.map(<[u8]>::to_vec))).collect();
            for (name, content) in records {
                if self.store.put(&name, content).await.is_err() {
                    self.unwritten = Some(batch);
                    return false;
                }
            }
            let released = batch.written();
            let messages = released.messages.into_iter();
            self.messages.send(messages.filter_map(|(peer, payload)| Some((public_key(peer)?, payload))));
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

    fn perform(&mut self, effect: Effect) -> Vec<Input> {
        match effect {
            Effect::OpenChannel { key, peer, capacity_sat, max_client_to_self_delay, .. } => {
                let ended = |why| vec![Input::ChannelEnded { key, why }];
                let Some(peer) = public_key(peer) else { return ended(ChannelEnd::Rejected) };
                if self.node.channel(&peer, key).is_some() {
                    return vec![];
                }
                if !self.messages.is_connected(&peer) {
                    return ended(ChannelEnd::PeerGone);
                }
                let opened = self.node.open(peer, capacity_sat, key, max_client_to_self_delay);
                opened.map_or_else(|e| ended(ChannelEnd::CannotOpen(format!("{e:?}"))), |()| vec![])
            }
            Effect::FundChannel { key, peer, output } => {
                let script = ScriptBuf::from_bytes(output.script);
                match self.wallet.fund(key.to_u128(), &script, output.value_sat, self.chain.fee_rate()) {
                    Ok(tx) => vec![Input::FundingBuilt { key, tx: serialize(&tx) }],
                    Err(why) => {
                        self.close(peer, key);
                        vec![Input::ChannelEnded { key, why: ChannelEnd::CannotOpen(why.to_string()) }]
                    }
                }
            }
            Effect::HandFunding { key, peer, tx } => self.hand_funding(key, peer, &tx),
            Effect::BroadcastFunding { tx, .. } => {
                if let Ok(tx) = deserialize(&tx) {
                    self.chain.broadcast(&tx);
                }
                vec![]
            }
            Effect::AbandonChannel { key, peer, tx } => {
                self.close(peer, key);
                if let Some(tx) = tx {
                    self.release(&tx);
                }
                vec![Input::ChannelAbandoned { key }]
            }
            Effect::ForwardPart { part, key, channel_id, peer, amount, .. } => {
                let Some(client) = public_key(peer) else { return vec![Input::ForwardRefused { part }] };
                if !self.node.is_usable(&client) {
                    self.waiting.push(effect);
                    return vec![];
                }
                let named = self.node.channel(&client, key).map_or(channel_id.0, |details| details.channel_id.0);
                match self.node.forward(part, &lightning::ln::types::ChannelId(named), client, amount) {
                    Asked::Done => vec![],
                    Asked::NotHeld => {
                        self.suspects.entry(peer).or_insert_with(|| Instant::now() + SETTLE);
                        vec![]
                    }
                    Asked::Refused => vec![Input::ForwardRefused { part }],
                }
            }
            Effect::FailPart { part, code, .. } => match self.node.fail(part, code) {
                Asked::Done | Asked::NotHeld => vec![Input::PartFailed { part }],
                Asked::Refused => vec![],
            },
        }
    }

    fn hand_funding(&self, key: ChannelKey, peer: PeerId, tx: &[u8]) -> Vec<Input> {
        let gone = || vec![Input::ChannelEnded { key, why: ChannelEnd::PeerGone }];
        let Some(client) = public_key(peer) else { return gone() };
        let (Some(channel), Ok(tx)) = (self.node.channel(&client, key), deserialize::<Transaction>(tx)) else {
            return gone();
        };
        if channel.funding_txo.is_some() {
            return vec![]; // it was handed over before
        }
        match self.node.fund(client, channel.channel_id, tx) {
            Ok(()) => vec![],
            Err(why) => vec![Input::ChannelEnded { key, why: ChannelEnd::CannotOpen(format!("{why:?}")) }],
        }
    }

    fn close(&self, peer: PeerId, key: ChannelKey) {
        let channel = public_key(peer).and_then(|peer| Some((peer, self.node.channel(&peer, key)?)));
        if let Some((peer, channel)) = channel {
            self.node.close(&peer, &channel.channel_id);
        }
    }

    fn release(&self, tx: &[u8]) {
        if let Ok(tx) = deserialize::<Transaction>(tx) {
            self.wallet.release(&inputs_of(&tx));
        }
    }

    fn refresh_facts(&mut self) {
        if self.facts_at.is_none_or(|at| at.elapsed() >= FACTS_AGE) {
            self.tell_facts();
        }
    }

    fn tell_facts(&mut self) {
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

fn inputs_of(tx: &Transaction) -> Vec<OutPoint> {
    tx.input.iter().map(|input| input.previous_output).collect()
}

fn public_key(peer: PeerId) -> Option<PublicKey> {
    PublicKey::from_slice(&peer.0).ok()
}

/// While a client's channels, or an outcome, are waited for.
const WATCH: Duration = Duration::from_millis(50);
/// While nothing is; blocks are noticed this fast.
const IDLE: Duration = Duration::from_secs(1);
/// How old facts may be when a client asks for prices.
const FACTS_AGE: Duration = Duration::from_millis(500);
/// The claims that LDK tells after a failure arrive within this.
const SETTLE: Duration = Duration::from_millis(200);
/// After a start LDK first has to decode what came in before.
const SETTLE_AFTER_START: Duration = Duration::from_secs(5);
/// Before events are told again to a store that fails; longer would hold up the node's own saves.
const RETRY: Duration = Duration::from_millis(250);

//! The ports of the LSP's host on the model. The process may crash before each call that changes something.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bitcoin::{Address, Amount, FeeRate, OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use lsps_host::ports::{
    Answer, Arrived, Broadcast, CannotFund, ChainAccess, ChainWatch, Change, Clock, IncomingHtlc, LspNode, Made,
    Marker, Messages, NodeChannel, NodeEvent, Notifier, OnchainWallet, OutgoingHtlc, Post, ReadAnswer, RecordStore,
    Resolution, SeenOutput, Sleep, StoreError,
};
use lsps_host::{Budget, PeerEvent, PostReporter};
use lsps_service::{ChannelId, ChannelKey, OfferId, OpenTerms, OrderNumber, PartId, PaymentTerms, PostKey};
use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, Msat, Network, PaymentHash, PeerId, Preimage, Scid, Timestamp};

use super::Model;
use super::node::Stage;
use crate::polled::Shared;
use crate::setup::{MINING_SAT, offer_id};
use crate::world::Call;

/// The model, shared by all ports.
#[derive(Clone)]
pub struct Ports(Arc<Shared<Model>>);

impl Ports {
    pub fn new(model: Model) -> Self {
        Self(Arc::new(Shared::new(model)))
    }

    /// The model, locked: only one caller can use it at a time.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.0.model()
    }

    pub fn connects(&self, peer: PeerId) {
        self.model().inbox.connects(peer, ());
        self.0.arrived.notify_one();
    }

    pub fn disconnects(&self, peer: PeerId) {
        self.model().inbox.disconnects(&peer);
        self.0.arrived.notify_one();
    }

    pub fn receives(&self, peer: PeerId, payload: Vec<u8>) {
        self.model().inbox.receive(peer, payload);
        self.0.arrived.notify_one();
    }

    /// Ends all sleeps, so that the host takes a turn.
    pub fn wakes(&self) {
        self.0.wakes();
    }

    /// Executes a call, unless the process crashes before it.
    fn act<T>(&self, dead: T, act: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = self.model();
        if model.point() { act(&mut model) } else { dead }
    }
}

impl LspNode for Ports {
    fn network(&self) -> Option<Network> {
        Some(Network::Bitcoin)
    }

    fn height(&self) -> BlockHeight {
        BlockHeight(self.model().chain.height)
    }

    fn draw_scid(&self) -> Scid {
        let mut model = self.model();
        model.drawn += 1;
        Scid(model.drawn << 36)
    }

    fn makes_anchors(&self) -> bool {
        false
    }

    fn inbound(&self) -> Msat {
        Msat(u64::MAX)
    }

    fn channel(&self, peer: PeerId, key: ChannelKey) -> Option<NodeChannel> {
        let model = self.model();
        let channel = model.node.now.channels.get(&key).filter(|channel| channel.client == peer)?;
        Some(shown(key, channel))
    }

    fn channels(&self) -> Vec<NodeChannel> {
        self.model().node.now.channels.iter().map(|(key, channel)| shown(*key, channel)).collect()
    }

    fn outbound_capacity(&self, _: PeerId, key: ChannelKey, htlcs: usize) -> Option<Msat> {
        let model = self.model();
        model.node.room(key, htlcs)
    }

    fn is_used(&self, _: PeerId, key: ChannelKey) -> bool {
        self.model().node.is_used(key)
    }

    fn is_usable(&self, peer: PeerId) -> bool {
        let model = self.model();
        let ready = model.node.channels_of(peer, |stage| stage == Stage::Ready);
        model.links.get(&peer) == Some(&true) && !ready.is_empty()
    }

    fn forced_closes(&self) -> BTreeMap<PeerId, Option<BlockHeight>> {
        self.model().node.forced_closes()
    }

    fn open(&self, peer: PeerId, key: ChannelKey, terms: &OpenTerms, htlcs: usize, rate: u32) -> Result<(), String> {
        self.act(Ok(()), |model| {
            if model.refused.remove(&Call::Open) {
                return Err("refused".into());
            }
            // The channel was planned before the store worked again, at the feerates of that time.
            let rate = if model.is_late { 0 } else { rate };
            model.node.open(key, peer, terms, htlcs, rate);
            Ok(())
        })
    }

    fn fund(&self, _: PeerId, key: ChannelKey, tx: Transaction) -> Result<(), String> {
        self.act(Ok(()), |model| {
            assert_eq!(model.coins.signed(&tx.compute_txid()).map(|tx| tx.key), Some(key), "a funding of this channel");
            let waits = !model.refused.remove(&Call::Fund) && model.node.fund(key);
            waits.then_some(()).ok_or_else(|| "it is not negotiated".to_string())
        })
    }

    fn publish(&self, _: ChannelKey, tx: &Transaction) -> Option<Broadcast> {
        let is_remote = self.model().remote.is_some();
        is_remote.then(|| self.broadcast_funding(tx)).flatten()
    }

    fn close(&self, _: PeerId, key: ChannelKey) {
        self.act((), |model| {
            assert!(!model.chain.knows(key), "a channel on the chain is given up: {key:?}");
            model.node.close(key);
            model.closed.insert(key);
        });
    }

    fn allow_forwards(&self, _: PeerId, key: ChannelKey) {
        self.act((), |model| model.node.carry_others(key));
    }

    fn held(&self, part: PartId) -> Option<Msat> {
        self.model().node.held_amount(part)
    }

    fn incoming(&self) -> Vec<IncomingHtlc> {
        let model = self.model();
        model.node.htlcs().chain(model.payments.htlcs()).collect()
    }

    fn outgoing(&self, peer: PeerId) -> Vec<OutgoingHtlc> {
        self.model().node.outgoing(peer).collect()
    }

    fn forward(&self, part: PartId, _: PeerId, key: ChannelKey, _: ChannelId, amount: Msat) -> Resolution {
        self.act(Resolution::Done, |model| {
            model.may_forward(part, amount);
            model.node.forward(part, key, amount)
        })
    }

    fn fail(&self, part: PartId, code: FailureCode) -> Resolution {
        self.act(Resolution::Done, |model| {
            let holds = model.node.holds(part);
            let is_refused = holds && (model.refused.remove(&Call::Fail) || model.fails_refused > 0);
            model.fails_refused -= u8::from(is_refused && model.fails_refused > 0);
            if is_refused { Resolution::Refused } else { model.node.fail(part, code) }
        })
    }

    fn flush(&self) {}

    fn has_unprocessed(&self) -> bool {
        false
    }

    fn hold_invoice(&self, hash: PaymentHash, _: PaymentTerms, _: Timestamp) -> Made<String> {
        if self.model().has_begun(format!("invoice {hash}")) { Made::NotYet } else { Made::Done(hash.to_string()) }
    }

    fn offer(&self, order: OrderNumber, _: PaymentTerms) -> Made<(String, OfferId)> {
        let mut model = self.model();
        if model.has_begun(format!("offer {order}")) {
            return Made::NotYet;
        }
        model.offers += 1;
        Made::Done((format!("offer {}", model.offers), offer_id(OrderNumber(model.offers))))
    }

    fn claim_payment(&self, preimage: Preimage) {
        self.act((), |model| {
            let told = model.payments.claim(PaymentHash::of(&preimage));
            model.node.now.events.extend(told);
        });
    }

    fn fail_payment(&self, hash: PaymentHash) {
        self.act((), |model| {
            let told = model.payments.fail(hash);
            model.node.now.events.extend(told);
        });
    }

    fn send_marker(&self, marker: Marker, _: Timestamp) -> bool {
        self.act(true, |model| {
            let is_sent = !model.refused.remove(&Call::Marker);
            model.node.now.events.extend(is_sent.then_some(NodeEvent::Marker(marker)));
            is_sent
        })
    }
}

fn shown(key: ChannelKey, channel: &super::node::Channel) -> NodeChannel {
    NodeChannel {
        key,
        peer: channel.client,
        id: ChannelId([key.attempt.to_be_bytes()[3]; 32]),
        is_funded: channel.stage >= Stage::Funded,
        is_ready: channel.stage == Stage::Ready,
        confirmations: 0,
    }
}

impl Messages for Ports {
    fn attach(&self) {
        self.model().inbox.attach();
    }

    fn send(&self, messages: Vec<(PeerId, Vec<u8>)>) {
        if !messages.is_empty() {
            self.act((), |model| model.sent.extend(messages));
        }
    }

    fn take(&self, budget: Budget) -> Vec<PeerEvent<PeerId>> {
        self.model().inbox.take(budget)
    }

    fn has_news(&self) -> bool {
        self.model().inbox.has_news()
    }

    fn arrived(&self) -> Arrived<'_> {
        Box::pin(self.0.arrived.notified())
    }

    fn is_connected(&self, peer: PeerId) -> bool {
        self.model().links.contains_key(&peer)
    }
}

impl RecordStore for Ports {
    fn list(&self, kind: &'static str) -> Answer<Vec<String>> {
        let model = self.model();
        let names = model.store.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()).collect();
        Box::pin(async { Ok(names) })
    }

    fn read(&self, kind: &'static str, names: Vec<String>) -> ReadAnswer {
        let model = self.model();
        let read = |name: String| match model.hidden.contains(&name) && kind == "service" {
            true => Err(StoreError::Failed("it does not give it back".into())),
            false => Ok(model.store.get(&(kind, name)).cloned()),
        };
        let contents = names.into_iter().map(read).collect();
        Box::pin(async { contents })
    }

    fn write(&self, kind: &'static str, changes: Vec<Change>) -> Answer<()> {
        let ports = self.clone();
        Box::pin(async move {
            match ports.write_all(kind, changes) {
                Some(answer) => answer,
                None => pending().await,
            }
        })
    }

    fn owns(&self) -> bool {
        !self.model().fence.is_known
    }
}

impl Ports {
    /// Writes changes. `None`: the process crashed during the write.
    fn write_all(&self, kind: &'static str, changes: Vec<Change>) -> Option<Result<(), StoreError>> {
        let mut model = self.model();
        if model.fence.is_lost {
            assert!(!model.fence.is_known, "it writes records that are another's");
            model.fence.is_known = true;
            return Some(Err(StoreError::LostOwnership));
        }
        if !model.store_works {
            model.is_late = true;
            return (!model.is_dead).then(|| Err(StoreError::Failed("it refuses".into())));
        }
        for (name, content) in changes {
            if !model.point() {
                return None;
            }
            let before = match content {
                Some(bytes) => model.store.insert((kind, name), bytes.clone()).filter(|before| *before != bytes),
                None => model.store.remove(&(kind, name)),
            };
            assert!(kind != "book" || before.is_none(), "an entry of the book changed");
        }
        let is_alive = model.point();
        model.fence.is_due(1);
        is_alive.then_some(Ok(()))
    }
}

impl Ports {
    /// Broadcasts a funding transaction. `None`: the wallet signed no such transaction.
    fn broadcast_funding(&self, tx: &Transaction) -> Option<Broadcast> {
        self.act(Some(Broadcast::Unanswered), |model| {
            let tx = model.coins.signed(&tx.compute_txid())?;
            model.may_broadcast(tx.key);
            if model.refused.remove(&Call::Broadcast) {
                return Some(Broadcast::Refused("refused".into()));
            }
            model.chain.broadcast(tx);
            Some(Broadcast::Accepted)
        })
    }
}

impl OnchainWallet for Ports {
    fn fund(&self, key: u128, script: &ScriptBuf, amount_sat: u64, _: FeeRate) -> Result<Transaction, CannotFund> {
        let nothing = CannotFund::NotEnough { needed_sat: amount_sat, available_sat: 0 };
        self.act(Err(nothing.clone()), |model| {
            let key = ChannelKey::from_u128(key).expect("the key of a channel");
            let output = TxOut { value: Amount::from_sat(amount_sat), script_pubkey: script.clone() };
            if model.has_begun(format!("funding {key:?}")) {
                return Err(CannotFund::NotYet);
            }
            let misbuilds = model.refused.remove(&Call::Build);
            let paid = model.deposits.spendable(model.chain.height);
            let tx = model.coins.fund(key, &model.chain, &paid, output).ok_or(nothing)?;
            Ok(if misbuilds { Transaction { output: vec![], ..tx } } else { tx })
        })
    }

    fn lock(&self, inputs: &[OutPoint]) {
        let mut model = self.model();
        inputs.iter().for_each(|input| model.coins.lock(*input));
    }

    fn release(&self, inputs: &[OutPoint]) {
        if inputs.is_empty() {
            return;
        }
        self.act((), |model| {
            for input in inputs {
                model.coins.release(*input);
                let Model { deposits, orders, store, .. } = model;
                deposits.keep(*input, |order| orders[order].is_on_record(store));
            }
        });
    }

    fn mining_fee_sat(&self, tx: &Transaction) -> u64 {
        self.model().deposits.mining_fee_sat(tx).unwrap_or(MINING_SAT)
    }

    fn spendable_sat(&self) -> u64 {
        u64::MAX
    }

    fn address(&self) -> Made<Address> {
        let mut model = self.model();
        let order = model.orders.len();
        if model.has_begun(format!("address {order}")) { Made::NotYet } else { Made::Done(model.deposits.address()) }
    }

    fn refund(&self, outputs: &[OutPoint], script: &ScriptBuf, rate: FeeRate) -> Result<Transaction, CannotFund> {
        let nothing = CannotFund::NotEnough { needed_sat: 1, available_sat: 0 };
        let mut model = self.model();
        if model.has_begun(format!("refund {outputs:?} {rate}")) {
            return Err(CannotFund::NotYet);
        }
        model.deposits.refund(outputs, script, rate).ok_or(nothing)
    }
}

impl ChainAccess for Ports {
    fn broadcast(&self, tx: &Transaction) -> Broadcast {
        if self.model().coins.signed(&tx.compute_txid()).is_some() {
            assert!(self.model().remote.is_none(), "the node publishes its fundings");
            return self.broadcast_funding(tx).expect("it is signed");
        }
        self.act(Broadcast::Unanswered, |model| {
            assert!(model.deposits.broadcast(tx), "a transaction that nobody signed: {tx:?}");
            Broadcast::Accepted
        })
    }

    fn confirmations(&self, txid: &Txid) -> u32 {
        let model = self.model();
        let funding = model.coins.signed(txid).map(|tx| model.chain.depth(tx));
        funding.unwrap_or_else(|| model.deposits.refund_depth(txid, model.chain.height))
    }

    fn fee_rate(&self) -> FeeRate {
        FeeRate::from_sat_per_kwu(self.model().node.feerate_sat_per_kw.into())
    }
}

impl ChainWatch for Ports {
    fn watch(&self, _: &ScriptBuf) {}

    fn touched(&self) -> Option<Vec<ScriptBuf>> {
        Some(self.model().deposits.touched())
    }

    fn outputs_to(&self, script: &ScriptBuf) -> Option<Vec<SeenOutput>> {
        let mut model = self.model();
        (!model.deposits.is_behind).then(|| model.deposits.outputs_to(script))
    }
}

impl Notifier for Ports {
    fn post(&self, post: Post, reporter: PostReporter) {
        let result = self.act(None, |model| model.posts(&post));
        if let Some(result) = result {
            reporter.report(result);
        }
    }

    fn withdraw(&self, _: PostKey) {}
}

impl Clock for Ports {
    fn now(&self) -> Timestamp {
        self.model().now
    }

    fn steady(&self) -> Duration {
        self.model().steady
    }

    fn sleep(&self, _: Duration) -> Sleep {
        self.0.sleep()
    }
}

//! Model of a wallet's surroundings (node, coins, store, clock), and the ports through which the host uses them. Each
//! port call that changes something is a point at which the process may crash before the change.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bitcoin::{FeeRate, ScriptBuf, Transaction, Txid};
use lsps_client::jit_receive::InvoiceTerms;
use lsps_client::{AcceptTerms, ChannelKey};
use lsps_host::ports::{
    Answer, Arrived, CannotPay, Change, ChannelRequest, Clock, Marker, Mempool, Messages, NoInvoice, OnchainPayer,
    PayAnswer, PayLimits, PaymentId, PaymentProgress, ReadAnswer, RecordStore, SettingMissing, Sleep, StoreError,
    WalletChannel, WalletHtlc, WalletNode, WalletNodeEvent,
};
use lsps_host::{Budget, Inbox, PeerEvent};
use lsps_types::lsps1::PaymentFacts;
use lsps_types::{BlockHeight, Blocks, Msat, Network, PaymentHash, PeerId, Preimage, Sat, Timestamp};

use super::chain::Chain;
use super::invoice;
use super::node::{Channel, DELTA, Node, Paying, Payment, Pays, Stage, funding_number};
use super::truth::Truth;
use crate::polled::Shared;
use crate::setup::NOON;

/// A port call that the world refuses once.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Accept,
    PayNow,
    PayEver,
    Sign,
    Invoice,
    Marker,
}

/// State of everything outside the wallet's process.
pub struct Model {
    pub now: Timestamp,
    /// Time on the steady clock, which no step sets.
    pub steady: Duration,
    pub store: BTreeMap<String, Vec<u8>>,
    pub store_works: bool,
    /// Names of records whose reads fail.
    pub hidden: BTreeSet<String>,
    /// Names of records whose reads ever failed.
    pub was_hidden: BTreeSet<String>,
    /// Another process owns the records; the next write reports that.
    pub is_fenced: bool,
    fence_is_known: bool,
    /// The store failed a write, or the wallet did not handle an event, and the wallet has not come to rest since.
    pub is_late: bool,
    /// Number of writes and acts left before the process crashes, and whether the node saves itself at that time.
    pub fuse: Option<(u8, bool)>,
    /// The process has crashed. Later calls of its last turn have no effect.
    pub is_dead: bool,
    pub inbox: Inbox<PeerId, ()>,
    pub links: BTreeSet<PeerId>,
    pub sent: Vec<(PeerId, Vec<u8>)>,
    /// Number of acts of the wallet, by which the world sees that the wallet is at rest.
    pub acts: u64,
    pub node: Node,
    pub told_last: Option<WalletNodeEvent>,
    /// The node reports no events.
    pub is_mute: bool,
    pub chain: Chain,
    pub refused: BTreeSet<Call>,
    /// Counter from which random bytes, preimages, channels and orders get their numbers.
    pub drawn: u64,
    pub truth: Truth,
}

impl Model {
    pub fn new(truth: Truth) -> Self {
        let mut chain = Chain::default();
        (chain.height, chain.usual_rate) = (1_000, 5);
        Self {
            now: NOON,
            steady: Duration::from_secs(1),
            store: BTreeMap::new(),
            store_works: true,
            hidden: BTreeSet::new(),
            was_hidden: BTreeSet::new(),
            is_fenced: false,
            fence_is_known: false,
            is_late: false,
            fuse: None,
            is_dead: false,
            inbox: Inbox::default(),
            links: BTreeSet::new(),
            sent: vec![],
            acts: 0,
            node: Node::default(),
            told_last: None,
            is_mute: false,
            chain,
            refused: BTreeSet::new(),
            drawn: 0,
            truth,
        }
    }

    pub fn passes(&mut self, time: Duration) {
        self.now = self.now + time;
        self.steady += time;
    }

    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// Passes a point at which the process may crash. Returns `false` if it has crashed.
    fn point(&mut self) -> bool {
        match &mut self.fuse {
            _ if self.is_dead => return false,
            _ if self.fence_is_known => panic!("it acts on records that are another's"),
            Some((0, saved)) => {
                if *saved {
                    self.node.save();
                }
                self.is_dead = true;
                return false;
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.acts += 1;
        true
    }

    /// Applies a crash of the process: unsaved state, connections and queued messages are lost.
    pub fn crash(&mut self) {
        (self.fuse, self.is_dead, self.is_late) = (None, false, false);
        (self.is_fenced, self.fence_is_known) = (false, false);
        self.refused.clear();
        self.node.crash();
        self.chain.crash();
        self.links.clear();
        self.inbox = Inbox::default();
        self.sent.clear();
        self.node.blocks(self.chain.height);
    }

    pub fn channel(&self, number: u64) -> Option<WalletChannel> {
        let is_connected = self.node.now.channels.get(&number).is_some_and(|it| self.links.contains(&it.lsp));
        self.node.channel(number, &self.chain, is_connected)
    }

    /// The next event that the node reports.
    pub fn next_event(&self) -> Option<WalletNodeEvent> {
        if self.is_mute { None } else { self.node.now.events.front().cloned() }
    }

    fn pays(&mut self, id: PaymentId, pays: Pays, limits: PayLimits) -> PayAnswer {
        if self.node.now.payments.contains_key(&id) {
            return PayAnswer::Begun;
        }
        if self.refused.remove(&Call::PayNow) {
            return PayAnswer::NotNow;
        }
        if self.refused.remove(&Call::PayEver) {
            return PayAnswer::Never;
        }
        self.check_pays(&pays, limits.fee);
        let (Pays::Invoice { text, .. } | Pays::Offer { text, .. }) = &pays;
        self.truth.begun.insert(id, text.clone());
        let stage = if matches!(pays, Pays::Invoice { .. }) { Paying::Out } else { Paying::AwaitsInvoice };
        self.node.now.payments.insert(id, Payment { pays, stage });
        PayAnswer::Begun
    }
}

/// The host's ports, backed by the shared model.
#[derive(Clone)]
pub struct Ports(Arc<Shared<Model>>);

impl Ports {
    pub fn new(model: Model) -> Self {
        Self(Arc::new(Shared::new(model)))
    }

    /// Locks the model.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.0.model()
    }

    pub fn connects(&self, peer: PeerId) {
        let mut model = self.model();
        if model.links.insert(peer) {
            model.inbox.connects(peer, ());
        }
        self.0.arrived.notify_one();
    }

    pub fn disconnects(&self, peer: PeerId) {
        let mut model = self.model();
        if model.links.remove(&peer) {
            model.node.disconnected(peer);
            model.inbox.disconnects(&peer);
        }
        self.0.arrived.notify_one();
    }

    pub fn receives(&self, peer: PeerId, payload: Vec<u8>) {
        self.model().inbox.receive(peer, payload);
        self.0.arrived.notify_one();
    }

    /// Ends all waits, so that the host checks its work again.
    pub fn wakes(&self) {
        self.0.wakes();
    }

    fn act<T>(&self, dead: T, act: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = self.model();
        if model.point() { act(&mut model) } else { dead }
    }
}

impl WalletNode for Ports {
    fn network(&self) -> Option<Network> {
        Some(Network::Regtest)
    }

    fn height(&self) -> BlockHeight {
        BlockHeight(self.model().chain.height)
    }

    fn draw_bytes(&self) -> [u8; 32] {
        let mut bytes = [1; 32];
        bytes[..8].copy_from_slice(&self.model().draw().to_be_bytes());
        bytes
    }

    fn to_self_delay(&self) -> Blocks {
        Blocks(144)
    }

    fn min_final_cltv_expiry_delta(&self) -> u16 {
        DELTA
    }

    fn takes_channel(&self, _: bool, _: Option<Sat>) -> Result<(), SettingMissing> {
        Ok(())
    }

    fn has_scid_alias(&self, _: PeerId) -> bool {
        false
    }

    fn has_large_channels(&self, _: PeerId) -> bool {
        false
    }

    fn outbound(&self) -> Msat {
        Msat(10_000_000_000)
    }

    fn channels(&self) -> Vec<WalletChannel> {
        let model = self.model();
        let numbers: Vec<u64> = model.node.now.channels.keys().copied().collect();
        numbers.into_iter().filter_map(|number| model.channel(number)).collect()
    }

    fn accept(&self, request: &ChannelRequest, key: ChannelKey, terms: &AcceptTerms) -> Result<(), String> {
        self.act(Ok(()), |model| {
            let waits = model.node.now.requests.iter().position(|other| other.id == request.id);
            let Some(place) = waits.filter(|_| !model.refused.remove(&Call::Accept)) else {
                return Err("no such request".into());
            };
            model.node.now.requests.remove(place);
            model.check_accepts(request, terms);
            let number = model.draw();
            let (lsp, stage, confirmations) = (request.peer, Stage::Accepted, terms.confirmations);
            let channel = Channel { key, lsp, stage, confirmations, underpaying: terms.accept_underpaying };
            model.node.now.channels.insert(number, channel);
            Ok(())
        })
    }

    fn refuse(&self, request: &ChannelRequest, _: &str) {
        self.act((), |model| model.node.now.requests.retain(|other| other.id != request.id));
    }

    fn set_underpaying(&self, peer: PeerId, allowed: bool) {
        // A call that changes nothing does not count as an act.
        let is_set = {
            let model = self.model();
            let mut channels = model.node.now.channels.values().filter(|channel| channel.lsp == peer);
            channels.all(|channel| channel.underpaying == allowed)
        };
        if !is_set {
            self.act((), |model| model.node.set_underpaying(peer, allowed));
        }
    }

    fn invoice(
        &self,
        terms: &InvoiceTerms,
        hash: Option<PaymentHash>,
        _: &str,
    ) -> Result<(PaymentHash, String), NoInvoice> {
        let mut model = self.model();
        if model.refused.remove(&Call::Invoice) {
            return Err(NoInvoice::Refused("refused".into()));
        }
        let preimage = hash.is_none().then(|| preimage(model.draw()));
        let hash =
            hash.or(preimage.as_ref().map(PaymentHash::of)).ok_or_else(|| NoInvoice::Refused("no hash".into()))?;
        model.node.invoices.insert(hash, (preimage, terms.amount));
        Ok((hash, format!("jit {hash}")))
    }

    fn read_invoice(&self, invoice: &str, _: Network) -> Option<PaymentFacts> {
        invoice::read(invoice)
    }

    fn read_offer(&self, offer: &str, _: Network) -> Option<PaymentFacts> {
        Some(PaymentFacts { payment_hash: None, ..invoice::read(offer)? })
    }

    fn incoming(&self, hash: PaymentHash) -> Vec<WalletHtlc> {
        self.model().node.incoming(hash)
    }

    fn claim_payment(&self, preimage: Preimage) {
        self.act((), |model| model.claims(PaymentHash::of(&preimage)));
    }

    fn fail_payment(&self, hash: PaymentHash) {
        self.act((), |model| {
            model.check_fails(hash);
            model.node.fails(hash);
        });
    }

    fn pay_invoice(&self, id: PaymentId, invoice: &str, limits: PayLimits) -> PayAnswer {
        let hash = invoice::read(invoice).and_then(|facts| facts.payment_hash);
        let Some(hash) = hash else { return PayAnswer::Never };
        let pays = Pays::Invoice { text: invoice.into(), hash };
        self.act(PayAnswer::Begun, |model| model.pays(id, pays, limits))
    }

    fn pay_offer(&self, id: PaymentId, offer: &str, limits: PayLimits) -> PayAnswer {
        let pays = Pays::Offer { text: offer.into(), hash: None };
        self.act(PayAnswer::Begun, |model| model.pays(id, pays, limits))
    }

    fn stop_paying(&self, id: PaymentId) {
        self.act((), |model| model.node.stops_paying(id));
    }

    fn payment(&self, id: PaymentId) -> Option<PaymentProgress> {
        self.model().node.progress(id)
    }

    fn pays_hash(&self, hash: PaymentHash) -> bool {
        self.model().node.pays_hash(hash)
    }

    fn send_marker(&self, marker: Marker, _: Timestamp) -> bool {
        self.act(true, |model| {
            let is_sent = !model.refused.remove(&Call::Marker);
            model.node.now.events.extend(is_sent.then_some(WalletNodeEvent::Marker(marker)));
            is_sent
        })
    }
}

pub fn preimage(number: u64) -> Preimage {
    let mut bytes = [5; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Preimage(bytes)
}

impl Messages for Ports {
    fn attach(&self) {
        self.model().inbox.attach();
    }

    fn send(&self, messages: Vec<(PeerId, Vec<u8>)>) {
        if !messages.is_empty() {
            self.act((), |model| {
                let links = &model.links;
                model.sent.extend(messages.into_iter().filter(|(peer, _)| links.contains(peer)));
            });
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
        self.model().links.contains(&peer)
    }
}

impl RecordStore for Ports {
    fn list(&self, _: &'static str) -> Answer<Vec<String>> {
        let names = self.model().store.keys().cloned().collect();
        Box::pin(async { Ok(names) })
    }

    fn read(&self, _: &'static str, names: Vec<String>) -> ReadAnswer {
        let model = self.model();
        let read = |name: String| match model.hidden.contains(&name) {
            true => Err(StoreError::Failed("it does not give it back".into())),
            false => Ok(model.store.get(&name).cloned()),
        };
        let contents = names.into_iter().map(read).collect();
        Box::pin(async { contents })
    }

    fn write(&self, _: &'static str, changes: Vec<Change>) -> Answer<()> {
        let ports = self.clone();
        Box::pin(async move {
            match ports.write_all(changes) {
                Some(answer) => answer,
                None => pending().await,
            }
        })
    }

    fn owns(&self) -> bool {
        !self.model().fence_is_known
    }
}

impl Ports {
    /// Writes all changes. Returns `None` if the process crashed before the last of them.
    fn write_all(&self, changes: Vec<Change>) -> Option<Result<(), StoreError>> {
        let mut model = self.model();
        if model.is_fenced && !model.is_dead {
            model.fence_is_known = true;
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
            match content {
                Some(bytes) => drop(model.store.insert(name, bytes)),
                None => drop(model.store.remove(&name)),
            }
        }
        model.point().then_some(Ok(()))
    }
}

impl OnchainPayer for Ports {
    fn mining_fee_sat(&self, _: &ScriptBuf, _: u64, at_once_above: Option<FeeRate>) -> Result<u64, CannotPay> {
        Ok(self.model().chain.mining_fee(at_once_above))
    }

    fn sign(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
        max_fee_sat: u64,
    ) -> Result<Transaction, CannotPay> {
        let mut model = self.model();
        if model.refused.remove(&Call::Sign) {
            return Err(CannotPay::Fund(lsps_host::ports::CannotFund::Wallet("refused".into())));
        }
        model.check_signs(Sat(amount_sat), script, Sat(max_fee_sat));
        model.chain.sign(key, script, amount_sat, at_once_above, max_fee_sat)
    }

    fn broadcast(&self, tx: &Transaction) {
        self.act((), |model| {
            model.check_broadcasts(tx);
            let at = model.steady;
            model.chain.broadcast(tx, at);
        });
    }

    fn reserve(&self, tx: &Transaction) {
        self.act((), |model| model.chain.reserve(tx));
    }

    fn forget(&self, tx: &Transaction) {
        self.act((), |model| {
            let (sent, now) = (model.chain.broadcast.get(&tx.compute_txid()), model.steady);
            let is_out = sent.is_some_and(|sent| sent.mined_at.is_none() && now.saturating_sub(sent.at) < IN_MEMPOOLS);
            assert!(!is_out, "coins of a transaction that may be mined are freed");
            model.chain.forget(tx);
        });
    }
}

impl Mempool for Ports {
    fn has_seen(&self, txid: &Txid) -> bool {
        self.model().chain.has_seen(funding_number(txid))
    }
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

/// Time for which mempools keep an unconfirmed transaction.
const IN_MEMPOOLS: Duration = Duration::from_secs(14 * 24 * 3_600);

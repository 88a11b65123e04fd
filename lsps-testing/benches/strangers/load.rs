//! The host's turn under load: its loop on a node that answers at once, and on a store that takes some time for each
//! call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bitcoin::{FeeRate, OutPoint, ScriptBuf, Transaction};
use lsps_host::ports::{
    Answer, Arrived, Broadcast, CannotFund, ChainAccess, Change, IncomingHtlc, IncomingState, LspNode, Marker,
    Messages, NodeChannel, NodeEvent, OnchainWallet, OutgoingHtlc, ReadAnswer, RecordStore, Resolution,
};
use lsps_host::{Budget, Inbox, Lsp, LspParts, PeerEvent, Started};
use lsps_service::{ChannelId, ChannelKey, HeldHtlc, Input, OpenTerms, Outcome, PartId, StandardPolicy};
use lsps_testing::scene::Error;
use lsps_types::bolt4::FailureCode;
use lsps_types::jsonrpc::{FromLsp, encode_request};
use lsps_types::lsps2::{Buy, GetInfo, PromiseKey};
use lsps_types::{BlockHeight, Msat, Network, PaymentHash, PeerId, Scid, Timestamp};
use tokio::sync::Notify;

use crate::Figures;
use crate::attack::buy_with;

/// 10 000 requests for menus, of 1 000 clients at once.
pub fn menus() -> Result<Figures, Error> {
    let ask = |_: PeerId, nth: usize| encode_request(&nth.to_string(), &GetInfo { token: None }).expect("short");
    messages(Duration::ZERO, ask)
}

/// 10 000 purchases, of 1 000 clients with channels at once.
pub fn purchases() -> Result<Figures, Error> {
    messages(WRITE, |client, nth| purchase(client, &nth.to_string(), None))
}

/// 1 000 parts of 100 payments, each told when the one before it is durable, as LDK does.
pub fn parts() -> Result<Figures, Error> {
    within(async {
        let host = Host::starts(WRITE).await?;
        let clients: Vec<PeerId> = (0..PAYMENTS).map(client).collect();
        host.hears(&clients, |client, _| purchase(client, "a", Some(Msat(10 * PART.0))), 1);
        host.has_answered(clients.len()).await;
        let scids: Vec<Scid> = host.node.table().answers.iter().map(|answer| scid_in(answer)).collect();
        let (begun, mut waits) = (Instant::now(), vec![]);
        for number in 0..PARTS {
            let (payment, mut part) = (number % PAYMENTS, [0; 32]);
            part[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
            waits.push(host.holds(PartId(part), scids[payment], payment).await?);
        }
        let took = begun.elapsed();
        Ok(figures(waits, &format!("{PARTS} parts"), PARTS, took))
    })
}

/// Has 1 000 clients with channels send ten messages each, and reports events of HTLCs meanwhile.
fn messages(write: Duration, message: impl Fn(PeerId, usize) -> Vec<u8>) -> Result<Figures, Error> {
    within(async {
        let host = Host::starts(write).await?;
        let ours = client(CLIENTS);
        host.hears(&[ours], |client, _| purchase(client, "a", Some(Msat(1_000 * PART.0))), 1);
        host.has_answered(1).await;
        let scid = scid_in(&host.node.table().answers[0]);
        let clients: Vec<PeerId> = (0..CLIENTS).map(client).collect();
        let begun = Instant::now();
        host.hears(&clients, message, EACH);
        let (mut waits, all) = (vec![], 1 + CLIENTS * EACH);
        while host.node.table().answers.len() < all {
            // More than fit into one payment are refused, after the same wait.
            let mut part = [0; 32];
            part[..8].copy_from_slice(&(waits.len() as u64 + 1).to_be_bytes());
            waits.push(host.holds(PartId(part), scid, waits.len()).await?);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = begun.elapsed();
        let refused = host.node.table().answers.iter().filter(|answer| is_refused(answer)).count();
        if refused > 0 {
            return Err(format!("{refused} requests were refused").into());
        }
        Ok(figures(waits, &format!("{} messages", CLIENTS * EACH), CLIENTS * EACH, took))
    })
}

/// A running host, on the bench's node.
struct Host {
    lsp: Lsp,
    node: Arc<Node>,
}

impl Host {
    async fn starts(write: Duration) -> Result<Self, Error> {
        let (node, store) = (Arc::new(Node::default()), Arc::new(Disk(write)));
        let wallet = Arc::new(Coins);
        let parts = LspParts::new(Arc::clone(&node), Arc::clone(&node) as _, store, wallet.clone(), wallet, key());
        let Started { lsp, runner, .. } = Lsp::start(parts, StandardPolicy::default()).await?;
        tokio::spawn(runner.run());
        Ok(Self { lsp, node })
    }

    /// Connects clients and has each send `each` messages, the first of all before the second of any.
    fn hears(&self, clients: &[PeerId], message: impl Fn(PeerId, usize) -> Vec<u8>, each: usize) {
        let mut table = self.node.table();
        clients.iter().for_each(|client| table.inbox.connects(*client, ()));
        for nth in 0..each {
            clients.iter().for_each(|client| table.inbox.receive(*client, message(*client, nth)));
        }
        drop(table);
        self.node.arrived.notify_one();
    }

    async fn has_answered(&self, messages: usize) {
        while self.node.table().answers.len() < messages {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Has the node hold an HTLC of this payment, and returns the time until its event is answered.
    async fn holds(&self, part: PartId, scid: Scid, payment: usize) -> Result<Duration, Error> {
        let (mut hash, amount) = ([0; 32], PART);
        hash[..8].copy_from_slice(&(payment as u64 + 1).to_be_bytes());
        let (payment_hash, cltv_expiry) = (PaymentHash(hash), Some(BlockHeight(HEIGHT + 500)));
        self.node.table().held.insert(part, (payment_hash, amount));
        let held = HeldHtlc { part, scid, payment_hash, amount_in: amount, onion_amount: amount, cltv_expiry };
        let begun = Instant::now();
        match self.lsp.handle_node_event(NodeEvent::Input(Input::HtlcHeld(held)), true).await {
            Ok(Outcome::Taken | Outcome::Refused(_)) => Ok(begun.elapsed()),
            other => Err(format!("an HTLC of a sold channel: {other:?}").into()),
        }
    }
}

/// A node that answers each question from memory, and opens no channel.
#[derive(Default)]
struct Node {
    table: Mutex<Table>,
    arrived: Notify,
}

#[derive(Default)]
struct Table {
    inbox: Inbox<PeerId, ()>,
    answers: Vec<Vec<u8>>,
    held: BTreeMap<PartId, (PaymentHash, Msat)>,
    drawn: u64,
}

impl Node {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nobody panics here")
    }
}

impl Messages for Node {
    fn attach(&self) {
        self.table().inbox.attach();
    }

    fn send(&self, messages: Vec<(PeerId, Vec<u8>)>) {
        self.table().answers.extend(messages.into_iter().map(|(_, payload)| payload));
    }

    fn take(&self, budget: Budget) -> Vec<PeerEvent<PeerId>> {
        self.table().inbox.take(budget)
    }

    fn has_news(&self) -> bool {
        self.table().inbox.has_news()
    }

    fn arrived(&self) -> Arrived<'_> {
        Box::pin(self.arrived.notified())
    }

    fn is_connected(&self, peer: PeerId) -> bool {
        self.table().inbox.features(&peer).is_some()
    }
}

impl LspNode for Node {
    fn network(&self) -> Option<Network> {
        Some(Network::Regtest)
    }

    fn height(&self) -> BlockHeight {
        BlockHeight(HEIGHT)
    }

    fn draw_scid(&self) -> Scid {
        let mut table = self.table();
        table.drawn += 1;
        Scid(table.drawn << 40)
    }

    fn makes_anchors(&self) -> bool {
        true
    }

    fn inbound(&self) -> Msat {
        Msat(u64::MAX / 2)
    }

    fn channels(&self) -> Vec<NodeChannel> {
        vec![]
    }

    fn outbound_capacity(&self, _: PeerId, _: ChannelKey, _: usize) -> Option<Msat> {
        None
    }

    fn is_used(&self, _: PeerId, _: ChannelKey) -> bool {
        false
    }

    fn is_usable(&self, _: PeerId) -> bool {
        true
    }

    /// Each client has a channel with the node, so that none of them is a stranger.
    fn forced_closes(&self) -> BTreeMap<PeerId, Option<BlockHeight>> {
        (0..=CLIENTS).map(|number| (client(number), None)).collect()
    }

    fn open(&self, _: PeerId, _: ChannelKey, _: &OpenTerms, _: usize, _: u32) -> Result<(), String> {
        Ok(())
    }

    fn fund(&self, _: PeerId, _: ChannelKey, _: Transaction) -> Result<(), String> {
        Err("no channel is open".into())
    }

    fn close(&self, _: PeerId, _: ChannelKey) {}

    fn allow_forwards(&self, _: PeerId, _: ChannelKey) {}

    fn held(&self, part: PartId) -> Option<Msat> {
        self.table().held.get(&part).map(|(_, amount)| *amount)
    }

    fn incoming(&self) -> Vec<IncomingHtlc> {
        let state = IncomingState::Committed;
        let shown = |(hash, amount): &(PaymentHash, Msat)| IncomingHtlc { payment_hash: *hash, amount: *amount, state };
        self.table().held.values().map(shown).collect()
    }

    fn outgoing(&self, _: PeerId) -> Vec<OutgoingHtlc> {
        vec![]
    }

    fn forward(&self, _: PartId, _: PeerId, _: ChannelKey, _: ChannelId, _: Msat) -> Resolution {
        Resolution::Refused
    }

    fn fail(&self, part: PartId, _: FailureCode) -> Resolution {
        if self.table().held.remove(&part).is_some() { Resolution::Done } else { Resolution::NotHeld }
    }

    fn send_marker(&self, _: Marker, _: Timestamp) -> bool {
        true
    }
}

/// A store that forgets, and takes a time for each call.
struct Disk(Duration);

impl RecordStore for Disk {
    fn list(&self, _: &'static str) -> Answer<Vec<String>> {
        Box::pin(async { Ok(vec![]) })
    }

    fn read(&self, _: &'static str, names: Vec<String>) -> ReadAnswer {
        Box::pin(async move { names.into_iter().map(|_| Ok(None)).collect() })
    }

    fn write(&self, _: &'static str, _: Vec<Change>) -> Answer<()> {
        let time = self.0;
        Box::pin(async move {
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            Ok(())
        })
    }
}

/// A wallet that has coins and spends none.
struct Coins;

impl OnchainWallet for Coins {
    fn fund(&self, _: u128, _: &ScriptBuf, _: u64, _: FeeRate) -> Result<Transaction, CannotFund> {
        Err(CannotFund::Wallet("it only shows its coins".into()))
    }

    fn lock(&self, _: &[OutPoint]) {}

    fn release(&self, _: &[OutPoint]) {}

    fn mining_fee_sat(&self, _: &Transaction) -> u64 {
        0
    }

    fn spendable_sat(&self) -> u64 {
        100_000_000_000
    }
}

impl ChainAccess for Coins {
    fn broadcast(&self, _: &Transaction) -> Broadcast {
        Broadcast::Known
    }

    fn fee_rate(&self) -> FeeRate {
        FeeRate::from_sat_per_kwu(253)
    }
}

fn within(play: impl Future<Output = Result<Figures, Error>>) -> Result<Figures, Error> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(play)
}

#[expect(clippy::cast_precision_loss, reason = "statistics")]
fn figures(mut waits: Vec<Duration>, what: &str, count: usize, took: Duration) -> Figures {
    waits.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (event_ms, event_median_ms) = (millis(waits[waits.len() - 1]), millis(waits[waits.len() / 2]));
    let about = format!("{what} in {:.0} ms: {:.0} a second", millis(took), count as f64 / took.as_secs_f64());
    Figures { event_ms, event_median_ms, about, ..Figures::default() }
}

fn purchase(client: PeerId, id: &str, payment_size_msat: Option<Msat>) -> Vec<u8> {
    let buy = Buy { payment_size_msat, ..buy_with(&key(), client) };
    encode_request(id, &buy).expect("short")
}

fn is_refused(answer: &[u8]) -> bool {
    !matches!(FromLsp::decode(answer), Ok(FromLsp::Response { outcome: Ok(_), .. }))
}

fn scid_in(answer: &[u8]) -> Scid {
    let Ok(FromLsp::Response { outcome: Ok(raw), .. }) = FromLsp::decode(answer) else {
        panic!("not sold: {}", String::from_utf8_lossy(answer));
    };
    raw.reply::<Buy>().expect("a purchase").jit_channel_scid
}

fn client(number: usize) -> PeerId {
    let mut id = [3; 33];
    id[1..9].copy_from_slice(&(number as u64).to_be_bytes());
    PeerId(id)
}

fn key() -> PromiseKey {
    PromiseKey::new([42; 32])
}

const HEIGHT: u32 = 800_000;
const CLIENTS: usize = 1_000;
/// Messages of each client.
const EACH: usize = 10;
/// Amount of each part.
const PART: Msat = Msat(1_000_000);
const PAYMENTS: usize = 100;
const PARTS: usize = 1_000;
/// Time of a write: that of an idle disk which syncs.
const WRITE: Duration = Duration::from_millis(5);

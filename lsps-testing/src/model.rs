//! The whole environment: a forgetful node, payers, clients, a chain, coins and a store. The LSP sees it only through
//! its [`ports`].

pub mod chain;
pub mod deposits;
pub mod node;
pub mod payments;
mod ports;
pub mod process;
mod rules;
pub mod seen;
pub mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::OutPoint;
use lsps_host::Inbox;
use lsps_host::ports::NodeEvent;
use lsps_service::{BookEntry, ChannelKey, FlowId, OrderNumber};
use lsps_types::lsps1::Order;
use lsps_types::{Msat, PeerId, Scid, Timestamp};

use crate::setup::{LspSetup, NOON};
use crate::world::Call;
use chain::{Chain, Coins};
use deposits::Deposits;
use node::{Node, Place, Stage};
use payments::Payments;
use webhooks::Hooks;

/// Everything besides the LSP's process.
pub struct Model {
    pub setup: LspSetup,
    pub now: Timestamp,
    /// Steady time, which nobody sets.
    pub steady: Duration,
    /// Steady time of the last save.
    saved_at: Duration,
    /// Whether the clock was set.
    pub clock_was_set: bool,
    /// Calls that are refused once.
    pub refused: BTreeSet<Call>,
    /// Number of further calls to fail an HTLC that are refused.
    pub fails_refused: u8,
    /// Records, by kind and name.
    pub store: Store,
    pub store_works: bool,
    /// Records that the store does not return.
    pub hidden: BTreeSet<String>,
    pub fence: Fence,
    /// Whether the store failed and the LSP has not been at rest since.
    pub is_late: bool,
    /// Number of writes and effects until the process crashes, and whether the node saves itself then.
    pub fuse: Option<(u8, bool)>,
    /// Whether the process crashed. Later actions of its last turn have no effect.
    pub is_dead: bool,
    inbox: Inbox<PeerId, ()>,
    /// Connected peers, and whether their channels accept HTLCs.
    pub links: BTreeMap<PeerId, bool>,
    pub sent: Vec<(PeerId, Vec<u8>)>,
    /// Number of the LSP's actions, by which rest is detected.
    acts: u64,
    pub node: Node,
    /// The node is reached over a connection: a call that makes something is answered when it is repeated, and the node
    /// publishes fundings itself. The calls that were made once.
    pub remote: Option<BTreeSet<String>>,
    /// The event that was dealt with last, and when by the steady clock.
    pub told_last: Option<(Duration, NodeEvent)>,
    /// Whether the node reports nothing.
    pub is_mute: bool,
    /// The first of its events is being told.
    pub is_telling: bool,
    pub payments: Payments,
    pub coins: Coins,
    pub chain: Chain,
    pub broadcast: BTreeSet<ChannelKey>,
    /// Channels that the LSP closed, and those of them that a crash restored while the store did not return the record
    /// of that.
    closed: BTreeSet<ChannelKey>,
    pub came_back: BTreeSet<ChannelKey>,
    pub deposits: Deposits,
    /// SCIDs of offers, with client and size.
    pub sold: Vec<(Scid, PeerId, Option<Msat>)>,
    /// HTLCs whose claim was told in whole satoshis at least once.
    pub rounded: BTreeSet<usize>,
    /// Decisions of clients on HTLCs, which are final.
    pub said: BTreeMap<usize, bool>,
    pub orders: Vec<Sold>,
    pub hooks: Hooks,
    drawn: u64,
    offers: u64,
}

type Store = BTreeMap<(&'static str, String), Vec<u8>>;

/// Ownership of the records.
#[derive(Debug, Default)]
pub struct Fence {
    /// Number of writes after which another process owns the records, and whether this process learns that by itself.
    pub falls: Option<(u8, bool)>,
    is_lost: bool,
    /// Whether the process knows that it lost the records, so that it may do nothing more.
    is_known: bool,
}

impl Fence {
    fn is_due(&mut self, writes: u8) {
        match &mut self.falls {
            Some((left, is_told)) if *left <= writes => (self.is_lost, self.is_known) = (true, *is_told),
            Some((left, _)) => *left -= writes,
            None => {}
        }
    }

    /// Lets another process own the records after this number of writes.
    pub fn falls_after(&mut self, writes: u8, is_told: bool) {
        self.falls = Some((writes, is_told));
        self.is_due(0);
    }
}

/// An order, as in the LSP's reply.
#[derive(Clone, Debug)]
pub struct Sold {
    pub number: OrderNumber,
    pub order: Order,
}

impl Sold {
    fn is_on_record(&self, store: &Store) -> bool {
        store.contains_key(&("service", FlowId::Order(self.number).to_string()))
    }
}

impl Model {
    /// Creates a model at noon, with this number of coins.
    pub fn new(setup: LspSetup, coins: u8) -> Self {
        let mut chain = Chain::default();
        chain.height = 1_000;
        let mut node = Node::default();
        node.feerate_sat_per_kw = setup.feerate_sat_per_kw;
        Self {
            setup,
            now: NOON,
            steady: Duration::ZERO,
            saved_at: Duration::ZERO,
            clock_was_set: false,
            refused: BTreeSet::new(),
            fails_refused: 0,
            store: BTreeMap::new(),
            store_works: true,
            hidden: BTreeSet::new(),
            fence: Fence::default(),
            is_late: false,
            fuse: None,
            is_dead: false,
            inbox: Inbox::default(),
            links: BTreeMap::new(),
            sent: vec![],
            acts: 0,
            node,
            remote: None,
            told_last: None,
            is_mute: false,
            is_telling: false,
            payments: Payments::default(),
            coins: Coins::new(coins),
            chain,
            broadcast: BTreeSet::new(),
            closed: BTreeSet::new(),
            came_back: BTreeSet::new(),
            deposits: Deposits::default(),
            sold: vec![],
            rounded: BTreeSet::new(),
            said: BTreeMap::new(),
            orders: vec![],
            hooks: Hooks::default(),
            drawn: 1,
            offers: 0,
        }
    }

    /// Lets time pass.
    pub fn passes(&mut self, time: Duration) {
        // Outcomes are kept on record for longer than a node goes without persisting its state.
        if self.steady.saturating_sub(self.saved_at) + time >= self.setup.config.keep_resolved {
            self.save();
        }
        self.now = self.now + time;
        self.steady += time;
    }

    /// Sets the clock.
    pub fn sets_clock(&mut self, by: Duration, back: bool) {
        self.clock_was_set = true;
        let millis = u64::try_from(by.as_millis()).expect("days");
        let now = self.now.unix_millis();
        self.now = Timestamp::from_unix_millis(if back { now - millis } else { now + millis });
    }

    /// Persists the node's state, and lets everything that waited for that reach the peers.
    pub fn save(&mut self) {
        self.saved_at = self.steady;
        let told = self.payments.save();
        self.node.now.events.extend(told);
        let links = &self.links;
        self.node.save(|client| links.get(&client) == Some(&true));
    }

    /// Whether a call that makes something has only begun.
    fn has_begun(&mut self, call: String) -> bool {
        let has_begun = self.remote.as_mut().is_some_and(|begun| begun.insert(call));
        self.acts += u64::from(has_begun); // it is not at rest
        has_begun
    }

    /// A point at which the process may crash. `false`: it has.
    fn point(&mut self) -> bool {
        match &mut self.fuse {
            _ if self.is_dead => return false,
            _ if self.fence.is_known => panic!("it acts on records that are another's"),
            Some((0, saved)) => {
                if *saved {
                    self.save();
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

    /// Applies a crash: the node is restored from its persisted state, and hears of the blocks that it missed.
    fn crash(&mut self) {
        (self.fuse, self.is_dead, self.is_late) = (None, false, false);
        (self.fence, self.refused, self.fails_refused) = (Fence::default(), BTreeSet::new(), 0);
        self.node.crash();
        let is_unread = |key: &&ChannelKey| self.hidden.contains(&key.flow.to_string());
        let is_back = |key: &&ChannelKey| self.node.stage(**key).is_some();
        self.came_back.extend(self.closed.iter().filter(is_unread).filter(is_back));
        self.payments.crash();
        self.coins.crash();
        self.links.clear();
        self.inbox = Inbox::default();
        self.sent.clear();
        self.hear_blocks();
    }

    /// Mines a block; a full one leaves the mempool unchanged.
    pub fn mine(&mut self, is_full: bool) {
        self.chain.mine(is_full);
        if !is_full {
            self.deposits.mine(self.chain.height);
        }
    }

    /// Removes the last blocks; their transactions wait in the mempool again.
    pub fn reorg(&mut self, depth: u8) {
        self.chain.reorg(depth);
        let Self { deposits, orders, store, chain, .. } = self;
        deposits.unmine(chain.height, depth, |order| orders[order].is_on_record(store));
    }

    /// The host is at rest: what it saw of orders that are on record is on record too.
    pub fn note_rest(&mut self) {
        let Self { deposits, orders, store, .. } = self;
        if self.store_works {
            deposits.note_shown(|order| orders[order].is_on_record(store));
        }
    }

    /// Lets the client decide on an HTLC that it has; `false`: nobody learns of it. For a closed channel only the chain
    /// reports a claim, in whole satoshis and without the fee: LDK reads the preimage from the transaction that spends
    /// the HTLC, which exists only after the funding, and never for an HTLC in dust. What the client claimed before, LDK
    /// has on disk by the time it tells of that.
    pub fn client_says(&mut self, number: usize, claims: bool, rounded: bool) -> bool {
        let Some(Place::AtClient { over, amount, .. }) = self.node.now.places.get(&number).copied() else {
            return false;
        };
        let (is_open, is_output) = (self.node.stage(over).is_some(), amount >= DUST);
        let is_known = is_output || self.said.get(&number) == Some(&true);
        let is_heard = is_open || (claims && is_known && self.chain.knows(over));
        if is_heard {
            let is_rounded = is_output && (rounded || !is_open);
            self.rounded.extend((claims && is_rounded).then_some(number));
            self.node.client_says(number, claims, is_rounded);
        }
        is_heard
    }

    /// Whether the funding of the channel that an HTLC went over was broadcast. The LSP repeats that with each block.
    pub fn is_broadcast(&self, number: usize) -> bool {
        self.node.incoming[number].given.is_some_and(|(over, _)| self.broadcast.contains(&over))
    }

    /// Times out an HTLC at its client. A client whose claim the node forgot claims on-chain, if its channel is
    /// published; otherwise its claim is void.
    fn times_out(&mut self, number: usize, over: ChannelKey) {
        if self.said.get(&number) == Some(&true) {
            self.node.closed(over);
            let is_on_chain = self.is_broadcast(number);
            self.said.insert(number, is_on_chain);
            if is_on_chain {
                self.rounded.insert(number);
                self.node.client_says(number, true, true);
            }
        }
    }

    /// Reports the best block to the node.
    pub fn hear_blocks(&mut self) {
        for (number, over) in self.node.late(self.chain.height) {
            self.times_out(number, over);
        }
        self.node.blocks(self.chain.height);
        let late = self.payments.blocks(self.chain.height);
        self.node.now.events.extend(late);
    }

    /// Whether a request is answered in the turn in which it arrives.
    pub fn may_ask(&self, client: PeerId) -> bool {
        self.links.contains_key(&client) && self.store_works && self.fuse.is_none()
    }

    /// Whether a record of this name exists.
    pub fn has_record(&self, name: impl ToString) -> bool {
        self.store.contains_key(&("service", name.to_string()))
    }

    /// Records of flows.
    pub fn records(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let service = self.store.iter().filter(|((kind, _), _)| *kind == "service");
        service.map(|((_, name), bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The operator's book, of flows whose names begin so.
    pub fn book(&self, of: &str) -> Vec<BookEntry> {
        let book = self.store.iter().filter(|((kind, name), _)| *kind == "book" && name.starts_with(of));
        book.map(|(_, text)| serde_json::from_slice(text).expect("an entry")).collect()
    }

    /// Coins of the wallet that are reserved and not spent.
    pub fn locked(&self) -> Vec<OutPoint> {
        let coins = self.coins.own().chain(self.deposits.spendable(self.chain.height));
        coins.filter(|coin| self.coins.is_reserved(*coin) && !self.chain.spends(*coin)).collect()
    }

    /// A channel whose client is connected.
    pub fn reachable(&self, channel: u8, is: impl Fn(Stage) -> bool) -> Option<ChannelKey> {
        let keys = self.node.channels(is);
        let there = |key: &ChannelKey| self.links.contains_key(&self.node.now.channels[key].client);
        choose(&keys.into_iter().filter(there).collect::<Vec<_>>(), channel)
    }

    /// The next event of the node, and whether a crash drops it.
    fn next_event(&self) -> Option<(NodeEvent, bool)> {
        if self.is_mute {
            return None;
        }
        let volatile = self.node.volatile.front().map(|event| (event.clone(), true));
        volatile.or_else(|| self.node.now.events.front().map(|event| (event.clone(), false)))
    }

    /// Marks that event as handled.
    fn event_heard(&mut self, is_volatile: bool) {
        self.acts += 1;
        if is_volatile {
            self.node.volatile.pop_front();
        } else if let Some(event) = self.node.now.events.pop_front() {
            self.told_last = Some((self.steady, event));
        }
    }
}

/// One of several values, chosen by any number.
pub fn choose<T: Clone>(among: &[T], number: u8) -> Option<T> {
    let length = among.len().max(1);
    among.get(usize::from(number) % length).cloned()
}

/// Below this an HTLC is no output of a commitment transaction, whatever its type and feerate.
const DUST: Msat = Msat(354_000);
/// Number of confirmations after which a block is final.
pub const DEEP: u32 = 6;
/// Names of records and book entries begin with this: those of JIT channels, and those of orders.
pub const JIT_CHANNELS: &str = "jit-";
pub const ORDERS: &str = "order-";

//! The LSP's process in a world: its service, what it writes, and what every host does for channels.

use std::collections::{BTreeMap, BTreeSet};

use lsps_service::{
    Batch, BookEntry, BookKey, ChannelEnd, ChannelId, ChannelKey, ChannelStage, Effect, Input, NodeFacts, Outcome,
    Record, Refusal, Released, Service,
};
use lsps_types::{BlockHeight, Msat, PeerId, Timestamp};

use super::chain::{Chain, Coins, Tx};
use super::host_loop::Died;
use super::node::{Node, Stage, Told};
use crate::Seen;
use crate::setup::{LspSetup, MINING_SAT, NOON, outpoint};

/// The process, its node, and the chain that both see.
pub(crate) struct Process {
    pub setup: LspSetup,
    pub now: Timestamp,
    pub saved_at: Timestamp,
    pub service: Service,
    pub store: BTreeMap<String, Vec<u8>>,
    pub store_works: bool,
    unwritten: Option<Batch>,
    /// What is let out now had to wait for the store.
    pub is_late: bool,
    unbooked: BTreeMap<BookKey, BookEntry>,
    pub book: BTreeMap<BookKey, BookEntry>,
    pub sent: Vec<(PeerId, Vec<u8>)>,
    pub(super) facts_at: u32,
    pub node: Node,
    pub coins: Coins,
    pub chain: Chain,
    /// Who is there, and whether it takes HTLCs.
    pub links: BTreeMap<PeerId, bool>,
    /// Writes and effects until the process dies, and whether the node saves itself then.
    pub fuse: Option<(u8, bool)>,
    pub deaths: usize,
    /// The service was not told yet that the node has told all that it had.
    pub is_behind: bool,
    pub told_last: Option<Told>,
    /// The node tells nothing.
    pub is_mute: bool,
    pub broadcast: BTreeSet<ChannelKey>,
    /// How often an input met a flow in some state.
    pub seen: Seen,
}

/// What became of writing.
pub(super) enum Written {
    Nothing,
    Refused,
    All(Released),
}

impl Process {
    /// At noon, with so many coins.
    pub fn new(setup: LspSetup, service: Service, coins: u8) -> Self {
        let mut chain = Chain::default();
        chain.height = 1_000;
        Self {
            setup,
            now: NOON,
            saved_at: NOON,
            service,
            store: BTreeMap::new(),
            store_works: true,
            unwritten: None,
            is_late: false,
            unbooked: BTreeMap::new(),
            book: BTreeMap::new(),
            sent: vec![],
            facts_at: 0,
            node: Node::default(),
            coins: Coins::new(coins),
            chain,
            links: BTreeMap::new(),
            fuse: None,
            deaths: 0,
            is_behind: false,
            told_last: None,
            is_mute: false,
            broadcast: BTreeSet::new(),
            seen: Seen::new(),
        }
    }

    /// The records of its earlier lives.
    pub fn load(&mut self) {
        self.is_behind = true;
        for (name, bytes) in &self.store {
            let record = Record { name: name.clone(), bytes: bytes.clone() };
            self.service.load(&record).expect("we wrote it");
        }
    }

    /// What the node knows of channels on record, and nothing of those that were given up.
    pub fn compare_channels(&mut self) -> Vec<Input> {
        for key in self.node.channels(|_| true) {
            if self.service.is_given_up(key) {
                self.node.close(key);
            }
        }
        let mut news = vec![];
        for channel in self.service.known_channels() {
            let key = channel.key;
            if let Some(tx) = channel.funding {
                self.coins.lock(Tx::decode(tx));
            }
            match (channel.stage, self.node.stage(key)) {
                (ChannelStage::Opening, None) => news.push(Input::ChannelEnded { key, why: ChannelEnd::TryAgain }),
                (ChannelStage::Pending | ChannelStage::Ready, None) => {
                    news.push(Input::ChannelEnded { key, why: ChannelEnd::Closed });
                }
                (ChannelStage::Opening | ChannelStage::Pending | ChannelStage::Ready, Some(stage)) => {
                    news.push(Input::ChannelPending { key });
                    if stage == Stage::Ready {
                        news.push(Input::ChannelReady { key, channel_id: ChannelId([0; 32]) });
                    }
                }
                (ChannelStage::Closed | ChannelStage::Abandoning, _) => {}
            }
        }
        news
    }

    /// Whether requests are answered in the turn in which they come.
    pub fn may_ask(&self, client: PeerId) -> bool {
        self.links.contains_key(&client) && self.store_works && self.fuse.is_none()
    }

    /// Whether all that was decided is on record.
    pub fn is_written(&self) -> bool {
        self.store_works && self.unwritten.is_none()
    }

    /// A channel whose client is there.
    pub fn reachable(&self, channel: u8, is: impl Fn(Stage) -> bool) -> Option<ChannelKey> {
        let keys = self.node.channels(is);
        let there = |key: &ChannelKey| self.links.contains_key(&self.node.now.channels[key].client);
        super::choose(&keys.into_iter().filter(there).collect::<Vec<_>>(), channel)
    }

    /// One more place at which it may die.
    pub(super) fn point(&mut self) -> Result<(), Died> {
        match &mut self.fuse {
            Some((0, _)) => Err(Died),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn crash(&mut self) {
        self.deaths += 1;
        self.node.crash();
        self.coins.crash();
        self.links.clear();
        self.unbooked.clear();
        self.unwritten = None;
    }

    /// The next entry that is in the book, if the store takes it.
    pub(super) fn book_next(&mut self) -> Result<Option<BookKey>, Died> {
        if !self.store_works {
            return Ok(None);
        }
        let Some((key, entry)) = self.unbooked.pop_first() else { return Ok(None) };
        self.point()?;
        let before = self.book.insert(key, entry.clone());
        assert!(before.is_none_or(|before| before == entry), "an entry of the book changed");
        self.point()?;
        Ok(Some(key))
    }

    pub(super) fn write(&mut self) -> Result<Written, Died> {
        self.is_late = self.unwritten.is_some();
        let batch = self.unwritten.take().unwrap_or_else(|| self.service.drain());
        if batch.is_empty() && self.unbooked.is_empty() {
            return Ok(Written::Nothing);
        }
        if !self.store_works {
            self.unwritten = Some(batch).filter(|batch| !batch.is_empty());
            return Ok(Written::Refused);
        }
        for (id, content) in batch.records() {
            self.point()?;
            match content {
                Some(bytes) => self.store.insert(id.to_string(), bytes.to_vec()),
                None => self.store.remove(&id.to_string()),
            };
        }
        self.point()?;
        Ok(Written::All(batch.written()))
    }

    /// What every host does for a channel and for the book; the answer. `None`: it is something else.
    pub(super) fn perform(&mut self, effect: &Effect) -> Option<Option<Input>> {
        Some(match effect.clone() {
            Effect::OpenChannel { key, peer, terms } => {
                let is_known = self.node.stage(key).is_some();
                let is_there = self.links.contains_key(&peer);
                if !is_known && is_there {
                    self.node.open(key, peer, terms.carries_others);
                }
                (!is_known && !is_there).then_some(Input::ChannelEnded { key, why: ChannelEnd::PeerGone })
            }
            Effect::FundChannel { key, .. } => Some(match self.coins.fund(key, &self.chain) {
                Some(tx) => {
                    let (tx, outpoint) = (tx.encode(), outpoint(key));
                    Input::FundingBuilt { key, tx, mining_sat: MINING_SAT, outpoint }
                }
                None => {
                    self.node.close(key);
                    Input::ChannelEnded { key, why: ChannelEnd::CannotOpen("no coin is left".into()) }
                }
            }),
            Effect::HandFunding { key, tx, .. } => {
                let is_there = self.node.stage(key).is_some();
                self.node.fund(key, &tx);
                (!is_there).then_some(Input::ChannelEnded { key, why: ChannelEnd::PeerGone })
            }
            Effect::BroadcastFunding { tx, .. } => {
                self.chain.broadcast(Tx::decode(&tx));
                None
            }
            Effect::AbandonChannel { key, tx, .. } => {
                assert!(!self.chain.knows(key), "a channel on the chain is given up: {key:?}");
                self.node.close(key);
                if let Some(tx) = tx {
                    self.coins.release(Tx::decode(&tx));
                }
                Some(Input::ChannelAbandoned { key })
            }
            Effect::Book { key, entry } => {
                self.unbooked.insert(key, entry);
                None
            }
            Effect::CarryOthers { key, .. } => {
                self.node.carry_others(key);
                None
            }
            Effect::WakeClient { .. } => None,
            _ => return None,
        })
    }

    pub(super) fn undo(&mut self, outcome: Outcome, input: &Input) {
        match (outcome, input) {
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Input::ChannelNegotiated { key, .. }) => {
                self.node.close(*key);
            }
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Input::FundingBuilt { tx, .. }) => {
                self.coins.release(Tx::decode(tx));
            }
            _ => {}
        }
    }

    pub(super) fn facts(&mut self) -> NodeFacts {
        self.facts_at = self.chain.height;
        NodeFacts {
            height: BlockHeight(self.chain.height),
            inbound: Msat(u64::MAX),
            spendable_sat: u64::MAX,
            feerate_sat_per_kw: self.setup.feerate_sat_per_kw,
            commitment_feerate_sat_per_kw: self.setup.feerate_sat_per_kw,
            anchors: false,
        }
    }

    /// Those that are deep; what is owed and got lost is broadcast again.
    pub(super) fn confirmed_fundings(&mut self) -> Vec<Input> {
        let stages = [ChannelStage::Pending, ChannelStage::Ready, ChannelStage::Closed];
        let owed =
            self.service.unconfirmed_channels().filter(|channel| channel.owed && stages.contains(&channel.stage));
        let owed: Vec<_> = owed.filter_map(|channel| Some((channel.key, Tx::decode(channel.funding?)))).collect();
        let mut confirmed = vec![];
        for (key, tx) in owed {
            match self.chain.depth(tx) {
                0 => self.chain.broadcast(tx),
                DEEP.. => confirmed.push(Input::FundingConfirmed { key }),
                _ => {}
            }
        }
        confirmed
    }
}

/// Blocks that stay.
pub(crate) const DEEP: u32 = 6;

//! A chain with a mempool, and the LSP's coins on it.

use std::collections::{BTreeMap, BTreeSet};

use lsps_service::ChannelKey;

use super::process::DEEP;

/// A funding transaction: which coin it spends, for which channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tx {
    /// The coin.
    pub coin: u8,
    /// The channel.
    pub key: ChannelKey,
}

/// Blocks, and what waits for one.
#[derive(Debug, Default)]
pub struct Chain {
    /// The best height.
    pub height: u32,
    mempool: BTreeSet<Tx>,
    mined: BTreeMap<Tx, u32>,
    /// Those that were deep once, as far as that was noted.
    settled: BTreeSet<Tx>,
}

/// The on-chain wallet. What is reserved is in memory and gone after a crash.
#[derive(Debug)]
pub struct Coins {
    all: u8,
    /// The next funding finds none.
    pub refuse: bool,
    reserved: BTreeSet<u8>,
    funded: BTreeMap<ChannelKey, Tx>,
}

impl Tx {
    /// In the bytes that stand for consensus encoding here.
    pub fn encode(self) -> Vec<u8> {
        [[self.coin].as_slice(), &self.key.to_u128().to_be_bytes()].concat()
    }

    /// The transaction of these bytes.
    pub fn decode(bytes: &[u8]) -> Self {
        let (coin, key) = bytes.split_first().expect("we encoded it");
        let key = u128::from_be_bytes(key.try_into().expect("we encoded it"));
        Self { coin: *coin, key: ChannelKey::from_u128(key).expect("we encoded it") }
    }
}

impl Chain {
    /// Takes a transaction, again if need be.
    ///
    /// # Panics
    ///
    /// When its coin is spent by another: two fundings shared an input.
    pub fn broadcast(&mut self, tx: Tx) {
        let known = self.mempool.iter().chain(self.mined.keys());
        assert!(!known.into_iter().any(|other| other.coin == tx.coin && *other != tx), "two fundings share an input");
        if !self.mined.contains_key(&tx) {
            self.mempool.insert(tx);
        }
    }

    /// Whether it is out.
    pub fn knows(&self, key: ChannelKey) -> bool {
        self.mempool.iter().chain(self.mined.keys()).any(|tx| tx.key == key)
    }

    /// A block, with all that waits or without.
    pub fn mine(&mut self, is_full: bool) {
        self.height += 1;
        if !is_full {
            let height = self.height;
            self.mined.extend(std::mem::take(&mut self.mempool).into_iter().map(|tx| (tx, height)));
        }
    }

    /// The last blocks are no more; what was in them waits again.
    pub fn reorg(&mut self, depth: u8) {
        self.settled.extend(self.mined.iter().filter(|(_, at)| self.height - **at + 1 >= DEEP).map(|(tx, _)| *tx));
        self.height -= u32::from(depth);
        let gone: Vec<Tx> = self.mined.iter().filter(|(_, at)| **at > self.height).map(|(tx, _)| *tx).collect();
        self.mined.retain(|_, at| *at <= self.height);
        self.mempool.extend(gone);
    }

    /// Forgets the transactions that wait for a block, except those that were deep in the chain once: others keep them.
    pub fn evict(&mut self) {
        self.mempool.retain(|tx| self.settled.contains(tx));
    }

    /// Blocks on it, its own included.
    pub fn depth(&self, tx: Tx) -> u32 {
        self.mined.get(&tx).map_or(0, |at| self.height - at + 1)
    }

    /// All transactions in blocks.
    pub fn mined(&self) -> usize {
        self.mined.len()
    }

    fn spends(&self, coin: u8) -> bool {
        self.mempool.iter().chain(self.mined.keys()).any(|tx| tx.coin == coin)
    }
}

impl Coins {
    /// So many coins.
    pub fn new(all: u8) -> Self {
        Self { all, refuse: false, reserved: BTreeSet::new(), funded: BTreeMap::new() }
    }

    /// The same transaction for the same channel.
    pub fn fund(&mut self, key: ChannelKey, chain: &Chain) -> Option<Tx> {
        if std::mem::take(&mut self.refuse) {
            return None;
        }
        if let Some(tx) = self.funded.get(&key) {
            return Some(*tx);
        }
        let coin = (0..self.all).find(|coin| !self.reserved.contains(coin) && !chain.spends(*coin))?;
        let tx = Tx { coin, key };
        self.reserved.insert(coin);
        self.funded.insert(key, tx);
        Some(tx)
    }

    /// Reserved again after a start.
    pub fn lock(&mut self, tx: Tx) {
        self.reserved.insert(tx.coin);
    }

    /// Given back.
    pub fn release(&mut self, tx: Tx) {
        self.reserved.remove(&tx.coin);
        self.funded.retain(|_, other| other.coin != tx.coin);
    }

    /// Reserved, and not spent.
    pub fn locked(&self, chain: &Chain) -> Vec<u8> {
        self.reserved.iter().copied().filter(|coin| !chain.spends(*coin)).collect()
    }

    /// A crash forgets reservations.
    pub fn crash(&mut self) {
        self.refuse = false;
        self.reserved.clear();
        self.funded.clear();
    }
}

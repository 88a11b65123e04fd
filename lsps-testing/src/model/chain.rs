//! A chain with a mempool, and the LSP's coins on it.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use lsps_service::{ChannelKey, FlowId};

use super::DEEP;

/// A funding transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tx {
    /// Coin that it spends.
    pub coin: OutPoint,
    /// Channel that it funds.
    pub key: ChannelKey,
}

/// Blocks and the mempool.
#[derive(Debug, Default)]
pub struct Chain {
    /// Best height.
    pub height: u32,
    /// The best height that there ever was.
    pub highest: u32,
    mempool: BTreeSet<Tx>,
    mined: BTreeMap<Tx, u32>,
    /// Transactions that are known to have been deep once.
    settled: BTreeSet<Tx>,
}

/// The on-chain wallet. Its reservations are in memory and lost in a crash.
#[derive(Debug)]
pub struct Coins {
    all: u8,
    /// Whether the next funding finds no coin.
    pub refuse: bool,
    /// Reserved coins of the wallet, and reserved deposits of orders.
    reserved: BTreeSet<OutPoint>,
    funded: BTreeMap<ChannelKey, (Tx, Transaction)>,
    /// Every transaction that was ever signed.
    signed: BTreeMap<Txid, Tx>,
}

impl Chain {
    /// Accepts a transaction, also repeatedly.
    ///
    /// # Panics
    ///
    /// Another transaction spends its coin: two fundings share an input.
    pub fn broadcast(&mut self, tx: Tx) {
        let known = self.mempool.iter().chain(self.mined.keys());
        assert!(!known.into_iter().any(|other| other.coin == tx.coin && *other != tx), "two fundings share an input");
        if !self.mined.contains_key(&tx) {
            self.mempool.insert(tx);
        }
    }

    /// Whether the funding of this channel is published.
    pub fn knows(&self, key: ChannelKey) -> bool {
        self.mempool.iter().chain(self.mined.keys()).any(|tx| tx.key == key)
    }

    /// Mines a block, with the whole mempool or empty.
    pub fn mine(&mut self, is_full: bool) {
        self.height += 1;
        self.highest = self.highest.max(self.height);
        if !is_full {
            let height = self.height;
            self.mined.extend(std::mem::take(&mut self.mempool).into_iter().map(|tx| (tx, height)));
        }
    }

    /// Removes the last blocks; their transactions return to the mempool.
    pub fn reorg(&mut self, depth: u8) {
        self.settled.extend(self.mined.iter().filter(|(_, at)| self.height - **at + 1 >= DEEP).map(|(tx, _)| *tx));
        self.height -= u32::from(depth);
        let gone: Vec<Tx> = self.mined.iter().filter(|(_, at)| **at > self.height).map(|(tx, _)| *tx).collect();
        self.mined.retain(|_, at| *at <= self.height);
        self.mempool.extend(gone);
    }

    /// Drops the mempool, except transactions that were deep in the chain once, which other nodes keep.
    pub fn evict(&mut self) {
        self.mempool.retain(|tx| self.settled.contains(tx));
    }

    /// Number of confirmations.
    pub fn depth(&self, tx: Tx) -> u32 {
        self.mined.get(&tx).map_or(0, |at| self.height - at + 1)
    }

    /// Number of mined fundings of some flows.
    pub fn mined(&self, is_of: impl Fn(FlowId) -> bool) -> u64 {
        self.mined.keys().map(|tx| u64::from(is_of(tx.key.flow))).sum()
    }

    /// Whether a funding spends a coin.
    pub fn spends(&self, coin: OutPoint) -> bool {
        self.mempool.iter().chain(self.mined.keys()).any(|tx| tx.coin == coin)
    }
}

impl Coins {
    /// Creates a wallet with this number of coins.
    pub fn new(all: u8) -> Self {
        Self { all, refuse: false, reserved: BTreeSet::new(), funded: BTreeMap::new(), signed: BTreeMap::new() }
    }

    /// Signs a funding; the same transaction for the same channel. Deposits that paid for orders are spent first.
    pub fn fund(&mut self, key: ChannelKey, chain: &Chain, paid: &[OutPoint], output: TxOut) -> Option<Transaction> {
        if std::mem::take(&mut self.refuse) {
            return None;
        }
        if let Some((_, transaction)) = self.funded.get(&key) {
            return Some(transaction.clone());
        }
        let mut coins = paid.iter().copied().chain(self.own());
        let coin = coins.find(|coin| !self.reserved.contains(coin) && !chain.spends(*coin))?;
        let (tx, transaction) = (Tx { coin, key }, spends([coin], output));
        self.reserved.insert(coin);
        self.signed.insert(transaction.compute_txid(), tx);
        self.funded.insert(key, (tx, transaction.clone()));
        Some(transaction)
    }

    /// The funding with this txid, if it was signed here.
    pub fn signed(&self, txid: &Txid) -> Option<Tx> {
        self.signed.get(txid).copied()
    }

    /// Reserves a coin again after a start.
    pub fn lock(&mut self, coin: OutPoint) {
        self.reserved.insert(coin);
    }

    /// Releases a coin.
    pub fn release(&mut self, coin: OutPoint) {
        self.reserved.remove(&coin);
        self.funded.retain(|_, (other, _)| other.coin != coin);
    }

    /// Whether a coin is reserved.
    pub fn is_reserved(&self, coin: OutPoint) -> bool {
        self.reserved.contains(&coin)
    }

    /// Coins that the wallet had at the start.
    pub fn own(&self) -> impl Iterator<Item = OutPoint> + use<> {
        (0..self.all).map(outpoint_of)
    }

    /// Drops the reservations, as a crash does.
    pub fn crash(&mut self) {
        self.refuse = false;
        self.reserved.clear();
        self.funded.clear();
    }
}

/// Builds a transaction with one output.
pub fn spends(outpoints: impl IntoIterator<Item = OutPoint>, output: TxOut) -> Transaction {
    let input = |previous_output| TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    let input = outpoints.into_iter().map(input).collect();
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output: vec![output] }
}

/// The funding output of a model channel, whose script is the channel's key.
pub fn output_of(key: ChannelKey, value_sat: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(value_sat),
        script_pubkey: ScriptBuf::from_bytes(key.to_u128().to_be_bytes().into()),
    }
}

fn outpoint_of(coin: u8) -> OutPoint {
    let mut txid = COIN;
    txid[31] = coin;
    OutPoint { txid: Txid::from_byte_array(txid), vout: 0 }
}

const COIN: [u8; 32] = [0xc0; 32];

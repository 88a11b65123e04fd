//! Blocks, coins and the mempool: the chain's only mutable state.

use std::collections::HashMap;

use bitcoin::block::Header;
use bitcoin::constants::genesis_block;
use bitcoin::{Amount, Block, BlockHash, Network, OutPoint, Script, Transaction, TxOut, Txid};

use super::block;
use super::file::Kept;
use super::rules::{self, COINBASE_MATURITY, Rejected};

/// An output that can be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Outpoint of the coin.
    pub outpoint: OutPoint,
    /// Value in satoshis and script of the coin.
    pub output: TxOut,
    /// Height of the block that created the coin; `None` while its transaction is in the mempool.
    pub height: Option<u32>,
    /// Whether a coinbase created the coin.
    pub coinbase: bool,
}

impl Coin {
    /// Whether a block at `height` may spend the coin: a coinbase has to wait 100 blocks.
    #[must_use]
    pub fn is_mature(&self, height: u32) -> bool {
        !self.coinbase || self.height.is_some_and(|created| height >= created + COINBASE_MATURITY)
    }
}

pub(super) struct Ledger {
    blocks: Vec<Block>,
    /// Height of each block, also of those that a reorganisation took out.
    heights: HashMap<BlockHash, u32>,
    /// Headers of the blocks that a reorganisation took out.
    stale: HashMap<BlockHash, Header>,
    /// Coins that no block has spent; transactions in the mempool may spend them.
    coins: HashMap<OutPoint, Coin>,
    /// Transactions in the mempool, parents before children.
    mempool: Vec<Waiting>,
    /// Spending transaction of each spent outpoint, mined or in the mempool. Distinguishes a double spend from an
    /// unknown coin.
    spenders: HashMap<OutPoint, Txid>,
    mined: HashMap<Txid, u32>,
    changes: u64,
    pub(super) file: Kept,
}

struct Waiting {
    txid: Txid,
    tx: Transaction,
    fee: Amount,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let genesis = genesis_block(Network::Regtest);
        Self {
            heights: HashMap::from([(genesis.block_hash(), 0)]),
            blocks: vec![genesis],
            stale: HashMap::new(),
            coins: HashMap::new(),
            mempool: vec![],
            spenders: HashMap::new(),
            mined: HashMap::new(),
            changes: 1,
            file: Kept::default(),
        }
    }

    pub(super) fn submit(&mut self, tx: Transaction) -> Result<Txid, Rejected> {
        let txid = tx.compute_txid();
        if self.mined.contains_key(&txid) || self.waiting(&txid).is_some() {
            return Ok(txid);
        }
        let fee = rules::check(&tx, self)?;
        for input in &tx.input {
            self.spenders.insert(input.previous_output, txid);
        }
        self.file.append_transaction(&tx);
        self.mempool.push(Waiting { txid, tx, fee });
        self.changes += 1;
        Ok(txid)
    }

    /// Connects a block of an earlier life, in the place of others that it does not follow.
    pub(super) fn connect_again(&mut self, block: Block) {
        while self.height() > 0 && self.tip_hash() != block.header.prev_blockhash {
            self.disconnect();
        }
        for tx in &block.txdata {
            let txid = tx.compute_txid();
            self.spenders.extend(tx.input.iter().map(|input| (input.previous_output, txid)));
            self.mempool.retain(|waiting| waiting.txid != txid);
        }
        let height = self.height() + 1;
        self.connect(block, height);
    }

    /// Removes a transaction, and those that spend its outputs, from the mempool.
    pub(super) fn evict(&mut self, txid: Txid) {
        let mut gone = vec![txid];
        while let Some(txid) = gone.pop() {
            let Some(at) = self.mempool.iter().position(|waiting| waiting.txid == txid) else { continue };
            let waiting = self.mempool.remove(at);
            self.spenders.retain(|_, by| *by != txid);
            let children = outputs(txid, &waiting.tx, None).filter_map(|coin| self.spender(&coin.outpoint));
            gone.extend(children);
            self.changes += 1;
        }
    }

    /// Removes the newest block from the chain; its transactions return to the mempool.
    pub(super) fn disconnect(&mut self) {
        let Some(block) = self.blocks.last().filter(|_| self.height() > 0).cloned() else { return };
        let mut back = vec![];
        for tx in block.txdata.iter().rev().filter(|tx| !tx.is_coinbase()) {
            let spent = tx.input.iter().filter_map(|input| self.mined_coin(&input.previous_output));
            let spent: Vec<Coin> = spent.collect();
            let worth: Amount = spent.iter().map(|coin| coin.output.value).sum();
            let fee = worth - tx.output.iter().map(|output| output.value).sum();
            self.coins.extend(spent.into_iter().map(|coin| (coin.outpoint, coin)));
            back.insert(0, Waiting { txid: tx.compute_txid(), tx: tx.clone(), fee });
        }
        for tx in &block.txdata {
            let txid = tx.compute_txid();
            outputs(txid, tx, None).for_each(|coin| drop(self.coins.remove(&coin.outpoint)));
            self.mined.remove(&txid);
        }
        self.stale.insert(block.block_hash(), block.header);
        self.blocks.pop();
        self.mempool.splice(0..0, back);
        self.changes += 1;
    }

    /// Number of changes of blocks and mempool so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Mines a block with the whole mempool.
    pub(super) fn mine(&mut self, coinbase_script: &Script) {
        let waiting = std::mem::take(&mut self.mempool);
        self.mine_with(coinbase_script, waiting);
    }

    /// Mines an empty block.
    pub(super) fn mine_empty(&mut self, coinbase_script: &Script) {
        self.mine_with(coinbase_script, vec![]);
    }

    fn mine_with(&mut self, coinbase_script: &Script, waiting: Vec<Waiting>) {
        let fees = waiting.iter().map(|waiting| waiting.fee).sum();
        let transactions = waiting.into_iter().map(|waiting| waiting.tx).collect();
        let height = self.height() + 1;
        let block = block::assemble(self.tip_hash(), height, self.next_time(), coinbase_script, fees, transactions);
        self.connect(block, height);
    }

    pub(super) fn height(&self) -> u32 {
        u32::try_from(self.blocks.len() - 1).expect("fewer than four billion blocks fit into memory")
    }

    pub(super) fn tip_hash(&self) -> BlockHash {
        self.blocks.last().expect("the genesis block stays").block_hash()
    }

    pub(super) fn block_at(&self, height: u32) -> Option<&Block> {
        self.blocks.get(usize::try_from(height).ok()?)
    }

    /// The block of this hash, if it is in the chain.
    pub(super) fn block(&self, hash: &BlockHash) -> Option<&Block> {
        self.block_at(*self.heights.get(hash)?).filter(|block| block.block_hash() == *hash)
    }

    /// Header of a block, also of one that a reorganisation took out.
    pub(super) fn header(&self, hash: &BlockHash) -> Option<Header> {
        self.block(hash).map(|block| block.header).or_else(|| self.stale.get(hash).copied())
    }

    /// Median time of the eleven blocks up to `height`, in Unix seconds, which lock times are compared with.
    pub(super) fn median_time_at(&self, height: u32) -> u32 {
        let mut times: Vec<u32> =
            (height.saturating_sub(10)..=height).filter_map(|h| self.block_at(h)).map(|b| b.header.time).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    pub(super) fn mempool(&self) -> impl Iterator<Item = &Transaction> {
        self.mempool.iter().map(|waiting| &waiting.tx)
    }

    pub(super) fn waiting(&self, txid: &Txid) -> Option<&Transaction> {
        self.mempool.iter().find(|waiting| waiting.txid == *txid).map(|waiting| &waiting.tx)
    }

    pub(super) fn mined_at(&self, txid: &Txid) -> Option<u32> {
        self.mined.get(txid).copied()
    }

    pub(super) fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spenders.get(outpoint).copied()
    }

    pub(super) fn unspent(&self, outpoint: &OutPoint) -> Option<Coin> {
        if self.spenders.contains_key(outpoint) {
            return None;
        }
        self.coins.get(outpoint).cloned().or_else(|| self.unconfirmed(outpoint))
    }

    /// Unspent coins of a script, in the order of their creation, so that the same calls find the same coins.
    pub(super) fn unspent_of(&self, script: &Script) -> Vec<Coin> {
        let unconfirmed = self.mempool.iter().flat_map(|waiting| outputs(waiting.txid, &waiting.tx, None));
        let mut found: Vec<Coin> = (self.coins.values().cloned())
            .chain(unconfirmed)
            .filter(|coin| coin.output.script_pubkey.as_script() == script)
            .filter(|coin| !self.spenders.contains_key(&coin.outpoint))
            .collect();
        found.sort_by_key(|coin| (coin.height.unwrap_or(u32::MAX), coin.outpoint));
        found
    }

    fn unconfirmed(&self, outpoint: &OutPoint) -> Option<Coin> {
        outputs(outpoint.txid, self.waiting(&outpoint.txid)?, None).find(|coin| coin.outpoint == *outpoint)
    }

    fn mined_coin(&self, outpoint: &OutPoint) -> Option<Coin> {
        let height = self.mined_at(&outpoint.txid)?;
        let tx = self.block_at(height)?.txdata.iter().find(|tx| tx.compute_txid() == outpoint.txid)?;
        outputs(outpoint.txid, tx, Some(height)).find(|coin| coin.outpoint == *outpoint)
    }

    fn connect(&mut self, block: Block, height: u32) {
        self.file.append_block(&block); // before anybody sees it
        for tx in &block.txdata {
            let txid = tx.compute_txid();
            for input in &tx.input {
                self.coins.remove(&input.previous_output);
            }
            self.coins.extend(outputs(txid, tx, Some(height)).map(|coin| (coin.outpoint, coin)));
            self.mined.insert(txid, height);
        }
        self.heights.insert(block.block_hash(), height);
        self.blocks.push(block);
        self.changes += 1;
    }

    /// Time of the next block: the wall clock, or the least time allowed if blocks come faster. LDK takes block times
    /// for the present.
    fn next_time(&self) -> u32 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        now.max(self.median_time_at(self.height()).saturating_add(1))
    }
}

fn outputs(txid: Txid, tx: &Transaction, height: Option<u32>) -> impl Iterator<Item = Coin> {
    let coinbase = tx.is_coinbase();
    (0..).zip(&tx.output).filter(|(_, output)| !output.script_pubkey.is_op_return()).map(move |(vout, output)| Coin {
        outpoint: OutPoint { txid, vout },
        output: output.clone(),
        height,
        coinbase,
    })
}

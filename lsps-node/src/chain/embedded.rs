//! A regtest chain inside the process: real blocks, real scripts, no daemon.
//!
//! There is one chain of blocks; a block is disconnected only if a test asks for it. The mempool admits only
//! transactions that the very next block could contain; the first spender of a coin wins. There is no minimum fee and
//! no size limit.

mod block;
mod file;
mod ledger;
mod rules;
mod source;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::opcodes::OP_TRUE;
use bitcoin::{Amount, Block, BlockHash, FeeRate, OutPoint, Script, ScriptBuf, Transaction, TxIn, TxOut, Txid};
use lightning::chain::BestBlock;
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use tokio::sync::watch;

use super::ChainView;

pub use rules::Rejected;

use ledger::Ledger;

/// A handle to the chain; clones share it.
#[derive(Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

impl Chain {
    /// Creates a chain of [`START_HEIGHT`] blocks whose first coinbases fund [`give`](Self::give).
    #[must_use]
    pub fn new() -> Self {
        let (ledger, tip) = (Mutex::new(Ledger::new()), watch::Sender::new(0));
        let chain = Self { inner: Arc::new(Inner { ledger, tip, fee_rate: AtomicU32::new(FEE_SAT_PER_KW) }) };
        chain.mine(START_HEIGHT);
        chain
    }

    /// Opens the chain in this file, which one process can use at a time, or creates it. Blocks and mempool are there again
    /// after the process was killed.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn open(path: impl AsRef<std::path::Path>) -> std::io::Result<Self> {
        let mut ledger = Ledger::new();
        file::Kept::open(path.as_ref(), &mut ledger)?;
        let height = ledger.height();
        let (ledger, tip) = (Mutex::new(ledger), watch::Sender::new(height));
        let chain = Self { inner: Arc::new(Inner { ledger, tip, fee_rate: AtomicU32::new(FEE_SAT_PER_KW) }) };
        chain.mine(START_HEIGHT.saturating_sub(height));
        Ok(chain)
    }

    /// Mines `count` blocks, the first of which takes the whole mempool. Only [`give`](Self::give) spends their
    /// coinbases.
    pub fn mine(&self, count: u32) {
        self.mine_to(&faucet_script(), count);
    }

    /// Mines `count` empty blocks; the mempool stays.
    pub fn mine_without_mempool(&self, count: u32) {
        let mut ledger = self.ledger();
        (0..count).for_each(|_| ledger.mine_empty(&faucet_script()));
        let height = ledger.height();
        drop(ledger);
        self.inner.tip.send_replace(height);
    }

    /// Mines `count` blocks whose coinbases, spendable after 100 more blocks, pay to `script`.
    pub fn mine_to(&self, script: &Script, count: u32) {
        let mut ledger = self.ledger();
        for _ in 0..count {
            ledger.mine(script);
        }
        let height = ledger.height();
        drop(ledger);
        self.inner.tip.send_replace(height);
    }

    /// Reorganises the chain: the newest `depth` blocks are replaced by one more, all of them empty, and their
    /// transactions return to the mempool.
    pub fn reorganize(&self, depth: u32) {
        let mut ledger = self.ledger();
        (0..depth).for_each(|_| ledger.disconnect());
        (0..=depth).for_each(|_| ledger.mine_empty(&faucet_script()));
        let height = ledger.height();
        drop(ledger);
        self.inner.tip.send_replace(height);
    }

    /// Removes a transaction, and those that spend its outputs, from the mempool: another may spend the same coins.
    pub fn evict(&self, txid: &Txid) {
        self.ledger().evict(*txid);
    }

    /// Pays `amount_sat` satoshis from the faucet to `script`, confirmed in a block of its own.
    ///
    /// # Panics
    ///
    /// The faucet lacks funds: the block subsidy of regtest halves every 150 blocks.
    pub fn give(&self, script: &Script, amount_sat: u64) -> Txid {
        let amount = Amount::from_sat(amount_sat);
        let mut ledger = self.ledger();
        let tx = faucet_payment(&ledger, script, amount).expect("the faucet is funded well above what tests need");
        let txid = ledger.submit(tx).expect("the faucet spends mature coins of its own");
        drop(ledger);
        self.mine(1);
        txid
    }

    /// Puts a transaction into the mempool. A transaction that is in the mempool or mined already is accepted again.
    ///
    /// # Errors
    ///
    /// The next block could not contain it; the mempool is unchanged.
    pub fn submit(&self, tx: Transaction) -> Result<Txid, Rejected> {
        self.ledger().submit(tx)
    }

    /// Whether the transaction is in the mempool.
    #[must_use]
    pub fn in_mempool(&self, txid: &Txid) -> bool {
        self.ledger().waiting(txid).is_some()
    }

    /// The transactions that the next block will contain, parents before children.
    #[must_use]
    pub fn mempool(&self) -> Vec<Transaction> {
        self.ledger().mempool().cloned().collect()
    }

    /// Number of confirmations of the transaction; `None` while it is not mined.
    #[must_use]
    pub fn confirmations(&self, txid: &Txid) -> Option<u32> {
        let ledger = self.ledger();
        ledger.mined_at(txid).map(|height| ledger.height() - height + 1)
    }

    /// Height of the newest block; the genesis block has height 0.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.ledger().height()
    }

    /// The newest block in LDK's form.
    #[must_use]
    pub fn best_block(&self) -> BestBlock {
        let ledger = self.ledger();
        BestBlock::new(ledger.tip_hash(), ledger.height())
    }

    /// The block at `height`, if it exists.
    #[must_use]
    pub fn block_at(&self, height: u32) -> Option<Block> {
        self.ledger().block_at(height).cloned()
    }

    /// Hash of the block at `height`, if it exists.
    #[must_use]
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.ledger().block_at(height).map(Block::block_hash)
    }

    /// Feerate of a transaction; `None` if it is neither in the mempool nor mined.
    #[must_use]
    pub fn fee_rate_of(&self, txid: &Txid) -> Option<FeeRate> {
        let (fee, tx) = (Amount::from_sat(self.fee_sat(txid)?), self.transaction(txid)?);
        fee.div_by_weight_floor(tx.weight())
    }

    /// The transaction, in the mempool or mined.
    #[must_use]
    pub fn transaction(&self, txid: &Txid) -> Option<Transaction> {
        let ledger = self.ledger();
        let mined = || ledger.block_at(ledger.mined_at(txid)?)?.txdata.iter().find(|tx| tx.compute_txid() == *txid);
        ledger.waiting(txid).or_else(mined).cloned()
    }

    /// Fee of a transaction, in satoshis; `None` if it is neither in the mempool nor mined.
    #[must_use]
    pub fn fee_sat(&self, txid: &Txid) -> Option<u64> {
        let tx = self.transaction(txid)?;
        let spent = |input: &TxIn| {
            let OutPoint { txid, vout } = input.previous_output;
            Some(self.transaction(&txid)?.output.get(usize::try_from(vout).ok()?)?.value)
        };
        let spent: Amount = tx.input.iter().map(spent).sum::<Option<_>>()?;
        let paid: Amount = tx.output.iter().map(|output| output.value).sum();
        spent.checked_sub(paid).map(Amount::to_sat)
    }

    /// The transaction, if it is in the mempool.
    #[must_use]
    pub fn waiting(&self, txid: &Txid) -> Option<Transaction> {
        self.ledger().waiting(txid).cloned()
    }

    /// Feerate that the chain reports as the estimate, in satoshis per 1000 weight units.
    #[must_use]
    pub fn fee_sat_per_kw(&self) -> u32 {
        self.inner.fee_rate.load(Ordering::SeqCst)
    }

    /// Sets the estimate of the feerate. Transactions with a lower feerate are mined anyway.
    pub fn set_fee_sat_per_kw(&self, sat_per_kw: u32) {
        self.inner.fee_rate.store(sat_per_kw, Ordering::SeqCst);
    }

    /// A receiver that is notified when the chain has grown; its value is the height of the newest block.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u32> {
        self.inner.tip.subscribe()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic under the lock can only come from `give`, before it changes anything.
        self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Chain> for Arc<ChainView> {
    fn from(chain: Chain) -> Self {
        ChainView::new(Arc::new(chain))
    }
}

impl BroadcasterInterface for Chain {
    /// Submits the transactions in the order that their spends require. Those that the next block could not contain are
    /// dropped, as by a remote node.
    fn broadcast_transactions(&self, txs: &[&Transaction]) {
        let mut left = txs.to_vec();
        loop {
            let before = left.len();
            left.retain(|tx| self.submit((*tx).clone()).is_err());
            if left.len() == before {
                return;
            }
        }
    }
}

impl FeeEstimator for Chain {
    fn get_est_sat_per_1000_weight(&self, _: ConfirmationTarget) -> u32 {
        self.fee_sat_per_kw()
    }
}

struct Inner {
    ledger: Mutex<Ledger>,
    tip: watch::Sender<u32>,
    fee_rate: AtomicU32,
}

/// Script that anyone can spend; only the faucet does.
fn faucet_script() -> ScriptBuf {
    anyone().to_p2wsh()
}

fn anyone() -> ScriptBuf {
    ScriptBuf::builder().push_opcode(OP_TRUE).into_script()
}

fn faucet_payment(ledger: &Ledger, script: &Script, amount: Amount) -> Option<Transaction> {
    let mut gathered = Amount::ZERO;
    let mut tx = Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![],
        output: vec![TxOut { value: amount, script_pubkey: script.into() }],
    };
    for coin in ledger.unspent_of(&faucet_script()) {
        if gathered >= amount {
            break;
        }
        if coin.is_mature(ledger.height() + 1) {
            gathered += coin.output.value;
            tx.input.push(bitcoin::TxIn {
                previous_output: coin.outpoint,
                witness: bitcoin::Witness::from_slice(&[anyone().as_bytes()]),
                ..Default::default()
            });
        }
    }
    let change = gathered.checked_sub(amount)?;
    tx.output.push(TxOut { value: change, script_pubkey: faucet_script() });
    Some(tx)
}

/// Height of a new chain, at which the first ten coinbases are mature.
pub const START_HEIGHT: u32 = 110;

/// Feerate estimate of a new chain, in satoshis per 1000 weight units: the least that a node relays.
pub const FEE_SAT_PER_KW: u32 = 253;

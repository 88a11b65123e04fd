//! Model of the chain and of the wallet's coins: fundings of LSPs, and transactions of the wallet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{Amount, FeeRate, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use lsps_host::ports::{CannotFund, CannotPay};

/// Funding transactions by number, the wallet's transactions, and its reserved coins.
#[derive(Default)]
pub struct Chain {
    pub height: u32,
    pub fundings: BTreeMap<u64, Funding>,
    /// Transactions that the wallet broadcast.
    pub broadcast: BTreeMap<Txid, Sent>,
    /// Reserved coins. A crash clears the reservations.
    reserved: BTreeSet<u64>,
    /// Transactions that were signed and neither broadcast nor forgotten, by order. A crash forgets them.
    unsent: BTreeMap<u128, Transaction>,
    /// Coins of transactions whose host ended before they were on record. No later host knows them, and they are free when
    /// their order is paid by another transaction, or when the process ends.
    orphaned: BTreeSet<u64>,
    /// Output scripts of signed transactions.
    pub scripts: BTreeMap<Txid, ScriptBuf>,
    signed: u64,
    /// Usual feerate, in satoshis per virtual byte.
    pub usual_rate: u64,
}

/// Funding transaction of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Funding {
    pub is_published: bool,
    pub mined_at: Option<u32>,
    pub is_spent_twice: bool,
}

/// A transaction that the wallet broadcast.
#[derive(Clone, Debug)]
pub struct Sent {
    pub mined_at: Option<u32>,
    /// Time of its first broadcast on the steady clock.
    pub at: Duration,
    coin: u64,
}

impl Chain {
    pub fn confirmations(&self, number: u64) -> u32 {
        let mined = self.fundings.get(&number).and_then(|funding| funding.mined_at);
        mined.map_or(0, |at| self.height + 1 - at)
    }

    pub fn has_seen(&self, number: u64) -> bool {
        self.fundings.get(&number).is_some_and(|funding| funding.is_published && !funding.is_spent_twice)
    }

    /// Mines a block with all published fundings and broadcast transactions that are unconfirmed.
    pub fn mines(&mut self) {
        self.height += 1;
        let height = self.height;
        let waiting = self.fundings.values_mut().filter(|it| it.is_published && !it.is_spent_twice);
        waiting.filter(|it| it.mined_at.is_none()).for_each(|it| it.mined_at = Some(height));
        self.broadcast.values_mut().filter(|it| it.mined_at.is_none()).for_each(|it| it.mined_at = Some(height));
    }

    fn fee(&self, at_once_above: Option<FeeRate>) -> u64 {
        let above = at_once_above.map_or(0, |rate| rate.to_sat_per_kwu().saturating_add(1));
        above.max(self.usual_rate * 250).saturating_mul(WEIGHT) / 1_000
    }

    pub fn mining_fee(&self, at_once_above: Option<FeeRate>) -> u64 {
        self.fee(at_once_above)
    }

    /// Signs a transaction that spends a fresh coin, and reserves the coin.
    pub fn sign(
        &mut self,
        order: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        at_once_above: Option<FeeRate>,
        max_fee_sat: u64,
    ) -> Result<Transaction, CannotPay> {
        if let Some(earlier) = self.unsent.remove(&order) {
            self.forget(&earlier);
        }
        let fee_sat = self.fee(at_once_above);
        if fee_sat > max_fee_sat {
            return Err(CannotPay::TooDear { fee_sat, max_fee_sat });
        }
        if self.reserved.len() >= 6 {
            return Err(CannotFund::NotEnough { needed_sat: amount_sat, available_sat: 0 }.into());
        }
        self.signed += 1;
        let coin = self.signed;
        self.reserved.insert(coin);
        let mut txid = [3; 32];
        txid[..8].copy_from_slice(&coin.to_be_bytes());
        let previous_output = OutPoint { txid: Txid::from_byte_array(txid), vout: 0 };
        let (script_sig, sequence, witness) = (ScriptBuf::new(), Sequence::MAX, Witness::new());
        let output = vec![TxOut { value: Amount::from_sat(amount_sat), script_pubkey: script.clone() }];
        let input = vec![TxIn { previous_output, script_sig, sequence, witness }];
        let tx = Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output };
        self.scripts.insert(tx.compute_txid(), script.clone());
        self.unsent.insert(order, tx.clone());
        Ok(tx)
    }

    pub fn reserve(&mut self, tx: &Transaction) {
        self.unsent.retain(|_, unsent| unsent != tx);
        self.orphaned.remove(&coin(tx));
        self.reserved.insert(coin(tx));
    }

    pub fn forget(&mut self, tx: &Transaction) {
        self.unsent.retain(|_, unsent| unsent != tx);
        self.reserved.remove(&coin(tx));
    }

    pub fn broadcast(&mut self, tx: &Transaction, at: Duration) {
        self.reserve(tx);
        let sent = Sent { mined_at: None, at, coin: coin(tx) };
        self.broadcast.entry(tx.compute_txid()).or_insert(sent);
    }

    /// The host ends in a process that goes on.
    pub fn host_ends(&mut self) {
        self.orphaned.extend(self.unsent.values().map(coin));
    }

    /// Applies a crash: all reservations are lost.
    pub fn crash(&mut self) {
        self.reserved.clear();
        self.unsent.clear();
    }

    /// Number of coins that are reserved for transactions without a confirmation.
    pub fn locked(&self) -> usize {
        let mined = |coin: &&u64| self.broadcast.values().any(|sent| sent.coin == **coin && sent.mined_at.is_some());
        self.reserved.difference(&self.orphaned).filter(|coin| !mined(coin)).count()
    }
}

fn coin(tx: &Transaction) -> u64 {
    let bytes = tx.input[0].previous_output.txid.to_byte_array();
    let (number, _) = bytes.split_first_chunk().expect("32 bytes");
    u64::from_be_bytes(*number)
}

/// Weight of a transaction with one input, a payment and a change output, in weight units.
const WEIGHT: u64 = 562;

//! Transactions to the addresses of orders, and those that give them back.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use bitcoin::{Address, Amount, FeeRate, ScriptBuf, Transaction, TxOut};
use lsps_host::ports::{SeenOutput, from_lsps_outpoint};
use lsps_types::{OutPoint, Sat, Txid};

use super::DEEP;
use super::chain::spends;

/// An output to the address of an order.
#[derive(Clone, Debug)]
pub struct Coin {
    /// Of which order.
    pub order: usize,
    /// Its address.
    pub address: String,
    script: ScriptBuf,
    /// Its name.
    pub outpoint: OutPoint,
    /// Satoshis.
    pub amount: Sat,
    fee_rate: FeeRate,
    /// The block it is in.
    pub confirmed_at: Option<u32>,
    /// Another transaction spends the same.
    pub is_gone: bool,
    was_gone: bool,
    /// It became ours once.
    pub was_kept: bool,
}

/// A transaction that gives some back.
#[derive(Clone, Debug)]
pub struct RefundTx {
    transaction: Transaction,
    /// What it spends.
    pub coins: Vec<usize>,
    /// The mining fee.
    pub mining_sat: u64,
    /// Whether it is out.
    pub is_out: bool,
    /// The block it is in.
    pub confirmed_at: Option<u32>,
}

/// All of them, and what the wallet knows.
#[derive(Debug, Default)]
pub struct Deposits {
    /// Every output, ever.
    pub coins: Vec<Coin>,
    /// Every signed refund, ever.
    pub refunds: Vec<RefundTx>,
    /// Not to be spent by the wallet. In memory.
    pub reserved: BTreeSet<OutPoint>,
    /// The watcher does not notice what happens.
    pub is_blind: bool,
    /// The watcher does not know yet, and says so.
    pub is_behind: bool,
    /// What the watcher noticed last, by script.
    seen: BTreeMap<ScriptBuf, Vec<SeenOutput>>,
    touched: BTreeSet<ScriptBuf>,
    addresses: u32,
}

impl Deposits {
    /// A transaction pays to an address.
    pub fn pay(&mut self, order: usize, address: String, amount: Sat, is_dear: bool) {
        let number = self.coins.len();
        let mut txid = [1; 32];
        txid[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let outpoint = OutPoint { txid: Txid(txid), index: 0 };
        let fee_rate = FeeRate::from_sat_per_kwu(if is_dear { 100_000 } else { 253 });
        let script = script_of(&address);
        self.touched.insert(script.clone());
        self.coins.push(Coin {
            order,
            address,
            script,
            outpoint,
            amount,
            fee_rate,
            confirmed_at: None,
            is_gone: false,
            was_gone: false,
            was_kept: false,
        });
    }

    /// An address that nobody was given before.
    pub fn address(&mut self) -> Address {
        self.addresses += 1;
        let mut program = [7; 20];
        program[..4].copy_from_slice(&self.addresses.to_be_bytes());
        let script = ScriptBuf::from_bytes([[0, 20].as_slice(), &program].concat());
        Address::from_script(&script, bitcoin::Network::Bitcoin).expect("a key hash")
    }

    /// The scripts with news.
    pub fn touched(&mut self) -> Vec<ScriptBuf> {
        if self.is_blind { vec![] } else { std::mem::take(&mut self.touched).into_iter().collect() }
    }

    /// The outputs to a script, as the watcher sees them.
    pub fn outputs_to(&mut self, script: &ScriptBuf) -> Vec<SeenOutput> {
        if !self.is_blind {
            let there = self.coins.iter().filter(|coin| coin.script == *script && !coin.is_gone);
            let outputs = there.map(|coin| SeenOutput {
                outpoint: from_lsps_outpoint(&coin.outpoint),
                amount: Amount::from_sat(coin.amount.0),
                height: coin.confirmed_at,
                fee_rate: Some(coin.fee_rate),
            });
            self.seen.insert(script.clone(), outputs.collect());
        }
        self.seen.get(script).cloned().unwrap_or_default()
    }

    fn touch(&mut self, number: usize) {
        self.touched.insert(self.coins[number].script.clone());
    }

    /// Spent otherwise while in no block.
    pub fn replace(&mut self, number: usize) {
        let coin = &mut self.coins[number];
        if coin.confirmed_at.is_none() && !coin.is_gone {
            (coin.is_gone, coin.was_gone) = (true, true);
            self.touch(number);
        }
    }

    /// Back, in no block.
    pub fn come_back(&mut self, number: usize) {
        if std::mem::take(&mut self.coins[number].is_gone) {
            self.touch(number);
        }
    }

    /// Its block is gone, and with it what was spent of it later.
    pub fn reorg(&mut self, number: usize, height: u32) {
        let coin = &mut self.coins[number];
        if coin.confirmed_at.is_some_and(|at| height < at + DEEP - 1) {
            coin.confirmed_at = None;
            self.touch(number);
            for refund in self.refunds.iter_mut().filter(|refund| refund.coins.contains(&number)) {
                refund.confirmed_at = None;
            }
        }
    }

    /// A block takes all that waits.
    pub fn mine(&mut self, height: u32) {
        for number in 0..self.coins.len() {
            let coin = &mut self.coins[number];
            if coin.confirmed_at.is_none() && !coin.is_gone {
                coin.confirmed_at = Some(height);
                self.touch(number);
            }
        }
        for number in 0..self.refunds.len() {
            let refund = &self.refunds[number];
            let is_free = |coin: &usize| self.coins[*coin].confirmed_at.is_some() && self.refund_of(*coin).is_none();
            if refund.is_out && refund.confirmed_at.is_none() && refund.coins.iter().all(is_free) {
                self.refunds[number].confirmed_at = Some(height);
            }
        }
    }

    /// The wallet may spend it from now on.
    pub fn keep(&mut self, outpoint: OutPoint) {
        for coin in self.coins.iter_mut().filter(|coin| coin.outpoint == outpoint) {
            coin.was_kept = true;
        }
    }

    /// Signs a refund of these, which have to be of one order and not ours. `None`: nothing but dust would be left.
    pub fn refund(
        &mut self,
        outpoints: &[bitcoin::OutPoint],
        script: &ScriptBuf,
        rate: FeeRate,
    ) -> Option<Transaction> {
        let find = |outpoint: &bitcoin::OutPoint| {
            let number = self.coins.iter().position(|coin| from_lsps_outpoint(&coin.outpoint) == *outpoint);
            number.expect("the LSP was told of it")
        };
        let coins: Vec<usize> = outpoints.iter().map(find).collect();
        let worth: u64 = coins.iter().map(|coin| self.coins[*coin].amount.0).sum();
        let mining_sat = refund_sat(coins.len(), rate.to_sat_per_kwu());
        let left = worth.checked_sub(mining_sat).filter(|left| *left >= LEAST_OUTPUT_SAT)?;
        for coin in &coins {
            let coin = &self.coins[*coin];
            assert!(!coin.was_kept, "a refund gives back what paid for a channel: {coin:?}");
            assert_eq!(coin.order, self.coins[coins[0]].order, "a refund spends what is of another order");
        }
        let output = TxOut { value: Amount::from_sat(left), script_pubkey: script.clone() };
        let transaction = spends(outpoints.iter().copied(), output);
        if self.find_refund(&transaction).is_none() {
            let refund =
                RefundTx { transaction: transaction.clone(), coins, mining_sat, is_out: false, confirmed_at: None };
            self.refunds.push(refund);
        }
        Some(transaction)
    }

    /// The mining fee of a refund. `None`: it was not signed here.
    pub fn mining_fee_sat(&self, tx: &Transaction) -> Option<u64> {
        Some(self.refunds[self.find_refund(tx)?].mining_sat)
    }

    /// Takes a refund, again if need be. `false`: it was not signed here.
    pub fn broadcast(&mut self, tx: &Transaction) -> bool {
        let Some(number) = self.find_refund(tx) else { return false };
        let others = self.refunds.iter().enumerate().filter(|(other, refund)| *other != number && refund.is_out);
        for (_, other) in others {
            let both = other.coins.iter().any(|coin| self.refunds[number].coins.contains(coin));
            let is_void = other.coins.iter().any(|coin| self.coins[*coin].was_gone);
            assert!(!both || is_void, "two refunds give back the same: {other:?}");
        }
        let refund = &self.refunds[number];
        assert!(!refund.coins.iter().any(|coin| self.coins[*coin].was_kept), "what paid is given back: {refund:?}");
        self.refunds[number].is_out = true;
        true
    }

    /// Blocks on a refund, its own included.
    pub fn refund_depth(&self, txid: &bitcoin::Txid, height: u32) -> u32 {
        let refund = self.refunds.iter().find(|refund| refund.transaction.compute_txid() == *txid);
        refund.and_then(|refund| refund.confirmed_at).map_or(0, |at| height - at + 1)
    }

    /// The refund in the chain that spends it.
    pub fn refund_of(&self, coin: usize) -> Option<&RefundTx> {
        self.refunds.iter().find(|refund| refund.confirmed_at.is_some() && refund.coins.contains(&coin))
    }

    fn find_refund(&self, tx: &Transaction) -> Option<usize> {
        self.refunds.iter().position(|refund| refund.transaction == *tx)
    }
}

fn script_of(address: &str) -> ScriptBuf {
    Address::from_str(address).expect("one of ours").assume_checked().script_pubkey()
}

/// The mining fee of a refund of so many outputs.
fn refund_sat(outputs: usize, feerate_sat_per_kw: u64) -> u64 {
    (42 + 68 * outputs as u64) * feerate_sat_per_kw * 4 / 1_000
}

/// Smaller outputs are not relayed.
const LEAST_OUTPUT_SAT: u64 = 294;

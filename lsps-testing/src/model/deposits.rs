//! Transactions to the addresses of orders, and their refunds.

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
    /// Index of the order.
    pub order: usize,
    /// Address of the order.
    pub address: String,
    script: ScriptBuf,
    /// Outpoint.
    pub outpoint: OutPoint,
    /// Value in satoshis.
    pub amount: Sat,
    fee_rate: FeeRate,
    /// Height of its block.
    pub confirmed_at: Option<u32>,
    /// Whether it is double-spent.
    pub is_gone: bool,
    pub was_gone: bool,
    /// The deposit was deep in the chain once: no other transaction spends its inputs.
    was_deep: bool,
    /// Whether the LSP ever kept it.
    pub was_kept: bool,
    /// The LSP saw the deposit.
    is_shown: bool,
    /// The order was on record at rest after that.
    pub was_shown: bool,
}

/// A refund transaction.
#[derive(Clone, Debug)]
pub struct RefundTx {
    transaction: Transaction,
    /// Deposits that it spends.
    pub coins: Vec<usize>,
    /// On-chain fee, in satoshis.
    pub mining_sat: u64,
    /// Whether it is published.
    pub is_out: bool,
    /// Height of its block.
    pub confirmed_at: Option<u32>,
    /// The refund was deep in the chain once: no other transaction takes its place.
    was_deep: bool,
}

/// All deposits and refunds, and the wallet's view of them.
#[derive(Debug, Default)]
pub struct Deposits {
    /// Every deposit ever made.
    pub coins: Vec<Coin>,
    /// Every refund ever signed.
    pub refunds: Vec<RefundTx>,
    /// Whether the watcher notices nothing.
    pub is_blind: bool,
    /// Whether the watcher is behind, and says so.
    pub is_behind: bool,
    /// Outputs that the watcher noticed last, by script.
    seen: BTreeMap<ScriptBuf, Vec<SeenOutput>>,
    touched: BTreeSet<ScriptBuf>,
    addresses: u32,
}

impl Deposits {
    /// Pays to an address.
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
            was_deep: false,
            was_kept: false,
            is_shown: false,
            was_shown: false,
        });
    }

    /// A new address.
    pub fn address(&mut self) -> Address {
        self.addresses += 1;
        let mut program = [7; 20];
        program[..4].copy_from_slice(&self.addresses.to_be_bytes());
        let script = ScriptBuf::from_bytes([[0, 20].as_slice(), &program].concat());
        Address::from_script(&script, bitcoin::Network::Bitcoin).expect("a key hash")
    }

    /// The scripts with changes.
    pub fn touched(&mut self) -> Vec<ScriptBuf> {
        if self.is_blind { vec![] } else { std::mem::take(&mut self.touched).into_iter().collect() }
    }

    /// The outputs to a script, as the watcher sees them.
    pub fn outputs_to(&mut self, script: &ScriptBuf) -> Vec<SeenOutput> {
        if !self.is_blind {
            for coin in self.coins.iter_mut().filter(|coin| coin.script == *script && !coin.is_gone) {
                coin.is_shown = true;
            }
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

    /// Double-spends an unconfirmed deposit.
    pub fn replace(&mut self, number: usize) {
        let coin = &mut self.coins[number];
        if coin.confirmed_at.is_none() && !coin.is_gone && !coin.was_deep {
            (coin.is_gone, coin.was_gone) = (true, true);
            (coin.is_shown, coin.was_shown) = (false, false);
            self.touch(number);
        }
    }

    /// Restores a deposit, unconfirmed.
    pub fn come_back(&mut self, number: usize) {
        if std::mem::take(&mut self.coins[number].is_gone) {
            self.touch(number);
        }
    }

    /// Reorganises the block of a deposit, together with its later refund.
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

    /// Removes the last blocks: deposits and refunds wait in the mempool again. Those that were deep are mined first.
    /// So are the deposits of forgotten orders, which are kept on record for longer than a reorganisation takes.
    pub fn unmine(&mut self, height: u32, depth: u8, is_on_record: impl Fn(usize) -> bool) {
        // Also of those that only a further reorganisation removes: two of them are not deeper than one, for whoever takes
        // six confirmations as final (LDK: `ANTI_REORG_DELAY`).
        let is_deep = |at: u32| height + u32::from(depth) >= at + DEEP - 1;
        for number in 0..self.coins.len() {
            let coin = &mut self.coins[number];
            coin.was_deep |= coin.confirmed_at.is_some_and(is_deep);
            if coin.confirmed_at.take_if(|at| *at > height).is_some() {
                coin.was_deep |= !is_on_record(coin.order);
                self.touch(number);
            }
        }
        for refund in &mut self.refunds {
            refund.was_deep |= refund.confirmed_at.is_some_and(is_deep);
            refund.confirmed_at = refund.confirmed_at.filter(|at| *at <= height);
        }
    }

    /// Mines a block with the whole mempool.
    pub fn mine(&mut self, height: u32) {
        for number in 0..self.coins.len() {
            let coin = &mut self.coins[number];
            if coin.confirmed_at.is_none() && !coin.is_gone {
                coin.confirmed_at = Some(height);
                self.touch(number);
            }
        }
        let mut refunds: Vec<usize> = (0..self.refunds.len()).collect();
        refunds.sort_by_key(|number| !self.refunds[*number].was_deep);
        for number in refunds {
            let refund = &self.refunds[number];
            let is_free = |coin: &usize| self.coins[*coin].confirmed_at.is_some() && self.refund_of(*coin).is_none();
            if refund.is_out && refund.confirmed_at.is_none() && refund.coins.iter().all(is_free) {
                self.refunds[number].confirmed_at = Some(height);
            }
        }
    }

    /// Notes which deposits the LSP has seen of orders that are on record.
    pub fn note_shown(&mut self, is_on_record: impl Fn(usize) -> bool) {
        for coin in self.coins.iter_mut().filter(|coin| coin.is_shown && !coin.was_shown) {
            coin.was_shown = is_on_record(coin.order);
        }
    }

    /// Allows the wallet to spend a deposit, unless it was refunded. Deposits of a forgotten order that were too small, or
    /// arrived too late for it, belong to nobody.
    pub fn keep(&mut self, outpoint: bitcoin::OutPoint, is_on_record: impl Fn(usize) -> bool) {
        let Some(number) = self.find(&outpoint).filter(|number| self.refund_of(*number).is_none()) else { return };
        // The wallet made the refund, and does not spend its inputs otherwise while it waits in the mempool again.
        if self.refunds.iter().any(|refund| refund.was_deep && refund.coins.contains(&number)) {
            return;
        }
        let coin = &mut self.coins[number];
        coin.was_kept |= is_on_record(coin.order) || (coin.was_shown && coin.amount.0 > WORTHLESS_SAT);
    }

    /// Deposits that belong to the wallet and are deep in the chain.
    pub fn spendable(&self, height: u32) -> Vec<bitcoin::OutPoint> {
        let is_deep = |coin: &&Coin| coin.was_deep || coin.confirmed_at.is_some_and(|at| height >= at + DEEP - 1);
        let ours = self.coins.iter().filter(|coin| coin.was_kept && !coin.is_gone).filter(is_deep);
        ours.map(|coin| from_lsps_outpoint(&coin.outpoint)).collect()
    }

    fn find(&self, outpoint: &bitcoin::OutPoint) -> Option<usize> {
        self.coins.iter().position(|coin| from_lsps_outpoint(&coin.outpoint) == *outpoint)
    }

    /// Signs a refund of these deposits, which have to be of one order and not kept. `None`: at most dust would be
    /// left.
    pub fn refund(
        &mut self,
        outpoints: &[bitcoin::OutPoint],
        script: &ScriptBuf,
        rate: FeeRate,
    ) -> Option<Transaction> {
        let find = |outpoint: &bitcoin::OutPoint| self.find(outpoint).expect("the LSP was told of it");
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
            let refund = RefundTx {
                transaction: transaction.clone(),
                coins,
                mining_sat,
                is_out: false,
                confirmed_at: None,
                was_deep: false,
            };
            self.refunds.push(refund);
        }
        Some(transaction)
    }

    /// On-chain fee of a refund. `None`: it was not signed here.
    pub fn mining_fee_sat(&self, tx: &Transaction) -> Option<u64> {
        Some(self.refunds[self.find_refund(tx)?].mining_sat)
    }

    /// Accepts a refund, also repeatedly. `false`: it was not signed here.
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

    /// Number of confirmations of a refund.
    pub fn refund_depth(&self, txid: &bitcoin::Txid, height: u32) -> u32 {
        let refund = self.refunds.iter().find(|refund| refund.transaction.compute_txid() == *txid);
        refund.and_then(|refund| refund.confirmed_at).map_or(0, |at| height - at + 1)
    }

    /// The confirmed refund that spends this deposit.
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

/// On-chain fee of a refund of this number of deposits.
fn refund_sat(outputs: usize, feerate_sat_per_kw: u64) -> u64 {
    (42 + 68 * outputs as u64) * feerate_sat_per_kw * 4 / 1_000
}

/// Largest value of an output whose refund costs more than it returns.
pub const WORTHLESS_SAT: u64 = 500;
/// Least value of an output that nodes relay.
const LEAST_OUTPUT_SAT: u64 = 294;

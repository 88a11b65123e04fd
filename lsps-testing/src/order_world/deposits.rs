//! Transactions to the addresses of orders, and those that give them back.

use std::collections::BTreeSet;

use lsps_service::{Deposit, Input, RefundKey};
use lsps_types::{BlockHeight, FeeRate, OutPoint, Sat, Txid};

use crate::world::process::DEEP;

/// An output to the address of an order.
#[derive(Clone, Debug)]
pub struct Coin {
    /// Of which order.
    pub order: usize,
    /// Its address.
    pub address: String,
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
    /// Which refund.
    pub key: RefundKey,
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
    /// For which the service had no room; told again with the next block.
    pub refused: BTreeSet<usize>,
    /// What the watcher has to tell.
    pub news: BTreeSet<usize>,
}

impl Deposits {
    /// A transaction pays to an address.
    pub fn pay(&mut self, order: usize, address: String, amount: Sat, is_dear: bool) {
        let number = self.coins.len();
        let mut txid = [1; 32];
        txid[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let outpoint = OutPoint { txid: Txid(txid), index: 0 };
        let fee_rate = FeeRate(if is_dear { 100_000 } else { 253 });
        self.coins.push(Coin {
            order,
            address,
            outpoint,
            amount,
            fee_rate,
            confirmed_at: None,
            is_gone: false,
            was_gone: false,
            was_kept: false,
        });
        self.news.insert(number);
    }

    /// What the watcher says of it now; the wallet reserves it first.
    pub fn told(&mut self, number: usize) -> Input {
        let coin = &self.coins[number];
        let (address, outpoint) = (coin.address.clone(), coin.outpoint);
        if coin.is_gone {
            return Input::DepositGone { address, outpoint };
        }
        if !coin.was_kept {
            self.reserved.insert(outpoint);
        }
        let (amount, confirmed_at) = (coin.amount, coin.confirmed_at.map(BlockHeight));
        Input::Deposit(Deposit { address, outpoint, amount, confirmed_at, fee_rate: Some(coin.fee_rate) })
    }

    /// Spent otherwise while in no block.
    pub fn replace(&mut self, number: usize) {
        let coin = &mut self.coins[number];
        if coin.confirmed_at.is_none() && !coin.is_gone {
            (coin.is_gone, coin.was_gone) = (true, true);
            self.news.insert(number);
        }
    }

    /// Back, in no block.
    pub fn come_back(&mut self, number: usize) {
        if std::mem::take(&mut self.coins[number].is_gone) {
            self.news.insert(number);
        }
    }

    /// Its block is gone, and with it what was spent of it later.
    pub fn reorg(&mut self, number: usize, height: u32) {
        let coin = &mut self.coins[number];
        if coin.confirmed_at.is_some_and(|at| height < at + DEEP - 1) {
            coin.confirmed_at = None;
            self.news.insert(number);
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
                self.news.insert(number);
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

    /// Signs a refund of these, which have to be of its order and not ours.
    pub fn refund(&mut self, key: RefundKey, order: usize, deposits: &[(OutPoint, Sat)], mining_sat: u64) -> Vec<u8> {
        let find = |(outpoint, amount): &(OutPoint, Sat)| {
            let number = self.coins.iter().position(|coin| coin.outpoint == *outpoint).expect("it was told");
            let coin = &self.coins[number];
            assert!(coin.order == order && coin.amount == *amount, "{key:?} spends what is of another order");
            assert!(!coin.was_kept, "{key:?} gives back what paid for a channel");
            number
        };
        let coins = deposits.iter().map(find).collect();
        self.refunds.push(RefundTx { key, coins, mining_sat, is_out: false, confirmed_at: None });
        (self.refunds.len() - 1).to_be_bytes().to_vec()
    }

    /// Takes a refund, again if need be.
    pub fn broadcast(&mut self, key: RefundKey, tx: &[u8]) {
        let number = self.decode(tx);
        assert_eq!(self.refunds[number].key, key);
        let others = self.refunds.iter().enumerate().filter(|(other, refund)| *other != number && refund.is_out);
        for (_, other) in others {
            assert_ne!(other.key, key, "two transactions of one refund");
            let both = other.coins.iter().any(|coin| self.refunds[number].coins.contains(coin));
            let is_void = other.coins.iter().any(|coin| self.coins[*coin].was_gone);
            assert!(!both || is_void, "{key:?} and {:?} give back the same", other.key);
        }
        let refund = &self.refunds[number];
        assert!(!refund.coins.iter().any(|coin| self.coins[*coin].was_kept), "{key:?} gives back what paid");
        self.refunds[number].is_out = true;
    }

    /// Blocks on a refund, its own included.
    pub fn refund_depth(&self, tx: &[u8], height: u32) -> u32 {
        self.refunds[self.decode(tx)].confirmed_at.map_or(0, |at| height - at + 1)
    }

    /// The refund in the chain that spends it.
    pub fn refund_of(&self, coin: usize) -> Option<&RefundTx> {
        self.refunds.iter().find(|refund| refund.confirmed_at.is_some() && refund.coins.contains(&coin))
    }

    fn decode(&self, tx: &[u8]) -> usize {
        usize::from_be_bytes(tx.try_into().expect("we encoded it"))
    }
}

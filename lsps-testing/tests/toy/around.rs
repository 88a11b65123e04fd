//! The neighbours of a node: a disk for records, and a wallet with its chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, FeeRate, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid, absolute, transaction};
use lsps_host::ports::{Answer, Broadcast, CannotFund, ChainAccess, Change, OnchainWallet, ReadAnswer, RecordStore};

/// A disk, which outlives the process.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Content>>);

/// Records by kind and name.
type Content = BTreeMap<(&'static str, String), Vec<u8>>;

impl RecordStore for Disk {
    fn list(&self, kind: &'static str) -> Answer<Vec<String>> {
        let content = self.0.lock().unwrap();
        let names = content.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()).collect();
        Box::pin(async { Ok(names) })
    }

    fn read(&self, kind: &'static str, names: Vec<String>) -> ReadAnswer {
        let content = self.0.lock().unwrap();
        let contents = names.into_iter().map(|name| Ok(content.get(&(kind, name)).cloned())).collect();
        Box::pin(async { contents })
    }

    fn write(&self, kind: &'static str, changes: Vec<Change>) -> Answer<()> {
        for (name, content) in changes {
            match content {
                Some(bytes) => drop(self.0.lock().unwrap().insert((kind, name), bytes)),
                None => drop(self.0.lock().unwrap().remove(&(kind, name))),
            }
        }
        Box::pin(async { Ok(()) })
    }
}

/// A wallet with as many coins as are asked for, which signs at the second call, and the transactions that were
/// broadcast.
#[derive(Clone, Default)]
pub struct Chain {
    signed: Arc<Mutex<BTreeSet<u128>>>,
    published: Arc<Mutex<BTreeSet<Txid>>>,
}

impl Chain {
    pub fn published(&self) -> usize {
        self.published.lock().unwrap().len()
    }
}

impl OnchainWallet for Chain {
    /// Spends a coin that is named after the key: the same key gets the same transaction.
    fn fund(&self, key: u128, script: &ScriptBuf, amount_sat: u64, _: FeeRate) -> Result<Transaction, CannotFund> {
        if self.signed.lock().unwrap().insert(key) {
            return Err(CannotFund::NotYet);
        }
        let previous_output = OutPoint::new(Txid::hash(&key.to_be_bytes()), 0);
        let output = vec![TxOut { value: Amount::from_sat(amount_sat), script_pubkey: script.clone() }];
        let input = vec![TxIn { previous_output, ..TxIn::default() }];
        Ok(Transaction { version: transaction::Version::TWO, lock_time: absolute::LockTime::ZERO, input, output })
    }

    fn lock(&self, _: &[OutPoint]) {}

    fn release(&self, _: &[OutPoint]) {}

    fn mining_fee_sat(&self, _: &Transaction) -> u64 {
        MINING_SAT
    }

    fn spendable_sat(&self) -> u64 {
        100_000_000
    }
}

impl ChainAccess for Chain {
    fn broadcast(&self, tx: &Transaction) -> Broadcast {
        if self.published.lock().unwrap().insert(tx.compute_txid()) { Broadcast::Accepted } else { Broadcast::Known }
    }

    fn fee_rate(&self) -> FeeRate {
        FeeRate::from_sat_per_kwu(253)
    }
}

/// On-chain fee of each transaction, in satoshis.
pub const MINING_SAT: u64 = 150;

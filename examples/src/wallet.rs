//! The on-chain wallet of one node: a few P2WPKH keys from its seed, the chain as its index.
//!
//! Three keys are known: one of the wallet's own, and the two to which LDK's `KeysManager` pays what a closed channel
//! leaves. So a cooperative close ends up here without a further transaction.

mod build;
mod deposits;
mod keys;
mod ldk;
mod payer;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::{Address, FeeRate, Network, OutPoint, Script, ScriptBuf, Transaction};
use lsps_transport_ldk::onchain::{CannotFund, OnchainWallet};

use crate::chain::{Chain, Coin};

pub use payer::Payer;

use deposits::Deposits;
use keys::WalletKeys;

/// Coins, keys, and which coins are spoken for.
///
/// Reservations live in memory. A process that dies forgets those nobody recorded, which is right: their
/// transactions were never broadcast. Whoever recorded one locks its inputs again after the start.
pub struct CoinWallet {
    chain: Chain,
    keys: WalletKeys,
    reserved: Mutex<Reserved>,
    deposits: Mutex<Deposits>,
}

impl CoinWallet {
    /// The wallet of the node with this seed.
    #[must_use]
    pub fn new(seed: &[u8; 32], chain: Chain) -> Arc<Self> {
        let (reserved, deposits) = (Mutex::default(), Mutex::default());
        Arc::new(Self { chain, keys: WalletKeys::derive(seed), reserved, deposits })
    }

    /// The script of the wallet's own key; it can be paid to any number of times.
    #[must_use]
    pub fn script(&self) -> ScriptBuf {
        self.keys.receiving().to_owned()
    }

    /// Satoshis in all coins of the wallet, reserved ones included, that are confirmed and mature or its own change.
    #[must_use]
    pub fn balance_sat(&self) -> u64 {
        self.usable().map(|coin| coin.output.value.to_sat()).sum()
    }

    /// Pays `amount_sat` satoshis to `script` and hands the transaction to nobody: it is the caller's to broadcast.
    ///
    /// # Errors
    ///
    /// When the free coins do not suffice.
    pub fn pay(&self, script: &Script, amount_sat: u64, fee_rate: FeeRate) -> Result<Transaction, CannotFund> {
        let mut reserved = self.reserved();
        let tx = build::payment(&self.free(&reserved), &self.keys, script, amount_sat, fee_rate)?;
        reserved.inputs.extend(spent_by(&tx));
        Ok(tx)
    }

    fn free(&self, reserved: &Reserved) -> Vec<Coin> {
        let free = self.usable().filter(|coin| !reserved.inputs.contains(&coin.outpoint));
        free.filter(|coin| !self.is_unreported_deposit(coin)).collect()
    }

    /// A coin someone else may still take back by not confirming it is none of ours.
    fn usable(&self) -> impl Iterator<Item = Coin> {
        let next = self.chain.height() + 1;
        (self.keys.scripts())
            .flat_map(|script| self.chain.unspent_of(script))
            .filter(move |coin| if coin.height.is_some() { coin.is_mature(next) } else { self.is_own_change(coin) })
    }

    fn is_own_change(&self, coin: &Coin) -> bool {
        self.chain.waiting(&coin.outpoint.txid).is_some_and(|tx| tx.input.iter().all(|input| self.keys.signed(input)))
    }

    fn reserved(&self) -> MutexGuard<'_, Reserved> {
        // Plain sets: they are whole at every point where a panic could happen.
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OnchainWallet for CoinWallet {
    fn fund(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund> {
        let mut reserved = self.reserved();
        if let Some(tx) = reserved.funded.get(&key) {
            return same_purpose(tx, script, amount_sat);
        }
        let tx = build::payment(&self.free(&reserved), &self.keys, script, amount_sat, fee_rate)?;
        reserved.inputs.extend(spent_by(&tx));
        reserved.funded.insert(key, tx.clone());
        Ok(tx)
    }

    fn lock(&self, inputs: &[OutPoint]) {
        self.reserved().inputs.extend(inputs);
    }

    fn release(&self, inputs: &[OutPoint]) {
        let mut reserved = self.reserved();
        reserved.inputs.retain(|outpoint| !inputs.contains(outpoint));
        reserved.funded.retain(|_, tx| !spent_by(tx).any(|outpoint| inputs.contains(&outpoint)));
    }

    fn mining_fee_sat(&self, tx: &Transaction) -> u64 {
        let spent = tx.input.iter().filter_map(|input| {
            let OutPoint { txid, vout } = input.previous_output;
            self.chain.transaction(&txid)?.output.get(usize::try_from(vout).ok()?).map(|output| output.value.to_sat())
        });
        let paid: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
        spent.sum::<u64>().saturating_sub(paid)
    }

    fn spendable_sat(&self) -> u64 {
        self.free(&self.reserved()).iter().map(|coin| coin.output.value.to_sat()).sum()
    }

    fn address(&self) -> Option<Address> {
        self.next_deposit_script().and_then(|script| Address::from_script(&script, Network::Regtest).ok())
    }

    fn give_back(
        &self,
        outputs: &[OutPoint],
        script: &ScriptBuf,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund> {
        let coins: Option<Vec<Coin>> = outputs.iter().map(|outpoint| self.chain.utxo(outpoint)).collect();
        let coins = coins.ok_or_else(|| CannotFund::Wallet("an output is spent or gone".into()))?;
        build::give_back(&coins, &self.keys, script, fee_rate)
    }
}

#[derive(Default)]
struct Reserved {
    /// Never offered for spending; those a transaction has spent since do no harm here.
    inputs: HashSet<OutPoint>,
    funded: HashMap<u128, Transaction>,
}

fn same_purpose(tx: &Transaction, script: &ScriptBuf, amount_sat: u64) -> Result<Transaction, CannotFund> {
    let pays = |output: &bitcoin::TxOut| output.script_pubkey == *script && output.value.to_sat() == amount_sat;
    if tx.output.iter().any(pays) {
        return Ok(tx.clone());
    }
    Err(CannotFund::Wallet("the key stands for a transaction to another output".into()))
}

fn spent_by(tx: &Transaction) -> impl Iterator<Item = OutPoint> {
    tx.input.iter().map(|input| input.previous_output)
}

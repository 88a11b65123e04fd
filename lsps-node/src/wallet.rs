//! The on-chain wallet of one node: BDK's, with the blocks and the mempool of the node's chain source.
//!
//! Its keys follow BIP 84, from the node's seed. LDK pays the outputs of a closed channel to addresses of this wallet
//! ([`HomeKeys`]), so a cooperative close needs no further transaction.

mod addresses;
mod bump;
mod coins;
mod deposits;
mod ldk;
mod payer;
mod record;
mod sync;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bdk_wallet::template::Bip84;
use bdk_wallet::{KeychainKind, Wallet};
use bitcoin::bip32::Xpriv;
use bitcoin::{Address, FeeRate, OutPoint, Script, ScriptBuf, Transaction, Txid, io};
use lsps_transport_ldk::ports::{CannotFund, Made, OnchainWallet};

use crate::chain::ChainView;
use crate::store::Store;

pub use ldk::HomeKeys;
pub use payer::Payer;

use coins::Coins;
use record::Record;

/// The coins, the keys, and the reservations of coins.
///
/// The number of addresses that were given out is persisted. The coins are persisted too, except on a chain in this process,
/// from which they are read at every start.
/// Reservations are kept in memory. A crash drops those that nobody recorded, which is right: their transactions were
/// never broadcast. The owner of a recorded one locks its inputs again after the start.
pub struct BdkWallet {
    chain: Arc<ChainView>,
    store: Store,
    state: Mutex<State>,
}

impl BdkWallet {
    /// Creates the wallet of the node with this seed and this store.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or has the wallet of another seed or network.
    ///
    /// # Panics
    ///
    /// Never: every seed has such keys.
    pub fn new(seed: &[u8], chain: impl Into<Arc<ChainView>>, store: Store) -> io::Result<Arc<Self>> {
        let chain = chain.into();
        let network = chain.network();
        let master = Xpriv::new_master(network, seed).expect("half of an HMAC is a valid key");
        let record = if chain.source().is_local() { None } else { Record::read(&store)? };
        let mut bdk = match &record {
            Some(record) => record.load(master, network)?,
            None => {
                let lookahead = if chain.source().is_local() { LOOKAHEAD } else { LOOKAHEAD_ELSEWHERE };
                let [receiving, change] = KEYCHAINS.map(|keychain| Bip84(master, keychain));
                let bdk = Wallet::create(receiving, change).network(network).lookahead(lookahead);
                bdk.create_wallet_no_persist().expect("the template is a valid descriptor")
            }
        };
        let kept = addresses::reveal_kept(&mut bdk, &store)?;
        let state = State { coins: Coins::new(bdk), funded: HashMap::new(), bumped: HashMap::new(), kept, record };
        let wallet = Arc::new(Self { chain, store, state: Mutex::new(state) });
        wallet.chain.set_wallet(&wallet);
        Ok(wallet)
    }

    /// Script of the first address, which no order gets; it can be paid to any number of times.
    #[must_use]
    pub fn script(&self) -> ScriptBuf {
        self.state().coins.bdk.peek_address(KeychainKind::External, 0).script_pubkey()
    }

    /// Satoshis in all coins of the wallet, reserved ones included, that are confirmed and mature or its own change.
    #[must_use]
    pub fn balance_sat(&self) -> u64 {
        self.state().coins.usable().map(|coin| coin.txout.value.to_sat()).sum()
    }

    /// Outpoints of those coins.
    #[must_use]
    pub fn outpoints(&self) -> Vec<OutPoint> {
        self.state().coins.usable().map(|coin| coin.outpoint).collect()
    }

    /// Pays `amount_sat` satoshis to `script` with a transaction that the caller has to broadcast.
    ///
    /// # Errors
    ///
    /// The free coins do not suffice.
    pub fn pay(&self, script: &Script, amount_sat: u64, fee_rate: FeeRate) -> Result<Transaction, CannotFund> {
        self.spend(&mut self.state(), script, amount_sat, fee_rate)
    }

    fn spend(
        &self,
        state: &mut State,
        script: &Script,
        amount_sat: u64,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund> {
        let tx = state.coins.pay(script, amount_sat, fee_rate)?;
        self.keep_addresses(state).map_err(|error| CannotFund::Wallet(error.to_string()))?;
        state.coins.reserved.extend(spent_by(&tx));
        Ok(tx)
    }

    /// The state, updated to the present if the chain is in this process.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock_state();
        if self.chain.source().is_local() {
            state.coins.follow(&**self.chain.source());
        }
        state
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("BDK does not panic")
    }
}

impl OnchainWallet for BdkWallet {
    fn fund(
        &self,
        key: u128,
        script: &ScriptBuf,
        amount_sat: u64,
        fee_rate: FeeRate,
    ) -> Result<Transaction, CannotFund> {
        let state = &mut *self.state();
        if let Some(tx) = state.funded.get(&key) {
            return same_purpose(tx, script, amount_sat);
        }
        let tx = self.spend(state, script, amount_sat, fee_rate)?;
        state.funded.insert(key, tx.clone());
        Ok(tx)
    }

    fn lock(&self, inputs: &[OutPoint]) {
        self.state().coins.reserved.extend(inputs);
    }

    fn release(&self, inputs: &[OutPoint]) {
        let State { coins, funded, .. } = &mut *self.state();
        coins.reserved.retain(|outpoint| !inputs.contains(outpoint));
        for (_, tx) in funded.extract_if(|_, tx| spent_by(tx).any(|outpoint| inputs.contains(&outpoint))) {
            coins.bdk.cancel_tx(&tx); // the next one may have its change address
        }
    }

    fn mining_fee_sat(&self, tx: &Transaction) -> u64 {
        self.state().coins.bdk.calculate_fee(tx).map_or(0, bitcoin::Amount::to_sat)
    }

    fn bump(&self, tx: &Transaction, fee_rate: FeeRate) -> bool {
        self.spend_change_of(tx, fee_rate)
    }

    fn spendable_sat(&self) -> u64 {
        self.state().coins.free().map(|coin| coin.txout.value.to_sat()).sum()
    }

    fn address(&self) -> Made<Address> {
        self.deposit_address().into()
    }

    fn refund(&self, outputs: &[OutPoint], script: &ScriptBuf, fee_rate: FeeRate) -> Result<Transaction, CannotFund> {
        self.state().coins.sweep(outputs, script, fee_rate)
    }
}

struct State {
    coins: Coins,
    funded: HashMap<u128, Transaction>,
    /// Child transaction that bumps the fee of each transaction, with the feerate of both.
    bumped: HashMap<Txid, (FeeRate, Transaction)>,
    kept: addresses::HandedOut,
    /// `None`: the store has no record, or the chain is in this process.
    record: Option<Record>,
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

const KEYCHAINS: [KeychainKind; 2] = [KeychainKind::External, KeychainKind::Internal];
/// Number of addresses beyond the recorded ones that are scanned, for what a store lost: addresses are recorded before
/// they are used.
const LOOKAHEAD: u32 = 10;
/// The same on a chain outside this process, where a phrase may be restored without the records.
const LOOKAHEAD_ELSEWHERE: u32 = 100;

//! Addresses that are given out, each for one order, and what came to them.

use std::collections::{BTreeSet, HashSet};
use std::sync::{MutexGuard, PoisonError};

use bitcoin::{OutPoint, Script, ScriptBuf, Txid};
use lsps_transport_ldk::onchain::{ChainWatch, SeenOutput};

use super::CoinWallet;
use crate::chain::Coin;

/// In memory: after a start the host says again which matter.
#[derive(Default)]
pub(super) struct Deposits {
    given: BTreeSet<ScriptBuf>,
    /// What the host was told of; it says whose that is.
    reported: HashSet<OutPoint>,
    /// Of the chain, when it was looked at last.
    looked_at: Option<(u32, Vec<Txid>)>,
}

impl CoinWallet {
    /// One that nobody was given, in this life or to any success in an earlier one.
    pub(super) fn next_deposit_script(&self) -> Option<ScriptBuf> {
        let mut deposits = self.deposits();
        let unused = |script: &&Script| !deposits.given.contains(*script) && self.chain.outputs_to(script).is_empty();
        let script = self.keys.for_deposits().find(unused)?.to_owned();
        deposits.given.insert(script.clone());
        Some(script)
    }

    /// Whether it came to such an address and the host was not told, so that nobody knows yet whose it is.
    pub(super) fn is_unreported_deposit(&self, coin: &Coin) -> bool {
        let deposits = self.deposits();
        deposits.given.contains(&coin.output.script_pubkey) && !deposits.reported.contains(&coin.outpoint)
    }

    fn deposits(&self) -> MutexGuard<'_, Deposits> {
        // Plain sets: they are whole at every point where a panic could happen.
        self.deposits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChainWatch for CoinWallet {
    fn watch(&self, script: &ScriptBuf) {
        self.deposits().given.insert(script.clone());
    }

    fn touched(&self) -> Option<Vec<ScriptBuf>> {
        let now = (self.chain.height(), self.chain.mempool().iter().map(bitcoin::Transaction::compute_txid).collect());
        let before = self.deposits().looked_at.replace(now.clone());
        (before == Some(now)).then(Vec::new)
    }

    fn outputs_to(&self, script: &ScriptBuf) -> Vec<SeenOutput> {
        let outputs = self.chain.outputs_to(script);
        self.deposits().reported.extend(outputs.iter().map(|coin| coin.outpoint));
        let seen = |coin: Coin| SeenOutput {
            outpoint: coin.outpoint,
            amount: coin.output.value,
            height: coin.height,
            fee_rate: self.chain.fee_rate_of(&coin.outpoint.txid).filter(|_| coin.height.is_none()),
        };
        outputs.into_iter().map(seen).collect()
    }
}

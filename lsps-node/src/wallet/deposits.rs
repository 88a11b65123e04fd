//! Addresses that are given out, each for one order, and the deposits to them.

use std::collections::HashSet;

use bdk_wallet::LocalOutput;
use bitcoin::{Address, OutPoint, ScriptBuf};
use lsps_transport_ldk::ports::{ChainWatch, SeenOutput};

use super::BdkWallet;

/// State in memory: after a start the host says again which addresses matter.
#[derive(Default)]
pub(super) struct Deposits {
    given: HashSet<ScriptBuf>,
    /// Deposits that were reported to the host, which decides about them.
    reported: HashSet<OutPoint>,
    /// Number of changes of the chain at the last check.
    looked_at: u64,
}

impl Deposits {
    /// Whether the coin is a deposit that was not reported to the host, so that it is not decided yet whose it is.
    pub(super) fn is_unreported(&self, coin: &LocalOutput) -> bool {
        self.given.contains(&coin.txout.script_pubkey) && !self.reported.contains(&coin.outpoint)
    }
}

impl BdkWallet {
    pub(super) fn deposit_address(&self) -> Option<Address> {
        let mut state = self.state();
        // An address that is not persisted could be given to another order after a start.
        let address = self.new_address(&mut state).ok()?;
        state.coins.deposits.given.insert(address.script_pubkey());
        Some(address)
    }
}

impl ChainWatch for BdkWallet {
    fn watch(&self, script: &ScriptBuf) {
        self.state().coins.deposits.given.insert(script.clone());
    }

    fn touched(&self) -> Option<Vec<ScriptBuf>> {
        let coins = &mut self.state().coins;
        let before = std::mem::replace(&mut coins.deposits.looked_at, coins.seen);
        (before == coins.seen).then(Vec::new)
    }

    fn outputs_to(&self, script: &ScriptBuf) -> Option<Vec<SeenOutput>> {
        let mut state = self.state();
        let coins = &mut state.coins;
        let outputs: Vec<_> = coins.bdk.list_output().filter(|output| output.txout.script_pubkey == *script).collect();
        coins.deposits.reported.extend(outputs.iter().map(|output| output.outpoint));
        drop(state); // the view of the chain asks the wallet
        let seen = |output: LocalOutput| {
            let height = output.chain_position.confirmation_height_upper_bound();
            // BDK does not know the value of inputs of others.
            let sighting = height.is_none().then(|| self.chain.sighting(&output.outpoint.txid)).flatten();
            let fee_rate = sighting.and_then(|sighting| sighting.fee_rate);
            SeenOutput { outpoint: output.outpoint, amount: output.txout.value, height, fee_rate }
        };
        Some(outputs.into_iter().map(seen).collect())
    }
}

//! Child pays for parent.

use bitcoin::{Amount, FeeRate, OutPoint, Transaction, Weight};
use lsps_transport_ldk::ports::Broadcast;

use super::coins::can_be_counted;
use super::{BdkWallet, State};

impl BdkWallet {
    /// Spends the change of the wallet's transaction so that both together pay the feerate. `false`: it has no free
    /// change, pays that much by itself, or was bumped to less before.
    pub(super) fn spend_change_of(&self, parent: &Transaction, fee_rate: FeeRate) -> bool {
        let state = &mut *self.state();
        let child = match state.bumped.get(&parent.compute_txid()) {
            Some((rate, child)) => (*rate >= fee_rate).then(|| child.clone()),
            None => self.child_of(state, parent, fee_rate),
        };
        let Some(child) = child else { return false };
        let is_out = !matches!(self.chain.broadcast(&[&child])[..], [Broadcast::Refused(_)]);
        state.bumped.insert(parent.compute_txid(), (fee_rate, child));
        is_out
    }

    fn child_of(&self, state: &mut State, parent: &Transaction, fee_rate: FeeRate) -> Option<Transaction> {
        can_be_counted(Amount::ZERO, fee_rate).ok()?;
        let (txid, coins) = (parent.compute_txid(), &state.coins);
        let change = coins.free().filter(|coin| coin.outpoint.txid == txid && coin.chain_position.is_unconfirmed());
        let change: Vec<OutPoint> = change.map(|coin| coin.outpoint).collect();
        let paid = coins.bdk.calculate_fee(parent).ok()?;
        if change.is_empty() || paid >= fee_rate.checked_mul_by_weight(parent.weight())? {
            return None;
        }
        let home = self.change_address(state).ok()?.script_pubkey();
        let alone = state.coins.sweep(&change, &home, fee_rate).ok()?;
        // Another signature may be a byte longer.
        let weight = parent.weight() + alone.weight() + Weight::from_wu(u64::try_from(change.len()).ok()?);
        let missing = fee_rate.checked_mul_by_weight(weight)?.checked_sub(paid)?;
        state.coins.drain(&change, &home, |builder| _ = builder.fee_absolute(missing)).ok()
    }
}

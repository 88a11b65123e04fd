//! What LDK asks of the wallet: a place for swept coins, and coins that pay for bumping a transaction's fee.

use bitcoin::{Psbt, ScriptBuf, Transaction};
use lightning::events::bump_transaction::Utxo;
use lightning::events::bump_transaction::sync::WalletSourceSync;
use lightning::sign::ChangeDestinationSourceSync;

use super::CoinWallet;

impl ChangeDestinationSourceSync for CoinWallet {
    fn get_change_destination_script(&self) -> Result<ScriptBuf, ()> {
        Ok(self.script())
    }
}

impl WalletSourceSync for CoinWallet {
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        let free = self.free(&self.reserved());
        Ok(free
            .into_iter()
            .filter(|coin| coin.height.is_some())
            .filter_map(|coin| {
                let hash = self.keys.hash_of(&coin.output.script_pubkey)?;
                Some(Utxo::new_v0_p2wpkh(coin.outpoint, coin.output.value, &hash))
            })
            .collect())
    }

    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        Ok(self.script())
    }

    fn sign_psbt(&self, psbt: Psbt) -> Result<Transaction, ()> {
        let spent: Vec<_> = psbt.inputs.iter().map(|input| input.witness_utxo.clone()).collect();
        let mut tx = psbt.unsigned_tx;
        self.keys.sign(&mut tx, &spent).map_err(|_| ())?;
        Ok(tx)
    }
}

//! LDK's traits, implemented by the wallet: addresses for the outputs of closed channels, and coins that bump the fee
//! of a transaction.

use std::sync::Arc;

use bdk_wallet::SignOptions;
use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Psbt, ScriptBuf, Transaction, WPubkeyHash, io};
use lightning::events::bump_transaction::Utxo;
use lightning::events::bump_transaction::sync::WalletSourceSync;
use lightning::ln::script::ShutdownScript;
use lightning::sign::{InMemorySigner, KeysManager, SignerProvider};

use super::BdkWallet;

/// LDK's channel keys, except that payments of a channel to its node go to the wallet.
pub struct HomeKeys {
    keys: Arc<KeysManager>,
    wallet: Arc<BdkWallet>,
}

impl HomeKeys {
    /// Combines keys and wallet, which have to be of the same node.
    #[must_use]
    pub fn new(keys: Arc<KeysManager>, wallet: Arc<BdkWallet>) -> Self {
        Self { keys, wallet }
    }

    fn address(&self) -> io::Result<Address> {
        let wallet = &self.wallet;
        wallet.new_address(&mut wallet.state())
    }
}

impl SignerProvider for HomeKeys {
    type EcdsaSigner = InMemorySigner;

    fn generate_channel_keys_id(&self, inbound: bool, user_channel_id: u128) -> [u8; 32] {
        self.keys.generate_channel_keys_id(inbound, user_channel_id)
    }

    fn derive_channel_signer(&self, channel_keys_id: [u8; 32]) -> InMemorySigner {
        self.keys.derive_channel_signer(channel_keys_id)
    }

    fn get_destination_script(&self, _: [u8; 32]) -> Result<ScriptBuf, ()> {
        self.address().map(|address| address.script_pubkey()).map_err(drop)
    }

    fn get_shutdown_scriptpubkey(&self) -> Result<ShutdownScript, ()> {
        ShutdownScript::try_from(self.address().map_err(drop)?.script_pubkey()).map_err(drop)
    }
}

impl WalletSourceSync for BdkWallet {
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        let state = self.state();
        let confirmed = state.coins.free().filter(|coin| coin.chain_position.is_confirmed());
        let utxos = confirmed.filter_map(|coin| {
            // After the version and the length, a P2WPKH script is the hash.
            let hash = WPubkeyHash::from_slice(coin.txout.script_pubkey.as_bytes().get(2..)?).ok()?;
            Some(Utxo::new_v0_p2wpkh(coin.outpoint, coin.txout.value, &hash))
        });
        Ok(utxos.collect())
    }

    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        self.change_address(&mut self.state()).map(|address| address.script_pubkey()).map_err(drop)
    }

    fn sign_psbt(&self, mut psbt: Psbt) -> Result<Transaction, ()> {
        // LDK gives the values of its inputs, not the whole transactions that they spend.
        let options = SignOptions { trust_witness_utxo: true, ..SignOptions::default() };
        // The transaction need not be complete: LDK signs the inputs of channels itself.
        let _is_complete = self.state().coins.bdk.sign(&mut psbt, options).map_err(drop)?;
        Ok(psbt.extract_tx_unchecked_fee_rate())
    }
}

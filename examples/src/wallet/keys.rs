//! The wallet's keys and signatures.

use bitcoin::bip32::{ChildNumber, Xpriv};
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{CompressedPublicKey, Network, Script, ScriptBuf, Transaction, TxIn, TxOut, Witness, ecdsa};

pub(super) struct WalletKeys {
    secp: Secp256k1<All>,
    /// Of the wallet's own and LDK's; then those for deposits, in the order in which they are given out.
    keys: Vec<Key>,
}

struct Key {
    secret: SecretKey,
    public: CompressedPublicKey,
    script: ScriptBuf,
}

impl WalletKeys {
    pub(super) fn derive(seed: &[u8; 32]) -> Self {
        let secp = Secp256k1::new();
        let master = Xpriv::new_master(Network::Regtest, seed).expect("half of an HMAC is a valid key");
        let indexes = [OWN_KEY, LDK_DESTINATION_KEY, LDK_SHUTDOWN_KEY].into_iter();
        let keys = indexes.chain(FIRST_DEPOSIT_KEY..FIRST_DEPOSIT_KEY + DEPOSIT_KEYS).map(|index| {
            let path = [ChildNumber::Hardened { index }];
            let secret = master.derive_priv(&secp, &path).expect("a derived key is valid").private_key;
            let public = CompressedPublicKey(secret.public_key(&secp));
            Key { secret, public, script: ScriptBuf::new_p2wpkh(&public.wpubkey_hash()) }
        });
        Self { keys: keys.collect(), secp }
    }

    /// The script that is given out and takes change.
    pub(super) fn receiving(&self) -> &Script {
        &self.keys[0].script
    }

    /// Scripts to be given out, each once.
    pub(super) fn for_deposits(&self) -> impl Iterator<Item = &Script> {
        self.keys.iter().skip(3).map(|key| key.script.as_script())
    }

    pub(super) fn scripts(&self) -> impl Iterator<Item = &Script> {
        self.keys.iter().map(|key| key.script.as_script())
    }

    /// The hash in the script, when the script is one of ours.
    pub(super) fn hash_of(&self, script: &Script) -> Option<bitcoin::WPubkeyHash> {
        self.owner(script).map(|key| key.public.wpubkey_hash())
    }

    /// Whether one of our keys signed this input.
    pub(super) fn signed(&self, input: &TxIn) -> bool {
        let signer = input.witness.last();
        self.keys.iter().any(|key| signer == Some(key.public.to_bytes().as_slice()))
    }

    /// Fills in the witnesses of those inputs whose coin in `spent` is ours.
    ///
    /// `spent` holds one entry per input; `None` stands for a coin of somebody else.
    pub(super) fn sign(&self, tx: &mut Transaction, spent: &[Option<TxOut>]) -> Result<(), CannotSign> {
        for (index, coin) in spent.iter().enumerate() {
            let Some((coin, key)) = coin.as_ref().and_then(|coin| Some((coin, self.owner(&coin.script_pubkey)?)))
            else {
                continue;
            };
            let hash = SighashCache::new(&*tx)
                .p2wpkh_signature_hash(index, &coin.script_pubkey, coin.value, EcdsaSighashType::All)
                .map_err(|_| CannotSign)?;
            let signature = self.secp.sign_ecdsa_low_r(&Message::from(hash), &key.secret);
            let input = tx.input.get_mut(index).ok_or(CannotSign)?;
            input.witness = Witness::p2wpkh(&ecdsa::Signature::sighash_all(signature), &key.public.0);
        }
        Ok(())
    }

    fn owner(&self, script: &Script) -> Option<&Key> {
        self.keys.iter().find(|key| key.script.as_script() == script)
    }
}

/// The list of coins does not belong to the transaction.
#[derive(Debug)]
pub(super) struct CannotSign;

/// Hardened children of the seed. LDK's `KeysManager` uses indexes below 10; a test compares the scripts of the two
/// that the wallet shares with it.
const LDK_DESTINATION_KEY: u32 = 1;
const LDK_SHUTDOWN_KEY: u32 = 2;
const OWN_KEY: u32 = 1_000;
const FIRST_DEPOSIT_KEY: u32 = 2_000;
/// Orders that can be paid on the chain, which for an example are many.
const DEPOSIT_KEYS: u32 = 64;

#[cfg(test)]
mod tests {
    use lightning::sign::{KeysManager, SignerProvider as _};

    use super::*;

    #[test]
    fn what_ldk_pays_to_the_node_is_ours() {
        let keys = WalletKeys::derive(&[7; 32]);
        let ldk = KeysManager::new(&[7; 32], 1, 2, true);
        assert!(keys.owner(&ldk.get_destination_script([0; 32]).unwrap()).is_some());
        assert!(keys.owner(&ldk.get_shutdown_scriptpubkey().unwrap().into_inner()).is_some());
    }
}

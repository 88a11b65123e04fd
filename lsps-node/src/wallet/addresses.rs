//! The addresses that were given out, persisted so that the wallet knows them after a start and gives none out twice.

use bdk_wallet::{KeychainKind, Wallet};
use bitcoin::{Address, io};

use super::{BdkWallet, KEYCHAINS, State};
use crate::store::Store;

/// Last index of each keychain.
pub(super) type HandedOut = [Option<u32>; 2];

/// Reveals to BDK the addresses that the store knows; the first one is always known.
pub(super) fn reveal_kept(bdk: &mut Wallet, store: &Store) -> io::Result<HandedOut> {
    let kept: HandedOut = match store.read(NAMESPACE, "", KEY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => [Some(0), None],
        read => serde_json::from_slice(&read?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
    };
    for (keychain, last) in KEYCHAINS.into_iter().zip(kept) {
        if let Some(last) = last {
            bdk.reveal_addresses_to(keychain, last).for_each(drop);
        }
    }
    Ok(kept)
}

impl BdkWallet {
    /// A new address, which nobody else gets, for coins that belong to the owner of the wallet.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub fn fresh_address(&self) -> io::Result<Address> {
        self.new_address(&mut self.state())
    }

    /// A new address, which nobody else gets.
    pub(super) fn new_address(&self, state: &mut State) -> io::Result<Address> {
        let address = state.coins.bdk.reveal_next_address(KeychainKind::External).address;
        self.keep_addresses(state)?;
        Ok(address)
    }

    /// An address for change, the same until it was paid to.
    pub(super) fn change_address(&self, state: &mut State) -> io::Result<Address> {
        let address = state.coins.bdk.next_unused_address(KeychainKind::Internal).address;
        self.keep_addresses(state)?;
        Ok(address)
    }

    /// Persists the addresses; has to happen before one of them is used.
    pub(super) fn keep_addresses(&self, state: &mut State) -> io::Result<()> {
        let now = KEYCHAINS.map(|keychain| state.coins.bdk.derivation_index(keychain));
        if now != state.kept {
            let bytes = serde_json::to_vec(&now).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.store.write(NAMESPACE, "", KEY, bytes)?;
            state.kept = now;
        }
        Ok(())
    }
}

const NAMESPACE: &str = "coins";
const KEY: &str = "addresses";

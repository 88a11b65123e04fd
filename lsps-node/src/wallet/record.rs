//! The record of a wallet on a chain that cannot be read again at each start.

use std::collections::BTreeSet;

use bdk_wallet::chain::Merge as _;
use bdk_wallet::{ChangeSet, KeychainKind, Wallet};
use bitcoin::bip32::Xpriv;
use bitcoin::{Network, io};

use super::{KEYCHAINS, LOOKAHEAD_ELSEWHERE};
use crate::store::Store;

/// The wallet's record in the store.
#[derive(Default)]
pub(super) struct Record {
    changes: ChangeSet,
    /// Whether the store has less than `changes`.
    is_stale: bool,
}

impl Record {
    /// Reads the record, if there is one.
    pub(super) fn read(store: &Store) -> io::Result<Option<Self>> {
        let bytes = match store.read(NAMESPACE, "", KEY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let changes = serde_json::from_slice(&bytes).map_err(invalid)?;
        Ok(Some(Self { changes, is_stale: false }))
    }

    /// The wallet of the record.
    pub(super) fn load(&self, master: Xpriv, network: Network) -> io::Result<Wallet> {
        let [receiving, change] = KEYCHAINS.map(|keychain| bdk_wallet::template::Bip84(master, keychain));
        let load = Wallet::load().descriptor(KeychainKind::External, Some(receiving));
        let load = load.descriptor(KeychainKind::Internal, Some(change)).extract_keys().lookahead(LOOKAHEAD_ELSEWHERE);
        let loaded = load.check_network(network).load_wallet_no_persist(self.changes.clone()).map_err(invalid)?;
        loaded.ok_or_else(|| invalid("the wallet's record is empty"))
    }

    /// Adds what the wallet has learnt.
    pub(super) fn add(&mut self, wallet: &mut Wallet) {
        if let Some(staged) = wallet.take_staged() {
            self.changes.merge(staged);
            self.is_stale = true;
        }
    }

    /// Writes the record if it changed.
    pub(super) fn write(&mut self, store: &Store) -> io::Result<()> {
        if !self.is_stale {
            return Ok(());
        }
        self.forget_blocks();
        store.write(NAMESPACE, "", KEY, serde_json::to_vec(&self.changes).map_err(invalid)?)?;
        self.is_stale = false;
        Ok(())
    }

    /// Forgets old blocks, except those with transactions of the wallet, which prove that these are confirmed.
    fn forget_blocks(&mut self) {
        let with_transactions: BTreeSet<u32> =
            self.changes.tx_graph.anchors.iter().map(|(anchor, _)| anchor.block_id.height).collect();
        let blocks = &mut self.changes.local_chain.blocks;
        let tip = blocks.keys().next_back().copied().unwrap_or_default();
        let newest = tip.saturating_sub(KEPT_BLOCKS);
        blocks.retain(|height, _| *height == 0 || *height >= newest || with_transactions.contains(height));
    }
}

fn invalid(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

const NAMESPACE: &str = "coins";
const KEY: &str = "wallet";
/// Number of blocks that a reorganisation may take out at most.
const KEPT_BLOCKS: u32 = 1_008;

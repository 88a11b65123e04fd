//! LSPs that channels are bought from.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitcoin::io;
use bitcoin::secp256k1::PublicKey;
use lsps_transport_ldk::KnownLsp;
use lsps_transport_ldk::client::jit_receive::AcceptTrust;
use lsps_transport_ldk::types::PeerId;
use lsps_transport_ldk::types::units::{ConnectionString, InvalidConnectionString};
use serde::{Deserialize, Serialize};

use super::Node;
use crate::builder;
use crate::store::Store;

/// An LSP that the node buys from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LspInfo {
    /// Node id and address.
    pub address: ConnectionString,
    /// Token that it gave.
    pub token: Option<String>,
    /// Whether it may ask for a preimage before it publishes a channel's funding.
    pub is_trusted: bool,
}

impl LspInfo {
    fn known(&self) -> KnownLsp {
        let known = KnownLsp::new(self.address.node_id);
        let known = KnownLsp { token: self.token.clone(), ..known };
        if self.is_trusted { known.trusted() } else { known }
    }
}

impl From<builder::Lsp> for LspInfo {
    fn from(lsp: builder::Lsp) -> Self {
        let is_trusted = lsp.known.accept_trust == AcceptTrust::Yes;
        Self { address: lsp.address, token: lsp.known.token, is_trusted }
    }
}

/// The LSPs of a node: those of its builder, and those on record.
pub(super) struct Lsps {
    store: Store,
    known: Mutex<BTreeMap<PeerId, LspInfo>>,
}

impl Lsps {
    pub fn load(store: &Store, given: Vec<builder::Lsp>) -> io::Result<Self> {
        let mut known = BTreeMap::new();
        for name in store.list(PRIMARY, SECONDARY)? {
            let bytes = store.read(PRIMARY, SECONDARY, &name)?;
            let damaged = |why: serde_json::Error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("the record of LSP {name} is damaged: {why}"))
            };
            let lsp: LspInfo = serde_json::from_slice(&bytes).map_err(damaged)?;
            known.insert(lsp.address.node_id, lsp);
        }
        known.extend(given.into_iter().map(LspInfo::from).map(|lsp| (lsp.address.node_id, lsp)));
        Ok(Self { store: store.clone(), known: Mutex::new(known) })
    }

    pub fn known(&self) -> Vec<KnownLsp> {
        self.list().values().map(LspInfo::known).collect()
    }

    pub fn addresses(&self) -> Vec<ConnectionString> {
        self.list().values().map(|lsp| lsp.address.clone()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<PeerId, LspInfo>> {
        // The map changes in single calls.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The LSPs of a running node.
pub struct KnownLsps<'a> {
    node: &'a Node,
}

/// Reason for which an LSP is not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LspError {
    /// The text is no address.
    #[error("{text:?} is no address of an LSP ({why}): write NODE-ID@HOST:PORT")]
    Address {
        /// The text.
        text: String,
        /// Reason.
        why: InvalidConnectionString,
    },
    /// The node is an LSP itself.
    #[error("a node that sells channels buys none")]
    Sells,
    /// The store fails.
    #[error("the LSP could not be stored: {0}")]
    NotStored(#[from] io::Error),
}

/// Reason for which an LSP is not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotRemoveLsp {
    /// There is no such LSP.
    #[error("{0} is none of the LSPs: `lsps` lists them")]
    Unknown(PublicKey),
    /// Invoices that this LSP would open a channel for are unpaid.
    #[error("{invoices} invoice(s) can still be paid through {lsp}: wait until they expire")]
    Invoices {
        /// The LSP.
        lsp: PublicKey,
        /// Number of invoices.
        invoices: usize,
    },
    /// Orders of channels are open.
    #[error("{orders} order(s) of channels are open at {lsp}: end them first")]
    Orders {
        /// The LSP.
        lsp: PublicKey,
        /// Number of orders.
        orders: usize,
    },
    /// Channels are open.
    #[error("{channels} channel(s) with {lsp} are open: close them first")]
    Channels {
        /// The LSP.
        lsp: PublicKey,
        /// Number of channels.
        channels: usize,
    },
    /// The store fails.
    #[error("the store fails: {0}")]
    NotStored(#[from] io::Error),
}

impl Node {
    /// The LSPs that channels are bought from.
    #[must_use]
    pub fn lsps(&self) -> KnownLsps<'_> {
        KnownLsps { node: self }
    }
}

impl KnownLsps<'_> {
    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<LspInfo> {
        self.node.inner.lsps.list().values().cloned().collect()
    }

    /// Adds an LSP, `NODE-ID@HOST:PORT`, or changes its address, token or trust. It is known after a restart too.
    ///
    /// # Errors
    ///
    /// The text is no address, or the store fails.
    pub fn add(&self, address: &str, token: Option<String>, is_trusted: bool) -> Result<LspInfo, LspError> {
        let inner = &self.node.inner;
        let wallet = self.node.wallet().ok_or(LspError::Sells)?;
        let parsed = address.parse().map_err(|why| LspError::Address { text: address.into(), why })?;
        let lsp = LspInfo { address: parsed, token, is_trusted };
        let bytes = serde_json::to_vec(&lsp).map_err(|why| io::Error::new(io::ErrorKind::Other, why.to_string()))?;
        let id = lsp.address.node_id;
        inner.lsps.store.write(PRIMARY, SECONDARY, &id.to_string(), bytes)?;
        inner.lsps.list().insert(id, lsp.clone());
        wallet.add_lsp(lsp.known());
        inner.peers.connects(lsp.address.clone());
        Ok(lsp)
    }

    /// Removes an LSP with which nothing is open. One that the builder was given is back after the next start.
    ///
    /// # Errors
    ///
    /// Something is open: the error says what.
    pub fn remove(&self, lsp: PublicKey) -> Result<(), CannotRemoveLsp> {
        let (inner, id) = (&self.node.inner, PeerId::from(lsp));
        let wallet = self.node.wallet().filter(|_| inner.lsps.list().contains_key(&id));
        let wallet = wallet.ok_or(CannotRemoveLsp::Unknown(lsp))?;
        let invoices = wallet.purchases().iter().filter(|bought| bought.lsp() == id && bought.is_open()).count();
        if invoices > 0 {
            return Err(CannotRemoveLsp::Invoices { lsp, invoices });
        }
        let orders = wallet.orders().iter().filter(|order| order.lsp() == id && order.end().is_none()).count();
        if orders > 0 {
            return Err(CannotRemoveLsp::Orders { lsp, orders });
        }
        let channels = inner.ldk.channel_manager().list_channels_with_counterparty(&lsp).len();
        if channels > 0 {
            return Err(CannotRemoveLsp::Channels { lsp, channels });
        }
        inner.lsps.store.remove(PRIMARY, SECONDARY, &id.to_string(), false)?;
        inner.lsps.list().remove(&id);
        wallet.remove_lsp(id);
        Ok(inner.peers.forget(id)?)
    }
}

const PRIMARY: &str = "node";
const SECONDARY: &str = "lsps";

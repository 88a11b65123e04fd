//! Peers that a node keeps, and the connections to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bitcoin::io;
use bitcoin::secp256k1::PublicKey;
use lsps_transport_ldk::types::PeerId;
use lsps_transport_ldk::types::units::ConnectionString;
use tokio::task::JoinHandle;

use super::Ldk;
use crate::store::Store;

/// A peer that the node keeps, or that is connected.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Peer {
    /// Node id.
    pub node_id: String,
    /// Address at which the node reconnects; `None`: the peer connects by itself.
    pub address: Option<String>,
    /// Whether it is connected.
    pub is_connected: bool,
}

/// Kept peers, each with the task that connects it.
pub(super) struct Peers {
    ldk: Weak<Ldk>,
    store: Store,
    kept: Mutex<BTreeMap<PeerId, Kept>>,
}

struct Kept {
    address: ConnectionString,
    task: JoinHandle<()>,
}

impl Peers {
    /// Reads the kept peers, and begins to connect them.
    pub fn load(ldk: &Arc<Ldk>, store: &Store) -> io::Result<Self> {
        let peers = Self { ldk: Arc::downgrade(ldk), store: store.clone(), kept: Mutex::default() };
        for name in store.list(PRIMARY, SECONDARY)? {
            let bytes = store.read(PRIMARY, SECONDARY, &name)?;
            let text = String::from_utf8_lossy(&bytes);
            match text.parse() {
                Ok(address) => peers.connects(address),
                Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("peer {name}: {why}"))),
            }
        }
        Ok(peers)
    }

    /// Keeps a peer connected from now on, also after a restart.
    pub fn keep(&self, address: ConnectionString) -> io::Result<()> {
        self.store.write(PRIMARY, SECONDARY, &address.node_id.to_string(), address.to_string().into_bytes())?;
        self.connects(address);
        Ok(())
    }

    /// Keeps a peer connected until the node stops. A peer that is kept already keeps its task if the address is the same.
    pub fn connects(&self, address: ConnectionString) {
        let mut kept = self.kept();
        if kept.get(&address.node_id).is_some_and(|kept| kept.address == address && !kept.task.is_finished()) {
            return;
        }
        let task = tokio::spawn(keep_connected(self.ldk.clone(), address.clone()));
        if let Some(old) = kept.insert(address.node_id, Kept { address, task }) {
            old.task.abort();
        }
    }

    /// Reconnects a peer no more.
    pub fn forget(&self, peer: PeerId) -> io::Result<()> {
        self.store.remove(PRIMARY, SECONDARY, &peer.to_string(), false)?;
        if let Some(kept) = self.kept().remove(&peer) {
            kept.task.abort();
        }
        if let (Some(ldk), Ok(key)) = (self.ldk.upgrade(), PublicKey::from_slice(&peer.0)) {
            ldk.peer_manager().disconnect_by_node_id(key);
        }
        Ok(())
    }

    /// All kept and all connected peers.
    pub fn all(&self) -> Vec<Peer> {
        let connected = self.ldk.upgrade().map(|ldk| ldk.peer_manager().list_peers()).unwrap_or_default();
        let connected: Vec<_> = connected.iter().map(|peer| PeerId::from(peer.counterparty_node_id)).collect();
        let kept = self.kept();
        let others = connected.iter().filter(|peer| !kept.contains_key(peer)).map(|peer| (*peer, None));
        let all = kept.iter().map(|(peer, kept)| (*peer, Some(&kept.address))).chain(others);
        let shown = all.map(|(peer, address)| Peer {
            node_id: peer.to_string(),
            address: address.map(|address| format!("{}:{}", address.host, address.port)),
            is_connected: connected.contains(&peer),
        });
        shown.collect()
    }

    pub fn stop(&self) {
        for (_, kept) in std::mem::take(&mut *self.kept()) {
            kept.task.abort();
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<PeerId, Kept>> {
        // Each use leaves the map whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Connects a peer whenever it is not connected, with a pause that grows with each failed attempt.
async fn keep_connected(ldk: Weak<Ldk>, address: ConnectionString) {
    let Ok(peer) = PublicKey::from_slice(&address.node_id.0) else { return };
    let mut pause = SHORTEST;
    loop {
        let Some(node) = ldk.upgrade() else { return };
        let is_there = node.peer_manager().peer_by_node_id(&peer).is_some() || reach(&node, peer, &address).await;
        drop(node);
        pause = if is_there { SHORTEST } else { (pause * 2).min(LONGEST) };
        tokio::time::sleep(pause).await;
    }
}

/// Tries each address of the host in turn.
async fn reach(node: &Arc<Ldk>, peer: PublicKey, address: &ConnectionString) -> bool {
    let host = (address.host.to_string(), address.port.get());
    let Ok(addresses) = tokio::net::lookup_host(host).await else { return false };
    for address in addresses {
        if tokio::time::timeout(PATIENCE, node.connect(peer, address)).await.unwrap_or(false) {
            return true;
        }
    }
    false
}

const PRIMARY: &str = "node";
const SECONDARY: &str = "peers";
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);

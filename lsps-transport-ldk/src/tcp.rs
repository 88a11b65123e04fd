//! Connections to LSPs by `lightning-net-tokio`.

use std::ops::Deref;

use lightning::ln::peer_handler::APeerManager;
use lightning_net_tokio::{SocketDescriptor, connect_outbound};
use lsps_host::ports::{Connect, Connecting};
use lsps_types::PeerId;

use crate::peers::public_key;

/// Connects a wallet to its LSPs by TCP, as [`WalletSettings::connect`](crate::WalletSettings). An address is what
/// `tokio::net::lookup_host` takes: `lsp.example:9735`. The parameter is the node's peer manager.
pub struct TcpConnect<P>(pub P);

impl<P> Connect for TcpConnect<P>
where
    P: Deref<Target: APeerManager<Descriptor = SocketDescriptor>> + Clone + Send + Sync + 'static,
{
    fn connect(&self, peer: PeerId, address: &str) -> Connecting {
        let (peers, address) = (self.0.clone(), address.to_owned());
        Box::pin(async move {
            let Some(peer) = public_key(peer) else { return false };
            for address in tokio::net::lookup_host(address).await.into_iter().flatten() {
                if let Some(connection) = connect_outbound(peers.clone(), peer, address).await {
                    tokio::spawn(connection);
                    return true;
                }
            }
            false
        })
    }
}

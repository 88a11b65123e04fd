//! The peers of a node, and LDK's managers with any type parameters.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::{AChannelManager, PaymentId, Retry};
use lightning::ln::msgs::ChannelMessageHandler as _;
use lightning::ln::peer_handler::APeerManager;
use lightning::onion_message::messenger::NullMessageRouter;
use lightning::routing::router::RouteParametersConfig;
use lsps_host::Budget;
use lsps_host::ports::{Arrived, Marker, Messages};
use lsps_types::{PeerId, Timestamp};

use crate::handler::{LspsMessageHandler, PeerEvent};

/// A `ChannelManager` with any type parameters.
pub trait Manager: Deref<Target: AChannelManager> + Send + Sync + 'static {}
impl<T: Deref<Target: AChannelManager> + Send + Sync + 'static> Manager for T {}

/// A `PeerManager` with any type parameters.
pub trait PeerManager: Deref<Target: APeerManager> + Send + Sync + 'static {}
impl<T: Deref<Target: APeerManager> + Send + Sync + 'static> PeerManager for T {}

/// The messages port on LDK.
pub(crate) struct Peers {
    messages: Arc<LspsMessageHandler>,
    /// Makes the `PeerManager` fetch queued messages. Never called from inside a handler.
    fetch: Box<dyn Fn() + Send + Sync>,
}

impl Peers {
    pub fn new(messages: Arc<LspsMessageHandler>, manager: impl PeerManager) -> Self {
        Self { messages, fetch: Box::new(move || manager.as_ref().process_events()) }
    }
}

impl Messages for Peers {
    fn attach(&self) {
        self.messages.attach();
    }

    fn send(&self, messages: Vec<(PeerId, Vec<u8>)>) {
        if self.messages.send(messages) {
            (self.fetch)();
        }
    }

    fn take(&self, budget: Budget) -> Vec<PeerEvent> {
        self.messages.take_some(budget)
    }

    fn has_news(&self) -> bool {
        self.messages.has_news()
    }

    fn arrived(&self) -> Arrived<'_> {
        Box::pin(self.messages.arrived.notified())
    }

    fn is_connected(&self, peer: PeerId) -> bool {
        self.messages.is_connected(peer)
    }
}

/// Network of the node's channels. `None`: it has no name.
pub(crate) fn network_of(manager: &impl Manager) -> Option<Network> {
    let hashes = manager.get_cm().get_chain_hashes().unwrap_or_default();
    hashes.into_iter().find_map(Network::from_chain_hash)
}

/// Converts a network to its name in the protocols.
pub(crate) fn network_name(network: Network) -> lsps_types::Network {
    match network {
        Network::Bitcoin => lsps_types::Network::Bitcoin,
        Network::Testnet | Network::Testnet4 => lsps_types::Network::Testnet,
        Network::Signet => lsps_types::Network::Signet,
        Network::Regtest => lsps_types::Network::Regtest,
    }
}

pub(crate) fn peer_id(key: &PublicKey) -> PeerId {
    PeerId(key.serialize())
}

pub(crate) fn public_key(peer: PeerId) -> Option<PublicKey> {
    PublicKey::from_slice(&peer.0).ok()
}

/// Creates and abandons an outgoing payment that is never sent: LDK reports its failure after all other events.
pub(crate) fn send_marker(manager: &impl Manager, marker: Marker, now: Timestamp) -> bool {
    let manager = manager.get_cm();
    // If the process crashes between the two calls, the node abandons it after the expiry, and the marker is an old one.
    let expiry = Duration::from_millis(now.unix_millis()) + MARKER_EXPIRY;
    let (router, retry, fees) = (NullMessageRouter {}, Retry::Attempts(0), RouteParametersConfig::default());
    let id = PaymentId(marker.0);
    let is_made = manager.create_refund_builder_using_router(&router, 1, expiry, id, retry, fees).is_ok();
    manager.abandon_payment(id);
    is_made
}

/// Expiry of a marker: longer than two calls take.
const MARKER_EXPIRY: Duration = Duration::from_secs(3_600);

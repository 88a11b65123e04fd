//! Onion messages between nodes that know each other's node ids, as an empty graph has no routes.

use std::sync::Arc;

use bitcoin::secp256k1::{PublicKey, Secp256k1, Signing, Verification};
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::onion_message::messenger::{DefaultMessageRouter, Destination, MessageRouter, OnionMessagePath};
use lightning::sign::{KeysManager, ReceiveAuthKey};

use super::logger::NodeLogger;
use super::types::{ChannelManager, NetworkGraph, OnionMessenger};

/// Router that has replies sent to the node itself, as LDK's own does for an announced node.
pub struct StraightRouter {
    others: DefaultMessageRouter<Arc<NetworkGraph>, Arc<NodeLogger>, Arc<KeysManager>>,
    keys: Arc<KeysManager>,
}

impl StraightRouter {
    /// Creates a router for the node with these keys.
    #[must_use]
    pub fn new(graph: Arc<NetworkGraph>, keys: Arc<KeysManager>) -> Self {
        Self { others: DefaultMessageRouter::new(graph, Arc::clone(&keys)), keys }
    }
}

impl MessageRouter for StraightRouter {
    fn find_path(
        &self,
        sender: PublicKey,
        peers: Vec<PublicKey>,
        destination: Destination,
    ) -> Result<OnionMessagePath, ()> {
        self.others.find_path(sender, peers, destination)
    }

    fn create_blinded_paths<T: Signing + Verification>(
        &self,
        recipient: PublicKey,
        key: ReceiveAuthKey,
        context: MessageContext,
        _: Vec<MessageForwardNode>,
        secp_ctx: &Secp256k1<T>,
    ) -> Result<Vec<BlindedMessagePath>, ()> {
        Ok(vec![BlindedMessagePath::one_hop(recipient, key, context, &*self.keys, secp_ctx)])
    }
}

/// Creates the onion messenger of this node.
pub(super) fn messenger(
    keys: &Arc<KeysManager>,
    logger: &Arc<NodeLogger>,
    manager: &Arc<ChannelManager>,
    router: Arc<StraightRouter>,
) -> Arc<OnionMessenger> {
    let ignored = Arc::new(IgnoringMessageHandler {});
    Arc::new(OnionMessenger::new(
        Arc::clone(keys),
        Arc::clone(keys),
        Arc::clone(logger),
        Arc::clone(manager),
        router,
        Arc::clone(manager),
        Arc::clone(manager),
        Arc::clone(&ignored),
        ignored,
    ))
}

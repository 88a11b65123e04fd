//! The message handler that `PeerManager` calls. It only queues: it neither blocks nor knows the protocol.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{DecodeError, Init, LightningError};
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::wire::CustomMessageReader;
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::ser::LengthLimitedRead;
use tokio::sync::Notify;

use lsps_host::{Budget, Inbox};
use lsps_types::PeerId;
use lsps_types::jsonrpc::{MAX_PAYLOAD, MESSAGE_TYPE};

use crate::message::LspsMessage;
use crate::peers::peer_id;

/// The custom message handler of a node that speaks LSPS. Pass it to `PeerManager` as `custom_message_handler`, and to
/// the host that answers ([`Lsp`](crate::Lsp)).
pub struct LspsMessageHandler {
    role: Role,
    queues: Mutex<Queues>,
    pub(crate) arrived: Notify,
    observer: OnceLock<Observer>,
}

/// Role of a node in the protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// LSP: answers requests, and announces that with feature bit 729.
    Service,
    /// Client: sends requests.
    Client,
}

/// The events of a peer that a host takes, in order.
pub type PeerEvent = lsps_host::PeerEvent<PeerId>;

/// A message that is sent or received, for an observer.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Whether this node sent it.
    pub sent: bool,
    /// Receiver or sender.
    pub peer: &'a PublicKey,
    /// Payload; JSON if the peer follows the protocol.
    pub payload: &'a [u8],
}

type Observer = Box<dyn Fn(Observed<'_>) + Send + Sync>;

#[derive(Default)]
struct Queues {
    /// Peers are found by the bytes of their key: each comparison of two `PublicKey`s serialises both, and a `PublicKey`
    /// that is read from bytes costs a square root.
    inbox: Inbox<PeerId, (PublicKey, InitFeatures)>,
    outbound: Vec<(PublicKey, LspsMessage)>,
}

impl LspsMessageHandler {
    /// Creates a handler for one role. A node that has both roles needs two nodes: LDK takes one handler.
    #[must_use]
    pub fn new(role: Role) -> Arc<Self> {
        Arc::new(Self { role, queues: Mutex::default(), arrived: Notify::new(), observer: OnceLock::new() })
    }

    /// Shows every message to `observer`, which must neither block nor call back. Only the first observer is used.
    pub fn observe(&self, observer: impl Fn(Observed<'_>) + Send + Sync + 'static) {
        let _ = self.observer.set(Box::new(observer));
    }

    /// Number of messages that were dropped because their sender, or all senders together, had too many waiting. In the
    /// latter case messages of the sender that takes up most are dropped first.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        lock(&self.queues).inbox.dropped()
    }

    /// Takes the events since the last call: for each peer first whether it connected or disconnected, reported once
    /// however often it did both, then its messages. Messages of a peer that disconnected are dropped. For hosts that
    /// drive a core by hand; [`Lsp`](crate::Lsp) takes events otherwise.
    pub fn take(&self) -> Vec<PeerEvent> {
        self.take_some(Budget::ALL)
    }

    /// Takes events up to a budget: connections and disconnections first, then one message of each sender in turn. The
    /// rest stays.
    pub(crate) fn take_some(&self, budget: Budget) -> Vec<PeerEvent> {
        lock(&self.queues).inbox.take(budget)
    }

    /// Whether there is an event to take.
    pub(crate) fn has_news(&self) -> bool {
        lock(&self.queues).inbox.has_news()
    }

    /// Starts over for a new host.
    pub(crate) fn attach(&self) {
        self.change(Inbox::attach);
    }

    /// Queues payloads for peers. `true`: call `PeerManager::process_events`, which fetches them.
    pub fn send(&self, messages: impl IntoIterator<Item = (PeerId, Vec<u8>)>) -> bool {
        let mut queues = lock(&self.queues);
        let Queues { inbox, outbound } = &mut *queues;
        for (peer, payload) in messages {
            // A message to a peer that is not connected would stay until that peer connects.
            outbound.extend(inbox.features(&peer).map(|(peer, _)| (*peer, LspsMessage { payload })));
        }
        !queues.outbound.is_empty()
    }

    pub(crate) fn is_connected(&self, peer: PeerId) -> bool {
        lock(&self.queues).inbox.features(&peer).is_some()
    }

    /// Whether `option_scid_alias` is negotiated with the peer. LDK supports it, so it is negotiated with every peer
    /// that does, regardless of a channel's type.
    pub(crate) fn has_scid_alias(&self, peer: PeerId) -> bool {
        self.supports(peer, InitFeatures::supports_scid_privacy)
    }

    /// Whether the peer accepts and opens channels above 16 777 215 sat.
    pub(crate) fn has_large_channels(&self, peer: PeerId) -> bool {
        self.supports(peer, InitFeatures::supports_wumbo)
    }

    fn supports(&self, peer: PeerId, feature: impl FnOnce(&InitFeatures) -> bool) -> bool {
        lock(&self.queues).inbox.features(&peer).is_some_and(|(_, features)| feature(features))
    }

    fn show(&self, sent: bool, peer: &PublicKey, payload: &[u8]) {
        if let Some(observer) = self.observer.get() {
            observer(Observed { sent, peer, payload });
        }
    }

    fn change(&self, change: impl FnOnce(&mut Inbox<PeerId, (PublicKey, InitFeatures)>)) {
        change(&mut lock(&self.queues).inbox);
        self.arrived.notify_one();
    }

    fn feature_bits(&self) -> Vec<u8> {
        let mut bits = vec![0; FEATURE_BIT / 8 + 1];
        if self.role == Role::Service {
            bits[FEATURE_BIT / 8] |= 1 << (FEATURE_BIT % 8);
        }
        bits
    }
}

impl CustomMessageReader for LspsMessageHandler {
    type CustomMessage = LspsMessage;

    fn read<R: LengthLimitedRead>(&self, kind: u16, buffer: &mut R) -> Result<Option<LspsMessage>, DecodeError> {
        if kind != MESSAGE_TYPE {
            return Ok(None);
        }
        let mut payload = Vec::with_capacity(usize::try_from(buffer.remaining_bytes()).unwrap_or(0).min(MAX_PAYLOAD));
        buffer.read_to_limit(&mut payload, u64::MAX)?;
        Ok(Some(LspsMessage { payload }))
    }
}

impl CustomMessageHandler for LspsMessageHandler {
    fn handle_custom_message(&self, message: LspsMessage, sender: PublicKey) -> Result<(), LightningError> {
        self.show(false, &sender, &message.payload);
        let sender = peer_id(&sender);
        self.change(|inbox| inbox.receive(sender, message.payload));
        Ok(())
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, LspsMessage)> {
        let outbound = std::mem::take(&mut lock(&self.queues).outbound);
        for (peer, message) in &outbound {
            self.show(true, peer, &message.payload);
        }
        outbound
    }

    fn peer_connected(&self, peer: PublicKey, init: &Init, _: bool) -> Result<(), ()> {
        let (id, features) = (peer_id(&peer), init.features.clone());
        self.change(|inbox| inbox.connects(id, (peer, features)));
        Ok(())
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        let peer = peer_id(&peer);
        self.change(|inbox| inbox.disconnects(&peer));
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::from_le_bytes(self.feature_bits())
    }

    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        InitFeatures::from_le_bytes(self.feature_bits())
    }
}

/// Locks the queues. A panic elsewhere leaves them consistent: each change is one push.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Feature bit of LSPs. Spec: LSPS0 "Feature Bit": `option_supports_lsps`, odd.
const FEATURE_BIT: usize = 729;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_supports_is_known_while_it_is_connected() {
        let (handler, [with, without]) = (LspsMessageHandler::new(Role::Client), [2, 3].map(peer));
        let mut features = InitFeatures::empty();
        handler.peer_connected(without, &init(features.clone()), true).unwrap();
        features.set_scid_privacy_optional();
        features.set_wumbo_optional();
        handler.peer_connected(with, &init(features), true).unwrap();
        let known = |peer| {
            let peer = peer_id(&peer);
            (handler.is_connected(peer), handler.has_scid_alias(peer), handler.has_large_channels(peer))
        };
        assert_eq!((known(with), known(without)), ((true, true, true), (true, false, false)));
        handler.peer_disconnected(with);
        assert_eq!(known(with), (false, false, false));
    }

    fn init(features: InitFeatures) -> Init {
        Init { features, networks: None, remote_network_address: None }
    }

    fn peer(secret: u8) -> PublicKey {
        let key = bitcoin::secp256k1::SecretKey::from_slice(&[secret; 32]).unwrap();
        PublicKey::from_secret_key(&bitcoin::secp256k1::Secp256k1::new(), &key)
    }
}

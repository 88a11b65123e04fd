//! LSPS messages to and from the node's peers.

use std::future::Future;
use std::pin::Pin;

use lsps_types::PeerId;

use crate::inbox::{Budget, PeerEvent};

/// The peers of a node, and their messages. [`Inbox`](crate::Inbox) keeps what waits within bounds.
pub trait Messages: Send + Sync {
    /// Sends payloads, each as one message of type 37913. Those to peers that are not connected are dropped. Must not block.
    fn send(&self, messages: Vec<(PeerId, Vec<u8>)>);

    /// What arrived, up to a budget. No message of a peer comes before it is told that the peer is connected.
    fn take(&self, budget: Budget) -> Vec<PeerEvent<PeerId>>;

    /// Whether [`take`](Self::take) would give something.
    fn has_news(&self) -> bool;

    /// Waits until there may be something to take.
    fn arrived(&self) -> Arrived<'_>;

    /// Whether the peer is connected now.
    fn is_connected(&self, peer: PeerId) -> bool;
}

/// The future of [`Messages::arrived`].
pub type Arrived<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

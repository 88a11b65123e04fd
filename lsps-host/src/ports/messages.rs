//! LSPS messages to and from the node's peers.

use std::future::Future;
use std::pin::Pin;

use lsps_types::PeerId;

use crate::inbox::{Budget, PeerEvent};

/// The peers of a node, and their messages. [`Inbox`](crate::Inbox) keeps the waiting messages within bounds.
///
/// The host makes its calls from one task; all of them must return at once.
pub trait Messages: Send + Sync {
    /// Tells the implementation that a host begins to listen: all connected peers are to be reported as connected. A
    /// message that an earlier host took and did not answer is lost, as in a crash.
    fn attach(&self);

    /// Sends payloads, each as one message of type 37913. Payloads for peers that are not connected are dropped. The
    /// call must not block.
    fn send(&self, messages: Vec<(PeerId, Vec<u8>)>);

    /// Takes events of peers, up to a budget. No message of a peer comes before the report of its connection.
    fn take(&self, budget: Budget) -> Vec<PeerEvent<PeerId>>;

    /// Whether [`take`](Self::take) would return an event.
    fn has_news(&self) -> bool;

    /// Waits until there may be an event to take. The future may end early, but must not miss an event that arrived
    /// before it was polled.
    fn arrived(&self) -> Arrived<'_>;

    /// Whether the peer is connected now.
    fn is_connected(&self, peer: PeerId) -> bool;
}

/// The future of [`Messages::arrived`].
pub type Arrived<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

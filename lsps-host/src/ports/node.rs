//! The node as an LSP sees it.

use std::collections::BTreeMap;

use bitcoin::Transaction;

use lsps_service::{ChannelId, ChannelKey, Input, OfferId, OpenTerms, PartId, PaymentTerms};
use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, Msat, Network, PaymentHash, PeerId, Preimage, Scid, Timestamp};

/// The node as an LSP sees it.
///
/// Contract of all calls:
/// - The host makes its calls from one task, one after the other, so a call must not block for longer than a look at memory
///   takes. A node that is reached over a connection answers questions from a copy that is not older than the latest
///   [`NodeEvent`] it told, and reports late refusals as events.
/// - The host may make a call twice, as it can die after the first: doing again what was done is no error.
/// - The node may forget a call that reported success, if it dies before it saves itself. After a start the host compares
///   its records with the node.
/// - The answer to a question shows the node's present state, including what the host asked for in the same turn.
pub trait LspNode: Send + Sync + 'static {
    /// The network of the node's channels. `None`: it has no name in LSPS1.
    fn network(&self) -> Option<Network>;

    /// The height of the best block that the node has processed.
    fn height(&self) -> BlockHeight;

    /// An SCID that no channel has, and by which the node hands HTLCs to the host ([`Input::HtlcHeld`]). Drawn at random:
    /// nobody may guess one.
    fn draw_scid(&self) -> Scid;

    /// Whether channels get anchor outputs where the peer takes them.
    fn makes_anchors(&self) -> bool;

    /// The amount that the node could receive over its usable channels now.
    fn inbound(&self) -> Msat;

    /// The channel with this key, if the node has it.
    fn channel(&self, peer: PeerId, key: ChannelKey) -> Option<NodeChannel>;

    /// The channels that were opened for the LSP ([`open`](Self::open)).
    fn channels(&self) -> Vec<NodeChannel>;

    /// The amount that a channel carries to its peer at once in so many HTLCs, as it was negotiated. `None`: there is no such
    /// channel.
    fn room(&self, peer: PeerId, key: ChannelKey, htlcs: usize) -> Option<Msat>;

    /// Whether a channel carries HTLCs, or its peer has something in it that was not given at the start. `false` for a
    /// channel that is not there.
    fn is_used(&self, peer: PeerId, key: ChannelKey) -> bool;

    /// Whether the peer is connected and a channel with it takes HTLCs.
    fn is_usable(&self, peer: PeerId) -> bool;

    /// Peers with channels, and the height at which the first of these channels will be closed by force unless the peer
    /// comes.
    fn forced_closes(&self) -> BTreeMap<PeerId, Option<BlockHeight>>;

    /// Asks the peer for a channel with this key, whose first payment comes in so many HTLCs. `feerate_sat_per_kw` is about
    /// that of its commitment transactions. The node tells [`Input::ChannelNegotiated`], or [`Input::ChannelEnded`].
    ///
    /// # Errors
    ///
    /// When the node refuses at once; its own words.
    fn open(
        &self,
        peer: PeerId,
        key: ChannelKey,
        terms: &OpenTerms,
        htlcs: usize,
        feerate_sat_per_kw: u32,
    ) -> Result<(), String>;

    /// Hands the funding transaction to a negotiated channel. The node must keep it to itself: the host broadcasts it. Once
    /// both sides signed, and that is saved, the node tells [`Input::ChannelPending`].
    ///
    /// # Errors
    ///
    /// When the node refuses at once; its own words.
    fn fund(&self, peer: PeerId, key: ChannelKey, tx: Transaction) -> Result<(), String>;

    /// Closes a channel, by force if need be. A channel that is not there is closed already.
    fn close(&self, peer: PeerId, key: ChannelKey);

    /// Ends what `OpenTerms::carries_others: false` set: the channel forwards payments of others at the node's usual price.
    /// A price that the operator set meanwhile stays.
    fn carry_others(&self, peer: PeerId, key: ChannelKey);

    /// The amount that came in with the HTLC that is held by this name. `None`: the node holds no such HTLC.
    fn held(&self, part: PartId) -> Option<Msat>;

    /// The HTLCs that came in over any open channel, whether they are the LSP's or not.
    fn incoming(&self) -> Vec<IncomingHtlc>;

    /// The HTLCs that are on their way to the peer or with it, in open channels.
    fn outgoing(&self, peer: PeerId) -> Vec<OutgoingHtlc>;

    /// Forwards a held HTLC to the peer over the named channel, or another one with the same peer. Only called for an
    /// amount that came in, and for a peer that is usable. [`Resolution::Done`] does not mean delivered.
    fn forward(&self, part: PartId, peer: PeerId, key: ChannelKey, channel_id: ChannelId, amount: Msat) -> Resolution;

    /// Fails a held HTLC with this code, or with the nearest that the node can send.
    fn fail(&self, part: PartId, code: FailureCode) -> Resolution;

    /// Sends what was just forwarded or failed, where the node would do so later.
    fn flush(&self);

    /// Whether HTLCs wait in queues of the node that no question shows: to be sent, to be failed, or to be looked at.
    fn has_unprocessed(&self) -> bool;

    /// An invoice for a payment that is held until it is claimed or failed. `None`: the node makes none.
    fn hold_invoice(&self, hash: PaymentHash, terms: PaymentTerms, now: Timestamp) -> Option<String>;

    /// An offer by the node's own name, whose payments are held. `None`: the node makes none.
    fn offer(&self, terms: PaymentTerms) -> Option<(String, OfferId)>;

    /// Claims a held payment. The node tells [`Input::PaymentClaimed`] once the claim cannot be undone. Where the node
    /// holds no such payment the call does nothing; the host sees that in [`incoming`](Self::incoming).
    fn claim_payment(&self, preimage: Preimage);

    /// Fails a held payment. Where the node holds no such payment the call does nothing.
    fn fail_payment(&self, hash: PaymentHash);

    /// Has the node tell [`NodeEvent::Marker`] behind all events that it has to tell now. `false`: the node cannot, and
    /// the host asks again later. A marker may be lost with a crash; it must not overtake an event.
    fn send_marker(&self, marker: Marker, now: Timestamp) -> bool;
}

/// An event of a node, as far as the node can say what happened. A node tells its events in their order, and each again
/// until the host has dealt with it ([`Lsp::handle_node_event`](crate::Lsp::handle_node_event)).
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// An event that says all.
    Input(Input),
    /// Some HTLC to this peer failed.
    FailedTowards(PeerId),
    /// Some held HTLC to this SCID was failed, by the LSP or because its time was up.
    FailedHeld(Scid),
    /// Some HTLC to this node with this hash was failed: a payment that is held, or one of somebody who knows the hash.
    FailedReceive(PaymentHash),
    /// The marker came back: every event that the node had to tell when the marker was sent is told.
    Marker(Marker),
}

/// The name of an event that says only that the events before it were told ([`LspNode::send_marker`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker(pub [u8; 32]);

/// A channel that was opened for the LSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeChannel {
    /// The key under which it was opened.
    pub key: ChannelKey,
    /// The peer that the channel is with.
    pub peer: PeerId,
    /// The node's name for the channel.
    pub id: ChannelId,
    /// Whether the node has its funding transaction.
    pub is_funded: bool,
    /// Whether both sides sent `channel_ready`.
    pub is_ready: bool,
    /// Confirmations of the funding transaction, as the node counts them. 0: none, or the node does not count.
    pub confirmations: u32,
}

/// An HTLC that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncomingHtlc {
    /// The payment hash.
    pub payment_hash: PaymentHash,
    /// The amount.
    pub amount: Msat,
    /// The state of the HTLC.
    pub state: IncomingState,
}

/// The state of an HTLC that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncomingState {
    /// Both sides have not yet committed to the HTLC.
    Arriving,
    /// Both sides have committed to the HTLC, and it is neither claimed nor failed: it is held, or was forwarded.
    Committed,
    /// The node is claiming the HTLC.
    Claiming,
    /// The node is failing the HTLC.
    Failing,
}

/// An HTLC that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingHtlc {
    /// The payment hash.
    pub payment_hash: PaymentHash,
    /// The amount.
    pub amount: Msat,
    /// Whether the peer has claimed or failed it, and it is being removed.
    pub is_resolved: bool,
}

/// The node's answer to forwarding or failing a held HTLC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The node will do so.
    Done,
    /// The node does not hold such an HTLC.
    NotHeld,
    /// The node refuses, and still holds it.
    Refused,
}

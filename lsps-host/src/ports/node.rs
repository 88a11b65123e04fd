//! The node, from the LSP's point of view.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use bitcoin::Transaction;

use lsps_service::{ChannelId, ChannelKey, Input, OfferId, OpenTerms, OrderNumber, PartId, PaymentTerms};
use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, Msat, Network, PaymentHash, PeerId, Preimage, Scid, Timestamp};

use super::Broadcast;

/// The node of an LSP.
///
/// Contract of all calls:
/// - The host makes its calls from one task, one after the other, so all of them must return at once. A node that is
///   reached over a connection answers from a copy that is not older than the latest [`NodeEvent`] it reported, and
///   reports late refusals as events.
/// - The host may repeat a call, as it can crash after the first: a repetition is no error.
/// - The node may forget a call that reported success, if it crashes before it persists its state. After a start the
///   host compares its records with the node.
/// - An answer shows the node's present state, including the calls that the host made in the same turn.
/// - What takes a node time to make is answered with [`Made::NotYet`], and the host makes the same call again.
pub trait LspNode: Send + Sync + 'static {
    /// Network of the node's channels. `None`: LSPS1 has no name for it.
    fn network(&self) -> Option<Network>;

    /// Height of the best block that the node has processed.
    fn height(&self) -> BlockHeight;

    /// Draws an SCID that no channel has, and whose HTLCs the node intercepts for the host ([`Input::HtlcHeld`]). The
    /// SCID is random, so that nobody can guess it.
    fn draw_scid(&self) -> Scid;

    /// Whether channels get anchor outputs if the peer supports them.
    fn makes_anchors(&self) -> bool;

    /// Amount that the node could receive over its usable channels now.
    fn inbound(&self) -> Msat;

    /// The channel with this key, if the node has it.
    fn channel(&self, peer: PeerId, key: ChannelKey) -> Option<NodeChannel> {
        self.channels().into_iter().find(|channel| channel.peer == peer && channel.key == key)
    }

    /// The channels that were opened for the LSP ([`open`](Self::open)).
    fn channels(&self) -> Vec<NodeChannel>;

    /// Amount that a channel, as it was negotiated, can deliver to its peer at once in this number of HTLCs. `None`:
    /// there is no such channel.
    fn outbound_capacity(&self, peer: PeerId, key: ChannelKey, htlcs: usize) -> Option<Msat>;

    /// Whether a channel carries HTLCs, or its peer has a balance in it beyond the initial one. `false` if there is no
    /// such channel.
    fn is_used(&self, peer: PeerId, key: ChannelKey) -> bool;

    /// Whether the peer is connected and a channel with it accepts HTLCs.
    fn is_usable(&self, peer: PeerId) -> bool;

    /// Peers with channels, each with the height at which the first of its channels will be force-closed unless the
    /// peer connects.
    fn forced_closes(&self) -> BTreeMap<PeerId, Option<BlockHeight>>;

    /// Asks the peer for a channel with this key, whose first payment arrives in this number of HTLCs.
    /// `feerate_sat_per_kw` is about that of its commitment transactions. The node reports [`Input::ChannelNegotiated`]
    /// or [`Input::ChannelEnded`].
    ///
    /// # Errors
    ///
    /// The node refuses at once; its error text.
    fn open(
        &self,
        peer: PeerId,
        key: ChannelKey,
        terms: &OpenTerms,
        htlcs: usize,
        feerate_sat_per_kw: u32,
    ) -> Result<(), String>;

    /// Gives the funding transaction to a negotiated channel. The node must not broadcast it: the host does. Once both
    /// sides signed and that is persisted, the node reports [`Input::ChannelPending`].
    ///
    /// # Errors
    ///
    /// The node refuses at once; its error text.
    fn fund(&self, peer: PeerId, key: ChannelKey, tx: Transaction) -> Result<(), String>;

    /// Publishes the funding transaction of a channel, for a node that has to do that itself, for instance because it keeps
    /// the channel back until then. The host calls this in place of [`ChainAccess::broadcast`](super::ChainAccess), as
    /// often and with the same meaning of the answer. The default leaves it to the chain backend.
    fn publish(&self, key: ChannelKey, tx: &Transaction) -> Option<Broadcast> {
        let (_, _) = (key, tx);
        None
    }

    /// Closes a channel, by force if necessary. The call has no effect if there is no such channel.
    fn close(&self, peer: PeerId, key: ChannelKey);

    /// Lets a channel that was opened with `OpenTerms::carries_others: false` forward other payments at the node's
    /// usual price. A price that the operator set meanwhile stays.
    fn allow_forwards(&self, peer: PeerId, key: ChannelKey);

    /// Amount of the incoming HTLC that is held under this id. `None`: the node holds no such HTLC.
    fn held(&self, part: PartId) -> Option<Msat>;

    /// Incoming HTLCs of all open channels, whether they belong to the LSP's flows or not.
    fn incoming(&self) -> Vec<IncomingHtlc>;

    /// HTLCs in open channels that are on their way to the peer or at it.
    fn outgoing(&self, peer: PeerId) -> Vec<OutgoingHtlc>;

    /// Forwards a held HTLC to the peer over the given channel, or over another one with the same peer. The host calls
    /// this only for an amount that arrived, and for a usable peer. [`Resolution::Done`] does not mean delivered.
    fn forward(&self, part: PartId, peer: PeerId, key: ChannelKey, channel_id: ChannelId, amount: Msat) -> Resolution;

    /// Fails a held HTLC with this code, or with the closest that the node can send.
    fn fail(&self, part: PartId, code: FailureCode) -> Resolution;

    /// Sends forwards and failures at once that the node would send later. The default does nothing: the node sends them
    /// in the calls.
    fn flush(&self) {}

    /// Whether HTLCs wait in queues of the node that the other methods do not show: to be sent, failed or processed. The
    /// default is that of a node that shows all HTLCs.
    fn has_unprocessed(&self) -> bool {
        false
    }

    /// Creates an invoice for this hash, whose payment is held until it is claimed or failed. [`Made::Never`]: orders
    /// (LSPS1) cannot be paid that way. A node that creates neither invoices nor offers needs no
    /// [`claim_payment`](Self::claim_payment) and [`fail_payment`](Self::fail_payment) either.
    fn hold_invoice(&self, hash: PaymentHash, terms: PaymentTerms, now: Timestamp) -> Made<String> {
        let (_, _, _) = (hash, terms, now);
        Made::Never
    }

    /// Creates an offer for this order, whose payments are held, and names its id.
    fn offer(&self, order: OrderNumber, terms: PaymentTerms) -> Made<(String, OfferId)> {
        let (_, _) = (order, terms);
        Made::Never
    }

    /// Claims a held payment. The node reports [`Input::PaymentClaimed`] once the claim cannot be undone. If the node
    /// holds no such payment the call has no effect; the host sees that in [`incoming`](Self::incoming).
    fn claim_payment(&self, preimage: Preimage) {
        let _ = preimage;
    }

    /// Fails a held payment. If the node holds no such payment the call has no effect.
    fn fail_payment(&self, hash: PaymentHash) {
        let _ = hash;
    }

    /// Asks the node to report [`NodeEvent::Marker`] after all events that it has to report now. `false`: the node
    /// cannot, and the host asks again later. A marker may be lost in a crash; it must not overtake an event.
    fn send_marker(&self, marker: Marker, now: Timestamp) -> bool;
}

/// An event of a node, as precise as the node can report it. A node reports its events in their order, and each again
/// until the host has handled it ([`Lsp::handle_node_event`](crate::Lsp::handle_node_event)).
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// An event that is precise enough to be an input of the service.
    Input(Input),
    /// Some HTLC to this peer failed.
    FailedTowards(PeerId),
    /// Some held HTLC to this SCID was failed, by the LSP or because of its expiry.
    FailedHeld(Scid),
    /// Some HTLC to this node with this hash was failed: one of a held payment, or one of somebody else who knows the
    /// hash.
    FailedReceive(PaymentHash),
    /// The marker came back: all events that the node had to report when it was sent are reported.
    Marker(Marker),
}

/// Name of an event that only says that the events before it were reported ([`LspNode::send_marker`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker(pub [u8; 32]);

impl Marker {
    /// The marker of this name. `None`: the name does not belong to a marker.
    #[must_use]
    pub fn of(name: [u8; 32]) -> Option<Self> {
        name.starts_with(NAME).then_some(Self(name))
    }

    /// The marker of this number, in this run of a host.
    pub(crate) fn new(life: u64, number: u64) -> Self {
        let mut id = [0; 32];
        id[..16].copy_from_slice(NAME);
        id[16..24].copy_from_slice(&life.to_be_bytes());
        id[24..].copy_from_slice(&number.to_be_bytes());
        Self(id)
    }

    /// A random number for a run of a host, from the standard library's own source of unpredictable numbers.
    pub(crate) fn draw_life() -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

const NAME: &[u8; 16] = b"lsps: told up to";

/// Answer to a call that makes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made<T> {
    /// The result. A later call for the same thing may make another.
    Done(T),
    /// The node is at it. The host makes the same call again within some milliseconds, until the answer is another.
    NotYet,
    /// The node does not make it.
    Never,
}

impl<T> Made<T> {
    /// The result, if there is one now.
    pub fn done(self) -> Option<T> {
        if let Self::Done(made) = self { Some(made) } else { None }
    }
}

impl<T> From<Option<T>> for Made<T> {
    fn from(made: Option<T>) -> Self {
        made.map_or(Self::Never, Self::Done)
    }
}

/// A channel that was opened for the LSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeChannel {
    /// Key under which it was opened.
    pub key: ChannelKey,
    /// Peer of the channel.
    pub peer: PeerId,
    /// Channel id that the node gave to it.
    pub id: ChannelId,
    /// Whether the node has the funding transaction.
    pub is_funded: bool,
    /// Whether both sides sent `channel_ready`.
    pub is_ready: bool,
    /// Confirmations of the funding transaction, as the node counts them. 0: none, or the node does not count.
    pub confirmations: u32,
}

/// An incoming HTLC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncomingHtlc {
    /// Payment hash.
    pub payment_hash: PaymentHash,
    /// Amount.
    pub amount: Msat,
    /// State of the HTLC.
    pub state: IncomingState,
}

/// State of an incoming HTLC.
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

/// An outgoing HTLC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingHtlc {
    /// Payment hash.
    pub payment_hash: PaymentHash,
    /// Amount.
    pub amount: Msat,
    /// The part of the amount its onion asks to forward that was kept; zero for what was forwarded whole. `None` if the node
    /// does not tell.
    pub skim: Option<Msat>,
    /// Whether the peer has claimed or failed the HTLC, so that it is being removed.
    pub is_resolved: bool,
}

/// The node's answer to a forward or failure of a held HTLC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The node will execute it.
    Done,
    /// The node does not hold such an HTLC.
    NotHeld,
    /// The node refuses, and still holds it.
    Refused,
}

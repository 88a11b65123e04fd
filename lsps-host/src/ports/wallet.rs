//! Port to the node of a wallet.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bitcoin::OutPoint;

use lsps_client::jit_receive::InvoiceTerms;
use lsps_client::{AcceptTerms, ChannelKey};
use lsps_service::ChannelId;
use lsps_types::lsps1::PaymentFacts;
use lsps_types::{BlockHeight, Blocks, Msat, Network, PaymentHash, PeerId, Preimage, Sat, Timestamp};

use super::{IncomingState, Marker};

/// The node of a wallet.
///
/// Contract of all calls:
/// - The host makes its calls from one task, one after the other, so each call must return at once. A node that is
///   reached over a connection answers from a copy that is not older than the latest [`WalletNodeEvent`] it reported.
///   The exceptions are [`read_invoice`](Self::read_invoice) and [`read_offer`](Self::read_offer), which tasks of
///   callers make.
/// - The calls with a default pay for orders of channels over Lightning. A node that pays for none leaves all of them
///   out.
/// - The host may repeat a call, as it can crash after the first one. A repetition is no error.
/// - The node may forget a call that reported success, if it crashes before it persists its state. After a start the
///   host compares its records with the node.
/// - An answer shows the node's present state, including the changes by calls that the host made in the same turn.
pub trait WalletNode: Send + Sync + 'static {
    /// Network of the node's channels. `None`: LSPS1 has no name for it, and no channel can be ordered.
    fn network(&self) -> Option<Network>;

    /// Height of the best block that the node has processed.
    fn height(&self) -> BlockHeight;

    /// Draws 32 unpredictable random bytes.
    fn draw_bytes(&self) -> [u8; 32];

    /// `to_self_delay` that the node asks of its peers.
    fn to_self_delay(&self) -> Blocks;

    /// Minimum final CLTV expiry delta of the node's invoices, in blocks. The node fails an HTLC that arrives with
    /// fewer blocks left, and the host fails a held payment when no more than that are left.
    fn min_final_cltv_expiry_delta(&self) -> u16;

    /// Checks that the node would accept a channel of a peer, announced or not, and of this capacity if that is known.
    ///
    /// # Errors
    ///
    /// A setting of the node excludes the channel.
    fn takes_channel(&self, announced: bool, capacity: Option<Sat>) -> Result<(), SettingMissing>;

    /// Whether `option_scid_alias` is negotiated with this connected peer.
    fn has_scid_alias(&self, peer: PeerId) -> bool;

    /// Whether this connected peer accepts and opens channels above 16 777 215 sat. `false`: none are ordered.
    fn has_large_channels(&self, peer: PeerId) -> bool {
        let _ = peer;
        false
    }

    /// Amount that the node's channels could pay now or once their peers reconnect, in millisatoshis.
    fn outbound(&self) -> Msat {
        Msat::ZERO
    }

    /// All channels of the node, opened by either side.
    fn channels(&self) -> Vec<WalletChannel>;

    /// All channels with this peer.
    fn channels_with(&self, peer: PeerId) -> Vec<WalletChannel> {
        self.channels().into_iter().filter(|channel| channel.peer == peer).collect()
    }

    /// Accepts a requested channel ([`WalletNodeEvent::ChannelRequested`]), under this key and on these terms. The node
    /// reports [`WalletNodeEvent::ChannelFunded`] or [`WalletNodeEvent::ChannelEnded`].
    ///
    /// # Errors
    ///
    /// Error text of the node: it refuses the request or no longer has it.
    fn accept(&self, request: &ChannelRequest, key: ChannelKey, terms: &AcceptTerms) -> Result<(), String>;

    /// Refuses a requested channel, with a text for the peer. The call has no effect if the node has no such request.
    fn refuse(&self, request: &ChannelRequest, why: &str);

    /// Sets, on every channel with this peer, whether incoming HTLCs may be below the amount in their onions. While
    /// they may, every incoming HTLC may be dust.
    fn set_underpaying(&self, peer: PeerId, allowed: bool);

    /// Creates an invoice on exactly these terms, for this hash, or for one whose preimage the node knows. Returns the
    /// hash and the invoice. Spec: LSPS2 §2 "Invoice".
    ///
    /// The expiry of HTLCs is compared with [`min_final_cltv_expiry_delta`](Self::min_final_cltv_expiry_delta), not
    /// with the larger delta in the invoice.
    ///
    /// # Errors
    ///
    /// The node cannot receive on these terms or does not sign, or has not finished ([`NoInvoice::NotYet`]). No two
    /// purchases have the same SCID, by which a node knows a call that is made again.
    fn invoice(
        &self,
        terms: &InvoiceTerms,
        hash: Option<PaymentHash>,
        description: &str,
    ) -> Result<(PaymentHash, String), NoInvoice>;

    /// Parses a BOLT 11 invoice and checks its signature. `None`: the text is not a valid invoice.
    fn read_invoice(&self, invoice: &str, network: Network) -> Option<PaymentFacts> {
        let (_, _) = (invoice, network);
        None
    }

    /// Parses a BOLT 12 offer. `None`: the text is not a valid offer.
    fn read_offer(&self, offer: &str, network: Network) -> Option<PaymentFacts> {
        let (_, _) = (offer, network);
        None
    }

    /// Incoming HTLCs of this hash for this node, over any open channel, that are not being failed. The HTLCs of a
    /// reported payment ([`WalletNodeEvent::PaymentHeld`]) are `Committed` or `Claiming`.
    fn incoming(&self, hash: PaymentHash) -> Vec<WalletHtlc>;

    /// Claims a payment that the node holds completely. The node reports [`WalletNodeEvent::PaymentClaimed`]. If the
    /// node holds no such payment, the call has no effect.
    fn claim_payment(&self, preimage: Preimage);

    /// Fails all HTLCs of a held payment at once. If the node holds no such payment, the call has no effect.
    fn fail_payment(&self, hash: PaymentHash);

    /// Starts to pay an invoice under this id. Under one id the node pays at most once, as long as
    /// [`payment`](Self::payment) knows it. No HTLC is sent before the node has persisted the payment, so that a crash
    /// does not make it forget one that may arrive. The node reports [`WalletNodeEvent::PaymentEnded`].
    fn pay_invoice(&self, id: PaymentId, invoice: &str, limits: PayLimits) -> PayAnswer {
        let (_, _, _) = (id, invoice, limits);
        PayAnswer::Never
    }

    /// Starts to pay an offer under this id, on the same conditions. HTLCs are not locked for longer than the node's
    /// maximum, whatever the invoice for the offer asks for.
    fn pay_offer(&self, id: PaymentId, offer: &str, limits: PayLimits) -> PayAnswer {
        let (_, _, _) = (id, offer, limits);
        PayAnswer::Never
    }

    /// Stops the retries of a payment. The node reports the outcome once no HTLC of it is in flight.
    fn stop_paying(&self, id: PaymentId) {
        let _ = id;
    }

    /// State of the payment under this id, as far as the node remembers. A payment that is in flight or succeeded is
    /// remembered until the host has handled its outcome; one that failed may be forgotten before its outcome is
    /// reported.
    fn payment(&self, id: PaymentId) -> Option<PaymentProgress> {
        let _ = id;
        None
    }

    /// Whether the node pays or paid this hash under any id, as far as it remembers.
    fn pays_hash(&self, hash: PaymentHash) -> bool {
        let _ = hash;
        false
    }

    /// Has the node report [`WalletNodeEvent::Marker`] after all events that it has to report now. `false`: the node
    /// cannot do so now; the host tries again later. A marker may be lost in a crash, and must not overtake an event.
    fn send_marker(&self, marker: Marker, now: Timestamp) -> bool;
}

/// An event of a wallet's node. A node reports its events in their order, and each again until the host has handled it
/// ([`Wallet::handle_node_event`](crate::wallet::Wallet::handle_node_event)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalletNodeEvent {
    /// A peer asks to open a channel. The node waits for [`WalletNode::accept`] or [`WalletNode::refuse`], and forgets
    /// the request when the peer disconnects.
    ChannelRequested(ChannelRequest),
    /// The funding of a channel is negotiated and persisted. The node reports this for all channels, those of the
    /// application too.
    ChannelFunded {
        /// Key under which the channel was accepted; for other channels the application's id.
        key: ChannelKey,
        /// Peer of the channel.
        peer: PeerId,
        /// Funding output, if the node reports it.
        funding: Option<OutPoint>,
    },
    /// A channel could not be opened, or was closed.
    ChannelEnded {
        /// Key of the channel.
        key: ChannelKey,
    },
    /// All HTLCs of a payment arrived; the payment waits to be claimed or failed.
    PaymentHeld(HeldPayment),
    /// A payment was claimed, and the claim cannot be undone.
    PaymentClaimed {
        /// Payment hash.
        payment_hash: PaymentHash,
        /// Amount that arrived, in millisatoshis.
        received: Msat,
        /// Sum of the skims that the HTLCs report, in millisatoshis.
        kept: Msat,
        /// Keys of the channels over which the HTLCs arrived, as far as the node reports them.
        over: Vec<ChannelKey>,
        /// Whether the application has the preimage, and has to receive the event too.
        by_application: bool,
    },
    /// An outbound payment of this node ended; payments of the application are reported too.
    PaymentEnded {
        /// Id of the payment.
        id: PaymentId,
        /// Outcome.
        end: PaymentEnd,
    },
    /// Every event that the node had to report when this marker was sent has been reported.
    Marker(Marker),
}

/// A request of a peer to open a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRequest {
    /// Id that the node gave to the request; the same if the peer repeats it after a reconnect. LDK: the temporary
    /// channel id.
    pub id: [u8; 32],
    /// Peer that asks.
    pub peer: PeerId,
    /// Whether the channel would be announced to the network.
    pub announced: bool,
    /// Whether the channel type has `option_scid_alias`.
    pub scid_alias: bool,
    /// Whether the channel type allows use before the funding is confirmed.
    pub zero_conf: bool,
    /// Capacity, in satoshis.
    pub funding: Sat,
    /// Initial balance of this node, in millisatoshis.
    pub pushed: Msat,
}

/// A channel of a wallet's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletChannel {
    /// Channel id.
    pub id: ChannelId,
    /// Key under which the channel was accepted; for other channels any fixed id.
    pub key: ChannelKey,
    /// Peer of the channel.
    pub peer: PeerId,
    /// Funding output, once it is known.
    pub funding: Option<OutPoint>,
    /// Confirmations of the funding transaction.
    pub confirmations: u32,
    /// Whether this node funded the channel.
    pub is_ours: bool,
    /// Whether the channel accepts HTLCs now: it is ready and its peer is connected.
    pub is_usable: bool,
}

/// An incoming HTLC for this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletHtlc {
    /// Channel over which the HTLC arrived.
    pub over: ChannelId,
    /// Amount of the HTLC, in millisatoshis.
    pub amount: Msat,
    /// Block height at which the HTLC expires.
    pub cltv_expiry: BlockHeight,
    /// State of the HTLC.
    pub state: IncomingState,
}

/// The reason for which a node returns no invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoInvoice {
    /// The node makes none on these terms; its error text.
    Refused(String),
    /// The node is at it. The host makes the same call again until the answer is another.
    NotYet,
}

impl From<String> for NoInvoice {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// A complete payment that waits to be claimed or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPayment {
    /// Payment hash.
    pub payment_hash: PaymentHash,
    /// Amount that arrived, in millisatoshis.
    pub received: Msat,
    /// Sum of the skims that the HTLCs report (`extra_fee`, bLIP-25), in millisatoshis.
    pub kept: Msat,
    /// Preimage, if the node created the hash. `None`: the application has it.
    pub preimage: Option<Preimage>,
    /// Channels over which its HTLCs arrived, and their keys as far as the node reports them.
    pub over: Vec<(ChannelId, Option<ChannelKey>)>,
}

/// Id that the host gives to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaymentId(pub [u8; 32]);

/// Limits of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayLimits {
    /// Largest routing fee.
    pub fee: Sat,
    /// Longest time for which the node may search routes.
    pub within: Duration,
}

/// Answer to the call that starts a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayAnswer {
    /// The payment was started, now or by an earlier call.
    Begun,
    /// No payment was started; a later attempt may succeed.
    NotNow,
    /// No payment was started, and none can be.
    Never,
}

/// State of a payment that the node remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentProgress {
    /// The payment may still succeed.
    UnderWay,
    /// The payment succeeded, or failed without further attempts.
    Over,
}

/// Outcome of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentEnd {
    /// The payee claimed the payment, so the node has the preimage.
    Paid,
    /// All HTLCs of the payment failed.
    Returned,
    /// No HTLC was sent, as no invoice for the offer arrived in time.
    NoInvoice,
    /// No HTLC was sent, and none will be.
    NotSent,
}

/// Error: a setting of the node is missing without which payments would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's setting `{setting}` has to be {value}: {why}")]
pub struct SettingMissing {
    /// Name of the setting.
    pub setting: &'static str,
    /// Required value.
    pub value: &'static str,
    /// Consequence of any other value.
    pub why: &'static str,
}

/// Port that connects to peers. The host calls it from the wallet's task and from tasks of callers.
pub trait Connect: Send + Sync {
    /// Connects to a peer, and serves the connection independently of the future, which may return before `init` is
    /// exchanged, as the wallet waits for that. `false`: the peer cannot be reached.
    fn connect(&self, peer: PeerId, address: &str) -> Connecting;
}

/// Future of [`Connect::connect`].
pub type Connecting = Pin<Box<dyn Future<Output = bool> + Send>>;

//! The node as a wallet sees it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bitcoin::OutPoint;

use lsps_client::jit_receive::InvoiceTerms;
use lsps_client::{AcceptTerms, ChannelKey};
use lsps_service::ChannelId;
use lsps_types::lsps1::PaymentFacts;
use lsps_types::{BlockHeight, Blocks, Msat, Network, PaymentHash, PeerId, Preimage, Sat};

use super::IncomingState;

/// The node as a wallet sees it.
///
/// Contract of all calls:
/// - The host makes its calls from one task, one after the other, so a call must not block for longer than a look at memory
///   takes. A node that is reached over a connection answers questions from a copy that is not older than the latest
///   [`WalletNodeEvent`] it told. Reading an invoice or an offer is not a question to the node: the host does so in tasks of
///   its callers.
/// - The host may make a call twice, as it can die after the first: doing again what was done is no error.
/// - The node may forget a call that reported success, if it dies before it saves itself. After a start the host compares
///   its records with the node.
/// - The answer to a question shows the node's present state, including what the host asked for in the same turn.
pub trait WalletNode: Send + Sync + 'static {
    /// The network of the node's channels. `None`: it has no name in LSPS1, and no channel can be ordered.
    fn network(&self) -> Option<Network>;

    /// The height of the best block that the node has processed.
    fn height(&self) -> BlockHeight;

    /// 32 random bytes that nobody can guess, other ones at each call.
    fn draw_bytes(&self) -> [u8; 32];

    /// The `to_self_delay` that the node asks of its peers.
    fn to_self_delay(&self) -> Blocks;

    /// The least CLTV delta of the node's invoices. The node fails an HTLC that has fewer blocks when it comes, and the host
    /// fails a payment that waits when it has no more.
    fn min_final_cltv_expiry_delta(&self) -> u16;

    /// Checks that the node would take a channel that a peer opens, announced or not, of this capacity where that is known.
    ///
    /// # Errors
    ///
    /// When a setting of the node is against it.
    fn takes_channel(&self, announced: bool, capacity: Option<Sat>) -> Result<(), SettingMissing>;

    /// Whether `option_scid_alias` is negotiated with this peer, which is connected.
    fn has_scid_alias(&self, peer: PeerId) -> bool;

    /// Whether this peer, which is connected, takes and opens channels above 16 777 215 sat.
    fn has_large_channels(&self, peer: PeerId) -> bool;

    /// The amount that the node's channels could pay now, or once their peers are back.
    fn outbound(&self) -> Msat;

    /// All channels of the node, whoever opened them.
    fn channels(&self) -> Vec<WalletChannel>;

    /// The channels with this peer.
    fn channels_with(&self, peer: PeerId) -> Vec<WalletChannel> {
        self.channels().into_iter().filter(|channel| channel.peer == peer).collect()
    }

    /// Accepts a channel that was asked for ([`WalletNodeEvent::ChannelRequested`]), under this key and on these terms. The
    /// node tells [`WalletNodeEvent::ChannelFunded`], or [`WalletNodeEvent::ChannelEnded`].
    ///
    /// # Errors
    ///
    /// When the node refuses at once, or the request is gone; the node's own words.
    fn accept(&self, request: &ChannelRequest, key: ChannelKey, terms: &AcceptTerms) -> Result<(), String>;

    /// Refuses a channel that was asked for, with words for the peer. A request that is gone is refused already.
    fn refuse(&self, request: &ChannelRequest, why: &str);

    /// Sets, on every channel with this peer, whether HTLCs may carry less than their onions say. While they may, all of
    /// them may be dust.
    fn set_underpaying(&self, peer: PeerId, allowed: bool);

    /// Writes an invoice on exactly these terms, for this hash, or for one whose preimage the node knows. Gives the hash and
    /// the invoice. Spec: LSPS2 §2 "Invoice".
    ///
    /// What arrives is held to [`min_final_cltv_expiry_delta`](Self::min_final_cltv_expiry_delta), not to the larger delta
    /// in the invoice.
    ///
    /// # Errors
    ///
    /// When the node cannot receive so, or does not sign; its own words.
    fn invoice(
        &self,
        terms: &InvoiceTerms,
        hash: Option<PaymentHash>,
        description: &str,
    ) -> Result<(PaymentHash, String), String>;

    /// Reads a BOLT 11 invoice and checks its signature. `None`: it is none.
    fn read_invoice(&self, invoice: &str, network: Network) -> Option<PaymentFacts>;

    /// Reads a BOLT 12 offer. `None`: it is none.
    fn read_offer(&self, offer: &str, network: Network) -> Option<PaymentFacts>;

    /// The HTLCs with this hash that came in for this node over any open channel and are not being failed.
    fn incoming(&self, hash: PaymentHash) -> Vec<WalletHtlc>;

    /// Claims a payment that the node holds complete. The node tells [`WalletNodeEvent::PaymentClaimed`]. Where the node
    /// holds no such payment, the call does nothing.
    fn claim_payment(&self, preimage: Preimage);

    /// Fails all HTLCs of a payment that the node holds, at once. Where the node holds no such payment, the call does nothing.
    fn fail_payment(&self, hash: PaymentHash);

    /// Begins to pay an invoice under this id. Under one id the node pays at most once, as long as
    /// [`payment`](Self::payment) knows it. No HTLC leaves before the node has saved the payment, so that a crash does not make
    /// it forget one that may arrive. The node tells [`WalletNodeEvent::PaymentEnded`].
    fn pay_invoice(&self, id: PaymentId, invoice: &str, limits: PayLimits) -> PayAnswer;

    /// Begins to pay an offer under this id, likewise. HTLCs are not locked for longer than the node's maximum, whatever
    /// the invoice asks for that comes for the offer.
    fn pay_offer(&self, id: PaymentId, offer: &str, limits: PayLimits) -> PayAnswer;

    /// Tries no other routes for a payment. HTLCs that are out are waited for; then the node tells the end.
    fn stop_paying(&self, id: PaymentId);

    /// The payment under this id, as far as the node remembers. A payment that is under way or succeeded is remembered until
    /// the host has dealt with its end; one that failed may be forgotten before its end is told.
    fn payment(&self, id: PaymentId) -> Option<PaymentProgress>;

    /// Whether the node pays or paid this hash, under whatever id, as far as it remembers.
    fn pays_hash(&self, hash: PaymentHash) -> bool;
}

/// An event of a node, as a wallet hears it. A node tells its events in their order, and each again until the host has dealt
/// with it ([`Wallet::handle_node_event`](crate::wallet::Wallet::handle_node_event)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalletNodeEvent {
    /// A peer asks to open a channel. The node waits for [`WalletNode::accept`] or [`WalletNode::refuse`], and forgets the
    /// request when the peer disconnects.
    ChannelRequested(ChannelRequest),
    /// The funding of a channel is negotiated and saved. Told of all channels, those of the application too.
    ChannelFunded {
        /// The key under which the channel was accepted; the application's own name for other channels.
        key: ChannelKey,
        /// The peer that the channel is with.
        peer: PeerId,
        /// The funding output, where the node tells it.
        funding: Option<OutPoint>,
    },
    /// A channel could not be opened, or is closed.
    ChannelEnded {
        /// The key of the channel.
        key: ChannelKey,
    },
    /// A payment is here, complete, and waits to be claimed or failed.
    PaymentHeld(HeldPayment),
    /// A payment was claimed, and the claim cannot be undone.
    PaymentClaimed {
        /// The payment hash.
        payment_hash: PaymentHash,
        /// The amount that came in.
        received: Msat,
        /// The amount that was kept on the way.
        kept: Msat,
        /// The keys of the channels that the HTLCs came over, as far as the node tells.
        over: Vec<ChannelKey>,
        /// The application has the preimage, and is to hear of the claim as well.
        by_application: bool,
    },
    /// A payment of this node ended, the application's payments included.
    PaymentEnded {
        /// The id under which it was paid.
        id: PaymentId,
        /// The end.
        end: PaymentEnd,
    },
}

/// A request of a peer to open a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRequest {
    /// The node's name for the request, the same if the peer repeats it after a reconnect. LDK: the temporary channel id.
    pub id: [u8; 32],
    /// The peer that asks.
    pub peer: PeerId,
    /// Whether the channel would be announced to the network.
    pub announced: bool,
    /// Whether the channel's type has `option_scid_alias`.
    pub scid_alias: bool,
    /// Whether the channel's type lets it be used before its funding is confirmed.
    pub zero_conf: bool,
    /// The capacity.
    pub funding: Sat,
    /// The amount that would be this node's at once.
    pub pushed: Msat,
}

/// A channel of a wallet's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletChannel {
    /// The node's name for the channel.
    pub id: ChannelId,
    /// The key under which it was accepted, or whatever name it has otherwise.
    pub key: ChannelKey,
    /// The peer that the channel is with.
    pub peer: PeerId,
    /// The funding output, once it is known.
    pub funding: Option<OutPoint>,
    /// Confirmations of the funding transaction.
    pub confirmations: u32,
    /// Whether this node funded it.
    pub is_ours: bool,
    /// Whether the channel carries HTLCs now: it is ready and its peer is connected.
    pub is_usable: bool,
}

/// An HTLC that came in for this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletHtlc {
    /// The channel that it came over.
    pub over: ChannelId,
    /// The amount.
    pub amount: Msat,
    /// The height at which it expires.
    pub cltv_expiry: BlockHeight,
    /// The state of the HTLC.
    pub state: IncomingState,
}

/// A complete payment that waits to be claimed or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPayment {
    /// The payment hash.
    pub payment_hash: PaymentHash,
    /// The amount that came in.
    pub received: Msat,
    /// The amount that was kept on the way, as it was announced (`extra_fee`, bLIP-25).
    pub kept: Msat,
    /// The preimage, where the node made the hash. `None`: the application has it.
    pub preimage: Option<Preimage>,
    /// The channels that its HTLCs came over, and their keys as far as the node tells.
    pub over: Vec<(ChannelId, Option<ChannelKey>)>,
}

/// The name that the host gives a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaymentId(pub [u8; 32]);

/// Limits of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayLimits {
    /// The most routing fees.
    pub fee: Sat,
    /// For how long the node may look for routes.
    pub within: Duration,
}

/// The answer to the call that begins a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayAnswer {
    /// The payment is under way, or was before.
    Begun,
    /// Nothing is under way; later it may be possible.
    NotNow,
    /// Nothing is under way, nor will be.
    Never,
}

/// The state of a payment that the node remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentProgress {
    /// The payment may still succeed.
    UnderWay,
    /// The payment succeeded, or failed and nothing of it is tried any more.
    Over,
}

/// The end of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentEnd {
    /// The payee took it: the node has the preimage.
    Paid,
    /// All that was sent of it came back.
    Returned,
    /// Nothing was sent: no invoice came for the offer in time.
    NoInvoice,
    /// Nothing was sent, nor will be.
    NotSent,
}

/// A setting of the node without which payments would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's setting `{setting}` has to be {value}: {why}")]
pub struct SettingMissing {
    /// The name of the setting.
    pub setting: &'static str,
    /// The value that it has to have.
    pub value: &'static str,
    /// The consequence of any other value.
    pub why: &'static str,
}

/// Connects to peers. The host calls it from the wallet's task and from tasks of callers.
pub trait Connect: Send + Sync {
    /// Connects, and keeps the connection going by other means than the future, which may return before the peers have
    /// shaken hands: the wallet waits for that. `false`: the peer cannot be reached.
    fn connect(&self, peer: PeerId, address: &str) -> Connecting;
}

/// The future of [`Connect::connect`].
pub type Connecting = Pin<Box<dyn Future<Output = bool> + Send>>;

//! Inputs: what the host reports to the service. They are plain data, so a recorded log of inputs replays to the same
//! state.

use alloc::{string::String, vec::Vec};

use lsps_types::{BlockHeight, FeeRate, Msat, OutPoint, PaymentHash, PeerId, Preimage, Sat, Scid, Timestamp};
use serde::{Deserialize, Serialize};

use crate::decisions::Decision;
use crate::effect::PostKey;
use crate::ids::{BookKey, ChannelId, ChannelKey, DecisionId, OfferId, OrderNumber, PartId, PaymentId, RefundKey};
use crate::lsps5::wake_reason::WakeReason;
use crate::policy::NodeFacts;

/// One report of the host: an event at the node, the wallet or a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A peer connected. Messages reach it; its channels may not be usable yet.
    PeerConnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer disconnected. Messages that were being sent to it are lost.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
    },
    /// The channels with a connected peer are usable now. An HTLC forwarded before that is lost.
    ChannelsUsable {
        /// The peer.
        peer: PeerId,
    },
    /// The payload of a message of type 37913.
    Message {
        /// Sender, as BOLT 8 authenticated it.
        peer: PeerId,
        /// Bytes after the message type.
        payload: Vec<u8>,
    },
    /// The node holds an HTLC whose next hop is an SCID that is not a channel of its own.
    ///
    /// The host may report the same HTLC again, for instance after a restart.
    HtlcHeld(HeldHtlc),
    /// The node no longer holds a part although nobody asked it to fail or forward it: the HTLC timed out, or its
    /// channel closed.
    PartGone {
        /// The part.
        part: PartId,
    },
    /// The node holds a part that is not on record as held. The host reports it after a restart, for each part; or
    /// because the node was not asked to forward it, as the client's channels are not usable at the moment.
    ///
    /// The held HTLC need not be the one on record: an upstream node can send the same onion again, with other values.
    PartStillHeld {
        /// The part.
        part: PartId,
        /// Amount of the held HTLC, as the node reports it.
        amount_in: Msat,
    },
    /// Whether the node shows an HTLC like a forwarded part on its way to the client, or undecided there. If it shows
    /// none, the part was never sent, or its outcome is about to be reported. Until this report, a forwarded part
    /// counts as at the client, and a claimed one as gone. If the node shows more such HTLCs than were forwarded, it
    /// has forgotten a claim and will report that again.
    ///
    /// Report it before [`HtlcHeld`](Self::HtlcHeld) for the parts with the same payment hash or id, before
    /// [`PartStillHeld`](Self::PartStillHeld), and after a start, if it differs from
    /// [`KnownPart::in_doubt`](crate::KnownPart). Just before [`PartForwarded`](Self::PartForwarded), report it for
    /// each part in [`parts_like`](crate::Service::parts_like).
    PartAtClient {
        /// The part.
        part: PartId,
        /// Whether the node shows such an HTLC.
        is_there: bool,
    },
    /// The node refused to forward a part and still holds it.
    ForwardRefused {
        /// The part.
        part: PartId,
    },
    /// The client claimed a forwarded part. Afterwards the host checks whether the client in
    /// [`has_another_like`](crate::Service::has_another_like) still has its part.
    PartForwarded {
        /// The part, as precisely as the node reports it.
        part: WhichPart,
        /// Channel that the part was forwarded over, if it belongs to a flow: a node may use any channel of the client.
        over: Option<ChannelKey>,
    },
    /// A part was failed: by the LSP, by the client, or on the way to it.
    PartFailed {
        /// The part.
        part: PartId,
    },
    /// The node neither holds nor forwards a part that was sent, and the host presumes that it failed. The payer may
    /// try again, and a claim that is reported later still counts. The channel over which it may have been sent is not
    /// abandoned before such a claim has become impossible ([`Config::keep_resolved`](crate::Config::keep_resolved)).
    PartPresumedFailed {
        /// The part.
        part: PartId,
    },
    /// The node has reported all events that it had when the host compared the records with it. The service needs this
    /// once after each start with records: before it, no outcome is dropped and no signed channel abandoned.
    NodeCaughtUp,
    /// The node was asked to open a channel. The client has [`Config::open_timeout`](crate::Config::open_timeout) from
    /// this time, even if the store or a queue delayed the call. Without this report the time counts from the decision.
    ChannelAsked {
        /// Key of the channel.
        key: ChannelKey,
    },
    /// The client accepted the channel; the node waits for its funding transaction.
    ChannelNegotiated {
        /// Key of the channel.
        key: ChannelKey,
        /// `to_self_delay` that the client asks for, in blocks, if the node reports it and did not check it.
        to_self_delay: Option<u16>,
        /// Output to fund.
        output: FundingOutput,
    },
    /// The wallet built the funding transaction and reserved its inputs.
    FundingBuilt {
        /// Key of the channel.
        key: ChannelKey,
        /// Signed transaction in consensus encoding.
        tx: Vec<u8>,
        /// On-chain fee of the transaction, in satoshis.
        mining_sat: u64,
        /// Funding output of the channel.
        outpoint: OutPoint,
    },
    /// Both sides signed. Broadcasting the funding transaction is safe now.
    ChannelPending {
        /// Key of the channel.
        key: ChannelKey,
    },
    /// Both sides sent `channel_ready`.
    ChannelReady {
        /// Key of the channel.
        key: ChannelKey,
        /// Channel id that the node gave to the channel.
        channel_id: ChannelId,
    },
    /// A channel could not be opened, or was closed.
    ChannelEnded {
        /// Key of the channel.
        key: ChannelKey,
        /// Reason.
        why: ChannelEnd,
    },
    /// [`Effect::AbandonChannel`](crate::Effect::AbandonChannel) was executed, or there was nothing left to do.
    ChannelAbandoned {
        /// Key of the channel.
        key: ChannelKey,
    },
    /// The funding transaction is confirmed deeply enough not to be reorganised; usually six blocks.
    FundingConfirmed {
        /// Key of the channel.
        key: ChannelKey,
    },
    /// The payment methods of an order were created.
    OrderPrepared {
        /// The order.
        order: OrderNumber,
        /// The payment methods that could be created.
        prepared: Prepared,
    },
    /// The node holds a payment for an invoice or an offer. The host may report it again, for instance after a restart.
    PaymentHeld(HeldPayment),
    /// The node claimed a payment.
    PaymentClaimed {
        /// Payment hash of the payment.
        payment_hash: PaymentHash,
        /// Id that the node gave to the payment; `None` if the node reports none.
        id: Option<PaymentId>,
        /// Amount received.
        amount: Msat,
    },
    /// The node no longer holds a payment: it was failed on request, or because of its expiry.
    ///
    /// Report this only for a payment that the node surely does not hold. The failure of *some* HTLC with this hash
    /// proves nothing, as everybody on the route knows the hash and can send such HTLCs.
    PaymentGone {
        /// Payment hash of the payment.
        payment_hash: PaymentHash,
    },
    /// An output to the address of an order was seen, was confirmed, or lost its confirmation in a reorganisation.
    Deposit(Deposit),
    /// A deposit can never confirm: another transaction spends the same inputs.
    DepositGone {
        /// Address of the deposit.
        address: String,
        /// Outpoint of the deposit.
        outpoint: OutPoint,
    },
    /// [`Effect::KeepDeposit`](crate::Effect::KeepDeposit) was executed.
    DepositKept {
        /// The order.
        order: OrderNumber,
        /// Outpoint of the deposit.
        outpoint: OutPoint,
    },
    /// The wallet built and signed a refund.
    RefundBuilt {
        /// Key of the refund.
        key: RefundKey,
        /// Signed transaction in consensus encoding.
        tx: Vec<u8>,
        /// On-chain fee of the transaction, in satoshis.
        mining_sat: u64,
    },
    /// A refund would cost more than the value of its deposits.
    RefundImpossible {
        /// Key of the refund.
        key: RefundKey,
    },
    /// A refund is confirmed deeply enough not to be reorganised; usually six blocks.
    RefundConfirmed {
        /// Key of the refund.
        key: RefundKey,
    },
    /// The operator cancels an order whose channel is not published. Payments for it are refunded.
    CancelOrder {
        /// The order.
        order: OrderNumber,
    },
    /// The operator asks for an immediate retry of an open that failed.
    RetryOrder {
        /// The order.
        order: OrderNumber,
    },
    /// An entry was written to the book.
    Booked {
        /// Key of the entry.
        key: BookKey,
    },
    /// A decision that the policy had left to others was taken.
    Decided {
        /// Id of the pending decision.
        id: DecisionId,
        /// The decision.
        decision: Decision,
    },
    /// Facts of the node changed; report them with every block at least.
    NodeFacts(NodeFacts),
    /// The host's clock was set, forward or back, by more than some seconds; a monotonic clock shows this. Waits keep
    /// their length, dates come earlier or later. Without this input a clock that is set back makes waits up to twice
    /// as long, and one that is set forward ends them.
    ClockSet {
        /// Time that the clock would show if it had not been set.
        from: Timestamp,
        /// Time that the clock shows.
        to: Timestamp,
    },
    /// Time passed. Send this when [`Service::next_wake`](crate::Service::next_wake) is due and nothing else happens.
    Tick,
    /// Whether the node has any channel with a peer, whose webhooks are kept for as long as it has, and a while after.
    /// Report it when it changes, and at the start for all peers with channels and for all in
    /// [`clients_with_channels`](crate::Service::clients_with_channels).
    ChannelsWith {
        /// The peer.
        peer: PeerId,
        /// Whether the node has a channel with the peer.
        any: bool,
    },
    /// A client should connect. The service notifies its webhooks if the client is absent and was not notified of the
    /// same lately.
    WakeUp {
        /// The client.
        peer: PeerId,
        /// Reason of the call.
        reason: WakeReason,
    },
    /// A notification was delivered: the webhook's server answered with status 200.
    WebhookDelivered {
        /// Key of the post.
        key: PostKey,
    },
    /// The webhook's server answered a notification with another status, so it will not be delivered. The webhook stays
    /// registered.
    WebhookFailed {
        /// Key of the post.
        key: PostKey,
    },
    /// A notification got no answer, and the host will not post it again: the webhook's server was unreachable, or too
    /// many notifications were queued. The service may raise it again.
    WebhookUnreached {
        /// Key of the post.
        key: PostKey,
    },
    /// A channel that is to be abandoned by [`Effect::AbandonChannel`](crate::Effect::AbandonChannel) has an HTLC of
    /// its client on it, so it cannot be abandoned yet. If the order is paid, the channel is kept.
    ChannelCarries {
        /// Key of the channel.
        key: ChannelKey,
    },
}

/// HTLC that the node holds until it is forwarded or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldHtlc {
    /// Id of the HTLC, which survives restarts. LDK: the intercept id.
    pub part: PartId,
    /// SCID of the next hop in the onion.
    pub scid: Scid,
    /// Payment hash.
    pub payment_hash: PaymentHash,
    /// Amount of the incoming HTLC.
    pub amount_in: Msat,
    /// Amount to forward according to the onion.
    pub onion_amount: Msat,
    /// Height at which the incoming HTLC expires, if the node reports it.
    pub cltv_expiry: Option<BlockHeight>,
}

/// Payment methods that the node and the wallet created for an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// BOLT 11 invoice.
    pub invoice: Option<String>,
    /// BOLT 12 offer, and its id at the node.
    pub offer: Option<(String, OfferId)>,
    /// On-chain address.
    pub address: Option<String>,
}

/// Payment that the node holds: all its HTLCs have arrived, and none is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPayment {
    /// Invoice or offer that the payment pays.
    pub by: PaidBy,
    /// Payment hash.
    pub payment_hash: PaymentHash,
    /// Id that the node gave to the payment; `None` if the node reports none.
    pub id: Option<PaymentId>,
    /// Whether the node would claim the payment. A node refuses to if the onion contains required fields that it does
    /// not know; LDK: custom TLVs of even types.
    pub claimable: bool,
    /// Preimage of the payment, if the node created it.
    pub preimage: Option<Preimage>,
    /// Sum of its HTLCs.
    pub amount: Msat,
    /// Height before which the node can claim it, if the node reports it.
    pub claim_before: Option<BlockHeight>,
}

/// Invoice or offer that a payment pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaidBy {
    /// The invoice with the payment's hash.
    Invoice,
    /// A BOLT 12 offer.
    Offer(OfferId),
}

/// Output to the address of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// Address of the order.
    pub address: String,
    /// Outpoint.
    pub outpoint: OutPoint,
    /// Value.
    pub amount: Sat,
    /// Height of the block that contains it; `None` if it is unconfirmed.
    pub confirmed_at: Option<BlockHeight>,
    /// Feerate of its transaction, if known.
    pub fee_rate: Option<FeeRate>,
}

/// Reference to a part, as precise as the node reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhichPart {
    /// The part with this id.
    Id(PartId),
    /// A part that sent this amount to this client; LDK reports no payment hash. A part matches only if all given
    /// values agree, since the client may claim other HTLCs that look alike.
    Sent {
        /// Node id of the next hop.
        to: PeerId,
        /// Amount that the next hop received; for an on-chain claim, rounded down to whole satoshis.
        amount: Msat,
        /// Amount of the incoming HTLC, if the node reports it. LDK: the amount and the total fee.
        amount_in: Option<Msat>,
        /// Amount that was kept of the amount to forward according to the onion, if the node reports it and it is not
        /// zero.
        skim: Option<Msat>,
    },
}

/// Output that a funding transaction has to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundingOutput {
    /// Script in raw bytes.
    pub script: Vec<u8>,
    /// Value in satoshis.
    pub value_sat: u64,
}

/// Reason for which an open failed or a channel closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelEnd {
    /// The client refused the open.
    Rejected,
    /// The client disconnected before `funding_signed`.
    PeerGone,
    /// The channel was open and was closed, by either side.
    Closed,
    /// The LSP's node could not open the channel now, for example for lack of coins; with its error text.
    CannotOpen(String),
    /// The LSP's node ended the open and wants to retry at once, for example to change a batch.
    TryAgain,
}

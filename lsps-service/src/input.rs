//! What the host tells the service. Plain data: a recorded log of inputs replays to the same state.

use alloc::{string::String, vec::Vec};

use lsps_types::{BlockHeight, FeeRate, Msat, OutPoint, PaymentHash, PeerId, Preimage, Sat, Scid, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effect::PostKey;
use crate::ids::{BookKey, ChannelId, ChannelKey, OfferId, OrderNumber, PartId, PaymentId, QuestionId, RefundKey};
use crate::lsps5::occasion::Occasion;
use crate::policy::NodeFacts;
use crate::questions::Decision;

/// One thing that happened, in the world or at the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A peer is connected; messages reach it, its channels may not be usable yet.
    PeerConnected {
        /// Who.
        peer: PeerId,
    },
    /// A peer is gone. Whatever was being sent to it is lost.
    PeerDisconnected {
        /// Who.
        peer: PeerId,
    },
    /// The channels with a connected peer carry HTLCs now. Forwarding before that loses the HTLC.
    ChannelsUsable {
        /// Who.
        peer: PeerId,
    },
    /// The payload of a message of type 37913.
    Message {
        /// The sender, as BOLT 8 authenticated it.
        peer: PeerId,
        /// The bytes after the message type.
        payload: Vec<u8>,
    },
    /// The node holds an HTLC whose next hop is an SCID that is no channel of its own.
    ///
    /// May be told again, for instance after a restart.
    HtlcHeld(HeldHtlc),
    /// The node no longer holds a part, and nobody asked it to let go: it timed out, or its channel closed.
    PartGone {
        /// The part.
        part: PartId,
    },
    /// The node holds a part of which the record says otherwise: after a restart, asked part by part; or because it was not
    /// asked to forward it, as the client's channels are not usable at the moment.
    ///
    /// The held HTLC need not be the one on record: an upstream node can send the same onion again, with other values.
    PartStillHeld {
        /// The part.
        part: PartId,
        /// The amount that came in with the held HTLC, as the node tells it.
        amount_in: Msat,
    },
    /// Whether the node shows an HTLC like a forwarded part on its way to the client, or undecided there. Where it shows
    /// none, the part was never sent, or its outcome is about to be told. Until this is told, a forwarded part counts as
    /// there, and one that was claimed as gone: if the node shows more HTLCs like those that were forwarded than there are,
    /// it has forgotten a claim, and that is told again.
    ///
    /// Told before [`HtlcHeld`](Self::HtlcHeld) of the parts with the same payment hash or name, before
    /// [`PartStillHeld`](Self::PartStillHeld), and after a start, where it differs from
    /// [`KnownPart::in_doubt`](crate::KnownPart). Just before [`PartForwarded`](Self::PartForwarded) it is told of each part
    /// that [`parts_like`](crate::Service::parts_like) names.
    PartAtClient {
        /// The part.
        part: PartId,
        /// Whether there is one.
        is_there: bool,
    },
    /// The node refused to forward a part and still holds it.
    ForwardRefused {
        /// The part.
        part: PartId,
    },
    /// The client claimed a forwarded part. Afterwards the host looks whether the client still has the part of which
    /// [`has_another_like`](crate::Service::has_another_like) speaks.
    PartForwarded {
        /// Which, as precisely as the node can tell.
        part: WhichPart,
        /// The channel it went over, where that is one of ours: a node may use any channel of the client.
        over: Option<ChannelKey>,
    },
    /// A part was failed back: as we asked, by the client, or on the way to it.
    PartFailed {
        /// The part.
        part: PartId,
    },
    /// The node neither holds nor carries a part that was sent, and whoever says so had to guess what became of it: it
    /// seems to have failed. Its payer may try again, and a claim that is told later still counts. The channel it may have
    /// gone over is not given up until no such claim can come any more
    /// ([`Config::keep_resolved`](crate::Config::keep_resolved)).
    PartPresumedFailed {
        /// The part.
        part: PartId,
    },
    /// The node has told all events that it had when the host compared the records with it. Needed once after each start at
    /// which records were loaded: before that no outcome is forgotten, and no signed channel is given up.
    NodeCaughtUp,
    /// The node was asked to open a channel. Its client has [`Config::open_timeout`](crate::Config::open_timeout) from then
    /// on, also where the store or a crowd kept the host from asking at once. A host that does not tell it counts from the
    /// decision.
    ChannelAsked {
        /// The channel.
        key: ChannelKey,
    },
    /// The client accepted the channel; the node waits for its funding transaction.
    ChannelNegotiated {
        /// The channel.
        key: ChannelKey,
        /// The delay the client asks for, in blocks, if the node tells it and did not check it itself.
        to_self_delay: Option<u16>,
        /// The output to fund.
        output: FundingOutput,
    },
    /// The wallet built the funding transaction that was asked for, and reserved its inputs.
    FundingBuilt {
        /// For which channel.
        key: ChannelKey,
        /// The signed transaction in consensus encoding.
        tx: Vec<u8>,
        /// What it pays to the miners, in satoshis.
        mining_sat: u64,
        /// Its output that is the channel.
        outpoint: OutPoint,
    },
    /// Both sides signed: broadcasting the funding transaction is safe.
    ChannelPending {
        /// The channel.
        key: ChannelKey,
    },
    /// Both sides sent `channel_ready`.
    ChannelReady {
        /// The channel.
        key: ChannelKey,
        /// The node's own name for it.
        channel_id: ChannelId,
    },
    /// A channel could not be opened, or is no more.
    ChannelEnded {
        /// The channel.
        key: ChannelKey,
        /// Why.
        why: ChannelEnd,
    },
    /// [`Effect::AbandonChannel`](crate::Effect::AbandonChannel) was carried out, or there was nothing to do any more.
    ChannelAbandoned {
        /// The channel.
        key: ChannelKey,
    },
    /// The funding transaction is so deep in the chain that it stays there; six blocks, usually.
    FundingConfirmed {
        /// For which channel.
        key: ChannelKey,
    },
    /// What an order can be paid with is there.
    OrderPrepared {
        /// Which order.
        order: OrderNumber,
        /// As far as it could be made.
        prepared: Prepared,
    },
    /// The node holds a payment for an invoice or an offer. May be told again, for instance after a restart.
    PaymentHeld(HeldPayment),
    /// A payment that was to be claimed is claimed.
    PaymentClaimed {
        /// The payment.
        payment_hash: PaymentHash,
        /// The node's id of the payment, of those with this hash; `None`: the node tells none.
        id: Option<PaymentId>,
        /// What was received.
        amount: Msat,
    },
    /// The node no longer holds a payment: it was failed back, as we asked or because its time was up.
    ///
    /// Only for what the node surely does not hold: that *some* HTLC of this hash failed says nothing, as everybody on the
    /// route knows the hash and can send such HTLCs.
    PaymentGone {
        /// The payment.
        payment_hash: PaymentHash,
    },
    /// An output to the address of an order was seen, is in a block, or is in none any more.
    Deposit(Deposit),
    /// Such an output will never be in a block: another transaction spends the same.
    DepositGone {
        /// To which address.
        address: String,
        /// The output.
        outpoint: OutPoint,
    },
    /// [`Effect::KeepDeposit`](crate::Effect::KeepDeposit) was carried out.
    DepositKept {
        /// Of which order.
        order: OrderNumber,
        /// Which output.
        outpoint: OutPoint,
    },
    /// The refund that was asked for is signed.
    RefundBuilt {
        /// The refund.
        key: RefundKey,
        /// The signed transaction in consensus encoding.
        tx: Vec<u8>,
        /// What it pays to the miners, in satoshis.
        mining_sat: u64,
    },
    /// A refund would cost more than it gives back.
    RefundImpossible {
        /// The refund.
        key: RefundKey,
    },
    /// A refund is so deep in the chain that it stays there; six blocks, usually.
    RefundConfirmed {
        /// The refund.
        key: RefundKey,
    },
    /// The operator cancels an order whose channel is not published; what was paid goes back.
    CancelOrder {
        /// The order.
        order: OrderNumber,
    },
    /// The operator has a channel that could not be opened tried again at once.
    RetryOrder {
        /// Of which order.
        order: OrderNumber,
    },
    /// An entry is in the book.
    Booked {
        /// The entry of the book.
        key: BookKey,
    },
    /// What was decided of a question that the policy left to others.
    Decided {
        /// The question.
        question: QuestionId,
        /// The answer.
        decision: Decision,
    },
    /// The node's own circumstances changed; tell it at every block at the least.
    NodeFacts(NodeFacts),
    /// The host's clock was set, forward or back, by more than some seconds; as a clock shows that cannot be set. Waits are
    /// no shorter and no longer for it, dates come earlier or later. Without this input a clock set back makes waits up to
    /// twice as long, and one set forward ends them.
    ClockSet {
        /// The time that the clock would show if it had not been set.
        from: Timestamp,
        /// The time that the clock shows.
        to: Timestamp,
    },
    /// Time passed; needed when [`Service::next_wake`](crate::Service::next_wake) is due and nothing else happens.
    Tick,
    /// Whether the node has any channel with a peer: its webhooks are kept for as long, and a while after. Told when that
    /// changes, and at the start of all peers with channels and of all in
    /// [`clients_with_channels`](crate::Service::clients_with_channels).
    ChannelsWith {
        /// Who.
        peer: PeerId,
        /// Whether there is any.
        any: bool,
    },
    /// A client should come. It is called by its webhooks, if it has any, is away, and was not called for the same lately.
    Occasion {
        /// Who.
        peer: PeerId,
        /// Why.
        occasion: Occasion,
    },
    /// A notification was delivered: the webhook answered with status 200.
    WebhookDelivered {
        /// The notification.
        key: PostKey,
    },
    /// A notification was answered with another status, so it will not be delivered. The webhook is kept.
    WebhookFailed {
        /// The notification.
        key: PostKey,
    },
    /// A notification got no answer at all, and will not be posted again by the host: the webhook's server could not be
    /// reached, or too many notifications wait. The service may raise it again.
    WebhookUnreached {
        /// The post.
        key: PostKey,
    },
    /// A channel that is to be given up, [`Effect::AbandonChannel`](crate::Effect::AbandonChannel), carries something of its
    /// client, so that it cannot be yet. Whoever paid for it has it.
    ChannelCarries {
        /// The channel.
        key: ChannelKey,
    },
}

/// An HTLC that waits for a decision at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldHtlc {
    /// The node's name for it; the same across restarts. LDK: the intercept id.
    pub part: PartId,
    /// The next hop its onion names.
    pub scid: Scid,
    /// What it pays for.
    pub payment_hash: PaymentHash,
    /// What came in.
    pub amount_in: Msat,
    /// What its onion asks to forward.
    pub onion_amount: Msat,
    /// The block at which the incoming HTLC times out, where the node tells it.
    pub cltv_expiry: Option<BlockHeight>,
}

/// What an order can be paid with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// A BOLT 11 invoice.
    pub invoice: Option<String>,
    /// A BOLT 12 offer, and the node's name of it.
    pub offer: Option<(String, OfferId)>,
    /// An address.
    pub address: Option<String>,
}

/// A payment that the node holds: all HTLCs of it are there, and nothing is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPayment {
    /// What it pays for.
    pub by: PaidBy,
    /// Its hash.
    pub payment_hash: PaymentHash,
    /// The node's id of the payment, of those with this hash; `None`: the node tells none.
    pub id: Option<PaymentId>,
    /// Whether the node would claim it as it is. A node refuses what its onion says and it does not understand; LDK: custom
    /// TLVs of even types.
    pub claimable: bool,
    /// What claims it, where the node made that.
    pub preimage: Option<Preimage>,
    /// The sum of its HTLCs.
    pub amount: Msat,
    /// The node can claim it before this height, where it tells.
    pub claim_before: Option<BlockHeight>,
}

/// What a payment was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaidBy {
    /// The invoice with its hash.
    Invoice,
    /// An offer.
    Offer(OfferId),
}

/// An output to the address of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// The address.
    pub address: String,
    /// The output.
    pub outpoint: OutPoint,
    /// What it is worth.
    pub amount: Sat,
    /// The block it is in, if it is in one.
    pub confirmed_at: Option<BlockHeight>,
    /// Of its transaction, where it is known.
    pub fee_rate: Option<FeeRate>,
}

/// How precisely a node can say which part it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhichPart {
    /// This one.
    Id(PartId),
    /// One that carried this amount to this client; LDK reports no payment. A part is meant only if all agrees that is told
    /// here: what else the client claims may look alike.
    Sent {
        /// The next hop.
        to: PeerId,
        /// The amount that the next hop received; where it claimed on the chain, rounded down to whole satoshis.
        amount: Msat,
        /// The amount that came in for it, where the node tells that. LDK: the amount and the total fee.
        amount_in: Option<Msat>,
        /// The part of the amount its onion asks to forward that was kept, where the node tells that and it is not
        /// nothing.
        skim: Option<Msat>,
    },
}

/// The output that a funding transaction has to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundingOutput {
    /// The script in raw bytes.
    pub script: Vec<u8>,
    /// Satoshis.
    pub value_sat: u64,
}

/// Why a channel did not come to be, or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelEnd {
    /// The client refused to open it.
    Rejected,
    /// The client went away before `funding_signed`.
    PeerGone,
    /// It was open and closed, by either side.
    Closed,
    /// Our own side could not open it now; what it said. For example the coins do not suffice.
    CannotOpen(String),
    /// Our own side ended it and wants to open anew at once, for example to change a batch.
    TryAgain,
}

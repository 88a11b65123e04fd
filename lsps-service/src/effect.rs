//! Effects: calls that the service asks the host to make. They follow from the state of the flows, so they are repeated
//! after a restart.

use alloc::{string::String, vec::Vec};

use lsps_types::bolt4::FailureCode;
use lsps_types::lsps5::WebhookUrl;
use lsps_types::{Blocks, DateTime, Msat, OutPoint, PaymentHash, PeerId, Ppm, Preimage, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::book::BookEntry;
use crate::ids::{BookKey, ChannelId, ChannelKey, FlowId, OrderNumber, PartId, RefundKey};
use crate::input::FundingOutput;

/// Call that the host has to make for a flow; it is outstanding until an [`Input`](crate::Input) reports its result.
/// Each variant says why a repetition does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Open a channel with SCID alias on these terms, and store `key` with it.
    ///
    /// Answers: `ChannelNegotiated`, or `ChannelEnded`. Safe twice: look for a channel with this key first.
    OpenChannel {
        /// Key under which the node stores the channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// Terms of the channel.
        terms: OpenTerms,
    },
    /// Build and sign the funding transaction without broadcasting it, and reserve its inputs.
    ///
    /// Answers: `FundingBuilt` or `ChannelEnded`. Safe twice: the wallet returns the same transaction for the same key.
    FundChannel {
        /// Key of the channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// Output to fund.
        output: FundingOutput,
        /// Blocks within which the transaction has to confirm, if that was agreed; otherwise soon.
        confirm_within: Option<Blocks>,
    },
    /// Give the funding transaction to the node, which must not broadcast it by itself.
    ///
    /// Answers: `ChannelPending` or `ChannelEnded`. Safe twice: the node refuses a second one.
    HandFunding {
        /// Key of the channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// The signed transaction.
        tx: Vec<u8>,
    },
    /// Broadcast the funding transaction, and repeat that until it is confirmed.
    ///
    /// Answer: `FundingConfirmed`. Safe twice: the transaction is the same.
    BroadcastFunding {
        /// Key of the channel.
        key: ChannelKey,
        /// The signed transaction.
        tx: Vec<u8>,
        /// Number of this request, from 1. From 2 on the transaction is stuck unless it is in a block already: raise
        /// its fee if possible, and tell the operator.
        ask: u32,
    },
    /// Close a channel whose funding was not broadcast, if the node still has it, then release the inputs.
    ///
    /// Answer: `ChannelAbandoned`. Safe twice: after the first answer there is nothing left to do.
    AbandonChannel {
        /// Key of the channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// Funding transaction whose inputs are reserved.
        tx: Option<Vec<u8>>,
    },
    /// Let a channel forward other payments to the client at the node's usual price. The channel was opened with
    /// [`OpenTerms::carries_others`] unset, and is now paid for, or was published anyway.
    ///
    /// No answer; the effect is repeated after each start. Safe twice: it is a setting.
    CarryOthers {
        /// Key of the channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
    },
    /// Forward a held part over the client's channel, if that is usable.
    ///
    /// Answers: `PartForwarded`, `PartFailed`, `ForwardRefused` or `PartGone`; `PartStillHeld` if the node holds the
    /// part and the channel is not usable. Safe twice: a node refuses a part that it no longer holds, and the amount is
    /// the recorded one.
    ForwardPart {
        /// The part.
        part: PartId,
        /// Payment hash of the part.
        payment_hash: PaymentHash,
        /// Key of the channel that was opened for the payment.
        key: ChannelKey,
        /// Channel id that the node gave to that channel.
        channel_id: ChannelId,
        /// The client.
        peer: PeerId,
        /// Amount that the client receives.
        amount: Msat,
        /// Fee that is kept and announced to the client as `extra_fee`; zero if nothing is announced.
        extra_fee: Msat,
        /// Number of this request, from 1.
        ask: u32,
    },
    /// Fail a held part.
    ///
    /// Answer: `PartFailed` (or `PartGone`). Safe twice: as for forwarding.
    FailPart {
        /// The part.
        part: PartId,
        /// Failure that the payer receives.
        code: FailureCode,
        /// Number of this request, from 1.
        ask: u32,
    },
    /// Wake the client, since a payment waits for it. If the client registered webhooks, LSPS5 notifications do that.
    ///
    /// No answer; the effect ends when the client connects or the payment is failed. Safe twice: a client that is awake
    /// connects.
    WakeClient {
        /// Flow whose payment waits.
        flow: FlowId,
        /// The client.
        peer: PeerId,
        /// Time at which the payment will be failed.
        until: Timestamp,
        /// Number of this call, from 1.
        call: u32,
    },
    /// Create the payment methods of an order: a hold invoice with this hash, an offer, and an address of the wallet
    /// that is watched from now on. The answer leaves out what cannot be created.
    ///
    /// Answer: `OrderPrepared`. Safe twice: results of the first call were never given to a client.
    PrepareOrder {
        /// The order.
        order: OrderNumber,
        /// Payment hash and terms of the invoice, if one is wanted.
        invoice: Option<(PaymentHash, PaymentTerms)>,
        /// Terms of the offer, if one is wanted.
        offer: Option<PaymentTerms>,
        /// Whether an address is wanted.
        address: bool,
    },
    /// Claim a held payment; its channel is published.
    ///
    /// Answers: `PaymentClaimed` or `PaymentGone`. Safe twice: a node claims a payment once.
    ClaimPayment {
        /// The order.
        order: OrderNumber,
        /// Payment hash of the payment.
        payment_hash: PaymentHash,
        /// Preimage that claims the payment.
        preimage: Preimage,
        /// Number of this request, from 1.
        ask: u32,
    },
    /// Fail a held payment back.
    ///
    /// Answer: `PaymentGone`. Safe twice: a node that does not hold the payment does nothing.
    FailPayment {
        /// The order.
        order: OrderNumber,
        /// Payment hash of the payment.
        payment_hash: PaymentHash,
        /// Number of this request, from 1.
        ask: u32,
    },
    /// Allow the wallet to spend this deposit: it paid for a channel, or is too small to refund.
    ///
    /// Answer: `DepositKept`. Safe twice: it is a setting.
    KeepDeposit {
        /// The order.
        order: OrderNumber,
        /// Outpoint of the deposit.
        outpoint: OutPoint,
        /// Value of the deposit.
        amount: Sat,
    },
    /// Build and sign a transaction that spends exactly these deposits to this address, less a reasonable fee, without
    /// broadcasting it.
    ///
    /// Answers: `RefundBuilt`, or `RefundImpossible` if the fee would leave nothing to pay out. Safe twice: outputs are
    /// spent once.
    BuildRefund {
        /// Key of the refund.
        key: RefundKey,
        /// Address that receives the refund.
        to: String,
        /// Deposits to refund, with their values.
        deposits: Vec<(OutPoint, Sat)>,
    },
    /// Broadcast a refund, and repeat that until it is confirmed.
    ///
    /// Answer: `RefundConfirmed`. Safe twice: the transaction is the same.
    BroadcastRefund {
        /// Key of the refund.
        key: RefundKey,
        /// The signed transaction.
        tx: Vec<u8>,
        /// Number of this request, from 1. From 2 on the refund has been unconfirmed for six hours: raise its fee.
        ask: u32,
    },
    /// Write an entry into the operator's book.
    ///
    /// Answer: `Booked`. Safe twice: the entry of a key never changes.
    Book {
        /// Key of the entry.
        key: BookKey,
        /// Content of the entry.
        entry: BookEntry,
    },
    /// Sign this notification with the node's key and post it: exactly these bytes, and the timestamp, which is signed
    /// too.
    ///
    /// Answers: `WebhookDelivered`, `WebhookFailed` or `WebhookUnreached`; without an answer the effect ends at
    /// `until`. [`Released::withdrawn`](crate::Released::withdrawn) cancels it. Safe twice: the receiver sees a replay.
    PostWebhook {
        /// Key of the post.
        key: PostKey,
        /// URL to post to. The host has to check the address to which it resolves.
        url: WebhookUrl,
        /// The body.
        body: String,
        /// Time at which the notification was raised.
        timestamp: DateTime,
        /// Time from which the notification is worthless.
        until: Timestamp,
        /// Urgency among other notifications.
        urgency: Urgency,
    },
}

/// Loss that a late notification causes: when there is a lack of room, less urgent ones are dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Urgency {
    /// Confirmation of a registration. Anybody can cause any number of these.
    Registration,
    /// All other notifications.
    Normal,
    /// Notification of a payment that waits, or of a channel that is about to be closed.
    High,
}

/// One post to one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PostKey {
    /// Client whose webhook is posted to.
    pub client: PeerId,
    /// Number of the post, from 0 for each client.
    pub number: u32,
}

/// Terms on which a channel is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTerms {
    /// Value of the funding output, in satoshis.
    pub capacity_sat: u64,
    /// Amount that the channel has to deliver to the client at once, on top of reserves and commitment fees.
    pub deliver: Msat,
    /// Share of the channel that the client has to keep as its reserve, for nodes that let one choose.
    pub client_reserve: Ppm,
    /// Largest `to_self_delay`, in blocks, that the client may ask for.
    pub max_client_to_self_delay: Option<u32>,
    /// Initial balance of the client.
    pub push: Msat,
    /// Whether the channel is announced to the network.
    pub announce: bool,
    /// Confirmations before the channel is used; 0 means at once.
    pub confirmations: u16,
    /// Blocks within which the funding has to confirm, if that was agreed; otherwise soon.
    pub confirm_within: Option<Blocks>,
    /// Whether the channel forwards other payments to the client from the beginning. If not, set the price of forwards
    /// over it out of reach until [`Effect::CarryOthers`]: a claim over it would make the LSP publish the funding
    /// before anybody has paid for it. Channels of orders are opened this way, and JIT channels whose client trusts the
    /// LSP.
    pub carries_others: bool,
}

/// Terms of an invoice or an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentTerms {
    /// Exact amount.
    pub amount: Msat,
    /// Time from which it cannot be paid.
    pub expires_at: Timestamp,
    /// Blocks that have to be left until the last HTLC expires when it arrives, so that it can be held long enough.
    pub final_cltv: Blocks,
}

/// Identity of an effect: equal for two requests of the same call. A new attempt has a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKey {
    /// See [`Effect::OpenChannel`].
    Open(ChannelKey),
    /// See [`Effect::FundChannel`].
    Fund(ChannelKey),
    /// See [`Effect::HandFunding`].
    Hand(ChannelKey),
    /// See [`Effect::BroadcastFunding`].
    Broadcast(ChannelKey, u32),
    /// See [`Effect::AbandonChannel`].
    Abandon(ChannelKey),
    /// See [`Effect::CarryOthers`].
    CarryOthers(ChannelKey),
    /// See [`Effect::ForwardPart`].
    Forward(PartId, u32),
    /// See [`Effect::FailPart`].
    Fail(PartId, u32),
    /// See [`Effect::WakeClient`].
    Wake(FlowId, u32),
    /// See [`Effect::PrepareOrder`].
    Prepare(OrderNumber),
    /// See [`Effect::ClaimPayment`].
    Claim(OrderNumber, PaymentHash, u32),
    /// See [`Effect::FailPayment`].
    FailPayment(OrderNumber, PaymentHash, u32),
    /// See [`Effect::KeepDeposit`].
    Keep(OrderNumber, OutPoint),
    /// See [`Effect::BuildRefund`].
    BuildRefund(RefundKey),
    /// See [`Effect::BroadcastRefund`].
    Refund(RefundKey, u32),
    /// See [`Effect::Book`].
    Book(BookKey),
    /// See [`Effect::PostWebhook`].
    Post(PostKey),
}

impl EffectKey {
    /// The flow, or the part, that the effect belongs to.
    pub(crate) fn about(&self) -> Result<FlowId, PartId> {
        match self {
            Self::Open(key)
            | Self::Fund(key)
            | Self::Hand(key)
            | Self::Broadcast(key, _)
            | Self::Abandon(key)
            | Self::CarryOthers(key) => Ok(key.flow),
            Self::Wake(flow, _) => Ok(*flow),
            Self::Prepare(order)
            | Self::Claim(order, ..)
            | Self::FailPayment(order, ..)
            | Self::Keep(order, _)
            | Self::BuildRefund(RefundKey { order, .. })
            | Self::Refund(RefundKey { order, .. }, _) => Ok(FlowId::Order(*order)),
            Self::Book(key) => Ok(key.flow),
            Self::Post(key) => Ok(FlowId::Webhooks(key.client)),
            Self::Forward(part, _) | Self::Fail(part, _) => Err(*part),
        }
    }
}

impl Effect {
    /// The identity of this effect.
    #[must_use]
    pub fn key(&self) -> EffectKey {
        match self {
            Self::OpenChannel { key, .. } => EffectKey::Open(*key),
            Self::FundChannel { key, .. } => EffectKey::Fund(*key),
            Self::HandFunding { key, .. } => EffectKey::Hand(*key),
            Self::BroadcastFunding { key, ask, .. } => EffectKey::Broadcast(*key, *ask),
            Self::AbandonChannel { key, .. } => EffectKey::Abandon(*key),
            Self::CarryOthers { key, .. } => EffectKey::CarryOthers(*key),
            Self::ForwardPart { part, ask, .. } => EffectKey::Forward(*part, *ask),
            Self::FailPart { part, ask, .. } => EffectKey::Fail(*part, *ask),
            Self::WakeClient { flow, call, .. } => EffectKey::Wake(*flow, *call),
            Self::PrepareOrder { order, .. } => EffectKey::Prepare(*order),
            Self::ClaimPayment { order, payment_hash, ask, .. } => EffectKey::Claim(*order, *payment_hash, *ask),
            Self::FailPayment { order, payment_hash, ask } => EffectKey::FailPayment(*order, *payment_hash, *ask),
            Self::KeepDeposit { order, outpoint, .. } => EffectKey::Keep(*order, *outpoint),
            Self::BuildRefund { key, .. } => EffectKey::BuildRefund(*key),
            Self::BroadcastRefund { key, ask, .. } => EffectKey::Refund(*key, *ask),
            Self::Book { key, .. } => EffectKey::Book(*key),
            Self::PostWebhook { key, .. } => EffectKey::Post(*key),
        }
    }
}

impl lsps_flow::Keyed for Effect {
    type Key = EffectKey;

    fn key(&self) -> EffectKey {
        self.key()
    }
}

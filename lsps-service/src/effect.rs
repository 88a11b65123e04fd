//! What the service asks of the host. Read off the state of the flows, so asked again after a restart.

use alloc::{string::String, vec::Vec};

use lsps_types::bolt4::FailureCode;
use lsps_types::lsps5::WebhookUrl;
use lsps_types::{Blocks, DateTime, Msat, OutPoint, PaymentHash, PeerId, Ppm, Preimage, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::book::BookEntry;
use crate::ids::{BookKey, ChannelId, ChannelKey, FlowId, OrderNumber, PartId, RefundKey};
use crate::input::FundingOutput;

/// Owed to a flow until an [`Input`](crate::Input) says it happened. Each says why doing it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Open a channel on these terms with SCID alias, and keep `key` with it.
    ///
    /// Answers: `ChannelNegotiated`, or `ChannelEnded`. Safe twice: look for a channel of that key first.
    OpenChannel {
        /// The node's key for the channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// What it has to be.
        terms: OpenTerms,
    },
    /// Build and sign the funding transaction without broadcasting it, and reserve its inputs.
    ///
    /// Answers: `FundingBuilt` or `ChannelEnded`. Safe twice: the wallet gives the same transaction for the same key.
    FundChannel {
        /// For which channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// The output to fund.
        output: FundingOutput,
        /// Blocks within which it is to be confirmed, where that was agreed; else soon.
        confirm_within: Option<Blocks>,
    },
    /// Give the funding transaction to the node, which must not broadcast it by itself.
    ///
    /// Answers: `ChannelPending` or `ChannelEnded`. Safe twice: the node refuses a second one.
    HandFunding {
        /// For which channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// The signed transaction.
        tx: Vec<u8>,
    },
    /// Broadcast the funding transaction, and again until it is confirmed.
    ///
    /// Answer: `FundingConfirmed`. Safe twice: it is one transaction.
    BroadcastFunding {
        /// Of which channel.
        key: ChannelKey,
        /// The signed transaction.
        tx: Vec<u8>,
        /// How often this was asked, from 1. From 2 on it is stuck, unless it is in a block already: raise its fee where
        /// possible, and tell the operator.
        ask: u32,
    },
    /// Close a channel whose funding was not broadcast, if it is still there, then give the inputs back.
    ///
    /// Answer: `ChannelAbandoned`. Safe twice: after the answer to the first there is nothing left to do.
    AbandonChannel {
        /// The channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// The transaction whose inputs are reserved.
        tx: Option<Vec<u8>>,
    },
    /// Let a channel carry what others send to the client over it, at the node's usual price: it was opened with
    /// [`OpenTerms::carries_others`] unset, and is paid for now, or published all the same.
    ///
    /// No answer; it is asked again after each start. Safe twice: a setting.
    CarryOthers {
        /// The channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
    },
    /// Forward a held part over the client's channel, if that is usable.
    ///
    /// Answers: `PartForwarded`, `PartFailed`, `ForwardRefused` or `PartGone`; `PartStillHeld` where the node holds it and
    /// the channel is not usable. Safe twice: a node refuses a part that it no longer holds, and the amount is the recorded
    /// one.
    ForwardPart {
        /// The part.
        part: PartId,
        /// What it pays for.
        payment_hash: PaymentHash,
        /// The channel opened for it.
        key: ChannelKey,
        /// The node's name of that channel.
        channel_id: ChannelId,
        /// The client.
        peer: PeerId,
        /// What the client gets.
        amount: Msat,
        /// What is kept, announced to the client as `extra_fee`; zero: nothing is announced.
        extra_fee: Msat,
        /// How often this was asked, from 1.
        ask: u32,
    },
    /// Fail a held part back.
    ///
    /// Answer: `PartFailed` (or `PartGone`). Safe twice: as for forwarding.
    FailPart {
        /// The part.
        part: PartId,
        /// What the payer is to learn.
        code: FailureCode,
        /// How often this was asked, from 1.
        ask: u32,
    },
    /// Wake the client: a payment waits for it. LSPS5's notifications do, where the client registered for them.
    ///
    /// No answer; it ends when the client connects or the payment is let go. Safe twice: a client that is awake connects.
    WakeClient {
        /// For which offer or order.
        flow: FlowId,
        /// Who.
        peer: PeerId,
        /// When the payment will be let go.
        until: Timestamp,
        /// How often it was needed, from 1.
        call: u32,
    },
    /// Make what an order can be paid with: a hold invoice with this hash, an offer, an address of ours that is watched from
    /// now on. What cannot be made is left out.
    ///
    /// Answer: `OrderPrepared`. Safe twice: what was made before is never given out.
    PrepareOrder {
        /// For which order.
        order: OrderNumber,
        /// The invoice.
        invoice: Option<(PaymentHash, PaymentTerms)>,
        /// The offer.
        offer: Option<PaymentTerms>,
        /// An address.
        address: bool,
    },
    /// Claim a held payment: its channel is published.
    ///
    /// Answers: `PaymentClaimed` or `PaymentGone`. Safe twice: a node claims a payment once.
    ClaimPayment {
        /// Of which order.
        order: OrderNumber,
        /// The payment.
        payment_hash: PaymentHash,
        /// Claims it.
        preimage: Preimage,
        /// How often this was asked, from 1.
        ask: u32,
    },
    /// Fail a held payment back.
    ///
    /// Answer: `PaymentGone`. Safe twice: a node that does not hold it has nothing to do.
    FailPayment {
        /// Of which order.
        order: OrderNumber,
        /// The payment.
        payment_hash: PaymentHash,
        /// How often this was asked, from 1.
        ask: u32,
    },
    /// The wallet may spend this output from now on: it paid for a channel, or is too little to return.
    ///
    /// Answer: `DepositKept`. Safe twice: a setting.
    KeepDeposit {
        /// Of which order.
        order: OrderNumber,
        /// The output.
        outpoint: OutPoint,
        /// What it is worth.
        amount: Sat,
    },
    /// Build and sign a transaction that spends these outputs and nothing else to this address, less a reasonable fee,
    /// without broadcasting it.
    ///
    /// Answers: `RefundBuilt`, or `RefundImpossible` where that would leave nothing to pay out. Safe twice: outputs are
    /// spent once.
    BuildRefund {
        /// Which refund.
        key: RefundKey,
        /// The address.
        to: String,
        /// What goes back, and what it is worth.
        deposits: Vec<(OutPoint, Sat)>,
    },
    /// Broadcast a refund, and again until it is confirmed.
    ///
    /// Answer: `RefundConfirmed`. Safe twice: it is one transaction.
    BroadcastRefund {
        /// Which refund.
        key: RefundKey,
        /// The signed transaction.
        tx: Vec<u8>,
        /// How often this was asked, from 1. From 2 on it waits for six hours: raise its fee.
        ask: u32,
    },
    /// Put an entry into the operator's book.
    ///
    /// Answer: `Booked`. Safe twice: the same key has the same entry.
    Book {
        /// Its name.
        key: BookKey,
        /// Its content.
        entry: BookEntry,
    },
    /// Sign this notification with the node's key and post it: exactly these bytes, and the timestamp, which is signed too.
    ///
    /// Answers: `WebhookDelivered`, `WebhookFailed` or `WebhookUnreached`; without any it ends at `until`. Withdrawn by
    /// [`Released::withdrawn`](crate::Released::withdrawn). Safe twice: the receiver sees a replay.
    PostWebhook {
        /// Its name.
        key: PostKey,
        /// Where to. What it leads to is not looked at yet.
        url: WebhookUrl,
        /// The body.
        body: String,
        /// When it was raised.
        timestamp: DateTime,
        /// When it is worth nothing any more.
        until: Timestamp,
        /// The rank of the notification among others.
        urgency: Urgency,
    },
}

/// How much is lost when a notification comes late: the less urgent ones give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Urgency {
    /// A webhook is told that it is registered. Anybody can cause any number of these.
    Registration,
    /// Neither of the others.
    Normal,
    /// A payment waits for the client, or a channel of the client is about to be closed.
    High,
}

/// One post to one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PostKey {
    /// Whose webhook it is.
    pub client: PeerId,
    /// Counted from 0 for each client.
    pub number: u32,
}

/// What a channel has to be when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTerms {
    /// Satoshis of the funding output.
    pub capacity_sat: u64,
    /// What the channel has to carry to the client at once, on top of reserves and commitment fees.
    pub deliver: Msat,
    /// Share of the channel that the client has to keep on its side, where the node lets one choose.
    pub client_reserve: Ppm,
    /// The most blocks the client may ask for as `to_self_delay`.
    pub max_client_to_self_delay: Option<u32>,
    /// What the client is given at once.
    pub push: Msat,
    /// Whether the network is to know of it.
    pub announce: bool,
    /// Confirmations after which it is used; 0: at once.
    pub confirmations: u16,
    /// Blocks within which the funding is to be confirmed, where that was agreed; else soon.
    pub confirm_within: Option<Blocks>,
    /// Whether the channel carries payments of others to the client from the beginning. If not, price forwards over it
    /// out of reach until [`Effect::CarryOthers`]: a claim over it would make the LSP publish the funding while nobody has
    /// paid for it. Channels of orders are opened so, and JIT channels whose client trusts the LSP.
    pub carries_others: bool,
}

/// What an invoice or an offer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentTerms {
    /// Exactly this.
    pub amount: Msat,
    /// It cannot be paid from then on.
    pub expires_at: Timestamp,
    /// Blocks that the last HTLC has to have left when it arrives, so that it can be held until then.
    pub final_cltv: Blocks,
}

/// Equal for two askings of the same thing; a new attempt has a new key.
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
    /// The flow it is about, or the part.
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
    /// What makes this effect the same as another.
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

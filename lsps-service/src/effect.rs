//! What the service asks of the host. Read off the state of the flows, so asked again after a restart.

use alloc::{string::String, vec::Vec};

use lsps_types::lsps5::WebhookUrl;
use lsps_types::{DateTime, Msat, PaymentHash, PeerId, Ppm, Timestamp, bolt4::FailureCode};
use serde::{Deserialize, Serialize};

use crate::book::BookEntry;
use crate::ids::{BookKey, ChannelId, ChannelKey, FlowId, PartId};
use crate::input::FundingOutput;

/// Owed to a flow until an [`Input`](crate::Input) says it happened. Each says why doing it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Open an unannounced channel with SCID alias and without confirmations, and keep `key` with it.
    ///
    /// Answers: `ChannelNegotiated`, or `ChannelEnded`. Safe twice: look for a channel of that key first.
    OpenChannel {
        /// The node's key for the channel.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// Satoshis of the funding output.
        capacity_sat: u64,
        /// What the channel has to carry to the client at once, on top of reserves and commitment fees.
        deliver: Msat,
        /// Share of the channel that the client has to keep on its side, where the node lets one choose.
        client_reserve: Ppm,
        /// The most blocks the client may ask for as `to_self_delay`.
        max_client_to_self_delay: u32,
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
        /// Which.
        key: ChannelKey,
        /// The client.
        peer: PeerId,
        /// The transaction whose inputs are reserved.
        tx: Option<Vec<u8>>,
    },
    /// Forward a held part over the client's channel, if that is usable.
    ///
    /// Answers: `PartForwarded`, `PartFailed`, `ForwardRefused` or `PartGone`; `PartStillHeld` where the node holds it and the channel is not
    /// usable. Safe twice: a node refuses a part that
    /// it no longer holds, and the amount is the recorded one.
    ForwardPart {
        /// Which.
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
        /// Which.
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
        /// For which offer.
        flow: FlowId,
        /// Who.
        peer: PeerId,
        /// When the payment will be let go.
        until: Timestamp,
        /// How often it was needed, from 1.
        call: u32,
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
    /// Answers: `WebhookDelivered` or `WebhookFailed`; without any it ends at `until`. Safe twice: the receiver sees a replay.
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
    },
}

/// One post to one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PostKey {
    /// Whose webhook it is.
    pub client: PeerId,
    /// Counted from 0 for each client.
    pub number: u32,
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
    /// See [`Effect::ForwardPart`].
    Forward(PartId, u32),
    /// See [`Effect::FailPart`].
    Fail(PartId, u32),
    /// See [`Effect::WakeClient`].
    Wake(FlowId, u32),
    /// See [`Effect::Book`].
    Book(BookKey),
    /// See [`Effect::PostWebhook`].
    Post(PostKey),
}

impl EffectKey {
    /// The flow it is about, or the part.
    pub(crate) fn about(&self) -> Result<FlowId, PartId> {
        match self {
            Self::Open(key) | Self::Fund(key) | Self::Hand(key) | Self::Broadcast(key, _) | Self::Abandon(key) => {
                Ok(key.flow)
            }
            Self::Wake(flow, _) => Ok(*flow),
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
            Self::ForwardPart { part, ask, .. } => EffectKey::Forward(*part, *ask),
            Self::FailPart { part, ask, .. } => EffectKey::Fail(*part, *ask),
            Self::WakeClient { flow, call, .. } => EffectKey::Wake(*flow, *call),
            Self::Book { key, .. } => EffectKey::Book(*key),
            Self::PostWebhook { key, .. } => EffectKey::Post(*key),
        }
    }
}

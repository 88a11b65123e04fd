//! What the node tells, and what the wallet tells of it.

use std::fmt;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::PublicKey;
use lightning::events::{Event, InboundChannelFunds, PaymentFailureReason};
use lightning::ln::channelmanager::PaymentId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentPreimage;

use lsps_client::ChannelKey;
use lsps_client::jit_receive::{Fault, OpenRequest, RefuseChannel};
use lsps_client::order::{End, OrderKey, Trouble, WayKind};
use lsps_types::{Msat, OutPoint, PaymentHash, Sat};

use crate::peers::peer_id;
use lsps_host::ports::to_lsps_outpoint;

/// What happens to a wallet, for a user interface. Nothing has to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalletEvent {
    /// The LSPs are asked for their terms.
    Asked,
    /// Terms were chosen.
    Offered {
        /// The LSP.
        lsp: PublicKey,
        /// The opening fee at the size asked for.
        fee: Msat,
    },
    /// The purchase is on record and its invoice may be out.
    Bought {
        /// The purchase.
        payment_hash: PaymentHash,
    },
    /// A channel is accepted, usually for this purchase.
    ChannelOpening {
        /// The purchase.
        payment_hash: PaymentHash,
    },
    /// A channel was refused although one was bought.
    ChannelRefused {
        /// Who wanted to open it.
        lsp: PublicKey,
        /// What was wrong with it.
        why: RefuseChannel,
    },
    /// A payment arrived and is being claimed.
    PaymentArriving {
        /// The purchase.
        payment_hash: PaymentHash,
        /// What came in.
        received: Msat,
        /// What the LSP kept.
        kept: Msat,
    },
    /// A payment arrived, and is claimed when its channel is confirmed.
    Holding {
        /// The purchase.
        payment_hash: PaymentHash,
        /// How many confirmations are waited for.
        confirmations: u16,
    },
    /// It is claimed.
    Received {
        /// The purchase.
        payment_hash: PaymentHash,
        /// What came in.
        received: Msat,
        /// What the LSP kept.
        fee: Msat,
    },
    /// A payment was failed back: the payer keeps the money.
    Refused {
        /// The payment.
        payment_hash: PaymentHash,
        /// What was wrong with it.
        why: Fault,
    },
    /// A payment to a hash of the application's waited, and its channels are good now: the application may claim it, or
    /// fail it. Told again after a restart, until one of the two is done.
    Claimable {
        /// The purchase.
        payment_hash: PaymentHash,
        /// The amount that came in.
        received: Msat,
        /// The fee that the LSP kept.
        kept: Msat,
    },
    /// A payment that was held went back: its channel was not confirmed while there was time, or one of its channels is gone.
    GaveUp {
        /// The purchase.
        payment_hash: PaymentHash,
    },
    /// Another process owns the records: the wallet has ended, and writes, sends and does nothing more.
    LostOwnership,
    /// No payment came in time.
    Expired {
        /// The purchase.
        payment_hash: PaymentHash,
    },
    /// An order is on record, and paid now.
    Ordered {
        /// The order.
        order: OrderKey,
        /// How it is paid.
        way: WayKind,
    },
    /// The LSP has the payment of an order.
    OrderPaid {
        /// The order.
        order: OrderKey,
    },
    /// The channel of an order is accepted.
    OrderOpening {
        /// The order.
        order: OrderKey,
    },
    /// There will be no channel; the payment is to come back.
    OrderFailed {
        /// The order.
        order: OrderKey,
    },
    /// An order does not go on, though it may yet; or it is done, and its channel is not confirmed.
    OrderStuck {
        /// The order.
        order: OrderKey,
        /// What keeps it.
        why: Trouble,
    },
    /// An order is over.
    OrderOver {
        /// The order.
        order: OrderKey,
        /// How it ended.
        end: End,
    },
}

/// A sentence for people.
impl fmt::Display for WalletEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asking for prices"),
            Self::Offered { lsp, fee } => write!(f, "{lsp} offers a channel for {fee}"),
            Self::Bought { payment_hash } => write!(f, "a channel is bought for payment {payment_hash}"),
            Self::ChannelOpening { .. } => f.write_str("the channel is opening"),
            Self::ChannelRefused { lsp, why } => write!(f, "a channel from {lsp} was refused: {why}"),
            Self::PaymentArriving { received, kept, .. } => write!(f, "{received} arrive, {kept} were kept"),
            Self::Holding { confirmations, .. } => write!(f, "waiting for {confirmations} confirmation(s)"),
            Self::Received { received, fee, .. } => write!(f, "{received} received, {fee} paid for the channel"),
            Self::Refused { why, .. } => write!(f, "a payment was refused: {why}"),
            Self::Claimable { received, .. } => write!(f, "{received} wait to be claimed by the application"),
            Self::GaveUp { .. } => {
                f.write_str("the channel was not confirmed in time or is gone, the payment went back")
            }
            Self::LostOwnership => f.write_str("another process has the wallet's records: this one has ended"),
            Self::Expired { .. } => f.write_str("no payment came in time"),
            Self::Ordered { way, .. } => write!(f, "a channel is ordered, to be paid {way}"),
            Self::OrderPaid { .. } => f.write_str("the provider has the payment for the channel"),
            Self::OrderOpening { .. } => f.write_str("the channel that was ordered is opening"),
            Self::OrderFailed { .. } => f.write_str("there will be no channel, the payment is to come back"),
            Self::OrderStuck { why, .. } => write!(f, "the order does not go on: {why}"),
            Self::OrderOver { end, .. } => write!(f, "the order is over: {end}"),
        }
    }
}

/// An event that may be ours.
#[derive(Clone, Debug)]
pub(super) enum News {
    OpenRequested {
        lsp: PublicKey,
        temporary: ChannelId,
        request: OpenRequest,
    },
    PaymentEnded(PaymentId, PaymentEnd),
    ChannelPending(PublicKey, ChannelKey, Option<OutPoint>),
    ChannelEnded(ChannelKey),
    Claimable(Claimable),
    Claimed {
        hash: PaymentHash,
        received: Msat,
        kept: Msat,
        over: Vec<ChannelKey>,
        /// The application has the preimage, and is to hear of this as well.
        by_application: bool,
    },
}

/// How a payment of ours ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PaymentEnd {
    Paid,
    /// What was sent of it came back.
    Returned,
    /// Nothing was sent: no invoice came for the offer in time.
    NoInvoice,
    /// Nothing was sent, nor will be.
    NotSent,
}

/// A complete payment that waits for its preimage.
#[derive(Clone, Debug)]
pub(super) struct Claimable {
    pub hash: PaymentHash,
    pub received: Msat,
    pub kept: Msat,
    /// Known for invoices whose secret the node made.
    pub preimage: Option<PaymentPreimage>,
    /// The channels that its HTLCs came over.
    pub over: Vec<(ChannelId, Option<ChannelKey>)>,
}

pub(super) fn of(event: &Event) -> Option<News> {
    Some(match event {
        Event::OpenChannelRequest {
            temporary_channel_id,
            counterparty_node_id,
            channel_type,
            is_announced,
            funding_satoshis,
            channel_negotiation_type,
            ..
        } => News::OpenRequested {
            lsp: *counterparty_node_id,
            temporary: *temporary_channel_id,
            request: OpenRequest {
                lsp: peer_id(counterparty_node_id),
                key: channel_key(counterparty_node_id, temporary_channel_id),
                announced: *is_announced,
                scid_alias: channel_type.requires_scid_privacy(),
                zero_conf: channel_type.requires_zero_conf(),
                funding: Sat(*funding_satoshis),
                pushed: match channel_negotiation_type {
                    InboundChannelFunds::PushMsat(pushed) => Msat(*pushed),
                    InboundChannelFunds::DualFunded => Msat::ZERO,
                },
            },
        },
        Event::PaymentSent { payment_id: Some(id), .. } => News::PaymentEnded(*id, PaymentEnd::Paid),
        Event::PaymentFailed { payment_id, payment_hash, reason } => {
            let end = match (payment_hash, reason) {
                (Some(_), _) => PaymentEnd::Returned,
                (None, Some(PaymentFailureReason::InvoiceRequestExpired)) => PaymentEnd::NoInvoice,
                (None, _) => PaymentEnd::NotSent,
            };
            News::PaymentEnded(*payment_id, end)
        }
        Event::ChannelPending { user_channel_id, counterparty_node_id, funding_txo, .. } => {
            let (key, funding) = (ChannelKey(*user_channel_id), to_lsps_outpoint(*funding_txo));
            News::ChannelPending(*counterparty_node_id, key, funding)
        }
        Event::ChannelClosed { user_channel_id, .. } => News::ChannelEnded(ChannelKey(*user_channel_id)),
        Event::PaymentClaimable {
            payment_hash,
            amount_msat,
            counterparty_skimmed_fee_msat,
            purpose,
            receiving_channel_ids,
            ..
        } => News::Claimable(Claimable {
            hash: PaymentHash(payment_hash.0),
            received: Msat(*amount_msat),
            kept: Msat(*counterparty_skimmed_fee_msat),
            preimage: purpose.preimage(),
            over: receiving_channel_ids.iter().map(|(id, key)| (*id, key.map(ChannelKey))).collect(),
        }),
        Event::PaymentClaimed { payment_hash, amount_msat, htlcs, purpose, .. } => {
            let kept = htlcs.iter().fold(0u64, |sum, htlc| sum.saturating_add(htlc.counterparty_skimmed_fee_msat));
            let over = htlcs.iter().map(|htlc| ChannelKey(htlc.user_channel_id)).collect();
            let (received, kept) = (Msat(*amount_msat), Msat(kept));
            let (hash, by_application) = (PaymentHash(payment_hash.0), purpose.preimage().is_none());
            News::Claimed { hash, received, kept, over, by_application }
        }
        _ => return None,
    })
}

/// The same for a request that comes again after a reconnect; LDK keeps the temporary id.
pub(super) fn channel_key(lsp: &PublicKey, temporary: &ChannelId) -> ChannelKey {
    let mut engine = sha256::Hash::engine();
    engine.input(&lsp.serialize());
    engine.input(&temporary.0);
    let hash = sha256::Hash::from_engine(engine).to_byte_array();
    let (key, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
    ChannelKey(u128::from_be_bytes(*key))
}

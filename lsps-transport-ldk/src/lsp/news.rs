//! What the node tells, and what the LSP tells of it.

use bitcoin::Txid;
use bitcoin::secp256k1::PublicKey;
use lightning::events::{ClosureReason, Event, HTLCHandlingFailureType, PaymentPurpose};
use lightning::ln::channelmanager::RecipientOnionFields;

use lsps_service::{
    BookEntry, BookKey, Booking, ChannelEnd, ChannelId, ChannelKey, FlowId, FundingOutput, HeldHtlc, HeldPayment,
    Input, OfferId, OrderNumber, PaidBy, PartId, PaymentId, Question, RefundKey, WhichPart,
};
use lsps_types::{BlockHeight, Msat, PaymentHash, Preimage, Scid, Timestamp};

use super::markers::Marker;
use crate::peers::peer_id;

/// What happens to an LSP, for its operator and for what wakes phones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LspEvent {
    /// A client who is away is needed: a payment waits for it until then. LSPS5's notifications are raised besides.
    ClientNeeded {
        /// Who.
        client: PublicKey,
        /// When the payment will be let go.
        until: Timestamp,
    },
    /// The policy left a request to others; answer with [`Lsp::decide`](crate::Lsp::decide).
    Undecided(Question),
    /// A channel could not be opened, and the payment it was for goes back; or it was open and is closed.
    ChannelEnded {
        /// Which.
        key: ChannelKey,
        /// Why.
        why: ChannelEnd,
    },
    /// A funding transaction is not confirmed after many blocks.
    FundingStuck {
        /// Of which channel.
        key: ChannelKey,
        /// The transaction.
        txid: Txid,
        /// The wallet raised its fee.
        bumped: bool,
    },
    /// The mempool does not take a transaction that is owed. It is broadcast again with every block.
    BroadcastRefused {
        /// The purpose of the transaction.
        of: Owed,
        /// The transaction.
        txid: Txid,
        /// The reason, in the words of the chain backend.
        why: String,
    },
    /// Orders of channels were made ([`Lsp::orders`](crate::Lsp::orders) lists them).
    OrdersMade {
        /// The last of them.
        last: OrderNumber,
        /// How many, since this was read.
        count: u64,
    },
    /// A refund cannot be built at present; it is tried again with every block.
    RefundFails {
        /// Which.
        key: RefundKey,
        /// The wallet's own words.
        why: String,
    },
    /// A refund is not confirmed after six hours.
    RefundStuck {
        /// Which.
        key: RefundKey,
        /// The transaction.
        txid: Txid,
        /// The wallet raised its fee.
        bumped: bool,
    },
    /// A channel of an order is published, and what paid for it is lost: its claim failed, or its deposit was spent
    /// otherwise. The book has it too.
    PaymentLost {
        /// Of which order.
        order: OrderNumber,
        /// The fee that was not earned and what the client has in its channel, or what the deposit was worth.
        lost: Msat,
    },
    /// A payment of an order was claimed with another of the same hash: whoever sent the second has paid twice. The book
    /// has it too.
    PaidTwice {
        /// The order.
        order: OrderNumber,
        /// The hash of both.
        payment_hash: PaymentHash,
        /// The amount of the second payment.
        amount: Msat,
    },
    /// More followed from a flow than can be: the node told facts that cannot be, or this program is wrong. The flow
    /// was stopped, and goes on with its next input. The operator has to look at it.
    Runaway {
        /// The flow.
        flow: FlowId,
    },
    /// The store refuses to write. Nothing is acknowledged, sent or done until it does again.
    StoreFails(String),
}

impl LspEvent {
    /// The event for a booking that an operator has to know at once.
    pub(super) fn alarm(key: &BookKey, entry: &BookEntry) -> Option<Self> {
        let FlowId::Order(order) = key.flow else { return None };
        match entry.what {
            Booking::OrderUnpaid { fee, given } => {
                Some(Self::PaymentLost { order, lost: Msat(fee.0.saturating_add(given.0)) })
            }
            Booking::DepositLost { amount } => Some(Self::PaymentLost { order, lost: amount }),
            Booking::OrderPaidAgain { payment_hash, amount } => Some(Self::PaidTwice { order, payment_hash, amount }),
            _ => None,
        }
    }
}

/// The purpose of a transaction that the LSP broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owed {
    /// Funds this channel.
    Funding(ChannelKey),
    /// Is this refund of an order.
    Refund(RefundKey),
}

/// What an event says, as far as LDK can say it.
#[derive(Debug)]
pub(crate) enum NodeNews {
    Input(Input),
    /// Some HTLC to this peer failed.
    FailedTowards(PublicKey),
    /// Some held HTLC to this SCID was failed, by us or because its time was up.
    FailedHeld(Scid),
    /// Some HTLC to this node with this hash was failed: a payment that we hold, or what somebody sends who knows the hash.
    FailedReceive(PaymentHash),
    /// All that the node had to tell when this was sent is told.
    Marker(Marker),
}

pub(super) fn news(event: &Event) -> Option<NodeNews> {
    let key = |user_channel_id: &u128| ChannelKey::from_u128(*user_channel_id);
    Some(match event {
        Event::HTLCIntercepted {
            intercept_id,
            requested_next_hop_scid,
            payment_hash,
            inbound_amount_msat,
            expected_outbound_amount_msat,
        } => NodeNews::Input(Input::HtlcHeld(HeldHtlc {
            part: PartId(intercept_id.0),
            scid: Scid(*requested_next_hop_scid),
            payment_hash: PaymentHash(payment_hash.0),
            amount_in: Msat(*inbound_amount_msat),
            onion_amount: Msat(*expected_outbound_amount_msat),
            cltv_expiry: None, // LDK 0.2 keeps it, and fails the HTLC itself in time
        })),
        Event::FundingGenerationReady { channel_value_satoshis, output_script, user_channel_id, .. } => {
            let output = FundingOutput { script: output_script.to_bytes(), value_sat: *channel_value_satoshis };
            NodeNews::Input(Input::ChannelNegotiated { key: key(user_channel_id)?, to_self_delay: None, output })
        }
        Event::FundingTxBroadcastSafe { user_channel_id, .. } | Event::ChannelPending { user_channel_id, .. } => {
            NodeNews::Input(Input::ChannelPending { key: key(user_channel_id)? })
        }
        Event::ChannelReady { user_channel_id, channel_id, .. } => {
            let channel_id = ChannelId(channel_id.0);
            NodeNews::Input(Input::ChannelReady { key: key(user_channel_id)?, channel_id })
        }
        Event::ChannelClosed { user_channel_id, reason, .. } => {
            NodeNews::Input(Input::ChannelEnded { key: key(user_channel_id)?, why: end(reason) })
        }
        Event::PaymentForwarded {
            next_node_id: Some(to),
            outbound_amount_forwarded_msat: Some(amount),
            next_user_channel_id,
            total_fee_earned_msat,
            skimmed_fee_msat,
            ..
        } => {
            let over = next_user_channel_id.as_ref().and_then(key);
            // Both are missing where the channel that it came over is closed, the skim where it was claimed on the chain.
            let amount_in = total_fee_earned_msat.and_then(|fee| amount.checked_add(fee)).map(Msat);
            let skim = skimmed_fee_msat.map(Msat);
            let part = WhichPart::Sent { to: peer_id(to), amount: Msat(*amount), amount_in, skim };
            NodeNews::Input(Input::PartForwarded { part, over })
        }
        Event::PaymentClaimable {
            payment_hash,
            amount_msat,
            purpose,
            claim_deadline,
            onion_fields,
            payment_id,
            ..
        } => {
            let (by, preimage) = match purpose {
                PaymentPurpose::Bolt11InvoicePayment { payment_preimage, .. } => (PaidBy::Invoice, payment_preimage),
                PaymentPurpose::Bolt12OfferPayment { payment_preimage, payment_context, .. } => {
                    (PaidBy::Offer(OfferId(payment_context.offer_id.0)), payment_preimage)
                }
                PaymentPurpose::Bolt12RefundPayment { .. } | PaymentPurpose::SpontaneousPayment(_) => return None,
            };
            NodeNews::Input(Input::PaymentHeld(HeldPayment {
                by,
                payment_hash: PaymentHash(payment_hash.0),
                id: payment_id.map(|id| PaymentId(id.0)),
                claimable: onion_fields.as_ref().is_none_or(is_understood),
                preimage: preimage.map(|preimage| Preimage(preimage.0)),
                amount: Msat(*amount_msat),
                claim_before: claim_deadline.map(BlockHeight),
            }))
        }
        Event::PaymentClaimed { payment_hash, amount_msat, payment_id, .. } => NodeNews::Input(Input::PaymentClaimed {
            payment_hash: PaymentHash(payment_hash.0),
            id: payment_id.map(|id| PaymentId(id.0)),
            amount: Msat(*amount_msat),
        }),
        Event::PaymentFailed { payment_id, .. } => NodeNews::Marker(Marker::of(*payment_id)?),
        Event::HTLCHandlingFailed { failure_type, .. } => match failure_type {
            HTLCHandlingFailureType::Receive { payment_hash } => NodeNews::FailedReceive(PaymentHash(payment_hash.0)),
            HTLCHandlingFailureType::Forward { node_id: Some(client), .. } => NodeNews::FailedTowards(*client),
            HTLCHandlingFailureType::InvalidForward { requested_forward_scid } => {
                NodeNews::FailedHeld(Scid(*requested_forward_scid))
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether LDK would claim the payment: it refuses custom TLVs of even types.
fn is_understood(onion: &RecipientOnionFields) -> bool {
    onion.custom_tlvs().iter().all(|(kind, _)| kind % 2 == 1)
}

/// Why a channel ended. Before both sides signed, words of the peer mean that it refused.
fn end(reason: &ClosureReason) -> ChannelEnd {
    match reason {
        ClosureReason::CounterpartyForceClosed { .. }
        | ClosureReason::CounterpartyCoopClosedUnfundedChannel
        | ClosureReason::ProcessingError { .. } => ChannelEnd::Rejected,
        ClosureReason::DisconnectedPeer => ChannelEnd::PeerGone,
        _ => ChannelEnd::Closed,
    }
}

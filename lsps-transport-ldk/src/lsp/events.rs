//! Conversion of LDK's events to those of the host.

use lightning::events::{ClosureReason, Event, HTLCHandlingFailureType, PaymentPurpose};
use lightning::ln::channelmanager::RecipientOnionFields;

use lsps_host::ports::{Marker, NodeEvent};
use lsps_service::{
    ChannelEnd, ChannelId, ChannelKey, FundingOutput, HeldHtlc, HeldPayment, Input, OfferId, PaidBy, PartId, PaymentId,
    WhichPart,
};
use lsps_types::{BlockHeight, Msat, PaymentHash, Preimage, Scid};

use crate::peers::peer_id;

/// The host's form of an event. `None`: the event does not concern an LSP.
pub(super) fn node_event(event: &Event) -> Option<NodeEvent> {
    let key = |user_channel_id: &u128| ChannelKey::from_u128(*user_channel_id);
    Some(match event {
        Event::HTLCIntercepted {
            intercept_id,
            requested_next_hop_scid,
            payment_hash,
            inbound_amount_msat,
            expected_outbound_amount_msat,
        } => NodeEvent::Input(Input::HtlcHeld(HeldHtlc {
            part: PartId(intercept_id.0),
            scid: Scid(*requested_next_hop_scid),
            payment_hash: PaymentHash(payment_hash.0),
            amount_in: Msat(*inbound_amount_msat),
            onion_amount: Msat(*expected_outbound_amount_msat),
            cltv_expiry: None, // LDK 0.2 keeps it, and fails the HTLC itself in time
        })),
        Event::FundingGenerationReady { channel_value_satoshis, output_script, user_channel_id, .. } => {
            let output = FundingOutput { script: output_script.to_bytes(), value_sat: *channel_value_satoshis };
            NodeEvent::Input(Input::ChannelNegotiated { key: key(user_channel_id)?, to_self_delay: None, output })
        }
        Event::FundingTxBroadcastSafe { user_channel_id, .. } | Event::ChannelPending { user_channel_id, .. } => {
            NodeEvent::Input(Input::ChannelPending { key: key(user_channel_id)? })
        }
        Event::ChannelReady { user_channel_id, channel_id, .. } => {
            let channel_id = ChannelId(channel_id.0);
            NodeEvent::Input(Input::ChannelReady { key: key(user_channel_id)?, channel_id })
        }
        Event::ChannelClosed { user_channel_id, reason, .. } => {
            NodeEvent::Input(Input::ChannelEnded { key: key(user_channel_id)?, why: end(reason) })
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
            // Both amounts are missing if the incoming channel is closed, and the skim is missing for an on-chain
            // claim.
            let amount_in = total_fee_earned_msat.and_then(|fee| amount.checked_add(fee)).map(Msat);
            let skim = skimmed_fee_msat.map(Msat);
            let part = WhichPart::Sent { to: peer_id(to), amount: Msat(*amount), amount_in, skim };
            NodeEvent::Input(Input::PartForwarded { part, over })
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
            NodeEvent::Input(Input::PaymentHeld(HeldPayment {
                by,
                payment_hash: PaymentHash(payment_hash.0),
                id: payment_id.map(|id| PaymentId(id.0)),
                claimable: onion_fields.as_ref().is_none_or(is_understood),
                preimage: preimage.map(|preimage| Preimage(preimage.0)),
                amount: Msat(*amount_msat),
                claim_before: claim_deadline.map(BlockHeight),
            }))
        }
        Event::PaymentClaimed { payment_hash, amount_msat, payment_id, .. } => {
            NodeEvent::Input(Input::PaymentClaimed {
                payment_hash: PaymentHash(payment_hash.0),
                id: payment_id.map(|id| PaymentId(id.0)),
                amount: Msat(*amount_msat),
            })
        }
        Event::PaymentFailed { payment_id, .. } => NodeEvent::Marker(Marker::of(payment_id.0)?),
        Event::HTLCHandlingFailed { failure_type, .. } => match failure_type {
            HTLCHandlingFailureType::Receive { payment_hash } => NodeEvent::FailedReceive(PaymentHash(payment_hash.0)),
            HTLCHandlingFailureType::Forward { node_id: Some(client), .. } => NodeEvent::FailedTowards(peer_id(client)),
            HTLCHandlingFailureType::InvalidForward { requested_forward_scid } => {
                NodeEvent::FailedHeld(Scid(*requested_forward_scid))
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

/// Converts the reason of a closure. Before both sides signed, an error of the peer means that it refused.
fn end(reason: &ClosureReason) -> ChannelEnd {
    match reason {
        ClosureReason::CounterpartyForceClosed { .. }
        | ClosureReason::CounterpartyCoopClosedUnfundedChannel
        | ClosureReason::ProcessingError { .. } => ChannelEnd::Rejected,
        ClosureReason::DisconnectedPeer => ChannelEnd::PeerGone,
        _ => ChannelEnd::Closed,
    }
}

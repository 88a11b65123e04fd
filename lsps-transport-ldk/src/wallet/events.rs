//! Conversion of LDK's events to those of a wallet's host.

use lightning::events::{Event, InboundChannelFunds, PaymentFailureReason};

use lsps_client::ChannelKey;
use lsps_host::ports::{ChannelRequest, HeldPayment, Marker, PaymentEnd, PaymentId, WalletNodeEvent};
use lsps_service::ChannelId;
use lsps_types::{Msat, PaymentHash, Preimage, Sat};

use crate::peers::peer_id;

/// The host's form of an event. `None`: the event does not concern a wallet.
pub(super) fn node_event(event: &Event) -> Option<WalletNodeEvent> {
    Some(match event {
        Event::OpenChannelRequest {
            temporary_channel_id,
            counterparty_node_id,
            channel_type,
            is_announced,
            funding_satoshis,
            channel_negotiation_type,
            ..
        } => WalletNodeEvent::ChannelRequested(ChannelRequest {
            id: temporary_channel_id.0,
            peer: peer_id(counterparty_node_id),
            announced: *is_announced,
            scid_alias: channel_type.requires_scid_privacy(),
            zero_conf: channel_type.requires_zero_conf(),
            funding: Sat(*funding_satoshis),
            pushed: match channel_negotiation_type {
                InboundChannelFunds::PushMsat(pushed) => Msat(*pushed),
                InboundChannelFunds::DualFunded => Msat::ZERO,
            },
        }),
        Event::PaymentSent { payment_id: Some(id), .. } => {
            WalletNodeEvent::PaymentEnded { id: PaymentId(id.0), end: PaymentEnd::Paid }
        }
        Event::PaymentFailed { payment_id, .. } if Marker::of(payment_id.0).is_some() => {
            WalletNodeEvent::Marker(Marker(payment_id.0))
        }
        Event::PaymentFailed { payment_id, payment_hash, reason } => {
            let end = match (payment_hash, reason) {
                (Some(_), _) => PaymentEnd::Returned,
                (None, Some(PaymentFailureReason::InvoiceRequestExpired)) => PaymentEnd::NoInvoice,
                (None, _) => PaymentEnd::NotSent,
            };
            WalletNodeEvent::PaymentEnded { id: PaymentId(payment_id.0), end }
        }
        Event::ChannelPending { user_channel_id, counterparty_node_id, funding_txo, .. } => {
            WalletNodeEvent::ChannelFunded {
                key: ChannelKey(*user_channel_id),
                peer: peer_id(counterparty_node_id),
                funding: Some(*funding_txo),
            }
        }
        Event::ChannelClosed { user_channel_id, .. } => {
            WalletNodeEvent::ChannelEnded { key: ChannelKey(*user_channel_id) }
        }
        Event::PaymentClaimable {
            payment_hash,
            amount_msat,
            counterparty_skimmed_fee_msat,
            purpose,
            receiving_channel_ids,
            ..
        } => WalletNodeEvent::PaymentHeld(HeldPayment {
            payment_hash: PaymentHash(payment_hash.0),
            received: Msat(*amount_msat),
            kept: Msat(*counterparty_skimmed_fee_msat),
            preimage: purpose.preimage().map(|preimage| Preimage(preimage.0)),
            over: receiving_channel_ids.iter().map(|(id, key)| (ChannelId(id.0), key.map(ChannelKey))).collect(),
        }),
        Event::PaymentClaimed { payment_hash, amount_msat, htlcs, purpose, .. } => {
            let kept = htlcs.iter().fold(0u64, |sum, htlc| sum.saturating_add(htlc.counterparty_skimmed_fee_msat));
            WalletNodeEvent::PaymentClaimed {
                payment_hash: PaymentHash(payment_hash.0),
                received: Msat(*amount_msat),
                kept: Msat(kept),
                over: htlcs.iter().map(|htlc| ChannelKey(htlc.user_channel_id)).collect(),
                by_application: purpose.preimage().is_none(),
            }
        }
        _ => return None,
    })
}

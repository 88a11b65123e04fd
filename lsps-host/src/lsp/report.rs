//! Tracing and metrics of the host: an event of `tracing` and a counter of `metrics` for everything that affects money.
//!
//! Field names and counters are part of the interface; docs/operation.md lists them.

use bitcoin::Txid;
use lsps_service::{BookEntry, Booking, ChannelEnd, Effect, FlowId, Input, Introduced, Outcome, Refusal, Unreadable};
use lsps_types::bolt4::FailureCode;
use metrics::counter;
use tracing::{debug, error, info, warn};

use super::events::TxPurpose;
use crate::ports::{Broadcast, StoreError};

/// Reports an input of the service and its outcome.
pub(super) fn heard(input: &Input, outcome: Outcome) {
    match (input, outcome) {
        (Input::HtlcHeld(htlc), outcome) => {
            let (part, payment_hash) = (hex(&htlc.part.0), htlc.payment_hash);
            let (scid, amount_msat) = (htlc.scid, htlc.onion_amount.0);
            match outcome {
                Outcome::Taken => {
                    counter!("lsps_parts_held").increment(1);
                    info!(%part, %payment_hash, %scid, amount_msat, "part held");
                }
                Outcome::NotMine => {
                    counter!("lsps_parts_not_mine").increment(1);
                    info!(%part, %payment_hash, %scid, amount_msat, "part to an SCID that is nobody's");
                }
                Outcome::Refused(Refusal::FailPart(code)) => {
                    counter!("lsps_parts_refused", "code" => name(code)).increment(1);
                    info!(%part, %payment_hash, %scid, amount_msat, code = name(code), "part refused");
                }
                Outcome::Refused(Refusal::Stale | Refusal::FailPayment | Refusal::BadMessage) => {}
            }
        }
        (Input::PaymentHeld(held), outcome) => {
            let (payment_hash, amount_msat) = (held.payment_hash, held.amount.0);
            match outcome {
                Outcome::Taken => {
                    counter!("lsps_payments_held").increment(1);
                    info!(%payment_hash, amount_msat, "payment for an order held");
                }
                Outcome::Refused(_) => {
                    counter!("lsps_payments_refused").increment(1);
                    info!(%payment_hash, amount_msat, "payment for an order refused");
                }
                Outcome::NotMine => {}
            }
        }
        (Input::PaymentClaimed { payment_hash, amount, .. }, Outcome::Taken) => {
            counter!("lsps_payments_claimed").increment(1);
            info!(%payment_hash, amount_msat = amount.0, "payment for an order claimed");
        }
        (Input::PaymentGone { payment_hash }, Outcome::Taken) => {
            counter!("lsps_payments_lost").increment(1);
            info!(%payment_hash, "payment for an order went back");
        }
        (Input::Deposit(deposit), outcome) => {
            let (outpoint, amount_sat) = (deposit.outpoint, deposit.amount.0);
            match outcome {
                Outcome::Taken => info!(%outpoint, amount_sat, confirmed_at = ?deposit.confirmed_at, "deposit"),
                // The order has more deposits than are recorded: they stay reserved in the wallet.
                Outcome::Refused(_) | Outcome::NotMine => {
                    counter!("lsps_deposits_refused").increment(1);
                    warn!(%outpoint, amount_sat, address = deposit.address, "a deposit that has to be looked at");
                }
            }
        }
        (Input::DepositGone { outpoint, .. }, Outcome::Taken) => {
            counter!("lsps_deposits_gone").increment(1);
            warn!(%outpoint, "a deposit is gone");
        }
        (Input::RefundConfirmed { key }, Outcome::Taken) => info!(order = %key.order, key.number, "refund confirmed"),
        (Input::RefundImpossible { key }, Outcome::Taken) => {
            counter!("lsps_refunds_impossible").increment(1);
            warn!(order = %key.order, key.number, "a refund would cost more than it gives back");
        }
        (Input::CancelOrder { order } | Input::RetryOrder { order }, outcome) => {
            info!(%order, ?input, ?outcome, "by the operator");
        }
        (Input::PartForwarded { part, .. }, Outcome::Taken) => {
            counter!("lsps_parts_claimed").increment(1);
            info!(?part, "part claimed");
        }
        (Input::PartFailed { part } | Input::PartGone { part } | Input::ForwardRefused { part }, Outcome::Taken) => {
            counter!("lsps_parts_lost").increment(1);
            info!(part = hex(&part.0), "part not delivered");
        }
        (Input::PartPresumedFailed { part }, Outcome::Taken) => {
            counter!("lsps_parts_lost").increment(1);
            warn!(part = hex(&part.0), "part not delivered, as it seems");
        }
        (Input::ClockSet { from, to }, _) => warn!(?from, ?to, "the clock was set"),
        (Input::ChannelPending { key }, Outcome::Taken) => debug!(flow = %key.flow, attempt = key.attempt, "signed"),
        (Input::ChannelReady { key, .. }, Outcome::Taken) => {
            counter!("lsps_channels_ready").increment(1);
            info!(flow = %key.flow, attempt = key.attempt, "channel ready");
        }
        (Input::ChannelEnded { key, why }, Outcome::Taken) => {
            counter!("lsps_channels_ended", "why" => reason(why)).increment(1);
            warn!(flow = %key.flow, attempt = key.attempt, ?why, "channel ended");
        }
        (Input::FundingConfirmed { key }, Outcome::Taken) => {
            info!(flow = %key.flow, attempt = key.attempt, "funding confirmed");
        }
        (Input::Message { peer, payload }, Outcome::Refused(_)) => {
            counter!("lsps_messages_bad").increment(1);
            warn!(%peer, bytes = payload.len(), "message is no request");
        }
        (Input::Message { peer, payload }, _) => {
            counter!("lsps_messages_received").increment(1);
            debug!(%peer, bytes = payload.len(), "message received");
        }
        (Input::PeerConnected { peer } | Input::PeerDisconnected { peer } | Input::ChannelsUsable { peer }, _) => {
            debug!(%peer, ?input, "peer");
        }
        (Input::WakeUp { peer, reason }, outcome) => debug!(%peer, ?reason, ?outcome, "a client should come"),
        (Input::WebhookDelivered { key }, Outcome::Taken) => {
            counter!("lsps_notifications_delivered").increment(1);
            debug!(peer = %key.client, key.number, "notification delivered");
        }
        (Input::WebhookFailed { key } | Input::WebhookUnreached { key }, Outcome::Taken) => {
            counter!("lsps_notifications_failed").increment(1);
            info!(peer = %key.client, key.number, "notification not delivered");
        }
        (Input::Decided { id, .. }, outcome) => info!(peer = %id.client, ?outcome, "decided"),
        (
            Input::PartForwarded { .. }
            | Input::PartFailed { .. }
            | Input::PartPresumedFailed { .. }
            | Input::NodeCaughtUp
            | Input::PartGone { .. }
            | Input::PartStillHeld { .. }
            | Input::PartAtClient { .. }
            | Input::ForwardRefused { .. }
            | Input::ChannelAsked { .. }
            | Input::ChannelNegotiated { .. }
            | Input::FundingBuilt { .. }
            | Input::ChannelPending { .. }
            | Input::ChannelReady { .. }
            | Input::ChannelEnded { .. }
            | Input::ChannelAbandoned { .. }
            | Input::ChannelCarries { .. }
            | Input::FundingConfirmed { .. }
            | Input::OrderPrepared { .. }
            | Input::PaymentClaimed { .. }
            | Input::PaymentGone { .. }
            | Input::DepositGone { .. }
            | Input::DepositKept { .. }
            | Input::RefundBuilt { .. }
            | Input::RefundImpossible { .. }
            | Input::RefundConfirmed { .. }
            | Input::Booked { .. }
            | Input::NodeFacts(_)
            | Input::Tick
            | Input::ChannelsWith { .. }
            | Input::WebhookDelivered { .. }
            | Input::WebhookFailed { .. }
            | Input::WebhookUnreached { .. },
            _,
        ) => {}
    }
}

/// Reports what a client told of its program. There is no counter by program: strangers choose the names.
pub(super) fn introduced(Introduced { client, method, info }: &Introduced) {
    let (app, app_version) = (info.app(), info.app_version());
    let (node, node_version) = (info.node(), info.node_version());
    debug!(%client, method, ?app, ?app_version, ?node, ?node_version, "client told its program");
}

/// Reports an effect that is about to be executed.
pub(super) fn doing(effect: &Effect) {
    match effect {
        Effect::OpenChannel { key, peer, terms } => {
            counter!("lsps_channels_asked").increment(1);
            let capacity_sat = terms.capacity_sat;
            info!(flow = %key.flow, attempt = key.attempt, %peer, capacity_sat, "opening a channel");
        }
        Effect::BroadcastFunding { key, ask, .. } => {
            info!(flow = %key.flow, attempt = key.attempt, ask, "broadcasting the funding");
        }
        Effect::AbandonChannel { key, peer, .. } => {
            counter!("lsps_channels_abandoned").increment(1);
            warn!(flow = %key.flow, attempt = key.attempt, %peer, "giving a channel up");
        }
        Effect::CarryOthers { key, .. } => info!(flow = %key.flow, attempt = key.attempt, "carries others' payments"),
        Effect::ForwardPart { part, payment_hash, key, peer, amount, extra_fee, ask, .. } => {
            if *ask == 1 {
                counter!("lsps_parts_forwarded").increment(1);
            }
            let (part, flow) = (hex(&part.0), key.flow);
            let (amount_msat, fee_msat) = (amount.0, extra_fee.0);
            info!(%part, %payment_hash, %flow, %peer, amount_msat, fee_msat, ask, "forwarding a part");
        }
        Effect::FailPart { part, code, ask } => {
            if *ask == 1 {
                counter!("lsps_parts_failed", "code" => name(*code)).increment(1);
            }
            info!(part = hex(&part.0), code = name(*code), ask, "failing a part");
        }
        Effect::WakeClient { flow, peer, call, .. } => {
            counter!("lsps_clients_called").increment(1);
            info!(%flow, %peer, call, "calling a client");
        }
        Effect::PostWebhook { key, url, .. } => {
            counter!("lsps_notifications").increment(1);
            debug!(peer = %key.client, key.number, url = url.as_str(), "posting a notification");
        }
        Effect::PrepareOrder { order, .. } => {
            counter!("lsps_orders_made").increment(1);
            info!(%order, "an order is made");
        }
        Effect::ClaimPayment { order, payment_hash, ask, .. } => {
            info!(%order, %payment_hash, ask, "claiming a payment");
        }
        Effect::FailPayment { order, payment_hash, ask } => info!(%order, %payment_hash, ask, "failing a payment"),
        Effect::BuildRefund { key, to, .. } => {
            counter!("lsps_refunds").increment(1);
            warn!(order = %key.order, key.number, to, "giving deposits back");
        }
        Effect::BroadcastRefund { key, ask, .. } => info!(order = %key.order, key.number, ask, "broadcasting a refund"),
        Effect::FundChannel { .. } | Effect::HandFunding { .. } | Effect::KeepDeposit { .. } | Effect::Book { .. } => {}
    }
}

/// Reports a new entry of the book.
pub(super) fn booked(entry: &BookEntry) {
    match &entry.what {
        Booking::FeeAsked { fee, .. } => counter!("lsps_fees_asked_msat").increment(fee.0),
        Booking::FeeEarned { fee, surplus, .. } => {
            counter!("lsps_fees_earned_msat").increment(fee.0);
            counter!("lsps_surplus_msat").increment(surplus.0);
        }
        Booking::FeeLost { fee, .. } => counter!("lsps_fees_lost_msat").increment(fee.0),
        Booking::OrderUnpaid { fee, given } => {
            counter!("lsps_orders_unpaid").increment(1);
            counter!("lsps_fees_lost_msat").increment(fee.0);
            counter!("lsps_given_msat").increment(given.0);
            warn!(peer = %entry.client, fee_msat = fee.0, given_msat = given.0, "a published channel is not paid for");
        }
        Booking::OrderPaidAgain { payment_hash, amount } => {
            counter!("lsps_orders_paid_twice").increment(1);
            counter!("lsps_surplus_msat").increment(amount.0);
            warn!(peer = %entry.client, %payment_hash, amount_msat = amount.0, "an order is paid twice: give it back");
        }
        Booking::OrderPaid { fee, surplus } | Booking::OrderFound { fee, surplus, .. } => {
            counter!("lsps_fees_earned_msat").increment(fee.0);
            counter!("lsps_surplus_msat").increment(surplus.0);
        }
        Booking::DepositLost { amount } => counter!("lsps_deposits_lost_msat").increment(amount.0),
        Booking::DepositFound { amount } => counter!("lsps_deposits_found_msat").increment(amount.0),
        Booking::DustKept { amount } => counter!("lsps_surplus_msat").increment(amount.0),
        Booking::Refunded { received_sat, .. } => counter!("lsps_refunded_sat").increment(*received_sat),
        Booking::ChannelPaid { mining_sat, .. } => counter!("lsps_mining_fees_sat").increment(*mining_sat),
    }
    info!(peer = %entry.client, token = entry.token, entry = ?entry.what, "booked");
}

/// Reports a record that the store failed to read. The host leaves it alone; another start may read it.
pub(super) fn unread((name, error): (String, StoreError)) -> Unreadable {
    counter!("lsps_records_unread").increment(1);
    warn!(name, %error, "a record cannot be read");
    Unreadable::Store { name, why: error.to_string() }
}

/// Reports an invalid record that the store returned later; the operator learnt of it at the start.
pub(super) fn unreadable(why: &Unreadable) {
    error!(%why, "a record cannot be read");
}

/// Reports a marker that did not come back for a minute. The node's events are stuck, or the application does not pass
/// each of them to the LSP.
pub(super) fn marker_overdue(sent: usize) {
    counter!("lsps_markers_overdue").increment(1);
    warn!(sent, "the node does not tell its events, or not all of them reach the LSP: nothing is decided on failures");
}

/// Reports a flow whose steps did not end.
pub(super) fn runaway(flow: FlowId) {
    counter!("lsps_runaways").increment(1);
    error!(%flow, "more followed than can be: the node's facts are wrong, or this program is");
}

/// Reports a broadcast and its answer.
pub(super) fn broadcast(purpose: TxPurpose, txid: &Txid, answer: &Broadcast) {
    match answer {
        Broadcast::Accepted => info!(of = ?purpose, %txid, "in the mempool"),
        Broadcast::Known | Broadcast::Unanswered => debug!(of = ?purpose, %txid, ?answer, "broadcast"),
        Broadcast::Refused(why) => {
            counter!("lsps_broadcasts_refused").increment(1);
            warn!(of = ?purpose, %txid, why, "the mempool does not take it");
        }
    }
}

/// Reports an error of the store.
pub(super) fn store_failed(error: &StoreError) {
    counter!("lsps_store_failures").increment(1);
    warn!(%error, "the store cannot be written");
}

fn name(code: FailureCode) -> &'static str {
    match code {
        FailureCode::TemporaryChannelFailure => "temporary_channel_failure",
        FailureCode::UnknownNextPeer => "unknown_next_peer",
    }
}

fn reason(why: &ChannelEnd) -> &'static str {
    match why {
        ChannelEnd::Rejected => "rejected",
        ChannelEnd::PeerGone => "peer_gone",
        ChannelEnd::Closed => "closed",
        ChannelEnd::CannotOpen(_) => "cannot_open",
        ChannelEnd::TryAgain => "try_again",
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    lsps_types::PaymentHash(*bytes).to_string()
}

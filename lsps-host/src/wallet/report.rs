//! Tracing and metrics of the wallet: a `tracing` event and a `metrics` counter for everything that affects money.
//!
//! Field names and counters are part of the interface; README lists them.

use lsps_client::jit_receive::{Arrival, Fault};
use lsps_client::order::{End, OrderKey};
use lsps_client::{Effect, Heard, Unreadable};
use lsps_types::{Msat, PaymentHash, PeerId};
use metrics::counter;
use tracing::{debug, error, info, warn};

use super::events::WalletEvent;
use crate::ports::{PaymentEnd, StoreError};

/// Reports a message of an LSP.
pub(super) fn message(peer: PeerId, bytes: usize, heard: &Heard) {
    match heard {
        Heard::BadFormat(_) => {
            counter!("lsps_messages_bad").increment(1);
            warn!(%peer, bytes, "message is no answer");
        }
        Heard::Answer | Heard::UnknownId | Heard::UncorrelatedError | Heard::UnknownNotification => {
            counter!("lsps_messages_received").increment(1);
            debug!(%peer, bytes, ?heard, "message received");
        }
    }
}

/// Reports an incoming payment and the decision on it.
pub(super) fn arrived(payment_hash: PaymentHash, (received, kept): (Msat, Msat), arrival: Arrival) {
    let (amount_msat, fee_msat) = (received.0, kept.0);
    match arrival {
        Arrival::Claim => debug!(%payment_hash, amount_msat, fee_msat, "payment is good"),
        Arrival::Hold => info!(%payment_hash, amount_msat, fee_msat, "payment waits for its channels"),
        Arrival::WaitForMore => warn!(%payment_hash, amount_msat, fee_msat, "payment is incomplete and goes back"),
        Arrival::Reject(why) => warn!(%payment_hash, amount_msat, fee_msat, %why, "payment goes back"),
    }
}

/// Reports the outcome of a payment for an order.
pub(super) fn payment_ended(order: OrderKey, end: PaymentEnd) {
    info!(%order, ?end, "payment for an order ended");
}

/// Reports an effect that is about to be executed.
pub(super) fn doing(effect: &Effect) {
    match effect {
        Effect::AcceptChannel { lsp, attempt, terms, .. } => {
            counter!("lsps_wallet_channels_accepted").increment(1);
            info!(flow = %terms.flow, attempt, peer = %lsp, "accepting a channel");
        }
        Effect::PayOrder { order, lsp, option } => {
            info!(%order, peer = %lsp, amount_sat = option.total.0, way = ?option.method(), "paying an order");
        }
        Effect::StopPaying { order, .. } => info!(%order, "an order is paid no more"),
        Effect::BroadcastPayment { order, .. } => info!(%order, "broadcasting the payment of an order"),
        Effect::ForgetPayment { order, .. } => info!(%order, "the transaction of an order is not broadcast any more"),
        Effect::ClaimAfter { purchase, confirmations, .. } => {
            debug!(payment_hash = %purchase, confirmations, "payment is claimed later");
        }
        Effect::AllowUnderpaying { lsp } | Effect::ForbidUnderpaying { lsp } => debug!(peer = %lsp, ?effect, "setting"),
        Effect::ReservePayment { order, .. } => debug!(%order, "coins of an order are kept"),
    }
}

/// Reports an event of the wallet.
pub(super) fn told(event: &WalletEvent) {
    match event {
        WalletEvent::Bought { payment_hash } => {
            counter!("lsps_wallet_purchases").increment(1);
            info!(%payment_hash, "a channel is bought");
        }
        WalletEvent::Received { payment_hash, received, fee } => {
            counter!("lsps_wallet_payments_received").increment(1);
            counter!("lsps_wallet_fees_paid_msat").increment(fee.0);
            info!(%payment_hash, amount_msat = received.0, fee_msat = fee.0, "payment received");
        }
        WalletEvent::Refused { payment_hash, why } => {
            counter!("lsps_wallet_payments_refused", "why" => name(*why)).increment(1);
            warn!(%payment_hash, %why, "payment refused");
        }
        WalletEvent::GaveUp { payment_hash } => {
            counter!("lsps_wallet_payments_given_up").increment(1);
            warn!(%payment_hash, "a payment that was held went back");
        }
        WalletEvent::ChannelRefused { lsp, why } => {
            counter!("lsps_wallet_channels_refused").increment(1);
            warn!(peer = %lsp, %why, "channel refused");
        }
        WalletEvent::Ordered { order, method } => {
            counter!("lsps_wallet_orders").increment(1);
            info!(%order, way = ?method, "a channel is ordered");
        }
        WalletEvent::OrderStuck { order, why } => {
            counter!("lsps_wallet_orders_stuck").increment(1);
            warn!(%order, %why, "an order does not go on");
        }
        WalletEvent::OrderOver { order, end } => {
            counter!("lsps_wallet_orders_over", "end" => ending(end)).increment(1);
            info!(%order, %end, "an order is over");
        }
        WalletEvent::Holding { payment_hash, confirmations } => {
            counter!("lsps_wallet_payments_held").increment(1);
            info!(%payment_hash, confirmations, "payment held");
        }
        WalletEvent::StoreFails(_) => {} // reported with the error
        WalletEvent::LostOwnership => error!("another process has the wallet's records"),
        WalletEvent::Asked
        | WalletEvent::Offered { .. }
        | WalletEvent::ChannelOpening { .. }
        | WalletEvent::PaymentArriving { .. }
        | WalletEvent::Claimable { .. }
        | WalletEvent::Expired { .. }
        | WalletEvent::OrderPaid { .. }
        | WalletEvent::OrderOpening { .. }
        | WalletEvent::OrderFailed { .. } => debug!("{event}"),
    }
}

/// Reports a record that the store failed to read. The host does not change the record and reads it again every second.
pub(super) fn unread((name, error): (String, StoreError)) -> Unreadable {
    counter!("lsps_records_unread").increment(1);
    warn!(name, %error, "a record cannot be read");
    Unreadable::Store { name, why: error.to_string() }
}

/// Reports an invalid record.
pub(super) fn unreadable(why: &Unreadable) {
    error!(%why, "a record cannot be read");
}

/// Reports that a marker has not come back for a minute: the node's events are delayed, or the application does not
/// pass all of them to the wallet.
pub(super) fn marker_overdue(sent: u64) {
    counter!("lsps_markers_overdue").increment(1);
    warn!(sent, "the node does not report its events, or not all of them reach the wallet: nothing held is claimed");
}

/// Reports an error of the store.
pub(super) fn store_failed(error: &StoreError) {
    counter!("lsps_store_failures").increment(1);
    warn!(%error, "the store cannot be written");
}

fn name(why: Fault) -> &'static str {
    match why {
        Fault::SkimAbovePromise { .. } => "skim_above_promise",
        Fault::SkimAboveShare { .. } => "skim_above_share",
        Fault::SkimWithoutPurchase => "skim_without_purchase",
        Fault::TooLittle { .. } => "too_little",
        Fault::FeeSwallowsPayment { .. } => "fee_swallows_payment",
        Fault::LeavesTooLittle { .. } => "leaves_too_little",
        Fault::NoChannelOpened { .. } => "no_channel_opened",
        Fault::KeptByAnother { .. } => "kept_by_another",
        Fault::Unconfirmed { .. } => "unconfirmed",
        Fault::ChannelGone => "channel_gone",
        Fault::Unpublished => "unpublished",
        _ => "other",
    }
}

fn ending(end: &End) -> &'static str {
    match end {
        End::Done { .. } => "done",
        End::Refunded => "refunded",
        End::Unpaid(_) => "unpaid",
        End::GivenUp => "given_up",
    }
}

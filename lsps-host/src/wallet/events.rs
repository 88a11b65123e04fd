//! Events of a wallet, for a user interface.

use std::fmt;

use lsps_client::jit_receive::{Fault, RefuseChannel};
use lsps_client::order::{End, OrderKey, Trouble, WayKind};
use lsps_types::{Msat, PaymentHash, PeerId};
use tokio::sync::broadcast;

/// An event of a wallet, for a user interface. Nothing has to be done about it but what its own text says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalletEvent {
    /// The LSPs are asked for their terms.
    Asked,
    /// Terms were chosen.
    Offered {
        /// The LSP.
        lsp: PeerId,
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
        /// The peer that wanted to open it.
        lsp: PeerId,
        /// The fault of the channel.
        why: RefuseChannel,
    },
    /// A payment arrived and is being claimed.
    PaymentArriving {
        /// The purchase.
        payment_hash: PaymentHash,
        /// The amount that came in.
        received: Msat,
        /// The fee that the LSP kept.
        kept: Msat,
    },
    /// A payment arrived, and is claimed when its channel is confirmed.
    Holding {
        /// The purchase.
        payment_hash: PaymentHash,
        /// The confirmations that are waited for.
        confirmations: u16,
    },
    /// A payment is claimed.
    Received {
        /// The purchase.
        payment_hash: PaymentHash,
        /// The amount that came in.
        received: Msat,
        /// The fee that the LSP kept.
        fee: Msat,
    },
    /// A payment was failed back: the payer keeps the money.
    Refused {
        /// The payment.
        payment_hash: PaymentHash,
        /// The fault of the payment.
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
    /// The store refuses to write; its own words. Nothing is acknowledged, sent, paid or claimed until it writes again.
    StoreFails(String),
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
        /// The way in which the order is paid.
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
        /// The reason.
        why: Trouble,
    },
    /// An order is over.
    OrderOver {
        /// The order.
        order: OrderKey,
        /// The end.
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
            Self::StoreFails(why) => write!(f, "the wallet's records cannot be written: {why}"),
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

/// Tells all readers.
#[derive(Clone)]
pub(super) struct Events(broadcast::Sender<WalletEvent>);

impl Events {
    pub fn subscribe(&self) -> broadcast::Receiver<WalletEvent> {
        self.0.subscribe()
    }

    pub fn send(&self, event: WalletEvent) {
        let _ = self.0.send(event); // fails when nobody listens
    }
}

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

/// Events that a slow reader may lag behind.
const KEPT: usize = 256;

//! Events of a wallet, for a user interface.

use std::fmt;

use lsps_client::jit_receive::{Fault, RefuseChannel};
use lsps_client::order::{End, OrderKey, PaymentMethod, Trouble};
use lsps_types::{BlockHeight, Msat, PaymentHash, PeerId};
use tokio::sync::broadcast;

/// An event of a wallet, for a user interface. No event requires an action unless its text says so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalletEvent {
    /// The wallet asks the LSPs for their terms.
    Asked,
    /// Terms were chosen.
    Offered {
        /// The LSP.
        lsp: PeerId,
        /// Opening fee for the requested amount, in millisatoshis.
        fee: Msat,
    },
    /// The purchase is on record and its invoice may be handed out.
    Bought {
        /// Payment hash of the purchase.
        payment_hash: PaymentHash,
    },
    /// A channel is being accepted, usually for this purchase.
    ChannelOpening {
        /// Payment hash of the purchase.
        payment_hash: PaymentHash,
    },
    /// A channel was refused although one was bought or ordered.
    ChannelRefused {
        /// Peer that asked to open the channel.
        lsp: PeerId,
        /// Reason.
        why: RefuseChannel,
    },
    /// A payment arrived and is being claimed.
    PaymentArriving {
        /// Payment hash of the purchase.
        payment_hash: PaymentHash,
        /// Amount that arrived, in millisatoshis.
        received: Msat,
        /// Fee that the LSP skimmed, in millisatoshis.
        kept: Msat,
    },
    /// A payment arrived, and is held until its channel is confirmed.
    Holding {
        /// Payment hash of the purchase.
        payment_hash: PaymentHash,
        /// Number of confirmations of the funding transaction that the wallet waits for.
        confirmations: u16,
    },
    /// A payment was claimed.
    Received {
        /// Payment hash of the purchase.
        payment_hash: PaymentHash,
        /// Amount that arrived, in millisatoshis.
        received: Msat,
        /// Fee that the LSP skimmed, in millisatoshis.
        fee: Msat,
    },
    /// A payment was failed; the payer keeps the money.
    Refused {
        /// Payment hash.
        payment_hash: PaymentHash,
        /// Reason.
        why: Fault,
    },
    /// A payment to a hash of the application was held, and its channels are confirmed now. The application may claim
    /// or fail the payment. The event is repeated after a restart, until the payment is claimed or failed.
    Claimable {
        /// Payment hash of the purchase.
        payment_hash: PaymentHash,
        /// Amount that arrived, in millisatoshis.
        received: Msat,
        /// Fee that the LSP skimmed, in millisatoshis.
        kept: Msat,
        /// Height before which the application has to claim the payment. Later the node fails it, and may hold another
        /// payment with this hash, of which any fee was kept: nodes claim by hash.
        claim_before: BlockHeight,
    },
    /// A held payment was failed: its channel was not confirmed in time, or one of its channels is closed.
    GaveUp {
        /// Payment hash of the purchase.
        payment_hash: PaymentHash,
    },
    /// The store fails to write (with its error text). Nothing is acknowledged, sent, paid or claimed until it works.
    StoreFails(String),
    /// Another process owns the records: the wallet has stopped, and writes, sends and executes nothing more.
    LostOwnership,
    /// A purchase expired without a payment.
    Expired {
        /// Payment hash of the purchase.
        payment_hash: PaymentHash,
    },
    /// An order is on record, and is being paid.
    Ordered {
        /// Key of the order.
        order: OrderKey,
        /// Payment method.
        method: PaymentMethod,
    },
    /// The LSP holds the payment of an order.
    OrderPaid {
        /// Key of the order.
        order: OrderKey,
    },
    /// The channel of an order is being accepted.
    OrderOpening {
        /// Key of the order.
        order: OrderKey,
    },
    /// An order failed; its payment is to be refunded.
    OrderFailed {
        /// Key of the order.
        order: OrderKey,
    },
    /// An order is in a trouble that may pass, or its channel is open without a confirmation.
    OrderStuck {
        /// Key of the order.
        order: OrderKey,
        /// Trouble of the order.
        why: Trouble,
    },
    /// An order has ended.
    OrderOver {
        /// Key of the order.
        order: OrderKey,
        /// Outcome.
        end: End,
    },
}

/// Formats the event as a sentence for a user.
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
            Self::Ordered { method, .. } => write!(f, "a channel is ordered, to be paid {method}"),
            Self::OrderPaid { .. } => f.write_str("the provider has the payment for the channel"),
            Self::OrderOpening { .. } => f.write_str("the channel that was ordered is opening"),
            Self::OrderFailed { .. } => f.write_str("there will be no channel, the payment is to come back"),
            Self::OrderStuck { why, .. } => write!(f, "the order does not go on: {why}"),
            Self::OrderOver { end, .. } => write!(f, "the order is over: {end}"),
        }
    }
}

/// Sender of the events to all readers.
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

/// Number of events by which a slow reader may lag behind.
const KEPT: usize = 256;

//! Inputs: what the host and the application report to the client. They are plain data, so a recorded log of inputs
//! replays to the same state.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use lsps_types::jsonrpc::RequestData;
use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{Msat, OutPoint, PaymentHash, PeerId, Preimage, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effect::ChannelKey;
use crate::jit_receive::{OpenRequest, Prepared};
use crate::order::{OrderKey, PaymentMethod, Quote};

/// One report: an event at the wallet's node or at an LSP, or a request of the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// An LSP connected. The client asks it at once about its orders.
    PeerConnected {
        /// The LSP.
        peer: PeerId,
    },
    /// An LSP disconnected. Its answers are lost, and requests that were not sent yet are dropped.
    PeerDisconnected {
        /// The LSP.
        peer: PeerId,
    },
    /// The payload of a message of type 37913. The client never answers an LSP.
    ///
    /// Outcome: [`Heard`](crate::Outcome::Heard).
    Message {
        /// Sender, as BOLT 8 authenticated it.
        peer: PeerId,
        /// Bytes after the message type.
        payload: Vec<u8>,
    },
    /// A request to send to an LSP. [`Client::call`](crate::Client::call) creates this input from a request, and a
    /// ticket from its outcome.
    ///
    /// Outcome: [`Sent`](crate::Outcome::Sent); refused if the request cannot be sent now.
    Call {
        /// The LSP.
        lsp: PeerId,
        /// The request.
        request: RequestData,
        /// Time limit for the answer. `None`: [`Config::answer_within`](crate::Config::answer_within).
        answer_within: Option<Duration>,
    },
    /// The answer to this call is no longer needed, or its outcome was taken.
    CallOver {
        /// The call.
        call: CallId,
    },
    /// Puts a purchase on record under the hash of its invoice. Hand the invoice out only after the record is written.
    ///
    /// Refused if it is too late, or there are too many purchases.
    RegisterPurchase {
        /// The purchase.
        prepared: Prepared,
        /// Payment hash of the invoice.
        payment_hash: PaymentHash,
    },
    /// An LSP asks to open a channel. If accepted, [`Effect::AcceptChannel`](crate::Effect::AcceptChannel) has the
    /// terms, once the record is written.
    ///
    /// A channel that meets the terms of an order is taken for the order's; if a purchase from that LSP waits for a
    /// channel too, it is accepted on the terms of the purchase. The true purpose shows when a payment arrives over it,
    /// or when the LSP names it as the order's.
    ///
    /// Refused if no such channel was bought or ordered. The application may expect it; otherwise the host refuses it.
    ChannelRequested(OpenRequest),
    /// A channel with this peer was opened, by either side and for any purpose. HTLCs of purchases may arrive over it
    /// too.
    ChannelWith {
        /// The peer.
        peer: PeerId,
    },
    /// The funding of an accepted channel is negotiated.
    ChannelFunded {
        /// The channel.
        key: ChannelKey,
        /// Funding output; `None` if the node does not report it. An order is done only when its LSP names this output.
        funding: Option<OutPoint>,
    },
    /// An accepted channel could not be opened or was closed. The LSP may open another for the same purchase.
    ChannelEnded {
        /// The channel.
        key: ChannelKey,
    },
    /// The funding of an accepted channel has its first confirmation. Hosts watch for it while a completed order has an
    /// [`unconfirmed_channel`](crate::order::Order::unconfirmed_channel).
    ChannelConfirmed {
        /// The channel.
        key: ChannelKey,
    },
    /// The node holds a complete payment as promised, whose channels are not confirmed enough to claim, by
    /// [`Client::arrived`](crate::Client::arrived). [`Effect::ClaimAfter`](crate::Effect::ClaimAfter) follows once the
    /// record is written.
    PaymentHeld {
        /// Payment hash.
        payment_hash: PaymentHash,
        /// Amount that arrived.
        received: Msat,
        /// Amount that was kept on the way.
        skimmed: Msat,
        /// Preimage of the payment; `None` if the application has it and claims.
        preimage: Option<Preimage>,
        /// Channels over which the payment arrived.
        over: Vec<ChannelKey>,
    },
    /// A held payment was failed, as its HTLCs were about to expire. The payer may send it again.
    HeldPaymentFailed {
        /// Payment hash.
        payment_hash: PaymentHash,
    },
    /// A payment was claimed.
    PaymentClaimed {
        /// Payment hash.
        payment_hash: PaymentHash,
        /// Amount that arrived.
        received: Msat,
        /// Amount that was kept on the way.
        skimmed: Msat,
        /// Channels over which the payment arrived, as far as the node reports them.
        over: Vec<ChannelKey>,
    },
    /// The wallet no longer wants the payment of a purchase.
    AbandonPurchase {
        /// Payment hash of the invoice.
        payment_hash: PaymentHash,
    },
    /// Puts an order on record that the LSP created and that passed the checks. No payment is made yet, and none has to
    /// be.
    ///
    /// Outcome: [`Placed`](crate::Outcome::Placed); refused if it is too late, there are too many orders, or the
    /// payment hash was used before.
    PlaceOrder(Quote),
    /// Pay an order by the first of these methods. The next is tried only if nothing was sent by the one before or all
    /// of it came back, and the LSP still lists the order as open. No two payments are ever in flight at once.
    ///
    /// Refused if another method was chosen before, or it is too late for all of them.
    PayOrder {
        /// The order.
        order: OrderKey,
        /// Payment methods, in the order of preference.
        methods: Vec<PaymentMethod>,
    },
    /// The wallet signed the transaction that pays an order, with exactly one output of the total to the address. The
    /// transaction must not be broadcast before [`Effect::BroadcastPayment`](crate::Effect::BroadcastPayment), and
    /// never if this input is refused or another transaction was recorded.
    OrderSigned {
        /// The order.
        order: OrderKey,
        /// Transaction in consensus encoding.
        transaction: Vec<u8>,
    },
    /// The host is about to broadcast the transaction of an order; report this right before every broadcast. Refused if
    /// it must not be broadcast, as the effect may have waited until it was too late.
    Broadcasting {
        /// The order.
        order: OrderKey,
    },
    /// The inputs of a transaction that is broadcast no more were released, as
    /// [`Effect::ForgetPayment`](crate::Effect::ForgetPayment) asked.
    PaymentForgotten {
        /// The order.
        order: OrderKey,
    },
    /// Lightning: the LSP claimed the payment of an order, and the node has the preimage.
    OrderSettled {
        /// The order.
        order: OrderKey,
    },
    /// Nothing was sent for an order, and the node makes no more attempts. On-chain: no transaction was signed.
    OrderNotSent {
        /// The order.
        order: OrderKey,
    },
    /// Lightning: the payment of an order failed, and the node makes no more attempts. The LSP may have held it before,
    /// so it is asked once more, for [`Polling::after_return`](crate::order::Polling::after_return) at most.
    OrderReturned {
        /// The order.
        order: OrderKey,
    },
    /// Ends an order in any state. An unpaid order is over at once. A Lightning payment is stopped, and the order is
    /// over when the node reports the outcome. On a second report, or with its payment claimed or signed, the order is
    /// given up at once: the payment may be lost, and a channel that is opened anyway is refused.
    ///
    /// Refused if the order is over or does not exist.
    AbandonOrder {
        /// The order.
        order: OrderKey,
    },
    /// Registers this app with the LSP, at this URL: as soon as the LSP is connected, and again whenever it lost the
    /// webhook, also after restarts. A second URL for the same name replaces the first.
    ///
    /// Refused if there are too many apps.
    KeepWebhook {
        /// The LSP.
        lsp: PeerId,
        /// The app.
        app: AppName,
        /// URL to which the LSP posts.
        url: WebhookUrl,
    },
    /// Removes the webhook of an app, as soon as the LSP is connected.
    RemoveWebhook {
        /// The LSP.
        lsp: PeerId,
        /// The app.
        app: AppName,
    },
    /// The host's clock was set, forward or back, by more than some seconds. Waits keep their length: for answers,
    /// between requests, and until an LSP counts as silent. Dates come earlier or later: the expiry of offers, invoices
    /// and orders. Report this before any other input with the new time; a `session::Session` with a steady clock does
    /// so.
    ///
    /// Without this input, a clock that is set back makes waits up to twice as long, and one that is set forward ends
    /// them early.
    ClockSet {
        /// Time that the clock would show if it had not been set.
        from: Timestamp,
        /// Time that the clock shows.
        to: Timestamp,
    },
    /// Time passed: calls time out, purchases and orders expire, LSPs are asked about orders and webhooks, and their
    /// answers are handled. Report this when [`Client::next_wake`](crate::Client::next_wake) is due; more often does no
    /// harm.
    Tick,
}

/// Id of a call to an LSP. The request carries it, and the answer echoes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId {
    /// The LSP.
    pub lsp: PeerId,
    /// Id in the request.
    pub id: String,
}

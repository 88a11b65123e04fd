//! What hosts and applications tell the client. Plain data: a recorded log of inputs replays to the same state.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use lsps_types::jsonrpc::RequestData;
use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{Msat, OutPoint, PaymentHash, PeerId, Preimage, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effect::ChannelKey;
use crate::jit_receive::{OpenRequest, Prepared};
use crate::order::{OrderKey, Quote, WayKind};

/// One thing that happened, at the wallet's node, at an LSP or in the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// An LSP is connected. It is asked at once about its orders.
    PeerConnected {
        /// The LSP.
        peer: PeerId,
    },
    /// An LSP is gone. Its answers are lost, and requests that were not sent yet are not sent any more.
    PeerDisconnected {
        /// The LSP.
        peer: PeerId,
    },
    /// The payload of a message of type 37913. Nothing is ever answered to an LSP.
    ///
    /// Outcome: [`Heard`](crate::Outcome::Heard).
    Message {
        /// The sender, as BOLT 8 authenticated it.
        peer: PeerId,
        /// The bytes after the message type.
        payload: Vec<u8>,
    },
    /// A request is to be sent to an LSP. [`Client::call`](crate::Client::call) makes this input of a request, and a ticket
    /// of its outcome.
    ///
    /// Outcome: [`Sent`](crate::Outcome::Sent); refused where the request cannot be sent now.
    Call {
        /// The LSP.
        lsp: PeerId,
        /// The request.
        request: RequestData,
        /// The time for the answer. `None`: [`Config::answer_within`](crate::Config::answer_within).
        answer_within: Option<Duration>,
    },
    /// Nobody waits for the answer to this call any more, or its outcome was taken.
    CallOver {
        /// The call.
        call: CallId,
    },
    /// A purchase goes on record under the hash of its invoice. The invoice is handed out only after that is written.
    ///
    /// Refused where it is too late, or there are too many purchases.
    RegisterPurchase {
        /// The purchase.
        prepared: Prepared,
        /// The payment hash of its invoice.
        payment_hash: PaymentHash,
    },
    /// An LSP wants to open a channel. Taken: [`Effect::AcceptChannel`](crate::Effect::AcceptChannel) says how, once that is
    /// written.
    ///
    /// A channel that is as ordered is taken for the order; while a purchase from that LSP waits for a channel too, on the
    /// terms of the purchase. Which it is for shows when a payment comes over it, or when the LSP names it as the order's.
    ///
    /// Refused where it is not one that was bought or ordered: the application may know it, otherwise the host refuses it.
    ChannelRequested(OpenRequest),
    /// There is a new channel with this peer, whoever opened it and for whatever: HTLCs of purchases may come over it too.
    ChannelWith {
        /// The peer.
        peer: PeerId,
    },
    /// A channel that was accepted is funded.
    ChannelFunded {
        /// The channel.
        key: ChannelKey,
        /// The output that funds it. `None`: the node does not tell. An order is done only when its LSP names this output.
        funding: Option<OutPoint>,
    },
    /// A channel that was accepted is no more; the LSP may open another for the same purchase.
    ChannelEnded {
        /// The channel.
        key: ChannelKey,
    },
    /// The funding of a channel that was accepted has a first confirmation. Hosts look for it while an order that is done
    /// has an [`unconfirmed_channel`](crate::order::Order::unconfirmed_channel).
    ChannelConfirmed {
        /// The channel.
        key: ChannelKey,
    },
    /// The node holds a payment, complete and as promised, which is to wait until its channels can bear it, by
    /// [`Client::arrived`](crate::Client::arrived). [`Effect::ClaimAfter`](crate::Effect::ClaimAfter) follows once that is
    /// written.
    PaymentHeld {
        /// The payment.
        payment_hash: PaymentHash,
        /// The amount that arrived.
        received: Msat,
        /// The amount that was kept on the way.
        skimmed: Msat,
        /// Claims the payment. `None`: the application has the preimage, and claims.
        preimage: Option<Preimage>,
        /// The channels that the payment came over.
        over: Vec<ChannelKey>,
    },
    /// A payment that was held went back to the payer, as its blocks ran out. It may come again.
    HeldPaymentFailed {
        /// The payment.
        payment_hash: PaymentHash,
    },
    /// A payment was claimed.
    PaymentClaimed {
        /// The payment.
        payment_hash: PaymentHash,
        /// The amount that arrived.
        received: Msat,
        /// The amount that was kept on the way.
        skimmed: Msat,
        /// The channels that the payment came over, as far as the node tells.
        over: Vec<ChannelKey>,
    },
    /// The wallet does not want the payment of a purchase any more.
    AbandonPurchase {
        /// The payment hash of its invoice.
        payment_hash: PaymentHash,
    },
    /// An order goes on record that the LSP made and that was weighed. Nothing is paid yet, and it may be left at that.
    ///
    /// Outcome: [`Placed`](crate::Outcome::Placed); refused where it is too late, there are too many orders, or its payment
    /// hash was used before.
    PlaceOrder(Quote),
    /// An order is to be paid in the first of these ways, and in the next only when nothing of the one before was sent or all
    /// of it came back, while the LSP says that the order stands. No two are ever under way at once.
    ///
    /// Refused where another way was chosen before, or it is too late for all of them.
    PayOrder {
        /// The order.
        order: OrderKey,
        /// The ways.
        ways: Vec<WayKind>,
    },
    /// The wallet signed the transaction that pays an order: it has exactly one output of the total to the address. It must
    /// not be broadcast before [`Effect::BroadcastPayment`](crate::Effect::BroadcastPayment) says so; nor ever, if this is
    /// refused or another was recorded.
    OrderSigned {
        /// The order.
        order: OrderKey,
        /// The transaction in consensus encoding.
        transaction: Vec<u8>,
    },
    /// The transaction of an order is about to be broadcast, the first time or again: told right before, each time. Refused:
    /// it must not be, as an effect may have waited until its time was over.
    Broadcasting {
        /// The order.
        order: OrderKey,
    },
    /// The inputs of a transaction that is not broadcast any more are free, as
    /// [`Effect::ForgetPayment`](crate::Effect::ForgetPayment) said.
    PaymentForgotten {
        /// The order.
        order: OrderKey,
    },
    /// Over Lightning the payment of an order was taken: the node has the preimage.
    OrderSettled {
        /// The order.
        order: OrderKey,
    },
    /// Nothing of the payment of an order was sent, and the node does not try any more. On-chain: none was signed.
    OrderNotSent {
        /// The order.
        order: OrderKey,
    },
    /// Over Lightning the payment of an order failed or came back, and the node does not try any more. The LSP may have held
    /// it before it was ever asked, so it is asked once more, for
    /// [`Polling::after_return`](crate::order::Polling::after_return) at the most.
    OrderReturned {
        /// The order.
        order: OrderKey,
    },
    /// An order ends, whatever its state. One that was not paid is over at once. What the node may still pay over Lightning
    /// is stopped, and the order is over when the node says so; told a second time, or with its payment taken or signed, it
    /// is given up at once: what is lost with it is lost, and a channel that comes all the same is refused.
    ///
    /// Refused where it is over, or there is no such order.
    AbandonOrder {
        /// The order.
        order: OrderKey,
    },
    /// From now on this app is registered with the LSP, at this URL: as soon as it is connected, and again whenever it lost
    /// the webhook. Survives restarts. The same name again replaces its URL.
    ///
    /// Refused where there are too many.
    KeepWebhook {
        /// The LSP.
        lsp: PeerId,
        /// The app.
        app: AppName,
        /// The URL to which the LSP is to post.
        url: WebhookUrl,
    },
    /// An app is to be called no more; its webhook is removed as soon as the LSP is connected.
    RemoveWebhook {
        /// The LSP.
        lsp: PeerId,
        /// The app.
        app: AppName,
    },
    /// The host's clock was set, forward or back, by more than some seconds. Waits are no shorter and no longer for it: those
    /// for answers, the pauses between questions, how long an LSP may be silent. Dates come earlier or later: the ends of
    /// offers, invoices and orders. To be told before anything else is told by the new time; a `session::Session` with a
    /// steady clock does so.
    ///
    /// Without it, a clock set back makes waits up to twice as long, and one set forward ends them early.
    ClockSet {
        /// The time that the clock would show if it had not been set.
        from: Timestamp,
        /// The time that the clock shows.
        to: Timestamp,
    },
    /// Time passes: calls time out, purchases and orders expire, LSPs are asked about orders and webhooks, and their answers
    /// looked at. Told when [`Client::next_wake`](crate::Client::next_wake) is due, and at any time besides.
    Tick,
}

/// The name of a call to an LSP. It stands in the request, so that the answer is found by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId {
    /// The LSP.
    pub lsp: PeerId,
    /// The id in the request.
    pub id: String,
}

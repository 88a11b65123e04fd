//! What the client asks of the wallet's node. Read off the state of purchases and orders, so asked again after a restart.

use alloc::vec::Vec;

use lsps_types::{Blocks, PaymentHash, PeerId, Preimage};
use serde::{Deserialize, Serialize};

use crate::batch::FlowId;
#[cfg(doc)]
use crate::input::Input;
use crate::jit_receive::Channel;
use crate::order::{Accept, OrderKey, Way};

/// Owed to a purchase or an order until it moves on. Each says why doing it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Accept the channel that its LSP asked to open, on these terms.
    ///
    /// Answers: [`ChannelFunded`](Input::ChannelFunded) or [`ChannelEnded`](Input::ChannelEnded);
    /// the latter too if the node knows neither the channel nor a request for it any more, as after a restart. Safe
    /// twice: the host looks for a channel of that key first.
    AcceptChannel {
        /// The host's name for the channel.
        key: ChannelKey,
        /// How often its opening was asked for, from 1.
        attempt: u32,
        /// Who opens it.
        lsp: PeerId,
        /// How to accept it.
        terms: AcceptTerms,
    },
    /// Claim the payment once every channel over which it came, unless this node funded it, has so many confirmations, and
    /// its funding transaction was published as far as the host can tell; fail it back when its blocks run out before.
    /// Without a preimage: tell the application that it may claim.
    ///
    /// Answers: [`PaymentClaimed`](Input::PaymentClaimed) or [`HeldPaymentFailed`](Input::HeldPaymentFailed). Safe twice: a node claims a
    /// payment once, and an application may be told twice.
    ClaimAfter {
        /// The payment.
        purchase: PaymentHash,
        /// From whom it came.
        lsp: PeerId,
        /// Claims it; `None`: the application has it.
        preimage: Option<Preimage>,
        /// Of the funding transaction.
        confirmations: u16,
    },
    /// Let HTLCs on all channels with this LSP carry less than their onions say: it may forward over any of them.
    ///
    /// Safe twice: a setting. What is kept of a payment is judged in any case.
    AllowUnderpaying {
        /// With whom.
        lsp: PeerId,
    },
    /// Do so no more: no purchase waits for a payment from this LSP.
    ///
    /// Safe twice: a setting.
    ForbidUnderpaying {
        /// With whom.
        lsp: PeerId,
    },
    /// Pay an order, exactly its total, unless it is past `pay_by`.
    ///
    /// Lightning: [`OrderSettled`](Input::OrderSettled), or [`OrderReturned`](Input::OrderReturned)
    /// once the node will not try any more, or [`OrderNotSent`](Input::OrderNotSent) if it sent nothing. Safe
    /// twice: a node pays under one id once; take a value made of `order` and of the kind of the way, and of something that
    /// no other payment of the node has in its id. The payment hash will not do: the LSP chooses it, and can take that of a
    /// payment of the application's. A payment hash that the node pays under another id is not paid. What is under way is
    /// not begun again.
    ///
    /// On-chain: [`OrderSigned`](Input::OrderSigned) with a transaction that is *not* broadcast yet, or
    /// `OrderNotSent`. Safe twice: only one transaction is ever recorded, and none other is broadcast.
    PayOrder {
        /// The order.
        order: OrderKey,
        /// Whose.
        lsp: PeerId,
        /// What is to be paid, and how.
        way: Way,
    },
    /// Do not begin to pay an order any more, nor try other routes: the LSP says that it failed.
    ///
    /// [`OrderNotSent`](Input::OrderNotSent) if nothing is under way; else its outcome comes as ever. Safe
    /// twice: what is stopped stays so.
    StopPaying {
        /// The order.
        order: OrderKey,
        /// How it was to be paid: over Lightning.
        way: Way,
    },
    /// Broadcast the transaction that pays an order, if
    /// [`Broadcasting`](Input::Broadcasting) is still taken; and again with every block while it does, as
    /// mempools may drop the transaction. Safe twice: it is the same one.
    BroadcastPayment {
        /// The order.
        order: OrderKey,
        /// The transaction that was recorded.
        transaction: Vec<u8>,
    },
    /// The transaction that pays an order is not to be broadcast, and may be in a mempool that the wallet does not see: its
    /// inputs pay for nothing else. Asked after a restart, when a wallet may have forgotten. Safe twice: a reservation.
    ReservePayment {
        /// The order.
        order: OrderKey,
        /// The transaction that was recorded.
        transaction: Vec<u8>,
    },
    /// The transaction that was to pay an order is broadcast no more, and is in no mempool: it never left this wallet, or
    /// its order was over for longer than mempools keep it. Its inputs may be spent otherwise, unless it was mined.
    ///
    /// Answer: [`PaymentForgotten`](Input::PaymentForgotten), before the inputs pay for anything else. Safe twice
    /// until then. After a restart it comes before every [`BroadcastPayment`](Self::BroadcastPayment), which may spend the
    /// same inputs.
    ForgetPayment {
        /// The order.
        order: OrderKey,
        /// The transaction that was recorded.
        transaction: Vec<u8>,
    },
}

impl Effect {
    /// Whether it asks for the same thing as `other`. A channel that changes purchases is not asked for again.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AcceptChannel { key, attempt, .. }, Self::AcceptChannel { key: k, attempt: a, .. }) => {
                (key, attempt) == (k, a)
            }
            (
                Self::AcceptChannel { .. }
                | Self::ClaimAfter { .. }
                | Self::AllowUnderpaying { .. }
                | Self::ForbidUnderpaying { .. }
                | Self::PayOrder { .. }
                | Self::StopPaying { .. }
                | Self::BroadcastPayment { .. }
                | Self::ReservePayment { .. }
                | Self::ForgetPayment { .. },
                Self::AcceptChannel { .. }
                | Self::ClaimAfter { .. }
                | Self::AllowUnderpaying { .. }
                | Self::ForbidUnderpaying { .. }
                | Self::PayOrder { .. }
                | Self::StopPaying { .. }
                | Self::BroadcastPayment { .. }
                | Self::ReservePayment { .. }
                | Self::ForgetPayment { .. },
            ) => self == other,
        }
    }
}

/// How to accept a channel that was bought or ordered. Spec: LSPS2 §3 "Opening", LSPS1 §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptTerms {
    /// What it is for: an order, or one of the purchases it may be for, which is known when the payment comes.
    pub flow: FlowId,
    /// Of its funding, before it is used. With 0 it is used at once.
    pub confirmations: u16,
    /// Ask for no longer `to_self_delay` than this.
    pub max_to_self_delay: Blocks,
    /// Share of the channel that may be in flight towards us.
    pub in_flight_percent: u8,
    /// Let HTLCs carry less than their onions say.
    pub accept_underpaying: bool,
}

impl AcceptTerms {
    pub(crate) fn of(purchase: PaymentHash, channel: &Channel) -> Self {
        Self {
            flow: FlowId::Purchase(purchase),
            confirmations: 0,
            max_to_self_delay: channel.max_to_self_delay,
            in_flight_percent: 100,
            accept_underpaying: true,
        }
    }

    pub(crate) fn of_order(order: OrderKey, accept: &Accept) -> Self {
        Self {
            flow: FlowId::Order(order),
            confirmations: accept.confirmations,
            max_to_self_delay: accept.max_to_self_delay,
            in_flight_percent: 100,
            accept_underpaying: accept.underpaying,
        }
    }
}

/// The host's own name for a channel, chosen before it is accepted, kept by the node and told when it ends.
///
/// LDK: the user channel id. An LSP may repeat a request after a reconnect under the same temporary channel id; a key
/// made of peer and temporary id then names the same channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelKey(pub u128);

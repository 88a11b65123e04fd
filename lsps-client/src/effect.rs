//! Effects: calls that the client asks the wallet's host to make. They follow from the state of purchases and orders,
//! so they are repeated after a restart.

use alloc::vec::Vec;

use lsps_types::{Blocks, PaymentHash, PeerId, Preimage};
use serde::{Deserialize, Serialize};

use crate::batch::FlowId;
#[cfg(doc)]
use crate::input::Input;
use crate::jit_receive::Channel;
use crate::order::{Accept, OrderKey, PaymentMethod, PaymentOption};

/// Call that the host has to make for a purchase or an order; it is outstanding until that changes. Each variant says
/// why a repetition does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Accept the channel that the LSP asked to open, on these terms.
    ///
    /// Answers: [`ChannelFunded`](Input::ChannelFunded) or [`ChannelEnded`](Input::ChannelEnded); the latter also if
    /// the node knows neither the channel nor a request for it, as after a restart. Safe twice: the host looks for a
    /// channel with this key first.
    AcceptChannel {
        /// Key that the host gave to the channel.
        key: ChannelKey,
        /// Number of requests to open this channel, from 1.
        attempt: u32,
        /// LSP that opens the channel.
        lsp: PeerId,
        /// Terms on which to accept it.
        terms: AcceptTerms,
    },
    /// Claim the payment once every channel over which it arrived, unless this node funded it, has this number of
    /// confirmations, and its funding transaction was published as far as the host can tell. Fail it if its HTLCs are
    /// about to expire before that. Without a preimage: tell the application that it may claim.
    ///
    /// Answers: [`PaymentClaimed`](Input::PaymentClaimed) or [`HeldPaymentFailed`](Input::HeldPaymentFailed). Safe
    /// twice: a node claims a payment once, and an application may be told twice.
    ClaimAfter {
        /// Payment hash of the purchase.
        purchase: PaymentHash,
        /// LSP that sold the channel.
        lsp: PeerId,
        /// Preimage of the payment; `None` if the application has it.
        preimage: Option<Preimage>,
        /// Confirmations that the funding transaction needs.
        confirmations: u16,
    },
    /// Accept HTLCs below the amount in their onions on all channels with this LSP, which may forward over any of them.
    ///
    /// Safe twice: it is a setting. The amount that was kept of a payment is checked in any case.
    AllowUnderpaying {
        /// The LSP.
        lsp: PeerId,
    },
    /// Refuse HTLCs below the amount in their onions again: no purchase waits for a payment from this LSP.
    ///
    /// Safe twice: it is a setting.
    ForbidUnderpaying {
        /// The LSP.
        lsp: PeerId,
    },
    /// Pay an order, exactly its total, unless `pay_by` has passed.
    ///
    /// Lightning: [`OrderSettled`](Input::OrderSettled), or [`OrderReturned`](Input::OrderReturned) once the node makes
    /// no more attempts, or [`OrderNotSent`](Input::OrderNotSent) if it sent nothing. Safe twice: a node pays once
    /// under one payment id. Derive the id from `order`, from the kind of payment method, and from a value that no
    /// other payment id of the node contains. The payment hash does not suffice: the LSP chooses it, and can take that
    /// of a payment of the application. Do not pay a payment hash that the node pays under another id, and do not start
    /// a payment again that is in flight.
    ///
    /// On-chain: [`OrderSigned`](Input::OrderSigned) with a transaction that is *not* broadcast yet, or `OrderNotSent`.
    /// Safe twice: only one transaction is ever recorded, and no other is broadcast.
    PayOrder {
        /// Key of the order.
        order: OrderKey,
        /// LSP of the order.
        lsp: PeerId,
        /// Payment method, with the amount.
        option: PaymentOption,
    },
    /// Do not start to pay an order, nor try other routes: the LSP says that the order failed.
    ///
    /// Answer: [`OrderNotSent`](Input::OrderNotSent) if no payment is in flight; otherwise its outcome is reported as
    /// usual. Safe twice: a payment that is stopped stays stopped.
    StopPaying {
        /// Key of the order.
        order: OrderKey,
        /// Lightning payment method of the order.
        option: PaymentOption,
    },
    /// Broadcast the transaction that pays an order, if [`Broadcasting`](Input::Broadcasting) is accepted right before;
    /// repeat that with every block, as mempools may drop the transaction. Safe twice: the transaction is the same.
    BroadcastPayment {
        /// Key of the order.
        order: OrderKey,
        /// Recorded transaction.
        transaction: Vec<u8>,
    },
    /// Keep the inputs of this transaction reserved. The transaction pays an order and is not to be broadcast, but may
    /// be in a mempool that the wallet does not see. The effect is repeated after a restart, when a wallet may have
    /// forgotten the reservation. Safe twice: it is a reservation.
    ReservePayment {
        /// Key of the order.
        order: OrderKey,
        /// Recorded transaction.
        transaction: Vec<u8>,
    },
    /// Release the inputs of a transaction that was to pay an order. The transaction is no longer broadcast, and is in
    /// no mempool: it never left this wallet, or its order has been over for longer than mempools keep it. The inputs
    /// may be spent unless the transaction was mined.
    ///
    /// Answer: [`PaymentForgotten`](Input::PaymentForgotten), before the inputs are spent. Safe twice until then. After
    /// a restart the effect precedes every [`BroadcastPayment`](Self::BroadcastPayment), which may spend the same
    /// inputs.
    ForgetPayment {
        /// Key of the order.
        order: OrderKey,
        /// Recorded transaction.
        transaction: Vec<u8>,
    },
}

/// Key of an effect. Two effects with the same key ask for the same; a new attempt has a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKey {
    /// See [`Effect::AcceptChannel`]. A channel that is passed to another flow is not asked for again.
    Accept(ChannelKey, u32),
    /// See [`Effect::ClaimAfter`].
    Claim(PaymentHash),
    /// See [`Effect::AllowUnderpaying`].
    AllowUnderpaying(PeerId),
    /// See [`Effect::ForbidUnderpaying`].
    ForbidUnderpaying(PeerId),
    /// See [`Effect::PayOrder`].
    Pay(OrderKey, PaymentMethod),
    /// See [`Effect::StopPaying`].
    Stop(OrderKey, PaymentMethod),
    /// See [`Effect::BroadcastPayment`].
    Broadcast(OrderKey),
    /// See [`Effect::ReservePayment`].
    Reserve(OrderKey),
    /// See [`Effect::ForgetPayment`].
    Forget(OrderKey),
}

impl Effect {
    /// The key of the effect.
    #[must_use]
    pub fn key(&self) -> EffectKey {
        match self {
            Self::AcceptChannel { key, attempt, .. } => EffectKey::Accept(*key, *attempt),
            Self::ClaimAfter { purchase, .. } => EffectKey::Claim(*purchase),
            Self::AllowUnderpaying { lsp } => EffectKey::AllowUnderpaying(*lsp),
            Self::ForbidUnderpaying { lsp } => EffectKey::ForbidUnderpaying(*lsp),
            Self::PayOrder { order, option, .. } => EffectKey::Pay(*order, option.method()),
            Self::StopPaying { order, option } => EffectKey::Stop(*order, option.method()),
            Self::BroadcastPayment { order, .. } => EffectKey::Broadcast(*order),
            Self::ReservePayment { order, .. } => EffectKey::Reserve(*order),
            Self::ForgetPayment { order, .. } => EffectKey::Forget(*order),
        }
    }
}

impl lsps_flow::Keyed for Effect {
    type Key = EffectKey;

    fn key(&self) -> EffectKey {
        self.key()
    }
}

/// Terms on which a channel that was bought or ordered is accepted. Spec: LSPS2 §3 "Opening", LSPS1 §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptTerms {
    /// Flow that the channel is for: an order, or one of several purchases. Which purchase it is shows when the payment
    /// arrives.
    pub flow: FlowId,
    /// Confirmations of the funding before the channel is used; with 0 it is used at once.
    pub confirmations: u16,
    /// Largest `to_self_delay` to ask for.
    pub max_to_self_delay: Blocks,
    /// Largest share of the capacity, in percent, that may be in flight towards the wallet.
    pub in_flight_percent: u8,
    /// Whether HTLCs may be below the amount in their onions.
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

/// Key of a channel. The host chooses it before the channel is accepted, the node stores it, and reports carry it.
///
/// LDK: the user channel id. An LSP may repeat a request after a reconnect under the same temporary channel id; a key
/// made of peer and temporary id then names the same channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelKey(pub u128);

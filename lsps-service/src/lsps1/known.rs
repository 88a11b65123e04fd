//! What the service believes of orders, for hosts to compare with the node and for operators to look at.

use alloc::{string::String, vec::Vec};

use lsps_types::lsps1::OrderId;
use lsps_types::{BlockHeight, Msat, OutPoint, PaymentHash, PeerId, Preimage, Timestamp};

use crate::ids::{OrderNumber, PaymentId, RefundKey};
use crate::input::PaidBy;
use crate::known::{KnownChannel, known_channel};
use crate::lsps1::order::{Order, OrderFailure, Stage};
use crate::lsps1::payments::{Fate, Output, PaymentState, Way};
use crate::service::Service;

impl Service {
    /// All orders on record, in no particular order.
    pub fn known_orders(&self) -> impl Iterator<Item = KnownOrder> {
        self.orders.all().map(Order::known)
    }

    /// One of them, by its id on the wire.
    #[must_use]
    pub fn known_order(&self, order: OrderNumber) -> Option<KnownOrder> {
        self.orders.get(order).map(Order::known)
    }

    /// Whether an order on record can be paid to this address, so that it has to be watched.
    #[must_use]
    pub fn wants_address(&self, address: &str) -> bool {
        self.orders.of_address(address).is_some()
    }

    /// Whether an output to this address is on record. One that is not had no room, or lost it to a larger one: the host tells
    /// it again with every block, [`Input::Deposit`](crate::Input::Deposit), and keeps it from being spent meanwhile.
    #[must_use]
    pub fn has_deposit(&self, address: &str, outpoint: OutPoint) -> bool {
        let order = self.orders.of_address(address).and_then(|order| self.orders.get(order));
        order.is_some_and(|order| order.outputs.contains_key(&outpoint))
    }

    /// Payments that the node is believed to hold or to have let go of lately, to be compared with it after a restart:
    /// [`Input::PaymentHeld`](crate::Input::PaymentHeld) or [`Input::PaymentGone`](crate::Input::PaymentGone) for each.
    pub fn known_payments(&self) -> impl Iterator<Item = KnownPayment> {
        self.orders.all().flat_map(Order::known_payments)
    }

    /// Those of one order.
    pub fn known_payments_of(&self, order: OrderNumber) -> impl Iterator<Item = KnownPayment> {
        self.orders.get(order).into_iter().flat_map(Order::known_payments)
    }

    /// Those of the order that a payment with this hash is for.
    pub fn known_payments_with(&self, payment_hash: PaymentHash) -> impl Iterator<Item = KnownPayment> {
        let order = self.orders.of_hash(payment_hash).and_then(|order| self.orders.get(order));
        order.into_iter().flat_map(Order::known_payments).filter(move |payment| payment.payment_hash == payment_hash)
    }

    /// Refunds that are not confirmed, to be looked at with every block.
    pub fn unconfirmed_refunds(&self) -> impl Iterator<Item = KnownRefund<'_>> {
        self.orders.unconfirmed().flat_map(Order::unconfirmed_refunds)
    }
}

/// An order on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOrder {
    /// Our own name of it.
    pub number: OrderNumber,
    /// Its id on the wire.
    pub id: OrderId,
    /// Whose it is.
    pub client: PeerId,
    /// When it was made.
    pub created_at: Timestamp,
    /// How far it has come.
    pub stage: OrderStage,
    /// Opens of its channel begun so far, and when the next is due after one that failed.
    pub attempts: u32,
    /// When the next is due, after one that failed.
    pub retry_at: Option<Timestamp>,
    /// The address it can be paid to, to be watched for as long as the order is on record.
    pub address: Option<String>,
    /// Outputs to that address which the wallet must not spend: it is not decided yet whose they are.
    pub reserved: Vec<OutPoint>,
    /// Those that it may spend.
    pub spendable: Vec<OutPoint>,
}

/// How far an order has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderStage {
    /// The node makes what it can be paid with.
    Draft,
    /// It can be paid, or is paid and waits for its channel.
    Open,
    /// Its channel is published.
    Completed {
        /// What was paid.
        paid_by: Way,
        /// The channel.
        outpoint: OutPoint,
        /// Before this, and before as many blocks as were ordered, the channel is not closed.
        lease_ends: Timestamp,
    },
    /// There will be no channel.
    Failed {
        /// Why.
        why: OrderFailure,
    },
}

/// A Lightning payment of an order on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPayment {
    /// Of which order.
    pub order: OrderNumber,
    /// What it was made for.
    pub by: PaidBy,
    /// Its hash.
    pub payment_hash: PaymentHash,
    /// The node's id of the payment, of those with this hash; `None`: the node told none.
    pub id: Option<PaymentId>,
    /// What claims it.
    pub preimage: Preimage,
    /// What was received.
    pub amount: Msat,
    /// The least that pays for the order.
    pub due: Msat,
    /// The node can claim it before this height.
    pub claim_before: Option<BlockHeight>,
    /// What was decided of it.
    pub stage: PaymentStage,
    /// Whether the node is believed to hold it: it has not told what became of it.
    pub is_live: bool,
}

/// What was decided of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentStage {
    /// Nothing: it waits for the channel.
    Held,
    /// To claim it; the node did, or still has to.
    Claimed,
    /// To fail it; the node did, or still has to.
    Failed,
}

/// A refund whose transaction is on record and not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRefund<'a> {
    /// Its name.
    pub key: RefundKey,
    /// The signed transaction.
    pub tx: &'a [u8],
    /// Whether it is to be broadcast. Else what it spends went, and goes back otherwise; it may come and be confirmed yet.
    pub owed: bool,
}

impl Order {
    fn known(&self) -> KnownOrder {
        let stage = match &self.stage {
            Stage::Draft { .. } | Stage::Dropped => OrderStage::Draft,
            Stage::Open => OrderStage::Open,
            Stage::Completed(lease) => {
                OrderStage::Completed { paid_by: lease.paid_by, outpoint: lease.outpoint, lease_ends: lease.expires_at }
            }
            Stage::Failed { why, .. } => OrderStage::Failed { why: why.clone() },
        };
        let (spendable, reserved) = self.outputs.iter().partition::<Vec<_>, _>(|(_, it)| it.fate == Fate::Spendable);
        let outpoints =
            |outputs: Vec<(&OutPoint, &Output)>| outputs.into_iter().map(|(outpoint, _)| *outpoint).collect();
        KnownOrder {
            number: self.number,
            id: self.order_id(),
            client: self.client,
            created_at: self.created_at,
            stage,
            attempts: self.attempt,
            retry_at: self.retry_at,
            address: self.ways.onchain.as_ref().map(|way| way.address.clone()),
            reserved: outpoints(reserved),
            spendable: outpoints(spendable),
        }
    }

    fn known_payments(&self) -> impl Iterator<Item = KnownPayment> {
        let offer = self.ways.bolt12.as_ref().map(|way| PaidBy::Offer(way.by));
        self.payments.iter().map(move |(hash, payment)| KnownPayment {
            order: self.number,
            by: offer.filter(|_| payment.way == Way::Bolt12).unwrap_or(PaidBy::Invoice),
            payment_hash: *hash,
            id: self.ids.get(hash).copied(),
            preimage: payment.preimage,
            amount: payment.amount,
            due: self.due_for(payment.way),
            claim_before: payment.claim_before,
            stage: match payment.state {
                PaymentState::Held => PaymentStage::Held,
                PaymentState::Claiming { .. } | PaymentState::Claimed { .. } => PaymentStage::Claimed,
                PaymentState::Failing { .. } | PaymentState::Failed { .. } | PaymentState::Lost { .. } => {
                    PaymentStage::Failed
                }
            },
            is_live: payment.is_live(),
        })
    }

    fn unconfirmed_refunds(&self) -> impl Iterator<Item = KnownRefund<'_>> {
        (0..).zip(&self.refunds).filter_map(|(number, refund)| {
            let (tx, owed) = (refund.unconfirmed()?, !refund.is_settled());
            Some(KnownRefund { key: RefundKey { order: self.number, number }, tx, owed })
        })
    }

    pub fn known_channel(&self) -> Option<KnownChannel<'_>> {
        known_channel(self.key(), self.client, &self.channel, self.lease().is_some())
    }
}

//! The service's view of orders, for hosts to compare with the node and for operators to inspect.

use alloc::{string::String, vec::Vec};

use lsps_types::lsps1::OrderId;
use lsps_types::{BlockHeight, Msat, OutPoint, PaymentHash, PeerId, Preimage, Timestamp};

use crate::ids::{OrderNumber, PaymentId, RefundKey};
use crate::input::PaidBy;
use crate::lsps1::order::{Order, OrderFailure, Stage};
use crate::lsps1::payments::{DepositStatus, Output, PaymentMethod, PaymentState};
use crate::service::Service;
use crate::view::{KnownChannel, known_channel};

impl Service {
    /// All orders on record, in no particular order.
    pub fn known_orders(&self) -> impl Iterator<Item = KnownOrder> {
        self.orders.all().map(Order::known)
    }

    /// One order on record.
    #[must_use]
    pub fn known_order(&self, order: OrderNumber) -> Option<KnownOrder> {
        self.orders.get(order).map(Order::known)
    }

    /// Whether an order on record can be paid to this address, so that the address has to be watched.
    #[must_use]
    pub fn wants_address(&self, address: &str) -> bool {
        self.orders.of_address(address).is_some()
    }

    /// Whether a deposit to this address is on record. A deposit that is not on record found no room, or lost it to a
    /// larger one: the host reports it again with every block as [`Input::Deposit`](crate::Input::Deposit), and keeps
    /// the wallet from spending it meanwhile.
    #[must_use]
    pub fn has_deposit(&self, address: &str, outpoint: OutPoint) -> bool {
        let order = self.orders.of_address(address).and_then(|order| self.orders.get(order));
        order.is_some_and(|order| order.outputs.contains_key(&outpoint))
    }

    /// Payments that the node may hold, or that were resolved lately. After a restart hosts compare them with the node
    /// and report [`Input::PaymentHeld`](crate::Input::PaymentHeld) or
    /// [`Input::PaymentGone`](crate::Input::PaymentGone) for each.
    pub fn known_payments(&self) -> impl Iterator<Item = KnownPayment> {
        self.orders.all().flat_map(Order::known_payments)
    }

    /// Payments of one order on record.
    pub fn known_payments_of(&self, order: OrderNumber) -> impl Iterator<Item = KnownPayment> {
        self.orders.get(order).into_iter().flat_map(Order::known_payments)
    }

    /// Payments on record with this hash.
    pub fn known_payments_with(&self, payment_hash: PaymentHash) -> impl Iterator<Item = KnownPayment> {
        let order = self.orders.of_hash(payment_hash).and_then(|order| self.orders.get(order));
        order.into_iter().flat_map(Order::known_payments).filter(move |payment| payment.payment_hash == payment_hash)
    }

    /// Refunds that are not confirmed. Hosts check them with every block.
    pub fn unconfirmed_refunds(&self) -> impl Iterator<Item = KnownRefund<'_>> {
        self.orders.unconfirmed().flat_map(Order::unconfirmed_refunds)
    }
}

/// An order on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOrder {
    /// Short number of the order.
    pub number: OrderNumber,
    /// Id of the order on the wire.
    pub id: OrderId,
    /// Client that ordered.
    pub client: PeerId,
    /// Time at which the order was created.
    pub created_at: Timestamp,
    /// Stage of the order.
    pub stage: OrderStage,
    /// Number of opens of its channel so far.
    pub attempts: u32,
    /// Time of the next open, after one that failed.
    pub retry_at: Option<Timestamp>,
    /// Address of the order, to be watched for as long as the order is on record.
    pub address: Option<String>,
    /// Deposits that the wallet must not spend, since they may be refunded.
    pub reserved: Vec<OutPoint>,
    /// Deposits that the wallet may spend.
    pub spendable: Vec<OutPoint>,
}

/// Stage of an order on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderStage {
    /// The node creates the payment methods.
    Draft,
    /// The order can be paid, or is paid and waits for its channel.
    Open,
    /// The channel is published.
    Completed {
        /// Method by which the order was paid.
        paid_by: PaymentMethod,
        /// Funding outpoint of the channel.
        outpoint: OutPoint,
        /// Time before which the channel is not closed; the ordered number of blocks has to pass too.
        lease_ends: Timestamp,
    },
    /// The order has failed and will have no channel.
    Failed {
        /// Reason.
        why: OrderFailure,
    },
}

/// A Lightning payment of an order on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPayment {
    /// The order.
    pub order: OrderNumber,
    /// Invoice or offer that it pays.
    pub by: PaidBy,
    /// Payment hash.
    pub payment_hash: PaymentHash,
    /// Id that the node gave to the payment; `None` if the node reported none.
    pub id: Option<PaymentId>,
    /// Preimage of the payment.
    pub preimage: Preimage,
    /// Amount received.
    pub amount: Msat,
    /// Least amount that pays for the order.
    pub due: Msat,
    /// Height before which the node can claim it.
    pub claim_before: Option<BlockHeight>,
    /// Decision on the payment.
    pub stage: PaymentStage,
    /// Whether the node is believed to hold the payment, since it has not reported the outcome.
    pub is_live: bool,
}

/// Decision on a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentStage {
    /// No decision yet: the payment waits for the channel.
    Held,
    /// The payment is to be claimed; the node has done so, or still has to.
    Claimed,
    /// The payment is to be failed; the node has done so, or still has to.
    Failed,
}

/// A refund whose transaction is on record and not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRefund<'a> {
    /// Key of the refund.
    pub key: RefundKey,
    /// Signed transaction.
    pub tx: &'a [u8],
    /// Whether the transaction has to be broadcast. If not, one of its inputs is gone and the other deposits are
    /// refunded again; the transaction may still confirm.
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
        let (spendable, reserved) =
            self.outputs.iter().partition::<Vec<_>, _>(|(_, it)| it.status == DepositStatus::Spendable);
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
            address: self.methods.onchain.as_ref().map(|method| method.address.clone()),
            reserved: outpoints(reserved),
            spendable: outpoints(spendable),
        }
    }

    fn known_payments(&self) -> impl Iterator<Item = KnownPayment> {
        let offer = self.methods.bolt12.as_ref().map(|method| PaidBy::Offer(method.by));
        self.payments.iter().map(move |(hash, payment)| KnownPayment {
            order: self.number,
            by: offer.filter(|_| payment.method == PaymentMethod::Bolt12).unwrap_or(PaidBy::Invoice),
            payment_hash: *hash,
            id: self.ids.get(hash).copied(),
            preimage: payment.preimage,
            amount: payment.amount,
            due: self.due_for(payment.method),
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

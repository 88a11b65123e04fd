//! Invariants of orders.

use lsps_host::ports::from_lsps_outpoint;
use lsps_service::{ChannelStage, FlowId, KnownOrder, OrderStage, Service};

use crate::model::deposits::{Coin, WORTHLESS_SAT};
use crate::model::payments::Place;
use crate::model::seen::State;
use crate::model::{Model, ORDERS};

impl Model {
    /// Checks the invariants that hold after every step.
    pub(crate) fn check_orders(&self) {
        for (number, sold) in self.orders.iter().enumerate() {
            let claimed = self.payments.incoming.iter().filter(|of| of.order == number && of.outcome == Some(true));
            let claimed: Vec<_> = claimed.collect();
            let paid = |coin: &Coin| coin.was_kept && coin.amount.0 > WORTHLESS_SAT;
            let kept = self.deposits.coins.iter().any(|coin| coin.order == number && paid(coin));
            let is_funded = self.broadcast.iter().any(|key| key.flow == FlowId::Order(sold.number));
            assert!(claimed.len() + usize::from(kept) <= 1, "order {number} was paid twice: {claimed:?}");
            assert!(is_funded || (claimed.is_empty() && !kept), "order {number} was paid for and has no channel");
            let total = sold.order.payment.bolt11.as_ref().map(|way| way.order_total_sat);
            if sold.order.payment.is_free() {
                assert!(claimed.is_empty() && !kept, "order {number} is free");
                continue;
            }
            let total = total.and_then(lsps_types::Sat::to_msat).expect("an invoice");
            assert!(claimed.iter().all(|payment| payment.held.amount >= total), "order {number} was sold for less");
        }
        let incoming = self.payments.incoming.len() + self.deposits.coins.len();
        for (name, bytes) in self.records().filter(|(name, _)| name.starts_with(ORDERS)) {
            assert!(bytes.len() <= 1_500 + 300 * incoming, "{name} has {} bytes", bytes.len());
        }
        if self.store_works && !self.is_mute && self.hidden.is_empty() {
            let guard = self.setup.config.htlc_safety_blocks.0;
            for number in self.payments.numbers(Place::Held) {
                let end = self.payments.incoming[number].held.claim_before;
                let end = end.filter(|_| self.is_known(self.payments.incoming[number].order));
                assert!(end.is_none_or(|at| at.0 > self.chain.height + guard), "payment {number} is held too long");
            }
        }
        if !self.deposits.is_blind && !self.deposits.is_behind && self.store_works && self.hidden.is_empty() {
            let theirs =
                self.deposits.coins.iter().enumerate().filter(|(number, coin)| {
                    !coin.was_kept && !coin.is_gone && self.deposits.refund_of(*number).is_none()
                });
            for (number, coin) in theirs.filter(|(_, coin)| self.is_known(coin.order)) {
                let outpoint = from_lsps_outpoint(&coin.outpoint);
                assert!(self.coins.is_reserved(outpoint), "the wallet may spend deposit {number}");
            }
        }
    }

    /// Whether an order is on record. Payments for a forgotten order belong to nobody.
    pub(crate) fn is_known(&self, order: usize) -> bool {
        self.has_record(FlowId::Order(self.orders[order].number))
    }
}

/// Stage of each order, and that of its channel.
pub(crate) fn states(service: &Service) -> Vec<State> {
    let channels: Vec<_> = service.known_channels().map(|known| (known.key.flow, known.stage)).collect();
    let channel = |flow| match channels.iter().find(|(of, _)| *of == flow).map(|(_, stage)| stage) {
        None => "none",
        Some(ChannelStage::Opening) => "opening",
        Some(ChannelStage::Pending) => "pending",
        Some(ChannelStage::Ready) => "ready",
        Some(ChannelStage::Closed) => "closed",
        Some(ChannelStage::Abandoning) => "abandoning",
    };
    let stage = |stage: &OrderStage| match stage {
        OrderStage::Draft => "draft",
        OrderStage::Open => "open",
        OrderStage::Completed { .. } => "completed",
        OrderStage::Failed { .. } => "failed",
    };
    let of_order = |order: KnownOrder| {
        let flow = FlowId::Order(order.number);
        (flow, stage(&order.stage), channel(flow))
    };
    service.known_orders().map(of_order).collect()
}

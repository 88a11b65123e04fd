//! Invariants of orders.

use lsps_service::{ChannelStage, FlowId, Input, OrderNumber, OrderStage, Service, Turn};
use lsps_types::{PaymentHash, Scid};

use super::{OrderWorld, order_of};
use crate::Seen;
use crate::model::Model;
use crate::model::deposits::Coin;
use crate::model::payments::Place;
use crate::model::process::service_like;
use crate::world::kind;

impl Model {
    /// Checks the invariants that hold after every step.
    pub(super) fn check_orders(&self) {
        for (number, sold) in self.orders.iter().enumerate() {
            let claimed = self.payments.incoming.iter().filter(|of| of.order == number && of.outcome == Some(true));
            let claimed: Vec<_> = claimed.collect();
            let paid = |coin: &Coin| coin.was_kept && coin.amount.0 > WORTHLESS_SAT;
            let kept = self.deposits.coins.iter().any(|coin| coin.order == number && paid(coin));
            let is_funded = self.broadcast.iter().any(|key| order_of(key.flow) == sold.number);
            assert!(claimed.len() + usize::from(kept) <= 1, "order {number} was paid twice: {claimed:?}");
            assert!(is_funded || (claimed.is_empty() && !kept), "order {number} was paid for and has no channel");
            let total = sold.order.payment.bolt11.as_ref().map(|way| way.order_total_sat);
            let total = total.and_then(lsps_types::Sat::to_msat).expect("an invoice");
            assert!(claimed.iter().all(|payment| payment.held.amount >= total), "order {number} was sold for less");
        }
        let incoming = self.payments.incoming.len() + self.deposits.coins.len();
        for (name, bytes) in self.records() {
            assert!(bytes.len() <= 1_500 + 300 * incoming, "{name} has {} bytes", bytes.len());
        }
        if self.store_works {
            let guard = self.setup.config.htlc_safety_blocks.0;
            for number in self.payments.numbers(Place::Held) {
                let end = self.payments.incoming[number].held.claim_before;
                assert!(end.is_none_or(|at| at.0 > self.chain.height + guard), "payment {number} is held too long");
            }
        }
        if !self.deposits.is_blind && !self.deposits.is_behind && self.store_works {
            let theirs =
                self.deposits.coins.iter().enumerate().filter(|(number, coin)| {
                    !coin.was_kept && !coin.is_gone && self.deposits.refund_of(*number).is_none()
                });
            for (number, coin) in theirs.filter(|(_, coin)| self.is_known(coin.order)) {
                assert!(self.deposits.reserved.contains(&coin.outpoint), "the wallet may spend deposit {number}");
            }
        }
    }

    fn is_known(&self, order: usize) -> bool {
        self.has_record(FlowId::Order(self.orders[order].number))
    }

    fn concerns_order(&self, input: &Input) -> Option<OrderNumber> {
        let of_address = |address: &str| {
            let of_it = |coin: &&Coin| coin.address == address;
            self.deposits.coins.iter().find(of_it).map(|coin| self.orders[coin.order].number)
        };
        let of_hash = |hash: &PaymentHash| {
            let mut incoming = self.payments.incoming.iter();
            incoming.find(|of| of.held.payment_hash == *hash).map(|of| self.orders[of.order].number)
        };
        match input {
            Input::ChannelAsked { key }
            | Input::ChannelNegotiated { key, .. }
            | Input::FundingBuilt { key, .. }
            | Input::ChannelPending { key }
            | Input::ChannelReady { key, .. }
            | Input::ChannelEnded { key, .. }
            | Input::ChannelAbandoned { key }
            | Input::ChannelCarries { key }
            | Input::FundingConfirmed { key } => Some(order_of(key.flow)),
            Input::Booked { key } => Some(order_of(key.flow)),
            Input::OrderPrepared { order, .. }
            | Input::DepositKept { order, .. }
            | Input::CancelOrder { order }
            | Input::RetryOrder { order } => Some(*order),
            Input::RefundBuilt { key, .. } | Input::RefundImpossible { key } | Input::RefundConfirmed { key } => {
                Some(key.order)
            }
            Input::PaymentHeld(held) => of_hash(&held.payment_hash),
            Input::PaymentClaimed { payment_hash, .. } | Input::PaymentGone { payment_hash } => of_hash(payment_hash),
            Input::Deposit(deposit) => of_address(&deposit.address),
            Input::DepositGone { address, .. } => of_address(address),
            Input::HtlcHeld(_)
            | Input::PartGone { .. }
            | Input::PartStillHeld { .. }
            | Input::PartAtClient { .. }
            | Input::ForwardRefused { .. }
            | Input::PartFailed { .. }
            | Input::PartPresumedFailed { .. } => unreachable!("nothing is held in this world"),
            Input::PartForwarded { .. } => None,
            Input::PeerConnected { .. }
            | Input::PeerDisconnected { .. }
            | Input::ChannelsUsable { .. }
            | Input::Message { .. }
            | Input::Decided { .. }
            | Input::ChannelsWith { .. }
            | Input::WakeUp { .. }
            | Input::WebhookDelivered { .. }
            | Input::WebhookFailed { .. }
            | Input::WebhookUnreached { .. }
            | Input::NodeFacts(_)
            | Input::Tick
            | Input::NodeCaughtUp
            | Input::ClockSet { .. } => None,
        }
    }
}

impl OrderWorld {
    /// Replays a tape, and counts the inputs by the states that they met.
    pub(super) fn count(&self, tape: &[Turn], seen: &mut Seen) {
        let mut service = service_like(&self.model().setup, || Scid(1));
        for turn in tape {
            match turn {
                Turn::Loaded(record) => service.load(record).expect("we wrote it"),
                Turn::Input(now, input) => {
                    let about = self.model().concerns_order(input);
                    for (number, stage, channel) in states(&service) {
                        if about.is_none_or(|about| about == number) {
                            *seen.entry((stage, channel, kind(input))).or_default() += 1;
                        }
                    }
                    let _ = service.handle(input.clone(), *now);
                }
                Turn::Gave { .. } => drop(service.drain()),
                Turn::Drew(_) => {}
            }
        }
    }
}

fn states(service: &Service) -> Vec<(OrderNumber, &'static str, &'static str)> {
    let channels: Vec<_> = service.known_channels().map(|known| (order_of(known.key.flow), known.stage)).collect();
    let channel = |number| match channels.iter().find(|(of, _)| *of == number).map(|(_, stage)| stage) {
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
    service.known_orders().map(|order| (order.number, stage(&order.stage), channel(order.number))).collect()
}

/// Largest value of an output whose refund costs more than it returns.
pub(super) const WORTHLESS_SAT: u64 = 500;

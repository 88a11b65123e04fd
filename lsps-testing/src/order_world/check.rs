//! What must hold whatever happens.

use lsps_service::{ChannelKey, ChannelStage, Input, OrderNumber, OrderStage, PaymentStage, Way};
use lsps_types::PaymentHash;

use super::payments::Place;
use super::{OrderWorld, order_of};

impl OrderWorld {
    /// After every step.
    pub(super) fn check(&self) {
        for (number, sold) in self.sold.iter().enumerate() {
            let claimed = self.payments.incoming.iter().filter(|of| of.order == number && of.outcome == Some(true));
            let claimed: Vec<_> = claimed.collect();
            let paid = |coin: &super::deposits::Coin| coin.was_kept && coin.amount.0 > WORTHLESS_SAT;
            let kept = self.deposits.coins.iter().any(|coin| coin.order == number && paid(coin));
            let is_funded = self.lsp.broadcast.iter().any(|key| order_of(key.flow) == sold.number);
            assert!(claimed.len() + usize::from(kept) <= 1, "order {number} was paid twice: {claimed:?}");
            assert!(is_funded || (claimed.is_empty() && !kept), "order {number} was paid for and has no channel");
            let total = sold.order.payment.bolt11.as_ref().map(|way| way.order_total_sat);
            let total = total.and_then(lsps_types::Sat::to_msat).expect("an invoice");
            assert!(claimed.iter().all(|payment| payment.held.amount >= total), "order {number} was sold for less");
        }
        let incoming = self.payments.incoming.len() + self.deposits.coins.len();
        for (name, bytes) in &self.lsp.store {
            assert!(bytes.len() <= 1_500 + 300 * incoming, "{name} has {} bytes", bytes.len());
        }
        if self.lsp.is_written() {
            let guard = self.lsp.setup.config.htlc_safety_blocks.0;
            for number in self.payments.numbers(Place::Held) {
                let end = self.payments.incoming[number].held.claim_before;
                assert!(end.is_none_or(|at| at.0 > self.lsp.chain.height + guard), "payment {number} is held too long");
            }
        }
        if self.watch_works && self.lsp.is_written() {
            let theirs =
                self.deposits.coins.iter().enumerate().filter(|(number, coin)| {
                    !coin.was_kept && !coin.is_gone && self.deposits.refund_of(*number).is_none()
                });
            for (number, coin) in theirs.filter(|(_, coin)| self.is_known(coin.order)) {
                assert!(self.deposits.reserved.contains(&coin.outpoint), "the wallet may spend deposit {number}");
            }
        }
    }

    pub(super) fn is_known(&self, order: usize) -> bool {
        self.lsp.service.known_order(self.sold[order].number).is_some()
    }

    /// Before a funding is broadcast.
    pub(super) fn is_paid_for(&mut self, key: ChannelKey) {
        let order = self.lsp.service.known_order(order_of(key.flow)).expect("it is on record");
        assert!(matches!(order.stage, OrderStage::Completed { .. }), "{key:?} is broadcast before it is paid for");
        let another = self.lsp.broadcast.iter().any(|other| other.flow == key.flow && *other != key);
        assert!(!another, "{key:?} is the second channel of its order");
        let number = self.sold.iter().position(|sold| sold.number == order_of(key.flow));
        let spent = |refund: &super::deposits::RefundTx| refund.is_out && refund.key.order == order_of(key.flow);
        if let OrderStage::Completed { paid_by: Way::Onchain, .. } = order.stage {
            assert!(number.is_some(), "it was sold");
            // What was given back before was not what paid.
            let refunded = self.deposits.refunds.iter().filter(|refund| spent(refund)).flat_map(|refund| &refund.coins);
            assert!(!refunded.clone().any(|coin| self.deposits.coins[*coin].was_kept), "{key:?} was given back");
        }
        self.lsp.broadcast.insert(key);
    }

    /// Before a payment is failed.
    pub(super) fn may_fail(&self, hash: PaymentHash) {
        let paid = self
            .lsp
            .service
            .known_payments()
            .any(|known| known.payment_hash == hash && known.stage == PaymentStage::Claimed);
        assert!(!paid, "what paid for a channel is given back");
    }

    pub(super) fn states(&self) -> Vec<(OrderNumber, &'static str, &'static str)> {
        let channels: Vec<_> =
            self.lsp.service.known_channels().map(|known| (order_of(known.key.flow), known.stage)).collect();
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
        self.lsp
            .service
            .known_orders()
            .map(|order| (order.number, stage(&order.stage), channel(order.number)))
            .collect()
    }

    pub(super) fn concerns(&self, input: &Input) -> Option<OrderNumber> {
        let of_address = |address: &str| {
            let of_it = |coin: &&super::deposits::Coin| coin.address == address;
            self.deposits.coins.iter().find(of_it).map(|coin| self.sold[coin.order].number)
        };
        let of_hash = |hash: &PaymentHash| {
            let mut incoming = self.payments.incoming.iter();
            incoming.find(|of| of.held.payment_hash == *hash).map(|of| self.sold[of.order].number)
        };
        match input {
            Input::ChannelAsked { key }
            | Input::ChannelNegotiated { key, .. }
            | Input::FundingBuilt { key, .. }
            | Input::ChannelPending { key }
            | Input::ChannelReady { key, .. }
            | Input::ChannelEnded { key, .. }
            | Input::ChannelAbandoned { key }
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
            | Input::Occasion { .. }
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

/// Outputs up to this cost more than they bring.
pub(super) const WORTHLESS_SAT: u64 = 500;

//! What a host does for orders.

use lsps_service::{ChannelKey, Effect, Input, OrderStage, Outcome, PaymentStage, Prepared, Refusal, Service};
use lsps_types::lsps1::CreateOrder;
use lsps_types::lsps2::PromiseKey;
use lsps_types::{PaymentHash, PeerId, Scid};

use super::{LEAST_FEERATE, OrderWorld, Sold};
use crate::setup::{LspSetup, address_of, offer_id};
use crate::world::host_loop::{Died, Host};
use crate::world::kind;
use crate::world::node::Told;
use crate::world::process::{DEEP, Process};

pub(super) fn service(setup: &LspSetup) -> Service {
    let key = PromiseKey::new([42; 32]);
    Service::new(setup.config_of_service(), setup.clone(), || Scid(1), key).expect("a valid configuration")
}

impl Host for OrderWorld {
    fn lsp(&mut self) -> &mut Process {
        &mut self.lsp
    }

    fn start(&mut self) {
        self.lsp.service = service(&self.lsp.setup);
        self.lsp.load();
        self.deposits.reserved = self.lsp.service.known_orders().flat_map(|order| order.reserved).collect();
        self.deposits.news = (0..self.deposits.coins.len()).collect();
        self.tell_facts();
        for input in self.lsp.compare_channels() {
            self.feed(input);
        }
        self.compare_payments();
        let decoded = self.payments.decode();
        self.lsp.node.now.events.extend(decoded.into_iter().map(Told::Input));
    }

    fn turn(&mut self) -> Result<(), Died> {
        if !self.hear_all()? {
            return Ok(());
        }
        if std::mem::take(&mut self.doubts) {
            self.resolve_doubts();
        }
        while self.watch_works
            && let Some(number) = self.deposits.news.pop_first()
        {
            let told = self.deposits.told(number);
            if matches!(self.tell(told), Outcome::Refused(_)) {
                self.deposits.refused.insert(number);
            }
            if !self.commit()? {
                self.deposits.news.insert(number);
                return Ok(());
            }
        }
        if self.look_at_chain() {
            // There may be room for them now.
            let refused = std::mem::take(&mut self.deposits.refused);
            self.deposits.news.extend(refused);
            self.look_at_refunds();
        }
        self.feed(Input::Tick);
        self.commit().map(drop)
    }

    fn save(&mut self) {
        self.lsp.saved_at = self.lsp.now;
        let told = self.payments.save();
        self.tell_later(told);
        let links = &self.lsp.links;
        self.lsp.node.save(|client| links.contains_key(&client));
    }

    fn crash(&mut self) {
        self.payments.crash();
        let late = self.payments.blocks(self.lsp.chain.height); // it hears of those it missed
        self.tell_later(late);
    }

    fn count(&mut self, input: &Input) {
        let about = self.concerns(input);
        let kind = kind(input);
        for (number, stage, channel) in self.states() {
            if about.is_none_or(|about| about == number) {
                *self.lsp.seen.entry((stage, channel, kind)).or_default() += 1;
            }
        }
    }

    fn undo(&mut self, outcome: Outcome, input: &Input) {
        if let (Outcome::Refused(Refusal::FailPayment) | Outcome::NotMine, Input::PaymentHeld(held)) = (outcome, input)
        {
            self.payments.fail(held.payment_hash);
        }
    }

    fn hear(&mut self, told: &Told) {
        match told {
            Told::Input(Input::PaymentGone { payment_hash }) => self.some_failed(*payment_hash),
            Told::Input(input) => self.feed(input.clone()),
            Told::FailedTowards(_) | Told::FailedHeld(_) => {}
        }
    }

    fn may_broadcast(&mut self, key: ChannelKey) {
        self.is_paid_for(key);
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::PrepareOrder { order, invoice, offer, address } => {
                let prepared = Prepared {
                    invoice: invoice.map(|(hash, _)| hash.to_string()),
                    offer: offer.map(|_| (format!("offer {order}"), offer_id(order))),
                    address: address.then(|| address_of(order)),
                };
                Some(Input::OrderPrepared { order, prepared })
            }
            Effect::ClaimPayment { payment_hash, .. } => {
                let told = self.payments.claim(payment_hash);
                self.tell_later(told);
                None
            }
            Effect::FailPayment { payment_hash, .. } => {
                self.may_fail(payment_hash);
                self.payments.fail(payment_hash);
                Some(Input::PaymentGone { payment_hash })
            }
            Effect::KeepDeposit { order, outpoint, .. } => {
                self.deposits.reserved.remove(&outpoint);
                self.deposits.keep(outpoint);
                Some(Input::DepositKept { order, outpoint })
            }
            Effect::BuildRefund { key, to, deposits } => {
                assert_eq!(to, REFUND_TO);
                let worth: u64 = deposits.iter().map(|(_, amount)| amount.0).sum();
                // On a dear day it is built at a lower feerate, and broadcast until the day comes.
                let mut feerate = self.lsp.setup.feerate_sat_per_kw;
                let mut mining_sat = refund_sat(deposits.len(), feerate);
                while mining_sat.saturating_mul(2) > worth && feerate > LEAST_FEERATE {
                    feerate = (feerate / 2).max(LEAST_FEERATE);
                    mining_sat = refund_sat(deposits.len(), feerate);
                }
                if worth < mining_sat + LEAST_OUTPUT_SAT {
                    return Some(Input::RefundImpossible { key });
                }
                let order = self.sold.iter().position(|sold| sold.number == key.order).expect("it was sold");
                let tx = self.deposits.refund(key, order, &deposits, mining_sat);
                Some(Input::RefundBuilt { key, tx, mining_sat })
            }
            Effect::BroadcastRefund { key, tx, .. } => {
                let order = self.lsp.service.known_order(key.order).expect("it is on record");
                assert!(!matches!(order.stage, OrderStage::Draft | OrderStage::Open), "{key:?} of an open order");
                self.deposits.broadcast(key, &tx);
                None
            }
            other => unreachable!("only orders are served in this world: {other:?}"),
        }
    }
}

impl OrderWorld {
    fn compare_payments(&mut self) {
        for payment in self.lsp.service.known_payments().collect::<Vec<_>>() {
            let payment_hash = payment.payment_hash;
            if let Some(held) = self.payments.held(payment_hash) {
                self.feed(Input::PaymentHeld(held));
            } else if self.payments.is_undecoded(payment_hash) {
                // It is told again.
            } else if payment.stage != PaymentStage::Claimed {
                self.feed(Input::PaymentGone { payment_hash });
            } else {
                // What became of it is told, or nothing did: then it is known once all is told.
                self.doubts = true;
            }
        }
    }

    /// That some HTLC with a hash failed says nothing of the payment that is held: everybody on the route knows the hash.
    fn some_failed(&mut self, payment_hash: PaymentHash) {
        let known = self.lsp.service.known_payments_with(payment_hash).find(|payment| payment.is_live);
        let is_there = self.payments.held(payment_hash).is_some() || self.payments.is_undecoded(payment_hash);
        match known.map(|payment| payment.stage) {
            Some(PaymentStage::Claimed) => self.doubts = true,
            Some(PaymentStage::Held | PaymentStage::Failed) if !is_there => {
                self.feed(Input::PaymentGone { payment_hash })
            }
            Some(PaymentStage::Held | PaymentStage::Failed) | None => {}
        }
    }

    /// Claims of which the node knows nothing any more.
    fn resolve_doubts(&mut self) {
        for payment in self.lsp.service.known_payments().collect::<Vec<_>>() {
            let payment_hash = payment.payment_hash;
            let is_there = self.payments.held(payment_hash).is_some() || self.payments.claims(payment_hash);
            if payment.stage == PaymentStage::Claimed && !is_there {
                self.feed(Input::PaymentGone { payment_hash });
            }
        }
    }

    fn look_at_refunds(&mut self) {
        let deep = |tx: &[u8]| self.deposits.refund_depth(tx, self.lsp.chain.height) >= DEEP;
        let refunds = self.lsp.service.unconfirmed_refunds().filter(|refund| deep(refund.tx)).map(|refund| refund.key);
        for key in refunds.collect::<Vec<_>>() {
            self.feed(Input::RefundConfirmed { key });
        }
    }

    pub(super) fn sells(&mut self, client: PeerId, order: &CreateOrder) {
        let Some(order) = self.answers(client, order) else { return };
        let known = self.lsp.service.known_orders().find(|known| known.id == order.order_id).expect("an order");
        let number = known.number;
        assert!(self.lsp.store.contains_key(&lsps_service::FlowId::Order(number).to_string()), "written before told");
        self.sold.push(Sold { number, order });
    }
}

/// The mining fee of a refund of so many outputs.
pub(super) fn refund_sat(outputs: usize, feerate_sat_per_kw: u32) -> u64 {
    (42 + 68 * outputs as u64) * u64::from(feerate_sat_per_kw) * 4 / 1_000
}

/// Smaller outputs are not relayed.
pub(super) const LEAST_OUTPUT_SAT: u64 = 294;
/// Where clients want their payments back.
pub(super) const REFUND_TO: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

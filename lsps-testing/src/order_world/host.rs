//! What a host has to do around the service, with the places at which it can die.

use lsps_service::{
    ChannelEnd, ChannelId, ChannelStage, Effect, Input, NodeFacts, OrderStage, Outcome, PaymentStage, Prepared, Record,
    Refusal, Service,
};
use lsps_types::jsonrpc::{FromLsp, encode_request};
use lsps_types::lsps1::{CreateOrder, Order};
use lsps_types::lsps2::PromiseKey;
use lsps_types::{BlockHeight, Msat, PeerId, Scid};

use super::deposits::DEEP;
use super::{OrderWorld, Sold};
use crate::lsp::{LspSetup, MINING_SAT, address_of, offer_id, outpoint};
use crate::world::Died;
use crate::world::chain::Tx;
use crate::world::node::{Stage, Told};

pub(super) fn service(setup: &LspSetup) -> Service {
    let key = PromiseKey::new([42; 32]);
    Service::new(setup.config.clone(), setup.clone(), || Scid(1), key).expect("a valid configuration")
}

impl OrderWorld {
    /// Loads the records and compares them with the node, which was loaded before.
    pub(super) fn start(&mut self) {
        self.service = service(&self.setup);
        for (name, bytes) in &self.store {
            let record = Record { name: name.clone(), bytes: bytes.clone() };
            self.service.load(&record).expect("we wrote it");
        }
        self.deposits.reserved = self.service.known_orders().flat_map(|order| order.reserved).collect();
        self.deposits.news = (0..self.deposits.coins.len()).collect();
        self.tell_facts();
        self.compare_channels();
        for payment in self.service.known_payments().collect::<Vec<_>>() {
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
        let decoded = self.payments.decode();
        self.node.now.events.extend(decoded.into_iter().map(Told::Input));
    }

    fn compare_channels(&mut self) {
        for key in self.node.channels(|_| true) {
            if self.service.is_given_up(key) {
                self.node.close(key);
            }
        }
        let mut news = vec![];
        for channel in self.service.known_channels() {
            let key = channel.key;
            if let Some(tx) = channel.funding {
                self.coins.lock(Tx::decode(tx));
            }
            match (channel.stage, self.node.stage(key)) {
                (ChannelStage::Opening, None) => news.push(Input::ChannelEnded { key, why: ChannelEnd::TryAgain }),
                (ChannelStage::Pending | ChannelStage::Ready, None) => {
                    news.push(Input::ChannelEnded { key, why: ChannelEnd::Closed });
                }
                (ChannelStage::Opening | ChannelStage::Pending | ChannelStage::Ready, Some(stage)) => {
                    news.push(Input::ChannelPending { key });
                    if stage == Stage::Ready {
                        news.push(Input::ChannelReady { key, channel_id: ChannelId([0; 32]) });
                    }
                }
                (ChannelStage::Closed | ChannelStage::Abandoning, _) => {}
            }
        }
        news.into_iter().for_each(|input| self.feed(input));
    }

    /// Until nothing more happens by itself.
    pub(super) fn run(&mut self) {
        while self.turn().is_err() {
            self.dies();
        }
    }

    fn dies(&mut self) {
        let (_, saved) = self.fuse.take().unwrap_or_default();
        if saved {
            self.save();
        }
        self.deaths += 1;
        self.node.crash();
        self.payments.crash();
        let late = self.payments.blocks(self.chain.height); // it hears of those it missed
        self.node.now.events.extend(late.into_iter().map(Told::Input));
        self.coins.crash();
        self.links.clear();
        self.unbooked.clear();
        self.unwritten = None;
        self.no_coins = false;
        self.start();
    }

    fn turn(&mut self) -> Result<(), Died> {
        loop {
            let volatile = self.node.volatile.pop_front();
            let Some(told) = volatile.clone().or_else(|| self.node.now.events.front().cloned()) else { break };
            self.hear(&told);
            if !self.commit()? {
                self.node.volatile.extend(volatile);
                return Ok(()); // told again when the store works
            }
            if volatile.is_none() {
                self.node.now.events.pop_front();
                self.told_last = Some(told);
            }
        }
        if std::mem::take(&mut self.doubts) {
            self.resolve_doubts();
        }
        while self.watch_works
            && let Some(number) = self.deposits.news.pop_first()
        {
            let told = self.deposits.told(number);
            self.feed(told);
            if !self.commit()? {
                self.deposits.news.insert(number);
                return Ok(());
            }
        }
        if self.facts_at != self.chain.height {
            self.tell_facts();
            self.look_at_transactions();
        }
        self.feed(Input::Tick);
        self.commit().map(drop)
    }

    fn hear(&mut self, told: &Told) {
        match told {
            Told::Input(input) => self.feed(input.clone()),
            Told::FailedTowards(_) | Told::FailedHeld(_) => unreachable!("nothing is forwarded in this world"),
        }
    }

    /// Claims of which the node knows nothing any more.
    fn resolve_doubts(&mut self) {
        for payment in self.service.known_payments().collect::<Vec<_>>() {
            let payment_hash = payment.payment_hash;
            let is_there = self.payments.held(payment_hash).is_some() || self.payments.claims(payment_hash);
            if payment.stage == PaymentStage::Claimed && !is_there {
                self.feed(Input::PaymentGone { payment_hash });
            }
        }
    }

    fn tell_facts(&mut self) {
        self.facts_at = self.chain.height;
        self.feed(Input::NodeFacts(NodeFacts {
            height: BlockHeight(self.chain.height),
            inbound: Msat(u64::MAX),
            spendable_sat: u64::MAX,
            feerate_sat_per_kw: 253,
        }));
    }

    fn look_at_transactions(&mut self) {
        let owed = self.service.unconfirmed_channels().filter(|channel| channel.owed);
        let owed: Vec<_> = owed.filter_map(|channel| Some((channel.key, Tx::decode(channel.funding?)))).collect();
        for (key, tx) in owed {
            if self.chain.depth(tx) >= DEEP {
                self.feed(Input::FundingConfirmed { key });
            }
        }
        let deep = |tx: &[u8]| self.deposits.refund_depth(tx, self.chain.height) >= DEEP;
        let refunds = self.service.unconfirmed_refunds().filter(|refund| deep(refund.tx)).map(|refund| refund.key);
        for key in refunds.collect::<Vec<_>>() {
            self.feed(Input::RefundConfirmed { key });
        }
    }

    /// Tells the service, and undoes at the source what it refuses.
    pub(super) fn feed(&mut self, input: Input) {
        self.count(&input);
        let outcome = self.service.handle(input.clone(), self.now);
        match (outcome, input) {
            (Outcome::Refused(Refusal::FailPayment) | Outcome::NotMine, Input::PaymentHeld(held)) => {
                self.payments.fail(held.payment_hash);
            }
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Input::ChannelNegotiated { key, .. }) => {
                self.node.close(key);
            }
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Input::FundingBuilt { tx, .. }) => {
                self.coins.release(Tx::decode(&tx));
            }
            _ => {}
        }
    }

    /// One more place at which the process may die.
    fn point(&mut self) -> Result<(), Died> {
        match &mut self.fuse {
            Some((0, _)) => Err(Died),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn commit(&mut self) -> Result<bool, Died> {
        for _ in 0..ROUNDS {
            while let Some((key, entry)) = self.unbooked.pop_first() {
                if !self.store_works {
                    self.unbooked.insert(key, entry);
                    return Ok(false);
                }
                self.point()?;
                let before = self.book.insert(key, entry.clone());
                assert!(before.is_none_or(|before| before == entry), "an entry of the book changed");
                self.point()?;
                self.feed(Input::Booked { key });
            }
            let batch = self.unwritten.take().unwrap_or_else(|| self.service.drain());
            if batch.is_empty() {
                return Ok(true);
            }
            if !self.store_works {
                self.unwritten = Some(batch);
                return Ok(false);
            }
            for (id, content) in batch.records() {
                self.point()?;
                match content {
                    Some(bytes) => self.store.insert(id.to_string(), bytes.to_vec()),
                    None => self.store.remove(&id.to_string()),
                };
            }
            self.point()?;
            let released = batch.written();
            self.sent.extend(released.messages);
            for effect in released.effects {
                let answer = self.perform(effect);
                self.point()?;
                answer.into_iter().for_each(|answer| self.feed(answer));
            }
        }
        panic!("the service asks for ever: {:?}", self.service.drain());
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
            Effect::OpenChannel { key, peer, .. } => {
                if self.node.stage(key).is_some() {
                    return None;
                }
                if !self.links.contains(&peer) {
                    return Some(Input::ChannelEnded { key, why: ChannelEnd::PeerGone });
                }
                self.node.open(key, peer);
                None
            }
            Effect::FundChannel { key, .. } => {
                let is_refused = std::mem::take(&mut self.no_coins);
                let tx = if is_refused { None } else { self.coins.fund(key, &self.chain) };
                Some(match tx {
                    Some(tx) => {
                        let (tx, outpoint) = (tx.encode(), outpoint(key));
                        Input::FundingBuilt { key, tx, mining_sat: MINING_SAT, outpoint }
                    }
                    None => {
                        self.node.close(key);
                        Input::ChannelEnded { key, why: ChannelEnd::CannotOpen("no coin is left".into()) }
                    }
                })
            }
            Effect::HandFunding { key, tx, .. } => {
                let is_there = self.node.stage(key).is_some();
                self.node.fund(key, &tx);
                (!is_there).then_some(Input::ChannelEnded { key, why: ChannelEnd::PeerGone })
            }
            Effect::BroadcastFunding { key, tx, .. } => {
                self.may_broadcast(key);
                self.chain.broadcast(Tx::decode(&tx));
                None
            }
            Effect::AbandonChannel { key, tx, .. } => {
                assert!(!self.chain.knows(key), "a channel on the chain is given up: {key:?}");
                self.node.close(key);
                if let Some(tx) = tx {
                    self.coins.release(Tx::decode(&tx));
                }
                Some(Input::ChannelAbandoned { key })
            }
            Effect::ClaimPayment { payment_hash, .. } => {
                self.payments.claim(payment_hash);
                None
            }
            Effect::FailPayment { payment_hash, .. } => {
                self.may_fail(payment_hash);
                self.payments.fail(payment_hash);
                Some(Input::PaymentGone { payment_hash })
            }
            Effect::KeepDeposits { order, deposits } => {
                for (outpoint, _) in deposits {
                    self.deposits.reserved.remove(&outpoint);
                    self.deposits.keep(outpoint);
                }
                Some(Input::DepositsKept { order })
            }
            Effect::BuildRefund { key, to, deposits } => {
                assert_eq!(to, REFUND_TO);
                let worth: u64 = deposits.iter().map(|(_, amount)| amount.0).sum();
                if worth <= MINING_SAT {
                    return Some(Input::RefundImpossible { key });
                }
                let order = self.sold.iter().position(|sold| sold.number == key.order).expect("it was sold");
                let tx = self.deposits.refund(key, order, &deposits);
                Some(Input::RefundBuilt { key, tx, mining_sat: MINING_SAT })
            }
            Effect::BroadcastRefund { key, tx, .. } => {
                let order = self.service.known_order(key.order).expect("it is on record");
                assert!(!matches!(order.stage, OrderStage::Draft | OrderStage::Open), "{key:?} of an open order");
                self.deposits.broadcast(key, &tx);
                None
            }
            Effect::Book { key, entry } => {
                self.unbooked.insert(key, entry);
                None
            }
            Effect::WakeClient { .. } => None,
            Effect::PostWebhook { .. } => unreachable!("nobody has webhooks in this world"),
            Effect::ForwardPart { .. } | Effect::FailPart { .. } => unreachable!("nothing is forwarded in this world"),
        }
    }

    pub(super) fn sells(&mut self, client: PeerId, order: &CreateOrder) {
        self.sent.clear();
        let payload = encode_request("the only one", order).expect("a short request");
        self.feed(Input::Message { peer: client, payload });
        self.run();
        let reply = self.sent.iter().find(|(receiver, _)| *receiver == client).map(|(_, reply)| FromLsp::decode(reply));
        let Some(Ok(FromLsp::Response { outcome: Ok(raw), .. })) = reply else { return };
        let order: Order = raw.reply::<CreateOrder>().expect("of its type");
        let known = self.service.known_orders().find(|known| known.id == order.order_id).expect("an order");
        let number = known.number;
        assert!(self.store.contains_key(&lsps_service::FlowId::Order(number).to_string()), "written before told");
        self.sold.push(Sold { number, order });
    }
}

/// Where clients want their payments back.
pub(super) const REFUND_TO: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
/// A pump that goes round for longer is stuck.
const ROUNDS: u32 = 200;

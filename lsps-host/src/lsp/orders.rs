//! The host's work for orders of channels: invoices, held payments, deposits and refunds.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Address, OutPoint, ScriptBuf, Transaction};

use lsps_service::{
    ChannelKey, Deposit, Effect, FlowId, HeldPayment, Input, KnownOrder, KnownPayment, OrderNumber, PaymentStage,
    PaymentTerms, Prepared, RefundKey,
};
use lsps_types::{BlockHeight, FeeRate, Msat, PaymentHash, Preimage, Sat};

use super::events::{LspEvent, TxPurpose};
use super::htlcs;
use super::pump::{Pump, inputs_of};
use crate::ports::{CannotFund, LspNode, Made, OnchainWallet, SeenOutput, from_lsps_outpoint, to_lsps_outpoint};

/// State of the deposits and refunds.
#[derive(Default)]
pub(super) struct Onchain {
    /// Watched addresses of orders on record, by script.
    watched: BTreeMap<ScriptBuf, Watched>,
    /// Addresses for which the chain backend could not answer.
    unseen: BTreeSet<ScriptBuf>,
    /// Payments of which the node may hold less than is on record, with the time on the steady clock at which that was
    /// noticed.
    doubted: BTreeMap<PaymentHash, Duration>,
    /// Outputs to addresses of orders that were removed. The wallet may spend them once the removal is on record: after a
    /// crash an order that is still on record wants them back.
    unowned: Vec<OutPoint>,
    /// Refunds that the wallet could not build; the host retries with every block.
    unbuilt: BTreeMap<RefundKey, (String, Vec<(lsps_types::OutPoint, Sat)>)>,
}

impl Onchain {
    /// Schedules a comparison of the node's HTLCs of this payment with the record.
    pub(super) fn doubts(&mut self, payment_hash: PaymentHash, now: Duration) {
        self.doubted.insert(payment_hash, now);
    }

    pub(super) fn has_doubts(&self) -> bool {
        !self.doubted.is_empty()
    }
}

struct Watched {
    address: String,
    /// Outputs that were reported to the service; `None`: reported in an earlier run.
    seen: BTreeMap<lsps_types::OutPoint, Option<SeenOutput>>,
}

impl Watched {
    fn new(address: String, seen: BTreeMap<lsps_types::OutPoint, Option<SeenOutput>>) -> Self {
        Self { address, seen }
    }

    /// Marks the outputs that are not on record as unreported, since the service had no room or dropped them for a larger one.
    /// They are reported again with the next block, and the wallet does not spend them meanwhile. `true` if there are any.
    fn tell_again(&mut self, has_deposit: impl Fn(&str, lsps_types::OutPoint) -> bool) -> bool {
        let Self { address, seen } = self;
        let mut unrecorded = seen.iter_mut().filter(|(outpoint, _)| !has_deposit(address, **outpoint)).peekable();
        let are_there = unrecorded.peek().is_some();
        unrecorded.for_each(|(_, seen)| *seen = None);
        are_there
    }
}

impl<N: LspNode> Pump<N> {
    /// Creates the payment methods of an order.
    pub(super) fn prepare_order(
        &mut self,
        order: OrderNumber,
        invoice: Option<(PaymentHash, PaymentTerms)>,
        offer: Option<PaymentTerms>,
        address: bool,
    ) -> Vec<Input> {
        let Some(prepared) = self.make_payment_methods(order, invoice, offer, address) else {
            self.unmade.push(Effect::PrepareOrder { order, invoice, offer, address });
            return vec![];
        };
        self.outside.events.send(LspEvent::OrdersMade { last: order, count: 1 });
        vec![Input::OrderPrepared { order, prepared }]
    }

    /// `None`: the node or the wallet has not finished. The address comes last, as each call makes another.
    fn make_payment_methods(
        &mut self,
        order: OrderNumber,
        invoice: Option<(PaymentHash, PaymentTerms)>,
        offer: Option<PaymentTerms>,
        address: bool,
    ) -> Option<Prepared> {
        let now = self.outside.clock.now();
        let invoice = invoice.map_or(Made::Never, |(hash, terms)| self.node.hold_invoice(hash, terms, now));
        let invoice = finished(invoice)?;
        let offer = finished(offer.map_or(Made::Never, |terms| self.node.offer(order, terms)))?;
        let Some(watch) = self.outside.deposits.clone().filter(|_| address) else {
            return Some(Prepared { invoice, offer, address: None });
        };
        let address = finished(self.outside.wallet.address())?.map(|address| {
            let (script, address) = (address.script_pubkey(), address.to_string());
            watch.watch(&script);
            self.onchain.watched.insert(script, Watched::new(address.clone(), BTreeMap::new()));
            address
        });
        Some(Prepared { invoice, offer, address })
    }

    /// Claims a payment. The node reports the claim, or nothing if it refuses. If the payment is incomplete by now, the
    /// node would drop the claim and keep the HTLCs that are left. Another payment with this hash may have replaced it.
    pub(super) fn claim_payment(&mut self, payment_hash: PaymentHash, preimage: Preimage) -> Vec<Input> {
        let there = htlcs::received(&*self.node, &[payment_hash]).remove(&payment_hash).unwrap_or_default();
        let known = self.service.known_payments_with(payment_hash).next();
        let is_whole = known.is_none_or(|payment| there.held >= payment.due);
        if is_whole || there.held == Msat::ZERO || there.claimed > Msat::ZERO {
            self.node.claim_payment(preimage);
        } else {
            self.node.fail_payment(payment_hash);
        }
        self.onchain.doubts(payment_hash, self.outside.clock.steady());
        vec![]
    }

    /// Fails a payment. Reports of failed HTLCs can be about other payments with the same hash, so the node is asked
    /// whether this one is gone.
    pub(super) fn fail_payment(&mut self, payment_hash: PaymentHash) -> Vec<Input> {
        self.node.fail_payment(payment_hash);
        self.onchain.doubts(payment_hash, self.outside.clock.steady());
        vec![]
    }

    /// Checks doubted payments: a payment is gone once the node holds less than its amount with this hash. A stranger
    /// would have to send the same amount to hide that, and nodes fail such HTLCs at once, or forward them.
    pub(super) fn look_for_lost_payments(&mut self) {
        if !self.onchain.has_doubts() {
            return;
        }
        let now = self.outside.clock.steady();
        let hashes: Vec<PaymentHash> = self.onchain.doubted.keys().copied().collect();
        for (payment_hash, there) in htlcs::received(&*self.node, &hashes) {
            let known: Option<KnownPayment> = self.service.known_payments_with(payment_hash).next();
            let Some(payment) = known.filter(|payment| payment.is_live) else {
                self.onchain.doubted.remove(&payment_hash);
                continue;
            };
            let since = self.onchain.doubted.get(&payment_hash).copied();
            let is_old = since.is_none_or(|since| now.saturating_sub(since) >= AGAIN);
            let is_held = there.held >= payment.amount;
            match payment.stage {
                PaymentStage::Held if !is_held => {
                    // A channel over which it arrived may be closed: the node could still claim the HTLC there, but
                    // nobody will.
                    self.node.fail_payment(payment_hash);
                    self.is_gone(payment_hash);
                }
                PaymentStage::Failed if !is_held => self.is_gone(payment_hash),
                PaymentStage::Failed if is_old => drop(self.fail_payment(payment_hash)),
                // The report of a claim may wait behind other events.
                PaymentStage::Claimed if there.held.0 == 0 && there.claimed.0 == 0 => {
                    self.onchain.doubted.remove(&payment_hash);
                    self.unsettled.claims.insert(payment_hash);
                }
                PaymentStage::Held | PaymentStage::Claimed if is_old => {
                    self.onchain.doubted.remove(&payment_hash);
                }
                PaymentStage::Held | PaymentStage::Claimed | PaymentStage::Failed => {}
            }
        }
    }

    /// Checks that the payment of an order is still there before its channel, which both sides signed, is published.
    /// Nodes do not report that the channel over which an HTLC arrived is closed.
    pub(super) fn look_before_publication(&mut self, key: ChannelKey) {
        let FlowId::Order(number) = key.flow else { return };
        let held = |payment: &KnownPayment| payment.is_live && payment.stage == PaymentStage::Held;
        let held: Vec<KnownPayment> = self.service.known_payments_of(number).filter(held).collect();
        let hashes: Vec<PaymentHash> = held.iter().map(|payment| payment.payment_hash).collect();
        if hashes.is_empty() {
            return;
        }
        let received = htlcs::received(&*self.node, &hashes);
        for payment in held {
            let there = received.get(&payment.payment_hash).copied().unwrap_or_default();
            if there.held < payment.amount {
                self.node.fail_payment(payment.payment_hash);
                self.is_gone(payment.payment_hash);
            }
        }
    }

    fn is_gone(&mut self, payment_hash: PaymentHash) {
        self.onchain.doubted.remove(&payment_hash);
        let _ = self.feed(Input::PaymentGone { payment_hash });
    }

    pub(super) fn keep_deposit(&mut self, order: OrderNumber, outpoint: lsps_types::OutPoint) -> Vec<Input> {
        self.free(vec![from_lsps_outpoint(&outpoint)]);
        vec![Input::DepositKept { order, outpoint }]
    }

    /// Allows the wallet to spend these outputs. The wallet may have been told before a crash, or while their order was on
    /// record, and may have reserved an output for a funding since: such an output stays reserved.
    fn free(&self, mut outputs: Vec<OutPoint>) {
        if outputs.is_empty() {
            return;
        }
        for channel in self.service.unconfirmed_channels() {
            let funding = channel.funding.and_then(|tx| deserialize::<Transaction>(tx).ok());
            let spent = funding.map(|tx| inputs_of(&tx)).unwrap_or_default();
            outputs.retain(|output| !spent.contains(output));
        }
        self.outside.wallet.release(&outputs);
    }

    pub(super) fn build_refund(
        &mut self,
        key: RefundKey,
        to: String,
        deposits: Vec<(lsps_types::OutPoint, Sat)>,
    ) -> Vec<Input> {
        let inputs: Vec<OutPoint> = deposits.iter().map(|(outpoint, _)| from_lsps_outpoint(outpoint)).collect();
        let script = Address::from_str(&to).map(|address| address.assume_checked().script_pubkey());
        let Ok(script) = script else { return vec![Input::RefundImpossible { key }] };
        match build_refund(&*self.outside.wallet, &inputs, &script, self.outside.chain.fee_rate()) {
            Ok(tx) => {
                let mining_sat = self.outside.wallet.mining_fee_sat(&tx);
                vec![Input::RefundBuilt { key, tx: serialize(&tx), mining_sat }]
            }
            Err(CannotFund::NotEnough { .. }) => vec![Input::RefundImpossible { key }],
            Err(CannotFund::Wallet(why)) => {
                self.onchain.unbuilt.insert(key, (to, deposits));
                self.outside.events.send(LspEvent::RefundFails { key, why });
                vec![]
            }
            Err(CannotFund::NotYet) => {
                self.unmade.push(Effect::BuildRefund { key, to, deposits });
                vec![]
            }
        }
    }

    pub(super) fn broadcast_refund(&mut self, key: RefundKey, tx: &[u8], ask: u32) -> Vec<Input> {
        let Ok(tx) = deserialize::<Transaction>(tx) else { return vec![] };
        self.broadcast(TxPurpose::Refund(key), &tx);
        let txid = tx.compute_txid();
        if ask > 1 && self.outside.chain.confirmations(&txid) == 0 {
            let bumped = self.outside.wallet.bump(&tx, self.outside.chain.fee_rate());
            self.outside.events.send(LspEvent::RefundStuck { key, txid, bumped });
        }
        vec![]
    }

    /// Compares orders on record with the node and the chain, after a start.
    pub(super) fn reconcile_orders(&mut self, is_new: &impl Fn(FlowId) -> bool) {
        let is_new = |order| is_new(FlowId::Order(order));
        let orders: Vec<KnownOrder> = self.service.known_orders().filter(|order| is_new(order.number)).collect();
        for order in orders {
            let reserved: Vec<OutPoint> = order.reserved.iter().map(from_lsps_outpoint).collect();
            self.outside.wallet.lock(&reserved);
            let Some(address) = order.address.filter(|address| self.service.wants_address(address)) else { continue };
            let Ok(script) = Address::from_str(&address).map(|address| address.assume_checked().script_pubkey()) else {
                continue;
            };
            if let Some(watch) = &self.outside.deposits {
                watch.watch(&script);
            }
            // A deposit that is gone is reported at the first check; spendable deposits are not reserved again.
            let known = order.reserved.iter().chain(&order.spendable);
            let seen = known.map(|outpoint| (*outpoint, None)).collect();
            self.onchain.watched.insert(script, Watched::new(address, seen));
        }
        let payments: Vec<KnownPayment> =
            self.service.known_payments().filter(|payment| is_new(payment.order)).collect();
        let claimed = payments.iter().filter(|payment| payment.stage == PaymentStage::Claimed);
        // A payment is lost if the node neither reports its claim nor can still make it.
        self.unsettled.claims.extend(claimed.map(|payment| payment.payment_hash));
        for payment in payments {
            let KnownPayment { by, payment_hash, id, amount, claim_before, .. } = payment;
            let preimage = Some(payment.preimage);
            match (payment.stage, htlcs::has_incoming(&*self.node, payment_hash)) {
                // Outstanding effects repeat the calls.
                (PaymentStage::Claimed, _) | (PaymentStage::Held, true) => {}
                (PaymentStage::Failed, true) => {
                    let claimable = true;
                    let held = HeldPayment { by, payment_hash, id, claimable, preimage, amount, claim_before };
                    let _ = self.feed(Input::PaymentHeld(held));
                }
                (PaymentStage::Held | PaymentStage::Failed, false) => {
                    // A channel over which it arrived may be closed: the node could still claim the HTLC there, but
                    // nobody will.
                    self.node.fail_payment(payment_hash);
                    let _ = self.feed(Input::PaymentGone { payment_hash });
                }
            }
        }
        self.look_at_deposits(true);
    }

    /// Stops watching addresses of finished orders, and reports deposits again for which there was no room. Deposits of
    /// finished orders that were never on record are the wallet's. Runs with every block; each address and each deposit
    /// costs a look-up in the service, and each deposit that is not on record one in the chain.
    pub(super) fn forget_addresses(&mut self) {
        let Some(watch) = self.outside.deposits.clone() else { return };
        let Onchain { watched, unowned, .. } = &mut self.onchain;
        watched.retain(|script, watched| {
            let is_wanted = self.service.wants_address(&watched.address);
            if !is_wanted {
                watch.forget(script);
                unowned.extend(watched.seen.keys().map(from_lsps_outpoint));
            }
            is_wanted
        });
        let again: Vec<ScriptBuf> = self
            .onchain
            .watched
            .iter_mut()
            .filter_map(|(script, watched)| {
                let has_deposit = |address: &str, outpoint| self.service.has_deposit(address, outpoint);
                watched.tell_again(has_deposit).then(|| script.clone())
            })
            .collect();
        for script in again {
            self.look_at_address(&script, watch.outputs_to(&script));
        }
    }

    /// Allows the wallet to spend deposits of orders whose removal is on record.
    pub(super) fn free_unowned(&mut self) {
        let unowned = std::mem::take(&mut self.onchain.unowned);
        self.free(unowned);
    }

    /// Reports outputs to addresses of orders that appeared, moved or disappeared. `all`: check all addresses, not only
    /// those that the backend reports as touched; a block touches the addresses that it pays.
    pub(super) fn look_at_deposits(&mut self, all: bool) {
        let Some(watch) = self.outside.deposits.clone() else { return };
        let news = watch.touched().filter(|_| !all);
        let unseen = std::mem::take(&mut self.onchain.unseen);
        let scripts = match news {
            Some(news) => news.into_iter().chain(unseen).collect(),
            None => self.onchain.watched.keys().cloned().collect::<BTreeSet<_>>(),
        };
        for script in scripts {
            self.look_at_address(&script, watch.outputs_to(&script));
        }
    }

    /// Reports the changes of one address. If the chain backend does not know the outputs, nothing is reported, and it
    /// is asked again.
    fn look_at_address(&mut self, script: &ScriptBuf, outputs: Option<Vec<SeenOutput>>) {
        let Onchain { watched, unseen, .. } = &mut self.onchain;
        let Some(Watched { address, seen, .. }) = watched.get_mut(script) else { return };
        let Some(outputs) = outputs else {
            unseen.insert(script.clone());
            return;
        };
        let outputs: BTreeMap<_, _> =
            outputs.into_iter().filter_map(|output| Some((to_lsps_outpoint(output.outpoint)?, output))).collect();
        let mut news = vec![];
        seen.retain(|outpoint, _| {
            let is_there = outputs.contains_key(outpoint);
            if !is_there {
                news.push(Input::DepositGone { address: address.clone(), outpoint: *outpoint });
            }
            is_there
        });
        for (outpoint, output) in outputs {
            let before = seen.insert(outpoint, Some(output));
            if before.is_none() {
                self.outside.wallet.lock(&[output.outpoint]);
            }
            if before != Some(Some(output)) {
                let rate = output.fee_rate.and_then(|rate| u32::try_from(rate.to_sat_per_kwu()).ok());
                news.push(Input::Deposit(Deposit {
                    address: address.clone(),
                    outpoint,
                    amount: Sat(output.amount.to_sat()),
                    confirmed_at: output.height.map(BlockHeight),
                    fee_rate: rate.map(FeeRate),
                }));
            }
        }
        for input in news {
            let _ = self.feed(input);
        }
    }

    /// Handles refunds with every block: those that are not built, not broadcast or not confirmed deeply enough.
    pub(super) fn look_at_refunds(&mut self) {
        for (key, (to, deposits)) in std::mem::take(&mut self.onchain.unbuilt) {
            let answers = self.build_refund(key, to, deposits);
            self.feed_all(answers);
        }
        let mut confirmed = vec![];
        for refund in self.service.unconfirmed_refunds() {
            let Ok(tx) = deserialize::<Transaction>(refund.tx) else { continue };
            match self.outside.chain.confirmations(&tx.compute_txid()) {
                0 if refund.owed => self.broadcast(TxPurpose::Refund(refund.key), &tx),
                super::poll::DEEP.. => confirmed.push(refund.key),
                _ => {}
            }
        }
        for key in confirmed {
            let _ = self.feed(Input::RefundConfirmed { key });
        }
    }
}

/// The result of a call that is over, if it has one. `None`: the node has not finished.
fn finished<T>(made: Made<T>) -> Option<Option<T>> {
    match made {
        Made::Done(made) => Some(Some(made)),
        Made::Never => Some(None),
        Made::NotYet => None,
    }
}

/// Interval at which requests that wait for peers of the node are repeated.
const AGAIN: Duration = Duration::from_secs(5);
/// Builds a refund at the present feerate, unless the on-chain fee would exceed the amount paid out. In that case a
/// lower feerate is used, and the refund is broadcast until feerates fall. Only outputs that are below the dust limit
/// at the least relayed feerate are kept as dust.
fn build_refund(
    wallet: &dyn OnchainWallet,
    outputs: &[OutPoint],
    script: &ScriptBuf,
    today: bitcoin::FeeRate,
) -> Result<Transaction, CannotFund> {
    let least = bitcoin::FeeRate::BROADCAST_MIN;
    let mut rate = today.max(least);
    loop {
        let built = wallet.refund(outputs, script, rate);
        let is_dear = match &built {
            Ok(tx) => wallet.mining_fee_sat(tx) > tx.output.iter().map(|output| output.value.to_sat()).sum(),
            Err(CannotFund::NotEnough { .. }) => true,
            Err(CannotFund::Wallet(_) | CannotFund::NotYet) => false,
        };
        if !is_dear || rate <= least {
            return built;
        }
        rate = bitcoin::FeeRate::from_sat_per_kwu(rate.to_sat_per_kwu() / 2).max(least);
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, FeeRate, OutPoint, ScriptBuf, Transaction, TxOut};

    use super::{Watched, build_refund};
    use crate::ports::{CannotFund, OnchainWallet, SeenOutput};

    /// A wallet with one coin of this value, whose refund takes 110 vB.
    struct Coin(u64);

    impl OnchainWallet for Coin {
        fn fund(&self, _: u128, _: &ScriptBuf, _: u64, _: FeeRate) -> Result<Transaction, CannotFund> {
            Err(CannotFund::Wallet("it is not asked".into()))
        }

        fn lock(&self, _: &[OutPoint]) {}

        fn release(&self, _: &[OutPoint]) {}

        fn mining_fee_sat(&self, tx: &Transaction) -> u64 {
            self.0 - tx.output[0].value.to_sat()
        }

        fn spendable_sat(&self) -> u64 {
            0
        }

        fn refund(&self, _: &[OutPoint], to: &ScriptBuf, rate: FeeRate) -> Result<Transaction, CannotFund> {
            let fee = rate.to_sat_per_kwu() * 440 / 1_000;
            let left = self.0.checked_sub(fee).filter(|left| *left >= 294);
            let value = left.ok_or(CannotFund::NotEnough { needed_sat: fee + 294, available_sat: self.0 })?;
            let output = vec![TxOut { value: Amount::from_sat(value), script_pubkey: to.clone() }];
            Ok(Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![], output })
        }
    }

    fn given_back(worth: u64, sat_per_vb: u64) -> Option<u64> {
        let rate = FeeRate::from_sat_per_vb(sat_per_vb).expect("few");
        match build_refund(&Coin(worth), &[], &ScriptBuf::new(), rate) {
            Ok(tx) => Some(tx.output[0].value.to_sat()),
            Err(CannotFund::NotEnough { .. }) => None,
            Err(why) => panic!("{why}"),
        }
    }

    #[test]
    #[allow(non_snake_case, reason = "as the table of attacks names it")]
    fn case_X09_deposits_that_are_not_on_record_are_told_again_and_others_are_not() {
        let of = |tx| lsps_types::OutPoint { txid: lsps_types::Txid([tx; 32]), index: 0 };
        let output = SeenOutput { outpoint: OutPoint::null(), amount: Amount::ONE_SAT, height: None, fee_rate: None };
        let seen = || (1..4).map(|tx| (of(tx), Some(output))).collect();
        let mut watched = Watched::new("address".into(), seen());
        assert!(watched.tell_again(|address, outpoint| address == "address" && outpoint != of(2)));
        let news: Vec<_> =
            watched.seen.iter().filter(|(_, seen)| seen.is_none()).map(|(outpoint, _)| *outpoint).collect();
        assert_eq!(news, [of(2)], "it gave way to a larger one after it was taken");
        watched.seen = seen();
        assert!(!watched.tell_again(|_, _| true));
        assert!(watched.seen.values().all(Option::is_some), "there was room");
    }

    #[test]
    #[allow(non_snake_case, reason = "as the table of attacks names it")]
    fn case_X08_a_refund_on_a_dear_day_waits_for_a_cheaper_one_and_is_not_called_dust() {
        // 500 sat/vB would take 55 000 sat; at a quarter of that, the fee is less than half.
        assert_eq!(given_back(55_000, 500), Some(55_000 - 110 * 125 * 2));
        assert_eq!(
            given_back(1_000_000, 500),
            Some(1_000_000 - 55_000),
            "what the day costs, where that is not too much"
        );
        assert_eq!(given_back(404, 500), Some(294), "down to the least that is relayed");
        assert_eq!(given_back(403, 500), None, "and only below that nothing is left");
    }
}

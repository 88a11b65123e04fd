//! Payment of orders: over Lightning by the node, on-chain by the application's wallet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{FeeRate, ScriptBuf, Transaction, WitnessProgram, WitnessVersion};

use lsps_client::jit_receive::Handled;
use lsps_client::order::{Order, OrderKey, Payment, PaymentInstructions, PaymentMethod, PaymentOption, State};
use lsps_types::{Address, BlockHeight, Sat, Timestamp};

use super::pump::Pump;
use super::report;
use crate::ports::{CannotFund, CannotPay, OnchainPayer, PayAnswer, PayLimits, PaymentEnd, PaymentId, PaymentProgress};

/// Payments of orders that the client asked for.
#[derive(Default)]
pub(super) struct Payments {
    /// Payments that are not started yet.
    due: BTreeMap<OrderKey, Due>,
    /// Payments whose transaction was broadcast since the start.
    broadcast: BTreeSet<OrderKey>,
    /// Height at which the transactions were broadcast last.
    height: BlockHeight,
}

/// A payment to start. The times are on the steady clock.
struct Due {
    option: PaymentOption,
    next: Duration,
    /// Time for attempts, from the first one on, before another method is tried or the payment fails. `None`: until the
    /// order cannot be paid any more.
    patience: Option<Duration>,
    /// Time of the first attempt.
    since: Option<Duration>,
}

impl Payments {
    pub fn is_idle(&self) -> bool {
        self.due.is_empty()
    }
}

impl Pump {
    pub(super) fn has_to_pay(&mut self, order: OrderKey, option: PaymentOption) {
        let is_open = |order: &Order, now| order.next_method(now).is_some();
        let has_others = self.session.with(|client, now| client.order(order).is_some_and(|order| is_open(order, now)));
        let patience = if has_others { TRY_BEFORE_THE_NEXT } else { TRY_FOR };
        let next = self.outside.clock.steady();
        self.payments.due.insert(order, Due { option, next, patience: Some(patience), since: None });
    }

    /// Asks for an invoice again, as long as the order can be paid. At most one invoice is paid: all use the same
    /// payment id.
    fn asks_for_invoice_again(&mut self, order: OrderKey, option: PaymentOption) {
        let next = self.outside.clock.steady();
        self.payments.due.insert(order, Due { option, next, patience: None, since: None });
    }

    /// Starts the payments that are due. Early attempts may fail, as after a start the node has no routes and the
    /// wallet no coins.
    pub(super) fn look_at_payments(&mut self) {
        // The node may have forgotten a payment whose end it is still to report.
        if !self.is_caught_up() {
            return;
        }
        let (now, steady) = (self.session.with(|_, now| now), self.outside.clock.steady());
        for (key, mut due) in std::mem::take(&mut self.payments.due) {
            let is_wanted = |order: &Order| is_to_be_paid(order, due.option.method());
            let wanted = self.session.with(|client, _| client.order(key).is_some_and(is_wanted));
            if !wanted {
                continue;
            }
            if steady < due.next {
                self.payments.due.insert(key, due);
                continue;
            }
            let since = *due.since.get_or_insert(steady);
            match self.begin(key, &due.option, now) {
                PayAnswer::Begun => {}
                PayAnswer::NotNow if due.patience.is_none_or(|patience| steady < since + patience) => {
                    due.next = steady + TRY_AGAIN;
                    self.payments.due.insert(key, due);
                }
                PayAnswer::NotNow | PayAnswer::Never => {
                    let _ = self.session.with(|client, now| client.order_not_sent(key, now));
                }
            }
        }
    }

    pub(super) fn pays_no_more(&mut self, order: OrderKey, option: &PaymentOption) {
        let was_begun = self.payments.due.remove(&order).is_none();
        let Some(id) = self.id_of(order, &option.instructions) else { return };
        if self.node.payment(id).is_some() {
            self.node.stop_paying(id);
            return;
        }
        // The node drops a payment that failed before it reports the failure.
        let _ = self.session.with(|client, now| match was_begun {
            true => client.order_returned(order, now),
            false => client.order_not_sent(order, now),
        });
    }

    /// Has the node stop the payments of orders that go on by another method, or are over. A crash can bring back a payment
    /// that the node had given up before: an invoice for the offer could still come, and the order be paid twice.
    pub(super) fn stop_earlier_payments(&self) {
        let ids: Vec<PaymentId> = self.session.with(|client, _| {
            let earlier = |order: &Order| -> Vec<PaymentId> {
                let options = order.payment_options().iter().filter(|option| !is_to_be_paid(order, option.method()));
                options.filter_map(|option| payment_id(order, &option.instructions)).collect()
            };
            client.orders().flat_map(earlier).collect()
        });
        for id in ids.into_iter().filter(|id| self.node.payment(*id) == Some(PaymentProgress::UnderWay)) {
            self.node.stop_paying(id);
        }
    }

    pub(super) fn broadcast(&mut self, order: OrderKey, transaction: &[u8]) {
        let Some(wallet) = &self.outside.onchain else { return };
        // A failing store may have delayed the effect until the order changed.
        if !self.session.with(|client, now| client.broadcasts_payment(order, now)) {
            self.payments.broadcast.remove(&order);
            return;
        }
        // The transaction was serialised by this module, so it always parses.
        if let Ok(transaction) = deserialize(transaction) {
            wallet.broadcast(&transaction);
            self.payments.broadcast.insert(order);
        }
    }

    /// Repeats the broadcasts with every block, as a mempool may have dropped an unconfirmed transaction.
    pub(super) fn broadcast_again(&mut self) {
        let height = self.node.height();
        if std::mem::replace(&mut self.payments.height, height) == height {
            return;
        }
        for order in self.payments.broadcast.clone() {
            let paying = self.session.with(|client, _| client.order(order).and_then(Order::paying).cloned());
            match paying.map(|paying| paying.payment) {
                Some(Payment::Signed(transaction)) => self.broadcast(order, &transaction),
                _ => drop(self.payments.broadcast.remove(&order)),
            }
        }
    }

    pub(super) fn reserve(&self, transaction: &[u8]) {
        if let (Some(wallet), Ok(transaction)) = (&self.outside.onchain, deserialize(transaction)) {
            wallet.reserve(&transaction);
        }
    }

    pub(super) fn forget(&self, order: OrderKey, transaction: &[u8]) {
        if let (Some(wallet), Ok(transaction)) = (&self.outside.onchain, deserialize(transaction)) {
            wallet.forget(&transaction);
        }
        let _ = self.session.with(|client, now| client.payment_forgotten(order, now));
    }

    /// Handles the outcome of a Lightning payment. The order changes only if the payment is by its present method. No
    /// other payment of the node has such an id.
    pub(super) fn payment_ended(&mut self, id: PaymentId, end: PaymentEnd) -> Handled {
        let of = |order: &Order, now| {
            let option =
                order.payment_options().iter().find(|option| payment_id(order, &option.instructions) == Some(id))?;
            let is_chosen = order.paying().is_some_and(|paying| paying.method == option.method());
            let is_the_last = is_to_be_paid(order, option.method()) && order.next_method(now).is_none();
            Some((order.key(), option.clone(), is_chosen, is_the_last))
        };
        let of = self.session.with(|client, now| client.orders().find_map(|order| of(order, now)));
        let Some((key, option, is_chosen, is_the_last)) = of else { return Handled::NotMine };
        report::payment_ended(key, end);
        if !is_chosen {
            return Handled::Taken;
        }
        // The event is from before a restart, after which the payment was started again; the new payment reports its
        // own outcome.
        if end != PaymentEnd::Paid && self.node.payment(id) == Some(PaymentProgress::UnderWay) {
            return Handled::Taken;
        }
        // Nodes wait for an invoice for one or two minutes, while the LSP may be offline for longer. If another method
        // is left, that one is tried at once.
        if end == PaymentEnd::NoInvoice && is_the_last {
            self.asks_for_invoice_again(key, option);
            return Handled::Taken;
        }
        // The order may reject a repetition; the event belongs to the wallet in any case.
        let _ = self.session.with(|client, now| match end {
            PaymentEnd::Paid => client.order_settled(key, now),
            PaymentEnd::Returned => client.order_returned(key, now),
            PaymentEnd::NoInvoice | PaymentEnd::NotSent => client.order_not_sent(key, now),
        });
        Handled::Taken
    }

    fn id_of(&self, order: OrderKey, instructions: &PaymentInstructions) -> Option<PaymentId> {
        self.session.with(|client, _| client.order(order).and_then(|order| payment_id(order, instructions)))
    }

    fn begin(&mut self, key: OrderKey, option: &PaymentOption, now: Timestamp) -> PayAnswer {
        let limits = PayLimits { fee: option.extra, within: option.pay_by.since(now).min(PATIENCE) };
        match (&option.instructions, self.id_of(key, &option.instructions)) {
            (_, Some(id)) if self.node.payment(id).is_some() => PayAnswer::Begun,
            (_, _) if now >= option.pay_by => PayAnswer::Never,
            (PaymentInstructions::Invoice { payment_hash, .. }, _) if self.node.pays_hash(*payment_hash) => {
                PayAnswer::Never
            }
            (PaymentInstructions::Invoice { invoice, .. }, Some(id)) => self.node.pay_invoice(id, invoice, limits),
            (PaymentInstructions::Offer { offer }, Some(id)) => self.node.pay_offer(id, offer, limits),
            (PaymentInstructions::Address { address, at_once_above, .. }, _) => {
                self.sign(key, address, *at_once_above, option)
            }
            (PaymentInstructions::Invoice { .. } | PaymentInstructions::Offer { .. }, None) => PayAnswer::Never,
        }
    }

    /// Signs the payment within the limit of on-chain fees. The usual feerate is used if the LSP's feerate for opening
    /// the channel at once exceeds the limit.
    fn sign(
        &mut self,
        key: OrderKey,
        to: &Address,
        at_once_above: Option<lsps_types::FeeRate>,
        option: &PaymentOption,
    ) -> PayAnswer {
        let (Some(wallet), Some(script)) = (self.outside.onchain.clone(), script_of(to)) else {
            return PayAnswer::Never;
        };
        let sign = |rate| wallet.sign(key.0, &script, option.total.0, rate, option.extra.0);
        let signed = match sign(at_once_above.map(feerate)) {
            Err(why) if at_once_above.is_some() && why != CannotPay::Fund(CannotFund::NotYet) => sign(None),
            signed => signed,
        };
        let Ok(transaction) = signed else { return PayAnswer::NotNow };
        let is_right = pays(&transaction, &script, option.total.0);
        let signed = serialize(&transaction);
        let recorded = is_right && self.session.with(|client, now| client.order_signed(key, signed, now).is_ok());
        if recorded {
            return PayAnswer::Begun;
        }
        wallet.forget(&transaction);
        PayAnswer::Never
    }
}

/// On-chain fee of a payment in addition to the total. `None`: the wallet cannot pay by this method within the limit.
pub(super) fn extra(wallet: &dyn OnchainPayer, option: &PaymentOption) -> Option<Sat> {
    let PaymentInstructions::Address { address, at_once_above, .. } = &option.instructions else { return None };
    let script = script_of(address)?;
    let fee =
        |rate| wallet.mining_fee_sat(&script, option.total.0, rate).ok().map(Sat).filter(|fee| *fee <= option.extra);
    fee(at_once_above.map(feerate)).or_else(|| fee(None))
}

fn feerate(rate: lsps_types::FeeRate) -> FeeRate {
    FeeRate::from_sat_per_kwu(rate.0.into())
}

/// Payment id of an order's payment. The id is the same at each attempt, and the LSP does not choose it. Orders from
/// records of version 1 have their payment hash as id.
pub(super) fn payment_id(order: &Order, instructions: &PaymentInstructions) -> Option<PaymentId> {
    let tag: &[u8] = match instructions {
        PaymentInstructions::Invoice { payment_hash, .. } if order.is_paid_under_its_hash() => {
            return order.paying().map(|_| PaymentId(payment_hash.0));
        }
        PaymentInstructions::Invoice { .. } => b"invoice of order ",
        PaymentInstructions::Offer { .. } => b"offer of order ",
        PaymentInstructions::Address { .. } => return None,
    };
    let mut engine = sha256::Hash::engine();
    engine.input(tag);
    engine.input(&order.key().0.to_be_bytes());
    Some(PaymentId(sha256::Hash::from_engine(engine).to_byte_array()))
}

fn is_to_be_paid(order: &Order, by: PaymentMethod) -> bool {
    matches!(order.state(), State::Paying(paying) if paying.payment == Payment::Asked && paying.method == by)
}

fn script_of(address: &Address) -> Option<ScriptBuf> {
    let version = WitnessVersion::try_from(address.version()).ok()?;
    let program = WitnessProgram::new(version, address.program()).ok()?;
    Some(ScriptBuf::new_witness_program(&program))
}

/// Whether the transaction pays the total in one output. Spec: LSPS1 §4.3.
fn pays(transaction: &Transaction, script: &ScriptBuf, amount_sat: u64) -> bool {
    let to_it: Vec<_> = transaction.output.iter().filter(|output| output.script_pubkey == *script).collect();
    matches!(to_it[..], [output] if output.value.to_sat() == amount_sat)
}

/// Time for which the start of a payment is retried after the first attempt.
const TRY_FOR: Duration = Duration::from_secs(60);
/// Time for which the start of a payment is retried if another method is left.
const TRY_BEFORE_THE_NEXT: Duration = Duration::from_secs(10);
/// Interval of the retries.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Longest time for which the node searches routes.
const PATIENCE: Duration = Duration::from_secs(60);

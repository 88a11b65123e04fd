//! Events of an order, and the only code that applies them.

use alloc::vec::Vec;
use core::time::Duration;

use lsps_types::{Msat, OutPoint, PaymentHash, Sat, Timestamp};

use crate::book::Booking;
use crate::channel::ChannelEvent;
use crate::clock::Shift;
use crate::config::OrderConfig;
use crate::flow::WakeUpEvent;
use crate::ids::PaymentId;
use crate::input::Prepared;
use crate::lsps1::order::{Lease, Order, OrderFailure, Stage};
use crate::lsps1::payments::{DepositStatus, Output, Payment, PaymentMethod, PaymentState, Refund, sum};

/// State change of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The payment methods were created.
    Offered(Prepared),
    /// The payment methods were not created in time.
    Dropped,
    PaymentAdded {
        hash: PaymentHash,
        id: Option<PaymentId>,
        payment: Payment,
    },
    PaymentMoved {
        hash: PaymentHash,
        to: PaymentState,
    },
    PaymentForgotten(PaymentHash),
    /// A payment was claimed.
    Paid {
        hash: PaymentHash,
        id: Option<PaymentId>,
        amount: Msat,
        at: Timestamp,
    },
    /// A payment that was to be claimed is lost although the channel is published.
    Unpaid {
        hash: PaymentHash,
        at: Timestamp,
    },
    /// A payment that counted as lost was claimed after all.
    PaidAfterAll {
        hash: PaymentHash,
        id: Option<PaymentId>,
        amount: Msat,
        at: Timestamp,
    },
    /// A second payment with the same hash was claimed too.
    PaidAgain {
        hash: PaymentHash,
        id: Option<PaymentId>,
        amount: Msat,
        at: Timestamp,
    },
    MethodClosed(PaymentMethod),
    OutputSeen {
        outpoint: OutPoint,
        output: Output,
    },
    OutputGone(OutPoint),
    /// A deposit that paid for the channel was double-spent.
    DepositLost {
        outpoint: OutPoint,
        at: Timestamp,
    },
    /// A deposit that counted as lost is confirmed after all.
    DepositFound {
        outpoint: OutPoint,
        at: Timestamp,
    },
    /// The wallet was allowed to spend the deposit.
    OutputSpendable(OutPoint),
    RefundDue(Vec<OutPoint>),
    RefundMoved {
        number: u32,
        to: Refund,
        at: Timestamp,
    },
    /// A refund would cost more than the value of its deposits, so the LSP keeps them.
    DustKept {
        number: u32,
        at: Timestamp,
    },
    /// Deposits that paid for nothing cost more to refund than they are worth, and their order is about to be removed.
    DustLeft {
        outpoints: Vec<OutPoint>,
        at: Timestamp,
    },
    /// A deposit that the refund spends is gone. The others are refunded again, and only one of the two refunds can
    /// confirm.
    RefundVoid(u32),
    /// A void refund confirmed.
    RefundRevived {
        number: u32,
        at: Timestamp,
    },
    /// An open failed in a way that counts against the limit of attempts.
    OpenFailed,
    RetryAt(Timestamp),
    Opening {
        at: Timestamp,
    },
    FundingKnown(OutPoint),
    Channel(ChannelEvent),
    /// The funding transaction is broadcast, and the payment for it is taken.
    Published {
        at: Timestamp,
        paid_by: PaymentMethod,
        outpoint: OutPoint,
        /// Deposits that pay for the channel; empty for a Lightning payment.
        deposits: Vec<OutPoint>,
    },
    /// The funding transaction is broadcast although nothing pays for it: the client has claimed an HTLC over the
    /// channel.
    Given {
        at: Timestamp,
        outpoint: OutPoint,
    },
    Failed {
        at: Timestamp,
        why: OrderFailure,
    },
    WakeUp(WakeUpEvent),
    Booked(u32),
    /// The clock was set; with the longest times for the preparation and for the delay between opens.
    ClockSet {
        shift: Shift,
        prepare: Duration,
        retry: Duration,
    },
}

impl Order {
    /// Applies an event. The method never fails nor reads a clock, and nothing else assigns the state.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Offered(prepared) => self.offer(prepared),
            Event::Dropped => self.stage = Stage::Dropped,
            Event::PaymentAdded { hash, id, payment } => self.add_payment(hash, id, payment),
            Event::PaymentMoved { hash, to } => self.move_payment(hash, to),
            Event::Paid { hash, id, amount, at } => self.paid(hash, id, amount, at),
            Event::PaymentForgotten(hash) => {
                self.payments.remove(&hash);
                self.ids.remove(&hash);
            }
            Event::Unpaid { hash, at } => self.unpaid(hash, at),
            Event::PaidAfterAll { hash, id, amount, at } => self.paid_after_all(hash, id, amount, at),
            Event::PaidAgain { hash, id, amount, at } => {
                self.name_payment(hash, id);
                self.ledger.enter(at, Booking::OrderPaidAgain { payment_hash: hash, amount });
            }
            Event::MethodClosed(PaymentMethod::Bolt11) => {
                self.methods.bolt11.iter_mut().for_each(|method| method.closed = true)
            }
            Event::MethodClosed(PaymentMethod::Bolt12) => {
                self.methods.bolt12.iter_mut().for_each(|method| method.closed = true)
            }
            // An address cannot be closed, and no payment is awaited for a free order.
            Event::MethodClosed(PaymentMethod::Onchain | PaymentMethod::Free) => {}
            Event::OutputSeen { outpoint, output } => {
                self.outputs.insert(outpoint, output);
            }
            Event::OutputGone(outpoint) => {
                self.outputs.remove(&outpoint);
            }
            Event::DepositLost { outpoint, at } => {
                self.decide_outputs(&[outpoint], DepositStatus::Lost);
                self.ledger.enter(at, Booking::DepositLost { amount: self.worth(outpoint) });
            }
            Event::DepositFound { outpoint, at } => {
                self.decide_outputs(&[outpoint], DepositStatus::Kept);
                self.ledger.enter(at, Booking::DepositFound { amount: self.worth(outpoint) });
            }
            Event::OutputSpendable(outpoint) => self.decide_outputs(&[outpoint], DepositStatus::Spendable),
            Event::RefundDue(outpoints) => self.begin_refund(&outpoints),
            Event::RefundMoved { number, to, at } => self.move_refund(number, to, at),
            Event::RefundVoid(number) => self.void_refund(number),
            Event::RefundRevived { number, at } => self.revive_refund(number, at),
            Event::DustKept { number, at } => self.keep_refund(number, at),
            Event::DustLeft { outpoints, at } => self.leave_dust(&outpoints, at),
            Event::OpenFailed => self.failures = self.failures.saturating_add(1),
            Event::RetryAt(at) => self.retry_at = Some(at),
            Event::Opening { at } => self.begin_opening(at),
            Event::FundingKnown(outpoint) => self.funding_outpoint = Some(outpoint),
            Event::Channel(event) => self.change_channel(event),
            Event::Published { at, paid_by, outpoint, deposits } => self.publish(at, paid_by, outpoint, &deposits),
            Event::Given { at, outpoint } => self.give(at, outpoint),
            Event::Failed { at, why } => {
                self.close_ways();
                self.stage = Stage::Failed { at, why };
            }
            Event::WakeUp(event) => self.wake_up.apply(event),
            Event::Booked(number) => self.ledger.booked(number),
            Event::ClockSet { shift, prepare, retry } => self.clock_set(&shift, prepare, retry),
        }
    }

    fn paid(&mut self, hash: PaymentHash, id: Option<PaymentId>, amount: Msat, at: Timestamp) {
        self.name_payment(hash, id);
        self.move_payment(hash, PaymentState::Claimed { at });
        let Shares { fee, surplus, .. } = self.shares(amount);
        self.ledger.enter(at, Booking::OrderPaid { fee, surplus });
    }

    fn unpaid(&mut self, hash: PaymentHash, at: Timestamp) {
        self.move_payment(hash, PaymentState::Lost { at });
        let Shares { fee, given, .. } = self.shares(Msat::ZERO);
        self.ledger.enter(at, Booking::OrderUnpaid { fee, given });
    }

    fn paid_after_all(&mut self, hash: PaymentHash, id: Option<PaymentId>, amount: Msat, at: Timestamp) {
        self.name_payment(hash, id);
        self.move_payment(hash, PaymentState::Claimed { at });
        let Shares { fee, given, surplus } = self.shares(amount);
        self.ledger.enter(at, Booking::OrderFound { fee, given, surplus });
    }

    fn begin_refund(&mut self, outpoints: &[OutPoint]) {
        let number = u32::try_from(self.refunds.len()).unwrap_or(u32::MAX);
        self.refunds.push(Refund::Asked);
        self.decide_outputs(outpoints, DepositStatus::Refunded(number));
    }

    fn keep_refund(&mut self, number: u32, at: Timestamp) {
        self.take_dust(&self.deposits(DepositStatus::Refunded(number)), at);
        self.set_refund(number, Refund::Impossible);
    }

    fn leave_dust(&mut self, outpoints: &[OutPoint], at: Timestamp) {
        let amount = |outpoint: &OutPoint| self.outputs.get(outpoint).map_or(Sat::ZERO, |output| output.amount);
        let dust: Vec<_> = outpoints.iter().map(|outpoint| (*outpoint, amount(outpoint))).collect();
        self.take_dust(&dust, at);
    }

    fn begin_opening(&mut self, at: Timestamp) {
        (self.attempt, self.retry_at) = (self.attempt.saturating_add(1), None);
        let capacity_sat = self.ordered.lsp_balance.0.saturating_add(self.ordered.client_balance.0);
        let (deliver, client_reserve) = (Msat::ZERO, lsps_types::Ppm(0));
        self.channel.apply(ChannelEvent::Opening { at, capacity_sat, deliver, client_reserve });
    }

    /// Stores the payment methods that the host created; methods without a result are dropped.
    fn offer(&mut self, prepared: Prepared) {
        let Prepared { invoice, offer, address } = prepared;
        let methods = &mut self.methods;
        methods.bolt11 = methods.bolt11.take().zip(invoice).map(|(mut method, text)| {
            method.text = text;
            method
        });
        methods.bolt12 = methods.bolt12.take().zip(offer).map(|(mut method, (text, id))| {
            (method.text, method.by) = (text, id);
            method
        });
        methods.onchain = methods.onchain.take().zip(address).map(|(mut method, address)| {
            method.address = address;
            method
        });
        let any = methods.all().next().is_some() || self.free_until.is_some();
        self.stage = if any { Stage::Open } else { Stage::Dropped };
    }

    fn add_payment(&mut self, hash: PaymentHash, id: Option<PaymentId>, payment: Payment) {
        self.payments.insert(hash, payment);
        self.name_payment(hash, id);
    }

    fn name_payment(&mut self, hash: PaymentHash, id: Option<PaymentId>) {
        self.ids.extend(id.map(|id| (hash, id)));
    }

    fn move_payment(&mut self, hash: PaymentHash, to: PaymentState) {
        if let Some(payment) = self.payments.get_mut(&hash) {
            payment.state = to;
        }
    }

    /// Splits the amount received for the channel.
    fn shares(&self, received: Msat) -> Shares {
        let fee = self.lease().map_or(Msat::ZERO, |lease| self.fee_of(lease.paid_by));
        let given = self.ordered.client_balance.to_msat().unwrap_or(Msat::ZERO);
        Shares { fee, given, surplus: Msat(received.0.saturating_sub(fee.0).saturating_sub(given.0)) }
    }

    fn change_channel(&mut self, event: ChannelEvent) {
        if let (ChannelEvent::Confirmed { at, height }, Some(funding)) = (&event, self.channel.funding()) {
            let paid = Booking::ChannelPaid { key: self.key(), mining_sat: funding.mining_sat };
            self.ledger.enter(*at, paid);
            self.confirmed_at = Some(*height);
        }
        self.channel.apply(event);
    }

    /// Whether this clock correction changes any instant on record.
    pub fn is_shifted_by(&self, shift: &Shift, config: &OrderConfig) -> bool {
        let mut shifted = self.clone();
        shifted.clock_set(shift, config.prepare_timeout, config.retry_after);
        shifted != *self
    }

    /// Shifts the waits. The expiry of payment methods and of the lease stays: these dates were promised.
    fn clock_set(&mut self, shift: &Shift, prepare: Duration, retry: Duration) {
        match &mut self.stage {
            Stage::Draft { until } => *until = shift.end(*until, prepare),
            Stage::Failed { at, .. } => *at = shift.past(*at),
            Stage::Open | Stage::Completed(_) | Stage::Dropped => {}
        }
        self.retry_at = self.retry_at.map(|at| shift.end(at, retry));
        for payment in self.payments.values_mut() {
            match &mut payment.state {
                PaymentState::Claimed { at } | PaymentState::Failed { at } | PaymentState::Lost { at } => {
                    *at = shift.past(*at);
                }
                PaymentState::Held | PaymentState::Claiming { .. } | PaymentState::Failing { .. } => {}
            }
        }
        for refund in &mut self.refunds {
            if let Refund::Built { asked_at, .. } = refund {
                *asked_at = shift.past(*asked_at);
            }
        }
        self.channel.clock_set(shift);
    }

    fn publish(&mut self, at: Timestamp, paid_by: PaymentMethod, outpoint: OutPoint, deposits: &[OutPoint]) {
        self.lease_from(at, paid_by, outpoint);
        for payment in self.payments.values_mut().filter(|payment| payment.is_held()) {
            payment.state = PaymentState::Claiming { ask: 1 };
        }
        if paid_by == PaymentMethod::Onchain {
            let received = deposits.iter().filter_map(|deposit| self.outputs.get(deposit)).map(|output| output.amount);
            let received = sum(received);
            let Shares { fee, surplus, .. } = self.shares(received.to_msat().unwrap_or(Msat::ZERO));
            self.ledger.enter(at, Booking::OrderPaid { fee, surplus });
            self.decide_outputs(deposits, DepositStatus::Kept);
        }
    }

    fn give(&mut self, at: Timestamp, outpoint: OutPoint) {
        let meant = self.payments.values().map(|payment| payment.method).chain(self.methods.all()).next();
        self.lease_from(at, meant.unwrap_or(PaymentMethod::Free), outpoint);
        let Shares { fee, given, .. } = self.shares(Msat::ZERO);
        // Nothing was owed for a free channel.
        if self.free_until.is_none() {
            self.ledger.enter(at, Booking::OrderUnpaid { fee, given });
        }
    }

    fn lease_from(&mut self, at: Timestamp, paid_by: PaymentMethod, outpoint: OutPoint) {
        let expires_at = at + BLOCK_TIME.saturating_mul(self.ordered.channel_expiry_blocks);
        self.stage = Stage::Completed(Lease { paid_by, funded_at: at, outpoint, expires_at });
        self.close_ways();
    }

    fn close_ways(&mut self) {
        self.methods.bolt11.iter_mut().for_each(|method| method.closed = true);
        self.methods.bolt12.iter_mut().for_each(|method| method.closed = true);
    }

    fn worth(&self, outpoint: OutPoint) -> Msat {
        self.outputs.get(&outpoint).and_then(|output| output.amount.to_msat()).unwrap_or(Msat::ZERO)
    }

    pub(super) fn decide_outputs(&mut self, outpoints: &[OutPoint], status: DepositStatus) {
        for outpoint in outpoints {
            if let Some(output) = self.outputs.get_mut(outpoint) {
                output.status = status;
            }
        }
    }
}

/// Shares of the amount received for an order.
struct Shares {
    fee: Msat,
    /// Balance of the client in the channel.
    given: Msat,
    surplus: Msat,
}

/// Duration of a block in the computation of a date (reading R-16).
const BLOCK_TIME: Duration = Duration::from_secs(600);

//! Outcomes of refunds: of several transactions that spend the same deposit, only one ever confirms.

use alloc::{vec, vec::Vec};
use core::mem;

use lsps_types::{Msat, OutPoint, Sat, Timestamp};

use crate::book::Booking;
use crate::flow::Reject;
use crate::ids::RefundKey;
use crate::lsps1::change::Event;
use crate::lsps1::order::Order;
use crate::lsps1::payments::{DepositStatus, Output, Refund, sum};

impl Order {
    pub(super) fn refund_built(
        &self,
        number: u32,
        tx: &[u8],
        mining_sat: u64,
        at: Timestamp,
    ) -> Result<Vec<Event>, Reject> {
        match self.refund(number)? {
            Refund::Asked => {
                let to = Refund::Built { tx: tx.to_vec(), mining_sat, ask: 1, asked_at: at };
                Ok(vec![Event::RefundMoved { number, to, at }])
            }
            Refund::Built { .. } | Refund::Confirmed | Refund::Impossible | Refund::Void { .. } => Ok(vec![]),
        }
    }

    pub(super) fn refund_impossible(&self, number: u32, at: Timestamp) -> Result<Vec<Event>, Reject> {
        match self.refund(number)? {
            Refund::Asked => Ok(vec![Event::DustKept { number, at }]),
            Refund::Built { .. } | Refund::Confirmed | Refund::Impossible | Refund::Void { .. } => Ok(vec![]),
        }
    }

    pub(super) fn refund_confirmed(&self, number: u32, at: Timestamp) -> Result<Vec<Event>, Reject> {
        match self.refund(number)? {
            Refund::Built { .. } => Ok(vec![Event::RefundMoved { number, to: Refund::Confirmed, at }]),
            // A later refund that spends the same deposits is confirmed; it may be the very same transaction.
            Refund::Void { spends, .. } if self.is_back(spends) => {
                Ok(vec![Event::RefundMoved { number, to: Refund::Impossible, at }])
            }
            // No other transaction that spends the same deposits can confirm any more.
            Refund::Void { spends, .. } => {
                let mut events: Vec<_> = self.refunds_of(spends).into_iter().map(Event::RefundVoid).collect();
                events.push(Event::RefundRevived { number, at });
                Ok(events)
            }
            Refund::Confirmed => Ok(vec![]),
            Refund::Asked | Refund::Impossible => Err(Reject::Stale),
        }
    }

    pub(super) fn move_refund(&mut self, number: u32, to: Refund, at: Timestamp) {
        let received = self.deposits(DepositStatus::Refunded(number));
        let Some(refund) = self.refund_mut(number) else { return };
        if let (Refund::Built { mining_sat, .. }, Refund::Confirmed) = (&refund, &to) {
            let mining_sat = *mining_sat;
            self.book_refund(number, &received, mining_sat, at);
            self.rule_out_rivals(number, &received);
        }
        self.set_refund(number, to);
    }

    /// Marks a refund as void, so that its remaining deposits are refunded again.
    pub(super) fn void_refund(&mut self, number: u32) {
        let spends = self.deposits(DepositStatus::Refunded(number));
        self.decide_outputs(&outpoints(&spends), DepositStatus::Open);
        let Some(refund) = self.refund_mut(number) else { return };
        *refund = match mem::replace(refund, Refund::Impossible) {
            Refund::Built { tx, mining_sat, .. } => Refund::Void { tx, mining_sat, spends },
            Refund::Asked | Refund::Impossible => Refund::Impossible,
            other @ (Refund::Confirmed | Refund::Void { .. }) => other,
        };
    }

    /// Marks a void refund as confirmed: all its deposits were there after all, whether that was reported or not.
    pub(super) fn revive_refund(&mut self, number: u32, at: Timestamp) {
        let Some(Refund::Void { mining_sat, spends, .. }) = self.refund_mut(number).cloned() else { return };
        let status = DepositStatus::Refunded(number);
        for (outpoint, amount) in &spends {
            let unseen = Output { amount: *amount, confirmed_at: None, fee_rate: None, status: DepositStatus::Open };
            let before = mem::replace(&mut self.outputs.entry(*outpoint).or_insert(unseen).status, status);
            // A small deposit that had been kept by the LSP.
            if let DepositStatus::Kept | DepositStatus::Spendable = before {
                let amount = amount.to_msat().unwrap_or(Msat::ZERO);
                self.ledger.enter(at, Booking::DepositLost { amount });
            }
        }
        self.book_refund(number, &spends, mining_sat, at);
        self.rule_out_rivals(number, &spends);
        self.set_refund(number, Refund::Confirmed);
    }

    /// Whether a confirmed refund spends one of these deposits.
    fn is_back(&self, spent: &[(OutPoint, Sat)]) -> bool {
        self.refunds_of(spent).into_iter().any(|number| self.refund(number) == Ok(&Refund::Confirmed))
    }

    /// Ends void refunds that spend a deposit of a confirmed one. Such a refund may be the very same transaction, which would
    /// be booked twice.
    fn rule_out_rivals(&mut self, confirmed: u32, spent: &[(OutPoint, Sat)]) {
        for (number, refund) in (0..).zip(&mut self.refunds) {
            let is_rival =
                matches!(refund, Refund::Void { spends, .. } if spends.iter().any(|one| spent.contains(one)));
            if is_rival && number != confirmed {
                *refund = Refund::Impossible;
            }
        }
    }

    /// Keeps deposits that cost more to refund than they are worth, and books them.
    pub(super) fn take_dust(&mut self, dust: &[(OutPoint, Sat)], at: Timestamp) {
        let amount = sum(dust.iter().map(|(_, amount)| *amount)).to_msat().unwrap_or(Msat::ZERO);
        self.decide_outputs(&outpoints(dust), DepositStatus::Kept);
        self.ledger.enter(at, Booking::DustKept { amount });
    }

    fn book_refund(&mut self, number: u32, received: &[(OutPoint, Sat)], mining_sat: u64, at: Timestamp) {
        let key = RefundKey { order: self.number, number };
        let received_sat = sum(received.iter().map(|(_, amount)| *amount)).0;
        self.ledger.enter(at, Booking::Refunded { key, received_sat, mining_sat });
    }

    pub(super) fn set_refund(&mut self, number: u32, to: Refund) {
        if let Some(refund) = self.refund_mut(number) {
            *refund = to;
        }
    }

    fn refund_mut(&mut self, number: u32) -> Option<&mut Refund> {
        usize::try_from(number).ok().and_then(|number| self.refunds.get_mut(number))
    }
}

fn outpoints(outputs: &[(OutPoint, Sat)]) -> Vec<OutPoint> {
    outputs.iter().map(|(outpoint, _)| *outpoint).collect()
}

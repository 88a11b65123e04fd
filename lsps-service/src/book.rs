//! The operator's book: one entry for each fee that was charged, earned or lost, and for each channel that was paid
//! for.

use alloc::{collections::BTreeMap, string::String};

use lsps_types::{Msat, PaymentHash, PeerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::{BookKey, ChannelKey, FlowId, PartId, RefundKey};

/// Entry of the book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookEntry {
    /// Time of the event.
    pub at: Timestamp,
    /// Client whose channel the entry is about.
    pub client: PeerId,
    /// Token for which the channel was sold.
    pub token: Option<String>,
    /// Kind and amounts of the entry.
    pub what: Booking,
}

/// Kind and amounts of a book entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Booking {
    /// A payment that carries a fee, or the rest of one, is being forwarded to the client. Payments that are never
    /// forwarded have no entry.
    FeeAsked {
        /// Payment hash of the payment.
        payment_hash: PaymentHash,
        /// Opening fee to be kept.
        fee: Msat,
    },
    /// The client claimed a part of a payment of which the LSP kept something.
    FeeEarned {
        /// Payment hash of the payment.
        payment_hash: PaymentHash,
        /// The part that was claimed.
        part: PartId,
        /// Opening fee kept of the part.
        fee: Msat,
        /// Amount that the payer sent above the amount that the onion says to forward.
        surplus: Msat,
        /// Whether the fee had been booked as lost before.
        was_lost: bool,
    },
    /// A payment will not bring its fee, or not all of it.
    FeeLost {
        /// Payment hash of the payment.
        payment_hash: PaymentHash,
        /// Amount of the fee that is lost.
        fee: Msat,
    },
    /// An ordered channel was paid for.
    OrderPaid {
        /// Fee of the LSP.
        fee: Msat,
        /// Amount received above the total of the order.
        surplus: Msat,
    },
    /// The payment for an ordered channel was lost after the funding was published.
    OrderUnpaid {
        /// Fee that the LSP did not receive.
        fee: Msat,
        /// Balance that the client has in the channel without having paid for it.
        given: Msat,
    },
    /// A payment that was booked as lost was received after all.
    OrderFound {
        /// Fee of the LSP.
        fee: Msat,
        /// Balance of the client in the channel, which is paid for now.
        given: Msat,
        /// Amount received above the total of the order.
        surplus: Msat,
    },
    /// A deposit that paid for a channel was double-spent before it confirmed.
    DepositLost {
        /// Value of the deposit.
        amount: Msat,
    },
    /// A deposit that was booked as lost confirmed after all.
    DepositFound {
        /// Value of the deposit.
        amount: Msat,
    },
    /// Deposits of an order were refunded, less the on-chain fee.
    Refunded {
        /// Key of the refund.
        key: RefundKey,
        /// Value of the deposits, in satoshis.
        received_sat: u64,
        /// On-chain fee of the refund, in satoshis.
        mining_sat: u64,
    },
    /// Deposits of an order were kept because a refund would cost more than their value.
    DustKept {
        /// Value of the deposits.
        amount: Msat,
    },
    /// The funding transaction of a channel was published.
    ChannelPaid {
        /// Key of the channel.
        key: ChannelKey,
        /// On-chain fee of the funding transaction, in satoshis.
        mining_sat: u64,
    },
    /// A second payment with the hash of the one that paid for an ordered channel was claimed with it. Its payer paid
    /// twice, and the operator has to return the amount by other means.
    OrderPaidAgain {
        /// Payment hash of both payments.
        payment_hash: PaymentHash,
        /// Amount of the second payment.
        amount: Msat,
    },
}

/// Totals of a book.
///
/// `asked = earned + lost + fees in flight`. The LSP's balance changed by `earned + surplus` less `given` and less the
/// on-chain fees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookTotals {
    /// Fees charged.
    pub asked: Msat,
    /// Fees earned.
    pub earned: Msat,
    /// Fees charged and not received.
    pub lost: Msat,
    /// Amounts that payers sent above what was to be forwarded or paid, and deposits too small to refund.
    pub surplus: Msat,
    /// Balances that clients received without having paid for them.
    pub given: Msat,
    /// On-chain fees that the LSP paid, in satoshis.
    pub mining_sat: u64,
}

impl BookTotals {
    /// Adds up the entries of a book.
    #[must_use]
    pub fn of<'a>(book: impl IntoIterator<Item = &'a BookEntry>) -> Self {
        // What was found again may be dated before its loss, as a clock can be set back.
        let (mut sum, mut recovered, mut found) = (Self::default(), Msat::ZERO, Msat::ZERO);
        let add = |total: &mut Msat, amount: Msat| *total = Msat(total.0.saturating_add(amount.0));
        for entry in book {
            match entry.what {
                Booking::FeeAsked { fee, .. } => add(&mut sum.asked, fee),
                Booking::FeeEarned { fee, surplus, was_lost, .. } => {
                    add(&mut sum.earned, fee);
                    add(&mut sum.surplus, surplus);
                    if was_lost {
                        add(&mut recovered, fee);
                    }
                }
                Booking::FeeLost { fee, .. } => add(&mut sum.lost, fee),
                Booking::OrderPaid { fee, surplus } => {
                    add(&mut sum.asked, fee);
                    add(&mut sum.earned, fee);
                    add(&mut sum.surplus, surplus);
                }
                Booking::OrderUnpaid { fee, given } => {
                    add(&mut sum.asked, fee);
                    add(&mut sum.lost, fee);
                    add(&mut sum.given, given);
                }
                Booking::OrderFound { fee, given, surplus } => {
                    add(&mut sum.earned, fee);
                    add(&mut sum.surplus, surplus);
                    add(&mut recovered, fee);
                    add(&mut found, given);
                }
                Booking::DepositLost { amount } => add(&mut sum.given, amount),
                Booking::DepositFound { amount } => add(&mut found, amount),
                Booking::DustKept { amount } | Booking::OrderPaidAgain { amount, .. } => add(&mut sum.surplus, amount),
                // The on-chain fee of a refund was paid from the client's deposit.
                Booking::Refunded { .. } => {}
                Booking::ChannelPaid { mining_sat, .. } => sum.mining_sat = sum.mining_sat.saturating_add(mining_sat),
            }
        }
        sum.lost = Msat(sum.lost.0.saturating_sub(recovered.0));
        sum.given = Msat(sum.given.0.saturating_sub(found.0));
        sum
    }
}

/// Entries of one flow that are not in the book yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    next: u32,
    open: BTreeMap<u32, (Timestamp, Booking)>,
}

impl Ledger {
    pub fn enter(&mut self, at: Timestamp, what: Booking) {
        self.open.insert(self.next, (at, what));
        self.next = self.next.saturating_add(1);
    }

    pub fn booked(&mut self, number: u32) {
        self.open.remove(&number);
    }

    pub fn has(&self, number: u32) -> bool {
        self.open.contains_key(&number)
    }

    pub fn is_clear(&self) -> bool {
        self.open.is_empty()
    }

    pub fn open(&self, flow: FlowId) -> impl Iterator<Item = (BookKey, Timestamp, &Booking)> {
        self.open.iter().map(move |(number, (at, what))| (BookKey { flow, at: *at, number: *number }, *at, what))
    }
}

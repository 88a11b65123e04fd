//! The operator's book: every fee asked, earned or lost, and every channel paid for, each once.

use alloc::{collections::BTreeMap, string::String};

use lsps_types::{Msat, PaymentHash, PeerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::{BookKey, ChannelKey, FlowId, PartId, RefundKey};

/// One line of the book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookEntry {
    /// When.
    pub at: Timestamp,
    /// Whose channel it is about.
    pub client: PeerId,
    /// The token it was sold for.
    pub token: Option<String>,
    /// What happened.
    pub what: Booking,
}

/// What is booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Booking {
    /// A payment that is to pay a fee, or what is left of it, goes to the client. One that never does is no entry.
    FeeAsked {
        /// Which payment.
        payment_hash: PaymentHash,
        /// How much.
        fee: Msat,
    },
    /// The client claimed a part of which something was kept.
    FeeEarned {
        /// Which payment.
        payment_hash: PaymentHash,
        /// Which part of it.
        part: PartId,
        /// How much of the opening fee.
        fee: Msat,
        /// What the payer gave above what it asked to forward.
        surplus: Msat,
        /// The fee had been given up: it was booked as lost.
        was_lost: bool,
    },
    /// A payment that was to pay a fee will not, or not all of it.
    FeeLost {
        /// Which payment.
        payment_hash: PaymentHash,
        /// How much of the fee.
        fee: Msat,
    },
    /// An ordered channel is paid for.
    OrderPaid {
        /// What we took.
        fee: Msat,
        /// What was paid above the total.
        surplus: Msat,
    },
    /// The payment for an ordered channel was lost after the channel was published.
    OrderUnpaid {
        /// What we would have taken.
        fee: Msat,
        /// What the client has in the channel all the same.
        given: Msat,
    },
    /// The payment that was booked as lost is there after all.
    OrderFound {
        /// What we took.
        fee: Msat,
        /// What the client has in the channel, paid for now.
        given: Msat,
        /// What was paid above the total.
        surplus: Msat,
    },
    /// An output that paid for a channel was spent otherwise before it was confirmed.
    DepositLost {
        /// What it was worth.
        amount: Msat,
    },
    /// An output that was booked as lost is there after all.
    DepositFound {
        /// What it is worth.
        amount: Msat,
    },
    /// On-chain payments for an order went back, less what that cost.
    Refunded {
        /// Which refund.
        key: RefundKey,
        /// What had been received, in satoshis.
        received_sat: u64,
        /// What the miners got of it, in satoshis.
        mining_sat: u64,
    },
    /// On-chain payments for an order that would cost more to return than they are worth.
    DustKept {
        /// What they are worth.
        amount: Msat,
    },
    /// A channel is on the chain.
    ChannelPaid {
        /// The channel.
        key: ChannelKey,
        /// What its funding transaction paid to the miners, in satoshis.
        mining_sat: u64,
    },
    /// A second payment with the hash of one that paid for an ordered channel was claimed with it: its payer has paid
    /// twice, and the operator has to give it back otherwise.
    OrderPaidAgain {
        /// The hash of both.
        payment_hash: PaymentHash,
        /// The amount of the second payment.
        amount: Msat,
    },
}

/// What a book adds up to.
///
/// `asked = earned + lost + what is under way`, and an LSP's balance has changed by `earned + surplus` less what was given
/// for nothing and what the miners got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookTotals {
    /// Fees asked for.
    pub asked: Msat,
    /// Fees earned.
    pub earned: Msat,
    /// Fees asked for in vain.
    pub lost: Msat,
    /// What payers gave above what they asked to forward or had to pay, and what was too little to return.
    pub surplus: Msat,
    /// What clients got without having paid for it in the end.
    pub given: Msat,
    /// What the miners got of ours, in satoshis.
    pub mining_sat: u64,
}

impl BookTotals {
    /// Adds up a book.
    #[must_use]
    pub fn of<'a>(book: impl IntoIterator<Item = &'a BookEntry>) -> Self {
        let (mut sum, mut recovered) = (Self::default(), Msat::ZERO);
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
                    sum.given = Msat(sum.given.0.saturating_sub(given.0));
                }
                Booking::DepositLost { amount } => add(&mut sum.given, amount),
                Booking::DepositFound { amount } => sum.given = Msat(sum.given.0.saturating_sub(amount.0)),
                Booking::DustKept { amount } | Booking::OrderPaidAgain { amount, .. } => add(&mut sum.surplus, amount),
                // What the miners got was the client's.
                Booking::Refunded { .. } => {}
                Booking::ChannelPaid { mining_sat, .. } => sum.mining_sat = sum.mining_sat.saturating_add(mining_sat),
            }
        }
        sum.lost = Msat(sum.lost.0.saturating_sub(recovered.0));
        sum
    }
}

/// Entries of one flow that are not yet in the book.
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

//! Events for the operator of an LSP. No event that requires an action is lost, and events do not pile up: a later
//! event about the same channel, client or refund replaces an unread earlier one, and new orders are counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bitcoin::Txid;
use lsps_service::{
    BookEntry, BookKey, Booking, ChannelEnd, ChannelKey, DecisionId, FlowId, Introduced, OrderNumber, PendingDecision,
    RefundKey,
};
use lsps_types::{Msat, PaymentHash, PeerId, Timestamp};
use tokio::sync::Notify;

/// An event of an LSP, for its operator or for a service that wakes phones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LspEvent {
    /// An absent client is needed, since a payment waits for it until a point in time. LSPS5 notifications are raised
    /// as well.
    ClientNeeded {
        /// The client.
        client: PeerId,
        /// The time at which the payment is failed.
        until: Timestamp,
    },
    /// A client told what program it is, with a request that was answered. An event of a client replaces an unread one,
    /// and only the latest thousand clients have one: node ids cost nothing.
    ClientIntroduced(Introduced),
    /// The policy left a request to others. Answer it with [`Lsp::decide`](crate::Lsp::decide).
    Undecided(PendingDecision),
    /// A channel could not be opened, or was closed. If its payment was not delivered, the payment is failed or another
    /// attempt follows.
    ChannelEnded {
        /// The channel.
        key: ChannelKey,
        /// The reason.
        why: ChannelEnd,
    },
    /// A funding transaction is unconfirmed after many blocks of broadcasts.
    FundingStuck {
        /// The channel.
        key: ChannelKey,
        /// The transaction.
        txid: Txid,
        /// Whether the wallet raised the fee.
        bumped: bool,
    },
    /// The mempool does not accept a transaction that has to confirm. The host broadcasts it again with every block.
    BroadcastRefused {
        /// The purpose of the transaction.
        purpose: TxPurpose,
        /// The transaction.
        txid: Txid,
        /// The reason, in the words of the chain backend.
        why: String,
    },
    /// Orders were created ([`Lsp::orders`](crate::Lsp::orders) lists them).
    OrdersMade {
        /// The latest of these orders.
        last: OrderNumber,
        /// The number of orders since an event of this kind was read.
        count: u64,
    },
    /// The wallet cannot build a refund at present. The host tries again with every block.
    RefundFails {
        /// The refund.
        key: RefundKey,
        /// The reason, in the wallet's own words.
        why: String,
    },
    /// A refund is not confirmed after six hours.
    RefundStuck {
        /// The refund.
        key: RefundKey,
        /// The transaction.
        txid: Txid,
        /// Whether the wallet raised the fee.
        bumped: bool,
    },
    /// The payment for a channel of an order is lost after the channel was published: its claim failed, or its deposit
    /// was double-spent. The book has an entry for it.
    PaymentLost {
        /// The order.
        order: OrderNumber,
        /// The fee that was not earned and the client's balance in the channel, or the amount of the deposit.
        lost: Msat,
    },
    /// A payment of an order was claimed together with another of the same hash: the sender of the second has paid
    /// twice. The book has an entry for it.
    PaidTwice {
        /// The order.
        order: OrderNumber,
        /// The hash of both payments.
        payment_hash: PaymentHash,
        /// The amount of the second payment.
        amount: Msat,
    },
    /// A flow was stopped because its steps did not end: the node reported contradictory facts, or this program has a
    /// defect. The flow goes on with its next input. The operator has to look at it.
    Runaway {
        /// The flow.
        flow: FlowId,
    },
    /// The store fails to write; its error text. Nothing is acknowledged, sent or executed until it writes again.
    StoreFails(String),
    /// Another process owns the records: this LSP has stopped, and writes, sends and executes nothing more. This is the
    /// last event.
    LostOwnership,
}

impl LspEvent {
    /// The event for a book entry that an operator has to know at once.
    pub(super) fn alarm(key: &BookKey, entry: &BookEntry) -> Option<Self> {
        let FlowId::Order(order) = key.flow else { return None };
        match entry.what {
            Booking::OrderUnpaid { fee, given } => {
                Some(Self::PaymentLost { order, lost: Msat(fee.0.saturating_add(given.0)) })
            }
            Booking::DepositLost { amount } => Some(Self::PaymentLost { order, lost: amount }),
            Booking::OrderPaidAgain { payment_hash, amount } => Some(Self::PaidTwice { order, payment_hash, amount }),
            _ => None,
        }
    }
}

/// The purpose of a transaction that the LSP broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TxPurpose {
    /// The transaction funds this channel.
    Funding(ChannelKey),
    /// The transaction is this refund of an order.
    Refund(RefundKey),
}

/// A reader of the events of an LSP since the call of [`Lsp::events`](crate::Lsp::events).
pub struct LspEvents(Arc<Reader>);

impl LspEvents {
    /// Waits for the next event. `None`: the LSP has stopped.
    pub async fn recv(&mut self) -> Option<LspEvent> {
        loop {
            if let Some(event) = self.try_recv() {
                return Some(event);
            }
            if self.0.is_over.load(Ordering::SeqCst) {
                // The last event may have arrived in between.
                return self.try_recv();
            }
            self.0.arrived.notified().await;
        }
    }

    /// The next event, if there is one.
    pub fn try_recv(&mut self) -> Option<LspEvent> {
        lock(&self.0.waiting).next()
    }
}

#[derive(Default)]
struct Reader {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    is_over: AtomicBool,
}

/// The readers of the events.
#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<Weak<Reader>>>);

impl Events {
    pub fn subscribe(&self) -> LspEvents {
        let reader = Arc::<Reader>::default();
        lock(&self.0).push(Arc::downgrade(&reader));
        LspEvents(reader)
    }

    pub fn send(&self, event: LspEvent) {
        lock(&self.0).retain(|reader| {
            let Some(reader) = reader.upgrade() else { return false };
            lock(&reader.waiting).add(event.clone());
            reader.arrived.notify_one();
            true
        });
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        for reader in lock(&self.0).iter().filter_map(Weak::upgrade) {
            reader.is_over.store(true, Ordering::SeqCst);
            reader.arrived.notify_one();
        }
    }
}

/// The events that one reader has not read yet.
#[derive(Default)]
struct Waiting {
    order: VecDeque<About>,
    events: BTreeMap<About, LspEvent>,
    /// Number of clients among them that told what program they are.
    introduced: usize,
}

/// The subject of an event. Of several events about one subject only the last is kept, in the place of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Client(PeerId),
    Introduced(PeerId),
    Decision(DecisionId),
    /// The channel of a flow, whichever attempt it belongs to.
    ChannelEnd(FlowId),
    Funding(ChannelKey),
    Refused(TxPurpose),
    Orders,
    RefundFails(RefundKey),
    RefundStuck(RefundKey),
    Store,
    Ownership,
    Runaway(FlowId),
    /// Each lost payment is a subject of its own.
    Lost(OrderNumber, Msat),
    Twice(OrderNumber, PaymentHash, Msat),
}

impl Waiting {
    fn add(&mut self, event: LspEvent) {
        let about = About::of(&event);
        let event = match (event, self.events.remove(&about)) {
            (LspEvent::OrdersMade { last, count }, Some(LspEvent::OrdersMade { count: before, .. })) => {
                LspEvent::OrdersMade { last, count: count.saturating_add(before) }
            }
            (event, Some(_)) => event,
            (event, None) => {
                self.order.push_back(about);
                self.introduced = self.introduced.saturating_add(usize::from(about.is_introduction()));
                event
            }
        };
        self.events.insert(about, event);
        self.drop_old_decisions();
        if self.introduced > MOST_INTRODUCED {
            self.drop_oldest(About::is_introduction);
        }
    }

    fn next(&mut self) -> Option<LspEvent> {
        let about = self.order.pop_front()?;
        self.removed(about)
    }

    fn removed(&mut self, about: About) -> Option<LspEvent> {
        self.introduced = self.introduced.saturating_sub(usize::from(about.is_introduction()));
        self.events.remove(&about)
    }

    fn drop_oldest(&mut self, is_it: impl Fn(&About) -> bool) {
        let oldest = self.order.iter().position(is_it);
        if let Some(about) = oldest.and_then(|place| self.order.remove(place)) {
            self.removed(about);
        }
    }

    /// Drops the oldest pending decisions above the limit: such a decision is void after some seconds. Records bound the
    /// number of all other events.
    fn drop_old_decisions(&mut self) {
        if self.order.len() > MOST_DECISIONS {
            self.drop_oldest(|about| matches!(about, About::Decision(_)));
        }
    }
}

impl About {
    fn is_introduction(&self) -> bool {
        matches!(self, Self::Introduced(_))
    }

    fn of(event: &LspEvent) -> Self {
        match event {
            LspEvent::ClientNeeded { client, .. } => Self::Client(*client),
            LspEvent::ClientIntroduced(introduced) => Self::Introduced(introduced.client),
            LspEvent::Undecided(decision) => Self::Decision(decision.id),
            LspEvent::ChannelEnded { key, .. } => Self::ChannelEnd(key.flow),
            LspEvent::FundingStuck { key, .. } => Self::Funding(*key),
            LspEvent::BroadcastRefused { purpose, .. } => Self::Refused(*purpose),
            LspEvent::OrdersMade { .. } => Self::Orders,
            LspEvent::RefundFails { key, .. } => Self::RefundFails(*key),
            LspEvent::RefundStuck { key, .. } => Self::RefundStuck(*key),
            LspEvent::StoreFails(_) => Self::Store,
            LspEvent::LostOwnership => Self::Ownership,
            LspEvent::Runaway { flow } => Self::Runaway(*flow),
            LspEvent::PaymentLost { order, lost } => Self::Lost(*order, *lost),
            LspEvent::PaidTwice { order, payment_hash, amount } => Self::Twice(*order, *payment_hash, *amount),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The content changes by whole events only, so a panic leaves it intact.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Largest number of unread pending decisions: twice the default of `Limits::pending_decisions`.
const MOST_DECISIONS: usize = 20_000;
/// Largest number of clients with an unread [`LspEvent::ClientIntroduced`].
const MOST_INTRODUCED: usize = 1_000;

#[cfg(test)]
mod tests {
    #![allow(non_snake_case)]

    use lsps_service::PendingRequest;
    use lsps_types::ClientInfo;

    use super::*;

    fn order(number: u64) -> LspEvent {
        LspEvent::OrdersMade { last: OrderNumber(number), count: 1 }
    }

    fn refund(number: u32) -> LspEvent {
        let key = RefundKey { order: OrderNumber(1), number };
        LspEvent::RefundFails { key, why: "locked".into() }
    }

    fn question(number: u64) -> LspEvent {
        let id = DecisionId { client: PeerId([2; 33]), number };
        LspEvent::Undecided(PendingDecision {
            id,
            about: PendingRequest::Menu { token: None },
            until: Timestamp::default(),
        })
    }

    fn introduced(client: u32) -> LspEvent {
        let mut id = [2; 33];
        id[1..5].copy_from_slice(&client.to_be_bytes());
        let info = ClientInfo::default().with_app("Lantern", None).expect("it is short");
        LspEvent::ClientIntroduced(Introduced { client: PeerId(id), method: "lsps2.get_info".into(), info })
    }

    fn ended(attempt: u32) -> LspEvent {
        let key = ChannelKey { flow: FlowId::Order(OrderNumber(7)), attempt };
        LspEvent::ChannelEnded { key, why: ChannelEnd::Rejected }
    }

    #[tokio::test]
    async fn case_X63_a_flood_of_orders_hides_no_alarm_from_a_slow_reader() {
        let events = Events::default();
        let mut reader = events.subscribe();
        events.send(order(1));
        events.send(refund(1));
        for number in 2..=5_000 {
            events.send(order(number));
            events.send(LspEvent::StoreFails("ill".into()));
        }
        events.send(question(1));
        events.send(refund(2));
        events.send(ended(1));
        events.send(ended(2));
        drop(events);
        let mut read = vec![];
        while let Some(event) = reader.recv().await {
            read.push(event);
        }
        let orders = LspEvent::OrdersMade { last: OrderNumber(5_000), count: 5_000 };
        let store = LspEvent::StoreFails("ill".into());
        assert_eq!(read, [orders, refund(1), store, question(1), refund(2), ended(2)]);
    }

    #[tokio::test]
    async fn case_Z01_the_names_of_programs_do_not_pile_up() {
        let events = Events::default();
        let mut reader = events.subscribe();
        events.send(refund(1));
        (0..3_000).for_each(|client| events.send(introduced(client)));
        (2_990..3_000).for_each(|client| events.send(introduced(client)));
        assert_eq!(lock(&reader.0.waiting).order.len(), MOST_INTRODUCED + 1);
        assert_eq!(reader.recv().await, Some(refund(1)));
        assert_eq!(reader.recv().await, Some(introduced(2_000)), "the latest are there");
        while reader.try_recv().is_some() {}
        events.send(introduced(1));
        assert_eq!(reader.recv().await, Some(introduced(1)));
        assert_eq!(lock(&reader.0.waiting).introduced, 0);
    }

    #[tokio::test]
    async fn case_X63_questions_that_nobody_reads_do_not_pile_up() {
        let events = Events::default();
        let mut reader = events.subscribe();
        events.send(refund(1));
        (0..100_000).for_each(|number| events.send(question(number)));
        assert!(lock(&reader.0.waiting).order.len() <= MOST_DECISIONS);
        assert_eq!(reader.recv().await, Some(refund(1)));
        assert_eq!(reader.recv().await, Some(question(100_000 - MOST_DECISIONS as u64 + 1)), "the latest are there");
        drop(reader);
        events.send(refund(1));
        assert!(lock(&events.0).is_empty(), "those who read no more are forgotten");
    }
}

//! A channel that is ordered and paid for (LSPS1): one order, one flow.
//!
//! `Offered -> draft -> create_order -> weigh -> place -> pay -> polls -> channel | money back`. What comes before `place`
//! is pure functions of messages. From there on the order has a record, and nothing is paid that is not on it.

use alloc::{string::String, vec::Vec};
use core::{cmp::Reverse, time::Duration};

use lsps_types::lsps1::{CreateOrder, OrderId};
use lsps_types::{Blocks, ClockShift, Msat, OutPoint, PaymentHash, PeerId, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effect::{AcceptTerms, ChannelKey, Effect};
use crate::jit_receive::OpenRequest;
use crate::wake::Wake;

pub(crate) mod book;
mod changes;
mod key;
mod polls;
mod quote;
mod said;
mod v1;
mod wire;
mod words;

pub use book::{OrderError, RefusePlace};
pub use key::{NoKey, OrderKey};
pub use polls::Polling;
pub use quote::{Bill, CannotOrder, Draft, Offered, Quote, RefuseOrder, RefuseWay, Rules, Way, WayKind, Wish};

pub(crate) use changes::{Command, Reject};

/// One order that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub(crate) key: OrderKey,
    pub(crate) lsp: PeerId,
    pub(crate) id: OrderId,
    #[serde(with = "wire::Ordered")]
    pub(crate) ordered: CreateOrder,
    pub(crate) ways: Vec<Way>,
    /// How long it is remembered after its end, in milliseconds.
    pub(crate) keep_millis: u64,
    /// When it is given up, whatever is missing.
    pub(crate) give_up_at: Timestamp,
    pub(crate) is_paid_under_its_hash: bool,
    pub(crate) state: State,
    pub(crate) trouble: Option<Trouble>,
    /// Since when questions about it have had no answer.
    pub(crate) unanswered_since: Option<Timestamp>,
    /// A transaction that was signed to pay it and is to be broadcast no more.
    pub(crate) reserved: Option<Reserved>,
    /// Done, by a channel of which the node has told no confirmation: when that becomes a trouble.
    pub(crate) confirm_by: Option<Timestamp>,
}

/// A transaction that was signed to pay an order, when the order is over or is paid in another way. Nodes may have it in
/// their mempools, so that its inputs pay for nothing else meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reserved {
    pub(crate) transaction: Vec<u8>,
    /// Its inputs may be spent otherwise: nobody ever had it, or mempools have dropped it by now.
    pub(crate) is_free: bool,
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Its prices are known. Nothing is paid, and nothing will be before a way is chosen.
    Quoted,
    /// A way is chosen, for good; the channel is to come.
    Paying(Paying),
    /// There will be no channel, and what was paid was not seen to come back yet.
    Refunding(Paying),
    /// It is over.
    Ended {
        /// How.
        end: End,
        /// When its record goes.
        keep_until: Timestamp,
    },
    /// To be deleted.
    Gone,
}

/// The payment of an order, and what it brought so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paying {
    /// The way that is being paid, alone.
    pub way: WayKind,
    /// Ways that are tried in turn, each once nothing of the one before is out.
    pub then: Vec<WayKind>,
    /// How far our side is.
    pub payment: Payment,
    /// The LSP said that it has the payment.
    pub held: bool,
    /// The channel that was accepted for it, as far as is known.
    pub channel: Option<Channel>,
    /// Another channel of this LSP that would do and was accepted for a purchase: the LSP says which of the two it is.
    pub other: Option<Channel>,
    /// Since when the LSP says what our own node does not see.
    pub unseen_since: Option<Timestamp>,
    /// On-chain: its time was over while the transaction was not known to be there, so that it is not broadcast before the
    /// LSP says that the order stands.
    pub late: bool,
    /// On-chain: until then the order stands, in the word of an LSP that was asked when the time was over.
    pub stands_until: Option<Timestamp>,
    /// The user called it off; what is out is waited for.
    pub called_off: bool,
    /// On-chain: the transaction was signed in this run of the wallet, and its broadcast was not begun: nobody else has it.
    /// Not on record, as a broadcast leaves no trace there: after a restart it may have been.
    #[serde(skip)]
    pub unsent: bool,
}

/// How far the payment is, by our own node or wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payment {
    /// The node was asked to pay; over Lightning it may have done so.
    Asked,
    /// This transaction pays it. It may be broadcast.
    Signed(Vec<u8>),
    /// Over Lightning: the LSP took it.
    Settled,
    /// Over Lightning: it came back. Whether the LSP had it is asked until then.
    Returned {
        /// After that it counts as one that did not get there.
        ask_until: Timestamp,
    },
}

/// A channel that was accepted for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The host's name for it.
    pub key: ChannelKey,
    /// How often its opening was asked for, from 1.
    pub attempt: u32,
    /// Whether its funding is negotiated, so that the node will remember it.
    pub pending: bool,
    /// The output that funds it, by our own node.
    pub funding: Option<OutPoint>,
    /// When our own node told of that output.
    pub funded_at: Option<Timestamp>,
    /// The channel as the LSP asked for it. `None`: the record is older than this field.
    pub asked: Option<Asked>,
    /// On which terms it is accepted.
    pub accept: Accept,
}

/// A channel as its LSP wants to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Whether it would be announced to the network.
    pub announced: bool,
    /// Whether its type lets it be used before its funding is confirmed.
    pub zero_conf: bool,
    /// The capacity.
    pub funding: Sat,
    /// The wallet's balance in it from the start.
    pub pushed: Msat,
}

/// Terms on which the channel of an order is accepted: the order's own; while a purchase from the same LSP waits for a
/// channel that could be this one, the purchase's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// Confirmations before it is used.
    pub confirmations: u16,
    /// The most blocks that we may ask for as `to_self_delay`.
    pub max_to_self_delay: Blocks,
    /// Whether HTLCs may carry less than their onions say.
    pub underpaying: bool,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The channel is funded, by our own node, which knows it by the output that the LSP names. Whether that is confirmed
    /// shows later ([`Order::unconfirmed_channel`], [`Trouble::Unconfirmed`]).
    Done {
        /// What the LSP says of it.
        lease: Lease,
        /// The channel that was accepted for the order. `None`: in a record of before that was asked for.
        channel: Option<Channel>,
    },
    /// The order failed. Over Lightning the payment came back; on-chain the LSP *says* that it sent the refund, and the
    /// wallet did not look.
    Refunded,
    /// It was not paid.
    Unpaid(Unpaid),
    /// The order was given up, by the wallet or because its time was long over, with money out that is not accounted
    /// for. A channel that still comes is refused.
    GivenUp,
}

/// The channel of an order, by the LSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The output that funds it.
    pub funding: OutPoint,
    /// When it was published.
    pub funded_at: Timestamp,
    /// Before this the LSP does not close it.
    pub until: Timestamp,
}

/// Why an order was not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unpaid {
    /// No way was chosen in time, or the chosen one was not begun with.
    Expired,
    /// The payment did not get there: it could not be made, or came back and the LSP says of none.
    NotSent,
    /// The LSP closed the order before.
    Closed,
    /// The wallet called it off.
    Abandoned,
}

/// What keeps a paid order from going on. It is asked about all the same, slowly; a good answer clears it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// The LSP has not answered for [`Polling::silent_after`].
    Silent {
        /// Since when.
        since: Timestamp,
    },
    /// The LSP answers, for [`Polling::silent_after`], and what it answers is no order.
    Unreadable {
        /// Since when.
        since: Timestamp,
    },
    /// The LSP says that there is no such order.
    Forgotten,
    /// The LSP tells of an order that is not the one that was made.
    Differs {
        /// In what.
        field: String,
    },
    /// The LSP says that the channel is open, and our own node knows no channel of this order with that funding.
    NoChannel {
        /// The output that the LSP names, if it names one.
        funding: Option<OutPoint>,
    },
    /// The channel is there, and the LSP promises to keep it for less than half of the time that was paid for.
    ShortLease {
        /// Until when it says that it keeps it.
        until: Timestamp,
    },
    /// The LSP took the payment, and there is no channel: it failed the order and keeps the money, or does nothing.
    Kept,
    /// The order is done, and the funding of its channel is not confirmed although the blocks that were ordered for that
    /// are long over, or the channel was closed before. Until a first confirmation the LSP can spend the inputs of the
    /// funding otherwise, and take back everything in the channel.
    Unconfirmed {
        /// The output that was to fund the channel.
        funding: OutPoint,
    },
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// On record, unpaid.
    Placed,
    /// A way is chosen and will be paid; also the next, when nothing of the one before is out.
    Chosen {
        /// The way that is paid.
        way: WayKind,
        /// Ways that are tried after it, in turn.
        then: Vec<WayKind>,
    },
    /// The transaction that pays it, to be broadcast.
    Signed(Vec<u8>),
    /// On-chain: the time of the payment is over. It is not broadcast any more before the LSP says that the order stands.
    Late,
    /// On-chain: the transaction was never broadcast, nor will be. Its inputs are free.
    Unsent,
    /// The order is over, and for so long that mempools have dropped the transaction that was to pay it. Its inputs are
    /// free, unless it was mined.
    InputsFree,
    /// The wallet knows that the inputs of the transaction are free.
    Forgotten,
    /// The LSP says that the order stands: its payment may be broadcast after all.
    Stands {
        /// For so long, if it is not paid already.
        until: Option<Timestamp>,
    },
    /// Called off: nothing more is to be paid, and what is out is waited for.
    CalledOff,
    /// Over Lightning the LSP took the payment.
    Settled,
    /// Over Lightning the payment came back; the LSP is asked what it knows of it.
    Returned {
        /// For so long.
        ask_until: Timestamp,
    },
    /// The LSP says that it has the payment.
    Held,
    /// A channel is to be accepted for it.
    ChannelAsked(Channel),
    /// Its channel is being funded.
    ChannelPending {
        /// The channel.
        key: ChannelKey,
        /// By this output, as far as the node tells.
        funding: Option<OutPoint>,
        /// When the node told.
        at: Timestamp,
    },
    /// Its channel is no more; another may come.
    ChannelEnded(ChannelKey),
    /// The channel of this order turned out to be another's; this order has the given one now.
    ChannelPassed(Option<Channel>),
    /// Another channel that would do was accepted for a purchase.
    OtherChannel(Channel),
    /// The LSP says what our own node does not see, the first time in a row.
    Unseen(Timestamp),
    /// There will be no channel; the money is waited for.
    Refunding,
    /// A question had no answer, the first in a row.
    Unanswered(Timestamp),
    /// The LSP answers again, and as it should.
    Heard,
    /// The order is done, and its channel is not confirmed yet, as far as the node has told.
    Unconfirmed {
        /// From then on that is a trouble.
        until: Timestamp,
    },
    /// The channel of an order that is done is confirmed.
    Confirmed,
    /// It does not go on.
    Troubled(Trouble),
    /// It is over.
    Ended {
        /// How.
        end: End,
        /// When its record goes.
        keep_until: Timestamp,
    },
    /// The host's clock was set, or was ahead when the record was written: what the order waits for moved with it.
    ClockSet {
        /// By how much.
        shift: ClockShift,
        /// How long an LSP is asked about a payment that came back.
        ask_for: Duration,
    },
    /// Forgotten.
    Dropped,
}

impl Order {
    pub(crate) fn new(quote: Quote) -> Self {
        let Quote { ways, lsp, id, order: ordered, keep, give_up_after, .. } = quote;
        let give_up_at = ways.iter().map(|way| way.pay_by).max().unwrap_or_default() + give_up_after;
        let keep_millis = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let (key, state) = (OrderKey::of(lsp, &id), State::Quoted);
        Self {
            key,
            lsp,
            id,
            ordered,
            ways,
            keep_millis,
            give_up_at,
            is_paid_under_its_hash: false,
            state,
            trouble: None,
            unanswered_since: None,
            reserved: None,
            confirm_by: None,
        }
    }

    /// What the world still owes this order. Asked after every step and again after a restart.
    pub(crate) fn outstanding(&self) -> Vec<Effect> {
        let (order, lsp) = (self.key, self.lsp);
        let free = self.reserved.as_ref().filter(|reserved| reserved.is_free);
        let forget = |it: &Reserved| Effect::ForgetPayment { order, transaction: it.transaction.clone() };
        let mut effects: Vec<_> = free.map(forget).into_iter().collect();
        let paying = match &self.state {
            State::Paying(paying) => paying,
            // What is out is out, and what is not shall not pay for an order that failed.
            State::Refunding(paying) => {
                let way = self.way(paying.way).filter(|_| paying.payment == Payment::Asked).cloned();
                effects.extend(way.map(|way| Effect::StopPaying { order, way }));
                return effects;
            }
            State::Quoted | State::Ended { .. } | State::Gone => return effects,
        };
        match &paying.payment {
            Payment::Asked => {
                let way = self.way(paying.way).cloned();
                effects.extend(way.map(|way| Effect::PayOrder { order, lsp, way }));
            }
            Payment::Signed(tx) if !paying.late => {
                effects.push(Effect::BroadcastPayment { order, transaction: tx.clone() });
            }
            Payment::Signed(_) | Payment::Settled | Payment::Returned { .. } => {}
        }
        if let Some(channel) = paying.channel.filter(|channel| !channel.pending) {
            let terms = AcceptTerms::of_order(order, &channel.accept);
            effects.push(Effect::AcceptChannel { key: channel.key, attempt: channel.attempt, lsp, terms });
        }
        effects
    }

    /// The same for what a wallet may have forgotten in a restart: its coins.
    pub(crate) fn owed_after_restart(&self) -> Vec<Effect> {
        let kept = self.reserved.as_ref().filter(|reserved| !reserved.is_free).map(|reserved| &reserved.transaction);
        let transaction = match &self.state {
            State::Paying(Paying { payment: Payment::Signed(tx), late: true, .. })
            | State::Refunding(Paying { payment: Payment::Signed(tx), .. }) => Some(tx),
            State::Quoted | State::Paying(_) | State::Refunding(_) | State::Ended { .. } | State::Gone => kept,
        };
        let reserve = |tx: &Vec<u8>| Effect::ReservePayment { order: self.key, transaction: tx.clone() };
        self.outstanding().into_iter().chain(transaction.map(reserve)).collect()
    }

    /// Its name on this side: no LSP can give it to another order.
    #[must_use]
    pub fn key(&self) -> OrderKey {
        self.key
    }

    /// Who opens the channel.
    #[must_use]
    pub fn lsp(&self) -> PeerId {
        self.lsp
    }

    /// Its name at the LSP.
    #[must_use]
    pub fn id(&self) -> &OrderId {
        &self.id
    }

    /// What was ordered.
    #[must_use]
    pub fn ordered(&self) -> &CreateOrder {
        &self.ordered
    }

    /// The ways in which it could be paid when it was made.
    #[must_use]
    pub fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// One of them.
    #[must_use]
    pub fn way(&self, kind: WayKind) -> Option<&Way> {
        self.ways.iter().find(|way| way.kind() == kind)
    }

    /// The payment hash of its invoice, if it has one.
    #[must_use]
    pub fn payment_hash(&self) -> Option<PaymentHash> {
        quote::payment_hash(&self.ways)
    }

    /// Whether its invoice is paid under the payment hash as the node's payment id. Orders of before the first release were,
    /// and their payments may be under way; the payment id of any other is made of [`key`](Self::key) and way.
    #[must_use]
    pub fn is_paid_under_its_hash(&self) -> bool {
        self.is_paid_under_its_hash
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What keeps it from going on, if something does.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Its payment, once a way is chosen and while it is not over.
    #[must_use]
    pub fn paying(&self) -> Option<&Paying> {
        match &self.state {
            State::Paying(paying) | State::Refunding(paying) => Some(paying),
            State::Quoted | State::Ended { .. } | State::Gone => None,
        }
    }

    /// The way that is tried when nothing of the present one is out, if one is left that can still be paid.
    #[must_use]
    pub fn next_way(&self, now: Timestamp) -> Option<WayKind> {
        let is_open = |kind: &WayKind| self.way(*kind).is_some_and(|way| now < way.pay_by);
        self.paying()?.then.iter().copied().find(is_open)
    }

    /// How it ended.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Ended { end, .. } => Some(end),
            State::Quoted | State::Paying(_) | State::Refunding(_) | State::Gone => None,
        }
    }

    /// The channel that was accepted for it, while it is not over.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        self.paying().and_then(|paying| paying.channel)
    }

    /// The channel of an order that is done, while the node has told no confirmation of its funding.
    #[must_use]
    pub fn unconfirmed_channel(&self) -> Option<Channel> {
        match self.end().filter(|_| self.confirm_by.is_some())? {
            End::Done { channel, .. } => *channel,
            End::Refunded | End::Unpaid(_) | End::GivenUp => None,
        }
    }

    /// Whether a channel may still come of it: a way is chosen, it did not fail, and the money is not back.
    pub(crate) fn awaits_channel(&self) -> bool {
        match &self.state {
            State::Paying(paying) => !paying.is_returned(),
            State::Quoted | State::Refunding(_) | State::Ended { .. } | State::Gone => false,
        }
    }

    /// Whether it is paid for, as far as we know, and this is such a channel as was ordered, or a better one.
    ///
    /// Spec: LSPS1 §5 "Channel Open".
    pub(crate) fn asked_for(&self, asked: &Asked) -> bool {
        let ordered = &self.ordered;
        self.paying().is_some_and(|paying| !paying.is_unbegun())
            && asked.announced == ordered.announce_channel
            && ordered.capacity().is_some_and(|capacity| asked.funding >= capacity)
            && ordered.client_balance_sat.to_msat().is_some_and(|balance| asked.pushed >= balance)
            && (ordered.required_channel_confirmations == 0 || !asked.zero_conf)
    }

    /// By how much such a channel is better than what was ordered: of several orders that it suits it is likely for the one
    /// that it suits exactly, and of equal ones the strictest takes it.
    pub(crate) fn misses(&self, asked: &Asked) -> (u64, u64, Reverse<u16>) {
        let ordered = &self.ordered;
        let capacity = ordered.capacity().map_or(0, |capacity| asked.funding.0.saturating_sub(capacity.0));
        let balance = ordered.client_balance_sat.to_msat().map_or(0, |balance| balance.0);
        let is_early = ordered.required_channel_confirmations == 0;
        let confirmations = if is_early && asked.zero_conf { u16::MAX } else { ordered.required_channel_confirmations };
        (capacity, asked.pushed.0.saturating_sub(balance), Reverse(confirmations))
    }

    /// The channel with this name, of those that may be its own.
    pub(crate) fn has(&self, key: ChannelKey) -> Option<Channel> {
        self.channels().find(|channel| channel.key == key)
    }

    /// When time alone changes it next.
    pub(crate) fn deadline(&self) -> Option<(Timestamp, Wake)> {
        let returned = |paying: &Paying| paying.asks_until().map(|at| (at, Wake::ReturnSettled));
        let given_up = |paying: &Paying| Some((self.ends_at(paying), Wake::OrderGivenUp));
        match &self.state {
            State::Quoted => self.ways.iter().map(|way| (way.pay_by, Wake::OrderExpired)).max(),
            State::Paying(paying) => {
                let unbegun = self.unbegun_ends(paying).map(|at| (at, Wake::OrderExpired));
                let late = self.is_late_at(paying).map(|at| (at, Wake::PaymentLate));
                [returned(paying), unbegun, late, given_up(paying)].into_iter().flatten().min()
            }
            State::Refunding(paying) => [returned(paying), given_up(paying)].into_iter().flatten().min(),
            State::Ended { keep_until, .. } => {
                let unconfirmed = self.confirm_by.filter(|_| self.trouble.is_none());
                let unconfirmed = unconfirmed.map(|at| (at, Wake::OrderUnconfirmed));
                unconfirmed.into_iter().chain([(*keep_until, Wake::OrderForgotten)]).min()
            }
            State::Gone => None,
        }
    }

    /// When it is given up; what may still be paid is called off before.
    pub(crate) fn ends_at(&self, paying: &Paying) -> Timestamp {
        if paying.called_off { self.give_up_at + CALLED_OFF } else { self.give_up_at }
    }

    /// When a transaction that nobody has seen yet is broadcast no more.
    pub(crate) fn is_late_at(&self, paying: &Paying) -> Option<Timestamp> {
        let waits = matches!(paying.payment, Payment::Signed(_)) && !paying.late && !paying.held;
        self.way(paying.way)
            .filter(|_| waits)
            .map(|way| paying.stands_until.map_or(way.pay_by, |end| end.max(way.pay_by)))
    }

    /// Whether its transaction may be broadcast now. A host broadcasts only after
    /// [`Input::Broadcasting`](crate::Input::Broadcasting) was taken.
    #[must_use]
    pub fn may_broadcast(&self, now: Timestamp) -> bool {
        match &self.state {
            State::Paying(Paying { payment: Payment::Signed(_), late: false, .. }) => {
                self.paying().and_then(|paying| self.is_late_at(paying)).is_none_or(|late| now < late)
            }
            State::Quoted | State::Paying(_) | State::Refunding(_) | State::Ended { .. } | State::Gone => false,
        }
    }

    /// The channels that stand for it, or may turn out to.
    pub fn channels(&self) -> impl Iterator<Item = Channel> + use<> {
        let both = self.paying().map(|paying| [paying.channel, paying.other]);
        both.into_iter().flatten().flatten()
    }

    /// When a payment on-chain that was not signed can no longer begin. Over Lightning only the node knows.
    fn unbegun_ends(&self, paying: &Paying) -> Option<Timestamp> {
        self.way(paying.way).filter(|_| paying.is_unbegun()).map(|way| way.pay_by)
    }
}

impl Channel {
    pub(crate) fn new(key: ChannelKey, asked: Asked, accept: Accept) -> Self {
        Self { key, attempt: 1, pending: false, funding: None, funded_at: None, asked: Some(asked), accept }
    }
}

impl Asked {
    pub(crate) fn of(request: &OpenRequest) -> Self {
        let OpenRequest { announced, zero_conf, funding, pushed, .. } = *request;
        Self { announced, zero_conf, funding, pushed }
    }
}

impl Paying {
    pub(crate) fn by(way: WayKind, then: Vec<WayKind>) -> Self {
        Self {
            way,
            then,
            payment: Payment::Asked,
            held: false,
            channel: None,
            other: None,
            unseen_since: None,
            late: false,
            stands_until: None,
            called_off: false,
            unsent: false,
        }
    }

    /// The node is to pay, or does.
    pub(crate) fn is_under_way(&self) -> bool {
        self.way != WayKind::Onchain && self.payment == Payment::Asked
    }

    /// On-chain, nothing is signed yet, and nothing is broadcast that is not on record: no money is out.
    pub(crate) fn is_unbegun(&self) -> bool {
        self.way == WayKind::Onchain && self.payment == Payment::Asked
    }

    /// It came back, and the LSP is still asked whether it had it.
    pub(crate) fn is_returned(&self) -> bool {
        self.asks_until().is_some()
    }

    pub(crate) fn asks_until(&self) -> Option<Timestamp> {
        match &self.payment {
            Payment::Returned { ask_until } => Some(*ask_until),
            Payment::Asked | Payment::Signed(_) | Payment::Settled => None,
        }
    }
}

/// A node drops a transaction from its mempool two weeks after it came, by the default of Bitcoin Core. One day more.
pub(crate) const OUT_OF_MEMPOOLS: Duration = Duration::from_secs(15 * 24 * 60 * 60);
/// For so long the end of a payment is waited for that was called off when its order's time was over.
const CALLED_OFF: Duration = Duration::from_secs(24 * 60 * 60);

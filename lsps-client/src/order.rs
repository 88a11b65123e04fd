//! Ordering a channel (LSPS1): an order, which is one flow.
//!
//! `LspOptions -> check -> create_order -> verify -> place -> pay -> polls -> channel | refund`. The steps before
//! `place` are pure functions of messages. From `place` on the order has a record, and no payment is made that is not
//! on record.

use alloc::{string::String, vec::Vec};
use core::{cmp::Reverse, time::Duration};

use lsps_types::lsps1::{CreateOrder, OrderId};
use lsps_types::{Blocks, ClockShift, Msat, OutPoint, PaymentHash, PeerId, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effect::{AcceptTerms, ChannelKey, Effect};
use crate::jit_receive::OpenRequest;
use crate::wake::Wake;

mod changes;
mod display;
mod flow;
mod key;
pub(crate) mod orders;
mod polls;
mod quote;
mod record;
mod reply;
mod v1;

pub use key::{NoKey, OrderKey};
pub use orders::{OrderError, RefusePlace};
pub use polls::Polling;
pub use quote::{
    CannotOrder, CheckedRequest, LspOptions, OrderRequest, PaymentInstructions, PaymentMethod, PaymentOption, Quote,
    RefuseOrder, RefusePaymentMethod, Rules,
};

pub(crate) use changes::{Command, Reject};

/// An order that the LSP created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub(crate) key: OrderKey,
    pub(crate) lsp: PeerId,
    pub(crate) id: OrderId,
    #[serde(with = "record::Ordered")]
    pub(crate) ordered: CreateOrder,
    pub(crate) options: Vec<PaymentOption>,
    /// Time for which the record is kept after the end of the order, in milliseconds.
    pub(crate) keep_millis: u64,
    /// Time at which the order is abandoned in any state.
    pub(crate) give_up_at: Timestamp,
    pub(crate) is_paid_under_its_hash: bool,
    pub(crate) state: State,
    pub(crate) trouble: Option<Trouble>,
    /// Time since which requests about the order have had no answer.
    pub(crate) unanswered_since: Option<Timestamp>,
    /// A transaction that was signed to pay the order and is to be broadcast no more.
    pub(crate) reserved: Option<Reserved>,
    /// Time from which a completed order without a reported confirmation is in trouble.
    pub(crate) confirm_by: Option<Timestamp>,
}

/// A transaction that was signed to pay an order, when the order is over or is paid by another method. Nodes may have
/// it in their mempools, so its inputs stay reserved meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reserved {
    pub(crate) transaction: Vec<u8>,
    /// Whether the inputs may be spent: nobody ever had the transaction, or mempools have dropped it by now.
    pub(crate) is_free: bool,
}

/// State of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The prices are known. No payment is made before a method is chosen.
    Quoted,
    /// A payment method is chosen; the channel is still to come.
    Paying(Paying),
    /// The order failed, and the refund was not seen yet.
    Refunding(Paying),
    /// The order is over.
    Ended {
        /// Outcome.
        end: End,
        /// Time until which the record is kept.
        keep_until: Timestamp,
    },
    /// The record is to be removed.
    Gone,
}

/// The payment of an order, and its results so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paying {
    /// Payment method that is being used.
    pub method: PaymentMethod,
    /// Methods to try in turn, each once nothing of the one before is in flight.
    pub then: Vec<PaymentMethod>,
    /// State of the payment at the wallet.
    pub payment: Payment,
    /// Whether the LSP said that it holds the payment.
    pub held: bool,
    /// Channel that was accepted for the order, as far as is known.
    pub channel: Option<Channel>,
    /// Another channel of this LSP that suits the order and was accepted for a purchase. The LSP says which of the two
    /// is the order's.
    pub other: Option<Channel>,
    /// Time since which the LSP reports something that the wallet's node does not see.
    pub unseen_since: Option<Timestamp>,
    /// On-chain: whether the time to pay passed before the transaction was known to have been received. The transaction
    /// is not broadcast until the LSP says that the order is still open.
    pub late: bool,
    /// On-chain: time until which the order is open, according to the LSP's answer after the time to pay had passed.
    pub stands_until: Option<Timestamp>,
    /// Whether the user cancelled the order; payments in flight are waited for.
    pub called_off: bool,
    /// On-chain: whether the transaction was signed in this run of the wallet and its broadcast was not begun, so that
    /// nobody else has it. This is not on record, as a broadcast leaves no trace there: after a restart it may have
    /// happened.
    #[serde(skip)]
    pub unsent: bool,
}

/// State of a payment at the wallet's own node or wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payment {
    /// The node was asked to pay; a Lightning payment may have been sent.
    Asked,
    /// This transaction pays the order, and may be broadcast.
    Signed(Vec<u8>),
    /// Lightning: the LSP claimed the payment.
    Settled,
    /// Lightning: the payment failed. The LSP is asked whether it had it.
    Returned {
        /// Time after which the payment counts as one that the LSP never had.
        ask_until: Timestamp,
    },
    /// The order is free: nothing is paid, and the channel is awaited.
    Nothing,
}

/// A channel that was accepted for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Key that the host gave to the channel.
    pub key: ChannelKey,
    /// Number of requests to open this channel, from 1.
    pub attempt: u32,
    /// Whether the funding is negotiated, so that the node remembers the channel.
    pub pending: bool,
    /// Funding output, as the wallet's node reports it.
    pub funding: Option<OutPoint>,
    /// Time at which the node reported the funding output.
    pub funded_at: Option<Timestamp>,
    /// The channel as the LSP requested it. `None`: the record is older than this field.
    pub asked: Option<Asked>,
    /// Terms on which the channel is accepted.
    pub accept: Accept,
}

/// Properties of a channel that an LSP asks to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Whether the channel would be announced to the network.
    pub announced: bool,
    /// Whether the channel type allows use before the funding is confirmed.
    pub zero_conf: bool,
    /// Capacity.
    pub funding: Sat,
    /// Initial balance of the wallet.
    pub pushed: Msat,
}

/// Terms on which the channel of an order is accepted: the order's own, or those of a purchase from the same LSP that
/// waits for a channel which could be this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// Confirmations before the channel is used.
    pub confirmations: u16,
    /// Largest `to_self_delay`, in blocks, that the wallet may ask for.
    pub max_to_self_delay: Blocks,
    /// Whether HTLCs may be below the amount in their onions.
    pub underpaying: bool,
}

/// Outcome of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The channel is funded with the output that the LSP names, by the report of the wallet's node. Its confirmation
    /// shows later ([`Order::unconfirmed_channel`], [`Trouble::Unconfirmed`]).
    Done {
        /// The LSP's data of the channel.
        lease: Lease,
        /// Channel that was accepted for the order. `None`: the record is older than this field.
        channel: Option<Channel>,
    },
    /// The order failed. A Lightning payment came back; for an on-chain payment the LSP *says* that it sent the refund,
    /// which the wallet did not check.
    Refunded,
    /// The order was not paid.
    Unpaid(Unpaid),
    /// The order was abandoned, by the wallet or because its time was long over, although a payment is unaccounted for.
    /// A channel that is opened anyway is refused.
    GivenUp,
}

/// The LSP's data of the channel of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Funding output.
    pub funding: OutPoint,
    /// Time at which the funding was published.
    pub funded_at: Timestamp,
    /// Time before which the LSP does not close the channel.
    pub until: Timestamp,
}

/// Reason for which an order was not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unpaid {
    /// No method was chosen in time, or the payment was not started.
    Expired,
    /// The payment did not reach the LSP: it could not be made, or it failed and the LSP reports none.
    NotSent,
    /// The LSP closed the order before it was paid.
    Closed,
    /// The wallet cancelled the order.
    Abandoned,
}

/// Problem of a paid order. The LSP is still asked about the order, at a longer interval; a good answer ends the
/// trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// The LSP has not answered for [`Polling::silent_after`].
    Silent {
        /// Time since which it is silent.
        since: Timestamp,
    },
    /// The LSP's answers have not been valid orders for [`Polling::silent_after`].
    Unreadable {
        /// Time since which its answers are invalid.
        since: Timestamp,
    },
    /// The LSP says that it has no such order.
    Forgotten,
    /// The LSP's order differs from the one that it created.
    Differs {
        /// Name of the field that differs.
        field: String,
    },
    /// The LSP says that the channel is open, but the wallet's node has no channel of this order with that funding
    /// output.
    NoChannel {
        /// Funding output that the LSP names, if it names one.
        funding: Option<OutPoint>,
    },
    /// The channel is open, but the LSP promises to keep it for less than half of the ordered time.
    ShortLease {
        /// Time until which the LSP says that it keeps the channel.
        until: Timestamp,
    },
    /// The LSP claimed the payment and opened no channel: it failed the order without a refund, or does nothing.
    Kept,
    /// The order is done, but the funding of its channel was not confirmed within the ordered number of blocks, or the
    /// channel was closed before. Until a first confirmation the LSP can double-spend the funding, and take back the
    /// whole balance.
    Unconfirmed {
        /// Funding output that the LSP named.
        funding: OutPoint,
    },
}

/// State change of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The order is on record, unpaid.
    Placed,
    /// A payment method is chosen; also the next one, when nothing of the one before is in flight.
    Chosen {
        /// Payment method that is used.
        method: PaymentMethod,
        /// Methods to try after it, in turn.
        then: Vec<PaymentMethod>,
    },
    /// This transaction pays the order and is to be broadcast.
    Signed(Vec<u8>),
    /// On-chain: the time to pay has passed. The transaction is not broadcast before the LSP says that the order is
    /// open.
    Late,
    /// On-chain: the transaction was never broadcast and will not be. Its inputs are free.
    Unsent,
    /// The order has been over for so long that mempools have dropped the transaction that was to pay it. Its inputs
    /// are free unless it was mined.
    InputsFree,
    /// The wallet released the inputs of the transaction.
    Forgotten,
    /// The LSP says that the order is open: its payment may be broadcast after all.
    Stands {
        /// Time until which it is open, unless it is paid already.
        until: Option<Timestamp>,
    },
    /// The user cancelled the order: no more payment is started, and those in flight are waited for.
    CalledOff,
    /// Lightning: the LSP claimed the payment.
    Settled,
    /// Lightning: the payment failed; the LSP is asked whether it had it.
    Returned {
        /// Time until which the LSP is asked.
        ask_until: Timestamp,
    },
    /// The LSP says that it holds the payment.
    Held,
    /// A channel is to be accepted for the order.
    ChannelAsked(Channel),
    /// The funding of its channel is negotiated.
    ChannelPending {
        /// Key of the channel.
        key: ChannelKey,
        /// Funding output, if the node reports it.
        funding: Option<OutPoint>,
        /// Time of the report.
        at: Timestamp,
    },
    /// Its channel could not be opened or was closed; the LSP may open another.
    ChannelEnded(ChannelKey),
    /// The channel of this order turned out to be another flow's; the given one is the order's now.
    ChannelPassed(Option<Channel>),
    /// Another channel that suits the order was accepted for a purchase.
    OtherChannel(Channel),
    /// The LSP reports something that the wallet's node does not see, for the first time in a row.
    Unseen(Timestamp),
    /// The order failed; its refund is waited for.
    Refunding,
    /// A request had no answer, for the first time in a row.
    Unanswered(Timestamp),
    /// The LSP answers again, and correctly.
    Heard,
    /// The order is done, and the node has not reported a confirmation of its channel yet.
    Unconfirmed {
        /// Time from which that is a trouble.
        until: Timestamp,
    },
    /// The channel of a completed order is confirmed.
    Confirmed,
    /// The order is in trouble.
    Troubled(Trouble),
    /// The order is over.
    Ended {
        /// Outcome.
        end: End,
        /// Time until which the record is kept.
        keep_until: Timestamp,
    },
    /// The host's clock was set, or was ahead when the record was written: the waits of the order were shifted.
    ClockSet {
        /// Shift of the clock.
        shift: ClockShift,
        /// Time for which an LSP is asked about a payment that failed.
        ask_for: Duration,
    },
    /// The record was removed.
    Dropped,
}

impl Order {
    pub(crate) fn new(quote: Quote) -> Self {
        let Quote { options, lsp, id, order: ordered, keep, give_up_after, made_at, .. } = quote;
        let give_up_at = options.iter().map(|option| option.pay_by).max().unwrap_or(made_at) + give_up_after;
        let keep_millis = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let (key, state) = (OrderKey::of(lsp, &id), State::Quoted);
        Self {
            key,
            lsp,
            id,
            ordered,
            options,
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

    /// The effects that the order needs from the host. Called after every step and after a restart.
    pub(crate) fn outstanding(&self) -> Vec<Effect> {
        let (order, lsp) = (self.key, self.lsp);
        let free = self.reserved.as_ref().filter(|reserved| reserved.is_free);
        let forget = |it: &Reserved| Effect::ForgetPayment { order, transaction: it.transaction.clone() };
        let mut effects: Vec<_> = free.map(forget).into_iter().collect();
        let paying = match &self.state {
            State::Paying(paying) => paying,
            // Payments in flight are left alone; no other may start for an order that failed.
            State::Refunding(paying) => {
                let option = self.payment_option(paying.method).filter(|_| paying.payment == Payment::Asked).cloned();
                effects.extend(option.map(|option| Effect::StopPaying { order, option }));
                return effects;
            }
            State::Quoted | State::Ended { .. } | State::Gone => return effects,
        };
        match &paying.payment {
            Payment::Asked => {
                let option = self.payment_option(paying.method).cloned();
                effects.extend(option.map(|option| Effect::PayOrder { order, lsp, option }));
            }
            Payment::Signed(tx) if !paying.late => {
                effects.push(Effect::BroadcastPayment { order, transaction: tx.clone() });
            }
            Payment::Signed(_) | Payment::Settled | Payment::Returned { .. } | Payment::Nothing => {}
        }
        if let Some(channel) = paying.channel.filter(|channel| !channel.pending) {
            let terms = AcceptTerms::of_order(order, &channel.accept);
            effects.push(Effect::AcceptChannel { key: channel.key, attempt: channel.attempt, lsp, terms });
        }
        effects
    }

    /// The effects to repeat after a restart for what a wallet may have forgotten: its reserved coins.
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

    /// Local key of the order. No LSP can give it to another order.
    #[must_use]
    pub fn key(&self) -> OrderKey {
        self.key
    }

    /// LSP that opens the channel.
    #[must_use]
    pub fn lsp(&self) -> PeerId {
        self.lsp
    }

    /// Id of the order at the LSP.
    #[must_use]
    pub fn id(&self) -> &OrderId {
        &self.id
    }

    /// The request of the order.
    #[must_use]
    pub fn ordered(&self) -> &CreateOrder {
        &self.ordered
    }

    /// Payment methods that could be used when the order was created.
    #[must_use]
    pub fn payment_options(&self) -> &[PaymentOption] {
        &self.options
    }

    /// The option to pay by this method.
    #[must_use]
    pub fn payment_option(&self, method: PaymentMethod) -> Option<&PaymentOption> {
        self.options.iter().find(|option| option.method() == method)
    }

    /// Whether nothing is to be paid: the order has no payment method.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.options.is_empty()
    }

    /// Payment hash of the order's invoice, if it has one.
    #[must_use]
    pub fn payment_hash(&self) -> Option<PaymentHash> {
        quote::payment_hash(&self.options)
    }

    /// Whether the invoice is paid under the payment hash as the node's payment id. Orders from before the first
    /// release were, and their payments may be in flight. Any other payment id is derived from [`key`](Self::key) and
    /// method.
    #[must_use]
    pub fn is_paid_under_its_hash(&self) -> bool {
        self.is_paid_under_its_hash
    }

    /// State of the order.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Trouble of the order, if it has any.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// The payment, once a method is chosen and while the order is not over.
    #[must_use]
    pub fn paying(&self) -> Option<&Paying> {
        match &self.state {
            State::Paying(paying) | State::Refunding(paying) => Some(paying),
            State::Quoted | State::Ended { .. } | State::Gone => None,
        }
    }

    /// The method to try when nothing of the present one is in flight, if one is left that can still be used.
    #[must_use]
    pub fn next_method(&self, now: Timestamp) -> Option<PaymentMethod> {
        let is_open = |method: &PaymentMethod| self.payment_option(*method).is_some_and(|option| now < option.pay_by);
        self.paying()?.then.iter().copied().find(is_open)
    }

    /// Outcome of the order, once it is over.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Ended { end, .. } => Some(end),
            State::Quoted | State::Paying(_) | State::Refunding(_) | State::Gone => None,
        }
    }

    /// Channel that was accepted for the order, while the order is not over.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        self.paying().and_then(|paying| paying.channel)
    }

    /// Channel of a completed order whose funding is not reported as confirmed yet.
    #[must_use]
    pub fn unconfirmed_channel(&self) -> Option<Channel> {
        match self.end().filter(|_| self.confirm_by.is_some())? {
            End::Done { channel, .. } => *channel,
            End::Refunded | End::Unpaid(_) | End::GivenUp => None,
        }
    }

    /// Whether the LSP may still open a channel: a method is chosen, the order did not fail, and the payment did not
    /// come back.
    pub(crate) fn awaits_channel(&self) -> bool {
        match &self.state {
            State::Paying(paying) => !paying.is_returned(),
            State::Quoted | State::Refunding(_) | State::Ended { .. } | State::Gone => false,
        }
    }

    /// Whether the order is paid as far as is known, and such a channel is as ordered or better.
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

    /// The amounts by which such a channel is better than ordered, to be minimised. Of several orders that a channel
    /// suits, it belongs to the one that it suits exactly; of equal ones the strictest takes it.
    pub(crate) fn misses(&self, asked: &Asked) -> (u64, u64, Reverse<u16>) {
        let ordered = &self.ordered;
        let capacity = ordered.capacity().map_or(0, |capacity| asked.funding.0.saturating_sub(capacity.0));
        let balance = ordered.client_balance_sat.to_msat().map_or(0, |balance| balance.0);
        let confirmations = ordered.required_channel_confirmations;
        (capacity, asked.pushed.0.saturating_sub(balance), Reverse(confirmations))
    }

    /// The transaction that pays the order is broadcast now, so that others may have it. This is not recorded: after a
    /// restart the wallet has to assume it in any case.
    pub(crate) fn is_broadcast(&mut self) {
        if let State::Paying(paying) = &mut self.state {
            paying.unsent = false;
        }
    }

    /// The channel with this key, if it may be the order's.
    pub(crate) fn has(&self, key: ChannelKey) -> Option<Channel> {
        self.channels().find(|channel| channel.key == key)
    }

    /// The next time at which a tick changes the order, with the reason.
    pub(crate) fn deadline(&self) -> Option<(Timestamp, Wake)> {
        let returned = |paying: &Paying| paying.asks_until().map(|at| (at, Wake::ReturnSettled));
        let given_up = |paying: &Paying| Some((self.ends_at(paying), Wake::OrderGivenUp));
        match &self.state {
            State::Quoted if self.is_free() => Some((self.give_up_at, Wake::OrderExpired)),
            State::Quoted => self.options.iter().map(|option| (option.pay_by, Wake::OrderExpired)).max(),
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

    /// Time at which the order is abandoned; payments that may still be made are cancelled before.
    pub(crate) fn ends_at(&self, paying: &Paying) -> Timestamp {
        if paying.called_off { self.give_up_at + CALLED_OFF } else { self.give_up_at }
    }

    /// Time from which a transaction that nobody has seen yet is broadcast no more.
    pub(crate) fn is_late_at(&self, paying: &Paying) -> Option<Timestamp> {
        let waits = matches!(paying.payment, Payment::Signed(_)) && !paying.late && !paying.held;
        self.payment_option(paying.method).filter(|_| waits).map(|option| paying.stands_until.unwrap_or(option.pay_by))
    }

    /// Whether the transaction may be broadcast now. A host broadcasts only after
    /// [`Input::Broadcasting`](crate::Input::Broadcasting) was accepted.
    #[must_use]
    pub fn may_broadcast(&self, now: Timestamp) -> bool {
        match &self.state {
            State::Paying(Paying { payment: Payment::Signed(_), late: false, .. }) => {
                self.paying().and_then(|paying| self.is_late_at(paying)).is_none_or(|late| now < late)
            }
            State::Quoted | State::Paying(_) | State::Refunding(_) | State::Ended { .. } | State::Gone => false,
        }
    }

    /// The channels that belong to the order or may turn out to.
    pub fn channels(&self) -> impl Iterator<Item = Channel> + use<> {
        let both = self.paying().map(|paying| [paying.channel, paying.other]);
        both.into_iter().flatten().flatten()
    }

    /// Time from which an unsigned on-chain payment can no longer start. For a Lightning payment only the node knows.
    fn unbegun_ends(&self, paying: &Paying) -> Option<Timestamp> {
        self.payment_option(paying.method).filter(|_| paying.is_unbegun()).map(|option| option.pay_by)
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
    pub(crate) fn by(method: PaymentMethod, then: Vec<PaymentMethod>) -> Self {
        Self {
            method,
            then,
            payment: if method == PaymentMethod::Free { Payment::Nothing } else { Payment::Asked },
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

    /// Whether the node was asked for a Lightning payment, whose outcome is open.
    pub(crate) fn is_under_way(&self) -> bool {
        self.method != PaymentMethod::Onchain && self.payment == Payment::Asked
    }

    /// Whether an on-chain payment is not signed yet, so that nothing was sent.
    pub(crate) fn is_unbegun(&self) -> bool {
        self.method == PaymentMethod::Onchain && self.payment == Payment::Asked
    }

    /// Whether the payment failed and the LSP is still asked about it.
    pub(crate) fn is_returned(&self) -> bool {
        self.asks_until().is_some()
    }

    pub(crate) fn asks_until(&self) -> Option<Timestamp> {
        match &self.payment {
            Payment::Returned { ask_until } => Some(*ask_until),
            Payment::Asked | Payment::Signed(_) | Payment::Settled | Payment::Nothing => None,
        }
    }
}

/// Time after which no mempool has the transaction: two weeks by the default of Bitcoin Core, and a day more.
pub(crate) const OUT_OF_MEMPOOLS: Duration = Duration::from_secs(15 * 24 * 60 * 60);
/// Time for which the outcome of a cancelled payment is waited for once the order's time is over.
const CALLED_OFF: Duration = Duration::from_secs(24 * 60 * 60);

//! Receiving over a JIT channel (LSPS2): a purchase, which is one flow.
//!
//! `menu -> choose -> buy -> prepare -> register -> channel -> judge -> claim | reject`. The steps before `register`
//! are pure functions of messages and bind nobody: no invoice is handed out yet. From `register` on the purchase has a
//! record.

use alloc::vec::Vec;

use lsps_types::{Blocks, Msat, PaymentHash, PeerId, Ppm, Preimage, Scid, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effect::{AcceptTerms, ChannelKey, Effect};
use crate::wake::Wake;

mod arrival;
mod choose;
mod flow;
mod invoice;
mod judge;
pub(crate) mod purchases;
mod rules;
mod v1;

pub use arrival::{Arrival, Via};
pub use choose::{Choice, FeeLimits, NoOffer, Payment, ReceiveRequest, Unfit, choose};
pub(crate) use flow::{Command, Reject};
pub use invoice::{CannotInvoice, InvoiceParams, InvoiceTerms, Prepared, RouteHint, prepare};
pub(crate) use judge::within_share;
pub use judge::{Expected, Fault, Part, Promised, Received, Verdict, enough_blocks_left, judge};
pub use purchases::{Handled, OpenRequest, RefuseChannel, RefusePurchase};
pub use rules::{AcceptTrust, Rules};

/// A purchase, identified by the payment hash of its invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) lsp: PeerId,
    pub(crate) terms: Terms,
    pub(crate) state: State,
}

/// The terms of a purchase that matter after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// SCID in the invoice. The alias of the channel may be the same or another.
    pub scid: Scid,
    /// Amount of the invoice, if it has one.
    pub amount: Option<Msat>,
    /// Opening fee that the LSP may keep, once.
    pub promised: Promised,
    /// Largest share of the payment that the LSP may keep if the payer chooses the amount.
    pub max_proportional_fee: Option<Ppm>,
    /// Least amount that has to arrive of a payment of which a fee was kept.
    pub least_net: Msat,
    /// Time until which the LSP accepts payments; the invoice expires no later.
    pub valid_until: Timestamp,
    /// Time until which a channel is accepted: some time after the invoice expires.
    pub open_until: Timestamp,
    /// Time until which the record is kept.
    pub keep_until: Timestamp,
    /// Blocks after confirmation during which the LSP keeps the channel open.
    pub min_lifetime: Blocks,
    /// Largest `to_self_delay`, in blocks, that the wallet may ask for.
    pub max_to_self_delay: Blocks,
    /// Whether the wallet has to claim the payment before the funding transaction is published.
    pub client_trusts_lsp: bool,
    /// Confirmations that the wallet waits for before it claims the payment.
    pub confirmations_to_wait: u16,
}

/// State of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The invoice may have been handed out; there is no channel.
    Waiting,
    /// A channel was accepted; no payment arrived yet.
    Channel(Channel),
    /// The payment arrived as promised, and is held until the funding of its channel is confirmed.
    Holding(Holding),
    /// The payment was claimed. No fee may be kept of another payment with this hash.
    Paid {
        /// Amount that arrived.
        received: Msat,
        /// Amount that the LSP kept.
        skimmed: Msat,
    },
    /// No channel is accepted any more. A payment that is in flight is still checked against the promise. The channel
    /// of the purchase is remembered, as without one no fee may be kept.
    Expired(Option<Channel>),
    /// The wallet abandoned the purchase. No fee may be kept of a payment that arrives anyway.
    Abandoned,
    /// The record is to be removed.
    Gone,
}

/// A channel that was opened for a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Key that the host gave to the channel.
    pub key: ChannelKey,
    /// Number of requests to open this channel, from 1.
    pub attempt: u32,
    /// Strictest `to_self_delay` limit of the purchases that waited for a channel when it was accepted.
    pub max_to_self_delay: Blocks,
    /// Whether the funding is negotiated, so that the node remembers the channel.
    pub pending: bool,
}

impl From<crate::order::Channel> for Channel {
    fn from(ordered: crate::order::Channel) -> Self {
        let crate::order::Channel { key, attempt, pending, accept, .. } = ordered;
        Self { key, attempt, max_to_self_delay: accept.max_to_self_delay, pending }
    }
}

/// A payment that is held and not claimed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Amount that arrived.
    pub received: Msat,
    /// Amount that the LSP kept.
    pub skimmed: Msat,
    /// Preimage, which the node does not report twice; `None` if the application has it.
    pub preimage: Option<Preimage>,
    /// Channel of the purchase, if it has one.
    pub channel: Option<Channel>,
}

/// State change of a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The purchase is on record; its invoice may be handed out.
    Registered,
    /// A channel is to be accepted for the purchase.
    ChannelAsked(Channel),
    /// The funding of its channel is negotiated.
    ChannelPending,
    /// Its channel could not be opened or was closed; the LSP may open another.
    ChannelEnded,
    /// Its channel was used for another purchase; the given one is its channel now.
    ChannelPassed(Option<Channel>),
    /// Its payment arrived and waits for confirmations.
    Held(Holding),
    /// The held payment was failed.
    GaveUp,
    /// Its payment was claimed.
    Paid {
        /// Amount that arrived.
        received: Msat,
        /// Amount that the LSP kept.
        skimmed: Msat,
    },
    /// No payment arrived in time.
    Expired,
    /// The wallet abandoned the purchase.
    Abandoned,
    /// The record was removed.
    Dropped,
}

impl Purchase {
    pub(crate) fn new(prepared: &Prepared, payment_hash: PaymentHash) -> Self {
        Self { payment_hash, lsp: prepared.lsp, terms: prepared.terms.clone(), state: State::Waiting }
    }

    /// The events that `command` causes, or the reason to reject it. Reads the state only.
    pub(crate) fn decide(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Reject> {
        use State as S;
        let event = match (&self.state, command) {
            (S::Waiting, Command::OpenRequested { .. }) if now >= self.terms.open_until => return Err(Reject::NotOpen),
            (S::Waiting, Command::OpenRequested { key, max_to_self_delay }) => Event::ChannelAsked(Channel {
                key: *key,
                attempt: 1,
                max_to_self_delay: *max_to_self_delay,
                pending: false,
            }),
            // The LSP repeats its request after a reconnect, so the node has to accept again.
            (S::Channel(channel), Command::OpenRequested { key, .. }) if channel.key == *key && !channel.pending => {
                Event::ChannelAsked(Channel { attempt: channel.attempt.saturating_add(1), ..*channel })
            }
            (S::Channel(_) | S::Holding(_), Command::OpenRequested { .. }) => return Err(Reject::HasChannel),
            (S::Paid { .. } | S::Expired(_) | S::Abandoned | S::Gone, Command::OpenRequested { .. }) => {
                return Err(Reject::NotOpen);
            }

            (_, Command::ChannelPending(key)) if self.has(*key).is_some_and(|channel| channel.pending) => {
                return Ok(Vec::new());
            }
            (_, Command::ChannelPending(key)) if self.has(*key).is_some() => Event::ChannelPending,
            (_, Command::ChannelEnded(key)) if self.has(*key).is_some() => Event::ChannelEnded,
            (S::Waiting | S::Channel(_) | S::Holding(_) | S::Expired(_), Command::ChannelPassed(other)) => {
                Event::ChannelPassed(*other)
            }
            (
                S::Waiting | S::Channel(_) | S::Holding(_) | S::Paid { .. } | S::Expired(_) | S::Abandoned | S::Gone,
                Command::ChannelPending(_) | Command::ChannelEnded(_) | Command::ChannelPassed(_),
            ) => return Err(Reject::OtherChannel),

            (S::Waiting | S::Channel(_) | S::Expired(_), Command::Held { received, skimmed, preimage }) => {
                let (received, skimmed, preimage) = (*received, *skimmed, *preimage);
                Event::Held(Holding { received, skimmed, preimage, channel: self.channel() })
            }
            // The node repeats its report.
            (S::Holding(_), Command::Held { .. }) => return Ok(Vec::new()),
            (S::Paid { .. } | S::Abandoned | S::Gone, Command::Held { .. }) => return Err(Reject::NotOpen),
            (S::Holding(_), Command::GaveUp) => Event::GaveUp,
            (S::Waiting | S::Channel(_) | S::Paid { .. } | S::Expired(_) | S::Abandoned | S::Gone, Command::GaveUp) => {
                return Err(Reject::NotOpen);
            }

            (
                S::Waiting | S::Channel(_) | S::Holding(_) | S::Expired(_) | S::Abandoned,
                Command::Claimed { received, skimmed },
            ) => Event::Paid { received: *received, skimmed: *skimmed },
            (S::Paid { .. }, Command::Claimed { .. }) => return Ok(Vec::new()),
            (S::Gone, Command::Claimed { .. }) => return Err(Reject::NotOpen),

            (S::Waiting | S::Channel(_) | S::Expired(_), Command::Abandon) => Event::Abandoned,
            (S::Holding(_) | S::Paid { .. } | S::Abandoned | S::Gone, Command::Abandon) => return Err(Reject::NotOpen),

            (S::Waiting | S::Channel(_), Command::Tick) if now >= self.terms.open_until => Event::Expired,
            (S::Paid { .. } | S::Expired(_) | S::Abandoned, Command::Tick) if now >= self.terms.keep_until => {
                Event::Dropped
            }
            // A held payment ends with its HTLCs, which the node knows, and not by a clock that may have jumped: the
            // record holds the preimage.
            (
                S::Waiting | S::Channel(_) | S::Holding(_) | S::Paid { .. } | S::Expired(_) | S::Abandoned | S::Gone,
                Command::Tick,
            ) => return Ok(Vec::new()),
        };
        Ok(Vec::from([event]))
    }

    /// Applies an event. Never fails nor reads a clock. Nothing else assigns `self.state`.
    pub(crate) fn apply(&mut self, event: &Event) {
        let pending = |channel: &Channel| Channel { pending: true, ..*channel };
        self.state = match (&self.state, event) {
            (_, Event::Registered) => State::Waiting,
            (_, Event::ChannelAsked(channel)) => State::Channel(*channel),
            (State::Channel(channel), Event::ChannelPending) => State::Channel(pending(channel)),
            (State::Holding(held), Event::ChannelPending) => {
                State::Holding(Holding { channel: held.channel.as_ref().map(pending), ..*held })
            }
            (State::Expired(channel), Event::ChannelPending) => State::Expired(channel.as_ref().map(pending)),
            (State::Holding(held), Event::ChannelPassed(other)) => State::Holding(Holding { channel: *other, ..*held }),
            (State::Expired(_), Event::ChannelPassed(other)) => State::Expired(*other),
            (State::Holding(Holding { channel: Some(channel), .. }), Event::GaveUp) => State::Channel(*channel),
            (State::Expired(_), Event::ChannelEnded) => State::Expired(None),
            // The HTLCs may have come over another channel. The host knows, and reports that the payment was failed.
            (State::Holding(held), Event::ChannelEnded) => State::Holding(Holding { channel: None, ..*held }),
            (_, Event::GaveUp | Event::ChannelEnded) => State::Waiting,
            (_, Event::ChannelPassed(other)) => other.map_or(State::Waiting, State::Channel),
            (_, Event::Held(held)) => State::Holding(*held),
            (_, Event::Paid { received, skimmed }) => State::Paid { received: *received, skimmed: *skimmed },
            (_, Event::Expired) => State::Expired(self.channel()),
            (_, Event::Abandoned) => State::Abandoned,
            (_, Event::Dropped) => State::Gone,
            (state, Event::ChannelPending) => {
                debug_assert!(false, "{event:?} cannot follow {state:?}");
                return;
            }
        };
    }

    /// The effects that the purchase needs from the host. Called after every step and after a restart.
    pub(crate) fn outstanding(&self) -> Vec<Effect> {
        let lsp = self.lsp;
        match &self.state {
            State::Waiting => Vec::from([Effect::AllowUnderpaying { lsp }]),
            State::Channel(channel) if channel.pending => Vec::from([Effect::AllowUnderpaying { lsp }]),
            State::Channel(channel) => Vec::from([
                Effect::AllowUnderpaying { lsp },
                Effect::AcceptChannel {
                    key: channel.key,
                    attempt: channel.attempt,
                    lsp,
                    terms: AcceptTerms::of(self.payment_hash, channel),
                },
            ]),
            // The payment may be failed, and the payer may send it again.
            State::Holding(held) => Vec::from([
                Effect::AllowUnderpaying { lsp },
                Effect::ClaimAfter {
                    purchase: self.payment_hash,
                    lsp,
                    preimage: held.preimage,
                    confirmations: self.terms.confirmations_to_wait,
                },
            ]),
            State::Paid { .. } | State::Expired(_) | State::Abandoned => Vec::from([Effect::ForbidUnderpaying { lsp }]),
            State::Gone => Vec::new(),
        }
    }

    /// The promise to check a payment against; `None` if the payment is to be checked as an ordinary one.
    #[must_use]
    pub fn expected(&self) -> Option<Expected> {
        let amount = self.terms.amount;
        match &self.state {
            State::Waiting | State::Channel(_) | State::Holding(_) | State::Expired(_) => {
                let Terms { promised, max_proportional_fee: max_share, least_net, .. } = self.terms;
                Some(Expected { amount, promised, max_share, least_net })
            }
            State::Paid { .. } => {
                let promised = Promised::Fee(Msat::ZERO);
                Some(Expected { amount, promised, max_share: None, least_net: Msat::ZERO })
            }
            State::Abandoned | State::Gone => None,
        }
    }

    /// Payment hash of the invoice.
    #[must_use]
    pub fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    /// LSP that sold the channel.
    #[must_use]
    pub fn lsp(&self) -> PeerId {
        self.lsp
    }

    /// Terms of the purchase.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// State of the purchase.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether the payment is still to come, so that a channel may be opened or is open for it.
    #[must_use]
    pub fn is_unpaid(&self) -> bool {
        match &self.state {
            State::Waiting | State::Channel(_) => true,
            State::Holding(_) | State::Paid { .. } | State::Expired(_) | State::Abandoned | State::Gone => false,
        }
    }

    /// Whether its payment can still arrive, or has arrived and is not claimed yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_over()
    }

    /// Whether a payment that arrives as promised can be held until its channels are confirmed.
    pub(crate) fn can_hold(&self) -> bool {
        match &self.state {
            State::Waiting | State::Channel(_) | State::Holding(_) | State::Expired(_) => true,
            State::Paid { .. } | State::Abandoned | State::Gone => false,
        }
    }

    /// Whether the purchase is over, so that its record is needed for late payments only.
    pub(crate) fn is_over(&self) -> bool {
        match &self.state {
            State::Paid { .. } | State::Expired(_) | State::Abandoned | State::Gone => true,
            State::Waiting | State::Channel(_) | State::Holding(_) => false,
        }
    }

    fn has(&self, key: ChannelKey) -> Option<Channel> {
        self.channel().filter(|channel| channel.key == key)
    }

    /// The channel of the purchase, if it has one.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        match &self.state {
            State::Channel(channel) => Some(*channel),
            State::Holding(held) => held.channel,
            State::Expired(channel) => *channel,
            State::Waiting | State::Paid { .. } | State::Abandoned | State::Gone => None,
        }
    }

    /// The next time at which a tick changes the purchase, with the reason; `None` while a payment is held.
    pub(crate) fn deadline(&self) -> Option<(Timestamp, Wake)> {
        match &self.state {
            State::Waiting | State::Channel(_) => Some((self.terms.open_until, Wake::PurchaseOver)),
            State::Paid { .. } | State::Expired(_) | State::Abandoned => {
                Some((self.terms.keep_until, Wake::PurchaseForgotten))
            }
            State::Holding(_) | State::Gone => None,
        }
    }
}

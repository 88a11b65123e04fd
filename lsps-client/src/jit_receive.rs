//! A payment through a channel that does not exist yet (LSPS2): one purchase, one flow.
//!
//! `menu -> choose -> buy -> prepare -> register -> channel -> judge -> claim | reject`. What comes before `register` is
//! pure functions of messages, and worth nothing yet: nobody has the invoice. From there on the purchase has a record.

use alloc::vec::Vec;
use lsps_types::{Blocks, Msat, PaymentHash, PeerId, Ppm, Preimage, Scid, Timestamp};
use serde::{Deserialize, Serialize};

use crate::effect::{AcceptTerms, ChannelKey, Effect};
use crate::wake::Wake;

mod arrival;
pub(crate) mod book;
mod choose;
mod invoice;
mod judge;
mod rules;
mod v1;

pub use arrival::{Arrival, Via};
pub use book::{Handled, OpenRequest, RefuseChannel, RefusePurchase};
pub use choose::{Choice, FeeLimits, NoOffer, Payment, Unfit, Want, choose};
pub use invoice::{CannotInvoice, InvoiceTerms, Prepared, RouteHint, Wish, prepare};
pub(crate) use judge::within_share;
pub use judge::{Expected, Fault, Part, Promised, Received, Verdict, enough_blocks_left, judge};
pub use rules::{AcceptTrust, Rules};

/// One purchase, known by the payment hash of its invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) lsp: PeerId,
    pub(crate) terms: Terms,
    pub(crate) state: State,
}

/// What was bought, as far as it matters after the purchase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The SCID in the invoice. The channel's own alias may be the same or another.
    pub scid: Scid,
    /// The amount of the invoice, if it names one.
    pub amount: Option<Msat>,
    /// What the LSP may keep, once.
    pub promised: Promised,
    /// The largest share the wallet lets it keep of a payment whose size the payer chooses.
    pub max_proportional_fee: Option<Ppm>,
    /// The least that has to be left of a payment when the fee was kept of it.
    pub least_net: Msat,
    /// When the LSP stops to take payments for it; the invoice expires no later.
    pub valid_until: Timestamp,
    /// When no channel is accepted for it any more: some time after its invoice ended.
    pub open_until: Timestamp,
    /// When its record goes.
    pub keep_until: Timestamp,
    /// Blocks after confirmation during which the LSP keeps the channel open.
    pub min_lifetime: Blocks,
    /// The most blocks we may ask for as `to_self_delay`.
    pub max_to_self_delay: Blocks,
    /// Whether the payment is to be claimed before the funding transaction is seen.
    pub client_trusts_lsp: bool,
    /// Confirmations to wait for before the payment is claimed.
    pub confirmations_to_wait: u16,
}

/// Where a purchase stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The invoice may be out; no channel of it lives.
    Waiting,
    /// A channel was accepted; nothing came through it yet.
    Channel(Channel),
    /// The payment is here, as promised, and waits until the funding of its channel is confirmed.
    Holding(Holding),
    /// The payment was claimed. Nothing may be kept of any other for this hash.
    Paid {
        /// What arrived.
        received: Msat,
        /// What the LSP kept.
        skimmed: Msat,
    },
    /// No channel is accepted any more. A payment already on its way is still held to the promise; the channel that stood
    /// for it is remembered, as the promise is worth nothing without one.
    Expired(Option<Channel>),
    /// Called off by the wallet. Nothing may be kept of a payment that comes all the same.
    Abandoned,
    /// To be deleted.
    Gone,
}

/// A channel that stands for a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The host's name for it.
    pub key: ChannelKey,
    /// How often its opening was asked for, from 1.
    pub attempt: u32,
    /// The strictest promise that was outstanding when it was accepted.
    pub max_to_self_delay: Blocks,
    /// Whether its funding is negotiated, so that the node will remember it.
    pub pending: bool,
}

impl From<crate::order::Channel> for Channel {
    fn from(ordered: crate::order::Channel) -> Self {
        let crate::order::Channel { key, attempt, pending, accept, .. } = ordered;
        Self { key, attempt, max_to_self_delay: accept.max_to_self_delay, pending }
    }
}

/// A payment that is here and not claimed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// What arrived.
    pub received: Msat,
    /// What the LSP kept.
    pub skimmed: Msat,
    /// Claims it; the node does not tell it twice. `None`: the application has it.
    pub preimage: Option<Preimage>,
    /// The channel of the purchase, if it has one.
    pub channel: Option<Channel>,
}

/// What happens to a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Its LSP asks to open this channel.
    OpenRequested { key: ChannelKey, max_to_self_delay: Blocks },
    /// The funding of a channel is negotiated.
    ChannelPending(ChannelKey),
    /// A channel could not be opened, or is closed.
    ChannelEnded(ChannelKey),
    /// The channel of this purchase was used for another one, whose own channel it gets in exchange, if there is one;
    /// or the purchase gets the channel that its payment came over.
    ChannelPassed(Option<Channel>),
    /// Its payment is here, as promised, and to be claimed later.
    Held { received: Msat, skimmed: Msat, preimage: Option<Preimage> },
    /// The payment that was held went back: there was no time left.
    GaveUp,
    /// Its payment was claimed.
    Claimed { received: Msat, skimmed: Msat },
    /// The wallet calls it off.
    Abandon,
    /// Time passed.
    Tick,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Recorded: the invoice may be handed out.
    Registered,
    /// A channel is to be accepted for it.
    ChannelAsked(Channel),
    /// Its channel is being funded.
    ChannelPending,
    /// Its channel is no more; another may come.
    ChannelEnded,
    /// Its channel was used for another purchase; it has this one now.
    ChannelPassed(Option<Channel>),
    /// Its payment is here and waits for confirmations.
    Held(Holding),
    /// The payment that was held went back.
    GaveUp,
    /// Its payment was claimed.
    Paid {
        /// What arrived.
        received: Msat,
        /// What the LSP kept.
        skimmed: Msat,
    },
    /// No payment came in time.
    Expired,
    /// Called off.
    Abandoned,
    /// Forgotten.
    Dropped,
}

/// Why a command means nothing to a purchase. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// It stands for no channel any more.
    NotOpen,
    /// It has a channel already.
    HasChannel,
    /// The channel is not its own.
    OtherChannel,
}

impl Purchase {
    pub(crate) fn new(prepared: &Prepared, payment_hash: PaymentHash) -> Self {
        Self { payment_hash, lsp: prepared.lsp, terms: prepared.terms.clone(), state: State::Waiting }
    }

    /// Reads only: what `command` means here, or why it means nothing.
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
            // The LSP repeats itself after a reconnect: the node has to be asked again.
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
            // The node repeats itself.
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
            // What is held ends with its HTLCs, which the node knows, and not with a clock that may have jumped: the record
            // has the preimage.
            (
                S::Waiting | S::Channel(_) | S::Holding(_) | S::Paid { .. } | S::Expired(_) | S::Abandoned | S::Gone,
                Command::Tick,
            ) => return Ok(Vec::new()),
        };
        Ok(Vec::from([event]))
    }

    /// Writes only: total, no clock. Nothing else assigns `self.state`.
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

    /// What the world still owes this purchase. Asked after every step and again after a restart.
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
            // It may go back, and come again.
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

    /// What a payment for it should be; `None` if it is to be judged as an ordinary one.
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

    /// The payment hash of its invoice.
    #[must_use]
    pub fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    /// From whom it was bought.
    #[must_use]
    pub fn lsp(&self) -> PeerId {
        self.lsp
    }

    /// What was bought.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether its payment is still to come, so that a channel may be opened or is open for it.
    #[must_use]
    pub fn is_unpaid(&self) -> bool {
        match &self.state {
            State::Waiting | State::Channel(_) => true,
            State::Holding(_) | State::Paid { .. } | State::Expired(_) | State::Abandoned | State::Gone => false,
        }
    }

    /// Whether a payment that comes now, as promised, can be held until its channels are confirmed.
    pub(crate) fn can_hold(&self) -> bool {
        match &self.state {
            State::Waiting | State::Channel(_) | State::Holding(_) | State::Expired(_) => true,
            State::Paid { .. } | State::Abandoned | State::Gone => false,
        }
    }

    /// Whether nothing is to come of it any more that its record would be needed for.
    pub(crate) fn is_over(&self) -> bool {
        match &self.state {
            State::Paid { .. } | State::Expired(_) | State::Abandoned | State::Gone => true,
            State::Waiting | State::Channel(_) | State::Holding(_) => false,
        }
    }

    fn has(&self, key: ChannelKey) -> Option<Channel> {
        self.channel().filter(|channel| channel.key == key)
    }

    /// The channel that stands for it, if there is one.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        match &self.state {
            State::Channel(channel) => Some(*channel),
            State::Holding(held) => held.channel,
            State::Expired(channel) => *channel,
            State::Waiting | State::Paid { .. } | State::Abandoned | State::Gone => None,
        }
    }

    /// When time alone changes it next. Nothing does while a payment is held.
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

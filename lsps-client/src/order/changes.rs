//! What happens to an order, and what becomes of it.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use lsps_types::Timestamp;
use lsps_types::lsps1::OrderState;

use super::said::{Said, WayState};
use super::{Channel, End, Event, Order, Paying, Payment, State, Trouble, Unpaid, WayKind};
use crate::effect::ChannelKey;

/// What happens to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The wallet chooses how to pay.
    Pay(WayKind),
    /// The wallet's transaction that pays it.
    Signed(Vec<u8>),
    /// Over Lightning the payment was taken.
    Settled,
    /// Nothing of the payment was sent, nor will be.
    NotSent,
    /// Over Lightning the payment failed or came back. The LSP is asked for so long whether it had it.
    Returned { ask_for: Duration },
    /// The LSP tells of it.
    Said(Said),
    /// The LSP tells of another, different in this field.
    Differs(String),
    /// The LSP does not know it.
    NotFound,
    /// A question had no answer, or none that means anything. Silence is noticed after so long.
    NoAnswer { silent_after: Duration },
    /// Its LSP asks to open this channel.
    OpenRequested(ChannelKey),
    /// The funding of its channel is negotiated.
    ChannelPending,
    /// Its channel could not be opened, or is closed.
    ChannelEnded,
    /// The wallet gives it up.
    Abandon,
    /// Time passed.
    Tick,
}

/// Why an input means nothing to an order. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// Another way was chosen before.
    OtherWay(WayKind),
    /// The order cannot be paid in this way.
    NoSuchWay,
    /// It is too late to begin with this payment.
    TooLate,
    /// It has a channel.
    HasChannel,
    /// It is in no state for that.
    NotExpected,
}

impl Order {
    /// Reads only: what `input` means here, or why it means nothing.
    pub(crate) fn decide(&self, input: &Input, now: Timestamp) -> Result<Vec<Event>, Reject> {
        use State as S;
        let event = match (&self.state, input) {
            (S::Quoted, Input::Pay(kind)) => {
                let way = self.way(*kind).ok_or(Reject::NoSuchWay)?;
                if now >= way.pay_by {
                    return Err(Reject::TooLate);
                }
                Event::Chosen(*kind)
            }
            (S::Paying(paying) | S::Refunding(paying), Input::Pay(kind)) if paying.way != *kind => {
                return Err(Reject::OtherWay(paying.way));
            }
            (S::Paying(_), Input::Pay(_)) => return Ok(Vec::new()),

            (S::Paying(paying), Input::Signed(tx)) => return self.signed(paying, tx, now),
            (S::Paying(paying) | S::Refunding(paying), Input::Settled) => match (paying.way, &paying.payment) {
                // Whatever it told before: this is proof.
                (WayKind::Bolt11 | WayKind::Bolt12, Payment::Asked | Payment::Returned { .. }) => Event::Settled,
                (WayKind::Bolt11 | WayKind::Bolt12, Payment::Settled) => return Ok(Vec::new()),
                (WayKind::Onchain, _) | (_, Payment::Signed(_)) => return Err(Reject::NotExpected),
            },
            (S::Paying(paying) | S::Refunding(paying), Input::NotSent | Input::Returned { .. }) => {
                match (&paying.payment, input) {
                    (Payment::Asked, _) if paying.held => self.ends(End::Refunded, now),
                    // An LSP may fail a payment that it held before it was ever asked.
                    (Payment::Asked, Input::Returned { ask_for }) if paying.way != WayKind::Onchain => {
                        Event::Returned { ask_until: now + *ask_for }
                    }
                    (Payment::Asked, _) => self.ends(End::Unpaid(Unpaid::NotSent), now),
                    (Payment::Returned { .. }, _) => return Ok(Vec::new()),
                    (Payment::Signed(_) | Payment::Settled, _) => return Err(Reject::NotExpected),
                }
            }
            // The node repeats itself.
            (S::Ended { .. }, Input::Settled | Input::NotSent | Input::Returned { .. }) => return Ok(Vec::new()),

            (S::Paying(_) | S::Refunding(_), Input::Said(said)) => return Ok(self.said(said, now)),
            (S::Paying(_) | S::Refunding(_), Input::Differs(field)) => {
                return Ok(self.troubled(Trouble::Differs { field: field.clone() }));
            }
            (S::Paying(paying) | S::Refunding(paying), Input::NotFound) if paying.is_returned() => {
                self.ends(End::Unpaid(Unpaid::NotSent), now)
            }
            (S::Paying(_) | S::Refunding(_), Input::NotFound) => return Ok(self.troubled(Trouble::Forgotten)),
            (S::Paying(_) | S::Refunding(_), Input::NoAnswer { silent_after }) => {
                return Ok(self.unanswered(*silent_after, now));
            }

            (S::Paying(paying), Input::OpenRequested(key)) => Event::ChannelAsked(match paying.channel {
                None => Channel { key: *key, attempt: 1, pending: false },
                // The LSP repeats itself after a reconnect: the node has to be asked again.
                Some(channel) if channel.key == *key && !channel.pending => {
                    Channel { attempt: channel.attempt.saturating_add(1), ..channel }
                }
                Some(_) => return Err(Reject::HasChannel),
            }),
            (S::Paying(paying) | S::Refunding(paying), Input::ChannelPending) => match paying.channel {
                Some(channel) if channel.pending => return Ok(Vec::new()),
                Some(_) => Event::ChannelPending,
                None => return Err(Reject::NotExpected),
            },
            (S::Paying(Paying { channel: Some(_), .. }), Input::ChannelEnded)
            | (S::Refunding(Paying { channel: Some(_), .. }), Input::ChannelEnded) => Event::ChannelEnded,

            (S::Quoted, Input::Abandon) => self.ends(End::Unpaid(Unpaid::Abandoned), now),
            (S::Paying(paying), Input::Abandon) if paying.is_unbegun() => {
                self.ends(End::Unpaid(Unpaid::Abandoned), now)
            }
            (S::Paying(paying) | S::Refunding(paying), Input::Abandon) if paying.is_returned() => {
                self.ends(End::Unpaid(Unpaid::NotSent), now)
            }
            (S::Paying(_), Input::Abandon) if self.trouble.is_some() => self.ends(End::GivenUp, now),
            (S::Refunding(_), Input::Abandon) => self.ends(End::GivenUp, now),

            (S::Paying(paying) | S::Refunding(paying), Input::Tick)
                if paying.asks_until().is_some_and(|end| now >= end) =>
            {
                self.ends(End::Unpaid(Unpaid::NotSent), now)
            }
            (S::Quoted | S::Paying(_), Input::Tick) if self.deadline().is_some_and(|end| now >= end) => {
                self.ends(End::Unpaid(Unpaid::Expired), now)
            }
            (S::Ended { keep_until, .. }, Input::Tick) if now >= *keep_until => Event::Dropped,
            (S::Quoted | S::Paying(_) | S::Refunding(_) | S::Ended { .. } | S::Gone, Input::Tick) => {
                return Ok(Vec::new());
            }

            (
                S::Quoted | S::Paying(_) | S::Refunding(_) | S::Ended { .. } | S::Gone,
                Input::Pay(_)
                | Input::Signed(_)
                | Input::Settled
                | Input::NotSent
                | Input::Returned { .. }
                | Input::Said(_)
                | Input::Differs(_)
                | Input::NotFound
                | Input::NoAnswer { .. }
                | Input::OpenRequested(_)
                | Input::ChannelPending
                | Input::ChannelEnded
                | Input::Abandon,
            ) => return Err(Reject::NotExpected),
        };
        Ok(Vec::from([event]))
    }

    /// Writes only: total, no clock. Nothing else assigns `self.state`.
    pub(crate) fn apply(&mut self, event: &Event) {
        let paying = match &mut self.state {
            State::Paying(paying) | State::Refunding(paying) => Some(paying),
            State::Quoted | State::Ended { .. } | State::Gone => None,
        };
        match (event, paying) {
            (Event::Placed, _) => self.state = State::Quoted,
            (Event::Chosen(way), _) => {
                let (way, payment) = (*way, Payment::Asked);
                self.state = State::Paying(Paying { way, payment, held: false, channel: None });
            }
            (Event::Signed(tx), Some(paying)) => paying.payment = Payment::Signed(tx.clone()),
            (Event::Settled, Some(paying)) => paying.payment = Payment::Settled,
            (Event::Returned { ask_until }, Some(paying)) => {
                paying.payment = Payment::Returned { ask_until: *ask_until };
            }
            (Event::Held, Some(paying)) => paying.held = true,
            (Event::ChannelAsked(channel), Some(paying)) => paying.channel = Some(*channel),
            (Event::ChannelPending, Some(paying)) => {
                paying.channel = paying.channel.map(|channel| Channel { pending: true, ..channel });
            }
            (Event::ChannelEnded, Some(paying)) => paying.channel = None,
            (Event::Refunding, Some(paying)) => self.state = State::Refunding(paying.clone()),
            (Event::Unanswered(since), _) => self.unanswered_since = Some(*since),
            (Event::Heard, _) => (self.trouble, self.unanswered_since) = (None, None),
            (Event::Troubled(trouble), _) => {
                let silent = matches!(trouble, Trouble::Silent { .. });
                self.unanswered_since = self.unanswered_since.filter(|_| silent);
                self.trouble = Some(trouble.clone());
            }
            (Event::Ended { end, keep_until }, _) => {
                (self.trouble, self.unanswered_since) = (None, None);
                self.state = State::Ended { end: end.clone(), keep_until: *keep_until };
            }
            (Event::Dropped, _) => self.state = State::Gone,
            (
                Event::Signed(_)
                | Event::Settled
                | Event::Returned { .. }
                | Event::Held
                | Event::ChannelAsked(_)
                | Event::ChannelPending
                | Event::ChannelEnded
                | Event::Refunding,
                None,
            ) => debug_assert!(false, "{event:?} cannot follow {:?}", self.state),
        }
    }

    fn signed(&self, paying: &Paying, tx: &[u8], now: Timestamp) -> Result<Vec<Event>, Reject> {
        match &paying.payment {
            Payment::Asked if paying.way != WayKind::Onchain => Err(Reject::NotExpected),
            Payment::Asked if self.way(paying.way).is_none_or(|way| now >= way.pay_by) => Err(Reject::TooLate),
            Payment::Asked => Ok(Vec::from([Event::Signed(tx.into())])),
            // Asked twice, it may have made two. The first is the one that counts.
            Payment::Signed(_) => Ok(Vec::new()),
            Payment::Settled | Payment::Returned { .. } => Err(Reject::NotExpected),
        }
    }

    /// What an answer about a chosen way means. Spec: LSPS1 §4, §5.
    fn said(&self, said: &Said, now: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        if self.trouble.is_some() || self.unanswered_since.is_some() {
            events.push(Event::Heard);
        }
        let Some(paying) = self.paying() else { return events };
        match (said.state, said.way, said.lease) {
            (OrderState::Completed, _, Some(lease)) => {
                events.push(self.ends(End::Done { lease, channel: paying.channel }, now));
            }
            // It is back, and only whether it had been there is open.
            (_, way, _) if paying.is_returned() => {
                let was_there = matches!(way, Some(WayState::Held | WayState::Paid | WayState::Refunded));
                let end = if was_there { End::Refunded } else { End::Unpaid(Unpaid::NotSent) };
                events.push(self.ends(end, now));
            }
            (OrderState::Failed, way, _) | (_, way @ Some(WayState::Refunded), _) => {
                events.extend(self.failing(paying, way, now));
            }
            (_, Some(WayState::Held | WayState::Paid), _) if !paying.held => events.push(Event::Held),
            (OrderState::Created | OrderState::Completed, _, _) => {}
        }
        events
    }

    /// There will be no channel. Whether the money is back is the node's to say; on-chain, the LSP's.
    fn failing(&self, paying: &Paying, way: Option<WayState>, now: Timestamp) -> Option<Event> {
        match (&paying.payment, way) {
            (Payment::Asked, _) if paying.is_unbegun() => Some(self.ends(End::Unpaid(Unpaid::Closed), now)),
            (Payment::Signed(_), Some(WayState::Refunded)) => Some(self.ends(End::Refunded, now)),
            (Payment::Asked | Payment::Signed(_) | Payment::Settled | Payment::Returned { .. }, _) => {
                self.awaits_channel().then_some(Event::Refunding)
            }
        }
    }

    fn troubled(&self, trouble: Trouble) -> Vec<Event> {
        if self.trouble.as_ref() == Some(&trouble) { Vec::new() } else { Vec::from([Event::Troubled(trouble)]) }
    }

    fn unanswered(&self, silent_after: Duration, now: Timestamp) -> Vec<Event> {
        match self.unanswered_since {
            None => Vec::from([Event::Unanswered(now)]),
            Some(since) if now >= since + silent_after => self.troubled(Trouble::Silent { since }),
            Some(_) => Vec::new(),
        }
    }

    fn ends(&self, end: End, now: Timestamp) -> Event {
        let forget_at = now + Duration::from_millis(self.keep_millis);
        let keep_until = match &end {
            End::Done { lease, .. } => forget_at.max(lease.until),
            End::Refunded | End::Unpaid(_) | End::GivenUp => forget_at,
        };
        Event::Ended { end, keep_until }
    }
}

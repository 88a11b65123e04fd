//! When to ask an LSP about an order. Nothing of it is on record: after a start each is asked about at once.

use core::time::Duration;

use lsps_types::lsps1::GetOrder;
use lsps_types::{ClockShift, Timestamp};

use crate::pending::Ticket;

/// How often the LSP is asked about an order that is being paid.
///
/// It depends on what happened, never on what the LSP announced. Spec: LSPS1 §4.3 (the client does not rely on it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// After news.
    pub first: Duration,
    /// The pause doubles without news, up to this.
    pub longest: Duration,
    /// While it does not go on: after a failure or in trouble.
    pub slow: Duration,
    /// An LSP that has not answered for so long is silent, which is told.
    pub silent_after: Duration,
    /// For so long it is asked about a payment that came back: whether it had it, or it never got there.
    pub after_return: Duration,
    /// Within this time our own node has to see what the LSP says (an open channel, the claim of a payment); else it
    /// counts as a lie.
    pub seen_within: Duration,
    /// On-chain, a refund has to be made within this once the order failed.
    pub refund_within: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            first: minute / 30,
            longest: minute * 5,
            slow: minute * 60,
            silent_after: minute * 60 * 6,
            after_return: minute * 5,
            seen_within: minute * 2,
            refund_within: minute * 60 * 24,
        }
    }
}

/// The questions about one order.
#[derive(Debug)]
pub(super) struct Poll {
    pub next: Timestamp,
    /// The most that may be left until then.
    wait: Duration,
    pause: Duration,
    pub asked: Option<Ticket<GetOrder>>,
    /// The open question was asked before what its answer is to tell.
    pub is_stale: bool,
}

impl Poll {
    /// To be asked at once.
    pub fn at_once(polling: &Polling) -> Self {
        let (next, wait) = Default::default();
        Self { next, wait, pause: polling.first, asked: None, is_stale: false }
    }

    /// To be asked at once, whatever the answer to an open question is.
    pub fn anew(&mut self, polling: &Polling) {
        (self.pause, self.next, self.is_stale) = (polling.first, Timestamp::default(), self.asked.is_some());
    }

    /// There is news of the order itself.
    pub fn news(&mut self, polling: &Polling, now: Timestamp) {
        self.pause = polling.first;
        self.waits(polling.first, now);
    }

    /// There is none: a step slower.
    pub fn slower(&mut self, polling: &Polling, stuck: bool, now: Timestamp) {
        self.waits(if stuck { polling.slow } else { self.pause }, now);
        self.pause = (self.pause * 2).min(polling.longest);
    }

    /// The clock was set.
    pub fn clock_set(&mut self, shift: &ClockShift) {
        self.next = shift.end(self.next, self.wait);
    }

    fn waits(&mut self, wait: Duration, now: Timestamp) {
        (self.wait, self.next) = (wait, now + wait);
    }
}

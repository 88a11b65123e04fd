//! Intervals at which an LSP is asked about an order. They are not on record: after a start each order is asked about
//! at once.

use core::time::Duration;

use lsps_types::lsps1::GetOrder;
use lsps_types::{ClockShift, Timestamp};

use crate::pending::Ticket;

/// Intervals at which an LSP is asked about an order that is being paid.
///
/// The intervals depend on events, never on the LSP's announcements. Spec: LSPS1 §4.3 (the client does not rely on it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// Interval after a change.
    pub first: Duration,
    /// Longest interval; without changes the interval doubles up to this.
    pub longest: Duration,
    /// Interval for an order that has failed or is in trouble.
    pub slow: Duration,
    /// Time without an answer after which an LSP counts as silent, which is reported as a trouble.
    pub silent_after: Duration,
    /// Time for which the LSP is asked about a payment that came back: whether the LSP had it, or it never arrived.
    pub after_return: Duration,
    /// Time within which the wallet's node has to see what the LSP reports (an open channel, the claim of a payment);
    /// after that the report counts as false.
    pub seen_within: Duration,
    /// Time within which an on-chain refund has to be made once the order failed.
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

/// Poll state of one order.
#[derive(Debug)]
pub(super) struct Poll {
    pub next: Timestamp,
    /// Longest time that may be left until `next`.
    wait: Duration,
    pause: Duration,
    pub asked: Option<Ticket<GetOrder>>,
    /// Whether the open request was sent before the event that its answer should reflect.
    pub is_stale: bool,
}

impl Poll {
    /// A poll that is due at once.
    pub fn at_once(polling: &Polling) -> Self {
        let (next, wait) = Default::default();
        Self { next, wait, pause: polling.first, asked: None, is_stale: false }
    }

    /// Makes the poll due at once, even if a request is open.
    pub fn anew(&mut self, polling: &Polling) {
        (self.pause, self.next, self.is_stale) = (polling.first, Timestamp::default(), self.asked.is_some());
    }

    /// Schedules the next request after a change of the order.
    pub fn news(&mut self, polling: &Polling, now: Timestamp) {
        self.pause = polling.first;
        self.waits(polling.first, now);
    }

    /// Schedules the next request after an answer without a change: one step later than before.
    pub fn slower(&mut self, polling: &Polling, stuck: bool, now: Timestamp) {
        self.waits(if stuck { polling.slow } else { self.pause }, now);
        self.pause = (self.pause * 2).min(polling.longest);
    }

    /// Shifts the next request after the clock was set.
    pub fn clock_set(&mut self, shift: &ClockShift) {
        self.next = shift.end(self.next, self.wait);
    }

    fn waits(&mut self, wait: Duration, now: Timestamp) {
        (self.wait, self.next) = (wait, now + wait);
    }
}

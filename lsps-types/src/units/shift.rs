//! Clocks that are set.
#![expect(clippy::arithmetic_side_effects, reason = "an instant and a wait end at the end of time")]

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// How instants that were read from a clock change when that is set, or was while nobody watched. Dates do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockShift {
    /// The time that the clock would show if it had not been set.
    pub from: Timestamp,
    /// The time that it shows.
    pub to: Timestamp,
    /// Now: no instant of the past is later, and no wait ends later than a whole one from here.
    pub now: Timestamp,
}

impl ClockShift {
    /// A clock that was ahead, nobody knows by how much.
    #[must_use]
    pub const fn unknown(now: Timestamp) -> Self {
        Self { from: now, to: now, now }
    }

    /// When something happened. Never ahead of the clock, whatever it was read from.
    #[must_use]
    pub fn past(&self, at: Timestamp) -> Timestamp {
        self.shifted(at).min(self.now)
    }

    /// When a wait ends. Never later than a whole one from now.
    #[must_use]
    pub fn end(&self, at: Timestamp, wait: Duration) -> Timestamp {
        self.shifted(at).min(self.now + wait)
    }

    fn shifted(&self, at: Timestamp) -> Timestamp {
        let ahead = at + self.to.since(self.from);
        let back = u64::try_from(self.from.since(self.to).as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_unix_millis(ahead.unix_millis().saturating_sub(back))
    }
}

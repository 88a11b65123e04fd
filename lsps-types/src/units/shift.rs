//! Corrections for a clock that was set.
#![expect(clippy::arithmetic_side_effects, reason = "an instant and a wait end at the end of time")]

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Correction of instants that were read from a clock which was set, or changed while the process did not run. Dates do
/// not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockShift {
    /// Time that the clock would show if it had not been set.
    pub from: Timestamp,
    /// Time that the clock shows.
    pub to: Timestamp,
    /// Present time: no past event is later, and no wait ends later than its whole duration from here.
    pub now: Timestamp,
}

impl ClockShift {
    /// Shift for a clock that was ahead by an unknown amount.
    #[must_use]
    pub const fn unknown(now: Timestamp) -> Self {
        Self { from: now, to: now, now }
    }

    /// Shifts the time of a past event. The result is never after the present.
    #[must_use]
    pub fn past(&self, at: Timestamp) -> Timestamp {
        self.shifted(at).min(self.now)
    }

    /// Shifts the end of a wait. The result is never later than the whole `wait` from the present.
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

//! Corrections after the host's clock was set. Dates stay; waits keep their length.

use lsps_types::{ClockShift, Timestamp};

use crate::client::Client;
use crate::outcome::Outcome;

impl Client {
    pub(crate) fn hears_of_clock(&mut self, from: Timestamp, to: Timestamp) -> Outcome {
        self.ticked_at = to;
        self.shift_waits(&ClockShift { from, to, now: to });
        Outcome::Taken
    }

    /// Reads the clock. A clock that fell back without [`Input::ClockSet`](crate::Input::ClockSet) was ahead before,
    /// and so may have been the one by which records were written.
    pub(crate) fn read_clock(&mut self, now: Timestamp) {
        let before = core::mem::replace(&mut self.ticked_at, now);
        let was_loaded = core::mem::take(&mut self.was_loaded);
        if was_loaded || before.since(now) > JITTER {
            self.shift_waits(&ClockShift::unknown(now));
        }
    }

    fn shift_waits(&mut self, shift: &ClockShift) {
        self.pending.clock_set(shift);
        self.orders.clock_set(shift, &self.config.polling, &mut self.out);
        self.webhooks.clock_set(shift);
    }
}

/// Largest step back of a clock that was not set.
const JITTER: core::time::Duration = core::time::Duration::from_secs(5);

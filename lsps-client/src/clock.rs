//! The host's clock may be set. Dates are dates, but waits go on: an answer that may take a minute takes about as long.

use lsps_types::{ClockShift, Timestamp};

use crate::client::Client;

impl Client {
    /// The host's clock was set, forward or back, by more than some seconds: it shows `to`, and would show `from`, by a clock
    /// that cannot be set. Waits are no shorter and no longer for it: those for answers, the pauses between questions, how
    /// long an LSP may be silent. Dates come earlier or later: the ends of offers, invoices and orders. To be told before
    /// anything else is told by the new time; a `session::Session` with a steady clock does so.
    ///
    /// Without it, a clock set back makes waits up to twice as long, and one set forward ends them early.
    pub fn clock_set(&mut self, from: Timestamp, to: Timestamp) {
        self.ticked_at = to;
        self.shift_waits(&ClockShift { from, to, now: to });
    }

    /// A clock that fell behind without a word was ahead, and so was perhaps the one that records were written by.
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

/// How far a clock may fall back without having been set.
const JITTER: core::time::Duration = core::time::Duration::from_secs(5);

//! How often a client that stays away is told the same.

use alloc::{collections::BTreeMap, string::String};
use core::time::Duration;

use lsps_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Shift;

/// What a client was told lately, by method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cooldown(BTreeMap<String, Streak>);

/// The same method, without a whole cooldown between one time and the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Streak {
    /// When the cooldown of the last time ends.
    until: Timestamp,
    times: usize,
    /// The client came since: it heard, and may be called once more.
    came: bool,
}

impl Cooldown {
    /// Whether a client that is away may be told this now. One that comes and goes ends a cooldown, though only `most` times
    /// in one streak, so that whoever makes it come and go cannot have it called without end.
    pub fn is_over(&self, method: &str, now: Timestamp, most: usize) -> bool {
        let may_go_on = |streak: &Streak| now >= streak.until || (streak.came && streak.times < most);
        self.0.get(method).is_none_or(may_go_on)
    }

    /// It is told now, and the cooldown ends at `until`. What ended before is forgotten.
    pub fn begin(&mut self, method: String, now: Timestamp, until: Timestamp) {
        self.0.retain(|_, streak| now < streak.until);
        let times = self.0.get(&method).map_or(0, |streak| streak.times);
        self.0.insert(method, Streak { until, times: times.saturating_add(1), came: false });
    }

    /// Whether the client's coming would change something.
    pub fn waits_for_client(&self) -> bool {
        self.0.values().any(|streak| !streak.came)
    }

    /// The clock was set; no cooldown is longer than that.
    pub fn clock_set(&mut self, shift: &Shift, cooldown: Duration) {
        self.0.values_mut().for_each(|streak| streak.until = shift.end(streak.until, cooldown));
    }

    pub fn client_came(&mut self) {
        self.0.values_mut().for_each(|streak| streak.came = true);
    }
}

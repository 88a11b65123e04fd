//! How often a client that stays away is told the same.

use alloc::{collections::BTreeMap, string::String};
use core::time::Duration;

use lsps_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Shift;

/// What a client was told lately, by method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cooldown(pub BTreeMap<String, Streak>);

/// The same method, without a whole cooldown between one time and the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Streak {
    /// When the cooldown of the last time ends.
    pub until: Timestamp,
    pub times: usize,
    /// The client came since: it heard, and may be called once more.
    pub came: bool,
    /// The last time reached nobody: it may be told again from then on.
    pub again_at: Option<Timestamp>,
}

impl Cooldown {
    /// Whether a client that is away may be told this now. One that comes and goes ends a cooldown, and so does a
    /// notification that reached nobody, though only `most` times in one streak: whoever causes them cannot have the client
    /// called without end.
    pub fn is_over(&self, method: &str, now: Timestamp, most: usize) -> bool {
        let ended_early = |streak: &Streak| streak.came || streak.again_at.is_some_and(|at| now >= at);
        let may_go_on = |streak: &Streak| now >= streak.until || (ended_early(streak) && streak.times < most);
        self.0.get(method).is_none_or(may_go_on)
    }

    /// It is told now, and the cooldown ends at `until`. What ended before is forgotten.
    pub fn begin(&mut self, method: String, now: Timestamp, until: Timestamp) {
        self.0.retain(|_, streak| now < streak.until);
        let times = self.0.get(&method).map_or(0, |streak| streak.times);
        self.0.insert(method, Streak { until, times: times.saturating_add(1), came: false, again_at: None });
    }

    /// The notification reached nobody, so the cooldown ends sooner.
    pub fn shorten(&mut self, method: &str, again_at: Timestamp) {
        if let Some(streak) = self.0.get_mut(method) {
            streak.again_at = Some(again_at);
        }
    }

    /// Whether the client's coming would change something.
    pub fn waits_for_client(&self) -> bool {
        self.0.values().any(|streak| !streak.came)
    }

    /// The clock was set; no cooldown is longer than that.
    pub fn clock_set(&mut self, shift: &Shift, cooldown: Duration) {
        for streak in self.0.values_mut() {
            streak.until = shift.end(streak.until, cooldown);
            streak.again_at = streak.again_at.map(|at| shift.end(at, cooldown));
        }
    }

    pub fn client_came(&mut self) {
        self.0.values_mut().for_each(|streak| streak.came = true);
    }
}

//! Limits on how often an absent client is notified of the same.

use alloc::{collections::BTreeMap, string::String};
use core::time::Duration;

use lsps_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Shift;

/// The recent notifications of a client, by method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cooldown(pub BTreeMap<String, Streak>);

/// A series of notifications of one method without a whole cooldown between any two of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Streak {
    /// Time at which the cooldown of the last notification ends.
    pub until: Timestamp,
    pub times: usize,
    /// Whether the client connected since; then it may be notified once more.
    pub came: bool,
    /// Time from which the last notification may be repeated, since no webhook could be reached.
    pub again_at: Option<Timestamp>,
}

impl Cooldown {
    /// Whether an absent client may be notified of this now. A cooldown ends early if the client connected since, or if
    /// the notification reached no webhook, but at most `most` times in one series. So nobody can have a client
    /// notified without end.
    pub fn is_over(&self, method: &str, now: Timestamp, most: usize) -> bool {
        let ended_early = |streak: &Streak| streak.came || streak.again_at.is_some_and(|at| now >= at);
        let may_go_on = |streak: &Streak| now >= streak.until || (ended_early(streak) && streak.times < most);
        self.0.get(method).is_none_or(may_go_on)
    }

    /// Starts a cooldown for a notification, until `until`, and drops those that have ended.
    pub fn begin(&mut self, method: String, now: Timestamp, until: Timestamp) {
        self.0.retain(|_, streak| now < streak.until);
        let times = self.0.get(&method).map_or(0, |streak| streak.times);
        self.0.insert(method, Streak { until, times: times.saturating_add(1), came: false, again_at: None });
    }

    /// Ends the cooldown sooner, since the notification reached no webhook.
    pub fn shorten(&mut self, method: &str, again_at: Timestamp) {
        if let Some(streak) = self.0.get_mut(method) {
            streak.again_at = Some(again_at);
        }
    }

    /// Whether a connection of the client would change a cooldown.
    pub fn waits_for_client(&self) -> bool {
        self.0.values().any(|streak| !streak.came)
    }

    /// Shifts the cooldowns after the clock was set; none becomes longer than `cooldown`.
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

//! Webhooks of the clients in a world, each of which answers in its own way.

use std::collections::{BTreeMap, BTreeSet};

use lsps_host::ports::{Post, PostResult};
use lsps_types::lsps5::{AppName, Notification};
use lsps_types::{PeerId, Timestamp};

use super::Model;

/// State of the webhooks.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Webhooks whose clients were told that they are registered.
    pub set: BTreeMap<PeerId, BTreeMap<AppName, String>>,
    /// Webhooks that received the confirmation of their registration.
    announced: BTreeSet<(PeerId, String)>,
    /// Times of the calls, by client and method.
    calls: BTreeMap<(PeerId, String), BTreeSet<Timestamp>>,
}

impl Model {
    /// Checks a notification before it is posted, and returns its result. `None`: no answer ever arrives.
    pub(super) fn posts(&mut self, post: &Post) -> Option<PostResult> {
        let (client, url, body, raised) = (post.key.client, post.url.as_str(), &post.body, post.timestamp.instant());
        let hook = (client, url.to_string());
        if Notification::parse(body.as_bytes()) == Ok(Notification::WebhookRegistered) {
            self.hooks.announced.insert(hook);
        } else {
            assert!(self.is_late || !self.links.contains_key(&client), "{client} is there and is called");
            assert!(self.hooks.announced.contains(&hook), "{url} hears {body} before it was told of its registration");
            let calls = self.hooks.calls.entry((client, body.split('"').nth(7).expect("a method").into())).or_default();
            calls.insert(raised);
            let lately = calls.range(raised..).count().max(1);
            assert!(lately == 1 || self.clock_was_set, "posts of the past come up: {calls:?}");
            let config = &self.setup.config;
            let cooling = calls.iter().filter(|at| **at + config.webhooks.cooldown > raised).count();
            let may_be = cooling <= config.limits.calls_per_cooldown || self.clock_was_set;
            assert!(may_be, "{client} is called too often: {calls:?}");
        }
        match ANSWERS.iter().position(|answer| url.contains(answer)) {
            Some(0) => Some(PostResult::Delivered),
            Some(1) => Some(PostResult::Refused),
            // The server is unreachable, or no answer ever arrives.
            Some(2) if post.key.number.is_multiple_of(2) => Some(PostResult::Unreached),
            _ => None,
        }
    }
}

/// Answers of the webhooks of each app: 200, another status, none.
pub const ANSWERS: [&str; 3] = ["good", "bad", "silent"];

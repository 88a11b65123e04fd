//! Webhook records of version 1, which lack notifications that are raised again, and whether the client is a customer.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{PeerId, Timestamp};
use serde::Deserialize;

use crate::lsps5::cooldown::{self, Cooldown};
use crate::lsps5::webhooks::{self, Changes};

#[derive(Deserialize)]
pub(super) struct Webhooks {
    client: PeerId,
    hooks: BTreeMap<AppName, Hook>,
    cooldown: BTreeMap<String, Streak>,
    has_channel: bool,
    since: Timestamp,
    changes: Changes,
    posted: u32,
}

#[derive(Deserialize)]
struct Streak {
    until: Timestamp,
    times: usize,
    came: bool,
}

#[derive(Deserialize)]
struct Hook {
    url: WebhookUrl,
    posts: Vec<Post>,
}

#[derive(Deserialize)]
struct Post {
    number: u32,
    body: String,
    at: Timestamp,
    until: Timestamp,
    is_first: bool,
}

impl From<Webhooks> for webhooks::Webhooks {
    fn from(old: Webhooks) -> Self {
        let Webhooks { client, hooks, cooldown, has_channel, since, changes, posted } = old;
        let streak = |Streak { until, times, came }| cooldown::Streak { until, times, came, again_at: None };
        let cooldown = Cooldown(cooldown.into_iter().map(|(method, old)| (method, streak(old))).collect());
        let hooks = hooks.into_iter().map(|(name, hook)| (name, hook.into())).collect();
        // Version 1 did not record who had a channel, so no record is removed sooner than was promised.
        let is_customer = true;
        Self { client, hooks, cooldown, calls: BTreeMap::new(), has_channel, is_customer, since, changes, posted }
    }
}

impl From<Hook> for webhooks::Hook {
    fn from(Hook { url, posts }: Hook) -> Self {
        Self { url, posts: posts.into_iter().map(webhooks::Post::from).collect() }
    }
}

impl From<Post> for webhooks::Post {
    fn from(Post { number, body, at, until, is_first }: Post) -> Self {
        Self { number, body, at, until, is_first, method: None }
    }
}

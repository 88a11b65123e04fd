//! The webhooks of one client, from the first it registers to the day it is forgotten.
//!
//! What is to be posted is part of the state, so it outlives a crash, though for no longer than
//! [`post_within`](crate::WebhookConfig::post_within). A post whose answer was lost is asked for again and its receiver sees
//! it twice.

use alloc::{collections::BTreeMap, string::String, vec, vec::Vec};
use core::time::Duration;

use lsps_types::lsps5::{AppName, Notification, WebhookUrl};
use lsps_types::{DateTime, PeerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Shift;
use crate::config::{Config, WebhookConfig};
use crate::effect::{Effect, PostKey};
use crate::flow::{Context, Flow, Link, Reject};
use crate::lsps5::cooldown::Cooldown;
use crate::lsps5::occasion::Occasion;
use crate::wake::Wake;

/// All that one client registered, and what is being posted there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Webhooks {
    pub client: PeerId,
    hooks: BTreeMap<AppName, Hook>,
    cooldown: Cooldown,
    /// Whether the node has a channel with the client; then nothing is forgotten.
    pub has_channel: bool,
    /// When the client last registered, or lost its last channel.
    since: Timestamp,
    changes: Changes,
    /// Posts so far: the number of the next one.
    posted: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hook {
    url: WebhookUrl,
    /// In the order in which they were raised.
    posts: Vec<Post>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Post {
    number: u32,
    body: String,
    at: Timestamp,
    /// Not posted any more from then on.
    until: Timestamp,
    /// It tells the webhook that it was registered, and goes before all others.
    is_first: bool,
}

/// Changes within an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Changes {
    until: Timestamp,
    count: usize,
}

/// What an input means to one client's webhooks.
#[derive(Debug)]
pub(crate) enum Told<'a> {
    /// It may: that is checked.
    Set {
        name: AppName,
        url: WebhookUrl,
    },
    Remove {
        name: AppName,
    },
    Occasion(&'a Occasion),
    /// Delivered or given up, which is the same to us.
    PostOver(u32),
    Connected,
    /// Whether there is any.
    Channels(bool),
    ClockSet(Shift),
    /// Time passed.
    Surroundings,
}

/// One change of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Set {
        name: AppName,
        url: WebhookUrl,
        at: Timestamp,
        until: Timestamp,
    },
    Renewed(Timestamp),
    Removed(AppName),
    Raised {
        method: String,
        body: String,
        at: Timestamp,
        until: Timestamp,
        cool_at: Timestamp,
    },
    PostOver(u32),
    ClientCame,
    Channels {
        any: bool,
        at: Timestamp,
    },
    Lapsed,
    /// And how long a post and a cooldown take at the most.
    ClockSet {
        shift: Shift,
        post: Duration,
        cool: Duration,
    },
}

impl Flow for Webhooks {
    type Told<'a> = Told<'a>;
    type Event = Event;

    fn decide(&self, told: &Told<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        let (at, config) = (ctx.now, &ctx.config.webhooks);
        Ok(match told {
            Told::Set { name, url } if self.url(name) == Some(url) => vec![Event::Renewed(at)],
            Told::Set { name, url } => {
                let until = at + config.post_within;
                vec![Event::Set { name: name.clone(), url: url.clone(), at, until }]
            }
            Told::Remove { name } => vec![Event::Removed(name.clone())],
            Told::Occasion(occasion) if self.may_be_called(occasion, ctx) => vec![Event::Raised {
                method: occasion.method().into(),
                body: occasion.body(),
                at,
                until: at + config.post_within,
                cool_at: at + config.cooldown,
            }],
            Told::PostOver(number) if self.posts().any(|(_, post)| post.number == *number) => {
                vec![Event::PostOver(*number)]
            }
            Told::PostOver(_) => return Err(Reject::Stale),
            Told::Connected if self.cooldown.waits_for_client() || self.posts().any(|(_, post)| !post.is_first) => {
                vec![Event::ClientCame]
            }
            Told::Channels(any) if *any != self.has_channel => vec![Event::Channels { any: *any, at }],
            Told::ClockSet(shift) if self.is_shifted_by(shift, config) => {
                vec![Event::ClockSet { shift: *shift, post: config.post_within, cool: config.cooldown }]
            }
            Told::Occasion(_) | Told::Connected | Told::Channels(_) | Told::ClockSet(_) | Told::Surroundings => vec![],
        })
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Set { name, url, at, until } => {
                let body = Notification::WebhookRegistered.body().unwrap_or_default();
                let first = Post { number: self.posted, body, at, until, is_first: true };
                self.posted = self.posted.wrapping_add(1);
                // What was to go to the URL before is of no use any more.
                self.hooks.insert(name, Hook { url, posts: vec![first] });
                self.since = at;
                self.changes = self.changes.with_one(at);
            }
            Event::Renewed(at) => self.since = at,
            Event::Removed(name) => drop(self.hooks.remove(&name)),
            Event::Raised { method, body, at, until, cool_at } => {
                for hook in self.hooks.values_mut() {
                    hook.posts.push(Post { number: self.posted, body: body.clone(), at, until, is_first: false });
                    self.posted = self.posted.wrapping_add(1);
                }
                self.cooldown.begin(method, at, cool_at);
            }
            Event::PostOver(number) => {
                self.hooks.values_mut().for_each(|hook| hook.posts.retain(|post| post.number != number));
            }
            Event::ClientCame => {
                self.hooks.values_mut().for_each(|hook| hook.posts.retain(|post| post.is_first));
                self.cooldown.client_came();
            }
            Event::Channels { any, at } => {
                self.has_channel = any;
                if !any {
                    self.since = at;
                }
            }
            Event::Lapsed => self.hooks.clear(),
            Event::ClockSet { shift, post, cool } => self.clock_set(&shift, post, cool),
        }
    }

    fn follow(&self, ctx: &Context<'_>) -> Vec<Event> {
        if self.lapses_at(ctx.config).is_some_and(|at| ctx.now >= at) {
            return vec![Event::Lapsed];
        }
        let overdue = self.posts().filter(|(_, post)| ctx.now >= post.until);
        overdue.map(|(_, post)| Event::PostOver(post.number)).collect()
    }

    /// Nothing else goes to a webhook before it was told that it is registered, or could not be told in time.
    fn outstanding(&self) -> Vec<Effect> {
        let next = |hook: &Hook| hook.posts.iter().position(|post| !post.is_first).unwrap_or(hook.posts.len());
        let waits_for_first = |hook: &Hook, post: &Post| next(hook) > 0 && !post.is_first;
        let due = self.posts().filter(|(hook, post)| !waits_for_first(hook, post));
        due.map(|(hook, post)| Effect::PostWebhook {
            key: PostKey { client: self.client, number: post.number },
            url: hook.url.clone(),
            body: post.body.clone(),
            timestamp: DateTime::from(post.at),
            until: post.until,
        })
        .collect()
    }
}

impl Webhooks {
    /// Without any yet.
    pub fn new(client: PeerId, has_channel: bool) -> Self {
        let (hooks, cooldown, since, changes) = Default::default();
        Self { client, hooks, cooldown, has_channel, since, changes, posted: 0 }
    }

    /// Whether something on record was read from a clock that this changes.
    pub fn is_shifted_by(&self, shift: &Shift, config: &WebhookConfig) -> bool {
        let mut shifted = self.clone();
        shifted.clock_set(shift, config.post_within, config.cooldown);
        shifted != *self
    }

    fn clock_set(&mut self, shift: &Shift, post: Duration, cool: Duration) {
        for waiting in self.hooks.values_mut().flat_map(|hook| &mut hook.posts) {
            (waiting.at, waiting.until) = (shift.past(waiting.at), shift.end(waiting.until, post));
        }
        self.cooldown.clock_set(shift, cool);
        self.since = shift.past(self.since);
        self.changes.until = shift.end(self.changes.until, HOUR);
    }

    pub fn len(&self) -> usize {
        self.hooks.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &AppName> {
        self.hooks.keys()
    }

    pub fn url(&self, name: &AppName) -> Option<&WebhookUrl> {
        self.hooks.get(name).map(|hook| &hook.url)
    }

    /// How many there were within an hour.
    pub fn changes(&self, now: Timestamp) -> usize {
        if now < self.changes.until { self.changes.count } else { 0 }
    }

    /// The next instant at which [`follow`](Flow::follow) may have something to say or the record may go, and why.
    pub fn next_wake(&self, config: &Config) -> Option<(Timestamp, Wake)> {
        let overdue = self.posts().map(|(_, post)| (post.until, Wake::PostOverdue)).min();
        let lapse = self.lapses_at(config).map(|at| (at, Wake::WebhooksLapse));
        let over = self.hooks.is_empty().then_some((self.changes.until, Wake::WebhooksOver));
        [overdue, lapse, over].into_iter().flatten().min()
    }

    /// Whether nothing depends on the record any more. A client does not get new changes by removing all it has.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.hooks.is_empty() && now >= self.changes.until
    }

    fn may_be_called(&self, occasion: &Occasion, ctx: &Context<'_>) -> bool {
        let limits = &ctx.config.limits;
        let has_room = |hook: &Hook| hook.posts.len() < limits.posts_per_webhook;
        ctx.config.webhooks.serve
            && ctx.link == Link::Away
            && occasion.is_due(ctx.facts.height)
            && !self.hooks.is_empty()
            && self.hooks.values().all(has_room)
            && self.cooldown.is_over(occasion.method(), ctx.now, limits.calls_per_cooldown)
    }

    /// When those of a client without channels are forgotten.
    fn lapses_at(&self, config: &Config) -> Option<Timestamp> {
        let may_lapse = !self.has_channel && !self.hooks.is_empty();
        may_lapse.then(|| self.since + config.webhooks.keep)
    }

    fn posts(&self) -> impl Iterator<Item = (&Hook, &Post)> {
        self.hooks.values().flat_map(|hook| hook.posts.iter().map(move |post| (hook, post)))
    }
}

impl Changes {
    fn with_one(self, at: Timestamp) -> Self {
        if at < self.until {
            Self { count: self.count.saturating_add(1), ..self }
        } else {
            Self { until: at + HOUR, count: 1 }
        }
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

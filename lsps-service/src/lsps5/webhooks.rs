//! The webhooks of one client, from its first registration until its record is removed.
//!
//! Notifications to be posted are part of the state, so they outlive a crash, though for no longer than
//! [`post_within`](crate::WebhookConfig::post_within). A post whose answer was lost is repeated, and its receiver sees
//! it twice.

use alloc::{collections::BTreeMap, string::String, vec, vec::Vec};
use core::time::Duration;

use lsps_flow::Flow;
use lsps_types::lsps5::{AppName, Notification, WebhookUrl};
use lsps_types::{BlockHeight, DateTime, PeerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Shift;
use crate::config::{Config, WebhookConfig};
use crate::effect::{Effect, PostKey, Urgency};
use crate::flow::{Context, Link, Reject};
use crate::lsps5::cooldown::Cooldown;
use crate::lsps5::wake_reason::WakeReason;
use crate::wake::Wake;

/// The registrations of one client, and the notifications that are being posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Webhooks {
    pub client: PeerId,
    pub hooks: BTreeMap<AppName, Hook>,
    pub cooldown: Cooldown,
    /// Notifications, by method, whose outcome is open or that reached no webhook.
    pub calls: BTreeMap<String, RaisedCall>,
    /// Whether the node has a channel with the client; as long as it has, the record is kept.
    pub has_channel: bool,
    /// Whether the client ever had or paid for a channel. Other clients have a lower limit, and their records are
    /// removed sooner.
    pub is_customer: bool,
    /// Time at which the client last registered, or lost its last channel.
    pub since: Timestamp,
    pub changes: Changes,
    /// Number of posts so far, which is the number of the next one.
    pub posted: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hook {
    pub url: WebhookUrl,
    /// Posts in the order in which they were raised.
    pub posts: Vec<Post>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Post {
    pub number: u32,
    pub body: String,
    pub at: Timestamp,
    /// Time from which the post is dropped.
    pub until: Timestamp,
    /// Whether the post confirms the registration to the webhook; such a post goes before all others.
    pub is_first: bool,
    /// Method of the notification that the post belongs to.
    pub method: Option<String>,
}

/// A notification that was raised for all webhooks of the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaisedCall {
    body: String,
    /// Time at which the reason for the notification ends.
    until: Timestamp,
    tries: u32,
    /// Whether some webhook answered.
    is_heard: bool,
    /// Time at which the notification is raised again, since no webhook could be reached.
    again_at: Option<Timestamp>,
}

/// Number of changes within an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    until: Timestamp,
    count: usize,
}

/// Command to the webhooks of one client.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    /// Register a webhook; the request has been checked.
    Set {
        name: AppName,
        url: WebhookUrl,
        /// Whether the client has a channel or paid for one.
        is_customer: bool,
    },
    Remove {
        name: AppName,
    },
    WakeUp(&'a WakeReason),
    /// A post has ended; `is_heard` says whether the webhook's server answered, with any status.
    PostOver {
        number: u32,
        is_heard: bool,
    },
    Connected,
    /// Whether the node has a channel with the client.
    Channels(bool),
    ClockSet(Shift),
    /// The time or another shared fact changed.
    Environment,
}

/// State change of the webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Set {
        name: AppName,
        url: WebhookUrl,
        at: Timestamp,
        until: Timestamp,
    },
    Renewed(Timestamp),
    BecameCustomer,
    Removed(AppName),
    /// A notification was raised, for the webhooks with fewer than `room` posts.
    Raised {
        method: String,
        body: String,
        at: Timestamp,
        until: Timestamp,
        cool_at: Timestamp,
        room: usize,
    },
    PostOver {
        number: u32,
        is_heard: bool,
    },
    /// All posts of a notification have ended and no webhook answered.
    Unheard {
        method: String,
        at: Timestamp,
    },
    /// All posts of a notification have ended, or its reason has.
    CallOver(String),
    ClientCame,
    Channels {
        any: bool,
        at: Timestamp,
    },
    Lapsed,
    /// The clock was set; with the longest times of a post and of a cooldown.
    ClockSet {
        shift: Shift,
        post: Duration,
        cool: Duration,
    },
}

impl Flow for Webhooks {
    type Id = PeerId;
    type Command<'a> = Command<'a>;
    type Event = Event;
    type Reject = Reject;
    type Effect = Effect;
    type Context<'a> = Context<'a>;

    fn id(&self) -> PeerId {
        self.client
    }

    fn decide(&self, command: &Command<'_>, ctx: &Context<'_>) -> Result<Vec<Event>, Reject> {
        let (at, config) = (ctx.now, &ctx.config.webhooks);
        Ok(match command {
            Command::Set { name, url, is_customer } => {
                let new_customer = (*is_customer && !self.is_customer).then_some(Event::BecameCustomer);
                let set = if self.url(name) != Some(url) {
                    let until = at + config.post_within;
                    Some(Event::Set { name: name.clone(), url: url.clone(), at, until })
                } else {
                    // A client that repeats the same registration all day does not cause a write each time.
                    (at >= self.since + RENEWED_AFTER).then_some(Event::Renewed(at))
                };
                new_customer.into_iter().chain(set).collect()
            }
            Command::Remove { name } => vec![Event::Removed(name.clone())],
            Command::WakeUp(reason) if self.may_be_called(reason, ctx) => {
                vec![self.raised(reason.method().into(), reason.body(), at + config.post_within, ctx)]
            }
            Command::PostOver { number, is_heard } if self.posts().any(|(_, post)| post.number == *number) => {
                vec![Event::PostOver { number: *number, is_heard: *is_heard }]
            }
            Command::PostOver { .. } => return Err(Reject::Stale),
            Command::Connected
                if self.cooldown.waits_for_client()
                    || !self.calls.is_empty()
                    || self.posts().any(|(_, post)| !post.is_first) =>
            {
                vec![Event::ClientCame]
            }
            Command::Channels(any) if *any != self.has_channel => vec![Event::Channels { any: *any, at }],
            Command::ClockSet(shift) if self.is_shifted_by(shift, config) => {
                vec![Event::ClockSet { shift: *shift, post: config.post_within, cool: config.cooldown }]
            }
            Command::WakeUp(_)
            | Command::Connected
            | Command::Channels(_)
            | Command::ClockSet(_)
            | Command::Environment => vec![],
        })
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Set { name, url, at, until } => {
                let body = Notification::WebhookRegistered.body().unwrap_or_default();
                let first = Post { number: self.posted, body, at, until, is_first: true, method: None };
                self.posted = self.posted.wrapping_add(1);
                // Posts to the former URL are of no use any more.
                self.hooks.insert(name, Hook { url, posts: vec![first] });
                self.since = at;
                self.changes = self.changes.with_one(at);
            }
            Event::Renewed(at) => self.since = at,
            Event::BecameCustomer => self.is_customer = true,
            Event::Removed(name) => drop(self.hooks.remove(&name)),
            Event::Raised { method, body, at, until, cool_at, room } => {
                for hook in self.hooks.values_mut().filter(|hook| hook.posts.len() < room) {
                    let (number, body, method) = (self.posted, body.clone(), Some(method.clone()));
                    hook.posts.push(Post { number, body, at, until, is_first: false, method });
                    self.posted = self.posted.wrapping_add(1);
                }
                let tries = self.calls.get(&method).map_or(0, |call| call.tries).saturating_add(1);
                let call = RaisedCall { body, until, tries, is_heard: false, again_at: None };
                self.calls.insert(method.clone(), call);
                self.cooldown.begin(method, at, cool_at);
            }
            Event::PostOver { number, is_heard } => {
                for hook in self.hooks.values_mut() {
                    for post in hook.posts.extract_if(.., |post| post.number == number) {
                        if let Some(call) = post.method.and_then(|method| self.calls.get_mut(&method)) {
                            call.is_heard |= is_heard;
                        }
                    }
                }
            }
            Event::Unheard { method, at } => {
                let Some(call) = self.calls.get_mut(&method) else { return };
                let again_at = at + FIRST_PAUSE.saturating_mul(1 << call.tries.saturating_sub(1).min(16));
                call.again_at = Some(again_at);
                self.cooldown.shorten(&method, again_at);
            }
            Event::CallOver(method) => drop(self.calls.remove(&method)),
            Event::ClientCame => {
                self.hooks.values_mut().for_each(|hook| hook.posts.retain(|post| post.is_first));
                self.calls.clear();
                self.cooldown.client_came();
            }
            Event::Channels { any, at } => {
                self.has_channel = any;
                self.is_customer |= any;
                if !any {
                    self.since = at;
                }
            }
            Event::Lapsed => self.hooks.clear(),
            Event::ClockSet { shift, post, cool } => self.clock_set(&shift, post, cool),
        }
    }

    /// Ends, as each event takes away what it is about: posts that are overdue, calls that are over, webhooks that lapsed.
    fn advance(&self, ctx: &Context<'_>) -> Vec<Event> {
        if self.lapses_at(ctx.config).is_some_and(|at| ctx.now >= at) {
            return vec![Event::Lapsed];
        }
        let overdue = self.posts().filter(|(_, post)| ctx.now >= post.until);
        let overdue: Vec<_> =
            overdue.map(|(_, post)| Event::PostOver { number: post.number, is_heard: false }).collect();
        if overdue.is_empty() { self.follow_calls(ctx) } else { overdue }
    }

    /// The posts that the host has to make. A webhook receives other notifications only after the confirmation of its
    /// registration was delivered or has expired.
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
            urgency: post.urgency(),
        })
        .collect()
    }

    fn is_over(&self, ctx: &Context<'_>) -> bool {
        self.is_over(ctx.now)
    }
}

impl Post {
    /// Urgency of the post: a client that misses a payment or a deadline loses money, one that misses a confirmation of
    /// its registration does not.
    fn urgency(&self) -> Urgency {
        let is_urgent = |method: &String| {
            let urgent =
                [Notification::PaymentIncoming.method(), Notification::ExpirySoon { timeout: BlockHeight(0) }.method()];
            urgent.contains(&Some(method.as_str()))
        };
        match &self.method {
            None if self.is_first => Urgency::Registration,
            Some(method) if is_urgent(method) => Urgency::High,
            None | Some(_) => Urgency::Normal,
        }
    }
}

impl Webhooks {
    /// Creates a record without webhooks.
    pub fn new(client: PeerId, has_channel: bool, is_customer: bool) -> Self {
        let (hooks, cooldown, calls, since, changes) = Default::default();
        Self { client, hooks, cooldown, calls, has_channel, is_customer, since, changes, posted: 0 }
    }

    /// Whether the client is being notified, so that a deadline of the record is urgent.
    pub fn is_calling(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Keys of all outstanding posts.
    pub fn owed_posts(&self) -> impl Iterator<Item = PostKey> {
        self.posts().map(|(_, post)| PostKey { client: self.client, number: post.number })
    }

    /// Whether this clock correction changes any instant on record.
    pub fn is_shifted_by(&self, shift: &Shift, config: &WebhookConfig) -> bool {
        let mut shifted = self.clone();
        shifted.clock_set(shift, config.post_within, config.cooldown);
        shifted != *self
    }

    fn clock_set(&mut self, shift: &Shift, post: Duration, cool: Duration) {
        for waiting in self.hooks.values_mut().flat_map(|hook| &mut hook.posts) {
            (waiting.at, waiting.until) = (shift.past(waiting.at), shift.end(waiting.until, post));
        }
        for call in self.calls.values_mut() {
            call.until = shift.end(call.until, post);
            call.again_at = call.again_at.map(|at| shift.end(at, post));
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

    /// Number of changes within the present hour.
    pub fn changes(&self, now: Timestamp) -> usize {
        if now < self.changes.until { self.changes.count } else { 0 }
    }

    /// The next instant at which [`advance`](Flow::advance) may cause events or the record may be removed, with the
    /// reason.
    pub fn next_wake(&self, config: &Config) -> Option<(Timestamp, Wake)> {
        let overdue = self.posts().map(|(_, post)| (post.until, Wake::PostOverdue)).min();
        let lapse = self.lapses_at(config).map(|at| (at, Wake::WebhooksLapse));
        let again = self.calls.values().filter_map(|call| call.again_at).map(|at| (at, Wake::RaisedAgain)).min();
        let over = self.hooks.is_empty().then_some((self.changes.until, Wake::WebhooksOver));
        [overdue, lapse, again, over].into_iter().flatten().min()
    }

    /// Whether the record can be removed. A client does not gain further changes by removing all its webhooks.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.hooks.is_empty() && now >= self.changes.until
    }

    fn may_be_called(&self, reason: &WakeReason, ctx: &Context<'_>) -> bool {
        ctx.config.webhooks.serve
            && ctx.link == Link::Offline
            && reason.is_due(ctx.facts.height)
            && self.has_room(ctx)
            && self.is_cool(reason.method(), ctx)
    }

    fn is_cool(&self, method: &str, ctx: &Context<'_>) -> bool {
        self.cooldown.is_over(method, ctx.now, ctx.config.limits.calls_per_cooldown)
    }

    /// Whether any webhook has room for a post. A webhook that is full does not keep the others from being posted to.
    fn has_room(&self, ctx: &Context<'_>) -> bool {
        self.hooks.values().any(|hook| hook.posts.len() < ctx.config.limits.posts_per_webhook)
    }

    fn raised(&self, method: String, body: String, until: Timestamp, ctx: &Context<'_>) -> Event {
        let (at, cool_at) = (ctx.now, ctx.now + ctx.config.webhooks.cooldown);
        Event::Raised { method, body, at, until, cool_at, room: ctx.config.limits.posts_per_webhook }
    }

    /// Raises a notification that no webhook answered again, after a pause that doubles each time, as long as its
    /// reason lasts.
    fn follow_calls(&self, ctx: &Context<'_>) -> Vec<Event> {
        let is_under_way = |method: &String| self.posts().any(|(_, post)| post.method.as_ref() == Some(method));
        let next = self.calls.iter().filter(|(method, _)| !is_under_way(method)).find_map(|(method, call)| {
            if call.is_heard || ctx.now >= call.until || ctx.link != Link::Offline {
                return Some(Event::CallOver(method.clone()));
            }
            match call.again_at {
                None => Some(Event::Unheard { method: method.clone(), at: ctx.now }),
                Some(at) if ctx.now >= at && self.has_room(ctx) && self.is_cool(method, ctx) => {
                    Some(self.raised(method.clone(), call.body.clone(), call.until, ctx))
                }
                Some(at) if ctx.now >= at => Some(Event::CallOver(method.clone())),
                Some(_) => None,
            }
        });
        next.into_iter().collect()
    }

    /// Time at which the webhooks of a client without channels are removed.
    fn lapses_at(&self, config: &Config) -> Option<Timestamp> {
        let may_lapse = !self.has_channel && !self.hooks.is_empty();
        let keep = if self.is_customer { config.webhooks.keep } else { config.webhooks.keep_strangers };
        may_lapse.then(|| self.since + keep + RENEWED_AFTER)
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
/// Least time between two writes of a renewed registration; registrations are kept for as much longer.
const RENEWED_AFTER: Duration = HOUR;
/// First pause before a notification that reached no webhook is raised again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

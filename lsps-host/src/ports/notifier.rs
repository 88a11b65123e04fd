//! The port that posts LSPS5 notifications.

use std::time::Duration;

use lsps_service::{PostKey, Urgency};
use lsps_types::lsps5::WebhookUrl;
use lsps_types::{DateTime, Timestamp};

use crate::lsp::PostReporter;

/// Signs notifications with the node's key, and posts them.
pub trait Notifier: Send + Sync {
    /// Accepts a notification. The host calls this from its one task, so the call must not block. The implementation
    /// reports the result of the post to `reporter`.
    fn post(&self, post: Post, reporter: PostReporter);

    /// Drops a notification that is worthless by now. The default does nothing: the notification is posted in vain.
    fn withdraw(&self, key: PostKey) {
        let _ = key;
    }
}

/// Result of a [`Post`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostResult {
    /// The webhook answered with status 200.
    Delivered,
    /// The webhook answered with another status, or may not be contacted: another attempt would end the same way.
    Refused,
    /// The webhook did not answer, or there was no room for the post.
    Unreached,
}

/// A notification to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Key of the post. After a restart the same post may come again.
    pub key: PostKey,
    /// URL of the webhook. A client chose it, and the host has not checked the address to which it resolves.
    pub url: WebhookUrl,
    /// Exact bytes of the body.
    pub body: String,
    /// The time at which the notification was raised. The signature covers it and the body: see
    /// [`signed_text`](lsps_types::lsps5::signed_text).
    pub timestamp: DateTime,
    /// Time from which the notification is worthless.
    pub until: Timestamp,
    /// The time from now to `until`.
    pub within: Duration,
    /// Urgency of the post among others.
    pub urgency: Urgency,
}

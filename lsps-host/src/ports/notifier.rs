//! Who posts the notifications of LSPS5.

use std::time::Duration;

use lsps_service::{PostKey, Urgency};
use lsps_types::lsps5::WebhookUrl;
use lsps_types::{DateTime, Timestamp};

use crate::lsp::Posted;

/// Signs notifications with the node's key, and posts them.
pub trait Notifier: Send + Sync {
    /// Takes a notification on; must not block. Its end is told by `posted`.
    fn post(&self, post: Post, posted: Posted);

    /// A notification is worth nothing any more. Without this it is posted in vain.
    fn withdraw(&self, key: PostKey) {
        let _ = key;
    }
}

/// How a [`Post`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostFate {
    /// The webhook answered with status 200.
    Delivered,
    /// The webhook answered with another status, or may not be contacted: another try would end the same.
    Refused,
    /// No answer, or no room to post it.
    Unreached,
}

/// A notification to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The name of the post. The same may come twice, after a restart.
    pub key: PostKey,
    /// The address of the webhook. The host did not look at where it leads.
    pub url: WebhookUrl,
    /// The body, exactly.
    pub body: String,
    /// The time at which it was raised; signed with the body, see [`signed_text`](lsps_types::lsps5::signed_text).
    pub timestamp: DateTime,
    /// The time from which it is worth nothing.
    pub until: Timestamp,
    /// The same as a span, from now.
    pub within: Duration,
    /// The rank of the post among others.
    pub urgency: Urgency,
}

//! What the service has to know of the node to call clients (LSPS5), and who posts its notifications.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use lsps_service::{Input, Occasion, PostKey, Urgency};
use lsps_types::lsps5::WebhookUrl;
use lsps_types::{BlockHeight, DateTime, PeerId, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::news::NodeNews;
use super::pump::{Pump, Told};
use crate::peers::{Manager, peer_id};

/// Signs notifications with the node's key, and posts them.
pub trait Notifier: Send + Sync {
    /// Takes one on; does not wait. What becomes of it is told by `posted`.
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
    /// Its name. The same may come twice, after a restart.
    pub key: PostKey,
    /// Where to. What it leads to was not looked at.
    pub url: WebhookUrl,
    /// The body, exactly.
    pub body: String,
    /// When it was raised; signed with the body, see [`signed_text`](lsps_types::lsps5::signed_text).
    pub timestamp: DateTime,
    /// When it is worth nothing any more.
    pub until: Timestamp,
    /// The same as a span, from now.
    pub within: Duration,
    /// The rank of the post among others.
    pub urgency: Urgency,
}

/// Waits for what becomes of a [`Post`]. Dropped without a word, the post ends when it is worth nothing any more.
pub struct Posted {
    key: PostKey,
    /// Keeps no LSP alive.
    lsp: mpsc::WeakUnboundedSender<Told>,
}

impl Posted {
    /// The name of the post.
    #[must_use]
    pub fn key(&self) -> PostKey {
        self.key
    }

    /// Ends the wait.
    pub fn tell(self, fate: PostFate) {
        let key = self.key;
        let input = match fate {
            PostFate::Delivered => Input::WebhookDelivered { key },
            PostFate::Refused => Input::WebhookFailed { key },
            PostFate::Unreached => Input::WebhookUnreached { key },
        };
        let (done, _) = oneshot::channel();
        if let Some(lsp) = self.lsp.upgrade() {
            // If it does not become durable, it is posted again after a restart.
            let _ = lsp.send(Told::News { news: NodeNews::Input(input), fail_if_not_mine: false, done });
        }
    }
}

#[cfg(all(test, feature = "webhook-http"))]
impl Posted {
    /// For nobody but who has the other end.
    pub(crate) fn of(key: PostKey) -> (Self, impl FnMut() -> Option<Input>) {
        let (lsp, mut told) = mpsc::unbounded_channel();
        let posted = Self { key, lsp: lsp.downgrade() };
        let hears = move || {
            let _it_is_there = &lsp;
            match told.try_recv().ok()? {
                Told::News { news: NodeNews::Input(input), .. } => Some(input),
                _ => None,
            }
        };
        (posted, hears)
    }
}

impl fmt::Debug for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl<M: Manager> Pump<M> {
    /// Posts it, if there is somebody who does.
    pub(super) fn post(&self, post: Post) -> Vec<Input> {
        match &self.outside.notifier {
            Some(notifier) => {
                let posted = Posted { key: post.key, lsp: self.inputs.clone() };
                notifier.post(post, posted);
                vec![]
            }
            None => vec![Input::WebhookFailed { key: post.key }],
        }
    }

    /// Tells the service, with every block, which peers have channels (they are no strangers) and which absent clients
    /// lose a channel if they do not come.
    pub(super) fn look_at_channels(&mut self) {
        let has_webhooks = self.service.protocols().contains(&LSPS5);
        let closes = self.node.forced_closes();
        let now: BTreeSet<PeerId> = closes.keys().map(peer_id).collect();
        let before = std::mem::replace(&mut self.with_channels, now.clone());
        // After a start it is the records that say what was believed before.
        let believed: BTreeSet<PeerId> = self.service.clients_with_channels().chain(before.iter().copied()).collect();
        let mut inputs: Vec<Input> = now.difference(&before).map(|peer| channels(*peer, true)).collect();
        inputs.extend(believed.difference(&now).map(|peer| channels(*peer, false)));
        for (key, close) in closes {
            if let Some(height) = close.filter(|_| has_webhooks && !self.peers.is_connected(&key)) {
                let occasion = Occasion::ExpirySoon { timeout: BlockHeight(height) };
                inputs.push(Input::Occasion { peer: peer_id(&key), occasion });
            }
        }
        self.feed_all(inputs);
    }
}

fn channels(peer: PeerId, any: bool) -> Input {
    Input::ChannelsWith { peer, any }
}

const LSPS5: u16 = 5;

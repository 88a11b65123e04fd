//! The peers with channels, and notifications to absent clients (LSPS5).

use std::collections::BTreeSet;
use std::fmt;

use lsps_service::{Input, PostKey, WakeReason};
use lsps_types::PeerId;
use tokio::sync::mpsc;

use super::pump::{Pump, Request};
use crate::ports::{LspNode, Post, PostResult};

/// The receiver of the result of a [`Post`], to which a [`Notifier`](crate::ports::Notifier) reports. If it is dropped
/// without a report, the post ends at its own deadline.
pub struct PostReporter {
    key: PostKey,
    /// A weak handle, which does not keep the LSP running.
    lsp: mpsc::WeakUnboundedSender<Request>,
}

impl PostReporter {
    /// Key of the post.
    #[must_use]
    pub fn key(&self) -> PostKey {
        self.key
    }

    /// Reports the result of the post.
    pub fn report(self, result: PostResult) {
        let key = self.key;
        let input = match result {
            PostResult::Delivered => Input::WebhookDelivered { key },
            PostResult::Refused => Input::WebhookFailed { key },
            PostResult::Unreached => Input::WebhookUnreached { key },
        };
        if let Some(lsp) = self.lsp.upgrade() {
            // If the report does not become durable, the notification is posted again after a restart.
            let _ = lsp.send(Request::Posted(input));
        }
    }
}

#[cfg(all(test, feature = "webhook-http"))]
impl PostReporter {
    /// A receiver whose report is read at the other end.
    pub(crate) fn of(key: PostKey) -> (Self, impl FnMut() -> Option<Input>) {
        let (lsp, mut told) = mpsc::unbounded_channel();
        let reporter = Self { key, lsp: lsp.downgrade() };
        let hears = move || {
            let _it_is_there = &lsp;
            match told.try_recv().ok()? {
                Request::Posted(input) => Some(input),
                _ => None,
            }
        };
        (reporter, hears)
    }
}

impl fmt::Debug for PostReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl<N: LspNode> Pump<N> {
    /// Posts a notification, if there is a notifier.
    pub(super) fn post(&self, post: Post) -> Vec<Input> {
        match &self.outside.notifier {
            Some(notifier) => {
                let reporter = PostReporter { key: post.key, lsp: self.requests.clone() };
                notifier.post(post, reporter);
                vec![]
            }
            None => vec![Input::WebhookFailed { key: post.key }],
        }
    }

    /// Reports to the service, with every block, which peers have channels (and so are not strangers), and which absent
    /// clients will lose a channel unless they connect.
    pub(super) fn look_at_channels(&mut self) {
        let has_webhooks = self.service.protocols().contains(&LSPS5);
        let closes = self.node.forced_closes();
        let now: BTreeSet<PeerId> = closes.keys().copied().collect();
        let before = std::mem::replace(&mut self.with_channels, now.clone());
        // After a start the records say what was reported before.
        let believed: BTreeSet<PeerId> = self.service.clients_with_channels().chain(before.iter().copied()).collect();
        let mut inputs: Vec<Input> = now.difference(&before).map(|peer| channels(*peer, true)).collect();
        inputs.extend(believed.difference(&now).map(|peer| channels(*peer, false)));
        for (peer, close) in closes {
            if let Some(timeout) = close.filter(|_| has_webhooks && !self.outside.messages.is_connected(peer)) {
                inputs.push(Input::WakeUp { peer, reason: WakeReason::ExpirySoon { timeout } });
            }
        }
        self.feed_all(inputs);
    }
}

fn channels(peer: PeerId, any: bool) -> Input {
    Input::ChannelsWith { peer, any }
}

const LSPS5: u16 = 5;

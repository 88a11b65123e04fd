//! What an LSP raises: signed with its node's key, and posted.

use std::sync::Arc;

use lightning::sign::NodeSigner;

use lsps_types::lsps5::{Signed, signed_text};
use lsps_types::signature::LnSignature;

use super::{CannotPost, Delivery, WebhookConfig, WebhookCounts, Webhooks};
use crate::lsp::{Notifier, Post, Posted};

/// Signs and posts the notifications of an LSP.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use lightning::sign::KeysManager;
/// # use lsps_transport_ldk::LspParts;
/// # use lsps_transport_ldk::webhook::{CannotPost, WebhookConfig, WebhookNotifier};
/// # fn example<M, P, K>(parts: &mut LspParts<M, P, K>, keys: Arc<KeysManager>) -> Result<(), CannotPost> {
/// parts.config.webhooks.serve = true;
/// parts.notifier = Some(Arc::new(WebhookNotifier::new(WebhookConfig::default(), keys)?)); // within a tokio runtime
/// # Ok(())
/// # }
/// ```
pub struct WebhookNotifier {
    webhooks: Webhooks<Posted>,
    keys: Arc<dyn NodeSigner + Send + Sync>,
}

impl WebhookNotifier {
    /// Starts posting, on the present tokio runtime, what is signed with the node's keys.
    ///
    /// # Errors
    ///
    /// When TLS or the resolver cannot be set up, or a limit is 0.
    pub fn new(config: WebhookConfig, keys: Arc<dyn NodeSigner + Send + Sync>) -> Result<Self, CannotPost> {
        let (webhooks, mut answers) = Webhooks::<Posted>::new(config)?;
        tokio::spawn(async move {
            while let Some(answer) = answers.recv().await {
                answer.id.tell(answer.outcome.is_ok());
            }
        });
        Ok(Self { webhooks, keys })
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> WebhookCounts {
        self.webhooks.counts()
    }

    /// `None`: the signer is not there.
    fn sign(&self, text: &str) -> Option<LnSignature> {
        self.keys.sign_message(text.as_bytes()).ok()?.parse().ok()
    }
}

impl Notifier for WebhookNotifier {
    fn post(&self, post: Post, posted: Posted) {
        let Post { url, body, timestamp, key: _, until: _ } = post;
        match self.sign(&signed_text(timestamp.as_str(), &body)) {
            Some(signature) => {
                self.webhooks.post(Delivery { id: posted, url, signed: Signed { body, timestamp, signature } });
            }
            None => posted.tell(false),
        }
    }
}

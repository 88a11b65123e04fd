//! Notifications signed with the key of an LDK node. Feature `webhook-http`.

use std::sync::Arc;

use lightning::sign::NodeSigner;
use lsps_host::webhook::{CannotPost, DeliveryConfig, WebhookNotifier};
use lsps_types::signature::{InvalidSignature, LnSignature, SignMessage};

/// Starts posting notifications, on the present tokio runtime, signed with the node's keys.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use lightning::sign::KeysManager;
/// # use lsps_transport_ldk::{LspParts, webhook_notifier};
/// # use lsps_transport_ldk::webhook::{CannotPost, DeliveryConfig};
/// # fn example<M, P, K>(parts: &mut LspParts<M, P, K>, keys: Arc<KeysManager>) -> Result<(), CannotPost> {
/// parts.config.webhooks.serve = true;
/// parts.notifier = Some(Arc::new(webhook_notifier(DeliveryConfig::default(), keys)?)); // within a tokio runtime
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// TLS or the resolver cannot be set up, or a limit is 0.
pub fn webhook_notifier(
    config: DeliveryConfig,
    keys: Arc<dyn NodeSigner + Send + Sync>,
) -> Result<WebhookNotifier, CannotPost> {
    WebhookNotifier::new(config, NodeKeys(keys))
}

struct NodeKeys(Arc<dyn NodeSigner + Send + Sync>);

impl SignMessage for NodeKeys {
    type Error = InvalidSignature;

    fn sign_message(&self, message: &[u8]) -> Result<LnSignature, InvalidSignature> {
        self.0.sign_message(message).map_err(|()| InvalidSignature)?.parse()
    }
}

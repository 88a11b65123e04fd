//! LSPS5 (bLIP-55): webhooks that wake a client.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::codes::SetWebhookError;

mod address;
mod limited;
mod notification;
#[cfg(feature = "secp256k1")]
mod verifier;

pub use address::HookAddress;
pub use limited::{AppName, InvalidUrl, NameTooLong, WebhookUrl};
pub use notification::{Custom, InvalidMethodName, MalformedBody, Notification, Signed, signed_text};
#[cfg(feature = "secp256k1")]
pub use verifier::{Profile, Refused, Verifier};

/// Registers a webhook. Spec: LSPS5 `lsps5.set_webhook`.
///
/// As it came: an LSP answers bad names and URLs with errors of their own, see [`checked`](Self::checked).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetWebhook {
    /// The app; the same name again replaces its webhook.
    pub app_name: String,
    /// Where to post.
    pub webhook: String,
}

impl SetWebhook {
    /// With parts that are known to be good.
    #[must_use]
    pub fn new(app_name: AppName, webhook: WebhookUrl) -> Self {
        Self { app_name: app_name.into(), webhook: webhook.into() }
    }

    /// The same, looked at; lengths first (reading R-27).
    ///
    /// # Errors
    ///
    /// What to answer.
    pub fn checked(&self) -> Result<(AppName, WebhookUrl), SetWebhookError> {
        let name = AppName::new(self.app_name.clone()).map_err(|NameTooLong| SetWebhookError::TooLong)?;
        let url = WebhookUrl::new(self.webhook.clone()).map_err(|invalid| match invalid {
            InvalidUrl::TooLong => SetWebhookError::TooLong,
            InvalidUrl::Malformed => SetWebhookError::UrlParse,
            InvalidUrl::NotHttps => SetWebhookError::UnsupportedProtocol,
        })?;
        Ok((name, url))
    }
}

/// The reply to [`SetWebhook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSet {
    /// How many the client has now.
    pub num_webhooks: u32,
    /// How many it may have.
    pub max_webhooks: u32,
    /// Whether name and URL were registered already; then no `lsps5.webhook_registered` is sent.
    pub no_change: bool,
}

/// `data` of error 503. Spec: LSPS5 `too_many_webhooks`. Deployed LSPS leave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TooManyWebhooks {
    /// How many the client may have.
    pub max_webhooks: u32,
}

/// Asks for the registered apps. Spec: LSPS5 `lsps5.list_webhooks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListWebhooks {}

/// The reply to [`ListWebhooks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhooks {
    /// The names, in no order.
    pub app_names: Vec<String>,
    /// How many there may be.
    pub max_webhooks: u32,
}

/// Removes a webhook. Spec: LSPS5 `lsps5.remove_webhook`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveWebhook {
    /// The app.
    pub app_name: String,
}

/// The reply to [`RemoveWebhook`]: nothing (reading R-30).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRemoved {}

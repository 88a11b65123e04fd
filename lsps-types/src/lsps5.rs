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

/// Registration of a webhook. Spec: LSPS5 `lsps5.set_webhook`.
///
/// The fields are as received: an LSP answers an invalid name or URL with an error of its own, see
/// [`checked`](Self::checked).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetWebhook {
    /// Name of the app; a second registration with the same name replaces the webhook.
    pub app_name: String,
    /// URL to post notifications to.
    pub webhook: String,
}

impl SetWebhook {
    /// Creates a request from a valid name and URL.
    #[must_use]
    pub fn new(app_name: AppName, webhook: WebhookUrl) -> Self {
        Self { app_name: app_name.into(), webhook: webhook.into() }
    }

    /// Validates the name and the URL; lengths first (reading R-27).
    ///
    /// # Errors
    ///
    /// The error with which an LSP answers the request.
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

/// Reply to [`SetWebhook`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSet {
    /// Number of webhooks that the client has now.
    pub num_webhooks: u32,
    /// Largest number of webhooks of one client.
    pub max_webhooks: u32,
    /// Whether the same name and URL were registered already. In that case no `lsps5.webhook_registered` is sent.
    pub no_change: bool,
}

/// `data` of error 503. Spec: LSPS5 `too_many_webhooks`. Deployed LSPs leave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TooManyWebhooks {
    /// Largest number of webhooks of one client.
    pub max_webhooks: u32,
}

/// Request for the names of the registered apps. Spec: LSPS5 `lsps5.list_webhooks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListWebhooks {}

/// Reply to [`ListWebhooks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhooks {
    /// Names of the apps, in any order.
    pub app_names: Vec<String>,
    /// Largest number of webhooks of one client.
    pub max_webhooks: u32,
}

/// Removal of a webhook. Spec: LSPS5 `lsps5.remove_webhook`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveWebhook {
    /// Name of the app.
    pub app_name: String,
}

/// Reply to [`RemoveWebhook`], without content (reading R-30).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRemoved {}

//! Webhooks for async code.

use std::future::poll_fn;

use lsps_types::codes::{MethodError, SetWebhookError};
use lsps_types::lsps5::{AppName, WebhookUrl};

use super::Lsp;
use crate::webhooks::{AppState, TooManyApps};

/// Reason for which an app is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRegistered {
    /// The limit of apps is reached; nothing was recorded.
    #[error(transparent)]
    TooMany(#[from] TooManyApps),
    /// The LSP refused the webhook. The request is repeated some hours later.
    #[error("the provider refused the webhook: {}", reason(*code))]
    Refused {
        /// Error code; [`SetWebhookError`] names some.
        code: i64,
    },
    /// The webhook was removed meanwhile.
    #[error("the webhook was removed")]
    Removed,
}

impl Lsp {
    /// Keeps an app registered with this LSP from now on, also after a restart, and waits for the first registration.
    /// Dropping the future ends only the waiting. See [`Input::KeepWebhook`](crate::Input::KeepWebhook).
    ///
    /// # Errors
    ///
    /// The limit of apps is reached, or the LSP refuses the webhook.
    pub async fn keep_registered(&self, app: AppName, url: WebhookUrl) -> Result<(), NotRegistered> {
        self.session.with(|client, now| client.keep_webhook(self.id, app.clone(), url, now))?;
        let state = poll_fn(|cx| self.session.with(|client, _| client.poll_webhook(self.id, &app, cx.waker())));
        match state.await {
            Some(AppState::Registered) => Ok(()),
            Some(AppState::Refused { code }) => Err(NotRegistered::Refused { code }),
            Some(AppState::Wanted | AppState::Unwanted) | None => Err(NotRegistered::Removed),
        }
    }

    /// Removes the webhook of an app as soon as the LSP is connected.
    pub fn remove_webhook(&self, app: &AppName) {
        self.session.with(|client, now| client.remove_webhook(self.id, app, now));
    }
}

fn reason(code: i64) -> std::string::String {
    let known = SetWebhookError::from_code(code);
    known.map_or_else(|| std::format!("error {code}"), |known| std::format!("{known}"))
}

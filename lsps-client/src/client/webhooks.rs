//! Webhooks: inputs of the application, and requests to LSPs.

use core::task::{Poll, Waker};
use core::time::Duration;

use lsps_types::codes::MethodError;
use lsps_types::codes::RemoveWebhookError::AppNameNotFound;
use lsps_types::jsonrpc::{ErrorReply, Refusal};
use lsps_types::lsps5::{AppName, ListWebhooks, RemoveWebhook, SetWebhook, WebhookUrl};
use lsps_types::{PeerId, Timestamp};

use super::{CallError, Client, Config};
use crate::outcome::NotSent;
use crate::webhooks::registrations::Sent;
use crate::webhooks::{AppState, Ask, Command, TooManyApps, Webhooks};

impl Client {
    pub(super) fn keeps_webhook(
        &mut self,
        lsp: PeerId,
        app: &AppName,
        url: &WebhookUrl,
        now: Timestamp,
    ) -> Result<(), TooManyApps> {
        self.webhooks.keep(lsp, (app.clone(), url.clone()), self.config.webhook_apps, now, &mut self.out)
    }

    /// The webhooks that are registered with an LSP, or are to be.
    #[must_use]
    pub fn webhooks(&self, lsp: PeerId) -> Option<&Webhooks> {
        self.webhooks.get(lsp)
    }

    /// The state of an app once the LSP has answered; for futures: wakes `waker` when that may be so. `None`: the app
    /// has no webhook on record.
    pub fn poll_webhook(&mut self, lsp: PeerId, app: &AppName, waker: &Waker) -> Poll<Option<AppState>> {
        let state = self.webhooks.get(lsp).and_then(|webhooks| webhooks.app(app)).map(|app| app.state);
        match state {
            Some(AppState::Wanted | AppState::Unwanted) => {
                self.webhooks.wake_later(lsp, app, waker);
                Poll::Pending
            }
            Some(AppState::Registered | AppState::Refused { .. }) | None => Poll::Ready(state),
        }
    }

    /// Handles the answers about webhooks, and sends the next requests.
    pub(super) fn look_after_webhooks(&mut self, now: Timestamp) {
        for lsp in self.webhooks.lsps() {
            if let Some(asked) = self.webhooks.answered(lsp, &self.pending) {
                self.hear_of_webhook(lsp, asked, now);
            }
            if let Some(ask) = self.webhooks.to_ask(lsp, self.config.check_webhooks, now) {
                match self.ask_about_webhook(lsp, ask, now) {
                    Ok(asked) => self.webhooks.asks(lsp, asked),
                    Err(NotSent::NotConnected) => {}
                    Err(NotSent::Suspended | NotSent::TooManyPending | NotSent::TooLarge(_)) => {
                        self.webhooks.rests(lsp, now + RETRY);
                    }
                }
            }
        }
    }

    fn ask_about_webhook(&mut self, lsp: PeerId, ask: Ask, now: Timestamp) -> Result<Sent, NotSent> {
        let Config { calls_per_lsp: limit, answer_within, .. } = self.config;
        let (pending, within, out) = (&mut self.pending, (now, answer_within), &mut self.out);
        Ok(match ask {
            Ask::Set(name, url) => {
                let request = SetWebhook::new(name.clone(), url.clone());
                Sent::Set(name, url, pending.ask(lsp, &request, limit, within, out)?)
            }
            Ask::Remove(name) => {
                let request = RemoveWebhook { app_name: name.as_str().into() };
                Sent::Remove(name, pending.ask(lsp, &request, limit, within, out)?)
            }
            Ask::List => Sent::List(pending.ask(lsp, &ListWebhooks {}, limit, within, out)?),
        })
    }

    fn hear_of_webhook(&mut self, lsp: PeerId, asked: Sent, now: Timestamp) {
        let (app, heard) = match asked {
            Sent::Set(name, url, ticket) => {
                let heard = match self.pending.take(&ticket) {
                    Some(Ok(_)) => Ok(Command::Answered(name.clone(), url, Ok(()))),
                    Some(Err(CallError::Refused(refused))) => {
                        Ok(Command::Answered(name.clone(), url, Err(refused.object.code)))
                    }
                    Some(Err(error)) => Err(self.pause_after(&error)),
                    None => return,
                };
                (Some(name), heard)
            }
            Sent::Remove(name, ticket) => {
                let heard = match self.pending.take(&ticket) {
                    Some(
                        Ok(_) | Err(CallError::Refused(ErrorReply { refusal: Refusal::Method(AppNameNotFound), .. })),
                    ) => Ok(Command::Removed(name.clone())),
                    Some(Err(error)) => Err(self.pause_after(&error)),
                    None => return,
                };
                (Some(name), heard)
            }
            Sent::List(ticket) => match self.pending.take(&ticket) {
                Some(Ok(listed)) => (None, Ok(Command::Listed(listed.app_names))),
                Some(Err(error)) => (None, Err(self.pause_after(&error))),
                None => return,
            },
        };
        match heard {
            Ok(command) => self.webhooks.step(lsp, &command, now, &mut self.out),
            // The request is repeated as soon as the LSP reconnects.
            Err(Duration::ZERO) => {}
            Err(pause) => self.webhooks.rests_about(lsp, app, pause, self.config.check_webhooks, now),
        }
    }

    /// Pause before a request that failed in this way is repeated.
    fn pause_after<E: MethodError>(&self, error: &CallError<E>) -> Duration {
        match error {
            CallError::Disconnected => Duration::ZERO,
            CallError::TimedOut | CallError::InvalidReply(_) | CallError::Forgotten => RETRY,
            CallError::Refused(_) => self.config.check_webhooks,
        }
    }
}

pub(crate) const RETRY: Duration = Duration::from_secs(60);

//! Webhooks by which an LSP wakes the wallet (LSPS5): one flow for each LSP.
//!
//! The wallet's wish is put on record first. Then the webhook is registered, checked from time to time, and registered
//! again if the LSP lost it. The application only reports [`Input::KeepWebhook`](crate::Input::KeepWebhook).

use alloc::{collections::BTreeMap, vec, vec::Vec};
use core::time::Duration;

use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{ClockShift, PeerId, Timestamp};
use serde::{Deserialize, Serialize};

mod flow;
pub(crate) mod registrations;

pub(crate) use flow::Command;
pub use registrations::TooManyApps;

/// The webhooks that are registered with one LSP, or are to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhooks {
    pub(crate) lsp: PeerId,
    apps: BTreeMap<AppName, App>,
    /// Time at which the LSP last listed its webhooks.
    checked_at: Timestamp,
}

/// An app of the wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// URL to which the LSP posts.
    pub url: WebhookUrl,
    /// State of the registration.
    pub state: AppState,
}

/// State of an app's registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppState {
    /// The webhook is to be registered, for the first time or again.
    Wanted,
    /// The LSP confirmed the registration.
    Registered,
    /// The LSP refused the webhook. The request is repeated some hours later.
    Refused {
        /// Error code; [`SetWebhookError`](lsps_types::codes::SetWebhookError) names some.
        code: i64,
    },
    /// The webhook is to be removed.
    Unwanted,
}

/// State change of the webhooks at one LSP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The webhook is on record, to be registered.
    Wanted(AppName, WebhookUrl),
    /// The LSP confirmed the registration.
    Registered(AppName),
    /// The LSP refused the webhook.
    Refused {
        /// Name of the app.
        app: AppName,
        /// Error code; [`SetWebhookError`](lsps_types::codes::SetWebhookError) names some.
        code: i64,
    },
    /// The webhook is to be registered again: the LSP lost it, or refused it some time ago.
    Again(AppName),
    /// The removal of the webhook is on record.
    Unwanted(AppName),
    /// The LSP has removed the webhook.
    Removed(AppName),
    /// The LSP listed its webhooks.
    Checked(Timestamp),
}

/// Next request to an LSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Set(AppName, WebhookUrl),
    Remove(AppName),
    List,
}

impl Ask {
    /// App of the request; `None` for the list.
    pub fn app(&self) -> Option<&AppName> {
        match self {
            Self::Set(name, _) | Self::Remove(name) => Some(name),
            Self::List => None,
        }
    }
}

impl Webhooks {
    pub(crate) fn new(lsp: PeerId, now: Timestamp) -> Self {
        Self { lsp, apps: BTreeMap::new(), checked_at: now }
    }

    /// The events that a command causes. Reads the state only.
    pub(crate) fn decide(&self, command: &Command, now: Timestamp) -> Vec<Event> {
        use AppState as S;
        match command {
            Command::Keep(name, url) => match self.apps.get(name) {
                Some(App { url: same, state: S::Wanted | S::Registered }) if same == url => vec![],
                Some(_) | None => vec![Event::Wanted(name.clone(), url.clone())],
            },
            Command::Remove(name) => match self.apps.get(name).map(|app| app.state) {
                Some(S::Wanted | S::Registered | S::Refused { .. }) => vec![Event::Unwanted(name.clone())],
                Some(S::Unwanted) | None => vec![],
            },
            Command::Answered(name, url, outcome) => match (self.apps.get(name), outcome) {
                // Without a match, the wallet changed its wish while the LSP was asked.
                (Some(app), Ok(())) if app.is_wanted_at(url) => vec![Event::Registered(name.clone())],
                (Some(app), Err(code)) if app.is_wanted_at(url) => {
                    vec![Event::Refused { app: name.clone(), code: *code }]
                }
                (Some(_) | None, Ok(()) | Err(_)) => vec![],
            },
            Command::Removed(name) => match self.apps.get(name).map(|app| app.state) {
                Some(S::Unwanted) => vec![Event::Removed(name.clone())],
                // The wallet changed its wish meanwhile; the new one was or will be sent.
                Some(S::Wanted | S::Registered | S::Refused { .. }) | None => vec![],
            },
            Command::Listed(names) => {
                let is_to_be_set = |(name, app): &(&AppName, &App)| match app.state {
                    S::Registered => !names.iter().any(|listed| listed == name.as_str()),
                    S::Refused { .. } => true,
                    S::Wanted | S::Unwanted => false,
                };
                let again = self.apps.iter().filter(is_to_be_set).map(|(name, _)| Event::Again(name.clone()));
                again.chain([Event::Checked(now)]).collect()
            }
        }
    }

    /// Applies an event. Never fails nor reads a clock. Nothing else changes the state.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Wanted(name, url) => {
                self.apps.insert(name.clone(), App { url: url.clone(), state: AppState::Wanted });
            }
            Event::Registered(name) => self.moves(name, AppState::Registered),
            Event::Refused { app, code } => self.moves(app, AppState::Refused { code: *code }),
            Event::Again(name) => self.moves(name, AppState::Wanted),
            Event::Unwanted(name) => self.moves(name, AppState::Unwanted),
            Event::Removed(name) => drop(self.apps.remove(name)),
            Event::Checked(at) => self.checked_at = *at,
        }
    }

    /// Shifts the last check after the clock was set. No record is written: a check comes some hours earlier or later.
    pub(crate) fn clock_set(&mut self, shift: &ClockShift) {
        self.checked_at = shift.past(self.checked_at);
    }

    /// Requests to the LSP, each with the time from which it is due. Changes are due at once: first removals, which
    /// make room, then registrations. The list is due from time to time. A repeated request does no harm.
    pub(crate) fn outstanding(&self, check_every: Duration) -> impl Iterator<Item = (Timestamp, Ask)> {
        let unwanted = self.apps.iter().filter(|(_, app)| app.state == AppState::Unwanted);
        let wanted = self.apps.iter().filter(|(_, app)| app.state == AppState::Wanted);
        let removes = unwanted.map(|(name, _)| Ask::Remove(name.clone()));
        let sets = wanted.map(|(name, app)| Ask::Set(name.clone(), app.url.clone()));
        let apps = removes.chain(sets).map(|ask| (Timestamp::default(), ask));
        apps.chain([(self.checked_at + check_every, Ask::List)])
    }

    /// The LSP.
    #[must_use]
    pub fn lsp(&self) -> PeerId {
        self.lsp
    }

    /// The apps, by name.
    pub fn apps(&self) -> impl Iterator<Item = (&AppName, &App)> {
        self.apps.iter()
    }

    /// The app of this name.
    #[must_use]
    pub fn app(&self, name: &AppName) -> Option<&App> {
        self.apps.get(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.apps.len()
    }

    fn moves(&mut self, name: &AppName, state: AppState) {
        if let Some(app) = self.apps.get_mut(name) {
            app.state = state;
        }
    }
}

impl App {
    fn is_wanted_at(&self, url: &WebhookUrl) -> bool {
        self.state == AppState::Wanted && self.url == *url
    }
}

//! Webhooks by which an LSP calls the wallet while it is away (LSPS5): one flow for each LSP.
//!
//! What the wallet wants is on record first. Then it is registered, looked for now and then, and registered again where the
//! LSP lost it: [`Input::KeepWebhook`](crate::Input::KeepWebhook) is all that an application says.

use alloc::{collections::BTreeMap, string::String, vec, vec::Vec};
use core::time::Duration;

use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{ClockShift, PeerId, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) mod book;

pub use book::TooManyApps;

/// What is registered with one LSP, or is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhooks {
    pub(crate) lsp: PeerId,
    apps: BTreeMap<AppName, App>,
    /// When the LSP last said what it has.
    checked_at: Timestamp,
}

/// One app of the wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Where the LSP is to post.
    pub url: WebhookUrl,
    /// How far it is.
    pub state: AppState,
}

/// How far an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppState {
    /// To be registered, for the first time or again.
    Wanted,
    /// The LSP said that it is.
    Registered,
    /// The LSP said no. It is asked again some hours later.
    Refused {
        /// Why; [`SetWebhookError`](lsps_types::codes::SetWebhookError) knows some.
        code: i64,
    },
    /// To be removed.
    Unwanted,
}

/// What happens to them.
#[derive(Debug)]
pub(crate) enum Command {
    /// The wallet wants this.
    Keep(AppName, WebhookUrl),
    /// It wants this no more.
    Remove(AppName),
    /// What the LSP said to this name and URL, and why where it refused.
    Answered(AppName, WebhookUrl, Result<(), i64>),
    /// It does not have this name any more.
    Removed(AppName),
    /// It has these.
    Listed(Vec<String>),
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// On record: it will be registered.
    Wanted(AppName, WebhookUrl),
    /// The LSP has it.
    Registered(AppName),
    /// The LSP refused it.
    Refused {
        /// The app.
        app: AppName,
        /// Why; [`SetWebhookError`](lsps_types::codes::SetWebhookError) knows some.
        code: i64,
    },
    /// The LSP does not have it, or it is time to ask once more; it will be registered again.
    Again(AppName),
    /// On record: it will be removed.
    Unwanted(AppName),
    /// The LSP has it no more.
    Removed(AppName),
    /// The LSP said what it has.
    Checked(Timestamp),
}

/// What is to be asked next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Set(AppName, WebhookUrl),
    Remove(AppName),
    List,
}

impl Ask {
    /// The app that the question is about; `None`: the whole list.
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

    /// Reads only: what the command means here.
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
                // Otherwise the wallet changed its mind while the LSP was asked.
                (Some(app), Ok(())) if app.is_wanted_at(url) => vec![Event::Registered(name.clone())],
                (Some(app), Err(code)) if app.is_wanted_at(url) => {
                    vec![Event::Refused { app: name.clone(), code: *code }]
                }
                (Some(_) | None, Ok(()) | Err(_)) => vec![],
            },
            Command::Removed(name) => match self.apps.get(name).map(|app| app.state) {
                Some(S::Unwanted) => vec![Event::Removed(name.clone())],
                // The wallet changed its mind, and what it wants now was or will be asked for.
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

    /// Writes only: total, no clock. Nothing else changes the state.
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

    /// The clock was set. Not worth a record: a check comes some hours earlier or later.
    pub(crate) fn clock_set(&mut self, shift: &ClockShift) {
        self.checked_at = shift.past(self.checked_at);
    }

    /// Questions to the LSP, and when each was due. Changes that an app waits for were due long ago, first removals,
    /// which make room, then the others; the list of what the LSP has is due from time to time. Asking twice does no
    /// harm.
    pub(crate) fn outstanding(&self, check_every: Duration) -> impl Iterator<Item = (Timestamp, Ask)> {
        let unwanted = self.apps.iter().filter(|(_, app)| app.state == AppState::Unwanted);
        let wanted = self.apps.iter().filter(|(_, app)| app.state == AppState::Wanted);
        let removes = unwanted.map(|(name, _)| Ask::Remove(name.clone()));
        let sets = wanted.map(|(name, app)| Ask::Set(name.clone(), app.url.clone()));
        let apps = removes.chain(sets).map(|ask| (Timestamp::default(), ask));
        apps.chain([(self.checked_at + check_every, Ask::List)])
    }

    /// With whom.
    #[must_use]
    pub fn lsp(&self) -> PeerId {
        self.lsp
    }

    /// The apps, by name.
    pub fn apps(&self) -> impl Iterator<Item = (&AppName, &App)> {
        self.apps.iter()
    }

    /// One of them.
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

//! The webhooks at one LSP as a flow: its commands.

use alloc::{string::String, vec, vec::Vec};
use core::convert::Infallible;

use lsps_flow::{Due, Flow, Indexed};
use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{PeerId, Timestamp};

use super::{Event, Webhooks};
use crate::effect::Effect;
use crate::wake::Wake;

/// Command to the webhooks at one LSP.
#[derive(Debug)]
pub enum Command {
    /// The wallet wants this webhook.
    Keep(AppName, WebhookUrl),
    /// The wallet no longer wants the webhook of this app.
    Remove(AppName),
    /// The LSP answered the registration of this name and URL; with the error code if it refused.
    Answered(AppName, WebhookUrl, Result<(), i64>),
    /// The LSP has no webhook of this name any more.
    Removed(AppName),
    /// The LSP listed its webhooks.
    Listed(Vec<String>),
}

impl Flow for Webhooks {
    type Id = PeerId;
    type Command<'a> = Command;
    type Event = Event;
    type Reject = Infallible;
    /// The requests to the LSP are no effects of a host: the client sends them itself.
    type Effect = Effect;
    type Context<'a> = Timestamp;

    fn id(&self) -> PeerId {
        self.lsp
    }

    fn decide(&self, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Infallible> {
        Ok(self.decide(command, *now))
    }

    fn apply(&mut self, event: Event) {
        self.apply(&event);
    }

    fn outstanding(&self) -> Vec<Effect> {
        vec![]
    }

    fn is_over(&self, _: &Timestamp) -> bool {
        self.apps.is_empty()
    }
}

impl Indexed for Webhooks {
    type Shared = ();
    type Keys = ();
    type Index = ();
    /// Deadlines depend on which requests rest, so `Registrations` computes them.
    type Wake = Wake;
    type Signal = Infallible;

    fn keys(&self, (): &()) {}

    fn due(&self, (): &(), (): &()) -> Due<Wake> {
        Due::default()
    }

    fn reindex(&self, (): &mut (), (): &(), (): &()) {}
}

//! LSPS5: webhooks that wake clients.

use alloc::collections::BTreeSet;

use lsps_types::PeerId;

use crate::effect::{Effect, PostKey};
use crate::ids::FlowId;
use crate::outcome::Outcome;
use crate::service::Service;

pub(crate) mod cooldown;
pub(crate) mod registry;
pub(crate) mod requests;
pub(crate) mod wake_reason;
pub(crate) mod webhooks;

use wake_reason::WakeReason;
use webhooks::Command;

impl Service {
    /// Notifies the webhooks of every absent client that an effect wants to wake.
    pub(crate) fn call_by_webhooks(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::WakeClient { peer, .. } = effect {
                let _it_may_have_none = self.tell_webhooks(*peer, &Command::WakeUp(&WakeReason::PaymentIncoming));
            }
        }
    }

    /// Stores whether the node has channels with a client, also for clients without webhooks: they may register some
    /// later.
    pub(crate) fn channels_with(&mut self, peer: PeerId, any: bool) -> Outcome {
        if any {
            self.with_channels.insert(peer);
        } else {
            self.with_channels.remove(&peer);
        }
        self.tell_webhooks(peer, &Command::Channels(any))
    }

    /// Executes a command to the webhooks of a client; releases new effects, or removes a record that is over.
    pub(crate) fn tell_webhooks(&mut self, client: PeerId, command: &Command<'_>) -> Outcome {
        if !matches!(command, Command::ClockSet(_) | Command::Environment)
            && self.webhooks.is_due(client, self.around.now)
        {
            let _it_is_there = self.tell_webhooks(client, &Command::Environment);
        }
        let posts = |webhooks: &webhooks::Webhooks| webhooks.owed_posts().collect::<BTreeSet<PostKey>>();
        let before = self.webhooks.get(&client).map(posts).unwrap_or_default();
        let ctx = self.around.context(client);
        let Some(Ok(moved)) = self.webhooks.step(client, command, &ctx, &self.around, |_| {}) else {
            return Outcome::NotMine;
        };
        let after = moved.over.as_ref().or(self.webhooks.get(&client)).map(posts).unwrap_or_default();
        let is_reported = |key: &PostKey| matches!(command, Command::PostOver { number, .. } if *number == key.number);
        let withdrawn = before.into_iter().filter(|key| !after.contains(key) && !is_reported(key));
        self.released.withdrawn.extend(withdrawn);
        self.moved(FlowId::Webhooks(client), moved);
        Outcome::Taken
    }
}

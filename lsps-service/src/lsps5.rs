//! LSPS5: webhooks that wake clients.

use alloc::{collections::BTreeSet, vec::Vec};

use lsps_types::PeerId;

use crate::effect::{Effect, PostKey};
use crate::flow;
use crate::ids::FlowId;
use crate::outcome::Outcome;
use crate::service::Service;

pub(crate) mod cooldown;
pub(crate) mod occasion;
pub(crate) mod registry;
pub(crate) mod requests;
pub(crate) mod webhooks;

use occasion::Occasion;
use webhooks::Told;

impl Service {
    /// Notifies the webhooks of every absent client that an effect wants to wake.
    pub(crate) fn call_by_webhooks(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::WakeClient { peer, .. } = effect {
                let _it_may_have_none = self.tell_webhooks(*peer, &Told::Occasion(&Occasion::PaymentIncoming));
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
        self.tell_webhooks(peer, &Told::Channels(any))
    }

    /// Executes a command to the webhooks of a client; releases new effects, or removes a record that is over.
    pub(crate) fn tell_webhooks(&mut self, client: PeerId, told: &Told<'_>) -> Outcome {
        if !matches!(told, Told::ClockSet(_) | Told::Surroundings) && self.webhooks.is_due(client, self.around.now) {
            let _it_is_there = self.tell_webhooks(client, &Told::Surroundings);
        }
        let Some(webhooks) = self.webhooks.get_mut(client) else { return Outcome::NotMine };
        let ctx = self.around.context(client);
        let before: Vec<PostKey> = webhooks.owed_posts().collect();
        let Ok(flow::Stepped { owed, has_no_end }) = flow::step(webhooks, told, &ctx) else { return Outcome::NotMine };
        self.released.alarms.extend(has_no_end.then_some(FlowId::Webhooks(client)));
        let after: BTreeSet<PostKey> = webhooks.owed_posts().collect();
        let is_reported = |key: &PostKey| matches!(told, Told::PostOver { number, .. } if *number == key.number);
        let withdrawn = before.into_iter().filter(|key| !after.contains(key) && !is_reported(key));
        self.released.withdrawn.extend(withdrawn);
        let is_changed = owed.is_some();
        self.released.effects.extend(owed.into_iter().flatten());
        let is_gone = self.webhooks.settle(client, &self.around.config, self.around.now);
        if is_changed || is_gone {
            self.changed.insert(FlowId::Webhooks(client));
        }
        Outcome::Taken
    }
}

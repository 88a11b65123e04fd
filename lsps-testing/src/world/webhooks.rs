//! Webhooks of the clients in a world, each of which answers in its own way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lsps_service::{FlowId, Input, Occasion, PostKey};
use lsps_types::lsps5::{AppName, ListWebhooks, Notification, RemoveWebhook, SetWebhook, WebhookUrl};
use lsps_types::{BlockHeight, PeerId, Timestamp};

use super::host_loop::Host as _;
use super::script::{APPS, CLIENTS};
use super::{Stage, World};
use crate::setup::peer;

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    /// What clients were told is registered.
    set: BTreeMap<PeerId, BTreeMap<AppName, String>>,
    /// Whether the service was told of a channel.
    channels: BTreeMap<PeerId, bool>,
    /// Webhooks that heard that they are registered.
    announced: BTreeSet<(PeerId, String)>,
    /// When which client was called for what.
    calls: BTreeMap<(PeerId, String), BTreeSet<Timestamp>>,
}

impl Hooks {
    /// The LSP's process starts, and its host is to be told of all channels.
    pub fn start(&mut self, believed: Vec<PeerId>) {
        self.channels = believed.into_iter().map(|client| (client, true)).collect();
    }
}

impl World {
    pub(super) fn sets_webhook(&mut self, client: PeerId, app: u8, url: u8) {
        if !self.lsp.may_ask(client) {
            return;
        }
        let name = AppName::new(format!("app {app}")).expect("short");
        let url = format!("https://{}.example.org/{client}/{url}", ANSWERS[usize::from(app)]);
        let webhook = WebhookUrl::new(url.clone()).expect("a URL");
        if self.answers(client, &SetWebhook::new(name.clone(), webhook)).is_some() {
            let record = FlowId::Webhooks(client).to_string();
            assert!(self.lsp.store.contains_key(&record), "written before told");
            self.hooks.set.entry(client).or_default().insert(name, url);
        }
    }

    pub(super) fn removes_webhook(&mut self, client: PeerId, app: u8) {
        if !self.lsp.may_ask(client) {
            return;
        }
        let name = AppName::new(format!("app {app}")).expect("short");
        let was_there = self.hooks.set.entry(client).or_default().remove(&name).is_some();
        let removed = self.answers(client, &RemoveWebhook { app_name: name.into() }).is_some();
        assert_eq!(removed, was_there, "what was registered can be removed, once");
    }

    pub(super) fn calls(&mut self, peer: PeerId, occasion: u8) {
        let occasion = match occasion {
            0 => Occasion::ExpirySoon { timeout: BlockHeight(self.lsp.chain.height + 24) },
            1 => Occasion::LiquidityManagementRequest,
            2 => Occasion::OnionMessageIncoming,
            _ => Occasion::PaymentIncoming,
        };
        self.feed(Input::Occasion { peer, occasion });
    }

    /// What of the node's channels the service was not told.
    pub(super) fn tell_channels(&mut self) {
        for client in (1..=CLIENTS).map(peer) {
            let any = !self.lsp.node.channels_of(client, |stage| stage >= Stage::Pending).is_empty();
            if self.hooks.channels.insert(client, any).unwrap_or_default() != any {
                self.feed(Input::ChannelsWith { peer: client, any });
            }
        }
    }

    /// Before it is posted; the answer.
    pub(super) fn posts(&mut self, key: PostKey, url: &str, body: &str, raised: Timestamp) -> Option<Input> {
        let client = key.client;
        let terms = &self.lsp.setup.config;
        let hook = (client, url.to_string());
        if Notification::parse(body.as_bytes()) == Ok(Notification::WebhookRegistered) {
            self.hooks.announced.insert(hook);
        } else {
            assert!(self.lsp.is_late || !self.lsp.links.contains_key(&client), "{client} is there and is called");
            assert!(self.hooks.announced.contains(&hook), "{url} hears {body} before it was told of its registration");
            let calls = self.hooks.calls.entry((client, body.split('"').nth(7).expect("a method").into())).or_default();
            calls.insert(raised);
            let lately = calls.range(raised..).count().max(1);
            assert!(lately == 1, "posts of the past come up: {calls:?}");
            let cooling = calls.iter().filter(|at| **at + terms.webhooks.cooldown > raised).count();
            assert!(cooling <= terms.limits.calls_per_cooldown, "{client} is called too often: {calls:?}");
        }
        match ANSWERS.iter().position(|answer| url.contains(answer)) {
            Some(0) => Some(Input::WebhookDelivered { key }),
            Some(1) => Some(Input::WebhookFailed { key }),
            // A server that cannot be reached, or nothing comes back at all.
            Some(2) if key.number.is_multiple_of(2) => Some(Input::WebhookUnreached { key }),
            _ => None,
        }
    }

    /// Webhooks are kept for as long as there are channels, and seven days at the least.
    pub(super) fn hooks_lapse(&mut self) {
        for client in (1..=CLIENTS).map(peer) {
            let listed = self.answers(client, &ListWebhooks {}).expect("a list").app_names;
            let set: Vec<String> =
                self.hooks.set.entry(client).or_default().keys().cloned().map(String::from).collect();
            assert_eq!(listed, set, "what {client} was told is registered");
            self.feed(Input::ChannelsWith { peer: client, any: false });
        }
        // A registration is renewed on record once an hour, and kept for as much longer.
        self.lsp.now = self.lsp.now + self.lsp.setup.config.webhooks.keep + Duration::from_secs(3_600);
        self.run();
    }
}

/// How the webhooks of each app answer: with 200, otherwise, never.
const ANSWERS: [&str; APPS as usize] = ["good", "bad", "silent"];

//! Webhooks of the clients in a world.

use std::time::Duration;

use lsps_service::{FlowId, WakeReason};
use lsps_types::lsps5::{AppName, ListWebhooks, RemoveWebhook, SetWebhook, WebhookUrl};
use lsps_types::{BlockHeight, PeerId};

use super::World;
use super::script::CLIENTS;
use crate::model::webhooks::ANSWERS;
use crate::setup::peer;

impl World {
    pub(super) fn sets_webhook(&mut self, client: PeerId, app: u8, url: u8) {
        if !self.model().may_ask(client) || self.model().fence.falls.is_some() {
            return;
        }
        let name = AppName::new(format!("app {app}")).expect("short");
        let url = format!("https://{}.example.org/{client}/{url}", ANSWERS[usize::from(app)]);
        let webhook = WebhookUrl::new(url.clone()).expect("a URL");
        if self.lsp.answers(client, &SetWebhook::new(name.clone(), webhook)).is_some() {
            let mut model = self.model();
            assert!(model.has_record(FlowId::Webhooks(client)), "written before told");
            model.hooks.set.entry(client).or_default().insert(name, url);
        }
    }

    pub(super) fn removes_webhook(&mut self, client: PeerId, app: u8) {
        if !self.model().may_ask(client) || self.model().fence.falls.is_some() {
            return;
        }
        let name = AppName::new(format!("app {app}")).expect("short");
        let was_there = self.model().hooks.set.entry(client).or_default().remove(&name).is_some();
        let removed = self.lsp.answers(client, &RemoveWebhook { app_name: name.into() }).is_some();
        assert_eq!(removed, was_there, "what was registered can be removed, once");
    }

    pub(super) fn calls(&mut self, peer: PeerId, reason: u8) {
        let reason = match reason {
            0 => WakeReason::ExpirySoon { timeout: BlockHeight(self.model().chain.height + 24) },
            1 => WakeReason::LiquidityManagementRequest,
            2 => WakeReason::OnionMessageIncoming,
            _ => WakeReason::PaymentIncoming,
        };
        self.lsp.ask(|lsp| async move {
            let _ = lsp.wake_client(peer, reason).await;
        });
    }

    /// Checks that webhooks are kept for as long as there are channels, and for seven days at least.
    pub(crate) fn hooks_lapse(&mut self) {
        for client in (1..=CLIENTS).map(peer) {
            let listed = self.lsp.answers(client, &ListWebhooks {}).expect("a list").app_names;
            let set: Vec<String> =
                self.model().hooks.set.entry(client).or_default().keys().cloned().map(String::from).collect();
            assert_eq!(listed, set, "what {client} was told is registered");
        }
        self.model().node.now.channels.clear();
        self.model().chain.height += 1;
        self.run();
        // A registration is renewed on record once an hour, and kept for as much longer.
        let keep = self.model().setup.config.webhooks.keep;
        self.model().passes(keep + Duration::from_secs(3_600));
        self.run();
    }
}

//! `lsps5.set_webhook`, `lsps5.list_webhooks` and `lsps5.remove_webhook`.

use lsps_types::PeerId;
use lsps_types::codes::{RemoveWebhookError, SetWebhookError};
use lsps_types::jsonrpc::ErrorObject;
use lsps_types::lsps5::{AppName, RemoveWebhook, SetWebhook, TooManyWebhooks, WebhookRemoved, WebhookSet, Webhooks};

use crate::lsps5::webhooks::{self, Command};
use crate::service::Service;

impl Service {
    /// Registers a webhook. The checks come in this order: name and URL, the client's own limits, those of the service.
    pub(crate) fn set_webhook(&mut self, client: PeerId, request: &SetWebhook) -> Result<WebhookSet, ErrorObject> {
        let (name, url) = request.checked().map_err(ErrorObject::of_method)?;
        let limits = &self.around.config.limits;
        let is_customer = self.is_known(client);
        let most = limits.webhooks_of(is_customer);
        let max_webhooks = count(most);
        let known = self.webhooks.get(&client);
        let no_change = known.and_then(|known| known.url(&name)).is_some_and(|before| *before == url);
        let is_new = known.is_none_or(|known| known.url(&name).is_none());
        if is_new && known.is_some_and(|known| known.len() >= most) {
            let data = TooManyWebhooks { max_webhooks };
            return Err(ErrorObject::of_method_with(SetWebhookError::TooManyWebhooks, &data));
        }
        if !no_change
            && known.is_some_and(|known| known.changes(self.around.now) >= limits.webhook_changes_of(is_customer))
        {
            return Err(ErrorObject::client_rejected("too many changes of webhooks; come back later"));
        }
        let is_first = known.is_none();
        self.may_be_sold_to(client)?;
        let limits = &self.around.config.limits;
        if is_first {
            let strangers = self.webhooks.index().strangers();
            let (of_its_kind, room) = if is_customer {
                (self.webhooks.len().saturating_sub(strangers), limits.webhook_clients)
            } else {
                (strangers, limits.webhook_strangers)
            };
            if of_its_kind >= room {
                return Err(ErrorObject::client_rejected("too many clients have webhooks"));
            }
            let has_channel = self.with_channels.contains(&client);
            self.webhooks.begin(webhooks::Webhooks::new(client, has_channel, is_customer));
        }
        let _it_is_there = self.tell_webhooks(client, &Command::Set { name, url, is_customer });
        let num_webhooks = self.webhooks.get(&client).map_or(0, |known| count(known.len()));
        Ok(WebhookSet { num_webhooks, max_webhooks, no_change })
    }

    pub(crate) fn list_webhooks(&self, client: PeerId) -> Webhooks {
        let names = self.webhooks.get(&client).into_iter().flat_map(webhooks::Webhooks::names);
        Webhooks {
            app_names: names.map(|name| name.as_str().into()).collect(),
            max_webhooks: self.max_webhooks(client),
        }
    }

    pub(crate) fn remove_webhook(
        &mut self,
        client: PeerId,
        request: &RemoveWebhook,
    ) -> Result<WebhookRemoved, ErrorObject> {
        let name = AppName::new(request.app_name.clone()).ok();
        let known = |name: &AppName| self.webhooks.get(&client).is_some_and(|known| known.url(name).is_some());
        let name = name.filter(known).ok_or_else(|| ErrorObject::of_method(RemoveWebhookError::AppNameNotFound))?;
        let _it_is_there = self.tell_webhooks(client, &Command::Remove { name });
        Ok(WebhookRemoved {})
    }

    fn max_webhooks(&self, client: PeerId) -> u32 {
        count(self.around.config.limits.webhooks_of(self.is_known(client)))
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

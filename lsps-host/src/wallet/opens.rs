//! Channels that LSPs ask to open.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::types::ChannelId;

use lsps_client::ChannelKey;
use lsps_client::jit_receive::{OpenRequest, Purchase, RefuseChannel};
use lsps_client::order::Order;

use super::news::WalletEvent;
use super::pump::Pump;
use crate::peers::{Manager, peer_id};

impl<M: Manager> Pump<M> {
    /// Whether it was ours.
    pub(super) fn open_requested(&mut self, lsp: PublicKey, temporary: ChannelId, request: OpenRequest) -> bool {
        // LSPs in the field leave it out of the channel's type. Later invoices have their alias all the same.
        let scid_alias = request.scid_alias || self.peers.have_scid_alias(&lsp);
        let request = OpenRequest { scid_alias, ..request };
        match self.session.with(|client, now| client.open_requested(&request, now)) {
            Ok(()) => {
                self.requests.insert(request.key, (lsp, temporary));
                true
            }
            // After a crash of the LSP its next attempt may be here before the end of the one it forgot.
            Err(RefuseChannel::AllHaveChannels) if self.may_have_lost_one(&lsp) => {
                self.postponed.insert(request.key, (request, lsp, temporary));
                true
            }
            Err(RefuseChannel::NothingBought | RefuseChannel::AllHaveChannels) => false,
            Err(why) => {
                self.refuse(&temporary, lsp, why);
                true
            }
        }
    }

    /// Takes what was postponed when there is room for it, and refuses it when the channels turn out to be alive.
    pub(super) fn look_at_postponed(&mut self) {
        for (key, (request, lsp, temporary)) in std::mem::take(&mut self.postponed) {
            match self.session.with(|client, now| client.open_requested(&request, now)) {
                Ok(()) => drop(self.requests.insert(key, (lsp, temporary))),
                Err(RefuseChannel::AllHaveChannels) if self.may_have_lost_one(&lsp) => {
                    self.postponed.insert(key, (request, lsp, temporary));
                }
                Err(why) => self.refuse(&temporary, lsp, why),
            }
        }
    }

    /// Whether a channel that was bought or ordered is not usable yet or again, or closed without our having heard.
    fn may_have_lost_one(&self, lsp: &PublicKey) -> bool {
        let id = peer_id(lsp);
        let keys: Vec<ChannelKey> = self.session.with(|client, _| {
            let bought = client.purchases().filter(|purchase| purchase.lsp() == id).filter_map(Purchase::channel);
            let ordered = client.orders().filter(|order| order.lsp() == id).filter_map(Order::channel);
            bought.map(|channel| channel.key).chain(ordered.map(|channel| channel.key)).collect()
        });
        keys.into_iter().any(|key| self.node.channel(lsp, key).is_none_or(|channel| !channel.is_usable))
    }

    fn refuse(&self, temporary: &ChannelId, lsp: PublicKey, why: RefuseChannel) {
        self.node.refuse(temporary, &lsp, why.to_string());
        self.tell(WalletEvent::ChannelRefused { lsp, why });
    }
}

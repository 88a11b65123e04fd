//! Handling of requests of LSPs to open a channel.

use bitcoin::hashes::{Hash, HashEngine, sha256};

use lsps_client::jit_receive::{Handled, OpenRequest, Purchase, RefuseChannel};
use lsps_client::order::Order;
use lsps_client::{AcceptTerms, ChannelKey};
use lsps_types::PeerId;

use super::events::WalletEvent;
use super::pump::Pump;
use crate::ports::ChannelRequest;

impl Pump {
    pub(super) fn open_requested(&mut self, request: ChannelRequest) -> Handled {
        let ChannelRequest { peer, announced, zero_conf, funding, pushed, .. } = request;
        // Deployed LSPs omit `scid_alias` from the channel type; later invoices use the alias if it was negotiated.
        let scid_alias = request.scid_alias || self.node.has_scid_alias(peer);
        let key = channel_key(&request);
        let asked = OpenRequest { lsp: peer, key, announced, scid_alias, zero_conf, funding, pushed };
        match self.session.with(|client, now| client.open_requested(&asked, now)) {
            Ok(()) => {
                self.requests.insert(key, request);
                Handled::Taken
            }
            // After a crash of the LSP its next request may arrive before the node reports the end of the lost channel.
            Err(RefuseChannel::AllHaveChannels) if self.may_have_lost_one(peer) => {
                self.postponed.insert(key, (asked, request));
                Handled::Taken
            }
            Err(RefuseChannel::NothingBought | RefuseChannel::AllHaveChannels) => Handled::NotMine,
            Err(why) => {
                self.refuse(&request, why);
                Handled::Taken
            }
        }
    }

    /// Accepts postponed requests once an earlier channel has ended; refuses them if all earlier channels are usable.
    pub(super) fn look_at_postponed(&mut self) {
        for (key, (asked, request)) in std::mem::take(&mut self.postponed) {
            match self.session.with(|client, now| client.open_requested(&asked, now)) {
                Ok(()) => drop(self.requests.insert(key, request)),
                Err(RefuseChannel::AllHaveChannels) if self.may_have_lost_one(request.peer) => {
                    self.postponed.insert(key, (asked, request));
                }
                Err(why) => self.refuse(&request, why),
            }
        }
    }

    /// Executes the effect that accepts a channel. If the node has neither channel nor request, the channel ends.
    pub(super) fn accept(&mut self, key: ChannelKey, lsp: PeerId, terms: &AcceptTerms) {
        if self.channel(lsp, key).is_some() {
            return;
        }
        let request = self.requests.remove(&key);
        if request.is_none_or(|request| self.node.accept(&request, key, terms).is_err()) {
            let _ = self.channel_ended(key);
        }
    }

    /// Whether a bought or ordered channel of this LSP is missing at the node or not usable.
    fn may_have_lost_one(&self, lsp: PeerId) -> bool {
        let keys: Vec<ChannelKey> = self.session.with(|client, _| {
            let bought = client.purchases().filter(|purchase| purchase.lsp() == lsp).filter_map(Purchase::channel);
            let ordered = client.orders().filter(|order| order.lsp() == lsp).filter_map(Order::channel);
            bought.map(|channel| channel.key).chain(ordered.map(|channel| channel.key)).collect()
        });
        let channels = self.node.channels_with(lsp);
        let is_alive = |key: &ChannelKey| channels.iter().any(|channel| channel.key == *key && channel.is_usable);
        !keys.iter().all(is_alive)
    }

    fn refuse(&self, request: &ChannelRequest, why: RefuseChannel) {
        self.node.refuse(request, &why.to_string());
        self.tell(WalletEvent::ChannelRefused { lsp: request.peer, why });
    }
}

/// Key of a requested channel. A request that is repeated after a reconnect has the same key.
fn channel_key(request: &ChannelRequest) -> ChannelKey {
    let mut engine = sha256::Hash::engine();
    engine.input(&request.peer.0);
    engine.input(&request.id);
    let hash = sha256::Hash::from_engine(engine).to_byte_array();
    let (key, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
    ChannelKey(u128::from_be_bytes(*key))
}

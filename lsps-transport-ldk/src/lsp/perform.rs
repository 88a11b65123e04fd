//! Effects to calls. What LDK says at once is the answer; the rest comes as events.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{ScriptBuf, Transaction};
use tokio::time::Instant;

use lsps_service::{ChannelEnd, ChannelKey, Effect, Input};
use lsps_types::PeerId;

use super::news::LspEvent;
use super::node::Asked;
use super::pump::{Pump, SETTLE, inputs_of};
use super::report;
use crate::peers::{Manager, public_key};

impl<M: Manager> Pump<M> {
    pub(super) fn perform(&mut self, effect: Effect) -> Vec<Input> {
        report::doing(&effect);
        match effect {
            Effect::OpenChannel { key, peer, capacity_sat, client_reserve, max_client_to_self_delay, .. } => {
                let ended = |why| vec![Input::ChannelEnded { key, why }];
                let Some(peer) = public_key(peer) else { return ended(ChannelEnd::Rejected) };
                if self.node.channel(&peer, key).is_some() {
                    return vec![];
                }
                if !self.peers.is_connected(&peer) {
                    return ended(ChannelEnd::PeerGone);
                }
                let opened = self.node.open(peer, capacity_sat, key, client_reserve, max_client_to_self_delay);
                opened.map_or_else(|e| ended(ChannelEnd::CannotOpen(format!("{e:?}"))), |()| vec![])
            }
            Effect::FundChannel { key, peer, output } => {
                let script = ScriptBuf::from_bytes(output.script);
                match self.outside.wallet.fund(key.to_u128(), &script, output.value_sat, self.outside.chain.fee_rate())
                {
                    Ok(tx) => {
                        let mining_sat = self.outside.wallet.mining_fee_sat(&tx);
                        vec![Input::FundingBuilt { key, tx: serialize(&tx), mining_sat }]
                    }
                    Err(why) => {
                        self.close(peer, key);
                        vec![Input::ChannelEnded { key, why: ChannelEnd::CannotOpen(why.to_string()) }]
                    }
                }
            }
            Effect::HandFunding { key, peer, tx } => self.hand_funding(key, peer, &tx),
            Effect::BroadcastFunding { key, tx, ask } => {
                if let Ok(tx) = deserialize::<Transaction>(&tx) {
                    self.outside.chain.broadcast(&tx);
                    if ask > 1 && self.depth(key, &tx) == 0 {
                        let bumped = self.outside.wallet.bump(&tx, self.outside.chain.fee_rate());
                        let stuck = LspEvent::FundingStuck { key, txid: tx.compute_txid(), bumped };
                        let _nobody_listens = self.outside.events.send(stuck);
                    }
                }
                vec![]
            }
            Effect::AbandonChannel { key, peer, tx } => {
                self.close(peer, key);
                if let Some(tx) = tx {
                    self.release(&tx);
                }
                vec![Input::ChannelAbandoned { key }]
            }
            Effect::ForwardPart { part, key, channel_id, peer, amount, .. } => {
                let Some(client) = public_key(peer) else { return vec![Input::ForwardRefused { part }] };
                // One that is not held any more may be with the client: then nothing is known yet.
                if self.node.holds(part) && !self.node.is_usable(&client) {
                    return vec![Input::PartStillHeld { part }];
                }
                let named = self.node.channel(&client, key).map_or(channel_id.0, |details| details.channel_id.0);
                match self.node.forward(part, &lightning::ln::types::ChannelId(named), client, amount) {
                    Asked::Done => vec![],
                    Asked::NotHeld => {
                        self.suspects.entry(peer).or_insert_with(|| Instant::now() + SETTLE);
                        vec![]
                    }
                    Asked::Refused => vec![Input::ForwardRefused { part }],
                }
            }
            Effect::FailPart { part, code, .. } => match self.node.fail(part, code) {
                Asked::Done | Asked::NotHeld => vec![Input::PartFailed { part }],
                Asked::Refused => vec![],
            },
            Effect::WakeClient { peer, until, .. } => {
                if let Some(client) = public_key(peer) {
                    let _nobody_listens = self.outside.events.send(LspEvent::ClientNeeded { client, until });
                }
                vec![]
            }
            Effect::Book { key, entry } => {
                self.unbooked.insert(key, entry); // answered when it is written
                vec![]
            }
        }
    }

    fn hand_funding(&self, key: ChannelKey, peer: PeerId, tx: &[u8]) -> Vec<Input> {
        let gone = || vec![Input::ChannelEnded { key, why: ChannelEnd::PeerGone }];
        let Some(client) = public_key(peer) else { return gone() };
        let (Some(channel), Ok(tx)) = (self.node.channel(&client, key), deserialize::<Transaction>(tx)) else {
            return gone();
        };
        if channel.funding_txo.is_some() {
            return vec![]; // it was handed over before
        }
        match self.node.fund(client, channel.channel_id, tx) {
            Ok(()) => vec![],
            Err(why) => vec![Input::ChannelEnded { key, why: ChannelEnd::CannotOpen(format!("{why:?}")) }],
        }
    }

    fn close(&self, peer: PeerId, key: ChannelKey) {
        let channel = public_key(peer).and_then(|peer| Some((peer, self.node.channel(&peer, key)?)));
        if let Some((peer, channel)) = channel {
            self.node.close(&peer, &channel.channel_id);
        }
    }

    pub(super) fn release(&self, tx: &[u8]) {
        if let Ok(tx) = deserialize::<Transaction>(tx) {
            self.outside.wallet.release(&inputs_of(&tx));
        }
    }
}

//! Effects to calls. What LDK says at once is the answer; the rest comes as events.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{OutPoint, ScriptBuf, Transaction, TxOut};

use lsps_service::{ChannelEnd, ChannelKey, Effect, FlowId, FundingOutput, Input, OpenedFor, PartId};
use lsps_types::{Blocks, Msat, PeerId};

use super::news::{LspEvent, Owed};
use super::node::{Asked, room_in};
use super::pump::{Pump, inputs_of, sat_per_kw};
use super::report;
use super::webhooks::Post;
use crate::onchain::{Broadcast, CannotFund, their_outpoint};
use crate::peers::{Manager, public_key};

impl<M: Manager> Pump<M> {
    pub(super) fn perform(&mut self, effect: Effect) -> Vec<Input> {
        report::doing(&effect);
        match effect {
            Effect::OpenChannel { key, peer, terms } => {
                let ended = |why| vec![Input::ChannelEnded { key, why }];
                let Some(peer) = public_key(peer) else { return ended(ChannelEnd::Rejected) };
                if self.node.channel(&peer, key).is_some() {
                    return vec![];
                }
                if !self.peers.is_connected(&peer) {
                    return ended(ChannelEnd::PeerGone);
                }
                let htlcs = self.service.opened_for(key).map_or(1, |first| first.htlcs);
                let feerate = sat_per_kw(self.outside.chain.commitment_fee_rate());
                let opened = self.node.open(peer, key, &terms, htlcs, feerate);
                opened.map_or_else(
                    |e| ended(ChannelEnd::CannotOpen(format!("{e:?}"))),
                    |()| vec![Input::ChannelAsked { key }],
                )
            }
            Effect::FundChannel { key, peer, output, confirm_within } => {
                let fits = self.check_room(key, peer);
                let built =
                    fits.and_then(|()| self.build_funding(key, &output, confirm_within).map_err(|why| why.to_string()));
                vec![built.unwrap_or_else(|why| {
                    self.close(peer, key);
                    Input::ChannelEnded { key, why: ChannelEnd::CannotOpen(why) }
                })]
            }
            Effect::HandFunding { key, peer, tx } => self.hand_funding(key, peer, &tx),
            Effect::BroadcastFunding { key, tx, ask } => {
                if let Ok(tx) = deserialize::<Transaction>(&tx) {
                    self.broadcast(Owed::Funding(key), &tx);
                    if ask > 1 && self.depth(key, None, &tx) == 0 {
                        let bumped = self.outside.wallet.bump(&tx, self.outside.chain.fee_rate());
                        let stuck = LspEvent::FundingStuck { key, txid: tx.compute_txid(), bumped };
                        self.outside.events.send(stuck);
                    }
                }
                vec![]
            }
            Effect::AbandonChannel { key, peer, tx } => {
                if tx.is_some() {
                    // Both may have signed it, and something may be on it that is not told yet.
                    self.unsettled.abandoned.insert(key, (peer, tx));
                    return vec![];
                }
                self.close(peer, key);
                vec![Input::ChannelAbandoned { key }]
            }
            Effect::CarryOthers { key, peer } => {
                public_key(peer).into_iter().for_each(|client| self.node.carry_others(&client, key));
                vec![]
            }
            Effect::ForwardPart { part, key, channel_id, peer, amount, .. } => {
                let Some(client) = public_key(peer) else { return vec![Input::ForwardRefused { part }] };
                // One that is not held any more may be with the client: then nothing is known yet.
                if let Some(amount_in) = self.node.held(part).filter(|_| !self.node.is_usable(&client)) {
                    return self.not_forwarded(part, key, amount_in);
                }
                let named = self.node.channel(&client, key).map_or(channel_id.0, |details| details.channel_id.0);
                match self.node.forward(part, &lightning::ln::types::ChannelId(named), client, amount) {
                    Asked::Done => vec![],
                    Asked::NotHeld => {
                        self.unsettled.suspect(peer);
                        vec![]
                    }
                    Asked::BringsLess(amount_in) => {
                        self.unsettled.suspect(peer);
                        self.not_forwarded(part, key, amount_in)
                    }
                    Asked::Refused => vec![Input::ForwardRefused { part }],
                }
            }
            Effect::FailPart { part, code, .. } => match self.node.fail(part, code) {
                Asked::Done | Asked::NotHeld => vec![Input::PartFailed { part }],
                Asked::Refused | Asked::BringsLess(_) => vec![],
            },
            Effect::WakeClient { peer, until, .. } => {
                if let Some(client) = public_key(peer) {
                    self.outside.events.send(LspEvent::ClientNeeded { client, until });
                }
                vec![]
            }
            Effect::PostWebhook { key, url, body, timestamp, until, urgency } => {
                let within = until.since(self.outside.clock.now());
                self.post(Post { key, url, body, timestamp, until, within, urgency })
            }
            Effect::PrepareOrder { order, invoice, offer, address } => {
                self.prepare_order(order, invoice, offer, address)
            }
            Effect::ClaimPayment { payment_hash, preimage, .. } => self.claim_payment(payment_hash, preimage),
            Effect::FailPayment { payment_hash, .. } => self.fail_payment(payment_hash),
            Effect::KeepDeposit { order, outpoint, .. } => self.keep_deposit(order, outpoint),
            Effect::BuildRefund { key, to, deposits } => {
                self.build_refund(key, to, deposits.into_iter().map(|(outpoint, _)| outpoint).collect())
            }
            Effect::BroadcastRefund { key, tx, ask } => self.broadcast_refund(key, &tx, ask),
            Effect::Book { key, entry } => {
                self.unbooked.insert(key, entry); // answered when it is written
                vec![]
            }
        }
    }

    /// The inputs for an HTLC that is held and was not forwarded; first of them whether the part on record is with the
    /// client.
    fn not_forwarded(&mut self, part: PartId, key: ChannelKey, amount_in: Msat) -> Vec<Input> {
        if let FlowId::JitChannel(scid) = key.flow {
            let known = self.service.known_parts_to(scid).collect();
            self.tell_whereabouts(known);
        }
        vec![Input::PartStillHeld { part, amount_in }]
    }

    /// The client may have taken another kind of channel than the one that was planned, and feerates move. Nothing is spent
    /// yet.
    fn check_room(&self, key: ChannelKey, peer: PeerId) -> Result<(), String> {
        let channel = public_key(peer).and_then(|peer| self.node.channel(&peer, key));
        let (Some(first), Some(channel)) = (self.service.opened_for(key), channel) else { return Ok(()) };
        let room = room_in(&channel, first.htlcs);
        if room >= first.deliver {
            return Ok(());
        }
        let (OpenedFor { deliver, htlcs }, sat) = (first, channel.channel_value_satoshis);
        Err(format!("a channel of {sat} sat carries {room} in {htlcs} HTLC(s) at once, {deliver} are to be delivered"))
    }

    fn build_funding(
        &self,
        key: ChannelKey,
        output: &FundingOutput,
        confirm_within: Option<Blocks>,
    ) -> Result<Input, CannotFund> {
        let (wallet, chain) = (&self.outside.wallet, &self.outside.chain);
        let script = ScriptBuf::from_bytes(output.script.clone());
        let fee_rate = confirm_within.map_or_else(|| chain.fee_rate(), |blocks| chain.fee_rate_within(blocks.0));
        let tx = wallet.fund(key.to_u128(), &script, output.value_sat, fee_rate)?;
        let is_it = |paid: &TxOut| paid.script_pubkey == script && paid.value.to_sat() == output.value_sat;
        let vout = tx.output.iter().position(is_it).and_then(|index| u32::try_from(index).ok());
        let outpoint = vout.and_then(|vout| their_outpoint(OutPoint { txid: tx.compute_txid(), vout }));
        let outpoint = outpoint.ok_or_else(|| CannotFund::Wallet("the output to fund is missing".into()))?;
        Ok(Input::FundingBuilt { key, mining_sat: wallet.mining_fee_sat(&tx), tx: serialize(&tx), outpoint })
    }

    fn hand_funding(&self, key: ChannelKey, peer: PeerId, tx: &[u8]) -> Vec<Input> {
        let gone = || vec![Input::ChannelEnded { key, why: ChannelEnd::PeerGone }];
        let Some(client) = public_key(peer) else { return gone() };
        let (Some(channel), Ok(tx)) = (self.node.channel(&client, key), deserialize::<Transaction>(tx)) else {
            // After a start what the node tells of it is still to come, and its end is told after that.
            return if self.unsettled.is_caught_up() { gone() } else { vec![] };
        };
        if channel.funding_txo.is_some() {
            return vec![]; // it was handed over before
        }
        match self.node.fund(client, channel.channel_id, tx) {
            Ok(()) => vec![],
            Err(why) => vec![Input::ChannelEnded { key, why: ChannelEnd::CannotOpen(format!("{why:?}")) }],
        }
    }

    pub(super) fn close(&self, peer: PeerId, key: ChannelKey) {
        let channel = public_key(peer).and_then(|peer| Some((peer, self.node.channel(&peer, key)?)));
        if let Some((peer, channel)) = channel {
            self.node.close(&peer, &channel.channel_id);
        }
    }

    /// Whatever the chain says, it is broadcast again with the next block.
    pub(super) fn broadcast(&self, of: Owed, tx: &Transaction) {
        let (txid, answer) = (tx.compute_txid(), self.outside.chain.broadcast(tx));
        report::broadcast(of, &txid, &answer);
        if let Broadcast::Refused(why) = answer {
            self.outside.events.send(LspEvent::BroadcastRefused { of, txid, why });
        }
    }

    pub(super) fn release(&self, tx: &[u8]) {
        if let Ok(tx) = deserialize::<Transaction>(tx) {
            self.outside.wallet.release(&inputs_of(&tx));
        }
    }
}

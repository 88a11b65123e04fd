//! Execution of effects. The node's immediate answer becomes an input; later results arrive as events.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{OutPoint, ScriptBuf, Transaction, TxOut};

use lsps_service::{ChannelEnd, ChannelId, ChannelKey, Effect, FlowId, FundingOutput, Input, OpenedFor, PartId};
use lsps_types::{Blocks, Msat, PeerId};

use super::events::{LspEvent, TxPurpose};
use super::htlcs;
use super::pump::{Pump, inputs_of, sat_per_kw};
use super::report;
use crate::ports::{Broadcast, CannotFund, LspNode, NodeChannel, OutgoingHtlc, Post, Resolution, to_lsps_outpoint};

impl<N: LspNode> Pump<N> {
    pub(super) fn carry_out(&mut self, effect: Effect) -> Vec<Input> {
        if let Effect::FundChannel { key, .. } = &effect
            && self.unread.postpones(*key, &effect).is_some()
        {
            return vec![];
        }
        report::doing(&effect);
        match effect {
            Effect::OpenChannel { key, peer, terms } => {
                let ended = |why| vec![Input::ChannelEnded { key, why }];
                if self.node.channel(peer, key).is_some() {
                    return vec![];
                }
                if !self.outside.messages.is_connected(peer) {
                    return ended(ChannelEnd::PeerGone);
                }
                let htlcs = self.service.opened_for(key).map_or(1, |first| first.htlcs);
                let feerate = sat_per_kw(self.outside.chain.commitment_fee_rate());
                let opened = self.node.open(peer, key, &terms, htlcs, feerate);
                opened.map_or_else(|why| ended(ChannelEnd::CannotOpen(why)), |()| vec![Input::ChannelAsked { key }])
            }
            Effect::FundChannel { key, peer, output, confirm_within } => {
                let fits = self.check_room(key, peer);
                let why = match fits.map(|()| self.build_funding(key, &output, confirm_within)) {
                    Ok(Ok(built)) => return vec![built],
                    Ok(Err(CannotFund::NotYet)) => {
                        self.unmade.push(Effect::FundChannel { key, peer, output, confirm_within });
                        return vec![];
                    }
                    Ok(Err(why)) => why.to_string(),
                    Err(why) => why,
                };
                self.node.close(peer, key);
                vec![Input::ChannelEnded { key, why: ChannelEnd::CannotOpen(why) }]
            }
            Effect::HandFunding { key, peer, tx } => self.hand_funding(key, peer, &tx),
            Effect::BroadcastFunding { key, tx, ask } => {
                if let Ok(tx) = deserialize::<Transaction>(&tx) {
                    self.broadcast(TxPurpose::Funding(key), &tx);
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
                    // Both sides may have signed the channel, and an HTLC that is not reported yet may be on it.
                    self.unsettled.abandoned.insert(key, (peer, tx));
                    return vec![];
                }
                self.node.close(peer, key);
                vec![Input::ChannelAbandoned { key }]
            }
            Effect::CarryOthers { key, peer } => {
                self.node.allow_forwards(peer, key);
                vec![]
            }
            Effect::ForwardPart { part, key, channel_id, peer, amount, .. } => {
                self.forward(part, peer, key, channel_id, amount)
            }
            Effect::FailPart { part, code, .. } => match self.fail_htlc(part, code, true) {
                Resolution::Done | Resolution::NotHeld => vec![Input::PartFailed { part }],
                Resolution::Refused => vec![],
            },
            Effect::WakeClient { peer, until, .. } => {
                self.outside.events.send(LspEvent::ClientNeeded { client: peer, until });
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
            Effect::BuildRefund { key, to, deposits } => self.build_refund(key, to, deposits),
            Effect::BroadcastRefund { key, tx, ask } => self.broadcast_refund(key, &tx, ask),
            Effect::Book { key, entry } => {
                self.unbooked.insert(key, entry); // answered when it is written
                vec![]
            }
        }
    }

    /// Repeats the calls that node and wallet had not finished.
    pub(super) fn make_unmade(&mut self) {
        for effect in std::mem::take(&mut self.unmade) {
            let answers = self.carry_out(effect);
            self.feed_all(answers);
        }
    }

    /// Forwards a held HTLC. Nodes forward any amount, regardless of the incoming one, and may reuse the id of an HTLC
    /// that they forwarded for the next one with that onion. So the held HTLC is checked here.
    fn forward(
        &mut self,
        part: PartId,
        peer: PeerId,
        key: ChannelKey,
        channel_id: ChannelId,
        amount: Msat,
    ) -> Vec<Input> {
        let Some(amount_in) = self.node.held(part) else {
            // The part may be at the client: then nothing is known yet.
            self.unsettled.suspect(peer);
            return vec![];
        };
        if !self.node.is_usable(peer) {
            return self.not_forwarded(part, peer, amount_in);
        }
        if amount_in < amount {
            self.unsettled.suspect(peer);
            return self.not_forwarded(part, peer, amount_in);
        }
        if let FlowId::JitChannel(scid) = key.flow
            && !self.is_whole(part, scid)
        {
            self.unsettled.suspect(peer);
            return self.not_forwarded(part, peer, amount_in);
        }
        if self.is_cut_off(part, peer, amount, amount_in) {
            return vec![Input::ForwardRefused { part }];
        }
        match self.node.forward(part, peer, key, channel_id, amount) {
            Resolution::Done => {
                self.unflushed.insert(part);
                vec![]
            }
            Resolution::NotHeld => {
                self.unsettled.suspect(peer);
                vec![]
            }
            Resolution::Refused => vec![Input::ForwardRefused { part }],
        }
    }

    /// Whether the channel over which a held HTLC arrived is closed. A node keeps holding such an HTLC, and forwards it
    /// when asked to, although the incoming amount can no longer be claimed. For each equal HTLC at the client, one
    /// arrived too.
    fn is_cut_off(&self, part: PartId, peer: PeerId, amount: Msat, amount_in: Msat) -> bool {
        let Some(known) = self.service.known_parts_of(peer).find(|known| known.id == part) else { return false };
        let is_like = |htlc: &OutgoingHtlc| htlc.payment_hash == known.payment_hash && htlc.amount == amount;
        let gone_on = self.node.outgoing(peer).into_iter().filter(|htlc| is_like(htlc) && !htlc.is_resolved).count();
        htlcs::unclaimed(&*self.node, known.payment_hash, amount_in) <= gone_on
    }

    /// The inputs for a held HTLC that was not forwarded; first of them whether the part on record is at the client.
    fn not_forwarded(&mut self, part: PartId, peer: PeerId, amount_in: Msat) -> Vec<Input> {
        let known = self.service.known_parts_of(peer).collect();
        self.tell_whereabouts_of_all(known);
        vec![Input::PartStillHeld { part, amount_in }]
    }

    /// Checks that the negotiated channel can deliver the payment: the client may have accepted another channel type
    /// than planned, and feerates change. Nothing is spent yet.
    fn check_room(&self, key: ChannelKey, peer: PeerId) -> Result<(), String> {
        let Some(OpenedFor { deliver, htlcs }) = self.service.opened_for(key) else { return Ok(()) };
        match self.node.outbound_capacity(peer, key, htlcs) {
            Some(room) if room < deliver => Err(format!(
                "the channel carries {room} in {htlcs} HTLC(s) at once, and {deliver} are to be delivered: plan a larger one"
            )),
            Some(_) | None => Ok(()),
        }
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
        let outpoint = vout.and_then(|vout| to_lsps_outpoint(OutPoint { txid: tx.compute_txid(), vout }));
        let outpoint = outpoint.ok_or_else(|| {
            wallet.release(&inputs_of(&tx));
            CannotFund::Wallet("the output to fund is missing".into())
        })?;
        Ok(Input::FundingBuilt { key, mining_sat: wallet.mining_fee_sat(&tx), tx: serialize(&tx), outpoint })
    }

    fn hand_funding(&self, key: ChannelKey, peer: PeerId, tx: &[u8]) -> Vec<Input> {
        let gone = || vec![Input::ChannelEnded { key, why: ChannelEnd::PeerGone }];
        let (Some(channel), Ok(tx)) = (self.node.channel(peer, key), deserialize::<Transaction>(tx)) else {
            // After a start the node's earlier events about the channel are still to come, and its end is reported
            // after them.
            return if self.unsettled.is_caught_up() { gone() } else { vec![] };
        };
        if channel.is_funded {
            return vec![]; // it was handed over before
        }
        match self.node.fund(peer, key, tx) {
            Ok(()) => vec![],
            Err(why) => vec![Input::ChannelEnded { key, why: ChannelEnd::CannotOpen(why) }],
        }
    }

    /// Closes a channel whose peer is unknown.
    pub(super) fn close_by_key(&self, key: ChannelKey) {
        if let Some(channel) = self.channel_by_key(key) {
            self.node.close(channel.peer, key);
        }
    }

    /// Finds a channel by its key among all channels of the node.
    pub(super) fn channel_by_key(&self, key: ChannelKey) -> Option<NodeChannel> {
        self.node.channels().into_iter().find(|channel| channel.key == key)
    }

    /// Broadcasts a transaction. Whatever the answer, the broadcast is repeated with the next block.
    pub(super) fn broadcast(&self, purpose: TxPurpose, tx: &Transaction) {
        let published = match purpose {
            TxPurpose::Funding(key) => self.node.publish(key, tx),
            TxPurpose::Refund(_) => None,
        };
        let (txid, answer) = (tx.compute_txid(), published.unwrap_or_else(|| self.outside.chain.broadcast(tx)));
        report::broadcast(purpose, &txid, &answer);
        if let Broadcast::Refused(why) = answer {
            self.outside.events.send(LspEvent::BroadcastRefused { purpose, txid, why });
        }
    }

    pub(super) fn release(&self, tx: &[u8]) {
        if let Ok(tx) = deserialize::<Transaction>(tx) {
            self.outside.wallet.release(&inputs_of(&tx));
        }
    }
}

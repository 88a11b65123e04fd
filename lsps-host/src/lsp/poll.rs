//! Facts that no event reports: usable channels, blocks, which of several parts failed, and what a crash undid.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::Transaction;
use bitcoin::consensus::deserialize;

use lsps_service::{ChannelEnd, ChannelKey, ChannelStage, FlowId, HeldHtlc, Input, KnownPart, PartId, WhichPart};
use lsps_types::{Msat, PeerId, Scid};

use super::events::TxPurpose;
use super::htlcs::{self, Likeness};
use super::pump::{Pump, inputs_of};
use crate::ports::LspNode;

impl<N: LspNode> Pump<N> {
    /// Handles a new block before the requests of peers, so that the answers take it into account.
    pub(super) fn look_at_block(&mut self) {
        self.notes_block();
        if self.is_on_record() {
            self.free_unowned();
        }
        // A broadcast has to wait until the decision for it is on record: after a crash it may be decided otherwise.
        if self.follows_block && self.is_on_record() {
            self.follows_block = false;
            self.look_at_refunds();
            self.look_at_fundings();
        }
        if std::mem::take(&mut self.tells_block) {
            self.look_for_forgotten_claims();
            self.tell_facts();
            self.look_at_deposits(false);
            self.forget_addresses();
            self.look_at_channels();
        } else {
            self.look_at_deposits(false);
        }
    }

    /// Notes a new block, which is handled in the next turn at the latest.
    pub(super) fn notes_block(&mut self) {
        let height = self.node.height();
        if height != self.height {
            (self.height, self.tells_block, self.follows_block) = (height, true, true);
        }
    }

    /// Checks usable channels, deadlines, and which of several parts failed.
    pub(super) fn look_around(&mut self) {
        self.fail_again();
        self.make_unmade();
        self.look_for_usable_clients();
        self.look_for_lost_payments();
        self.send_marker();
    }

    pub(super) fn look_for_usable_clients(&mut self) {
        let waiting: Vec<PeerId> = self.service.waiting_clients().collect();
        for peer in waiting {
            if self.outside.messages.is_connected(peer) && self.node.is_usable(peer) {
                let _ = self.feed(Input::ChannelsUsable { peer });
            }
        }
    }

    /// Sent parts that are neither held, nor on their way to the client, nor being claimed upstream. Of equal parts any
    /// is as good.
    pub(super) fn missing_parts(&mut self, client: PeerId) -> Vec<PartId> {
        let sent = self.service.known_parts_of(client).filter(|part| part.sent.is_some());
        let gone = sent.filter(|part| self.node.held(part.id).is_none()).collect();
        let mut all_missing = vec![];
        for (like, parts) in alike(gone) {
            let hash = like.payment_hash;
            let missing = parts.len().saturating_sub(htlcs::carried(&*self.node, &like));
            if missing > 0 && htlcs::claims(&*self.node, hash) && !htlcs::has_incoming(&*self.node, hash) {
                // Once the claims are reported, it is known which of them failed, if any.
                self.unsettled.suspects.entry(client).or_insert(self.outside.clock.steady() + AGAIN);
                continue;
            }
            all_missing.extend(parts.into_iter().rev().take(missing).map(|part| part.id));
        }
        all_missing
    }

    /// Marks parts as failed that were missing before the node reported its events, none of which was their claim. If
    /// an HTLC of their payment is still incoming, perhaps on-chain, that is no proof.
    pub(super) fn parts_failed(&mut self, client: PeerId, before: &[PartId]) {
        let missing = self.missing_parts(client).into_iter().filter(|part| before.contains(part)).collect::<Vec<_>>();
        for part in missing {
            let known = |known: &KnownPart| known.id == part;
            let Some(known) = self.service.known_parts_of(client).find(known) else { continue };
            let alike =
                self.service.known_parts_to(known.scid).filter(|other| other.payment_hash == known.payment_hash);
            let held = alike.filter(|other| self.node.held(other.id).is_some()).count();
            let (came_in, carried) = htlcs::came_and_went_on(&*self.node, client, known.payment_hash);
            let is_certain = !htlcs::claims(&*self.node, known.payment_hash) && came_in <= held + carried;
            let _ = self.feed(if is_certain { Input::PartFailed { part } } else { Input::PartPresumedFailed { part } });
        }
    }

    /// Reports where similar parts are when a payment is retried: parts of the earlier attempt may be gone without a
    /// report, and an HTLC can have the id of one that is still at the client. What looks like one of them there may be an
    /// equal part of another offer, whose claim the node forgot.
    pub(super) fn look_for_parts_like(&mut self, again: &HeldHtlc) {
        let Some(client) = self.service.known_parts_to(again.scid).next().map(|part| part.client) else { return };
        let known = self.service.known_parts_of(client);
        let alike = known.filter(|part| part.payment_hash == again.payment_hash || part.id == again.part);
        self.tell_whereabouts_of_all(alike.collect());
    }

    /// Reports where similar parts are before a claim, as a claim can be reported again: a similar part that is still
    /// at its client was not claimed. An HTLC that the client has just claimed may be shown there for a moment longer,
    /// but its incoming HTLC is being claimed by then, or is gone.
    pub(super) fn tell_whereabouts_before(&mut self, claimed: WhichPart, over: Option<ChannelKey>) {
        let like: Vec<_> = self.service.parts_like(claimed).collect();
        for (like, mut parts) in alike(like) {
            // Of equal parts, the one that was missing for longer was claimed, or the one of the channel over which the claim
            // came.
            let is_its_own = |part: &KnownPart| over.is_some_and(|key| key.flow == FlowId::JitChannel(part.scid));
            parts.sort_by_key(|part| (part.in_doubt, is_its_own(part)));
            let came_in = parts.first().map_or(Msat::ZERO, |part| part.amount_in);
            let there = htlcs::undecided(&*self.node, &like);
            let there = there.min(htlcs::unclaimed(&*self.node, like.payment_hash, came_in));
            for (number, part) in parts.into_iter().enumerate() {
                self.tell_whereabouts_of(&part, number < there);
            }
        }
    }

    /// Parts whose HTLC the node holds, among those that are believed to be at the client and may be the claimed one.
    pub(super) fn held_like(&self, claimed: WhichPart) -> Vec<KnownPart> {
        self.service.parts_like(claimed).filter(|part| self.node.held(part.id).is_some()).collect()
    }

    /// The part that was taken for the claimed one may never have been sent, because a failing store delays that. An
    /// HTLC that is held under its id would then wait forever.
    pub(super) fn tell_held_and_claimed(&mut self, held: &[KnownPart]) {
        for part in held {
            let is_claimed = |known: &KnownPart| known.id == part.id && known.claimed.is_some();
            let amount_in =
                self.node.held(part.id).filter(|_| self.service.known_parts_to(part.scid).any(|it| is_claimed(&it)));
            if let Some(amount_in) = amount_in {
                let _ = self.feed(Input::PartStillHeld { part: part.id, amount_in });
            }
        }
    }

    /// Reports which of these parts, sent or claimed, are still at their clients. If the node shows more HTLCs than were sent, it has forgotten
    /// a claim.
    pub(super) fn tell_whereabouts_of_all(&mut self, parts: Vec<KnownPart>) {
        self.tell_whereabouts_if(parts, &BTreeSet::new());
    }

    /// Reports which of these claimed parts are at their clients no more, after a marker: their claims were not reported again.
    pub(super) fn reclaims_settled(&mut self, settled: &BTreeSet<PartId>) {
        let known = self.service.known_parts().filter(|part| settled.contains(&part.id));
        let clients: BTreeSet<PeerId> = known.map(|part| part.client).collect();
        for client in clients {
            let known = self.service.known_parts_of(client).collect();
            self.tell_whereabouts_if(known, settled);
        }
    }

    /// Reports the same, of claimed parts that are at their clients no more only where that is `settled`.
    fn tell_whereabouts_if(&mut self, parts: Vec<KnownPart>, settled: &BTreeSet<PartId>) {
        for (like, mut parts) in alike(parts) {
            let there = htlcs::undecided(&*self.node, &like);
            // Of equal parts, those that the node does not hold are at the client.
            parts.sort_by_key(|part| (self.node.held(part.id).is_some(), part.sent.is_none()));
            for (number, part) in parts.into_iter().enumerate() {
                let is_there = number < there;
                if is_there && part.claimed.is_some() {
                    self.forgotten.insert(like.peer);
                }
                if part.in_doubt != (is_there == part.sent.is_some()) {
                    continue;
                }
                if part.claimed.is_some() && !is_there && !settled.contains(&part.id) {
                    self.unsettled.reclaimed.insert(part.id);
                } else {
                    self.tell_whereabouts_of(&part, is_there);
                }
            }
        }
    }

    /// Its payment waits for the outcome of a part that is in doubt, so that is looked for.
    fn tell_whereabouts_of(&mut self, part: &KnownPart, is_there: bool) {
        if part.sent.is_some() && !is_there {
            self.unsettled.suspect(part.client);
        }
        let _ = self.feed(Input::PartAtClient { part: part.id, is_there });
    }

    /// Looks again for the parts of a client that are in doubt: an HTLC that was on its way when it was looked for is at the
    /// client by now, and one whose claim the node forgot may be gone. Returns whether a sent part is still in doubt.
    pub(super) fn look_for_doubted(&mut self, client: PeerId) -> bool {
        if !self.service.known_parts_of(client).any(|part| part.in_doubt) {
            return false;
        }
        let known = self.service.known_parts_of(client).collect();
        self.tell_whereabouts_of_all(known);
        self.service.known_parts_of(client).any(|part| part.sent.is_some() && part.in_doubt)
    }

    /// Whether a part that is about to be forwarded does not go on alone: the other parts of its payment are held, or were just
    /// forwarded, or the node shows them at the client. A store that fails can hold a decision up while a client fails the
    /// parts that it was made for.
    pub(super) fn is_whole(&self, part: PartId, scid: Scid) -> bool {
        if self.service.is_whole(part, |_| false) {
            return true; // it need not be whole
        }
        let known: Vec<_> = self.service.known_parts_to(scid).collect();
        let Some(hash) = known.iter().find(|it| it.id == part).map(|it| it.payment_hash) else { return true };
        let is_here = |it: &KnownPart| self.node.held(it.id).is_some() || self.unflushed.contains(&it.id);
        let of_it = known.into_iter().filter(|it| it.payment_hash == hash);
        let (here, gone): (Vec<_>, Vec<_>) = of_it.partition(is_here);
        let mut there: BTreeSet<PartId> = here.into_iter().map(|it| it.id).collect();
        let sent: Vec<_> = gone.into_iter().filter(|it| it.sent.is_some()).collect();
        let outgoing = sent.first().map(|it| self.node.outgoing(it.client)).unwrap_or_default();
        for (like, parts) in alike(sent) {
            let count = outgoing.iter().filter(|htlc| like.fits(htlc) && !htlc.is_resolved).count();
            there.extend(parts.into_iter().take(count).map(|it| it.id));
        }
        self.service.is_whole(part, |it| there.contains(&it))
    }

    /// Checks whether the HTLCs whose claims the node forgot are still at the client. An HTLC that its client never claims
    /// again times out.
    fn look_for_forgotten_claims(&mut self) {
        for client in std::mem::take(&mut self.forgotten) {
            let known = self.service.known_parts_of(client).collect();
            self.tell_whereabouts_of_all(known);
        }
    }

    /// Broadcasts every funding transaction that has to confirm until it is in a block, and checks it until it is deep
    /// enough.
    pub(super) fn look_at_fundings(&mut self) {
        let (mut confirmed, mut missing) = (vec![], vec![]);
        for channel in self.service.unconfirmed_channels().filter(|channel| channel.owed) {
            let Some(tx) = channel.funding.and_then(|tx| deserialize::<Transaction>(tx).ok()) else { continue };
            match channel.stage {
                ChannelStage::Pending | ChannelStage::Ready | ChannelStage::Closed => {
                    match self.depth(channel.key, Some(channel.client), &tx) {
                        0 => missing.push((channel.key, tx)),
                        DEEP.. => confirmed.push(channel.key),
                        _ => {}
                    }
                }
                ChannelStage::Opening | ChannelStage::Abandoning => {}
            }
        }
        for (key, tx) in parents_first(missing) {
            self.broadcast(TxPurpose::Funding(key), &tx);
        }
        for key in confirmed {
            let _ = self.feed(Input::FundingConfirmed { key });
        }
    }

    /// Number of confirmations of a channel's funding. Without the client's id, all channels of the node are searched.
    pub(super) fn depth(&self, key: ChannelKey, client: Option<PeerId>, funding: &Transaction) -> u32 {
        match self.outside.chain.confirmations(&funding.compute_txid()) {
            0 => {
                let channel = match client {
                    Some(peer) => self.node.channel(peer, key),
                    None => self.channel_by_key(key),
                };
                channel.map_or(0, |channel| channel.confirmations)
            }
            depth => depth,
        }
    }

    pub(super) fn reconcile_channels(&mut self, is_new: &impl Fn(FlowId) -> bool) {
        for channel in self.node.channels() {
            if is_new(channel.key.flow) && self.service.is_given_up(channel.key) {
                self.node.close(channel.peer, channel.key);
            }
        }
        let mut news = vec![];
        for channel in self.service.known_channels().filter(|channel| is_new(channel.key.flow)) {
            if let Some(tx) = channel.funding.and_then(|tx| deserialize::<Transaction>(tx).ok()) {
                self.outside.wallet.lock(&inputs_of(&tx));
            }
            let key = channel.key;
            let there = self.node.channel(channel.client, key);
            match (channel.stage, there) {
                // A crash of the LSP ended the open, so it is tried again. The funding of this attempt was not
                // broadcast yet, so a monitor that the node may have kept has nothing to guard. If both sides may have
                // signed, the node's earlier reports about the channel come first.
                (ChannelStage::Opening, None) if channel.funding.is_some() => {
                    self.unsettled.ended.push(Input::ChannelEnded { key, why: ChannelEnd::TryAgain });
                }
                (ChannelStage::Opening, None) => news.push(Input::ChannelEnded { key, why: ChannelEnd::TryAgain }),
                (ChannelStage::Pending | ChannelStage::Ready, None) => {
                    news.push(Input::ChannelEnded { key, why: ChannelEnd::Closed });
                }
                (ChannelStage::Opening | ChannelStage::Pending | ChannelStage::Ready, Some(details)) => {
                    if details.is_funded {
                        news.push(Input::ChannelPending { key });
                    }
                    if details.is_ready {
                        news.push(Input::ChannelReady { key, channel_id: details.id });
                    }
                }
                (ChannelStage::Closed | ChannelStage::Abandoning, _) => {}
            }
        }
        for input in news {
            if let Input::ChannelPending { key } = &input {
                self.look_before_publication(*key);
            }
            let _ = self.feed(input);
        }
    }

    pub(super) fn reconcile_parts(&mut self, is_new: &impl Fn(FlowId) -> bool) {
        let is_new = |part: &KnownPart| is_new(FlowId::JitChannel(part.scid));
        let known: Vec<_> = self.service.known_parts().filter(is_new).collect();
        self.tell_whereabouts_of_all(known.clone());
        for part in known {
            if let Some(amount_in) = self.node.held(part.id) {
                let _ = self.feed(Input::PartStillHeld { part: part.id, amount_in });
            } else if part.is_live && part.sent.is_none() && !htlcs::has_incoming(&*self.node, part.payment_hash) {
                let _ = self.feed(Input::PartGone { part: part.id });
            } else if part.sent.is_some() {
                self.unsettled.suspect(part.client);
            }
        }
    }
}

/// Sorts transactions so that a mempool accepts them: a funding may spend the unconfirmed change of another.
fn parents_first<T>(txs: Vec<(T, Transaction)>) -> Vec<(T, Transaction)> {
    let mut left: BTreeMap<_, _> = txs.into_iter().map(|(of, tx)| (tx.compute_txid(), (of, tx))).collect();
    let mut sorted = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |tx: &Transaction| tx.input.iter().any(|input| left.contains_key(&input.previous_output.txid));
        let ready: Vec<_> = left.iter().filter(|(_, (_, tx))| !waits(tx)).map(|(txid, _)| *txid).collect();
        if ready.is_empty() {
            break; // no transaction spends its own descendants
        }
        sorted.extend(ready.iter().filter_map(|txid| left.remove(txid)));
    }
    sorted
}

/// Confirmations after which no reorganisation is expected to remove a funding transaction.
pub(super) const DEEP: u32 = 6;
/// Interval of checks while the incoming HTLCs of a part are being claimed.
const AGAIN: Duration = Duration::from_secs(1);

/// Groups sent or claimed parts by the properties that the node reports.
fn alike(parts: Vec<KnownPart>) -> BTreeMap<Likeness, Vec<KnownPart>> {
    let mut alike: BTreeMap<_, Vec<KnownPart>> = BTreeMap::new();
    for (part, like) in parts.into_iter().filter_map(|part| Some((part, Likeness::of(&part)?))) {
        alike.entry(like).or_default().push(part);
    }
    alike
}

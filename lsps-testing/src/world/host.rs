//! What a host has to do around the service, with the places at which it can die.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lsps_service::{
    ChannelEnd, ChannelId, ChannelStage, Effect, FlowId, Input, NodeFacts, Outcome, PartId, Record, Refusal,
    ScidSource, Service, Turn,
};
use lsps_types::jsonrpc::{FromLsp, encode_request};
use lsps_types::lsps2::{Bought, Buy, GetInfo, PromiseKey};
use lsps_types::{BlockHeight, Msat, PeerId, Request, Scid};

use super::chain::Tx;
use super::node::{Asked, Stage, Told};
use super::{Died, World};
use crate::lsp::{LspSetup, MINING_SAT, outpoint};

pub(super) fn service(setup: &LspSetup, scids: impl ScidSource + 'static) -> Service {
    Service::new(setup.config.clone(), setup.clone(), scids, PromiseKey::new([42; 32])).expect("a valid configuration")
}

impl World {
    /// Loads the records and compares them with the node, which was loaded before.
    pub(super) fn start(&mut self) {
        let mut next = (self.deaths as u64 + 1) << 32;
        let draw = move || {
            next += 1;
            Scid(next << 4)
        };
        self.service = service(&self.setup, draw);
        if let Some(lives) = &mut self.tapes {
            let tape = Arc::<Mutex<Vec<Turn>>>::default();
            lives.push(Arc::clone(&tape));
            self.service.record_on(Box::new(move |turn| tape.lock().expect("nobody panics here").push(turn)));
        }
        for (name, bytes) in &self.store {
            let record = Record { name: name.clone(), bytes: bytes.clone() };
            self.service.load(&record).expect("we wrote it");
        }
        self.tell_facts();
        let known: Vec<_> = self.service.known_parts().collect();
        for part in known {
            if self.node.holds(part.id) {
                self.feed(Input::PartStillHeld { part: part.id });
            } else if part.is_live && part.sent.is_none() && !self.node.has_incoming(part.payment_hash) {
                self.feed(Input::PartGone { part: part.id });
            } else if part.sent.is_some() {
                self.suspects.insert(part.client);
            }
        }
        for key in self.node.channels(|_| true) {
            if self.service.is_given_up(key) {
                self.node.close(key);
            }
        }
        let mut news = vec![];
        for channel in self.service.known_channels() {
            let key = channel.key;
            if let Some(tx) = channel.funding {
                self.coins.lock(Tx::decode(tx));
            }
            match (channel.stage, self.node.stage(key)) {
                (ChannelStage::Opening, None) => news.push(Input::ChannelEnded { key, why: ChannelEnd::TryAgain }),
                (ChannelStage::Pending | ChannelStage::Ready, None) => {
                    news.push(Input::ChannelEnded { key, why: ChannelEnd::Closed });
                }
                (ChannelStage::Opening | ChannelStage::Pending | ChannelStage::Ready, Some(stage)) => {
                    news.push(Input::ChannelPending { key });
                    if stage == Stage::Ready {
                        news.push(Input::ChannelReady { key, channel_id: ChannelId([0; 32]) });
                    }
                }
                (ChannelStage::Closed | ChannelStage::Abandoning, _) => {}
            }
        }
        for input in news {
            self.feed(input);
        }
        let believed: Vec<PeerId> = self.service.clients_with_channels().collect();
        self.hooks.start(believed);
        // What came in and was not decoded when the node died comes up after all this.
        self.node.decode();
    }

    /// Until nothing more happens by itself.
    pub(super) fn run(&mut self) {
        while self.turn().is_err() {
            self.dies();
        }
    }

    fn dies(&mut self) {
        let (_, saved) = self.fuse.take().unwrap_or_default();
        if saved {
            self.save();
        }
        self.deaths += 1;
        self.node.crash();
        self.node.blocks(self.chain.height); // it hears of those it missed
        self.coins.crash();
        self.links.clear();
        self.unbooked.clear();
        self.suspects.clear();
        self.unwritten = None;
        self.start();
    }

    fn turn(&mut self) -> Result<(), Died> {
        loop {
            let volatile = self.node.volatile.pop_front();
            let Some(told) = volatile.clone().or_else(|| self.node.now.events.front().cloned()) else { break };
            self.hear(&told);
            if !self.commit()? {
                self.node.volatile.extend(volatile);
                return Ok(()); // told again when the store works
            }
            if volatile.is_none() {
                self.node.now.events.pop_front();
                self.told_last = Some(told);
            }
        }
        self.look_around();
        self.commit().map(drop)
    }

    fn hear(&mut self, told: &Told) {
        match told {
            Told::Input(input) => {
                let held = if let Input::HtlcHeld(htlc) = input { Some(htlc.part) } else { None };
                if self.tells(input.clone()) == Outcome::NotMine
                    && let Some(part) = held
                {
                    self.node.fail(part, lsps_types::bolt4::FailureCode::UnknownNextPeer);
                }
            }
            Told::FailedTowards(client) => {
                self.suspects.insert(*client);
            }
            Told::FailedHeld(scid) => {
                let lost = self.service.known_parts_to(*scid).filter(|part| part.is_live && part.sent.is_none());
                let lost: Vec<PartId> = lost.map(|part| part.id).filter(|part| !self.node.holds(*part)).collect();
                for part in lost {
                    self.feed(Input::PartGone { part });
                }
            }
        }
    }

    fn look_around(&mut self) {
        if self.facts_at != self.chain.height {
            self.tell_facts();
            self.look_at_fundings();
        }
        let waiting: Vec<PeerId> = self.service.waiting_clients().collect();
        for peer in waiting {
            if self.is_usable(peer) {
                self.feed(Input::ChannelsUsable { peer });
            }
        }
        for client in std::mem::take(&mut self.suspects) {
            self.look_for_failed_parts(client);
        }
        self.tell_channels();
        self.feed(Input::Tick);
    }

    /// Sent parts that are neither held nor carried. Of equal ones it does not matter which.
    fn look_for_failed_parts(&mut self, client: PeerId) {
        let mut alike: BTreeMap<_, Vec<PartId>> = BTreeMap::new();
        for (part, amount) in self.service.known_parts_of(client).filter_map(|part| Some((part, part.sent?))) {
            if !self.node.holds(part.id) {
                alike.entry((part.payment_hash, amount)).or_default().push(part.id);
            }
        }
        for ((hash, amount), parts) in alike {
            let carried = self.node.carries(client, hash, amount);
            let missing = parts.len().saturating_sub(carried);
            if missing > 0 && self.node.claims(hash) {
                self.suspects.insert(client); // once the claims are told it is known which failed
                continue;
            }
            for part in parts.into_iter().rev().take(missing) {
                self.feed(Input::PartFailed { part });
            }
        }
    }

    /// Whether some channel with this peer carries HTLCs, as far as a host can see.
    fn is_usable(&self, peer: PeerId) -> bool {
        let ready = self.node.channels_of(peer, |stage| stage == Stage::Ready);
        self.links.get(&peer) == Some(&true) && !ready.is_empty()
    }

    fn tell_facts(&mut self) {
        self.facts_at = self.chain.height;
        let facts = NodeFacts {
            height: BlockHeight(self.chain.height),
            inbound: Msat(u64::MAX),
            spendable_sat: u64::MAX,
            ..NodeFacts::default()
        };
        self.feed(Input::NodeFacts(facts));
    }

    fn look_at_fundings(&mut self) {
        let owed = self.service.unconfirmed_channels().filter(|channel| channel.owed);
        let stages = [ChannelStage::Pending, ChannelStage::Ready, ChannelStage::Closed];
        let owed = owed.filter(|channel| stages.contains(&channel.stage));
        let owed: Vec<_> = owed.filter_map(|channel| Some((channel.key, Tx::decode(channel.funding?)))).collect();
        for (key, tx) in owed {
            match self.chain.depth(tx) {
                0 => self.chain.broadcast(tx),
                6.. => {
                    self.feed(Input::FundingConfirmed { key });
                }
                _ => {}
            }
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        let _undone_already = self.tells(input);
    }

    /// Tells the service, and undoes at the source what it refuses.
    fn tells(&mut self, input: Input) -> Outcome {
        self.count(&input);
        let outcome = self.service.handle(input.clone(), self.now);
        match (outcome, input) {
            (Outcome::Refused(Refusal::FailPart(code)), Input::HtlcHeld(htlc)) => {
                self.node.fail(htlc.part, code);
            }
            (Outcome::Refused(Refusal::FailPart(code)), Input::PartStillHeld { part }) => {
                self.node.fail(part, code);
            }
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Input::ChannelNegotiated { key, .. }) => {
                self.node.close(key);
            }
            (Outcome::Refused(Refusal::Stale) | Outcome::NotMine, Input::FundingBuilt { tx, .. }) => {
                self.coins.release(Tx::decode(&tx));
            }
            _ => {}
        }
        outcome
    }

    /// One more place at which the process may die.
    fn point(&mut self) -> Result<(), Died> {
        match &mut self.fuse {
            Some((0, _)) => Err(Died),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn commit(&mut self) -> Result<bool, Died> {
        loop {
            while let Some((key, entry)) = self.unbooked.pop_first() {
                if !self.store_works {
                    self.unbooked.insert(key, entry);
                    return Ok(false);
                }
                self.point()?;
                let before = self.book.insert(key, entry.clone());
                assert!(before.is_none_or(|before| before == entry), "an entry of the book changed");
                self.point()?;
                self.feed(Input::Booked { key });
            }
            self.hooks.are_late = self.unwritten.is_some();
            let batch = self.unwritten.take().unwrap_or_else(|| self.service.drain());
            if batch.is_empty() {
                return Ok(true);
            }
            if !self.store_works {
                self.unwritten = Some(batch);
                return Ok(false);
            }
            for (id, content) in batch.records() {
                self.point()?;
                match content {
                    Some(bytes) => self.store.insert(id.to_string(), bytes.to_vec()),
                    None => self.store.remove(&id.to_string()),
                };
            }
            self.point()?;
            let released = batch.written();
            self.sent.extend(released.messages);
            for effect in released.effects {
                let answers = self.perform(effect);
                self.point()?;
                for answer in answers {
                    self.feed(answer);
                }
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Vec<Input> {
        match effect {
            Effect::OpenChannel { key, peer, .. } => {
                if self.node.stage(key).is_some() {
                    return vec![];
                }
                if !self.links.contains_key(&peer) {
                    return vec![Input::ChannelEnded { key, why: ChannelEnd::PeerGone }];
                }
                self.node.open(key, peer);
                vec![]
            }
            Effect::FundChannel { key, .. } => match self.coins.fund(key, &self.chain) {
                Some(tx) => {
                    let (tx, outpoint) = (tx.encode(), outpoint(key));
                    vec![Input::FundingBuilt { key, tx, mining_sat: MINING_SAT, outpoint }]
                }
                None => {
                    self.node.close(key);
                    vec![Input::ChannelEnded { key, why: ChannelEnd::CannotOpen("no coin is left".into()) }]
                }
            },
            Effect::HandFunding { key, tx, .. } => match self.node.stage(key) {
                None => vec![Input::ChannelEnded { key, why: ChannelEnd::PeerGone }],
                Some(_) => {
                    self.node.fund(key, &tx);
                    vec![]
                }
            },
            Effect::BroadcastFunding { key, tx, .. } => {
                self.may_broadcast(key);
                self.chain.broadcast(Tx::decode(&tx));
                vec![]
            }
            Effect::AbandonChannel { key, tx, .. } => {
                assert!(!self.chain.knows(key), "a channel on the chain is given up: {key:?}");
                self.node.close(key);
                if let Some(tx) = tx {
                    self.coins.release(Tx::decode(&tx));
                }
                vec![Input::ChannelAbandoned { key }]
            }
            Effect::ForwardPart { part, key, peer, amount, .. } => {
                if self.node.holds(part) && !self.is_usable(peer) {
                    return vec![Input::PartStillHeld { part }];
                }
                self.forwards(part, amount);
                match self.node.forward(part, key, amount) {
                    Asked::Done => vec![],
                    Asked::NotHeld => {
                        self.suspects.insert(peer);
                        vec![]
                    }
                    Asked::Refused => vec![Input::ForwardRefused { part }],
                }
            }
            Effect::FailPart { part, code, .. } => {
                self.node.fail(part, code);
                vec![Input::PartFailed { part }]
            }
            Effect::WakeClient { .. } => vec![],
            Effect::PrepareOrder { .. }
            | Effect::ClaimPayment { .. }
            | Effect::FailPayment { .. }
            | Effect::KeepDeposits { .. }
            | Effect::BuildRefund { .. }
            | Effect::BroadcastRefund { .. } => unreachable!("nothing is ordered in this world"),
            Effect::Book { key, entry } => {
                self.unbooked.insert(key, entry);
                vec![]
            }
            Effect::PostWebhook { key, url, body, timestamp, .. } => {
                self.posts(key, url.as_str(), &body, timestamp.instant())
            }
        }
    }

    /// Asks for a menu, buys its first entry.
    pub(super) fn sells(&mut self, client: PeerId, payment_size_msat: Option<Msat>) {
        let menu = self.answers(client, &GetInfo { token: None }).expect("everybody gets a menu");
        let opening_fee_params = menu.opening_fee_params_menu.into_iter().next().expect("an entry");
        let bought = self.answers(client, &Buy { opening_fee_params, payment_size_msat });
        if let Some(Bought { jit_channel_scid, .. }) = bought {
            assert!(self.store.contains_key(&FlowId::JitChannel(jit_channel_scid).to_string()), "written before told");
            self.sold.push((jit_channel_scid, client, payment_size_msat));
        }
    }

    pub(super) fn answers<R: Request>(&mut self, peer: PeerId, request: &R) -> Option<R::Reply> {
        self.sent.clear();
        let payload = encode_request("the only one", request).expect("a short request");
        self.feed(Input::Message { peer, payload });
        self.run();
        let (_, reply) = self.sent.iter().find(|(receiver, _)| *receiver == peer)?;
        match FromLsp::decode(reply).expect("a reply") {
            FromLsp::Response { outcome: Ok(raw), .. } => Some(raw.reply::<R>().expect("of its type")),
            FromLsp::Response { outcome: Err(_), .. } | FromLsp::Notification { .. } => None,
        }
    }
}

//! What a host does for parts and webhooks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use lsps_service::{
    ChannelKey, Effect, FlowId, HeldHtlc, Input, KnownPart, Outcome, PartId, Refusal, ScidSource, Service, Turn,
};
use lsps_types::lsps2::{Bought, Buy, GetInfo, PromiseKey};
use lsps_types::{Msat, PeerId, Scid};

use super::World;
use super::check::kind;
use super::host_loop::{Died, Host};
use super::node::{Asked, Stage, Told};
use super::process::Process;
use crate::setup::LspSetup;

pub(super) fn service(setup: &LspSetup, scids: impl ScidSource + 'static) -> Service {
    Service::new(setup.config_of_service(), setup.clone(), scids, PromiseKey::new([42; 32]))
        .expect("a valid configuration")
}

impl Host for World {
    fn lsp(&mut self) -> &mut Process {
        &mut self.lsp
    }

    fn start(&mut self) {
        let mut next = (self.lsp.deaths as u64 + 1) << 32;
        let draw = move || {
            next += 1;
            Scid(next << 4)
        };
        self.lsp.service = service(&self.lsp.setup, draw);
        if let Some(lives) = &mut self.tapes {
            let tape = Arc::<Mutex<Vec<Turn>>>::default();
            lives.push(Arc::clone(&tape));
            self.lsp.service.record_on(Box::new(move |turn| tape.lock().expect("nobody panics here").push(turn)));
        }
        self.lsp.load();
        self.tell_facts();
        let known: Vec<_> = self.lsp.service.known_parts().collect();
        self.tell_whereabouts(known.clone());
        for part in known {
            if let Some(amount_in) = self.lsp.node.held_amount(part.id) {
                self.feed(Input::PartStillHeld { part: part.id, amount_in });
            } else if part.is_live && part.sent.is_none() && !self.lsp.node.has_incoming(part.payment_hash) {
                self.feed(Input::PartGone { part: part.id });
            } else if part.sent.is_some() {
                self.suspects.insert(part.client);
            }
        }
        for input in self.lsp.compare_channels() {
            self.feed(input);
        }
        let believed: Vec<PeerId> = self.lsp.service.clients_with_channels().collect();
        self.hooks.start(believed);
        // What came in and was not decoded when the node died comes up after all this.
        self.lsp.node.decode();
    }

    fn hear(&mut self, told: &Told) {
        match told {
            Told::Input(input) => {
                let held = if let Input::HtlcHeld(htlc) = input { Some(htlc.part) } else { None };
                if let Input::HtlcHeld(htlc) = input {
                    let known = self.lsp.service.known_parts_to(htlc.scid);
                    let alike = known.filter(|part| part.payment_hash == htlc.payment_hash || part.id == htlc.part);
                    self.tell_whereabouts(alike.collect());
                }
                if self.tell(input.clone()) == Outcome::NotMine
                    && let Some(part) = held
                {
                    self.lsp.node.fail(part, lsps_types::bolt4::FailureCode::UnknownNextPeer);
                }
                if let Input::PartForwarded { part, .. } = input {
                    self.suspects.extend(self.lsp.service.has_another_like(*part));
                }
            }
            Told::FailedTowards(client) => {
                self.suspects.insert(*client);
            }
            Told::FailedHeld(scid) => {
                let lost = self.lsp.service.known_parts_to(*scid).filter(|part| part.is_live && part.sent.is_none());
                let lost: Vec<PartId> = lost.map(|part| part.id).filter(|part| !self.lsp.node.holds(*part)).collect();
                for part in lost {
                    self.feed(Input::PartGone { part });
                }
            }
        }
    }

    fn turn(&mut self) -> Result<(), Died> {
        if self.hear_all()? {
            self.look_around();
            self.commit()?;
        }
        Ok(())
    }

    fn save(&mut self) {
        self.lsp.saved_at = self.lsp.now;
        let links = &self.lsp.links;
        self.lsp.node.save(|client| links.get(&client) == Some(&true));
    }

    fn crash(&mut self) {
        self.lsp.node.blocks(self.lsp.chain.height); // it hears of those it missed
        self.suspects.clear();
    }

    fn count(&mut self, input: &Input) {
        let about = self.concerns(input);
        let kind = kind(input);
        for (scid, channel, fee) in self.lsp.service.states().collect::<Vec<_>>() {
            if about.is_none_or(|about| about == scid) {
                *self.lsp.seen.entry((channel, fee, kind)).or_default() += 1;
            }
        }
    }

    fn undo(&mut self, outcome: Outcome, input: &Input) {
        if let (
            Outcome::Refused(Refusal::FailPart(code)),
            Input::HtlcHeld(HeldHtlc { part, .. }) | Input::PartStillHeld { part, .. },
        ) = (outcome, input)
        {
            self.lsp.node.fail(*part, code);
        }
    }

    fn may_broadcast(&mut self, key: ChannelKey) {
        self.is_paid_for(key);
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::ForwardPart { part, key, peer, amount, .. } => {
                let held = self.lsp.node.held_amount(part);
                if let Some(amount_in) = held.filter(|amount_in| *amount_in < amount || !self.is_usable(peer)) {
                    let known = self.lsp.service.known_parts_of(peer).collect();
                    self.tell_whereabouts(known);
                    self.suspects.insert(peer);
                    return Some(Input::PartStillHeld { part, amount_in });
                }
                self.forwards(part, amount);
                match self.lsp.node.forward(part, key, amount) {
                    Asked::Done => None,
                    Asked::NotHeld => {
                        self.suspects.insert(peer);
                        None
                    }
                    Asked::Refused => Some(Input::ForwardRefused { part }),
                }
            }
            Effect::FailPart { part, code, .. } => {
                self.lsp.node.fail(part, code);
                Some(Input::PartFailed { part })
            }
            Effect::PostWebhook { key, url, body, timestamp, .. } => {
                self.posts(key, url.as_str(), &body, timestamp.instant())
            }
            other => unreachable!("nothing is ordered in this world: {other:?}"),
        }
    }
}

impl World {
    fn look_around(&mut self) {
        self.look_at_chain();
        let waiting: Vec<PeerId> = self.lsp.service.waiting_clients().collect();
        for peer in waiting {
            if self.is_usable(peer) {
                self.feed(Input::ChannelsUsable { peer });
            }
        }
        // Before the node has told all, what looks as if it had failed may have been claimed.
        let suspects = if self.lsp.is_mute { BTreeSet::new() } else { std::mem::take(&mut self.suspects) };
        for client in suspects {
            self.look_for_failed_parts(client);
        }
        self.tell_channels();
        self.feed(Input::Tick);
    }

    /// Tells which of these parts, as far as they were forwarded, are with their client still.
    fn tell_whereabouts(&mut self, parts: Vec<KnownPart>) {
        let mut alike: BTreeMap<_, Vec<KnownPart>> = BTreeMap::new();
        for (part, amount) in parts.into_iter().filter_map(|part| Some((part, part.sent?))) {
            alike.entry((part.client, part.payment_hash, amount)).or_default().push(part);
        }
        for ((client, hash, amount), mut parts) in alike {
            let there = self.lsp.node.carries(client, hash, amount);
            parts.sort_by_key(|part| self.lsp.node.holds(part.id));
            for (number, part) in parts.into_iter().enumerate() {
                let is_there = number < there;
                if part.in_doubt == is_there {
                    self.feed(Input::PartAtClient { part: part.id, is_there });
                }
            }
        }
    }

    /// Sent parts that are neither held nor carried. Of equal ones it does not matter which.
    fn look_for_failed_parts(&mut self, client: PeerId) {
        let mut alike: BTreeMap<_, Vec<PartId>> = BTreeMap::new();
        for (part, amount) in self.lsp.service.known_parts_of(client).filter_map(|part| Some((part, part.sent?))) {
            if !self.lsp.node.holds(part.id) {
                alike.entry((part.payment_hash, amount)).or_default().push(part.id);
            }
        }
        for ((hash, amount), parts) in alike {
            let carried = self.lsp.node.carries(client, hash, amount);
            let missing = parts.len().saturating_sub(carried);
            if missing > 0 && self.lsp.node.claims(hash) {
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
        let ready = self.lsp.node.channels_of(peer, |stage| stage == Stage::Ready);
        self.lsp.links.get(&peer) == Some(&true) && !ready.is_empty()
    }

    /// Asks for a menu, buys its first entry.
    pub(super) fn sells(&mut self, client: PeerId, payment_size_msat: Option<Msat>) {
        let menu = self.answers(client, &GetInfo { token: None }).expect("everybody gets a menu");
        let opening_fee_params = menu.opening_fee_params_menu.into_iter().next().expect("an entry");
        let bought = self.answers(client, &Buy { opening_fee_params, payment_size_msat });
        if let Some(Bought { jit_channel_scid, .. }) = bought {
            assert!(
                self.lsp.store.contains_key(&FlowId::JitChannel(jit_channel_scid).to_string()),
                "written before told"
            );
            self.sold.push((jit_channel_scid, client, payment_size_msat));
        }
    }
}

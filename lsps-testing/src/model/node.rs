//! A node with LDK's properties: it forgets its actions since the last save, repeats events, and reports failures
//! imprecisely.
//!
//! Nothing reaches a peer before the node is saved, so a crash reverts only actions that nobody has seen.

use std::collections::{BTreeMap, VecDeque};

use lsps_host::ports::{IncomingHtlc, IncomingState, NodeEvent, OutgoingHtlc, Resolution};
use lsps_service::{
    ChannelEnd, ChannelId, ChannelKey, FlowId, FundingOutput, HeldHtlc, Input, OpenTerms, PartId, WhichPart,
};
use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, Msat, PeerId, Scid};

use super::chain::output_of;

/// An incoming HTLC, from the payer's point of view.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The HTLC as the node reports it.
    pub htlc: HeldHtlc,
    /// Client whose channel the onion of an ordinary payment names; `None`: the onion names an SCID of no channel.
    pub ordinary: Option<PeerId>,
    /// Amount of the last forward that was asked for.
    pub asked: Option<Msat>,
    /// Channel and amount of the forward, once the client has it.
    pub given: Option<(ChannelKey, Msat)>,
    /// Outcome for the payer; set once.
    pub outcome: Option<Upstream>,
    /// Whether the incoming channel was closed while the node held the HTLC: a later claim is at the LSP's expense.
    pub is_cut_off: bool,
}

impl Incoming {
    /// Whether the HTLC is for this SCID of an offer.
    pub fn is_of(&self, scid: Scid) -> bool {
        self.ordinary.is_none() && self.htlc.scid == scid
    }

    /// Fee that was kept of the HTLC.
    pub fn skim(&self) -> Msat {
        self.given.and_then(|(_, amount)| self.htlc.onion_amount.checked_sub(amount)).unwrap_or(Msat::ZERO)
    }
}

/// Outcome of an HTLC for its payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The payer received the preimage.
    Fulfilled,
    /// The HTLC was failed.
    Failed(FailureCode),
}

/// State of an HTLC at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Intercepted.
    Held,
    /// Forward requested; it is sent with the next save.
    Queued { to: PeerId, over: ChannelKey, amount: Msat },
    /// At the client.
    AtClient { to: PeerId, over: ChannelKey, amount: Msat },
    /// Claimed by the client; the incoming HTLC is claimed with the next save.
    Claimed,
    /// To be failed with the next save.
    Failing(FailureCode),
    /// The payer knows the outcome.
    Over,
}

/// A channel to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The client.
    pub client: PeerId,
    /// Stage of the channel.
    pub stage: Stage,
    capacity: Msat,
    /// First payment for which it was opened, and its number of HTLCs.
    deliver: Msat,
    htlcs: usize,
    /// Feerate of its commitment transactions at the open.
    feerate_sat_per_kw: u32,
    /// Initial balance of the client.
    push: Msat,
    /// Initial balance of the client, and its claims since.
    given: Msat,
    /// Whether ordinary payments may use it; otherwise its price for them is out of reach.
    pub carries_others: bool,
}

/// Stage of a channel at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The client has the request.
    Asked,
    /// The client accepted.
    Accepted,
    /// The node has the funding transaction.
    Funded,
    /// The client signed.
    Signed,
    /// The signature is persisted.
    Pending,
    /// The channel is in use.
    Ready,
}

/// State that a save persists.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// States of HTLCs, by number.
    pub places: BTreeMap<usize, Place>,
    /// Channels, by key.
    pub channels: BTreeMap<ChannelKey, Channel>,
    /// Events that are not handled yet.
    pub events: VecDeque<NodeEvent>,
}

/// The node.
#[derive(Debug, Default)]
pub struct Node {
    /// Present state.
    pub now: Memory,
    disk: Memory,
    /// All HTLCs that ever arrived.
    pub incoming: Vec<Incoming>,
    /// Events that a crash drops.
    pub volatile: VecDeque<NodeEvent>,
    /// Present feerate of commitment transactions.
    pub feerate_sat_per_kw: u32,
    /// Whether the next forward fails for lack of a channel.
    pub refuses: bool,
    /// Whether claims are reported by amount only, even if that is ambiguous, and peers do everything that nobody can
    /// prevent.
    pub is_hostile: bool,
}

impl Node {
    /// Delivers an HTLC whose onion names an SCID of no channel.
    pub fn arrives(&mut self, htlc: HeldHtlc) {
        self.comes_in(htlc, None);
    }

    /// Delivers an HTLC whose onion names a channel of the client. The node forwards it without asking.
    pub fn passes_through(&mut self, htlc: HeldHtlc, client: PeerId) {
        self.comes_in(htlc, Some(client));
    }

    fn comes_in(&mut self, htlc: HeldHtlc, ordinary: Option<PeerId>) {
        let number = self.incoming.len();
        let incoming = Incoming { htlc, ordinary, asked: None, given: None, outcome: None, is_cut_off: false };
        self.incoming.push(incoming);
        self.intercept(number);
    }

    /// Whether an HTLC is for this SCID, or has the id of one that is. LDK forwards whatever it holds under an id
    /// (`forward_intercepted_htlc`), wherever its onion leads, and shows of it only the amount that came in
    /// (`intercepted_htlc_inbound_amount_msat`).
    pub fn goes_for(&self, number: usize, scid: Scid) -> bool {
        let part = self.incoming[number].htlc.part;
        self.incoming[number].ordinary.is_none()
            && self.incoming.iter().any(|other| other.is_of(scid) && other.htlc.part == part)
    }

    /// Whether an intercepted HTLC with this id is held.
    pub fn holds(&self, part: PartId) -> bool {
        self.held(part).is_some()
    }

    /// Incoming amount of a held part.
    pub fn held_amount(&self, part: PartId) -> Option<Msat> {
        self.held(part).map(|number| self.incoming[number].htlc.amount_in)
    }

    /// Incoming HTLCs that are not over, as the node shows them.
    pub fn htlcs(&self) -> impl Iterator<Item = IncomingHtlc> {
        let open = self.incoming.iter().enumerate();
        let open = open.filter(|(_, incoming)| incoming.outcome.is_none() && !incoming.is_cut_off);
        open.map(|(number, incoming)| {
            let state = match self.now.places.get(&number) {
                Some(Place::Claimed) => IncomingState::Claiming,
                Some(Place::Failing(_)) => IncomingState::Failing,
                Some(Place::Held | Place::Queued { .. } | Place::AtClient { .. } | Place::Over) | None => {
                    IncomingState::Committed
                }
            };
            let HeldHtlc { payment_hash, amount_in: amount, .. } = incoming.htlc;
            IncomingHtlc { payment_hash, amount, state }
        })
    }

    /// HTLCs that are at a client or on their way to it.
    pub fn outgoing(&self, client: PeerId) -> impl Iterator<Item = OutgoingHtlc> {
        self.now.places.iter().filter_map(move |(number, place)| {
            let (Place::Queued { to, amount, .. } | Place::AtClient { to, amount, .. }) = place else { return None };
            let HeldHtlc { payment_hash, onion_amount, .. } = self.incoming[*number].htlc;
            let skim = onion_amount.checked_sub(*amount);
            (*to == client).then_some(OutgoingHtlc { payment_hash, amount: *amount, skim, is_resolved: false })
        })
    }

    /// Whether an open channel carries an HTLC, or carried one that was claimed.
    pub fn is_used(&self, key: ChannelKey) -> bool {
        if self.stage(key).is_none() {
            return false;
        }
        let carries = self.now.places.values().any(|place| match place {
            Place::Queued { over, .. } | Place::AtClient { over, .. } => *over == key,
            Place::Held | Place::Claimed | Place::Failing(_) | Place::Over => false,
        });
        let was_claimed = |(number, incoming): (usize, &Incoming)| {
            incoming.given.is_some_and(|(over, _)| over == key)
                && (incoming.outcome == Some(Upstream::Fulfilled)
                    || self.now.places.get(&number) == Some(&Place::Claimed))
        };
        // An order may give its client an initial balance, so its channel does not show a claim.
        let shows = matches!(key.flow, FlowId::JitChannel(_)) && self.stage(key) == Some(Stage::Ready);
        carries || (shows && self.incoming.iter().enumerate().any(was_claimed))
    }

    /// Height at which the first channel with each client is force-closed unless the client connects.
    pub fn forced_closes(&self) -> BTreeMap<PeerId, Option<BlockHeight>> {
        let clients = self.now.channels.values().map(|channel| channel.client);
        let close = |client| {
            let there = self.now.places.iter().filter_map(move |(number, place)| match place {
                Place::AtClient { to, .. } if *to == client => self.incoming[*number].htlc.cltv_expiry,
                _ => None,
            });
            there.min().map(|expiry| BlockHeight(expiry.0 + FORCED))
        };
        clients.map(|client| (client, close(client))).collect()
    }

    /// Asks the client for a channel.
    pub fn open(&mut self, key: ChannelKey, client: PeerId, terms: &OpenTerms, htlcs: usize, feerate_sat_per_kw: u32) {
        let (stage, carries_others) = (Stage::Asked, terms.carries_others);
        let (capacity, deliver, push) = (Msat(terms.capacity_sat * 1_000), terms.deliver, terms.push);
        let given = push;
        let channel =
            Channel { client, stage, capacity, deliver, htlcs, feerate_sat_per_kw, push, given, carries_others };
        self.now.channels.insert(key, channel);
    }

    /// Amount that a channel can deliver to its client at once in this number of further HTLCs, by LDK 0.2's rule for
    /// the opener: one more HTLC has to fit, at twice the feerate.
    pub fn room(&self, key: ChannelKey, htlcs: usize) -> Option<Msat> {
        let channel = self.now.channels.get(&key)?;
        let (mut there, mut taken) = (htlcs as u64, channel.given.0);
        for place in self.now.places.values() {
            if let Place::AtClient { over, amount, .. } = place
                && *over == key
            {
                (there, taken) = (there + 1, taken + amount.0);
            }
        }
        let reserve = (channel.capacity.0 / 100_000 * 1_000).max(1_000_000); // in whole satoshis
        let fee_sat = 2 * u64::from(self.feerate_sat_per_kw) * (724 + 172 * (there + 1)) / 1_000;
        Some(Msat(channel.capacity.0.saturating_sub(taken + reserve + fee_sat * 1_000)))
    }

    /// Whether a channel can carry one more HTLC of this amount.
    fn fits(&self, key: ChannelKey, amount: Msat) -> bool {
        let Some(room) = self.room(key, 1) else { return false };
        let channel = &self.now.channels[&key];
        let over_it = self.now.places.values().filter_map(|place| match place {
            Place::AtClient { over, amount, .. } if *over == key => Some(amount.0),
            _ => None,
        });
        let (there, sum) = over_it.fold((1, amount.0), |(there, sum), amount| (there + 1, sum + amount));
        let is_promised = channel.given == channel.push && sum <= channel.deliver.0 && there <= channel.htlcs;
        let is_dear = self.feerate_sat_per_kw > 2 * channel.feerate_sat_per_kw;
        assert!(
            room >= amount || !is_promised || is_dear,
            "{key:?} carries {room} more and was opened for {} in {} HTLCs: {channel:?}, {there} make {sum} msat",
            channel.deliver,
            channel.htlcs
        );
        room >= amount
    }

    /// Allows ordinary payments over a channel.
    pub fn carry_others(&mut self, key: ChannelKey) {
        self.now.channels.entry(key).and_modify(|channel| channel.carries_others = true);
    }

    /// Lets the client accept an open, if it was asked.
    pub fn accepted(&mut self, key: ChannelKey, to_self_delay: Option<u16>) {
        if self.stage(key) == Some(Stage::Asked) {
            self.set(key, Stage::Accepted);
            let output = output_of(key, VALUE_SAT);
            let output = FundingOutput { script: output.script_pubkey.into_bytes(), value_sat: VALUE_SAT };
            self.volatile.push_back(NodeEvent::Input(Input::ChannelNegotiated { key, to_self_delay, output }));
        }
    }

    /// Ends a channel that both sides have not signed.
    pub fn rejected(&mut self, key: ChannelKey, why: ChannelEnd) {
        if self.stage(key).is_some_and(|stage| stage < Stage::Signed) {
            self.now.channels.remove(&key);
            self.now.events.push_back(NodeEvent::Input(Input::ChannelEnded { key, why }));
        }
    }

    /// Gives the funding transaction to a channel. `false`: no channel waits for it.
    pub fn fund(&mut self, key: ChannelKey) -> bool {
        let waits = self.stage(key) == Some(Stage::Accepted);
        if waits {
            self.set(key, Stage::Funded);
        }
        waits
    }

    /// Lets both sides sign; the event follows once that is persisted.
    pub fn signed(&mut self, key: ChannelKey) {
        if self.stage(key) == Some(Stage::Funded) {
            self.set(key, Stage::Signed);
        }
    }

    /// Makes a channel ready.
    pub fn ready(&mut self, key: ChannelKey) {
        if self.stage(key) == Some(Stage::Pending) {
            self.set(key, Stage::Ready);
            let told = Input::ChannelReady { key, channel_id: ChannelId([key.attempt.to_be_bytes()[3]; 32]) };
            self.now.events.push_back(NodeEvent::Input(told));
        }
    }

    /// Reports the client's next step.
    pub fn proceeds(&mut self, key: ChannelKey) {
        match self.stage(key) {
            Some(Stage::Asked) => self.accepted(key, None),
            Some(Stage::Funded) => self.signed(key),
            Some(Stage::Pending) => self.ready(key),
            Some(Stage::Accepted | Stage::Signed | Stage::Ready) | None => {}
        }
    }

    /// Closes a channel at the LSP's request, without an event.
    pub fn close(&mut self, key: ChannelKey) {
        self.now.channels.remove(&key);
    }

    /// Closes a signed channel at the client's request or on-chain.
    pub fn closed(&mut self, key: ChannelKey) {
        if self.stage(key).is_some_and(|stage| stage >= Stage::Pending) {
            self.now.channels.remove(&key);
            self.now.events.push_back(NodeEvent::Input(Input::ChannelEnded { key, why: ChannelEnd::Closed }));
        }
    }

    /// Disconnects a peer: unsigned channels end; the end of one that was only asked for is not reported.
    pub fn disconnected(&mut self, client: PeerId) {
        for key in self.channels_of(client, |stage| stage < Stage::Signed) {
            if self.stage(key) > Some(Stage::Asked) {
                self.rejected(key, ChannelEnd::PeerGone);
            }
        }
    }

    /// Forwards a held HTLC over any ready channel of the client, not just the given one. `Done` does not mean
    /// delivered.
    pub fn forward(&mut self, part: PartId, over: ChannelKey, amount: Msat) -> Resolution {
        let Some(number) = self.held(part) else { return Resolution::NotHeld };
        let channel = self.now.channels.get(&over).filter(|channel| channel.stage == Stage::Ready);
        let Some(channel) = channel.filter(|_| !std::mem::take(&mut self.refuses)) else { return Resolution::Refused };
        let to = channel.client;
        self.incoming[number].asked = Some(amount);
        self.queue(number, to, amount);
        Resolution::Done
    }

    /// Queues an HTLC. Its fee is that of the channel in the onion. The HTLC is sent over the ready channel of the
    /// client with the least room that suffices, whatever the fee of that channel.
    fn queue(&mut self, number: usize, to: PeerId, amount: Msat) {
        let is_ordinary = self.incoming[number].ordinary.is_some();
        let ready = self.channels_of(to, |stage| stage == Stage::Ready);
        let is_let_in = !is_ordinary || ready.iter().any(|key| self.now.channels[key].carries_others);
        let room = |key: &ChannelKey| self.room(*key, 1).filter(|room| *room >= amount);
        let fits = ready.iter().copied().filter_map(|key| Some((room(&key)?, key))).min().map(|(_, key)| key);
        let place = match fits.or(ready.into_iter().min()).filter(|_| is_let_in) {
            Some(over) => Place::Queued { to, over, amount },
            None => Place::Failing(FailureCode::UnknownNextPeer),
        };
        self.now.places.insert(number, place);
    }

    /// Fails a held HTLC.
    pub fn fail(&mut self, part: PartId, code: FailureCode) -> Resolution {
        let Some(number) = self.held(part) else { return Resolution::NotHeld };
        self.now.places.insert(number, Place::Failing(code));
        Resolution::Done
    }

    /// Fails HTLCs that are about to expire, and closes channels whose client keeps one.
    pub fn blocks(&mut self, height: u32) {
        for (number, over) in self.late(height) {
            self.closed(over);
            self.times_out(number);
        }
        let held: Vec<usize> = self.numbers(|place| *place == Place::Held);
        for number in held {
            let htlc = self.incoming[number].htlc;
            if htlc.cltv_expiry.is_some_and(|expiry| expiry.0 <= height.saturating_add(FAIL_BACK_BUFFER)) {
                self.now.places.insert(number, Place::Failing(FailureCode::TemporaryChannelFailure));
                self.now.events.push_back(NodeEvent::FailedHeld(htlc.scid));
            }
        }
    }

    /// HTLCs at clients or on their way to them that are about to expire, with their channels.
    pub fn late(&self, height: u32) -> Vec<(usize, ChannelKey)> {
        let late = self.now.places.iter().filter_map(|(number, place)| match place {
            Place::AtClient { over, .. } | Place::Queued { over, .. } => Some((*number, *over)),
            Place::Held | Place::Claimed | Place::Failing(_) | Place::Over => None,
        });
        let is_late = |expiry: BlockHeight| expiry.0 <= height.saturating_add(FORCED);
        late.filter(|(number, _)| self.incoming[*number].htlc.cltv_expiry.is_some_and(is_late)).collect()
    }

    /// Fails an HTLC at a client whose expiry has passed.
    pub fn times_out(&mut self, number: usize) {
        if let Some(Place::AtClient { to, .. } | Place::Queued { to, .. }) = self.now.places.get(&number) {
            self.fails_towards(number, *to);
        }
    }

    /// Lets the client decide on an HTLC that it has.
    pub fn client_says(&mut self, number: usize, claims: bool, rounded: bool) {
        let Some(Place::AtClient { to, over, amount: given }) = self.now.places.get(&number).copied() else { return };
        if claims {
            self.now.places.insert(number, Place::Claimed);
            self.now.channels.entry(over).and_modify(|channel| channel.given = Msat(channel.given.0 + given.0));
            let amount = if rounded { Msat(given.0 / 1_000 * 1_000) } else { given };
            // After a crash, a repeated claim of one of two equal amounts cannot be distinguished from a claim of the
            // other.
            let Incoming { htlc, ordinary, .. } = self.incoming[number];
            let is_alike = |other: &Incoming| {
                let other = other.htlc;
                other.payment_hash != htlc.payment_hash && other.onion_amount.0.abs_diff(htlc.onion_amount.0) < LIKE
            };
            let has_name = !self.is_hostile && ordinary.is_none() && self.incoming.iter().any(is_alike);
            let part = if has_name {
                WhichPart::Id(htlc.part)
            } else {
                let skim = htlc.onion_amount.checked_sub(given).filter(|skim| *skim > Msat::ZERO && !rounded);
                WhichPart::Sent { to, amount, amount_in: Some(htlc.amount_in), skim }
            };
            self.now.events.push_back(NodeEvent::Input(Input::PartForwarded { part, over: Some(over) }));
        } else {
            self.fails_towards(number, to);
        }
    }

    fn fails_towards(&mut self, number: usize, client: PeerId) {
        self.now.places.insert(number, Place::Failing(FailureCode::TemporaryChannelFailure));
        self.now.events.push_back(NodeEvent::FailedTowards(client));
    }

    /// Persists the state, then sends everything that waited for that.
    pub fn save(&mut self, is_usable: impl Fn(PeerId) -> bool) {
        for number in self.numbers(|place| matches!(place, Place::Queued { .. })) {
            if let Place::Queued { to, over, amount } = self.now.places[&number] {
                let fits = self.fits(over, amount);
                if is_usable(to) && self.stage(over) == Some(Stage::Ready) && fits {
                    self.now.places.insert(number, Place::AtClient { to, over, amount });
                    self.incoming[number].given = Some((over, amount));
                } else if self.stage(over).is_none() {
                    // The node reports only the SCID, which is not the one by which the host knows the HTLC.
                    self.now.places.insert(number, Place::Failing(FailureCode::UnknownNextPeer));
                    self.now.events.push_back(NodeEvent::FailedHeld(ALIAS));
                } else {
                    self.fails_towards(number, to); // connected is not enough
                }
            }
        }
        for number in self.numbers(|place| matches!(place, Place::Claimed | Place::Failing(_))) {
            let outcome = match self.now.places[&number] {
                Place::Failing(code) => Upstream::Failed(code),
                _ => Upstream::Fulfilled,
            };
            assert_eq!(self.incoming[number].outcome.replace(outcome), None, "a payer hears one outcome");
            self.now.places.insert(number, Place::Over);
        }
        let signed: Vec<ChannelKey> = self.channels(|stage| stage == Stage::Signed);
        for key in signed {
            self.set(key, Stage::Pending);
            self.now.events.push_back(NodeEvent::Input(Input::ChannelPending { key }));
        }
        self.disk = self.now.clone();
        self.disk.channels.retain(|_, channel| channel.stage >= Stage::Pending);
    }

    /// Swaps the next two events of the node. Events of channels keep their order, and no event comes after a marker that was
    /// sent later. LDK 0.2.7 puts a marker at the end of its one queue of events (`OutboundPayments::abandon_payment`), tells
    /// that queue in order (`process_events_body`) and saves it in order, so that an event which has waited there comes first.
    pub fn swap_events(&mut self) {
        let of_channel = |told: &NodeEvent| {
            matches!(
                told,
                NodeEvent::Input(
                    Input::ChannelPending { .. } | Input::ChannelReady { .. } | Input::ChannelEnded { .. }
                )
            )
        };
        let (first, second) = (self.now.events.front(), self.now.events.get(1));
        let may_follow = |first: &NodeEvent, second: &NodeEvent| {
            !matches!(second, NodeEvent::Marker(_)) && (!of_channel(first) || !of_channel(second))
        };
        if first.is_some_and(|first| second.is_some_and(|second| may_follow(first, second))) {
            self.now.events.swap(0, 1);
        }
    }

    /// Whether an event is about an HTLC after which another one arrived with the same id. LDK reports an HTLC again
    /// only after a start, and the later one after it.
    pub fn is_outdated(&self, event: &NodeEvent) -> bool {
        let NodeEvent::Input(Input::HtlcHeld(told)) = event else { return false };
        let latest = self.incoming.iter().map(|incoming| incoming.htlc).rfind(|htlc| htlc.part == told.part);
        latest.is_some_and(|latest| latest != *told)
    }

    /// Whether the node may tell an event a second time in one life. LDK 0.2.7 takes an event off its queue once it is dealt
    /// with. It makes a second claim of one HTLC only where both channels of the HTLC are closed: a peer's preimage is taken
    /// once, so the second one comes from the monitor of the closed outgoing channel, and the documentation of
    /// `Event::PaymentForwarded` excludes duplicates unless the incoming channel was closed too.
    pub fn may_tell_again(&self, event: &NodeEvent) -> bool {
        match event {
            NodeEvent::Input(Input::PartForwarded { over: Some(key), .. }) => self.stage(*key).is_none(),
            _ => true,
        }
    }

    /// Crashes, and restores the persisted state. Later HTLCs are decoded again afterwards.
    pub fn crash(&mut self) {
        self.now = self.disk.clone();
        self.volatile.clear();
    }

    /// Decodes HTLCs that a crash left undecoded.
    pub fn decode(&mut self) {
        let unknown: Vec<usize> = (0..self.incoming.len())
            .filter(|number| self.incoming[*number].outcome.is_none() && !self.now.places.contains_key(number))
            .collect();
        for number in unknown {
            self.intercept(number);
        }
    }

    /// HTLCs in some state.
    pub fn numbers(&self, is: impl Fn(&Place) -> bool) -> Vec<usize> {
        self.now.places.iter().filter(|(_, place)| is(place)).map(|(number, _)| *number).collect()
    }

    /// Channels at some stage.
    pub fn channels(&self, is: impl Fn(Stage) -> bool) -> Vec<ChannelKey> {
        self.now.channels.iter().filter(|(_, channel)| is(channel.stage)).map(|(key, _)| *key).collect()
    }

    /// Channels of one client at some stage.
    pub fn channels_of(&self, client: PeerId, is: impl Fn(Stage) -> bool) -> Vec<ChannelKey> {
        let all = self.channels(is);
        all.into_iter().filter(|key| self.now.channels[key].client == client).collect()
    }

    /// Stage of a channel.
    pub fn stage(&self, key: ChannelKey) -> Option<Stage> {
        self.now.channels.get(&key).map(|channel| channel.stage)
    }

    fn set(&mut self, key: ChannelKey, stage: Stage) {
        if let Some(channel) = self.now.channels.get_mut(&key) {
            channel.stage = stage;
        }
    }

    fn intercept(&mut self, number: usize) {
        let Incoming { htlc, ordinary, .. } = self.incoming[number];
        if let Some(client) = ordinary {
            self.queue(number, client, htlc.onion_amount);
        } else if self.holds(htlc.part) {
            // The node fails the second of two HTLCs with the same id.
            self.now.places.insert(number, Place::Failing(FailureCode::UnknownNextPeer));
            self.now.events.push_back(NodeEvent::FailedHeld(htlc.scid));
        } else {
            self.now.places.insert(number, Place::Held);
            self.now.events.push_back(NodeEvent::Input(Input::HtlcHeld(htlc)));
        }
    }

    fn held(&self, part: PartId) -> Option<usize> {
        let places = self.now.places.iter();
        let mut held = places.filter(|(_, place)| **place == Place::Held).map(|(number, _)| *number);
        held.find(|number| self.incoming[*number].htlc.part == part)
    }
}

/// SCID of a channel that is gone.
const ALIAS: Scid = Scid(3);
/// Blocks before the expiry at which an HTLC that its client keeps is failed, and its channel closed.
const FORCED: u32 = 3;
/// Difference below which two amounts may become equal once a fee is kept of one.
const LIKE: u64 = 2_000_000;
/// Blocks before the expiry at which LDK fails a held HTLC.
const FAIL_BACK_BUFFER: u32 = 39;
/// Value of every funding output, in satoshis.
const VALUE_SAT: u64 = 2_000_000;

//! A node with LDK's habits: it forgets what it did since its last save, tells events again, and says little of failures.
//!
//! Nothing reaches a peer before the node is saved, so a crash takes back only what nobody has seen.

use std::collections::{BTreeMap, VecDeque};

use lsps_host::ports::{IncomingHtlc, IncomingState, NodeEvent, OutgoingHtlc, Resolution};
use lsps_service::{
    ChannelEnd, ChannelId, ChannelKey, FlowId, FundingOutput, HeldHtlc, Input, OpenTerms, PartId, WhichPart,
};
use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, Msat, PeerId, Scid};

use super::chain::output_of;

/// One HTLC on its way in; a payer's truth.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// As the node will tell it.
    pub htlc: HeldHtlc,
    /// The client whose channel the onion of an ordinary payment names; `None`: it names an SCID that is none.
    pub ordinary: Option<PeerId>,
    /// The channel and the amount that the client was given, once it has it.
    pub given: Option<(ChannelKey, Msat)>,
    /// Set once: what the payer got.
    pub outcome: Option<Upstream>,
    /// The channel it came over was closed while the node held it: who claims it on has it at the LSP's expense.
    pub is_cut_off: bool,
}

impl Incoming {
    /// Whether it came for this SCID of ours.
    pub fn is_of(&self, scid: Scid) -> bool {
        self.ordinary.is_none() && self.htlc.scid == scid
    }

    /// The fee that was kept of it.
    pub fn skim(&self) -> Msat {
        self.given.and_then(|(_, amount)| self.htlc.onion_amount.checked_sub(amount)).unwrap_or(Msat::ZERO)
    }
}

/// What a payer hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The preimage.
    Fulfilled,
    /// Its money back.
    Failed(FailureCode),
}

/// Where an HTLC is, as the node believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Intercepted.
    Held,
    /// Told to forward; leaves with the next save.
    Queued { to: PeerId, over: ChannelKey, amount: Msat },
    /// With the client.
    AtClient { to: PeerId, over: ChannelKey, amount: Msat },
    /// The client claimed it; the payer pays with the next save.
    Claimed,
    /// To be failed with the next save.
    Failing(FailureCode),
    /// The payer knows.
    Over,
}

/// One channel to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The peer.
    pub client: PeerId,
    /// How far it is.
    pub stage: Stage,
    capacity: Msat,
    /// The first payment that it was opened for, and in how many HTLCs that comes.
    deliver: Msat,
    htlcs: usize,
    /// The feerate of its commitment transactions when it was opened.
    feerate_sat_per_kw: u32,
    /// Given to the client at the start.
    push: Msat,
    /// Given to the client at the start, and what it claimed since.
    given: Msat,
    /// Whether ordinary payments may go over it, or its price for them is out of reach.
    pub carries_others: bool,
}

/// How far a channel is at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The client has the request.
    Asked,
    /// It accepted.
    Accepted,
    /// The node has the transaction.
    Funded,
    /// The client signed.
    Signed,
    /// And that is saved.
    Pending,
    /// In use.
    Ready,
}

/// All of it that a save writes.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// By HTLC number.
    pub places: BTreeMap<usize, Place>,
    /// By key.
    pub channels: BTreeMap<ChannelKey, Channel>,
    /// Told, and not yet dealt with.
    pub events: VecDeque<NodeEvent>,
}

/// The node.
#[derive(Debug, Default)]
pub struct Node {
    /// As it runs.
    pub now: Memory,
    disk: Memory,
    /// What came in, ever.
    pub incoming: Vec<Incoming>,
    /// Events that a crash takes along.
    pub volatile: VecDeque<NodeEvent>,
    /// The present feerate of commitment transactions.
    pub feerate_sat_per_kw: u32,
    /// The next forward finds no channel, whatever was there a moment ago.
    pub refuses: bool,
    /// Claims are told by amount only, also where that does not say which part it was; peers do what they like.
    pub is_hostile: bool,
}

impl Node {
    /// An HTLC comes in whose onion names an SCID that is no channel.
    pub fn arrives(&mut self, htlc: HeldHtlc) {
        self.comes_in(htlc, None);
    }

    /// An HTLC comes in whose onion names a channel of the client. Nobody is asked.
    pub fn passes_through(&mut self, htlc: HeldHtlc, client: PeerId) {
        self.comes_in(htlc, Some(client));
    }

    fn comes_in(&mut self, htlc: HeldHtlc, ordinary: Option<PeerId>) {
        let number = self.incoming.len();
        self.incoming.push(Incoming { htlc, ordinary, given: None, outcome: None, is_cut_off: false });
        self.intercept(number);
    }

    /// Whether an intercept of this name waits.
    pub fn holds(&self, part: PartId) -> bool {
        self.held(part).is_some()
    }

    /// The amount that came in with a held part.
    pub fn held_amount(&self, part: PartId) -> Option<Msat> {
        self.held(part).map(|number| self.incoming[number].htlc.amount_in)
    }

    /// The HTLCs that came in and are not over, as the node shows them.
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

    /// The HTLCs that are with a client or on their way there.
    pub fn outgoing(&self, client: PeerId) -> impl Iterator<Item = OutgoingHtlc> {
        self.now.places.iter().filter_map(move |(number, place)| {
            let (Place::Queued { to, amount, .. } | Place::AtClient { to, amount, .. }) = place else { return None };
            let payment_hash = self.incoming[*number].htlc.payment_hash;
            (*to == client).then_some(OutgoingHtlc { payment_hash, amount: *amount, is_resolved: false })
        })
    }

    /// Whether a channel that is there carries an HTLC, or has carried one that was claimed.
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
        // An order may give its client something at once, so its channel does not show it.
        let shows = matches!(key.flow, FlowId::JitChannel(_)) && self.stage(key) == Some(Stage::Ready);
        carries || (shows && self.incoming.iter().enumerate().any(was_claimed))
    }

    /// The height at which the first channel with each client is closed by force unless the client comes.
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

    /// The amount that a channel carries to its client at once in so many more HTLCs, as LDK 0.2 counts it for whoever
    /// opened it: one more HTLC has to fit, at twice the feerate.
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

    /// Whether a channel carries one more HTLC of this amount.
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

    /// Opens a channel to ordinary payments.
    pub fn carry_others(&mut self, key: ChannelKey) {
        self.now.channels.entry(key).and_modify(|channel| channel.carries_others = true);
    }

    /// The client's answers, as far as they make sense now.
    pub fn accepted(&mut self, key: ChannelKey, to_self_delay: Option<u16>) {
        if self.stage(key) == Some(Stage::Asked) {
            self.set(key, Stage::Accepted);
            let output = output_of(key, VALUE_SAT);
            let output = FundingOutput { script: output.script_pubkey.into_bytes(), value_sat: VALUE_SAT };
            self.volatile.push_back(NodeEvent::Input(Input::ChannelNegotiated { key, to_self_delay, output }));
        }
    }

    /// Before both sides signed.
    pub fn rejected(&mut self, key: ChannelKey, why: ChannelEnd) {
        if self.stage(key).is_some_and(|stage| stage < Stage::Signed) {
            self.now.channels.remove(&key);
            self.now.events.push_back(NodeEvent::Input(Input::ChannelEnded { key, why }));
        }
    }

    /// The funding transaction is handed over. `false`: nobody waits for it.
    pub fn fund(&mut self, key: ChannelKey) -> bool {
        let waits = self.stage(key) == Some(Stage::Accepted);
        if waits {
            self.set(key, Stage::Funded);
        }
        waits
    }

    /// Both sides signed; told once that is saved.
    pub fn signed(&mut self, key: ChannelKey) {
        if self.stage(key) == Some(Stage::Funded) {
            self.set(key, Stage::Signed);
        }
    }

    /// Both sides can use it.
    pub fn ready(&mut self, key: ChannelKey) {
        if self.stage(key) == Some(Stage::Pending) {
            self.set(key, Stage::Ready);
            let told = Input::ChannelReady { key, channel_id: ChannelId([key.attempt.to_be_bytes()[3]; 32]) };
            self.now.events.push_back(NodeEvent::Input(told));
        }
    }

    /// The client's next step is told.
    pub fn proceeds(&mut self, key: ChannelKey) {
        match self.stage(key) {
            Some(Stage::Asked) => self.accepted(key, None),
            Some(Stage::Funded) => self.signed(key),
            Some(Stage::Pending) => self.ready(key),
            Some(Stage::Accepted | Stage::Signed | Stage::Ready) | None => {}
        }
    }

    /// Closes a channel by our own will; nothing is told of that.
    pub fn close(&mut self, key: ChannelKey) {
        self.now.channels.remove(&key);
    }

    /// A channel that was signed is closed by the client or on the chain.
    pub fn closed(&mut self, key: ChannelKey) {
        if self.stage(key).is_some_and(|stage| stage >= Stage::Pending) {
            self.now.channels.remove(&key);
            self.now.events.push_back(NodeEvent::Input(Input::ChannelEnded { key, why: ChannelEnd::Closed }));
        }
    }

    /// The peer is gone: unsigned channels end, except one that was only asked for, of which nothing is told.
    pub fn disconnected(&mut self, client: PeerId) {
        for key in self.channels_of(client, |stage| stage < Stage::Signed) {
            if self.stage(key) > Some(Stage::Asked) {
                self.rejected(key, ChannelEnd::PeerGone);
            }
        }
    }

    /// Forwards a held HTLC, over any channel of the client that is ready, not just the one named. `Done` is no delivery.
    pub fn forward(&mut self, part: PartId, over: ChannelKey, amount: Msat) -> Resolution {
        let Some(number) = self.held(part) else { return Resolution::NotHeld };
        let channel = self.now.channels.get(&over).filter(|channel| channel.stage == Stage::Ready);
        let Some(channel) = channel.filter(|_| !std::mem::take(&mut self.refuses)) else { return Resolution::Refused };
        let to = channel.client;
        self.queue(number, to, amount);
        Resolution::Done
    }

    /// The price is that of the channel which the onion names. The HTLC then goes over any channel of the client that is
    /// ready, whatever the price of that one: the channel with the least room that fits.
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

    /// Lets HTLCs go that come too close to their expiry, and closes channels whose client keeps one.
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

    /// HTLCs on their way to clients or with them that come too close to their expiry, and the channel of each.
    pub fn late(&self, height: u32) -> Vec<(usize, ChannelKey)> {
        let late = self.now.places.iter().filter_map(|(number, place)| match place {
            Place::AtClient { over, .. } | Place::Queued { over, .. } => Some((*number, *over)),
            Place::Held | Place::Claimed | Place::Failing(_) | Place::Over => None,
        });
        let is_late = |expiry: BlockHeight| expiry.0 <= height.saturating_add(FORCED);
        late.filter(|(number, _)| self.incoming[*number].htlc.cltv_expiry.is_some_and(is_late)).collect()
    }

    /// An HTLC that went to a client comes back, as its time is up.
    pub fn times_out(&mut self, number: usize) {
        if let Some(Place::AtClient { to, .. } | Place::Queued { to, .. }) = self.now.places.get(&number) {
            self.fails_towards(number, *to);
        }
    }

    /// The client's word about an HTLC it has.
    pub fn client_says(&mut self, number: usize, claims: bool, rounded: bool) {
        let Some(Place::AtClient { to, over, amount: given }) = self.now.places.get(&number).copied() else { return };
        if claims {
            self.now.places.insert(number, Place::Claimed);
            self.now.channels.entry(over).and_modify(|channel| channel.given = Msat(channel.given.0 + given.0));
            let amount = if rounded { Msat(given.0 / 1_000 * 1_000) } else { given };
            // Told again after a crash, a claim of one of two equal amounts cannot be told from a claim of the other.
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

    /// Writes itself, then lets out what waited for that.
    pub fn save(&mut self, is_usable: impl Fn(PeerId) -> bool) {
        for number in self.numbers(|place| matches!(place, Place::Queued { .. })) {
            if let Place::Queued { to, over, amount } = self.now.places[&number] {
                let fits = self.fits(over, amount);
                if is_usable(to) && self.stage(over) == Some(Stage::Ready) && fits {
                    self.now.places.insert(number, Place::AtClient { to, over, amount });
                    self.incoming[number].given = Some((over, amount));
                } else if self.stage(over).is_none() {
                    // Only its name is told, and that is none by which the host knows it.
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

    /// Swaps the next two events of the node. Events of channels keep their order.
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
        if first.is_some_and(|first| second.is_some_and(|second| !of_channel(first) || !of_channel(second))) {
            self.now.events.swap(0, 1);
        }
    }

    /// Whether an event is of an HTLC after which another one came by the same name. LDK tells an HTLC again only after a start,
    /// and the later one behind it.
    pub fn is_outdated(&self, event: &NodeEvent) -> bool {
        let NodeEvent::Input(Input::HtlcHeld(told)) = event else { return false };
        let latest = self.incoming.iter().map(|incoming| incoming.htlc).rfind(|htlc| htlc.part == told.part);
        latest.is_some_and(|latest| latest != *told)
    }

    /// Dies, and comes back as it was saved. HTLCs that came in since are decoded anew, later.
    pub fn crash(&mut self) {
        self.now = self.disk.clone();
        self.volatile.clear();
    }

    /// Decodes what a crash left undecoded.
    pub fn decode(&mut self) {
        let unknown: Vec<usize> = (0..self.incoming.len())
            .filter(|number| self.incoming[*number].outcome.is_none() && !self.now.places.contains_key(number))
            .collect();
        for number in unknown {
            self.intercept(number);
        }
    }

    /// HTLCs in some place.
    pub fn numbers(&self, is: impl Fn(&Place) -> bool) -> Vec<usize> {
        self.now.places.iter().filter(|(_, place)| is(place)).map(|(number, _)| *number).collect()
    }

    /// Channels at some stage.
    pub fn channels(&self, is: impl Fn(Stage) -> bool) -> Vec<ChannelKey> {
        self.now.channels.iter().filter(|(_, channel)| is(channel.stage)).map(|(key, _)| *key).collect()
    }

    /// Those of one client.
    pub fn channels_of(&self, client: PeerId, is: impl Fn(Stage) -> bool) -> Vec<ChannelKey> {
        let all = self.channels(is);
        all.into_iter().filter(|key| self.now.channels[key].client == client).collect()
    }

    /// How far a channel is.
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
            // Two of one name are one too many for it.
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

/// The name of a channel that is gone.
const ALIAS: Scid = Scid(3);
/// Blocks before the expiry at which an HTLC that its client keeps comes back, and the channel that has it is closed.
const FORCED: u32 = 3;
/// Amounts that differ by less may be alike once a fee is kept of one.
const LIKE: u64 = 2_000_000;
/// Blocks before the expiry at which LDK fails what it holds.
const FAIL_BACK_BUFFER: u32 = 39;
/// The value of every funding output.
const VALUE_SAT: u64 = 2_000_000;

//! Payers, an LSP with a forgetful node, clients and a chain, in virtual time. Invariants are checked after every step,
//! and all balances once the world has come to rest.

mod check;
mod rest;
mod script;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::Duration;

use lsps_host::ports::NodeEvent;
use lsps_service::{
    Booking, ChannelEnd, FlowId, HeldHtlc, Input, PartId, ScidSource, Service, StandardPolicy, Trust, Turn, WhichPart,
};
use lsps_types::lsps2::{Bought, Buy, GetInfo};
use lsps_types::{BlockHeight, Msat, PaymentHash, PeerId, Scid};

pub use script::{CLIENTS, Call, Changed, Step};

use crate::Seen;
use crate::model::node::{Incoming, Place, Stage, Upstream};
use crate::model::process::{Process, service_like};
pub use crate::model::seen::INPUTS;
use crate::model::{JIT_CHANNELS, Model, choose};
use crate::setup::{LspSetup, peer};

/// A world of JIT channels.
pub struct World {
    pub(crate) lsp: Process,
}

impl World {
    /// Creates a world at noon with this trust model.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self::of(LspSetup { plans: Some(plans(ROOMY_SAT)), ..setup(trust) }, 4)
    }

    pub(crate) fn of(setup: LspSetup, coins: u8) -> Self {
        Self { lsp: Process::new(Model::new(setup, coins)) }
    }

    /// Makes the node report claims without ids: only by recipient, amount and channel. Upstream nodes repeat onions at
    /// any time, and a published channel has to be paid for by all claims.
    #[must_use]
    pub fn hostile(mut self) -> Self {
        {
            let mut model = self.model();
            model.node.is_hostile = true;
            model.node.feerate_sat_per_kw = LEAST_FEERATE;
            model.setup.plans = Some(plans(0));
        }
        self.lsp.restart();
        self
    }

    /// Plans channels with room for more than the first payment.
    #[must_use]
    pub fn roomy(mut self) -> Self {
        self.model().setup.plans = Some(plans(ROOMY_SAT));
        self.lsp.restart();
        self
    }

    /// Puts the node and the wallet behind a connection: what they make takes a call more, and the node publishes the
    /// funding transactions.
    #[must_use]
    pub fn remote(self) -> Self {
        self.model().remote = Some(std::collections::BTreeSet::new());
        self
    }

    /// Records each further run of the LSP on a tape.
    #[must_use]
    pub fn taped(mut self) -> Self {
        self.lsp.tape();
        self
    }

    /// The tapes.
    pub fn tapes(&self) -> impl Iterator<Item = Vec<Turn>> {
        self.lsp.tapes()
    }

    /// A service with the LSP's settings.
    pub fn service_like(&self, scids: impl ScidSource + 'static) -> Service {
        service_like(&self.model().setup, scids)
    }

    /// Plays a script, and checks the invariants after every step.
    #[must_use]
    pub fn play(mut self, script: &[Step]) -> Self {
        for step in script {
            self.step(*step);
            self.model().check_sales();
        }
        self
    }

    /// Number of times that an input met an offer in some state, in the recorded runs.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let of_sale = |(scid, channel, fee)| (FlowId::JitChannel(scid), channel, fee);
        self.lsp.seen(|service| service.states().map(of_sale).collect())
    }

    /// Number of crashes of the process so far.
    #[must_use]
    pub fn deaths(&self) -> usize {
        self.lsp.deaths
    }

    /// Outcome for each payer, in the order of its parts.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Option<bool>> {
        let heard = |incoming: &Incoming| incoming.outcome.map(|outcome| outcome == Upstream::Fulfilled);
        self.model().node.incoming.iter().map(heard).collect()
    }

    /// Number of funding transactions that were published.
    #[must_use]
    pub fn fundings(&self) -> usize {
        self.model().broadcast.len()
    }

    /// Number of parts that the service believes to be at a client.
    #[must_use]
    pub fn known_sent(&mut self) -> usize {
        self.lsp.look(|service| service.known_parts().filter(|part| part.sent.is_some()).count())
    }

    /// Number of parts of which a fee was earned, according to the book.
    #[must_use]
    pub fn fees_earned(&self) -> usize {
        self.model().book(JIT_CHANNELS).iter().filter(|entry| matches!(entry.what, Booking::FeeEarned { .. })).count()
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.lsp.model()
    }

    fn run(&mut self) {
        self.lsp.run();
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.model().passes(MOMENT);
        match step {
            Step::Buy { client, fixed } => self.buys(peer(client + 1), fixed.then_some(SIZE)),
            Step::Connect { client } => self.lsp.connects(peer(client + 1), false),
            Step::Usable { client } => self.model().becomes_usable(peer(client + 1)),
            Step::Disconnect { client } => self.lsp.disconnects(peer(client + 1)),
            Step::Proceed { client } => self.lsp.proceeds(peer(client + 1)),
            Step::SetWebhook { client, app, url } => self.sets_webhook(peer(client + 1), app, url),
            Step::RemoveWebhook { client, app } => self.removes_webhook(peer(client + 1), app),
            Step::Call { client, reason } => self.calls(peer(client + 1), reason),
            Step::Restart => self.lsp.restart_host(),
            step => self.model().step(step),
        }
        self.run();
    }

    /// Asks for a menu, and buys on its first entry.
    fn buys(&mut self, client: PeerId, payment_size_msat: Option<Msat>) {
        if !self.model().may_ask(client) {
            return;
        }
        let is_ours = self.model().fence.falls.is_none();
        let Some(menu) = self.lsp.answers(client, &GetInfo { token: None }) else {
            return assert!(!is_ours, "everybody gets a menu");
        };
        let opening_fee_params = menu.opening_fee_params_menu.into_iter().next().expect("an entry");
        let bought = self.lsp.answers(client, &Buy { opening_fee_params, payment_size_msat });
        if let Some(Bought { jit_channel_scid, .. }) = bought {
            let mut model = self.model();
            assert!(model.has_record(FlowId::JitChannel(jit_channel_scid)), "written before told");
            model.sold.push((jit_channel_scid, client, payment_size_msat));
        }
    }
}

impl Model {
    /// Plays a step outside the LSP's process.
    fn step(&mut self, step: Step) {
        match step {
            Step::Pay { offer, hash, tenths, expires_soon } => {
                let amount = Msat(SIZE.0 / 10 * u64::from(tenths));
                self.pays(offer, hash, amount, amount, expires_soon);
            }
            Step::PayShort { offer, hash } => self.pays(offer, hash, Msat(SIZE.0 - 1), SIZE, false),
            Step::PayOdd { offer, hash, odd } => {
                if let Some((scid, ..)) = choose(&self.sold, offer) {
                    let amount = ODD[usize::from(odd) % ODD.len()];
                    self.arrives(scid, hash, amount, amount, false);
                }
            }
            Step::PayAgain { part, changed } => self.pays_again(part, changed),
            Step::PayOrdinary { client, amount, same_hash } => self.pays_ordinary(peer(client + 1), amount, same_hash),
            Step::Retry { payment, told_late } => self.retries(payment, told_late),
            Step::PayerCloses { part } => {
                if let Some(number) = choose(&self.node.numbers(|place| *place == Place::Held), part) {
                    self.node.incoming[number].is_cut_off = true;
                }
            }
            Step::PayNobody => self.arrives(Scid(1), 9, SIZE, SIZE, false),
            Step::Accept { channel, greedy } => {
                if let Some(key) = self.reachable(channel, |stage| stage == Stage::Asked) {
                    self.node.accepted(key, greedy.then_some(2_017));
                }
            }
            Step::Reject { channel } => {
                if let Some(key) = self.reachable(channel, |stage| stage < Stage::Signed) {
                    self.node.rejected(key, ChannelEnd::Rejected);
                }
            }
            Step::Sign { channel } => {
                if let Some(key) = self.reachable(channel, |stage| stage == Stage::Funded) {
                    self.node.signed(key);
                }
            }
            Step::Ready { channel } => {
                if let Some(key) = self.reachable(channel, |stage| stage == Stage::Pending) {
                    self.node.ready(key);
                }
            }
            Step::Close { channel } => {
                if let Some(key) = self.reachable(channel, |stage| stage >= Stage::Pending) {
                    self.node.closed(key);
                }
            }
            Step::Claim { payment, rounded } => self.client_claims(payment, rounded),
            Step::ClaimOne { payment, part } => {
                if let Some(number) = choose(&self.at_clients(payment), part) {
                    self.says(number, true, false);
                }
            }
            Step::Fail { payment } => {
                self.at_clients(payment).into_iter().for_each(|number| self.says(number, false, false))
            }
            Step::FailOne { payment, part } => {
                if let Some(number) = choose(&self.at_clients(payment), part) {
                    self.says(number, false, false);
                }
            }
            Step::Wait { seconds } => self.passes(Duration::from_secs(seconds.into())),
            Step::Block { is_full } => {
                self.mine(is_full);
                self.hear_blocks();
            }
            Step::Burst { count } => {
                for _ in 0..count {
                    self.mine(false);
                }
                self.hear_blocks();
            }
            Step::Reorg { depth } => self.reorg(depth),
            Step::Evict => self.chain.evict(),
            Step::Feerate { times } => self.node.feerate_sat_per_kw = LEAST_FEERATE * u32::from(times),
            Step::SetClock { seconds, back } => self.sets_clock(Duration::from_secs(seconds.into()), back),
            Step::Refuse { call: Call::FailThrice } => self.fails_refused = 3,
            Step::Refuse { call } => drop(self.refused.insert(call)),
            Step::Mute { on } => self.is_mute = on,
            Step::Swap if self.is_telling => {}
            Step::Swap => self.node.swap_events(),
            Step::Save => self.save(),
            Step::Crash { after, saved } => self.fuse = Some((after, saved)),
            Step::Store { works } => self.store_works = works,
            Step::Hide { sale } => {
                if let Some((scid, ..)) = choose(&self.sold, sale) {
                    self.hidden.insert(FlowId::JitChannel(scid).to_string());
                }
            }
            Step::Show => {
                self.hidden.clear();
                self.passes(Duration::from_secs(1)); // it is noticed by then
            }
            Step::Fence { after, is_told } => self.fence.falls_after(after, is_told),
            Step::Replay => {
                // Outcomes are kept for so long, and a claim that is told again later can count for a part like it that failed.
                let is_known = |at: &Duration| self.steady - *at < self.setup.config.keep_resolved && !self.is_mute;
                let again = self.told_last.clone().filter(|(at, _)| is_known(at)).map(|(_, event)| event);
                let again = again.filter(|event| !self.node.is_outdated(event) && self.node.may_tell_again(event));
                self.node.now.events.extend(again.map(told_again));
            }
            Step::RefuseForward => self.node.refuses = true,
            Step::Buy { .. }
            | Step::Connect { .. }
            | Step::Usable { .. }
            | Step::Disconnect { .. }
            | Step::Proceed { .. }
            | Step::SetWebhook { .. }
            | Step::RemoveWebhook { .. }
            | Step::Call { .. }
            | Step::Restart => unreachable!("the world's own: {step:?}"),
        }
    }

    fn pays(&mut self, offer: u8, hash: u8, amount_in: Msat, onion_amount: Msat, expires_soon: bool) {
        if let Some((scid, _, size)) = choose(&self.sold, offer) {
            let onion_amount = if size.is_none() { onion_amount.max(SIZE) } else { onion_amount };
            let amount_in = if size.is_none() { amount_in.max(Msat(SIZE.0 - 1)) } else { amount_in };
            self.arrives(scid, hash, amount_in.max(Msat(onion_amount.0.saturating_sub(1))), onion_amount, expires_soon);
        }
    }

    fn arrives(&mut self, scid: Scid, hash: u8, amount_in: Msat, onion_amount: Msat, expires_soon: bool) {
        let htlc = self.htlc(scid, hash, amount_in, onion_amount, expires_soon);
        self.node.arrives(htlc);
    }

    /// A new HTLC. One hash is shared by payments to all offers.
    pub(crate) fn htlc(
        &self,
        scid: Scid,
        hash: u8,
        amount_in: Msat,
        onion_amount: Msat,
        expires_soon: bool,
    ) -> HeldHtlc {
        let number = u32::try_from(self.node.incoming.len()).expect("few");
        let mut part = [0; 32];
        part[..4].copy_from_slice(&number.to_be_bytes());
        let mut payment_hash = [hash; 32];
        if hash != 3 {
            payment_hash[..8].copy_from_slice(&scid.0.to_be_bytes());
        }
        let left = if expires_soon { 45 } else { 400 };
        HeldHtlc {
            part: PartId(part),
            scid,
            payment_hash: PaymentHash(payment_hash),
            amount_in,
            onion_amount,
            cltv_expiry: (hash != 2).then_some(BlockHeight(self.chain.height + left)),
        }
    }

    /// The channels of a client that is there work.
    pub(crate) fn becomes_usable(&mut self, client: PeerId) {
        if let Some(link) = self.links.get_mut(&client) {
            *link = true;
            for (number, claims) in self.said.clone() {
                // The crash dropped the client's decision; the client repeats it.
                if matches!(self.node.now.places.get(&number), Some(Place::AtClient { to, .. }) if *to == client) {
                    self.client_says(number, claims, false);
                }
            }
        }
    }

    /// An upstream node repeats an onion, with any values besides it.
    fn pays_again(&mut self, part: u8, changed: Changed) {
        let node = &self.node;
        let is_open = |part: PartId| node.incoming.iter().any(|it| it.htlc.part == part && it.outcome.is_none());
        let jit = node.incoming.iter().filter(|old| old.ordinary.is_none()).map(|old| old.htlc);
        let jit = jit.filter(|htlc| node.is_hostile || !is_open(htlc.part));
        let Some(mut htlc) = choose(&jit.collect::<Vec<_>>(), part) else { return };
        match changed {
            Changed::Nothing => {}
            Changed::LessIn => htlc.amount_in = Msat(1_000),
            Changed::Less => (htlc.amount_in, htlc.onion_amount) = (Msat(1_000), Msat(1_000)),
            Changed::More => (htlc.amount_in, htlc.onion_amount) = (Msat(2 * SIZE.0), Msat(2 * SIZE.0)),
            Changed::Hash => htlc.payment_hash = PaymentHash([77; 32]),
            Changed::Expiry => htlc.cltv_expiry = Some(BlockHeight(self.chain.height + 45)),
            Changed::Scid => htlc.scid = self.sold.last().map_or(htlc.scid, |(scid, ..)| *scid),
        }
        self.node.arrives(htlc);
    }

    /// Somebody pays the client over its present channels: a tiny amount, or the amount that the client received of a
    /// part.
    fn pays_ordinary(&mut self, client: PeerId, amount: u8, same_hash: bool) {
        let like = |place: &Place| match place {
            Place::AtClient { to, amount, .. } if *to == client => Some(*amount),
            _ => None,
        };
        let places = self.node.now.places.iter();
        let alike: Vec<_> = places.filter_map(|(number, place)| Some((*number, like(place)?))).collect();
        let like = choose(&alike, amount / 2).filter(|_| amount % 2 == 1);
        let amount = like.map_or(ODD[usize::from(amount / 2) % ODD.len()], |(_, amount)| amount);
        let mut htlc = self.htlc(Scid(2), 7, amount, amount, false);
        if let Some((number, _)) = like.filter(|_| same_hash) {
            htlc.payment_hash = self.node.incoming[number].htlc.payment_hash;
        }
        self.node.passes_through(htlc, client);
    }

    /// A client fails a payment, and its payer retries in two parts before the LSP has noticed.
    fn retries(&mut self, payment: u8, told_late: bool) {
        let failed = self.at_clients(payment);
        let Some(first) = failed.first().map(|number| self.node.incoming[*number].clone()) else { return };
        let sum: u64 = failed.iter().map(|number| self.node.incoming[*number].htlc.onion_amount.0).sum();
        failed.iter().for_each(|number| self.says(*number, false, false));
        self.save();
        let said = self.node.now.events.len();
        if first.ordinary.is_none() {
            for amount in [sum.div_ceil(2), sum / 2].map(Msat) {
                let htlc = self.htlc(first.htlc.scid, 0, amount, amount, false);
                self.node.arrives(HeldHtlc { payment_hash: first.htlc.payment_hash, ..htlc });
            }
        }
        if told_late && !self.is_telling {
            self.node.now.events.rotate_left(said);
        }
    }

    /// All HTLCs of one payment that are at a connected client.
    fn at_clients(&self, payment: u8) -> Vec<usize> {
        let mut sets: BTreeMap<(PaymentHash, Scid), Vec<usize>> = BTreeMap::new();
        for (number, place) in &self.node.now.places {
            if let Place::AtClient { to, .. } = place
                && self.links.get(to) == Some(&true)
                && !self.said.contains_key(number)
            {
                let htlc = self.node.incoming[*number].htlc;
                sets.entry((htlc.payment_hash, htlc.scid)).or_default().push(*number);
            }
        }
        choose(&sets.into_values().collect::<Vec<_>>(), payment).unwrap_or_default()
    }

    /// An honest client claims the HTLCs if they suffice.
    fn client_claims(&mut self, payment: u8, rounded: bool) {
        let numbers = self.at_clients(payment);
        let Some(first) = numbers.first().map(|number| self.node.incoming[*number].htlc) else { return };
        let size = self.sold.iter().find(|(sold, ..)| *sold == first.scid).and_then(|(.., size)| *size);
        let gross: u64 = numbers.iter().map(|number| self.node.incoming[*number].htlc.onion_amount.0).sum();
        if size.is_none_or(|size| gross >= size.0) {
            numbers.into_iter().for_each(|number| self.says(number, true, rounded));
        }
    }

    /// The word of a client on an HTLC that it has.
    pub(crate) fn says(&mut self, number: usize, claims: bool, rounded: bool) {
        if self.client_says(number, claims, rounded) {
            self.said.insert(number, claims);
        }
    }
}

pub(crate) fn setup(trust: Trust) -> LspSetup {
    let mut setup = LspSetup { trust, ..LspSetup::default() };
    setup.config.webhooks.serve = true;
    // Clients of the world register webhooks before they buy anything.
    setup.config.limits.webhooks_per_stranger = setup.config.limits.webhooks_per_client;
    setup.config.webhooks.keep_strangers = setup.config.webhooks.keep;
    setup
}

/// An event as a node tells it again in the same life: a claim comes without `total_fee_earned_msat`
/// (`Node::may_tell_again` says why). After a crash claims are told again as they were;
/// crashes show that.
fn told_again(event: NodeEvent) -> NodeEvent {
    match event {
        NodeEvent::Input(Input::PartForwarded { part: WhichPart::Sent { to, amount, skim, .. }, over }) => {
            let part = WhichPart::Sent { to, amount, amount_in: None, skim };
            NodeEvent::Input(Input::PartForwarded { part, over })
        }
        event => event,
    }
}

fn plans(spare_sat: u64) -> StandardPolicy {
    StandardPolicy { spare_sat, ..StandardPolicy::default() }
}

/// Spare capacity of a channel, in satoshis, for some more payments.
const ROOMY_SAT: u64 = 10_000_000;
/// Size of the payments.
pub const SIZE: Msat = Msat(1_000_000_000);
/// Amounts at the limits: tiny, dust, the fee, the size.
const ODD: [Msat; 8] = [
    Msat(1),
    Msat(999),
    Msat(1_000),
    Msat(353_999),
    Msat(1_000_000),
    Msat(1_000_001),
    Msat(SIZE.0 - 1),
    Msat(SIZE.0 + 1),
];
/// Least feerate that is relayed, in satoshis per 1000 weight units.
const LEAST_FEERATE: u32 = 253;
/// Time that passes with every step.
const MOMENT: Duration = Duration::from_millis(60);

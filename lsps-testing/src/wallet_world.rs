//! World of a wallet: its node loses unsaved state in crashes, its LSPs lie, and time is virtual. Every act of the
//! wallet and every step is checked against the world's own ledger (`truth`); further checks follow once all flows have
//! ended.

mod chain;
mod check;
mod invoice;
mod lsp;
mod model;
mod node;
mod process;
mod rest;
mod script;
mod truth;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{OrderKey, PaymentMethod};
use lsps_client::{Client, Draws};
use lsps_host::ports::{ChannelRequest, PaymentEnd, PaymentId, WalletNodeEvent};
use lsps_types::lsps1::CreateOrder;
use lsps_types::{Msat, PaymentHash, PeerId, Sat};

pub use script::{Call, How, Lie, Like, Skim, Step};

use crate::model::choose;
use crate::setup::peer;
use model::{Model, preimage};
use node::{Htlc, HtlcStage, Paying, Pays, Stage};
use process::Process;
pub use process::Tapes;
use truth::{MOST_FEE, MOST_JIT_FEE, SHARE, Sold, Truth};

/// World of one wallet and its LSPs.
pub struct WalletWorld {
    process: Process,
    /// Requests that each LSP has not answered, oldest first.
    asked: BTreeMap<PeerId, VecDeque<Vec<u8>>>,
    /// Results of the application's calls, pushed by its tasks.
    told: Arc<Mutex<Vec<Told>>>,
    /// The last request of each LSP to open a channel.
    last_request: BTreeMap<PeerId, ChannelRequest>,
    requests: u64,
}

/// Successful result of a call that the application made.
enum Told {
    Invoice(Sold),
    Ordered,
}

/// Node ids of the LSPs.
fn lsps() -> impl Iterator<Item = PeerId> {
    (1..=LSPS).map(peer)
}

impl WalletWorld {
    /// A world at noon. `kind` sets the confirmations that the wallet waits for, whether it sees the mempool, and
    /// whether it trusts the first LSP.
    #[must_use]
    pub fn new(kind: u64) -> Self {
        let mut truth = Truth { wait: [0, 0, 3, 1][usize::from(kind.to_be_bytes()[7] % 4)], ..Truth::default() };
        truth.sees_mempool = !kind.is_multiple_of(4);
        if truth.wait == 0 && kind % 8 >= 4 {
            truth.trusted.insert(peer(1));
        }
        let process = Process::new(Model::new(truth));
        let (asked, told, last_request) = (BTreeMap::new(), Arc::default(), BTreeMap::new());
        Self { process, asked, told, last_request, requests: 0 }
    }

    /// Plays a script and checks the invariants after every step.
    #[must_use]
    pub fn play(mut self, script: &[Step]) -> Self {
        for step in script {
            self.step(*step);
            self.check();
        }
        self
    }

    /// Restarts the host, and records this run and each later one on a tape.
    #[must_use]
    pub fn taped(mut self, tapes: &Tapes) -> Self {
        self.process.tape(tapes.clone());
        self
    }

    /// The world counts every fee that an LSP keeps as a loss, although the wallet agreed to it: each sale breaks a rule.
    #[must_use]
    pub fn without_fees(self) -> Self {
        self.model().truth.fees_are_losses = true;
        self
    }

    /// A client with the configuration of the wallet's.
    #[must_use]
    pub fn client_like(ids: Draws) -> Client {
        Client::new(process::config(), ids)
    }

    /// Number of times that the process ended by a crash or by the loss of its records to another process.
    #[must_use]
    pub fn deaths(&self) -> usize {
        self.process.deaths
    }

    /// Numbers of payments that the wallet claimed, of fees that LSPs skimmed from them, and of orders that were paid.
    #[must_use]
    pub fn sums(&self) -> [usize; 3] {
        let model = self.model();
        let fees = lsps().map(|lsp| model.fees(lsp).len()).sum();
        let paid = (0..model.truth.orders.len()).filter(|of| model.out(*of) > 0).count();
        [model.node.claimed.len(), fees, paid]
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.process.model()
    }

    fn run(&mut self) {
        self.process.run();
        let told = std::mem::take(&mut *self.told.lock().expect("nobody panics here"));
        let mut model = self.model();
        for told in told {
            if let Told::Invoice(sold) = told {
                model.truth.sold.push(sold);
            }
        }
        let sent = std::mem::take(&mut model.sent);
        drop(model);
        for (lsp, question) in sent {
            self.asked.entry(lsp).or_default().push_back(question);
        }
    }

    fn step(&mut self, step: Step) {
        self.model().passes(MOMENT);
        match step {
            Step::Receive { amount, kind } => self.receives(amount, kind),
            Step::Order { lsp, size, way, refundable } => self.orders(lsp_of(lsp), size, way, refundable),
            Step::Abandon { purchase } => self.abandons(purchase),
            Step::EndOrder { order } => self.ends_order(order),
            Step::DropTask { task } => self.process.drop_task(task),
            Step::Answer { lsp, how } => drop(self.answers(lsp_of(lsp), how)),
            Step::Proceed { lsp } => self.proceeds(lsp_of(lsp)),
            Step::Babble { lsp, what } => {
                let text: &[u8] = match what % 4 {
                    0 => b"{}",
                    1 => br#"{"jsonrpc":"2.0","method":"lsps9.news","params":{}}"#,
                    2 => br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}"#,
                    _ => br#"{"jsonrpc":"2.0","id":"unknown","result":{"protocols":[2]}}"#,
                };
                if self.model().links.contains(&lsp_of(lsp)) {
                    self.process.ports.receives(lsp_of(lsp), text.to_vec());
                }
            }
            Step::Connect { lsp } => self.process.ports.connects(lsp_of(lsp)),
            Step::Disconnect { lsp } => {
                self.asked.remove(&lsp_of(lsp));
                self.process.ports.disconnects(lsp_of(lsp));
            }
            Step::Open { lsp, like } => self.opens(lsp_of(lsp), like),
            Step::Serve { purchase } => {
                let sold = choose(&self.model().truth.sold, purchase);
                sold.into_iter().for_each(|sold| self.serves(sold.lsp, Like::Bought));
            }
            Step::Fulfil { order } => {
                let lsps: Vec<PeerId> = self.model().truth.orders.iter().map(|order| order.lsp).collect();
                choose(&lsps, order).into_iter().for_each(|lsp| self.serves(lsp, Like::Order(order)));
            }
            Step::Fund { channel, publish } => self.funds(channel, publish),
            Step::Publish { channel } => self.model().publishes(channel),
            Step::SpendTwice { channel } => self.model().spends_twice(channel),
            Step::Ready { channel } => self.model().readies(channel),
            Step::Close { channel } => {
                let mut model = self.model();
                let channels: Vec<u64> = model.node.now.channels.keys().copied().collect();
                choose(&channels, channel).into_iter().for_each(|number| model.node.closes(number));
            }
            Step::Forward { purchase, channel, skim, amount, parts } => {
                self.model().forwards(purchase, channel, skim, amount, parts);
            }
            Step::ForwardOther { channel, skim } => self.model().forwards_other(channel, skim),
            Step::PartsTimeOut => self.model().node.parts_time_out(),
            Step::AppDecides { payment, claims } => self.model().app_decides(payment, claims),
            Step::Settle { payment } => self.model().payment_ends(payment, PaymentEnd::Paid),
            Step::Return { payment } => self.model().payment_ends(payment, PaymentEnd::Returned),
            Step::SendInvoice { payment, same_hash } => self.model().sends_invoice(payment, same_hash),
            Step::OfferTimesOut { payment } => self.model().offer_times_out(payment),
            Step::ForgetPayments => self.model().forgets_payments(),
            Step::Tell { order, lie } => {
                let mut model = self.model();
                let all: Vec<usize> = (0..model.truth.orders.len()).collect();
                match (choose(&all, order), lie) {
                    (Some(of), Lie::Truth) => model.tell_truth(of),
                    (Some(of), lie) => model.tell(of, lie),
                    (None, _) => {}
                }
            }
            Step::Block { count } => self.blocks(u32::from(count)),
            Step::Wait { seconds } => self.waits(Duration::from_secs(seconds.into())),
            Step::SetClock { seconds, back } => self.model().sets_clock(seconds, back),
            Step::Feerate { times } => self.model().chain.usual_rate = u64::from(times % 100 + 1),
            Step::Save => self.model().node.save(),
            Step::Crash { after, saved } => self.model().fuse = Some((after, saved)),
            Step::Restart => self.process.restart_host(),
            Step::Store { works } => self.model().store_works = works,
            Step::Hide { record } => {
                let mut model = self.model();
                let names: Vec<String> = model.store.keys().cloned().collect();
                let name = choose(&names, record);
                model.was_hidden.extend(name.clone());
                model.hidden.extend(name);
                drop(model);
                self.process.restart_host();
            }
            Step::Show => self.model().hidden.clear(),
            Step::Fence => self.model().is_fenced = true,
            Step::Replay => {
                let mut model = self.model();
                let last = model.told_last.clone();
                model.node.now.events.extend(last.filter(is_told_again));
            }
            Step::Mute { on } => self.model().is_mute = on,
            Step::Refuse { call } => drop(self.model().refused.insert(call)),
        }
        self.run();
    }

    /// Buys a JIT channel for a payment of fixed amount, of variable amount, or of fixed amount for a hash of the
    /// application's.
    fn receives(&mut self, amount: u8, kind: u8) {
        let amount = Msat(1_000_000 * (u64::from(amount) + 2) / 2);
        let told = Arc::clone(&self.told);
        let number = self.model().draw();
        self.model().truth.asked += 1;
        self.process.ask(move |wallet| async move {
            let hash = PaymentHash::of(&preimage(3_000_000 + number));
            let jit = match kind % 3 {
                0 => wallet.receive_via_jit_channel(amount, "a payment", HOUR, MOST_JIT_FEE).await,
                1 => wallet.receive_variable_via_jit_channel(amount, "any", HOUR, SHARE).await,
                _ => wallet.receive_via_jit_channel_for_hash(hash, amount, "held", HOUR, MOST_JIT_FEE).await,
            };
            let Ok(jit) = jit else { return };
            assert!(kind % 3 == 1 || jit.fee <= MOST_JIT_FEE, "a fee above the user's limit");
            let hash = jit.invoice.strip_prefix("jit ").and_then(|hash| hash.parse().ok()).expect("the model wrote it");
            let amount = (kind % 3 != 1).then_some(amount);
            let sold = Sold { hash, lsp: jit.lsp, amount, fee: jit.fee, is_hold: kind % 3 == 2, is_abandoned: false };
            told.lock().expect("nobody panics here").push(Told::Invoice(sold));
        });
    }

    fn orders(&mut self, lsp: PeerId, size: u8, way: u8, refundable: bool) {
        let order = CreateOrder {
            lsp_balance_sat: Sat(100_000 * (u64::from(size % 3) + 1)),
            client_balance_sat: Sat(if size.is_multiple_of(5) { 50_000 } else { 0 }),
            required_channel_confirmations: u16::from(size.is_multiple_of(2)),
            funding_confirms_within_blocks: 6,
            channel_expiry_blocks: 144,
            token: None,
            refund_onchain_address: refundable.then(|| REFUND.parse().expect("an address")),
            announce_channel: size > 240,
        };
        self.model().truth.asked += 1;
        let told = Arc::clone(&self.told);
        self.process.ask(move |wallet| async move {
            let limits = FeeLimits::total(Msat(MOST_FEE.0 * 1_000));
            let kind = [PaymentMethod::Bolt11, PaymentMethod::Bolt12, PaymentMethod::Onchain];
            let ordered = match way {
                0..=2 => {
                    let choose = |quote: &lsps_client::order::Quote| {
                        let wanted = kind[usize::from(way)];
                        quote.options.iter().any(|option| option.method() == wanted).then_some(wanted)
                    };
                    wallet.order_channel_paying(lsp, order, limits, choose).await
                }
                _ => wallet.order_channel(lsp, order, limits).await,
            };
            if ordered.is_ok() {
                told.lock().expect("nobody panics here").push(Told::Ordered);
            }
        });
    }

    fn abandons(&mut self, purchase: u8) {
        let sold = choose(&self.model().truth.sold, purchase);
        let (Some(sold), Some(wallet)) = (sold, self.process.wallet()) else { return };
        // A purchase counts as abandoned only if the call returned, that is, if its record is durable.
        let told = Arc::new(Mutex::new(false));
        let place = Arc::clone(&told);
        drop(wallet);
        self.process.ask(move |wallet| async move {
            let done = wallet.abandon(sold.hash).await.is_ok();
            *place.lock().expect("nobody panics here") = done;
        });
        self.run();
        if *told.lock().expect("nobody panics here") {
            let mut model = self.model();
            model.truth.sold.iter_mut().filter(|it| it.hash == sold.hash).for_each(|it| it.is_abandoned = true);
            // The application does not claim a payment for a purchase that it abandoned.
            if model.truth.app_may_claim.remove(&sold.hash).is_some() {
                model.node.fails(sold.hash);
            }
        }
    }

    fn ends_order(&mut self, order: u8) {
        let Some(wallet) = self.process.wallet() else { return };
        let keys: Vec<OrderKey> = wallet.orders().iter().map(lsps_client::order::Order::key).collect();
        drop(wallet);
        let Some(key) = choose(&keys, order) else { return };
        self.process.ask(move |wallet| async move { drop(wallet.end_order(key).await) });
    }

    /// Answers the oldest request to an LSP. Returns `false` if there is none.
    fn answers(&mut self, lsp: PeerId, how: How) -> bool {
        let Some(question) = self.asked.get_mut(&lsp).and_then(VecDeque::pop_front) else { return false };
        if !self.model().links.contains(&lsp) {
            return true;
        }
        let messages = self.model().answer(lsp, &question, how);
        for message in messages {
            self.process.ports.receives(lsp, message);
        }
        self.run();
        true
    }

    /// Has an LSP connect, report the true states of its orders and answer its requests.
    fn proceeds(&mut self, lsp: PeerId) {
        self.process.ports.connects(lsp);
        self.run();
        let orders: Vec<usize> = {
            let model = self.model();
            (0..model.truth.orders.len()).filter(|of| model.truth.orders[*of].lsp == lsp).collect()
        };
        for of in orders {
            self.model().tell_truth(of);
        }
        for _ in 0..40 {
            if !self.answers(lsp, How::Honest) {
                break;
            }
        }
        self.model().node.save();
        self.run();
    }

    fn opens(&mut self, lsp: PeerId, like: Like) {
        let number = self.requests;
        let mut request = match (like, self.last_request.get(&lsp)) {
            (Like::Again, Some(last)) => *last,
            _ => {
                self.requests += 1;
                let mut id = [6; 32];
                id[..8].copy_from_slice(&number.to_be_bytes());
                let (announced, scid_alias, zero_conf) = (false, true, true);
                ChannelRequest {
                    id,
                    peer: lsp,
                    announced,
                    scid_alias,
                    zero_conf,
                    funding: Sat(1_000_000),
                    pushed: Msat::ZERO,
                }
            }
        };
        match like {
            Like::Bought | Like::Again => {}
            Like::Announced => request.announced = true,
            Like::NoAlias => request.scid_alias = false,
            Like::Small => request.funding = Sat(1),
            Like::Order(order) => {
                let model = self.model();
                let of: Vec<_> = model.truth.orders.iter().filter(|it| it.lsp == lsp).cloned().collect();
                if let Some(order) = choose(&of, order) {
                    request.funding = order.ordered.capacity().unwrap_or_default();
                    request.pushed = order.ordered.client_balance_sat.to_msat().unwrap_or_default();
                    request.announced = false;
                    request.zero_conf = order.ordered.required_channel_confirmations == 0;
                }
            }
        }
        self.last_request.insert(lsp, request);
        let mut model = self.model();
        let is_known = model.node.now.requests.iter().any(|it| it.id == request.id);
        if model.links.contains(&lsp) && !is_known {
            model.node.now.requests.push(request);
            model.node.now.events.push_back(WalletNodeEvent::ChannelRequested(request));
        }
    }

    /// Opens a channel from an LSP, publishes its funding, and makes it usable if it has enough confirmations.
    fn serves(&mut self, lsp: PeerId, like: Like) {
        self.process.ports.connects(lsp);
        self.run();
        self.opens(lsp, like);
        self.run();
        let accepted = |model: &Model| {
            let all = model.node.now.channels.iter().filter(|(_, it)| it.lsp == lsp && it.stage == Stage::Accepted);
            all.map(|(number, _)| *number).collect::<Vec<u64>>()
        };
        let mut model = self.model();
        model.node.save();
        for number in accepted(&model) {
            model.funds(number, true);
        }
        drop(model);
        self.run();
        for _ in 0..3 {
            self.model().readies(0);
        }
    }

    /// Has the node save itself, then funds one of its accepted channels.
    fn funds(&mut self, channel: u8, publish: bool) {
        let mut model = self.model();
        model.node.save();
        let waiting = model.node.now.channels.iter().filter(|(_, it)| it.stage == Stage::Accepted);
        let numbers: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        let Some(number) = choose(&numbers, channel) else { return };
        model.funds(number, publish);
    }

    fn blocks(&mut self, count: u32) {
        for _ in 0..count {
            let mut model = self.model();
            model.chain.mines();
            model.passes(Duration::from_secs(600));
            let height = model.chain.height;
            model.node.blocks(height);
            drop(model);
            if count < 30 || self.model().chain.height.is_multiple_of(10) {
                self.run();
            }
        }
    }

    /// Lets the time pass in four equal parts, with a run of the host after each.
    fn waits(&mut self, time: Duration) {
        if time >= REQUESTS_LAST {
            self.model().node.now.requests.clear();
        }
        for _ in 0..4 {
            self.model().passes(time / 4);
            self.run();
        }
    }
}

impl Model {
    fn publishes(&mut self, channel: u8) {
        let kept: Vec<u64> =
            self.chain.fundings.iter().filter(|(_, it)| !it.is_published).map(|(number, _)| *number).collect();
        if let Some(funding) = choose(&kept, channel).and_then(|number| self.chain.fundings.get_mut(&number)) {
            funding.is_published = !funding.is_spent_twice;
        }
    }

    fn spends_twice(&mut self, channel: u8) {
        let young = self.chain.fundings.iter().filter(|(_, it)| it.mined_at.is_none() && !it.is_spent_twice);
        let young: Vec<u64> = young.map(|(number, _)| *number).collect();
        let Some(number) = choose(&young, channel) else { return };
        if let Some(funding) = self.chain.fundings.get_mut(&number) {
            funding.is_spent_twice = true;
        }
        self.node.closes(number);
    }

    fn funds(&mut self, number: u64, publish: bool) {
        let Some(channel) = self.node.now.channels.get_mut(&number) else { return };
        channel.stage = Stage::Funded;
        let (key, lsp) = (channel.key, channel.lsp);
        self.chain.fundings.entry(number).or_default().is_published = publish;
        self.truth.funded.entry(lsp).or_default().insert(number);
        let funding = Some(node::outpoint(number));
        self.node.now.events.push_back(WalletNodeEvent::ChannelFunded { key, peer: lsp, funding });
        self.node.save();
    }

    /// Makes a channel usable that has the confirmations that it was accepted with.
    fn readies(&mut self, channel: u8) {
        let chain = &self.chain;
        let waiting = self.node.now.channels.iter().filter(|(number, it)| {
            it.stage == Stage::Funded && chain.confirmations(**number) >= u32::from(it.confirmations)
        });
        let numbers: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        let Some(number) = choose(&numbers, channel) else { return };
        self.node.now.channels.get_mut(&number).expect("just found").stage = Stage::Ready;
        self.node.save();
    }

    fn forwards(&mut self, purchase: u8, channel: u8, skim: Skim, amount: u8, parts: u8) {
        let Some(sold) = choose(&self.truth.sold, purchase) else { return };
        let ready =
            self.node.now.channels.iter().filter(|(_, it)| it.stage == Stage::Ready && self.links.contains(&it.lsp));
        // Most payments come over channels of the LSP that sold the invoice.
        let (own, other): (Vec<_>, Vec<_>) =
            ready.map(|(number, it)| (*number, it.lsp)).partition(|(_, lsp)| *lsp == sold.lsp);
        let own: Vec<u64> = own.into_iter().map(|(number, _)| number).collect();
        let other: Vec<u64> = other.into_iter().map(|(number, _)| number).collect();
        let Some(over) = choose(if amount > 230 { &other } else { &own }, channel) else { return };
        let total = match (sold.amount, amount) {
            (Some(Msat(asked)), 0..=9) => asked.saturating_sub(1).max(1),
            (Some(Msat(asked)), 10..=19) => asked * 2,
            (Some(Msat(asked)), _) => asked,
            (None, amount) => 100_000 * (u64::from(amount) + 1),
        };
        let promised = match sold.amount {
            Some(_) => sold.fee.0,
            None => (total / 100).max(600_000).min(total),
        };
        let (kept, said) = match skim {
            Skim::Promised => (promised, promised),
            Skim::Nothing => (0, 0),
            Skim::Less => (promised / 2, promised / 2),
            Skim::OneMore => (promised + 1, promised + 1),
            Skim::Much => (total * 9 / 10, total * 9 / 10),
            Skim::Unsaid => (promised, 0),
            Skim::Boast => (0, promised),
        };
        let second = own.iter().find(|number| **number != over).copied().unwrap_or(over);
        let split = match parts {
            0 => vec![(over, total, kept, said)],
            1 => vec![(over, total - total / 3, kept, said), (second, total / 3, 0, 0)],
            _ => vec![(over, total / 2, kept / 2, said / 2)],
        };
        for (channel, onion, kept, said) in split {
            let amount = Msat(onion.saturating_sub(kept));
            let expiry = self.chain.height + 144;
            let (total, skim, stage) = (Msat(total), Msat(said), HtlcStage::Waits);
            let htlc = Htlc { hash: sold.hash, onion: Msat(onion), total, amount, skim, channel, expiry, stage };
            let height = self.chain.height;
            self.node.arrives(htlc, height);
        }
    }

    fn forwards_other(&mut self, channel: u8, skims: bool) {
        let ready =
            self.node.now.channels.iter().filter(|(_, it)| it.stage == Stage::Ready && self.links.contains(&it.lsp));
        let ready: Vec<u64> = ready.map(|(number, _)| *number).collect();
        let Some(channel) = choose(&ready, channel) else { return };
        let preimage = preimage(4_000_000 + self.draw());
        let (hash, total) = (PaymentHash::of(&preimage), Msat(10_000_000));
        self.node.invoices.insert(hash, (Some(preimage), Some(total)));
        let skim = Msat(if skims { 5_000 } else { 0 });
        let (amount, expiry, stage) = (Msat(total.0 - skim.0), self.chain.height + 60, HtlcStage::Waits);
        let height = self.chain.height;
        self.node.arrives(Htlc { hash, onion: total, total, amount, skim, channel, expiry, stage }, height);
    }

    /// The application claims or fails a payment to its own hash that was reported to it.
    fn app_decides(&mut self, payment: u8, claims: bool) {
        let Some(hash) = choose(&self.claimable_by_app(), payment) else { return };
        self.truth.app_may_claim.remove(&hash);
        if claims { self.claims_told(hash) } else { self.node.fails(hash) }
    }

    /// Payments at the given stages whose HTLCs may have left the node, and that have not ended.
    fn sent_payments(&self, is: impl Fn(Paying) -> bool) -> Vec<PaymentId> {
        let sent = self.node.now.payments.iter().filter(|(id, it)| is(it.stage) && self.node.sent.contains(id));
        sent.map(|(id, _)| *id).filter(|id| !self.node.ends.contains_key(id)).collect()
    }

    fn payment_ends(&mut self, payment: u8, end: PaymentEnd) {
        let out = self.sent_payments(|stage| matches!(stage, Paying::Out | Paying::Stopped));
        if let Some(id) = choose(&out, payment) {
            self.node.ends(id, end);
        }
    }

    fn awaiting(&self) -> Vec<PaymentId> {
        let waiting = self.node.now.payments.iter().filter(|(_, it)| it.stage == Paying::AwaitsInvoice);
        waiting.map(|(id, _)| *id).collect()
    }

    fn sends_invoice(&mut self, payment: u8, same_hash: bool) {
        let Some(id) = choose(&self.awaiting(), payment) else { return };
        let drawn = self.draw();
        let known = self.truth.sold.first().map(|sold| sold.hash);
        let hash = known.filter(|_| same_hash).unwrap_or_else(|| PaymentHash::of(&preimage(5_000_000 + drawn)));
        let Some(payment) = self.node.now.payments.get_mut(&id) else { return };
        if let Pays::Offer { hash: its, .. } = &mut payment.pays {
            *its = Some(hash);
        }
        payment.stage = Paying::Out;
        self.node.ends.remove(&id);
    }

    fn offer_times_out(&mut self, payment: u8) {
        let Some(id) = choose(&self.awaiting(), payment) else { return };
        self.node.now.payments.remove(&id);
        self.node.now.events.push_back(WalletNodeEvent::PaymentEnded { id, end: PaymentEnd::NoInvoice });
    }

    /// The node forgets fulfilled payments whose end was handled.
    fn forgets_payments(&mut self) {
        let waits = |id: &PaymentId| {
            self.node
                .now
                .events
                .iter()
                .any(|event| matches!(event, WalletNodeEvent::PaymentEnded { id: its, .. } if its == id))
        };
        let done = self.node.now.payments.iter().filter(|(id, it)| it.stage == Paying::Fulfilled && !waits(id));
        for id in done.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.node.now.payments.remove(&id);
        }
    }

    fn sets_clock(&mut self, seconds: u32, back: bool) {
        let millis = u64::from(seconds) * 1_000;
        let now = self.now.unix_millis();
        self.now = lsps_types::Timestamp::from_unix_millis(if back { now - millis } else { now + millis });
    }
}

fn is_told_again(event: &WalletNodeEvent) -> bool {
    // A node does not report a payment as held again after the payment was claimed or failed.
    !matches!(event, WalletNodeEvent::PaymentHeld(_) | WalletNodeEvent::ChannelRequested(_))
}

fn lsp_of(number: u8) -> PeerId {
    peer(number % LSPS + 1)
}

/// Number of LSPs in a world.
pub const LSPS: u8 = 3;
/// Most purchases on record at a time.
const PURCHASES: usize = 12;
/// Most orders on record at a time.
const ORDERS: usize = 8;
/// Time after which the node drops a channel request that the wallet did not answer.
const REQUESTS_LAST: Duration = Duration::from_secs(120);
const MOMENT: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3_600);
const REFUND: &str = "bcrt1q9e7jcqaf2pawye0v7k6n26y955ee8gszrwzkyg";

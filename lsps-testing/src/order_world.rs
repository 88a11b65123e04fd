//! Clients who order channels and pay for them, an LSP with a forgetful node, and a chain that reorganises, in virtual
//! time. Invariants are checked after every step, and all balances once the world has come to rest.

mod check;
mod rest;
mod script;

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::Duration;

use lsps_host::ports::NodeEvent;
use lsps_service::{
    AmountRule, ChannelEnd, ChannelKey, Config, FlowId, HeldHtlc, HeldPayment, Input, OrderConfig, OrderNumber,
    OrderPolicy, PaidBy, StandardPolicy, TokenTerms,
};
use lsps_types::lsps1::CreateOrder;
use lsps_types::{BlockHeight, Msat, PaymentHash, PeerId, Ppm, Preimage, Sat, Scid};

pub(crate) use check::states;
pub use script::{Amount, CLIENTS, Step};

use crate::Seen;
use crate::model::deposits::Deposits;
use crate::model::node::{self, Node, Stage};
use crate::model::payments::{Incoming, Place};
use crate::model::process::Process;
use crate::model::{Model, Sold, choose};
use crate::setup::{LspSetup, an_order, offer_id, peer};

/// A world of orders.
pub struct OrderWorld {
    lsp: Process,
}

impl Default for OrderWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl OrderWorld {
    /// Creates a world at noon.
    #[must_use]
    pub fn new() -> Self {
        Self { lsp: Process::new(Model::new(setup(), 200)) }
    }

    /// Lets peers do everything that nobody can prevent.
    #[must_use]
    pub fn hostile(self) -> Self {
        self.model().node.is_hostile = true;
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

    /// Plays a script, and checks the invariants after every step.
    #[must_use]
    pub fn play(mut self, script: &[Step]) -> Self {
        for step in script {
            self.lsp.order_step(*step);
            self.model().check_orders();
        }
        self
    }

    /// Number of times that an input met an order in some state, in the recorded runs.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.lsp.seen(states)
    }

    /// Disconnects a client and adds a block before the host is polled, so that the host hears of both in one turn.
    #[must_use]
    pub fn leaves_as_a_block_comes(mut self, client: u8) -> Self {
        self.lsp.disconnects(peer(client + 1));
        self.model().mine(false);
        self.model().hear_blocks();
        self.run();
        self
    }

    /// Number of channels that were tried for each order.
    #[must_use]
    pub fn attempts(&mut self) -> Vec<u32> {
        self.lsp.look(|service| service.known_orders().map(|order| order.attempts).collect())
    }

    /// Number of crashes of the process so far.
    #[must_use]
    pub fn deaths(&self) -> usize {
        self.lsp.deaths
    }

    /// Number of funding transactions that were published.
    #[must_use]
    pub fn fundings(&self) -> usize {
        self.model().broadcast.len()
    }

    /// Outcome for each Lightning payer: whether its payment was claimed.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Option<bool>> {
        self.model().payments.incoming.iter().map(|incoming| incoming.outcome).collect()
    }

    /// Number of confirmed refunds.
    #[must_use]
    pub fn refunds(&self) -> usize {
        self.model().deposits.refunds.iter().filter(|refund| refund.confirmed_at.is_some()).count()
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.lsp.model()
    }

    fn run(&mut self) {
        self.lsp.run();
    }
}

impl Process {
    /// Performs one step of a world of orders.
    pub(crate) fn order_step(&mut self, step: Step) {
        self.model().passes(MOMENT);
        match step {
            Step::Order { client, size, refundable } => {
                let client_balance_sat = Sat([100_000, 1_500_000, 2_500_000][usize::from(size)]);
                let refund_onchain_address = refundable.then(|| REFUND_TO.parse().expect("an address"));
                self.orders(peer(client + 1), CreateOrder { client_balance_sat, refund_onchain_address, ..an_order() });
            }
            Step::Gift { client } => {
                self.orders(peer(client + 1), CreateOrder { token: Some(GIFT.into()), ..an_order() })
            }
            Step::Proceed { client } => self.proceeds(peer(client + 1)),
            Step::Blocks { count, are_full } => {
                for _ in 0..count {
                    self.model().mine(are_full);
                    self.model().hear_blocks();
                    self.run();
                }
            }
            Step::Connect { client } => self.arrives(peer(client + 1)),
            Step::Disconnect { client } => self.disconnects(peer(client + 1)),
            Step::Cancel { order } => {
                let sold = choose(&self.model().orders, order);
                if let Some(Sold { number, .. }) = sold {
                    self.ask(|lsp| async move {
                        let _ = lsp.cancel_order(number).await;
                    });
                }
            }
            Step::Retry { order } => {
                let sold = choose(&self.model().orders, order);
                if let Some(Sold { number, .. }) = sold {
                    self.ask(|lsp| async move {
                        let _ = lsp.retry_order(number).await;
                    });
                }
            }
            step => self.model().order_step(step),
        }
        self.run();
    }

    fn orders(&mut self, client: PeerId, order: CreateOrder) {
        if !self.model().may_ask(client) {
            return;
        }
        let Some(order) = self.answers(client, &order) else { return };
        let id = order.order_id.clone();
        let known = self.look(move |service| service.known_orders().find(|known| known.id == id));
        let number = known.expect("an order").number;
        let mut model = self.model();
        assert!(model.has_record(FlowId::Order(number)), "written before told");
        model.orders.push(Sold { number, order });
    }
}

impl Model {
    /// Plays a step outside the LSP's process.
    fn order_step(&mut self, step: Step) {
        match step {
            Step::Pay { order, by_offer, amount, expires_soon } => {
                self.pays_order(order, by_offer, amount, expires_soon, false);
            }
            Step::PayOdd { order, by_offer } => self.pays_order(order, by_offer, Amount::Exact, false, true),
            Step::WrongSecret { payment } => {
                if let Some(number) = choose(&self.payments.numbers(Place::Held), payment) {
                    let payment_hash = self.payments.incoming[number].held.payment_hash;
                    self.node.now.events.push_back(NodeEvent::FailedReceive(payment_hash));
                }
            }
            Step::Dust { order, count } => {
                for _ in 0..count {
                    self.deposit(order, Amount::Dust, false);
                }
            }
            Step::Feerate { times } => self.node.feerate_sat_per_kw = LEAST_FEERATE * u32::from(times),
            Step::Ordinary { client, keeps } => self.pays_client(peer(client + 1), keeps),
            Step::SameHash { client, payment } => {
                if let Some(Incoming { held, .. }) = choose(&self.payments.incoming, payment) {
                    self.passes_through(peer(client + 1), Some(held.payment_hash), held.amount);
                }
            }
            Step::PartGone { payment } => {
                if let Some(number) = choose(&self.payments.numbers(Place::Held), payment) {
                    self.payments.incoming[number].lacks_a_part = true;
                }
            }
            Step::PayAgain { payment } => {
                let again = choose(&self.payments.incoming, payment);
                if let Some(Incoming { order, held, is_odd, .. }) = again.filter(|_| self.has_heard()) {
                    let claim_before = held.claim_before.map(|_| BlockHeight(self.chain.height + 400));
                    self.payment_arrives(order, HeldPayment { claim_before, ..held }, is_odd);
                }
            }
            Step::PayerGone { payment } => {
                if let Some(number) = choose(&self.payments.numbers(Place::Held), payment) {
                    let told = self.payments.lose(number);
                    self.node.now.events.extend(told);
                }
            }
            Step::Deposit { order, amount, is_dear } => self.deposit(order, amount, is_dear),
            Step::Replace { deposit } => self.with_deposit(deposit, |deposits, number, _| deposits.replace(number)),
            Step::ComeBack { deposit } => self.with_deposit(deposit, |deposits, number, _| deposits.come_back(number)),
            Step::Reorg { deposit } => self.with_deposit(deposit, Deposits::reorg),
            Step::Watch { works } => self.deposits.is_blind = !works,
            Step::Behind { is_behind } => self.deposits.is_behind = is_behind,
            Step::Accept { channel } => {
                self.with_channel(channel, |stage| stage == Stage::Asked, |node, key| node.accepted(key, None));
            }
            Step::Reject { channel } => {
                self.with_channel(
                    channel,
                    |stage| stage < Stage::Signed,
                    |node, key| node.rejected(key, ChannelEnd::Rejected),
                );
            }
            Step::Sign { channel } => self.with_channel(channel, |stage| stage == Stage::Funded, Node::signed),
            Step::Ready { channel } => self.with_channel(channel, |stage| stage == Stage::Pending, Node::ready),
            Step::Close { channel } => self.with_channel(channel, |stage| stage >= Stage::Pending, Node::closed),
            Step::NoCoins => self.coins.refuse = true,
            Step::Wait { seconds } => self.passes(Duration::from_secs(seconds.into())),
            Step::Save => self.save(),
            Step::Crash { after, saved } => self.fuse = Some((after, saved)),
            Step::Store { works } => self.store_works = works,
            Step::Replay => {
                let again = self.told_last.clone().map(|(_, event)| event).filter(is_told_again);
                self.node.now.events.extend(again);
            }
            Step::Order { .. }
            | Step::Gift { .. }
            | Step::Proceed { .. }
            | Step::Blocks { .. }
            | Step::Connect { .. }
            | Step::Disconnect { .. }
            | Step::Cancel { .. }
            | Step::Retry { .. } => unreachable!("the world's own: {step:?}"),
        }
    }

    fn payment_arrives(&mut self, order: usize, held: HeldPayment, is_odd: bool) {
        let told = self.payments.arrives(order, held, is_odd);
        self.node.now.events.extend(told);
    }

    fn pays_order(&mut self, order: u8, by_offer: bool, amount: Amount, expires_soon: bool, is_odd: bool) {
        // A payment that arrives after the order was removed belongs to nobody.
        let numbers: Vec<usize> = (0..self.orders.len()).filter(|order| self.is_known(*order)).collect();
        let Some(order) = choose(&numbers, order) else { return };
        let payment = &self.orders[order].order.payment;
        let (Some(bolt11), Some(bolt12)) = (&payment.bolt11, &payment.bolt12) else { return };
        let amount = amount.of(bolt11.order_total_sat);
        let (by, payment_hash, preimage) = if by_offer {
            let number = u32::try_from(self.payments.incoming.len()).expect("few").to_be_bytes();
            let mut preimage = Preimage([9; 32]);
            preimage.0[..4].copy_from_slice(&number);
            let offer =
                bolt12.offer.strip_prefix("offer ").and_then(|number| number.parse().ok()).expect("one of ours");
            (PaidBy::Offer(offer_id(OrderNumber(offer))), PaymentHash::of(&preimage), Some(preimage))
        } else {
            (PaidBy::Invoice, bolt11.invoice.parse().expect("a hash"), None)
        };
        // A node accepts nothing below the amount of its invoice. The first payments show that the service checks that
        // as well; a later one may be claimed before the service hears of it.
        let mut before = self.payments.incoming.iter().filter(|before| before.held.payment_hash == payment_hash);
        let is_less = amount < bolt11.order_total_sat;
        if before.any(|before| is_less || (before.outcome == Some(true) && !self.has_heard())) {
            return;
        }
        let left = if expires_soon { 45 } else { 400 };
        let claim_before = Some(BlockHeight(self.chain.height + left));
        let amount = amount.to_msat().expect("a small amount");
        let (id, claimable) = (None, !is_odd);
        let held = HeldPayment { by, payment_hash, id, claimable, preimage, amount, claim_before };
        self.payment_arrives(order, held, is_odd);
    }

    /// Sends an HTLC to a client over one of its channels.
    fn passes_through(&mut self, client: PeerId, payment_hash: Option<PaymentHash>, amount: Msat) {
        let htlc = self.htlc(Scid(2), 8, amount, amount, false);
        let payment_hash = payment_hash.unwrap_or(htlc.payment_hash);
        self.node.passes_through(HeldHtlc { payment_hash, ..htlc }, client);
        self.save();
    }

    /// Whether the host has handled all claims. A host that has not may take another payment with the same hash for the
    /// one that it claims: a sender that pays a paid invoice loses the amount.
    fn has_heard(&self) -> bool {
        self.fuse.is_none() && self.store_works && self.node.now.events.is_empty()
    }

    fn deposit(&mut self, order: u8, amount: Amount, is_dear: bool) {
        let payable: Vec<usize> =
            (0..self.orders.len()).filter(|number| self.orders[*number].order.payment.onchain.is_some()).collect();
        let Some(order) = choose(&payable, order) else { return };
        // A payment that arrives after the order was removed belongs to nobody.
        let in_time = self.is_known(order) && !self.is_late;
        let few = self.deposits.coins.iter().filter(|coin| coin.order == order).count() < MOST_DEPOSITS;
        let few = few || self.node.is_hostile;
        if let Some(way) = self.orders[order].order.payment.onchain.as_ref().filter(|_| in_time && few) {
            let amount = amount.of(way.order_total_sat);
            let address = way.address.to_string();
            self.deposits.pay(order, address, amount, is_dear);
        }
    }

    fn with_deposit(&mut self, deposit: u8, act: impl FnOnce(&mut Deposits, usize, u32)) {
        // Orders are kept on record for longer than a reorganisation takes.
        let mut numbers: Vec<usize> = (0..self.deposits.coins.len()).collect();
        numbers.retain(|number| self.is_known(self.deposits.coins[*number].order));
        if let Some(number) = choose(&numbers, deposit) {
            act(&mut self.deposits, number, self.chain.height);
        }
    }

    fn with_channel(&mut self, channel: u8, is: impl Fn(Stage) -> bool, act: impl FnOnce(&mut Node, ChannelKey)) {
        if let Some(key) = self.reachable(channel, is) {
            act(&mut self.node, key);
        }
    }

    /// Somebody pays a client over one of its present channels; the client claims the payment at once, or keeps it.
    fn pays_client(&mut self, client: PeerId, keeps: bool) {
        let number = self.node.incoming.len();
        self.passes_through(client, None, Msat(1_000));
        let is_there = matches!(self.node.now.places.get(&number), Some(node::Place::AtClient { .. }));
        if is_there && !keeps {
            self.says(number, true, false);
        }
    }
}

impl Amount {
    fn of(self, total: Sat) -> Sat {
        match self {
            Self::Exact => total,
            Self::Half => Sat(total.0.div_ceil(2)),
            Self::Short => Sat(total.0 - 1),
            Self::Over => Sat(total.0 + 777),
            Self::Dust => Sat(294),
        }
    }
}

/// A held payment that was resolved meanwhile would be another one; its payer is not in this world.
fn is_told_again(told: &NodeEvent) -> bool {
    !matches!(told, NodeEvent::Input(Input::PaymentHeld(_)))
}

fn setup() -> LspSetup {
    let policy = Some(StandardPolicy { orders: Some(sells()), tokens: gives(), ..StandardPolicy::default() });
    let config = Config { orders: OrderConfig { attempts: 2, ..OrderConfig::default() }, ..Config::default() };
    LspSetup { config, policy, feerate_sat_per_kw: LEAST_FEERATE, ..LspSetup::default() }
}

/// Small orders need no confirmation, larger ones one block, the largest three.
pub(crate) fn sells() -> OrderPolicy {
    let rule = |up_to_sat, confirmations| AmountRule { up_to_sat, confirmations };
    OrderPolicy {
        confirmations: vec![rule(1_000_000, 0), rule(2_000_000, 1), rule(u64::MAX, 3)],
        onchain_validity: Duration::from_secs(2 * 3_600),
        open_per_client: usize::MAX,
        onchain: true,
        ..OrderPolicy::default()
    }
}

/// The token that gives a channel away.
pub(crate) fn gives() -> BTreeMap<String, TokenTerms> {
    [(GIFT.into(), TokenTerms { discount: Ppm(1_000_000), ..TokenTerms::default() })].into()
}

fn total(amounts: impl IntoIterator<Item = Sat>) -> Msat {
    let sats = amounts.into_iter().map(|amount| amount.0).sum();
    Sat(sats).to_msat().expect("small amounts")
}

pub(crate) const LEASE_BLOCKS: u32 = 144;
/// Least feerate that is relayed, in satoshis per 1000 weight units.
const LEAST_FEERATE: u32 = 253;
/// Number of deposits per order, below the service's limit; further ones are left to the operator.
const MOST_DEPOSITS: usize = 15;
/// Token with which an order costs nothing.
const GIFT: &str = "GIFT";
/// Refund address of the clients.
const REFUND_TO: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
/// Time that passes with every step.
const MOMENT: Duration = Duration::from_millis(60);

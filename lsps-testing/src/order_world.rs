//! Clients who order channels and pay for them, an LSP whose node forgets like a real one, and a chain that reconsiders,
//! in virtual time; what must always hold is checked after every step, and what must hold in the end when the world has
//! come to rest.

mod check;
mod deposits;
mod host;
mod payments;
mod rest;
mod script;

use std::time::Duration;

use lsps_service::{
    AmountRule, ChannelEnd, ChannelKey, Config, FlowId, HeldHtlc, HeldPayment, Input, OrderConfig, OrderNumber,
    OrderPolicy, PaidBy, PartId, StandardPolicy,
};
use lsps_types::lsps1::{CreateOrder, Order};
use lsps_types::{BlockHeight, Msat, PaymentHash, PeerId, Preimage, Sat, Scid};

pub use script::{Amount, CLIENTS, Step};

use crate::Seen;
use crate::setup::{LspSetup, address_of, offer_id, peer};
use crate::world::choose;
use crate::world::host_loop::Host as _;
use crate::world::node::{Node, Stage, Told};
use crate::world::process::Process;
use deposits::Deposits;
use payments::Payments;

/// All of it.
pub struct OrderWorld {
    lsp: Process,
    watch_works: bool,
    payments: Payments,
    /// Claims whose outcome the host does not know since its start.
    doubts: bool,
    deposits: Deposits,
    sold: Vec<Sold>,
}

/// An order as it was answered.
#[derive(Clone, Debug)]
struct Sold {
    number: OrderNumber,
    order: Order,
}

impl Default for OrderWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl OrderWorld {
    /// A world at noon.
    #[must_use]
    pub fn new() -> Self {
        let setup = setup();
        let service = host::service(&setup);
        let mut world = Self {
            lsp: Process::new(setup, service, 200),
            watch_works: true,
            payments: Payments::default(),
            doubts: false,
            deposits: Deposits::default(),
            sold: vec![],
        };
        world.save();
        world.start();
        world
    }

    /// Everybody does what nobody can keep them from.
    #[must_use]
    pub fn hostile(mut self) -> Self {
        self.lsp.node.is_hostile = true;
        self
    }

    /// Plays a script, and checks after every step what must always hold.
    #[must_use]
    pub fn play(mut self, script: &[Step]) -> Self {
        for step in script {
            self.step(*step);
            self.check();
        }
        self
    }

    /// How often an input met an order in some state.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.lsp.seen
    }

    /// How often the process died so far.
    #[must_use]
    pub fn deaths(&self) -> usize {
        self.lsp.deaths
    }

    /// Funding transactions on the chain or on their way there.
    #[must_use]
    pub fn fundings(&self) -> usize {
        self.lsp.broadcast.len()
    }

    /// What each payer over Lightning heard: whether its payment was claimed.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Option<bool>> {
        self.payments.incoming.iter().map(|incoming| incoming.outcome).collect()
    }

    /// Refunds in the chain.
    #[must_use]
    pub fn refunds(&self) -> usize {
        self.deposits.refunds.iter().filter(|refund| refund.confirmed_at.is_some()).count()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Order { client, size, refundable } => self.orders(peer(client + 1), size, refundable),
            Step::Pay { order, by_offer, amount, expires_soon } => {
                self.pays(order, by_offer, amount, expires_soon, false);
            }
            Step::PayOdd { order, by_offer } => self.pays(order, by_offer, Amount::Exact, false, true),
            Step::WrongSecret { payment } => {
                if let Some(number) = choose(&self.payments.numbers(payments::Place::Held), payment) {
                    let payment_hash = self.payments.incoming[number].held.payment_hash;
                    self.tell_later([Input::PaymentGone { payment_hash }]);
                }
            }
            Step::Dust { order, count } => {
                for _ in 0..count {
                    self.deposit(order, Amount::Dust, false);
                }
            }
            Step::Feerate { times } => {
                self.lsp.setup.feerate_sat_per_kw = LEAST_FEERATE * u32::from(times);
                self.tell_facts();
            }
            Step::Ordinary { client } => self.pays_client(peer(client + 1)),
            Step::Proceed { client } => self.proceeds(peer(client + 1)),
            Step::PayAgain { payment } => {
                let again = choose(&self.payments.incoming, payment);
                if let Some(payments::Incoming { order, held, is_odd, .. }) = again.filter(|_| self.has_heard()) {
                    let claim_before = held.claim_before.map(|_| BlockHeight(self.lsp.chain.height + 400));
                    self.arrives(order, HeldPayment { claim_before, ..held }, is_odd);
                }
            }
            Step::PayerGone { payment } => {
                if let Some(number) = choose(&self.payments.numbers(payments::Place::Held), payment) {
                    let told = self.payments.lose(number);
                    self.tell_later(told);
                }
            }
            Step::Deposit { order, amount, is_dear } => self.deposit(order, amount, is_dear),
            Step::Replace { deposit } => self.with_deposit(deposit, |deposits, number, _| deposits.replace(number)),
            Step::ComeBack { deposit } => self.with_deposit(deposit, |deposits, number, _| deposits.come_back(number)),
            Step::Reorg { deposit } => self.with_deposit(deposit, Deposits::reorg),
            Step::Blocks { count, are_full } => (0..count).for_each(|_| self.block(are_full)),
            Step::Watch { works } => self.watch_works = works,
            Step::Connect { client } => self.connects(peer(client + 1)),
            Step::Disconnect { client } => {
                if self.lsp.links.remove(&peer(client + 1)).is_some() {
                    self.lsp.node.disconnected(peer(client + 1));
                    self.feed(Input::PeerDisconnected { peer: peer(client + 1) });
                }
            }
            Step::Accept { channel } => {
                self.with_channel(channel, |stage| stage == Stage::Asked, |node, key| node.accepted(key, None))
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
            Step::NoCoins => self.lsp.coins.refuse = true,
            Step::Cancel { order } => {
                if let Some(sold) = choose(&self.sold, order) {
                    self.feed(Input::CancelOrder { order: sold.number });
                }
            }
            Step::Retry { order } => {
                if let Some(sold) = choose(&self.sold, order) {
                    self.feed(Input::RetryOrder { order: sold.number });
                }
            }
            Step::Wait { seconds } => {
                let time = Duration::from_secs(seconds.into());
                // Outcomes are remembered for longer than a node goes without saving itself.
                if self.lsp.now.since(self.lsp.saved_at) + time >= self.lsp.setup.config.keep_resolved {
                    self.save();
                }
                self.lsp.now = self.lsp.now + time;
            }
            Step::Save => self.save(),
            Step::Crash { after, saved } => self.lsp.fuse = Some((after, saved)),
            Step::Store { works } => self.lsp.store_works = works,
            Step::Replay => {
                if let Some(told) = self.lsp.told_last.clone().filter(is_told_again) {
                    self.lsp.node.now.events.push_back(told);
                }
            }
        }
        self.run();
    }

    fn orders(&mut self, client: PeerId, size: u8, refundable: bool) {
        if !self.lsp.may_ask(client) {
            return;
        }
        let order = CreateOrder {
            lsp_balance_sat: Sat(500_000),
            client_balance_sat: Sat([100_000, 1_500_000, 2_500_000][usize::from(size)]),
            required_channel_confirmations: 0,
            funding_confirms_within_blocks: 6,
            channel_expiry_blocks: LEASE_BLOCKS,
            token: None,
            refund_onchain_address: refundable.then(|| host::REFUND_TO.parse().expect("an address")),
            announce_channel: false,
        };
        self.sells(client, &order);
    }

    fn pays(&mut self, order: u8, by_offer: bool, amount: Amount, expires_soon: bool, is_odd: bool) {
        let numbers: Vec<usize> = (0..self.sold.len()).collect();
        let Some(order) = choose(&numbers, order) else { return };
        let payment = &self.sold[order].order.payment;
        let (Some(bolt11), Some(bolt12)) = (&payment.bolt11, &payment.bolt12) else { return };
        let amount = amount.of(bolt11.order_total_sat);
        let (by, payment_hash, preimage) = if by_offer {
            let number = u32::try_from(self.payments.incoming.len()).expect("few").to_be_bytes();
            let mut preimage = Preimage([9; 32]);
            preimage.0[..4].copy_from_slice(&number);
            assert!(bolt12.offer.starts_with("offer"));
            (PaidBy::Offer(offer_id(self.sold[order].number)), PaymentHash::of(&preimage), Some(preimage))
        } else {
            (PaidBy::Invoice, bolt11.invoice.parse().expect("a hash"), None)
        };
        // A node lets nothing in that is less than its invoice asks for. That the service looks as well is shown by those
        // that come first; what comes later may be claimed before the service hears of it.
        let mut before = self.payments.incoming.iter().filter(|before| before.held.payment_hash == payment_hash);
        let is_less = amount < bolt11.order_total_sat;
        if before.any(|before| is_less || (before.outcome == Some(true) && !self.has_heard())) {
            return;
        }
        let left = if expires_soon { 45 } else { 400 };
        let claim_before = Some(BlockHeight(self.lsp.chain.height + left));
        let amount = amount.to_msat().expect("a small amount");
        let (id, claimable) = (None, !is_odd);
        let held = HeldPayment { by, payment_hash, id, claimable, preimage, amount, claim_before };
        self.arrives(order, held, is_odd);
    }

    /// Of all that was claimed. A host that has not takes another payment of its hash for the one that it claims: who pays
    /// what is paid gives it away.
    fn has_heard(&self) -> bool {
        self.lsp.fuse.is_none() && self.lsp.store_works && self.lsp.node.now.events.is_empty()
    }

    fn arrives(&mut self, order: usize, held: HeldPayment, is_odd: bool) {
        let told = self.payments.arrives(order, held, is_odd);
        self.tell_later(told);
    }

    fn deposit(&mut self, order: u8, amount: Amount, is_dear: bool) {
        let payable: Vec<usize> =
            (0..self.sold.len()).filter(|number| self.sold[*number].order.payment.onchain.is_some()).collect();
        let Some(order) = choose(&payable, order) else { return };
        // What comes when the order is forgotten is nobody's.
        let in_time = self.lsp.service.known_order(self.sold[order].number).is_some();
        let few = self.deposits.coins.iter().filter(|coin| coin.order == order).count() < MOST_DEPOSITS;
        let few = few || self.lsp.node.is_hostile;
        if let Some(way) = self.sold[order].order.payment.onchain.as_ref().filter(|_| in_time && few) {
            let amount = amount.of(way.order_total_sat);
            let address = address_of(self.sold[order].number);
            assert_eq!(way.address, address);
            self.deposits.pay(order, address, amount, is_dear);
        }
    }

    fn with_deposit(&mut self, deposit: u8, act: impl FnOnce(&mut Deposits, usize, u32)) {
        let numbers: Vec<usize> = (0..self.deposits.coins.len()).collect();
        if let Some(number) = choose(&numbers, deposit) {
            act(&mut self.deposits, number, self.lsp.chain.height);
        }
    }

    fn with_channel(&mut self, channel: u8, is: impl Fn(Stage) -> bool, act: impl FnOnce(&mut Node, ChannelKey)) {
        if let Some(key) = self.lsp.reachable(channel, is) {
            act(&mut self.lsp.node, key);
        }
    }

    fn block(&mut self, is_full: bool) {
        self.lsp.chain.mine(is_full);
        if !is_full {
            self.deposits.mine(self.lsp.chain.height);
        }
        let late = self.payments.blocks(self.lsp.chain.height);
        self.tell_later(late);
        self.run();
    }

    /// Somebody pays a client over a channel that it has by now; it claims that as soon as it has it.
    fn pays_client(&mut self, client: PeerId) {
        let number = u32::try_from(self.lsp.node.incoming.len()).expect("few");
        let (part, payment_hash) = (PartId([0; 32]), PaymentHash([8; 32]));
        let (amount_in, onion_amount) = (Msat(1_000), Msat(1_000));
        let cltv_expiry = Some(BlockHeight(self.lsp.chain.height + 400));
        let htlc = HeldHtlc { part, scid: Scid(2), payment_hash, amount_in, onion_amount, cltv_expiry };
        self.lsp.node.passes_through(htlc, client);
        self.save();
        self.lsp.node.client_says(number.try_into().expect("few"), true, false);
    }

    /// All its channels get as far as they can.
    fn proceeds(&mut self, client: PeerId) {
        self.connects(client);
        for _ in 0..3 {
            for key in self.lsp.node.channels_of(client, |_| true) {
                self.lsp.node.proceeds(key);
            }
            self.run();
            self.save();
            self.run();
        }
    }

    fn connects(&mut self, client: PeerId) {
        if self.lsp.links.insert(client, true).is_none() {
            self.feed(Input::PeerConnected { peer: client });
        }
    }

    fn tell_later(&mut self, inputs: impl IntoIterator<Item = Input>) {
        self.lsp.node.now.events.extend(inputs.into_iter().map(Told::Input));
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

/// A held payment that was resolved meanwhile would be another; its payer is not in this world.
fn is_told_again(told: &Told) -> bool {
    !matches!(told, Told::Input(Input::PaymentHeld(_) | Input::PaymentGone { .. }))
}

/// Small orders count at once, larger ones after one block, the largest after three.
fn setup() -> LspSetup {
    let rule = |up_to_sat, confirmations| AmountRule { up_to_sat, confirmations };
    let orders = OrderPolicy {
        confirmations: vec![rule(1_000_000, 0), rule(2_000_000, 1), rule(u64::MAX, 3)],
        onchain_validity: Duration::from_secs(2 * 3_600),
        open_per_client: usize::MAX,
        onchain: true,
        ..OrderPolicy::default()
    };
    let policy = Some(StandardPolicy { orders: Some(orders), ..StandardPolicy::default() });
    let config = Config { orders: OrderConfig { attempts: 2, ..OrderConfig::default() }, ..Config::default() };
    LspSetup { config, policy, feerate_sat_per_kw: LEAST_FEERATE, ..LspSetup::default() }
}

fn order_of(flow: FlowId) -> OrderNumber {
    match flow {
        FlowId::Order(number) => number,
        FlowId::JitChannel(scid) => unreachable!("nothing is bought in this world: {scid}"),
        FlowId::Webhooks(client) => unreachable!("nobody has webhooks in this world: {client}"),
    }
}

fn total(amounts: impl IntoIterator<Item = Sat>) -> Msat {
    let sats = amounts.into_iter().map(|amount| amount.0).sum();
    Sat(sats).to_msat().expect("small amounts")
}

const LEASE_BLOCKS: u32 = 144;
/// At which transactions are relayed at all, in satoshis per 1000 weight units.
const LEAST_FEERATE: u32 = 253;
/// What comes above the limit of the service is the operator's to look at.
const MOST_DEPOSITS: usize = 15;

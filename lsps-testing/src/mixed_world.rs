//! World of clients that buy JIT channels, order channels and register webhooks at one LSP, whose node has one wallet.
//! A script mixes the steps of the worlds of sales and of orders. The invariants of both hold, and the channels of one
//! kind do not affect those of the other.

use std::sync::MutexGuard;
use std::time::Duration;

use lsps_service::{KnownOrder, OrderConfig, StandardPolicy, Trust};
use lsps_types::PeerId;

use crate::Seen;
use crate::model::node::Place;
use crate::model::{Fence, Model, Sold, payments};
use crate::order_world::{self, LEASE_BLOCKS};
use crate::setup::{LspSetup, NOON, peer};
use crate::world::{self, CLIENTS, World};

/// A step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A step of the world of JIT channels and webhooks.
    Sale(world::Step),
    /// A step of the world of orders.
    Order(order_world::Step),
}

impl Step {
    /// Maps any four bytes to a step. Clients, payers and peers are hostile.
    #[must_use]
    pub fn hostile([kind, a, b, c]: [u8; 4]) -> Self {
        match kind % (SALES + ORDERS) {
            kind @ ..SALES => Self::Sale(world::Step::hostile([kind, a, b, c])),
            kind => Self::Order(order_world::Step::hostile([kind - SALES, a, b, c])),
        }
    }
}

/// World of one LSP with sales and orders.
pub struct MixedWorld {
    /// World of sales; its LSP also serves the orders.
    sales: World,
}

impl MixedWorld {
    /// A world at noon with a hostile node, whose LSP sells with the given trust.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        let mut setup = LspSetup { feerate_sat_per_kw: LEAST_FEERATE, ..world::setup(trust) };
        setup.plans = Some(StandardPolicy {
            spare_sat: 0,
            orders: Some(order_world::sells()),
            tokens: order_world::gives(),
            ..StandardPolicy::default()
        });
        setup.config.orders =
            OrderConfig { attempts: 2, keep_ended: SOON, keep_unpaid: SOON, ..OrderConfig::default() };
        let sales = World::of(setup, COINS);
        sales.lsp.model().node.is_hostile = true;
        Self { sales }
    }

    /// Records each further run of the LSP on a tape.
    #[must_use]
    pub fn taped(mut self) -> Self {
        self.sales.lsp.tape();
        self
    }

    /// Plays a script and checks the invariants after every step.
    #[must_use]
    pub fn play(mut self, script: &[Step]) -> Self {
        for step in script {
            match *step {
                Step::Sale(step) => self.sales.step(step),
                Step::Order(step) => self.sales.lsp.order_step(step),
            }
            self.checks();
        }
        self
    }

    /// Number of times that each input met a sale or an order in each state, from the tapes.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let mut seen = self.sales.seen();
        for (pair, count) in self.sales.lsp.seen(order_world::states) {
            *seen.entry(pair).or_default() += count;
        }
        seen
    }

    /// Number of times that the process crashed so far.
    #[must_use]
    pub fn deaths(&self) -> usize {
        self.sales.deaths()
    }

    /// Numbers of broadcast funding transactions: of JIT channels, and of orders.
    #[must_use]
    pub fn fundings(&self) -> [usize; 2] {
        let model = self.model();
        let is_sale = |key: &&lsps_service::ChannelKey| matches!(key.flow, lsps_service::FlowId::JitChannel(_));
        let sales = model.broadcast.iter().filter(is_sale).count();
        [sales, model.broadcast.len() - sales]
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.sales.lsp.model()
    }

    fn checks(&self) {
        let model = self.model();
        model.check_sales();
        model.check_orders();
    }

    /// Ends all faults, has all clients connect and answer, and lets time and blocks pass.
    ///
    /// # Panics
    ///
    /// When balances do not add up, an HTLC stays held, or a record or a reserved coin is left over.
    #[must_use]
    pub fn comes_to_rest(mut self) -> Self {
        self.model().all_works();
        self.sales.lsp.run();
        self.sales.lsp.waits(Duration::from_secs(1)); // it is noticed by then
        // While no client connects, held HTLCs are failed back to their payers in time.
        for _ in 0..4 {
            self.waits(Duration::from_secs(1_500));
        }
        let known = self
            .sales
            .lsp
            .look(|service| (service.known_payments().collect::<Vec<_>>(), service.known_orders().collect::<Vec<_>>()));
        self.model().nothing_is_held(&known.1, &known);
        for client in 0..CLIENTS {
            self.sales.lsp.arrives(peer(client + 1));
        }
        for _ in 0..24 {
            self.model().clients_answer();
            self.waits(Duration::from_secs(6 * 3_600));
            self.model().mine(false);
            self.model().hear_blocks();
            self.sales.lsp.run();
        }
        self.model().adds_up();
        self.is_forgotten();
        self
    }

    fn waits(&mut self, time: Duration) {
        self.sales.lsp.waits(time);
        self.checks();
    }

    /// Lets the time pass after which all records are removed. Then no coin is reserved, and the book is complete.
    fn is_forgotten(&mut self) {
        {
            let mut model = self.model();
            model.passes(Duration::from_secs(7 * 86_400));
            model.chain.height += model.setup.terms.min_lifetime.0.max(LEASE_BLOCKS) + 1;
            model.hear_blocks();
        }
        self.waits(Duration::ZERO);
        self.sales.hooks_lapse();
        let names: Vec<String> = self.model().records().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, [""; 0], "all is over");
        assert_eq!(self.sales.lsp.look(|service| service.next_wake()), None);
        let model = self.model();
        assert_eq!(model.locked(), [], "coins are locked for nothing");
        model.sales_book_adds_up();
        model.orders_add_up();
    }
}

impl Model {
    /// No HTLC is held for clients that stay away, except payments of orders without a record, or with a deadline from
    /// a clock that was ahead, or whose client refused the open and holds an HTLC: that HTLC may be on the refused channel,
    /// which the payment has to pay for then (X07). The checks of each step bound how long.
    fn nothing_is_held(&self, orders: &[KnownOrder], known: &impl std::fmt::Debug) {
        assert_eq!(self.node.numbers(|place| *place == Place::Held), [0; 0], "parts held for nobody");
        let held = self.payments.numbers(payments::Place::Held).into_iter();
        let holds = |client: PeerId| {
            let is_there = |place: &Place| matches!(place, Place::AtClient { to, .. } if *to == client);
            !self.node.numbers(is_there).is_empty()
        };
        let waits = |sold: &Sold| {
            orders.iter().any(|order| order.number == sold.number && order.attempts > 0 && holds(order.client))
        };
        let is_for_nobody = |order: usize| self.is_known(order) && !waits(&self.orders[order]);
        let held: Vec<usize> = held.filter(|number| is_for_nobody(self.payments.incoming[*number].order)).collect();
        assert!(self.clock_was_set || held.is_empty(), "payments held for nobody: {held:?} of {known:?}");
    }

    /// Ends all faults, and sets the clock right.
    fn all_works(&mut self) {
        self.now = NOON + self.steady;
        (self.fuse, self.store_works, self.is_mute) = (None, true, false);
        (self.deposits.is_blind, self.deposits.is_behind) = (false, false);
        self.hidden.clear();
        self.fence = Fence::default();
        self.node.feerate_sat_per_kw = LEAST_FEERATE;
    }

    /// Has clients claim the ordinary payments that they have neither claimed nor failed, if the channel still exists.
    fn clients_answer(&mut self) {
        for number in self.node.numbers(|place| matches!(place, Place::AtClient { .. })) {
            let incoming = &self.node.incoming[number];
            let is_there = incoming.given.is_some_and(|(over, _)| self.node.stage(over).is_some());
            if incoming.ordinary.is_some() && is_there && !self.said.contains_key(&number) {
                self.says(number, true, false);
            }
        }
        self.everybody_answers();
    }
}

/// Number of kinds of hostile steps in the world of sales.
const SALES: u8 = 58;
/// Number of kinds of hostile steps in the world of orders.
const ORDERS: u8 = 42;
/// Number of coins: so few that fundings of sales and of orders compete for them.
const COINS: u8 = 40;
/// Time after which ended and unpaid orders are forgotten, short enough to pass within a script.
const SOON: Duration = Duration::from_secs(2 * 3_600);
/// Minimum relay feerate, in satoshis per 1000 weight units.
const LEAST_FEERATE: u32 = 253;

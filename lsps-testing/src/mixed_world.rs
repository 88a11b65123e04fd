//! Clients who buy JIT channels, order channels and have webhooks at the same LSP, on one node with one wallet: one script
//! mixes the steps of both other worlds. What holds in each of them holds here, and their channels do not get in each
//! other's way.

use std::sync::MutexGuard;
use std::time::Duration;

use lsps_service::{OrderConfig, StandardPolicy, Trust};

use crate::Seen;
use crate::model::node::Place;
use crate::model::{Fence, Model, payments};
use crate::order_world::{self, LEASE_BLOCKS};
use crate::setup::{LspSetup, NOON, peer};
use crate::world::{self, CLIENTS, World};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A step of the world of JIT channels and webhooks.
    Sale(world::Step),
    /// A step of the world of orders.
    Order(order_world::Step),
}

impl Step {
    /// A step from four bytes, whatever they are; everybody does what nobody can keep them from.
    #[must_use]
    pub fn hostile([kind, a, b, c]: [u8; 4]) -> Self {
        match kind % (SALES + ORDERS) {
            kind @ ..SALES => Self::Sale(world::Step::hostile([kind, a, b, c])),
            kind => Self::Order(order_world::Step::hostile([kind - SALES, a, b, c])),
        }
    }
}

/// All of it.
pub struct MixedWorld {
    /// Orders are made of the same LSP.
    sales: World,
}

impl MixedWorld {
    /// A world at noon, whose LSP trusts its clients or wants to be trusted. Everybody does what nobody can keep them from.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        let mut setup = LspSetup { feerate_sat_per_kw: LEAST_FEERATE, ..world::setup(trust) };
        setup.plans =
            Some(StandardPolicy { spare_sat: 0, orders: Some(order_world::sells()), ..StandardPolicy::default() });
        setup.config.orders =
            OrderConfig { attempts: 2, keep_ended: SOON, keep_unpaid: SOON, ..OrderConfig::default() };
        let sales = World::of(setup, COINS);
        sales.lsp.model().node.is_hostile = true;
        Self { sales }
    }

    /// Each further life of the LSP is kept on a tape.
    #[must_use]
    pub fn taped(mut self) -> Self {
        self.sales.lsp.tape();
        self
    }

    /// Plays a script, and checks after every step what must always hold.
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

    /// How often an input met a sale or an order in some state, in the lives that are on tape.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let mut seen = self.sales.seen();
        for (pair, count) in self.sales.lsp.seen(order_world::states) {
            *seen.entry(pair).or_default() += count;
        }
        seen
    }

    /// How often the process died so far.
    #[must_use]
    pub fn deaths(&self) -> usize {
        self.sales.deaths()
    }

    /// Funding transactions on the chain or on their way there, of JIT channels and of orders.
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

    /// Everybody comes back and answers, time and blocks go by.
    ///
    /// # Panics
    ///
    /// When money is missing, or something is stuck.
    #[must_use]
    pub fn comes_to_rest(mut self) -> Self {
        self.model().all_works();
        self.sales.lsp.run();
        self.sales.lsp.waits(Duration::from_secs(1)); // it is noticed by then
        // First nobody comes: payers have their money back in time all the same.
        for _ in 0..4 {
            self.waits(Duration::from_secs(1_500));
        }
        self.model().nothing_is_held();
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

    /// Records go when nothing depends on them any more. Then no coin is reserved, and the book is complete.
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
    /// Nothing is held for clients who stay away, but for payments of orders that are forgotten, or whose end is a date of a
    /// clock that was ahead.
    fn nothing_is_held(&self) {
        assert_eq!(self.node.numbers(|place| *place == Place::Held), [0; 0], "parts held for nobody");
        let held = self.payments.numbers(payments::Place::Held).into_iter();
        let held: Vec<usize> = held.filter(|number| self.is_known(self.payments.incoming[*number].order)).collect();
        assert!(self.clock_was_set || held.is_empty(), "payments held for nobody: {held:?}");
    }

    /// Nothing fails any more, and the clock is set right.
    fn all_works(&mut self) {
        self.now = NOON + self.steady;
        (self.fuse, self.store_works, self.is_mute) = (None, true, false);
        (self.deposits.is_blind, self.deposits.is_behind) = (false, false);
        self.hidden.clear();
        self.fence = Fence::default();
        self.node.feerate_sat_per_kw = LEAST_FEERATE;
    }

    /// Has clients claim the ordinary payments that they did not decide on, where the channel still exists.
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

/// Kinds of hostile steps of each world.
const SALES: u8 = 58;
const ORDERS: u8 = 42;
/// Number of coins: so few that fundings of sales and of orders compete for them.
const COINS: u8 = 40;
/// Orders are forgotten within a script.
const SOON: Duration = Duration::from_secs(2 * 3_600);
/// Least feerate that is relayed, in satoshis per 1000 weight units.
const LEAST_FEERATE: u32 = 253;

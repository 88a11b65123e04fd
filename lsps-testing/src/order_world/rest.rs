//! The end of a script: the world comes to rest, and all balances have to add up.

use std::time::Duration;

use lsps_service::{BookTotals, Booking, ChannelEnd, FlowId};
use lsps_types::Msat;

use super::{CLIENTS, LEASE_BLOCKS, LEAST_FEERATE, OrderWorld, total};
use crate::model::deposits::{Coin, WORTHLESS_SAT};
use crate::model::node::Place::AtClient;
use crate::model::node::{Stage, Upstream};
use crate::model::payments::Place;
use crate::model::{Model, ORDERS};
use crate::setup::{MINING_SAT, peer};

impl OrderWorld {
    /// Connects everybody and lets them answer, while time and blocks pass.
    ///
    /// # Panics
    ///
    /// A balance is wrong, or a flow is stuck.
    #[must_use]
    pub fn comes_to_rest(mut self) -> Self {
        {
            let mut model = self.model();
            (model.fuse, model.store_works, model.deposits.is_blind) = (None, true, false);
            model.deposits.is_behind = false;
            model.node.feerate_sat_per_kw = LEAST_FEERATE;
        }
        self.run();
        // Outcomes are kept on record for longer than a node goes without persisting its state.
        self.model().save();
        self.run();
        // At first no client connects: payers get their money back in time anyway.
        for _ in 0..3 {
            self.passes(Duration::from_secs(1_500));
        }
        let held = self.model().payments.numbers(Place::Held);
        let known = self.lsp.look(|service| service.known_payments().collect::<Vec<_>>());
        assert_eq!(held, [0; 0], "nothing is held for clients who stay away: {known:?}");
        for client in 0..CLIENTS {
            self.lsp.arrives(peer(client + 1));
        }
        for _ in 0..16 {
            self.model().channels_work_or_end();
            self.passes(Duration::from_secs(1_000));
            self.model().mine(false);
            self.model().hear_blocks();
            self.run();
        }
        self.model().orders_add_up();
        assert_eq!(self.model().locked(), [], "coins are locked for nothing");
        self.is_forgotten();
        self
    }

    fn passes(&mut self, time: Duration) {
        self.lsp.waits(time);
        self.model().check_orders();
    }

    /// Checks that records are removed when nothing depends on them any more.
    fn is_forgotten(&mut self) {
        {
            let mut model = self.model();
            model.passes(Duration::from_secs(40 * 86_400));
            model.chain.height += LEASE_BLOCKS + 1;
        }
        self.run();
        let left =
            self.lsp.look(|service| service.known_orders().map(|order| format!("{order:?}")).collect::<Vec<_>>());
        assert_eq!(self.model().records().count(), 0, "all is over: {left:?}");
        assert_eq!(self.lsp.look(|service| service.next_wake()), None);
    }
}

impl Model {
    /// Ends unsigned channels, and lets the others work. Clients claim the HTLCs that they kept, if the channel still
    /// exists.
    fn channels_work_or_end(&mut self) {
        for number in self.node.numbers(|place| matches!(place, AtClient { .. })) {
            let claims = self.node.incoming[number].given.is_some_and(|(over, _)| self.node.stage(over).is_some());
            let claims = self.said.get(&number).copied().unwrap_or(claims);
            self.says(number, claims, false);
        }
        for key in self.node.channels(|stage| stage < Stage::Signed) {
            self.node.rejected(key, ChannelEnd::Rejected);
        }
        for key in self.node.channels(|stage| stage == Stage::Pending) {
            self.node.ready(key);
        }
    }

    /// Whose everything is that came for an order.
    pub(crate) fn orders_add_up(&self) {
        for (number, incoming) in self.payments.incoming.iter().enumerate() {
            assert!(incoming.outcome.is_some(), "the payer of payment {number} hears nothing");
        }
        for (number, coin) in self.deposits.coins.iter().enumerate() {
            let is_back = self.deposits.refund_of(number).is_some();
            let is_ours = !is_back && coin.was_kept;
            let whose = [is_back, is_ours, coin.is_gone && !is_ours];
            let owners = whose.into_iter().filter(|is_it| *is_it).count();
            let is_left = owners == 0 && coin.amount.0 <= WORTHLESS_SAT && self.node.is_hostile;
            let is_left = is_left || (!coin.was_shown && !self.is_known(coin.order));
            assert!(owners == 1 || is_left, "deposit {number} of order {} is whose? {coin:?}", coin.order);
        }
        for key in &self.broadcast {
            assert!(self.chain.knows(*key), "{key:?} is not on the chain");
        }
        for incoming in self.node.incoming.iter().filter(|it| it.outcome == Some(Upstream::Fulfilled)) {
            let (over, _) = incoming.given.expect("what was claimed was given");
            assert!(self.chain.knows(over), "a client was paid over {over:?}, which is not on the chain");
        }
        if self.node.is_hostile {
            self.nobody_gains();
        }
        self.orders_book_adds_up();
    }

    /// Adds up the balances of the LSP and of each client for every order, by the knowledge of the payers and the
    /// chain.
    fn nobody_gains(&self) {
        for (number, sold) in self.orders.iter().enumerate() {
            let is_funded = self.broadcast.iter().any(|key| key.flow == FlowId::Order(sold.number));
            let mut payments = self.payments.incoming.iter().filter(|of| of.order == number);
            let claimed = payments.clone().any(|of| of.outcome == Some(true));
            let coins = self.deposits.coins.iter().filter(|coin| coin.order == number);
            let kept: Vec<u64> = coins.clone().filter(|coin| coin.was_kept).map(|coin| coin.amount.0).collect();
            // The payment expired in time, or was double-spent after it had been accepted without a confirmation.
            let is_known_risk = payments.any(|of| of.lost) || coins.clone().any(|coin| coin.was_kept || coin.was_gone);
            let is_free = sold.order.payment.is_free();
            assert!(!is_funded || claimed || is_known_risk || is_free, "order {number} has its channel for nothing");
            let total = sold.order.payment.onchain.as_ref().map_or(0, |way| way.order_total_sat.0);
            // A deposit that is too small to refund is not part of the amount paid.
            let paid = kept.iter().copied().filter(|amount| *amount > WORTHLESS_SAT);
            let (surplus, sum) = (paid.clone().min().unwrap_or_default(), paid.sum::<u64>());
            assert!(surplus == 0 || sum - surplus < total, "order {number} cost {total} sat, and {kept:?} was kept");
        }
    }

    fn orders_book_adds_up(&self) {
        let book = self.book(ORDERS);
        let totals = BookTotals::of(&book);
        let claimed: u64 =
            self.payments.incoming.iter().filter(|of| of.outcome == Some(true)).map(|of| of.held.amount.0).sum();
        let kept = self.deposits.coins.iter().enumerate().filter(|(_, coin)| coin.was_kept);
        let is_lost = |number: usize| self.deposits.coins[number].is_gone || self.deposits.refund_of(number).is_some();
        // All that an order that failed ever kept is dust. Once the order is removed, nobody hears that dust was double-spent.
        let (worthless, lost): (Vec<_>, Vec<_>) =
            kept.clone().filter(|(number, _)| is_lost(*number)).partition(|(_, coin)| coin.amount.0 <= WORTHLESS_SAT);
        let [worthless, lost] = [worthless, lost].map(|coins| total(coins.into_iter().map(|(_, coin)| coin.amount)));
        let received = Msat(claimed + total(kept.map(|(_, coin)| coin.amount)).0);
        let funded =
            |number: &usize| self.broadcast.iter().any(|key| key.flow == FlowId::Order(self.orders[*number].number));
        let funded: Vec<usize> = (0..self.orders.len()).filter(funded).collect();
        let given = |entry: &lsps_service::BookEntry| match entry.what {
            Booking::OrderUnpaid { given, .. } => i128::from(given.0),
            Booking::OrderFound { given, .. } => -i128::from(given.0),
            _ => 0,
        };
        let unpaid: i128 = book.iter().map(given).sum();
        let unpaid = u64::try_from(unpaid).expect("what is found was lost");
        let balances = total(funded.iter().map(|number| self.orders[*number].order.client_balance_sat));
        // A deposit that paid, and was double-spent before the wallet could be told of it, is booked as received and lost.
        let is_untold = |coin: &&Coin| coin.is_gone && !coin.was_kept && funded.contains(&coin.order);
        let gone = total(self.deposits.coins.iter().filter(is_untold).map(|coin| coin.amount));
        // So is dust that was kept because its refund was void, and that this refund gave back after all.
        let is_back = |(number, coin): &(usize, &Coin)| {
            !coin.was_kept && coin.amount.0 <= WORTHLESS_SAT && self.deposits.refund_of(*number).is_some()
        };
        let back = total(self.deposits.coins.iter().enumerate().filter(is_back).map(|(_, coin)| coin.amount));
        let most = gone.0 + back.0 + worthless.0;
        let untold = totals.given.0.checked_sub(unpaid + lost.0).filter(|untold| *untold <= most);
        let untold = untold.unwrap_or_else(|| panic!("what was lost is in the book: {unpaid}, {lost} and {totals:?}"));
        // Small deposits that were never on record belong to the wallet when their order is forgotten, and are in no book.
        let is_dust = |coin: &&Coin| coin.was_kept && coin.amount.0 <= WORTHLESS_SAT && !self.is_known(coin.order);
        let dust = total(self.deposits.coins.iter().filter(is_dust).map(|coin| coin.amount));
        let booked = balances.0 + totals.earned.0 + totals.surplus.0;
        // Dust that was double-spent while its order was on record is among what was received, and in the book as lost.
        let told = worthless.0.min(untold);
        let unbooked = (received.0 + unpaid + untold).checked_sub(booked);
        assert!(
            unbooked.is_some_and(|sum| sum.saturating_sub(told) <= dust.0),
            "{received} are given or earned, or {unpaid} lost: {totals:?}"
        );
        assert_eq!(totals.asked.0, totals.earned.0 + totals.lost.0, "no fee is under way: {totals:?}");
        let is_order = |flow| matches!(flow, FlowId::Order(_));
        assert_eq!(totals.mining_sat, MINING_SAT * self.chain.mined(is_order), "and what its channels cost");
        let refunded = book.iter().filter_map(|entry| match entry.what {
            Booking::Refunded { received_sat, mining_sat, .. } => Some((received_sat, mining_sat)),
            _ => None,
        });
        let refunded = refunded.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let refunds = self.deposits.refunds.iter().filter(|refund| refund.confirmed_at.is_some());
        let coins = refunds.clone().flat_map(|refund| &refund.coins).map(|coin| self.deposits.coins[*coin].amount.0);
        let mining = refunds.map(|refund| refund.mining_sat).sum();
        assert_eq!(refunded, (coins.sum(), mining), "refunds are in the book");
    }
}

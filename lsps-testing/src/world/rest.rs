//! The end of a script: the world comes to rest, and everything has to add up.

use std::time::Duration;

use lsps_service::{BookTotals, ChannelEnd};

use super::host_loop::Host as _;
use super::node::{Place, Stage, Upstream};
use super::{CLIENTS, World};
use crate::setup::{MINING_SAT, peer};

impl World {
    /// Everybody comes back and answers, time and blocks go by.
    ///
    /// # Panics
    ///
    /// When money is missing, or something is stuck.
    #[must_use]
    pub fn comes_to_rest(mut self) -> Self {
        self.lsp.fuse = None;
        (self.lsp.store_works, self.lsp.is_mute) = (true, false);
        self.run();
        // First nobody comes: payers have their money back in time all the same.
        for _ in 0..4 {
            self.passes(Duration::from_secs(80));
        }
        let held = self.lsp.node.numbers(|place| *place == Place::Held);
        let known = self.lsp.service.known_parts().collect::<Vec<_>>();
        assert_eq!(held, [0; 0], "nothing is held for clients who stay away: {known:?}");
        for client in 0..CLIENTS {
            self.connects(peer(client + 1));
            self.becomes_usable(peer(client + 1));
        }
        for _ in 0..12 {
            for key in self.lsp.node.channels(|stage| stage < Stage::Signed) {
                self.lsp.node.rejected(key, ChannelEnd::Rejected);
            }
            for key in self.lsp.node.channels(|stage| stage == Stage::Pending) {
                self.lsp.node.ready(key);
            }
            for number in self.lsp.node.numbers(|place| matches!(place, Place::AtClient { .. })) {
                let claims = *self.said.entry(number).or_insert(false);
                self.lsp.node.client_says(number, claims, false);
            }
            self.passes(Duration::from_secs(60));
            self.lsp.chain.mine(false);
        }
        self.adds_up();
        self.is_forgotten();
        self
    }

    fn passes(&mut self, time: Duration) {
        self.lsp.now = self.lsp.now + time;
        self.run();
        self.save();
        self.run();
        self.save();
        self.check();
    }

    fn adds_up(&self) {
        let under_way = self.lsp.node.numbers(|place| *place != Place::Over);
        assert_eq!(under_way, [0; 0], "{:?}", self.lsp.node.now.places);
        let (mut paid_in, mut paid_out) = (0, 0);
        for (number, incoming) in self.lsp.node.incoming.iter().enumerate() {
            let outcome = incoming.outcome.unwrap_or_else(|| panic!("the payer of part {number} hears nothing"));
            if let (Upstream::Fulfilled, Some((over, amount))) = (outcome, incoming.given) {
                assert!(
                    self.lsp.chain.knows(over),
                    "part {number} was claimed over {over:?}, which is not on the chain"
                );
                if incoming.ordinary.is_none() {
                    paid_in += incoming.htlc.amount_in.0;
                    paid_out += amount.0;
                }
            }
        }
        if self.lsp.node.is_hostile {
            self.channels_are_paid_for();
        }
        assert_eq!(self.lsp.coins.locked(&self.lsp.chain), [0; 0], "coins are locked for nothing");
        let totals = BookTotals::of(self.lsp.book.values());
        assert_eq!(totals.asked.0, totals.earned.0 + totals.lost.0, "no fee is under way: {totals:?}");
        assert_eq!(paid_in - paid_out, totals.earned.0 + totals.surplus.0, "the book says what the LSP earned");
        assert_eq!(totals.mining_sat, MINING_SAT * self.lsp.chain.mined() as u64, "and what its channels cost");
    }

    /// Records go when nothing depends on them any more.
    fn is_forgotten(&mut self) {
        self.lsp.now = self.lsp.now + Duration::from_secs(7 * 86_400);
        self.lsp.chain.height += self.lsp.setup.terms.min_lifetime.0 + 1;
        self.run();
        self.hooks_lapse();
        assert_eq!(
            self.lsp.store.keys().collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "all is over: {:?}",
            self.lsp.service.known_parts().filter(|part| part.is_live).collect::<Vec<_>>()
        );
        assert_eq!(self.lsp.service.next_wake(), None);
    }
}

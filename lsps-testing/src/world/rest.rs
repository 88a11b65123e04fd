//! The end of a script: the world comes to rest, and everything has to add up.

use std::time::Duration;

use lsps_service::{BookTotals, ChannelEnd};

use super::{CLIENTS, World};
use crate::model::node::{Place, Stage, Upstream};
use crate::model::{Fence, Model};
use crate::setup::{MINING_SAT, peer};

impl World {
    /// Everybody comes back and answers, time and blocks go by.
    ///
    /// # Panics
    ///
    /// When money is missing, or something is stuck.
    #[must_use]
    pub fn comes_to_rest(mut self) -> Self {
        {
            let mut model = self.model();
            model.fuse = None;
            (model.store_works, model.is_mute) = (true, false);
            model.hidden.clear();
            model.fence = Fence::default();
        }
        self.run();
        // First nobody comes: payers have their money back in time all the same.
        for _ in 0..4 {
            self.passes(Duration::from_secs(80));
        }
        let held = self.model().node.numbers(|place| *place == Place::Held);
        let known = self.lsp.look(|service| service.known_parts().collect::<Vec<_>>());
        assert_eq!(held, [0; 0], "nothing is held for clients who stay away: {known:?}");
        for client in 0..CLIENTS {
            self.connects(peer(client + 1));
            self.model().becomes_usable(peer(client + 1));
        }
        for _ in 0..12 {
            self.model().everybody_answers();
            self.passes(Duration::from_secs(60));
            self.model().chain.mine(false);
        }
        self.model().adds_up();
        self.is_forgotten();
        self
    }

    fn passes(&mut self, time: Duration) {
        self.model().passes(time);
        self.run();
        self.model().save();
        self.run();
        self.model().save();
        self.model().check_sales();
    }

    /// Records go when nothing depends on them any more.
    fn is_forgotten(&mut self) {
        {
            let mut model = self.model();
            model.passes(Duration::from_secs(7 * 86_400));
            model.chain.height += model.setup.terms.min_lifetime.0 + 1;
        }
        self.run();
        self.hooks_lapse();
        let left = self.lsp.look(|service| service.known_parts().filter(|part| part.is_live).collect::<Vec<_>>());
        let names: Vec<String> = self.model().records().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, [""; 0], "all is over: {left:?}");
        assert_eq!(self.lsp.look(|service| service.next_wake()), None);
        // A part that may have been claimed in spite of what the node showed keeps a fee under way and coins reserved, until
        // no claim of it can come any more.
        let totals = BookTotals::of(&self.model().book());
        assert_eq!(self.model().locked(), [0; 0], "coins are locked for nothing");
        assert_eq!(totals.asked.0, totals.earned.0 + totals.lost.0, "no fee is under way: {totals:?}");
        // Of equal parts, one of which came again by its name, the claim of one can be taken for that of the other told again.
        let (earned, booked) = (self.model().earned(), totals.earned.0 + totals.surplus.0);
        let is_close = self.model().node.is_hostile && booked < earned;
        assert!(booked == earned || is_close, "the book says that the LSP earned {booked}, it was {earned}");
        let fundings = self.model().chain.mined() as u64;
        assert_eq!(totals.mining_sat, MINING_SAT * fundings, "and what its channels cost");
    }
}

impl Model {
    /// Channels that are not signed end, the others work; clients say what they said before, or fail what they have.
    fn everybody_answers(&mut self) {
        for key in self.node.channels(|stage| stage < Stage::Signed) {
            self.node.rejected(key, ChannelEnd::Rejected);
        }
        for key in self.node.channels(|stage| stage == Stage::Pending) {
            self.node.ready(key);
        }
        for number in self.node.numbers(|place| matches!(place, Place::AtClient { .. })) {
            let claims = *self.said.entry(number).or_insert(false);
            if !self.client_says(number, claims, false) {
                self.said.insert(number, false);
                self.node.times_out(number); // over a channel that is closed
            }
        }
    }

    fn adds_up(&self) {
        let under_way = self.node.numbers(|place| *place != Place::Over);
        assert_eq!(under_way, [0; 0], "{:?}", self.node.now.places);
        for (number, incoming) in self.node.incoming.iter().enumerate() {
            let outcome = incoming.outcome.unwrap_or_else(|| panic!("the payer of part {number} hears nothing"));
            if let (Upstream::Fulfilled, Some((over, amount))) = (outcome, incoming.given) {
                assert!(!incoming.is_cut_off, "nothing came in for part {number}, and its client has {amount}");
                // A node that forgot that it closed a channel forwards over it until it is asked to close it again. The host does
                // so at the start, but for a channel whose record the store does not give back then: it cannot tell that one
                // from a channel in use, and closing those would be worse.
                let is_there = self.chain.knows(over) || self.came_back.contains(&over);
                assert!(is_there, "part {number} was claimed over {over:?}, which is not on the chain");
            }
        }
        if self.node.is_hostile {
            self.channels_are_paid_for();
        }
    }

    /// What came in for HTLCs of JIT payments that were claimed, less what went out.
    fn earned(&self) -> u64 {
        let claimed = self.node.incoming.iter().filter(|it| it.outcome == Some(Upstream::Fulfilled));
        let jit = claimed.filter(|incoming| incoming.ordinary.is_none());
        jit.filter_map(|incoming| Some(incoming.htlc.amount_in.0 - incoming.given?.1.0)).sum()
    }
}

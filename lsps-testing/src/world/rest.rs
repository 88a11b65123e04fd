//! The end of a script: the world comes to rest, and all balances have to add up.

use std::time::Duration;

use lsps_service::{BookTotals, ChannelEnd, FlowId};

use super::{CLIENTS, World};
use crate::model::node::{Place, Stage, Upstream};
use crate::model::{Fence, JIT_CHANNELS, Model};
use crate::setup::{MINING_SAT, peer};

impl World {
    /// Connects everybody and lets them answer, while time and blocks pass.
    ///
    /// # Panics
    ///
    /// A balance is wrong, or a flow is stuck.
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
        // At first no client connects: payers get their money back in time anyway.
        for _ in 0..4 {
            self.passes(Duration::from_secs(80));
        }
        let held = self.model().node.numbers(|place| *place == Place::Held);
        let known = self.lsp.look(|service| service.known_parts().collect::<Vec<_>>());
        assert_eq!(held, [0; 0], "nothing is held for clients who stay away: {known:?}");
        for client in 0..CLIENTS {
            self.lsp.arrives(peer(client + 1));
        }
        for _ in 0..12 {
            self.model().everybody_answers();
            self.passes(Duration::from_secs(60));
            self.model().mine(false);
        }
        self.model().adds_up();
        self.is_forgotten();
        self
    }

    fn passes(&mut self, time: Duration) {
        self.lsp.waits(time);
        self.model().check_sales();
    }

    /// Checks that records are removed when nothing depends on them any more.
    fn is_forgotten(&mut self) {
        {
            let mut model = self.model();
            model.passes(Duration::from_secs(7 * 86_400));
            // Channels are promised from blocks on that may have been in the chain only once.
            let height = model.chain.height.max(model.chain.highest);
            model.chain.height = height + model.setup.terms.min_lifetime.0 + 1;
        }
        self.run();
        self.hooks_lapse();
        let left = self.lsp.look(|service| service.known_parts().filter(|part| part.is_live).collect::<Vec<_>>());
        let names: Vec<String> = self.model().records().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, [""; 0], "all is over: {left:?}");
        assert_eq!(self.lsp.look(|service| service.next_wake()), None);
        // A part that may have been claimed although the node did not show it keeps a fee in flight and coins reserved,
        // until no claim of it is possible any more.
        assert_eq!(self.model().locked(), [], "coins are locked for nothing");
        self.model().sales_book_adds_up();
    }
}

impl Model {
    /// Ends unsigned channels, and lets the others work. Clients repeat their decisions, or fail the HTLCs that they
    /// have.
    pub(crate) fn everybody_answers(&mut self) {
        for key in self.node.channels(|stage| stage < Stage::Signed) {
            self.node.rejected(key, ChannelEnd::Rejected);
        }
        for key in self.node.channels(|stage| stage == Stage::Pending) {
            self.node.ready(key);
        }
        for number in self.node.numbers(|place| matches!(place, Place::AtClient { .. })) {
            let claims = *self.said.entry(number).or_insert(false);
            // Over a channel that is closed its claim waits for the funding, and is void if there will be none.
            let is_resolved = self.client_says(number, claims, false) || (claims && self.is_broadcast(number));
            if !is_resolved {
                self.said.insert(number, false);
                self.node.times_out(number);
            }
        }
    }

    /// Everybody heard an outcome, and what was claimed was paid for.
    pub(crate) fn adds_up(&self) {
        let under_way = self.node.numbers(|place| *place != Place::Over);
        assert_eq!(under_way, [0; 0], "{:?}", self.node.now.places);
        for (number, incoming) in self.node.incoming.iter().enumerate() {
            let outcome = incoming.outcome.unwrap_or_else(|| panic!("the payer of part {number} hears nothing"));
            if let (Upstream::Fulfilled, Some((over, amount))) = (outcome, incoming.given) {
                assert!(!incoming.is_cut_off, "nothing came in for part {number}, and its client has {amount}");
                // A node that forgot that it closed a channel forwards over it until it is asked to close it again. The
                // host asks at the start, except for a channel whose record the store does not return then: it cannot
                // distinguish such a channel from one in use, and closing the latter would be worse.
                let is_there = self.chain.knows(over) || self.came_back.contains(&over);
                assert!(is_there, "part {number} was claimed over {over:?}, which is not on the chain");
            }
        }
        if self.node.is_hostile {
            self.channels_are_paid_for();
        }
    }

    /// The book of JIT channels says what was earned.
    pub(crate) fn sales_book_adds_up(&self) {
        let totals = BookTotals::of(&self.book(JIT_CHANNELS));
        assert_eq!(totals.asked.0, totals.earned.0 + totals.lost.0, "no fee is under way: {totals:?}");
        // Of two equal parts, one of which came again under its id, the claim of one can be taken for a repeated claim
        // of the other.
        let (earned, booked) = (self.earned(), totals.earned.0 + totals.surplus.0);
        // An output on the chain has whole satoshis. So LDK tells a claim there without the millisatoshis, and as it names no
        // hash either, the claim may be that of another offer's part that is less than a satoshi apart. Parts of one
        // payment are further apart.
        let unknown = 1_000 * u64::try_from(self.rounded.len()).expect("few");
        let is_close = self.node.is_hostile && (booked < earned || booked - earned < unknown);
        assert!(booked == earned || is_close, "the book says that the LSP earned {booked}, it was {earned}");
        let is_sale = |flow| matches!(flow, FlowId::JitChannel(_));
        assert_eq!(totals.mining_sat, MINING_SAT * self.chain.mined(is_sale), "and what its channels cost");
    }

    /// Incoming amounts of claimed JIT HTLCs, less the amounts that were forwarded.
    fn earned(&self) -> u64 {
        let claimed = self.node.incoming.iter().filter(|it| it.outcome == Some(Upstream::Fulfilled));
        let jit = claimed.filter(|incoming| incoming.ordinary.is_none());
        jit.filter_map(|incoming| Some(incoming.htlc.amount_in.0 - incoming.given?.1.0)).sum()
    }
}

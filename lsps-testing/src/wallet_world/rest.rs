//! End of a script: every purchase and order ends, payments as promised are claimed, and neither records nor reserved
//! coins are left.

use std::time::Duration;

use lsps_host::ports::PaymentEnd;

use super::node::{Htlc, HtlcStage, Paying};
use super::{Lie, WalletWorld, lsps};

impl WalletWorld {
    /// Ends all faults and lets time pass until all flows have ended and are forgotten.
    ///
    /// # Panics
    ///
    /// When a flow does not end, or a record, a reservation or a payment as promised is left over.
    #[must_use]
    pub fn comes_to_rest(mut self) -> Self {
        self.calms_down();
        self.payments_in_are_claimed();
        self.payments_out_end();
        self.all_is_forgotten();
        self
    }

    fn calms_down(&mut self) {
        {
            let mut model = self.model();
            (model.store_works, model.is_mute, model.fuse, model.is_fenced) = (true, false, None, false);
            model.hidden.clear();
            model.refused.clear();
            model.truth.is_resting = true;
        }
        self.waits(Duration::from_secs(8));
        for lsp in lsps() {
            self.proceeds(lsp);
        }
        self.model().node.parts_time_out();
        self.settles();
    }

    /// Runs the host and saves the node three times, as a save causes further events.
    fn settles(&mut self) {
        for _ in 0..3 {
            self.waits(Duration::from_secs(4));
            self.model().node.save();
            self.run();
            self.check();
        }
    }

    /// Mines the blocks that the wallet waits for, and checks that every payment as promised is claimed.
    fn payments_in_are_claimed(&mut self) {
        self.model().chain.fundings.values_mut().for_each(|it| it.is_published |= !it.is_spent_twice);
        for _ in 0..6 {
            self.blocks(1);
            self.settles();
        }
        let app = self.model().claimable_by_app();
        for hash in app {
            self.model().truth.app_may_claim.remove(&hash);
            self.model().claims_told(hash);
        }
        self.settles();
        let purchases = self.process.wallet().expect("it runs").purchases();
        let model = self.model();
        // A payment cannot be claimed from the peer once one of its channels is closed.
        let is_open = |part: Htlc| model.node.now.channels.contains_key(&part.channel);
        let all_open = |hash| model.node.held(hash).into_iter().all(is_open);
        let held = model.node.now.htlcs.iter().filter(|htlc| htlc.stage == HtlcStage::Held && all_open(htlc.hash));
        let mine = held.filter(|htlc| model.sold(htlc.hash).is_none_or(|sold| !sold.is_hold));
        let mine: Vec<_> = mine.collect();
        assert!(mine.is_empty(), "payments wait though nothing is missing: {mine:?}, of {purchases:?}");
    }

    fn payments_out_end(&mut self) {
        for round in 0..6 {
            let (out, awaiting) = {
                let model = self.model();
                (model.sent_payments(|stage| matches!(stage, Paying::Out | Paying::Stopped)), model.awaiting())
            };
            for id in out {
                // LSPs hold payments until they claim or fail them.
                let end = if round % 2 == 0 { PaymentEnd::Returned } else { PaymentEnd::Paid };
                self.model().node.ends(id, end);
            }
            for _ in awaiting {
                self.model().offer_times_out(0);
            }
            for lsp in lsps() {
                self.proceeds(lsp);
            }
            self.settles();
            self.waits(Duration::from_secs(61));
            self.settles();
        }
        let orders = self.model().truth.orders.len();
        for of in 0..orders {
            if self.model().truth.orders[of].told.channel.is_none() {
                self.model().tell(of, Lie::Refunded);
            }
        }
        for lsp in lsps() {
            self.proceeds_without_truth(lsp);
        }
        self.settles();
    }

    /// Has an LSP connect and answer all requests, without a change of the reported orders.
    fn proceeds_without_truth(&mut self, lsp: lsps_types::PeerId) {
        self.process.ports.connects(lsp);
        self.run();
        for _ in 0..40 {
            if !self.answers(lsp, super::How::Honest) {
                return;
            }
        }
    }

    /// Lets half a year pass, and checks that neither records nor reserved coins are left.
    fn all_is_forgotten(&mut self) {
        for day in 0..120u32 {
            self.waits(Duration::from_secs(86_400 * 3 / 2));
            if day.is_multiple_of(4) {
                self.blocks(40);
                let (out, awaiting) = {
                    let model = self.model();
                    (model.sent_payments(|stage| matches!(stage, Paying::Out | Paying::Stopped)), model.awaiting())
                };
                out.into_iter().for_each(|id| self.model().node.ends(id, PaymentEnd::Returned));
                awaiting.into_iter().for_each(|_| self.model().offer_times_out(0));
                for lsp in lsps() {
                    self.proceeds_without_truth(lsp);
                }
                self.settles();
            }
        }
        let wallet = self.process.wallet().expect("it runs");
        let (purchases, orders) = (wallet.purchases(), wallet.orders());
        assert!(purchases.is_empty(), "purchases that do not end: {purchases:?}");
        assert!(orders.is_empty(), "orders that do not end: {orders:?}");
        let model = self.model();
        assert!(model.store.is_empty(), "records that stay: {:?}", model.store.keys().collect::<Vec<_>>());
        assert_eq!(model.chain.locked(), 0, "coins stay reserved");
        let (requests, payments) = (&model.node.now.requests, model.awaiting());
        assert!(requests.is_empty() && payments.is_empty(), "the node waits: {requests:?} {payments:?}");
    }
}

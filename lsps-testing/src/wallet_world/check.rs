//! Invariants that are checked after every step, and the application's reactions to events.

use std::collections::BTreeSet;

use lsps_client::jit_receive::Handled;
use lsps_client::order::End;
use lsps_host::ports::{WalletNodeEvent, from_lsps_outpoint};
use lsps_host::wallet::WalletEvent;
use lsps_types::PaymentHash;

use super::model::Model;
use super::node::{BUFFER, funding_number};
use super::{LSPS, ORDERS, PURCHASES, WalletWorld};

impl Model {
    /// Records that the wallet handled a node event or left it to the application, which then reacts.
    pub fn event_heard(&mut self, event: WalletNodeEvent, handled: Handled) {
        self.acts += 1;
        self.node.now.events.pop_front();
        if let (WalletNodeEvent::PaymentHeld(payment), Handled::NotMine) = (&event, handled) {
            if payment.preimage.is_some() {
                self.claims_told(payment.payment_hash);
            } else {
                self.app_hears_of(payment.payment_hash);
            }
        }
        if let (WalletNodeEvent::ChannelRequested(request), Handled::NotMine) = (&event, handled) {
            self.node.now.requests.retain(|other| other.id != request.id);
        }
        self.told_last = Some(event);
    }

    /// The application claims a payment that was reported to it, or fails it if one of its channels is closed.
    pub fn claims_told(&mut self, hash: PaymentHash) {
        let parts = self.node.held(hash);
        let is_whole = parts.iter().all(|part| self.node.now.channels.contains_key(&part.channel));
        if is_whole {
            self.claims(hash);
        } else {
            self.node.fails(hash);
        }
    }

    /// Notes an event of the wallet for the application.
    pub fn wallet_told(&mut self, event: WalletEvent) {
        match event {
            WalletEvent::Claimable { payment_hash, claim_before, .. } => {
                self.truth.app_may_claim.insert(payment_hash, claim_before.0);
            }
            WalletEvent::GaveUp { payment_hash } | WalletEvent::Refused { payment_hash, .. } => {
                self.truth.app_may_claim.remove(&payment_hash);
            }
            _ => {}
        }
    }

    /// The application hears the node's event of a payment to its own hash. The event says before which height the payment
    /// has to be claimed (LDK: `claim_deadline` of `PaymentClaimable`), and that height has passed, or the payment was
    /// failed, if the node has reported another payment of this hash since: a node accepts none beside one that it holds.
    fn app_hears_of(&mut self, hash: PaymentHash) {
        let is_it =
            |told: &WalletNodeEvent| matches!(told, WalletNodeEvent::PaymentHeld(it) if it.payment_hash == hash);
        let is_outdated = self.node.now.events.iter().any(is_it);
        let expiry = self.node.held(hash).iter().map(|part| part.expiry).min();
        if let Some(expiry) = expiry.filter(|_| !is_outdated) {
            self.truth.app_may_claim.insert(hash, expiry - BUFFER);
        }
    }

    /// Payments that the application may claim now.
    pub fn claimable_by_app(&mut self) -> Vec<PaymentHash> {
        let height = self.chain.height;
        self.truth.app_may_claim.retain(|_, claim_before| height < *claim_before);
        self.truth.app_may_claim.keys().copied().collect()
    }
}

impl WalletWorld {
    /// Checks the invariants that hold after every step.
    pub(super) fn check(&mut self) {
        let Some(wallet) = self.process.wallet() else { return };
        let (purchases, orders) = (wallet.purchases().len(), wallet.orders());
        // Records that the store did not give back at a start are added to those that were made meanwhile.
        let hidden = |kind| self.model().was_hidden.iter().filter(|name| name.starts_with(kind)).count();
        assert!(purchases <= PURCHASES + hidden("purchase-"), "{purchases} purchases on record");
        assert!(orders.len() <= ORDERS + hidden("order-"), "{} orders on record", orders.len());
        let calls = wallet.session().with(|client, _| client.pending_calls());
        assert!(calls <= 32 * usize::from(LSPS), "{calls} calls wait");
        let model = self.model();
        let mut done = BTreeSet::new();
        for order in &orders {
            let Some(End::Done { lease, .. }) = order.end() else { continue };
            let number = funding_number(&from_lsps_outpoint(&lease.funding).txid);
            let is_known = model.truth.funded.get(&order.lsp()).is_some_and(|all| all.contains(&number));
            assert!(is_known, "an order is done by a channel that was never there");
            assert!(done.insert(number), "two orders are done by one channel");
        }
        for of in 0..model.truth.orders.len() {
            assert!(model.out(of) <= 1, "an order is paid twice: {:?}", model.truth.orders[of].made.order_id);
        }
    }
}

//! Incoming payments. A payment as promised is claimed, after a wait if its channels need confirmations; any other is
//! failed.

use lsps_client::jit_receive::{Arrival, Handled, Purchase, Received, State, Via};
use lsps_types::{BlockHeight, Msat, PaymentHash, Preimage};

use lsps_client::{ChannelKey, Client};
use lsps_service::ChannelId;

use super::events::WalletEvent;
use super::pump::Pump;
use super::report;
use crate::ports::{HeldPayment, IncomingState, WalletChannel};

/// A held payment that is claimed once its channels are confirmed.
pub(super) struct Claim {
    /// Preimage; `None` if the application has it.
    preimage: Option<Preimage>,
    confirmations: u16,
    /// Whether [`WalletEvent::Claimable`] was sent to the application.
    is_told: bool,
    /// Channels over which the payment arrived. A later HTLC over one of them does not replace one over another.
    over: Vec<ChannelId>,
}

/// The node's present state of a held payment.
struct Waiting {
    /// Fewest confirmations among its channels that a peer funded.
    confirmations: u32,
    /// Whether the funding of each of its channels was published; unknown ones count as published.
    is_seen: bool,
    /// Number of blocks until the first of its HTLCs expires.
    blocks_left: u32,
    /// Sum of its HTLCs, in millisatoshis.
    received: Msat,
    /// Channels over which its HTLCs arrived.
    over: Vec<ChannelId>,
    /// Whether the node is claiming it.
    is_claimed: bool,
}

/// State of a payment without HTLCs.
impl Default for Waiting {
    fn default() -> Self {
        let (confirmations, blocks_left, received) = (u32::MAX, u32::MAX, Msat::ZERO);
        Self { confirmations, is_seen: true, blocks_left, received, over: vec![], is_claimed: false }
    }
}

impl Pump {
    /// Claims a payment that is as promised, fails one that is not, and leaves one without a purchase to the
    /// application.
    pub(super) fn payment_held(&mut self, payment: HeldPayment) -> Handled {
        let HeldPayment { payment_hash, received, kept, preimage, over } = payment;
        let totals = Received::Totals { received, skimmed: kept };
        let (vias, wait) = (self.vias(&over), self.wait);
        let (arrival, confirmations) = self.session.with(|client, _| {
            let purchase = client.purchase(payment_hash);
            let confirmations = purchase.map(|purchase| purchase.terms().confirmations_to_wait);
            (client.arrived(payment_hash, &totals, &vias, wait), confirmations)
        });
        report::arrived(payment_hash, (received, kept), arrival);
        let is_for_application = preimage.is_none() || kept == Msat::ZERO;
        if arrival == Arrival::Claim && is_for_application && self.is_replaced(payment_hash, received) {
            return Handled::Taken;
        }
        if let (Arrival::Claim | Arrival::Hold, Some(_)) = (arrival, confirmations) {
            self.tell(WalletEvent::PaymentArriving { payment_hash, received, kept });
        }
        if matches!(arrival, Arrival::Claim | Arrival::Hold) {
            self.forget_earlier(payment_hash, (received, kept));
        }
        match (arrival, confirmations, preimage) {
            (Arrival::Claim, Some(_), Some(preimage)) => {
                // The record precedes the claim. Nodes claim by hash and may report an event again, and by then they
                // may hold another payment of this hash, from which a fee was skimmed as well.
                let keys: Vec<_> = vias.iter().map(|via| via.key).collect();
                let held =
                    |client: &mut Client, now| client.held(payment_hash, (received, kept), Some(preimage), &keys, now);
                if self.session.with(held) != Handled::Taken && self.is_here(payment_hash, received) {
                    self.node.claim_payment(preimage); // paid once more, and nothing was kept
                }
                Handled::Taken
            }
            // The application has the preimage. Until it claims, the record assigns the channel to this payment, so
            // that no other payment is accepted with a fee for the same channel.
            (Arrival::Claim, Some(_), None) if kept > Msat::ZERO => {
                let keys: Vec<_> = vias.iter().map(|via| via.key).collect();
                let held = |client: &mut Client, now| client.held(payment_hash, (received, kept), None, &keys, now);
                if self.session.with(held) == Handled::Taken {
                    self.told.insert(payment_hash);
                }
                Handled::NotMine
            }
            // The payment has no purchase, or no fee was skimmed from it.
            (Arrival::Claim, _, _) => Handled::NotMine,
            (Arrival::Hold, confirmations, preimage) => {
                let confirmations = confirmations.unwrap_or(wait);
                self.tell(WalletEvent::Holding { payment_hash, confirmations });
                let keys: Vec<_> = vias.iter().map(|via| via.key).collect();
                self.session.with(|client, now| client.held(payment_hash, (received, kept), preimage, &keys, now))
            }
            (Arrival::Reject(why), _, _) => {
                self.node.fail_payment(payment_hash);
                self.tell(WalletEvent::Refused { payment_hash, why });
                Handled::Taken
            }
            // Nodes report complete payments only, so no further part will arrive.
            (Arrival::WaitForMore, _, _) => {
                self.node.fail_payment(payment_hash);
                Handled::Taken
            }
        }
    }

    /// Removes a held payment from its record if the node has failed it and holds another payment of this hash.
    fn forget_earlier(&mut self, hash: PaymentHash, amounts: (Msat, Msat)) {
        let state = self.session.with(|client, _| client.purchase(hash).map(Purchase::state).cloned());
        let Some(State::Holding(earlier)) = state else { return };
        if (earlier.received, earlier.skimmed) != amounts && self.is_here(hash, amounts.0) {
            self.held.remove(&hash);
            let _ = self.session.with(|client, now| client.gave_up(hash, now));
        }
    }

    /// Whether the node holds a payment of exactly this amount that it is not claiming.
    fn is_here(&self, hash: PaymentHash, received: Msat) -> bool {
        self.waiting(hash).is_some_and(|waiting| waiting.received == received && !waiting.is_claimed)
    }

    /// Whether the node has failed a payment that it reported late, and holds another one with its hash. The application
    /// claims by hash, and would claim that one unjudged; its own report follows.
    fn is_replaced(&self, hash: PaymentHash, received: Msat) -> bool {
        self.waiting(hash).is_some_and(|waiting| waiting.received != received && !waiting.is_claimed)
    }

    /// Executes the effect that claims a payment once its channels are confirmed, which may be in this turn.
    pub(super) fn claims_after(&mut self, purchase: PaymentHash, preimage: Option<Preimage>, confirmations: u16) {
        let over = self.waiting(purchase).map(|waiting| waiting.over).unwrap_or_default();
        let is_told = self.told.remove(&purchase);
        self.held.insert(purchase, Claim { preimage, confirmations, is_told, over });
        self.has_new_claims = true;
    }

    /// Claims held payments whose channels are confirmed, or reports them to the application if it has the preimage.
    /// Fails payments whose HTLCs are about to expire or that have a closed channel: a node would claim such a payment
    /// without the parts of the closed channel, and give its peer the preimage.
    ///
    /// After a start nothing is claimed before the node has reported its pending events. They may include an earlier
    /// claim of the same hash, and the payment that the node holds now would be another one.
    pub(super) fn look_at_held(&mut self) {
        if !self.is_caught_up() {
            return;
        }
        for (hash, mut claim) in std::mem::take(&mut self.held) {
            match self.look_at_claim(hash, &mut claim) {
                Fate::Waits => drop(self.held.insert(hash, claim)),
                Fate::Over => {}
                Fate::GoesBack => {
                    self.node.fail_payment(hash);
                    // If its channel ended, the client has no record of the payment any more.
                    if self.session.with(|client, now| client.gave_up(hash, now)) != Handled::Taken {
                        self.tell(WalletEvent::GaveUp { payment_hash: hash });
                    }
                }
            }
        }
    }

    fn look_at_claim(&self, hash: PaymentHash, claim: &mut Claim) -> Fate {
        let state = self.session.with(|client, _| client.purchase(hash).map(Purchase::state).cloned());
        let holding = match state {
            Some(State::Holding(holding)) => Some(holding),
            Some(State::Paid { .. }) | None => return Fate::Over,
            // The purchase has ended, so the payment that is held for it is failed.
            Some(_) => None,
        };
        let waiting = self.waiting(hash).unwrap_or_default();
        let is_whole = holding.is_some_and(|holding| waiting.received >= holding.received)
            && claim.over.iter().all(|channel| waiting.over.contains(channel));
        // A larger amount may include another payment of this hash.
        let is_it = holding.is_some_and(|holding| waiting.received == holding.received);
        let is_good = is_it && waiting.confirmations >= u32::from(claim.confirmations) && waiting.is_seen;
        let safety = u32::from(self.node.min_final_cltv_expiry_delta());
        let is_in_time = waiting.blocks_left > safety;
        match (claim.preimage, holding) {
            _ if waiting.is_claimed => Fate::Waits, // the node will say so
            (Some(preimage), _) if is_whole && is_good => {
                self.node.claim_payment(preimage);
                Fate::Over
            }
            // The application claims or fails the payment, or the node fails it before it expires.
            _ if is_whole && claim.is_told => Fate::Waits,
            (None, Some(holding)) if is_whole && is_good && is_in_time => {
                claim.is_told = true;
                let (received, kept) = (holding.received, holding.skimmed);
                let BlockHeight(height) = self.node.height();
                let claim_before = BlockHeight(height.saturating_add(waiting.blocks_left - safety));
                self.tell(WalletEvent::Claimable { payment_hash: hash, received, kept, claim_before });
                Fate::Waits
            }
            _ if is_whole && is_in_time => Fate::Waits,
            _ => Fate::GoesBack,
        }
    }

    /// Facts about the channels of a payment that decide whether the wallet claims it.
    fn vias(&self, over: &[(ChannelId, Option<ChannelKey>)]) -> Vec<Via> {
        let channels = self.node.channels();
        let via = |(id, key): &(ChannelId, Option<ChannelKey>)| {
            let channel = channels.iter().find(|channel| channel.id == *id);
            Via {
                peer: channel.map(|channel| channel.peer),
                key: channel.map(|channel| channel.key).or(*key).unwrap_or(ChannelKey(0)),
                confirmations: channel.map_or(0, |channel| channel.confirmations),
                is_ours: channel.is_some_and(|channel| channel.is_ours),
                is_seen: channel.and_then(|channel| self.is_seen(channel)),
            }
        };
        over.iter().map(via).collect()
    }

    /// The node's present state of a payment. HTLCs of closed channels do not count, although a node would claim the
    /// payment with them.
    fn waiting(&self, hash: PaymentHash) -> Option<Waiting> {
        let (htlcs, channels) = (self.node.incoming(hash), self.node.channels());
        let BlockHeight(height) = self.node.height();
        let mut waiting: Option<Waiting> = None;
        for htlc in htlcs {
            let Some(channel) = channels.iter().find(|channel| channel.id == htlc.over) else { continue };
            if htlc.state == IncomingState::Arriving {
                continue; // it is not part of what the node reported
            }
            let waiting = waiting.get_or_insert_default();
            if !waiting.over.contains(&channel.id) {
                waiting.over.push(channel.id);
            }
            waiting.received = Msat(waiting.received.0.saturating_add(htlc.amount.0));
            waiting.is_claimed |= htlc.state == IncomingState::Claiming;
            waiting.blocks_left = waiting.blocks_left.min(htlc.cltv_expiry.0.saturating_sub(height));
            if !channel.is_ours {
                waiting.confirmations = waiting.confirmations.min(channel.confirmations);
                waiting.is_seen &= channel.confirmations > 0 || self.is_seen(channel) != Some(false);
            }
        }
        waiting
    }

    fn is_seen(&self, channel: &WalletChannel) -> Option<bool> {
        let (mempool, funding) = (self.outside.mempool.as_ref()?, channel.funding?);
        Some(mempool.has_seen(&funding.txid))
    }
}

enum Fate {
    Waits,
    /// The payment was claimed, or its purchase is already paid or gone.
    Over,
    GoesBack,
}

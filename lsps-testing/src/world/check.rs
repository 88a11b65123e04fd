//! Invariants: balances, and the party that bears each risk.

use std::collections::BTreeMap;

use lsps_service::{FlowId, Trust};
use lsps_types::lsps2::fee::opening_fee;
use lsps_types::{Msat, PaymentHash, PeerId, Scid};

use super::CLIENTS;
use crate::model::node::{Incoming, Place, Upstream};
use crate::model::{JIT_CHANNELS, Model};
use crate::setup::peer;

impl Model {
    /// Checks the invariants that hold after every step.
    pub(crate) fn check_sales(&self) {
        for (number, incoming) in self.node.incoming.iter().enumerate() {
            let claimed = self.said.get(&number) == Some(&true);
            if let Some(outcome) = incoming.outcome {
                assert_eq!(outcome == Upstream::Fulfilled, claimed, "payer and client agree about part {number}");
            }
        }
        self.ledger();
        let parts = self.node.incoming.len();
        for (name, bytes) in self.records().filter(|(name, _)| name.starts_with(JIT_CHANNELS)) {
            assert!(bytes.len() <= 500 + 160 * parts, "{name} has {} bytes", bytes.len());
        }
        if self.store_works && !self.is_mute && self.hidden.is_empty() {
            let guard = self.setup.config.htlc_safety_blocks.0;
            for number in self.node.numbers(|place| *place == Place::Held) {
                let expiry = self.node.incoming[number].htlc.cltv_expiry;
                assert!(expiry.is_none_or(|at| at.0 > self.chain.height + guard), "part {number} is held too long");
            }
        }
    }

    /// Checks all balances, by the knowledge of the node and the payers.
    fn ledger(&self) {
        for number in self.claimed() {
            let Incoming { htlc, given, .. } = self.node.incoming[number];
            let (_, amount) = given.expect("what was claimed was given");
            assert!(amount <= htlc.amount_in, "the LSP gave {amount} for {} in part {number}", htlc.amount_in);
        }
        // The LSP cannot tell which of two similar offers a claim pays: their client pays both once.
        for client in (1..=CLIENTS).map(peer) {
            let sold = self.sold.iter().filter(|(_, to, _)| *to == client);
            let (kept, promised) = sold.fold((0, 0), |sum, (scid, _, size)| {
                let (kept, promised) = self.fee_of(*scid, *size);
                (sum.0 + kept.0, sum.1 + promised.0)
            });
            assert!(kept <= promised, "{kept} msat kept of {client}, {promised} promised");
        }
    }

    /// Whether an HTLC has the onion of an earlier one, and another amount to forward.
    fn is_forged(&self, number: usize) -> bool {
        let htlc = self.node.incoming[number].htlc;
        let first = self.node.incoming.iter().find(|incoming| incoming.htlc.part == htlc.part);
        first.is_some_and(|first| first.htlc.onion_amount != htlc.onion_amount)
    }

    /// Fee that was kept of an offer, and the largest that may be kept.
    fn fee_of(&self, scid: Scid, size: Option<Msat>) -> (Msat, Msat) {
        // A sender that repeats an onion with other amounts loses them.
        let claimed = self.claimed().filter(|number| !self.is_forged(*number));
        let claimed = claimed.map(|number| &self.node.incoming[number]);
        let claimed = claimed.filter(|incoming| incoming.is_of(scid));
        let kept = Msat::checked_sum(claimed.clone().map(Incoming::skim)).expect("small amounts");
        let largest = claimed.map(|incoming| incoming.htlc.onion_amount).max();
        let terms = &self.setup.terms;
        let fee = |base: Msat| opening_fee(base, terms.min_fee, terms.proportional).expect("small amounts");
        (kept, size.or(largest).map_or(Msat::ZERO, fee))
    }

    /// Money that was kept of all claimed HTLCs of an offer, also of those whose sender repeated an onion with other amounts.
    fn kept_of(&self, scid: Scid) -> Msat {
        let claimed = self.claimed().map(|number| &self.node.incoming[number]).filter(|incoming| incoming.is_of(scid));
        Msat::checked_sum(claimed.map(Incoming::skim)).expect("small amounts")
    }

    /// Checks that every published channel of a client that trusts the LSP was paid for, with the share of the fee that
    /// corresponds to the claimed share of the payment.
    pub(super) fn channels_are_paid_for(&self) {
        let mut for_nothing: BTreeMap<PeerId, usize> = BTreeMap::new();
        for key in self.broadcast.iter().filter(|_| self.setup.trust == Trust::ClientTrustsLsp) {
            let FlowId::JitChannel(scid) = key.flow else { continue };
            let (_, client, size) = self.sold.iter().copied().find(|(sold, ..)| *sold == scid).expect("it was sold");
            let (kept, (_, promised)) = (self.kept_of(scid), self.fee_of(scid, size));
            let of_it = |(number, incoming): &(usize, &Incoming)| incoming.is_of(scid) && !self.is_forged(*number);
            let mut payments: BTreeMap<PaymentHash, (u64, u64, u64)> = BTreeMap::new();
            for (number, incoming) in self.node.incoming.iter().enumerate().filter(of_it) {
                let (sent, claimed, parts) = payments.entry(incoming.htlc.payment_hash).or_default();
                let amount = incoming.given.map_or(0, |_| incoming.htlc.onion_amount.0);
                // The fee is split over all parts of a set, whatever their outcomes; payers may overpay.
                *sent += incoming.htlc.onion_amount.0;
                *claimed += if self.said.get(&number) == Some(&true) { amount } else { 0 };
                *parts += 1;
            }
            let share = |(sent, claimed, parts): &(u64, u64, u64)| {
                let whole = u128::from(size.map_or(*sent, |size| size.0.max((*sent).min(2 * size.0))).max(1));
                let share = u128::from(promised.0) * u128::from(*claimed) / whole;
                // What several tries of a payer brought may be more than payers may overpay; the fee is the same.
                let share = u64::try_from(share.min(promised.0.into())).expect("no more than the fee");
                // Shares are whole millisatoshis. Equal parts differ by whole satoshis, one for each other part at the most: LDK
                // knows a claim on the chain by the value of an output (`htlc_value_satoshis`).
                share.saturating_sub(*parts * 1_001)
            };
            let owed = payments.values().map(share).max().unwrap_or_default();
            let others = |number: usize| self.node.incoming[number].given.is_some_and(|(over, _)| over == *key);
            let was_used =
                self.claimed().any(|number| others(number) && self.node.incoming[number].skim() > Msat::ZERO);
            // The fee of an equal part of another offer may have been taken for that of this one.
            let taken_for_it =
                |number: &usize| !self.node.incoming[*number].is_of(scid) && self.is_like_a_part_of(*number, scid);
            let taken = self.claimed().filter(taken_for_it).map(|number| self.node.incoming[number].skim().0);
            let kept_of_it = kept.0.saturating_add(taken.max().unwrap_or_default());
            assert!(kept_of_it >= owed, "{kept} kept of {scid}, where {owed} msat are due: {payments:?}");
            if kept == Msat::ZERO && !was_used {
                *for_nothing.entry(client).or_default() += 1;
            }
        }
        // Nodes forward over any channel of the client, so an HTLC that is sent over a paid channel can cause another
        // to be published.
        let most = self.setup.config.limits.opens_per_client;
        assert!(for_nothing.values().all(|count| *count <= most), "channels for nothing: {for_nothing:?}");
    }
}

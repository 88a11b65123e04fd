//! Invariants: balances, and the party that bears each risk.

use std::collections::BTreeMap;

use lsps_service::{FlowId, Input, PartId, Trust, Turn};
use lsps_types::lsps2::fee::opening_fee;
use lsps_types::{Msat, PaymentHash, PeerId, Scid};

use super::{CLIENTS, World};
use crate::Seen;
use crate::model::Model;
use crate::model::node::{Incoming, Place, Upstream};
use crate::setup::peer;

impl Model {
    /// Checks the invariants that hold after every step.
    pub(super) fn check_sales(&self) {
        for (number, incoming) in self.node.incoming.iter().enumerate() {
            let claimed = self.said.get(&number) == Some(&true);
            if let Some(outcome) = incoming.outcome {
                assert_eq!(outcome == Upstream::Fulfilled, claimed, "payer and client agree about part {number}");
            }
        }
        self.ledger();
        let parts = self.node.incoming.len();
        for (name, bytes) in self.records().filter(|(name, _)| name.starts_with("jit-")) {
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

    /// Checks that every published channel of a client that trusts the LSP was paid for, with the share of the fee that
    /// corresponds to the claimed share of the payment.
    pub(super) fn channels_are_paid_for(&self) {
        let mut for_nothing: BTreeMap<PeerId, usize> = BTreeMap::new();
        for key in self.broadcast.iter().filter(|_| self.setup.trust == Trust::ClientTrustsLsp) {
            let scid = scid_of(key.flow);
            let (_, client, size) = self.sold.iter().copied().find(|(sold, ..)| *sold == scid).expect("it was sold");
            let (kept, promised) = self.fee_of(scid, size);
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
                u64::try_from(share.min(promised.0.into())).expect("no more than the fee").saturating_sub(*parts)
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

    fn concerns_offer(&self, input: &Input) -> Option<Scid> {
        let of_part = |part: &PartId| {
            let mut incoming = self.node.incoming.iter();
            incoming.find(|incoming| incoming.htlc.part == *part).map(|incoming| incoming.htlc.scid)
        };
        match input {
            Input::HtlcHeld(htlc) => Some(htlc.scid),
            Input::PartGone { part }
            | Input::PartStillHeld { part, .. }
            | Input::PartAtClient { part, .. }
            | Input::ForwardRefused { part }
            | Input::PartFailed { part }
            | Input::PartPresumedFailed { part } => of_part(part),
            Input::ChannelAsked { key }
            | Input::ChannelNegotiated { key, .. }
            | Input::FundingBuilt { key, .. }
            | Input::ChannelPending { key }
            | Input::ChannelReady { key, .. }
            | Input::ChannelEnded { key, .. }
            | Input::ChannelAbandoned { key }
            | Input::ChannelCarries { key }
            | Input::FundingConfirmed { key } => Some(scid_of(key.flow)),
            Input::Booked { key } => Some(scid_of(key.flow)),
            Input::PartForwarded { over, .. } => over.map(|key| scid_of(key.flow)),
            Input::OrderPrepared { .. }
            | Input::PaymentHeld(_)
            | Input::PaymentClaimed { .. }
            | Input::PaymentGone { .. }
            | Input::Deposit(_)
            | Input::DepositGone { .. }
            | Input::DepositKept { .. }
            | Input::RefundBuilt { .. }
            | Input::RefundImpossible { .. }
            | Input::RefundConfirmed { .. }
            | Input::CancelOrder { .. }
            | Input::RetryOrder { .. } => unreachable!("nothing is ordered in this world"),
            Input::PeerConnected { .. }
            | Input::PeerDisconnected { .. }
            | Input::ChannelsUsable { .. }
            | Input::Message { .. }
            | Input::Decided { .. }
            | Input::NodeFacts(_)
            | Input::Tick
            | Input::NodeCaughtUp
            | Input::ClockSet { .. }
            | Input::ChannelsWith { .. }
            | Input::WakeUp { .. }
            | Input::WebhookDelivered { .. }
            | Input::WebhookFailed { .. }
            | Input::WebhookUnreached { .. } => None,
        }
    }
}

impl World {
    /// Replays a tape, and counts the inputs by the states that they met.
    pub(super) fn count(&self, tape: &[Turn], seen: &mut Seen) {
        let drawn: Vec<Scid> =
            tape.iter().filter_map(|turn| if let Turn::Drew(scid) = turn { Some(*scid) } else { None }).collect();
        let mut drawn = drawn.into_iter();
        let mut service = self.service_like(move || drawn.next().unwrap_or(Scid(0)));
        for turn in tape {
            match turn {
                Turn::Loaded(record) => service.load(record).expect("we wrote it"),
                Turn::Input(now, input) => {
                    let about = self.model().concerns_offer(input);
                    for (scid, channel, fee) in service.states() {
                        if about.is_none_or(|about| about == scid) {
                            *seen.entry((channel, fee, kind(input))).or_default() += 1;
                        }
                    }
                    let _ = service.handle(input.clone(), *now);
                }
                Turn::Gave { .. } => drop(service.drain()),
                Turn::Drew(_) => {}
            }
        }
    }
}

fn scid_of(flow: FlowId) -> Scid {
    match flow {
        FlowId::JitChannel(scid) => scid,
        FlowId::Order(order) => unreachable!("nothing is ordered in this world: {order}"),
        FlowId::Webhooks(client) => unreachable!("webhooks have no channels and no book: {client}"),
    }
}

/// Name of an input.
pub fn kind(input: &Input) -> &'static str {
    match input {
        Input::PeerConnected { .. } => "PeerConnected",
        Input::PeerDisconnected { .. } => "PeerDisconnected",
        Input::ChannelsUsable { .. } => "ChannelsUsable",
        Input::Message { .. } => "Message",
        Input::HtlcHeld(_) => "HtlcHeld",
        Input::PartGone { .. } => "PartGone",
        Input::PartStillHeld { .. } => "PartStillHeld",
        Input::PartAtClient { .. } => "PartAtClient",
        Input::ForwardRefused { .. } => "ForwardRefused",
        Input::PartForwarded { .. } => "PartForwarded",
        Input::PartFailed { .. } => "PartFailed",
        Input::PartPresumedFailed { .. } => "PartPresumedFailed",
        Input::NodeCaughtUp => "NodeCaughtUp",
        Input::ChannelAsked { .. } => "ChannelAsked",
        Input::ClockSet { .. } => "ClockSet",
        Input::ChannelNegotiated { .. } => "ChannelNegotiated",
        Input::FundingBuilt { .. } => "FundingBuilt",
        Input::ChannelPending { .. } => "ChannelPending",
        Input::ChannelReady { .. } => "ChannelReady",
        Input::ChannelEnded { .. } => "ChannelEnded",
        Input::ChannelAbandoned { .. } => "ChannelAbandoned",
        Input::ChannelCarries { .. } => "ChannelCarries",
        Input::FundingConfirmed { .. } => "FundingConfirmed",
        Input::Booked { .. } => "Booked",
        Input::Decided { .. } => "Decided",
        Input::NodeFacts(_) => "NodeFacts",
        Input::Tick => "Tick",
        Input::ChannelsWith { .. } => "ChannelsWith",
        Input::WakeUp { .. } => "WakeUp",
        Input::WebhookDelivered { .. } => "WebhookDelivered",
        Input::WebhookFailed { .. } => "WebhookFailed",
        Input::WebhookUnreached { .. } => "WebhookUnreached",
        Input::OrderPrepared { .. } => "OrderPrepared",
        Input::PaymentHeld(_) => "PaymentHeld",
        Input::PaymentClaimed { .. } => "PaymentClaimed",
        Input::PaymentGone { .. } => "PaymentGone",
        Input::Deposit(_) => "Deposit",
        Input::DepositGone { .. } => "DepositGone",
        Input::DepositKept { .. } => "DepositKept",
        Input::RefundBuilt { .. } => "RefundBuilt",
        Input::RefundImpossible { .. } => "RefundImpossible",
        Input::RefundConfirmed { .. } => "RefundConfirmed",
        Input::CancelOrder { .. } => "CancelOrder",
        Input::RetryOrder { .. } => "RetryOrder",
    }
}

/// Names of the inputs.
pub const INPUTS: [&str; 27] = [
    "PeerConnected",
    "PeerDisconnected",
    "ChannelsUsable",
    "Message",
    "HtlcHeld",
    "PartGone",
    "PartStillHeld",
    "PartAtClient",
    "ForwardRefused",
    "PartForwarded",
    "PartFailed",
    "ChannelNegotiated",
    "FundingBuilt",
    "ChannelPending",
    "ChannelReady",
    "ChannelEnded",
    "ChannelAbandoned",
    "FundingConfirmed",
    "Booked",
    "Decided",
    "NodeFacts",
    "Tick",
    "ChannelsWith",
    "WakeUp",
    "WebhookDelivered",
    "WebhookFailed",
    "WebhookUnreached",
];

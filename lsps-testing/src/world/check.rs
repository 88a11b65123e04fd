//! What must hold whatever happens: the money, and who bears which risk.

use std::collections::BTreeMap;

use lsps_service::{ChannelKey, FlowId, HeldHtlc, Input, PartId, Trust};
use lsps_types::lsps2::fee::opening_fee;
use lsps_types::{Msat, PaymentHash, Scid};

use super::node::{Incoming, Place, Upstream};
use super::{CLIENTS, World};
use crate::setup::peer;

impl World {
    /// After every step.
    pub(super) fn check(&self) {
        for (number, incoming) in self.lsp.node.incoming.iter().enumerate() {
            let claimed = self.said.get(&number) == Some(&true);
            if let Some(outcome) = incoming.outcome {
                assert_eq!(outcome == Upstream::Fulfilled, claimed, "payer and client agree about part {number}");
            }
        }
        self.ledger();
        let parts = self.lsp.node.incoming.len();
        for (name, bytes) in self.lsp.store.iter().filter(|(name, _)| name.starts_with("jit-")) {
            assert!(bytes.len() <= 500 + 160 * parts, "{name} has {} bytes", bytes.len());
        }
        if self.lsp.is_written() && !self.lsp.is_mute {
            let guard = self.lsp.setup.config.htlc_safety_blocks.0;
            for number in self.lsp.node.numbers(|place| *place == Place::Held) {
                let expiry = self.lsp.node.incoming[number].htlc.cltv_expiry;
                assert!(expiry.is_none_or(|at| at.0 > self.lsp.chain.height + guard), "part {number} is held too long");
            }
        }
    }

    /// Checks what everybody has by now, from what the node and the payers know.
    fn ledger(&self) {
        for number in self.claimed() {
            let Incoming { htlc, given, .. } = self.lsp.node.incoming[number];
            let (_, amount) = given.expect("what was claimed was given");
            assert!(amount <= htlc.amount_in, "the LSP gave {amount} for {} in part {number}", htlc.amount_in);
        }
        // Of two offers that are alike the LSP cannot tell which of them a claim pays: its client pays both once.
        for client in (1..=CLIENTS).map(peer) {
            let sold = self.sold.iter().filter(|(_, to, _)| *to == client);
            let (kept, promised) = sold.fold((0, 0), |sum, (scid, _, size)| {
                let (kept, promised) = self.fee_of(*scid, *size);
                (sum.0 + kept.0, sum.1 + promised.0)
            });
            assert!(kept <= promised, "{kept} msat kept of {client}, {promised} promised");
        }
    }

    /// The fee that was kept of an offer, and the most that may be.
    fn fee_of(&self, scid: Scid, size: Option<Msat>) -> (Msat, Msat) {
        let claimed = self.claimed().map(|number| &self.lsp.node.incoming[number]);
        let claimed = claimed.filter(|incoming| incoming.is_of(scid));
        let kept = Msat::checked_sum(claimed.clone().map(Incoming::skim)).expect("small amounts");
        let largest = claimed.map(|incoming| incoming.htlc.onion_amount).max();
        let terms = &self.lsp.setup.terms;
        let fee = |base: Msat| opening_fee(base, terms.min_fee, terms.proportional).expect("small amounts");
        (kept, size.or(largest).map_or(Msat::ZERO, fee))
    }

    /// Nobody has a channel for nothing: where the client trusts the LSP, each that is on the chain was paid for, by as much
    /// of the fee as was claimed of the payment.
    pub(super) fn channels_are_paid_for(&self) {
        for key in self.lsp.broadcast.iter().filter(|_| self.lsp.setup.trust == Trust::ClientTrustsLsp) {
            let scid = scid_of(key.flow);
            let (_, _, size) = self.sold.iter().find(|(sold, ..)| *sold == scid).expect("it was sold");
            let (kept, promised) = self.fee_of(scid, *size);
            let of_it = |incoming: &&Incoming| incoming.is_of(scid);
            let mut payments: BTreeMap<PaymentHash, (u64, u64, u64)> = BTreeMap::new();
            for (number, incoming) in self.lsp.node.incoming.iter().enumerate().filter(|(_, it)| of_it(it)) {
                let (sent, claimed, parts) = payments.entry(incoming.htlc.payment_hash).or_default();
                let amount = incoming.given.map_or(0, |_| incoming.htlc.onion_amount.0);
                *sent += amount;
                *claimed += if self.said.get(&number) == Some(&true) { amount } else { 0 };
                *parts += 1;
            }
            let share = |(sent, claimed, parts): &(u64, u64, u64)| {
                let whole = u128::from(size.map_or(*sent, |size| size.0.max(*sent)).max(1));
                let share = u128::from(promised.0) * u128::from(*claimed) / whole;
                u64::try_from(share).expect("less than the fee").saturating_sub(*parts)
            };
            let owed = payments.values().map(share).max().unwrap_or_default();
            let others = |number: usize| self.lsp.node.incoming[number].given.is_some_and(|(over, _)| over == *key);
            let was_used =
                self.claimed().any(|number| others(number) && self.lsp.node.incoming[number].skim() > Msat::ZERO);
            assert!(kept.0 >= owed, "{kept} kept of {scid}, where {owed} msat are due: {payments:?}");
            assert!(kept > Msat::ZERO || was_used, "{key:?} is on the chain and nobody paid a fee");
        }
    }

    pub(super) fn claimed(&self) -> impl Iterator<Item = usize> + Clone {
        self.said.iter().filter(|(_, claims)| **claims).map(|(number, _)| *number)
    }

    /// Before a part is forwarded that is still held; what was asked of it before was not done then.
    pub(super) fn forwards(&self, part: PartId, amount: Msat) {
        for number in self.lsp.node.numbers(|place| *place == Place::Held) {
            let htlc = self.lsp.node.incoming[number].htlc;
            if htlc.part == part {
                let bounds = Msat(1)..=htlc.amount_in.min(htlc.onion_amount);
                assert!(bounds.contains(&amount), "{amount} are forwarded for part {number}: {htlc:?}");
                self.is_not_alone(number);
            }
        }
    }

    /// Until something of an offer is claimed, no part goes on that is not of a whole payment: its payer would get an error
    /// that ends it. Of two offers to one client that are alike the LSP cannot tell which a claim pays.
    fn is_not_alone(&self, number: usize) {
        let HeldHtlc { scid, payment_hash, .. } = self.lsp.node.incoming[number].htlc;
        let is_of_it = |number: usize| self.lsp.node.incoming[number].is_of(scid);
        let Some((_, client, Some(size))) = self.sold.iter().copied().find(|(sold, ..)| *sold == scid) else { return };
        let theirs = self.sold.iter().filter(|(_, to, _)| *to == client);
        let is_theirs = |number: usize| theirs.clone().any(|(sold, ..)| self.lsp.node.incoming[number].is_of(*sold));
        if !self.lsp.node.is_hostile || self.claimed().any(is_theirs) {
            return;
        }
        let there =
            self.lsp.node.numbers(|place| matches!(place, Place::Held | Place::Queued { .. } | Place::AtClient { .. }));
        let there =
            there.into_iter().filter(|number| is_of_it(*number)).map(|number| self.lsp.node.incoming[number].htlc);
        let sum: u64 = there.filter(|htlc| htlc.payment_hash == payment_hash).map(|htlc| htlc.onion_amount.0).sum();
        assert!(sum >= size.0 || self.lsp.is_mute, "part {number} goes on alone: {sum} of {size}");
    }

    /// Before a funding is broadcast: the client claimed what was bought with it, or something else that came over it.
    pub(super) fn is_paid_for(&mut self, key: ChannelKey) {
        let scid = scid_of(key.flow);
        let of_it = |number: usize| {
            let incoming = &self.lsp.node.incoming[number];
            let is_over = incoming.given.is_some_and(|(over, _)| over == key);
            incoming.is_of(scid) || is_over
        };
        let claimed = self.claimed().any(of_it);
        assert!(self.lsp.setup.trust == Trust::LspTrustsClient || claimed, "{key:?} is broadcast before a claim");
        let another = self.lsp.broadcast.iter().any(|other| other.flow == key.flow && *other != key);
        assert!(!another, "{key:?} is the second channel of its offer");
        self.lsp.broadcast.insert(key);
    }

    pub(super) fn concerns(&self, input: &Input) -> Option<Scid> {
        let of_part = |part: &PartId| {
            let mut incoming = self.lsp.node.incoming.iter();
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
            | Input::Occasion { .. }
            | Input::WebhookDelivered { .. }
            | Input::WebhookFailed { .. }
            | Input::WebhookUnreached { .. } => None,
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

/// The name of an input.
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
        Input::FundingConfirmed { .. } => "FundingConfirmed",
        Input::Booked { .. } => "Booked",
        Input::Decided { .. } => "Decided",
        Input::NodeFacts(_) => "NodeFacts",
        Input::Tick => "Tick",
        Input::ChannelsWith { .. } => "ChannelsWith",
        Input::Occasion { .. } => "Occasion",
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

/// Their names.
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
    "Occasion",
    "WebhookDelivered",
    "WebhookFailed",
    "WebhookUnreached",
];

//! What must hold whatever happens: the money, and who bears which risk.

use lsps_service::{ChannelKey, FlowId, Input, PartId, Trust};
use lsps_types::lsps2::fee::opening_fee;
use lsps_types::{Msat, Scid};

use super::World;
use super::node::{Place, Upstream};

impl World {
    /// After every step.
    pub(super) fn check(&self) {
        for (number, incoming) in self.lsp.node.incoming.iter().enumerate() {
            let claimed = self.said.get(&number) == Some(&true);
            if let Some(outcome) = incoming.outcome {
                assert_eq!(outcome == Upstream::Fulfilled, claimed, "payer and client agree about part {number}");
            }
        }
        for (scid, _, size) in &self.sold {
            let claimed = self.claimed().filter(|number| self.lsp.node.incoming[*number].htlc.scid == *scid);
            let skims: Vec<Msat> = claimed.clone().filter_map(|number| self.skims.get(&number).copied()).collect();
            let kept = Msat::checked_sum(skims.iter().copied()).expect("small amounts");
            let largest = claimed.map(|number| self.lsp.node.incoming[number].htlc.onion_amount).max();
            let base = size.or(largest).unwrap_or(Msat::ZERO);
            let terms = &self.lsp.setup.terms;
            let promised = opening_fee(base, terms.min_fee, terms.proportional).expect("small amounts");
            assert!(kept <= promised, "{kept} kept of {scid}, {promised} promised");
        }
        let parts = self.lsp.node.incoming.len();
        for (name, bytes) in self.lsp.store.iter().filter(|(name, _)| name.starts_with("jit-")) {
            assert!(bytes.len() <= 500 + 160 * parts, "{name} has {} bytes", bytes.len());
        }
        if self.lsp.is_written() {
            let guard = self.lsp.setup.config.htlc_safety_blocks.0;
            for number in self.lsp.node.numbers(|place| *place == Place::Held) {
                let expiry = self.lsp.node.incoming[number].htlc.cltv_expiry;
                assert!(expiry.is_none_or(|at| at.0 > self.lsp.chain.height + guard), "part {number} is held too long");
            }
        }
    }

    pub(super) fn claimed(&self) -> impl Iterator<Item = usize> + Clone {
        self.said.iter().filter(|(_, claims)| **claims).map(|(number, _)| *number)
    }

    /// Before a part is forwarded that is still held; what was asked of it before was not done then.
    pub(super) fn forwards(&mut self, part: PartId, amount: Msat) {
        for number in self.lsp.node.numbers(|place| *place == Place::Held) {
            let htlc = self.lsp.node.incoming[number].htlc;
            if htlc.part == part {
                let skim = htlc.onion_amount.checked_sub(amount).expect("no more goes out than the onion says");
                self.skims.insert(number, skim);
                assert!(amount > Msat::ZERO && htlc.amount_in >= htlc.onion_amount, "part {number} is bad");
            }
        }
    }

    /// Before a funding is broadcast: the client claimed what was bought with it, or something else that came over it.
    pub(super) fn is_paid_for(&mut self, key: ChannelKey) {
        let scid = scid_of(key.flow);
        let of_it = |number: usize| {
            self.lsp.node.incoming[number].htlc.scid == scid || self.claimed_over.get(&number) == Some(&key)
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
            | Input::WebhookFailed { .. } => None,
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
pub const INPUTS: [&str; 26] = [
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
];

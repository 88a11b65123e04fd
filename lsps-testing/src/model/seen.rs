//! The inputs that met each state, counted from the tapes of an LSP's lives.

use lsps_service::{FlowId, Input, PartId, Service, Turn};
use lsps_types::{PaymentHash, Scid};

use super::Model;
use super::process::{Process, service_like};
use crate::Seen;

/// Flow, and the names of its two states.
pub type State = (FlowId, &'static str, &'static str);

impl Process {
    /// Replays the tapes, and counts the inputs by the states that they met.
    pub fn seen(&self, states: impl Fn(&Service) -> Vec<State>) -> Seen {
        let mut seen = Seen::new();
        for tape in self.tapes() {
            self.count(&tape, &states, &mut seen);
        }
        seen
    }

    fn count(&self, tape: &[Turn], states: impl Fn(&Service) -> Vec<State>, seen: &mut Seen) {
        let drawn: Vec<Scid> =
            tape.iter().filter_map(|turn| if let Turn::Drew(scid) = turn { Some(*scid) } else { None }).collect();
        let mut drawn = drawn.into_iter();
        let mut service = service_like(&self.model().setup, move || drawn.next().unwrap_or(Scid(0)));
        for turn in tape {
            match turn {
                Turn::Loaded(record) => service.load(record).expect("we wrote it"),
                Turn::Input(now, input) => {
                    let about = self.model().concerns(input);
                    for (flow, first, second) in states(&service) {
                        if about.is_none_or(|about| about == flow) {
                            *seen.entry((first, second, kind(input))).or_default() += 1;
                        }
                    }
                    let _ = service.handle(input, *now);
                }
                Turn::Gave { .. } => drop(service.drain()),
                Turn::Drew(_) => {}
            }
        }
    }
}

impl Model {
    /// Sale or order that an input is about; `None`: all of them, or an unknown one.
    fn concerns(&self, input: &Input) -> Option<FlowId> {
        let of_part = |part: &PartId| {
            let mut incoming = self.node.incoming.iter();
            incoming.find(|it| it.htlc.part == *part).map(|it| FlowId::JitChannel(it.htlc.scid))
        };
        let order = |order: usize| FlowId::Order(self.orders[order].number);
        let of_address = |address: &str| {
            let mut coins = self.deposits.coins.iter();
            coins.find(|coin| coin.address == address).map(|coin| order(coin.order))
        };
        let of_hash = |hash: &PaymentHash| {
            let mut incoming = self.payments.incoming.iter();
            incoming.find(|of| of.held.payment_hash == *hash).map(|of| order(of.order))
        };
        match input {
            Input::HtlcHeld(htlc) => Some(FlowId::JitChannel(htlc.scid)),
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
            | Input::FundingConfirmed { key } => Some(key.flow),
            Input::Booked { key } => Some(key.flow),
            Input::PartForwarded { over, .. } => over.map(|key| key.flow),
            Input::OrderPrepared { order, .. }
            | Input::DepositKept { order, .. }
            | Input::CancelOrder { order }
            | Input::RetryOrder { order } => Some(FlowId::Order(*order)),
            Input::RefundBuilt { key, .. } | Input::RefundImpossible { key } | Input::RefundConfirmed { key } => {
                Some(FlowId::Order(key.order))
            }
            Input::PaymentHeld(held) => of_hash(&held.payment_hash),
            Input::PaymentClaimed { payment_hash, .. } | Input::PaymentGone { payment_hash } => of_hash(payment_hash),
            Input::Deposit(deposit) => of_address(&deposit.address),
            Input::DepositGone { address, .. } => of_address(address),
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

/// Name of an input.
fn kind(input: &Input) -> &'static str {
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

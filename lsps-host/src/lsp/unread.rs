//! Records that the store failed to read at the start. An event that may be about one of them has to be repeated until
//! they are read: treated as nobody's, a claim would be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lsps_service::{ChannelKey, Effect, FlowId, Input, Record};
use lsps_types::Scid;

use super::pump::Pump;
use super::report;
use crate::ports::LspNode;

/// The flows whose records are not read, and the effects that wait for them.
#[derive(Default)]
pub(super) struct Unread {
    flows: BTreeSet<FlowId>,
    /// Time of the last attempt on the steady clock.
    looked_at: Duration,
    /// Channels that wait for their funding: it is unknown which coins are reserved for unread records.
    unfunded: BTreeMap<ChannelKey, Effect>,
}

impl Unread {
    /// Creates the set from record names. Names that belong to no flow of this version are left out.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>, now: Duration) -> Self {
        let flows = names.filter_map(|name| name.parse().ok()).collect();
        Self { flows, looked_at: now, unfunded: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether the record of this offer is unread.
    pub fn has_scid(&self, scid: Scid) -> bool {
        self.flows.contains(&FlowId::JitChannel(scid))
    }

    /// Whether the record of some order is unread.
    pub fn has_orders(&self) -> bool {
        self.flows.iter().any(|flow| matches!(flow, FlowId::Order(_)))
    }

    /// Whether an input names a flow whose record is unread.
    pub fn names(&self, input: &Input) -> bool {
        let flow = match input {
            Input::HtlcHeld(htlc) => FlowId::JitChannel(htlc.scid),
            Input::PartForwarded { over: Some(key), .. }
            | Input::ChannelAsked { key }
            | Input::ChannelNegotiated { key, .. }
            | Input::FundingBuilt { key, .. }
            | Input::ChannelPending { key }
            | Input::ChannelReady { key, .. }
            | Input::ChannelEnded { key, .. }
            | Input::ChannelAbandoned { key }
            | Input::FundingConfirmed { key } => key.flow,
            _ => return false,
        };
        self.flows.contains(&flow)
    }

    /// Whether an input that belongs to no flow may be about an unread record.
    pub fn may_be(&self, input: &Input) -> bool {
        match input {
            Input::PartForwarded { .. }
            | Input::PartGone { .. }
            | Input::PartStillHeld { .. }
            | Input::PartFailed { .. }
            | Input::PartPresumedFailed { .. }
            | Input::ForwardRefused { .. } => self.flows.iter().any(|flow| matches!(flow, FlowId::JitChannel(_))),
            Input::PaymentHeld(_) | Input::PaymentClaimed { .. } | Input::PaymentGone { .. } => self.has_orders(),
            _ => false,
        }
    }

    /// Postpones the funding of a channel until all records are read. `None`: none is unread.
    pub fn postpones(&mut self, key: ChannelKey, effect: &Effect) -> Option<()> {
        (!self.is_empty()).then(|| drop(self.unfunded.insert(key, effect.clone())))
    }

    /// Removes a flow whose record was written again.
    pub fn is_written(&mut self, flow: FlowId) {
        self.flows.remove(&flow);
    }
}

impl<N: LspNode> Pump<N> {
    /// Reads the records again, once a second, and compares those that could be read with the node.
    pub(super) async fn read_missing(&mut self) {
        let now = self.outside.clock.steady();
        if self.unread.is_empty() || now.saturating_sub(self.unread.looked_at) < AGAIN {
            return;
        }
        self.unread.looked_at = now;
        let names: Vec<String> = self.unread.flows.iter().map(FlowId::to_string).collect();
        let read = self.durable.store.read(names).await;
        if read.is_lost() {
            return self.loses_ownership();
        }
        let mut still: BTreeSet<FlowId> = read.failed.iter().filter_map(|(name, _)| name.parse().ok()).collect();
        std::mem::swap(&mut self.unread.flows, &mut still);
        let mut loaded = BTreeSet::new();
        for (name, bytes) in read.records {
            let flow = name.parse::<FlowId>();
            match self.service.load(&Record { name, bytes }) {
                Ok(()) => loaded.extend(flow),
                Err(why) => report::unreadable(&why),
            }
        }
        if !loaded.is_empty() {
            self.reconcile(|flow| loaded.contains(&flow));
        }
        if self.unread.is_empty() {
            for (_, effect) in std::mem::take(&mut self.unread.unfunded) {
                let answers = self.carry_out(effect);
                self.feed_all(answers);
            }
        }
    }
}

/// Pause before the unread records are read again.
const AGAIN: Duration = Duration::from_secs(1);

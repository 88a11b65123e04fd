//! Records that the store did not give back at the start. An event that may be about one of them is told again until they are
//! read: taken for nobody's, a claim would be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lsps_service::{ChannelKey, Effect, FlowId, Input, Record};
use lsps_types::Scid;

use super::pump::Pump;
use super::report;
use crate::ports::LspNode;

/// The flows whose records are not read, and what waits for them.
#[derive(Default)]
pub(super) struct Unread {
    flows: BTreeSet<FlowId>,
    /// By the steady clock.
    looked_at: Duration,
    /// Channels to be funded: it is not known which coins are set aside for those that are not read.
    unfunded: BTreeMap<ChannelKey, Effect>,
}

impl Unread {
    /// Names that no flow of this version has are nobody's.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>, now: Duration) -> Self {
        let flows = names.filter_map(|name| name.parse().ok()).collect();
        Self { flows, looked_at: now, unfunded: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether the record of this offer is one of them.
    pub fn has_scid(&self, scid: Scid) -> bool {
        self.flows.contains(&FlowId::JitChannel(scid))
    }

    /// Whether the record of some order is one of them.
    pub fn has_orders(&self) -> bool {
        self.flows.iter().any(|flow| matches!(flow, FlowId::Order(_)))
    }

    /// Whether an input names a flow whose record is one of them.
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

    /// Whether an input that is nobody's may be about one of them.
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

    /// Keeps a channel from being funded until all is read. `None`: nothing is missing.
    pub fn postpones(&mut self, key: ChannelKey, effect: &Effect) -> Option<()> {
        (!self.is_empty()).then(|| drop(self.unfunded.insert(key, effect.clone())))
    }

    /// A flow whose record is written anew has no other.
    pub fn is_written(&mut self, flow: FlowId) {
        self.flows.remove(&flow);
    }
}

impl<N: LspNode> Pump<N> {
    /// Reads them again, once a second, and compares those that are there with the node.
    pub(super) async fn read_unread(&mut self) {
        let now = self.outside.clock.steady();
        if self.unread.is_empty() || now.saturating_sub(self.unread.looked_at) < AGAIN {
            return;
        }
        self.unread.looked_at = now;
        let names: Vec<String> = self.unread.flows.iter().map(FlowId::to_string).collect();
        let read = self.outside.store.read(names).await;
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
                let answers = self.execute(effect);
                self.feed_all(answers);
            }
        }
    }
}

/// The pause before they are read again.
const AGAIN: Duration = Duration::from_secs(1);

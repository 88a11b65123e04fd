//! The state that flows share, and the signals between them. `lsps_flow::step` is the step loop.

use alloc::{boxed::Box, collections::BTreeMap};

use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, PeerId, Scid, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::effect::Effect;
use crate::ids::FlowId;
use crate::policy::{NodeFacts, Policy};

/// State of the service besides the flows.
pub(crate) struct Environment {
    pub config: Config,
    pub policy: Box<dyn Policy>,
    pub facts: NodeFacts,
    /// Current time; while the clock stands a moment behind an earlier reading, that reading.
    pub now: Timestamp,
    pub links: BTreeMap<PeerId, Link>,
    /// Whether all events have been reported that the node kept from before the restart.
    pub is_caught_up: bool,
}

/// The part of the shared state that a flow can read.
pub(crate) struct Context<'a> {
    pub now: Timestamp,
    pub link: Link,
    pub config: &'a Config,
    pub policy: &'a dyn Policy,
    pub facts: &'a NodeFacts,
    /// Whether an HTLC of another flow is with this flow's client, over any channel.
    pub carries_others: bool,
    /// Whether all events have been reported that the node kept from before the restart. Until then a claim may be
    /// among them.
    pub is_caught_up: bool,
    /// Number of other flows of the client that reserve coins for a channel, or are about to.
    pub opens_of_others: usize,
    /// Whether a channel was published for the client on trust, whose fee is not paid yet.
    pub owes_a_fee: bool,
}

/// Reachability of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    /// The client is not connected.
    Offline,
    /// The client is connected; messages reach it.
    Connected,
    /// The client's channels are usable too, so HTLCs reach it.
    Usable,
}

/// State of the calls that wake a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WakeUp {
    /// Number of calls so far.
    pub number: u32,
    /// Time at which the payment that waits for the client will be failed; `None` if the client is not being called.
    pub until: Option<Timestamp>,
}

/// State change of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WakeUpEvent {
    Begun { until: Timestamp },
    Over,
}

/// Reason for which an input changed nothing. The host undoes the input at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// The part has to be failed.
    FailPart(FailureCode),
    /// The payment has to be failed.
    FailPayment,
    /// The input is about an attempt or a part that is over.
    Stale,
}

/// A change of one flow that concerns others of its client. The service delivers it
/// ([`Service::deliver`](crate::service::Service::deliver)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// No part of this offer is at its client any more: channels over which it might have been sent can be abandoned.
    NothingSent { client: PeerId, offer: Scid },
    /// The flow reserves no coins for a channel any more: other flows of its client that wait may open one.
    CoinsFree { client: PeerId },
}

impl WakeUp {
    /// The change for a payment that waits for its absent client until `until`; `None` if no payment waits.
    pub fn advance(self, until: Option<Timestamp>) -> Option<WakeUpEvent> {
        match (until, self.until) {
            (Some(until), None) => Some(WakeUpEvent::Begun { until }),
            (None, Some(_)) => Some(WakeUpEvent::Over),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    pub fn apply(&mut self, event: WakeUpEvent) {
        match event {
            WakeUpEvent::Begun { until } => {
                *self = Self { number: self.number.saturating_add(1), until: Some(until) };
            }
            WakeUpEvent::Over => self.until = None,
        }
    }

    pub fn owed(self, flow: FlowId, peer: PeerId) -> Option<Effect> {
        let Self { number: call, until } = self;
        until.map(|until| Effect::WakeClient { flow, peer, until, call })
    }
}

impl Environment {
    pub fn new(config: Config, policy: Box<dyn Policy>) -> Self {
        let (facts, now) = (NodeFacts::default(), Timestamp::default());
        Self { config, policy, facts, now, links: BTreeMap::new(), is_caught_up: true }
    }

    pub fn context(&self, client: PeerId) -> Context<'_> {
        let Self { config, policy, facts, now, is_caught_up, .. } = self;
        let (now, link, policy) = (*now, self.link(client), &**policy);
        let is_caught_up = *is_caught_up;
        let (carries_others, opens_of_others, owes_a_fee) = (false, 0, false);
        Context { now, link, config, policy, facts, carries_others, is_caught_up, opens_of_others, owes_a_fee }
    }

    pub fn link(&self, peer: PeerId) -> Link {
        self.links.get(&peer).copied().unwrap_or(Link::Offline)
    }
}

impl Context<'_> {
    /// Whether another channel may be opened for the client now.
    pub fn may_open(&self) -> bool {
        self.opens_of_others < self.config.limits.opens_per_client
    }

    /// Whether an HTLC with this expiry has to be failed now.
    pub fn too_close(&self, cltv_expiry: Option<BlockHeight>) -> bool {
        let Some(BlockHeight(expiry)) = cltv_expiry else { return false };
        expiry <= self.facts.height.0.saturating_add(self.config.htlc_safety_blocks.0)
    }
}

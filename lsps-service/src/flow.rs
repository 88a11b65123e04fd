//! The trait of all flows, their shared state, and the step loop.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, PeerId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::effect::{Effect, EffectKey};
use crate::ids::FlowId;
use crate::policy::{NodeFacts, Policy};

/// A state machine with a record of its own.
pub(crate) trait Flow {
    /// Command to the flow: an input, reduced to the flow's part of it.
    type Told<'a>;
    /// Change of the flow's state.
    type Event;

    /// The events that a command causes, or the reason to reject it. Reads the state only.
    fn decide(&self, told: &Self::Told<'_>, ctx: &Context<'_>) -> Result<Vec<Self::Event>, Reject>;

    /// Applies an event. Nothing else changes the state, and the method never fails nor reads a clock.
    fn apply(&mut self, event: Self::Event);

    /// The events that follow from the state without a further command; none if the flow waits for an input.
    fn follow(&self, ctx: &Context<'_>) -> Vec<Self::Event>;

    /// The effects that the flow needs from the host. Called after every step, to release the new ones, and after a
    /// restart, to release all.
    fn outstanding(&self) -> Vec<Effect>;
}

/// State of the service besides the flows.
pub(crate) struct Surroundings {
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
    Away,
    /// The client is connected; messages reach it.
    Connected,
    /// The client's channels are usable too, so HTLCs reach it.
    Usable,
}

/// State of the calls that wake a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Number of calls so far.
    pub number: u32,
    /// Time at which the payment that waits for the client will be failed; `None` if the client is not being called.
    pub until: Option<Timestamp>,
}

/// State change of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEvent {
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

/// Result of a step.
#[derive(Debug)]
pub(crate) struct Stepped {
    /// Effects that became outstanding; `None` if the state did not change.
    pub owed: Option<Vec<Effect>>,
    /// Whether the step stopped after [`MOST_STEPS`] rounds of events: the node reported impossible facts, or there is
    /// a defect. The remaining events follow at the next step, if they still do.
    pub has_no_end: bool,
}

/// Executes a command: decides and applies its events, then all that follow, and returns the new effects.
pub(crate) fn step<F: Flow>(flow: &mut F, told: &F::Told<'_>, ctx: &Context<'_>) -> Result<Stepped, Reject> {
    let owed: BTreeSet<EffectKey> = flow.outstanding().iter().map(Effect::key).collect();
    let mut events = flow.decide(told, ctx)?;
    let (mut changed, mut has_no_end) = (false, true);
    for _ in 0..MOST_STEPS {
        changed |= !events.is_empty();
        events.into_iter().for_each(|event| flow.apply(event));
        events = flow.follow(ctx);
        if events.is_empty() {
            has_no_end = false;
            break;
        }
    }
    let new = |effect: &Effect| !owed.contains(&effect.key());
    Ok(Stepped { owed: changed.then(|| flow.outstanding().into_iter().filter(new).collect()), has_no_end })
}

/// Far more rounds than any input causes: each part of a payment, and each refund of an order, causes a few.
const MOST_STEPS: usize = 10_000;

impl Call {
    /// The change for a payment that waits for its absent client until `until`; `None` if no payment waits.
    pub fn follow(self, until: Option<Timestamp>) -> Option<CallEvent> {
        match (until, self.until) {
            (Some(until), None) => Some(CallEvent::Begun { until }),
            (None, Some(_)) => Some(CallEvent::Over),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    pub fn apply(&mut self, event: CallEvent) {
        match event {
            CallEvent::Begun { until } => {
                *self = Self { number: self.number.saturating_add(1), until: Some(until) };
            }
            CallEvent::Over => self.until = None,
        }
    }

    pub fn owed(self, flow: FlowId, peer: PeerId) -> Option<Effect> {
        let Self { number: call, until } = self;
        until.map(|until| Effect::WakeClient { flow, peer, until, call })
    }
}

impl Surroundings {
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
        self.links.get(&peer).copied().unwrap_or(Link::Away)
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

#[cfg(test)]
mod tests {
    #![allow(non_snake_case)]

    use alloc::vec;

    use super::*;

    /// A flow whose events never end: each step counts one up.
    struct Endless(u64);

    impl Flow for Endless {
        type Told<'a> = ();
        type Event = ();

        fn decide(&self, (): &(), _: &Context<'_>) -> Result<Vec<()>, Reject> {
            Ok(vec![()])
        }

        fn apply(&mut self, (): ()) {
            self.0 += 1;
        }

        fn follow(&self, _: &Context<'_>) -> Vec<()> {
            vec![()]
        }

        fn outstanding(&self) -> Vec<Effect> {
            vec![]
        }
    }

    #[test]
    fn case_X62_what_has_no_end_is_stopped_and_told() {
        let around = Surroundings::new(Config::default(), Box::new(crate::StandardPolicy::default()));
        let mut endless = Endless(0);
        let stepped = step(&mut endless, &(), &around.context(PeerId([2; 33]))).expect("it is taken");
        assert!(stepped.has_no_end && stepped.owed.is_some());
        assert!(endless.0 > 1_000);
    }
}

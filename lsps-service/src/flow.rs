//! What flows of all kinds have in common, and the one step loop.

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

/// A thing with a life and a record of its own.
pub(crate) trait Flow {
    /// What an input means to it.
    type Told<'a>;
    /// One change of its state.
    type Event;

    /// Reads only: what it was told means, or why it means nothing.
    fn decide(&self, told: &Self::Told<'_>, ctx: &Context<'_>) -> Result<Vec<Self::Event>, Reject>;

    /// Writes only: total, no clock. Nothing else changes its state.
    fn apply(&mut self, event: Self::Event);

    /// What follows from its state by itself, or nothing: then it waits for the world.
    fn follow(&self, ctx: &Context<'_>) -> Vec<Self::Event>;

    /// What the world owes it. Asked after every step, where the new ones are released, and after a restart, where all are.
    fn outstanding(&self) -> Vec<Effect>;
}

/// All that is known besides the states of flows.
pub(crate) struct Surroundings {
    pub config: Config,
    pub policy: Box<dyn Policy>,
    pub facts: NodeFacts,
    /// The time of the clock, or the time before it fell back by a moment.
    pub now: Timestamp,
    pub links: BTreeMap<PeerId, Link>,
    /// No event that the node has from an earlier life waits to be told.
    pub is_caught_up: bool,
}

/// What a flow may know of it.
pub(crate) struct Context<'a> {
    pub now: Timestamp,
    pub link: Link,
    pub config: &'a Config,
    pub policy: &'a dyn Policy,
    pub facts: &'a NodeFacts,
    /// Something that is not of this flow is with its client, over whichever of its channels.
    pub carries_others: bool,
    /// No event that the node has from an earlier life waits to be told. Until then a claim may be among them.
    pub is_caught_up: bool,
    /// Other flows of its client that hold coins for a channel, or are about to.
    pub opens_of_others: usize,
    /// A channel on trust was published for its client, whose fee is not paid.
    pub owes_a_fee: bool,
}

/// Whether a client can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    /// Not at all.
    Away,
    /// By messages.
    Connected,
    /// By HTLCs too.
    Usable,
}

/// Whether the client is being woken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// How often that was begun.
    pub number: u32,
    /// When what waits for it will be let go.
    pub until: Option<Timestamp>,
}

/// One change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEvent {
    Begun { until: Timestamp },
    Over,
}

/// Nothing changed. Whoever brought the input undoes it at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// The part is to be failed.
    FailPart(FailureCode),
    /// The payment is to be failed.
    FailPayment,
    /// It concerns an attempt or a part that is over.
    Stale,
}

/// The result of a step.
#[derive(Debug)]
pub(crate) struct Stepped {
    /// Effects that are newly owed. `None`: nothing changed.
    pub owed: Option<Vec<Effect>>,
    /// More events followed than [`MOST_STEPS`]: the node told facts that cannot be, or there is a defect. The rest
    /// follows at the next step, if it still does.
    pub has_no_end: bool,
}

/// Decide, apply, and whatever follows; then what is newly owed.
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

/// Far more than follow from anything: each part of a payment, and each refund of an order, is good for a few.
const MOST_STEPS: usize = 10_000;

impl Call {
    /// Something that could go on if only its client were there waits `until` then, or nothing does.
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
    /// Whether the client may have another channel opened now.
    pub fn may_open(&self) -> bool {
        self.opens_of_others < self.config.limits.opens_per_client
    }

    /// Whether an HTLC with this expiry has to be let go now.
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

    /// Counts, and has something to count for ever.
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

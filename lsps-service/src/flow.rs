//! What flows of all kinds have in common, and the one step loop.

use alloc::{collections::BTreeSet, vec::Vec};

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

/// What a flow may know of the world besides its own state.
pub(crate) struct Context<'a> {
    pub now: Timestamp,
    pub link: Link,
    pub config: &'a Config,
    pub policy: &'a dyn Policy,
    pub facts: &'a NodeFacts,
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

/// Decide, apply, and whatever follows; then what is newly owed. `None`: nothing changed.
pub(crate) fn step<F: Flow>(
    flow: &mut F,
    told: &F::Told<'_>,
    ctx: &Context<'_>,
) -> Result<Option<Vec<Effect>>, Reject> {
    let owed: BTreeSet<EffectKey> = flow.outstanding().iter().map(Effect::key).collect();
    let mut events = flow.decide(told, ctx)?;
    let mut changed = false;
    loop {
        changed |= !events.is_empty();
        events.into_iter().for_each(|event| flow.apply(event));
        events = flow.follow(ctx);
        if events.is_empty() {
            break;
        }
    }
    let new = |effect: &Effect| !owed.contains(&effect.key());
    Ok(changed.then(|| flow.outstanding().into_iter().filter(new).collect()))
}

impl Call {
    pub fn begin(&mut self, until: Timestamp) {
        *self = Self { number: self.number.saturating_add(1), until: Some(until) };
    }

    pub fn owed(self, flow: FlowId, peer: PeerId) -> Option<Effect> {
        let Self { number: call, until } = self;
        until.map(|until| Effect::WakeClient { flow, peer, until, call })
    }
}

impl Context<'_> {
    /// Whether an HTLC with this expiry has to be let go now.
    pub fn too_close(&self, cltv_expiry: Option<BlockHeight>) -> bool {
        let Some(BlockHeight(expiry)) = cltv_expiry else { return false };
        expiry <= self.facts.height.0.saturating_add(self.config.htlc_safety_blocks.0)
    }
}

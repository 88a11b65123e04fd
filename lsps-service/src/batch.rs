//! Write before act: the records of a turn are written first, then its messages and effects are released.

use alloc::{string::String, vec::Vec};

use lsps_types::{ClientInfo, PeerId};
use serde::{Deserialize, Serialize};

use crate::effect::{Effect, PostKey};
use crate::{decisions::PendingDecision, ids::FlowId};

/// Records, messages and effects since the last drain. Write the records, then call `written`.
pub type Batch = lsps_flow::Batch<FlowId, Released>;

/// Messages and effects that may go out, now that the records are durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Payloads of type 37913, each with its receiver, in order.
    pub messages: Vec<(PeerId, Vec<u8>)>,
    /// Effects for the node and the wallet to execute, in order.
    pub effects: Vec<Effect>,
    /// Flows that took more steps than any valid input causes: the node reported impossible facts, or the service has a
    /// defect. Such a flow was stopped and goes on with its next input. The operator has to look at it.
    #[serde(default)]
    pub alarms: Vec<FlowId>,
    /// Decisions that the policy left to others. Answer with [`Input::Decided`](crate::Input::Decided). They are not
    /// asked again after a restart.
    pub pending_decisions: Vec<PendingDecision>,
    /// Notifications that are no longer to be delivered: their webhook was changed or removed, or the client connected.
    /// One that is being posted may still arrive.
    #[serde(default)]
    pub withdrawn: Vec<PostKey>,
    /// Programs that clients named with requests that were answered. Nothing else depends on them.
    #[serde(default)]
    pub introduced: Vec<Introduced>,
}

/// Program of a client, as the client named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduced {
    /// The client.
    pub client: PeerId,
    /// Name of the method that it called.
    pub method: String,
    /// Names and versions, bounded and filtered for people to read.
    pub info: ClientInfo,
}

impl lsps_flow::Release for Released {
    fn is_empty(&self) -> bool {
        let Self { messages, effects, alarms, pending_decisions, withdrawn, introduced } = self;
        messages.is_empty()
            && effects.is_empty()
            && alarms.is_empty()
            && pending_decisions.is_empty()
            && withdrawn.is_empty()
            && introduced.is_empty()
    }
}

//! Write before act: records first, then messages and effects.

use alloc::{collections::BTreeMap, vec::Vec};

use lsps_types::PeerId;
use serde::{Deserialize, Serialize};

use crate::effect::{Effect, PostKey};
use crate::{ids::FlowId, questions::Question};

/// Everything since the last drain. Write the records, then ask for the rest.
#[derive(Debug, Default)]
#[must_use = "records that are never written are lost in a crash"]
pub struct Batch {
    pub(crate) records: BTreeMap<FlowId, Option<Vec<u8>>>,
    pub(crate) released: Released,
}

impl Batch {
    /// What to make durable, in any order: the new content of a record, or `None` where it is to be deleted.
    pub fn records(&self) -> impl Iterator<Item = (FlowId, Option<&[u8]>)> {
        self.records.iter().map(|(id, bytes)| (*id, bytes.as_deref()))
    }

    /// Call once the records are durable; nothing else yields the messages and effects.
    #[must_use = "these are the replies and the acts that were waited for"]
    pub fn written(self) -> Released {
        self.released
    }

    /// Whether there is nothing to write, send or do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.released.is_empty()
    }
}

/// What may happen now that the records are durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Payloads of type 37913, each for one peer, in order.
    pub messages: Vec<(PeerId, Vec<u8>)>,
    /// Acts of the node and the wallet, in order.
    pub effects: Vec<Effect>,
    /// Flows from which more followed than can be: the node told facts that cannot be, or this program is wrong. The
    /// service stopped them; each goes on with its next input, and the operator has to look at them.
    #[serde(default)]
    pub alarms: Vec<FlowId>,
    /// What the policy left to others. Answer: [`Input::Decided`](crate::Input::Decided). Not asked again after a restart.
    pub questions: Vec<Question>,
    /// Notifications that are owed no more: their webhook was changed or removed, or its client came. One that is being
    /// posted may still arrive.
    #[serde(default)]
    pub withdrawn: Vec<PostKey>,
}

impl Released {
    fn is_empty(&self) -> bool {
        let Self { messages, effects, alarms, questions, withdrawn } = self;
        messages.is_empty() && effects.is_empty() && alarms.is_empty() && questions.is_empty() && withdrawn.is_empty()
    }
}

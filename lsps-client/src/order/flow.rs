//! An order as a flow, and its index.

use alloc::vec::Vec;
use core::convert::Infallible;

use lsps_flow::{Due, Flow, Groups, Indexed};
use lsps_types::{PeerId, Timestamp};

use super::{Command, Event, Order, OrderKey, Reject, State};
use crate::effect::Effect;
use crate::wake::Wake;

impl Flow for Order {
    type Id = OrderKey;
    type Command<'a> = Command;
    type Event = Event;
    type Reject = Reject;
    type Effect = Effect;
    type Context<'a> = Timestamp;

    fn id(&self) -> OrderKey {
        self.key
    }

    fn decide(&self, command: &Command, now: &Timestamp) -> Result<Vec<Event>, Reject> {
        self.decide(command, *now)
    }

    fn apply(&mut self, event: Event) {
        self.apply(&event);
    }

    fn outstanding(&self) -> Vec<Effect> {
        self.outstanding()
    }

    fn is_over(&self, _: &Timestamp) -> bool {
        self.state == State::Gone
    }
}

/// Orders by LSP.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) of_lsp: Groups<PeerId, OrderKey>,
}

impl Indexed for Order {
    type Shared = ();
    /// Whether the order is there.
    type Keys = bool;
    type Index = Index;
    type Wake = Wake;
    type Signal = Infallible;

    fn keys(&self, (): &()) -> bool {
        true
    }

    fn due(&self, _: &bool, (): &()) -> Due<Wake> {
        Due::at(self.deadline())
    }

    fn reindex(&self, index: &mut Index, was_there: &bool, is_there: &bool) {
        index.of_lsp.shift(&self.lsp, self.key, *was_there, *is_there);
    }
}

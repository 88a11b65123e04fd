//! A tape of all inputs and outputs of a service, from which an equal service can repeat them.

use lsps_flow::Core;
use lsps_types::{Scid, Timestamp};

use crate::batch::{Batch, Released};
use crate::ids::FlowId;
use crate::input::Input;
use crate::record::Record;
use crate::service::{ScidSource, Service};

/// Entry of a tape: a loaded record, an input, a drawn SCID, or a drained batch. Tapes contain messages of peers and data
/// of payments, but no key.
pub type Turn = lsps_flow::Turn<Input, Scid, FlowId, Released>;

/// Error of a replay that differs from its tape: the configuration, the policy, the promise key or the version is
/// another one, or there is a defect.
pub type Divergence = lsps_flow::Divergence<Turn>;

/// The SCIDs that were drawn when a tape was recorded.
pub type Draws = lsps_flow::Draws<Scid>;

/// Replays the tape of one run; `service` creates the service with the same configuration, policy and promise key as
/// then.
///
/// # Errors
///
/// The first entry that differs.
pub fn replay(turns: &[Turn], service: impl FnOnce(Draws) -> Service) -> Result<Service, Divergence> {
    lsps_flow::replay(turns, service)
}

impl Core for Service {
    type Input = Input;
    type Draw = Scid;
    type FlowId = FlowId;
    type Released = Released;

    fn load(&mut self, record: &Record) {
        let _it_was_unreadable_then_too = self.load(record);
    }

    fn handle(&mut self, input: &Input, now: Timestamp) {
        let _what_follows_tells = self.handle(input, now);
    }

    fn drain(&mut self) -> Batch {
        self.drain()
    }
}

impl ScidSource for Draws {
    fn draw(&mut self) -> Scid {
        // More SCIDs are drawn than on the tape, so the replay will differ at the next batch.
        self.pop().unwrap_or(Scid(0))
    }
}

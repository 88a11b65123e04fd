//! A tape of all inputs and outputs of a client, from which an equal client can repeat them.

use alloc::string::String;

use lsps_flow::{Core, Record};
use lsps_types::Timestamp;

use crate::batch::{Batch, FlowId, Released};
use crate::client::Client;
use crate::input::Input;

/// Entry of a tape: a loaded record, an input, a drawn request id, or a drained batch. Tapes contain messages of LSPs,
/// purchases, orders and payments, and the preimages of payments that are held; nothing that request ids are made of.
pub type Turn = lsps_flow::Turn<Input, String, FlowId, Released>;

/// Error of a replay that differs from its tape: the configuration or the version is another one, or there is a defect.
pub type Divergence = lsps_flow::Divergence<Turn>;

/// The request ids that were drawn when a tape was recorded.
pub type Draws = lsps_flow::Draws<String>;

/// Replays the tape of one run; `client` creates the client with the same configuration as then.
///
/// # Errors
///
/// The first entry that differs.
pub fn replay(turns: &[Turn], client: impl FnOnce(Draws) -> Client) -> Result<Client, Divergence> {
    lsps_flow::replay(turns, client)
}

impl Core for Client {
    type Input = Input;
    type Draw = String;
    type FlowId = FlowId;
    type Released = Released;

    fn load(&mut self, record: &Record) {
        let _it_was_unreadable_then_too = self.load(&record.name, &record.bytes);
    }

    fn handle(&mut self, input: &Input, now: Timestamp) {
        let _what_follows_tells = self.handle(input, now);
    }

    fn drain(&mut self) -> Batch {
        self.drain()
    }
}

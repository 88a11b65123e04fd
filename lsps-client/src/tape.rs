//! A tape of all inputs and outputs of a client, from which an equal client can repeat them.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use lsps_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, FlowId, Released};
use crate::client::Client;
use crate::input::Input;
use crate::pending::RequestIds;

/// Entry of a tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// A record was loaded.
    Loaded {
        /// Name of the record: a [`FlowId`] as text.
        name: String,
        /// Content of the record.
        bytes: Vec<u8>,
    },
    /// An input was handled at this time.
    Told(Timestamp, Input),
    /// A request id was drawn, for the last input.
    Drew(String),
    /// A batch was drained.
    Gave {
        /// Records that were written or deleted.
        records: Vec<(FlowId, Option<Vec<u8>>)>,
        /// Messages, effects and notices that were released after that.
        released: Released,
    },
}

/// Store of entries, in order. They contain messages of LSPs, data of purchases, orders and payments, and the preimages
/// of held payments; they do not contain the source of request ids.
pub trait Tape: Send {
    /// Appends an entry.
    fn keep(&mut self, turn: Turn);
}

impl<F: FnMut(Turn) + Send> Tape for F {
    fn keep(&mut self, turn: Turn) {
        self(turn);
    }
}

/// Error of a replay that differs from its tape: the configuration or version is another one, or there is a defect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("turn {turn} of the tape says {taped:?}, and now it is {now:?}")]
pub struct Departure {
    /// Number of the entry, from 0.
    pub turn: usize,
    /// Entry on the tape.
    pub taped: Box<Turn>,
    /// Entry of this replay.
    pub now: Box<Turn>,
}

/// Replays the tape of one run; `client` creates the client with the same configuration as then.
///
/// # Errors
///
/// The first entry that differs.
pub fn replay(turns: &[Turn], client: impl FnOnce(RequestIds) -> Client) -> Result<Client, Departure> {
    let drawn = turns.iter().filter_map(|turn| if let Turn::Drew(id) = turn { Some(id.clone()) } else { None });
    let mut client = client(RequestIds::drawn_before(drawn.collect()));
    for (number, turn) in turns.iter().enumerate() {
        match turn {
            // A record that could not be read then cannot be read now; the following entries show any difference.
            Turn::Loaded { name, bytes } => drop(client.load(name, bytes)),
            Turn::Told(now, input) => {
                let _what_follows_tells = client.handle(input, *now);
            }
            Turn::Drew(_) => {}
            Turn::Gave { .. } => {
                let now = Turn::gave(&client.drain());
                if now != *turn {
                    return Err(Departure { turn: number, taped: Box::new(turn.clone()), now: Box::new(now) });
                }
            }
        }
    }
    Ok(client)
}

impl Turn {
    pub(crate) fn gave(batch: &Batch) -> Self {
        let records = batch.records().map(|(id, content)| (id, content.map(Into::into))).collect();
        Self::Gave { records, released: batch.released.clone() }
    }
}

/// The tape of a client, if there is one.
#[derive(Default)]
pub(crate) struct Recorder(Option<Box<dyn Tape>>);

impl Recorder {
    pub fn begin(&mut self, tape: Box<dyn Tape>) {
        self.0 = Some(tape);
    }

    pub fn keep(&mut self, turn: impl FnOnce() -> Turn) {
        if let Some(tape) = &mut self.0 {
            tape.keep(turn());
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({})", if self.0.is_some() { "on" } else { "off" })
    }
}

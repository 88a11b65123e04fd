//! A tape of all inputs and outputs of a service, from which an equal service can repeat them.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use lsps_types::{Scid, Timestamp};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Released};
use crate::ids::FlowId;
use crate::input::Input;
use crate::record::Record;
use crate::service::{ScidSource, Service};

/// Entry of a tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// A record was loaded.
    Loaded(Record),
    /// An input was handled at this time.
    Told(Timestamp, Input),
    /// An SCID was drawn, for the last input.
    Drew(Scid),
    /// A batch was drained.
    Gave {
        /// Records that were written or deleted.
        records: Vec<(FlowId, Option<Vec<u8>>)>,
        /// Messages and effects that were released after that.
        released: Released,
    },
}

/// Store of entries, in order. They contain messages of peers and data of payments, but no key.
pub trait Tape: Send {
    /// Appends an entry.
    fn keep(&mut self, turn: Turn);
}

impl<F: FnMut(Turn) + Send> Tape for F {
    fn keep(&mut self, turn: Turn) {
        self(turn);
    }
}

/// Error of a replay that differs from its tape: the configuration, the policy, the promise key or the version is
/// another one, or there is a defect.
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

/// Replays the tape of one run; `service` creates the service with the same configuration, policy and promise key as
/// then.
///
/// # Errors
///
/// The first entry that differs.
pub fn replay(turns: &[Turn], service: impl FnOnce(Draws) -> Service) -> Result<Service, Departure> {
    let drawn = turns.iter().filter_map(|turn| if let Turn::Drew(scid) = turn { Some(*scid) } else { None });
    let mut service = service(Draws(drawn.collect()));
    for (number, turn) in turns.iter().enumerate() {
        match turn {
            // A record that could not be read then cannot be read now; the following entries show any difference.
            Turn::Loaded(record) => drop(service.load(record)),
            Turn::Told(now, input) => {
                let _what_follows_tells = service.handle(input.clone(), *now);
            }
            Turn::Drew(_) => {}
            Turn::Gave { .. } => {
                let now = Turn::gave(&service.drain());
                if now != *turn {
                    return Err(Departure { turn: number, taped: Box::new(turn.clone()), now: Box::new(now) });
                }
            }
        }
    }
    Ok(service)
}

/// The SCIDs that were drawn when a tape was recorded.
#[derive(Debug)]
pub struct Draws(VecDeque<Scid>);

impl ScidSource for Draws {
    fn draw(&mut self) -> Scid {
        // More SCIDs are drawn than on the tape, so the replay will differ at the next batch.
        self.0.pop_front().unwrap_or(Scid(0))
    }
}

impl Turn {
    pub(crate) fn gave(batch: &Batch) -> Self {
        let records = batch.records().map(|(id, content)| (id, content.map(Into::into))).collect();
        Self::Gave { records, released: batch.released.clone() }
    }
}

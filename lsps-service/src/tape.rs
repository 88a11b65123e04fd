//! A tape of all that a service was given, and of what it gave: the same service plays it again to the same end.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use lsps_types::{Scid, Timestamp};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Released};
use crate::ids::FlowId;
use crate::input::Input;
use crate::record::Record;
use crate::service::{ScidSource, Service};

/// One thing on a tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// A record of an earlier life was brought back.
    Loaded(Record),
    /// This was told, at that time.
    Told(Timestamp, Input),
    /// An SCID was drawn, for what was told before.
    Drew(Scid),
    /// All that followed since the last time.
    Gave {
        /// What was to be written or deleted.
        records: Vec<(FlowId, Option<Vec<u8>>)>,
        /// What was let out once that was durable.
        released: Released,
    },
}

/// Keeps turns, in order. They hold what peers sent and what payments there were, and no key.
pub trait Tape: Send {
    /// One more.
    fn keep(&mut self, turn: Turn);
}

impl<F: FnMut(Turn) + Send> Tape for F {
    fn keep(&mut self, turn: Turn) {
        self(turn);
    }
}

/// A replay that went another way than its tape: another configuration, policy, promise key or version, or a defect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("turn {turn} of the tape says {taped:?}, and now it is {now:?}")]
pub struct Departure {
    /// Counted from 0.
    pub turn: usize,
    /// What was given when the tape was made.
    pub taped: Box<Turn>,
    /// What was given this time.
    pub now: Box<Turn>,
}

/// Plays the tape of one life; `service` makes one as it was then: the same configuration, policy and promise key.
///
/// # Errors
///
/// At the first turn that went another way.
pub fn replay(turns: &[Turn], service: impl FnOnce(Draws) -> Service) -> Result<Service, Departure> {
    let drawn = turns.iter().filter_map(|turn| if let Turn::Drew(scid) = turn { Some(*scid) } else { None });
    let mut service = service(Draws(drawn.collect()));
    for (number, turn) in turns.iter().enumerate() {
        match turn {
            // One that could not be read then cannot be read now; what follows tells.
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

/// The SCIDs that were drawn when a tape was made.
#[derive(Debug)]
pub struct Draws(VecDeque<Scid>);

impl ScidSource for Draws {
    fn draw(&mut self) -> Scid {
        // More draws than there were: the replay departs at the next thing given.
        self.0.pop_front().unwrap_or(Scid(0))
    }
}

impl Turn {
    pub(crate) fn gave(batch: &Batch) -> Self {
        let records = batch.records().map(|(id, content)| (id, content.map(Into::into))).collect();
        Self::Gave { records, released: batch.released.clone() }
    }
}

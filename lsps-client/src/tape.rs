//! A tape of all that a client was given, and of what it gave: the same client plays it again to the same end.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use lsps_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, FlowId, Released};
use crate::client::Client;
use crate::input::Input;
use crate::pending::RequestIds;

/// One thing on a tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// A record of an earlier life was brought back.
    Loaded {
        /// Its name: a [`FlowId`] as text.
        name: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// This was told, at that time.
    Told(Timestamp, Input),
    /// A request id was drawn, for what was told before.
    Drew(String),
    /// All that followed since the last time.
    Gave {
        /// What was to be written or deleted.
        records: Vec<(FlowId, Option<Vec<u8>>)>,
        /// What was let out once that was durable.
        released: Released,
    },
}

/// Keeps turns, in order. They hold what LSPs sent, what was bought, ordered and paid, and the preimages of payments that
/// are held; nothing that request ids are made of.
pub trait Tape: Send {
    /// One more.
    fn keep(&mut self, turn: Turn);
}

impl<F: FnMut(Turn) + Send> Tape for F {
    fn keep(&mut self, turn: Turn) {
        self(turn);
    }
}

/// A replay that went another way than its tape: another configuration or version, or a defect.
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

/// Plays the tape of one life; `client` makes one as it was then, with the same configuration.
///
/// # Errors
///
/// At the first turn that went another way.
pub fn replay(turns: &[Turn], client: impl FnOnce(RequestIds) -> Client) -> Result<Client, Departure> {
    let drawn = turns.iter().filter_map(|turn| if let Turn::Drew(id) = turn { Some(id.clone()) } else { None });
    let mut client = client(RequestIds::drawn_before(drawn.collect()));
    for (number, turn) in turns.iter().enumerate() {
        match turn {
            // One that could not be read then cannot be read now; what follows tells.
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

/// The tape of a client, if it has one.
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

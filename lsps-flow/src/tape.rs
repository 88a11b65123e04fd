//! Tape of all inputs and outputs of a core, which an equal core can replay.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::fmt;

use lsps_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Release};
use crate::record::Record;

/// Entry of a tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn<I, D, F, R> {
    /// A record was loaded.
    Loaded(Record),
    /// The core handled an input at this time.
    Input(Timestamp, I),
    /// The core drew a random value for the last input.
    Drew(D),
    /// A batch was drained.
    Gave {
        /// Records that were written or deleted.
        records: Vec<(F, Option<Vec<u8>>)>,
        /// Outputs that were released once the records were durable.
        released: R,
    },
}

impl<I, D, F: Copy, R: Release + Clone> Turn<I, D, F, R> {
    /// The entry for a batch that was drained.
    #[must_use]
    pub fn gave(batch: &Batch<F, R>) -> Self {
        let records = batch.records().map(|(id, content)| (id, content.map(Into::into))).collect();
        Self::Gave { records, released: batch.released().clone() }
    }
}

/// Store of entries, in order.
pub trait Tape<T>: Send {
    /// Appends an entry.
    fn keep(&mut self, turn: T);
}

impl<T, F: FnMut(T) + Send> Tape<T> for F {
    fn keep(&mut self, turn: T) {
        self(turn);
    }
}

/// Tape of a core, if one is set. Entries are created only if they are recorded.
pub struct Recorder<T>(Option<Box<dyn Tape<T>>>);

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Recorder<T> {
    /// Sets the tape for the entries from now on.
    pub fn begin(&mut self, tape: Box<dyn Tape<T>>) {
        self.0 = Some(tape);
    }

    /// Records an entry.
    pub fn keep(&mut self, turn: impl FnOnce() -> T) {
        if let Some(tape) = &mut self.0 {
            tape.keep(turn());
        }
    }
}

impl<T> fmt::Debug for Recorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({})", if self.0.is_some() { "on" } else { "off" })
    }
}

/// A core that can be replayed.
pub trait Core {
    /// Input of the core.
    type Input;
    /// Value that the core draws at random.
    type Draw;
    /// Id of a flow.
    type FlowId;
    /// Outputs that the core releases.
    type Released;

    /// Loads a record. Unreadable records are ignored, as in the recorded run.
    fn load(&mut self, record: &Record);

    /// Handles an input. The changes that it causes are returned by `drain`.
    fn handle(&mut self, input: &Self::Input, now: Timestamp);

    /// Takes all changes since the last drain.
    fn drain(&mut self) -> Batch<Self::FlowId, Self::Released>;
}

/// Entry of a core's tape.
pub type TurnOf<C> = Turn<<C as Core>::Input, <C as Core>::Draw, <C as Core>::FlowId, <C as Core>::Released>;

/// Error: a replay differs from its tape. The configuration, policy, key or version differs, or there is a defect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("turn {turn} of the tape says {taped:?}, and now it is {now:?}")]
pub struct Divergence<T: fmt::Debug> {
    /// Number of the entry, from 0.
    pub turn: usize,
    /// Entry on the tape.
    pub taped: Box<T>,
    /// Entry of this replay.
    pub now: Box<T>,
}

/// Random values that were drawn while a tape was recorded.
#[derive(Debug)]
pub struct Draws<D>(VecDeque<D>);

impl<D> Draws<D> {
    /// Next value. `None`: no value is left, and the replay will differ.
    pub fn pop(&mut self) -> Option<D> {
        self.0.pop_front()
    }
}

/// Replays the tape of one run. `core` creates a core with the settings of that run.
///
/// # Errors
///
/// The replay differs from the tape; the error has the first entry that does.
pub fn replay<C: Core>(turns: &[TurnOf<C>], core: impl FnOnce(Draws<C::Draw>) -> C) -> Result<C, Divergence<TurnOf<C>>>
where
    TurnOf<C>: Clone + fmt::Debug + PartialEq,
    C::Draw: Clone,
    C::FlowId: Copy,
    C::Released: Release + Clone,
{
    let drawn = turns.iter().filter_map(|turn| if let Turn::Drew(drawn) = turn { Some(drawn.clone()) } else { None });
    let mut core = core(Draws(drawn.collect()));
    for (number, turn) in turns.iter().enumerate() {
        match turn {
            Turn::Loaded(record) => core.load(record),
            Turn::Input(now, input) => core.handle(input, *now),
            Turn::Drew(_) => {}
            Turn::Gave { .. } => {
                let now = Turn::gave(&core.drain());
                if now != *turn {
                    return Err(Divergence { turn: number, taped: Box::new(turn.clone()), now: Box::new(now) });
                }
            }
        }
    }
    Ok(core)
}

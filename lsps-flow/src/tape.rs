//! A tape of all that a core was given, and of what it gave: the same core plays it again to the same end.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::fmt;

use lsps_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Release};
use crate::record::Record;

/// One thing on a tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn<I, D, F, R> {
    /// A record of an earlier life was brought back.
    Loaded(Record),
    /// This was told, at that time.
    Told(Timestamp, I),
    /// A value was drawn at random, for what was told before.
    Drew(D),
    /// All that followed since the last time.
    Gave {
        /// What was to be written or deleted.
        records: Vec<(F, Option<Vec<u8>>)>,
        /// What was let out once that was durable.
        released: R,
    },
}

impl<I, D, F: Copy, R: Release + Clone> Turn<I, D, F, R> {
    /// The turn in which a core gave this batch.
    #[must_use]
    pub fn gave(batch: &Batch<F, R>) -> Self {
        let records = batch.records().map(|(id, content)| (id, content.map(Into::into))).collect();
        Self::Gave { records, released: batch.released().clone() }
    }
}

/// Keeps turns, in order.
pub trait Tape<T>: Send {
    /// One more.
    fn keep(&mut self, turn: T);
}

impl<T, F: FnMut(T) + Send> Tape<T> for F {
    fn keep(&mut self, turn: T) {
        self(turn);
    }
}

/// The tape of a core, if it has one. A turn is made only where it is kept.
pub struct Recorder<T>(Option<Box<dyn Tape<T>>>);

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Recorder<T> {
    /// From now on turns are kept there.
    pub fn begin(&mut self, tape: Box<dyn Tape<T>>) {
        self.0 = Some(tape);
    }

    /// Keeps a turn.
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
    /// What it is told.
    type Input;
    /// What it draws at random.
    type Draw;
    /// The name of a flow.
    type FlowId;
    /// What it lets out.
    type Released;

    /// Takes a record from an earlier life. One that could not be read then cannot be read now.
    fn load(&mut self, record: &Record);

    /// Takes in one thing that happened. What follows is drained.
    fn handle(&mut self, input: &Self::Input, now: Timestamp);

    /// All changes since the last drain.
    fn drain(&mut self) -> Batch<Self::FlowId, Self::Released>;
}

/// The turn of a core.
pub type TurnOf<C> = Turn<<C as Core>::Input, <C as Core>::Draw, <C as Core>::FlowId, <C as Core>::Released>;

/// A replay that went another way than its tape: another configuration, policy, key or version, or a defect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("turn {turn} of the tape says {taped:?}, and now it is {now:?}")]
pub struct Divergence<T: fmt::Debug> {
    /// Counted from 0.
    pub turn: usize,
    /// What was given when the tape was made.
    pub taped: Box<T>,
    /// What was given this time.
    pub now: Box<T>,
}

/// The values that were drawn when a tape was made.
#[derive(Debug)]
pub struct Draws<D>(VecDeque<D>);

impl<D> Draws<D> {
    /// The next of them. `None`: there were no more, so the replay will diverge.
    pub fn pop(&mut self) -> Option<D> {
        self.0.pop_front()
    }
}

/// Plays the tape of one life; `core` makes the core as it was then.
///
/// # Errors
///
/// At the first turn that went another way.
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
            Turn::Told(now, input) => core.handle(input, *now),
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

//! The kernel of `lsps-service` and `lsps-client`: state machines that survive crashes and can be replayed. Read first.
//!
//! A *flow* ([`Flow`]) is a state machine with a record of its own, for example one JIT channel that an LSP sells, or
//! one order of a wallet. A *command* reports an event to it, or asks it for something. [`step`] is the only loop that
//! steps a flow:
//!
//! 1. [`decide`](Flow::decide) reads the state and says which events the command means, or why it means nothing.
//! 2. [`apply`](Flow::apply) changes the state by one event. Nothing else changes it.
//! 3. [`advance`](Flow::advance) says which events follow from the state by itself, until none does.
//! 4. [`outstanding`](Flow::outstanding) lists the effects that the flow waits for: acts of the node, the wallet, the host.
//!    Those that are new are released. After a start all are, so a restart and a step obey the same lines of code.
//!
//! [`Flows`] holds all flows of one kind, with an index, and an agenda ([`Agenda`]) of deadlines. A change that
//! concerns other flows is a *signal*, a value that the step returns and that the core delivers ([`Indexed::signals`]).
//!
//! A core collects the changes of a turn ([`Changes`]) and gives them to its host as a [`Batch`]: records first; only
//! [`Batch::written`] returns messages and effects. A [`tape`] records all inputs and outputs of a core, and [`replay`]
//! repeats them. A core uses no randomness and reads no clock: both are arguments.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(clippy::wildcard_enum_match_arm)]

extern crate alloc;

mod agenda;
mod batch;
mod flow;
mod flows;
mod groups;
pub mod record;
pub mod tape;

pub use agenda::{Agenda, Due};
pub use batch::{Batch, Changes, Release};
pub use flow::{Flow, Keyed, MOST_ROUNDS, Stepped, step};
pub use flows::{Flows, Indexed, Moved};
pub use groups::{Groups, lead, shift};
pub use record::{Record, UnknownFlow, Unreadable};
pub use tape::{Core, Divergence, Draws, Recorder, Tape, Turn, replay};

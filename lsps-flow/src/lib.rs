//! Kernel of `lsps-service` and `lsps-client`: state machines that survive crashes and can be replayed. Read it first.
//!
//! A *flow* ([`Flow`]) is a state machine with a record of its own, for example one JIT channel that an LSP sells, or
//! one order of a wallet. A *command* reports an event to it, or asks it for something. [`step`] is the only loop that
//! steps a flow:
//!
//! 1. [`decide`](Flow::decide) reads the state and returns the events that the command causes, or rejects it.
//! 2. [`apply`](Flow::apply) changes the state by one event. Nothing else changes it.
//! 3. [`advance`](Flow::advance) returns the events that follow from the state alone, until there are none.
//! 4. [`outstanding`](Flow::outstanding) lists the effects that the flow waits for: calls to the node, the wallet or
//!    the host. A step releases the new ones, a start all of them, so both use the same code.
//!
//! [`Flows`] holds all flows of one kind, with an index, and an agenda ([`Agenda`]) of deadlines. A change that
//! concerns other flows is a *signal*, a value that the step returns and that the core delivers ([`Indexed::signals`]).
//!
//! A core collects the changes of a turn ([`Changes`]) and gives them to its host as a [`Batch`] of records;
//! [`Batch::written`] then returns messages and effects. A [`tape`] records all inputs and outputs of a core, and
//! [`replay`] repeats them. A core uses no randomness and reads no clock: both are arguments.
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

//! The wallet's side of the LSPS protocols, as a state machine without I/O.
//!
//! A wallet that wants to be paid through a channel it does not have yet:
//! [`Client::call`] with [`GetInfo`](lsps_types::lsps2::GetInfo), [`jit_receive::choose`], `call` with
//! [`Buy`](lsps_types::lsps2::Buy), [`jit_receive::prepare`], make the invoice, [`Client::register`], and when the record
//! is written, hand the invoice out. Then [`Client::open_requested`], [`Client::judge`], [`Client::claimed`].
//!
//! A wallet that sleeps: [`Client::keep_webhook`], once for each app.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(feature = "session")]
extern crate std;

mod batch;
mod client;
mod effect;
pub mod jit_receive;
mod pending;
pub mod select;
#[cfg(feature = "session")]
pub mod session;
pub mod webhooks;

pub use batch::{Batch, FlowId, Notice, Released, UnknownFlow};
pub use client::{CallError, Client, Config, Heard, NotSent, Unreadable};
pub use effect::{AcceptTerms, ChannelKey, Effect, Preimage};
pub use jit_receive::record::Unreadable as UnreadableContent;
pub use pending::Ticket;

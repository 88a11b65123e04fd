//! The wallet's side of the LSPS protocols, as a state machine without I/O.
//!
//! A wallet that wants to be paid through a channel it does not have yet:
//! [`Client::call`] with [`GetInfo`](lsps_types::lsps2::GetInfo), [`jit_receive::choose`], `call` with
//! [`Buy`](lsps_types::lsps2::Buy), [`jit_receive::prepare`], make the invoice, [`Client::register`], and when the record
//! is written, hand the invoice out. Then [`Client::open_requested`], [`Client::judge`], [`Client::claimed`].
//!
//! A wallet that orders a channel: `call` with [`GetInfo`](lsps_types::lsps1::GetInfo), [`order::Offered::draft`], `call`
//! with [`order::Draft::request`], [`order::Draft::weigh`], [`Client::place_order`], [`Client::pay_order`], and the effects
//! that follow. Feature `session` has all of that in one call.
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
mod clock;
mod effect;
pub mod jit_receive;
pub mod order;
mod pending;
mod record;
pub mod select;
#[cfg(feature = "session")]
pub mod session;
pub mod webhooks;

pub use batch::{Batch, FlowId, Notice, Released, UnknownFlow};
pub use client::{CallError, Client, Config, Heard, NotSent, Unreadable};
pub use effect::{AcceptTerms, ChannelKey, Effect};
pub use pending::Ticket;
pub use record::Unreadable as UnreadableContent;

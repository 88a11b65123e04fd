#![doc = include_str!("../README.md")]
//!
//! # The steps
//!
//! Receiving a payment over a channel that does not exist yet: [`Client::call`] with
//! [`GetInfo`](lsps_types::lsps2::GetInfo), [`jit_receive::choose`], `call` with [`Buy`](lsps_types::lsps2::Buy),
//! [`jit_receive::prepare`], make the invoice, [`Input::RegisterPurchase`], and hand the invoice out once the record is
//! written. Then [`Input::ChannelRequested`], [`Client::arrived`], [`Input::PaymentClaimed`].
//!
//! Ordering a channel: `call` with [`GetInfo`](lsps_types::lsps1::GetInfo), [`order::LspOptions::check`], `call` with
//! [`order::CheckedRequest::create_order`], [`order::CheckedRequest::verify`], [`Input::PlaceOrder`],
//! [`Input::PayOrder`], and the effects that follow. Feature `session` has all of that in one call.
//!
//! Being woken while the wallet sleeps: [`Input::KeepWebhook`], once for each app.
//!
//! Every event is an [`Input`] to [`Client::handle`]. A tape ([`Client::record_on`]) records the inputs and their
//! consequences, and [`replay`] repeats them.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(clippy::wildcard_enum_match_arm)]

extern crate alloc;
#[cfg(feature = "session")]
extern crate std;

mod batch;
mod client;
mod clock;
mod effect;
mod input;
pub mod jit_receive;
pub mod order;
mod outcome;
mod pending;
pub mod select;
#[cfg(feature = "session")]
pub mod session;
mod tape;
mod wake;
pub mod webhooks;

pub use lsps_types as types;

pub use batch::{Batch, FlowId, Notice, Released};
pub use client::{CallError, Client, Config};
pub use effect::{AcceptTerms, ChannelKey, Effect, EffectKey};
pub use input::{CallId, Input};
pub use lsps_flow::{Tape, UnknownFlow, Unreadable};
pub use outcome::{Heard, NotSent, Outcome, Refusal};
pub use pending::{RequestIds, Ticket};
pub use tape::{Divergence, Draws, Turn, replay};
pub use wake::Wake;

#![doc = include_str!("../README.md")]
//!
//! # The ports
//!
//! The node, its peers' messages, the on-chain wallet, the chain backend, the record store, the notifier and the clock
//! are [`ports`]: traits that a binding implements. The host is the one implementation of the rules that keep money
//! safe: a record is durable before anything that follows from it is done; an input that the core refuses is undone at
//! its source; after a start the records are compared with the node.
//!
//! [`Lsp::start`] returns a handle and a [`Runner`]. A binding polls the future of [`Runner::run`] on the runtime of
//! its choice, and passes every event of its node to [`Lsp::handle_node_event`]. [`wallet`] has the same for a wallet.
//! The repository's `docs/host.md` is the guide for bindings.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod inbox;
mod lsp;
pub mod ports;
mod pump;
mod records;
pub mod wallet;
#[cfg(feature = "webhook-http")]
pub mod webhook;

pub use lsps_client as client;
pub use lsps_service as service;
pub use lsps_types as types;

pub use inbox::{Budget, Inbox, PeerEvent};
pub use lsp::{
    BookPage, BookPages, CannotStart, Lsp, LspEvent, LspEvents, LspParts, LspSettings, PostReporter, Runner, Started,
    TxPurpose,
};
pub use pump::{Stopped, TellAgain};
pub use records::{Loaded, RETRY, Records};

//! Runs an LSPS core in a process, and knows no node.
//!
//! A node, an on-chain wallet, a chain backend, a record store and a clock are [`ports`]: traits that a binding implements.
//! Over them stands one implementation of what keeps money safe: a record is durable before anything that follows from it is
//! done, what the core refuses is undone at its source, and after a start records and node are compared.
//!
//! [`Lsp::start`] gives back a handle and a future. A binding polls that future on the runtime of its choice.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod inbox;
mod lsp;
pub mod ports;
mod records;
#[cfg(feature = "webhook-http")]
pub mod webhook;

pub use inbox::{Budget, Inbox, PeerEvent};
pub use lsp::{
    BookPage, BookPages, CannotStart, Lsp, LspEvent, LspEvents, LspParts, Owed, Posted, Runner, Started, Stopped,
    TellAgain,
};
pub use records::{Loaded, RETRY, Records};

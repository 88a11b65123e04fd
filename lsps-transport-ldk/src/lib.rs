//! Binds the cores to LDK: an LSP as part of a node that speaks for itself.
//!
//! No protocol rule lives here. LDK's events become inputs, effects become calls, records go to any LDK store.
#![forbid(unsafe_code)]

mod config;
mod handler;
mod lsp;
mod message;
mod node;
pub mod onchain;
mod pump;
mod store;

pub use config::{SettingMissing, preset_for_lsp};
pub use handler::{LspsMessageHandler, PeerEvent, Role};
pub use lsp::{CannotStart, Lsp, LspParts};
pub use lsps_types::lsps2::PromiseKey;
pub use message::LspsMessage;
pub use node::Manager;

//! Binds the cores to LDK: an LSP, or a wallet that is paid before it has a channel, as part of a node.
//!
//! No protocol rule lives here. LDK's events become inputs, effects become calls, records go to any LDK store.
#![forbid(unsafe_code)]

mod config;
mod handler;
mod inbox;
mod lsp;
mod message;
pub mod onchain;
mod peers;
mod router;
mod store;
pub mod wallet;
#[cfg(feature = "webhook-http")]
pub mod webhook;

pub use config::{CannotStart, SettingMissing, preset_for_lsp, preset_for_wallet};
pub use handler::{LspsMessageHandler, Observed, PeerEvent, Role};
pub use lsp::{BookPage, BookPages, Lsp, LspEvent, LspEvents, LspParts, Notifier, Owed, Post, PostFate, Posted};
pub use lsps_types::lsps2::PromiseKey;
pub use lsps_types::{Msat, PaymentHash, Ppm};
pub use message::LspsMessage;
pub use peers::{Manager, PeerManager};
pub use router::OrderRouter;
pub use store::{BatchStore, Change, Store};
pub use wallet::{KnownLsp, Wallet, WalletParts};

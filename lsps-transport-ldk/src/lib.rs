#![doc = include_str!("../README.md")]
//!
//! # The binding
//!
//! This crate contains no rule of the protocols. LSP and wallet are [`lsps_host`] on ports that LDK implements. LDK's
//! events become the host's, its calls become LDK's, records go to any LDK store.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod config;
mod handler;
mod lsp;
mod message;
mod peers;
mod router;
#[cfg(feature = "webhook-http")]
mod signer;
mod store;
#[cfg(feature = "net-tokio")]
mod tcp;
pub mod wallet;

pub use {bitcoin, lightning};
pub use {lsps_client as client, lsps_host as host, lsps_service as service, lsps_types as types};

pub use config::{CannotStart, SettingMissing, preset_for_lsp, preset_for_wallet};
pub use handler::{LspsMessageHandler, Observed, PeerEvent, Role};
pub use lsp::{Lsp, LspParts};
pub use lsps_host::ports::{Notifier, Post, PostResult};
#[cfg(feature = "webhook-http")]
pub use lsps_host::webhook;
pub use lsps_host::{BookPage, BookPages, LspEvent, LspEvents, LspSettings, PostReporter, Stopped, TxPurpose, ports};
pub use lsps_types::lsps2::PromiseKey;
pub use lsps_types::{Msat, PaymentHash, Ppm};
pub use message::LspsMessage;
pub use peers::{Manager, PeerManager};
pub use router::OrderRouter;
#[cfg(feature = "webhook-http")]
pub use signer::webhook_notifier;
pub use store::{BatchStore, Change, Store, records};
#[cfg(feature = "net-tokio")]
pub use tcp::TcpConnect;
pub use wallet::{KnownLsp, Wallet, WalletParts, WalletSettings};

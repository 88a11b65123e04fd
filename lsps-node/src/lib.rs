#![doc = include_str!("../README.md")]
//!
//! # The parts
//!
//! [`Node`] is a ready node, made by a [`Builder`](builder::Builder). [`node::Node`] below it has channels, peers and coins;
//! [`node::save`] defines the order in which it is persisted. [`chain`] has the sources of the
//! chain: features `bitcoind`, `esplora` and `electrum`, none by default. [`Chain`] is one in this process, which checks and mines
//! real transactions. [`BdkWallet`] pays for channels, watches deposits and refunds them; [`store`] has the stores that outlive a node.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod builder;
pub mod chain;
mod identity;
pub mod node;
pub mod ready;
pub mod seed;
pub mod store;
pub mod wallet;

pub use lsps_transport_ldk;
pub use lsps_transport_ldk::{Msat, bitcoin, lightning};

pub use bitcoin::Network;
pub use chain::embedded::Chain;
pub use identity::Origin;
pub use ready::Node;
pub use seed::Phrase;
pub use wallet::BdkWallet;

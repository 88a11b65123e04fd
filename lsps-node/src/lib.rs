#![doc = include_str!("../README.md")]
//!
//! # The parts
//!
//! [`Node`] has channels, peers and coins; [`node::save`] defines the order in which it is persisted. [`chain`] has the
//! sources of blocks; [`Chain`] is one in this process, which checks and mines real transactions. [`BdkWallet`] pays for channels, watches deposits and refunds them;
//! [`store`] has the stores that outlive a node.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod chain;
pub mod node;
pub mod store;
pub mod wallet;

pub use lsps_transport_ldk;
pub use lsps_transport_ldk::{bitcoin, lightning};

pub use chain::embedded::Chain;
pub use node::Node;
pub use wallet::BdkWallet;

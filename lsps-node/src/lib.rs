#![doc = include_str!("../README.md")]
//!
//! # The parts
//!
//! [`Node`] has channels, peers and coins; [`node::save`] is the order in which it is saved. [`Chain`] checks and mines real
//! transactions in real blocks. [`BdkWallet`] pays for channels, sees deposits and refunds them; [`store`] keeps what must
//! outlive a node.
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

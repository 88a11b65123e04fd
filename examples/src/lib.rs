//! An embedded regtest chain, and what a Lightning node needs of it.
//!
//! [`Chain`] checks and mines real transactions in real blocks; [`BdkWallet`] pays for channels on it; [`store`] keeps what
//! must outlive a node.

pub mod chain;
pub mod fault;
pub mod hook;
pub mod https;
pub mod node;
pub mod push;
pub mod scene;
pub mod store;
pub mod tape;
pub mod wallet;
pub mod words;

pub use chain::Chain;
pub use node::Node;
pub use scene::Scene;
pub use wallet::BdkWallet;

/// The examples in the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

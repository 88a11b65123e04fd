//! A Lightning node from LDK's parts, with the on-chain wallet and the stores that LSPs and wallets of these crates need.
//!
//! [`Node`] has channels, peers and coins, and is saved in an order that no power cut can punish ([`node::save`]). A host of
//! `lsps-transport-ldk` makes it an LSP, or a wallet that is paid before it has a channel. [`Chain`] is a regtest chain
//! inside the process: it checks and mines real transactions in real blocks, with nothing installed. [`BdkWallet`] pays for
//! channels, sees deposits and refunds them; [`store`] keeps what must outlive a node.
#![forbid(unsafe_code)]

pub mod chain;
pub mod node;
pub mod store;
pub mod wallet;

pub use chain::embedded::Chain;
pub use node::Node;
pub use wallet::BdkWallet;

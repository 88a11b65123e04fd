//! A scripted world in virtual time: an LSP with a model node and a store that survive its crashes, and peers that send
//! what the script says.
//!
//! Feature `webhooks` has HTTPS servers to post to, feature `nodes` scenes of real LDK nodes and faults for them.

#[cfg(feature = "nodes")]
pub mod electrum;
#[cfg(feature = "nodes")]
pub mod esplora;
#[cfg(feature = "nodes")]
pub mod fault;
pub mod fuzzing;
#[cfg(feature = "webhooks")]
pub mod hook;
#[cfg(feature = "nodes")]
mod http;
#[cfg(feature = "webhooks")]
pub mod https;
mod lsp;
pub mod many;
pub mod mixed_world;
mod model;
pub mod mutants;
pub mod order_world;
mod polled;
#[cfg(feature = "webhooks")]
pub mod push;
#[cfg(feature = "nodes")]
pub mod rpc;
#[cfg(feature = "nodes")]
pub mod scene;
mod setup;
mod soak;
#[cfg(feature = "nodes")]
pub mod story;
pub mod table;
#[cfg(feature = "nodes")]
pub mod tape;
pub mod wallet_world;
pub mod world;

pub use lsp::{Act, Lsp, buys, call};
pub use setup::{LspSetup, MINING_SAT, NOON, address_of, an_order, anything, offer_id, outpoint, peer};
pub use soak::{Seen, play_seeds, power, soak};

/// Error of a program or a scene, as text.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

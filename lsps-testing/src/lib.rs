//! A scripted world in virtual time: an LSP with a model node and a store that survive its crashes, and peers who say
//! what the script wants.

pub mod fuzzing;
mod lsp;
pub mod many;
mod model;
pub mod mutants;
pub mod order_world;
mod setup;
mod soak;
pub mod world;

pub use lsp::{Act, Lsp, buys, call};
pub use setup::{LspSetup, MINING_SAT, NOON, address_of, an_order, anything, offer_id, outpoint, peer};
pub use soak::{Seen, play_seeds, power, soak};

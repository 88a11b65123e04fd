//! Messages, error codes and money arithmetic of the Lightning Service Provider protocols.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

pub mod bolt4;
pub mod codes;
pub mod jsonrpc;
pub mod lsps0;
pub mod lsps2;
pub mod method;
mod strict;
pub mod text;
pub mod units;

pub use method::{AnyRequest, Method, Request};
pub use text::PeerText;
pub use units::{BlockHeight, Blocks, DateTime, Msat, PaymentHash, PeerId, Ppm, Scid, Timestamp, Txid};

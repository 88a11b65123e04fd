#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(clippy::wildcard_enum_match_arm)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::as_conversions)]

extern crate alloc;

pub mod bolt4;
mod client_info;
pub mod codes;
pub mod guide;
pub mod jsonrpc;
pub mod lsps0;
pub mod lsps1;
pub mod lsps2;
pub mod lsps5;
pub mod method;
pub mod signature;
mod strict;
pub mod text;
pub mod units;

pub use client_info::{ClientInfo, TextTooLong};
pub use method::{AnyRequest, Method, Request};
pub use text::PeerText;
pub use units::{
    Address, BlockHeight, Blocks, ClockShift, DateTime, FeeRate, Msat, Network, OutPoint, PaymentHash, PeerId, Ppm,
    Preimage, Sat, Scid, Timestamp, Txid,
};

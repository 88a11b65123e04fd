//! Messages, error codes and money arithmetic of the Lightning Service Provider protocols.
#![no_std]
extern crate alloc;

pub mod lsps2;
pub mod units;

pub use units::{BlockHeight, Blocks, DateTime, Msat, PaymentHash, PeerId, Ppm, Scid, Timestamp};

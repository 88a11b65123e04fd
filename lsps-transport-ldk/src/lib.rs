//! placeholder

pub mod onchain;

//! Stories of channels that a wallet orders and pays for.
#![allow(non_snake_case)]

#[path = "../common/mod.rs"]
mod common;

mod both;
mod channels;
mod desk;
mod free;
mod lies;
mod life;
mod ordering;
mod paying;
mod polling;
mod random;
mod records;
mod returned;

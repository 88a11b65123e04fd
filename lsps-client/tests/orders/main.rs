//! Stories of channels that are ordered and paid for.
#![allow(non_snake_case)]

#[path = "../common/mod.rs"]
mod common;

mod both;
mod channels;
mod desk;
mod lies;
mod life;
mod ordering;
mod paying;
mod polling;
mod random;
mod records;
mod returned;

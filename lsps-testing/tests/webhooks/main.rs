//! LSPS5 notifications on their way: a real client, real HTTPS servers on loopback.
#![allow(non_snake_case)]

mod delivery;
mod many;
mod observed;
mod push;
mod targets;

//! Delivery of LSPS5 notifications with a real client and real HTTPS servers on loopback.
#![allow(non_snake_case)]

mod delivery;
mod many;
mod observed;
mod push;
mod targets;

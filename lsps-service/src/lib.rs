//! The provider's side of the LSPS protocols, as state machines without I/O.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

mod batch;
mod config;
mod effect;
mod ids;
mod index;
mod input;
mod limits;
mod lsps2;
mod policy;
mod record;
mod requests;
mod service;

pub use batch::{Batch, Released};
pub use config::{Config, ConfigError};
pub use effect::{Effect, EffectKey};
pub use ids::{ChannelId, ChannelKey, FlowId, PartId, UnknownFlow};
pub use input::{ChannelEnd, FundingOutput, HeldHtlc, Input, WhichPart};
pub use limits::Limits;
pub use lsps2::may_close;
pub use policy::{
    BuyRefusal, BuyRequest, MenuRefusal, MenuRequest, NodeFacts, OfferTerms, Policy, StandardPolicy, Trust,
};
pub use record::{Record, Unreadable};
pub use service::{ChannelStage, KnownChannel, KnownPart, Outcome, Refusal, ScidSource, Service, Wake};

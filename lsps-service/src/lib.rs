#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(clippy::wildcard_enum_match_arm)]

extern crate alloc;

mod batch;
mod book;
pub mod capacity;
mod channel;
mod clock;
mod config;
mod decisions;
mod effect;
mod flow;
mod ids;
mod input;
mod limits;
mod lsps1;
mod lsps2;
mod lsps5;
mod outcome;
mod policy;
mod record;
mod requests;
mod service;
mod tape;
mod view;
mod wake;

pub use lsps_types as types;

pub use batch::{Batch, Introduced, Released};
pub use book::{BookEntry, BookTotals, Booking};
pub use config::{Config, ConfigError, OrderConfig, WebhookConfig};
pub use decisions::{Decision, PendingDecision, PendingRequest};
pub use effect::{Effect, EffectKey, OpenTerms, PaymentTerms, PostKey, Urgency};
pub use ids::{BookKey, ChannelId, ChannelKey, DecisionId, FlowId, OfferId, OrderNumber, PartId, PaymentId, RefundKey};
pub use input::{ChannelEnd, Deposit, FundingOutput, HeldHtlc, HeldPayment, Input, PaidBy, Prepared, WhichPart};
pub use limits::Limits;
pub use lsps_flow::{Tape, UnknownFlow};
pub use lsps1::order::OrderFailure;
pub use lsps1::payments::PaymentMethod;
pub use lsps1::view::{KnownOrder, KnownPayment, KnownRefund, OrderStage, PaymentStage};
pub use lsps2::may_close;
pub use lsps5::wake_reason::WakeReason;
pub use outcome::{Outcome, Refusal};
pub use policy::{
    AmountRule, BuyRefusal, BuyRequest, ChannelPlan, ChannelRequest, ClientHistory, ClientTerms, MenuRefusal,
    MenuRequest, MethodTerms, NodeFacts, OfferTerms, OrderPolicy, OrderRefusal, OrderRequest, OrderTerms, Policy, Sale,
    StandardPolicy, TokenTerms, Trust, UnknownToken,
};
pub use record::{Record, Unreadable};
pub use service::{ScidSource, Service};
pub use tape::{Divergence, Draws, Turn, replay};
pub use view::{ChannelStage, KnownChannel, KnownPart, OpenedFor, Promised};
pub use wake::Wake;

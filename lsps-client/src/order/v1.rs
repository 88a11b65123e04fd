//! Version 1 of an order's record. Only the conversion may change here.

use alloc::{string::String, vec::Vec};

use lsps_types::lsps1::{CreateOrder, OrderId};
use lsps_types::{Blocks, PeerId, Sat, Timestamp};
use serde::Deserialize;

use super::{Lease, OrderKey, PaymentInstructions, PaymentMethod, Rules, Unpaid, record};
use crate::effect::ChannelKey;

#[derive(Deserialize)]
pub(super) struct Order {
    key: OrderKey,
    lsp: PeerId,
    id: OrderId,
    #[serde(with = "record::Ordered")]
    ordered: CreateOrder,
    options: Vec<PaymentOption>,
    keep_millis: u64,
    state: State,
    trouble: Option<Trouble>,
    unanswered_since: Option<Timestamp>,
}

#[derive(Deserialize)]
struct PaymentOption {
    instructions: PaymentInstructions,
    fee: Sat,
    total: Sat,
    pay_by: Timestamp,
}

#[derive(Deserialize)]
enum State {
    Quoted,
    Paying(Paying),
    Refunding(Paying),
    Ended { end: End, keep_until: Timestamp },
    Gone,
}

#[derive(Deserialize)]
struct Paying {
    method: PaymentMethod,
    payment: Payment,
    held: bool,
    channel: Option<Channel>,
}

#[derive(Deserialize)]
enum Payment {
    Asked,
    Signed(Vec<u8>),
    Settled,
    Returned { ask_until: Timestamp },
}

#[derive(Deserialize)]
struct Channel {
    key: ChannelKey,
    attempt: u32,
    pending: bool,
}

#[derive(Deserialize)]
enum End {
    Done { lease: Lease, channel: Option<Channel> },
    Refunded,
    Unpaid(Unpaid),
    GivenUp,
}

#[derive(Deserialize)]
enum Trouble {
    Silent { since: Timestamp },
    Forgotten,
    Differs { field: String },
}

impl From<Order> for super::Order {
    fn from(old: Order) -> Self {
        let give_up_at = old.options.iter().map(|option| option.pay_by).max().unwrap_or_default();
        let accept = super::Accept {
            confirmations: old.ordered.required_channel_confirmations,
            max_to_self_delay: Blocks(u32::MAX),
            underpaying: false,
        };
        Self {
            key: old.key,
            lsp: old.lsp,
            id: old.id,
            ordered: old.ordered,
            options: old.options.into_iter().map(Into::into).collect(),
            keep_millis: old.keep_millis,
            give_up_at: give_up_at + Rules::default().give_up_after,
            is_paid_under_its_hash: true,
            state: old.state.now(accept),
            trouble: old.trouble.map(Into::into),
            unanswered_since: old.unanswered_since,
            reserved: None,
            confirm_by: None,
        }
    }
}

impl From<PaymentOption> for super::PaymentOption {
    fn from(old: PaymentOption) -> Self {
        let extra = Rules::default().max_extra;
        Self { instructions: old.instructions, fee: old.fee, total: old.total, extra, pay_by: old.pay_by }
    }
}

impl State {
    fn now(self, accept: super::Accept) -> super::State {
        match self {
            Self::Quoted => super::State::Quoted,
            Self::Paying(paying) => super::State::Paying(paying.now(accept)),
            Self::Refunding(paying) => super::State::Refunding(paying.now(accept)),
            Self::Ended { end, keep_until } => super::State::Ended { end: end.now(accept), keep_until },
            Self::Gone => super::State::Gone,
        }
    }
}

impl Paying {
    fn now(self, accept: super::Accept) -> super::Paying {
        let payment = match self.payment {
            Payment::Asked => super::Payment::Asked,
            Payment::Signed(tx) => super::Payment::Signed(tx),
            Payment::Settled => super::Payment::Settled,
            Payment::Returned { ask_until } => super::Payment::Returned { ask_until },
        };
        let channel = self.channel.map(|channel| channel.now(accept));
        super::Paying { payment, held: self.held, channel, ..super::Paying::by(self.method, Vec::new()) }
    }
}

impl Channel {
    fn now(self, accept: super::Accept) -> super::Channel {
        let Self { key, attempt, pending } = self;
        super::Channel { key, attempt, pending, funding: None, funded_at: None, asked: None, accept }
    }
}

impl End {
    fn now(self, accept: super::Accept) -> super::End {
        match self {
            Self::Done { lease, channel } => {
                super::End::Done { lease, channel: channel.map(|channel| channel.now(accept)) }
            }
            Self::Refunded => super::End::Refunded,
            Self::Unpaid(why) => super::End::Unpaid(why),
            Self::GivenUp => super::End::GivenUp,
        }
    }
}

impl From<Trouble> for super::Trouble {
    fn from(old: Trouble) -> Self {
        match old {
            Trouble::Silent { since } => Self::Silent { since },
            Trouble::Forgotten => Self::Forgotten,
            Trouble::Differs { field } => Self::Differs { field },
        }
    }
}

//! Orders as version 1 of their record had them. Kept as they were; only what becomes of them here may change.

use alloc::{string::String, vec::Vec};

use lsps_types::lsps1::{CreateOrder, OrderId};
use lsps_types::{PeerId, Sat, Timestamp};
use serde::Deserialize;

use super::{Bill, Lease, OrderKey, Rules, Unpaid, WayKind, wire};
use crate::effect::ChannelKey;

#[derive(Deserialize)]
pub(super) struct Order {
    key: OrderKey,
    lsp: PeerId,
    id: OrderId,
    #[serde(with = "wire::Ordered")]
    ordered: CreateOrder,
    ways: Vec<Way>,
    keep_millis: u64,
    state: State,
    trouble: Option<Trouble>,
    unanswered_since: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Way {
    bill: Bill,
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
    way: WayKind,
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
        Self {
            key: old.key,
            lsp: old.lsp,
            id: old.id,
            ordered: old.ordered,
            ways: old.ways.into_iter().map(Into::into).collect(),
            keep_millis: old.keep_millis,
            is_paid_under_its_hash: true,
            state: old.state.into(),
            trouble: old.trouble.map(Into::into),
            unanswered_since: old.unanswered_since,
        }
    }
}

impl From<Way> for super::Way {
    fn from(old: Way) -> Self {
        let extra = Rules::default().max_extra;
        Self { bill: old.bill, fee: old.fee, total: old.total, extra, pay_by: old.pay_by }
    }
}

impl From<State> for super::State {
    fn from(old: State) -> Self {
        match old {
            State::Quoted => Self::Quoted,
            State::Paying(paying) => Self::Paying(paying.into()),
            State::Refunding(paying) => Self::Refunding(paying.into()),
            State::Ended { end, keep_until } => Self::Ended { end: end.into(), keep_until },
            State::Gone => Self::Gone,
        }
    }
}

impl From<Paying> for super::Paying {
    fn from(old: Paying) -> Self {
        let payment = match old.payment {
            Payment::Asked => super::Payment::Asked,
            Payment::Signed(tx) => super::Payment::Signed(tx),
            Payment::Settled => super::Payment::Settled,
            Payment::Returned { ask_until } => super::Payment::Returned { ask_until },
        };
        Self { way: old.way, payment, held: old.held, channel: old.channel.map(Into::into) }
    }
}

impl From<Channel> for super::Channel {
    fn from(old: Channel) -> Self {
        Self { key: old.key, attempt: old.attempt, pending: old.pending }
    }
}

impl From<End> for super::End {
    fn from(old: End) -> Self {
        match old {
            End::Done { lease, channel } => Self::Done { lease, channel: channel.map(Into::into) },
            End::Refunded => Self::Refunded,
            End::Unpaid(why) => Self::Unpaid(why),
            End::GivenUp => Self::GivenUp,
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

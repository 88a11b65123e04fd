//! JIT channel records of versions 1 to 3 and order records of versions 1 and 2. Version 1 of JIT channels lacks the token,
//! the book, the surplus of parts, the calls and the cost of the funding. The others lack the last fields of the next
//! version.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use lsps_types::lsps2::fee::FeeTerms;
use lsps_types::{BlockHeight, Msat, PaymentHash, PeerId, Ppm, Scid, Timestamp};
use serde::Deserialize;

use crate::channel::{self, Funding};
use crate::flow::WakeUp;
use crate::ids::{ChannelId, PartId};
use crate::input::FundingOutput;
use crate::lsps2::jit_channel::{self, Charged};
use crate::lsps2::parts::{self, PartState};

/// Converts an order record of version 1 to the layout of version 2, which adds the ids of its payments: there are
/// none.
pub(super) fn order(bytes: &[u8]) -> Vec<u8> {
    order_of_v2(&[bytes, &[NO_ENTRIES]].concat())
}

/// Converts an order record of version 2 to the layout of version 3, which adds until when the client of a free order is
/// waited for: no order was free.
pub(super) fn order_of_v2(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[NONE]].concat()
}

/// Converts a JIT channel record of version 2 to the layout of version 3, which adds whether the fee in flight is in
/// the book: version 2 booked it at once.
pub(super) fn offer_of_v2(bytes: &[u8]) -> Vec<u8> {
    offer_of_v3(&[bytes, &[TRUE]].concat())
}

/// Converts a JIT channel record of version 3 to the layout of version 4, which adds when the channel was opened to
/// other payments: never.
pub(super) fn offer_of_v3(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[NONE]].concat()
}

const TRUE: u8 = 1;
const NONE: u8 = 0;
/// Encoding of an empty map.
const NO_ENTRIES: u8 = 0;

#[derive(Deserialize)]
pub(super) struct JitChannel {
    id: Scid,
    client: PeerId,
    terms: Terms,
    attempt: u32,
    channel: Channel,
    fee: Fee,
    payments: BTreeMap<PaymentHash, Payment>,
}

#[derive(Deserialize)]
struct Terms {
    payment_size: Option<Msat>,
    fee: FeeTerms,
    valid_until: Timestamp,
    max_client_to_self_delay: u32,
    min_lifetime: u32,
    client_trusts_lsp: bool,
    htlc_minimum: Msat,
}

#[derive(Deserialize)]
enum Fee {
    Due,
    InFlight { payment_hash: PaymentHash, fee: Msat },
    Paid,
}

#[derive(Deserialize)]
enum Channel {
    None,
    Opening { since: Timestamp, capacity_sat: u64, deliver: Msat, step: Step },
    Pending { funding: Option<Vec<u8>> },
    Ready { funding: Option<Vec<u8>>, channel_id: ChannelId },
    Closed { funding: Option<Vec<u8>> },
    Abandoning { funding: Option<Vec<u8>> },
}

#[derive(Deserialize)]
enum Step {
    Asked,
    Negotiated { output: FundingOutput },
    Funded { tx: Vec<u8> },
}

#[derive(Deserialize)]
struct Payment {
    since: Timestamp,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    id: PartId,
    onion_amount: Msat,
    cltv_expiry: Option<BlockHeight>,
    state: PartState,
}

impl From<JitChannel> for jit_channel::JitChannel {
    fn from(old: JitChannel) -> Self {
        let Terms { payment_size, fee, valid_until, max_client_to_self_delay, min_lifetime, .. } = old.terms;
        let terms = jit_channel::Terms {
            payment_size,
            fee,
            valid_until,
            max_client_to_self_delay,
            min_lifetime,
            client_trusts_lsp: old.terms.client_trusts_lsp,
            htlc_minimum: old.terms.htlc_minimum,
            remember_until: None,
        };
        let mut new = Self::new(old.id, old.client, None, terms);
        new.attempt = old.attempt;
        new.channel = old.channel.into();
        new.fee = match old.fee {
            Fee::Due => jit_channel::Fee::Due,
            Fee::InFlight { payment_hash, fee } => {
                let (due, paid_before) = (Msat::ZERO, Msat::ZERO);
                jit_channel::Fee::InFlight(Box::new(Charged { payment_hash, fee, due, paid_before }))
            }
            Fee::Paid => jit_channel::Fee::Paid,
        };
        new.payments = old.payments.into_iter().map(|(hash, payment)| (hash, payment.into())).collect();
        new.wake_up = WakeUp::default();
        new.is_booked = true;
        new
    }
}

impl From<Channel> for channel::Channel {
    fn from(old: Channel) -> Self {
        // The broadcast is asked for again at load, so the count of blocks begins with the next height.
        let funding = |tx| Funding { tx, mining_sat: 0, ask: 1, asked_at: BlockHeight(0) };
        let kept = |tx: Option<Vec<u8>>| tx.map(funding);
        match old {
            Channel::None => Self::None,
            Channel::Opening { since, capacity_sat, deliver, step } => {
                let step = match step {
                    Step::Asked => channel::Step::Asked,
                    Step::Negotiated { output } => channel::Step::Negotiated { output },
                    Step::Funded { tx } => channel::Step::Funded(funding(tx)),
                };
                Self::Opening { since, capacity_sat, deliver, client_reserve: Ppm(10_000), step }
            }
            Channel::Pending { funding } => Self::Pending { funding: kept(funding) },
            Channel::Ready { funding, channel_id } => Self::Ready { funding: kept(funding), channel_id },
            Channel::Closed { funding } => Self::Closed { funding: kept(funding) },
            Channel::Abandoning { funding } => Self::Abandoning { funding: kept(funding) },
        }
    }
}

impl From<Payment> for parts::Payment {
    fn from(old: Payment) -> Self {
        let part = |Part { id, onion_amount, cltv_expiry, state }| parts::Part {
            id,
            onion_amount,
            surplus: Msat::ZERO,
            cltv_expiry,
            state,
            sent_before: None,
            in_doubt: false,
            another_held: false,
        };
        Self { since: old.since, parts: old.parts.into_iter().map(part).collect() }
    }
}

//! Version 1 of a purchase's record.

use lsps_types::{Blocks, Msat, PaymentHash, PeerId, Ppm, Preimage, Scid, Timestamp};
use serde::Deserialize;

use super::{Channel, Promised, Purchase};

pub(super) const VERSION: u8 = 1;

#[derive(Deserialize)]
pub(super) struct OldPurchase {
    payment_hash: PaymentHash,
    lsp: PeerId,
    terms: Terms,
    state: State,
}

#[derive(Deserialize)]
struct Terms {
    scid: Scid,
    amount: Option<Msat>,
    promised: Promised,
    max_proportional_fee: Option<Ppm>,
    valid_until: Timestamp,
    open_until: Timestamp,
    keep_until: Timestamp,
    min_lifetime: Blocks,
    max_to_self_delay: Blocks,
    client_trusts_lsp: bool,
    confirmations_to_wait: u16,
}

#[derive(Deserialize)]
enum State {
    Waiting,
    Channel(Channel),
    Holding(Holding),
    Paid { received: Msat, skimmed: Msat },
    Expired,
    Abandoned,
    Gone,
}

#[derive(Deserialize)]
struct Holding {
    received: Msat,
    skimmed: Msat,
    preimage: Preimage,
    channel: Option<Channel>,
}

impl From<OldPurchase> for Purchase {
    fn from(old: OldPurchase) -> Self {
        let OldPurchase { payment_hash, lsp, terms, state } = old;
        Self { payment_hash, lsp, terms: terms.into(), state: state.into() }
    }
}

impl From<Terms> for super::Terms {
    fn from(old: Terms) -> Self {
        let Terms { scid, amount, promised, max_proportional_fee, valid_until, open_until, keep_until, .. } = old;
        let Terms { min_lifetime, max_to_self_delay, client_trusts_lsp, confirmations_to_wait, .. } = old;
        Self {
            scid,
            amount,
            promised,
            max_proportional_fee,
            // Version 1 had no such rule.
            least_net: Msat::ZERO,
            valid_until,
            open_until,
            keep_until,
            min_lifetime,
            max_to_self_delay,
            client_trusts_lsp,
            confirmations_to_wait,
        }
    }
}

impl From<State> for super::State {
    fn from(old: State) -> Self {
        match old {
            State::Waiting => Self::Waiting,
            State::Channel(channel) => Self::Channel(channel),
            State::Holding(Holding { received, skimmed, preimage, channel }) => {
                Self::Holding(super::Holding { received, skimmed, preimage: Some(preimage), channel })
            }
            State::Paid { received, skimmed } => Self::Paid { received, skimmed },
            // Version 1 did not keep the channel.
            State::Expired => Self::Expired(None),
            State::Abandoned => Self::Abandoned,
            State::Gone => Self::Gone,
        }
    }
}

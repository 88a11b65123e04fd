//! Bounds on what peers can make us keep. Each is compared with the length of the collection itself.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// How much is kept for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Offers of one client that were not paid for; those that expired count until they are forgotten.
    pub offers_per_client: usize,
    /// The same of all clients. Strangers have three quarters of it; once half of those are taken, what they buy is valid for
    /// minutes.
    pub offers: usize,
    /// Channels of one client, for offers and orders, that are being opened or whose funding is kept back: each holds coins.
    /// Each further one waits for the end of one of them, and goes back when its time is up.
    pub opens_per_client: usize,
    /// Parts of one offer that the node holds or carries; a channel has no more HTLC slots.
    pub parts_per_offer: usize,
    /// Parts of one offer that are remembered, resolved ones included.
    pub known_parts_per_offer: usize,
    /// Orders of one client that are neither completed nor failed.
    pub orders_per_client: usize,
    /// Orders of all clients that are not completed; those that failed count until they are forgotten. Strangers have three
    /// quarters of it; once half of those are taken, a stranger has one, which can be paid over Lightning for some minutes.
    pub orders: usize,
    /// Lightning payments of one order that are remembered.
    pub payments_per_order: usize,
    /// Outputs to the address of one order; what comes after that is the operator's to look at.
    pub deposits_per_order: usize,
    /// SCIDs drawn for one buy until it is given up.
    pub scid_draws: usize,
    /// Requests of one client that wait for a decision taken elsewhere.
    pub questions_per_client: usize,
    /// The same of all clients. Strangers leave half of it to clients with a channel or a paid offer.
    pub questions: usize,
    /// Offers, orders and changes of webhooks within a second of strangers: clients that have no channel with the node and
    /// paid for nothing. A name costs them nothing, and each of these is a record to write. What is beyond is refused.
    pub sales_to_strangers: usize,
    /// Webhooks of one client that has, had or paid for a channel.
    pub webhooks_per_client: usize,
    /// Such clients with webhooks.
    pub webhook_clients: usize,
    /// Webhooks of one client that never had nor paid for a channel: a stranger.
    pub webhooks_per_stranger: usize,
    /// Strangers with webhooks.
    pub webhook_strangers: usize,
    /// Webhooks that one client sets anew or changes within an hour: each makes us post to a URL of its choice. A stranger
    /// may make at most two changes for each of its webhooks.
    pub webhook_changes: usize,
    /// Notifications that wait to be posted to one webhook.
    pub posts_per_webhook: usize,
    /// How often a client is called for the same without a whole cooldown between, each time after it came and went.
    pub calls_per_cooldown: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            offers_per_client: 20,
            offers: 200_000,
            opens_per_client: 3,
            parts_per_offer: 50,
            known_parts_per_offer: 500,
            orders_per_client: 20,
            orders: 100_000,
            payments_per_order: 20,
            deposits_per_order: 20,
            scid_draws: 64,
            questions_per_client: 4,
            questions: 10_000,
            sales_to_strangers: 100,
            webhooks_per_client: 10,
            webhook_clients: 200_000,
            webhooks_per_stranger: 2,
            webhook_strangers: 20_000,
            webhook_changes: 20,
            posts_per_webhook: 20,
            calls_per_cooldown: 10,
        }
    }
}

impl Limits {
    /// Of so much room the share of strangers; the rest is for clients that have a channel or paid for something.
    pub(crate) fn of_strangers(room: usize) -> usize {
        room.saturating_sub(room / SHARE_OF_KNOWN)
    }

    /// So many are half of that share: then each further one has its turn only.
    pub(crate) fn crowd(room: usize) -> usize {
        Self::of_strangers(room).div_ceil(2)
    }

    /// How long a stranger can pay when half of the share is taken. What can be sold within that time, and until it gives
    /// way, fits into nine tenths of the other half: so the next has its turn, whatever the crowd does.
    pub(crate) fn turn_of_order(&self) -> Duration {
        // An order is kept for half as long after that.
        (self.time_of_crowd(self.orders) * 3 / 5).max(LEAST_TURN)
    }

    /// The same of an offer, which gives way at once.
    pub(crate) fn turn_of_offer(&self) -> Duration {
        (self.time_of_crowd(self.offers) * 9 / 10).max(LEAST_OFFER)
    }

    /// How long it takes to sell to strangers what half of their share has room for.
    fn time_of_crowd(&self, room: usize) -> Duration {
        let seconds = (Self::of_strangers(room) / 2).checked_div(self.sales_to_strangers).unwrap_or(0);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX).min(LONGEST))
    }

    pub(crate) fn webhooks_of(&self, is_customer: bool) -> usize {
        if is_customer { self.webhooks_per_client } else { self.webhooks_per_stranger.min(self.webhooks_per_client) }
    }

    pub(crate) fn webhook_changes_of(&self, is_customer: bool) -> usize {
        let of_stranger = self.webhooks_per_stranger.saturating_mul(2);
        if is_customer { self.webhook_changes } else { self.webhook_changes.min(of_stranger) }
    }
}

/// One part of so many of the room is not for strangers.
const SHARE_OF_KNOWN: usize = 4;
/// In seconds: a day. Nothing is sold for longer in a crowd.
const LONGEST: u64 = 86_400;
/// In less time nobody pays an order.
const LEAST_TURN: Duration = Duration::from_secs(60);
/// Or an invoice that was made for it after a purchase.
const LEAST_OFFER: Duration = Duration::from_secs(600);

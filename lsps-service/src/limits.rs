//! Bounds on the state that peers can make the service keep. Each is compared with the length of the collection itself.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits by kind of state and of client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Unpaid offers of one client. Expired offers count until they are removed.
    pub offers_per_client: usize,
    /// Unpaid offers of all clients. Strangers can use three quarters of it. Once they use half of their share, terms
    /// sold to strangers are valid for minutes only.
    pub offers: usize,
    /// Channels of one client, for offers and orders, that are being opened or whose funding is held back; each of them
    /// reserves coins. Another open waits until one of them ends, and its payment is refunded when its time is up.
    pub opens_per_client: usize,
    /// Parts of one offer that the node holds or forwards. A channel has no more HTLC slots.
    pub parts_per_offer: usize,
    /// Parts of one offer on record, resolved ones included.
    pub known_parts_per_offer: usize,
    /// Orders of one client that are neither completed nor failed.
    pub orders_per_client: usize,
    /// Orders of all clients that are not completed; failed orders count until they are removed. Strangers can use
    /// three quarters of it. Once they use half of their share, each stranger can have one order, which can be paid
    /// over Lightning for some minutes.
    pub orders: usize,
    /// Lightning payments of one order on record.
    pub payments_per_order: usize,
    /// Deposits of one order on record. Further deposits are left to the operator.
    pub deposits_per_order: usize,
    /// SCIDs drawn for one buy until it is refused.
    pub scid_draws: usize,
    /// Requests of one client that wait for a decision taken elsewhere.
    pub pending_decisions_per_client: usize,
    /// Requests of all clients that wait for a decision taken elsewhere. Strangers leave half of it to clients with a
    /// channel or a paid offer.
    pub pending_decisions: usize,
    /// Offers, orders and webhook changes per second of all strangers together: clients that have no channel with the
    /// node and paid for nothing. A node id costs nothing, and each of these is a record to write. Requests beyond the
    /// limit are refused.
    pub sales_to_strangers: usize,
    /// Webhooks of one client that has, had or paid for a channel.
    pub webhooks_per_client: usize,
    /// Number of clients with webhooks that have, had or paid for a channel.
    pub webhook_clients: usize,
    /// Webhooks of one stranger: a client that never had or paid for a channel.
    pub webhooks_per_stranger: usize,
    /// Number of strangers with webhooks.
    pub webhook_strangers: usize,
    /// Webhooks that one client can set or change within an hour; each makes the LSP post to a URL of the client's
    /// choice. A stranger can make at most two changes for each of its webhooks.
    pub webhook_changes: usize,
    /// Notifications that wait to be posted to one webhook.
    pub posts_per_webhook: usize,
    /// Number of notifications of one method to a client without a whole cooldown between them, each after the client
    /// connected and disconnected.
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
            pending_decisions_per_client: 4,
            pending_decisions: 10_000,
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
    /// Share of strangers in a limit. The rest is reserved for clients that have a channel or paid for something.
    pub(crate) fn of_strangers(room: usize) -> usize {
        room.saturating_sub(room / SHARE_OF_KNOWN)
    }

    /// Half of the strangers' share. From there on, each further stranger gets a short turn only.
    pub(crate) fn crowd(room: usize) -> usize {
        Self::of_strangers(room).div_ceil(2)
    }

    /// Time for which a stranger can pay an order once half of the share is used. The orders that can be sold within
    /// that time, and until they can be replaced, fit into nine tenths of the other half. So the next stranger always
    /// gets a turn.
    pub(crate) fn turn_of_order(&self) -> Duration {
        // An order is kept for half as long after that.
        (self.time_of_crowd(self.orders) * 3 / 5).max(LEAST_TURN)
    }

    /// Time for which a stranger can pay an offer once half of the share is used. An unpaid offer can be replaced at
    /// once.
    pub(crate) fn turn_of_offer(&self) -> Duration {
        (self.time_of_crowd(self.offers) * 9 / 10).max(LEAST_OFFER)
    }

    /// Time in which the sales to strangers fill half of their share.
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

/// One in this many places is reserved for clients that are not strangers.
const SHARE_OF_KNOWN: usize = 4;
/// Longest turn of a stranger, in seconds: a day.
const LONGEST: u64 = 86_400;
/// Shortest turn of an order; in less time nobody pays.
const LEAST_TURN: Duration = Duration::from_secs(60);
/// Shortest turn of an offer, in which its invoice has to be made and paid.
const LEAST_OFFER: Duration = Duration::from_secs(600);

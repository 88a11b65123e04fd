//! What an operator sets once. Plain data; [`Config::validate`] names the field that does not fit.

use core::time::Duration;

use lsps_types::{Blocks, Msat, Network};
use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// How the service behaves. The defaults are those of LSPS2 where it names a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// CLTV delta of the hop from us to the client, in blocks, as promised to the payer.
    pub cltv_expiry_delta: u16,
    /// Least amount that the channels to clients carry.
    pub htlc_minimum: Msat,
    /// How long parts are held for the rest of their payment, or for the client; LSPS2 wants 90 s at the least.
    pub hold: Duration,
    /// How long an open may take until the client has accepted it and the funding transaction is built.
    pub open_timeout: Duration,
    /// How long the client may take to sign then, while coins are reserved for it; it is connected and has one message to
    /// answer.
    pub sign_timeout: Duration,
    /// Blocks that have to be left of an incoming HTLC; at that number it is failed. Where the node tells its expiry.
    pub htlc_safety_blocks: Blocks,
    /// How long the outcome of a part is remembered: longer than the node needs to save itself.
    pub keep_resolved: Duration,
    /// How long an offer is remembered after `valid_until`.
    pub keep_expired: Duration,
    /// How long after `valid_until` a payment is still taken where the channel is open and not paid for.
    pub honour_expired: Duration,
    /// Blocks after which a funding transaction that is not confirmed counts as stuck.
    pub stuck_after: Blocks,
    /// How long a decision taken elsewhere may take before the client is told that there is none.
    pub decision_timeout: Duration,
    /// How orders of channels are dealt with.
    pub orders: OrderConfig,
    /// How clients are woken.
    pub webhooks: WebhookConfig,
    /// Bounds on what peers can make us keep.
    pub limits: Limits,
}

/// The part of [`Config`] about LSPS1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderConfig {
    /// Addresses to return payments to have to be of this network, which is the node's. `None`: the host asks its node; a
    /// service that sells channels does not start without.
    pub network: Option<Network>,
    /// How long the node may take to make an invoice, an offer and an address.
    pub prepare_timeout: Duration,
    /// Opens that may fail until an order does. Those that our own restarts or the client's absence ended do not count.
    pub attempts: u32,
    /// How long to wait between them.
    pub retry_after: Duration,
    /// How long an order can be asked about after it failed, or its lease ended.
    pub keep_ended: Duration,
    /// The same where nothing was paid for it.
    pub keep_unpaid: Duration,
}

/// The part of [`Config`] about LSPS5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// Whether clients may register webhooks; only where the host posts to them.
    pub serve: bool,
    /// How long a client that stays away is not called for the same again.
    pub cooldown: Duration,
    /// How long webhooks of a client are kept that has no channel any more; LSPS5 wants 7 days at the least.
    pub keep: Duration,
    /// The same of one that never had nor paid for a channel.
    pub keep_strangers: Duration,
    /// How long a notification may take to be delivered; no longer than a payment that waits for the client is held.
    pub post_within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cltv_expiry_delta: 144,
            htlc_minimum: Msat(1),
            hold: LEAST_HOLD,
            open_timeout: Duration::from_secs(60),
            sign_timeout: Duration::from_secs(30),
            htlc_safety_blocks: Blocks(42),
            keep_resolved: Duration::from_secs(600),
            keep_expired: Duration::from_secs(3_600),
            honour_expired: Duration::ZERO,
            stuck_after: Blocks(12),
            decision_timeout: Duration::from_secs(20),
            orders: OrderConfig::default(),
            webhooks: WebhookConfig::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for OrderConfig {
    fn default() -> Self {
        Self {
            network: None,
            prepare_timeout: Duration::from_secs(20),
            attempts: 1,
            retry_after: Duration::from_secs(60),
            keep_ended: Duration::from_secs(30 * 86_400),
            keep_unpaid: Duration::from_secs(86_400),
        }
    }
}

impl Default for WebhookConfig {
    fn default() -> Self {
        let (cooldown, keep) = (Duration::from_secs(5 * 60), Duration::from_secs(28 * 86_400));
        Self { serve: false, cooldown, keep, keep_strangers: LEAST_KEPT, post_within: LEAST_HOLD }
    }
}

impl Config {
    /// Whether all fields fit.
    ///
    /// # Errors
    ///
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        first_broken([
            (self.cltv_expiry_delta >= LEAST_CLTV_DELTA, "cltv_expiry_delta", "has to be at least 48 blocks"),
            (self.hold >= LEAST_HOLD, "hold", "has to be at least 90 s (LSPS2)"),
            (!self.open_timeout.is_zero(), "open_timeout", "has to be more than nothing"),
            (!self.sign_timeout.is_zero(), "sign_timeout", "has to be more than nothing"),
            (self.limits.opens_per_client > 0, "limits.opens_per_client", "has to be at least 1"),
            (self.stuck_after.0 > 0, "stuck_after", "has to be at least 1 block"),
            (!self.decision_timeout.is_zero(), "decision_timeout", "has to be more than nothing"),
            (!self.orders.prepare_timeout.is_zero(), "orders.prepare_timeout", "has to be more than nothing"),
            (self.orders.attempts > 0, "orders.attempts", "has to be at least 1"),
            (!self.orders.retry_after.is_zero(), "orders.retry_after", "has to be more than nothing"),
            (self.limits.orders_per_client > 0, "limits.orders_per_client", "has to be at least 1"),
            (
                self.limits.orders >= self.limits.orders_per_client,
                "limits.orders",
                "has to be at least orders_per_client",
            ),
            (self.limits.payments_per_order > 0, "limits.payments_per_order", "has to be at least 1"),
            (self.limits.deposits_per_order > 0, "limits.deposits_per_order", "has to be at least 1"),
            (self.limits.offers_per_client > 0, "limits.offers_per_client", "has to be at least 1"),
            (
                self.limits.offers >= self.limits.offers_per_client,
                "limits.offers",
                "has to be at least offers_per_client",
            ),
            (self.limits.parts_per_offer > 0, "limits.parts_per_offer", "has to be at least 1"),
            (
                self.limits.known_parts_per_offer >= self.limits.parts_per_offer,
                "limits.known_parts_per_offer",
                "has to be at least parts_per_offer",
            ),
            (self.limits.scid_draws > 0, "limits.scid_draws", "has to be at least 1"),
            (self.limits.sales_to_strangers > 0, "limits.sales_to_strangers", "has to be at least 1 a second"),
            (self.webhooks.keep >= LEAST_KEPT, "webhooks.keep", "has to be at least 7 days (LSPS5)"),
            (
                self.webhooks.keep_strangers >= LEAST_KEPT,
                "webhooks.keep_strangers",
                "has to be at least 7 days (LSPS5)",
            ),
            (self.limits.webhooks_per_stranger > 0, "limits.webhooks_per_stranger", "has to be at least 1 (LSPS5)"),
            (!self.webhooks.post_within.is_zero(), "webhooks.post_within", "has to be more than nothing"),
            (self.limits.webhooks_per_client > 0, "limits.webhooks_per_client", "has to be at least 1 (LSPS5)"),
            (self.limits.posts_per_webhook > 1, "limits.posts_per_webhook", "has to be at least 2"),
            (self.limits.webhook_changes > 0, "limits.webhook_changes", "has to be at least 1"),
            (self.limits.calls_per_cooldown > 0, "limits.calls_per_cooldown", "has to be at least 1"),
        ])
    }
}

/// The first rule that does not hold, of (holds, field, rule).
pub(crate) fn first_broken<const N: usize>(rules: [(bool, &'static str, &'static str); N]) -> Result<(), ConfigError> {
    let broken = rules.into_iter().find(|(holds, ..)| !holds);
    broken.map_or(Ok(()), |(_, field, rule)| Err(ConfigError { field, rule }))
}

/// A setting that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct ConfigError {
    /// The setting.
    pub field: &'static str,
    /// What it has to be.
    pub rule: &'static str,
}

/// Nodes refuse to forward with less.
const LEAST_CLTV_DELTA: u16 = 48;
const LEAST_HOLD: Duration = Duration::from_secs(90);
const LEAST_KEPT: Duration = Duration::from_secs(7 * 86_400);

//! Settings of the operator, as plain data. [`Config::validate`] names the field that is out of range.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use lsps_types::{Blocks, Msat, Network};
use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// Settings of the service. The defaults are those of LSPS2 where it names a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// CLTV expiry delta of the hop from the LSP to the client, in blocks, as promised to the payer.
    pub cltv_expiry_delta: u16,
    /// Least HTLC amount that the channels to clients forward.
    pub htlc_minimum: Msat,
    /// Time for which HTLCs are held until their payment is complete, or until the client connects; LSPS2 requires 90 s
    /// at least.
    pub hold: Duration,
    /// Time limit of an open until the client has accepted it and the funding transaction is built.
    pub open_timeout: Duration,
    /// Time limit for the client to sign after that, while coins are reserved for it; the client is connected and has
    /// one message to answer.
    pub sign_timeout: Duration,
    /// Blocks that have to be left until an incoming HTLC expires; at that number it is failed. Only for nodes that
    /// report the expiry.
    pub htlc_safety_blocks: Blocks,
    /// Time for which the outcome of a part is kept on record; it has to be longer than the node needs to persist
    /// itself.
    pub keep_resolved: Duration,
    /// Time for which an offer is kept on record after `valid_until`.
    pub keep_expired: Duration,
    /// Time after `valid_until` during which a payment is still accepted if the channel is open and not paid for.
    pub honour_expired: Duration,
    /// Blocks after which an unconfirmed funding transaction counts as stuck.
    pub stuck_after: Blocks,
    /// Time limit of a decision taken elsewhere. After it the client receives an error.
    pub decision_timeout: Duration,
    /// Names of parameters of requests that are skipped although the methods do not have them, for clients that are
    /// ahead of the specifications. All others are refused, as LSPS0 requires.
    pub tolerate: Vec<String>,
    /// Settings of orders (LSPS1).
    pub orders: OrderConfig,
    /// Settings of webhooks (LSPS5).
    pub webhooks: WebhookConfig,
    /// Bounds on the state that peers can make the service keep.
    pub limits: Limits,
}

/// The part of [`Config`] about LSPS1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderConfig {
    /// Network of the node, to which refund addresses have to belong. `None`: the host asks its node. A service that
    /// sells channels does not start without a network.
    pub network: Option<Network>,
    /// Time limit of the node for an invoice, an offer and an address.
    pub prepare_timeout: Duration,
    /// Number of failed opens after which an order fails. Opens that ended because the LSP restarted or the client was
    /// absent do not count.
    pub attempts: u32,
    /// Delay before the next open after one that failed.
    pub retry_after: Duration,
    /// Time for which an order is kept on record after it failed or its lease ended.
    pub keep_ended: Duration,
    /// Time for which a failed order is kept on record if no payment for it ever arrived.
    pub keep_unpaid: Duration,
}

/// The part of [`Config`] about LSPS5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// Whether clients may register webhooks. Set it only if the host posts notifications.
    pub serve: bool,
    /// Time after a notification during which an absent client is not called again for the same reason.
    pub cooldown: Duration,
    /// Time for which the webhooks of a client are kept after its last channel closed; LSPS5 requires 7 days at least.
    pub keep: Duration,
    /// Time for which the webhooks of a client are kept that never had or paid for a channel.
    pub keep_strangers: Duration,
    /// Time limit for the delivery of a notification; it must not exceed the time for which a payment is held.
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
            tolerate: Vec::new(),
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
    /// Checks that all fields are in range.
    ///
    /// # Errors
    ///
    /// The error names the first field that is not.
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

/// Error for a setting that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct ConfigError {
    /// Name of the setting.
    pub field: &'static str,
    /// Rule that it breaks.
    pub rule: &'static str,
}

/// Least CLTV expiry delta: nodes refuse to forward with less.
const LEAST_CLTV_DELTA: u16 = 48;
const LEAST_HOLD: Duration = Duration::from_secs(90);
const LEAST_KEPT: Duration = Duration::from_secs(7 * 86_400);

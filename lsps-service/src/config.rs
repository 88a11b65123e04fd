//! What an operator sets once. Plain data; [`Config::validate`] names the field that does not fit.

use core::time::Duration;

use lsps_types::{Blocks, Msat};
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
    /// How long an open may take until both sides have signed.
    pub open_timeout: Duration,
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
    /// Webhooks (LSPS5).
    pub webhooks: WebhookTerms,
    /// Bounds on what peers can make us keep.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cltv_expiry_delta: 144,
            htlc_minimum: Msat(1),
            hold: LEAST_HOLD,
            open_timeout: Duration::from_secs(60),
            htlc_safety_blocks: Blocks(42),
            keep_resolved: Duration::from_secs(600),
            keep_expired: Duration::from_secs(3_600),
            honour_expired: Duration::ZERO,
            stuck_after: Blocks(12),
            decision_timeout: Duration::from_secs(20),
            webhooks: WebhookTerms::default(),
            limits: Limits::default(),
        }
    }
}

/// On which terms clients are woken. The defaults are those of LSPS5 where it names a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookTerms {
    /// Whether clients may register webhooks; only where the host posts to them.
    pub serve: bool,
    /// How long a client that stays away is not called for the same again.
    pub cooldown: Duration,
    /// How long webhooks of a client without channels are kept; LSPS5 wants 7 days at the least.
    pub keep: Duration,
    /// How long a notification may take to be delivered; no longer than a payment that waits for the client is held.
    pub post_within: Duration,
}

impl Default for WebhookTerms {
    fn default() -> Self {
        Self { serve: false, cooldown: Duration::from_secs(300), keep: LEAST_KEPT * 4, post_within: LEAST_HOLD }
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
            (self.stuck_after.0 > 0, "stuck_after", "has to be at least 1 block"),
            (!self.decision_timeout.is_zero(), "decision_timeout", "has to be more than nothing"),
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
            (self.webhooks.keep >= LEAST_KEPT, "webhooks.keep", "has to be at least 7 days (LSPS5)"),
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

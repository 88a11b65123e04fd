//! Presets of a node's `UserConfig` that the protocols need.

use bitcoin::Network;
use lightning::ln::channelmanager::MIN_CLTV_EXPIRY_DELTA;
use lightning::util::config::UserConfig;
pub use lsps_host::ports::SettingMissing;
use lsps_host::ports::StoreError;
use lsps_types::Sat;

/// Reason for which a host could not start.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// The node lacks a setting without which payments are lost.
    #[error(transparent)]
    Setting(#[from] SettingMissing),
    /// The LSP's host cannot start.
    #[error(transparent)]
    Lsp(#[from] lsps_host::CannotStart),
    /// The configured network is not that of the node's channels, so addresses and invoices would be wrong.
    #[error("the configured network is {configured}, and the node's is {node:?}")]
    WrongNetwork {
        /// Configured network.
        configured: Network,
        /// Network of the node; `None` if it has no name.
        node: Option<Network>,
    },
    /// The records could not be read from the store.
    #[error("the store cannot be read: {0}")]
    Store(StoreError),
}

/// Sets what an LSP needs, except what is set for each channel that it opens; `docs/settings.md` says why each is needed.
///
/// The caller must not undo these settings; [`Lsp::start`](crate::Lsp::start) refuses a node that lacks one without
/// which payments would be lost.
pub fn preset_for_lsp(config: &mut UserConfig) {
    config.accept_intercept_htlcs = true;
    config.accept_forwards_to_priv_channels = true;
    let handshake = &mut config.channel_handshake_config;
    // LDK uses this setting when a client refuses a channel with anchors and is asked for one without.
    handshake.negotiate_scid_privacy = true;
    // With LDK's default, a tenth, a payment of the larger part of a channel would not reach the LSP.
    handshake.max_inbound_htlc_value_in_flight_percent_of_channel = ALL_IN_FLIGHT;
}

/// Sets what a wallet needs, except settings of each channel that it accepts; `docs/settings.md` has the reason for
/// each.
///
/// [`Wallet::start`](crate::Wallet::start) refuses a node without these settings.
pub fn preset_for_wallet(config: &mut UserConfig) {
    config.manually_accept_inbound_channels = true;
}

/// Settings of a wallet's node that decide which channels it accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takes {
    /// Whether channels that peers open have to be announced, or must not be; `None` allows both.
    announced: Option<bool>,
    largest: Sat,
}

impl Takes {
    pub fn of(config: &UserConfig) -> Self {
        let limits = &config.channel_handshake_limits;
        let insists = limits.force_announced_channel_preference;
        let announced = insists.then_some(config.channel_handshake_config.announce_for_forwarding);
        Self { announced, largest: Sat(limits.max_funding_satoshis) }
    }

    /// Checks that the node accepts a channel that is announced or not, and of this capacity if that is known.
    pub fn require(self, announced: bool, capacity: Option<Sat>) -> Result<(), SettingMissing> {
        let refused = |setting, value| Err(SettingMissing { setting, value, why: REFUSES_CHANNEL });
        if self.announced.is_some_and(|only| only != announced) {
            refused("channel_handshake_limits.force_announced_channel_preference", "false")
        } else if capacity.is_some_and(|capacity| capacity > self.largest) {
            refused("channel_handshake_limits.max_funding_satoshis", "the capacity that is ordered, or more")
        } else {
            Ok(())
        }
    }
}

pub(crate) fn require_for_lsp(config: &UserConfig) -> Result<(), SettingMissing> {
    let why = "payments for channels that do not exist yet would be failed before the LSP hears of them";
    require(config.accept_intercept_htlcs, "accept_intercept_htlcs", "true", why)?;
    let why = "every later payment over a channel that was sold would be failed, as it is not announced";
    require(config.accept_forwards_to_priv_channels, "accept_forwards_to_priv_channels", "true", why)?;
    let why = "a channel that is offered again with a lesser type would have no SCID alias";
    let has_alias = config.channel_handshake_config.negotiate_scid_privacy;
    require(has_alias, "channel_handshake_config.negotiate_scid_privacy", "true", why)?;
    let why = "LDK forwards no HTLC with fewer blocks";
    let is_enough = config.channel_config.cltv_expiry_delta >= MIN_CLTV_EXPIRY_DELTA;
    require(is_enough, "channel_config.cltv_expiry_delta", "48 blocks or more", why)
}

pub(crate) fn require_for_wallet(config: &UserConfig) -> Result<(), SettingMissing> {
    let why = "a channel that was bought would be accepted without being usable before it is confirmed";
    require(config.manually_accept_inbound_channels, "manually_accept_inbound_channels", "true", why)
}

fn require(is_set: bool, setting: &'static str, value: &'static str, why: &'static str) -> Result<(), SettingMissing> {
    if is_set { Ok(()) } else { Err(SettingMissing { setting, value, why }) }
}

const REFUSES_CHANNEL: &str = "the node would refuse the channel when the LSP opens it";
/// Largest number of HTLCs in flight to a client: LDK's default, and the service's limit for one offer.
pub(crate) const PARTS: u16 = 50;
/// Share of a channel, in percent, that its peer may have in flight.
pub(crate) const ALL_IN_FLIGHT: u8 = 100;

//! Presets that cannot be forgotten: what the protocols need of a node's `UserConfig`.

use lightning::util::config::UserConfig;
use lsps_service::ConfigError;

/// Why a host could not start.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// The node lacks a setting without which payments are lost.
    #[error(transparent)]
    Setting(#[from] SettingMissing),
    /// An LSP's own configuration does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Webhooks are to be served ([`WebhookConfig::serve`](lsps_service::WebhookConfig)), and nobody posts to them.
    #[error("webhooks are to be served, but there is no `LspParts::notifier`")]
    NoNotifier,
    /// The records could not be read from the store.
    #[error("the store cannot be read: {0}")]
    Store(lightning::io::Error),
}

/// A setting of the node without which payments would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`UserConfig::{setting}` has to be {value}: {why}")]
pub struct SettingMissing {
    /// Where it is.
    pub setting: &'static str,
    /// What it has to be.
    pub value: &'static str,
    /// What happens otherwise.
    pub why: &'static str,
}

/// Sets what an LSP needs.
pub fn preset_for_lsp(config: &mut UserConfig) {
    config.accept_intercept_htlcs = true;
    // LDK takes it from here when a client refuses a channel with anchors and is asked for one without.
    config.channel_handshake_config.negotiate_scid_privacy = true;
}

/// Sets what a wallet needs.
pub fn preset_for_wallet(config: &mut UserConfig) {
    config.manually_accept_inbound_channels = true;
}

/// What a wallet's node lacks to take a channel that is announced, or that is not.
pub(crate) fn require_for_order(announced: bool, takes_only: Option<bool>) -> Result<(), SettingMissing> {
    let why = "the channel would be refused when it is opened";
    let setting = "channel_handshake_limits.force_announced_channel_preference";
    if takes_only.is_none_or(|only| only == announced) {
        Ok(())
    } else {
        Err(SettingMissing { setting, value: "false", why })
    }
}

pub(crate) fn require_for_lsp(config: &UserConfig) -> Result<(), SettingMissing> {
    let why = "payments for channels that do not exist yet would be failed before the LSP hears of them";
    require(config.accept_intercept_htlcs, "accept_intercept_htlcs", why)
}

pub(crate) fn require_for_wallet(config: &UserConfig) -> Result<(), SettingMissing> {
    let why = "a channel that was bought would be accepted without being usable before it is confirmed";
    require(config.manually_accept_inbound_channels, "manually_accept_inbound_channels", why)
}

fn require(is_set: bool, setting: &'static str, why: &'static str) -> Result<(), SettingMissing> {
    if is_set { Ok(()) } else { Err(SettingMissing { setting, value: "true", why }) }
}

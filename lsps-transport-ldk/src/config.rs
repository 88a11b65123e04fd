//! Presets that cannot be forgotten: what the protocols need of a node's `UserConfig`.

use lightning::util::config::UserConfig;

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
}

/// Sets what a wallet needs. Underpaying and 0-conf are allowed per channel, for purchases only.
pub fn preset_for_wallet(config: &mut UserConfig) {
    config.manually_accept_inbound_channels = true;
    config.channel_handshake_config.negotiate_scid_privacy = true;
}

pub(crate) fn require_for_lsp(config: &UserConfig) -> Result<(), SettingMissing> {
    let setting = "accept_intercept_htlcs";
    let why = "payments for channels that do not exist yet would be failed before the LSP hears of them";
    if config.accept_intercept_htlcs { Ok(()) } else { Err(SettingMissing { setting, value: "true", why }) }
}

pub(crate) fn require_for_wallet(config: &UserConfig) -> Result<(), SettingMissing> {
    let setting = "manually_accept_inbound_channels";
    let why = "channels that were bought could not be told from others, nor accepted without confirmations";
    if config.manually_accept_inbound_channels { Ok(()) } else { Err(SettingMissing { setting, value: "true", why }) }
}

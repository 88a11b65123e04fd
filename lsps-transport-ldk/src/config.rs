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

pub(crate) fn require_for_lsp(config: &UserConfig) -> Result<(), SettingMissing> {
    let setting = "accept_intercept_htlcs";
    let why = "payments for channels that do not exist yet would be failed before the LSP hears of them";
    if config.accept_intercept_htlcs { Ok(()) } else { Err(SettingMissing { setting, value: "true", why }) }
}

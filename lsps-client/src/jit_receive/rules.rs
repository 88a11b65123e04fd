//! What the wallet puts up with.

use core::time::Duration;

use lsps_types::Blocks;

/// What the wallet puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether an LSP may ask for the preimage before it publishes the channel's funding.
    pub accept_trust: AcceptTrust,
    /// Terms that expire sooner are not bought.
    pub min_validity: Duration,
    /// The most blocks an LSP may ask for on its hop.
    pub max_lsp_cltv_expiry_delta: u16,
    /// The `to_self_delay` the wallet wants of its peers; an LSP that allows less is not bought from.
    pub to_self_delay: Blocks,
    /// Confirmations of the channel's funding to wait for before a payment is claimed; 0 claims at once. Not possible with
    /// LSPs that ask to be trusted. The payer's money is locked meanwhile, and invoices ask for as many blocks more.
    pub confirmations_to_wait: u16,
    /// How long after `valid_until` a channel may still come: payments that were complete in time open one.
    pub late_channel: Duration,
    /// How long after that the purchase is remembered, for payments that were claimed or delayed on this side.
    pub keep: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            accept_trust: AcceptTrust::Never,
            min_validity: Duration::from_secs(2 * 60),
            max_lsp_cltv_expiry_delta: 2_016,
            to_self_delay: Blocks(144),
            confirmations_to_wait: 0,
            late_channel: Duration::from_secs(60 * 60),
            keep: Duration::from_secs(14 * 24 * 60 * 60),
        }
    }
}

/// What to do when an LSP's answer says `client_trusts_lsp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptTrust {
    /// Leave the purchase alone.
    #[default]
    Never,
    /// Go on, and claim the payment without waiting for the funding transaction.
    Yes,
}

//! What the wallet puts up with.

use core::time::Duration;

use lsps_types::{Blocks, Msat};

/// What the wallet puts up with.
///
/// With `confirmations_to_wait` at 0, the wallet uses a channel before its funding is confirmed, and so trusts every LSP
/// that it buys from not to spend the inputs of the funding a second time: until the first confirmation the LSP can take
/// back all that was claimed over the channel. No setting below changes that; `accept_trust` is only about LSPs that *say*
/// so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether an LSP may ask for the preimage before it publishes the channel's funding, by saying `client_trusts_lsp`.
    ///
    /// An LSP that does not say so may keep the funding back all the same; a wallet notices where its host can see
    /// transactions that are not confirmed ([`Via::is_seen`](super::Via::is_seen)), and then holds the payment until they
    /// are published.
    pub accept_trust: AcceptTrust,
    /// Terms that expire sooner are not bought.
    pub min_validity: Duration,
    /// The most blocks an LSP may ask for on its hop.
    pub max_lsp_cltv_expiry_delta: u16,
    /// The `to_self_delay` the wallet wants of its peers; an LSP that allows less is not bought from.
    pub to_self_delay: Blocks,
    /// Confirmations of the channel's funding to wait for before a payment is claimed; 0 claims at once. Not possible with
    /// LSPs that ask to be trusted. The payer's money is locked meanwhile, and invoices ask for as many blocks more.
    ///
    /// The same is asked of every channel that a peer funded, and of every payment. One that was not bought goes back while
    /// its channel has fewer: its invoice left no blocks to wait.
    pub confirmations_to_wait: u16,
    /// The least that has to be left of a payment after the opening fee: terms that leave less are not bought, and a
    /// payment of a size that the payer chooses goes back when the fee leaves less of it.
    pub least_net: Msat,
    /// How long an invoice stands, at the most, where the application names no time.
    pub longest_invoice: Duration,
    /// How long after the end of its invoice a channel may still come: payments that were complete in time open one.
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
            // The largest dust limit there is: less than that is no output on the chain.
            least_net: Msat(546_000),
            longest_invoice: Duration::from_secs(7 * 24 * 60 * 60),
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

//! The wallet's rules for purchases.

use core::time::Duration;

use lsps_types::{Blocks, Msat};

/// The wallet's rules for purchases.
///
/// With `confirmations_to_wait` at 0, the wallet uses a channel before its funding is confirmed. So it trusts every LSP
/// that it buys from not to double-spend the funding: until the first confirmation the LSP can take back every payment
/// that was claimed over the channel. No setting below changes that; `accept_trust` is only about LSPs that *say* so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether an LSP may ask for the preimage before it publishes the funding, by `client_trusts_lsp`.
    ///
    /// An LSP that does not say so may hold the funding back anyway. A wallet notices that if its host can see
    /// unconfirmed transactions ([`Via::is_seen`](super::Via::is_seen)), and then holds the payment until the funding
    /// is published.
    pub accept_trust: AcceptTrust,
    /// Least remaining validity of terms to buy on.
    pub min_validity: Duration,
    /// Largest CLTV expiry delta of the LSP's hop, in blocks.
    pub max_lsp_cltv_expiry_delta: u16,
    /// `to_self_delay` that the wallet wants of its peers. Terms that allow less are not bought.
    pub to_self_delay: Blocks,
    /// Confirmations of the channel's funding to wait for before a payment is claimed; with 0 it is claimed at once.
    /// Not possible with LSPs that ask to be trusted. The payer's money is locked meanwhile, and invoices ask for as
    /// many blocks more.
    ///
    /// The rule holds for every channel that a peer funded, and for every payment. A payment without a purchase is
    /// failed while its channel has fewer confirmations: its invoice left no blocks to wait.
    pub confirmations_to_wait: u16,
    /// Least amount that has to be left of a payment after the opening fee. Terms that leave less are not bought, and a
    /// payment whose amount the payer chooses is failed if the fee leaves less of it.
    pub least_net: Msat,
    /// Longest expiry of an invoice for which the application names none.
    pub longest_invoice: Duration,
    /// Time after the expiry of an invoice in which a channel may still be opened: payments that were complete in time
    /// cause one.
    pub late_channel: Duration,
    /// Time after that for which the record is kept, for payments that were claimed or delayed on this side.
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
            // The largest dust limit in use: an output below it does not exist on-chain.
            least_net: Msat(546_000),
            longest_invoice: Duration::from_secs(7 * 24 * 60 * 60),
            late_channel: Duration::from_secs(60 * 60),
            keep: Duration::from_secs(14 * 24 * 60 * 60),
        }
    }
}

/// Reaction to `client_trusts_lsp` in an LSP's reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptTrust {
    /// Do not use the purchase.
    #[default]
    Never,
    /// Go on, and claim the payment without waiting for the funding transaction.
    Yes,
}

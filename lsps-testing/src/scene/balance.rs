//! Balances, read from the nodes and the chain.

use lightning::ln::channel_state::ChannelDetails;
use lightning::types::features::ChannelTypeFeatures;
use lsps_node::node::Node;

use super::{Error, Handler, Scene, Trio};

/// Balance of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Satoshis in its on-chain coins.
    pub coins_sat: u64,
    /// Millisatoshis of its balance in channels.
    pub channels_msat: u64,
}

impl Balance {
    /// Sum in millisatoshis.
    #[must_use]
    pub fn total_msat(&self) -> u64 {
        self.coins_sat * 1_000 + self.channels_msat
    }
}

/// Balances of payer, LSP and wallet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// Balance of the payer.
    pub payer: Balance,
    /// Balance of the LSP.
    pub lsp: Balance,
    /// Balance of the wallet.
    pub wallet: Balance,
}

impl Scene {
    /// The balances now; see [`Trio::balances`].
    ///
    /// # Errors
    ///
    /// An HTLC is in flight, or two readings of a balance differ.
    pub fn balances(&self) -> Result<Balances, Error> {
        self.trio().balances()
    }
}

impl<L: Handler, W: Handler> Trio<'_, L, W> {
    /// The balances now.
    ///
    /// LDK reports what can be sent and received, less reserves and fees. Only on the side that did not fund the
    /// channel this determines the balance, so each channel is read there, and compared with what the channel monitor
    /// would claim on-chain.
    ///
    /// # Errors
    ///
    /// An HTLC is in flight, or the two readings differ.
    pub fn balances(&self) -> Result<Balances, Error> {
        let (payer, lsp, wallet) = (self.payer, self.lsp, self.wallet);
        let [from_payer, at_lsp] = shares(lsp)?;
        let [from_lsp, at_wallet] = shares(wallet)?;
        let balance = |coins_sat, channels_msat| Balance { coins_sat, channels_msat };
        Ok(Balances {
            payer: balance(payer.wallet().balance_sat(), from_payer),
            lsp: balance(lsp.wallet().balance_sat(), at_lsp + from_lsp),
            wallet: balance(wallet.wallet().balance_sat(), at_wallet),
        })
    }
}

/// Balances in all channels that others funded: the peers' and the node's own, in millisatoshis.
///
/// # Errors
///
/// An HTLC is in flight, or the channel monitors would claim another amount.
pub fn shares<H: Handler>(node: &Node<H>) -> Result<[u64; 2], Error> {
    let (funded_by_us, funded_by_them): (Vec<_>, Vec<_>) =
        node.channel_manager().list_channels().into_iter().partition(|channel| channel.is_outbound);
    let (mut theirs, mut ours, mut ours_sat) = (0, 0, 0);
    for channel in &funded_by_them {
        if !channel.pending_inbound_htlcs.is_empty() || !channel.pending_outbound_htlcs.is_empty() {
            return Err("a payment is still under way".into());
        }
        let has_anchors = |kind: &ChannelTypeFeatures| kind.supports_anchors_zero_fee_htlc_tx();
        // The funder pays for the anchor outputs.
        let anchors_sat = if channel.channel_type.as_ref().is_some_and(has_anchors) { 2 * ANCHOR_SAT } else { 0 };
        let kept_sat = channel.counterparty.unspendable_punishment_reserve + anchors_sat;
        let share = channel.inbound_capacity_msat + kept_sat * 1_000;
        let rest = (channel.channel_value_satoshis * 1_000).checked_sub(share).ok_or("a channel overflows")?;
        (theirs, ours, ours_sat) = (theirs + share, ours + rest, ours_sat + rest / 1_000);
    }
    let claimable = claimable_sat(node, &funded_by_us, &funded_by_them);
    if claimable != ours_sat {
        let name = node.name();
        return Err(format!("{name} has {ours_sat} sat in its channels but could claim {claimable} sat").into());
    }
    Ok([theirs, ours])
}

/// Value of an anchor output, in satoshis. Spec: BOLT 3 "Anchor Outputs".
const ANCHOR_SAT: u64 = 330;

/// Amount that the monitors would claim, in satoshis; without channels that this node funded, and without a channel
/// that ended before its funding was published.
fn claimable_sat<H: Handler>(node: &Node<H>, ignored: &[ChannelDetails], open: &[ChannelDetails]) -> u64 {
    let is_among = |channels: &[ChannelDetails], id| channels.iter().any(|channel| channel.channel_id == id);
    let ids = node.chain_monitor().list_monitors().into_iter().filter(|id| !is_among(ignored, *id));
    let balances = ids.filter_map(|id| {
        let monitor = node.chain_monitor().get_monitor(id).ok()?;
        let is_out = || node.chain().sighting(&monitor.get_funding_txo().txid).is_some();
        (is_among(open, id) || is_out()).then(|| monitor.get_claimable_balances())
    });
    balances.flatten().map(|balance| balance.claimable_amount_satoshis()).sum()
}

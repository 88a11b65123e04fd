//! Channels that are ordered.

use bitcoin::secp256k1::PublicKey;
use lsps_transport_ldk::Msat;
use lsps_transport_ldk::client::jit_receive::FeeLimits;
use lsps_transport_ldk::types::lsps1::CreateOrder;
use lsps_transport_ldk::types::{PeerId, Sat};
use lsps_transport_ldk::wallet::{CannotOrderChannel, OrderHandle};

use super::Node;

/// A channel to be ordered.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    /// The LSP; `None`: the only one that is known.
    pub lsp: Option<PublicKey>,
    /// Capacity to receive, in satoshis.
    pub inbound_sat: u64,
    /// Balance of this node in the new channel, in satoshis, which is paid on top of the fee.
    pub outbound_sat: u64,
    /// Blocks for which the LSP keeps the channel.
    pub blocks: u32,
    /// Largest fee, in satoshis: of the LSP, the routing and the mining together.
    pub fee_at_most_sat: u64,
}

impl OrderRequest {
    /// A channel that can receive this number of satoshis, for a month and a fee of 20 000 sat at the most.
    #[must_use]
    pub fn inbound(sat: u64) -> Self {
        Self { lsp: None, inbound_sat: sat, outbound_sat: 0, blocks: 4_320, fee_at_most_sat: 20_000 }
    }
}

/// Reason for which no channel is ordered. Nothing was paid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOrder {
    /// No LSP is known.
    #[error("no LSP is known to order a channel from: add one")]
    NoLsp,
    /// Several LSPs are known, and none was named.
    #[error("{0} LSPs are known: name the one to order from")]
    WhichLsp(usize),
    /// There is no address for a refund.
    #[error("the address for a refund could not be stored: {0}")]
    NotStored(#[from] bitcoin::io::Error),
    /// The LSP does not sell, or its price is above the limit.
    #[error(transparent)]
    NotSold(#[from] CannotOrderChannel),
}

impl Node {
    /// Orders a channel, and pays for it over Lightning or on the chain, whichever is cheaper and works. The handle tells the
    /// outcome; the order goes on after a restart.
    ///
    /// # Errors
    ///
    /// The LSP does not sell such a channel within the limit.
    pub async fn order(&self, request: OrderRequest) -> Result<OrderHandle, CannotOrder> {
        let wallet = self.wallet().ok_or(CannotOrder::NoLsp)?;
        let known = self.lsps().list();
        let lsp = match (request.lsp, &known[..]) {
            (Some(lsp), _) => PeerId::from(lsp),
            (None, [only]) => only.address.node_id,
            (None, []) => return Err(CannotOrder::NoLsp),
            (None, several) => return Err(CannotOrder::WhichLsp(several.len())),
        };
        let lsp = PublicKey::from_slice(&lsp.0).map_err(|_| CannotOrder::NoLsp)?;
        let order = CreateOrder {
            lsp_balance_sat: Sat(request.inbound_sat),
            client_balance_sat: Sat(request.outbound_sat),
            required_channel_confirmations: 0,
            funding_confirms_within_blocks: 6,
            channel_expiry_blocks: request.blocks,
            token: None,
            refund_onchain_address: self.address()?.to_string().parse().ok(),
            announce_channel: false,
        };
        let limits = FeeLimits::total(Msat::from_sat(request.fee_at_most_sat));
        Ok(wallet.order_channel(lsp, order, limits).await?)
    }
}

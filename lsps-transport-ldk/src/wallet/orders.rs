//! One call that orders a channel: ask, weigh, choose how to pay, put it on record, pay.

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;

use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{Order, OrderKey, Quote, Rules, WayKind, Wish};
use lsps_client::session::{NotOrdered, OrderHandle};
use lsps_types::lsps1::{CreateOrder, LdkInvoices};

use super::Wallet;
use super::news::WalletEvent;
use crate::config::SettingMissing;
use crate::peers::peer_id;

/// Why no channel is ordered. Nothing is paid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOrderChannel {
    /// The node would not take the channel.
    #[error(transparent)]
    Setting(#[from] SettingMissing),
    /// The LSP does not offer it, or not on acceptable terms.
    #[error(transparent)]
    NotOrdered(#[from] NotOrdered),
    /// The wallet was stopped.
    #[error("the wallet was stopped")]
    Stopped,
}

impl Wallet {
    /// Orders a channel of this LSP and pays for it in the cheapest way that costs no more than `limits` say: by invoice or
    /// offer, and on-chain if [`WalletParts::onchain`](super::WalletParts::onchain) is there and the order names an address
    /// for refunds. Offers take an onion messenger, and an [`OrderRouter`](crate::OrderRouter), for the LSP to have time.
    ///
    /// The handle tells what becomes of it. The channel is accepted if it is as ordered. Dropping the future is safe.
    ///
    /// # Errors
    ///
    /// When the LSP does not answer, does not offer it, or not on acceptable terms.
    pub async fn order_channel(
        &self,
        lsp: PublicKey,
        order: CreateOrder,
        limits: FeeLimits,
    ) -> Result<OrderHandle, CannotOrderChannel> {
        let pays_onchain = self.pays_onchain;
        let payable = |way| way != WayKind::Onchain || pays_onchain;
        self.order_channel_paying(lsp, order, limits, |quote| quote.cheapest(payable)).await
    }

    /// As [`Self::order_channel`], where `choose` says how it is paid.
    ///
    /// # Errors
    ///
    /// When the LSP does not answer, does not offer it, or not on acceptable terms.
    pub async fn order_channel_paying(
        &self,
        lsp: PublicKey,
        order: CreateOrder,
        limits: FeeLimits,
        choose: impl FnOnce(&Quote) -> Option<WayKind>,
    ) -> Result<OrderHandle, CannotOrderChannel> {
        self.takes.require(order.announce_channel, order.capacity())?;
        self.tell(WalletEvent::Asked);
        self.know_who_is_connected().await.ok_or(CannotOrderChannel::Stopped)?;
        let id = peer_id(&lsp);
        let token = order.token.or_else(|| self.lsps.token_of(id));
        let wish = Wish {
            order: CreateOrder { token, ..order },
            limits,
            network: network(self.network),
            large_channels: self.lsps.have_large_channels(&lsp),
            rules: Rules::default(),
        };
        Ok(self.session.lsp(id).order_channel(wish, &LdkInvoices, choose).await?)
    }

    /// All orders on record, open and over.
    #[must_use]
    pub fn orders(&self) -> Vec<Order> {
        self.session.with(|client, _| client.orders().cloned().collect())
    }

    /// An order on record, from before a restart for one.
    #[must_use]
    pub fn order(&self, key: OrderKey) -> OrderHandle {
        self.session.order(key)
    }
}

fn network(network: Network) -> lsps_types::Network {
    match network {
        Network::Bitcoin => lsps_types::Network::Bitcoin,
        Network::Testnet | Network::Testnet4 => lsps_types::Network::Testnet,
        Network::Signet => lsps_types::Network::Signet,
        Network::Regtest => lsps_types::Network::Regtest,
    }
}

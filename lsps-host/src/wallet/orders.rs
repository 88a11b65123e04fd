//! One call that orders a channel: ask, weigh, choose how to pay, put it on record, pay.

use bitcoin::secp256k1::PublicKey;

use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{Order, OrderKey, Quote, WayKind, Wish};
use lsps_client::session::{NotOrdered, OrderHandle};
use lsps_types::lsps1::{CreateOrder, LdkInvoices};
use lsps_types::{Msat, Sat};
use tokio::sync::oneshot;

use super::news::WalletEvent;
use super::pump::Told;
use super::{Wallet, pay};
use crate::config::SettingMissing;
use crate::peers::{network_name, peer_id};

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
    /// Orders a channel of this LSP and pays for it in the cheapest way that costs no more than `limits` say, mining and
    /// routing fees included: by invoice or offer where the node's channels hold that much, and on-chain if
    /// [`WalletParts::onchain`](super::WalletParts::onchain) is there and the order names an address for refunds. Where that
    /// way turns out not to work, the next is tried, as long as the order lives and nothing of the one before is out. Offers
    /// take an onion messenger, and an [`OrderRouter`](crate::OrderRouter), for the LSP to have time.
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
        let quote = self.quote_channel(lsp, order, limits).await?;
        let outbound = self.outbound().await.ok_or(CannotOrderChannel::Stopped)?;
        let ways = quote.ranked(|way| match (way.kind(), &self.onchain) {
            (WayKind::Onchain, Some(wallet)) => pay::extra(&**wallet, way),
            (WayKind::Onchain, None) => None,
            // Routing fees show when a route is looked for; they have the same limit.
            (WayKind::Bolt11 | WayKind::Bolt12, _) => {
                way.total.to_msat().is_some_and(|total| total <= outbound).then_some(Sat::ZERO)
            }
        });
        Ok(self.session.pay_quote_in_turn(quote, &ways)?)
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
        let quote = self.quote_channel(lsp, order, limits).await?;
        let way = choose(&quote).ok_or(NotOrdered::NothingChosen)?;
        Ok(self.session.pay_quote(quote, way)?)
    }

    async fn quote_channel(
        &self,
        lsp: PublicKey,
        order: CreateOrder,
        limits: FeeLimits,
    ) -> Result<Quote, CannotOrderChannel> {
        self.takes.require(order.announce_channel, order.capacity())?;
        self.tell(WalletEvent::Asked);
        self.know_who_is_connected().await.ok_or(CannotOrderChannel::Stopped)?;
        let id = peer_id(&lsp);
        let token = order.token.or_else(|| self.lsps.token_of(id));
        let wish = Wish {
            order: CreateOrder { token, ..order },
            limits,
            network: network_name(self.network),
            large_channels: self.lsps.have_large_channels(&lsp),
            rules: self.order_rules,
        };
        Ok(self.session.lsp(id).quote_channel(wish, &LdkInvoices).await?)
    }

    /// The amount that the node's channels could pay. `None`: the wallet was stopped.
    async fn outbound(&self) -> Option<Msat> {
        let (done, outbound) = oneshot::channel();
        self.told.send(Told::Outbound(done)).ok()?;
        outbound.await.ok()
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

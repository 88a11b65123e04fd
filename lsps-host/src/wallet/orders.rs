//! One call that orders a channel: ask, weigh, choose how to pay, put it on record, pay.

use std::sync::Arc;

use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{Order, OrderError, OrderKey, Quote, WayKind, Wish};
use lsps_client::session::{NotOrdered, OrderHandle, Session};
use lsps_types::lsps1::{CreateOrder, PaymentFacts, ReadInvoices};
use lsps_types::{Network, PeerId, Sat};

use super::events::WalletEvent;
use super::{NotDone, Wallet, pay};
use crate::ports::{SettingMissing, WalletNode};

/// The reason for which no channel is ordered. Nothing is paid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOrderChannel {
    /// The node would not take the channel.
    #[error(transparent)]
    Setting(#[from] SettingMissing),
    /// The LSP does not offer it, or not on acceptable terms.
    #[error(transparent)]
    NotOrdered(#[from] NotOrdered),
    /// The node's network has no name in LSPS1.
    #[error("channels cannot be ordered on the node's network")]
    NoNetwork,
    /// The store failed, and an order must not be paid without its record. The order is called off.
    #[error("the order could not be stored")]
    NotStored,
    /// The wallet was stopped.
    #[error("the wallet was stopped")]
    Stopped,
}

impl From<NotDone> for CannotOrderChannel {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::NotStored => Self::NotStored,
            NotDone::Stopped => Self::Stopped,
        }
    }
}

/// The reason for which an order is not ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotEndOrder {
    /// No order of that name is on record.
    #[error("there is no such order")]
    NotFound,
    /// The order is over.
    #[error("the order is over")]
    TooLate,
    /// The store failed. The order is ended once the store writes again, unless the process ends before.
    #[error("the end of the order could not be stored")]
    NotStored,
    /// The wallet was stopped.
    #[error("the wallet was stopped")]
    Stopped,
}

impl From<NotDone> for CannotEndOrder {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::NotStored => Self::NotStored,
            NotDone::Stopped => Self::Stopped,
        }
    }
}

impl From<OrderError> for CannotEndOrder {
    fn from(why: OrderError) -> Self {
        match why {
            OrderError::NoSuchOrder => Self::NotFound,
            _ => Self::TooLate,
        }
    }
}

impl Wallet {
    /// Orders a channel of this LSP and pays for it in the cheapest way that costs no more than `limits` say, mining and
    /// routing fees included: by invoice or offer where the node's channels hold that much, and on-chain if
    /// [`WalletParts::onchain`](super::WalletParts::onchain) is there and the order names an address for refunds. Where that
    /// way turns out not to work, the next is tried, as long as the order lives and nothing of the one before is out.
    ///
    /// The handle tells what becomes of it. The channel is accepted if it is as ordered. Dropping the future is safe.
    ///
    /// # Errors
    ///
    /// When the LSP does not answer, does not offer it, or not on acceptable terms.
    pub async fn order_channel(
        &self,
        lsp: PeerId,
        order: CreateOrder,
        limits: FeeLimits,
    ) -> Result<OrderHandle, CannotOrderChannel> {
        let quote = self.quote_channel(lsp, order, limits).await?;
        let outbound = self.look(WalletNode::outbound).await.ok_or(CannotOrderChannel::Stopped)?;
        let ways = quote.ranked(|way| match (way.kind(), &self.onchain) {
            (WayKind::Onchain, Some(wallet)) => pay::extra(&**wallet, way),
            (WayKind::Onchain, None) => None,
            // Routing fees show when a route is looked for; they have the same limit.
            (WayKind::Bolt11 | WayKind::Bolt12, _) => {
                way.total.to_msat().is_some_and(|total| total <= outbound).then_some(Sat::ZERO)
            }
        });
        self.place(quote, ways).await
    }

    /// As [`Self::order_channel`], where `choose` says how it is paid.
    ///
    /// # Errors
    ///
    /// When the LSP does not answer, does not offer it, or not on acceptable terms.
    pub async fn order_channel_paying(
        &self,
        lsp: PeerId,
        order: CreateOrder,
        limits: FeeLimits,
        choose: impl FnOnce(&Quote) -> Option<WayKind>,
    ) -> Result<OrderHandle, CannotOrderChannel> {
        let quote = self.quote_channel(lsp, order, limits).await?;
        let way = choose(&quote).ok_or(NotOrdered::NothingChosen)?;
        self.place(quote, vec![way]).await
    }

    async fn quote_channel(
        &self,
        lsp: PeerId,
        order: CreateOrder,
        limits: FeeLimits,
    ) -> Result<Quote, CannotOrderChannel> {
        let (announced, capacity) = (order.announce_channel, order.capacity());
        let takes = self.look(move |node| node.takes_channel(announced, capacity)).await;
        takes.ok_or(CannotOrderChannel::Stopped)??;
        self.tell(WalletEvent::Asked);
        self.know_who_is_connected().await.ok_or(CannotOrderChannel::Stopped)?;
        let node = self.look(move |node| (node.network(), node.has_large_channels(lsp))).await;
        let (network, large_channels) = node.ok_or(CannotOrderChannel::Stopped)?;
        let network = network.ok_or(CannotOrderChannel::NoNetwork)?;
        let token = order.token.or_else(|| self.lsps.token_of(lsp));
        let order = CreateOrder { token, ..order };
        let wish = Wish { order, limits, network, large_channels, rules: self.order_rules };
        Ok(self.session.lsp(lsp).quote_channel(wish, &Reads(Arc::clone(&self.node))).await?)
    }

    /// Puts an order on record, to be paid in the first of these ways that works. It is called off where that does not become
    /// durable: nobody knows of it then.
    async fn place(&self, quote: Quote, ways: Vec<WayKind>) -> Result<OrderHandle, CannotOrderChannel> {
        let place = move |session: &Session, _: &dyn WalletNode| {
            session.pay_quote_in_turn(quote, &ways).map_err(CannotOrderChannel::from)
        };
        let call_off = |session: &Session, order: &OrderHandle| {
            // An error says that it is over.
            let _ = session.with(|client, now| client.abandon_order(order.key(), now));
        };
        self.change(place, call_off).await
    }

    /// Ends an order, whatever its state ([`Client::abandon_order`](lsps_client::Client::abandon_order) says how).
    ///
    /// # Errors
    ///
    /// When there is no such order, or the order is over.
    pub async fn end_order(&self, order: OrderKey) -> Result<(), CannotEndOrder> {
        let end = move |session: &Session, _: &dyn WalletNode| {
            session.with(|client, now| client.abandon_order(order, now)).map_err(CannotEndOrder::from)
        };
        self.change(end, |_, ()| {}).await
    }

    /// All orders on record, open and over.
    #[must_use]
    pub fn orders(&self) -> Vec<Order> {
        self.session.with(|client, _| client.orders().cloned().collect())
    }

    /// An order on record, for example one from before a restart.
    #[must_use]
    pub fn order(&self, key: OrderKey) -> OrderHandle {
        self.session.order(key)
    }
}

/// Reads invoices as the node does.
struct Reads(Arc<dyn WalletNode>);

impl ReadInvoices for Reads {
    fn bolt11(&self, invoice: &str, network: Network) -> Option<PaymentFacts> {
        self.0.read_invoice(invoice, network)
    }

    fn bolt12(&self, offer: &str, network: Network) -> Option<PaymentFacts> {
        self.0.read_offer(offer, network)
    }
}

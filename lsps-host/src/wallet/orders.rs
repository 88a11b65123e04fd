//! Calls that order a channel: ask, check, choose a payment method, put the order on record, pay.

use std::sync::Arc;

use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{Order, OrderError, OrderKey, OrderRequest, PaymentMethod, Quote};
use lsps_client::session::{NotOrdered, OrderHandle, Session};
use lsps_types::lsps1::{CreateOrder, PaymentFacts, ReadInvoices};
use lsps_types::{Network, PeerId, Sat};

use super::events::WalletEvent;
use super::{NotDone, Wallet, pay};
use crate::ports::{SettingMissing, WalletNode};

/// Error of a call that orders a channel. No payment is made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOrderChannel {
    /// The node would not accept the channel.
    #[error(transparent)]
    Setting(#[from] SettingMissing),
    /// The LSP does not offer the channel on acceptable terms.
    #[error(transparent)]
    NotOrdered(Box<NotOrdered>),
    /// The node's network has no name in LSPS1.
    #[error("channels cannot be ordered on the node's network")]
    NoNetwork,
    /// The store failed, and an order must not be paid without its record. The order is abandoned.
    #[error("the order could not be stored")]
    NotStored,
    /// The wallet was stopped.
    #[error("the wallet was stopped")]
    Stopped,
}

impl From<NotOrdered> for CannotOrderChannel {
    fn from(why: NotOrdered) -> Self {
        Self::NotOrdered(Box::new(why))
    }
}

impl From<NotDone> for CannotOrderChannel {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::NotStored => Self::NotStored,
            NotDone::Stopped => Self::Stopped,
        }
    }
}

/// Error of [`Wallet::end_order`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotEndOrder {
    /// No order with this key is on record.
    #[error("there is no such order")]
    NotFound,
    /// The order has ended already.
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
    /// Orders a channel of this LSP and pays for it by the cheapest method whose cost, on-chain and routing fees
    /// included, is within `limits`: by invoice or offer if the node's channels have the balance, and on-chain if
    /// [`WalletSettings::onchain`](super::WalletSettings::onchain) is set and the order names a refund address. If a method
    /// fails and none of its payment is in flight, the next one is tried as long as the order is open.
    /// The handle reports the outcome. The channel is accepted if it is as ordered. Dropping the future is safe.
    ///
    /// # Errors
    ///
    /// The LSP does not offer the channel on acceptable terms, or the wallet cannot order it.
    pub async fn order_channel(
        &self,
        lsp: PeerId,
        order: CreateOrder,
        limits: FeeLimits,
    ) -> Result<OrderHandle, CannotOrderChannel> {
        let quote = self.quote_channel(lsp, order, limits).await?;
        let outbound = self.look(WalletNode::outbound).await.ok_or(CannotOrderChannel::Stopped)?;
        let methods = quote.ranked(|option| match (option.method(), &self.onchain) {
            (PaymentMethod::Onchain, Some(wallet)) => pay::extra(&**wallet, option),
            (PaymentMethod::Onchain, None) | (PaymentMethod::Free, _) => None,
            // Routing fees are unknown before a route is searched; `limits` applies to them too.
            (PaymentMethod::Bolt11 | PaymentMethod::Bolt12, _) => {
                option.total.to_msat().is_some_and(|total| total <= outbound).then_some(Sat::ZERO)
            }
        });
        self.place(quote, methods).await
    }

    /// Like [`Self::order_channel`], but `choose` returns the payment method.
    ///
    /// # Errors
    ///
    /// The LSP does not offer the channel on acceptable terms, or the wallet cannot order it.
    pub async fn order_channel_paying(
        &self,
        lsp: PeerId,
        order: CreateOrder,
        limits: FeeLimits,
        choose: impl FnOnce(&Quote) -> Option<PaymentMethod>,
    ) -> Result<OrderHandle, CannotOrderChannel> {
        let quote = self.quote_channel(lsp, order, limits).await?;
        let method = choose(&quote).ok_or(NotOrdered::NothingChosen)?;
        self.place(quote, vec![method]).await
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
        let request = OrderRequest { order, limits, network, large_channels, rules: self.order_rules };
        Ok(self.session.lsp(lsp).quote_channel(request, &Reads(Arc::clone(&self.node))).await?)
    }

    /// Puts an order on record, to be paid by the first of these methods that works. If the record does not become
    /// durable, the order is abandoned, as its caller never gets a handle to it.
    async fn place(&self, quote: Quote, methods: Vec<PaymentMethod>) -> Result<OrderHandle, CannotOrderChannel> {
        let place = move |session: &Session, _: &dyn WalletNode| {
            session.pay_quote_in_turn(quote, &methods).map_err(CannotOrderChannel::from)
        };
        let call_off = |session: &Session, order: &OrderHandle| {
            // An error means that the order has ended.
            let _ = session.with(|client, now| client.abandon_order(order.key(), now));
        };
        self.change(place, call_off).await
    }

    /// Ends an order in any state. [`Client::abandon_order`](lsps_client::Client::abandon_order) has the details.
    ///
    /// # Errors
    ///
    /// There is no such order, or the order has ended.
    pub async fn end_order(&self, order: OrderKey) -> Result<(), CannotEndOrder> {
        let end = move |session: &Session, _: &dyn WalletNode| {
            session.with(|client, now| client.abandon_order(order, now)).map_err(CannotEndOrder::from)
        };
        self.change(end, |_, ()| {}).await
    }

    /// All orders on record, open and ended.
    #[must_use]
    pub fn orders(&self) -> Vec<Order> {
        self.session.with(|client, _| client.orders().cloned().collect())
    }

    /// Handle of an order on record, for example of one from before a restart.
    #[must_use]
    pub fn order(&self, key: OrderKey) -> OrderHandle {
        self.session.order(key)
    }
}

/// Parses invoices with the node's parser.
struct Reads(Arc<dyn WalletNode>);

impl ReadInvoices for Reads {
    fn bolt11(&self, invoice: &str, network: Network) -> Option<PaymentFacts> {
        self.0.read_invoice(invoice, network)
    }

    fn bolt12(&self, offer: &str, network: Network) -> Option<PaymentFacts> {
        self.0.read_offer(offer, network)
    }
}

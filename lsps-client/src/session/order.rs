//! Ordering a channel in one call, and waiting for its outcome.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use lsps_types::PeerId;
use lsps_types::codes::{CreateOrderError, NoError};
use lsps_types::lsps1::{GetInfo, ReadInvoices};

use super::{Failed, Lsp, Session};
use crate::order::{
    CannotOrder, End, LspOptions, Order, OrderError, OrderKey, OrderRequest, PaymentMethod, Quote, RefuseOrder,
    RefusePlace, State, Trouble,
};

/// Handle of an order on record. Dropping it changes nothing; [`Session::order`] creates it again, after a restart too.
#[derive(Clone)]
pub struct OrderHandle {
    session: Session,
    key: OrderKey,
}

impl fmt::Debug for OrderHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderHandle({})", self.key)
    }
}

/// Result of waiting for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order is over.
    Ended(End),
    /// The order failed, and its refund was not seen yet. [`OrderHandle::over`] waits for it.
    Failed,
    /// The order is in trouble, which may end.
    Stuck(Trouble),
    /// The order has no record any more.
    NoRecord,
}

/// Reason for which no channel was ordered. Nothing is paid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotOrdered {
    /// The LSP did not return its options.
    #[error("asking what can be ordered: {0}")]
    GetInfo(#[source] Failed<NoError>),
    /// The LSP's options do not allow the order.
    #[error(transparent)]
    NotOffered(#[from] CannotOrder),
    /// The LSP did not create the order.
    #[error("ordering the channel: {0}")]
    Create(#[source] Failed<CreateOrderError>),
    /// The LSP's answer to the order is not acceptable.
    #[error(transparent)]
    Refused(#[from] RefuseOrder),
    /// No payment method was chosen, or the wallet can use none of them.
    #[error("no payment method was chosen, or none can be paid within the limits")]
    NothingChosen,
    /// The order cannot be put on record.
    #[error(transparent)]
    Place(#[from] RefusePlace),
    /// The order cannot be paid as chosen.
    #[error(transparent)]
    Pay(#[from] OrderError),
}

impl Lsp {
    /// Orders a channel and has it paid by the method that `choose` returns, such as [`Quote::cheapest`].
    ///
    /// The host pays once the order is on record, see [`Effect::PayOrder`](crate::Effect::PayOrder). Dropping the
    /// future is safe: nothing is paid then.
    ///
    /// # Errors
    ///
    /// The LSP does not answer, or does not offer the channel on acceptable terms.
    pub async fn order_channel(
        &self,
        request: OrderRequest,
        read: &impl ReadInvoices,
        choose: impl FnOnce(&Quote) -> Option<PaymentMethod>,
    ) -> Result<OrderHandle, NotOrdered> {
        let quote = self.quote_channel(request, read).await?;
        let method = choose(&quote).ok_or(NotOrdered::NothingChosen)?;
        self.session.pay_quote(quote, method)
    }

    /// Orders a channel up to its price, for a wallet that asks its user. An order that is not paid expires by itself.
    ///
    /// Spec: LSPS1 §1, §2.
    ///
    /// # Errors
    ///
    /// The LSP does not answer, or does not offer the channel on acceptable terms.
    pub async fn quote_channel(&self, request: OrderRequest, read: &impl ReadInvoices) -> Result<Quote, NotOrdered> {
        let options = self.call(&GetInfo {}).await.map_err(NotOrdered::GetInfo)?;
        let checked = LspOptions { lsp: self.id, options }.check(request)?;
        let made = self.call(checked.create_order()).await.map_err(NotOrdered::Create)?;
        let now = self.session.with(|_, now| now);
        Ok(checked.verify(&made, read, now)?)
    }
}

impl Session {
    /// Puts an order on record, to be paid by this method.
    ///
    /// # Errors
    ///
    /// There is too little time, or there are too many orders.
    pub fn pay_quote(&self, quote: Quote, method: PaymentMethod) -> Result<OrderHandle, NotOrdered> {
        self.pay_quote_in_turn(quote, &[method])
    }

    /// Puts an order on record, to be paid by the first of these methods that works, see
    /// [`Input::PayOrder`](crate::Input::PayOrder) and [`Quote::ranked`].
    ///
    /// # Errors
    ///
    /// `methods` is empty, there is too little time for all of them, or there are too many orders.
    pub fn pay_quote_in_turn(&self, quote: Quote, methods: &[PaymentMethod]) -> Result<OrderHandle, NotOrdered> {
        if methods.is_empty() {
            return Err(NotOrdered::NothingChosen);
        }
        let key = self.with(|client, now| {
            let key = client.place_order(quote, now)?;
            client.pay_order_in_turn(key, methods, now)?;
            Ok::<_, NotOrdered>(key)
        })?;
        Ok(self.order(key))
    }

    /// The handle of an order on record.
    #[must_use]
    pub fn order(&self, key: OrderKey) -> OrderHandle {
        OrderHandle { session: self.clone(), key }
    }
}

impl OrderHandle {
    /// Local key of the order.
    #[must_use]
    pub fn key(&self) -> OrderKey {
        self.key
    }

    /// LSP that opens the channel; `None` if the order has no record any more.
    #[must_use]
    pub fn lsp(&self) -> Option<PeerId> {
        self.snapshot().map(|order| order.lsp())
    }

    /// The order as it is now; `None` if it has no record any more.
    #[must_use]
    pub fn snapshot(&self) -> Option<Order> {
        self.session.with(|client, _| client.order(self.key).cloned())
    }

    /// Waits until the outcome is known or the order is in trouble.
    pub async fn wait(&self) -> Outcome {
        self.until(|order| match (order.state(), order.trouble()) {
            (State::Ended { end, .. }, _) => Some(Outcome::Ended(end.clone())),
            (State::Refunding(_), _) => Some(Outcome::Failed),
            (State::Quoted | State::Paying(_), Some(trouble)) => Some(Outcome::Stuck(trouble.clone())),
            (State::Quoted | State::Paying(_), None) => None,
            (State::Gone, _) => Some(Outcome::NoRecord),
        })
        .await
    }

    /// Waits until the order is over, however long that takes. With some LSPs that may be never.
    pub async fn over(&self) -> Outcome {
        self.until(|order| order.end().map(|end| Outcome::Ended(end.clone()))).await
    }

    /// Waits until the order differs from `seen`, and returns it.
    pub async fn changed(&self, seen: &Order) -> Option<Order> {
        let differs = |order: &Order| (order != seen).then(|| Some(order.clone()));
        self.until_or(differs, None).await
    }

    async fn until(&self, is_over: impl Fn(&Order) -> Option<Outcome>) -> Outcome {
        self.until_or(is_over, Outcome::NoRecord).await
    }

    async fn until_or<T: Clone>(&self, look: impl Fn(&Order) -> Option<T>, gone: T) -> T {
        poll_fn(|cx| {
            self.session.with(|client, _| match client.order(self.key) {
                None => Poll::Ready(gone.clone()),
                Some(order) => look(order).map_or_else(
                    || {
                        client.watch_order(self.key, cx.waker());
                        Poll::Pending
                    },
                    Poll::Ready,
                ),
            })
        })
        .await
    }
}

//! Deadlines of all kinds.

/// Why a deadline is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wake {
    /// An LSP answered about an order or a webhook, which is to be looked at.
    AnswerArrived,
    /// Orders of an earlier life were loaded; what they ask for depends on the time.
    OrdersLoaded,
    /// An LSP did not answer a call in time.
    AnswerOverdue,
    /// The outcome of a call was not taken for so long that it is dropped.
    OutcomeForgotten,
    /// No channel is accepted for a purchase any more.
    PurchaseOver,
    /// A purchase that is over need not be remembered any longer.
    PurchaseForgotten,
    /// An LSP is to be asked about an order.
    OrderAsked,
    /// An order can no longer be paid, or not in the way that was chosen.
    OrderExpired,
    /// The transaction that pays an order is broadcast no more.
    PaymentLate,
    /// The LSP was asked for long enough about a payment that came back.
    ReturnSettled,
    /// An order is given up.
    OrderGivenUp,
    /// The channel of an order that is done should be confirmed by now.
    OrderUnconfirmed,
    /// An order that is over need not be remembered any longer.
    OrderForgotten,
    /// An LSP is to be told of a webhook, or asked which it has.
    WebhookAsked,
}

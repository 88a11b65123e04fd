//! Reasons for deadlines.

/// Reason for a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wake {
    /// An LSP answered about an order or a webhook, and the answer has to be handled.
    AnswerArrived,
    /// Orders were loaded, and their effects depend on the time.
    OrdersLoaded,
    /// An LSP did not answer a call in time.
    AnswerOverdue,
    /// The outcome of a call was not taken in time and is dropped.
    OutcomeForgotten,
    /// A purchase accepts no channel any more.
    PurchaseOver,
    /// The record of a finished purchase can be removed.
    PurchaseForgotten,
    /// A request about an order is due.
    OrderAsked,
    /// An order can no longer be paid, or not by the chosen method.
    OrderExpired,
    /// The transaction that pays an order is too late to be broadcast.
    PaymentLate,
    /// The time to ask an LSP about a payment that came back is over.
    ReturnSettled,
    /// An order is abandoned.
    OrderGivenUp,
    /// The channel of a completed order should be confirmed by now.
    OrderUnconfirmed,
    /// The record of a finished order can be removed.
    OrderForgotten,
    /// A request about a webhook, or about the list of webhooks, is due.
    WebhookAsked,
}

//! Reasons for deadlines.

/// Reason for a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A payment is not complete in time, or its client did not connect.
    PartsHeldTooLong,
    /// The client did not answer an open.
    OpenUnanswered,
    /// The outcome of a payment can be dropped from the record.
    OutcomeForgotten,
    /// An offer can no longer be paid.
    OfferExpired,
    /// A decision taken elsewhere was not taken in time.
    NobodyDecided,
    /// The record of an offer can be removed.
    OfferOver,
    /// The payment methods of an order were not created in time.
    OrderNotPrepared,
    /// A payment method of an order has expired.
    OrderExpired,
    /// An open that failed is due for a retry.
    OpenTriedAgain,
    /// A refund is not confirmed.
    RefundStuck,
    /// The record of an order can be removed.
    OrderOver,
    /// A notification was not delivered in time.
    PostOverdue,
    /// A notification that reached no webhook is due to be raised again.
    RaisedAgain,
    /// The webhooks of a client without channels have lapsed, as it did not register again.
    WebhooksLapse,
    /// The record of a client without webhooks can be removed.
    WebhooksOver,
}

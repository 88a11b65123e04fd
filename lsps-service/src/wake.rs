//! Deadlines of all kinds.

/// Why a deadline is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A payment did not become complete, or its client did not come.
    PartsHeldTooLong,
    /// The client did not answer an open.
    OpenUnanswered,
    /// What became of a payment need not be remembered any longer.
    OutcomeForgotten,
    /// An offer can no longer be paid.
    OfferExpired,
    /// A decision taken elsewhere did not come.
    NobodyDecided,
    /// The offer is over for good.
    OfferOver,
    /// What an order can be paid with was not made in time.
    OrderNotPrepared,
    /// An order can no longer be paid in some way.
    OrderExpired,
    /// A channel that could not be opened is tried again.
    OpenTriedAgain,
    /// A refund is not confirmed.
    RefundStuck,
    /// An order is over for good.
    OrderOver,
    /// A notification was not delivered in time.
    PostOverdue,
    /// A notification reached no webhook and is raised again.
    RaisedAgain,
    /// A client without channels did not register again for long.
    WebhooksLapse,
    /// A client without webhooks need not be remembered any longer.
    WebhooksOver,
}

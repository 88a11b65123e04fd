//! What hosts and applications hear of what they told.

use lsps_types::jsonrpc::{BadFormat, TooLarge};

use crate::input::CallId;
use crate::jit_receive::{Handled, RefuseChannel, RefusePurchase};
use crate::order::{OrderError, OrderKey, RefusePlace};
use crate::webhooks::TooManyApps;

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a refused input changed nothing, and may have to be undone at its source"]
#[non_exhaustive]
pub enum Outcome {
    /// The client has dealt with it; what follows waits in [`Client::drain`](crate::Client::drain).
    Taken,
    /// No purchase and no order knows it: it is the application's own business, or was told before.
    NotMine,
    /// The request of [`Input::Call`](crate::Input::Call) is on its way once the batch is written.
    Sent(CallId),
    /// The payload of [`Input::Message`](crate::Input::Message) turned out to be this.
    Heard(Heard),
    /// The order of [`Input::PlaceOrder`](crate::Input::PlaceOrder) has this name.
    Placed(OrderKey),
    /// Nothing changed.
    Refused(Refusal),
}

/// Why an input changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is not sent.
    #[error(transparent)]
    Call(#[from] NotSent),
    /// The purchase is not registered; its invoice must not be handed out.
    #[error(transparent)]
    Purchase(#[from] RefusePurchase),
    /// The channel is not to be accepted as a bought or ordered one.
    #[error(transparent)]
    Channel(#[from] RefuseChannel),
    /// The order is not put on record; it must not be paid.
    #[error(transparent)]
    Place(#[from] RefusePlace),
    /// The order does not do that.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The transaction that pays the order must not be broadcast now.
    #[error("the transaction of the order must not be broadcast now")]
    MayNotBroadcast,
    /// The app is not registered.
    #[error(transparent)]
    Webhook(#[from] TooManyApps),
}

/// What a payload from an LSP turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to a call that waits for it.
    Answer,
    /// An answer that nobody waits for, at least not from this LSP.
    UnknownId,
    /// An error without a request: the LSP could not read something of ours.
    UncorrelatedError,
    /// News of a kind we do not know; today all are.
    UnknownNotification,
    /// No message at all. It was dropped, and the LSP is suspended until it reconnects.
    BadFormat(BadFormat),
}

/// Why a call was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The LSP is not connected.
    #[error("the provider is not connected")]
    NotConnected,
    /// It sent something that is no message; it gets no more of ours until it reconnects. Spec: LSPS0 (SHOULD).
    #[error("the provider sent a malformed message; reconnect before asking it again")]
    Suspended,
    /// As many calls to it wait already as may.
    #[error("too many requests to the provider are waiting")]
    TooManyPending,
    /// It does not fit into a message.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl From<Handled> for Outcome {
    fn from(handled: Handled) -> Self {
        match handled {
            Handled::Taken => Self::Taken,
            Handled::NotMine => Self::NotMine,
        }
    }
}

impl<E: Into<Refusal>> From<Result<(), E>> for Outcome {
    fn from(done: Result<(), E>) -> Self {
        done.map_or_else(|why| Self::Refused(why.into()), |()| Self::Taken)
    }
}

//! Results of inputs, for hosts and applications.

use lsps_types::jsonrpc::{BadFormat, TooLarge};

use crate::input::CallId;
use crate::jit_receive::{Handled, RefuseChannel, RefusePurchase};
use crate::order::{OrderError, OrderKey, RefusePlace};
use crate::webhooks::TooManyApps;

/// Result of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a refused input changed nothing, and may have to be undone at its source"]
#[non_exhaustive]
pub enum Outcome {
    /// The client handled the input; the consequences wait in [`Client::drain`](crate::Client::drain).
    Taken,
    /// No purchase and no order knows it: the report is about the application's own, or was made before.
    NotMine,
    /// The request of [`Input::Call`](crate::Input::Call) is sent once the batch is written.
    Sent(CallId),
    /// Kind of the payload of [`Input::Message`](crate::Input::Message).
    Heard(Heard),
    /// The order of [`Input::PlaceOrder`](crate::Input::PlaceOrder) has this key.
    Placed(OrderKey),
    /// The input changed nothing.
    Refused(Refusal),
}

/// Reason for which an input changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is not sent.
    #[error(transparent)]
    Call(#[from] NotSent),
    /// The purchase is not registered; its invoice must not be handed out.
    #[error(transparent)]
    Purchase(#[from] RefusePurchase),
    /// The channel is not accepted as a bought or ordered one.
    #[error(transparent)]
    Channel(#[from] RefuseChannel),
    /// The order is not put on record; it must not be paid.
    #[error(transparent)]
    Place(#[from] RefusePlace),
    /// The order rejects the input.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The transaction that pays the order must not be broadcast now.
    #[error("the transaction of the order must not be broadcast now")]
    MayNotBroadcast,
    /// The app is not registered.
    #[error(transparent)]
    Webhook(#[from] TooManyApps),
}

/// Kind of a payload from an LSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to an open call.
    Answer,
    /// An answer to no open call of this LSP.
    UnknownId,
    /// An error without a request: the LSP could not read a message of this client.
    UncorrelatedError,
    /// A notification of unknown kind; at present all are.
    UnknownNotification,
    /// The payload is not a message and was dropped. The LSP is suspended until it reconnects.
    BadFormat(BadFormat),
}

/// Reason for which a call was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The LSP is not connected.
    #[error("the provider is not connected")]
    NotConnected,
    /// The LSP sent a malformed payload; it receives no more messages until it reconnects. Spec: LSPS0 (SHOULD).
    #[error("the provider sent a malformed message; reconnect before asking it again")]
    Suspended,
    /// The limit of open calls to this LSP is reached.
    #[error("too many requests to the provider are waiting")]
    TooManyPending,
    /// The request does not fit into a message.
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

//! Error codes of all methods, in one table.

/// An error that one method defines. Spec: the method's own table.
pub trait MethodError: Copy + core::fmt::Debug + core::fmt::Display + Eq + 'static {
    /// The code of the error on the wire.
    fn code(self) -> i64;

    /// The error with this code, if the method defines one.
    fn from_code(code: i64) -> Option<Self>;
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $code:literal => $variant:ident, $text:literal;)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl MethodError for $name {
            fn code(self) -> i64 {
                match self { $(Self::$variant => $code,)* }
            }

            fn from_code(code: i64) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }

        /// A sentence of this library, written for people who wait for the answer.
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match *self { $(Self::$variant => $text,)* })
            }
        }
    )*};
}

error_codes! {
    /// Errors that every method can answer. Spec: LSPS0 "Error Handling" and "Client Rejected".
    pub enum CommonError {
        /// The payload was not a JSON-RPC request.
        -32_700 => Parse, "the provider could not read the message";
        /// The JSON was not a request. This library never writes this code.
        -32_600 => InvalidRequest, "the provider took the message for no request";
        /// Unknown or unsupported method.
        -32_601 => MethodNotFound, "the provider does not offer this";
        /// Unknown, missing or wrong parameters.
        -32_602 => InvalidParams, "the provider did not accept a parameter";
        /// The request failed for a reason inside the LSP.
        -32_603 => Internal, "the provider failed to handle the request";
        /// The LSP does not serve this client.
        1 => ClientRejected, "the provider does not serve this client";
    }

    /// Errors of [`CreateOrder`](crate::lsps1::CreateOrder). Spec: LSPS1 §2.
    pub enum CreateOrderError {
        /// The order is outside the options; `data` is an [`OptionMismatch`](crate::lsps1::OptionMismatch).
        100 => OptionMismatch, "the order is outside what the provider offers";
        /// The token is unknown or no longer valid.
        102 => UnrecognizedOrStaleToken, "the token is unknown or no longer good";
    }

    /// Errors of [`GetOrder`](crate::lsps1::GetOrder). Spec: LSPS1 §3.
    pub enum GetOrderError {
        /// This client has no such order.
        101 => NotFound, "there is no such order";
    }

    /// Errors of [`GetInfo`](crate::lsps2::GetInfo). Spec: LSPS2 §1.
    pub enum GetInfoError {
        /// The token is unknown or no longer valid.
        200 => UnrecognizedOrStaleToken, "the token is unknown or no longer good";
    }

    /// Errors of [`Buy`](crate::lsps2::Buy). Spec: LSPS2 §2.
    pub enum BuyError {
        /// The terms have expired, or the promise does not match them.
        201 => InvalidOpeningFeeParams, "the terms are no longer valid";
        /// The payment is below the minimum, or the fee would use it up.
        202 => PaymentSizeTooSmall, "the payment is too small";
        /// The fee overflowed, the payment is above the maximum, or the LSP lacks liquidity.
        203 => PaymentSizeTooLarge, "the payment is too large";
    }

    /// Errors of [`SetWebhook`](crate::lsps5::SetWebhook). Spec: LSPS5 `lsps5.set_webhook`.
    pub enum SetWebhookError {
        /// The name or the URL is too long.
        500 => TooLong, "the name or the URL is too long";
        /// The URL cannot be parsed.
        501 => UrlParse, "the provider could not read the URL";
        /// The scheme of the URL is not https.
        502 => UnsupportedProtocol, "the provider posts to https only";
        /// The client has the maximum number of webhooks; `data` is [`TooManyWebhooks`](crate::lsps5::TooManyWebhooks).
        503 => TooManyWebhooks, "there are too many webhooks";
    }

    /// Errors of [`RemoveWebhook`](crate::lsps5::RemoveWebhook). Spec: LSPS5 `lsps5.remove_webhook`.
    pub enum RemoveWebhookError {
        /// The client has no webhook of that name (reading R-31).
        1010 => AppNameNotFound, "there is no webhook of that name";
    }
}

/// Error type of a method that defines no errors of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoError {}

impl MethodError for NoError {
    fn code(self) -> i64 {
        match self {}
    }

    fn from_code(_: i64) -> Option<Self> {
        None
    }
}

impl core::fmt::Display for NoError {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {}
    }
}

/// Codes that servers may define for themselves. They are read as [`CommonError::Internal`].
pub const SERVER_RANGE: core::ops::RangeInclusive<i64> = -32_099..=-32_000;

//! Errors in replies: their wire form and their meaning.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::client_info::CLIENT_INFO;
use crate::codes::{CommonError, MethodError, SERVER_RANGE};
use crate::text::PeerText;

/// The `error` member of a response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorObject {
    /// Error code.
    pub code: i64,
    /// Message in the peer's words.
    pub message: PeerText,
    /// Additional data; an object if the method defines one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

/// `data` of [`CommonError::InvalidParams`]. Spec: LSPS0 "Invalid Parameters Error"; reading R-03.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidParams {
    /// Names of the parameters that the method does not have, up to 2 048 bytes in all.
    #[serde(default)]
    pub unrecognized: Vec<String>,
    /// Path of a parameter that is missing or does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Description of the fault in `property`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<PeerText>,
}

/// `data` of [`CommonError::ClientRejected`]. Spec: LSPS0 "Client Rejected".
#[derive(Serialize, Deserialize)]
struct Rejection {
    message: PeerText,
}

/// An error response to a method with errors `E`: its meaning, and the object as received.
#[derive(Clone, Debug)]
pub struct ErrorReply<E> {
    /// Meaning of the error.
    pub refusal: Refusal<E>,
    /// The error object as received.
    pub object: ErrorObject,
}

/// Meaning of an error that an LSP answered instead of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal<E> {
    /// An error that the method defines.
    Method(E),
    /// The LSP does not serve this client; with its reason, if it gave one.
    ClientRejected(Option<PeerText>),
    /// The LSP refused parameters; with the details that it gave.
    InvalidParams(InvalidParams),
    /// Any other error that every method can have. [`CommonError::Internal`] also stands for the whole server range.
    Common(CommonError),
    /// An error code that neither the method nor JSON-RPC defines.
    Unrecognized(i64),
}

impl ErrorObject {
    /// The error for a payload that is not a request.
    #[must_use]
    pub fn parse_error() -> Self {
        Self::common(CommonError::Parse, "Parse error")
    }

    /// The error for a method that is not offered.
    #[must_use]
    pub fn method_not_found() -> Self {
        Self::common(CommonError::MethodNotFound, "Method not found")
    }

    /// The error for a request that failed for a reason inside the LSP.
    #[must_use]
    pub fn internal() -> Self {
        Self::common(CommonError::Internal, "Internal error")
    }

    /// The error for unknown, missing or wrong parameters.
    #[must_use]
    pub fn invalid_params(data: &InvalidParams) -> Self {
        Self::common(CommonError::InvalidParams, "Invalid params").with(data)
    }

    /// The error for a client that is not served, with a reason for people to read.
    #[must_use]
    pub fn client_rejected(message: &str) -> Self {
        Self::common(CommonError::ClientRejected, "Client rejected").with(&Rejection { message: message.into() })
    }

    /// An error that the method defines.
    #[must_use]
    pub fn of_method(error: impl MethodError) -> Self {
        Self { code: error.code(), message: PeerText::from(alloc::format!("{error}")), data: None }
    }

    /// An error that the method defines, with the `data` that the method defines for it.
    #[must_use]
    pub fn of_method_with(error: impl MethodError, data: &impl Serialize) -> Self {
        Self::of_method(error).with(data)
    }

    /// The meaning of this error as an answer to a method with errors `E`.
    #[must_use]
    pub fn typed<E: MethodError>(self) -> ErrorReply<E> {
        let refusal = if let Some(error) = E::from_code(self.code) {
            Refusal::Method(error)
        } else if SERVER_RANGE.contains(&self.code) {
            Refusal::Common(CommonError::Internal)
        } else {
            match CommonError::from_code(self.code) {
                Some(CommonError::ClientRejected) => {
                    Refusal::ClientRejected(self.read_data::<Rejection>().map(|data| data.message))
                }
                Some(CommonError::InvalidParams) => Refusal::InvalidParams(self.read_data().unwrap_or_default()),
                Some(common) => Refusal::Common(common),
                None => Refusal::Unrecognized(self.code),
            }
        };
        ErrorReply { refusal, object: self }
    }

    /// Whether the error says that `client_info` is unknown, and nothing else (reading R-57).
    #[must_use]
    pub fn refuses_client_info(&self) -> bool {
        let is_it = |data: InvalidParams| data.unrecognized == [CLIENT_INFO];
        self.code == CommonError::InvalidParams.code() && self.read_data().is_some_and(is_it)
    }

    /// This error without `data`, or with the least `data` that its code allows, for when it does not fit into one
    /// message.
    pub(super) fn without_data(&self) -> Self {
        let bare = Self { code: self.code, message: self.message.clone(), data: None };
        if self.code == CommonError::InvalidParams.code() { bare.with(&InvalidParams::default()) } else { bare }
    }

    fn common(error: CommonError, message: &str) -> Self {
        Self { code: error.code(), message: message.into(), data: None }
    }

    fn with(self, data: &impl Serialize) -> Self {
        Self { data: serde_json::value::to_raw_value(data).ok(), ..self }
    }

    /// Parses `data` as the type that the method defines for the error; `None` if it is absent or does not fit.
    #[must_use]
    pub fn read_data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.data.as_deref()?.get()).ok()
    }
}

impl<E: MethodError> fmt::Display for Refusal<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(error) => fmt::Display::fmt(error, f),
            Self::ClientRejected(_) => fmt::Display::fmt(&CommonError::ClientRejected, f),
            Self::InvalidParams(_) => fmt::Display::fmt(&CommonError::InvalidParams, f),
            Self::Common(error) => fmt::Display::fmt(error, f),
            Self::Unrecognized(code) => write!(f, "the provider answered with an unknown error ({code})"),
        }
    }
}

/// Displays this library's own words; the peer's are in [`ErrorReply::object`].
impl<E: MethodError> fmt::Display for ErrorReply<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.refusal, f)
    }
}

impl<E: MethodError> core::error::Error for ErrorReply<E> {}

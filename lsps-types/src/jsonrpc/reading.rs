//! Messages as they come in: requests at an LSP, replies and notifications at a client.

use alloc::{borrow::Cow, string::String};
use core::str;

use super::refusal::{ErrorObject, InvalidParams};
use super::scan::{self, BadFormat};
use super::{MAX_PAYLOAD, RequestId, VERSION, typed};
use crate::method::{Method, Request};
use crate::text::PeerText;

/// A request as an LSP reads it, its parameters not yet looked at.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    id: RequestId,
    method: Cow<'a, str>,
    /// An object or an array.
    params: &'a str,
}

/// A payload that is no request. [`answer`](Self::answer) says what to send back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARequest {
    /// Answered with [`ErrorObject::parse_error`] and a null id.
    #[error(transparent)]
    Bad(#[from] BadFormat),
    /// An error response with a null id. Never answered, or two LSPs would exchange them for ever (reading R-32).
    #[error("an error response without a request")]
    UncorrelatedError,
}

impl<'a> Incoming<'a> {
    /// Reads a payload that came from a client.
    ///
    /// # Errors
    ///
    /// When it is no request; says what to do then.
    pub fn decode(payload: &'a [u8]) -> Result<Self, NotARequest> {
        let envelope = Envelope::read(payload)?;
        let Some(method) = envelope.method else {
            let without_request = envelope.id == Some(NULL) && envelope.error.is_some_and(|error| error != NULL);
            return Err(if without_request {
                NotARequest::UncorrelatedError
            } else {
                BadFormat::Kind("it has no method").into()
            });
        };
        let method = scan::string(method).ok_or(BadFormat::Kind("its method is no string"))?;
        let id = RequestId::read(envelope.id.ok_or(BadFormat::Kind("it has no id"))?)?;
        let params = envelope.params.filter(|params| *params != NULL).unwrap_or("{}");
        if !params.starts_with(['{', '[']) {
            return Err(BadFormat::Kind("its params are neither an object nor an array").into());
        }
        Ok(Self { id, method, params })
    }

    /// To be echoed.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// What is asked for, if it is a method we know.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        Method::from_name(&self.method)
    }

    /// What is asked for, known or not.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.method
    }

    /// Reads the parameters of a method.
    ///
    /// # Errors
    ///
    /// Names all unknown parameters, and the first of the others that does not fit. Spec: LSPS0 "Invalid Parameters Error".
    pub fn params<R: Request>(&self) -> Result<R, InvalidParams> {
        typed::read(self.params).map_err(|_| typed::faults::<R>(self.params))
    }
}

/// What a client gets from an LSP.
#[derive(Clone, Debug)]
pub enum FromLsp<'a> {
    /// An answer.
    Response {
        /// To which request; `None` where the LSP could not read that.
        id: Option<RequestId>,
        /// A result not yet looked at, or an error.
        outcome: Result<Raw<'a>, ErrorObject>,
    },
    /// News. None are defined on this transport so far.
    Notification {
        /// Of what.
        method: Cow<'a, str>,
    },
}

impl<'a> FromLsp<'a> {
    /// Reads a payload that came from an LSP.
    ///
    /// # Errors
    ///
    /// When it is neither a response nor a notification. Never to be answered.
    pub fn decode(payload: &'a [u8]) -> Result<Self, BadFormat> {
        let envelope = Envelope::read(payload)?;
        let result = envelope.result.filter(|result| *result != NULL);
        let error = envelope.error.filter(|error| *error != NULL);
        if let Some(method) = envelope.method {
            if envelope.id.is_some() {
                return Err(BadFormat::Kind("LSPs send no requests"));
            }
            if result.is_some() || error.is_some() {
                return Err(BadFormat::Kind("it is both a notification and a response"));
            }
            let method = scan::string(method).ok_or(BadFormat::Kind("its method is no string"))?;
            return Ok(Self::Notification { method });
        }
        let id = match envelope.id.ok_or(BadFormat::Kind("it has no id"))? {
            NULL => None,
            id => Some(RequestId::read(id)?),
        };
        let outcome = match (result, error) {
            (Some(json), None) => Ok(Raw { json }),
            (None, Some(error)) => {
                Err(typed::read(error).map_err(|_| BadFormat::Kind("its error has no code or no message"))?)
            }
            (Some(_), Some(_)) => return Err(BadFormat::Kind("it has both a result and an error")),
            (None, None) => return Err(BadFormat::Kind("it has neither a result nor an error")),
        };
        Ok(Self::Response { id, outcome })
    }
}

/// A result not yet looked at.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    json: &'a str,
}

impl<'a> Raw<'a> {
    /// A result that was kept as text, to be read once its type is known.
    #[must_use]
    pub fn of(json: &'a str) -> Self {
        Self { json }
    }

    /// Its JSON.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.json
    }

    /// Reads it as the reply to a request of type `R`. Unknown members are skipped.
    ///
    /// # Errors
    ///
    /// Says what does not fit, and where.
    pub fn reply<R: Request>(&self) -> Result<R::Reply, InvalidReply> {
        typed::read(self.json)
            .map_err(|at| InvalidReply { path: at.path.unwrap_or_else(|| ".".into()), message: at.message })
    }
}

/// A result that is not what its method promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer does not fit at `{path}`")]
pub struct InvalidReply {
    /// Where, from the result down; `.` is the result itself.
    pub path: String,
    /// What is wrong there. May quote the peer.
    pub message: PeerText,
}

/// What is posted to a webhook, which is no payload of this transport.
pub(crate) struct Members<'a> {
    pub method: Cow<'a, str>,
    /// An object.
    pub params: &'a str,
}

impl<'a> Members<'a> {
    pub fn of_notification(text: &'a str) -> Result<Self, BadFormat> {
        let envelope = Envelope::of(text)?;
        if envelope.id.is_some() {
            return Err(BadFormat::Kind("it has an id"));
        }
        let method = envelope.method.and_then(scan::string).ok_or(BadFormat::Kind("it has no method"))?;
        let params = envelope.params.filter(|params| params.starts_with('{'));
        Ok(Self { method, params: params.ok_or(BadFormat::Kind("its params are no object"))? })
    }
}

/// The members that JSON-RPC knows, as raw JSON.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<&'a str>,
    id: Option<&'a str>,
    method: Option<&'a str>,
    params: Option<&'a str>,
    result: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, BadFormat> {
        if payload.len() > MAX_PAYLOAD {
            return Err(BadFormat::TooLong);
        }
        Self::of(str::from_utf8(payload).map_err(|_| BadFormat::NotUtf8)?)
    }

    fn of(text: &'a str) -> Result<Self, BadFormat> {
        let mut envelope = Self::default();
        scan::members(text, |name, raw| {
            let member = match name {
                "jsonrpc" => &mut envelope.jsonrpc,
                "id" => &mut envelope.id,
                "method" => &mut envelope.method,
                "params" => &mut envelope.params,
                "result" => &mut envelope.result,
                "error" => &mut envelope.error,
                _ => return,
            };
            *member = Some(raw);
        })?;
        let version = envelope.jsonrpc.and_then(scan::string);
        if version.as_deref() == Some(VERSION) { Ok(envelope) } else { Err(BadFormat::Version) }
    }
}

const NULL: &str = "null";

//! Incoming messages: requests at an LSP, replies and notifications at a client.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::str;

use super::refusal::{ErrorObject, InvalidParams};
use super::scan::{self, BadFormat};
use super::{MAX_PAYLOAD, RequestData, RequestId, VERSION, typed};
use crate::client_info::{CLIENT_INFO, ClientInfo};
use crate::method::{Method, Request};
use crate::text::PeerText;

/// A request as an LSP receives it; its parameters are not parsed yet.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    id: RequestId,
    method: Cow<'a, str>,
    /// Raw JSON of an object or an array.
    params: &'a str,
}

/// Error for a payload that is not a request. [`answer`](Self::answer) gives the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARequest {
    /// The payload is malformed. The answer is [`ErrorObject::parse_error`] with a null id.
    #[error(transparent)]
    Bad(#[from] BadFormat),
    /// The payload is an error response with a null id. An LSP never answers it, or two LSPs would exchange errors for
    /// ever (reading R-32).
    #[error("an error response without a request")]
    UncorrelatedError,
}

impl<'a> Incoming<'a> {
    /// Parses a payload that a client sent.
    ///
    /// # Errors
    ///
    /// The payload is not a request. The error says how to answer.
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

    /// The id, which the reply echoes.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The requested method, if this library knows it.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        Method::from_name(&self.method)
    }

    /// The name of the requested method, known or not.
    #[must_use]
    pub fn method_name(&self) -> &str {
        &self.method
    }

    /// Parses the parameters of a method.
    ///
    /// # Errors
    ///
    /// The error lists all unknown parameters, and the first of the others that does not fit. Spec: LSPS0 "Invalid
    /// Parameters Error".
    pub fn params<R: Request>(&self) -> Result<R, InvalidParams> {
        self.params_tolerating(&[])
    }

    /// Parses the parameters of a method, and skips unknown ones of these names. The parameter `client_info` of a method
    /// that has it is skipped too; [`client_info`](Self::client_info) reads it.
    ///
    /// # Errors
    ///
    /// As of [`params`](Self::params); also where `client_info` is no object.
    pub fn params_tolerating<R: Request>(&self, names: &[String]) -> Result<R, InvalidParams> {
        let has_info = R::METHOD.has_client_info();
        typed::read_tolerating(self.params, |name, value| {
            if has_info && name == CLIENT_INFO {
                return if ClientInfo::read(value).is_some() { typed::Unknown::Skip } else { typed::Unknown::NoObject };
            }
            if names.iter().any(|tolerated| tolerated == name) { typed::Unknown::Skip } else { typed::Unknown::Refuse }
        })
    }

    /// Program and node of the client, if the client names them and the method has that parameter.
    #[must_use]
    pub fn client_info(&self) -> Option<ClientInfo> {
        self.method().filter(|method| method.has_client_info())?;
        let mut info = None;
        let scanned = scan::members(self.params, |name, raw| {
            if name == CLIENT_INFO {
                info = ClientInfo::read(raw).flatten();
            }
        });
        info.filter(|info| scanned.is_ok() && !info.is_empty())
    }
}

/// A message that a client receives from an LSP.
#[derive(Clone, Debug)]
pub enum FromLsp<'a> {
    /// A response to a request.
    Response {
        /// Id of the request; `None` if the LSP could not read it.
        id: Option<RequestId>,
        /// A result that is not parsed yet, or an error.
        outcome: Result<Raw<'a>, ErrorObject>,
    },
    /// A notification. The specifications define none on this transport so far.
    Notification {
        /// Name of the notification's method.
        method: Cow<'a, str>,
    },
}

impl<'a> FromLsp<'a> {
    /// Parses a payload that an LSP sent.
    ///
    /// # Errors
    ///
    /// The payload is neither a response nor a notification. A client never answers such a payload.
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

/// A result as raw JSON, not parsed yet.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    json: &'a str,
}

impl<'a> Raw<'a> {
    /// Wraps the text of a result that was stored, to be parsed once its type is known.
    #[must_use]
    pub fn of(json: &'a str) -> Self {
        Self { json }
    }

    /// The JSON of the result.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.json
    }

    /// The JSON of the result, with those parameters of the request that it lacks: as a tolerant client reads the answer
    /// of an LSP that does not repeat what was asked.
    #[must_use]
    pub fn with_absent(&self, asked: &RequestData) -> String {
        let (mut there, mut absent) = (Vec::new(), String::new());
        let is_object = scan::members(self.json, |name, _| there.push(name.to_string())).is_ok();
        asked.each_param(|name, value| {
            if !there.iter().any(|known| known == name) {
                absent.extend([",\"", name, "\":", value]);
            }
        });
        match self.json.trim_end().strip_suffix('}').filter(|_| is_object && !there.is_empty()) {
            Some(members) => format!("{members}{absent}}}"),
            None => self.json.into(),
        }
    }

    /// Parses the result as the reply to a request of type `R`. Unknown members are skipped.
    ///
    /// # Errors
    ///
    /// The error says which member does not fit.
    pub fn reply<R: Request>(&self) -> Result<R::Reply, InvalidReply> {
        typed::read(self.json)
            .map_err(|at| InvalidReply { path: at.path.unwrap_or_else(|| ".".into()), message: at.message })
    }
}

/// Error for a result that does not have the form that its method defines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer does not fit at `{path}`")]
pub struct InvalidReply {
    /// Path of the member that does not fit, from the result down; `.` is the result itself.
    pub path: String,
    /// Description of the fault. The text may quote the peer.
    pub message: PeerText,
}

/// Method and parameters of a notification that is posted to a webhook, which is not a payload of this transport.
pub(crate) struct Members<'a> {
    pub method: Cow<'a, str>,
    /// Raw JSON of an object.
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

/// The members that JSON-RPC defines, as raw JSON.
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

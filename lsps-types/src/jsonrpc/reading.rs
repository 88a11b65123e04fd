//! Messages as they come in: requests at an LSP, replies and notifications at a client.

use alloc::{
    borrow::Cow,
    string::{String, ToString},
    vec::Vec,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::refusal::{ErrorObject, InvalidParams};
use super::strict::{BadFormat, Key, Keys, text};
use super::{RequestId, VERSION};
use crate::method::{Method, Request};

/// A request as an LSP reads it, its parameters not yet looked at.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    id: RequestId,
    method: Cow<'a, str>,
    params: Params<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Params<'a> {
    Object(&'a str),
    /// By position, which LSPS0 does not allow.
    Array,
}

/// A payload that is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARequest {
    /// To be answered with [`ErrorObject::parse_error`] and a null id.
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
            let null_id = envelope.id.is_some_and(is_null);
            let has_error = envelope.error.is_some_and(|error| !is_null(error));
            return Err(if null_id && has_error {
                NotARequest::UncorrelatedError
            } else {
                BadFormat::Kind("it has no method").into()
            });
        };
        let Key(method) = parse(method).ok_or(BadFormat::Kind("its method is no string"))?;
        let id = envelope.id.ok_or(BadFormat::Kind("it has no id"))?;
        let id = read_id(id).ok_or(BadFormat::Kind("its id is neither a short string nor an integer"))?;
        let params = match envelope.params.map(RawValue::get) {
            None | Some("null") => Params::Object("{}"),
            Some(object) if object.starts_with('{') => Params::Object(object),
            Some(array) if array.starts_with('[') => Params::Array,
            Some(_) => return Err(BadFormat::Kind("its params are no object").into()),
        };
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
    /// Names all unknown parameters, or the one that does not fit. Spec: LSPS0 "Invalid Parameters Error".
    pub fn params<R: Request>(&self) -> Result<R, InvalidParams> {
        let Params::Object(object) = self.params else {
            return Err(InvalidParams::of(None, "parameters go by name"));
        };
        let Keys(names) = serde_json::from_str(object).map_err(|e| InvalidParams::of(None, &e.to_string()))?;
        let unrecognized: Vec<String> =
            names.into_iter().filter(|name| !R::PARAMS.contains(&name.as_ref())).map(Cow::into_owned).collect();
        if !unrecognized.is_empty() {
            return Err(InvalidParams { unrecognized, property: None, message: Some("unknown parameters".into()) });
        }
        read_with_path(object).map_err(|(path, message)| InvalidParams::of(property(path, &message), &message))
    }
}

/// The path of what does not fit; of a missing parameter, its name.
fn property(path: String, message: &str) -> Option<String> {
    if path != "." {
        return Some(path);
    }
    let (_, name) = message.split_once("missing field `")?;
    name.split_once('`').map(|(name, _)| name.to_string())
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
        if let Some(method) = envelope.method {
            if envelope.id.is_some() {
                return Err(BadFormat::Kind("LSPs send no requests"));
            }
            let Key(method) = parse(method).ok_or(BadFormat::Kind("its method is no string"))?;
            return Ok(Self::Notification { method });
        }
        let id = match envelope.id.ok_or(BadFormat::Kind("it has no id"))? {
            null if is_null(null) => None,
            id => Some(read_id(id).ok_or(BadFormat::Kind("its id is neither a short string nor an integer"))?),
        };
        let result = envelope.result.filter(|result| !is_null(result));
        let error = envelope.error.filter(|error| !is_null(error));
        let outcome = match (result, error) {
            (Some(result), None) => Ok(Raw { json: result.get() }),
            (None, Some(error)) => Err(Some(error)
                .filter(|error| error.get().starts_with('{'))
                .and_then(parse)
                .ok_or(BadFormat::Kind("its error has no code or no message"))?),
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
        if !self.json.starts_with('{') {
            return Err(InvalidReply { path: ".".into(), message: "a result is an object".into() });
        }
        read_with_path(self.json).map_err(|(path, message)| InvalidReply { path, message })
    }
}

/// A result that is not what its method promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer does not fit at `{path}`")]
pub struct InvalidReply {
    /// Where, from the result down; `.` is the result itself.
    pub path: String,
    /// What is wrong there. May quote the peer, so filter it before it is shown.
    pub message: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, BadFormat> {
        let envelope: Self = serde_json::from_str(text(payload)?).map_err(|_| BadFormat::NotOneObject)?;
        let version = envelope.jsonrpc.and_then(parse::<Key<'_>>);
        if version.is_some_and(|Key(version)| version == VERSION) { Ok(envelope) } else { Err(BadFormat::Version) }
    }
}

/// Tells null from absent.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

fn read_id(raw: &RawValue) -> Option<RequestId> {
    parse(raw).filter(RequestId::is_short_enough)
}

/// The value, or where it does not fit and why.
fn read_with_path<T: DeserializeOwned>(json: &str) -> Result<T, (String, String)> {
    // The path costs time, so it is asked for only when there is something to say.
    serde_json::from_str(json).or_else(|_| {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|e| (e.path().to_string(), e.inner().to_string()))
    })
}

//! Outgoing messages.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ErrorObject, MAX_PAYLOAD, NotARequest, RequestId, VERSION, scan, to_json};
use crate::client_info::{CLIENT_INFO, ClientInfo};
use crate::method::{Method, Request};

/// Encodes a request. The id has to be unpredictable to others. Spec: LSPS0: a UUID, or at least 80 random bits in hex.
///
/// # Errors
///
/// The request does not fit into one message.
pub fn encode_request<R: Request>(id: &str, request: &R) -> Result<Vec<u8>, TooLarge> {
    encode_call(id, R::METHOD.name(), request)
}

fn encode_call(id: &str, method: &str, params: &impl Serialize) -> Result<Vec<u8>, TooLarge> {
    #[derive(Serialize)]
    struct Call<'a, P> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a P,
        id: &'a str,
    }
    let payload = to_json(&Call { jsonrpc: VERSION, method, params, id });
    if payload.len() > MAX_PAYLOAD { Err(TooLarge) } else { Ok(payload) }
}

/// A request of any method as plain data, which can be kept and sent later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestData {
    method: String,
    #[serde(with = "json_text")]
    params: Box<RawValue>,
}

impl RequestData {
    /// The data of this request.
    #[must_use]
    pub fn of<R: Request>(request: &R) -> Self {
        let params = serde_json::value::to_raw_value(request).expect("our own types have string keys and serialise");
        Self { method: R::METHOD.name().into(), params }
    }

    /// Name of the method on the wire.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The request with `client_info`, if its method has that parameter (reading R-57).
    #[must_use]
    pub fn with_client_info(self, info: &ClientInfo) -> Self {
        if !Method::from_name(&self.method).is_some_and(Method::has_client_info) {
            return self;
        }
        let info = serde_json::to_string(info).expect("our own types have string keys and serialise");
        self.with_params(|name| name != CLIENT_INFO, Some((CLIENT_INFO, &info)))
    }

    /// The request without `client_info`; `None` if it has none.
    #[must_use]
    pub fn without_client_info(&self) -> Option<Self> {
        let mut has_info = false;
        let _our_own_params = scan::members(self.params.get(), |name, _| has_info |= name == CLIENT_INFO);
        has_info.then(|| self.clone().with_params(|name| name != CLIENT_INFO, None))
    }

    /// The parameters that `keep` leaves, and one more.
    fn with_params(self, keep: impl Fn(&str) -> bool, more: Option<(&str, &str)>) -> Self {
        let mut params: Vec<String> = Vec::new();
        let _our_own_params = scan::members(self.params.get(), |name, value| {
            if keep(name) {
                params.push(format!("\"{name}\":{value}"));
            }
        });
        params.extend(more.map(|(name, value)| format!("\"{name}\":{value}")));
        let params = RawValue::from_string(format!("{{{}}}", params.join(","))).expect("an object of valid members");
        Self { params, ..self }
    }

    /// Calls `param` with the name and the JSON of each parameter.
    pub(super) fn each_param<'a>(&'a self, param: impl FnMut(&str, &'a str)) {
        let _our_own_params = scan::members(self.params.get(), param);
    }

    /// The message with this id, as [`encode_request`] writes it.
    ///
    /// # Errors
    ///
    /// When it does not fit into one message.
    pub fn encode(&self, id: &str) -> Result<Vec<u8>, TooLarge> {
        encode_call(id, &self.method, &self.params)
    }
}

impl PartialEq for RequestData {
    fn eq(&self, other: &Self) -> bool {
        (&self.method, self.params.get()) == (&other.method, other.params.get())
    }
}

impl Eq for RequestData {}

/// JSON within data of any format: as text, and checked when it is read.
mod json_text {
    use alloc::{boxed::Box, string::String};

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;

    pub fn serialize<S: Serializer>(json: &RawValue, serializer: S) -> Result<S::Ok, S::Error> {
        json.get().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<RawValue>, D::Error> {
        RawValue::from_string(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A message that would exceed 65533 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message would be longer than 65533 bytes")]
pub struct TooLarge;

/// Encodes the reply to a request; an internal error if the reply does not fit into one message.
#[must_use]
pub fn encode_reply<R: Request>(id: &RequestId, reply: &R::Reply) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a, R> {
        jsonrpc: &'static str,
        id: &'a RequestId,
        result: &'a R,
    }
    let payload = to_json(&Reply { jsonrpc: VERSION, id, result: reply });
    if payload.len() > MAX_PAYLOAD { encode_error(id, &ErrorObject::internal()) } else { payload }
}

/// Encodes the error that answers a request, without its `data` if that does not fit into one message.
/// [`NotARequest::answer`] encodes the answer to a payload that is not a request.
#[must_use]
pub fn encode_error(id: &RequestId, error: &ErrorObject) -> Vec<u8> {
    encode_failure(Some(id), error)
}

fn encode_failure(id: Option<&RequestId>, error: &ErrorObject) -> Vec<u8> {
    #[derive(Serialize)]
    struct Failure<'a> {
        jsonrpc: &'static str,
        id: Option<&'a RequestId>,
        error: &'a ErrorObject,
    }
    let payload = to_json(&Failure { jsonrpc: VERSION, id, error });
    let bare = || to_json(&Failure { jsonrpc: VERSION, id, error: &error.without_data() });
    if payload.len() > MAX_PAYLOAD { bare() } else { payload }
}

impl NotARequest {
    /// The answer to the payload: a parse error with a null id, or nothing. An error response is never answered, or two
    /// LSPs would answer each other forever (reading R-32); so this is the only way to write an error without an id.
    #[must_use]
    pub fn answer(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bad(_) => Some(encode_failure(None, &ErrorObject::parse_error())),
            Self::UncorrelatedError => None,
        }
    }
}

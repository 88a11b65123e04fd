//! Messages as they go out.

use alloc::vec::Vec;

use serde::Serialize;

use super::{ErrorObject, MAX_PAYLOAD, RequestId, VERSION, to_json};
use crate::method::Request;

/// A request, with an id that only its sender can know. Spec: LSPS0: a UUID, or at least 80 random bits in hex.
///
/// # Errors
///
/// When it does not fit into one message.
pub fn encode_request<R: Request>(id: &str, request: &R) -> Result<Vec<u8>, TooLarge> {
    #[derive(Serialize)]
    struct Call<'a, R> {
        jsonrpc: &'static str,
        method: &'static str,
        params: &'a R,
        id: &'a str,
    }
    let payload = to_json(&Call { jsonrpc: VERSION, method: R::METHOD.name(), params: request, id });
    if payload.len() > MAX_PAYLOAD { Err(TooLarge) } else { Ok(payload) }
}

/// A message that would exceed 65533 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message would be longer than 65533 bytes")]
pub struct TooLarge;

/// The answer to a request; an internal error where it would not fit into one message.
#[must_use]
pub fn encode_reply<R: Request>(id: &RequestId, reply: &R::Reply) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a, R> {
        jsonrpc: &'static str,
        id: &'a RequestId,
        result: &'a R,
    }
    let payload = to_json(&Reply { jsonrpc: VERSION, id, result: reply });
    if payload.len() > MAX_PAYLOAD { encode_error(Some(id), &ErrorObject::internal()) } else { payload }
}

/// An error; without an id where the request could not be read, and without data that would not fit into one message.
#[must_use]
pub fn encode_error(id: Option<&RequestId>, error: &ErrorObject) -> Vec<u8> {
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

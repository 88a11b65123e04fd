//! The JSON-RPC envelope. Spec: LSPS0 "Payload Format".
//!
//! The reader is as strict as the specification: one complete object, UTF-8, no zero byte, no repeated key, no lone
//! surrogate, bounded depth. JSON that is spelled differently but equivalent (escapes, order of keys, white space) is
//! accepted.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

mod reading;
mod refusal;
mod scan;
mod typed;
mod writing;

pub(crate) use reading::Members;
pub use reading::{FromLsp, Incoming, InvalidReply, NotARequest, Raw};
pub use refusal::{ErrorObject, ErrorReply, InvalidParams, Refusal};
pub use scan::BadFormat;
pub use writing::{RequestData, TooLarge, encode_error, encode_reply, encode_request};

/// Type of the BOLT 8 message that carries a payload.
pub const MESSAGE_TYPE: u16 = 37_913;

/// Largest payload, in bytes: the BOLT 8 maximum less the two bytes of the message type.
pub const MAX_PAYLOAD: usize = 65_533;

/// Id that ties a reply to its request. A reply echoes it exactly.
///
/// Clients have to use strings. An LSP also answers clients that use integers (reading R-04).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    /// A string, as the specification requires.
    Text(String),
    /// An integer, as some clients send it.
    Number(i64),
}

impl RequestId {
    /// Parses the raw JSON value of an `id`.
    fn read(raw: &str) -> Result<Self, BadFormat> {
        let id = match scan::string(raw) {
            Some(text) if text.len() > LONGEST_ID => None,
            Some(text) => Some(Self::Text(text.into_owned())),
            // "-0" would be echoed as "0".
            None => raw.parse().ok().filter(|_| raw != "-0").map(Self::Number),
        };
        id.ok_or(BadFormat::Kind("its id is neither a short string nor an integer"))
    }
}

impl From<String> for RequestId {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => crate::text::PeerText::from(text.as_str()).fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// The only version of JSON-RPC that is accepted.
const VERSION: &str = "2.0";
/// Longest request id, in bytes. Reading R-06.
const LONGEST_ID: usize = 256;

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have string keys and serialise")
}

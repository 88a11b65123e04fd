//! The JSON-RPC envelope. Spec: LSPS0 "Payload Format".
//!
//! Strict where the specification is: one complete object, UTF-8, no zero byte, no key twice, no lone surrogate, bounded
//! depth. Respelled but equivalent JSON (escapes, order of keys, white space) is read.

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

/// The type of the BOLT 8 message that carries a payload.
pub const MESSAGE_TYPE: u16 = 37_913;

/// The largest payload, in bytes: what BOLT 8 allows less the message type.
pub const MAX_PAYLOAD: usize = 65_533;

/// What ties a reply to its request; echoed exactly.
///
/// Clients have to use strings; an LSP also answers those that use integers (reading R-04).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    /// As the spec wants it.
    Text(String),
    /// As some clients do.
    Number(i64),
}

impl RequestId {
    /// Reads the raw value of an `id`.
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

/// The only version there is.
const VERSION: &str = "2.0";
/// In bytes. Reading R-06.
const LONGEST_ID: usize = 256;

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have string keys and serialise")
}

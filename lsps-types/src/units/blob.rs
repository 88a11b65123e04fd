//! Bytes as base64.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

/// Binary data; base64 on the wire, in its only spelling: the standard alphabet with padding. Spec: LSPS0 "Binary
/// Blob".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Blob(pub Vec<u8>);

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl FromStr for Blob {
    type Err = InvalidBase64;

    fn from_str(text: &str) -> Result<Self, InvalidBase64> {
        BASE64_STANDARD.decode(text).map(Self).map_err(|_| InvalidBase64)
    }
}

impl TryFrom<String> for Blob {
    type Error = InvalidBase64;

    fn try_from(text: String) -> Result<Self, InvalidBase64> {
        text.parse()
    }
}

impl From<Blob> for String {
    fn from(blob: Blob) -> Self {
        BASE64_STANDARD.encode(blob.0)
    }
}

/// Error for a text that is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64 of the standard alphabet with padding")]
pub struct InvalidBase64;

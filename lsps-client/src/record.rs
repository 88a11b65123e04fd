//! Flows as bytes: a version, then the fields.

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

/// The bytes to keep of a flow.
pub(crate) fn write(version: u8, flow: &impl Serialize) -> Vec<u8> {
    let start = Vec::from([version]);
    postcard::to_extend(flow, start).expect("a flow is integers, bytes, text and enums, which always serialise")
}

/// Reads what [`write`] wrote.
pub(crate) fn read<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Unreadable> {
    let (written, fields) = bytes.split_first().ok_or(Unreadable::Damaged)?;
    if *written != version {
        return Err(Unreadable::Version(*written));
    }
    let (flow, rest) = postcard::take_from_bytes(fields).map_err(|_| Unreadable::Damaged)?;
    if rest.is_empty() { Ok(flow) } else { Err(Unreadable::Damaged) }
}

/// Why a record was not loaded. It is left in the store as it is, and the others are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Written by a version of this crate that knows more.
    #[error("record version {0} is not known")]
    Version(u8),
    /// Not what was written, or not under its own name.
    #[error("damaged record")]
    Damaged,
    /// A record of that name is loaded already.
    #[error("loaded twice")]
    Twice,
}

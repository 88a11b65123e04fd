//! Encoding of flows: a version byte, then the fields.

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

/// Encodes a flow.
pub(crate) fn write(version: u8, flow: &impl Serialize) -> Vec<u8> {
    let start = Vec::from([version]);
    postcard::to_extend(flow, start).expect("a flow is integers, bytes, text and enums, which always serialise")
}

/// Decodes the output of [`write`].
pub(crate) fn read<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, Unreadable> {
    let (written, fields) = bytes.split_first().ok_or(Unreadable::Damaged)?;
    if *written != version {
        return Err(Unreadable::Version(*written));
    }
    let (flow, rest) = postcard::take_from_bytes(fields).map_err(|_| Unreadable::Damaged)?;
    if rest.is_empty() { Ok(flow) } else { Err(Unreadable::Damaged) }
}

/// Reason for which a record was not loaded. It stays in the store unchanged, and the others are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// A later version of this crate wrote the record.
    #[error("record version {0} is not known")]
    Version(u8),
    /// The content is damaged, or does not belong to this name.
    #[error("damaged record")]
    Damaged,
    /// A record of this name is loaded already.
    #[error("loaded twice")]
    Twice,
}

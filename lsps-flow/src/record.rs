//! Encoding of flows: a version byte, then the fields. Earlier versions stay readable.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A record as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the record: the id of a flow as text.
    pub name: String,
    /// Content of the record.
    pub bytes: Vec<u8>,
}

/// Error: a record cannot be read. The record stays in the store, and other records are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The name belongs to no flow.
    #[error(transparent)]
    Name(#[from] UnknownFlow),
    /// A later version of this program wrote the record.
    #[error("record {name:?} has version {version}; this program reads up to {newest}")]
    Newer {
        /// Name of the record.
        name: String,
        /// Version of the record.
        version: u8,
        /// Newest version of this kind of record that this program reads.
        newest: u8,
    },
    /// The store lists the record but fails to read it.
    #[error("record {name:?} cannot be read from the store: {why}; it is left alone, and read again at the next start")]
    Store {
        /// Name of the record.
        name: String,
        /// Error text of the store.
        why: String,
    },
    /// The content is damaged, or does not belong to this name.
    #[error("record {name:?} is damaged")]
    Damaged {
        /// Name of the record.
        name: String,
    },
    /// A record of that name is loaded already.
    #[error("record {name:?} is loaded twice")]
    Twice {
        /// Name of the record.
        name: String,
    },
}

/// Error: no flow of this version has such a record name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of record is named {0:?}")]
pub struct UnknownFlow(pub String);

/// Encodes a flow.
///
/// # Panics
///
/// The flow contains a value that postcard cannot encode: a sequence of unknown length.
#[must_use]
pub fn encode(version: u8, flow: &impl Serialize) -> Vec<u8> {
    let start = Vec::from([version]);
    postcard::to_extend(flow, start).expect("a flow is integers, bytes, text, enums and maps of them")
}

/// Splits a record into its version and its fields.
///
/// # Errors
///
/// The record is empty, or its version is above `newest`.
pub fn version(record: &Record, newest: u8) -> Result<(u8, &[u8]), Unreadable> {
    let (version, fields) = record.bytes.split_first().ok_or_else(|| damaged(record))?;
    if *version > newest {
        return Err(Unreadable::Newer { name: record.name.clone(), version: *version, newest });
    }
    Ok((*version, fields))
}

/// Decodes the fields of a record.
///
/// # Errors
///
/// The fields do not fit the type, or more bytes follow.
pub fn decode<T: DeserializeOwned>(record: &Record, fields: &[u8]) -> Result<T, Unreadable> {
    let (flow, rest) = postcard::take_from_bytes(fields).map_err(|_| damaged(record))?;
    if rest.is_empty() { Ok(flow) } else { Err(damaged(record)) }
}

/// Creates the error for a record whose content is damaged.
#[must_use]
pub fn damaged(record: &Record) -> Unreadable {
    Unreadable::Damaged { name: record.name.clone() }
}

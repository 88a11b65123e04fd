//! Flows as bytes: a version, then the fields. Bytes of earlier versions stay readable.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A record as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name: the id of a flow as text.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A record that cannot be used. It is left alone, and the others are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No flow has such a name.
    #[error(transparent)]
    Name(#[from] UnknownFlow),
    /// It was written by a later version.
    #[error("record {name:?} has version {version}; this program reads up to {newest}")]
    Newer {
        /// The record.
        name: String,
        /// Its version.
        version: u8,
        /// The newest that this program knows of its kind.
        newest: u8,
    },
    /// The store has it and does not give it back.
    #[error("record {name:?} cannot be read from the store: {why}; it is left alone, and read again at the next start")]
    Store {
        /// The record.
        name: String,
        /// The store's own words.
        why: String,
    },
    /// The bytes are not those that were written, or stand under another name.
    #[error("record {name:?} is damaged")]
    Damaged {
        /// The record.
        name: String,
    },
    /// A record of that name is loaded already.
    #[error("record {name:?} is loaded twice")]
    Twice {
        /// The record.
        name: String,
    },
}

/// A record whose name no flow of this version has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of record is named {0:?}")]
pub struct UnknownFlow(pub String);

/// The bytes to keep of a flow.
///
/// # Panics
///
/// When the flow holds what postcard cannot write: a sequence of unknown length.
#[must_use]
pub fn encode(version: u8, flow: &impl Serialize) -> Vec<u8> {
    let start = Vec::from([version]);
    postcard::to_extend(flow, start).expect("a flow is integers, bytes, text, enums and maps of them")
}

/// The version of a record, and its fields.
///
/// # Errors
///
/// When it is empty, or newer than the newest that is known.
pub fn version(record: &Record, newest: u8) -> Result<(u8, &[u8]), Unreadable> {
    let (version, fields) = record.bytes.split_first().ok_or_else(|| damaged(record))?;
    if *version > newest {
        return Err(Unreadable::Newer { name: record.name.clone(), version: *version, newest });
    }
    Ok((*version, fields))
}

/// The fields of a record, as this layout.
///
/// # Errors
///
/// When they are not of this layout, or more bytes follow.
pub fn decode<T: DeserializeOwned>(record: &Record, fields: &[u8]) -> Result<T, Unreadable> {
    let (flow, rest) = postcard::take_from_bytes(fields).map_err(|_| damaged(record))?;
    if rest.is_empty() { Ok(flow) } else { Err(damaged(record)) }
}

/// The error for a record that is not what was written under its name.
#[must_use]
pub fn damaged(record: &Record) -> Unreadable {
    Unreadable::Damaged { name: record.name.clone() }
}

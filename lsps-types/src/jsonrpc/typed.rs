//! Conversion of a raw object to a type. On failure, the error says which member does not fit and why.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, value},
};

use super::{refusal::InvalidParams, scan};
use crate::text::PeerText;

/// Error for a value that does not fit its type.
pub(super) struct Misfit {
    /// Path of the member, from the object down, as in `menu[1].valid_until`; for a missing member, its expected place.
    /// The path is safe to show. `None`: the object itself.
    pub path: Option<String>,
    /// Description of the fault.
    pub message: PeerText,
}

/// Parses a value found by [`scan::members`] as the object `T`.
pub(super) fn read<T: DeserializeOwned>(raw: &str) -> Result<T, Misfit> {
    // Derived impls would accept an array of the members too.
    if !raw.starts_with('{') {
        return Err(Misfit { path: None, message: "not an object".into() });
    }
    // Tracking the path costs time, so it is tracked only after a failure.
    serde_json::from_str(raw).or_else(|_| read_with_path(raw))
}

/// Verdict on a member that the type does not have.
pub(super) enum Unknown {
    /// The member is left out.
    Skip,
    /// The member is reported as unknown.
    Refuse,
    /// The member is known elsewhere, and its value has to be an object.
    NoObject,
}

/// Parses a value found by [`scan::members`] as the object `T`, without the unknown members that `unknown` skips.
///
/// # Errors
///
/// All other members that `T` does not have, up to [`LONGEST_NAMES`] bytes of them, and the first of the known ones that
/// does not fit.
pub(super) fn read_tolerating<T: DeserializeOwned>(
    raw: &str,
    unknown: impl Fn(&str, &str) -> Unknown,
) -> Result<T, InvalidParams> {
    // Most requests have no unknown members.
    let read = if raw.starts_with('{') { serde_json::from_str(raw).ok() } else { None };
    read.map_or_else(|| read_known(raw, unknown), Ok)
}

/// Does what [`read_tolerating`] does, for an object that does not fit as it is.
pub(super) fn read_known<T: DeserializeOwned>(
    raw: &str,
    unknown: impl Fn(&str, &str) -> Unknown,
) -> Result<T, InvalidParams> {
    let known = names::<T>();
    let (mut unrecognized, mut rest, mut no_object, mut room) = (Vec::new(), Vec::new(), None, LONGEST_NAMES);
    let is_object = scan::members(raw, |name, value| {
        if known.contains(&name) {
            rest.push(format!("\"{name}\":{value}"));
            return;
        }
        match unknown(name, value) {
            Unknown::Skip => {}
            Unknown::NoObject => no_object = Some(bounded(name)),
            Unknown::Refuse if room >= name.len() => {
                room = room.saturating_sub(name.len());
                unrecognized.push(name.to_string());
            }
            Unknown::Refuse if unrecognized.is_empty() => unrecognized.push(bounded(name)),
            Unknown::Refuse => {}
        }
    });
    // A parser stops at the first fault, so the second pass leaves the unknown members out.
    let known_only = format!("{{{}}}", rest.join(","));
    let read = read::<T>(if is_object.is_ok() { &known_only } else { raw });
    let read = read.map_err(|misfit| (misfit.path, misfit.message));
    let (property, message) = match (read, no_object) {
        (Ok(value), None) if unrecognized.is_empty() => return Ok(value),
        (Err((path, message)), _) => (path, Some(message)),
        (Ok(_), Some(name)) => (Some(name), Some("not an object".into())),
        (Ok(_), None) => (None, None),
    };
    Err(InvalidParams { unrecognized, property, message })
}

/// Bytes of unknown names that an answer lists. A client that sends more of them does not need them listed.
const LONGEST_NAMES: usize = 2_048;

fn read_with_path<T: DeserializeOwned>(raw: &str) -> Result<T, Misfit> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let message = error.inner().to_string();
        // The position counts from the start of the object and is of little use.
        let message = message.rsplit_once(" at line ").map_or(&*message, |(text, _)| text);
        let path = Some(bounded(&error.path().to_string())).filter(|path| path != ".");
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        let path = match (path, missing) {
            (Some(parent), Some(missing)) => Some(format!("{parent}.{missing}")),
            (None, Some(missing)) => Some(missing.to_string()),
            (path, None) => path,
        };
        Misfit { path, message: bounded(message).into() }
    })
}

/// Bounds the length of a path or message, as both may quote the peer.
fn bounded(text: &str) -> String {
    PeerText::from(text).to_string()
}

/// The names of the members of `T`, taken from its `Deserialize` impl so that they need not be listed a second time.
fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // `deserialize` always fails here: the deserializer only records the names that the type asks for.
    let _ = T::deserialize(Names(&mut names));
    names
}

struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = value::Error;

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, value::Error> {
        *self.0 = fields;
        Err(de::Error::custom("asked for names only"))
    }

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
        Err(de::Error::custom("not a struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

//! What `serde_json` lets pass in parts that it skips: repeated keys, lone surrogates, any depth.

use alloc::{borrow::Cow, vec::Vec};
use core::{fmt, str};

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A payload that is no JSON-RPC message for this receiver. Spec: LSPS0 "Payload Format".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFormat {
    /// More bytes than a message can have.
    #[error("the payload is longer than 65533 bytes")]
    TooLong,
    /// Not text.
    #[error("the payload is not UTF-8")]
    NotUtf8,
    /// A raw zero byte.
    #[error("the payload contains a zero byte")]
    Nul,
    /// Not one complete object, or one with a repeated key, a lone surrogate or too deep a nesting.
    #[error("the payload is not one JSON object")]
    NotOneObject,
    /// `jsonrpc` is not `"2.0"`.
    #[error("the payload is not JSON-RPC 2.0")]
    Version,
    /// An object, but not of the kind this side receives.
    #[error("the payload is no message for this side: {0}")]
    Kind(&'static str),
}

/// The text of a payload, once its structure is known to be sound.
pub(super) fn text(payload: &[u8]) -> Result<&str, BadFormat> {
    if payload.len() > super::MAX_PAYLOAD {
        return Err(BadFormat::TooLong);
    }
    if payload.contains(&0) {
        return Err(BadFormat::Nul);
    }
    let text = str::from_utf8(payload).map_err(|_| BadFormat::NotUtf8)?;
    let is_object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    if !is_object || serde_json::from_str::<Sound>(text).is_err() {
        return Err(BadFormat::NotOneObject);
    }
    Ok(text)
}

/// Any JSON value without repeated keys; `serde_json` itself bounds the depth and refuses lone surrogates.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Sound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_str<E>(self, _: &str) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_unit<E>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
        while items.next_element::<Sound>()?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Sound, A::Error> {
        let mut keys = Vec::new();
        while let Some(Key(key)) = members.next_key()? {
            keys.push(key);
            members.next_value::<Sound>()?;
        }
        keys.sort_unstable();
        let twice = keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
        if twice { Err(de::Error::custom("a key stands twice")) } else { Ok(Sound) }
    }
}

/// A key as text; `Cow` itself would always copy.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.into()))
            }
        }
        deserializer.deserialize_str(Text).map(Key)
    }
}

/// The names of the members of an object.
pub(super) struct Keys<'a>(pub Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Keys<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Vec<Cow<'de, str>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut keys = Vec::new();
                while let Some(Key(key)) = members.next_key()? {
                    keys.push(key);
                    members.next_value::<IgnoredAny>()?;
                }
                Ok(keys)
            }
        }
        deserializer.deserialize_map(Names).map(Keys)
    }
}

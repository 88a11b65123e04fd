//! Optional parsing of amounts as old peers write them.

use core::fmt;

use serde::{Deserialize, Deserializer, de};

use super::{Msat, Sat};

/// An amount that may also be a JSON integer of at most 2^53. Only for readers that talk to old peers; nothing in this
/// crate uses it (reading R-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lenient<T>(pub T);

macro_rules! lenient {
    ($($amount:ident)*) => {$(
        impl<'de> Deserialize<'de> for Lenient<$amount> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl de::Visitor<'_> for Either {
                    type Value = $amount;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an amount as a decimal string or an integer")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$amount, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$amount, E> {
                        if number > EXACT { Err(E::custom("too large for an integer")) } else { Ok($amount(number)) }
                    }
                }
                deserializer.deserialize_any(Either).map(Lenient)
            }
        }
    )*};
}
lenient!(Msat Sat);

/// Largest range in which every JSON parser reads integers exactly.
const EXACT: u64 = 1 << 53;

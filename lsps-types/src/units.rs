//! Amounts, proportions, heights, instants and identifiers, each as its own type.
//!
//! On the wire (human-readable formats) the types have the LSPS0 forms: amounts are decimal strings, SCIDs `BxTxO`,
//! keys and hashes lower-case hex. In compact formats, such as the records of this library, they are plain integers and
//! bytes.

use core::{fmt, ops, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod blob;
mod bytes;
mod connection;
mod datetime;
mod lenient;
mod onchain;
mod shift;

pub use blob::{Blob, InvalidBase64};
pub use bytes::{InvalidHex, PaymentHash, PeerId, Preimage, Txid};
pub use connection::{ConnectionString, Host, InvalidConnectionString};
pub use datetime::{DateTime, InvalidDateTime};
pub use lenient::Lenient;
pub use onchain::{Address, FeeRate, InvalidAddress, InvalidOutPoint, Network, OutPoint};
pub use shift::ClockShift;

/// An amount in millisatoshis; a decimal string on the wire.
///
/// Spec: LSPS0 "Monetary Amounts". One spelling per value: no sign, point, exponent, space or leading zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msat(pub u64);

impl Msat {
    /// The zero amount.
    pub const ZERO: Self = Self(0);

    /// This number of satoshis; amounts above `u64::MAX` millisatoshis become that.
    #[must_use]
    pub const fn from_sat(sat: u64) -> Self {
        Self(sat.saturating_mul(1_000))
    }

    /// The sum; `None` above `u64::MAX` millisatoshis.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference; `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum of all amounts; `None` above `u64::MAX` millisatoshis.
    #[must_use]
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// The amount in satoshis, rounded up.
    #[must_use]
    pub fn to_sat_ceil(self) -> u64 {
        self.0.div_ceil(1_000)
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

impl FromStr for Msat {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        decimal(text).map(Self).ok_or(InvalidAmount)
    }
}

/// An amount in satoshis; a decimal string on the wire, spelled like [`Msat`]. Spec: LSPS0 "Monetary Amounts".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sat(pub u64);

impl Sat {
    /// The zero amount.
    pub const ZERO: Self = Self(0);

    /// The sum; `None` above `u64::MAX` satoshis.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The amount in millisatoshis; `None` above `u64::MAX` millisatoshis.
    #[must_use]
    pub fn to_msat(self) -> Option<Msat> {
        self.0.checked_mul(1_000).map(Msat)
    }
}

impl fmt::Display for Sat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sat", self.0)
    }
}

impl FromStr for Sat {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        decimal(text).map(Self).ok_or(InvalidAmount)
    }
}

/// Error for a text that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a plain decimal number of at most 2^64 - 1")]
pub struct InvalidAmount;

/// A share in parts per million; an integer on the wire. Spec: LSPS0 "Parts-per-million".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ppm(pub u32);

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ppm", self.0)
    }
}

/// The height of a block in the best chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockHeight(pub u32);

/// A number of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Blocks(pub u32);

/// A short channel id: 24 bits block, 24 bits transaction, 16 bits output; `BxTxO` on the wire. Spec: LSPS0 "SCID".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scid(pub u64);

impl Scid {
    /// The height of the funding block.
    #[must_use]
    pub fn block(self) -> u64 {
        self.0 >> 40
    }

    /// The index of the funding transaction in its block.
    #[must_use]
    pub fn transaction(self) -> u64 {
        (self.0 >> 16) & U24_MAX
    }

    /// The index of the funding output.
    #[must_use]
    pub fn output(self) -> u64 {
        self.0 & U16_MAX
    }
}

impl fmt::Display for Scid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.block(), self.transaction(), self.output())
    }
}

impl FromStr for Scid {
    type Err = InvalidScid;

    fn from_str(text: &str) -> Result<Self, InvalidScid> {
        let mut parts = text.split('x');
        let mut part = |max: u64| parts.next().and_then(decimal).filter(|n| *n <= max).ok_or(InvalidScid);
        let (block, transaction, output) = (part(U24_MAX)?, part(U24_MAX)?, part(U16_MAX)?);
        if parts.next().is_some() {
            return Err(InvalidScid);
        }
        Ok(Self(block << 40 | transaction << 16 | output))
    }
}

/// Error for a text that is not a short channel id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a short channel id of the form BLOCKxTXxOUTPUT")]
pub struct InvalidScid;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// Deadlines outlive processes, so the cores know wall-clock time only, and only as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant at this number of milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// The sum saturates at the largest instant.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Parses a plain decimal number; signs and leading zeros are refused.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

macro_rules! text_or_u64 {
    ($type:ident, $expecting:literal, $write:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    let write: fn(&$type, S) -> Result<S::Ok, S::Error> = $write;
                    write(self, serializer)
                } else {
                    serializer.serialize_u64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Text)
                } else {
                    u64::deserialize(deserializer).map($type)
                }
            }
        }
    };
}
text_or_u64!(Msat, "an amount in millisatoshis as a decimal string", |amount, to| to
    .serialize_str(itoa::Buffer::new().format(amount.0)));
text_or_u64!(Sat, "an amount in satoshis as a decimal string", |amount, to| to
    .serialize_str(itoa::Buffer::new().format(amount.0)));
text_or_u64!(Scid, "a short channel id as a string BLOCKxTXxOUTPUT", |scid, to| to.collect_str(scid));

const U24_MAX: u64 = 0xff_ffff;
const U16_MAX: u64 = 0xffff;

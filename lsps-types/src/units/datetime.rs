//! Datetimes in the wire's form.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Timestamp;

/// A UTC datetime that keeps the text from which it was parsed.
///
/// A datetime that is echoed or signed has to keep its bytes, and deployed peers write zero to nine fraction digits and
/// `+00:00` for `Z`. This library writes `YYYY-MM-DDThh:mm:ss.uuuZ`. Spec: LSPS0 "Datetime".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DateTime {
    text: String,
    instant: Timestamp,
}

impl DateTime {
    /// The instant, truncated to milliseconds.
    #[must_use]
    pub fn instant(&self) -> Timestamp {
        self.instant
    }

    /// The text as received, or as this library writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<Timestamp> for DateTime {
    /// Writes the form of the specification. That form cannot express instants after the year 9999; they become its
    /// last one.
    fn from(instant: Timestamp) -> Self {
        let millis = instant.unix_millis().min(LAST_MILLIS);
        let seconds = i64::try_from(millis / 1_000).expect("within the years 1970 to 9999");
        let utc = time::OffsetDateTime::from_unix_timestamp(seconds).expect("within the years 1970 to 9999");
        let (year, month, day) = utc.to_calendar_date();
        let (hour, minute, second) = utc.to_hms();
        // A menu has several datetimes, and `write!` takes longer for them than for the rest of the menu.
        let mut text = *b"YYYY-MM-DDThh:mm:ss.uuuZ";
        let mut field = |place: core::ops::Range<usize>, number: u64| {
            let mut left = number;
            for digit in text.get_mut(place).into_iter().flatten().rev() {
                *digit = b'0' | u8::try_from(left % 10).unwrap_or_default();
                left /= 10;
            }
        };
        field(0..4, u64::try_from(year).unwrap_or_default());
        field(5..7, u8::from(month).into());
        field(8..10, day.into());
        field(11..13, hour.into());
        field(14..16, minute.into());
        field(17..19, second.into());
        field(20..23, millis % 1_000);
        Self { text: String::from_utf8_lossy(&text).into_owned(), instant: Timestamp::from_unix_millis(millis) }
    }
}

impl FromStr for DateTime {
    type Err = InvalidDateTime;

    fn from_str(text: &str) -> Result<Self, InvalidDateTime> {
        let instant = parse(text).ok_or(InvalidDateTime)?;
        Ok(Self { text: text.to_string(), instant })
    }
}

/// Parses `YYYY-MM-DDThh:mm:ss`, up to nine fraction digits, and `Z` or `+00:00`; nothing before 1970, no leap seconds.
fn parse(text: &str) -> Option<Timestamp> {
    let local = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (whole, fraction) = match local.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (local, None),
    };
    let bytes = whole.as_bytes();
    let shaped = bytes.len() == SHAPE.len()
        && bytes.iter().zip(SHAPE).all(|(b, shape)| if *shape == b'0' { b.is_ascii_digit() } else { b == shape });
    if !shaped {
        return None;
    }
    let field = |range: core::ops::Range<usize>| whole.get(range)?.parse::<u16>().ok();
    let small = |range| field(range).and_then(|n| u8::try_from(n).ok());
    let month = time::Month::try_from(small(5..7)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(field(0..4)?), month, small(8..10)?).ok()?;
    let clock = time::Time::from_hms(small(11..13)?, small(14..16)?, small(17..19)?).ok()?;
    let seconds = u64::try_from(time::PrimitiveDateTime::new(date, clock).assume_utc().unix_timestamp()).ok()?;
    seconds.checked_mul(1_000)?.checked_add(millis(fraction)?).map(Timestamp::from_unix_millis)
}

/// The first three of up to nine fraction digits, as milliseconds; missing digits are zero.
fn millis(fraction: Option<&str>) -> Option<u64> {
    let Some(digits) = fraction else { return Some(0) };
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.get(..3).unwrap_or(digits).parse().ok()?;
    let scale = [0, 100, 10, 1].get(digits.len().min(3))?;
    value.checked_mul(*scale)
}

/// Error for a text that is not a datetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UTC datetime of the form YYYY-MM-DDThh:mm:ss.uuuZ")]
pub struct InvalidDateTime;

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = DateTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UTC datetime as a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DateTime, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

const SHAPE: &[u8] = b"0000-00-00T00:00:00";
/// The instant 9999-12-31T23:59:59.999Z.
const LAST_MILLIS: u64 = 253_402_300_799_999;

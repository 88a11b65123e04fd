//! A strict parser of one JSON object into its members.
//!
//! `serde_json` skips members that a struct does not have without checking them for repeated keys or lone surrogates.
//! Two parsers may read such a text as two different messages, so this module refuses it anywhere in the payload
//! (reading R-06).

use alloc::{borrow::Cow, string::String, vec::Vec};

/// Error for a payload that is not a JSON-RPC message for this receiver. Spec: LSPS0 "Payload Format".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFormat {
    /// The payload is longer than 65533 bytes.
    #[error("the payload is longer than 65533 bytes")]
    TooLong,
    /// The payload is not UTF-8.
    #[error("the payload is not UTF-8")]
    NotUtf8,
    /// The payload is not exactly one complete object of strict JSON, with nothing but white space around it.
    #[error("the payload is not one JSON object")]
    NotOneObject,
    /// An object has two members of one name.
    #[error("the payload has a key twice in one object")]
    KeyTwice,
    /// A string contains half of a UTF-16 surrogate pair.
    #[error("the payload has a lone surrogate")]
    LoneSurrogate,
    /// Objects and arrays are nested too deeply.
    #[error("the payload is nested too deeply")]
    TooDeep,
    /// `jsonrpc` is not `"2.0"`.
    #[error("the payload is not JSON-RPC 2.0")]
    Version,
    /// The payload is an object, but not of the kind that this side receives.
    #[error("the payload is no message for this side: {0}")]
    Kind(&'static str),
}

/// Calls `member` with the name and the raw value of each member of the object `text`, in their order.
///
/// # Errors
/// `text` is not one JSON object with nothing but white space around it, or is one that parsers could read differently.
pub(super) fn members<'a>(text: &'a str, member: impl FnMut(&str, &'a str)) -> Result<(), BadFormat> {
    let mut scan = Scan { text, at: 0, keys: Vec::with_capacity(USUAL_KEYS) };
    scan.white_space();
    scan.object(MAX_DEPTH, member)?;
    scan.white_space();
    if scan.at == text.len() { Ok(()) } else { Err(BadFormat::NotOneObject) }
}

/// Decodes `raw`, a value found by [`members`], as a string; `None` if it is another kind of value.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Names of the members seen so far in all open objects, innermost object last.
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Scan<'a> {
    fn object(&mut self, depth: u8, mut member: impl FnMut(&str, &'a str)) -> Result<(), BadFormat> {
        let outer_keys = self.keys.len();
        let depth = depth.checked_sub(1).ok_or(BadFormat::TooDeep)?;
        self.expect(b'{')?;
        self.white_space();
        while self.peek() != Some(b'}') {
            if self.keys.len() > outer_keys {
                self.expect(b',')?;
                self.white_space();
            }
            let key = string(self.string()?).ok_or(BadFormat::NotOneObject)?;
            self.white_space();
            self.expect(b':')?;
            self.white_space();
            let start = self.at;
            self.value(depth)?;
            member(&key, self.since(start));
            self.keys.push(key);
            self.white_space();
        }
        self.step(1);
        self.close(outer_keys)
    }

    /// Drops the names of the object that just ended, or fails if one of them occurred twice.
    fn close(&mut self, outer_keys: usize) -> Result<(), BadFormat> {
        let own = self.keys.get_mut(outer_keys..).unwrap_or_default();
        let twice = if own.len() <= FEW_KEYS {
            // Comparing names of different lengths costs next to nothing.
            own.iter().enumerate().any(|(n, key)| own.iter().take(n).any(|other| other == key))
        } else {
            own.sort_unstable();
            own.windows(2).any(|pair| matches!(pair, [one, next] if one == next))
        };
        self.keys.truncate(outer_keys);
        if twice { Err(BadFormat::KeyTwice) } else { Ok(()) }
    }

    fn array(&mut self, depth: u8) -> Result<(), BadFormat> {
        let depth = depth.checked_sub(1).ok_or(BadFormat::TooDeep)?;
        self.expect(b'[')?;
        self.white_space();
        if self.peek() == Some(b']') {
            self.step(1);
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.white_space();
            match self.next() {
                Some(b',') => self.white_space(),
                Some(b']') => return Ok(()),
                _ => return Err(BadFormat::NotOneObject),
            }
        }
    }

    fn value(&mut self, depth: u8) -> Result<(), BadFormat> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth, |_, _| ()),
            Some(b'[') => self.array(depth),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.number(),
        }
    }

    /// Skips over a string and returns it with its quotes, as written.
    fn string(&mut self) -> Result<&'a str, BadFormat> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            self.step(plain_bytes(rest).ok_or(BadFormat::NotOneObject)?);
            match self.next() {
                Some(b'"') => return Ok(self.since(start)),
                Some(b'\\') => self.escape()?,
                _ => return Err(BadFormat::NotOneObject),
            }
        }
    }

    fn escape(&mut self) -> Result<(), BadFormat> {
        match self.next() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.code_unit()? {
                0xd800..=0xdbff if self.next() == Some(b'\\') && self.next() == Some(b'u') => match self.code_unit()? {
                    0xdc00..=0xdfff => Ok(()),
                    _ => Err(BadFormat::LoneSurrogate),
                },
                0xd800..=0xdfff => Err(BadFormat::LoneSurrogate),
                _ => Ok(()),
            },
            _ => Err(BadFormat::NotOneObject),
        }
    }

    fn code_unit(&mut self) -> Result<u16, BadFormat> {
        let digits = self
            .text
            .get(self.at..self.at.saturating_add(4))
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        self.step(4);
        digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()).ok_or(BadFormat::NotOneObject)
    }

    fn number(&mut self) -> Result<(), BadFormat> {
        if self.peek() == Some(b'-') {
            self.step(1);
        }
        if self.peek() == Some(b'0') {
            self.step(1);
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.step(1);
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.step(1);
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.step(1);
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Skips over at least one digit.
    fn digits(&mut self) -> Result<(), BadFormat> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.step(1);
        }
        if self.at > start { Ok(()) } else { Err(BadFormat::NotOneObject) }
    }

    fn literal(&mut self, word: &str) -> Result<(), BadFormat> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(BadFormat::NotOneObject);
        }
        self.step(word.len());
        Ok(())
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.step(1);
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), BadFormat> {
        if self.next() == Some(byte) { Ok(()) } else { Err(BadFormat::NotOneObject) }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.step(1);
        Some(byte)
    }

    fn step(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }
}

/// Number of bytes before the first quote, backslash or control character. The function reads eight bytes at a time,
/// since most of a message is plain.
fn plain_bytes(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            let byte = usize::try_from(special.trailing_zeros() / 8).ok()?;
            return at.checked_mul(8)?.checked_add(byte);
        }
    }
    let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
    words.len().checked_mul(8)?.checked_add(plain)
}

/// Sets the highest bit of each byte that is a quote, a backslash or a control character. The borrow may set further
/// bits above the lowest such byte.
fn special_bytes(word: u64) -> u64 {
    let below = |word: u64, least: u64| word.wrapping_sub(ONES.wrapping_mul(least)) & !word;
    (below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1)) & (ONES * 0x80)
}

const ONES: u64 = 0x0101_0101_0101_0101;
/// Deepest nesting of objects and arrays, the outermost included. LSPS0 names no bound; our conformance list wants at
/// least 32 and at most 128.
const MAX_DEPTH: u8 = 64;
/// Up to this number, the keys of an object are compared pairwise; more are sorted first.
const FEW_KEYS: usize = 16;
/// Initial capacity of the list of names: enough for every message of the specifications, so that it is allocated once.
const USUAL_KEYS: usize = 16;

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString},
    };

    use super::*;

    fn check(text: &str) -> Result<(), BadFormat> {
        members(text, |_, _| ())
    }

    #[test]
    fn members_come_in_order_with_their_raw_text() {
        let mut seen = Vec::new();
        members(" {\"\\u0061\" : [1, {}] ,\"b\":\"\\\"\"}\n", |name, raw| seen.push((name.to_string(), raw))).unwrap();
        assert_eq!(seen, [("a".to_string(), "[1, {}]"), ("b".to_string(), "\"\\\"\"")]);
    }

    #[test]
    fn what_ends_a_run_of_plain_bytes_is_found_wherever_it_is() {
        for end in 0..=255_u8 {
            for before in 0..20 {
                let mut text = [b'x'; 24];
                text[before] = end;
                text[23] = b'"';
                let special = end < 0x20 || end == b'"' || end == b'\\';
                assert_eq!(plain_bytes(&text), Some(if special { before } else { 23 }), "{end} at {before}");
                assert_eq!(plain_bytes(&text[..before]), None);
            }
        }
    }

    #[test]
    fn only_one_spelling_of_structure_passes() {
        for good in ["{}", "{\"a\":-0.5e+3}", "{\"a\":[true,false,null]}", "{\"a\":0,\"b\":[[],[1]]}"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "{",
            "{}{",
            "{} x",
            "[]",
            "{,}",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":-}",
            "{\"a\":1e}",
            "{\"a\":tru}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u1é2\"}",
            "\u{b}{}",
        ] {
            assert_eq!(check(bad), Err(BadFormat::NotOneObject), "{bad}");
        }
    }

    #[test]
    fn a_repeated_key_is_found_at_any_depth_and_spelling() {
        let many: Vec<String> = (0..40).map(|n| format!("\"k{n}\":{n}")).collect();
        assert_eq!(check(&format!("{{{}}}", many.join(","))), Ok(()));
        assert_eq!(check(&format!("{{{},\"k7\":0}}", many.join(","))), Err(BadFormat::KeyTwice));
        for bad in ["{\"a\":1,\"a\":1}", "{\"x\":[{\"a\":1,\"b\":2,\"\\u0061\":3}]}", "{\"\":0,\"\":0}"] {
            assert_eq!(check(bad), Err(BadFormat::KeyTwice), "{bad}");
        }
        assert_eq!(check("{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}"), Ok(()));
    }

    #[test]
    fn a_lone_surrogate_is_found_wherever_it_is() {
        for bad in ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\n", "\\ud800\\u0041", "\\ud83d\\ud83d"] {
            assert_eq!(check(&format!("{{\"skipped\":\"{bad}\"}}")), Err(BadFormat::LoneSurrogate), "{bad}");
        }
        assert_eq!(check("{\"\\ud83d\\ude00\":1}"), Ok(()));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(usize::from(MAX_DEPTH) - 1)), Ok(()));
        assert_eq!(check(&nested(usize::from(MAX_DEPTH))), Err(BadFormat::TooDeep));
        assert_eq!(check(&nested(32_000)), Err(BadFormat::TooDeep));
    }
}

//! The promise, by which an LSP recognises terms that it issued without storing them.
//!
//! A promise is `1.` and 64 hex digits of HMAC-SHA256 over the other seven fields and the client's node id. If the
//! client gave a token for the menu, the token follows in hex. So a client cannot change the terms, use those of
//! another client, or combine them with another token; and the LSP learns the token from a buy request, which does not
//! carry one.

use alloc::{string::String, vec::Vec};
use core::fmt;

use bitcoin_hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use hex_conservative::FromHex;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Buy, OpeningFeeParams};
use crate::codes::BuyError;
use crate::units::{DateTime, Msat, PeerId, Ppm, Timestamp};

/// Text by which an LSP recognises its terms. At most 512 bytes as JSON; opaque to a client.
///
/// Spec: LSPS2 §1 "`promise`". This library writes printable ASCII that needs no escapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Promise(String);

impl Promise {
    /// Wraps a received text that a client has to accept.
    ///
    /// # Errors
    ///
    /// The text is longer than 512 bytes, as a JSON string without its quotes.
    pub fn received(text: impl Into<String>) -> Result<Self, InvalidPromise> {
        let text = text.into();
        let written = if text.bytes().all(is_plain) {
            text.len()
        } else {
            let quoted = serde_json::to_string(&text).map_err(|_| InvalidPromise::TooLong)?;
            quoted.len().saturating_sub(2)
        };
        if written > LONGEST { Err(InvalidPromise::TooLong) } else { Ok(Self(text)) }
    }

    /// Wraps a text that an LSP may issue.
    ///
    /// # Errors
    ///
    /// The text is too long, is not printable ASCII, or contains characters that JSON escapes.
    pub fn issued(text: impl Into<String>) -> Result<Self, InvalidPromise> {
        let text = text.into();
        if text.bytes().all(is_plain) { Self::received(text) } else { Err(InvalidPromise::Characters) }
    }

    /// Writes the promise for terms with this HMAC, and for this token. Its text is plain by construction.
    fn of(mac: &Hmac<sha256::Hash>, token: Option<&str>) -> Result<Self, InvalidPromise> {
        let text = text_of(mac, token);
        if text.len() > LONGEST { Err(InvalidPromise::TooLong) } else { Ok(Self(text)) }
    }

    /// The promise as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Promise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::received(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Whether JSON writes this byte without an escape.
fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
}

/// Error for a text that is not a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPromise {
    /// The text is longer than 512 bytes.
    #[error("a promise has at most 512 bytes")]
    TooLong,
    /// The text is not printable ASCII, or contains characters that JSON escapes.
    #[error("a promise is printable ASCII without quotes and backslashes")]
    Characters,
}

/// Terms as in [`OpeningFeeParams`], without a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpromised {
    /// See [`OpeningFeeParams::min_fee_msat`].
    pub min_fee_msat: Msat,
    /// See [`OpeningFeeParams::proportional`].
    pub proportional: Ppm,
    /// See [`OpeningFeeParams::valid_until`].
    pub valid_until: DateTime,
    /// See [`OpeningFeeParams::min_lifetime`].
    pub min_lifetime: u32,
    /// See [`OpeningFeeParams::max_client_to_self_delay`].
    pub max_client_to_self_delay: u32,
    /// See [`OpeningFeeParams::min_payment_size_msat`].
    pub min_payment_size_msat: Msat,
    /// See [`OpeningFeeParams::max_payment_size_msat`].
    pub max_payment_size_msat: Msat,
}

/// Secret key of the LSP's promises. Keep it for as long as promises made with it are valid.
#[derive(Clone)]
pub struct PromiseKey(
    /// HMAC state after the secret, which saves half of the work for a text as short as ours.
    HmacEngine<sha256::Hash>,
);

impl fmt::Debug for PromiseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PromiseKey(…)")
    }
}

impl PromiseKey {
    /// Creates a key from 32 secret random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(HmacEngine::new(&secret))
    }

    /// Issues terms to a client, for the token that the client gave.
    ///
    /// # Errors
    ///
    /// The token is longer than 200 bytes.
    pub fn issue(
        &self,
        terms: Unpromised,
        client: PeerId,
        token: Option<&str>,
    ) -> Result<OpeningFeeParams, InvalidPromise> {
        let mac = self.mac(&Fields::from(&terms), client, token);
        Ok(OpeningFeeParams {
            promise: Promise::of(&mac, token)?,
            min_fee_msat: terms.min_fee_msat,
            proportional: terms.proportional,
            valid_until: terms.valid_until,
            min_lifetime: terms.min_lifetime,
            max_client_to_self_delay: terms.max_client_to_self_delay,
            min_payment_size_msat: terms.min_payment_size_msat,
            max_payment_size_msat: terms.max_payment_size_msat,
        })
    }

    /// Checks the terms of a purchase: that they were promised to this client, are still valid, and fit the size of the
    /// payment. The result is the token that they were promised for.
    ///
    /// The LSP still has to decide whether to sell to this client, and whether it has enough liquidity.
    ///
    /// # Errors
    ///
    /// The error with which an LSP answers the request. Spec: LSPS2 §2.
    pub fn check(&self, buy: &Buy, client: PeerId, now: Timestamp) -> Result<Option<String>, BuyError> {
        let token = self.verify(&buy.opening_fee_params, client).map_err(|_| BuyError::InvalidOpeningFeeParams)?;
        buy.fits_its_terms(now)?;
        Ok(token)
    }

    /// Checks that these terms were promised to this client; the result is the token that they were promised for. This
    /// does not suffice for a sale: the terms may have expired, and the payment may be of any size.
    /// [`check`](Self::check) covers both.
    ///
    /// # Errors
    ///
    /// The terms were not promised to this client, or were changed.
    pub fn verify(&self, terms: &OpeningFeeParams, client: PeerId) -> Result<Option<String>, NotPromised> {
        let mut parts = terms.promise.as_str().split('.');
        let (version, _mac, token) = (parts.next(), parts.next(), parts.next());
        if version != Some(VERSION) || parts.next().is_some() {
            return Err(NotPromised);
        }
        let token = match token {
            None => None,
            Some(hex) => {
                Some(String::from_utf8(Vec::from_hex(hex).map_err(|_| NotPromised)?).map_err(|_| NotPromised)?)
            }
        };
        let expected = text_of(&self.mac(&Fields::from(terms), client, token.as_deref()), token.as_deref());
        // A promise has one spelling, so the texts are compared.
        let same = same_in_constant_time(expected.as_bytes(), terms.promise.as_str().as_bytes());
        if same { Ok(token) } else { Err(NotPromised) }
    }

    /// Derives unpredictable bytes from the secret, always the same for the same purpose and facts. Preimages and order
    /// ids are derived this way.
    #[must_use]
    pub fn derive(&self, purpose: &str, facts: &[&[u8]]) -> [u8; 32] {
        let mut engine = self.0.clone();
        for part in [purpose.as_bytes()].iter().chain(facts) {
            engine.input(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            engine.input(part);
        }
        Hmac::from_engine(engine).to_byte_array()
    }

    fn mac(&self, fields: &Fields, client: PeerId, token: Option<&str>) -> Hmac<sha256::Hash> {
        let mut engine = self.0.clone();
        engine.input(b"LSPS2 opening_fee_params promise");
        engine.input(&client.0);
        for field in fields.0 {
            engine.input(&field.to_be_bytes());
        }
        if let Some(token) = token {
            engine.input(b"token");
            engine.input(token.as_bytes());
        }
        Hmac::from_engine(engine)
    }
}

fn text_of(mac: &Hmac<sha256::Hash>, token: Option<&str>) -> String {
    let parts = [Some(mac.as_byte_array().as_slice()), token.map(str::as_bytes)].into_iter().flatten();
    let bytes: usize = parts.clone().map(<[u8]>::len).sum();
    let mut text = String::with_capacity(bytes.saturating_mul(2).saturating_add(VERSION.len()).saturating_add(2));
    text.push_str(VERSION);
    for part in parts {
        text.push('.');
        part.iter().for_each(|byte| text.extend([byte >> 4, byte & 0xf].map(hex_digit)));
    }
    text
}

fn hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' | nibble } else { nibble.wrapping_add(b'a' - 10) })
}

/// Error for terms that this LSP did not issue, that belong to another client, or that were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the promise does not fit these terms")]
pub struct NotPromised;

/// The seven fields as numbers of fixed length, so that two different sets of terms never have the same bytes.
struct Fields([u64; 7]);

macro_rules! fields_of {
    ($terms:ty) => {
        impl From<&$terms> for Fields {
            fn from(terms: &$terms) -> Self {
                Self([
                    terms.min_fee_msat.0,
                    terms.proportional.0.into(),
                    terms.valid_until.instant().unix_millis(),
                    terms.min_lifetime.into(),
                    terms.max_client_to_self_delay.into(),
                    terms.min_payment_size_msat.0,
                    terms.max_payment_size_msat.0,
                ])
            }
        }
    };
}
fields_of!(Unpromised);
fields_of!(OpeningFeeParams);

/// Compares in constant time, so that a promise cannot be guessed byte by byte.
fn same_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && core::hint::black_box(a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

const VERSION: &str = "1";
const LONGEST: usize = 512;

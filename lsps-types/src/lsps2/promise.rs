//! The promise: how an LSP recognises terms it issued, without remembering them.
//!
//! A promise is `1.` and 64 hex digits of HMAC-SHA256 over the other seven fields and the client's node id; where the
//! menu was made for a token, the token follows in hex. So terms cannot be changed, nor used by another client, nor with
//! another token, and a buy, which names no token, still tells which one it was.

use alloc::{string::String, vec::Vec};
use core::fmt;

use bitcoin_hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use hex_conservative::{Case, DisplayHex, FromHex};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Buy, OpeningFeeParams};
use crate::codes::BuyError;
use crate::units::{DateTime, Msat, PeerId, Ppm, Timestamp};

/// Text of an LSP that stands for its promise. At most 512 bytes as JSON; opaque to a client.
///
/// Spec: LSPS2 §1 "`promise`". What we write is printable ASCII that needs no escapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Promise(String);

impl Promise {
    /// Takes any text that a client has to accept.
    ///
    /// # Errors
    ///
    /// When it is longer than 512 bytes, written as a JSON string without its quotes.
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

    /// Takes text that an LSP may write.
    ///
    /// # Errors
    ///
    /// When it is too long, or not printable ASCII without characters that JSON escapes.
    pub fn issued(text: impl Into<String>) -> Result<Self, InvalidPromise> {
        let text = text.into();
        if text.bytes().all(is_plain) { Self::received(text) } else { Err(InvalidPromise::Characters) }
    }

    /// The text.
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

/// Whether JSON writes it as it is.
fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
}

/// A text that cannot be a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPromise {
    /// More than 512 bytes.
    #[error("a promise has at most 512 bytes")]
    TooLong,
    /// Not printable ASCII, or with characters that JSON escapes.
    #[error("a promise is printable ASCII without quotes and backslashes")]
    Characters,
}

/// [`OpeningFeeParams`] before they are promised.
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

/// The LSP's secret. Keep it for as long as promises made with it are valid.
#[derive(Clone)]
pub struct PromiseKey(
    /// Has taken in the secret, which is half of the work for a text as short as ours.
    HmacEngine<sha256::Hash>,
);

impl fmt::Debug for PromiseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PromiseKey(…)")
    }
}

impl PromiseKey {
    /// A key from 32 secret random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(HmacEngine::new(&secret))
    }

    /// Promises these terms to a client, who gave this token.
    ///
    /// # Errors
    ///
    /// When the token is longer than 200 bytes, which leaves no room for it.
    pub fn issue(
        &self,
        terms: Unpromised,
        client: PeerId,
        token: Option<&str>,
    ) -> Result<OpeningFeeParams, InvalidPromise> {
        let mac = self.mac(&Fields::from(&terms), client, token);
        Ok(OpeningFeeParams {
            promise: Promise::issued(text_of(&mac, token))?,
            min_fee_msat: terms.min_fee_msat,
            proportional: terms.proportional,
            valid_until: terms.valid_until,
            min_lifetime: terms.min_lifetime,
            max_client_to_self_delay: terms.max_client_to_self_delay,
            min_payment_size_msat: terms.min_payment_size_msat,
            max_payment_size_msat: terms.max_payment_size_msat,
        })
    }

    /// Whether a purchase on these terms may be sold as far as the terms say: they were promised to this client, are still
    /// valid, and fit the size of the payment. If so, for which token they were promised.
    ///
    /// Whether to sell to this client at all, and whether there is enough liquidity, is left to the LSP.
    ///
    /// # Errors
    ///
    /// The error that answers the request. Spec: LSPS2 §2.
    pub fn check(&self, buy: &Buy, client: PeerId, now: Timestamp) -> Result<Option<String>, BuyError> {
        let token = self.verify(&buy.opening_fee_params, client).map_err(|_| BuyError::InvalidOpeningFeeParams)?;
        buy.fits_its_terms(now)?;
        Ok(token)
    }

    /// Whether these terms were promised to this client, and if so, for which token. That alone does not make a sale: the
    /// terms may have expired long ago, and the payment be of any size. [`check`](Self::check) looks at those too.
    ///
    /// # Errors
    ///
    /// When they were not, at least not in these words.
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
        // One spelling per promise: what is compared is what was written.
        let same = same_in_constant_time(expected.as_bytes(), terms.promise.as_str().as_bytes());
        if same { Ok(token) } else { Err(NotPromised) }
    }

    /// Bytes that nobody else can foresee, always the same for the same purpose and facts: preimages and names of orders.
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
    let mut text = String::with_capacity(LONGEST);
    text.push_str(VERSION);
    for part in [Some(mac.as_byte_array().as_slice()), token.map(str::as_bytes)].into_iter().flatten() {
        text.push('.');
        part.append_hex_to_string(Case::Lower, &mut text);
    }
    text
}

/// The terms are not ours, or not for this client, or were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the promise does not fit these terms")]
pub struct NotPromised;

/// The seven fields as numbers of fixed length, so that no two sets of terms have the same bytes.
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

/// Takes as long for a near miss as for a far one, so that a code cannot be guessed byte by byte.
fn same_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && core::hint::black_box(a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

const VERSION: &str = "1";
const LONGEST: usize = 512;

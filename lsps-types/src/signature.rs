//! Messages signed with a node's key. Spec: LSPS0 "LN Signatures".
//!
//! The scheme is the `signmessage` of Lightning nodes: zbase32 of a recoverable signature over the double SHA-256 of
//! `Lightning Signed Message:` and the message.

use core::{fmt, str::FromStr};

use bitcoin_hashes::{Hash, HashEngine, sha256d};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[cfg(feature = "secp256k1")]
mod keys;

/// Recoverable signature of a node; 104 characters of zbase32 in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LnSignature([u8; LENGTH]);

/// Signer with the node's key. The key does not leave the signer.
pub trait SignMessage {
    /// Reason for which the signer failed.
    type Error;

    /// Signs `message` with the node's key. `message` has no prefix; the signer adds it, as `signmessage` does.
    ///
    /// # Errors
    ///
    /// The signer is unavailable or refuses.
    fn sign_message(&self, message: &[u8]) -> Result<LnSignature, Self::Error>;
}

impl LnSignature {
    /// Creates a signature from its bytes: 31 plus the recovery id, then `r` and `s`.
    ///
    /// # Errors
    ///
    /// The first byte is not 31 to 34.
    pub fn from_bytes(bytes: [u8; LENGTH]) -> Result<Self, InvalidSignature> {
        if bytes.first().is_some_and(|first| (31..=34).contains(first)) {
            Ok(Self(bytes))
        } else {
            Err(InvalidSignature)
        }
    }

    /// The bytes: 31 plus the recovery id, then `r` and `s`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

/// The digest of `message` that is signed.
#[must_use]
pub fn digest(message: &[u8]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(b"Lightning Signed Message:");
    engine.input(message);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

impl fmt::Display for LnSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 65 bytes are 13 groups of 40 bits, 8 characters each.
        for group in self.0.chunks(5) {
            let bits = group.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            for shift in [35, 30, 25, 20, 15, 10, 5, 0] {
                let index = usize::try_from(bits >> shift & 31).unwrap_or_default();
                let digit = ALPHABET.get(index).copied().unwrap_or_default();
                fmt::Write::write_char(f, char::from(digit))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for LnSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LnSignature({self})")
    }
}

impl FromStr for LnSignature {
    type Err = InvalidSignature;

    /// Only lower case is accepted (reading R-08).
    fn from_str(text: &str) -> Result<Self, InvalidSignature> {
        if text.len() != CHARACTERS {
            return Err(InvalidSignature);
        }
        let mut bytes = [0; LENGTH];
        for (digits, group) in text.as_bytes().chunks(8).zip(bytes.chunks_mut(5)) {
            let mut bits = 0u64;
            for digit in digits {
                let value = ALPHABET.iter().position(|d| d == digit).ok_or(InvalidSignature)?;
                bits = bits << 5 | u64::try_from(value).map_err(|_| InvalidSignature)?;
            }
            let [_, _, _, low @ ..] = bits.to_be_bytes();
            group.copy_from_slice(&low);
        }
        Self::from_bytes(bytes)
    }
}

impl Serialize for LnSignature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LnSignature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::string::String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Error for a text that is not a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a recoverable signature in zbase32")]
pub struct InvalidSignature;

const LENGTH: usize = 65;
const CHARACTERS: usize = 104;
const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

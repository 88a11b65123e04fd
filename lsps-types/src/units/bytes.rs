//! Identifiers of fixed length: hex in text, raw bytes in records.

use core::{fmt, str::FromStr};

use bitcoin_hashes::{Hash, sha256};
use hex_conservative::{DisplayHex, FromHex};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Error for a text that is not hex of the right length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not hex of the right length")]
pub struct InvalidHex;

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0.as_hex(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidHex;

            fn from_str(text: &str) -> Result<Self, InvalidHex> {
                <[u8; $len]>::from_hex(text).map(Self).map_err(|_| InvalidHex)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Bytes;
                impl de::Visitor<'_> for Bytes {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} bytes", $len)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        bytes.try_into().map($name).map_err(|_| E::invalid_length(bytes.len(), &self))
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Bytes)
                } else {
                    deserializer.deserialize_bytes(Bytes)
                }
            }
        }
    };
}

fixed_bytes! {
    /// A node id: the compressed public key by which BOLT 8 knows a peer.
    ///
    /// The type does not guarantee that the bytes are a point on the curve; the transport checks that for a connected
    /// peer. For other sources, feature `secp256k1` has `PeerId::is_on_curve`, and
    /// conversions from and to `PublicKey`.
    PeerId, 33
}

impl PeerId {
    /// Whether the bytes have the form of a compressed public key. Spec: LSPS0 "Pubkey".
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        matches!(self.0.first(), Some(2 | 3))
    }
}

fixed_bytes! {
    /// The SHA-256 of a payment's preimage.
    PaymentHash, 32
}
impl PaymentHash {
    /// The payment hash of this preimage.
    #[must_use]
    pub fn of(preimage: &Preimage) -> Self {
        Self(sha256::Hash::hash(&preimage.0).to_byte_array())
    }
}

/// Preimage of a payment. `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preimage(pub [u8; 32]);

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preimage")
    }
}

fixed_bytes! {
    /// A transaction id, in the byte order that block explorers print.
    Txid, 32
}

//! Local key of an order.

use core::{fmt, str::FromStr};

use bitcoin_hashes::{Hash, HashEngine, sha256};
use hex_conservative::FromHex;
use lsps_types::{PeerId, lsps1::OrderId};
use serde::{Deserialize, Serialize};

/// Local key of an order: a hash of the LSP and of its order id, so that two LSPs may use the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderKey(pub u128);

impl OrderKey {
    pub(super) fn of(lsp: PeerId, id: &OrderId) -> Self {
        let mut engine = sha256::Hash::engine();
        engine.input(&lsp.0);
        engine.input(id.as_str().as_bytes());
        let hash = sha256::Hash::from_engine(engine).to_byte_array();
        let (key, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        Self(u128::from_be_bytes(*key))
    }
}

/// Displays 32 hexadecimal digits.
impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for OrderKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        <[u8; 16]>::from_hex(text).map(|bytes| Self(u128::from_be_bytes(bytes))).map_err(|_| NoKey)
    }
}

/// Error for a text that is not an order key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits")]
pub struct NoKey;

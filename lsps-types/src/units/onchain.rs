//! On-chain types: feerates, outpoints, addresses.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

use bech32::segwit;
use serde::{Deserialize, Serialize};

use super::{Txid, decimal};

/// A feerate in satoshis per 1000 weight units; an integer on the wire. Spec: LSPS0 "On-chain Feerates".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeeRate(pub u32);

impl FeeRate {
    /// Least feerate that is written: one satoshi per virtual byte, rounded up.
    pub const LEAST: Self = Self(253);
}

impl fmt::Display for FeeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sat/kWU", self.0)
    }
}

/// An output of a transaction; `txid:index` on the wire. Spec: LSPS0 "Transaction Outpoint".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutPoint {
    /// Id of the transaction.
    pub txid: Txid,
    /// Index of the output.
    pub index: u16,
}

impl fmt::Display for OutPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.txid, self.index)
    }
}

impl FromStr for OutPoint {
    type Err = InvalidOutPoint;

    fn from_str(text: &str) -> Result<Self, InvalidOutPoint> {
        let (txid, index) = text.split_once(':').ok_or(InvalidOutPoint)?;
        let index = decimal(index).and_then(|index| u16::try_from(index).ok()).ok_or(InvalidOutPoint)?;
        Ok(Self { txid: txid.parse().map_err(|_| InvalidOutPoint)?, index })
    }
}

impl TryFrom<String> for OutPoint {
    type Error = InvalidOutPoint;

    fn try_from(text: String) -> Result<Self, InvalidOutPoint> {
        text.parse()
    }
}

impl From<OutPoint> for String {
    fn from(outpoint: OutPoint) -> Self {
        alloc::format!("{outpoint}")
    }
}

/// Error for a text that is not an outpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an outpoint of the form TXID:INDEX")]
pub struct InvalidOutPoint;

/// A Bitcoin network, as far as addresses and invoices distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Mainnet.
    Bitcoin,
    /// Testnet; its addresses look like those of [`Network::Signet`].
    Testnet,
    /// Signet; its addresses look like those of [`Network::Testnet`].
    Signet,
    /// A private regtest network.
    Regtest,
}

/// A SegWit address, of any network; lower case when written.
///
/// Spec: LSPS0 "On-chain Addresses": version 0 as bech32, later versions as bech32m, no other kind of address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    text: String,
    version: u8,
    program: Vec<u8>,
}

impl Address {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Witness version, 0 to 16.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Witness program, 2 to 40 bytes.
    #[must_use]
    pub fn program(&self) -> &[u8] {
        &self.program
    }

    /// Whether the address is of a kind that every reader knows: P2WPKH, P2WSH or P2TR. Other kinds should not be
    /// written.
    #[must_use]
    pub fn is_common(&self) -> bool {
        matches!((self.version, self.program.len()), (0, 20 | 32) | (1, 32))
    }

    /// Whether the address belongs to this network (reading R-09).
    #[must_use]
    pub fn is_on(&self, network: Network) -> bool {
        let prefix = match network {
            Network::Bitcoin => "bc1",
            Network::Testnet | Network::Signet => "tb1",
            Network::Regtest => "bcrt1",
        };
        self.text.starts_with(prefix)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (prefix, version, program) = segwit::decode(text).map_err(|_| InvalidAddress)?;
        let text = text.to_ascii_lowercase();
        let known = ["bc", "tb", "bcrt"].contains(&&*prefix.to_lowercase());
        if known { Ok(Self { text, version: version.to_u8(), program }) } else { Err(InvalidAddress) }
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.text
    }
}

/// Error for a text that is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SegWit address")]
pub struct InvalidAddress;

//! What LSPS2 uses of BOLT 4 and bLIP-25.

use serde::{Deserialize, Serialize};

use crate::units::Msat;

/// What the payer is to learn of a part that fails. `mpp_timeout` is not among them: LSPS2 forbids it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureCode {
    /// Trying again later may work.
    TemporaryChannelFailure,
    /// This way to the client is of no use.
    UnknownNextPeer,
}

impl FailureCode {
    /// The number in the failure message.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::TemporaryChannelFailure => 0x1007,
            Self::UnknownNextPeer => 0x400a,
        }
    }
}

/// The type of the TLV in `update_add_htlc` that announces what was kept of a part. Spec: bLIP-25.
pub const EXTRA_FEE_TLV: u64 = 65_537;

/// The value of that TLV: 8 bytes, big-endian. Parts of which nothing was kept carry no TLV.
#[must_use]
pub fn encode_extra_fee(extra_fee: Msat) -> [u8; 8] {
    extra_fee.0.to_be_bytes()
}

/// Reads that TLV; `None` when it has any other length than 8.
#[must_use]
pub fn decode_extra_fee(value: &[u8]) -> Option<Msat> {
    value.try_into().ok().map(u64::from_be_bytes).map(Msat)
}

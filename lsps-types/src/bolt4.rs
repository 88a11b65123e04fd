//! The parts of BOLT 4 and bLIP-25 that LSPS2 uses.

use serde::{Deserialize, Serialize};

use crate::units::Msat;

/// BOLT 4 failure that a failed HTLC carries back to the payer. `mpp_timeout` is not among them: LSPS2 forbids it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureCode {
    /// `temporary_channel_failure`: the payer may try again later.
    TemporaryChannelFailure,
    /// `unknown_next_peer`: this route to the client is of no use.
    UnknownNextPeer,
}

impl FailureCode {
    /// The number of the failure in the failure message.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::TemporaryChannelFailure => 0x1007,
            Self::UnknownNextPeer => 0x400a,
        }
    }
}

/// Type of the TLV in `update_add_htlc` that announces the fee that was kept of an HTLC. Spec: bLIP-25.
pub const EXTRA_FEE_TLV: u64 = 65_537;

/// Encodes the value of the `extra_fee` TLV: 8 bytes, big-endian. HTLCs of which no fee was kept carry no such TLV.
#[must_use]
pub fn encode_extra_fee(extra_fee: Msat) -> [u8; 8] {
    extra_fee.0.to_be_bytes()
}

/// Decodes the value of the `extra_fee` TLV; `None` if its length is not 8.
#[must_use]
pub fn decode_extra_fee(value: &[u8]) -> Option<Msat> {
    value.try_into().ok().map(u64::from_be_bytes).map(Msat)
}

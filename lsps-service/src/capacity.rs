//! The capacity that a channel needs to carry a payment to its client at once. This arithmetic stands here only.
//!
//! The opener of a channel, which is the LSP, pays for the commitment transaction, whoever closes. A payment in `n` HTLCs
//! goes over a fresh channel if
//!
//! ```text
//! capacity >= payment + reserve(capacity) + anchors + buffer * fee(n + 1)
//! ```
//!
//! | term | value | source |
//! |---|---|---|
//! | `reserve` | 1 % of the capacity, at least 1 000 sat: the most that a client may ask the LSP to keep | BOLT 2 `channel_reserve_satoshis`; LDK 0.2 `get_holder_selected_channel_reserve_satoshis`, `MIN_THEIR_CHAN_RESERVE_SATOSHIS`. Hosts have the node refuse clients that ask for more |
//! | `anchors` | two outputs of 330 sat, or nothing | BOLT 3 "Anchor Outputs"; LDK `ANCHOR_OUTPUT_VALUE_SATOSHI` |
//! | `fee(h)` | feerate * (base + 172 h) / 1000, rounded down; base 724, with anchors 1 124 | BOLT 3 "Fee Calculation"; LDK `commit_tx_fee_sat` |
//! | `n + 1` | one HTLC more than there are, which the sender reserves and the receiver checks | BOLT 2 "fee spike buffer"; LDK `get_available_balances`, `can_accept_incoming_htlc` |
//! | `buffer` | 2, with anchors 1 | BOLT 2 "fee spike buffer"; LDK `FEE_SPIKE_BUFFER_FEE_INCREASE_MULTIPLE` |
//!
//! HTLCs below the dust limit have no output and cost no fee; they are counted as if they had, so the result is an upper
//! bound. Sums that 64 bits cannot hold end at far more than there is.

use lsps_types::Msat;

/// The kind and the feerate of a channel's commitment transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// In satoshis per 1 000 weight units.
    pub feerate_sat_per_kw: u32,
    /// Whether the channel has anchors (`option_anchors_zero_fee_htlc_tx`).
    pub anchors: bool,
}

impl Commitment {
    /// The mining fee of a commitment transaction with so many HTLC outputs, in satoshis.
    #[must_use]
    pub fn fee_sat(self, htlcs: u64) -> u64 {
        let base = if self.anchors { BASE_WEIGHT_ANCHORS } else { BASE_WEIGHT };
        let weight = htlcs.saturating_mul(HTLC_WEIGHT).saturating_add(base);
        u64::from(self.feerate_sat_per_kw).saturating_mul(weight) / 1_000
    }

    /// Satoshis that the opener has to have beside reserve and payment so that a payment in so many HTLCs is carried.
    #[must_use]
    pub fn kept_sat(self, htlcs: u64) -> u64 {
        let fee = self.fee_sat(htlcs.saturating_add(1));
        if self.anchors { fee.saturating_add(2 * ANCHOR_SAT) } else { fee.saturating_mul(FEE_SPIKE_BUFFER) }
    }

    /// The most that each HTLC of a payment takes of the room for the others, in satoshis.
    #[must_use]
    pub fn per_htlc_sat(self) -> u64 {
        let buffer = if self.anchors { 1 } else { FEE_SPIKE_BUFFER };
        let fee = u64::from(self.feerate_sat_per_kw).saturating_mul(HTLC_WEIGHT).div_ceil(1_000);
        fee.saturating_mul(buffer)
    }

    /// The least capacity, in satoshis, of a channel that carries such a payment in so many HTLCs at once.
    #[must_use]
    pub fn capacity_sat(self, payment: Msat, htlcs: u64) -> u64 {
        let usable = payment.to_sat_ceil().saturating_add(self.kept_sat(htlcs));
        let with_least_reserve = usable.saturating_add(LEAST_RESERVE_SAT);
        // c - c / 100 >= usable. What is too large to be counted stays too large.
        let with_share = usable.checked_mul(100).map_or(u64::MAX, |hundredfold| hundredfold.div_ceil(99));
        with_least_reserve.max(with_share)
    }

    /// The largest payment in so many HTLCs that a channel of this capacity carries at once.
    #[must_use]
    pub fn carries(self, capacity_sat: u64, htlcs: u64) -> Msat {
        let usable = capacity_sat.saturating_sub(reserve_sat(capacity_sat)).saturating_sub(self.kept_sat(htlcs));
        Msat(usable.saturating_mul(1_000))
    }

    /// Satoshis below which an HTLC counts as dust, at the most: the dust limit that nodes may ask for, and without anchors
    /// the fee of the transaction that claims it, at a feerate that may have risen by a quarter or 10 sat/vB.
    ///
    /// Source: LDK 0.2 `get_dust_buffer_feerate`, `MAX_CHAN_DUST_LIMIT_SATOSHIS`; BOLT 3 "Trimmed Outputs".
    #[must_use]
    pub fn dust_below_sat(self) -> u64 {
        if self.anchors {
            return MOST_DUST_LIMIT_SAT;
        }
        let feerate = u64::from(self.feerate_sat_per_kw);
        let buffered = feerate.saturating_add(DUST_BUFFER_SAT_PER_KW).max(feerate.saturating_add(feerate / 4));
        MOST_DUST_LIMIT_SAT.saturating_add(buffered.saturating_mul(HTLC_SUCCESS_WEIGHT) / 1_000)
    }
}

/// The most that a client may ask the opener of a channel of this capacity to keep, in satoshis.
#[must_use]
pub fn reserve_sat(capacity_sat: u64) -> u64 {
    (capacity_sat / 100).max(LEAST_RESERVE_SAT)
}

/// The least feerate that nodes give a commitment transaction, in satoshis per 1 000 weight units. LDK:
/// `FEERATE_FLOOR_SATS_PER_KW`.
pub const LEAST_FEERATE_SAT_PER_KW: u32 = 253;

const LEAST_RESERVE_SAT: u64 = 1_000;
const ANCHOR_SAT: u64 = 330;
const FEE_SPIKE_BUFFER: u64 = 2;
const BASE_WEIGHT: u64 = 724;
const BASE_WEIGHT_ANCHORS: u64 = 1_124;
const HTLC_WEIGHT: u64 = 172;
const HTLC_SUCCESS_WEIGHT: u64 = 703;
/// The highest dust limit that nodes use; less is no output that pays for itself.
pub(crate) const MOST_DUST_LIMIT_SAT: u64 = 546;
const DUST_BUFFER_SAT_PER_KW: u64 = 2_530;

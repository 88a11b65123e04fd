//! The capacity that a channel needs to deliver a payment to its client at once. No other module repeats this
//! arithmetic.
//!
//! The opener of a channel, which is the LSP, pays for the commitment transaction, no matter who closes. A fresh
//! channel can deliver a payment in `n` HTLCs if
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
//! HTLCs below the dust limit have no output and cost no fee; they are counted as if they had one, so the result is an
//! upper bound. Sums saturate.

use lsps_types::Msat;

/// Kind and feerate of a channel's commitment transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Feerate in satoshis per 1 000 weight units.
    pub feerate_sat_per_kw: u32,
    /// Whether the channel has anchors (`option_anchors_zero_fee_htlc_tx`).
    pub anchors: bool,
}

impl Commitment {
    /// On-chain fee, in satoshis, of a commitment transaction with this number of HTLC outputs.
    #[must_use]
    pub fn fee_sat(self, htlcs: u64) -> u64 {
        let base = if self.anchors { BASE_WEIGHT_ANCHORS } else { BASE_WEIGHT };
        let weight = htlcs.saturating_mul(HTLC_WEIGHT).saturating_add(base);
        u64::from(self.feerate_sat_per_kw).saturating_mul(weight) / 1_000
    }

    /// Satoshis that the opener needs besides the reserve and the payment to send a payment in this number of HTLCs.
    #[must_use]
    pub fn kept_sat(self, htlcs: u64) -> u64 {
        let fee = self.fee_sat(htlcs.saturating_add(1));
        if self.anchors { fee.saturating_add(2 * ANCHOR_SAT) } else { fee.saturating_mul(FEE_SPIKE_BUFFER) }
    }

    /// Largest amount, in satoshis, by which one HTLC reduces the balance that is left for the others.
    #[must_use]
    pub fn per_htlc_sat(self) -> u64 {
        let buffer = if self.anchors { 1 } else { FEE_SPIKE_BUFFER };
        let fee = u64::from(self.feerate_sat_per_kw).saturating_mul(HTLC_WEIGHT).div_ceil(1_000);
        fee.saturating_mul(buffer)
    }

    /// Least capacity, in satoshis, of a channel that can deliver this payment in this number of HTLCs at once.
    #[must_use]
    pub fn capacity_sat(self, payment: Msat, htlcs: u64) -> u64 {
        let usable = payment.to_sat_ceil().saturating_add(self.kept_sat(htlcs));
        let with_least_reserve = usable.saturating_add(LEAST_RESERVE_SAT);
        // c - c / 100 >= usable. An overflow stays at the maximum.
        let with_share = usable.checked_mul(100).map_or(u64::MAX, |hundredfold| hundredfold.div_ceil(99));
        with_least_reserve.max(with_share)
    }

    /// Largest payment that a channel of this capacity can deliver at once in this number of HTLCs.
    #[must_use]
    pub fn carries(self, capacity_sat: u64, htlcs: u64) -> Msat {
        let usable = capacity_sat.saturating_sub(reserve_sat(capacity_sat)).saturating_sub(self.kept_sat(htlcs));
        Msat(usable.saturating_mul(1_000))
    }

    /// Amount in satoshis below which an HTLC may count as dust: the largest dust limit that nodes may ask for and,
    /// without anchors, the fee of the transaction that claims it, at a feerate that may have risen by a quarter or 10
    /// sat/vB.
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

/// Largest reserve, in satoshis, that a client may demand of the opener of a channel of this capacity.
#[must_use]
pub fn reserve_sat(capacity_sat: u64) -> u64 {
    (capacity_sat / 100).max(LEAST_RESERVE_SAT)
}

/// Least feerate of a commitment transaction, in satoshis per 1 000 weight units. LDK: `FEERATE_FLOOR_SATS_PER_KW`.
pub const LEAST_FEERATE_SAT_PER_KW: u32 = 253;

const LEAST_RESERVE_SAT: u64 = 1_000;
const ANCHOR_SAT: u64 = 330;
const FEE_SPIKE_BUFFER: u64 = 2;
const BASE_WEIGHT: u64 = 724;
const BASE_WEIGHT_ANCHORS: u64 = 1_124;
const HTLC_WEIGHT: u64 = 172;
const HTLC_SUCCESS_WEIGHT: u64 = 703;
/// Highest dust limit in use, in satoshis. A smaller output is not worth its fee.
pub(crate) const MOST_DUST_LIMIT_SAT: u64 = 546;
const DUST_BUFFER_SAT_PER_KW: u64 = 2_530;

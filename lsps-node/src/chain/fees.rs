//! Feerates: estimates of a source, and what stands in for them.

use std::collections::BTreeMap;

use lightning::chain::chaininterface::{ConfirmationTarget, FEERATE_FLOOR_SATS_PER_KW};

/// Estimates of feerates, in satoshis per 1000 weight units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeeRates {
    /// Feerate by the number of blocks within which a transaction confirms.
    within: BTreeMap<u16, u32>,
    /// Least feerate that the mempool takes.
    least: u32,
    is_flat: bool,
}

impl FeeRates {
    /// Creates estimates from pairs of a number of blocks and the feerate that confirms within it. `least` is the lowest
    /// feerate that the mempool takes.
    #[must_use]
    pub fn new(within: impl IntoIterator<Item = (u16, u32)>, least: u32) -> Self {
        Self { within: within.into_iter().collect(), least, is_flat: false }
    }

    /// One feerate for all purposes.
    #[must_use]
    pub fn flat(sat_per_kw: u32) -> Self {
        Self { within: BTreeMap::from([(1, sat_per_kw)]), least: 0, is_flat: true }
    }

    /// Feerate at which a transaction confirms within this number of blocks: the estimate for this or the next smaller
    /// number of blocks, or a fixed one where there is no estimate. It is between 253 and 250 000.
    #[must_use]
    pub fn within(&self, blocks: u16) -> u32 {
        let estimate = self.within.range(..=blocks).next_back().map(|(_, rate)| *rate);
        self.bounded(estimate.unwrap_or_else(|| without_estimate(blocks)))
    }

    /// Feerate for a purpose of LDK.
    #[must_use]
    pub fn target(&self, target: ConfirmationTarget) -> u32 {
        if self.is_flat {
            return self.within(1);
        }
        match target {
            // The most that a peer may name. Estimates of peers differ.
            ConfirmationTarget::MaximumFeeEstimate => self.bounded(self.within(1).saturating_mul(2)),
            ConfirmationTarget::UrgentOnChainSweep => self.within(6),
            ConfirmationTarget::MinAllowedAnchorChannelRemoteFee => self.bounded(0),
            // LDK adds no tolerance of its own.
            ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee => {
                self.bounded(self.within(144).saturating_sub(250))
            }
            ConfirmationTarget::AnchorChannelFee => self.within(1_008),
            ConfirmationTarget::NonAnchorChannelFee | ConfirmationTarget::OutputSpendingFee => self.within(12),
            ConfirmationTarget::ChannelCloseMinimum => self.within(144),
        }
    }

    fn bounded(&self, rate: u32) -> u32 {
        rate.max(self.least).clamp(FEERATE_FLOOR_SATS_PER_KW, MOST_SAT_PER_KW)
    }
}

/// Feerate without an estimate: high enough where a slow confirmation costs money.
fn without_estimate(blocks: u16) -> u32 {
    match blocks {
        0..=2 => 8_000,
        3..=6 => 5_000,
        7..=36 => 2_000,
        37..=144 => 500,
        _ => FEERATE_FLOOR_SATS_PER_KW,
    }
}

/// Largest feerate that is believed: 1 000 satoshis per virtual byte.
pub const MOST_SAT_PER_KW: u32 = 250_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_bounded_and_missing_ones_replaced() {
        let none = FeeRates::default();
        assert_eq!([1, 6, 12, 144, 1_008].map(|blocks| none.within(blocks)), [8_000, 5_000, 2_000, 500, 253]);
        let some = FeeRates::new([(2, u32::MAX), (6, 1_000), (144, 1)], 300);
        assert_eq!([1, 2, 6, 12, 1_008].map(|blocks| some.within(blocks)), [8_000, MOST_SAT_PER_KW, 1_000, 1_000, 300]);
        assert_eq!(some.target(ConfirmationTarget::MinAllowedAnchorChannelRemoteFee), 300);
        assert_eq!(FeeRates::flat(1_234).target(ConfirmationTarget::MaximumFeeEstimate), 1_234);
    }
}

//! Prices of ordered channels, as plain data.

use alloc::{format, vec, vec::Vec};
use core::num::NonZeroU16;
use core::time::Duration;

use lsps_types::lsps1::{Confirmation, CreateOrder, OptionMismatch, Options};
use lsps_types::{FeeRate, Ppm, Sat};
use serde::{Deserialize, Serialize};

use super::standard::{UnknownToken, less, share_of};
use super::{MethodTerms, NodeFacts, OrderRequest, OrderTerms};
use crate::capacity::{Commitment, reserve_sat};
use crate::config::{ConfigError, first_broken};

/// Prices of ordered channels by feerate, by balance of the LSP, and by length of the lease.
///
/// The fee is the sum of `min_fee_sat`, of the on-chain weight at the present feerate, and of the share `per_year` of
/// the LSP's balance for each year of the lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderPolicy {
    /// Options as `lsps1.get_info` reports them. They should change at most once a day.
    pub options: Options,
    /// Fixed part of the fee, in satoshis.
    pub min_fee_sat: u64,
    /// Weight of a channel's on-chain transactions over its life, charged at the present feerate.
    pub onchain_weight: u32,
    /// Price of the LSP's balance, in parts per million for a year of 52 560 blocks.
    pub per_year: Ppm,
    /// Answer to a token that is not among the policy's tokens.
    pub unknown_token: UnknownToken,
    /// Open orders of one client. The limit of the service holds too.
    pub open_per_client: usize,
    /// Whether payment by hold invoice is offered.
    pub bolt11: bool,
    /// Whether payment by BOLT 12 offer is offered. The blinded paths of the invoices for such an offer have to leave
    /// enough blocks for the payment to be held while the channel is opened; a node binding documents how its node does
    /// that.
    pub bolt12: bool,
    /// Whether on-chain payment is offered to clients that give a refund address.
    ///
    /// Off by default: the clients of lightning-liquidity (0.2.7 and 0.3, in ldk-node among others) fail to parse an
    /// order whose address needs confirmations, and accept nothing more from that LSP. They parse it if
    /// [`confirmations`](Self::confirmations) are 0, but then the LSP bears the risk that the payment is replaced after
    /// the channel is published.
    pub onchain: bool,
    /// Time for which an order can be paid over Lightning and its client is waited for. Keep it well below the CLTV
    /// expiry delta of the invoices.
    pub lightning_validity: Duration,
    /// Time for which an order can be paid on-chain and its client is waited for.
    pub onchain_validity: Duration,
    /// Additional weight of an on-chain payment, charged at the present feerate.
    pub deposit_weight: u32,
    /// Confirmations by total of the order: each rule holds up to its amount, the last one also above.
    pub confirmations: Vec<AmountRule>,
}

/// Number of confirmations that an on-chain payment needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountRule {
    /// Largest total of an order, in satoshis, for which the rule holds.
    pub up_to_sat: u64,
    /// Number of confirmations. 0: the payment counts at once if its feerate is above twice the present one, otherwise
    /// with the first block.
    pub confirmations: u16,
}

impl Default for OrderPolicy {
    /// Channels of 100 000 sat to 0.16 BTC, for up to half a year, at three percent a year, paid over Lightning.
    fn default() -> Self {
        Self {
            options: Options {
                min_required_channel_confirmations: 0,
                min_funding_confirms_within_blocks: 6,
                supports_zero_channel_reserve: false,
                max_channel_expiry_blocks: 26_280,
                min_initial_client_balance_sat: Sat(0),
                max_initial_client_balance_sat: Sat(5_000_000),
                min_initial_lsp_balance_sat: Sat(100_000),
                max_initial_lsp_balance_sat: Sat(16_000_000),
                min_channel_balance_sat: Sat(100_000),
                max_channel_balance_sat: Sat(16_777_215),
            },
            min_fee_sat: 1_000,
            onchain_weight: 1_200,
            per_year: Ppm(30_000),
            unknown_token: UnknownToken::Refuse,
            open_per_client: 5,
            bolt11: true,
            bolt12: true,
            onchain: false,
            lightning_validity: Duration::from_secs(3_600),
            onchain_validity: Duration::from_secs(24 * 3_600),
            deposit_weight: 700,
            confirmations: vec![
                AmountRule { up_to_sat: 1_000_000, confirmations: 1 },
                AmountRule { up_to_sat: 10_000_000, confirmations: 3 },
                AmountRule { up_to_sat: u64::MAX, confirmations: 6 },
            ],
        }
    }
}

impl OrderPolicy {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.options.validate().map_err(|rule| ConfigError { field: "orders.options", rule })?;
        let rising = self.confirmations.windows(2).all(|pair| pair[0].up_to_sat < pair[1].up_to_sat);
        first_broken([
            (self.bolt11 || self.bolt12 || self.onchain, "orders.bolt11", "or another payment method has to be taken"),
            (!self.lightning_validity.is_zero(), "orders.lightning_validity", "has to be more than nothing"),
            (!self.onchain_validity.is_zero(), "orders.onchain_validity", "has to be more than nothing"),
            (!self.confirmations.is_empty() || !self.onchain, "orders.confirmations", "has to have an entry"),
            (rising, "orders.confirmations", "have to rise"),
        ])
    }

    /// The terms of an order; `discount` is the share of the fee that the token saves.
    pub(super) fn terms(&self, ask: &OrderRequest<'_>, discount: Ppm, facts: &NodeFacts) -> OrderTerms {
        let fee = |weight: u32| Sat(less(self.fee_sat(ask.order, weight, facts), discount));
        let (over_lightning, over_chain) = (fee(0), fee(self.deposit_weight));
        let lightning = MethodTerms { fee: over_lightning, expires_at: ask.now + self.lightning_validity };
        let onchain = MethodTerms { fee: over_chain, expires_at: ask.now + self.onchain_validity };
        let total = over_chain.checked_add(ask.order.client_balance_sat).unwrap_or(Sat(u64::MAX));
        OrderTerms {
            bolt11: self.bolt11.then_some(lightning),
            bolt12: self.bolt12.then_some(lightning),
            onchain: self.onchain.then(|| (onchain, self.confirmation(total, facts))),
            remember_until: None,
        }
    }

    fn fee_sat(&self, order: &CreateOrder, more_weight: u32, facts: &NodeFacts) -> u64 {
        let weight = u64::from(self.onchain_weight).saturating_add(more_weight.into());
        let mining = weight.saturating_mul(facts.feerate_sat_per_kw.into()).div_ceil(1_000);
        let yearly = u128::from(share_of(order.lsp_balance_sat.0, self.per_year));
        let rent = yearly.saturating_mul(order.channel_expiry_blocks.into()).div_ceil(BLOCKS_PER_YEAR);
        let rent = u64::try_from(rent).unwrap_or(u64::MAX);
        self.min_fee_sat.saturating_add(mining).saturating_add(rent)
    }

    fn confirmation(&self, total: Sat, facts: &NodeFacts) -> Confirmation {
        let rule = self.confirmations.iter().find(|rule| total.0 <= rule.up_to_sat).or(self.confirmations.last());
        let dear = FeeRate(facts.feerate_sat_per_kw.saturating_mul(2)).max(FeeRate::LEAST);
        NonZeroU16::new(rule.map_or(MOST_CONFIRMATIONS, |rule| rule.confirmations))
            .map_or(Confirmation::AtOnce { above: Some(dear) }, Confirmation::After)
    }
}

/// Checks that such a channel is possible: the funder has to keep its reserve in it, and to pay for a commitment
/// transaction with a few HTLCs. With less, the node refuses to open or the peer to accept.
pub(super) fn can_be_carried(order: &CreateOrder, facts: &NodeFacts) -> Result<(), OptionMismatch> {
    let capacity = order.capacity().unwrap_or(Sat(u64::MAX));
    let feerate_sat_per_kw = facts.feerate_sat_per_kw.saturating_mul(FEERATE_MARGIN);
    // Channels without anchors need less.
    let commitment = Commitment { feerate_sat_per_kw, anchors: true };
    let least = Sat(reserve_sat(capacity.0).saturating_add(commitment.kept_sat(HTLCS_AT_OPEN)));
    if order.lsp_balance_sat >= least {
        return Ok(());
    }
    let message =
        format!("with this client balance the LSP needs {least} at least, for its reserve and the mining fee");
    Err(OptionMismatch { property: "min_initial_lsp_balance_sat".into(), message: message.as_str().into() })
}

/// Number of HTLCs that the funder has to be able to pay for; LDK checks this number and one more
/// (`MIN_AFFORDABLE_HTLC_COUNT`).
const HTLCS_AT_OPEN: u64 = 3;
/// Factor by which the feerate may have risen when the channel is opened.
const FEERATE_MARGIN: u32 = 2;
const BLOCKS_PER_YEAR: u128 = 52_560;
const MOST_CONFIRMATIONS: u16 = 6;

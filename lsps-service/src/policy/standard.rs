//! Standard policy: prices, tokens and channel sizes, as plain data.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;

use lsps_types::lsps1::Options;
use lsps_types::{Blocks, Msat, PeerId, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use super::orders as ordering;
use super::{
    BuyRefusal, BuyRequest, ChannelPlan, ChannelRequest, ClientHistory, MenuRefusal, MenuRequest, NodeFacts,
    OfferTerms, OrderPolicy, OrderRefusal, OrderRequest, OrderTerms, Policy, Sale, Trust,
};
use crate::capacity::{Commitment, LEAST_FEERATE_SAT_PER_KW};
use crate::config::{ConfigError, first_broken};

/// Prices by feerate, proportional share and minimum; terms by token; channel capacity by payment.
///
/// The policy is plain data, so it can be part of an operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StandardPolicy {
    /// Least opening fee at any feerate.
    pub min_fee: Msat,
    /// Opening fee as a share of the first payment.
    pub proportional: Ppm,
    /// Weight of a channel's on-chain transactions over its life, charged at the present feerate.
    pub onchain_weight: u32,
    /// Validity of each menu entry, shortest first. Each further entry costs `longer_costs` more.
    pub validities: Vec<Duration>,
    /// Surcharge of each further validity, in parts per million of the one before.
    pub longer_costs: Ppm,
    /// Terms by token.
    pub tokens: BTreeMap<String, TokenTerms>,
    /// Answer to a token that is not listed, for JIT channels (LSPS2); [`OrderPolicy::unknown_token`] is the one for
    /// orders.
    pub unknown_token: UnknownToken,
    /// Whether only clients with a token are served.
    pub token_needed: bool,
    /// Clients that are not served.
    pub refused_clients: Vec<PeerId>,
    /// Clients with terms of their own.
    pub clients: Vec<ClientTerms>,
    /// Unpaid offers of one client. The limit of the service holds too.
    pub unpaid_per_client: usize,
    /// Smallest payment, inclusive.
    pub min_payment_size: Msat,
    /// Largest payment, inclusive.
    pub max_payment_size: Msat,
    /// Blocks for which a channel that was paid for is kept open.
    pub min_lifetime: Blocks,
    /// Largest `to_self_delay` that a client may ask for.
    pub max_client_to_self_delay: Blocks,
    /// Trust model of the channels.
    pub trust: Trust,
    /// Number of remembered channels that a client has to have paid for to be trusted regardless of `trust`.
    pub trusted_after: Option<usize>,
    /// Least capacity of a channel, in satoshis.
    pub min_capacity_sat: u64,
    /// Largest capacity of a channel, in satoshis. Menus offer no payment that needs more at present; a payment that
    /// needs more when it arrives is failed.
    pub max_capacity_sat: u64,
    /// Satoshis that the client can receive over its channel besides its first payment. Reserve, commitment fee and
    /// anchors come on top ([`capacity`](crate::capacity)).
    pub spare_sat: u64,
    /// Rise of the feerate, from the open until the first payment is delivered, for which the capacity leaves room; in
    /// parts per million of the present feerate.
    pub feerate_rise: Ppm,
    /// Largest number of HTLCs that is expected for a payment of agreed size when it is sold. A payment in more HTLCs
    /// needs a larger channel, and is failed if that is above `max_capacity_sat`.
    pub expected_htlcs: usize,
    /// Share of the channel that the client has to keep as its reserve.
    pub client_reserve: Ppm,
    /// Prices of ordered channels (LSPS1); `None` if none are sold.
    pub orders: Option<OrderPolicy>,
}

/// Answer to a token that is not in [`StandardPolicy::tokens`]. A listed token that the client cannot use is refused in
/// any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownToken {
    /// The request is refused, as the specifications require.
    #[default]
    Refuse,
    /// The client gets the terms of those without a token. Some wallets put their own name there.
    Default,
}

/// Terms of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenTerms {
    /// Name of the token, for people to read; the book records the token itself.
    pub name: String,
    /// Share of the fee that the token saves, in parts per million.
    pub discount: Ppm,
    /// The only client that can use the token; `None` if any can.
    pub client: Option<PeerId>,
    /// Time from which the token cannot be used.
    pub valid_until: Option<Timestamp>,
    /// Number of uses. A use that is not paid for before its offer ends becomes available again. Requires
    /// `valid_until`, until which paid uses are remembered.
    pub uses: Option<usize>,
}

/// Terms of one client that replace those of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTerms {
    /// The client.
    pub client: PeerId,
    /// Replaces [`StandardPolicy::spare_sat`].
    pub spare_sat: Option<u64>,
    /// Replaces [`StandardPolicy::client_reserve`].
    pub client_reserve: Option<Ppm>,
    /// Replaces [`StandardPolicy::trust`].
    pub trust: Option<Trust>,
}

impl Default for StandardPolicy {
    fn default() -> Self {
        Self {
            min_fee: Msat(1_000_000),
            proportional: Ppm(4_000),
            onchain_weight: 1_200,
            validities: [Duration::from_secs(3_600), Duration::from_secs(86_400)].into(),
            longer_costs: Ppm(250_000),
            tokens: BTreeMap::new(),
            unknown_token: UnknownToken::Refuse,
            token_needed: false,
            refused_clients: Vec::new(),
            clients: Vec::new(),
            unpaid_per_client: 20,
            min_payment_size: Msat(1_000),
            max_payment_size: Msat(10_000_000_000),
            min_lifetime: Blocks(4_320),
            max_client_to_self_delay: Blocks(2_016),
            trust: Trust::LspTrustsClient,
            trusted_after: None,
            min_capacity_sat: 100_000,
            max_capacity_sat: 16_777_215,
            spare_sat: 20_000,
            feerate_rise: Ppm(1_000_000),
            expected_htlcs: 10,
            client_reserve: Ppm(10_000),
            orders: None,
        }
    }
}

impl StandardPolicy {
    /// The token that counts: an unlisted one is none, if `unknown` says so.
    fn counted<'a>(&self, token: Option<&'a str>, unknown: UnknownToken) -> Option<&'a str> {
        token.filter(|token| unknown == UnknownToken::Refuse || self.tokens.contains_key(*token))
    }

    fn admit(&self, client: PeerId, token: Option<&str>) -> Result<(), String> {
        if self.refused_clients.contains(&client) {
            Err("this node is not served".into())
        } else if self.token_needed && token.is_none() {
            Err("a token is needed".into())
        } else {
            Ok(())
        }
    }

    /// The terms of the token; `None` if the client cannot use it.
    fn token(&self, token: Option<&str>, client: PeerId, uses: usize, now: Timestamp) -> Option<TokenTerms> {
        let Some(token) = token else { return Some(TokenTerms::default()) };
        let terms = self.tokens.get(token)?;
        let is_good = terms.client.is_none_or(|owner| owner == client)
            && terms.valid_until.is_none_or(|end| now < end)
            && terms.uses.is_none_or(|most| uses < most);
        is_good.then(|| terms.clone())
    }

    fn of(&self, client: PeerId) -> Option<&ClientTerms> {
        self.clients.iter().find(|terms| terms.client == client)
    }

    fn trust_in(&self, client: PeerId, history: ClientHistory) -> Trust {
        let is_known = self.trusted_after.is_some_and(|least| history.paid >= least);
        let fixed = self.of(client).and_then(|terms| terms.trust);
        fixed.unwrap_or(if is_known { Trust::LspTrustsClient } else { self.trust })
    }
}

impl Policy for StandardPolicy {
    fn validate(&self) -> Result<(), ConfigError> {
        let rising = self.validities.windows(2).all(|pair| pair[0] < pair[1]);
        let countable = |token: &TokenTerms| token.uses.is_none() || token.valid_until.is_some();
        let is_share = |share: &Ppm| share.0 <= MILLION;
        first_broken([
            (!self.validities.is_empty(), "validities", "has to have an entry"),
            (
                self.validities.iter().all(|validity| *validity >= LEAST_VALIDITY),
                "validities",
                "have to be 10 minutes at least (LSPS2)",
            ),
            (rising, "validities", "have to rise"),
            (self.tokens.keys().all(|token| token.len() <= LONGEST_TOKEN), "tokens", "have at most 200 bytes each"),
            (self.tokens.values().all(|token| is_share(&token.discount)), "tokens.discount", "is at most 1000000"),
            (self.tokens.values().all(countable), "tokens.valid_until", "has to be there where `uses` is"),
            (self.min_payment_size <= self.max_payment_size, "max_payment_size", "is below min_payment_size"),
            (self.min_payment_size > Msat::ZERO, "min_payment_size", "has to be more than nothing"),
            (self.min_capacity_sat <= self.max_capacity_sat, "max_capacity_sat", "is below min_capacity_sat"),
            (is_share(&self.client_reserve), "client_reserve", "is at most 1000000"),
            (self.expected_htlcs > 0, "expected_htlcs", "has to be at least 1"),
            (
                self.expected_htlcs <= MOST_HTLCS,
                "expected_htlcs",
                "is at most 483, as channels carry no more at once (BOLT 2)",
            ),
            (
                self.fits(self.min_payment_size),
                "max_capacity_sat",
                "is too small to carry min_payment_size in expected_htlcs at the least feerate, beside spare_sat",
            ),
        ])?;
        self.orders.as_ref().map_or(Ok(()), OrderPolicy::validate)
    }

    fn menu(&self, ask: &MenuRequest<'_>, facts: &NodeFacts) -> Result<Vec<OfferTerms>, MenuRefusal> {
        let token = self.counted(ask.token, self.unknown_token);
        self.admit(ask.client, token).map_err(MenuRefusal::Client)?;
        let token = self.token(token, ask.client, ask.token_uses, ask.now).ok_or(MenuRefusal::Token)?;
        let max_payment_size = self.max_payment_size.min(self.largest_payment(ask.client, facts));
        if max_payment_size < self.min_payment_size {
            return Ok(Vec::new());
        }
        let onchain = u64::from(self.onchain_weight).saturating_mul(u64::from(facts.feerate_sat_per_kw));
        let mut min_fee = less(self.min_fee.0.saturating_add(onchain), token.discount);
        let mut proportional = less(u64::from(self.proportional.0), token.discount);
        let mut entries = Vec::with_capacity(self.validities.len());
        for validity in &self.validities {
            entries.push(OfferTerms {
                min_fee: Msat(min_fee),
                proportional: Ppm(u32::try_from(proportional).unwrap_or(u32::MAX)),
                valid_until: ask.now + *validity,
                min_lifetime: self.min_lifetime,
                max_client_to_self_delay: self.max_client_to_self_delay,
                min_payment_size: self.min_payment_size,
                max_payment_size,
            });
            min_fee = more(min_fee, self.longer_costs);
            proportional = more(proportional, self.longer_costs);
        }
        Ok(entries)
    }

    fn may_buy(&self, buy: &BuyRequest<'_>, facts: &NodeFacts) -> Result<Sale, BuyRefusal> {
        let token = self.counted(buy.token, self.unknown_token);
        self.admit(buy.client, token).map_err(BuyRefusal::Client)?;
        let token = self.token(token, buy.client, buy.token_uses, buy.now).ok_or(BuyRefusal::Token)?;
        if buy.history.unpaid >= self.unpaid_per_client {
            return Err(BuyRefusal::Client("too many offers are not paid for yet".into()));
        }
        if let Some(size) = buy.payment_size {
            // The opening fee is not delivered, so this is an upper bound.
            let needed = self.needed_sat(buy.client, size, self.expected_htlcs, facts);
            if size > facts.inbound || needed > self.max_capacity_sat || needed > facts.spendable_sat {
                return Err(BuyRefusal::TooLarge);
            }
        }
        let remember_until = token.uses.and(token.valid_until);
        Ok(Sale { trust: self.trust_in(buy.client, buy.history), remember_until })
    }

    fn options(&self) -> Option<Options> {
        self.orders.as_ref().map(|orders| orders.options.clone())
    }

    fn may_order(&self, ask: &OrderRequest<'_>, facts: &NodeFacts) -> Result<OrderTerms, OrderRefusal> {
        let refused = |why: &str| Err(OrderRefusal::Client(why.into()));
        let Some(orders) = &self.orders else { return refused("no channels are sold") };
        let token = self.counted(ask.order.token.as_deref(), orders.unknown_token);
        self.admit(ask.client, token).map_err(OrderRefusal::Client)?;
        let token = self.token(token, ask.client, ask.token_uses, ask.now).ok_or(OrderRefusal::Token)?;
        if ask.open_orders >= orders.open_per_client {
            return refused("too many orders are not paid for yet");
        }
        if ask.order.capacity().is_none_or(|capacity| capacity.0 > facts.spendable_sat) {
            return refused("there is no such amount to put into a channel at present");
        }
        ordering::can_be_carried(ask.order, facts).map_err(OrderRefusal::Option)?;
        let remember_until = token.uses.and(token.valid_until);
        Ok(OrderTerms { remember_until, ..orders.terms(ask, token.discount, facts) })
    }

    fn channel(&self, ask: &ChannelRequest, facts: &NodeFacts) -> Option<ChannelPlan> {
        let needed = self.needed_sat(ask.client, ask.deliver, ask.htlcs, facts);
        let capacity_sat = needed.max(self.min_capacity_sat);
        let client_reserve = self.of(ask.client).and_then(|terms| terms.client_reserve).unwrap_or(self.client_reserve);
        (capacity_sat <= self.max_capacity_sat).then_some(ChannelPlan { capacity_sat, client_reserve })
    }
}

impl StandardPolicy {
    /// Least capacity, in satoshis, of a channel that can deliver this payment to the client.
    fn needed_sat(&self, client: PeerId, deliver: Msat, htlcs: usize, facts: &NodeFacts) -> u64 {
        let carried = Msat(deliver.0.saturating_add(self.spare_msat(client)));
        let htlcs = u64::try_from(htlcs).unwrap_or(u64::MAX);
        self.commitments(facts).map(|kind| kind.capacity_sat(carried, htlcs)).max().unwrap_or(u64::MAX)
    }

    /// Largest payment for which a channel can be opened at present.
    fn largest_payment(&self, client: PeerId, facts: &NodeFacts) -> Msat {
        let htlcs = u64::try_from(self.expected_htlcs).unwrap_or(u64::MAX);
        let carried = self.commitments(facts).map(|kind| kind.carries(self.max_capacity_sat, htlcs)).min();
        Msat(carried.unwrap_or(Msat::ZERO).0.saturating_sub(self.spare_msat(client)))
    }

    /// Kinds of channel that an open may lead to, at the feerate that may hold when the channel is used. Whether a
    /// client accepts anchors is not known before the open, so the capacity has to suffice without them.
    fn commitments(&self, facts: &NodeFacts) -> impl Iterator<Item = Commitment> {
        let present = u64::from(facts.commitment_feerate_sat_per_kw.max(LEAST_FEERATE_SAT_PER_KW));
        let risen = present.saturating_add(share_of(present, self.feerate_rise));
        let feerate_sat_per_kw = u32::try_from(risen).unwrap_or(u32::MAX);
        let kinds = if facts.anchors { &[false, true][..] } else { &[false][..] };
        kinds.iter().map(move |anchors| Commitment { feerate_sat_per_kw, anchors: *anchors })
    }

    fn spare_msat(&self, client: PeerId) -> u64 {
        let spare_sat = self.of(client).and_then(|terms| terms.spare_sat).unwrap_or(self.spare_sat);
        spare_sat.saturating_mul(1_000)
    }

    /// Whether the largest channel can deliver this payment at the least feerate.
    fn fits(&self, payment: Msat) -> bool {
        let cheapest = Commitment { feerate_sat_per_kw: LEAST_FEERATE_SAT_PER_KW, anchors: false };
        let htlcs = u64::try_from(self.expected_htlcs).unwrap_or(u64::MAX);
        let carried = Msat(payment.0.saturating_add(self.spare_sat.saturating_mul(1_000)));
        cheapest.capacity_sat(carried, htlcs) <= self.max_capacity_sat
    }
}

/// `amount` less a share of it, rounded up so that a discount never gives away the last unit.
pub(super) fn less(amount: u64, share: Ppm) -> u64 {
    amount.saturating_sub(share_of(amount, share))
}

/// `amount` plus a share of it, at least one unit more, as menus have to rise.
fn more(amount: u64, share: Ppm) -> u64 {
    amount.saturating_add(share_of(amount, share).max(1))
}

pub(super) fn share_of(amount: u64, share: Ppm) -> u64 {
    let scaled = u128::from(amount).saturating_mul(u128::from(share.0)) / u128::from(MILLION);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

const MILLION: u32 = 1_000_000;
/// Most HTLCs in one direction of a channel. Spec: BOLT 2 `max_accepted_htlcs`.
const MOST_HTLCS: usize = 483;
/// Least validity of a menu entry. Spec: LSPS2 §1 `valid_until`.
const LEAST_VALIDITY: Duration = Duration::from_secs(600);
/// Longest token, in bytes, that fits into a promise.
const LONGEST_TOKEN: usize = 200;

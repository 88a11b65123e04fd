//! A policy good enough to run a business on, as plain data.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;

use lsps_types::lsps1::Options;
use lsps_types::{Blocks, Msat, PeerId, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

use super::orders as ordering;
use super::{
    BuyRefusal, BuyRequest, ChannelPlan, ClientHistory, MenuRefusal, MenuRequest, NodeFacts, OfferTerms, OrderPolicy,
    OrderRefusal, OrderRequest, OrderTerms, Policy, Sale, Trust,
};
use crate::config::{ConfigError, first_broken};

/// Prices by feerate, proportional share and minimum; terms by token; channels that fit.
///
/// Plain data, so that it can stand in an operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StandardPolicy {
    /// Least fee, whatever the feerate.
    pub min_fee: Msat,
    /// Share of the first payment.
    pub proportional: Ppm,
    /// Weight units a channel costs on the chain over its life, for which the present feerate is charged.
    pub onchain_weight: u32,
    /// For how long each menu entry holds, shortest first; every further one costs `longer_costs` more.
    pub validities: Vec<Duration>,
    /// Surcharge of each further validity, in parts per million of the one before.
    pub longer_costs: Ppm,
    /// Terms by token. A token not listed is refused.
    pub tokens: BTreeMap<String, TokenTerms>,
    /// Only clients with a token are served.
    pub token_needed: bool,
    /// Clients that are not served.
    pub refused_clients: Vec<PeerId>,
    /// Clients for whom something else holds.
    pub clients: Vec<ClientTerms>,
    /// Offers a client may have that are not paid for. The service's own limit holds besides.
    pub unpaid_per_client: usize,
    /// Least payment, inclusive.
    pub min_payment_size: Msat,
    /// Largest payment, inclusive.
    pub max_payment_size: Msat,
    /// Blocks for which a channel that was paid for is kept.
    pub min_lifetime: Blocks,
    /// The most a client may ask for as `to_self_delay`.
    pub max_client_to_self_delay: Blocks,
    /// Whose risk the funding transaction is.
    pub trust: Trust,
    /// Clients who paid for this many channels that are remembered are trusted whatever `trust` says.
    pub trusted_after: Option<usize>,
    /// Least capacity of a channel.
    pub min_capacity_sat: u64,
    /// Largest capacity of a channel. Payments that need more are refused at buy.
    pub max_capacity_sat: u64,
    /// Satoshis on top of payment and reserve: for commitment fee and anchors, and to receive more later.
    pub spare_sat: u64,
    /// Share of the channel that the client has to keep on its side.
    pub client_reserve: Ppm,
    /// What ordered channels cost (LSPS1); `None`: they are not sold.
    pub orders: Option<OrderPolicy>,
}

/// What a token is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenTerms {
    /// For people; the token itself is what stands in the book.
    pub name: String,
    /// Off the fee, in parts per million of it.
    pub discount: Ppm,
    /// The only client that may use it.
    pub client: Option<PeerId>,
    /// It cannot be used from then on, like all that is valid until some time.
    pub valid_until: Option<Timestamp>,
    /// How often it can be used. A use that is not paid for by the end of its offer is given back. Needs `valid_until`,
    /// until which paid uses are remembered.
    pub uses: Option<usize>,
}

/// What holds for one client instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTerms {
    /// Who.
    pub client: PeerId,
    /// Instead of [`StandardPolicy::spare_sat`].
    pub spare_sat: Option<u64>,
    /// Instead of [`StandardPolicy::client_reserve`].
    pub client_reserve: Option<Ppm>,
    /// Instead of [`StandardPolicy::trust`].
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
            client_reserve: Ppm(10_000),
            orders: None,
        }
    }
}

impl StandardPolicy {
    fn admit(&self, client: PeerId, token: Option<&str>) -> Result<(), String> {
        if self.refused_clients.contains(&client) {
            Err("this node is not served".into())
        } else if self.token_needed && token.is_none() {
            Err("a token is needed".into())
        } else {
            Ok(())
        }
    }

    /// What the token is good for; `None` if for nothing.
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
        ])?;
        self.orders.as_ref().map_or(Ok(()), OrderPolicy::validate)
    }

    fn menu(&self, ask: &MenuRequest<'_>, facts: &NodeFacts) -> Result<Vec<OfferTerms>, MenuRefusal> {
        self.admit(ask.client, ask.token).map_err(MenuRefusal::Client)?;
        let token = self.token(ask.token, ask.client, ask.token_uses, ask.now).ok_or(MenuRefusal::Token)?;
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
                max_payment_size: self.max_payment_size,
            });
            min_fee = more(min_fee, self.longer_costs);
            proportional = more(proportional, self.longer_costs);
        }
        Ok(entries)
    }

    fn may_buy(&self, buy: &BuyRequest<'_>, facts: &NodeFacts) -> Result<Sale, BuyRefusal> {
        self.admit(buy.client, buy.token).map_err(BuyRefusal::Client)?;
        let token = self.token(buy.token, buy.client, buy.token_uses, buy.now).ok_or(BuyRefusal::Token)?;
        if buy.history.unpaid >= self.unpaid_per_client {
            return Err(BuyRefusal::Client("too many offers are not paid for yet".into()));
        }
        if let Some(size) = buy.payment_size {
            let needed = self.needed_sat(buy.client, size);
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
        let token = ask.order.token.as_deref();
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

    fn channel(&self, client: PeerId, deliver: Msat, _: &NodeFacts) -> ChannelPlan {
        let capacity_sat = self.needed_sat(client, deliver).max(self.min_capacity_sat);
        let client_reserve = self.of(client).and_then(|terms| terms.client_reserve).unwrap_or(self.client_reserve);
        ChannelPlan { capacity_sat, client_reserve }
    }
}

impl StandardPolicy {
    fn needed_sat(&self, client: PeerId, deliver: Msat) -> u64 {
        let payment = deliver.to_sat_ceil();
        // The client may ask for a reserve of one percent, which is of no use for the payment.
        let reserve = (payment / 99).saturating_add(1).max(LEAST_RESERVE_SAT);
        let spare = self.of(client).and_then(|terms| terms.spare_sat).unwrap_or(self.spare_sat);
        payment.saturating_add(reserve).saturating_add(spare)
    }
}

/// `amount` less a share of it, rounded up so that a discount never gives away the last unit.
pub(super) fn less(amount: u64, share: Ppm) -> u64 {
    amount.saturating_sub(share_of(amount, share))
}

/// `amount` more a share of it, and always more, as menus have to rise.
fn more(amount: u64, share: Ppm) -> u64 {
    amount.saturating_add(share_of(amount, share).max(1))
}

pub(super) fn share_of(amount: u64, share: Ppm) -> u64 {
    let scaled = u128::from(amount).saturating_mul(u128::from(share.0)) / u128::from(MILLION);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

const MILLION: u32 = 1_000_000;
const LEAST_RESERVE_SAT: u64 = 1_000;
/// Spec: LSPS2 §1 `valid_until`.
const LEAST_VALIDITY: Duration = Duration::from_secs(600);
/// What a promise has room for.
const LONGEST_TOKEN: usize = 200;

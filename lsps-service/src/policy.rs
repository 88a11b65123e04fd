//! What the operator decides: who may buy, at what price, with how large a channel.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;

use lsps_types::{BlockHeight, Blocks, Msat, PeerId, Ppm, Timestamp};
use serde::{Deserialize, Serialize};

/// The node's circumstances that prices depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Height of the best chain.
    pub height: BlockHeight,
    /// Feerate at which a funding transaction confirms soon, in satoshis per 1000 weight units.
    pub feerate_sat_per_kw: u32,
    /// Satoshis the on-chain wallet could spend on channels now.
    pub spendable_sat: u64,
    /// What the node could receive over its own channels now.
    pub inbound: Msat,
}

/// Decides at once, from what it is given: the same question has to get the same answer.
pub trait Policy: Send {
    /// The terms on offer, dearest last. An empty list: none at present.
    ///
    /// # Errors
    ///
    /// When the client or its token gets none at all.
    fn menu(&self, ask: &MenuRequest<'_>, facts: &NodeFacts) -> Result<Vec<OfferTerms>, MenuRefusal>;

    /// Whether this client may buy on terms that were offered to it, and who has to trust whom.
    ///
    /// Asked after the promise and the time were checked, and before the amounts are.
    ///
    /// # Errors
    ///
    /// When it may not, or the payment is too large for what the node can take.
    fn may_buy(&self, buy: &BuyRequest<'_>, facts: &NodeFacts) -> Result<Trust, BuyRefusal>;

    /// Size of a channel, in satoshis, that is to carry `deliver` to the client at once.
    ///
    /// It has to leave room for the reserve, the commitment fee and the anchors, which the LSP pays.
    fn capacity_sat(&self, client: PeerId, deliver: Msat, facts: &NodeFacts) -> u64;
}

/// Who asks for a menu.
#[derive(Clone, Copy, Debug)]
pub struct MenuRequest<'a> {
    /// The asking peer.
    pub client: PeerId,
    /// The token it gave.
    pub token: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
}

/// Who wants to buy what.
#[derive(Clone, Copy, Debug)]
pub struct BuyRequest<'a> {
    /// The asking peer.
    pub client: PeerId,
    /// The token its menu was made for.
    pub token: Option<&'a str>,
    /// The payment to come, if its size is fixed.
    pub payment_size: Option<Msat>,
    /// Offers it has already.
    pub live_offers: usize,
    /// Now.
    pub now: Timestamp,
}

/// One entry of a menu before it is promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferTerms {
    /// Least fee.
    pub min_fee: Msat,
    /// Share of the first payment.
    pub proportional: Ppm,
    /// Until when.
    pub valid_until: Timestamp,
    /// Blocks for which a channel that was paid for is kept.
    pub min_lifetime: Blocks,
    /// The most the client may ask for as `to_self_delay`.
    pub max_client_to_self_delay: Blocks,
    /// Least payment, inclusive.
    pub min_payment_size: Msat,
    /// Largest payment, inclusive.
    pub max_payment_size: Msat,
}

/// Whose risk the funding transaction is until the first payment is claimed. Spec: LSPS2 "Trust Models".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trust {
    /// The LSP broadcasts at once, and may have opened for nothing.
    #[default]
    LspTrustsClient,
    /// The LSP broadcasts once the client has claimed.
    ClientTrustsLsp,
}

/// Why there is no menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MenuRefusal {
    /// The token is unknown, or no longer good.
    Token,
    /// This client is not served; why, for people to read.
    Client(String),
}

/// Why a buy is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuyRefusal {
    /// This client is not served; why, for people to read.
    Client(String),
    /// The token of its menu is no longer good.
    Token,
    /// The node could not receive or fund that much.
    TooLarge,
}

/// Prices by feerate, proportional share and minimum, with a discount per token.
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
    /// Discounts by token, in parts per million of the fee. A token not listed is refused.
    pub tokens: BTreeMap<String, Ppm>,
    /// Clients that are not served.
    pub refused_clients: Vec<PeerId>,
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
    /// Least capacity of a channel.
    pub min_capacity_sat: u64,
    /// Satoshis on top of payment and reserve for commitment fee and anchors.
    pub spare_sat: u64,
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
            refused_clients: Vec::new(),
            min_payment_size: Msat(1_000),
            max_payment_size: Msat(10_000_000_000),
            min_lifetime: Blocks(4_320),
            max_client_to_self_delay: Blocks(2_016),
            trust: Trust::LspTrustsClient,
            min_capacity_sat: 100_000,
            spare_sat: 20_000,
        }
    }
}

impl Policy for StandardPolicy {
    fn menu(&self, ask: &MenuRequest<'_>, facts: &NodeFacts) -> Result<Vec<OfferTerms>, MenuRefusal> {
        self.admit(ask.client).map_err(MenuRefusal::Client)?;
        let discount = match ask.token {
            None => Ppm(0),
            Some(token) => *self.tokens.get(token).ok_or(MenuRefusal::Token)?,
        };
        let onchain = u64::from(self.onchain_weight).saturating_mul(u64::from(facts.feerate_sat_per_kw));
        let min_fee = less(Msat(self.min_fee.0.saturating_add(onchain)).0, discount);
        let proportional = less(u64::from(self.proportional.0), discount);
        let mut entries = Vec::with_capacity(self.validities.len());
        let (mut min_fee, mut proportional) = (min_fee, proportional);
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

    fn may_buy(&self, buy: &BuyRequest<'_>, facts: &NodeFacts) -> Result<Trust, BuyRefusal> {
        self.admit(buy.client).map_err(BuyRefusal::Client)?;
        if buy.token.is_some_and(|token| !self.tokens.contains_key(token)) {
            return Err(BuyRefusal::Token);
        }
        if buy.payment_size.is_some_and(|size| size > facts.inbound) {
            return Err(BuyRefusal::TooLarge);
        }
        Ok(self.trust)
    }

    fn capacity_sat(&self, _: PeerId, deliver: Msat, _: &NodeFacts) -> u64 {
        let payment = deliver.to_sat_ceil();
        // The client may ask for a reserve of one percent, which is of no use for the payment.
        let reserve = (payment / 99).saturating_add(1).max(LEAST_RESERVE_SAT);
        payment.saturating_add(reserve).saturating_add(self.spare_sat).max(self.min_capacity_sat)
    }
}

impl StandardPolicy {
    fn admit(&self, client: PeerId) -> Result<(), String> {
        if self.refused_clients.contains(&client) { Err("this node is not served".into()) } else { Ok(()) }
    }
}

/// `amount` less a share of it, rounded up so that a discount never gives away the last unit.
fn less(amount: u64, share: Ppm) -> u64 {
    amount.saturating_sub(share_of(amount, share))
}

/// `amount` more a share of it, and always more, as menus have to rise.
fn more(amount: u64, share: Ppm) -> u64 {
    amount.saturating_add(share_of(amount, share).max(1))
}

fn share_of(amount: u64, share: Ppm) -> u64 {
    let scaled = u128::from(amount).saturating_mul(u128::from(share.0)) / 1_000_000;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

const LEAST_RESERVE_SAT: u64 = 1_000;

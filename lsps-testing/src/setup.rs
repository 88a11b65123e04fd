//! Settings and names of an LSP in tests.

use std::time::Duration;

use lsps_service::{
    BuyRefusal, BuyRequest, ChannelKey, ChannelPlan, ChannelRequest, Config, ConfigError, MenuRefusal, MenuRequest,
    NodeFacts, OfferId, OfferTerms, OrderNumber, OrderRefusal, OrderRequest, OrderTerms, Policy, Sale, StandardPolicy,
    Trust,
};
use lsps_types::lsps1::{CreateOrder, Options};
use lsps_types::{Blocks, Msat, Network, OutPoint, PeerId, Ppm, Sat, Scid, Timestamp, Txid};

/// Settings of an LSP in a test.
#[derive(Clone, Debug)]
pub struct LspSetup {
    /// Configuration of the service.
    pub config: Config,
    /// The only entry of every menu.
    pub terms: OfferTerms,
    /// Trust model.
    pub trust: Trust,
    /// Valid tokens.
    pub tokens: Vec<String>,
    /// Tokens among them with which an order has no fee.
    pub free_tokens: Vec<String>,
    /// Policy that decides instead of these settings, if set.
    pub policy: Option<StandardPolicy>,
    /// Policy that plans channels instead, if set. It sells orders too, unless `orders` is set.
    pub plans: Option<StandardPolicy>,
    /// Whether every decision is left to others.
    pub elsewhere: bool,
    /// Whether all clients are refused.
    pub reject_clients: bool,
    /// Amount that the node can receive.
    pub inbound: Msat,
    /// Feerate in satoshis per 1 000 weight units.
    pub feerate_sat_per_kw: u32,
    /// Whether webhooks never answer, and the host tries forever.
    pub hooks_are_silent: bool,
    /// SCIDs to draw, in this order; the last one is repeated.
    pub scids: Vec<Scid>,
    /// Options of orders, and the terms for everybody.
    pub orders: Option<(Options, OrderTerms)>,
    /// Whether on-chain payments need six confirmations.
    pub distrusts_deposits: bool,
}

impl Policy for LspSetup {
    fn validate(&self) -> Result<(), ConfigError> {
        self.policy.as_ref().map_or(Ok(()), StandardPolicy::validate)
    }

    fn menu(&self, ask: &MenuRequest<'_>, facts: &NodeFacts) -> Result<Vec<OfferTerms>, MenuRefusal> {
        if let Some(policy) = &self.policy {
            return policy.menu(ask, facts);
        }
        if self.elsewhere {
            return Err(MenuRefusal::Later);
        }
        if self.reject_clients {
            return Err(MenuRefusal::Client("not today".into()));
        }
        match ask.token {
            Some(token) if !self.tokens.iter().any(|good| good == token) => Err(MenuRefusal::Token),
            Some(_) | None => Ok(vec![self.terms.clone()]),
        }
    }

    fn may_buy(&self, buy: &BuyRequest<'_>, facts: &NodeFacts) -> Result<Sale, BuyRefusal> {
        if let Some(policy) = &self.policy {
            return policy.may_buy(buy, facts);
        }
        if self.elsewhere {
            return Err(BuyRefusal::Later);
        }
        if self.reject_clients {
            return Err(BuyRefusal::Client("not today".into()));
        }
        if buy.payment_size.is_some_and(|size| size > self.inbound) {
            Err(BuyRefusal::TooLarge)
        } else {
            Ok(Sale { trust: self.trust, remember_until: None })
        }
    }

    fn options(&self) -> Option<Options> {
        let own = || self.orders.as_ref().map(|(options, _)| options.clone());
        self.sells_orders().map_or_else(own, StandardPolicy::options)
    }

    fn may_order(&self, ask: &OrderRequest<'_>, facts: &NodeFacts) -> Result<OrderTerms, OrderRefusal> {
        if let Some(policy) = self.sells_orders() {
            return policy.may_order(ask, facts);
        }
        if self.elsewhere {
            return Err(OrderRefusal::Later);
        }
        if self.reject_clients {
            return Err(OrderRefusal::Client("not today".into()));
        }
        match &ask.order.token {
            Some(token) if !self.tokens.contains(token) => Err(OrderRefusal::Token),
            token => {
                let mut terms = self.orders.as_ref().expect("there are options").1.clone();
                if token.as_ref().is_some_and(|token| self.free_tokens.contains(token)) {
                    let methods = terms.bolt11.iter_mut().chain(&mut terms.bolt12);
                    let methods = methods.chain(terms.onchain.iter_mut().map(|(method, _)| method));
                    methods.for_each(|method| method.fee = Sat::ZERO);
                }
                Ok(terms)
            }
        }
    }

    fn trusts_deposit(&self, _: PeerId, _: Sat, _: &NodeFacts) -> bool {
        !self.distrusts_deposits
    }

    fn channel(&self, ask: &ChannelRequest, facts: &NodeFacts) -> Option<ChannelPlan> {
        if let Some(policy) = self.policy.as_ref().or(self.plans.as_ref()) {
            return policy.channel(ask, facts);
        }
        let capacity_sat = ask.deliver.to_sat_ceil().saturating_mul(2);
        Some(ChannelPlan { capacity_sat, client_reserve: Ppm(10_000) })
    }
}

impl LspSetup {
    fn sells_orders(&self) -> Option<&StandardPolicy> {
        self.policy.as_ref().or(self.plans.as_ref().filter(|_| self.orders.is_none()))
    }

    /// Configuration of the service, on the main network unless the setup names another.
    pub(crate) fn config_of_service(&self) -> Config {
        let mut config = self.config.clone();
        config.orders.network.get_or_insert(Network::Bitcoin);
        config
    }

    pub(crate) fn facts(&self) -> NodeFacts {
        NodeFacts {
            inbound: self.inbound,
            spendable_sat: u64::MAX,
            feerate_sat_per_kw: self.feerate_sat_per_kw,
            commitment_feerate_sat_per_kw: self.feerate_sat_per_kw,
            ..NodeFacts::default()
        }
    }
}

impl Default for LspSetup {
    /// Offers 1 000 sat or 0.12 % for payments of 1 sat to 0.1 BTC, for an hour from 2026-01-01T12:00:00Z.
    fn default() -> Self {
        Self {
            config: Config::default(),
            terms: OfferTerms {
                min_fee: Msat(1_000_000),
                proportional: Ppm(1_200),
                valid_until: NOON + Duration::from_secs(3_600),
                min_lifetime: Blocks(1_008),
                max_client_to_self_delay: Blocks(2_016),
                min_payment_size: Msat(1_000),
                max_payment_size: Msat(10_000_000_000),
            },
            trust: Trust::LspTrustsClient,
            tokens: vec![],
            free_tokens: vec![],
            policy: None,
            plans: None,
            elsewhere: false,
            reject_clients: false,
            inbound: Msat(u64::MAX),
            feerate_sat_per_kw: 0,
            hooks_are_silent: false,
            scids: vec![Scid(1 << 40)],
            orders: None,
            distrusts_deposits: false,
        }
    }
}

/// On-chain fee of every funding transaction, in satoshis.
pub const MINING_SAT: u64 = 150;

/// 2026-01-01T12:00:00Z, the start of most tests.
pub const NOON: Timestamp = Timestamp::from_unix_millis(1_767_268_800_000);

/// Outpoint of the channel that [`Lsp`](crate::Lsp) funds.
#[must_use]
pub fn outpoint(key: ChannelKey) -> OutPoint {
    let mut txid = [0; 32];
    txid[..16].copy_from_slice(&key.to_u128().to_be_bytes());
    OutPoint { txid: Txid(txid), index: 0 }
}

/// Id of the offer that [`Lsp`](crate::Lsp) creates for an order.
#[must_use]
pub fn offer_id(order: OrderNumber) -> OfferId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&order.0.to_be_bytes());
    OfferId(id)
}

/// Address that [`Lsp`](crate::Lsp) creates for an order.
#[must_use]
pub fn address_of(order: OrderNumber) -> String {
    format!("address {order}")
}

/// Node id of a numbered peer.
#[must_use]
pub fn peer(number: u8) -> PeerId {
    let mut id = [number; 33];
    id[0] = 2;
    PeerId(id)
}

/// An order of 500 000 sat whose channel may be used at once, for a day. Tests change what matters to them.
#[must_use]
pub fn an_order() -> CreateOrder {
    CreateOrder {
        lsp_balance_sat: Sat(500_000),
        client_balance_sat: Sat(0),
        required_channel_confirmations: 0,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 144,
        token: None,
        refund_onchain_address: None,
        announce_channel: false,
    }
}

/// LSPS1 options that allow everything.
#[must_use]
pub fn anything() -> Options {
    Options {
        min_required_channel_confirmations: 0,
        min_funding_confirms_within_blocks: 1,
        supports_zero_channel_reserve: false,
        max_channel_expiry_blocks: u32::MAX,
        min_initial_client_balance_sat: Sat(0),
        max_initial_client_balance_sat: Sat(u64::MAX),
        min_initial_lsp_balance_sat: Sat(0),
        max_initial_lsp_balance_sat: Sat(u64::MAX),
        min_channel_balance_sat: Sat(0),
        max_channel_balance_sat: Sat(u64::MAX),
    }
}

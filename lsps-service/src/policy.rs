//! Decisions of the operator: who may buy, at what price, and with how large a channel.

mod orders;
mod standard;

use alloc::{string::String, vec::Vec};

use lsps_types::lsps1::{Confirmation, CreateOrder, OptionMismatch, Options};
use lsps_types::{BlockHeight, Blocks, Msat, PeerId, Ppm, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

pub use orders::{AmountRule, OrderPolicy};
pub use standard::{ClientTerms, StandardPolicy, TokenTerms, UnknownToken};

/// Facts of the node that prices depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Height of the best chain.
    pub height: BlockHeight,
    /// Feerate at which a funding transaction confirms soon, in satoshis per 1 000 weight units.
    pub feerate_sat_per_kw: u32,
    /// Feerate of the commitment transactions of a channel that the node opens now, in the same unit. LDK: the fee
    /// estimator's `NonAnchorChannelFee`.
    #[serde(default)]
    pub commitment_feerate_sat_per_kw: u32,
    /// Whether the node opens anchor channels with clients that accept them; other clients get channels without
    /// anchors.
    #[serde(default)]
    pub anchors: bool,
    /// Satoshis that the on-chain wallet could spend on channels now.
    pub spendable_sat: u64,
    /// Amount that the node could receive over its own channels now.
    pub inbound: Msat,
}

/// The operator's decisions. A policy has to be deterministic: the same question gets the same answer. For a decision
/// taken elsewhere it answers `Later`, and the host reports the decision with
/// [`Input::Decided`](crate::Input::Decided).
pub trait Policy: Send {
    /// Checks the settings of the policy; called once, when the service starts.
    ///
    /// # Errors
    ///
    /// The error names the first setting that is out of range.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The terms on offer, most expensive last. An empty list means that there are none at present.
    ///
    /// # Errors
    ///
    /// The client or its token gets no terms, or the decision is taken elsewhere.
    fn menu(&self, ask: &MenuRequest<'_>, facts: &NodeFacts) -> Result<Vec<OfferTerms>, MenuRefusal>;

    /// Decides whether this client may buy on terms that were offered to it, and the trust model.
    ///
    /// Called before the promise, the time and the amounts are checked; these checks hold regardless of the answer.
    ///
    /// # Errors
    ///
    /// The client may not buy, the payment is too large for the node, or the decision is taken elsewhere.
    fn may_buy(&self, buy: &BuyRequest<'_>, facts: &NodeFacts) -> Result<Sale, BuyRefusal>;

    /// The options of orders; `None` if LSPS1 is not served. They should change at most once a day.
    ///
    /// Spec: LSPS1 §1.
    fn options(&self) -> Option<Options> {
        None
    }

    /// The price of a channel within the options, by payment method.
    ///
    /// Without a refund address, the on-chain method is not offered.
    ///
    /// # Errors
    ///
    /// The client gets no channel, its token is invalid, or the decision is taken elsewhere.
    fn may_order(&self, ask: &OrderRequest<'_>, facts: &NodeFacts) -> Result<OrderTerms, OrderRefusal> {
        let (_, _) = (ask, facts);
        Err(OrderRefusal::Client("no channels are sold".into()))
    }

    /// Whether an on-chain payment counts after the number of confirmations in its order; otherwise it needs six.
    ///
    /// Spec: LSPS1 §4.3.
    fn trusts_deposit(&self, client: PeerId, amount: Sat, facts: &NodeFacts) -> bool {
        let (_, _, _) = (client, amount, facts);
        true
    }

    /// The channel that has to deliver a payment to the client at once. `None`: no channel is opened at present, and
    /// the payment is failed first.
    ///
    /// The capacity has to leave room for the reserve, the commitment fee and the anchors, which the LSP pays:
    /// [`capacity`](crate::capacity) computes them.
    fn channel(&self, ask: &ChannelRequest, facts: &NodeFacts) -> Option<ChannelPlan>;
}

/// A client's request for a menu.
#[derive(Clone, Copy, Debug)]
pub struct MenuRequest<'a> {
    /// The client.
    pub client: PeerId,
    /// Token that the client gave.
    pub token: Option<&'a str>,
    /// Number of offers bought with this token that are paid or can still be.
    pub token_uses: usize,
    /// Offers of the client on record.
    pub history: ClientHistory,
    /// Current time.
    pub now: Timestamp,
}

/// A client's request to buy on offered terms.
#[derive(Clone, Copy, Debug)]
pub struct BuyRequest<'a> {
    /// The client.
    pub client: PeerId,
    /// Token for which the menu was made.
    pub token: Option<&'a str>,
    /// Number of offers bought with this token that are paid or can still be.
    pub token_uses: usize,
    /// Size of the payment, if it is fixed.
    pub payment_size: Option<Msat>,
    /// Offers of the client on record.
    pub history: ClientHistory,
    /// Current time.
    pub now: Timestamp,
}

/// A client's order of a channel.
#[derive(Clone, Copy, Debug)]
pub struct OrderRequest<'a> {
    /// The client.
    pub client: PeerId,
    /// The order; it is within the options.
    pub order: &'a CreateOrder,
    /// Number of offers and orders for the same token that are paid or can still be.
    pub token_uses: usize,
    /// Number of the client's orders that are neither completed nor failed.
    pub open_orders: usize,
    /// Offers of the client on record.
    pub history: ClientHistory,
    /// Current time.
    pub now: Timestamp,
}

/// Prices of an order, by payment method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTerms {
    /// Price for payment by hold invoice.
    pub bolt11: Option<MethodTerms>,
    /// Price for payment by BOLT 12 offer.
    pub bolt12: Option<MethodTerms>,
    /// Price for on-chain payment, and the rule by which that counts.
    pub onchain: Option<(MethodTerms, Confirmation)>,
    /// Time until which a completed order is kept on record, so that uses of its token are counted.
    pub remember_until: Option<Timestamp>,
}

/// Price and expiry of one payment method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodTerms {
    /// Fee of the LSP; the client's balance comes on top.
    pub fee: Sat,
    /// Time before which the order has to be paid and the channel opened.
    pub expires_at: Timestamp,
}

/// Reason for which an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderRefusal {
    /// The token is unknown or no longer valid.
    Token,
    /// This client is not served; with a reason for people to read.
    Client(String),
    /// The decision is taken elsewhere; see [`Released::pending_decisions`](crate::Released::pending_decisions).
    Later,
    /// The order is within the options, but no channel can be opened for it at present. Spec: LSPS1 §2, error 100.
    Option(OptionMismatch),
}

/// Numbers of a client's offers on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHistory {
    /// Offers that were not paid for.
    pub unpaid: usize,
    /// Offers that were paid for; they are kept on record for as long as their channel is promised.
    pub paid: usize,
}

/// Entry of a menu, without a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferTerms {
    /// Least opening fee.
    pub min_fee: Msat,
    /// Opening fee as a share of the first payment.
    pub proportional: Ppm,
    /// Time until which the terms are valid.
    pub valid_until: Timestamp,
    /// Blocks for which a channel that was paid for is kept open.
    pub min_lifetime: Blocks,
    /// Largest `to_self_delay` that the client may ask for.
    pub max_client_to_self_delay: Blocks,
    /// Smallest payment, inclusive.
    pub min_payment_size: Msat,
    /// Largest payment, inclusive.
    pub max_payment_size: Msat,
}

/// Agreement on a sale besides its terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    /// Trust model of the channel.
    pub trust: Trust,
    /// Time until which a paid offer is kept on record, so that uses of its token are counted.
    pub remember_until: Option<Timestamp>,
}

/// Trust model: the party that bears the risk of the funding transaction until the first payment is claimed. Spec:
/// LSPS2 "Trust Models".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trust {
    /// The LSP broadcasts the funding at once, and may have opened the channel for nothing.
    #[default]
    LspTrustsClient,
    /// The LSP broadcasts the funding once the client has claimed.
    ClientTrustsLsp,
}

/// Purpose of a channel that is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRequest {
    /// The client.
    pub client: PeerId,
    /// Amount that the channel has to deliver to the client at once, after all fees of the LSP.
    pub deliver: Msat,
    /// Number of HTLCs in which it is delivered.
    pub htlcs: usize,
}

/// Channel to open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelPlan {
    /// Value of the funding output, in satoshis.
    pub capacity_sat: u64,
    /// Share of the channel that the client has to keep as its reserve. Not all nodes allow less than one percent.
    pub client_reserve: Ppm,
}

/// Reason for which a client gets no menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MenuRefusal {
    /// The token is unknown or no longer valid.
    Token,
    /// This client is not served; with a reason for people to read.
    Client(String),
    /// The decision is taken elsewhere; see [`Released::pending_decisions`](crate::Released::pending_decisions).
    Later,
}

/// Reason for which a buy is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuyRefusal {
    /// This client is not served; with a reason for people to read.
    Client(String),
    /// The token of the menu is no longer valid.
    Token,
    /// The node cannot receive or fund that much.
    TooLarge,
    /// The decision is taken elsewhere; see [`Released::pending_decisions`](crate::Released::pending_decisions).
    Later,
}

//! What the operator decides: who may buy, at what price, with how large a channel.

mod orders;
mod standard;

use alloc::{string::String, vec::Vec};

use lsps_types::lsps1::{Confirmation, CreateOrder, OptionMismatch, Options};
use lsps_types::{BlockHeight, Blocks, Msat, PeerId, Ppm, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

pub use orders::{AmountRule, OrderPolicy};
pub use standard::{ClientTerms, StandardPolicy, TokenTerms};

/// The node's circumstances that prices depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Height of the best chain.
    pub height: BlockHeight,
    /// Feerate at which a funding transaction confirms soon, in satoshis per 1000 weight units.
    pub feerate_sat_per_kw: u32,
    /// Feerate that the node gives the commitment transactions of a channel that it opens now, in the same unit. LDK: what
    /// its fee estimator says for `NonAnchorChannelFee`.
    #[serde(default)]
    pub commitment_feerate_sat_per_kw: u32,
    /// Whether the node gives channels anchors where the client takes them; those of other clients have none.
    #[serde(default)]
    pub anchors: bool,
    /// Satoshis the on-chain wallet could spend on channels now.
    pub spendable_sat: u64,
    /// What the node could receive over its own channels now.
    pub inbound: Msat,
}

/// Decides from what it is given: the same question has to get the same answer. What has to be decided elsewhere is
/// answered with `Later`, and by the host with [`Input::Decided`](crate::Input::Decided).
pub trait Policy: Send {
    /// Whether its settings fit; asked once, when the service starts.
    ///
    /// # Errors
    ///
    /// Names the first that does not.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The terms on offer, dearest last. An empty list: none at present.
    ///
    /// # Errors
    ///
    /// When the client or its token gets none at all, or that is decided elsewhere.
    fn menu(&self, ask: &MenuRequest<'_>, facts: &NodeFacts) -> Result<Vec<OfferTerms>, MenuRefusal>;

    /// Whether this client may buy on terms that were offered to it, and who has to trust whom.
    ///
    /// Asked before the promise, the time and the amounts are checked; those checks hold whatever this says.
    ///
    /// # Errors
    ///
    /// When it may not, the payment is too large for what the node can take, or that is decided elsewhere.
    fn may_buy(&self, buy: &BuyRequest<'_>, facts: &NodeFacts) -> Result<Sale, BuyRefusal>;

    /// What can be ordered; `None`: nothing, and LSPS1 is not served. Should change at most once a day.
    ///
    /// Spec: LSPS1 §1.
    fn options(&self) -> Option<Options> {
        None
    }

    /// What a channel costs that is within the options, by each way that it can be paid.
    ///
    /// A way to pay on the chain is left out where the client gave no address to return it to.
    ///
    /// # Errors
    ///
    /// When the client gets none, its token is not good, or that is decided elsewhere.
    fn may_order(&self, ask: &OrderRequest<'_>, facts: &NodeFacts) -> Result<OrderTerms, OrderRefusal> {
        let (_, _) = (ask, facts);
        Err(OrderRefusal::Client("no channels are sold".into()))
    }

    /// Whether an on-chain payment counts as soon as its order says; if not, it takes six confirmations.
    ///
    /// Spec: LSPS1 §4.3.
    fn trusts_deposit(&self, client: PeerId, amount: Sat, facts: &NodeFacts) -> bool {
        let (_, _, _) = (client, amount, facts);
        true
    }

    /// The channel that is to carry a payment to the client at once. `None`: there is none at present, and the payment goes
    /// back before anything is opened.
    ///
    /// The capacity has to leave room for the reserve, the commitment fee and the anchors, which the LSP pays:
    /// [`capacity`](crate::capacity) says how much.
    fn channel(&self, ask: &ChannelRequest, facts: &NodeFacts) -> Option<ChannelPlan>;
}

/// Who asks for a menu.
#[derive(Clone, Copy, Debug)]
pub struct MenuRequest<'a> {
    /// The asking peer.
    pub client: PeerId,
    /// The token it gave.
    pub token: Option<&'a str>,
    /// Offers that were bought for this token and are paid or may still be.
    pub token_uses: usize,
    /// What is known of the client.
    pub history: ClientHistory,
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
    /// Offers that were bought for this token and are paid or may still be.
    pub token_uses: usize,
    /// The payment to come, if its size is fixed.
    pub payment_size: Option<Msat>,
    /// What is known of the client.
    pub history: ClientHistory,
    /// Now.
    pub now: Timestamp,
}

/// Who wants to order what.
#[derive(Clone, Copy, Debug)]
pub struct OrderRequest<'a> {
    /// The asking peer.
    pub client: PeerId,
    /// Within the options.
    pub order: &'a CreateOrder,
    /// Offers and orders for the same token that are paid or may still be.
    pub token_uses: usize,
    /// The client's orders that have neither a channel nor failed.
    pub open_orders: usize,
    /// What is known of the client.
    pub history: ClientHistory,
    /// Now.
    pub now: Timestamp,
}

/// What an order costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTerms {
    /// By hold invoice.
    pub bolt11: Option<WayTerms>,
    /// By offer.
    pub bolt12: Option<WayTerms>,
    /// By transaction, and when that counts.
    pub onchain: Option<(WayTerms, Confirmation)>,
    /// Remember the order until then if it is completed, so that uses of its token are counted.
    pub remember_until: Option<Timestamp>,
}

/// One way to pay an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayTerms {
    /// Our fee; the client's balance comes on top.
    pub fee: Sat,
    /// It has to be paid, and the channel to be opened, before then.
    pub expires_at: Timestamp,
}

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderRefusal {
    /// The token is unknown, or no longer good.
    Token,
    /// This client is not served; why, for people to read.
    Client(String),
    /// Somebody else decides; see [`Released::questions`](crate::Released::questions).
    Later,
    /// The order is within the options, and no channel can carry it at present. Spec: LSPS1 §2, error 100.
    Option(OptionMismatch),
}

/// A client's offers that are on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHistory {
    /// Not paid for.
    pub unpaid: usize,
    /// Paid for, and remembered for as long as their channel was promised.
    pub paid: usize,
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

/// What is agreed to beyond the terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    /// Who has to trust whom.
    pub trust: Trust,
    /// Remember the offer until then if it is paid for, so that uses of its token are counted.
    pub remember_until: Option<Timestamp>,
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

/// The purpose of a channel that is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRequest {
    /// The peer.
    pub client: PeerId,
    /// The amount that the channel has to carry to the client at once, after all fees of the LSP.
    pub deliver: Msat,
    /// In so many HTLCs.
    pub htlcs: usize,
}

/// A channel to be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelPlan {
    /// Satoshis of the funding output.
    pub capacity_sat: u64,
    /// Share of the channel that the client has to keep on its side. Not all nodes let one choose less than a percent.
    pub client_reserve: Ppm,
}

/// Why there is no menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MenuRefusal {
    /// The token is unknown, or no longer good.
    Token,
    /// This client is not served; why, for people to read.
    Client(String),
    /// Somebody else decides; see [`Released::questions`](crate::Released::questions).
    Later,
}

/// Why a buy is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuyRefusal {
    /// This client is not served; why, for people to read.
    Client(String),
    /// The token of its menu is no longer good.
    Token,
    /// The node could not receive or fund that much.
    TooLarge,
    /// Somebody else decides; see [`Released::questions`](crate::Released::questions).
    Later,
}

//! Ordering a channel, up to its price. This module consists of functions of messages: nothing is paid or on record
//! yet.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use lsps_types::lsps1::{
    Confirmation, CreateOrder, Expect, MirrorMismatch, OptionMismatch, Options, Order as Reply, OrderId, OrderState,
    PaymentFacts, ReadInvoices, Status, Unusable,
};
use lsps_types::{Address, DateTime, FeeRate, Network, PaymentHash, PeerId, Ppm, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use super::record;
use crate::jit_receive::{FeeLimits, within_share};

/// The options of an LSP, without which no order is made. Spec: LSPS1 §1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LspOptions {
    /// The LSP.
    pub lsp: PeerId,
    /// The LSP's answer to `lsps1.get_info`.
    pub options: Options,
}

/// The wallet's request for a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    /// The order.
    pub order: CreateOrder,
    /// Largest cost: the LSP's fee plus the on-chain or routing fees of the payment. The share is one of the LSP's
    /// balance. The balance that is ordered for the client is not a cost.
    pub limits: FeeLimits,
    /// Network of the connection.
    pub network: Network,
    /// Whether the LSP's node supports large channels (BOLT 9).
    pub large_channels: bool,
    /// The wallet's rules for orders.
    pub rules: Rules,
}

/// The wallet's rules for orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether an invoice or offer that names a payee other than the LSP's node is refused.
    pub pay_only_the_lsp: bool,
    /// Least remaining time of a payment method. For an on-chain payment, the blocks that it has to wait for come on
    /// top.
    pub min_validity: Duration,
    /// Longest time after the creation of the order in which a payment may start; the LSP's own limit may be later.
    pub longest: Duration,
    /// Time for which a finished order is kept on record; one with a channel is kept at least until the LSP may close
    /// that.
    pub keep: Duration,
    /// Time after the last moment to pay, after which an order with a payment in flight is abandoned. No channel of it
    /// is accepted after that.
    pub give_up_after: Duration,
    /// Highest feerate that is paid on-chain so that the LSP opens the channel without a confirmation. If the LSP asks
    /// for more, the payment has the wallet's usual feerate and waits for one confirmation.
    pub max_fee_rate_at_once: FeeRate,
    /// Largest on-chain or routing fees of one payment on top of the LSP's fee; less if the limits leave less.
    pub max_extra: Sat,
}

impl Default for Rules {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            pay_only_the_lsp: true,
            min_validity: Duration::from_secs(2 * 60),
            longest: day * 7,
            keep: day * 14,
            give_up_after: day * 30,
            // The value is 100 sat/vB.
            max_fee_rate_at_once: FeeRate(25_000),
            max_extra: Sat(50_000),
        }
    }
}

/// An order that the LSP's options allow, to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedRequest {
    lsp: PeerId,
    request: OrderRequest,
}

/// The LSP's answer to an order, after it passed the checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Payment methods that can be used, of which only one will be. Empty: the order is free ([`Self::is_free`]).
    pub options: Vec<PaymentOption>,
    /// Offered payment methods that cannot be used, with the reason.
    pub refused: Vec<(PaymentMethod, RefusePaymentMethod)>,
    pub(super) lsp: PeerId,
    pub(super) id: OrderId,
    #[serde(with = "record::Ordered")]
    pub(super) order: CreateOrder,
    pub(super) keep: Duration,
    pub(super) give_up_after: Duration,
    /// Time at which the order was quoted.
    #[serde(default)]
    pub(super) made_at: Timestamp,
}

/// A payment method of an order, with its instructions and price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentOption {
    /// Payment instructions.
    pub instructions: PaymentInstructions,
    /// Fee of the LSP.
    pub fee: Sat,
    /// Amount to pay: the fee and the client's balance. On-chain or routing fees come on top.
    pub total: Sat,
    /// Largest on-chain or routing fees of the payment on top of the total.
    pub extra: Sat,
    /// Last moment to start the payment; the LSP's own limit is later.
    pub pay_by: Timestamp,
}

/// Payment instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentInstructions {
    /// A BOLT 11 hold invoice over the total.
    Invoice {
        /// Text of the invoice.
        invoice: String,
        /// Payment hash of the invoice.
        payment_hash: PaymentHash,
    },
    /// A BOLT 12 offer over the total.
    Offer {
        /// Text of the offer.
        offer: String,
    },
    /// An address that has to receive one output of exactly the total.
    Address {
        /// Address.
        address: Address,
        /// Confirmations after which the payment counts. The LSP may decide otherwise, and the client does not rely on
        /// it.
        confirmations: u16,
        /// With 0 confirmations: a higher feerate than this makes the payment count at once, otherwise it needs one.
        /// Never above [`Rules::max_fee_rate_at_once`].
        at_once_above: Option<FeeRate>,
    },
}

/// A payment method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PaymentMethod {
    /// BOLT 11 invoice.
    Bolt11,
    /// BOLT 12 offer.
    Bolt12,
    /// On-chain transaction.
    Onchain,
    /// Nothing is to be paid ([`Quote::is_free`]).
    Free,
}

impl LspOptions {
    /// Checks the wallet's request against the LSP's options.
    ///
    /// Spec: LSPS1 §2; readings.
    ///
    /// # Errors
    ///
    /// The LSP would refuse the order. No request is sent.
    pub fn check(&self, request: OrderRequest) -> Result<CheckedRequest, CannotOrder> {
        let order = &request.order;
        if order.lsp_balance_sat == Sat::ZERO || order.channel_expiry_blocks == 0 {
            return Err(CannotOrder::Nothing);
        }
        order.fits(request.network).map_err(|_| CannotOrder::RefundAddress)?;
        self.options.allow(order).map_err(CannotOrder::Options)?;
        if order.needs_large_channels() && !request.large_channels {
            return Err(CannotOrder::LargeChannels);
        }
        Ok(CheckedRequest { lsp: self.lsp, request })
    }
}

impl CheckedRequest {
    /// The `lsps1.create_order` request.
    #[must_use]
    pub fn create_order(&self) -> &CreateOrder {
        &self.request.order
    }

    /// Checks the LSP's answer, before anything is paid.
    ///
    /// Spec: LSPS1 §2, §4.
    ///
    /// # Errors
    ///
    /// The answer is another order, or cannot be paid within the wallet's limits. Leave the order alone; it expires by
    /// itself.
    pub fn verify(&self, reply: &Reply, read: &impl ReadInvoices, now: Timestamp) -> Result<Quote, RefuseOrder> {
        let OrderRequest { order, network, rules, .. } = &self.request;
        let payee = rules.pay_only_the_lsp.then_some(self.lsp);
        let found = reply.judge(order, &Expect { network: *network, payee, now: Some(now) }, read)?;
        let is_free = reply.payment.is_free();
        let is_new = match reply.order_state {
            OrderState::Created => reply.channel.is_none(),
            // Nothing has to be paid before the LSP opens the channel of a free order.
            OrderState::Completed => is_free,
            OrderState::Failed => false,
        };
        if !is_new {
            return Err(RefuseOrder::NotNew);
        }
        let (mut options, mut refused) = (Vec::new(), Vec::new());
        let statuses = [
            (PaymentMethod::Bolt11, found.bolt11),
            (PaymentMethod::Bolt12, found.bolt12),
            (PaymentMethod::Onchain, found.onchain),
        ];
        for (method, status) in statuses {
            let option = match status {
                Status::Absent => continue,
                Status::Usable => self.option(method, reply, read, now),
                Status::Held | Status::Paid | Status::Refunded => Err(RefusePaymentMethod::NotOpen),
                Status::Unusable(why) => Err(RefusePaymentMethod::Unusable(why)),
            };
            match option {
                Ok(option) => options.push(option),
                Err(why) => refused.push((method, why)),
            }
        }
        if options.is_empty() && !is_free {
            return Err(RefuseOrder::NoPaymentMethod(refused));
        }
        let (id, order, keep) = (reply.order_id.clone(), order.clone(), rules.keep);
        let (lsp, give_up_after) = (self.lsp, rules.give_up_after);
        Ok(Quote { options, refused, lsp, id, order, keep, give_up_after, made_at: now })
    }

    /// Checks the price and expiry of a payment method that is usable as such.
    fn option(
        &self,
        method: PaymentMethod,
        reply: &Reply,
        read: &impl ReadInvoices,
        now: Timestamp,
    ) -> Result<PaymentOption, RefusePaymentMethod> {
        let network = self.request.network;
        let ends = |at: &DateTime, facts: Option<&PaymentFacts>| {
            let own = facts.and_then(|facts| facts.expires_at);
            own.map_or(at.instant(), |own| own.min(at.instant()))
        };
        let (payment, unread) = (&reply.payment, RefusePaymentMethod::Unusable(Unusable::Unreadable));
        let (instructions, fee, total, end) = match method {
            PaymentMethod::Bolt11 => {
                let option = payment.bolt11.as_ref().ok_or(unread)?;
                let facts = read.bolt11(&option.invoice, network).ok_or(unread)?;
                let payment_hash = facts.payment_hash.ok_or(unread)?;
                let instructions = PaymentInstructions::Invoice { invoice: option.invoice.clone(), payment_hash };
                (instructions, option.fee_total_sat, option.order_total_sat, ends(&option.expires_at, Some(&facts)))
            }
            PaymentMethod::Bolt12 => {
                let option = payment.bolt12.as_ref().ok_or(unread)?;
                let facts = read.bolt12(&option.offer, network).ok_or(unread)?;
                let instructions = PaymentInstructions::Offer { offer: option.offer.clone() };
                (instructions, option.fee_total_sat, option.order_total_sat, ends(&option.expires_at, Some(&facts)))
            }
            PaymentMethod::Onchain => {
                let option = payment.onchain.as_ref().ok_or(unread)?;
                if self.request.order.refund_onchain_address.is_none() {
                    return Err(RefusePaymentMethod::NoRefundAddress);
                }
                let (confirmations, at_once_above) = self.waits_for(option.confirmation);
                let address = option.address.parse().map_err(|_| unread)?;
                let instructions = PaymentInstructions::Address { address, confirmations, at_once_above };
                (instructions, option.fee_total_sat, option.order_total_sat, ends(&option.expires_at, None))
            }
            PaymentMethod::Free => return Err(unread),
        };
        let extra = self.afford(fee)?;
        let pay_by =
            earlier(end, self.request.rules.min_validity + instructions.waits()).min(now + self.request.rules.longest);
        if now < pay_by {
            Ok(PaymentOption { instructions, fee, total, extra, pay_by })
        } else {
            Err(RefusePaymentMethod::EndsTooSoon)
        }
    }

    /// The number of confirmations to wait for, and the feerate that makes the first one unnecessary. Spec: LSPS1 §4.3:
    /// the LSP names that feerate, and can name any.
    fn waits_for(&self, confirmation: Confirmation) -> (u16, Option<FeeRate>) {
        match confirmation {
            Confirmation::AtOnce { above: Some(rate) } if rate > self.request.rules.max_fee_rate_at_once => (1, None),
            Confirmation::AtOnce { above } => (0, above),
            Confirmation::After(blocks) => (blocks.get(), None),
        }
    }

    /// The largest on-chain or routing fees that the limits allow. Spec: LSPS1 §2: the client judges the fee.
    fn afford(&self, fee: Sat) -> Result<Sat, RefusePaymentMethod> {
        let (limits, funded) = (self.request.limits, self.request.order.lsp_balance_sat);
        // Limits are in millisatoshis. An amount that overflows in millisatoshis is above any limit.
        let in_msat = fee.to_msat();
        if limits.max_total_fee.is_some_and(|limit| in_msat.is_none_or(|fee| fee > limit)) {
            return Err(RefusePaymentMethod::FeeAboveLimit { fee });
        }
        let within = |share| in_msat.zip(funded.to_msat()).is_some_and(|(fee, size)| within_share(fee, size, share));
        if limits.max_proportional_fee.is_some_and(|share| !within(share)) {
            return Err(RefusePaymentMethod::FeeAboveShare { fee });
        }
        let share = |share: Ppm| {
            let most = u128::from(funded.0) * u128::from(share.0) / 1_000_000;
            Sat(u64::try_from(most).unwrap_or(u64::MAX))
        };
        let total = limits.max_total_fee.map(|limit| Sat(limit.0 / 1_000));
        let left = [total, limits.max_proportional_fee.map(share)].into_iter().flatten();
        let left = left.map(|most| Sat(most.0.saturating_sub(fee.0)));
        Ok(left.chain([self.request.rules.max_extra]).min().unwrap_or(Sat::ZERO))
    }
}

impl Quote {
    /// The cheapest payment method, see [`ranked`](Self::ranked).
    #[must_use]
    pub fn cheapest(&self, extra: impl Fn(&PaymentOption) -> Option<Sat>) -> Option<PaymentMethod> {
        self.ranked(extra).first().copied()
    }

    /// The payment methods that the wallet can use, cheapest first; of equal ones Lightning before on-chain.
    ///
    /// `extra` returns the cost of a method on top of the LSP's fee: the on-chain fee, or the known routing fees.
    /// `None`: the wallet cannot use it. A method that costs more than its [`PaymentOption::extra`] is left out. The only
    /// method of a free order is [`PaymentMethod::Free`].
    #[must_use]
    pub fn ranked(&self, extra: impl Fn(&PaymentOption) -> Option<Sat>) -> Vec<PaymentMethod> {
        if self.is_free() {
            return Vec::from([PaymentMethod::Free]);
        }
        let cost = |option: &PaymentOption| {
            let extra = extra(option).filter(|extra| *extra <= option.extra)?;
            Some((option.fee.0.saturating_add(extra.0), option.method()))
        };
        let mut options: Vec<_> = self.options.iter().filter_map(cost).collect();
        options.sort_unstable();
        options.into_iter().map(|(_, method)| method).collect()
    }

    /// Whether nothing is to be paid: the order is placed, "paid" by [`PaymentMethod::Free`], and its channel awaited.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.options.is_empty()
    }

    /// LSP of the order.
    #[must_use]
    pub fn lsp(&self) -> PeerId {
        self.lsp
    }

    /// Payment hash of the order's invoice, if it has one.
    #[must_use]
    pub fn payment_hash(&self) -> Option<PaymentHash> {
        payment_hash(&self.options)
    }
}

/// The payment hash of the invoice among these methods. The hash for an offer is not known before its invoice is
/// requested.
pub(super) fn payment_hash(options: &[PaymentOption]) -> Option<PaymentHash> {
    options.iter().find_map(|option| match option.instructions {
        PaymentInstructions::Invoice { payment_hash, .. } => Some(payment_hash),
        PaymentInstructions::Offer { .. } | PaymentInstructions::Address { .. } => None,
    })
}

impl PaymentOption {
    /// The payment method.
    #[must_use]
    pub fn method(&self) -> PaymentMethod {
        match &self.instructions {
            PaymentInstructions::Invoice { .. } => PaymentMethod::Bolt11,
            PaymentInstructions::Offer { .. } => PaymentMethod::Bolt12,
            PaymentInstructions::Address { .. } => PaymentMethod::Onchain,
        }
    }
}

impl PaymentInstructions {
    /// Approximate time until a payment counts, by which it has to start before the order ends.
    fn waits(&self) -> Duration {
        match self {
            Self::Invoice { .. } | Self::Offer { .. } => Duration::ZERO,
            Self::Address { confirmations, .. } => BLOCK * u32::from((*confirmations).max(1)),
        }
    }
}

fn earlier(instant: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_unix_millis(instant.unix_millis().saturating_sub(by))
}

/// Reason for which an order is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOrder {
    /// The LSP's balance or the lifetime is zero.
    #[error("the LSP's balance and the time have to be at least 1")]
    Nothing,
    /// The refund address is of another network.
    #[error("the refund address is of another network")]
    RefundAddress,
    /// The order is outside the LSP's options.
    #[error("the LSP does not offer it: `{}`", .0.property)]
    Options(OptionMismatch),
    /// The channel is above 16 777 216 sat, and the LSP's node does not support large channels.
    #[error("the LSP's node does not support channels of that size")]
    LargeChannels,
}

/// Reason to refuse an LSP's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseOrder {
    /// The answer differs from the request.
    #[error(transparent)]
    Differs(#[from] MirrorMismatch),
    /// The order is paid, open or over already.
    #[error("the order is not a new one")]
    NotNew,
    /// No payment method can be used; with the reason for each that is offered.
    #[error("the order cannot be paid{}", Reasons(.0))]
    NoPaymentMethod(Vec<(PaymentMethod, RefusePaymentMethod)>),
}

/// Reason not to use a payment method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RefusePaymentMethod {
    /// The method did not pass the checks of [`Order::judge`](lsps_types::lsps1::Order::judge).
    #[error(transparent)]
    Unusable(Unusable),
    /// The LSP says that the method is paid or closed.
    #[error("it is paid or closed already")]
    NotOpen,
    /// The payment is on-chain, and the order has no refund address.
    #[error("it could not go back")]
    NoRefundAddress,
    /// Too little time is left.
    #[error("it ends too soon")]
    EndsTooSoon,
    /// The fee is above [`FeeLimits::max_total_fee`].
    #[error("its fee of {fee} is above the limit")]
    FeeAboveLimit {
        /// Fee of the LSP.
        fee: Sat,
    },
    /// The fee is above [`FeeLimits::max_proportional_fee`].
    #[error("its fee of {fee} is too large a share of what the LSP puts in")]
    FeeAboveShare {
        /// Fee of the LSP.
        fee: Sat,
    },
}

struct Reasons<'a>(&'a [(PaymentMethod, RefusePaymentMethod)]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (kind, why)) in self.0.iter().enumerate() {
            write!(f, "{} {kind}: {why}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

/// Usual time of a block.
const BLOCK: Duration = Duration::from_secs(600);

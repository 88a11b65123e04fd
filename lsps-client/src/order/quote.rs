//! Ordering a channel, up to its price. All of this is functions of messages: nothing is paid, nothing is on record.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use lsps_types::lsps1::{
    Confirmation, CreateOrder, Expect, MirrorMismatch, OptionMismatch, Options, Order as Reply, OrderId, OrderState,
    PaymentFacts, ReadInvoices, Status, Unusable,
};
use lsps_types::{Address, DateTime, FeeRate, Network, PaymentHash, PeerId, Ppm, Sat, Timestamp};
use serde::{Deserialize, Serialize};

use super::wire;
use crate::jit_receive::{FeeLimits, within_share};

/// What an LSP said can be ordered from it. Nothing is ordered without. Spec: LSPS1 §1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The LSP.
    pub lsp: PeerId,
    /// Its answer to `lsps1.get_info`.
    pub options: Options,
}

/// What the wallet wants, and what it puts up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The channel.
    pub order: CreateOrder,
    /// The most that it may cost: the LSP's fee with the mining or routing fees of the payment. The share is one of what the
    /// LSP puts in. The balance that is ordered for the client is not a cost.
    pub limits: FeeLimits,
    /// The network of the connection.
    pub network: Network,
    /// Whether the LSP's node supports large channels (BOLT 9).
    pub large_channels: bool,
    /// What the wallet puts up with.
    pub rules: Rules,
}

/// What the wallet puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether invoices and offers that name another payee than the LSP's node are left alone.
    pub pay_only_the_lsp: bool,
    /// A way to pay is left alone when it ends sooner. On-chain, the blocks that it has to wait for come on top.
    pub min_validity: Duration,
    /// How long after its order was made a way to pay is begun with, at the most: its end is the LSP's choice.
    pub longest: Duration,
    /// How long an order is remembered after its end; one that has a channel at least until the LSP may close that.
    pub keep: Duration,
    /// How long after the last moment to pay an order whose money is out is given up: no channel of it is taken after that.
    pub give_up_after: Duration,
    /// The highest feerate that is paid on-chain so that the LSP opens the channel without a confirmation. When the LSP asks
    /// for more, the payment has the wallet's usual feerate and one confirmation is waited for.
    pub max_fee_rate_at_once: FeeRate,
    /// The most mining or routing fees that one payment may cost on top of the LSP's fee. Where the limits leave less, less.
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
            // 100 sat/vB.
            max_fee_rate_at_once: FeeRate(25_000),
            max_extra: Sat(50_000),
        }
    }
}

/// An order that the LSP's options allow, to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    lsp: PeerId,
    wish: Wish,
}

/// What the LSP asks for, weighed and found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The ways to pay that can be used, never empty. Only one of them will be.
    pub ways: Vec<Way>,
    /// Those that are offered and cannot.
    pub refused: Vec<(WayKind, RefuseWay)>,
    pub(super) lsp: PeerId,
    pub(super) id: OrderId,
    #[serde(with = "wire::Ordered")]
    pub(super) order: CreateOrder,
    pub(super) keep: Duration,
    pub(super) give_up_after: Duration,
}

/// One way to pay an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// What is to be paid, and how.
    pub bill: Bill,
    /// What the LSP takes of it.
    pub fee: Sat,
    /// The amount to be paid: the fee and the client's balance. Mining or routing fees come on top.
    pub total: Sat,
    /// The most mining or routing fees that the payment may cost on top of the total.
    pub extra: Sat,
    /// The last moment to begin with it; the LSP's own end is later.
    pub pay_by: Timestamp,
}

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bill {
    /// A BOLT 11 hold invoice over the total.
    Invoice {
        /// As the LSP wrote it.
        invoice: String,
        /// What it is paid with.
        payment_hash: PaymentHash,
    },
    /// A BOLT 12 offer over the total.
    Offer {
        /// As the LSP wrote it.
        offer: String,
    },
    /// An output of exactly the total.
    Address {
        /// Where to.
        address: Address,
        /// Blocks after which it counts. The LSP may see it otherwise, and nothing here relies on it.
        confirmations: u16,
        /// With no blocks to wait for: a higher feerate than this makes it count at once, else it takes one. Never above
        /// [`Rules::max_fee_rate_at_once`].
        at_once_above: Option<FeeRate>,
    },
}

/// The ways to pay that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WayKind {
    /// By invoice.
    Bolt11,
    /// By offer.
    Bolt12,
    /// By transaction.
    Onchain,
}

impl Offered {
    /// What is wanted, held against what is offered.
    ///
    /// Spec: LSPS1 §2; readings.
    ///
    /// # Errors
    ///
    /// When the LSP would refuse it. Nothing was asked.
    pub fn draft(&self, wish: Wish) -> Result<Draft, CannotOrder> {
        let order = &wish.order;
        if order.lsp_balance_sat == Sat::ZERO || order.channel_expiry_blocks == 0 {
            return Err(CannotOrder::Nothing);
        }
        order.fits(wish.network).map_err(|_| CannotOrder::RefundAddress)?;
        self.options.allow(order).map_err(CannotOrder::Options)?;
        if order.needs_large_channels() && !wish.large_channels {
            return Err(CannotOrder::LargeChannels);
        }
        Ok(Draft { lsp: self.lsp, wish })
    }
}

impl Draft {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &CreateOrder {
        &self.wish.order
    }

    /// Weighs what the LSP answered, before anything is paid.
    ///
    /// Spec: LSPS1 §2, §4.
    ///
    /// # Errors
    ///
    /// When it is not the order that was made, or cannot be paid as the wallet wants: leave it alone, it ends by itself.
    pub fn weigh(&self, reply: &Reply, read: &impl ReadInvoices, now: Timestamp) -> Result<Quote, RefuseOrder> {
        let Wish { order, network, rules, .. } = &self.wish;
        let payee = rules.pay_only_the_lsp.then_some(self.lsp);
        let found = reply.judge(order, &Expect { network: *network, payee, now: Some(now) }, read)?;
        if reply.order_state != OrderState::Created || reply.channel.is_some() {
            return Err(RefuseOrder::NotNew);
        }
        let (mut ways, mut refused) = (Vec::new(), Vec::new());
        let statuses =
            [(WayKind::Bolt11, found.bolt11), (WayKind::Bolt12, found.bolt12), (WayKind::Onchain, found.onchain)];
        for (kind, status) in statuses {
            let way = match status {
                Status::Absent => continue,
                Status::Usable => self.way(kind, reply, read, now),
                Status::Held | Status::Paid | Status::Refunded => Err(RefuseWay::NotOpen),
                Status::Unusable(why) => Err(RefuseWay::Unusable(why)),
            };
            match way {
                Ok(way) => ways.push(way),
                Err(why) => refused.push((kind, why)),
            }
        }
        if ways.is_empty() {
            return Err(RefuseOrder::NoWayToPay(refused));
        }
        let (id, order, keep) = (reply.order_id.clone(), order.clone(), rules.keep);
        Ok(Quote { ways, refused, lsp: self.lsp, id, order, keep, give_up_after: rules.give_up_after })
    }

    /// A way that was judged usable, unless it is too dear or ends too soon.
    fn way(&self, kind: WayKind, reply: &Reply, read: &impl ReadInvoices, now: Timestamp) -> Result<Way, RefuseWay> {
        let network = self.wish.network;
        let ends = |at: &DateTime, facts: Option<&PaymentFacts>| {
            let own = facts.and_then(|facts| facts.expires_at);
            own.map_or(at.instant(), |own| own.min(at.instant()))
        };
        let (payment, unread) = (&reply.payment, RefuseWay::Unusable(Unusable::Unreadable));
        let (bill, fee, total, end) = match kind {
            WayKind::Bolt11 => {
                let way = payment.bolt11.as_ref().ok_or(unread)?;
                let facts = read.bolt11(&way.invoice, network).ok_or(unread)?;
                let payment_hash = facts.payment_hash.ok_or(unread)?;
                let bill = Bill::Invoice { invoice: way.invoice.clone(), payment_hash };
                (bill, way.fee_total_sat, way.order_total_sat, ends(&way.expires_at, Some(&facts)))
            }
            WayKind::Bolt12 => {
                let way = payment.bolt12.as_ref().ok_or(unread)?;
                let facts = read.bolt12(&way.offer, network).ok_or(unread)?;
                let bill = Bill::Offer { offer: way.offer.clone() };
                (bill, way.fee_total_sat, way.order_total_sat, ends(&way.expires_at, Some(&facts)))
            }
            WayKind::Onchain => {
                let way = payment.onchain.as_ref().ok_or(unread)?;
                if self.wish.order.refund_onchain_address.is_none() {
                    return Err(RefuseWay::NoRefundAddress);
                }
                let (confirmations, at_once_above) = self.waits_for(way.confirmation);
                let address = way.address.parse().map_err(|_| unread)?;
                let bill = Bill::Address { address, confirmations, at_once_above };
                (bill, way.fee_total_sat, way.order_total_sat, ends(&way.expires_at, None))
            }
        };
        let extra = self.afford(fee)?;
        let pay_by = earlier(end, self.wish.rules.min_validity + bill.waits()).min(now + self.wish.rules.longest);
        if now < pay_by { Ok(Way { bill, fee, total, extra, pay_by }) } else { Err(RefuseWay::EndsTooSoon) }
    }

    /// Blocks to wait for, and the feerate that spares the first. Spec: LSPS1 §4.3: the LSP names that feerate, and can name
    /// any.
    fn waits_for(&self, confirmation: Confirmation) -> (u16, Option<FeeRate>) {
        match confirmation {
            Confirmation::AtOnce { above: Some(rate) } if rate > self.wish.rules.max_fee_rate_at_once => (1, None),
            Confirmation::AtOnce { above } => (0, above),
            Confirmation::After(blocks) => (blocks.get(), None),
        }
    }

    /// The mining or routing fees that the limits leave room for. Spec: LSPS1 §2: the client judges the fee.
    fn afford(&self, fee: Sat) -> Result<Sat, RefuseWay> {
        let (limits, funded) = (self.wish.limits, self.wish.order.lsp_balance_sat);
        // Limits are in millisatoshis; what does not fit there is above any.
        let in_msat = fee.to_msat();
        if limits.max_total_fee.is_some_and(|limit| in_msat.is_none_or(|fee| fee > limit)) {
            return Err(RefuseWay::FeeAboveLimit { fee });
        }
        let within = |share| in_msat.zip(funded.to_msat()).is_some_and(|(fee, size)| within_share(fee, size, share));
        if limits.max_proportional_fee.is_some_and(|share| !within(share)) {
            return Err(RefuseWay::FeeAboveShare { fee });
        }
        let share = |share: Ppm| {
            let most = u128::from(funded.0) * u128::from(share.0) / 1_000_000;
            Sat(u64::try_from(most).unwrap_or(u64::MAX))
        };
        let total = limits.max_total_fee.map(|limit| Sat(limit.0 / 1_000));
        let left = [total, limits.max_proportional_fee.map(share)].into_iter().flatten();
        let left = left.map(|most| Sat(most.0.saturating_sub(fee.0)));
        Ok(left.chain([self.wish.rules.max_extra]).min().unwrap_or(Sat::ZERO))
    }
}

impl Quote {
    /// The way that costs least, see [`ranked`](Self::ranked).
    #[must_use]
    pub fn cheapest(&self, extra: impl Fn(&Way) -> Option<Sat>) -> Option<WayKind> {
        self.ranked(extra).first().copied()
    }

    /// The ways that the wallet can pay, the cheapest first; of equal ones Lightning before the chain.
    ///
    /// `extra` says what a way costs on top of the LSP's fee: the mining fee, or what is known of routing fees. `None`: the
    /// wallet cannot pay it. A way that costs more than its [`Way::extra`] is left out.
    #[must_use]
    pub fn ranked(&self, extra: impl Fn(&Way) -> Option<Sat>) -> Vec<WayKind> {
        let cost = |way: &Way| {
            let extra = extra(way).filter(|extra| *extra <= way.extra)?;
            Some((way.fee.0.saturating_add(extra.0), way.kind()))
        };
        let mut ways: Vec<_> = self.ways.iter().filter_map(cost).collect();
        ways.sort_unstable();
        ways.into_iter().map(|(_, kind)| kind).collect()
    }

    /// Whose.
    #[must_use]
    pub fn lsp(&self) -> PeerId {
        self.lsp
    }

    /// The payment hash of its invoice, if it has one.
    #[must_use]
    pub fn payment_hash(&self) -> Option<PaymentHash> {
        payment_hash(&self.ways)
    }
}

/// The payment hash of the invoice among these ways. That of an offer's invoice is not known before it is asked for.
pub(super) fn payment_hash(ways: &[Way]) -> Option<PaymentHash> {
    ways.iter().find_map(|way| match way.bill {
        Bill::Invoice { payment_hash, .. } => Some(payment_hash),
        Bill::Offer { .. } | Bill::Address { .. } => None,
    })
}

impl Way {
    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> WayKind {
        match &self.bill {
            Bill::Invoice { .. } => WayKind::Bolt11,
            Bill::Offer { .. } => WayKind::Bolt12,
            Bill::Address { .. } => WayKind::Onchain,
        }
    }
}

impl Bill {
    /// How long a payment takes to count, roughly, so that it does so before the order ends.
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

/// Why an order is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOrder {
    /// Nothing from the LSP, or for no time.
    #[error("the LSP's balance and the time have to be at least 1")]
    Nothing,
    /// The refund address is of another network.
    #[error("the refund address is of another network")]
    RefundAddress,
    /// Outside what the LSP offers.
    #[error("the LSP does not offer it: `{}`", .0.property)]
    Options(OptionMismatch),
    /// Above 16 777 216 sat, and the LSP's node does not support it.
    #[error("the LSP's node does not support channels of that size")]
    LargeChannels,
}

/// Why an order is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseOrder {
    /// It is not the order that was made.
    #[error(transparent)]
    Differs(#[from] MirrorMismatch),
    /// It is paid, open or over already.
    #[error("the order is not a new one")]
    NotNew,
    /// No way to pay can be used; why not, for each that is offered.
    #[error("the order cannot be paid{}", Reasons(.0))]
    NoWayToPay(Vec<(WayKind, RefuseWay)>),
}

/// Why a way to pay is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseWay {
    /// It must not be.
    #[error(transparent)]
    Unusable(Unusable),
    /// The LSP says that it was paid or is closed.
    #[error("it is paid or closed already")]
    NotOpen,
    /// It is on-chain, and the order names no address to which it could go back.
    #[error("it could not go back")]
    NoRefundAddress,
    /// There is too little time for it.
    #[error("it ends too soon")]
    EndsTooSoon,
    /// More than [`FeeLimits::max_total_fee`].
    #[error("its fee of {fee} is above the limit")]
    FeeAboveLimit {
        /// The fee.
        fee: Sat,
    },
    /// More than [`FeeLimits::max_proportional_fee`].
    #[error("its fee of {fee} is too large a share of what the LSP puts in")]
    FeeAboveShare {
        /// The fee.
        fee: Sat,
    },
}

struct Reasons<'a>(&'a [(WayKind, RefuseWay)]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (kind, why)) in self.0.iter().enumerate() {
            write!(f, "{} {kind}: {why}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

/// The usual time for one.
const BLOCK: Duration = Duration::from_secs(600);

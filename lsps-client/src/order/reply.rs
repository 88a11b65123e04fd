//! The parts of an LSP's answer about an order that matter once a payment method is chosen.

use alloc::string::String;

use lsps_types::lsps1::{LightningState, OnchainState, Order as Reply, OrderState};
use lsps_types::{Sat, Timestamp};

use super::{Bill, Lease, Order, Way, WayKind};

/// An LSP's answer about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    pub state: OrderState,
    /// State of the chosen payment method; `None` if the answer does not contain it.
    pub way: Option<WayState>,
    /// Time until which that method can be used, according to the LSP.
    pub open_until: Option<Timestamp>,
    pub lease: Option<Lease>,
}

/// State of a payment method, according to the LSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayState {
    /// No payment arrived.
    Expected,
    /// A payment arrived, and waits for the channel or for its confirmation.
    Held,
    /// The payment is complete.
    Paid,
    /// The payment was refunded, or can no longer arrive.
    Refunded,
}

impl Said {
    /// Whether the order can still be paid by the chosen method, or was.
    pub fn stands(&self, now: Timestamp) -> bool {
        self.state == OrderState::Created
            && match self.way {
                Some(WayState::Expected) => self.open_until.is_some_and(|end| now < end),
                Some(WayState::Held | WayState::Paid) => true,
                Some(WayState::Refunded) | None => false,
            }
    }
}

impl Order {
    /// Reads an answer, if it is about this order and its payment instructions are unchanged.
    ///
    /// # Errors
    ///
    /// Name of the field that differs.
    pub(super) fn read(&self, reply: &Reply, chosen: WayKind) -> Result<Said, String> {
        if reply.order_id != self.id {
            return Err("order_id".into());
        }
        reply.mirrors(&self.ordered).map_err(|mismatch| String::from(mismatch.field))?;
        let way = match self.way(chosen) {
            Some(way) => said_of(way, reply)?,
            None => None,
        };
        let payment = &reply.payment;
        let open_until = match chosen {
            WayKind::Bolt11 => payment.bolt11.as_ref().map(|told| told.expires_at.instant()),
            WayKind::Bolt12 => payment.bolt12.as_ref().map(|told| told.expires_at.instant()),
            WayKind::Onchain => payment.onchain.as_ref().map(|told| told.expires_at.instant()),
        };
        let lease = reply.channel.as_ref().map(|channel| Lease {
            funding: channel.funding_outpoint,
            funded_at: channel.funded_at.instant(),
            until: channel.expires_at.instant(),
        });
        Ok(Said { state: reply.order_state, way, open_until, lease })
    }
}

fn said_of(way: &Way, reply: &Reply) -> Result<Option<WayState>, String> {
    let payment = &reply.payment;
    let told = match &way.bill {
        Bill::Invoice { invoice, .. } => payment.bolt11.as_ref().map(|told| {
            (told.invoice == *invoice, "payment.bolt11.invoice", told.order_total_sat, lightning(told.state))
        }),
        Bill::Offer { offer } => payment
            .bolt12
            .as_ref()
            .map(|told| (told.offer == *offer, "payment.bolt12.offer", told.order_total_sat, lightning(told.state))),
        Bill::Address { address, .. } => payment.onchain.as_ref().map(|told| {
            let same = told.address.eq_ignore_ascii_case(address.as_str());
            (same, "payment.onchain.address", told.order_total_sat, onchain(told.state))
        }),
    };
    same_bill(way.total, told)
}

type Told = (bool, &'static str, Sat, WayState);

fn same_bill(total: Sat, told: Option<Told>) -> Result<Option<WayState>, String> {
    match told {
        None => Ok(None),
        Some((false, field, ..)) => Err(field.into()),
        Some((true, _, now, _)) if now != total => Err("order_total_sat".into()),
        Some((true, _, _, state)) => Ok(Some(state)),
    }
}

fn lightning(state: LightningState) -> WayState {
    match state {
        LightningState::ExpectPayment => WayState::Expected,
        LightningState::Hold => WayState::Held,
        LightningState::Paid => WayState::Paid,
        LightningState::Refunded => WayState::Refunded,
    }
}

fn onchain(state: OnchainState) -> WayState {
    match state {
        OnchainState::ExpectPayment => WayState::Expected,
        OnchainState::Seen => WayState::Held,
        OnchainState::Paid => WayState::Paid,
        OnchainState::Refunded => WayState::Refunded,
    }
}

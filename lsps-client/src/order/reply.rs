//! The parts of an LSP's answer about an order that matter once a payment method is chosen.

use alloc::string::String;

use lsps_types::lsps1::{LightningState, OnchainState, Order as Reply, OrderState};
use lsps_types::{Sat, Timestamp};

use super::{Lease, Order, PaymentInstructions, PaymentMethod, PaymentOption};

/// An LSP's answer about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    pub state: OrderState,
    /// State of the chosen payment method; `None` if the answer does not contain it.
    pub payment: Option<PaymentState>,
    /// Time until which that method can be used, according to the LSP.
    pub open_until: Option<Timestamp>,
    pub lease: Option<Lease>,
}

/// State of a payment method, according to the LSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
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
            && match self.payment {
                Some(PaymentState::Expected) => self.open_until.is_some_and(|end| now < end),
                Some(PaymentState::Held | PaymentState::Paid) => true,
                Some(PaymentState::Refunded) | None => false,
            }
    }
}

impl Order {
    /// Reads an answer, if it is about this order and its payment instructions are unchanged.
    ///
    /// # Errors
    ///
    /// Name of the field that differs.
    pub(super) fn read(&self, reply: &Reply, chosen: PaymentMethod) -> Result<Said, String> {
        if reply.order_id != self.id {
            return Err("order_id".into());
        }
        reply.mirrors(&self.ordered).map_err(|mismatch| String::from(mismatch.field))?;
        let state = match self.payment_option(chosen) {
            Some(option) => state_of(option, reply)?,
            None => None,
        };
        let payment = &reply.payment;
        let open_until = match chosen {
            PaymentMethod::Bolt11 => payment.bolt11.as_ref().map(|told| told.expires_at.instant()),
            PaymentMethod::Bolt12 => payment.bolt12.as_ref().map(|told| told.expires_at.instant()),
            PaymentMethod::Onchain => payment.onchain.as_ref().map(|told| told.expires_at.instant()),
            PaymentMethod::Free => None,
        };
        let lease = reply.channel.as_ref().map(|channel| Lease {
            funding: channel.funding_outpoint,
            funded_at: channel.funded_at.instant(),
            until: channel.expires_at.instant(),
        });
        Ok(Said { state: reply.order_state, payment: state, open_until, lease })
    }
}

fn state_of(option: &PaymentOption, reply: &Reply) -> Result<Option<PaymentState>, String> {
    let payment = &reply.payment;
    let told = match &option.instructions {
        PaymentInstructions::Invoice { invoice, .. } => payment.bolt11.as_ref().map(|told| {
            (told.invoice == *invoice, "payment.bolt11.invoice", told.order_total_sat, lightning(told.state))
        }),
        PaymentInstructions::Offer { offer } => payment
            .bolt12
            .as_ref()
            .map(|told| (told.offer == *offer, "payment.bolt12.offer", told.order_total_sat, lightning(told.state))),
        PaymentInstructions::Address { address, .. } => payment.onchain.as_ref().map(|told| {
            let same = told.address.eq_ignore_ascii_case(address.as_str());
            (same, "payment.onchain.address", told.order_total_sat, onchain(told.state))
        }),
    };
    same_instructions(option.total, told)
}

type Reported = (bool, &'static str, Sat, PaymentState);

fn same_instructions(total: Sat, told: Option<Reported>) -> Result<Option<PaymentState>, String> {
    match told {
        None => Ok(None),
        Some((false, field, ..)) => Err(field.into()),
        Some((true, _, now, _)) if now != total => Err("order_total_sat".into()),
        Some((true, _, _, state)) => Ok(Some(state)),
    }
}

fn lightning(state: LightningState) -> PaymentState {
    match state {
        LightningState::ExpectPayment => PaymentState::Expected,
        LightningState::Hold => PaymentState::Held,
        LightningState::Paid => PaymentState::Paid,
        LightningState::Refunded => PaymentState::Refunded,
    }
}

fn onchain(state: OnchainState) -> PaymentState {
    match state {
        OnchainState::ExpectPayment => PaymentState::Expected,
        OnchainState::Seen => PaymentState::Held,
        OnchainState::Paid => PaymentState::Paid,
        OnchainState::Refunded => PaymentState::Refunded,
    }
}

//! The client's view of an order, as on the wire.

use alloc::string::String;

use lsps_types::DateTime;
use lsps_types::lsps1::{
    self, Bolt11Payment, Bolt12Payment, Channel, LightningState, OnchainPayment, OnchainState, OrderId, OrderState,
};
use uuid::Uuid;

use crate::flow::Context;
use crate::lsps1::order::{Lease, Order, Stage};
use crate::lsps1::payments::{DepositStatus, PaymentMethod, PaymentState};

impl Order {
    /// The order as it is sent to the client. Spec: LSPS1 §2, §4, §5.
    pub fn view(&self, ctx: &Context<'_>) -> lsps1::Order {
        let total = |fee| self.total(fee).unwrap_or(fee);
        let methods = &self.methods;
        let bolt11 = methods.bolt11.as_ref().map(|method| Bolt11Payment {
            state: self.lightning_state(PaymentMethod::Bolt11, method.closed),
            expires_at: DateTime::from(method.expires_at),
            fee_total_sat: method.fee,
            order_total_sat: total(method.fee),
            invoice: method.text.clone(),
        });
        let bolt12 = methods.bolt12.as_ref().map(|method| Bolt12Payment {
            state: self.lightning_state(PaymentMethod::Bolt12, method.closed),
            expires_at: DateTime::from(method.expires_at),
            fee_total_sat: method.fee,
            order_total_sat: total(method.fee),
            offer: method.text.clone(),
        });
        let onchain = methods.onchain.as_ref().map(|method| OnchainPayment {
            state: self.onchain_state(ctx),
            expires_at: DateTime::from(method.expires_at),
            fee_total_sat: method.fee,
            order_total_sat: total(method.fee),
            address: method.address.clone(),
            confirmation: method.confirmation,
            refund_onchain_address: Some(method.refund_to.clone()),
        });
        lsps1::Order {
            order_id: self.order_id(),
            lsp_balance_sat: self.ordered.lsp_balance,
            client_balance_sat: self.ordered.client_balance,
            required_channel_confirmations: self.ordered.required_channel_confirmations,
            funding_confirms_within_blocks: self.ordered.funding_confirms_within_blocks,
            channel_expiry_blocks: self.ordered.channel_expiry_blocks,
            token: self.ordered.token.clone().unwrap_or_default(),
            created_at: DateTime::from(self.created_at),
            announce_channel: self.ordered.announce_channel,
            order_state: match self.stage {
                Stage::Draft { .. } | Stage::Open => OrderState::Created,
                Stage::Completed(_) => OrderState::Completed,
                Stage::Failed { .. } | Stage::Dropped => OrderState::Failed,
            },
            payment: lsps1::Payment { bolt11, bolt12, onchain, has_others: false },
            channel: self.lease().map(|lease: &Lease| Channel {
                funded_at: DateTime::from(lease.funded_at),
                funding_outpoint: lease.outpoint,
                expires_at: DateTime::from(lease.expires_at),
            }),
        }
    }

    pub fn order_id(&self) -> OrderId {
        let text = String::from(&*Uuid::from_bytes(self.id).hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        OrderId::try_from(text).expect("a UUID has 36 characters")
    }

    fn lightning_state(&self, method: PaymentMethod, is_closed: bool) -> LightningState {
        let of_method =
            || self.payments.values().filter(|payment| payment.method == method).map(|payment| payment.state);
        let was_paid = self.lease().is_some_and(|lease| lease.paid_by == method);
        if was_paid {
            LightningState::Paid
        } else if of_method().any(|state| state == PaymentState::Held) {
            LightningState::Hold
        } else if is_closed {
            LightningState::Refunded
        } else {
            LightningState::ExpectPayment
        }
    }

    /// State of the on-chain payment; never `HOLD` (reading R-13).
    fn onchain_state(&self, ctx: &Context<'_>) -> OnchainState {
        let statuses = || self.outputs.values().map(|output| output.status);
        if self.lease().is_some_and(|lease| lease.paid_by == PaymentMethod::Onchain) {
            OnchainState::Paid
        } else if statuses().any(|status| matches!(status, DepositStatus::Refunded(_))) {
            OnchainState::Refunded
        } else if self.is_paid_onchain(ctx) {
            OnchainState::Paid
        } else {
            OnchainState::ExpectPayment
        }
    }
}

//! The client's view of an order, as on the wire.

use alloc::string::String;

use lsps_types::DateTime;
use lsps_types::lsps1::{
    self, Bolt11Payment, Bolt12Payment, Channel, LightningState, OnchainPayment, OnchainState, OrderId, OrderState,
};
use uuid::Uuid;

use crate::flow::Context;
use crate::lsps1::order::{Lease, Order, Stage};
use crate::lsps1::payments::{DepositStatus, PaymentState, Way};

impl Order {
    /// The order as it is sent to the client. Spec: LSPS1 §2, §4, §5.
    pub fn view(&self, ctx: &Context<'_>) -> lsps1::Order {
        let total = |fee| self.total(fee).unwrap_or(fee);
        let ways = &self.ways;
        let bolt11 = ways.bolt11.as_ref().map(|way| Bolt11Payment {
            state: self.lightning_state(Way::Bolt11, way.closed),
            expires_at: DateTime::from(way.expires_at),
            fee_total_sat: way.fee,
            order_total_sat: total(way.fee),
            invoice: way.text.clone(),
        });
        let bolt12 = ways.bolt12.as_ref().map(|way| Bolt12Payment {
            state: self.lightning_state(Way::Bolt12, way.closed),
            expires_at: DateTime::from(way.expires_at),
            fee_total_sat: way.fee,
            order_total_sat: total(way.fee),
            offer: way.text.clone(),
        });
        let onchain = ways.onchain.as_ref().map(|way| OnchainPayment {
            state: self.onchain_state(ctx),
            expires_at: DateTime::from(way.expires_at),
            fee_total_sat: way.fee,
            order_total_sat: total(way.fee),
            address: way.address.clone(),
            confirmation: way.confirmation,
            refund_onchain_address: Some(way.refund_to.clone()),
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
            payment: lsps1::Payment { bolt11, bolt12, onchain },
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

    fn lightning_state(&self, way: Way, is_closed: bool) -> LightningState {
        let of_way = || self.payments.values().filter(|payment| payment.way == way).map(|payment| payment.state);
        let was_paid = self.lease().is_some_and(|lease| lease.paid_by == way);
        if was_paid {
            LightningState::Paid
        } else if of_way().any(|state| state == PaymentState::Held) {
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
        if self.lease().is_some_and(|lease| lease.paid_by == Way::Onchain) {
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

//! The effects that an order still needs from the host.

use alloc::vec::Vec;
use core::time::Duration;

use lsps_types::{Blocks, Msat, OutPoint, PaymentHash, Sat, Timestamp};

use crate::book::BookEntry;
use crate::channel::Agreed;
use crate::effect::{Effect, PaymentTerms};
use crate::ids::RefundKey;
use crate::lsps1::order::{Order, Stage};
use crate::lsps1::payments::{DepositStatus, PaymentState, Refund};

impl Order {
    /// The effects of all parts of the order. Called after every step, to release the new ones, and after a restart, to
    /// release all.
    pub fn outstanding(&self) -> Vec<Effect> {
        let begin = self.owed_for_offer().into_iter().chain(self.owed_for_channel()).chain(self.owed_once_published());
        let payments = begin.chain(self.owed_for_payments()).chain(self.owed_for_refunds());
        let rest = payments.chain(self.owed_for_deposits()).chain(self.wake_up.owed(self.flow(), self.client));
        rest.chain(self.owed_for_book()).collect()
    }

    fn owed_for_offer(&self) -> Option<Effect> {
        let Stage::Draft { .. } = self.stage else { return None };
        let total = |fee: Sat| self.total(fee).and_then(Sat::to_msat).unwrap_or(Msat::ZERO);
        let terms = |fee: Sat, expires_at: Timestamp| {
            let blocks = expires_at.since(self.created_at).as_secs().div_ceil(FASTEST_BLOCK.as_secs());
            let held = u32::try_from(blocks).unwrap_or(u32::MAX);
            PaymentTerms { amount: total(fee), expires_at, final_cltv: Blocks(held.saturating_add(MARGIN.0)) }
        };
        let bolt11 = self.methods.bolt11.as_ref();
        let invoice = bolt11.map(|method| (PaymentHash::of(&method.by), terms(method.fee, method.expires_at)));
        let offer = self.methods.bolt12.as_ref().map(|method| terms(method.fee, method.expires_at));
        Some(Effect::PrepareOrder { order: self.number, invoice, offer, address: self.methods.onchain.is_some() })
    }

    fn owed_for_channel(&self) -> Option<Effect> {
        let agreed = Agreed {
            max_client_to_self_delay: None,
            push: self.ordered.client_balance.to_msat().unwrap_or(Msat::ZERO),
            announce: self.ordered.announce_channel,
            confirmations: self.ordered.required_channel_confirmations,
            confirm_within: Some(Blocks(self.ordered.funding_confirms_within_blocks.into())),
            carries_others: false,
        };
        self.channel.owed(self.key(), self.client, &agreed, self.lease().is_some())
    }

    /// Forwards of others are allowed only once the channel is paid for and published.
    fn owed_once_published(&self) -> Option<Effect> {
        let is_published = self.channel.is_signed() && self.lease().is_some();
        is_published.then(|| Effect::CarryOthers { key: self.key(), peer: self.client })
    }

    fn owed_for_payments(&self) -> impl Iterator<Item = Effect> {
        let order = self.number;
        self.payments.iter().filter_map(move |(hash, payment)| match payment.state {
            PaymentState::Claiming { ask } => {
                Some(Effect::ClaimPayment { order, payment_hash: *hash, preimage: payment.preimage, ask })
            }
            PaymentState::Failing { ask } => Some(Effect::FailPayment { order, payment_hash: *hash, ask }),
            PaymentState::Held
            | PaymentState::Claimed { .. }
            | PaymentState::Failed { .. }
            | PaymentState::Lost { .. } => None,
        })
    }

    fn owed_for_refunds(&self) -> impl Iterator<Item = Effect> {
        let refunds = (0..).zip(&self.refunds);
        refunds.filter_map(|(number, refund)| {
            let key = RefundKey { order: self.number, number };
            match refund {
                Refund::Asked => {
                    let to = self.methods.onchain.as_ref()?.refund_to.clone();
                    Some(Effect::BuildRefund { key, to, deposits: self.deposits(DepositStatus::Refunded(number)) })
                }
                Refund::Built { tx, ask, .. } => Some(Effect::BroadcastRefund { key, tx: tx.clone(), ask: *ask }),
                Refund::Confirmed | Refund::Impossible | Refund::Void { .. } => None,
            }
        })
    }

    fn owed_for_deposits(&self) -> impl Iterator<Item = Effect> {
        let (order, kept) = (self.number, self.deposits(DepositStatus::Kept).into_iter());
        kept.map(move |(outpoint, amount)| Effect::KeepDeposit { order, outpoint, amount })
    }

    fn owed_for_book(&self) -> impl Iterator<Item = Effect> {
        self.ledger.open(self.flow()).map(|(key, at, what)| {
            let (token, what) = (self.ordered.token.clone(), what.clone());
            Effect::Book { key, entry: BookEntry { at, client: self.client, token, what } }
        })
    }

    pub(super) fn deposits(&self, status: DepositStatus) -> Vec<(OutPoint, Sat)> {
        let outputs = self.outputs.iter().filter(|(_, output)| output.status == status);
        outputs.map(|(outpoint, output)| (*outpoint, output.amount)).collect()
    }
}

/// Shortest average time between blocks over some hours.
const FASTEST_BLOCK: Duration = Duration::from_secs(300);
/// Blocks on top for an open that ends late, for the node's claim, and for the safety margin of the service.
const MARGIN: Blocks = Blocks(100);

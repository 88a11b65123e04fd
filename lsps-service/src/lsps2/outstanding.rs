//! The effects that an offer still needs from the host.

use alloc::vec::Vec;

use lsps_types::Msat;
use lsps_types::bolt4::FailureCode;

use crate::book::BookEntry;
use crate::channel::{Agreed, Channel};
use crate::effect::Effect;
use crate::lsps2::jit_channel::{Fee, JitChannel};
use crate::lsps2::parts::PartState;

impl JitChannel {
    /// The effects of all parts of the offer. Called after every step, to release the new ones, and after a restart, to
    /// release all.
    pub fn outstanding(&self) -> Vec<Effect> {
        let flow = self.owed_for_channel().into_iter().chain(self.owed_once_paid()).chain(self.owed_for_parts());
        flow.chain(self.wake_up.owed(self.flow(), self.client)).chain(self.owed_for_book()).collect()
    }

    fn owed_for_book(&self) -> impl Iterator<Item = Effect> {
        self.ledger.open(self.flow()).map(|(key, at, what)| {
            let (token, what) = (self.token.clone(), what.clone());
            Effect::Book { key, entry: BookEntry { at, client: self.client, token, what } }
        })
    }

    fn owed_for_channel(&self) -> Option<Effect> {
        let agreed = Agreed {
            max_client_to_self_delay: Some(self.terms.max_client_to_self_delay),
            push: Msat::ZERO,
            announce: false,
            confirmations: 0,
            confirm_within: None,
            carries_others: !self.terms.client_trusts_lsp,
        };
        self.channel.owed(self.key(), self.client, &agreed, self.may_broadcast())
    }

    fn owed_once_paid(&self) -> Option<Effect> {
        let is_on_trust = self.terms.client_trusts_lsp && self.channel.is_signed();
        let carry = Effect::CarryOthers { key: self.key(), peer: self.client };
        (is_on_trust && (self.fee == Fee::Paid || self.opened_to_others.is_some())).then_some(carry)
    }

    fn owed_for_parts(&self) -> impl Iterator<Item = Effect> {
        let parts = self.payments.iter().flat_map(|(hash, payment)| payment.parts.iter().map(|part| (*hash, part)));
        parts.filter_map(|(payment_hash, part)| match (part.state, &self.channel) {
            (PartState::Sent { amount, ask }, Channel::Ready { channel_id, .. }) => Some(Effect::ForwardPart {
                part: part.id,
                payment_hash,
                key: self.key(),
                channel_id: *channel_id,
                peer: self.client,
                amount,
                extra_fee: part.skim(amount),
                ask,
            }),
            (PartState::Failing { code, ask }, _) => Some(Effect::FailPart { part: part.id, code, ask }),
            (PartState::Claimed { .. } | PartState::Failed { .. }, _) if part.another_held => {
                Some(Effect::FailPart { part: part.id, code: FailureCode::UnknownNextPeer, ask: 1 })
            }
            // Without its channel, a sent part is resolved by the node.
            (PartState::Sent { .. }, _) => None,
            (PartState::Held | PartState::Claimed { .. } | PartState::Failed { .. }, _) => None,
        })
    }
}

//! Counts of HTLCs, as the node shows them.

use std::collections::BTreeMap;

use lsps_types::{Msat, PaymentHash, PeerId};

use crate::ports::{IncomingState, LspNode};

/// Sums of the HTLCs with one payment hash at the node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// In HTLCs that are neither claimed nor failed.
    pub held: Msat,
    /// In HTLCs that are being claimed.
    pub claimed: Msat,
}

/// HTLCs of this payment and amount that are on their way to the peer or with it, and not decided.
pub(super) fn undecided(node: &impl LspNode, peer: PeerId, hash: PaymentHash, amount: Msat) -> usize {
    let htlcs = node.outgoing(peer).into_iter();
    htlcs.filter(|htlc| htlc.payment_hash == hash && htlc.amount == amount && !htlc.is_resolved).count()
}

/// HTLCs of this payment and amount that are on their way to the peer, with it, or being removed.
pub(super) fn carried(node: &impl LspNode, peer: PeerId, hash: PaymentHash, amount: Msat) -> usize {
    node.outgoing(peer).into_iter().filter(|htlc| htlc.payment_hash == hash && htlc.amount == amount).count()
}

/// HTLCs of this payment and amount that came in and are neither being claimed nor being failed.
pub(super) fn unclaimed(node: &impl LspNode, hash: PaymentHash, amount: Msat) -> usize {
    let stays = |state| matches!(state, IncomingState::Arriving | IncomingState::Committed);
    let htlcs = node.incoming().into_iter();
    htlcs.filter(|htlc| htlc.payment_hash == hash && htlc.amount == amount && stays(htlc.state)).count()
}

/// Whether an HTLC of this payment that came in is there, and not being claimed.
pub(super) fn has_incoming(node: &impl LspNode, hash: PaymentHash) -> bool {
    count_incoming(node, hash, |state| state != IncomingState::Claiming) > 0
}

/// Whether an HTLC of this payment that came in is being claimed.
pub(super) fn claims(node: &impl LspNode, hash: PaymentHash) -> bool {
    count_incoming(node, hash, |state| state == IncomingState::Claiming) > 0
}

/// HTLCs of this payment that came in and are in such a state.
pub(super) fn count_incoming(node: &impl LspNode, hash: PaymentHash, is_it: impl Fn(IncomingState) -> bool) -> usize {
    node.incoming().into_iter().filter(|htlc| htlc.payment_hash == hash && is_it(htlc.state)).count()
}

/// HTLCs of this payment that came in and are neither being claimed nor being failed, and those of it that are on their way
/// to the peer.
pub(super) fn came_and_went_on(node: &impl LspNode, peer: PeerId, hash: PaymentHash) -> (usize, usize) {
    let stays = |state| matches!(state, IncomingState::Arriving | IncomingState::Committed);
    let sent = node.outgoing(peer).into_iter().filter(|htlc| htlc.payment_hash == hash).count();
    (count_incoming(node, hash, stays), sent)
}

/// Sums of the HTLCs with these payment hashes, held and being claimed.
pub(super) fn received(node: &impl LspNode, hashes: &[PaymentHash]) -> BTreeMap<PaymentHash, Received> {
    let mut all: BTreeMap<_, Received> = hashes.iter().map(|hash| (*hash, Received::default())).collect();
    for htlc in node.incoming() {
        let Some(sum) = all.get_mut(&htlc.payment_hash) else { continue };
        match htlc.state {
            IncomingState::Claiming => sum.claimed = Msat(sum.claimed.0.saturating_add(htlc.amount.0)),
            IncomingState::Committed => sum.held = Msat(sum.held.0.saturating_add(htlc.amount.0)),
            IncomingState::Arriving | IncomingState::Failing => {}
        }
    }
    all
}

//! Counts of the HTLCs that the node shows.

use std::collections::BTreeMap;

use lsps_service::KnownPart;
use lsps_types::{Msat, PaymentHash, PeerId};

use crate::ports::{IncomingState, LspNode, OutgoingHtlc};

/// Sums of the HTLCs with one payment hash at the node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// Sum of the HTLCs that are neither claimed nor failed.
    pub held: Msat,
    /// Sum of the HTLCs that are being claimed.
    pub claimed: Msat,
}

/// The properties by which a node tells outgoing HTLCs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Likeness {
    pub peer: PeerId,
    pub payment_hash: PaymentHash,
    pub amount: Msat,
    /// The fee that was kept: an ordinary HTLC with the hash of a part, and the amount that its client gets, has none.
    pub skim: Msat,
}

impl Likeness {
    /// Those of a part that was sent or claimed.
    pub fn of(part: &KnownPart) -> Option<Self> {
        let amount = part.sent.or(part.claimed)?;
        let skim = part.onion_amount.checked_sub(amount).unwrap_or(Msat::ZERO);
        Some(Self { peer: part.client, payment_hash: part.payment_hash, amount, skim })
    }

    /// Whether an HTLC to this peer has them, as far as the node shows.
    pub fn fits(&self, htlc: &OutgoingHtlc) -> bool {
        let is_it = htlc.payment_hash == self.payment_hash && htlc.amount == self.amount;
        is_it && htlc.skim.is_none_or(|skim| skim == self.skim)
    }
}

/// Number of undecided HTLCs like this that are at the peer or on their way to it.
pub(super) fn undecided(node: &impl LspNode, like: &Likeness) -> usize {
    node.outgoing(like.peer).into_iter().filter(|htlc| like.fits(htlc) && !htlc.is_resolved).count()
}

/// Number of HTLCs like this that are at the peer, on their way to it, or being removed.
pub(super) fn carried(node: &impl LspNode, like: &Likeness) -> usize {
    node.outgoing(like.peer).into_iter().filter(|htlc| like.fits(htlc)).count()
}

/// Number of incoming HTLCs of this payment and amount that are neither being claimed nor being failed.
pub(super) fn unclaimed(node: &impl LspNode, hash: PaymentHash, amount: Msat) -> usize {
    let stays = |state| matches!(state, IncomingState::Arriving | IncomingState::Committed);
    let htlcs = node.incoming().into_iter();
    htlcs.filter(|htlc| htlc.payment_hash == hash && htlc.amount == amount && stays(htlc.state)).count()
}

/// Whether there is an incoming HTLC of this payment that is not being claimed.
pub(super) fn has_incoming(node: &impl LspNode, hash: PaymentHash) -> bool {
    count_incoming(node, hash, |state| state != IncomingState::Claiming) > 0
}

/// Whether an incoming HTLC of this payment is being claimed.
pub(super) fn claims(node: &impl LspNode, hash: PaymentHash) -> bool {
    count_incoming(node, hash, |state| state == IncomingState::Claiming) > 0
}

/// Number of incoming HTLCs of this payment in such a state.
pub(super) fn count_incoming(node: &impl LspNode, hash: PaymentHash, is_it: impl Fn(IncomingState) -> bool) -> usize {
    node.incoming().into_iter().filter(|htlc| htlc.payment_hash == hash && is_it(htlc.state)).count()
}

/// Number of incoming HTLCs of this payment that are neither being claimed nor being failed, and number of its outgoing
/// HTLCs to the peer.
pub(super) fn came_and_went_on(node: &impl LspNode, peer: PeerId, hash: PaymentHash) -> (usize, usize) {
    let stays = |state| matches!(state, IncomingState::Arriving | IncomingState::Committed);
    let sent = node.outgoing(peer).into_iter().filter(|htlc| htlc.payment_hash == hash).count();
    (count_incoming(node, hash, stays), sent)
}

/// Sums of the incoming HTLCs with these payment hashes, held and being claimed. Anybody who knows a hash can send
/// HTLCs with it through this node to another: for each outgoing HTLC, one incoming HTLC is not counted.
pub(super) fn received(node: &impl LspNode, hashes: &[PaymentHash]) -> BTreeMap<PaymentHash, Received> {
    let mut all: BTreeMap<_, (Vec<Msat>, Received)> = hashes.iter().map(|hash| (*hash, Default::default())).collect();
    for htlc in node.incoming() {
        let Some((stays, sum)) = all.get_mut(&htlc.payment_hash) else { continue };
        match htlc.state {
            IncomingState::Claiming => sum.claimed = Msat(sum.claimed.0.saturating_add(htlc.amount.0)),
            IncomingState::Committed => stays.push(htlc.amount),
            IncomingState::Arriving | IncomingState::Failing => {}
        }
    }
    if all.values().any(|(stays, _)| !stays.is_empty()) {
        let peers = node.forced_closes().into_keys();
        for htlc in peers.flat_map(|peer| node.outgoing(peer)) {
            if let Some((stays, _)) = all.get_mut(&htlc.payment_hash) {
                went_on(stays, htlc.amount);
            }
        }
    }
    let sums = all.into_iter().map(|(hash, (stays, sum))| {
        let held = stays.iter().fold(Msat::ZERO, |held, amount| Msat(held.0.saturating_add(amount.0)));
        (hash, Received { held, ..sum })
    });
    sums.collect()
}

/// Removes the smallest incoming HTLC that can have paid for an outgoing one, so that a stranger cannot hide more than
/// it sent.
fn went_on(stays: &mut Vec<Msat>, amount: Msat) {
    let brought = stays.iter().enumerate().filter(|(_, came_in)| **came_in >= amount);
    if let Some((at, _)) = brought.min_by_key(|(_, came_in)| **came_in) {
        stays.swap_remove(at);
    }
}

#[cfg(test)]
mod tests {
    use lsps_types::Msat;

    use super::went_on;

    #[test]
    #[allow(non_snake_case, reason = "as the table of attacks names it")]
    fn case_X05_a_strangers_htlc_that_goes_on_neither_adds_to_a_payment_nor_takes_from_it() {
        let left = |came_in: &[u64], goes_out: u64| {
            let mut stays = came_in.iter().copied().map(Msat).collect();
            went_on(&mut stays, Msat(goes_out));
            stays.iter().map(|amount| amount.0).sum::<u64>()
        };
        assert_eq!(left(&[1_000], 990), 0, "the payment is gone");
        assert_eq!(left(&[2_000], 1), 0, "whatever the stranger leaves the LSP");
        assert_eq!(left(&[1_000, 1_010], 1_000), 1_010, "the payment is there");
        assert!(left(&[400, 600, 2_000], 1) >= 1_000 && left(&[400, 600, 1], 1) == 1_000);
        assert_eq!(left(&[1_000], 2_000), 1_000, "that came in elsewhere");
    }
}

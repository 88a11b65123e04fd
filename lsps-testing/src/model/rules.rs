//! Actions that no LSP may ever take, checked when it takes them.

use lsps_host::ports::NodeEvent;
use lsps_service::{ChannelKey, FlowId, HeldHtlc, PartId, Trust};
use lsps_types::{Msat, Scid};

use super::Model;
use super::node::{Incoming, Place};

impl Model {
    /// HTLCs that a client claimed.
    pub fn claimed(&self) -> impl Iterator<Item = usize> + Clone {
        self.said.iter().filter(|(_, claims)| **claims).map(|(number, _)| *number)
    }

    /// Checks a forward of a held part. Earlier calls for the same part were not executed.
    pub(super) fn may_forward(&self, part: PartId, amount: Msat) {
        for number in self.node.numbers(|place| *place == Place::Held) {
            let htlc = self.node.incoming[number].htlc;
            if htlc.part == part {
                let bounds = Msat(1)..=htlc.amount_in.min(htlc.onion_amount);
                assert!(bounds.contains(&amount), "{amount} are forwarded for part {number}: {htlc:?}");
                self.is_not_alone(number);
            }
        }
    }

    /// Checks that a part is not forwarded alone before a payment of the offer is claimed: its payer would receive an
    /// error that ends the payment. The LSP cannot tell which of two similar offers to one client a claim pays.
    fn is_not_alone(&self, number: usize) {
        let HeldHtlc { scid, payment_hash, .. } = self.node.incoming[number].htlc;
        let is_of_it = |number: usize| self.node.incoming[number].is_of(scid);
        let Some((_, client, Some(size))) = self.sold.iter().copied().find(|(sold, ..)| *sold == scid) else { return };
        let theirs = self.sold.iter().filter(|(_, to, _)| *to == client);
        let is_theirs = |number: usize| theirs.clone().any(|(sold, ..)| self.node.goes_for(number, *sold));
        if !self.node.is_hostile || self.claimed().any(is_theirs) {
            return;
        }
        let all =
            self.node.numbers(|place| matches!(place, Place::Held | Place::Queued { .. } | Place::AtClient { .. }));
        let there = all.iter().filter(|number| is_of_it(**number)).map(|number| self.node.incoming[*number].htlc);
        let sum: u64 = there.filter(|htlc| htlc.payment_hash == payment_hash).map(|htlc| htlc.onion_amount.0).sum();
        // The client may just have failed others. A node also does not say which of equal HTLCs it shows: one of a JIT
        // payment or an ordinary one.
        let has_ordinary = all.iter().any(|number| {
            let incoming = &self.node.incoming[*number];
            incoming.ordinary.is_some() && incoming.htlc.payment_hash == payment_hash
        });
        let is_untold =
            has_ordinary || self.node.now.events.iter().any(|event| matches!(event, NodeEvent::FailedTowards(_)));
        assert!(sum >= size.0 || is_untold, "part {number} goes on alone: {sum} of {size}");
    }

    /// Checks a broadcast of a funding: the client has claimed the payment of its offer, or another payment over the
    /// channel.
    pub(super) fn may_broadcast(&mut self, key: ChannelKey) {
        if let FlowId::JitChannel(scid) = key.flow {
            let of_it = |number: usize| {
                let incoming = &self.node.incoming[number];
                let is_over = incoming.given.is_some_and(|(over, _)| over == key);
                incoming.is_of(scid) || is_over || self.is_like_a_part_of(number, scid)
            };
            let claimed = self.claimed().any(of_it);
            assert!(self.setup.trust == Trust::LspTrustsClient || claimed, "{key:?} is broadcast before a claim");
        }
        let another = self.broadcast.iter().any(|other| other.flow == key.flow && *other != key);
        assert!(!another, "{key:?} is the second channel of its offer or order");
        self.broadcast.insert(key);
    }

    /// Whether a claimed HTLC is equal to a part of this offer in client, amount in and amount to forward. An event about a claim
    /// names neither hash nor HTLC (LDK: `PaymentForwarded`), and so does one about a failure (LDK: `HTLCHandlingFailed`). So the
    /// LSP cannot tell for which of the parts that it had forwarded the claim was, also where one of them never left the node.
    /// The checks at rest bound the cost of such claims.
    pub fn is_like_a_part_of(&self, number: usize, scid: Scid) -> bool {
        let client_of = |flow: FlowId| {
            let FlowId::JitChannel(scid) = flow else { return None };
            self.sold.iter().find(|(sold, ..)| *sold == scid).map(|(_, client, _)| *client)
        };
        let claimed = &self.node.incoming[number];
        let told =
            claimed.given.and_then(|(over, amount)| Some((client_of(over.flow)?, amount, claimed.htlc.amount_in)));
        let sent = |part: &Incoming| Some((client_of(FlowId::JitChannel(scid))?, part.asked?, part.htlc.amount_in));
        let is_like = |part: &Incoming| part.is_of(scid) && told.is_some() && sent(part) == told;
        claimed.ordinary.is_none() && self.node.incoming.iter().any(is_like)
    }
}

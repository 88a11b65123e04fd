//! Routing of reports about parts and channels to their offers.

use alloc::{collections::BTreeSet, vec::Vec};

use lsps_types::bolt4::FailureCode;
use lsps_types::{Msat, PeerId, Scid};

use crate::channel::ChannelNews;
use crate::effect::Effect;
use crate::flow::{Context, Link, Reject};
use crate::ids::{ChannelKey, FlowId, OrderNumber, PartId};
use crate::input::{HeldHtlc, WhichPart};
use crate::lsps1::order::Order;
use crate::lsps2::jit_channel::{Command, JitChannel};
use crate::lsps2::parts::{Part, PartState};
use crate::outcome::{Outcome, Refusal};
use crate::service::Service;

impl Service {
    pub(crate) fn htlc_held(&mut self, htlc: &HeldHtlc) -> Outcome {
        // An offer that is over is removed when it is looked at. The part then belongs to no flow, and has to be
        // failed.
        self.look_if_due(htlc.scid);
        if !self.offers.contains_key(&htlc.scid) {
            return Outcome::NotMine;
        }
        if self.offers.index().of_part(htlc.part).is_some_and(|other| other != htlc.scid) {
            return Outcome::Refused(Refusal::FailPart(FailureCode::UnknownNextPeer));
        }
        self.step(htlc.scid, &Command::PartHeld(htlc)).into()
    }

    pub(crate) fn part(&mut self, part: PartId, command: Command<'_>) -> Outcome {
        match self.offers.index().of_part(part) {
            Some(offer) => self.step(offer, &command).into(),
            None => Outcome::NotMine,
        }
    }

    /// Handles the report of whether the node shows a part at its client. The report also holds for the next input, and
    /// for no later one.
    pub(crate) fn part_at_client(&mut self, part: PartId, is_there: bool) -> Outcome {
        let outcome = self.part(part, Command::PartAtClient(part, is_there));
        if is_there && outcome == Outcome::Taken {
            self.shown.insert(part);
        } else {
            self.shown.remove(&part);
        }
        outcome
    }

    /// Handles a part that was not forwarded although it was to be. The client's channels are therefore not usable,
    /// whatever was reported before.
    pub(crate) fn part_still_held(&mut self, part: PartId, amount_in: Msat) -> Outcome {
        let client =
            self.offers.index().of_part(part).and_then(|offer| self.offers.get(&offer)).map(|offer| offer.client);
        if let Some(link) = client.and_then(|client| self.around.links.get_mut(&client)) {
            *link = Link::Connected;
        }
        self.part(part, Command::PartStillHeld(part, amount_in))
    }

    /// Handles a claim. The channel over which it came belongs to the client from now on, also if the claim was meant
    /// for another.
    pub(crate) fn part_forwarded(&mut self, which: WhichPart, over: Option<ChannelKey>) -> Outcome {
        let shown = core::mem::take(&mut self.shown);
        let part = self.resolve(which, over, &shown);
        let meant = part.and_then(|part| self.offers.index().of_part(part)).map(FlowId::JitChannel);
        if !self.around.is_caught_up {
            self.retold.extend(part);
        }
        if let Some(key) = over.filter(|key| meant != Some(key.flow)) {
            let _it_may_be_gone = self.channel(key, ChannelNews::Used);
        }
        part.map_or(Outcome::NotMine, |part| self.part(part, Command::PartForwarded(part)))
    }

    /// Finds the part that a report means; a claim may also mean a part that was presumed to have failed. A part that
    /// the node has just `shown` at the client is not the claimed one, unless no other part matches.
    pub(crate) fn resolve(
        &self,
        which: WhichPart,
        over: Option<ChannelKey>,
        shown: &BTreeSet<PartId>,
    ) -> Option<PartId> {
        let (to, amount, amount_in, skim) = match which {
            WhichPart::Id(part) => return Some(self.equal_that_is_sent(part, shown).unwrap_or(part)),
            WhichPart::Sent { to, amount, amount_in, skim } => (to, amount, amount_in, skim),
        };
        let named = over.and_then(|key| if let FlowId::JitChannel(scid) = key.flow { Some(scid) } else { None });
        let offers = || named.into_iter().chain(self.offers.index().busy_of(to)).filter_map(|id| self.offers.get(&id));
        let parts = || {
            offers().flat_map(|offer| {
                let is_its_own = over == Some(offer.key());
                let parts = offer.payments.values().flat_map(|payment| &payment.parts);
                parts.map(move |part| (part, is_its_own))
            })
        };
        // Anybody who pays this client can have it claim the same amount over the same channel, but cannot leave the
        // LSP as much of it without paying as much. If the node reports neither amount, as the upstream channel was
        // closed, which costs its owner next to nothing, or if no fee was kept of the part, a claim counts for it only over the
        // channel that the fee is for. Nodes forward over any channel of the client; without a fee nothing is lost by that.
        let agrees = |part: &Part, sent: Msat, is_its_own: bool| {
            let tells_fee = part.skim(sent) > Msat::ZERO && (amount_in.is_some() || skim.is_some());
            amount_in.is_none_or(|amount_in| amount_in == part.amount_in())
                && skim.is_none_or(|skim| skim == part.skim(sent))
                && (tells_fee || is_its_own || part.claimed().is_some())
        };
        // The amount of an on-chain claim is reported in whole satoshis.
        let rounded = |sent: Msat| Msat(sent.0 / 1_000 * 1_000);
        let gone = |part: &Part| part.sent().filter(|_| !shown.contains(&part.id));
        let find = |what: &dyn Fn(&Part) -> Option<Msat>, told: &dyn Fn(Msat) -> Msat, own: bool| {
            let is_it = |(part, is_its_own): &(&Part, bool)| {
                let is_like = |sent| told(sent) == amount && agrees(part, sent, *is_its_own);
                (*is_its_own || !own) && what(part).is_some_and(is_like)
            };
            parts().find(is_it).map(|(part, _)| part)
        };
        let exactly = |sent| sent;
        let among = |what: &dyn Fn(&Part) -> Option<Msat>, own: bool| {
            find(what, &exactly, own).or_else(|| find(what, &rounded, own))
        };
        let either = |what: &dyn Fn(&Part) -> Option<Msat>| among(what, false);
        // After a start a node tells each claim again that it has not saved as told. A claim that comes without the amount that
        // came in may always be told again, as the node makes it anew from the chain.
        let may_be_again = !self.around.is_caught_up || amount_in.is_none();
        let told_before = |part: &Part| part.claimed().filter(|_| !self.retold.contains(&part.id));
        let again = || {
            let of = |own| among(&told_before, own).or_else(|| among(&gone, own));
            may_be_again.then(|| of(true).or_else(|| of(false))).flatten()
        };
        // Nodes repeat claims after a crash: a claim that is known does not count for an equal part that failed.
        let forgotten = |part: &Part| part.claimed().filter(|_| part.in_doubt);
        let known = || either(&Part::claimed);
        let found = either(&forgotten).or_else(again).or_else(|| either(&gone)).or_else(known);
        let found = found.or_else(|| either(&Part::unlikely)).or_else(|| either(&Part::sent));
        found.map(|part| part.id)
    }

    /// Of equal parts, the host may have reported the wrong one as failed.
    fn equal_that_is_sent(&self, part: PartId, shown: &BTreeSet<PartId>) -> Option<PartId> {
        let offer = self.offers.get(&self.offers.index().of_part(part)?)?;
        let (hash, failed) = offer.find(part)?;
        let PartState::Failed { sent: Some(lost), .. } = failed.state else { return None };
        let payment = offer.payments.get(&hash)?;
        let is_equal = |part: &&Part| part.sent() == Some(lost) && !shown.contains(&part.id);
        payment.parts.iter().find(is_equal).map(|part| part.id)
    }

    /// Takes back forwards that were not released before their channel closed: the node still holds these parts.
    pub(crate) fn take_back_forwards(&mut self) {
        for id in core::mem::take(&mut self.unasked) {
            let Some(scid) = self.offers.index().of_part(id) else { continue };
            let is_it = |effect: &Effect| matches!(effect, Effect::ForwardPart { part, .. } if *part == id);
            if !self.offers.get(&scid).is_some_and(|offer| offer.outstanding().iter().any(is_it)) {
                let _it_may_be_decided_already = self.step(scid, &Command::NotAsked(id));
            }
        }
    }

    /// From now on outcomes may be dropped, and channels without HTLCs abandoned.
    pub(crate) fn node_caught_up(&mut self) -> Outcome {
        self.retold.clear();
        if !core::mem::replace(&mut self.around.is_caught_up, true) {
            let waits = |offer: &JitChannel| {
                !offer.payments.is_empty() || offer.may_carry_unpaid() || offer.is_closed_to_others()
            };
            let waiting: Vec<Scid> = self.offers.values().filter(|offer| waits(offer)).map(|offer| offer.id).collect();
            for id in waiting {
                let _no_rejects_here = self.step(id, &Command::NodeCaughtUp);
            }
            let waits = |order: &&Order| !order.payments.is_empty() || order.has_unpaid_channel();
            let orders: Vec<OrderNumber> = self.orders.all().filter(waits).map(|order| order.number).collect();
            orders.into_iter().for_each(|order| self.look_around_order(order));
        }
        Outcome::Taken
    }

    pub(crate) fn look_around(&mut self, id: Scid) {
        let _no_rejects_here = self.step(id, &Command::Environment);
    }

    fn look_if_due(&mut self, id: Scid) {
        if self.offers.is_due(id, self.around.now) {
            self.look_around(id);
        }
    }

    /// Adds a new offer; its effects, records and deadlines follow as after any change.
    pub(crate) fn insert(&mut self, offer: JitChannel) {
        self.changed.insert(offer.flow());
        self.offers.insert(offer, &self.around);
    }

    pub(crate) fn forget_offer(&mut self, id: Scid) {
        if let Some(offer) = self.offers.remove(id) {
            self.changed.insert(offer.flow());
        }
    }

    /// Executes a command to an offer; releases new effects, or removes an offer that is over.
    pub(crate) fn step(&mut self, id: Scid, command: &Command<'_>) -> Result<(), Reject> {
        if !matches!(command, Command::ClockSet(_) | Command::NodeCaughtUp | Command::Environment) {
            self.look_if_due(id);
        }
        let client = self.offers.get(&id).map(|offer| offer.client).ok_or(Reject::Stale)?;
        let owes_a_fee = self.owes_for_a_channel(client);
        let carries_others = self.offers.index().carries_others(client, id);
        let opens = self.offers.index().opening_besides(client, Some(id));
        let opens_of_others = opens.saturating_add(self.orders.opening_besides(client, None));
        let ctx = Context { carries_others, opens_of_others, owes_a_fee, ..self.around.context(client) };
        let moved = self.offers.step(id, command, &ctx, &self.around, |_| {}).unwrap_or(Err(Reject::Stale))?;
        for effect in moved.stepped.owed.iter().flatten() {
            // A forward that was asked for before, or before a restart, may have been executed.
            if let Effect::ForwardPart { part, ask: 1, .. } = effect {
                self.unasked.insert(*part);
            }
        }
        self.moved(FlowId::JitChannel(id), moved);
        Ok(())
    }

    /// Looks at this client's offers, except one, whose channels may be abandoned once no HTLC is at the client.
    pub(crate) fn look_around_unpaid_offers(&mut self, client: PeerId, but: Scid) {
        let waits = |other: &Scid| *other != but && self.offers.get(other).is_some_and(|it| it.may_carry_unpaid());
        for other in self.offers.index().busy_of(client).filter(waits).collect::<Vec<_>>() {
            self.look_around(other);
        }
    }

    /// Looks at all flows of this client that may open a channel. Each look opens one at the most.
    pub(crate) fn open_what_waits(&mut self, client: PeerId) {
        for other in self.offers.index().busy_of(client).collect::<Vec<_>>() {
            self.look_around(other);
        }
        for order in self.orders.busy_of(client) {
            self.look_around_order(order);
        }
    }
}

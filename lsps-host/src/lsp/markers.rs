//! Markers, which show when the node has reported all its earlier events. Nodes do not announce that; but events come
//! in order, so the event of a marker that is sent now follows all events that exist now.
//!
//! An HTLC that seems to have failed may have been claimed, with the claim still to be reported; after a start that can
//! take minutes. So the host notes what the node shows, sends a marker, and checks the same again once the marker comes
//! back. The procedure uses no clock time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lsps_service::{ChannelKey, Input, KnownPart, PartId};
use lsps_types::{PaymentHash, PeerId};

use super::pump::Pump;
use super::{htlcs, report};
use crate::ports::{LspNode, Marker};

/// Decisions that wait until the node has reported its events.
pub(super) struct Unsettled {
    /// Random number of this run: markers of an earlier run, which the node may still report, are ignored.
    life: u64,
    number: u64,
    /// Markers that have not come back, oldest first, each with the time of sending and what the node showed then.
    sent: Vec<(Marker, Duration, Shown)>,
    is_caught_up: bool,
    /// Clients with sent parts of which some failed, without a report of which; with the time of the next check on the
    /// steady clock.
    pub suspects: BTreeMap<PeerId, Duration>,
    /// Whether some sent part failed, of an unknown client.
    pub suspects_all: bool,
    /// Payments that were to be claimed and of which the node seems to hold nothing any more; after a start, all that
    /// were to be claimed.
    pub claims: BTreeSet<PaymentHash>,
    /// Claimed parts whose HTLC a node that forgot the claim showed at the client, and shows no more: the claim is about to be
    /// reported again, unless the HTLC failed.
    pub reclaimed: BTreeSet<PartId>,
    /// Channels to be abandoned, with their peer and the transaction whose inputs are reserved.
    pub abandoned: BTreeMap<ChannelKey, (PeerId, Option<Vec<u8>>)>,
    /// Inputs about channels that seem to be gone, unless the node reports otherwise first.
    pub ended: Vec<Input>,
}

/// The state that the node showed when a marker was sent.
#[derive(Default)]
struct Shown {
    missing: BTreeMap<PeerId, Vec<PartId>>,
    claims: Vec<PaymentHash>,
    reclaimed: BTreeSet<PartId>,
    /// Channels without HTLCs, and whether the node had them.
    idle: Vec<(ChannelKey, bool)>,
}

impl Default for Unsettled {
    fn default() -> Self {
        let life = Marker::draw_life();
        let (suspects, abandoned) = (BTreeMap::new(), BTreeMap::new());
        let (number, sent, is_caught_up) = (0, vec![], false);
        let (suspects_all, claims, reclaimed) = (false, BTreeSet::new(), BTreeSet::new());
        Self { life, number, sent, is_caught_up, suspects, suspects_all, claims, reclaimed, abandoned, ended: vec![] }
    }
}

impl Unsettled {
    /// Notes that some part that was sent to this client failed, or may have.
    pub fn suspect(&mut self, client: PeerId) {
        self.suspects.entry(client).or_default();
    }

    /// Whether a later check is due that no event announces.
    pub fn is_watched(&self) -> bool {
        !self.suspects.is_empty() || !self.abandoned.is_empty() || !self.reclaimed.is_empty()
    }

    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }
}

impl<N: LspNode> Pump<N> {
    /// Sends a marker behind the node's present events, if a decision waits for that. While one is on its way, another
    /// follows only if the application may have lost the first.
    pub(super) fn send_marker(&mut self) {
        self.tell_used_channels();
        self.drop_kept_channels();
        let now = self.outside.clock.steady();
        if let Some((_, at, _)) = self.unsettled.sent.last() {
            if now.saturating_sub(*at) < OVERDUE || self.unsettled.sent.len() >= MOST_SENT {
                return;
            }
            report::marker_overdue(self.unsettled.sent.len());
            let missing = self.unsettled.sent.iter().flat_map(|(_, _, shown)| shown.missing.keys().copied());
            missing.collect::<Vec<_>>().into_iter().for_each(|client| self.unsettled.suspect(client));
        }
        let is_open = |hash: &PaymentHash| self.service.known_payments_with(*hash).any(|payment| payment.is_live);
        self.unsettled.claims.retain(is_open);
        let missing = self.missing_by_client();
        let claims =
            self.unsettled.claims.iter().filter(|hash| htlcs::count_incoming(&*self.node, **hash, |_| true) == 0);
        let abandoned = self.unsettled.abandoned.iter();
        let idle = abandoned.filter(|(key, (peer, _))| self.is_idle(*peer, **key));
        let idle = idle.map(|(key, (peer, _))| (*key, self.node.channel(*peer, *key).is_some()));
        let (claims, idle) = (claims.copied().collect(), idle.collect());
        let shown = Shown { missing, claims, reclaimed: std::mem::take(&mut self.unsettled.reclaimed), idle };
        let waits = !shown.missing.is_empty()
            || !shown.claims.is_empty()
            || !shown.reclaimed.is_empty()
            || !shown.idle.is_empty();
        // Until all records are read, it is unknown what was reported.
        if !waits && (self.unsettled.is_caught_up || !self.unread.is_empty()) {
            return;
        }
        self.unsettled.number += 1;
        let marker = Marker::new(self.unsettled.life, self.unsettled.number);
        if self.node.send_marker(marker, self.outside.clock.now()) {
            self.unsettled.sent.push((marker, now, shown));
        } else {
            self.unsettled.reclaimed.extend(shown.reclaimed);
            shown.missing.into_keys().for_each(|client| self.unsettled.suspect(client));
        }
    }

    /// Handles a marker that came back: all events that the node had when it was sent are reported.
    pub(super) fn marker_came_back(&mut self, marker: Marker) {
        let Some(at) = self.unsettled.sent.iter().position(|(sent, ..)| *sent == marker) else { return };
        // Earlier markers are lost, as they would have come back before.
        let come_back: Vec<_> = self.unsettled.sent.drain(..=at).map(|(_, _, shown)| shown).collect();
        let reclaimed: BTreeSet<PartId> = come_back.iter().flat_map(|shown| shown.reclaimed.iter().copied()).collect();
        self.reclaims_settled(&reclaimed);
        let Some(shown) = come_back.into_iter().next_back() else { return };
        for (client, parts) in shown.missing {
            self.parts_failed(client, &parts);
        }
        self.unsettled.claims.retain(|hash| !shown.claims.contains(hash));
        for payment_hash in shown.claims {
            if htlcs::count_incoming(&*self.node, payment_hash, |_| true) == 0 {
                let _ = self.feed(Input::PaymentGone { payment_hash });
            }
        }
        if self.unread.is_empty() && !std::mem::replace(&mut self.unsettled.is_caught_up, true) {
            let ended = std::mem::take(&mut self.unsettled.ended);
            self.feed_all(ended);
            let _ = self.feed(Input::NodeCaughtUp);
        }
        for (key, was_there) in shown.idle {
            self.give_up(key, was_there);
        }
    }

    /// Sent parts that the node shows nowhere any more, by suspected client. A client without missing parts is not
    /// suspected any longer.
    fn missing_by_client(&mut self) -> BTreeMap<PeerId, Vec<PartId>> {
        let now = self.outside.clock.steady();
        if std::mem::take(&mut self.unsettled.suspects_all) {
            let sent = self.service.known_parts().filter(|part| part.sent.is_some());
            sent.for_each(|part| self.unsettled.suspect(part.client));
        }
        let due: Vec<PeerId> =
            self.unsettled.suspects.iter().filter(|(_, at)| **at <= now).map(|(who, _)| *who).collect();
        let mut missing = BTreeMap::new();
        for client in due {
            if !self.is_processed(client) {
                continue; // what waits in the node's queues is not failed
            }
            self.unsettled.suspects.remove(&client);
            let parts = self.missing_parts(client);
            if self.look_for_doubted(client) {
                self.unsettled.suspects.insert(client, now + AGAIN);
            }
            // The node may hold another HTLC under the id of a sent part, which hides whether that part is missing.
            let is_hidden = |part: KnownPart| part.sent.is_some() && self.node.held(part.id).is_some();
            if self.service.known_parts_of(client).any(is_hidden) {
                self.unsettled.suspects.insert(client, now + AGAIN);
            }
            if !parts.is_empty() {
                missing.insert(client, parts);
            }
        }
        missing
    }

    /// Whether the node has executed the forwards and failures that it was asked for. After a start it waits with these
    /// until its peers are back, and so does this check; but not forever if a peer stays away.
    fn is_processed(&mut self, client: PeerId) -> bool {
        if !self.node.has_unprocessed() {
            return true;
        }
        let since_start = self.outside.clock.steady().saturating_sub(self.started_at);
        let may_flush = self.node.is_usable(client) || since_start >= PEERS_COME_BACK;
        if may_flush {
            self.node.flush();
        }
        // If another thread is processing, the node does nothing when asked.
        may_flush && !self.node.has_unprocessed()
    }

    /// Whether no HTLC is on a channel that is to be abandoned, as far as the node shows.
    fn is_idle(&self, peer: PeerId, key: ChannelKey) -> bool {
        !self.node.is_used(peer, key)
    }

    /// Closes a channel that is still to be abandoned and has no HTLC. A channel that existed and is gone may have been
    /// used in between; that is reported before the next marker comes back.
    fn give_up(&mut self, key: ChannelKey, was_there: bool) {
        let Some((peer, tx)) = self.unsettled.abandoned.get(&key).cloned() else { return };
        if was_there && self.node.channel(peer, key).is_none() {
            return;
        }
        if self.service.is_abandoning(key) && self.is_idle(peer, key) {
            self.unsettled.abandoned.remove(&key);
            self.node.close(peer, key);
            if let Some(tx) = tx {
                self.release(&tx);
            }
            let _ = self.feed(Input::ChannelAbandoned { key });
        }
    }

    /// Reports channels that are to be abandoned but have an HTLC. The client could keep such a channel until the
    /// payment for it is refunded, so the paid order keeps it.
    fn tell_used_channels(&mut self) {
        let abandoned = self.unsettled.abandoned.iter().filter(|(key, _)| self.service.is_paid_for(**key));
        let used = abandoned.filter(|(key, (peer, _))| !self.is_idle(*peer, **key)).map(|(key, _)| *key);
        for key in used.collect::<Vec<_>>() {
            let _ = self.feed(Input::ChannelCarries { key });
        }
    }

    /// Drops channels that are not abandoned after all, since a payment was claimed over them.
    fn drop_kept_channels(&mut self) {
        let kept = self.unsettled.abandoned.iter().filter(|(key, _)| !self.service.is_abandoning(**key));
        for (key, peer) in kept.map(|(key, (peer, _))| (*key, *peer)).collect::<Vec<_>>() {
            self.unsettled.abandoned.remove(&key);
            if let Some(channel) = self.node.channel(peer, key).filter(|channel| channel.is_ready) {
                let _ = self.feed(Input::ChannelReady { key, channel_id: channel.id });
            }
        }
    }
}

/// Pause before a client whose part is hidden is checked again.
const AGAIN: Duration = Duration::from_secs(1);
/// Time after which the application seems to have lost a marker.
const OVERDUE: Duration = Duration::from_secs(60);
/// Largest number of markers on their way.
const MOST_SENT: usize = 10;
/// Time after a start after which the node executes earlier forwards even if a peer is away.
const PEERS_COME_BACK: Duration = Duration::from_secs(10);

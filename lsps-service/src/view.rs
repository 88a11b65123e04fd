//! The service's view of the node, for hosts to compare with the node: after a restart, with every block, and after a
//! failure that the node reports without naming the HTLC.

use lsps_types::{BlockHeight, Msat, PaymentHash, PeerId, Scid};

use crate::channel::Channel;
use crate::flow::Link;
use crate::ids::{ChannelKey, FlowId, PartId};
use crate::input::WhichPart;
use crate::lsps1::order::Order;
use crate::lsps2::jit_channel::{Fee, JitChannel};
use crate::service::Service;

/// A part on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPart {
    /// Id that the node gave to the HTLC.
    pub id: PartId,
    /// SCID of the offer that the part pays.
    pub scid: Scid,
    /// Client that receives the part.
    pub client: PeerId,
    /// Payment hash.
    pub payment_hash: PaymentHash,
    /// Amount of the incoming HTLC.
    pub amount_in: Msat,
    /// Amount that the onion asks to forward.
    pub onion_amount: Msat,
    /// Amount to forward to the client, if the node was asked to and the outcome is unknown.
    pub sent: Option<Msat>,
    /// Amount that was forwarded to the client and claimed; `None` if the client did not claim the part.
    pub claimed: Option<Msat>,
    /// Whether the node's view contradicts the record: it showed no HTLC like a forwarded part at the client, or one
    /// like a claimed part; see [`Input::PartAtClient`](crate::Input::PartAtClient).
    pub in_doubt: bool,
    /// Whether the node may still hold or forward the part.
    pub is_live: bool,
}

/// A channel on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownChannel<'a> {
    /// Key under which the node stores the channel.
    pub key: ChannelKey,
    /// The client.
    pub client: PeerId,
    /// Stage of the channel.
    pub stage: ChannelStage,
    /// Funding transaction, until it is confirmed.
    pub funding: Option<&'a [u8]>,
    /// Whether the funding transaction has to be broadcast.
    pub owed: bool,
}

/// Stage of a channel on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelStage {
    /// The channel is not signed by both sides yet.
    Opening,
    /// Both sides signed the channel; it is not ready yet.
    Pending,
    /// The channel is in use.
    Ready,
    /// The channel was closed after its funding was broadcast.
    Closed,
    /// The channel is about to be closed and its inputs released.
    Abandoning,
}

/// The first payment of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedFor {
    /// Amount that the channel has to deliver to the client at once.
    pub deliver: Msat,
    /// Number of HTLCs of the payment.
    pub htlcs: usize,
}

impl Service {
    /// The payment for which a channel is being opened. Hosts compare it with the negotiated channel before coins are
    /// spent. `None`: no payment needs the channel, or none does any more.
    #[must_use]
    pub fn opened_for(&self, key: ChannelKey) -> Option<OpenedFor> {
        match key.flow {
            FlowId::JitChannel(scid) => {
                self.offers.get(&scid).filter(|offer| offer.attempt == key.attempt)?.opened_for()
            }
            FlowId::Order(_) | FlowId::Webhooks(_) => None,
        }
    }

    /// Parts that the node may hold, or that were resolved lately. After a restart hosts compare them with the node and
    /// report [`Input::PartStillHeld`](crate::Input::PartStillHeld) or [`Input::PartGone`](crate::Input::PartGone) for
    /// each.
    pub fn known_parts(&self) -> impl Iterator<Item = KnownPart> {
        self.offers.values().flat_map(|offer| offer.known_parts())
    }

    /// Parts that pay the offer with this SCID.
    pub fn known_parts_to(&self, scid: Scid) -> impl Iterator<Item = KnownPart> {
        self.offers.get(&scid).into_iter().flat_map(|offer| offer.known_parts())
    }

    /// Parts for this client.
    pub fn known_parts_of(&self, client: PeerId) -> impl Iterator<Item = KnownPart> {
        self.offers.index().busy_of(client).flat_map(|scid| self.known_parts_to(scid))
    }

    /// Parts that are believed to be at the client and may be the one whose claim the node reports. After a crash a
    /// claim can be reported again and be taken for that of an equal part. So just before it hosts report for each of
    /// these parts whether the node shows it: [`Input::PartAtClient`](crate::Input::PartAtClient), even if the record
    /// agrees. A part is at its client if the node shows an HTLC like it there, and an incoming HTLC like it that is
    /// not being claimed.
    pub fn parts_like(&self, claimed: WhichPart) -> impl Iterator<Item = KnownPart> {
        let told = match claimed {
            WhichPart::Sent { to, amount, .. } => Some((to, amount)),
            WhichPart::Id(id) => self.offer_of(id).and_then(|offer| {
                let (_, part) = offer.find(id)?;
                Some((offer.client, part.claimed().or(part.sent()).or(part.unlikely())?))
            }),
        };
        // The amount of an on-chain claim is reported in whole satoshis.
        let is_like = |sent: Msat, amount: Msat| sent == amount || sent.0 / 1_000 * 1_000 == amount.0;
        told.into_iter().flat_map(move |(client, amount)| {
            self.known_parts_of(client).filter(move |part| part.sent.is_some_and(|sent| is_like(sent, amount)))
        })
    }

    /// The client that is believed to hold a part like this one, whose claim was reported. A node that forgot the claim
    /// of one part shows its HTLC after a start, and that HTLC may have been taken for the other part. So the host has
    /// to ask for the other part again once the claim is reported again. `None`: no part is like this one.
    #[must_use]
    pub fn has_another_like(&self, claimed: WhichPart) -> Option<PeerId> {
        self.parts_like(claimed).next().map(|part| part.client)
    }

    /// Whether the claim of a part is expected: a part like it was sent, and the host has not just shown it at the client, or
    /// was claimed before. Any other part that a claim may count for is believed to have failed, or to be at the client still.
    /// While records are missing, the claim may rather be that of a part on one of them.
    #[must_use]
    pub fn expects_claim(&self, claimed: WhichPart, over: Option<ChannelKey>) -> bool {
        let part = self.resolve(claimed, over, &self.shown);
        let found = part.and_then(|id| self.offer_of(id)?.find(id));
        found.is_some_and(|(_, part)| {
            part.claimed().is_some() || (part.sent().is_some() && !self.shown.contains(&part.id))
        })
    }

    /// Whether a part can be forwarded without going on alone: the parts of its payment that are held or at the client
    /// (`is_there`) are the whole payment, or something was claimed already, or the payment has no agreed size.
    #[must_use]
    pub fn is_whole(&self, part: PartId, is_there: impl Fn(PartId) -> bool) -> bool {
        let found = self.offer_of(part).and_then(|offer| Some((offer, offer.find(part)?)));
        let may_be_less = |offer: &JitChannel| offer.fee == Fee::Paid || offer.has_earned();
        let Some((offer, (hash, _))) = found.filter(|(offer, _)| !may_be_less(offer)) else { return true };
        let sum = offer.payments.get(&hash).map_or(Msat::ZERO, |payment| payment.sum_of(is_there));
        offer.terms.payment_size.is_none_or(|size| sum >= size)
    }

    fn offer_of(&self, part: PartId) -> Option<&JitChannel> {
        self.offers.get(&self.offers.index().of_part(part)?)
    }

    /// Channels on record, which hosts compare with the node after a restart.
    pub fn known_channels(&self) -> impl Iterator<Item = KnownChannel<'_>> {
        let of_orders = self.orders.all().filter_map(Order::known_channel);
        self.offers.values().filter_map(|offer| offer.known_channel()).chain(of_orders)
    }

    /// Whether the flow has abandoned this channel of the node. A crash can undo the close. The funding of such a
    /// channel is never broadcast, so it has to be closed before anything is forwarded over it.
    #[must_use]
    pub fn is_given_up(&self, key: ChannelKey) -> bool {
        let channel = self.channel_of(key.flow);
        channel.is_some_and(|(attempt, channel)| attempt != key.attempt || *channel == Channel::None)
    }

    /// Whether a channel is still to be abandoned. A claim over it before that keeps the channel.
    #[must_use]
    pub fn is_abandoning(&self, key: ChannelKey) -> bool {
        let channel = self.channel_of(key.flow).filter(|(attempt, _)| *attempt == key.attempt);
        channel.is_some_and(|(_, channel)| matches!(channel, Channel::Abandoning { .. }))
    }

    /// Whether the order of this channel is paid, so that [`Input::ChannelCarries`](crate::Input::ChannelCarries) would
    /// keep the channel.
    #[must_use]
    pub fn is_paid_for(&self, key: ChannelKey) -> bool {
        let FlowId::Order(number) = key.flow else { return false };
        let order = self.orders.get(number).filter(|order| order.key() == key);
        order.is_some_and(|order| order.is_paid(&self.around.context(order.client)))
    }

    /// Number of channels that a flow has begun to open, and the latest of them.
    pub(crate) fn channel_of(&self, flow: FlowId) -> Option<(u32, &Channel)> {
        match flow {
            FlowId::JitChannel(scid) => self.offers.get(&scid).map(|offer| (offer.attempt, &offer.channel)),
            FlowId::Order(number) => self.orders.get(number).map(|order| (order.attempt, &order.channel)),
            FlowId::Webhooks(_) => None,
        }
    }

    /// Channels whose funding transaction is not confirmed. Hosts check them with every block.
    pub fn unconfirmed_channels(&self) -> impl Iterator<Item = KnownChannel<'_>> {
        let of_orders = self.orders.unconfirmed().filter_map(Order::known_channel);
        self.offers.index().unconfirmed().filter_map(|scid| self.offers.get(&scid)?.known_channel()).chain(of_orders)
    }

    /// Clients that are connected and for whom parts wait, but whose channels are not known to be usable. Nodes do not
    /// report when they become usable; check with the node, and report
    /// [`Input::ChannelsUsable`](crate::Input::ChannelsUsable).
    pub fn waiting_clients(&self) -> impl Iterator<Item = PeerId> {
        let clients = self.offers.index().live_clients().map(|(client, _)| client);
        clients.filter(|client| self.around.link(*client) == Link::Connected)
    }

    /// Clients with webhooks with whom the node is believed to have channels.
    pub fn clients_with_channels(&self) -> impl Iterator<Item = PeerId> {
        self.webhooks.values().filter(|webhooks| webhooks.has_channel).map(|webhooks| webhooks.client)
    }

    /// SCID, channel state and fee state of each offer, as names for metrics and displays. Do not base decisions on
    /// them.
    pub fn states(&self) -> impl Iterator<Item = (Scid, &'static str, &'static str)> {
        self.offers.values().map(|offer| (offer.id, offer.channel.name(), offer.fee.name()))
    }

    /// Checks that the LSP can close a channel that it opened for a client without breaking its promise.
    ///
    /// Spec: LSPS2 §1 `min_lifetime`.
    ///
    /// # Errors
    ///
    /// The channel is still promised to the client.
    pub fn may_close(&self, key: ChannelKey) -> Result<(), Promised> {
        let height = self.around.facts.height;
        match key.flow {
            FlowId::JitChannel(scid) => {
                let offer = self.offers.get(&scid).filter(|offer| offer.attempt == key.attempt);
                offer.map_or(Ok(()), |offer| offer.may_close(height))
            }
            FlowId::Order(number) => {
                let order = self.orders.get(number).filter(|order| order.attempt == key.attempt);
                order.map_or(Ok(()), |order| order.may_close(height, Some(self.around.now)))
            }
            FlowId::Webhooks(_) => Ok(()),
        }
    }
}

/// Error for a channel that was paid for and is promised to its client for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this channel was paid for and is promised to its client")]
pub struct Promised {
    /// Height until which the channel is promised; `None`: the time begins when the funding is confirmed.
    pub until: Option<BlockHeight>,
}

impl JitChannel {
    fn known_parts(&self) -> impl Iterator<Item = KnownPart> {
        let payments = self.payments.iter();
        let parts = payments.flat_map(|(hash, payment)| payment.parts.iter().map(|part| (*hash, part)));
        parts.map(|(payment_hash, part)| KnownPart {
            id: part.id,
            scid: self.id,
            client: self.client,
            payment_hash,
            amount_in: part.amount_in(),
            onion_amount: part.onion_amount,
            sent: part.sent(),
            claimed: part.claimed(),
            in_doubt: part.in_doubt,
            is_live: part.is_live(),
        })
    }

    fn opened_for(&self) -> Option<OpenedFor> {
        let (Channel::Opening { deliver, .. }, Fee::InFlight(charged)) = (&self.channel, &self.fee) else {
            return None;
        };
        let payment = self.payments.get(&charged.payment_hash)?;
        Some(OpenedFor { deliver: *deliver, htlcs: payment.held().count() })
    }

    fn known_channel(&self) -> Option<KnownChannel<'_>> {
        known_channel(self.key(), self.client, &self.channel, self.may_broadcast())
    }
}

pub(crate) fn known_channel(
    key: ChannelKey,
    client: PeerId,
    channel: &Channel,
    owed: bool,
) -> Option<KnownChannel<'_>> {
    let stage = match channel {
        Channel::None => return None,
        Channel::Opening { .. } => ChannelStage::Opening,
        Channel::Pending { .. } => ChannelStage::Pending,
        Channel::Ready { .. } => ChannelStage::Ready,
        Channel::Closed { .. } => ChannelStage::Closed,
        Channel::Abandoning { .. } => ChannelStage::Abandoning,
    };
    let funding = channel.funding().map(|funding| funding.tx.as_slice());
    Some(KnownChannel { key, client, stage, funding, owed })
}

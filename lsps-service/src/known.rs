//! What the service believes of the node, for hosts to compare: after a restart, with every block, after a failure that
//! the node reports without saying whose.

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
    /// The node's name for it.
    pub id: PartId,
    /// The offer it came for.
    pub scid: Scid,
    /// Whom it is for.
    pub client: PeerId,
    /// What it pays for.
    pub payment_hash: PaymentHash,
    /// The amount that came in with the HTLC.
    pub amount_in: Msat,
    /// What the client was to get, where the node was asked to forward it and the outcome is unknown.
    pub sent: Option<Msat>,
    /// The amount that the client was sent and claimed. `None`: the client did not claim the part.
    pub claimed: Option<Msat>,
    /// The node showed no HTLC like it at the client since then, or one although it was claimed:
    /// [`Input::PartAtClient`](crate::Input::PartAtClient).
    pub in_doubt: bool,
    /// Whether the node may still hold or carry it.
    pub is_live: bool,
}

/// A channel on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownChannel<'a> {
    /// The node's key for it.
    pub key: ChannelKey,
    /// The peer.
    pub client: PeerId,
    /// How far it has come.
    pub stage: ChannelStage,
    /// The funding transaction, until it is confirmed.
    pub funding: Option<&'a [u8]>,
    /// Whether that transaction is to be on the chain.
    pub owed: bool,
}

/// How far a channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelStage {
    /// Not signed by both sides.
    Opening,
    /// Signed, not ready.
    Pending,
    /// In use.
    Ready,
    /// Closed after its funding was broadcast.
    Closed,
    /// About to be closed, its inputs to be given back.
    Abandoning,
}

/// The first payment of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedFor {
    /// The amount that the client is to get at once.
    pub deliver: Msat,
    /// The HTLCs it comes in.
    pub htlcs: usize,
}

impl Service {
    /// The payment that a channel is being opened for, to be compared with what was negotiated before coins are spent
    /// on it. `None`: the channel has to carry nothing, or nothing any more.
    #[must_use]
    pub fn opened_for(&self, key: ChannelKey) -> Option<OpenedFor> {
        match key.flow {
            FlowId::JitChannel(scid) => {
                self.offers.get(&scid).filter(|offer| offer.attempt == key.attempt)?.opened_for()
            }
            FlowId::Order(_) | FlowId::Webhooks(_) => None,
        }
    }

    /// Parts that the node is believed to hold or to have let go of lately, to be compared with it after a restart:
    /// [`Input::PartStillHeld`](crate::Input::PartStillHeld) or [`Input::PartGone`](crate::Input::PartGone) for each.
    pub fn known_parts(&self) -> impl Iterator<Item = KnownPart> {
        self.offers.values().flat_map(|offer| offer.known_parts())
    }

    /// Those that came for one SCID.
    pub fn known_parts_to(&self, scid: Scid) -> impl Iterator<Item = KnownPart> {
        self.offers.get(&scid).into_iter().flat_map(|offer| offer.known_parts())
    }

    /// Those of one client.
    pub fn known_parts_of(&self, client: PeerId) -> impl Iterator<Item = KnownPart> {
        self.index.busy_of(client).flat_map(|scid| self.known_parts_to(scid))
    }

    /// The parts that are believed to be with the client and may be the one of which the node tells that it was claimed. A claim
    /// can be told again after a crash, and be taken for that of an equal part; so hosts tell just before it where each of
    /// these is: [`Input::PartAtClient`](crate::Input::PartAtClient), also where it is as was believed. A part is with its
    /// client if the node shows an HTLC like it there, and an HTLC like it that came in and is not being claimed.
    pub fn parts_like(&self, claimed: WhichPart) -> impl Iterator<Item = KnownPart> {
        let told = match claimed {
            WhichPart::Sent { to, amount, .. } => Some((to, amount)),
            WhichPart::Id(id) => self.offer_of(id).and_then(|offer| {
                let (_, part) = offer.find(id)?;
                Some((offer.client, part.claimed().or(part.sent()).or(part.unlikely())?))
            }),
        };
        // A claim on the chain is told in whole satoshis.
        let is_like = |sent: Msat, amount: Msat| sent == amount || sent.0 / 1_000 * 1_000 == amount.0;
        told.into_iter().flat_map(move |(client, amount)| {
            self.known_parts_of(client).filter(move |part| part.sent.is_some_and(|sent| is_like(sent, amount)))
        })
    }

    /// The client that is believed to have a part like this one, which was told to be claimed. A node that forgot the claim
    /// of one part shows the HTLC of that after a start, and it was taken for the other: where that one is has to be asked
    /// once the claim is told again. `None`: no part is like it.
    #[must_use]
    pub fn has_another_like(&self, claimed: WhichPart) -> Option<PeerId> {
        self.parts_like(claimed).next().map(|part| part.client)
    }

    fn offer_of(&self, part: PartId) -> Option<&JitChannel> {
        self.offers.get(&self.index.of_part(part)?).map(|offer| &offer.flow)
    }

    /// Channels on record, to be compared with the node after a restart.
    pub fn known_channels(&self) -> impl Iterator<Item = KnownChannel<'_>> {
        let of_orders = self.orders.all().filter_map(Order::known_channel);
        self.offers.values().filter_map(|offer| offer.known_channel()).chain(of_orders)
    }

    /// Whether a channel that the node has was given up by its offer: a crash can undo the close. Its funding is never
    /// broadcast, so it has to be closed before anything is forwarded over it.
    #[must_use]
    pub fn is_given_up(&self, key: ChannelKey) -> bool {
        let channel = self.channel_of(key.flow);
        channel.is_some_and(|(attempt, channel)| attempt != key.attempt || *channel == Channel::None)
    }

    /// Whether a channel is still to be given up: what is claimed over it meanwhile keeps it.
    #[must_use]
    pub fn is_abandoning(&self, key: ChannelKey) -> bool {
        let channel = self.channel_of(key.flow).filter(|(attempt, _)| *attempt == key.attempt);
        channel.is_some_and(|(_, channel)| matches!(channel, Channel::Abandoning { .. }))
    }

    /// Whether something that can pay for the channel of an order is there, so that
    /// [`Input::ChannelCarries`](crate::Input::ChannelCarries) would keep the channel.
    #[must_use]
    pub fn is_paid_for(&self, key: ChannelKey) -> bool {
        let FlowId::Order(number) = key.flow else { return false };
        let order = self.orders.get(number).filter(|order| order.key() == key);
        order.is_some_and(|order| order.is_paid(&self.around.context(order.client)))
    }

    /// How often a flow began to open a channel, and the latest.
    pub(crate) fn channel_of(&self, flow: FlowId) -> Option<(u32, &Channel)> {
        match flow {
            FlowId::JitChannel(scid) => self.offers.get(&scid).map(|offer| (offer.attempt, &offer.channel)),
            FlowId::Order(number) => self.orders.get(number).map(|order| (order.attempt, &order.channel)),
            FlowId::Webhooks(_) => None,
        }
    }

    /// Those whose funding transaction is not confirmed, to be looked at with every block.
    pub fn unconfirmed_channels(&self) -> impl Iterator<Item = KnownChannel<'_>> {
        let of_orders = self.orders.unconfirmed().filter_map(Order::known_channel);
        self.index.unconfirmed().filter_map(|scid| self.offers.get(&scid)?.known_channel()).chain(of_orders)
    }

    /// Clients that are connected and have parts waiting, but whose channels are not known to be usable. Nodes do not say
    /// when that changes; ask yours, and feed [`Input::ChannelsUsable`](crate::Input::ChannelsUsable).
    pub fn waiting_clients(&self) -> impl Iterator<Item = PeerId> {
        let clients = self.index.live_clients().map(|(client, _)| client);
        clients.filter(|client| self.around.link(*client) == Link::Connected)
    }

    /// Clients with webhooks of whom it is believed that the node has channels with them.
    pub fn clients_with_channels(&self) -> impl Iterator<Item = PeerId> {
        self.webhooks.iter().filter(|webhooks| webhooks.has_channel).map(|webhooks| webhooks.client)
    }

    /// The state of each offer's channel and fee, by name; to be counted and shown, not to be decided on.
    pub fn states(&self) -> impl Iterator<Item = (Scid, &'static str, &'static str)> {
        self.offers.values().map(|offer| (offer.id, offer.channel.name(), offer.fee.name()))
    }

    /// Whether the LSP may close a channel that it opened for a client without breaking its promise.
    ///
    /// Spec: LSPS2 §1 `min_lifetime`.
    ///
    /// # Errors
    ///
    /// While it is promised.
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

/// A channel that was paid for is promised to its client for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this channel was paid for and is promised to its client")]
pub struct Promised {
    /// Up to this height; `None`: its time begins when its funding is confirmed.
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

//! The port of an LSP's node on LDK: all calls into LDK, without decisions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::Transaction;
use bitcoin::secp256k1::PublicKey;
use lightning::chain::channelmonitor::HTLC_FAIL_BACK_BUFFER;
use lightning::ln::channel_state::{ChannelDetails, InboundHTLCStateDetails, OutboundHTLCStateDetails};
use lightning::ln::channelmanager::{AChannelManager as _, Bolt11InvoiceParameters, InterceptId};
use lightning::ln::types::ChannelId;
use lightning::onion_message::messenger::NullMessageRouter;
use lightning::types::features::ChannelTypeFeatures;
use lightning::types::payment::PaymentPreimage;
use lightning::util::config::{ChannelConfigUpdate, MaxDustHTLCExposure, UserConfig};
use lightning::util::errors::APIError;

use lightning_invoice::{Bolt11InvoiceDescription, Description};
use lsps_host::ports::{IncomingHtlc, IncomingState, LspNode, Made, Marker, NodeChannel, OutgoingHtlc, Resolution};
use lsps_service::capacity::{Commitment, LEAST_FEERATE_SAT_PER_KW, reserve_sat};
use lsps_service::{
    ChannelId as LspsChannelId, ChannelKey, FlowId, OfferId, OpenTerms, OrderNumber, PartId, PaymentTerms,
};
use lsps_types::bolt4::FailureCode;
use lsps_types::{BlockHeight, Msat, Network, PaymentHash, PeerId, Preimage, Scid, Timestamp};
use metrics::counter;
use tracing::warn;

use crate::config::{ALL_IN_FLIGHT, PARTS};
use crate::peers::{Manager, network_name, network_of, peer_id, public_key, send_marker};

pub(crate) struct Node<M> {
    manager: M,
    /// A channel that was ready at the last search.
    ready: Mutex<Option<(ChannelId, PublicKey)>>,
}

impl<M: Manager> Node<M> {
    pub fn new(manager: M) -> Arc<Self> {
        Arc::new(Self { manager, ready: Mutex::default() })
    }

    pub fn config(&self) -> UserConfig {
        self.manager.get_cm().get_current_config()
    }

    fn details(&self, peer: PeerId, key: ChannelKey) -> Option<ChannelDetails> {
        let channels = self.manager.get_cm().list_channels_with_counterparty(&public_key(peer)?);
        channels.into_iter().find(|channel| channel.user_channel_id == key.to_u128())
    }

    /// Forwards over this channel. LDK may reuse the id of an HTLC that it forwarded for the next one with that onion,
    /// so the HTLC is looked up first.
    fn forward_over(&self, part: PartId, channel: &ChannelId, peer: PublicKey, amount: Msat) -> Resolution {
        if self.held(part).is_none() {
            return Resolution::NotHeld;
        }
        let manager = self.manager.get_cm();
        match manager.forward_intercepted_htlc(InterceptId(part.0), channel, peer, amount.0) {
            Ok(()) => Resolution::Done,
            Err(APIError::APIMisuseError { .. }) => Resolution::NotHeld,
            Err(_) => Resolution::Refused,
        }
    }

    /// Fails an HTLC over this channel. `None`: that is not possible, as the channel may be closed by now.
    fn fail_over(&self, part: PartId, ready: Option<(ChannelId, PublicKey)>) -> Option<Resolution> {
        let (channel, peer) = ready?;
        match self.forward_over(part, &channel, peer, Msat::ZERO) {
            resolution @ (Resolution::Done | Resolution::NotHeld) => Some(resolution),
            Resolution::Refused => None,
        }
    }

    fn ready(&self) -> Option<(ChannelId, PublicKey)> {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_invoice(&self, hash: PaymentHash, terms: PaymentTerms, now: Timestamp) -> Option<String> {
        let description = Description::new("a channel".into()).ok()?;
        let invoice = self.manager.get_cm().create_bolt11_invoice(Bolt11InvoiceParameters {
            amount_msats: Some(terms.amount.0),
            description: Bolt11InvoiceDescription::Direct(description),
            invoice_expiry_delta_secs: Some(u32::try_from(terms.expires_at.since(now).as_secs()).ok()?),
            min_final_cltv_expiry_delta: Some(u16::try_from(terms.final_cltv.0).ok()?),
            payment_hash: Some(lightning::types::payment::PaymentHash(hash.0)),
        });
        invoice.ok().map(|invoice| invoice.to_string())
    }

    /// Creates an offer without blinded paths: the client knows the node id, is a peer, and would pay nobody else.
    fn make_offer(&self, terms: PaymentTerms) -> Option<(String, OfferId)> {
        let expires_at = Duration::from_millis(terms.expires_at.unix_millis());
        let builder = self.manager.get_cm().create_offer_builder_using_router(&NullMessageRouter {}).ok()?;
        let builder = builder.amount_msats(terms.amount.0).absolute_expiry(expires_at);
        let offer = builder.description("a channel".into()).build().ok()?;
        Some((offer.to_string(), OfferId(offer.id().0)))
    }

    /// Finds a ready channel. The search walks all channels of the node, so its result is kept.
    fn find_ready(&self) -> Option<(ChannelId, PublicKey)> {
        let channels = self.manager.get_cm().list_channels();
        let ready = channels.into_iter().find(|channel| channel.is_channel_ready);
        let ready = ready.map(|channel| (channel.channel_id, channel.counterparty.node_id));
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = ready;
        ready
    }
}

impl<M: Manager> LspNode for Node<M> {
    fn network(&self) -> Option<Network> {
        network_of(&self.manager).map(network_name)
    }

    fn height(&self) -> BlockHeight {
        BlockHeight(self.manager.get_cm().current_best_block().height)
    }

    fn draw_scid(&self) -> Scid {
        Scid(self.manager.get_cm().get_intercept_scid())
    }

    fn makes_anchors(&self) -> bool {
        self.config().channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx
    }

    /// Inbound capacity, which includes the channels of JIT clients.
    fn inbound(&self) -> Msat {
        let channels = self.manager.get_cm().list_usable_channels();
        // The peer cannot have more than this in flight, regardless of its balance.
        let most = |channel: &ChannelDetails| channel.inbound_htlc_maximum_msat.unwrap_or(u64::MAX);
        Msat(channels.iter().map(|channel| channel.inbound_capacity_msat.min(most(channel))).sum())
    }

    fn channel(&self, peer: PeerId, key: ChannelKey) -> Option<NodeChannel> {
        node_channel(&self.details(peer, key)?)
    }

    fn channels(&self) -> Vec<NodeChannel> {
        self.manager.get_cm().list_channels().iter().filter_map(node_channel).collect()
    }

    fn outbound_capacity(&self, peer: PeerId, key: ChannelKey, htlcs: usize) -> Option<Msat> {
        Some(room_in(&self.details(peer, key)?, htlcs))
    }

    fn is_used(&self, peer: PeerId, key: ChannelKey) -> bool {
        self.details(peer, key).is_some_and(|details| is_used(&details, key))
    }

    fn is_usable(&self, peer: PeerId) -> bool {
        let channels = public_key(peer)
            .map(|peer| self.manager.get_cm().list_channels_with_counterparty(&peer))
            .unwrap_or_default();
        channels.iter().any(|channel| channel.is_usable)
    }

    /// The heights of forced closes. LDK closes three blocks after an HTLC that was sent to the peer expires, and some
    /// blocks before an incoming HTLC expires that was claimed and that the peer did not settle.
    fn forced_closes(&self) -> BTreeMap<PeerId, Option<BlockHeight>> {
        let mut closes: BTreeMap<PeerId, Option<BlockHeight>> = BTreeMap::new();
        for channel in self.manager.get_cm().list_channels() {
            let sent = channel.pending_outbound_htlcs.iter().map(|htlc| htlc.cltv_expiry.saturating_add(GRACE));
            let claimed = channel.pending_inbound_htlcs.iter().filter(|htlc| htlc.state == CLAIMED);
            let claimed = claimed.map(|htlc| htlc.cltv_expiry.saturating_sub(CLAIM_BUFFER));
            let first = closes.entry(peer_id(&channel.counterparty.node_id)).or_default();
            *first = sent.chain(claimed).map(BlockHeight).chain(*first).min();
        }
        closes
    }

    fn open(
        &self,
        peer: PeerId,
        key: ChannelKey,
        terms: &OpenTerms,
        htlcs: usize,
        feerate_sat_per_kw: u32,
    ) -> Result<(), String> {
        let peer = public_key(peer).ok_or_else(|| format!("{peer} is no public key"))?;
        let mut config = self.config();
        let handshake = &mut config.channel_handshake_config;
        // LDK takes 1000 sat if this would be less.
        handshake.their_channel_reserve_proportional_millionths = terms.client_reserve.0;
        handshake.announce_for_forwarding = terms.announce;
        handshake.negotiate_scid_privacy = !terms.announce;
        handshake.max_inbound_htlc_value_in_flight_percent_of_channel = ALL_IN_FLIGHT;
        let limits = &mut config.channel_handshake_limits;
        limits.force_announced_channel_preference = false;
        // With more confirmations LDK waits for as many as the client asks for when it accepts.
        limits.trust_own_funding_0conf = terms.confirmations == 0;
        // If a client asks for more, or allows less, the channel cannot deliver the payment for which it is opened.
        limits.max_channel_reserve_satoshis = reserve_sat(terms.capacity_sat);
        limits.min_max_accepted_htlcs = u16::try_from(htlcs).unwrap_or(u16::MAX);
        limits.min_max_htlc_value_in_flight_msat = terms.deliver.0;
        if let Some(delay) = terms.max_client_to_self_delay {
            limits.their_to_self_delay = u16::try_from(delay).unwrap_or(u16::MAX);
        }
        if !terms.carries_others {
            config.channel_config.forwarding_fee_base_msat = OUT_OF_REACH;
            config.channel_config.forwarding_fee_proportional_millionths = OUT_OF_REACH;
        }
        let exposure = &mut config.channel_config.max_dust_htlc_exposure;
        *exposure = with_room_for(*exposure, terms.deliver, feerate_sat_per_kw);
        let manager = self.manager.get_cm();
        let opened = manager.create_channel(peer, terms.capacity_sat, terms.push.0, key.to_u128(), None, Some(config));
        opened.map(drop).map_err(|why| format!("{why:?}"))
    }

    fn allow_forwards(&self, peer: PeerId, key: ChannelKey) {
        let Some(channel) = self.details(peer, key) else { return };
        if channel.config.is_none_or(|config| config.forwarding_fee_base_msat != OUT_OF_REACH) {
            return;
        }
        let usual = self.config().channel_config;
        let update = ChannelConfigUpdate {
            forwarding_fee_base_msat: Some(usual.forwarding_fee_base_msat),
            forwarding_fee_proportional_millionths: Some(usual.forwarding_fee_proportional_millionths),
            ..ChannelConfigUpdate::default()
        };
        // An error means that the channel is gone.
        let _ = self.manager.get_cm().update_partial_channel_config(
            &channel.counterparty.node_id,
            &[channel.channel_id],
            &update,
        );
    }

    fn fund(&self, peer: PeerId, key: ChannelKey, tx: Transaction) -> Result<(), String> {
        let channel = self.details(peer, key).ok_or("the channel is gone")?;
        let (manager, peer) = (self.manager.get_cm(), channel.counterparty.node_id);
        let funded = manager.funding_transaction_generated_manual_broadcast(channel.channel_id, peer, tx);
        funded.map_err(|why| format!("{why:?}"))
    }

    fn close(&self, peer: PeerId, key: ChannelKey) {
        let Some(channel) = self.details(peer, key) else { return };
        let (manager, why) = (self.manager.get_cm(), "this channel is given up".to_string());
        // An error means that there is no such channel, which is the wanted state.
        let _ = manager.force_close_broadcasting_latest_txn(&channel.channel_id, &channel.counterparty.node_id, why);
    }

    fn forward(
        &self,
        part: PartId,
        peer: PeerId,
        key: ChannelKey,
        channel_id: LspsChannelId,
        amount: Msat,
    ) -> Resolution {
        let Some(client) = public_key(peer) else { return Resolution::Refused };
        let named = self.details(peer, key).map_or(ChannelId(channel_id.0), |details| details.channel_id);
        self.forward_over(part, &named, client, amount)
    }

    /// Fails an intercepted HTLC. LDK offers only `unknown_next_peer` for that. A forward of 0 msat, which can never
    /// leave the node, is answered with `temporary_channel_failure`; if no channel is ready for that, the other code is
    /// used.
    fn fail(&self, part: PartId, code: FailureCode) -> Resolution {
        let manager = self.manager.get_cm();
        if code == FailureCode::TemporaryChannelFailure {
            let failed = self.fail_over(part, self.ready()).or_else(|| self.fail_over(part, self.find_ready()));
            if let Some(resolution) = failed {
                return resolution;
            }
            counter!("lsps_codes_replaced").increment(1);
            let part = PaymentHash(part.0).to_string();
            warn!(part, wanted = ?code, "failed with another code: no channel is ready");
        }
        match manager.fail_intercepted_htlc(InterceptId(part.0)) {
            Ok(()) => Resolution::Done,
            Err(_) => Resolution::NotHeld,
        }
    }

    fn held(&self, part: PartId) -> Option<Msat> {
        self.manager.get_cm().intercepted_htlc_inbound_amount_msat(InterceptId(part.0)).map(Msat)
    }

    fn incoming(&self) -> Vec<IncomingHtlc> {
        let channels = self.manager.get_cm().list_channels();
        let htlcs = channels.iter().flat_map(|channel| &channel.pending_inbound_htlcs);
        let htlcs = htlcs.map(|htlc| IncomingHtlc {
            payment_hash: PaymentHash(htlc.payment_hash.0),
            amount: Msat(htlc.amount_msat),
            state: match htlc.state {
                Some(InboundHTLCStateDetails::Committed) => IncomingState::Committed,
                CLAIMED => IncomingState::Claiming,
                FAILED => IncomingState::Failing,
                _ => IncomingState::Arriving,
            },
        });
        htlcs.collect()
    }

    fn outgoing(&self, peer: PeerId) -> Vec<OutgoingHtlc> {
        use OutboundHTLCStateDetails::{AwaitingRemoteRevokeToAdd, Committed};
        let Some(peer) = public_key(peer) else { return vec![] };
        let channels = self.manager.get_cm().list_channels_with_counterparty(&peer);
        let htlcs = channels.iter().flat_map(|channel| &channel.pending_outbound_htlcs);
        let htlcs = htlcs.map(|htlc| OutgoingHtlc {
            payment_hash: PaymentHash(htlc.payment_hash.0),
            amount: Msat(htlc.amount_msat),
            skim: Some(Msat(htlc.skimmed_fee_msat.unwrap_or(0))),
            is_resolved: !matches!(htlc.state, Some(AwaitingRemoteRevokeToAdd | Committed) | None),
        });
        htlcs.collect()
    }

    fn hold_invoice(&self, hash: PaymentHash, terms: PaymentTerms, now: Timestamp) -> Made<String> {
        self.make_invoice(hash, terms, now).into()
    }

    fn offer(&self, _: OrderNumber, terms: PaymentTerms) -> Made<(String, OfferId)> {
        self.make_offer(terms).into()
    }

    fn claim_payment(&self, preimage: Preimage) {
        self.manager.get_cm().claim_funds(PaymentPreimage(preimage.0));
    }

    fn fail_payment(&self, hash: PaymentHash) {
        self.manager.get_cm().fail_htlc_backwards(&lightning::types::payment::PaymentHash(hash.0));
    }

    fn send_marker(&self, marker: Marker, now: Timestamp) -> bool {
        send_marker(&self.manager, marker, now)
    }

    fn has_unprocessed(&self) -> bool {
        self.manager.get_cm().needs_pending_htlc_processing()
    }

    /// Processes forwards at once; LDK would do so after a random delay.
    fn flush(&self) {
        self.manager.get_cm().process_pending_htlc_forwards();
    }
}

/// Converts a channel that was opened for the LSP; `None` for any other.
fn node_channel(details: &ChannelDetails) -> Option<NodeChannel> {
    Some(NodeChannel {
        key: ChannelKey::from_u128(details.user_channel_id)?,
        peer: peer_id(&details.counterparty.node_id),
        id: LspsChannelId(details.channel_id.0),
        is_funded: details.funding_txo.is_some(),
        is_ready: details.is_channel_ready,
        confirmations: details.confirmations.unwrap_or(0),
    })
}

/// Whether HTLCs are on a channel, or the peer has a balance in it beyond the initial one.
fn is_used(details: &ChannelDetails, key: ChannelKey) -> bool {
    let has_htlcs = !details.pending_inbound_htlcs.is_empty() || !details.pending_outbound_htlcs.is_empty();
    let reserve_sat = details.unspendable_punishment_reserve.unwrap_or(0);
    // The opener pays for the anchors, and LDK does not count them as its balance.
    let anchors_sat = Commitment { feerate_sat_per_kw: 0, anchors: has_anchors(details) }.kept_sat(0);
    let kept_msat = reserve_sat.saturating_add(anchors_sat).saturating_mul(1_000);
    let ours = details.outbound_capacity_msat.saturating_add(kept_msat);
    let is_theirs = ours < details.channel_value_satoshis.saturating_mul(1_000);
    // An order may give its client an initial balance; and what the node cannot spend because of its reserve is not
    // reported.
    let tells =
        details.is_channel_ready && matches!(key.flow, FlowId::JitChannel(_)) && details.outbound_capacity_msat > 0;
    has_htlcs || (tells && is_theirs)
}

/// Amount that a channel, as it was negotiated, can deliver to its peer at once in this number of HTLCs.
fn room_in(channel: &ChannelDetails, htlcs: usize) -> Msat {
    let anchors = has_anchors(channel);
    let feerate_sat_per_kw = channel.feerate_sat_per_1000_weight.unwrap_or(0);
    // LDK reports the amount for one HTLC. Each further one takes its share of the commitment fee.
    let further = u64::try_from(htlcs.saturating_sub(1)).unwrap_or(u64::MAX);
    let taken_sat = further.saturating_mul(Commitment { feerate_sat_per_kw, anchors }.per_htlc_sat());
    Msat(channel.next_outbound_htlc_limit_msat.saturating_sub(taken_sat.saturating_mul(1_000)))
}

fn has_anchors(channel: &ChannelDetails) -> bool {
    channel.channel_type.as_ref().is_some_and(ChannelTypeFeatures::supports_anchors_zero_fee_htlc_tx)
}

/// Limit of dust HTLCs: the node's own, unless the first payment needs more, as all its parts may be dust. HTLCs that
/// are dust while a channel is closed are lost to fees, so the limit is no larger than needed.
fn with_room_for(own: MaxDustHTLCExposure, deliver: Msat, feerate_sat_per_kw: u32) -> MaxDustHTLCExposure {
    if deliver == Msat::ZERO {
        return own;
    }
    let feerate_sat_per_kw = feerate_sat_per_kw.max(LEAST_FEERATE_SAT_PER_KW);
    let commitment = Commitment { feerate_sat_per_kw: feerate_sat_per_kw.saturating_mul(2), anchors: false };
    let below_msat = commitment.dust_below_sat().saturating_mul(1_000);
    let in_dust = deliver.0.min(below_msat.saturating_mul(PARTS.into()));
    // LDK accepts dust only while the largest HTLC that would be dust fits too.
    let needed = in_dust.saturating_add(below_msat);
    match own {
        MaxDustHTLCExposure::FixedLimitMsat(limit) => MaxDustHTLCExposure::FixedLimitMsat(limit.max(needed)),
        // The feerate is no lower than that of the commitment transactions.
        MaxDustHTLCExposure::FeeRateMultiplier(multiplier) => {
            let least = needed.div_ceil(feerate_sat_per_kw.into());
            MaxDustHTLCExposure::FeeRateMultiplier(multiplier.max(least))
        }
    }
}

const FAILED: Option<InboundHTLCStateDetails> = Some(InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFail);
const CLAIMED: Option<InboundHTLCStateDetails> = Some(InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFulfill);
/// A base fee of more than four million satoshis, and a share of four thousand times the forwarded amount.
const OUT_OF_REACH: u32 = u32::MAX;
/// Number of blocks that LDK waits after the expiry of an HTLC that it sent.
const GRACE: u32 = 3;
/// Number of blocks before the expiry at which LDK goes on-chain with a preimage.
const CLAIM_BUFFER: u32 = HTLC_FAIL_BACK_BUFFER - GRACE;

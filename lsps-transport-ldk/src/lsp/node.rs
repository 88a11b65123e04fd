//! Every call into LDK that the LSP makes, and nothing that decides. What differs between LDK versions is here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::Transaction;
use bitcoin::secp256k1::PublicKey;
use lightning::chain::channelmonitor::HTLC_FAIL_BACK_BUFFER;
use lightning::ln::channel_state::{ChannelDetails, InboundHTLCStateDetails, OutboundHTLCStateDetails};
use lightning::ln::channelmanager::{AChannelManager as _, Bolt11InvoiceParameters, InterceptId, Retry};
use lightning::ln::types::ChannelId;
use lightning::onion_message::messenger::NullMessageRouter;
use lightning::routing::router::RouteParametersConfig;
use lightning::types::features::ChannelTypeFeatures;
use lightning::types::payment::PaymentPreimage;
use lightning::util::config::{ChannelConfigUpdate, MaxDustHTLCExposure, UserConfig};
use lightning::util::errors::APIError;

use lightning_invoice::{Bolt11InvoiceDescription, Description};
use lsps_service::capacity::{Commitment, LEAST_FEERATE_SAT_PER_KW, reserve_sat};
use lsps_service::{ChannelKey, FlowId, OfferId, OpenTerms, PartId, PaymentTerms};
use lsps_types::{Msat, PaymentHash, Preimage, Scid, Timestamp, bolt4::FailureCode};

use super::markers::Marker;
use super::report;
use crate::config::{ALL_IN_FLIGHT, PARTS};
use crate::peers::Manager;

pub(crate) struct Node<M> {
    manager: M,
    /// A channel that was ready when one was looked for last.
    ready: Mutex<Option<(ChannelId, PublicKey)>>,
}

/// Sums of the HTLCs with one payment hash at the node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    /// In HTLCs that are neither claimed nor failed.
    pub held: Msat,
    /// In HTLCs that are being claimed.
    pub claimed: Msat,
}

/// What became of asking the node to let a part go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It will.
    Done,
    /// It does not hold the part.
    NotHeld,
    /// It would not, and still holds it.
    Refused,
    /// The node holds an HTLC by this name that brought less than is to be forwarded: this much.
    BringsLess(Msat),
}

impl<M: Manager> Node<M> {
    pub fn new(manager: M) -> Arc<Self> {
        Arc::new(Self { manager, ready: Mutex::default() })
    }

    pub fn draw_scid(&self) -> Scid {
        Scid(self.manager.get_cm().get_intercept_scid())
    }

    pub fn config(&self) -> UserConfig {
        self.manager.get_cm().get_current_config()
    }

    /// Whether channels get anchors where the peer takes them.
    pub fn makes_anchors(&self) -> bool {
        self.config().channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx
    }

    pub fn height(&self) -> u32 {
        self.manager.get_cm().current_best_block().height
    }

    /// What the node could receive over its public or private channels now, those of JIT clients included.
    pub fn inbound(&self) -> Msat {
        let channels = self.manager.get_cm().list_usable_channels();
        // The peer may have no more than that in flight, however much there is on its side.
        let most = |channel: &ChannelDetails| channel.inbound_htlc_maximum_msat.unwrap_or(u64::MAX);
        Msat(channels.iter().map(|channel| channel.inbound_capacity_msat.min(most(channel))).sum())
    }

    pub fn channel(&self, peer: &PublicKey, key: ChannelKey) -> Option<ChannelDetails> {
        let channels = self.manager.get_cm().list_channels_with_counterparty(peer);
        channels.into_iter().find(|channel| channel.user_channel_id == key.to_u128())
    }

    /// Keys of all channels that were opened for an offer.
    pub fn channel_keys(&self) -> Vec<ChannelKey> {
        let channels = self.manager.get_cm().list_channels();
        channels.iter().filter_map(|channel| ChannelKey::from_u128(channel.user_channel_id)).collect()
    }

    /// With whom there are channels, and the height at which the first of them will be closed by force unless the peer
    /// comes: three blocks after what was sent to it expires, or some before what it was paid for and did not let go.
    pub fn forced_closes(&self) -> BTreeMap<PublicKey, Option<u32>> {
        let mut closes: BTreeMap<PublicKey, Option<u32>> = BTreeMap::new();
        for channel in self.manager.get_cm().list_channels() {
            let sent = channel.pending_outbound_htlcs.iter().map(|htlc| htlc.cltv_expiry.saturating_add(GRACE));
            let claimed = channel.pending_inbound_htlcs.iter().filter(|htlc| htlc.state == CLAIMED);
            let claimed = claimed.map(|htlc| htlc.cltv_expiry.saturating_sub(CLAIM_BUFFER));
            let first = closes.entry(channel.counterparty.node_id).or_default();
            *first = sent.chain(claimed).chain(*first).min();
        }
        closes
    }

    /// The same for a channel whose peer is not at hand.
    pub fn channel_by_key(&self, key: ChannelKey) -> Option<ChannelDetails> {
        let channels = self.manager.get_cm().list_channels();
        channels.into_iter().find(|channel| channel.user_channel_id == key.to_u128())
    }

    pub fn is_usable(&self, peer: &PublicKey) -> bool {
        self.manager.get_cm().list_channels_with_counterparty(peer).iter().any(|channel| channel.is_usable)
    }

    /// `htlcs`: how many its first payment comes in; `feerate_sat_per_kw`: of its commitment transactions, about.
    pub fn open(
        &self,
        peer: PublicKey,
        key: ChannelKey,
        terms: &OpenTerms,
        htlcs: usize,
        feerate_sat_per_kw: u32,
    ) -> Result<(), APIError> {
        let mut config = self.config();
        let handshake = &mut config.channel_handshake_config;
        // LDK takes 1000 sat where this would be less.
        handshake.their_channel_reserve_proportional_millionths = terms.client_reserve.0;
        handshake.announce_for_forwarding = terms.announce;
        handshake.negotiate_scid_privacy = !terms.announce;
        handshake.max_inbound_htlc_value_in_flight_percent_of_channel = ALL_IN_FLIGHT;
        let limits = &mut config.channel_handshake_limits;
        limits.force_announced_channel_preference = false;
        // With more confirmations LDK waits for as many as the client asks for when it accepts.
        limits.trust_own_funding_0conf = terms.confirmations == 0;
        // A client that asks for more, or allows less, would have a channel that cannot carry what it is opened for.
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
        manager.create_channel(peer, terms.capacity_sat, terms.push.0, key.to_u128(), None, Some(config)).map(drop)
    }

    /// Ends what [`open`](Self::open) set where the channel was to carry nothing else. A price that the operator set stays.
    pub fn carry_others(&self, peer: &PublicKey, key: ChannelKey) {
        let Some(channel) = self.channel(peer, key) else { return };
        if channel.config.is_none_or(|config| config.forwarding_fee_base_msat != OUT_OF_REACH) {
            return;
        }
        let usual = self.config().channel_config;
        let update = ChannelConfigUpdate {
            forwarding_fee_base_msat: Some(usual.forwarding_fee_base_msat),
            forwarding_fee_proportional_millionths: Some(usual.forwarding_fee_proportional_millionths),
            ..ChannelConfigUpdate::default()
        };
        // An error says that the channel is gone.
        let _ = self.manager.get_cm().update_partial_channel_config(peer, &[channel.channel_id], &update);
    }

    /// Hands over a transaction that the node keeps to itself: broadcasting is the service's decision.
    pub fn fund(&self, peer: PublicKey, channel: ChannelId, tx: Transaction) -> Result<(), APIError> {
        self.manager.get_cm().funding_transaction_generated_manual_broadcast(channel, peer, tx)
    }

    pub fn close(&self, peer: &PublicKey, channel: &ChannelId) {
        let why = "this channel is given up".to_string();
        // An error says that there is no such channel, which is what was wanted.
        let _ = self.manager.get_cm().force_close_broadcasting_latest_txn(channel, peer, why);
    }

    /// For channels whose peer is not at hand.
    pub fn close_by_key(&self, key: ChannelKey) {
        if let Some(channel) = self.channel_by_key(key) {
            self.close(&channel.counterparty.node_id, &channel.channel_id);
        }
    }

    /// `Done` does not mean delivered. Only ever ask this for a peer whose channels are usable.
    ///
    /// LDK forwards any amount, whatever came in, and gives the name of an HTLC that it forwarded to the next one with that
    /// onion. So what is held is looked at here.
    pub fn forward(&self, part: PartId, channel: &ChannelId, peer: PublicKey, amount: Msat) -> Asked {
        match self.held(part) {
            None => return Asked::NotHeld,
            Some(amount_in) if amount_in < amount => return Asked::BringsLess(amount_in),
            Some(_) => {}
        }
        let manager = self.manager.get_cm();
        match manager.forward_intercepted_htlc(InterceptId(part.0), channel, peer, amount.0) {
            Ok(()) => Asked::Done,
            Err(APIError::APIMisuseError { .. }) => Asked::NotHeld,
            Err(_) => Asked::Refused,
        }
    }

    /// LDK fails an intercepted HTLC only with `unknown_next_peer`. Forwarding nothing at all, which can never leave the
    /// node, makes it answer `temporary_channel_failure`; where no channel is ready for that, the other code has to do.
    pub fn fail(&self, part: PartId, code: FailureCode) -> Asked {
        let manager = self.manager.get_cm();
        if code == FailureCode::TemporaryChannelFailure {
            if let Some(asked) = self.fail_over(part, self.ready()).or_else(|| self.fail_over(part, self.find_ready()))
            {
                return asked;
            }
            report::other_code(&part.0, code);
        }
        match manager.fail_intercepted_htlc(InterceptId(part.0)) {
            Ok(()) => Asked::Done,
            Err(_) => Asked::NotHeld,
        }
    }

    /// `None`: not over this channel, which may be closed by now.
    fn fail_over(&self, part: PartId, ready: Option<(ChannelId, PublicKey)>) -> Option<Asked> {
        let (channel, peer) = ready?;
        match self.forward(part, &channel, peer, Msat::ZERO) {
            asked @ (Asked::Done | Asked::NotHeld) => Some(asked),
            Asked::Refused | Asked::BringsLess(_) => None,
        }
    }

    fn ready(&self) -> Option<(ChannelId, PublicKey)> {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Walks all channels of the node, so what it finds is kept.
    fn find_ready(&self) -> Option<(ChannelId, PublicKey)> {
        let channels = self.manager.get_cm().list_channels();
        let ready = channels.into_iter().find(|channel| channel.is_channel_ready);
        let ready = ready.map(|channel| (channel.channel_id, channel.counterparty.node_id));
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = ready;
        ready
    }

    pub fn holds(&self, part: PartId) -> bool {
        self.held(part).is_some()
    }

    /// The amount that came in with the HTLC that is held by this name.
    pub fn held(&self, part: PartId) -> Option<Msat> {
        self.manager.get_cm().intercepted_htlc_inbound_amount_msat(InterceptId(part.0)).map(Msat)
    }

    /// How many HTLCs of this payment and amount are on their way to the peer or with it, and not decided.
    pub fn undecided(&self, peer: &PublicKey, hash: PaymentHash, amount: Msat) -> usize {
        use OutboundHTLCStateDetails::{AwaitingRemoteRevokeToAdd, Committed};
        let is_undecided = |state| matches!(state, Some(AwaitingRemoteRevokeToAdd | Committed) | None);
        self.outgoing(peer, hash, amount, is_undecided)
    }

    /// How many HTLCs of this payment and amount are on their way to the peer, or wait to be.
    pub fn carries(&self, peer: &PublicKey, hash: PaymentHash, amount: Msat) -> usize {
        self.outgoing(peer, hash, amount, |_| true)
    }

    fn outgoing(
        &self,
        peer: &PublicKey,
        hash: PaymentHash,
        amount: Msat,
        is_it: impl Fn(Option<OutboundHTLCStateDetails>) -> bool,
    ) -> usize {
        let channels = self.manager.get_cm().list_channels_with_counterparty(peer);
        let htlcs = channels.iter().flat_map(|channel| &channel.pending_outbound_htlcs);
        let alike = htlcs.into_iter().filter(|htlc| htlc.payment_hash.0 == hash.0 && htlc.amount_msat == amount.0);
        alike.filter(|htlc| is_it(htlc.state.clone())).count()
    }

    /// Whether an HTLC of this payment that came in is there, and not being claimed.
    pub fn has_incoming(&self, hash: PaymentHash) -> bool {
        self.incoming(hash, |is_claimed| !is_claimed) > 0
    }

    /// Whether an HTLC of this payment that came in is being claimed.
    pub fn claims(&self, hash: PaymentHash) -> bool {
        self.incoming(hash, |is_claimed| is_claimed) > 0
    }

    /// Sums of the HTLCs with these payment hashes, held and being claimed, in open channels only. Walks all channels
    /// once.
    pub fn received(&self, hashes: &[PaymentHash]) -> BTreeMap<PaymentHash, Received> {
        let mut all: BTreeMap<_, Received> = hashes.iter().map(|hash| (*hash, Received::default())).collect();
        let channels = self.manager.get_cm().list_channels();
        for htlc in channels.iter().flat_map(|channel| &channel.pending_inbound_htlcs) {
            let Some(sum) = all.get_mut(&PaymentHash(htlc.payment_hash.0)) else { continue };
            match htlc.state {
                CLAIMED => sum.claimed = Msat(sum.claimed.0.saturating_add(htlc.amount_msat)),
                COMMITTED => sum.held = Msat(sum.held.0.saturating_add(htlc.amount_msat)),
                _ => {}
            }
        }
        all
    }

    /// How many HTLCs of this payment came in and are there, whatever becomes of them.
    pub fn count_incoming(&self, hash: PaymentHash) -> usize {
        self.incoming(hash, |_| true)
    }

    fn incoming(&self, hash: PaymentHash, is_it: impl Fn(bool) -> bool) -> usize {
        let channels = self.manager.get_cm().list_channels();
        let htlcs = channels.iter().flat_map(|channel| &channel.pending_inbound_htlcs);
        htlcs.into_iter().filter(|htlc| htlc.payment_hash.0 == hash.0 && is_it(htlc.state == CLAIMED)).count()
    }

    /// An invoice for a payment that is held until it is claimed or failed.
    pub fn hold_invoice(&self, hash: PaymentHash, terms: PaymentTerms, now: Timestamp) -> Option<String> {
        let seconds = u32::try_from(terms.expires_at.since(now).as_secs()).ok()?;
        let description = Description::new("a channel".into()).ok()?;
        let invoice = self.manager.get_cm().create_bolt11_invoice(Bolt11InvoiceParameters {
            amount_msats: Some(terms.amount.0),
            description: Bolt11InvoiceDescription::Direct(description),
            invoice_expiry_delta_secs: Some(seconds),
            min_final_cltv_expiry_delta: Some(u16::try_from(terms.final_cltv.0).ok()?),
            payment_hash: Some(lightning::types::payment::PaymentHash(hash.0)),
        });
        invoice.ok().map(|invoice| invoice.to_string())
    }

    /// An offer by the node's own name: its client knows it, is its peer, and would not pay anybody else.
    pub fn offer(&self, terms: PaymentTerms) -> Option<(String, OfferId)> {
        let expires_at = Duration::from_millis(terms.expires_at.unix_millis());
        let builder = self.manager.get_cm().create_offer_builder_using_router(&NullMessageRouter {}).ok()?;
        let builder = builder.amount_msats(terms.amount.0).absolute_expiry(expires_at);
        let offer = builder.description("a channel".into()).build().ok()?;
        Some((offer.to_string(), OfferId(offer.id().0)))
    }

    pub fn claim_payment(&self, preimage: Preimage) {
        self.manager.get_cm().claim_funds(PaymentPreimage(preimage.0));
    }

    pub fn fail_payment(&self, hash: PaymentHash) {
        self.manager.get_cm().fail_htlc_backwards(&lightning::types::payment::PaymentHash(hash.0));
    }

    /// Has the node tell an event that means nothing, behind all that it has to tell now: a payment of ours that was never
    /// sent is given up. `false`: the node does not.
    pub fn send_marker(&self, marker: Marker, now: Timestamp) -> bool {
        let manager = self.manager.get_cm();
        // Should the process die between the two calls, the node gives it up by itself then, and the marker is an old one.
        let expiry = Duration::from_millis(now.unix_millis()) + MARKER_EXPIRY;
        let (router, retry) = (NullMessageRouter {}, Retry::Attempts(0));
        let refund = manager.create_refund_builder_using_router(
            &router,
            1,
            expiry,
            marker.id(),
            retry,
            RouteParametersConfig::default(),
        );
        let is_made = refund.is_ok();
        manager.abandon_payment(marker.id());
        is_made
    }

    /// Whether HTLCs wait in queues that nothing shows: to be sent, to be failed, or to be looked at.
    pub fn has_unprocessed(&self) -> bool {
        self.manager.get_cm().needs_pending_htlc_processing()
    }

    /// How many HTLCs of this payment came in and are neither being claimed nor being failed, and how many of it are on
    /// their way to the peer.
    pub fn came_and_went_on(&self, peer: &PublicKey, hash: PaymentHash) -> (usize, usize) {
        let manager = self.manager.get_cm();
        let (all, theirs) = (manager.list_channels(), manager.list_channels_with_counterparty(peer));
        let came_in = all.iter().flat_map(|channel| &channel.pending_inbound_htlcs);
        let came_in =
            came_in.filter(|htlc| htlc.payment_hash.0 == hash.0 && htlc.state != CLAIMED && htlc.state != FAILED);
        let sent = theirs.iter().flat_map(|channel| &channel.pending_outbound_htlcs);
        (came_in.count(), sent.filter(|htlc| htlc.payment_hash.0 == hash.0).count())
    }

    /// Sends what was just forwarded or failed, instead of a random while later.
    pub fn flush(&self) {
        self.manager.get_cm().process_pending_htlc_forwards();
    }
}

/// Whether HTLCs are on a channel, or something of it is the peer's that was not given at the start.
pub(crate) fn is_used(details: &ChannelDetails, key: ChannelKey) -> bool {
    let has_htlcs = !details.pending_inbound_htlcs.is_empty() || !details.pending_outbound_htlcs.is_empty();
    let reserve_sat = details.unspendable_punishment_reserve.unwrap_or(0);
    // Anchors are outputs of whoever opened the channel, and LDK does not count them as its own.
    let anchors_sat = Commitment { feerate_sat_per_kw: 0, anchors: has_anchors(details) }.kept_sat(0);
    let kept_msat = reserve_sat.saturating_add(anchors_sat).saturating_mul(1_000);
    let ours = details.outbound_capacity_msat.saturating_add(kept_msat);
    let is_theirs = ours < details.channel_value_satoshis.saturating_mul(1_000);
    // An order may give its client something at once; and what the node cannot spend for its reserve is not told.
    let tells =
        details.is_channel_ready && matches!(key.flow, FlowId::JitChannel(_)) && details.outbound_capacity_msat > 0;
    has_htlcs || (tells && is_theirs)
}

/// The amount that a channel carries to its peer at once, in so many HTLCs, as it was negotiated.
pub(super) fn room_in(channel: &ChannelDetails, htlcs: usize) -> Msat {
    let anchors = has_anchors(channel);
    let feerate_sat_per_kw = channel.feerate_sat_per_1000_weight.unwrap_or(0);
    // LDK says what it carries in one. Each further one takes its share of the commitment fee.
    let further = u64::try_from(htlcs.saturating_sub(1)).unwrap_or(u64::MAX);
    let taken_sat = further.saturating_mul(Commitment { feerate_sat_per_kw, anchors }.per_htlc_sat());
    Msat(channel.next_outbound_htlc_limit_msat.saturating_sub(taken_sat.saturating_mul(1_000)))
}

fn has_anchors(channel: &ChannelDetails) -> bool {
    channel.channel_type.as_ref().is_some_and(ChannelTypeFeatures::supports_anchors_zero_fee_htlc_tx)
}

/// A limit of HTLCs in dust, the node's own unless the first payment needs more: all of its parts may be dust. What is in
/// dust while a channel is closed goes to the miners, so the limit is no larger than that.
fn with_room_for(own: MaxDustHTLCExposure, deliver: Msat, feerate_sat_per_kw: u32) -> MaxDustHTLCExposure {
    if deliver == Msat::ZERO {
        return own;
    }
    let feerate_sat_per_kw = feerate_sat_per_kw.max(LEAST_FEERATE_SAT_PER_KW);
    let commitment = Commitment { feerate_sat_per_kw: feerate_sat_per_kw.saturating_mul(2), anchors: false };
    let below_msat = commitment.dust_below_sat().saturating_mul(1_000);
    let in_dust = deliver.0.min(below_msat.saturating_mul(PARTS.into()));
    // LDK takes dust only while the largest HTLC that would be dust fits too.
    let needed = in_dust.saturating_add(below_msat);
    match own {
        MaxDustHTLCExposure::FixedLimitMsat(limit) => MaxDustHTLCExposure::FixedLimitMsat(limit.max(needed)),
        // Of a feerate that is no lower than that of the commitment transactions.
        MaxDustHTLCExposure::FeeRateMultiplier(multiplier) => {
            let least = needed.div_ceil(feerate_sat_per_kw.into());
            MaxDustHTLCExposure::FeeRateMultiplier(multiplier.max(least))
        }
    }
}

const FAILED: Option<InboundHTLCStateDetails> = Some(InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFail);
/// Longer than two calls take.
const MARKER_EXPIRY: Duration = Duration::from_secs(3_600);
const CLAIMED: Option<InboundHTLCStateDetails> = Some(InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFulfill);
const COMMITTED: Option<InboundHTLCStateDetails> = Some(InboundHTLCStateDetails::Committed);
/// More than four million satoshis, and four thousand times what is forwarded.
const OUT_OF_REACH: u32 = u32::MAX;
/// Blocks that LDK waits after the expiry of what it sent.
const GRACE: u32 = 3;
/// Blocks before the expiry at which it goes on chain with a preimage.
const CLAIM_BUFFER: u32 = HTLC_FAIL_BACK_BUFFER - GRACE;

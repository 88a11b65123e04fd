//! Every call into LDK that the wallet makes, and nothing that decides. What differs between LDK versions is here.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::{ChannelDetails, InboundHTLCStateDetails};
use lightning::ln::channelmanager::{
    AChannelManager as _, Bolt11PaymentError, OptionalOfferPaymentParams, PaymentId, RecentPaymentDetails, Retry,
    RetryableSendFailure,
};
use lightning::ln::types::ChannelId;
use lightning::offers::offer::Offer;
use lightning::offers::parse::Bolt12SemanticError;
use lightning::routing::router::RouteParametersConfig;
use lightning::types::payment::{PaymentHash as LdkHash, PaymentPreimage};
use lightning::util::config::{
    ChannelConfigOverrides, ChannelConfigUpdate, ChannelHandshakeConfigUpdate, MaxDustHTLCExposure, UserConfig,
};
use lightning::util::errors::APIError;
use lightning_invoice::{Bolt11Invoice, Description};

use lsps_client::jit_receive::{InvoiceTerms, Via};
use lsps_client::{AcceptTerms, ChannelKey};
use lsps_types::{Blocks, Msat, PaymentHash, Sat};

use super::{Keys, invoice};
use crate::config::PARTS;
use crate::peers::{Manager, peer_id};
use lsps_host::ports::Mempool;

pub(super) struct Node<M> {
    manager: M,
    keys: Arc<dyn Keys>,
    network: Network,
}

impl<M: Manager> Node<M> {
    pub fn new(manager: M, keys: Arc<dyn Keys>, network: Network) -> Self {
        Self { manager, keys, network }
    }

    pub fn config(&self) -> UserConfig {
        self.manager.get_cm().get_current_config()
    }

    /// The height of the last block that the node knows.
    pub fn height(&self) -> u32 {
        self.manager.get_cm().current_best_block().height
    }

    /// What the node asks of its peers.
    pub fn to_self_delay(&self) -> Blocks {
        Blocks(self.config().channel_handshake_config.our_to_self_delay.into())
    }

    /// An invoice whose payment secret the node knows; for this hash, or for one whose preimage it knows too.
    ///
    /// LDK holds what arrives to its own least final CLTV delta, not to the larger one in the invoice, as the spec wants.
    pub fn invoice(
        &self,
        terms: &InvoiceTerms,
        hash: Option<PaymentHash>,
        description: Description,
    ) -> Result<(PaymentHash, Bolt11Invoice), String> {
        let expiry = u32::try_from(terms.expiry_secs).unwrap_or(u32::MAX);
        let (manager, amount) = (self.manager.get_cm(), terms.amount.map(|amount| amount.0));
        let made = match hash {
            None => manager.create_inbound_payment(amount, expiry, None),
            Some(PaymentHash(hash)) => {
                let hash = LdkHash(hash);
                manager.create_inbound_payment_for_hash(hash, amount, expiry, None).map(|secret| (hash, secret))
            }
        };
        let (hash, secret) = made.map_err(|()| "the node cannot receive such an amount".to_owned())?;
        let invoice = invoice::write(terms, (hash, secret), description, self.network.into(), &*self.keys)?;
        Ok((PaymentHash(hash.0), invoice))
    }

    pub fn channel(&self, peer: &PublicKey, key: ChannelKey) -> Option<ChannelDetails> {
        let channels = self.manager.get_cm().list_channels_with_counterparty(peer);
        channels.into_iter().find(|channel| channel.user_channel_id == key.0)
    }

    pub fn accept(
        &self,
        temporary: &ChannelId,
        peer: &PublicKey,
        key: ChannelKey,
        terms: &AcceptTerms,
    ) -> Result<(), APIError> {
        let delay = self.to_self_delay().min(terms.max_to_self_delay);
        let own = self.config().channel_handshake_config;
        let overrides = ChannelConfigOverrides {
            handshake_overrides: Some(ChannelHandshakeConfigUpdate {
                max_inbound_htlc_value_in_flight_percent_of_channel: Some(terms.in_flight_percent),
                to_self_delay: u16::try_from(delay.0).ok(),
                minimum_depth: Some(terms.confirmations.into()),
                // The LSP planned the channel for no larger reserve, and for a payment in parts of any size.
                channel_reserve_proportional_millionths: Some(
                    own.their_channel_reserve_proportional_millionths.min(MOST_RESERVE_PPM),
                ),
                max_accepted_htlcs: Some(own.our_max_accepted_htlcs.max(PARTS)),
                htlc_minimum_msat: Some(1),
            }),
            update_overrides: Some(self.underpaying(terms.accept_underpaying)),
        };
        let manager = self.manager.get_cm();
        if terms.confirmations == 0 {
            manager.accept_inbound_channel_from_trusted_peer_0conf(temporary, peer, key.0, Some(overrides))
        } else {
            manager.accept_inbound_channel(temporary, peer, key.0, Some(overrides))
        }
    }

    /// The facts about channels over which a payment came that decide whether the wallet claims it.
    pub fn vias(&self, over: &[(ChannelId, Option<ChannelKey>)], mempool: Option<&dyn Mempool>) -> Vec<Via> {
        let channels = self.manager.get_cm().list_channels();
        let via = |(id, key): &(ChannelId, Option<ChannelKey>)| {
            let channel = channels.iter().find(|channel| channel.channel_id == *id);
            Via {
                peer: channel.map(|channel| peer_id(&channel.counterparty.node_id)),
                key: channel.map(|channel| ChannelKey(channel.user_channel_id)).or(*key).unwrap_or(ChannelKey(0)),
                confirmations: channel.and_then(|channel| channel.confirmations).unwrap_or(0),
                is_ours: channel.is_some_and(|channel| channel.is_outbound),
                is_seen: channel.and_then(|channel| is_seen(channel, mempool)),
            }
        };
        over.iter().map(via).collect()
    }

    /// How a payment stands that the node holds. HTLCs of channels that are gone are not part of it, although LDK would claim
    /// the payment with them.
    pub fn held(&self, hash: PaymentHash, mempool: Option<&dyn Mempool>) -> Option<Held> {
        let manager = self.manager.get_cm();
        let height = self.height();
        let channels = manager.list_channels();
        let mut held: Option<Held> = None;
        for channel in &channels {
            let ours = channel.pending_inbound_htlcs.iter().filter(|htlc| htlc.payment_hash.0 == hash.0);
            let ours =
                ours.filter(|htlc| htlc.state != Some(InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFail));
            let Some(expiry) = ours.clone().map(|htlc| htlc.cltv_expiry).min() else { continue };
            let held = held.get_or_insert_default();
            held.over.push(channel.channel_id);
            for htlc in ours {
                held.received = Msat(held.received.0.saturating_add(htlc.amount_msat));
                held.is_claimed |= htlc.state == Some(InboundHTLCStateDetails::AwaitingRemoteRevokeToRemoveFulfill);
            }
            held.blocks_left = held.blocks_left.min(expiry.saturating_sub(height));
            if !channel.is_outbound {
                let confirmations = channel.confirmations.unwrap_or(0);
                held.confirmations = held.confirmations.min(confirmations);
                held.is_seen &= confirmations > 0 || is_seen(channel, mempool) != Some(false);
            }
        }
        held
    }

    pub fn refuse(&self, temporary: &ChannelId, peer: &PublicKey, why: String) {
        // An error says that there is no such channel, which is what was wanted.
        let _ = self.manager.get_cm().force_close_broadcasting_latest_txn(temporary, peer, why);
    }

    /// On every channel with this peer: it forwards over whichever suits it.
    pub fn set_underpaying(&self, peer: &PublicKey, allowed: bool) {
        let manager = self.manager.get_cm();
        for channel in manager.list_channels_with_counterparty(peer) {
            // An error says that the channel was closed meanwhile.
            let _ = manager.update_partial_channel_config(peer, &[channel.channel_id], &self.underpaying(allowed));
        }
    }

    /// While a payment is to come of which the LSP keeps its fee, all of its parts may be dust: what the LSP sends is the
    /// wallet's gain, and lost is at the most what came in dust while the channel is closed.
    fn underpaying(&self, allowed: bool) -> ChannelConfigUpdate {
        let no_limit = MaxDustHTLCExposure::FixedLimitMsat(u64::MAX);
        let own = self.config().channel_config.max_dust_htlc_exposure;
        ChannelConfigUpdate {
            accept_underpaying_htlcs: Some(allowed),
            max_dust_htlc_exposure_msat: Some(if allowed { no_limit } else { own }),
            ..ChannelConfigUpdate::default()
        }
    }

    /// Pays an invoice under this id, which it does once, with no more than this of routing fees.
    pub fn pay_invoice(&self, id: PaymentId, invoice: &str, most: Sat, patience: Duration) -> Tried {
        let Ok(invoice) = invoice.parse::<Bolt11Invoice>() else { return Tried::Never };
        let (limits, retry) = (routing_fees(most), Retry::Timeout(patience.min(PATIENCE)));
        match self.manager.get_cm().pay_for_bolt11_invoice(&invoice, id, None, limits, retry) {
            Ok(()) | Err(Bolt11PaymentError::SendingFailed(RetryableSendFailure::DuplicatePayment)) => Tried::Begun,
            Err(Bolt11PaymentError::SendingFailed(RetryableSendFailure::RouteNotFound)) => Tried::NotNow,
            Err(Bolt11PaymentError::InvalidAmount | Bolt11PaymentError::SendingFailed(_)) => Tried::Never,
        }
    }

    /// Pays what an offer asks for under this id, which it does once, with no more than this of routing fees.
    pub fn pay_offer(&self, id: PaymentId, offer: &str, most: Sat, patience: Duration) -> Tried {
        let Ok(offer) = offer.parse::<Offer>() else { return Tried::Never };
        let (route_params_config, retry_strategy) = (routing_fees(most), Retry::Timeout(patience.min(PATIENCE)));
        let defaults = OptionalOfferPaymentParams::default();
        let params = OptionalOfferPaymentParams { route_params_config, retry_strategy, ..defaults };
        match self.manager.get_cm().pay_for_offer(&offer, None, id, params) {
            Ok(()) | Err(Bolt12SemanticError::DuplicatePaymentId) => Tried::Begun,
            // No way back to us for the answer: no peer is connected yet.
            Err(Bolt12SemanticError::MissingPaths) => Tried::NotNow,
            Err(_) => Tried::Never,
        }
    }

    /// The amount that the channels could pay now or once their peers are back.
    pub fn outbound(&self) -> Msat {
        let channels = self.manager.get_cm().list_channels();
        let ready = channels.iter().filter(|channel| channel.is_channel_ready);
        Msat(ready.fold(0, |sum, channel| channel.outbound_capacity_msat.saturating_add(sum)))
    }

    /// Tries no other routes; what is out is waited for.
    pub fn give_up(&self, id: PaymentId) {
        self.manager.get_cm().abandon_payment(id);
    }

    /// Whether the node has a payment of this id, and will tell its outcome or has told its success.
    pub fn knows_payment(&self, id: PaymentId) -> bool {
        self.payments_of(id).next().is_some()
    }

    /// Whether the node pays or paid this hash, under whatever id, as far as it remembers.
    pub fn pays_hash(&self, hash: PaymentHash) -> bool {
        self.manager.get_cm().list_recent_payments().into_iter().any(|payment| match payment {
            RecentPaymentDetails::AwaitingInvoice { .. } => false,
            RecentPaymentDetails::Pending { payment_hash, .. }
            | RecentPaymentDetails::Abandoned { payment_hash, .. } => payment_hash.0 == hash.0,
            RecentPaymentDetails::Fulfilled { payment_hash, .. } => payment_hash.is_some_and(|its| its.0 == hash.0),
        })
    }

    /// Whether it may still succeed.
    pub fn is_paying(&self, id: PaymentId) -> bool {
        self.payments_of(id).any(|payment| match payment {
            RecentPaymentDetails::AwaitingInvoice { .. } | RecentPaymentDetails::Pending { .. } => true,
            RecentPaymentDetails::Fulfilled { .. } | RecentPaymentDetails::Abandoned { .. } => false,
        })
    }

    fn payments_of(&self, id: PaymentId) -> impl Iterator<Item = RecentPaymentDetails> {
        self.manager.get_cm().list_recent_payments().into_iter().filter(move |payment| match payment {
            RecentPaymentDetails::AwaitingInvoice { payment_id }
            | RecentPaymentDetails::Pending { payment_id, .. }
            | RecentPaymentDetails::Fulfilled { payment_id, .. }
            | RecentPaymentDetails::Abandoned { payment_id, .. } => *payment_id == id,
        })
    }

    pub fn claim(&self, preimage: PaymentPreimage) {
        self.manager.get_cm().claim_funds(preimage);
    }

    /// At once, instead of a random while later.
    pub fn fail(&self, hash: PaymentHash) {
        self.manager.get_cm().fail_htlc_backwards(&LdkHash(hash.0));
        self.manager.get_cm().process_pending_htlc_forwards();
    }
}

/// What came of beginning with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// It is under way, or was before.
    Begun,
    /// Nothing is under way; later it may be possible.
    NotNow,
    /// Nothing is, nor will be.
    Never,
}

/// A payment that waits to be claimed.
pub(super) struct Held {
    /// Of the youngest channel that it came over and that a peer funded.
    pub confirmations: u32,
    /// Whether the funding of each was published, as far as that can be told.
    pub is_seen: bool,
    /// Until its first HTLC expires.
    pub blocks_left: u32,
    /// The sum of its HTLCs.
    pub received: Msat,
    /// The channels that its HTLCs came over.
    pub over: Vec<ChannelId>,
    /// Whether the node is claiming it.
    pub is_claimed: bool,
}

/// Of no HTLC at all.
impl Default for Held {
    fn default() -> Self {
        let (confirmations, blocks_left, received) = (u32::MAX, u32::MAX, Msat::ZERO);
        Self { confirmations, is_seen: true, blocks_left, received, over: vec![], is_claimed: false }
    }
}

fn is_seen(channel: &ChannelDetails, mempool: Option<&dyn Mempool>) -> Option<bool> {
    let (mempool, funding) = (mempool?, channel.funding_txo?);
    Some(mempool.has_seen(&funding.txid))
}

fn routing_fees(most: Sat) -> RouteParametersConfig {
    let most = most.to_msat().map_or(u64::MAX, |most| most.0);
    RouteParametersConfig { max_total_routing_fee_msat: Some(most), ..RouteParametersConfig::default() }
}

/// One percent, as BOLT 2 suggests.
const MOST_RESERVE_PPM: u32 = 10_000;
/// For how long LDK tries other routes.
const PATIENCE: Duration = Duration::from_secs(60);

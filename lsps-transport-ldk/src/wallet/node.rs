//! All calls of the wallet into LDK, without decisions. Differences between LDK versions are handled here.

use std::sync::Arc;

use bitcoin::Network;
use lightning::ln::channel_state::{ChannelDetails, InboundHTLCStateDetails};
use lightning::ln::channelmanager::{
    AChannelManager as _, Bolt11PaymentError, MIN_FINAL_CLTV_EXPIRY_DELTA, OptionalOfferPaymentParams,
    PaymentId as LdkPaymentId, RecentPaymentDetails, Retry, RetryableSendFailure,
};
use lightning::ln::types::ChannelId;
use lightning::offers::offer::Offer;
use lightning::offers::parse::Bolt12SemanticError;
use lightning::routing::router::RouteParametersConfig;
use lightning::types::payment::{PaymentHash as LdkHash, PaymentPreimage};
use lightning::util::config::{
    ChannelConfigOverrides, ChannelConfigUpdate, ChannelHandshakeConfigUpdate, MaxDustHTLCExposure, UserConfig,
};
use lightning_invoice::{Bolt11Invoice, Description};

use lsps_client::jit_receive::InvoiceTerms;
use lsps_client::{AcceptTerms, ChannelKey};
use lsps_host::ports::{
    ChannelRequest, IncomingState, Marker, NoInvoice, PayAnswer, PayLimits, PaymentId, PaymentProgress, SettingMissing,
    WalletChannel, WalletHtlc, WalletNode,
};
use lsps_service::ChannelId as LspsChannelId;
use lsps_types::lsps1::{LdkInvoices, PaymentFacts, ReadInvoices as _};
use lsps_types::{BlockHeight, Blocks, Msat, PaymentHash, PeerId, Preimage, Sat, Timestamp};

use super::{Keys, invoice};
use crate::config::{PARTS, Takes};
use crate::handler::LspsMessageHandler;
use crate::peers::{Manager, network_name, peer_id, public_key, send_marker};

pub(super) struct Node<M> {
    manager: M,
    keys: Arc<dyn Keys>,
    network: Network,
    messages: Arc<LspsMessageHandler>,
}

impl<M: Manager> Node<M> {
    pub fn new(manager: M, keys: Arc<dyn Keys>, network: Network, messages: Arc<LspsMessageHandler>) -> Self {
        Self { manager, keys, network, messages }
    }

    pub fn config(&self) -> UserConfig {
        self.manager.get_cm().get_current_config()
    }

    /// While the wallet expects a payment of which the LSP keeps its fee, all of its parts may be dust. The wallet only
    /// gains by such a payment; at most the dust is lost if the channel is closed meanwhile.
    fn underpaying(&self, allowed: bool) -> ChannelConfigUpdate {
        let no_limit = MaxDustHTLCExposure::FixedLimitMsat(u64::MAX);
        let own = self.config().channel_config.max_dust_htlc_exposure;
        ChannelConfigUpdate {
            accept_underpaying_htlcs: Some(allowed),
            max_dust_htlc_exposure_msat: Some(if allowed { no_limit } else { own }),
            ..ChannelConfigUpdate::default()
        }
    }
}

impl<M: Manager> WalletNode for Node<M> {
    fn network(&self) -> Option<lsps_types::Network> {
        Some(network_name(self.network))
    }

    fn height(&self) -> BlockHeight {
        BlockHeight(self.manager.get_cm().current_best_block().height)
    }

    fn draw_bytes(&self) -> [u8; 32] {
        self.keys.get_secure_random_bytes()
    }

    fn to_self_delay(&self) -> Blocks {
        Blocks(self.config().channel_handshake_config.our_to_self_delay.into())
    }

    /// LDK fails a payment by itself when three blocks less than this are left.
    fn min_final_cltv_expiry_delta(&self) -> u16 {
        MIN_FINAL_CLTV_EXPIRY_DELTA
    }

    fn takes_channel(&self, announced: bool, capacity: Option<Sat>) -> Result<(), SettingMissing> {
        Takes::of(&self.config()).require(announced, capacity)
    }

    fn has_scid_alias(&self, peer: PeerId) -> bool {
        self.messages.has_scid_alias(peer)
    }

    fn has_large_channels(&self, peer: PeerId) -> bool {
        self.messages.has_large_channels(peer)
    }

    fn outbound(&self) -> Msat {
        let channels = self.manager.get_cm().list_channels();
        let ready = channels.iter().filter(|channel| channel.is_channel_ready);
        Msat(ready.fold(0, |sum, channel| channel.outbound_capacity_msat.saturating_add(sum)))
    }

    fn channels(&self) -> Vec<WalletChannel> {
        self.manager.get_cm().list_channels().iter().map(wallet_channel).collect()
    }

    fn channels_with(&self, peer: PeerId) -> Vec<WalletChannel> {
        let channels = public_key(peer).map(|peer| self.manager.get_cm().list_channels_with_counterparty(&peer));
        channels.unwrap_or_default().iter().map(wallet_channel).collect()
    }

    fn accept(&self, request: &ChannelRequest, key: ChannelKey, terms: &AcceptTerms) -> Result<(), String> {
        let (temporary, peer) = (ChannelId(request.id), public_key(request.peer).ok_or("no public key")?);
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
        let accepted = if terms.confirmations == 0 {
            manager.accept_inbound_channel_from_trusted_peer_0conf(&temporary, &peer, key.0, Some(overrides))
        } else {
            manager.accept_inbound_channel(&temporary, &peer, key.0, Some(overrides))
        };
        accepted.map_err(|why| format!("{why:?}"))
    }

    fn refuse(&self, request: &ChannelRequest, why: &str) {
        let Some(peer) = public_key(request.peer) else { return };
        // An error means that there is no such channel, which is the wanted state.
        let manager = self.manager.get_cm();
        let _ = manager.force_close_broadcasting_latest_txn(&ChannelId(request.id), &peer, why.to_owned());
    }

    /// Changes every channel with this peer, because the LSP may forward over any of them.
    fn set_underpaying(&self, peer: PeerId, allowed: bool) {
        let (Some(peer), manager) = (public_key(peer), self.manager.get_cm()) else { return };
        for channel in manager.list_channels_with_counterparty(&peer) {
            // An error means that the channel was closed meanwhile.
            let _ = manager.update_partial_channel_config(&peer, &[channel.channel_id], &self.underpaying(allowed));
        }
    }

    fn invoice(
        &self,
        terms: &InvoiceTerms,
        hash: Option<PaymentHash>,
        description: &str,
    ) -> Result<(PaymentHash, String), NoInvoice> {
        let description = Description::new(description.to_owned()).map_err(|why| format!("{why:?}"))?;
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
        Ok((PaymentHash(hash.0), invoice.to_string()))
    }

    fn read_invoice(&self, invoice: &str, network: lsps_types::Network) -> Option<PaymentFacts> {
        LdkInvoices.bolt11(invoice, network)
    }

    fn read_offer(&self, offer: &str, network: lsps_types::Network) -> Option<PaymentFacts> {
        LdkInvoices.bolt12(offer, network)
    }

    fn incoming(&self, hash: PaymentHash) -> Vec<WalletHtlc> {
        use InboundHTLCStateDetails::{
            AwaitingRemoteRevokeToRemoveFail, AwaitingRemoteRevokeToRemoveFulfill, Committed,
        };
        let mut incoming = vec![];
        for channel in self.manager.get_cm().list_channels() {
            let its = channel.pending_inbound_htlcs.iter().filter(|htlc| htlc.payment_hash.0 == hash.0);
            incoming.extend(its.filter(|htlc| htlc.state != Some(AwaitingRemoteRevokeToRemoveFail)).map(|htlc| {
                let state = match htlc.state {
                    Some(Committed) => IncomingState::Committed,
                    Some(AwaitingRemoteRevokeToRemoveFulfill) => IncomingState::Claiming,
                    _ => IncomingState::Arriving,
                };
                let (over, amount) = (LspsChannelId(channel.channel_id.0), Msat(htlc.amount_msat));
                WalletHtlc { over, amount, cltv_expiry: BlockHeight(htlc.cltv_expiry), state }
            }));
        }
        incoming
    }

    fn claim_payment(&self, preimage: Preimage) {
        self.manager.get_cm().claim_funds(PaymentPreimage(preimage.0));
    }

    /// The payment is failed at once instead of after LDK's random delay.
    fn fail_payment(&self, hash: PaymentHash) {
        self.manager.get_cm().fail_htlc_backwards(&LdkHash(hash.0));
        self.manager.get_cm().process_pending_htlc_forwards();
    }

    fn pay_invoice(&self, id: PaymentId, invoice: &str, limits: PayLimits) -> PayAnswer {
        let Ok(invoice) = invoice.parse::<Bolt11Invoice>() else { return PayAnswer::Never };
        let (id, fees, retry) = (LdkPaymentId(id.0), routing_fees(limits.fee), Retry::Timeout(limits.within));
        match self.manager.get_cm().pay_for_bolt11_invoice(&invoice, id, None, fees, retry) {
            Ok(()) | Err(Bolt11PaymentError::SendingFailed(RetryableSendFailure::DuplicatePayment)) => PayAnswer::Begun,
            Err(Bolt11PaymentError::SendingFailed(RetryableSendFailure::RouteNotFound)) => PayAnswer::NotNow,
            Err(Bolt11PaymentError::InvalidAmount | Bolt11PaymentError::SendingFailed(_)) => PayAnswer::Never,
        }
    }

    fn pay_offer(&self, id: PaymentId, offer: &str, limits: PayLimits) -> PayAnswer {
        let Ok(offer) = offer.parse::<Offer>() else { return PayAnswer::Never };
        let (route_params_config, retry_strategy) = (routing_fees(limits.fee), Retry::Timeout(limits.within));
        let defaults = OptionalOfferPaymentParams::default();
        let params = OptionalOfferPaymentParams { route_params_config, retry_strategy, ..defaults };
        match self.manager.get_cm().pay_for_offer(&offer, None, LdkPaymentId(id.0), params) {
            Ok(()) | Err(Bolt12SemanticError::DuplicatePaymentId) => PayAnswer::Begun,
            // There is no path back to this node for the invoice, because no peer is connected yet.
            Err(Bolt12SemanticError::MissingPaths) => PayAnswer::NotNow,
            Err(_) => PayAnswer::Never,
        }
    }

    fn stop_paying(&self, id: PaymentId) {
        self.manager.get_cm().abandon_payment(LdkPaymentId(id.0));
    }

    fn payment(&self, id: PaymentId) -> Option<PaymentProgress> {
        use RecentPaymentDetails::{Abandoned, AwaitingInvoice, Fulfilled, Pending};
        let mut progress = None;
        for payment in self.manager.get_cm().list_recent_payments() {
            let (its, is) = match payment {
                AwaitingInvoice { payment_id } | Pending { payment_id, .. } => (payment_id, PaymentProgress::UnderWay),
                Fulfilled { payment_id, .. } | Abandoned { payment_id, .. } => (payment_id, PaymentProgress::Over),
            };
            if its.0 == id.0 && progress != Some(PaymentProgress::UnderWay) {
                progress = Some(is);
            }
        }
        progress
    }

    fn pays_hash(&self, hash: PaymentHash) -> bool {
        self.manager.get_cm().list_recent_payments().into_iter().any(|payment| match payment {
            RecentPaymentDetails::AwaitingInvoice { .. } => false,
            RecentPaymentDetails::Pending { payment_hash, .. }
            | RecentPaymentDetails::Abandoned { payment_hash, .. } => payment_hash.0 == hash.0,
            RecentPaymentDetails::Fulfilled { payment_hash, .. } => payment_hash.is_some_and(|its| its.0 == hash.0),
        })
    }

    fn send_marker(&self, marker: Marker, now: Timestamp) -> bool {
        send_marker(&self.manager, marker, now)
    }
}

fn wallet_channel(details: &ChannelDetails) -> WalletChannel {
    WalletChannel {
        id: LspsChannelId(details.channel_id.0),
        key: ChannelKey(details.user_channel_id),
        peer: peer_id(&details.counterparty.node_id),
        funding: details.funding_txo.map(|funding| funding.into_bitcoin_outpoint()),
        confirmations: details.confirmations.unwrap_or(0),
        is_ours: details.is_outbound,
        is_usable: details.is_usable,
    }
}

fn routing_fees(most: Sat) -> RouteParametersConfig {
    let most = most.to_msat().map_or(u64::MAX, |most| most.0);
    RouteParametersConfig { max_total_routing_fee_msat: Some(most), ..RouteParametersConfig::default() }
}

/// Largest channel reserve that is requested, in parts per million: one percent, as BOLT 2 suggests.
const MOST_RESERVE_PPM: u32 = 10_000;

//! The LSP on LDK: events to inputs. The core behind it is owned by the [`pump`].

mod node;
mod perform;
mod pump;
mod watch;

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::events::{ClosureReason, Event, HTLCHandlingFailureType, ReplayEvent};
use tokio::sync::{mpsc, oneshot};

use lsps_service::{
    ChannelEnd, ChannelId, ChannelKey, Config, FundingOutput, HeldHtlc, Input, Outcome, PartId, Policy, Unreadable,
    WhichPart,
};
use lsps_types::{Msat, PaymentHash, Scid, lsps2::PromiseKey};

use crate::config::{CannotStart, require_for_lsp};
use crate::handler::LspsMessageHandler;
use crate::onchain::{ChainAccess, Clock, OnchainWallet, SystemClock};
use crate::peers::{Manager, PeerManager, Peers, peer_id};
use crate::store::{RecordStore, Store};

use node::Node;
use pump::{Pump, Told};

/// What an LSP is made of.
pub struct LspParts<M, P, K> {
    /// The node's channel manager.
    pub channel_manager: M,
    /// Its peer manager.
    pub peer_manager: P,
    /// The handler that the peer manager was given.
    pub messages: Arc<LspsMessageHandler>,
    /// Where the records go; any LDK store.
    pub store: K,
    /// Pays for channels.
    pub wallet: Arc<dyn OnchainWallet>,
    /// Broadcasts transactions and knows feerates.
    pub chain: Arc<dyn ChainAccess>,
    /// The time; [`SystemClock`] unless a test brings its own.
    pub clock: Arc<dyn Clock>,
    /// Secret and stable: offers made with one key cannot be bought with another.
    pub promise_key: PromiseKey,
    /// How the service behaves.
    pub config: Config,
    /// Hand back HTLCs for SCIDs that are not ours, instead of failing them, because something else intercepts too.
    pub others_intercept: bool,
}

impl<M, P, K> LspParts<M, P, K> {
    /// The usual parts, with the defaults for the rest.
    pub fn new(
        channel_manager: M,
        peer_manager: P,
        messages: Arc<LspsMessageHandler>,
        store: K,
        wallet: Arc<dyn OnchainWallet>,
        chain: Arc<dyn ChainAccess>,
        promise_key: PromiseKey,
    ) -> Self {
        let (clock, config, others_intercept) = (Arc::new(SystemClock), Config::default(), false);
        Self {
            channel_manager,
            peer_manager,
            messages,
            store,
            wallet,
            chain,
            clock,
            promise_key,
            config,
            others_intercept,
        }
    }
}

/// A running LSP. Dropping it stops it; everything that was promised is on record.
pub struct Lsp {
    inputs: mpsc::UnboundedSender<Told>,
    others_intercept: bool,
    stopped: Option<oneshot::Receiver<()>>,
}

impl Lsp {
    /// Loads the records, compares them with the node, and serves. Call it once the node's own state is loaded and before
    /// its peers connect.
    ///
    /// Records that cannot be read are reported and left alone; the others are served.
    ///
    /// # Errors
    ///
    /// When a setting is missing or the store cannot be read at all.
    pub async fn start<M: Manager, P: PeerManager, K: Store>(
        parts: LspParts<M, P, K>,
        policy: impl Policy + 'static,
    ) -> Result<(Self, Vec<Unreadable>), CannotStart> {
        let node = Node::new(parts.channel_manager);
        require_for_lsp(&node.config())?;
        let store = RecordStore::new(parts.store, "service");
        let records = store.load().await.map_err(CannotStart::Store)?;
        let scids = {
            let node = Arc::clone(&node);
            move || node.draw_scid()
        };
        let service = lsps_service::Service::new(parts.config, policy, scids, parts.promise_key)?;
        let peers = Peers::new(parts.messages, parts.peer_manager);
        let (inputs, queue) = mpsc::unbounded_channel();
        let mut pump = Pump::new(service, node, peers, store, parts.wallet, parts.chain, parts.clock, queue);
        let unreadable = pump.load(records);
        let (done, stopped) = oneshot::channel();
        tokio::spawn(async move {
            pump.run().await;
            let _ = done.send(());
        });
        Ok((Self { inputs, others_intercept: parts.others_intercept, stopped: Some(stopped) }, unreadable))
    }

    /// Offers an event of the node. `true`: it was ours and is dealt with, durably.
    ///
    /// # Errors
    ///
    /// When the store failed: return this from the event handler, and LDK tells the event again.
    pub async fn handle_event(&self, event: &Event) -> Result<bool, ReplayEvent> {
        let Some(news) = news(event) else { return Ok(false) };
        let is_htlc = matches!(event, Event::HTLCIntercepted { .. });
        let fail_if_not_mine = is_htlc && !self.others_intercept;
        let (done, answer) = oneshot::channel();
        self.inputs.send(Told { news, fail_if_not_mine, done }).map_err(|_| ReplayEvent())?;
        match answer.await {
            Ok(Some(Outcome::NotMine)) => Ok(fail_if_not_mine),
            Ok(Some(Outcome::Taken | Outcome::Refused(_))) => Ok(true),
            // The pump waited before it answered, so that a store that is away is not asked in a tight loop.
            Ok(None) | Err(_) => Err(ReplayEvent()),
        }
    }

    /// Stops after what is under way, and waits for it.
    pub async fn stop(mut self) {
        let (nobody, _) = mpsc::unbounded_channel();
        drop(std::mem::replace(&mut self.inputs, nobody));
        if let Some(stopped) = self.stopped.take() {
            let _ = stopped.await;
        }
    }
}

fn news(event: &Event) -> Option<NodeNews> {
    let key = |user_channel_id: &u128| ChannelKey::from_u128(*user_channel_id);
    Some(match event {
        Event::HTLCIntercepted {
            intercept_id,
            requested_next_hop_scid,
            payment_hash,
            inbound_amount_msat,
            expected_outbound_amount_msat,
        } => NodeNews::Input(Input::HtlcHeld(HeldHtlc {
            part: PartId(intercept_id.0),
            scid: Scid(*requested_next_hop_scid),
            payment_hash: PaymentHash(payment_hash.0),
            amount_in: Msat(*inbound_amount_msat),
            onion_amount: Msat(*expected_outbound_amount_msat),
            cltv_expiry: None, // LDK 0.2 keeps it, and fails the HTLC itself in time
        })),
        Event::FundingGenerationReady { channel_value_satoshis, output_script, user_channel_id, .. } => {
            let output = FundingOutput { script: output_script.to_bytes(), value_sat: *channel_value_satoshis };
            NodeNews::Input(Input::ChannelNegotiated { key: key(user_channel_id)?, to_self_delay: None, output })
        }
        Event::FundingTxBroadcastSafe { user_channel_id, .. } | Event::ChannelPending { user_channel_id, .. } => {
            NodeNews::Input(Input::ChannelPending { key: key(user_channel_id)? })
        }
        Event::ChannelReady { user_channel_id, channel_id, .. } => {
            let channel_id = ChannelId(channel_id.0);
            NodeNews::Input(Input::ChannelReady { key: key(user_channel_id)?, channel_id })
        }
        Event::ChannelClosed { user_channel_id, reason, .. } => {
            NodeNews::Input(Input::ChannelEnded { key: key(user_channel_id)?, why: end(reason) })
        }
        Event::PaymentForwarded { next_node_id: Some(to), outbound_amount_forwarded_msat: Some(amount), .. } => {
            let part = WhichPart::Sent { to: peer_id(to), amount: Msat(*amount) };
            NodeNews::Input(Input::PartForwarded { part })
        }
        Event::HTLCHandlingFailed { failure_type, .. } => match failure_type {
            HTLCHandlingFailureType::Forward { node_id: Some(client), .. } => NodeNews::FailedTowards(*client),
            HTLCHandlingFailureType::InvalidForward { requested_forward_scid } => {
                NodeNews::FailedHeld(Scid(*requested_forward_scid))
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// What an event says, as far as LDK can say it.
#[derive(Debug)]
pub(crate) enum NodeNews {
    Input(Input),
    /// Some HTLC to this peer failed.
    FailedTowards(PublicKey),
    /// Some held HTLC to this SCID was failed, by us or because its time was up.
    FailedHeld(Scid),
}

/// Why a channel ended. Before both sides signed, words of the peer mean that it refused.
fn end(reason: &ClosureReason) -> ChannelEnd {
    match reason {
        ClosureReason::CounterpartyForceClosed { .. }
        | ClosureReason::CounterpartyCoopClosedUnfundedChannel
        | ClosureReason::ProcessingError { .. } => ChannelEnd::Rejected,
        ClosureReason::DisconnectedPeer => ChannelEnd::PeerGone,
        _ => ChannelEnd::Closed,
    }
}

//! The LSP on LDK: the ports, and the conversion of events to inputs.

mod events;
mod node;

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::events::{Event, ReplayEvent};

use lsps_host::ports::{ChainAccess, OnchainWallet};
use lsps_host::{LspParts as HostParts, LspSettings, Stopped};
use lsps_service::{Outcome, Policy, Unreadable, WakeReason};
use lsps_types::lsps2::PromiseKey;
use tokio::sync::watch;

use crate::config::{CannotStart, require_for_lsp};
use crate::handler::LspsMessageHandler;
use crate::peers::{Manager, PeerManager, Peers, peer_id};
use crate::store::{BatchStore, Store, nobody_there, records};

use events::node_event;
use node::Node;

/// The parts of which an LSP is built: those of LDK, and [`LspSettings`], whose fields are those of the parts.
pub struct LspParts<M, P, K> {
    /// The node's channel manager.
    pub channel_manager: M,
    /// The node's peer manager.
    pub peer_manager: P,
    /// The message handler that was passed to the peer manager.
    pub messages: Arc<LspsMessageHandler>,
    /// The store of the LSP's records; any LDK store.
    pub store: K,
    /// The same store, if it can make several records durable in one transaction. `None`: records are written side by
    /// side.
    pub batches: Option<Arc<dyn BatchStore>>,
    /// Whether something else intercepts HTLCs too. `true`: the LSP leaves HTLCs to SCIDs that it has not sold to the
    /// application, instead of failing them.
    pub others_intercept: bool,
    /// Everything else.
    pub settings: LspSettings,
}

impl<M, P, K> LspParts<M, P, K> {
    /// Creates the usual parts, with defaults for the rest.
    pub fn new(
        channel_manager: M,
        peer_manager: P,
        messages: Arc<LspsMessageHandler>,
        store: K,
        wallet: Arc<dyn OnchainWallet>,
        chain: Arc<dyn ChainAccess>,
        promise_key: PromiseKey,
    ) -> Self {
        let settings = LspSettings::new(wallet, chain, promise_key);
        Self { channel_manager, peer_manager, messages, store, batches: None, others_intercept: false, settings }
    }
}

impl<M, P, K> Deref for LspParts<M, P, K> {
    type Target = LspSettings;

    fn deref(&self) -> &LspSettings {
        &self.settings
    }
}

impl<M, P, K> DerefMut for LspParts<M, P, K> {
    fn deref_mut(&mut self) -> &mut LspSettings {
        &mut self.settings
    }
}

/// A running LSP. Dropping the handle stops the LSP; every promise is on record by then.
pub struct Lsp {
    host: lsps_host::Lsp,
    others_intercept: bool,
    stopped: watch::Receiver<Option<Stopped>>,
}

impl Lsp {
    /// Loads the records, compares them with the node, and serves, in a task of the present tokio runtime. Call it
    /// after the node's own state is loaded, its monitors in its `ChainMonitor`, and before its peers connect.
    ///
    /// Records that cannot be read are reported and left alone; the others are served.
    ///
    /// # Errors
    ///
    /// A setting is missing, or the store cannot be read at all.
    pub async fn start<M: Manager, P: PeerManager, K: Store>(
        parts: LspParts<M, P, K>,
        policy: impl Policy + 'static,
    ) -> Result<(Self, Vec<Unreadable>), CannotStart> {
        let node = Node::new(parts.channel_manager);
        require_for_lsp(&node.config())?;
        let host = HostParts {
            node,
            messages: Arc::new(Peers::new(parts.messages, parts.peer_manager)),
            store: records(parts.store, parts.batches),
            settings: parts.settings,
        };
        let started = lsps_host::Lsp::start(host, policy).await?;
        let stopped = spawn(started.runner.run());
        let others_intercept = parts.others_intercept;
        Ok((Self { host: started.lsp, others_intercept, stopped }, started.unreadable))
    }

    /// Passes an event of the node to the LSP. `true`: the event was the LSP's, and is handled durably.
    ///
    /// Pass every event, in the order in which LDK reports them. The LSP has the node report `PaymentFailed` events
    /// with payment ids of its own, to know that earlier events were reported. Until one comes back no failure is
    /// assumed and no signed channel is abandoned.
    ///
    /// # Errors
    ///
    /// The store failed: return this from the event handler, and LDK reports the event again. If the LSP has stopped,
    /// that happens forever: [`stopped`](Self::stopped) says when and why.
    pub async fn handle_event(&self, event: &Event) -> Result<bool, ReplayEvent> {
        let Some(told) = node_event(event) else { return Ok(false) };
        let is_htlc = matches!(event, Event::HTLCIntercepted { .. });
        let fail_if_not_mine = is_htlc && !self.others_intercept;
        match self.host.handle_node_event(told, fail_if_not_mine).await {
            Ok(Outcome::NotMine) => Ok(fail_if_not_mine),
            Ok(Outcome::Taken | Outcome::Refused(_)) => Ok(true),
            // The host paused before it answered, so that a store that is unreachable is not called in a tight loop.
            Err(again) if again.is_stopped => Err(nobody_there().await),
            Err(_) => Err(ReplayEvent()),
        }
    }

    /// Notifies the webhooks of a client, unless the client is connected or was notified for the same reason lately.
    /// `false`: the client has no webhook.
    pub async fn wake_client(&self, client: &PublicKey, reason: WakeReason) -> bool {
        self.host.wake_client(peer_id(client), reason).await
    }

    /// Waits until the LSP has stopped, and returns the reason. A process that lost its records to another
    /// ([`Stopped::LostOwnership`]) has to end, with its node. `None`: the task of the LSP panicked.
    pub async fn stopped(&self) -> Option<Stopped> {
        why(self.stopped.clone()).await
    }

    /// Stops the LSP after the present turn, waits for its end, and returns the reason: the LSP may have stopped
    /// before.
    pub async fn stop(self) -> Option<Stopped> {
        drop(self.host);
        why(self.stopped).await
    }
}

/// Runs a host in a task, and returns the place of the reason for its end.
pub(crate) fn spawn(running: impl Future<Output = Stopped> + Send + 'static) -> watch::Receiver<Option<Stopped>> {
    let (done, stopped) = watch::channel(None);
    tokio::spawn(async move { done.send_replace(Some(running.await)) });
    stopped
}

pub(crate) async fn why(mut stopped: watch::Receiver<Option<Stopped>>) -> Option<Stopped> {
    let stopped = stopped.wait_for(Option::is_some).await.ok()?;
    *stopped
}

impl Deref for Lsp {
    type Target = lsps_host::Lsp;

    fn deref(&self) -> &lsps_host::Lsp {
        &self.host
    }
}

//! The wallet on LDK: the ports, and the conversion of events to inputs.

mod events;
mod invoice;
mod node;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use lightning::events::{Event, ReplayEvent};
use lightning::sign::{EntropySource, NodeSigner};
use lightning_invoice::Bolt11Invoice;
use tokio::sync::watch;

use lsps_client::Unreadable;
use lsps_client::jit_receive::{FeeLimits, Handled};
use lsps_client::order::{PaymentMethod, Quote};
use lsps_client::session::{NotRegistered, WhyNot};
use lsps_types::lsps1::CreateOrder;
use lsps_types::lsps5::{AppName, WebhookUrl};
use lsps_types::{Msat, PaymentHash, PeerId, Ppm, Timestamp};

use crate::config::{CannotStart, require_for_wallet};
use crate::handler::LspsMessageHandler;
use crate::lsp::{spawn, why};
use crate::peers::{Manager, PeerManager, Peers, network_of, peer_id, public_key};
use crate::store::{BatchStore, Store, nobody_there, records};
use lsps_host::Stopped;
use lsps_host::wallet::{JitInvoice as HostInvoice, Started, WalletParts as HostParts};

pub use lsps_host::ports::{Connect, Connecting};
pub use lsps_host::wallet::{
    CannotAbandon, CannotEndOrder, CannotOrderChannel, CannotReceive, KnownLsp, OrderHandle, Outcome, WalletEvent,
    WalletSettings,
};

use events::node_event;
use node::Node;

/// The parts of a wallet that receives through JIT channels and orders channels: those of LDK, and [`WalletSettings`],
/// whose fields are those of the parts.
pub struct WalletParts<M, P, K> {
    /// The node's channel manager.
    pub channel_manager: M,
    /// The node's peer manager.
    pub peer_manager: P,
    /// The message handler that was passed to the peer manager.
    pub messages: Arc<LspsMessageHandler>,
    /// The store of the wallet's records; any LDK store.
    pub store: K,
    /// The same store, if it can make several records durable in one transaction. `None`: records are written side by
    /// side.
    pub batches: Option<Arc<dyn BatchStore>>,
    /// Signs invoices and draws random numbers.
    pub keys: Arc<dyn Keys>,
    /// The network of the node, for the prefix of invoices.
    pub network: Network,
    /// Everything else.
    pub settings: WalletSettings,
}

/// The node's keys that a wallet needs. LDK's `KeysManager` is an implementation.
pub trait Keys: NodeSigner + EntropySource + Send + Sync {}
impl<T: NodeSigner + EntropySource + Send + Sync> Keys for T {}

impl<M, P, K> WalletParts<M, P, K> {
    /// Creates the usual parts, with defaults for the rest.
    pub fn new(
        channel_manager: M,
        peer_manager: P,
        messages: Arc<LspsMessageHandler>,
        store: K,
        keys: Arc<impl Keys + 'static>,
        network: Network,
        lsps: impl IntoIterator<Item = impl Into<KnownLsp>>,
    ) -> Self {
        let settings = WalletSettings::new(lsps);
        Self { channel_manager, peer_manager, messages, store, batches: None, keys, network, settings }
    }
}

impl<M, P, K> Deref for WalletParts<M, P, K> {
    type Target = WalletSettings;

    fn deref(&self) -> &WalletSettings {
        &self.settings
    }
}

impl<M, P, K> DerefMut for WalletParts<M, P, K> {
    fn deref_mut(&mut self) -> &mut WalletSettings {
        &mut self.settings
    }
}

/// A running wallet, which can receive before it has a channel. Dropping the handle stops the wallet; every invoice
/// that it returned is on record by then.
pub struct Wallet {
    host: lsps_host::wallet::Wallet,
    stopped: watch::Receiver<Option<Stopped>>,
}

/// An invoice whose payment opens a channel, and its terms.
#[derive(Clone, Debug)]
pub struct JitInvoice {
    /// The invoice for the payer.
    pub invoice: Bolt11Invoice,
    /// The opening fee on the requested amount. The LSP keeps it of the payment.
    pub fee: Msat,
    /// The LSP that opens the channel.
    pub lsp: PublicKey,
    /// Time at which the invoice expires.
    pub expires_at: Timestamp,
    /// Whether the invoice expires sooner than requested, because no LSP's terms within the limits are valid for as
    /// long.
    pub ends_early: bool,
    /// Whether the payment is claimed before the channel's funding transaction is seen.
    pub client_trusts_lsp: bool,
    /// The other LSPs, with the reason for which each made no offer.
    pub others: BTreeMap<PeerId, WhyNot>,
}

impl TryFrom<HostInvoice> for JitInvoice {
    type Error = CannotReceive;

    fn try_from(jit: HostInvoice) -> Result<Self, CannotReceive> {
        let HostInvoice { invoice, fee, lsp, expires_at, ends_early, client_trusts_lsp, others } = jit;
        let invoice = invoice.parse().map_err(|why| CannotReceive::Invoice(format!("{why:?}")))?;
        let lsp = public_key(lsp).ok_or(CannotReceive::Stopped)?;
        Ok(Self { invoice, fee, lsp, expires_at, ends_early, client_trusts_lsp, others })
    }
}

impl Wallet {
    /// Loads the purchases, compares them with the node, and runs the wallet in a task of the present tokio runtime.
    /// Call it after the node's own state is loaded, and before its peers connect.
    ///
    /// Records that cannot be read are reported and left alone; the others are served.
    ///
    /// # Errors
    ///
    /// A setting is missing, or the store cannot be read at all.
    pub async fn start<M: Manager, P: PeerManager, K: Store>(
        parts: WalletParts<M, P, K>,
    ) -> Result<(Self, Vec<Unreadable>), CannotStart> {
        let (configured, node) = (parts.network, network_of(&parts.channel_manager));
        if node != Some(configured) {
            return Err(CannotStart::WrongNetwork { configured, node });
        }
        let node = Node::new(parts.channel_manager, parts.keys, parts.network, Arc::clone(&parts.messages));
        require_for_wallet(&node.config())?;
        let host = HostParts {
            node: Arc::new(node),
            messages: Arc::new(Peers::new(parts.messages, parts.peer_manager)),
            store: records(parts.store, parts.batches),
            settings: parts.settings,
        };
        let started = lsps_host::wallet::Wallet::start(host).await.map_err(CannotStart::Store)?;
        let Started { wallet, runner, unreadable } = started;
        let stopped = spawn(runner.run());
        Ok((Self { host: wallet, stopped }, unreadable))
    }

    /// Passes an event of the node to the wallet. `true`: the event was the wallet's, and is handled durably. `false`:
    /// the event is the application's. It may be a channel request, or a payment of which no fee was kept, or one to a
    /// payment hash of the application.
    ///
    /// Every payment has to pass here before the application claims it: a payment over a channel with fewer
    /// confirmations than [`Rules::confirmations_to_wait`](lsps_client::jit_receive::Rules) is failed.
    ///
    /// # Errors
    ///
    /// The store failed: return this from the event handler, and LDK reports the event again. If the wallet has
    /// stopped, that happens forever: [`stopped`](Self::stopped) says when and why.
    pub async fn handle_event(&self, event: &Event) -> Result<bool, ReplayEvent> {
        let Some(told) = node_event(event) else { return Ok(false) };
        match self.host.handle_node_event(told).await {
            Ok(handled) => Ok(handled == Handled::Taken),
            // The host paused before it answered, so that a store that is unreachable is not called in a tight loop.
            Err(again) if again.is_stopped => Err(nobody_there().await),
            Err(_) => Err(ReplayEvent()),
        }
    }

    /// Buys a channel, and returns an invoice over `amount` that can be paid in parts. The LSP keeps no more than
    /// `max_total_fee` of the payment.
    ///
    /// The invoice is valid for `expiry`, or less if the LSP's offer ends sooner. Dropping the future is safe.
    ///
    /// # Errors
    ///
    /// No LSP answers and sells on acceptable terms.
    pub async fn receive_via_jit_channel(
        &self,
        amount: Msat,
        description: &str,
        expiry: Duration,
        max_total_fee: Msat,
    ) -> Result<JitInvoice, CannotReceive> {
        self.host.receive_via_jit_channel(amount, description, expiry, max_total_fee).await?.try_into()
    }

    /// Like [`Self::receive_via_jit_channel`], for a payment hash whose preimage the application has or will have.
    ///
    /// A payment on the promised terms reaches the application as `Event::PaymentClaimable`, and the application has to
    /// claim or fail it. If the payment has to wait for confirmations first, it is reported as
    /// [`WalletEvent::Claimable`] when they are there. Any other payment is failed before. `Event::PaymentClaimed` also
    /// reaches the application, as often as the node reports it: LDK repeats that event until it is handled, while
    /// [`events`](lsps_host::wallet::Wallet::events) may lose some.
    ///
    /// # Errors
    ///
    /// No LSP answers and sells on acceptable terms.
    pub async fn receive_via_jit_channel_for_hash(
        &self,
        hash: PaymentHash,
        amount: Msat,
        description: &str,
        expiry: Duration,
        max_total_fee: Msat,
    ) -> Result<JitInvoice, CannotReceive> {
        let jit = self.host.receive_via_jit_channel_for_hash(hash, amount, description, expiry, max_total_fee).await;
        jit?.try_into()
    }

    /// Buys a channel, and returns an invoice without an amount that has to be paid in one part. The LSP keeps no more
    /// than a share of `max_proportional_fee` of the payment: a payment that is too small for the LSP's minimum fee is
    /// failed.
    ///
    /// Terms are compared for a payment of `expected`. Otherwise like [`Self::receive_via_jit_channel`].
    ///
    /// # Errors
    ///
    /// No LSP answers and sells on acceptable terms.
    pub async fn receive_variable_via_jit_channel(
        &self,
        expected: Msat,
        description: &str,
        expiry: Duration,
        share: Ppm,
    ) -> Result<JitInvoice, CannotReceive> {
        self.host.receive_variable_via_jit_channel(expected, description, expiry, share).await?.try_into()
    }

    /// Orders a channel from this LSP: see [`Wallet::order_channel`](lsps_host::wallet::Wallet::order_channel). Payment
    /// by offer needs an onion messenger, and an [`OrderRouter`](crate::OrderRouter), which gives the LSP the time to
    /// open the channel.
    ///
    /// # Errors
    ///
    /// The LSP does not answer, or does not offer the channel on acceptable terms.
    pub async fn order_channel(
        &self,
        lsp: PublicKey,
        order: CreateOrder,
        limits: FeeLimits,
    ) -> Result<OrderHandle, CannotOrderChannel> {
        self.host.order_channel(peer_id(&lsp), order, limits).await
    }

    /// Like [`Self::order_channel`], with a payment method that `choose` selects.
    ///
    /// # Errors
    ///
    /// The LSP does not answer, or does not offer the channel on acceptable terms.
    pub async fn order_channel_paying(
        &self,
        lsp: PublicKey,
        order: CreateOrder,
        limits: FeeLimits,
        choose: impl FnOnce(&Quote) -> Option<PaymentMethod>,
    ) -> Result<OrderHandle, CannotOrderChannel> {
        self.host.order_channel_paying(peer_id(&lsp), order, limits, choose).await
    }

    /// Keeps the webhook of an app registered with this LSP from now on, also after a restart, and waits for the first
    /// registration. Dropping the future ends only the waiting.
    ///
    /// # Errors
    ///
    /// The limit of apps is reached, or the LSP refuses the webhook.
    pub async fn keep_registered(&self, lsp: &PublicKey, app: AppName, url: WebhookUrl) -> Result<(), NotRegistered> {
        self.host.keep_registered(peer_id(lsp), app, url).await
    }

    /// Waits until the wallet has stopped, and returns the reason. `None`: the task of the wallet panicked.
    pub async fn stopped(&self) -> Option<Stopped> {
        why(self.stopped.clone()).await
    }

    /// Stops the wallet after the present turn, waits for its end, and returns the reason: the wallet may have stopped
    /// before.
    pub async fn stop(self) -> Option<Stopped> {
        drop(self.host);
        why(self.stopped).await
    }
}

impl Deref for Wallet {
    type Target = lsps_host::wallet::Wallet;

    fn deref(&self) -> &lsps_host::wallet::Wallet {
        &self.host
    }
}

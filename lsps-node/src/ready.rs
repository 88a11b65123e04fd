//! A ready node: built in one call, and used by calls that say what to do when they fail.

mod channels;
mod events;
mod history;
mod lsps;
mod onchain;
mod orders;
mod pay;
mod peers;
mod queue;
mod receive;
mod start;

use std::net::SocketAddr;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, io};
use lsps_transport_ldk::types::units::ConnectionString;
use lsps_transport_ldk::{Lsp, LspsMessageHandler, Wallet};

use crate::builder::{Builder, FeeLimit};
use crate::identity::Origin;
use crate::seed::Phrase;
use crate::store::DirectoryLock;

pub use channels::{Balances, CannotOpen, Channel};
pub use history::{Payment, PaymentKind, PaymentStatus};
pub use lsps::{CannotRemoveLsp, KnownLsps, LspError, LspInfo};
pub use onchain::CannotSend;
pub use orders::{CannotOrder, OrderRequest};
pub use pay::CannotPay;
pub use peers::Peer;
pub use queue::Event;
pub use receive::{CannotReceive, Invoice, Way};

use history::History;
use peers::Peers;
use queue::Queue;

/// LDK's node below a ready one.
pub type Ldk = crate::node::Node<LspsMessageHandler>;

/// A Lightning node with an on-chain wallet, which buys channels from LSPs, or sells them as one. Clones are handles to the
/// same node; [`stop`](Self::stop) ends it.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    network: Network,
    phrase: Phrase,
    origin: Origin,
    ldk: Arc<Ldk>,
    host: Host,
    peers: Peers,
    lsps: lsps::Lsps,
    state: Arc<State>,
    fee_limit: FeeLimit,
    listens: Option<SocketAddr>,
    warnings: Vec<String>,
    /// Held until the node is dropped.
    _lock: Option<DirectoryLock>,
}

/// State that events change.
struct State {
    queue: Queue,
    history: History,
    accepts_channels: bool,
}

/// Role of a node.
#[derive(Clone)]
enum Host {
    Wallet(Arc<Wallet>),
    Lsp(Arc<Lsp>),
}

impl Node {
    /// The parts of a node on this network.
    #[must_use]
    pub fn builder(network: Network) -> Builder {
        Builder::new(network)
    }

    /// Network of the node.
    #[must_use]
    pub fn network(&self) -> Network {
        self.inner.network
    }

    /// Node id.
    #[must_use]
    pub fn node_id(&self) -> PublicKey {
        self.inner.ldk.node_id()
    }

    /// Address at which the node listens, if it does.
    #[must_use]
    pub fn listens(&self) -> Option<SocketAddr> {
        self.inner.listens
    }

    /// Text by which others connect to the node, `NODE-ID@HOST:PORT`, if it listens.
    #[must_use]
    pub fn connection_string(&self) -> Option<String> {
        self.inner.listens.map(|address| format!("{}@{address}", self.node_id()))
    }

    /// The phrase, for a backup. With it coins on the chain are found again. The state of channels is not in it, and what a
    /// peer pays out when it closes a lost channel by force is not looked for: a lost store costs the balances of channels.
    #[must_use]
    pub fn phrase(&self) -> &Phrase {
        &self.inner.phrase
    }

    /// Whether the node is new, restored from a phrase, or was on record.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.inner.origin
    }

    /// Records that could not be read at the start. They are left alone, and all others are served.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Waits for the oldest event that was not acknowledged. It is told until [`acknowledge`](Self::acknowledge), also
    /// after a restart.
    pub async fn next_event(&self) -> Event {
        self.inner.state.queue.next().await
    }

    /// Forgets an event that was dealt with.
    ///
    /// # Errors
    ///
    /// The store fails; the event is told again.
    pub fn acknowledge(&self, event: &Event) -> io::Result<()> {
        self.inner.state.queue.acknowledge(event)
    }

    /// All payments, the newest first. Invoices of this node that expired unpaid are forgotten a day later.
    #[must_use]
    pub fn payments(&self) -> Vec<Payment> {
        self.inner.state.history.all()
    }

    /// Connects to a peer, `NODE-ID@HOST:PORT`, now and whenever the connection is lost, also after a restart.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub fn connect(&self, address: ConnectionString) -> io::Result<()> {
        self.inner.peers.keep(address)
    }

    /// Disconnects a peer, and reconnects it no more.
    ///
    /// # Errors
    ///
    /// The store fails.
    pub fn disconnect(&self, peer: PublicKey) -> io::Result<()> {
        self.inner.peers.forget(peer.into())
    }

    /// Peers that are connected, and those that the node keeps.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        self.inner.peers.all()
    }

    /// LDK's node, for what has no call here.
    #[must_use]
    pub fn ldk(&self) -> &Arc<Ldk> {
        &self.inner.ldk
    }

    /// The host of the wallet; `None` for an LSP.
    #[must_use]
    pub fn wallet(&self) -> Option<&Wallet> {
        match &self.inner.host {
            Host::Wallet(wallet) => Some(wallet),
            Host::Lsp(_) => None,
        }
    }

    /// The host of the LSP; `None` for a wallet.
    #[must_use]
    pub fn lsp(&self) -> Option<&Lsp> {
        match &self.inner.host {
            Host::Lsp(lsp) => Some(lsp),
            Host::Wallet(_) => None,
        }
    }

    /// Stops the node after a last save. Other handles fail from then on.
    pub async fn stop(self) {
        self.inner.peers.stop();
        self.inner.ldk.stop().await;
    }
}

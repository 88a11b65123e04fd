//! The LSPs a wallet knows, and staying connected to them.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lsps_client::jit_receive::{AcceptTrust, Rules};
use lsps_client::session::{Ask, Shopped, WhyNot};
use lsps_types::PeerId;
use tokio::task::JoinSet;

use crate::handler::LspsMessageHandler;
use crate::peers::peer_id;

/// An LSP that the wallet may buy from.
#[derive(Clone, Debug)]
pub struct KnownLsp {
    /// Its node id.
    pub node_id: PublicKey,
    /// Where it listens, in whatever form [`Connect`] takes; without it the application keeps it connected.
    pub address: Option<String>,
    /// A coupon or the like from it.
    pub token: Option<String>,
    /// Whether it may ask for the preimage before it publishes the channel's funding.
    pub accept_trust: AcceptTrust,
}

impl KnownLsp {
    /// An LSP that is not trusted, and that the application connects.
    #[must_use]
    pub fn new(node_id: PublicKey) -> Self {
        Self { node_id, address: None, token: None, accept_trust: AcceptTrust::Never }
    }

    /// To be connected here by the wallet.
    #[must_use]
    pub fn at(self, address: impl Into<String>) -> Self {
        Self { address: Some(address.into()), ..self }
    }

    /// With this token.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// It may ask to be trusted with the first payment.
    #[must_use]
    pub fn trusted(self) -> Self {
        Self { accept_trust: AcceptTrust::Yes, ..self }
    }
}

impl From<PublicKey> for KnownLsp {
    fn from(node_id: PublicKey) -> Self {
        Self::new(node_id)
    }
}

/// Connects to peers; usually a few lines around `lightning_net_tokio::connect_outbound`.
pub trait Connect: Send + Sync {
    /// Connects, and keeps the connection going in a task of its own. `false`: the peer cannot be reached.
    fn connect(&self, node_id: PublicKey, address: &str) -> Pin<Box<dyn Future<Output = bool> + Send>>;
}

/// What is known of the LSPs while the wallet runs.
pub(super) struct Lsps {
    known: Vec<KnownLsp>,
    messages: Arc<LspsMessageHandler>,
    connect: Option<Arc<dyn Connect>>,
    /// Those that answered a question of LSPS2 before.
    serving: Mutex<BTreeSet<PeerId>>,
}

impl Lsps {
    pub fn new(known: Vec<KnownLsp>, messages: Arc<LspsMessageHandler>, connect: Option<Arc<dyn Connect>>) -> Self {
        Self { known, messages, connect, serving: Mutex::default() }
    }

    /// One question for each.
    pub fn asks(&self, rules: &Rules) -> Vec<Ask> {
        let ask = |lsp: &KnownLsp| {
            let id = peer_id(&lsp.node_id);
            let rules = Rules { accept_trust: lsp.accept_trust, ..*rules };
            Ask { lsp: id, token: lsp.token.clone(), rules, serves_lsps2: self.serving().contains(&id) }
        };
        self.known.iter().map(ask).collect()
    }

    pub fn rules_for(&self, lsp: PeerId, rules: &Rules) -> Rules {
        let known = self.known.iter().find(|known| peer_id(&known.node_id) == lsp);
        Rules { accept_trust: known.map_or(AcceptTrust::Never, |known| known.accept_trust), ..*rules }
    }

    pub fn token_of(&self, lsp: PeerId) -> Option<String> {
        self.known.iter().find(|known| peer_id(&known.node_id) == lsp)?.token.clone()
    }

    pub fn have_large_channels(&self, lsp: &PublicKey) -> bool {
        self.messages.has_large_channels(lsp)
    }

    /// Whoever told its terms serves LSPS2.
    pub fn learn(&self, shopped: &Shopped) {
        let offered = shopped.offers.iter().map(|offer| offer.lsp);
        let too_dear =
            shopped.failures.iter().filter(|(_, why)| matches!(why, WhyNot::NoOffer(_))).map(|(lsp, _)| *lsp);
        self.serving().extend(offered.chain(too_dear));
    }

    /// Tries all that are not connected at once, for as long as that may take.
    pub async fn connect_all(&self, patience: Duration) {
        let attempts = self.known.iter().filter_map(|lsp| self.attempt(lsp));
        let attempts: Vec<_> = attempts.map(|attempt| tokio::spawn(tokio::time::timeout(patience, attempt))).collect();
        for attempt in attempts {
            let _ = attempt.await; // who is not there says so when asked
        }
    }

    fn attempt(&self, lsp: &KnownLsp) -> Option<Pin<Box<dyn Future<Output = bool> + Send>>> {
        let (connect, address) = (self.connect.as_ref()?, lsp.address.as_ref()?);
        (!self.messages.is_connected(&lsp.node_id)).then(|| connect.connect(lsp.node_id, address))
    }

    /// Reconnects each of them for ever, slower with each attempt that fails; one that hangs holds up no other.
    pub fn keep_connected(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for n in 0..self.known.len() {
            tasks.spawn(Arc::clone(self).keep_one(n));
        }
        tasks
    }

    async fn keep_one(self: Arc<Self>, n: usize) {
        let Some(lsp) = self.known.get(n) else { return };
        let mut pause = SHORTEST;
        loop {
            let reached = match self.attempt(lsp) {
                Some(attempt) => tokio::time::timeout(LONGEST, attempt).await.unwrap_or(false),
                None => true,
            };
            pause = if reached { SHORTEST } else { (pause * 2).min(LONGEST) };
            tokio::time::sleep(pause).await;
        }
    }

    fn serving(&self) -> MutexGuard<'_, BTreeSet<PeerId>> {
        // Each use is one call on the set.
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between attempts to reach an LSP.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

//! Known LSPs of a wallet, and the connections to them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

use lsps_client::jit_receive::{AcceptTrust, Rules};
use lsps_client::session::{Ask, Session, Shopped, WhyNot};
use lsps_types::PeerId;

use crate::ports::{Clock, Connect, Connecting, Messages};

/// An LSP that the wallet may buy from.
#[derive(Clone, Debug)]
pub struct KnownLsp {
    /// Node id.
    pub node_id: PeerId,
    /// Address in any form that [`Connect`] takes. `None`: the application keeps the LSP connected.
    pub address: Option<String>,
    /// Token from the LSP, for example a discount code.
    pub token: Option<String>,
    /// Whether the LSP may ask for the preimage before it publishes the funding.
    pub accept_trust: AcceptTrust,
}

impl KnownLsp {
    /// An LSP that is not trusted, and that the application connects.
    #[must_use]
    pub fn new(node_id: impl Into<PeerId>) -> Self {
        Self { node_id: node_id.into(), address: None, token: None, accept_trust: AcceptTrust::Never }
    }

    /// Sets the address at which the wallet connects to the LSP.
    #[must_use]
    pub fn at(self, address: impl Into<String>) -> Self {
        Self { address: Some(address.into()), ..self }
    }

    /// Sets the token.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// Allows the LSP to ask for the preimage before it publishes the funding.
    #[must_use]
    pub fn trusted(self) -> Self {
        Self { accept_trust: AcceptTrust::Yes, ..self }
    }
}

impl From<PeerId> for KnownLsp {
    fn from(node_id: PeerId) -> Self {
        Self::new(node_id)
    }
}

impl From<PublicKey> for KnownLsp {
    fn from(node_id: PublicKey) -> Self {
        Self::new(node_id)
    }
}

/// State of the LSPs while the wallet runs.
pub(super) struct Lsps {
    known: Mutex<Vec<KnownLsp>>,
    messages: Arc<dyn Messages>,
    connect: Option<Arc<dyn Connect>>,
    pub(super) clock: Arc<dyn Clock>,
    /// Time on the steady clock until which an LSP that could not be reached is still waited for.
    settled_at: Duration,
    /// LSPs that answered an LSPS2 request before.
    serving: Mutex<BTreeSet<PeerId>>,
    /// LSPs that offered terms and then did not sell on them. The number counts the sales by other LSPs that are still
    /// needed before the LSP is ranked normally again.
    broken: Mutex<BTreeMap<PeerId, u32>>,
}

impl Lsps {
    pub fn new(
        known: Vec<KnownLsp>,
        messages: Arc<dyn Messages>,
        connect: Option<Arc<dyn Connect>>,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Self {
        let settled_at = clock.steady() + patience;
        let (known, serving, broken) = (Mutex::new(known), Mutex::default(), Mutex::default());
        Self { known, messages, connect, clock, settled_at, serving, broken }
    }

    /// Adds an LSP, or replaces what is known of it.
    pub fn add(&self, lsp: KnownLsp) {
        let mut known = self.known();
        known.retain(|other| other.node_id != lsp.node_id);
        known.push(lsp);
    }

    pub fn remove(&self, lsp: PeerId) {
        self.known().retain(|known| known.node_id != lsp);
    }

    /// LSPs to ask, with the rules and token for each.
    pub fn asks(&self, rules: &Rules) -> Vec<Ask> {
        let ask = |lsp: &KnownLsp| {
            let id = lsp.node_id;
            let rules = Rules { accept_trust: lsp.accept_trust, ..*rules };
            let broken = self.broken().get(&id).copied().unwrap_or(0);
            Ask { lsp: id, token: lsp.token.clone(), rules, serves_lsps2: self.serving().contains(&id), broken }
        };
        self.known().iter().map(ask).collect()
    }

    pub fn rules_for(&self, lsp: PeerId, rules: &Rules) -> Rules {
        let accept_trust = self.known().iter().find(|known| known.node_id == lsp).map(|known| known.accept_trust);
        Rules { accept_trust: accept_trust.unwrap_or(AcceptTrust::Never), ..*rules }
    }

    pub fn token_of(&self, lsp: PeerId) -> Option<String> {
        self.known().iter().find(|known| known.node_id == lsp)?.token.clone()
    }

    /// Notes that the LSPs that returned terms serve LSPS2.
    pub fn learn(&self, shopped: &Shopped) {
        let offered = shopped.offers.iter().map(|offer| offer.lsp);
        let too_dear =
            shopped.failures.iter().filter(|(_, why)| matches!(why, WhyNot::NoOffer(_))).map(|(lsp, _)| *lsp);
        self.serving().extend(offered.chain(too_dear));
    }

    /// Notes that an LSP offered terms and did not sell on them, so that others are preferred to it.
    pub fn has_broken_its_word(&self, lsp: PeerId) {
        let mut broken = self.broken();
        let times = broken.entry(lsp).or_default();
        *times = times.saturating_add(PASSED_OVER);
    }

    /// Notes that an LSP sold: its own count is cleared, and those of the others decrease.
    pub fn has_sold(&self, lsp: PeerId) {
        let mut broken = self.broken();
        broken.remove(&lsp);
        broken.values_mut().for_each(|times| *times = times.saturating_sub(1));
    }

    /// Connects to all LSPs that have an address and are not connected. Waits at most for `patience`, until `init` is
    /// exchanged with those that were reached, and, if no LSP is connected, for those that the application connects.
    /// Right after the start, when the network may not be up, it waits for those too that could not be reached.
    pub async fn connect_all(&self, session: &Session, patience: Duration) {
        let until = self.clock.steady() + patience;
        let known = self.known().clone();
        let attempts = known.iter().filter_map(|lsp| Some((lsp.node_id, self.attempt(lsp)?)));
        let reach = |(id, attempt)| async move { self.within(patience, attempt).await.then_some(id) };
        // A request to an LSP that is not connected fails at once.
        let reached: Vec<PeerId> = session.all(attempts.map(reach).collect()).await.into_iter().flatten().collect();
        let is_there = |id: &PeerId| self.messages.is_connected(*id);
        let may_come = |lsp: &KnownLsp| lsp.address.is_none() || self.connect.is_none();
        let is_enough = || {
            let someone = known.iter().any(|lsp| is_there(&lsp.node_id));
            let nobody_comes = !known.iter().any(may_come) && self.clock.steady() >= self.settled_at;
            reached.iter().all(is_there) && (someone || known.is_empty() || nobody_comes)
        };
        while !is_enough() && self.clock.steady() < until {
            self.clock.sleep(LOOK).await;
        }
    }

    fn attempt(&self, lsp: &KnownLsp) -> Option<Connecting> {
        let (connect, address) = (self.connect.as_ref()?, lsp.address.as_ref()?);
        (!self.messages.is_connected(lsp.node_id)).then(|| connect.connect(lsp.node_id, address))
    }

    async fn within(&self, time: Duration, attempt: Connecting) -> bool {
        tokio::select! {
            reached = attempt => reached,
            () = self.clock.sleep(time) => false,
        }
    }

    /// Tasks that keep each LSP connected that is known now, with a pause that grows with each failed attempt. A slow attempt does not
    /// delay the other LSPs.
    pub fn keep_connected(self: &Arc<Self>) -> Vec<Pin<Box<dyn Future<Output = ()> + Send>>> {
        if self.connect.is_none() {
            return vec![];
        }
        let known = self.known().clone();
        known.into_iter().map(|lsp| Box::pin(Arc::clone(self).keep_one(lsp)) as Pin<Box<_>>).collect()
    }

    async fn keep_one(self: Arc<Self>, lsp: KnownLsp) {
        let mut pause = SHORTEST;
        loop {
            if !self.known().iter().any(|known| known.node_id == lsp.node_id) {
                return; // it was removed
            }
            let reached = match self.attempt(&lsp) {
                Some(attempt) => self.within(LONGEST, attempt).await,
                None => true,
            };
            pause = if reached { SHORTEST } else { (pause * 2).min(LONGEST) };
            self.clock.sleep(pause).await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<KnownLsp>> {
        // A panic between the two calls of `add` loses one LSP until the next start.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self) -> MutexGuard<'_, BTreeMap<PeerId, u32>> {
        // A count that a panic left stale does no harm.
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serving(&self) -> MutexGuard<'_, BTreeSet<PeerId>> {
        // Every use is a single call on the set, so a panic leaves it consistent.
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of sales by other LSPs that compensate for one offer without a sale.
const PASSED_OVER: u32 = 10;
/// Interval of checks for the `init` of an LSP, which the message handler reports only to the wallet's task.
const LOOK: Duration = Duration::from_millis(10);
/// Shortest pause between attempts to reach an LSP.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest pause between attempts to reach an LSP.
const LONGEST: Duration = Duration::from_secs(60);

//! A node's view of its chain, which answers at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bitcoin::{FeeRate, Network, Transaction, Txid};
use lightning::chain::BestBlock;
use lightning::chain::chaininterface::{ConfirmationTarget, FeeEstimator};
use lsps_transport_ldk::ports::{Broadcast, Mempool};
use tokio::sync::watch;

use super::{ChainSource, FeeRates, Sighting, SourceError};
use crate::wallet::BdkWallet;

/// A node's view of its chain. None of its calls waits for the source.
///
/// Of a source in this process the view shows the present. Of any other it shows what was seen at the last
/// look; transactions are queued until the source takes them.
pub struct ChainView {
    source: Arc<dyn ChainSource>,
    known: Mutex<Known>,
    /// Notified when there is work for the thread that asks the source.
    work: Condvar,
    status: watch::Sender<Status>,
    wallet: OnceLock<Weak<BdkWallet>>,
}

/// How far a node is with its chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Height of the newest block that the node has processed.
    pub height: u32,
    /// Height of the newest block of the source, as far as it was seen.
    pub tip: u32,
    /// Reason for which the source did not answer at the last try; `None`: it did.
    pub gone: Option<String>,
}

impl Status {
    /// Number of blocks that the node has yet to process.
    #[must_use]
    pub fn behind(&self) -> u32 {
        self.tip.saturating_sub(self.height)
    }

    /// Whether the source answers and the node has processed its newest block.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.gone.is_none() && self.behind() == 0
    }
}

#[derive(Default)]
struct Known {
    fees: FeeRates,
    outbox: VecDeque<Vec<Transaction>>,
    answers: HashMap<Txid, Broadcast>,
    /// Transactions that were asked for, and the last answer.
    sightings: HashMap<Txid, Option<Sighting>>,
    is_asked_to_work: bool,
}

impl ChainView {
    /// Creates the view of a source.
    #[must_use]
    pub fn new(source: Arc<dyn ChainSource>) -> Arc<Self> {
        let (known, work, status) = (Mutex::default(), Condvar::new(), watch::Sender::default());
        Arc::new(Self { source, known, work, status, wallet: OnceLock::new() })
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn ChainSource> {
        &self.source
    }

    /// Network of the chain.
    #[must_use]
    pub fn network(&self) -> Network {
        self.source.network()
    }

    /// How far the node is with the chain.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// A receiver of each change of the status: progress, and a source that is gone or back.
    #[must_use]
    pub fn follow_status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Feerate at which a transaction confirms within this number of blocks.
    #[must_use]
    pub fn fee_rate_within(&self, blocks: u16) -> FeeRate {
        FeeRate::from_sat_per_kwu(self.fees(|fees| fees.within(blocks)).into())
    }

    /// Feerate for a purpose of LDK.
    #[must_use]
    pub fn fee_rate(&self, target: ConfirmationTarget) -> FeeRate {
        FeeRate::from_sat_per_kwu(self.get_est_sat_per_1000_weight(target).into())
    }

    /// Broadcasts transactions, parents before children. The answers of a source outside this process are those to an
    /// earlier broadcast of the same transactions, as the present one is queued.
    pub fn broadcast(&self, transactions: &[&Transaction]) -> Vec<Broadcast> {
        let transactions = parents_first(transactions);
        if self.source.is_local() {
            return self
                .source
                .submit(&transactions)
                .unwrap_or_else(|_| vec![Broadcast::Unanswered; transactions.len()]);
        }
        let mut known = self.known();
        let answer = |tx: &Transaction| known.answers.get(&tx.compute_txid()).cloned().unwrap_or(Broadcast::Unanswered);
        let answers = transactions.iter().map(answer).collect();
        if !known.outbox.contains(&transactions) {
            if known.outbox.len() >= MOST_QUEUED {
                known.outbox.pop_front(); // whoever wants it out broadcasts it again
            }
            known.outbox.push_back(transactions);
        }
        drop(known);
        self.ask_to_work();
        answers
    }

    /// Whether and where a transaction is on the chain, as far as it is known now. A source outside this process is asked in
    /// the background.
    #[must_use]
    pub fn sighting(&self, txid: &Txid) -> Option<Sighting> {
        if self.source.is_local() {
            return self.source.sighting(txid).ok().flatten();
        }
        let of_wallet = self.wallet.get().and_then(Weak::upgrade).and_then(|wallet| wallet.height_of(txid));
        if of_wallet.is_some() {
            return Some(Sighting { height: of_wallet, fee_rate: None });
        }
        let mut known = self.known();
        if let Some(sighting) = known.sightings.get(txid) {
            return *sighting;
        }
        if known.sightings.len() < MOST_SIGHTINGS {
            known.sightings.insert(*txid, None);
        }
        drop(known);
        self.ask_to_work();
        None
    }

    /// Number of confirmations of a transaction; 0 if it is unconfirmed or the number is unknown.
    #[must_use]
    pub fn confirmations(&self, txid: &Txid) -> u32 {
        let height = self.sighting(txid).and_then(|sighting| sighting.height);
        let tip =
            if self.source.is_local() { self.source.tip().map_or(0, |tip| tip.height) } else { self.status().height };
        height.map_or(0, |height| (tip + 1).saturating_sub(height))
    }

    /// Submits what is queued, and asks the source for feerates and for all transactions that are looked for.
    ///
    /// # Errors
    ///
    /// The source does not answer; what was queued stays queued.
    pub(crate) fn refresh(&self, with_fees: bool) -> Result<(), SourceError> {
        self.submit_queued()?;
        if with_fees {
            match self.source.fee_rates() {
                Ok(fees) => self.known().fees = fees,
                Err(SourceError::Refused(_)) => {} // it has no estimate
                Err(error) => return Err(error),
            }
        }
        self.look_for(|_| true)
    }

    /// Submits what is queued, and asks the source for the transactions that were not seen yet.
    ///
    /// # Errors
    ///
    /// The source does not answer; what was queued stays queued.
    pub(crate) fn work(&self) -> Result<(), SourceError> {
        self.submit_queued()?;
        self.look_for(|sighting| sighting.is_none())
    }

    fn look_for(&self, is_open: impl Fn(&Option<Sighting>) -> bool) -> Result<(), SourceError> {
        let open: Vec<Txid> = {
            let known = self.known();
            known.sightings.iter().filter(|(_, sighting)| is_open(sighting)).map(|(txid, _)| *txid).collect()
        };
        for txid in open {
            let sighting = self.source.sighting(&txid)?;
            let mut known = self.known();
            let is_mined = sighting.is_some_and(|sighting| sighting.height.is_some());
            if is_mined && known.sightings.len() > MOST_SIGHTINGS / 2 {
                known.sightings.remove(&txid); // whoever still wants it asks again
            } else {
                known.sightings.insert(txid, sighting);
            }
        }
        Ok(())
    }

    fn submit_queued(&self) -> Result<(), SourceError> {
        loop {
            let Some(package) = self.known().outbox.front().cloned() else { return Ok(()) };
            let answers = self.source.submit(&package)?;
            let mut known = self.known();
            if known.answers.len() + package.len() > MOST_SIGHTINGS {
                known.answers.clear();
            }
            known.answers.extend(package.iter().map(Transaction::compute_txid).zip(answers));
            if known.outbox.front() == Some(&package) {
                known.outbox.pop_front();
            }
        }
    }

    /// Waits until there is work, at most this long.
    pub(crate) fn wait_for_work(&self, at_most: Duration) {
        let known = self.known();
        let is_idle = |known: &mut Known| !known.is_asked_to_work;
        let waited = self.work.wait_timeout_while(known, at_most, is_idle);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_asked_to_work = false;
    }

    /// Ends the wait of the thread that asks the source.
    pub(crate) fn ask_to_work(&self) {
        self.known().is_asked_to_work = true;
        self.work.notify_all();
    }

    /// Notes a block that the node has processed.
    pub(crate) fn note_height(&self, block: BestBlock) {
        self.change_status(|status| {
            status.height = block.height;
            status.tip = status.tip.max(block.height);
        });
    }

    /// Notes the newest block of the source, or the reason for which it does not answer.
    pub(crate) fn note_source(&self, tip: Result<BestBlock, &SourceError>) {
        self.change_status(|status| match tip {
            Ok(tip) => (status.tip, status.gone) = (tip.height, None),
            Err(error) => status.gone = Some(error.to_string()),
        });
    }

    fn change_status(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }

    /// Has the view ask this wallet for its transactions too.
    pub(crate) fn set_wallet(&self, wallet: &Arc<BdkWallet>) {
        let _ = self.wallet.set(Arc::downgrade(wallet));
    }

    fn fees(&self, read: impl FnOnce(&FeeRates) -> u32) -> u32 {
        if self.source.is_local() {
            return read(&self.source.fee_rates().unwrap_or_default());
        }
        read(&self.known().fees)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each use is one change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FeeEstimator for ChainView {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        self.fees(|fees| fees.target(target))
    }
}

impl Mempool for ChainView {
    fn has_seen(&self, txid: &Txid) -> bool {
        self.sighting(txid).is_some()
    }
}

/// Sorts transactions so that each comes after those whose outputs it spends.
fn parents_first(transactions: &[&Transaction]) -> Vec<Transaction> {
    let mut left: Vec<(Txid, &Transaction)> = transactions.iter().map(|tx| (tx.compute_txid(), *tx)).collect();
    let mut sorted = vec![];
    while !left.is_empty() {
        let is_parent = |txid: &Txid, left: &[(Txid, &Transaction)]| left.iter().any(|(id, _)| id == txid);
        let has_none = |(_, tx): &(Txid, &Transaction)| {
            !tx.input.iter().any(|input| is_parent(&input.previous_output.txid, &left))
        };
        let next = left.iter().position(has_none).unwrap_or_default(); // transactions are in no circle
        sorted.push(left.remove(next).1.clone());
    }
    sorted
}

/// Largest number of packages that wait for a source.
const MOST_QUEUED: usize = 1_000;
/// Largest number of transactions that are looked for.
const MOST_SIGHTINGS: usize = 10_000;

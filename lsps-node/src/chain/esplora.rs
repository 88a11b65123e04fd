//! An Esplora server, as `electrs` and `mempool` have it: transactions and scripts by HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bdk_esplora::EsploraAsyncExt as _;
use bdk_esplora::esplora_client::{AsyncClient, Builder, Error};
use bdk_wallet::chain::spk_client::{FullScanRequest, SyncRequest};
use bdk_wallet::{KeychainKind, Update};
use bitcoin::{BlockHash, FeeRate, Network, Transaction, Txid};
use lightning::chain::{BestBlock, Confirm, Filter};
use lightning_transaction_sync::EsploraSyncClient;
use lsps_transport_ldk::ports::Broadcast;

use super::waiting::Waiting;
use super::{ChainSource, FeeRates, Feed, Quiet, Sighting, SourceError, TransactionFeed, answer};

/// Connection to an Esplora server.
pub struct Esplora {
    network: Network,
    interval: Duration,
    client: AsyncClient,
    channels: Arc<EsploraSyncClient<Arc<Quiet>>>,
    waiting: Waiting,
}

impl Esplora {
    /// Creates a connection to the server with this base URL, as `https://blockstream.info/api`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The URL is unusable, or the runtime that waits for answers cannot be created.
    pub fn new(network: Network, url: &str) -> io::Result<Self> {
        let client = || {
            let builder = Builder::new(url.trim_end_matches('/')).timeout(REQUEST.as_secs()).max_retries(1);
            builder
                .build_async()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {error}")))
        };
        let channels = Arc::new(EsploraSyncClient::from_client(client()?, Arc::new(Quiet)));
        Ok(Self { network, interval: INTERVAL, client: client()?, channels, waiting: Waiting::new()? })
    }

    /// Sets the interval at which the server is asked for news; 10 seconds otherwise. Each time it is asked for each script
    /// that the wallet has given out.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    fn ask<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, SourceError> {
        let mut failed = None;
        let answer = self.waiting.wait_for(ROUND, async {
            call.await.map_err(|error| {
                let text = error.to_string();
                failed = Some(failure(error));
                io::Error::other(text)
            })
        });
        answer.map_err(|error| failed.unwrap_or_else(|| SourceError::Gone(error.to_string())))
    }
}

fn failure(error: Error) -> SourceError {
    match error {
        Error::HttpResponse { status, message } if (400..500).contains(&status) && status != TOO_MANY_REQUESTS => {
            SourceError::Refused(message)
        }
        Error::HeaderHashNotFound(hash) => SourceError::UnknownBlock(hash),
        Error::HeaderHeightNotFound(height) => SourceError::Refused(format!("it has no block {height}")),
        other => SourceError::Gone(other.to_string()),
    }
}

impl ChainSource for Esplora {
    fn interval(&self) -> Duration {
        self.interval
    }

    fn network(&self) -> Network {
        self.network
    }

    fn genesis(&self) -> Result<BlockHash, SourceError> {
        self.ask(self.client.get_block_hash(0))
    }

    fn tip(&self) -> Result<BestBlock, SourceError> {
        self.ask(async {
            let hash = self.client.get_tip_hash().await?;
            let height = self.client.get_block_status(&hash).await?.height;
            height.map(|height| BestBlock::new(hash, height)).ok_or(Error::HeaderHashNotFound(hash))
        })
    }

    fn feed(&self) -> Feed<'_> {
        Feed::Transactions(self)
    }

    fn submit(&self, transactions: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        if transactions.len() > 1 {
            match self.ask(self.client.submit_package(transactions, None, None)) {
                Ok(result) => {
                    let of = |tx: &Transaction| match result.tx_results.get(&tx.compute_wtxid()) {
                        Some(result) => result.error.as_deref().map_or(Broadcast::Accepted, answer),
                        None => Broadcast::Refused(result.package_msg.clone()),
                    };
                    return Ok(transactions.iter().map(of).collect());
                }
                Err(SourceError::Refused(_)) => {} // most servers take no packages
                Err(gone) => return Err(gone),
            }
        }
        let submit = |tx| match self.ask(self.client.broadcast(tx)) {
            Ok(()) => Ok(Broadcast::Accepted),
            Err(SourceError::Refused(why)) => Ok(answer(&why)),
            Err(gone) => Err(gone),
        };
        transactions.iter().map(submit).collect()
    }

    fn fee_rates(&self) -> Result<FeeRates, SourceError> {
        let estimates = self.ask(self.client.get_fee_estimates())?;
        if estimates.is_empty() {
            return Err(SourceError::Refused("it has no estimates of feerates".into()));
        }
        Ok(FeeRates::new(estimates.into_iter().map(|(blocks, rate)| (blocks, sat_per_kw(rate))), 0))
    }

    fn sighting(&self, txid: &Txid) -> Result<Option<Sighting>, SourceError> {
        let tx = self.ask(self.client.get_tx_info(txid))?;
        Ok(tx.map(|tx| {
            let height = tx.status.block_height.filter(|_| tx.status.confirmed);
            let rate = tx.fee.saturating_mul(1_000).checked_div(tx.weight).map(FeeRate::from_sat_per_kwu);
            Sighting { height, fee_rate: rate }
        }))
    }
}

impl TransactionFeed for Esplora {
    fn filter(&self) -> Arc<dyn Filter + Send + Sync> {
        self.channels.clone()
    }

    fn sync_channels(&self, objects: &[Arc<dyn Confirm + Send + Sync>]) -> Result<(), SourceError> {
        let synced = self.waiting.wait_for(ROUND, async {
            let synced = self.channels.sync(objects.to_vec()).await;
            synced.map_err(|error| io::Error::other(error.to_string()))
        });
        synced.map_err(|error| SourceError::Gone(error.to_string()))
    }

    fn sync_wallet(&self, request: SyncRequest<(KeychainKind, u32)>) -> Result<Update, SourceError> {
        self.ask(async { self.client.sync(request, PARALLEL).await.map_err(|error| *error) }).map(Update::from)
    }

    fn scan_wallet(&self, request: FullScanRequest<KeychainKind>) -> Result<Update, SourceError> {
        self.ask(async { self.client.full_scan(request, GAP, PARALLEL).await.map_err(|error| *error) })
            .map(Update::from)
    }
}

/// Converts satoshis per virtual byte.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // such a cast saturates
fn sat_per_kw(sat_per_vb: f64) -> u32 {
    (sat_per_vb * 250.0).ceil() as u32
}

/// Longest time for one request.
const REQUEST: Duration = Duration::from_secs(10);
/// Longest time for the requests that make up one answer.
const ROUND: Duration = Duration::from_secs(120);
/// Requests at one time.
const PARALLEL: usize = 4;
/// Unused addresses in a row after which a scan ends.
const GAP: usize = 20;
const TOO_MANY_REQUESTS: u16 = 429;
/// Interval at which the server is asked for news.
const INTERVAL: Duration = Duration::from_secs(10);

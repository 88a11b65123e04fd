//! An Electrum server: transactions and scripts over one connection, optionally with TLS.

use std::sync::Arc;
use std::time::Duration;

use bdk_electrum::BdkElectrumClient;
use bdk_electrum::electrum_client::{Client, Config, ElectrumApi as _, Error};
use bdk_wallet::chain::spk_client::{FullScanRequest, SyncRequest};
use bdk_wallet::{KeychainKind, Update};
use bitcoin::{BlockHash, FeeRate, Network, Transaction, Txid};
use lightning::chain::{BestBlock, Confirm, Filter};
use lightning_transaction_sync::ElectrumSyncClient;
use lsps_transport_ldk::ports::Broadcast;

use super::{ChainSource, FeeRates, Feed, Quiet, Sighting, SourceError, TransactionFeed, answer, sat_per_kw};

/// Connection to an Electrum server.
pub struct Electrum {
    network: Network,
    interval: Duration,
    client: Arc<Client>,
    wallet: BdkElectrumClient<Arc<Client>>,
    channels: Arc<ElectrumSyncClient<Arc<Quiet>>>,
}

impl Electrum {
    /// Connects to a server, as `ssl://electrum.blockstream.info:60002` or `tcp://127.0.0.1:50001`. A connection that is lost
    /// later is made again. The call blocks.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub fn connect(network: Network, url: &str) -> Result<Self, SourceError> {
        let config = Config::builder().timeout(Some(ANSWER_SECONDS)).retry(1).build();
        let client = Arc::new(Client::from_config(url, config).map_err(failure)?);
        let channels = ElectrumSyncClient::from_client(Arc::clone(&client), Arc::new(Quiet));
        let channels = Arc::new(channels.map_err(|error| SourceError::Gone(error.to_string()))?);
        Ok(Self { network, interval: INTERVAL, wallet: BdkElectrumClient::new(Arc::clone(&client)), client, channels })
    }

    /// Sets the interval at which the server is asked for news; 10 seconds otherwise. Each time it is asked for each script
    /// that the wallet has given out.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }
}

fn failure(error: Error) -> SourceError {
    match error {
        Error::Protocol(answer) => SourceError::Refused(answer.to_string()),
        other => SourceError::Gone(other.to_string()),
    }
}

impl ChainSource for Electrum {
    fn interval(&self) -> Duration {
        self.interval
    }

    fn network(&self) -> Network {
        self.network
    }

    fn genesis(&self) -> Result<BlockHash, SourceError> {
        Ok(self.client.block_header(0).map_err(failure)?.block_hash())
    }

    fn tip(&self) -> Result<BestBlock, SourceError> {
        let tip = self.client.block_headers_subscribe().map_err(failure)?;
        let height = u32::try_from(tip.height).map_err(|_| SourceError::Refused("its height is no height".into()))?;
        Ok(BestBlock::new(tip.header.block_hash(), height))
    }

    fn feed(&self) -> Feed<'_> {
        Feed::Transactions(self)
    }

    /// The protocol takes no packages: parents go first, each by itself.
    fn submit(&self, transactions: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        let submit = |tx| match self.client.transaction_broadcast(tx).map_err(failure) {
            Ok(_) => Ok(Broadcast::Accepted),
            Err(SourceError::Refused(why)) => Ok(answer(&why)),
            Err(gone) => Err(gone),
        };
        transactions.iter().map(submit).collect()
    }

    fn fee_rates(&self) -> Result<FeeRates, SourceError> {
        let least = sat_per_kw(self.client.relay_fee().map_err(failure)?);
        let mut within = vec![];
        for blocks in [1, 6, 12, 144, 1_008] {
            // Without an estimate the server answers -1.
            match self.client.estimate_fee(blocks.into()).map_err(failure) {
                Ok(rate) if rate > 0.0 => within.push((blocks, sat_per_kw(rate))),
                Ok(_) | Err(SourceError::Refused(_)) => {}
                Err(gone) => return Err(gone),
            }
        }
        Ok(FeeRates::new(within, least))
    }

    fn sighting(&self, txid: &Txid) -> Result<Option<Sighting>, SourceError> {
        let tx = match self.client.transaction_get(txid).map_err(failure) {
            Ok(tx) => tx,
            Err(SourceError::Refused(_)) => return Ok(None),
            Err(gone) => return Err(gone),
        };
        let Some(output) = tx.output.first() else { return Ok(None) };
        let history = self.client.script_get_history(&output.script_pubkey).map_err(failure)?;
        let found = history.into_iter().find(|entry| entry.tx_hash == *txid);
        Ok(found.map(|entry| {
            let rate = entry.fee.and_then(|fee| fee.saturating_mul(1_000).checked_div(tx.weight().to_wu()));
            let height = u32::try_from(entry.height).ok().filter(|height| *height > 0);
            Sighting { height, fee_rate: rate.map(FeeRate::from_sat_per_kwu) }
        }))
    }
}

impl TransactionFeed for Electrum {
    fn filter(&self) -> Arc<dyn Filter + Send + Sync> {
        self.channels.clone()
    }

    fn sync_channels(&self, objects: &[Arc<dyn Confirm + Send + Sync>]) -> Result<(), SourceError> {
        self.channels.sync(objects.to_vec()).map_err(|error| SourceError::Gone(error.to_string()))
    }

    fn sync_wallet(&self, request: SyncRequest<(KeychainKind, u32)>) -> Result<Update, SourceError> {
        // With the outputs that it spends, BDK knows the fee of a transaction.
        self.wallet.sync(request, BATCH, true).map(Update::from).map_err(failure)
    }

    fn scan_wallet(&self, request: FullScanRequest<KeychainKind>) -> Result<Update, SourceError> {
        self.wallet.full_scan(request, GAP, BATCH, true).map(Update::from).map_err(failure)
    }
}

/// Longest time for an answer, in seconds.
const ANSWER_SECONDS: u8 = 10;
/// Scripts in one request.
const BATCH: usize = 20;
/// Unused addresses in a row after which a scan ends.
const GAP: usize = 20;
/// Interval at which the server is asked for news.
const INTERVAL: Duration = Duration::from_secs(10);

//! A chain source with the birthday that a node has on record.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::{BlockHash, Network, Transaction, Txid};
use lightning::chain::BestBlock;
use lsps_transport_ldk::ports::Broadcast;

use super::{ChainSource, FeeRates, Feed, Sighting, SourceError};

/// A source whose chain is searched for coins from a height on.
struct Since {
    source: Arc<dyn ChainSource>,
    birthday: Option<u32>,
}

/// The source with the lower of two birthdays: its own, and this one.
pub(crate) fn since(source: Arc<dyn ChainSource>, birthday: Option<u32>) -> Arc<dyn ChainSource> {
    let earliest = source.birthday().into_iter().chain(birthday).min();
    Arc::new(Since { source, birthday: earliest })
}

impl ChainSource for Since {
    fn network(&self) -> Network {
        self.source.network()
    }

    fn is_local(&self) -> bool {
        self.source.is_local()
    }

    fn birthday(&self) -> Option<u32> {
        self.birthday
    }

    fn interval(&self) -> Duration {
        self.source.interval()
    }

    fn genesis(&self) -> Result<BlockHash, SourceError> {
        self.source.genesis()
    }

    fn tip(&self) -> Result<BestBlock, SourceError> {
        self.source.tip()
    }

    fn feed(&self) -> Feed<'_> {
        self.source.feed()
    }

    fn submit(&self, transactions: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        self.source.submit(transactions)
    }

    fn fee_rates(&self) -> Result<FeeRates, SourceError> {
        self.source.fee_rates()
    }

    fn sighting(&self, txid: &Txid) -> Result<Option<Sighting>, SourceError> {
        self.source.sighting(txid)
    }
}

//! Bitcoin Core by its RPC interface: blocks, mempool, packages and estimates of a full node.
//!
//! The node needs no wallet and no index. A pruned one suffices while it has the blocks since the node's last start.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoin::block::Header;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, BlockHash, FeeRate, Network, Transaction, Txid};
use lightning::chain::BestBlock;
use lightning_block_sync::http::HttpEndpoint;
use lightning_block_sync::rpc::{RpcClient, RpcError};
use lsps_transport_ldk::ports::Broadcast;
use serde_json::{Value, json};

use super::waiting::Waiting;
use super::{BlockFeed, ChainSource, FeeRates, Feed, Mempool, Sighting, SourceError, answer, sat_per_kw};

/// Connection to a `bitcoind`.
pub struct Bitcoind {
    network: Network,
    endpoint: (String, u16),
    auth: Auth,
    birthday: Option<u32>,
    interval: Duration,
    client: Mutex<Option<Arc<RpcClient>>>,
    waiting: Waiting,
}

/// Proof that the caller may use the RPC interface.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// The cookie file that `bitcoind` writes at each start: `.cookie` in the folder of the network below its data directory.
    Cookie(PathBuf),
    /// User and password, as of `rpcauth`.
    Password {
        /// Name of the user.
        user: String,
        /// Password.
        password: String,
    },
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
            Self::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
        }
    }
}

impl Bitcoind {
    /// Creates a connection to the RPC interface on this host and port. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The runtime that waits for answers cannot be created.
    pub fn new(network: Network, host: &str, port: u16, auth: Auth) -> io::Result<Self> {
        let waiting = Waiting::new()?;
        let interval = Duration::from_secs(1);
        Ok(Self {
            network,
            endpoint: (host.into(), port),
            auth,
            birthday: None,
            interval,
            client: Mutex::default(),
            waiting,
        })
    }

    /// Has a wallet without a record read the blocks from this height on. Otherwise it begins with the newest block, and
    /// does not see what its addresses were paid earlier.
    #[must_use]
    pub fn with_birthday(self, height: u32) -> Self {
        Self { birthday: Some(height), ..self }
    }

    /// Sets the interval at which `bitcoind` is asked for news; a second otherwise.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// The same connection, expected to be of another network.
    #[must_use]
    pub fn of_network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// Calls any method of the RPC interface. The call blocks until the answer is there.
    ///
    /// # Errors
    ///
    /// The method fails, or there is no answer within 20 seconds.
    pub fn rpc(&self, method: &str, params: &[Value]) -> Result<Value, SourceError> {
        Ok(self.call(method, params)?)
    }

    fn call(&self, method: &str, params: &[Value]) -> Result<Value, Failed> {
        let called = self.waiting.wait_for(ANSWER, async {
            let client = self.client()?;
            client.call_method::<Value>(method, params).await
        });
        called.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<RpcError>()) {
            Some(RpcError { code, message }) => Failed::Refused(*code, message.clone()),
            None => {
                // A new bitcoind has a new cookie.
                self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
                Failed::Gone(format!("{method} at {}:{}: {error}", self.endpoint.0, self.endpoint.1))
            }
        })
    }

    fn client(&self) -> io::Result<Arc<RpcClient>> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let credentials = match &self.auth {
            Auth::Password { user, password } => format!("{user}:{password}"),
            Auth::Cookie(path) => std::fs::read_to_string(path)
                .map_err(|error| io::Error::new(error.kind(), format!("cookie file {}: {error}", path.display())))?,
        };
        let endpoint = HttpEndpoint::for_host(self.endpoint.0.clone()).with_port(self.endpoint.1);
        let new = Arc::new(RpcClient::new(&STANDARD.encode(credentials.trim()), endpoint));
        Ok(Arc::clone(client.insert(new)))
    }

    /// Calls a method whose answer is a consensus object in hexadecimal digits.
    fn object<T: bitcoin::consensus::Decodable>(&self, method: &str, params: &[Value]) -> Result<T, Failed> {
        let hex = self.call(method, params)?;
        let object = hex.as_str().and_then(|hex| deserialize_hex(hex).ok());
        object.ok_or_else(|| Failed::Refused(0, format!("{method} gives no such object")))
    }

    fn submit_one(&self, tx: &Transaction) -> Result<Broadcast, SourceError> {
        match self.call("sendrawtransaction", &[json!(serialize_hex(tx))]) {
            Ok(_) => Ok(Broadcast::Accepted),
            Err(Failed::Refused(_, why)) => Ok(answer(&why)),
            Err(gone) => Err(gone.into()),
        }
    }

    /// Submits a child with its unconfirmed parents. `None`: `bitcoind` does not take them as a package.
    fn submit_package(&self, transactions: &[Transaction]) -> Result<Option<Vec<Broadcast>>, SourceError> {
        let hex: Vec<String> = transactions.iter().map(serialize_hex).collect();
        let result = match self.call("submitpackage", &[json!(hex)]) {
            Ok(result) => result,
            Err(Failed::Refused(..)) => return Ok(None),
            Err(gone) => return Err(gone.into()),
        };
        let of = |tx: &Transaction| {
            let result = &result["tx-results"][tx.compute_wtxid().to_string()];
            match result["error"].as_str() {
                Some(why) => answer(why),
                None if result.is_object() => Broadcast::Accepted,
                None => Broadcast::Refused(result["package_msg"].as_str().unwrap_or("not in the answer").into()),
            }
        };
        Ok(Some(transactions.iter().map(of).collect()))
    }
}

impl ChainSource for Bitcoind {
    fn network(&self) -> Network {
        self.network
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn birthday(&self) -> Option<u32> {
        self.birthday
    }

    fn genesis(&self) -> Result<BlockHash, SourceError> {
        self.hash_at(0)?.ok_or_else(|| SourceError::Refused("there is no first block".into()))
    }

    fn tip(&self) -> Result<BestBlock, SourceError> {
        let info = self.call("getblockchaininfo", &[])?;
        let hash = info["bestblockhash"].as_str().and_then(|hash| hash.parse().ok());
        let height = info["blocks"].as_u64().and_then(|height| u32::try_from(height).ok());
        let (blocks, headers) =
            (info["blocks"].as_u64().unwrap_or_default(), info["headers"].as_u64().unwrap_or_default());
        if headers > blocks + FEW {
            return Err(SourceError::Gone(format!("bitcoind itself has {blocks} of {headers} blocks")));
        }
        match (hash, height) {
            (Some(hash), Some(height)) => Ok(BestBlock::new(hash, height)),
            _ => Err(SourceError::Refused("getblockchaininfo names no block".into())),
        }
    }

    fn feed(&self) -> Feed<'_> {
        Feed::Blocks(self)
    }

    fn submit(&self, transactions: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        if transactions.len() > 1
            && let Some(answers) = self.submit_package(transactions)?
        {
            return Ok(answers);
        }
        transactions.iter().map(|tx| self.submit_one(tx)).collect()
    }

    fn fee_rates(&self) -> Result<FeeRates, SourceError> {
        let least = self.call("getmempoolinfo", &[])?["mempoolminfee"].as_f64().map_or(0, sat_per_kw);
        let mut within = vec![];
        for blocks in [1, 6, 12, 144, 1_008] {
            // A node that has seen few blocks has no estimate.
            if let Some(rate) = self.call("estimatesmartfee", &[json!(blocks)])?["feerate"].as_f64() {
                within.push((blocks, sat_per_kw(rate)));
            }
        }
        Ok(FeeRates::new(within, least))
    }

    fn sighting(&self, txid: &Txid) -> Result<Option<Sighting>, SourceError> {
        match self.call("getmempoolentry", &[json!(txid.to_string())]) {
            Ok(entry) => {
                let (fee, weight) = (entry["fees"]["base"].as_f64(), entry["weight"].as_f64());
                let rate = fee.zip(weight).map(|(fee, weight)| sat_per_kw(fee * 4_000.0 / weight));
                Ok(Some(Sighting { height: None, fee_rate: rate.map(|rate| FeeRate::from_sat_per_kwu(rate.into())) }))
            }
            Err(Failed::Refused(NOT_FOUND, _)) => self.mined(txid),
            Err(failed) => Err(failed.into()),
        }
    }
}

impl Bitcoind {
    /// Looks for an unspent output of the transaction in the chain. Without an index that is all that `bitcoind` can search;
    /// it suffices for fundings.
    fn mined(&self, txid: &Txid) -> Result<Option<Sighting>, SourceError> {
        let tip = self.tip()?.height;
        for vout in 0..OUTPUTS {
            let output = self.call("gettxout", &[json!(txid.to_string()), json!(vout), json!(false)])?;
            if let Some(confirmations) = output["confirmations"].as_u64().and_then(|count| u32::try_from(count).ok()) {
                return Ok(Some(Sighting { height: Some((tip + 1).saturating_sub(confirmations)), fee_rate: None }));
            }
        }
        Ok(None)
    }
}

impl BlockFeed for Bitcoind {
    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        match self.call("getblockhash", &[json!(height)]) {
            Ok(hash) => match hash.as_str().and_then(|hash| hash.parse().ok()) {
                Some(hash) => Ok(Some(hash)),
                None => Err(SourceError::Refused(format!("getblockhash {height} gives {hash}"))),
            },
            Err(Failed::Refused(OUT_OF_RANGE, _)) => Ok(None),
            Err(failed) => Err(failed.into()),
        }
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, SourceError> {
        self.object("getblockheader", &[json!(hash.to_string()), json!(false)]).map_err(|failed| failed.of_block(hash))
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
        self.object("getblock", &[json!(hash.to_string()), json!(0)]).map_err(|failed| failed.of_block(hash))
    }

    fn mempool(&self, is_known: &dyn Fn(&Txid) -> bool) -> Result<Mempool, SourceError> {
        let all = self.call("getrawmempool", &[])?;
        let txids = all.as_array().into_iter().flatten().filter_map(|txid| txid.as_str()?.parse().ok());
        let mut mempool = Mempool { txids: txids.collect(), unknown: vec![] };
        for txid in mempool.txids.iter().filter(|txid| !is_known(txid)).take(FETCHED_AT_ONCE) {
            match self.object("getrawtransaction", &[json!(txid.to_string())]) {
                Ok(tx) => mempool.unknown.push(tx),
                Err(Failed::Refused(..)) => {} // it was mined or replaced meanwhile
                Err(gone) => return Err(gone.into()),
            }
        }
        Ok(mempool)
    }
}

enum Failed {
    Gone(String),
    Refused(i64, String),
}

impl Failed {
    fn of_block(self, hash: &BlockHash) -> SourceError {
        match self {
            Self::Refused(NOT_FOUND, _) => SourceError::UnknownBlock(*hash),
            other => other.into(),
        }
    }
}

impl From<Failed> for SourceError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Gone(why) => Self::Gone(why),
            Failed::Refused(IN_WARMUP, why) => Self::Gone(why),
            Failed::Refused(code, why) => Self::Refused(format!("{why} (code {code})")),
        }
    }
}

/// Longest time for an answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Largest number of transactions of the mempool that one look fetches.
const FETCHED_AT_ONCE: usize = 2_000;
/// Number of blocks that `bitcoind` may have yet to check.
const FEW: u64 = 6;
/// Number of outputs of a transaction that are looked for.
const OUTPUTS: u32 = 4;
/// `RPC_INVALID_ADDRESS_OR_KEY`
const NOT_FOUND: i64 = -5;
/// `RPC_INVALID_PARAMETER`
const OUT_OF_RANGE: i64 = -8;
/// `RPC_IN_WARMUP`
const IN_WARMUP: i64 = -28;

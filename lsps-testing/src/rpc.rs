//! The chain with `bitcoind`'s JSON-RPC interface, as far as Lightning nodes use it. The server listens on loopback and
//! accepts any password.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{BlockHash, Transaction, Txid};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use lsps_node::chain::embedded::{Chain, FEE_SAT_PER_KW};
use serde_json::{Value, json};

use crate::http::HttpServer;

/// A server for one chain. Dropping it stops the server.
pub struct Rpc {
    server: HttpServer,
}

impl Rpc {
    /// Listens on a free port.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub async fn serve(chain: Chain) -> io::Result<Self> {
        Self::serve_at(([127, 0, 0, 1], 0).into(), chain).await
    }

    /// Listens at this address.
    ///
    /// # Errors
    ///
    /// The address is not free.
    pub async fn serve_at(address: SocketAddr, chain: Chain) -> io::Result<Self> {
        Ok(Self { server: HttpServer::serve(address, move |request| respond(chain.clone(), request)).await? })
    }

    /// Address on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

async fn respond(chain: Chain, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (result, error) = match answer(&chain, &call) {
        Ok(result) => (result, Value::Null),
        Err(Refused(code, message)) => (Value::Null, json!({ "code": code, "message": message })),
    };
    let reply = json!({ "result": result, "error": error, "id": call["id"] });
    Ok(Response::new(Full::from(reply.to_string())))
}

/// Code and message of an error.
struct Refused(i32, String);

fn answer(chain: &Chain, call: &Value) -> Result<Value, Refused> {
    let params = &call["params"];
    let waiting = || chain.waiting(&parse::<Txid>(params)?).ok_or_else(|| not_found("transaction"));
    match call["method"].as_str().unwrap_or_default() {
        "getblockchaininfo" => {
            let tip = chain.best_block();
            Ok(json!({ "chain": "regtest", "blocks": tip.height, "bestblockhash": tip.block_hash }))
        }
        "getblockhash" => {
            let hash = params[0].as_u64().and_then(|height| chain.hash_at(u32::try_from(height).ok()?));
            hash.map(|hash| json!(hash)).ok_or_else(|| Refused(INVALID_PARAMETER, "Block height out of range".into()))
        }
        "getblockheader" if params[1] == json!(false) => {
            let header = lsps_node::chain::BlockFeed::header(chain, &parse(params)?);
            header.map(|header| serialize_hex(&header).into()).map_err(|_| not_found("block"))
        }
        "getblockheader" => header(chain, parse(params)?),
        "getblock" => {
            let block = chain.block_at(height_of(chain, parse(params)?)?);
            block.map(|block| serialize_hex(&block).into()).ok_or_else(|| not_found("block"))
        }
        "getrawmempool" => Ok(chain.mempool().iter().map(Transaction::compute_txid).map(|txid| json!(txid)).collect()),
        // Nodes take a transaction with a height and a second that they have seen for a known one.
        "getmempoolentry" => waiting().map(|tx| {
            let fee = chain.fee_sat(&tx.compute_txid()).unwrap_or_default();
            #[allow(clippy::cast_precision_loss)] // amounts of tests are small
            let fees = json!({ "base": fee as f64 / 100_000_000.0 });
            json!({ "time": now(), "height": chain.height() + 1, "fees": fees, "weight": tx.weight().to_wu() })
        }),
        "gettxout" => {
            let confirmations = chain.confirmations(&parse(params)?);
            Ok(confirmations.map_or(Value::Null, |count| json!({ "confirmations": count })))
        }
        "getrawtransaction" => waiting().map(|tx| serialize_hex(&tx).into()),
        "sendrawtransaction" => {
            let tx = params[0].as_str().and_then(|hex| deserialize_hex(hex).ok());
            let tx = tx.ok_or_else(|| Refused(DESERIALIZATION, "no transaction".into()))?;
            chain.submit(tx).map(|txid| json!(txid)).map_err(|why| Refused(REJECTED, why.to_string()))
        }
        "estimatesmartfee" => Ok(json!({ "feerate": feerate(chain), "blocks": params[0] })),
        "getmempoolinfo" => Ok(json!({ "mempoolminfee": f64::from(FEE_SAT_PER_KW) / 25_000_000.0 })),
        other => Err(Refused(NO_SUCH_METHOD, format!("there is no method {other:?}"))),
    }
}

fn header(chain: &Chain, hash: BlockHash) -> Result<Value, Refused> {
    let height = height_of(chain, hash)?;
    let header = chain.block_at(height).ok_or_else(|| not_found("block"))?.header;
    // Every block has the same difficulty, so the work is a multiple of one block's.
    let work: u64 = (u64::from(height) + 1) * WORK_OF_A_BLOCK;
    let mut shown = json!({
        "hash": hash, "height": height, "chainwork": format!("{work:064x}"), "version": header.version.to_consensus(),
        "merkleroot": header.merkle_root, "time": header.time, "nonce": header.nonce,
        "bits": format!("{:08x}", header.bits.to_consensus()),
    });
    if height > 0 {
        shown["previousblockhash"] = json!(header.prev_blockhash);
    }
    Ok(shown)
}

fn height_of(chain: &Chain, hash: BlockHash) -> Result<u32, Refused> {
    let mut heights = (0..=chain.height()).rev();
    heights.find(|height| chain.hash_at(*height) == Some(hash)).ok_or_else(|| not_found("block"))
}

/// Parses the first parameter, a hash.
fn parse<T: std::str::FromStr>(params: &Value) -> Result<T, Refused> {
    let text = params[0].as_str().unwrap_or_default();
    text.parse().map_err(|_| Refused(INVALID_PARAMETER, format!("{text:?} is no hash")))
}

fn not_found(what: &str) -> Refused {
    Refused(NOT_FOUND, format!("no such {what}"))
}

/// Feerate in bitcoin per 1000 virtual bytes.
fn feerate(chain: &Chain) -> f64 {
    f64::from(chain.fee_sat_per_kw()) / 25_000_000.0
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

const WORK_OF_A_BLOCK: u64 = 2;
const NOT_FOUND: i32 = -5;
const INVALID_PARAMETER: i32 = -8;
const DESERIALIZATION: i32 = -22;
const REJECTED: i32 = -26;
const NO_SUCH_METHOD: i32 = -32_601;

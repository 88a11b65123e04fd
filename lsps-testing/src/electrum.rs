//! The chain with the interface of an Electrum server, as far as Lightning nodes and wallets use it: lines of JSON over TCP.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use bitcoin::Txid;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::{Hash as _, sha256, sha256d};
use lsps_node::chain::embedded::Chain;
use serde_json::{Value, json};

use crate::esplora::{all, concerns, height_of};

/// A server for one chain. Its threads end with the process.
pub struct ElectrumServer {
    address: SocketAddr,
}

impl ElectrumServer {
    /// Listens on a free port.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub fn serve(chain: Chain) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let chain = chain.clone();
                thread::spawn(move || talk(&chain, &stream));
            }
        });
        Ok(Self { address })
    }

    /// Address on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn talk(chain: &Chain, stream: &TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    for line in BufReader::new(stream).lines() {
        let call: Value = serde_json::from_str(&line.ok()?).ok()?;
        let reply = match answer(chain, call["method"].as_str().unwrap_or_default(), &call["params"]) {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }),
            Err(why) => json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": 1, "message": why } }),
        };
        let mut stream = stream;
        stream.write_all(format!("{reply}\n").as_bytes()).ok()?;
    }
    Some(())
}

fn answer(chain: &Chain, method: &str, params: &Value) -> Result<Value, String> {
    let header = |height: u32| {
        let block = chain.block_at(height).ok_or_else(|| format!("there is no block {height}"))?;
        Ok::<_, String>(serialize_hex(&block.header))
    };
    let number = |at: usize| params[at].as_u64().and_then(|n| u32::try_from(n).ok()).ok_or("it is no number");
    let txid = || params[0].as_str().and_then(|txid| txid.parse::<Txid>().ok()).ok_or("it is no txid");
    match method {
        "blockchain.headers.subscribe" => {
            let height = chain.height();
            Ok(json!({ "height": height, "hex": header(height)? }))
        }
        "blockchain.block.header" => Ok(json!(header(number(0)?)?)),
        "blockchain.block.headers" => {
            let start = number(0)?;
            let headers: Vec<String> = (start..start + number(1)?).map_while(|height| header(height).ok()).collect();
            Ok(json!({ "count": headers.len(), "hex": headers.concat(), "max": 2_016 }))
        }
        "blockchain.scripthash.get_history" => Ok(history(chain, params[0].as_str().unwrap_or_default())),
        "blockchain.transaction.get" => {
            let tx = chain.transaction(&txid()?).ok_or("No such mempool or blockchain transaction")?;
            Ok(json!(serialize_hex(&tx)))
        }
        "blockchain.transaction.get_merkle" => merkle(chain, txid()?),
        "blockchain.transaction.broadcast" => {
            let tx = params[0].as_str().and_then(|hex| deserialize_hex(hex).ok()).ok_or("it is no transaction")?;
            chain.submit(tx).map(|txid| json!(txid)).map_err(|why| why.to_string())
        }
        "blockchain.estimatefee" | "blockchain.relayfee" => Ok(json!(f64::from(chain.fee_sat_per_kw()) / 25_000_000.0)),
        "server.version" => Ok(json!(["embedded", "1.4"])),
        "server.ping" => Ok(Value::Null),
        other => Err(format!("unknown method {other}")),
    }
}

fn history(chain: &Chain, script: &str) -> Value {
    // The hash is written in the order of a txid.
    let Ok(hash) = script.parse::<sha256d::Hash>().map(|hash| hash.to_byte_array()) else { return json!([]) };
    let script = sha256::Hash::from_byte_array(hash);
    let of_script = all(chain).into_iter().filter(|(_, tx)| concerns(chain, tx, &script));
    let entry = |(height, tx): (Option<u32>, bitcoin::Transaction)| {
        let txid = tx.compute_txid();
        let parent_waits = tx.input.iter().any(|input| chain.in_mempool(&input.previous_output.txid));
        let unconfirmed = if parent_waits { -1 } else { 0 };
        json!({ "tx_hash": txid, "height": height.map_or(unconfirmed, i64::from), "fee": chain.fee_sat(&txid) })
    };
    of_script.map(entry).collect()
}

/// The hashes beside the way from a transaction to the Merkle root.
fn merkle(chain: &Chain, txid: Txid) -> Result<Value, String> {
    let height = height_of(chain, &txid).ok_or("it is not in a block")?;
    let block = chain.block_at(height).ok_or("there is no such block")?;
    let mut row: Vec<[u8; 32]> = block.txdata.iter().map(|tx| tx.compute_txid().to_byte_array()).collect();
    let position = block.txdata.iter().position(|tx| tx.compute_txid() == txid).ok_or("it is not in its block")?;
    let (mut at, mut beside) = (position, vec![]);
    while row.len() > 1 {
        if row.len() % 2 == 1 {
            row.extend(row.last().copied());
        }
        beside.push(sha256d::Hash::from_byte_array(row[at ^ 1]).to_string());
        row = row.chunks(2).map(|pair| sha256d::Hash::hash(&pair.concat()).to_byte_array()).collect();
        at /= 2;
    }
    Ok(json!({ "block_height": height, "pos": position, "merkle": beside }))
}

//! The chain with the HTTP interface of an Esplora server, as far as Lightning nodes and wallets use it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bitcoin::consensus::encode::{deserialize_hex, serialize, serialize_hex};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{Block, BlockHash, MerkleBlock, Transaction, TxIn, TxOut, Txid};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use lsps_node::chain::embedded::Chain;
use serde_json::{Value, json};

use crate::http::HttpServer;

/// A server for one chain. Dropping it stops the server.
pub struct EsploraServer {
    server: HttpServer,
}

impl EsploraServer {
    /// Listens on a free port.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub async fn serve(chain: Chain) -> io::Result<Self> {
        let any = ([127, 0, 0, 1], 0).into();
        Ok(Self { server: HttpServer::serve(any, move |request| respond(chain.clone(), request)).await? })
    }

    /// Address on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

async fn respond(chain: Chain, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let (status, bytes) = if parts.method == Method::POST { post(&chain, &path, &body) } else { get(&chain, &path) };
    let mut response = Response::new(Full::from(bytes));
    *response.status_mut() = status;
    Ok(response)
}

type Answer = (StatusCode, Vec<u8>);

fn post(chain: &Chain, path: &[&str], body: &[u8]) -> Answer {
    let text = std::str::from_utf8(body).unwrap_or_default();
    match (path, deserialize_hex::<Transaction>(text)) {
        (["tx"], Ok(tx)) => match chain.submit(tx) {
            Ok(txid) => (StatusCode::OK, txid.to_string().into()),
            Err(why) => (StatusCode::BAD_REQUEST, format!("sendrawtransaction RPC error: {why}").into()),
        },
        _ => (StatusCode::NOT_FOUND, vec![]),
    }
}

fn get(chain: &Chain, path: &[&str]) -> Answer {
    match answer(chain, path) {
        Some(bytes) => (StatusCode::OK, bytes),
        None => (StatusCode::NOT_FOUND, b"not found".to_vec()),
    }
}

fn answer(chain: &Chain, path: &[&str]) -> Option<Vec<u8>> {
    let json = |value: Value| Some(value.to_string().into_bytes());
    match path {
        ["blocks", "tip", "hash"] => Some(chain.best_block().block_hash.to_string().into()),
        ["blocks", "tip", "height"] => Some(chain.height().to_string().into()),
        ["blocks"] => {
            let newest = (chain.height().saturating_sub(9)..=chain.height()).rev();
            json(newest.filter_map(|height| Some(block_info(&chain.block_at(height)?, height))).collect())
        }
        ["block-height", height] => Some(chain.hash_at(height.parse().ok()?)?.to_string().into()),
        ["block", hash, "header"] => Some(serialize_hex(&block(chain, hash)?.1.header).into()),
        ["block", hash, "status"] => {
            let found = block(chain, hash).map(|(height, _)| height);
            let next = found.and_then(|height| chain.hash_at(height + 1));
            json(json!({ "in_best_chain": found.is_some(), "height": found, "next_best": next }))
        }
        ["tx", txid] => json(transaction(chain, &chain.transaction(&txid.parse().ok()?)?)),
        ["tx", txid, "raw"] => Some(serialize(&chain.transaction(&txid.parse().ok()?)?)),
        ["tx", txid, "status"] => json(status(chain, &txid.parse().ok()?)),
        ["tx", txid, "merkleblock-proof"] => {
            let txid: Txid = txid.parse().ok()?;
            let block = chain.block_at(height_of(chain, &txid)?)?;
            Some(serialize_hex(&MerkleBlock::from_block_with_predicate(&block, |other| *other == txid)).into())
        }
        ["tx", txid, "outspend", index] => {
            let spent = bitcoin::OutPoint { txid: txid.parse().ok()?, vout: index.parse().ok()? };
            json(spender(chain, spent))
        }
        ["scripthash", hash, "txs"] => json(of_script(chain, hash.parse().ok()?, None)),
        ["scripthash", hash, "txs", "chain", last] => json(of_script(chain, hash.parse().ok()?, last.parse().ok())),
        ["fee-estimates"] => {
            let rate = f64::from(chain.fee_sat_per_kw()) / 250.0;
            json(json!({ "1": rate, "6": rate, "144": rate, "1008": rate }))
        }
        _ => None,
    }
}

fn block(chain: &Chain, hash: &str) -> Option<(u32, Block)> {
    let hash: BlockHash = hash.parse().ok()?;
    let height = (0..=chain.height()).rev().find(|height| chain.hash_at(*height) == Some(hash))?;
    Some((height, chain.block_at(height)?))
}

fn block_info(block: &Block, height: u32) -> Value {
    json!({
        "id": block.block_hash(), "height": height, "version": block.header.version.to_consensus(),
        "timestamp": block.header.time, "mediantime": block.header.time, "tx_count": block.txdata.len(),
        "size": block.total_size(), "weight": block.weight().to_wu(), "merkle_root": block.header.merkle_root,
        "previousblockhash": (height > 0).then_some(block.header.prev_blockhash),
        "nonce": block.header.nonce, "bits": block.header.bits.to_consensus(), "difficulty": 0,
    })
}

pub(crate) fn height_of(chain: &Chain, txid: &Txid) -> Option<u32> {
    chain.confirmations(txid).map(|confirmations| chain.height() + 1 - confirmations)
}

fn status(chain: &Chain, txid: &Txid) -> Value {
    match height_of(chain, txid).and_then(|height| Some((height, chain.block_at(height)?))) {
        Some((height, block)) => json!({
            "confirmed": true, "block_height": height, "block_hash": block.block_hash(), "block_time": block.header.time,
        }),
        None => json!({ "confirmed": false }),
    }
}

fn transaction(chain: &Chain, tx: &Transaction) -> Value {
    let output = |output: &TxOut| json!({ "value": output.value.to_sat(), "scriptpubkey": output.script_pubkey });
    let input = |input: &TxIn| {
        let of = chain.transaction(&input.previous_output.txid);
        let spent = of.and_then(|tx| tx.output.get(usize::try_from(input.previous_output.vout).ok()?).cloned());
        let witness: Vec<String> = input.witness.iter().map(serialize_bytes).collect();
        json!({
            "txid": input.previous_output.txid, "vout": input.previous_output.vout, "prevout": spent.as_ref().map(output),
            "scriptsig": input.script_sig, "witness": witness, "sequence": input.sequence, "is_coinbase": tx.is_coinbase(),
        })
    };
    let txid = tx.compute_txid();
    json!({
        "txid": txid, "version": tx.version.0, "locktime": tx.lock_time.to_consensus_u32(),
        "vin": tx.input.iter().map(input).collect::<Vec<_>>(), "vout": tx.output.iter().map(output).collect::<Vec<_>>(),
        "size": tx.total_size(), "weight": tx.weight().to_wu(), "status": status(chain, &txid),
        "fee": chain.fee_sat(&txid).unwrap_or_default(),
    })
}

fn serialize_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every transaction, the oldest first, with its height; those of the mempool last.
pub(crate) fn all(chain: &Chain) -> Vec<(Option<u32>, Transaction)> {
    let blocks = (0..=chain.height()).filter_map(|height| Some((height, chain.block_at(height)?)));
    let mined = blocks.flat_map(|(height, block)| block.txdata.into_iter().map(move |tx| (Some(height), tx)));
    mined.chain(chain.mempool().into_iter().map(|tx| (None, tx))).collect()
}

/// Whether the transaction pays to the script of this hash, or spends an output to it.
pub(crate) fn concerns(chain: &Chain, tx: &Transaction, script: &sha256::Hash) -> bool {
    let is_it = |output: &TxOut| sha256::Hash::hash(output.script_pubkey.as_bytes()) == *script;
    let spends = |input: &TxIn| {
        let tx = chain.transaction(&input.previous_output.txid)?;
        tx.output.get(usize::try_from(input.previous_output.vout).ok()?).map(is_it)
    };
    tx.output.iter().any(is_it) || (!tx.is_coinbase() && tx.input.iter().any(|input| spends(input) == Some(true)))
}

fn spender(chain: &Chain, spent: bitcoin::OutPoint) -> Value {
    for (_, tx) in all(chain) {
        if let Some(index) = tx.input.iter().position(|input| input.previous_output == spent) {
            let txid = tx.compute_txid();
            return json!({ "spent": true, "txid": txid, "vin": index, "status": status(chain, &txid) });
        }
    }
    json!({ "spent": false })
}

/// The newest first; at most 25 mined ones in one answer.
fn of_script(chain: &Chain, script: sha256::Hash, after: Option<Txid>) -> Value {
    let mut found: Vec<_> = all(chain).into_iter().filter(|(_, tx)| concerns(chain, tx, &script)).collect();
    found.reverse();
    if let Some(after) = after {
        let seen = found.iter().position(|(_, tx)| tx.compute_txid() == after).map_or(found.len(), |at| at + 1);
        found.drain(..seen);
        found.retain(|(height, _)| height.is_some());
    }
    let unconfirmed = found.iter().filter(|(height, _)| height.is_none()).count();
    found.truncate(unconfirmed + 25);
    found.iter().map(|(_, tx)| transaction(chain, tx)).collect()
}

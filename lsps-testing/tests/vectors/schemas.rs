//! `common_schemas`: encodings of single values.

use lsps_types::units::{Blob, ConnectionString, Host, Lenient};
use lsps_types::{Address, DateTime, FeeRate, Msat, Network, OutPoint, PeerId, Ppm, Sat, Scid, Txid};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Case, Given, Verdict, verdict};

pub fn run(case: &Case) -> Verdict {
    let input = &case.input;
    let text = input["json_text"].as_str().map_or_else(|| input["json"].json().to_string(), String::from);
    let outcome = match input["type"].as_str().expect("a type") {
        "msat" if input["mode"] == "lenient" => match serde_json::from_str::<Lenient<Msat>>(&text) {
            Ok(Lenient(amount)) => json!({ "ok": { "value": amount.0.to_string(), "encode": amount } }),
            Err(_) => json!({ "error": { "code": "invalid_amount" } }),
        },
        "msat" => read(&text, "invalid_amount", |Msat(amount)| json!(amount.to_string())),
        "sat" => read(&text, "invalid_amount", |Sat(amount)| json!(amount.to_string())),
        "ppm" => read(&text, "invalid_ppm", |Ppm(share)| json!(share)),
        "scid" => read(&text, "invalid_scid", |Scid(scid)| json!(scid.to_string())),
        "txid" => read(&text, "invalid_txid", |Txid(shown)| {
            let internal: String = shown.iter().rev().map(|byte| format!("{byte:02x}")).collect();
            json!({ "internal_hex": internal })
        }),
        "datetime" => return datetime(case, &text),
        "pubkey" => read_if(&text, "invalid_pubkey", PeerId::is_on_curve, |id| json!(id.to_string())),
        "connection_string" => {
            read_if(&text, "invalid_connection_string", ConnectionString::is_on_curve, connection_parts)
        }
        "onchain_address" => return address(case, &text),
        "onchain_fee_rate" => read(&text, "invalid_fee_rate", |FeeRate(rate)| json!(rate)),
        "binary_blob" => read(&text, "invalid_base64", |Blob(bytes)| json!(hex(bytes))),
        "output_index" => read(&text, "invalid_output_index", |index: &u16| json!(index)),
        "outpoint" => {
            read(&text, "invalid_outpoint", |OutPoint { txid, index }| json!({ "txid": txid, "vout": index }))
        }
        other => return Verdict::Failed(format!("unknown type {other}")),
    };
    verdict(case, &outcome)
}

/// A datetime that was read keeps its text; the encoding that the case wants is the instant in our own form.
fn datetime(case: &Case, text: &str) -> Verdict {
    let outcome = match serde_json::from_str::<DateTime>(text) {
        Err(_) => json!({ "error": { "code": "invalid_datetime" } }),
        Ok(datetime) => {
            let kept = serde_json::to_value(&datetime).expect("a string");
            assert_eq!(kept, serde_json::from_str::<Value>(text).expect("JSON"), "the text is kept");
            let ours = DateTime::from(datetime.instant());
            json!({ "ok": { "value": { "unix_ms": datetime.instant().unix_millis() }, "encode": ours.as_str() } })
        }
    };
    verdict(case, &outcome)
}

fn address(case: &Case, text: &str) -> Verdict {
    let network = network(&case.input["network"]);
    let outcome = match serde_json::from_str::<Address>(text) {
        Err(_) => json!({ "error": { "code": "invalid_address" } }),
        Ok(address) if !address.is_on(network) => json!({ "error": { "code": "wrong_network" } }),
        Ok(address) => {
            let value = json!({ "version": address.version(), "program_hex": hex(address.program()) });
            json!({ "ok": { "value": value, "encode": address } })
        }
    };
    verdict(case, &outcome)
}

pub fn network(name: &Given) -> Network {
    match name.as_str().expect("a network") {
        "bitcoin" => Network::Bitcoin,
        "testnet" => Network::Testnet,
        "signet" => Network::Signet,
        "regtest" => Network::Regtest,
        other => panic!("unknown network {other}"),
    }
}

fn connection_parts(connection: &ConnectionString) -> Value {
    let kind = match &connection.host {
        Host::Ipv4(_) => "ipv4",
        Host::Ipv6(_) => "ipv6",
        Host::TorV3(_) => "torv3",
        Host::Dns(_) => "dns",
    };
    let address = connection.host.to_string();
    json!({ "node_id": connection.node_id, "address": address, "port": connection.port, "kind": kind })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read<T: DeserializeOwned + Serialize>(text: &str, error: &str, value: impl Fn(&T) -> Value) -> Value {
    read_if(text, error, |_| true, value)
}

/// Like `read`, with a check that is made after reading.
fn read_if<T: DeserializeOwned + Serialize>(
    text: &str,
    error: &str,
    holds: impl Fn(&T) -> bool,
    value: impl Fn(&T) -> Value,
) -> Value {
    match serde_json::from_str::<T>(text) {
        Ok(read) if holds(&read) => {
            let written = serde_json::to_value(&read).expect("it is written");
            json!({ "ok": { "value": value(&read), "encode": written } })
        }
        Ok(_) | Err(_) => json!({ "error": { "code": error } }),
    }
}

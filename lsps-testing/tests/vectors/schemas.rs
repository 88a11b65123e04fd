//! `common_schemas`: how single values are read and written.

use lsps_types::{DateTime, Msat, Ppm, Scid, Txid};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Verdict, verdict};

pub fn run(case: &Value) -> Verdict {
    let input = &case["input"];
    let text = input["json_text"].as_str().map_or_else(|| input["json"].to_string(), String::from);
    if input["mode"] == "lenient" {
        return Verdict::Skipped("lenient reading of amounts");
    }
    let outcome = match input["type"].as_str().expect("a type") {
        // Nothing of LSPS0 and LSPS2 is in satoshis; the rules are the same.
        "msat" | "sat" => read(&text, "invalid_amount", |Msat(amount)| json!(amount.to_string())),
        "ppm" => read(&text, "invalid_ppm", |Ppm(share)| json!(share)),
        "scid" => read(&text, "invalid_scid", |Scid(scid)| json!(scid.to_string())),
        "txid" => read(&text, "invalid_txid", |Txid(shown)| {
            let internal: String = shown.iter().rev().map(|byte| format!("{byte:02x}")).collect();
            json!({ "internal_hex": internal })
        }),
        "datetime" => return datetime(case, &text),
        "pubkey" => return Verdict::Skipped("pubkey is not used by LSPS0 and LSPS2"),
        "connection_string" => return Verdict::Skipped("connection_string is not used by LSPS0 and LSPS2"),
        "onchain_address" => return Verdict::Skipped("onchain_address is not used by LSPS0 and LSPS2"),
        "onchain_fee_rate" => return Verdict::Skipped("onchain_fee_rate is not used by LSPS0 and LSPS2"),
        "binary_blob" => return Verdict::Skipped("binary_blob is not used by LSPS0 and LSPS2"),
        "output_index" => return Verdict::Skipped("output_index is not used by LSPS0 and LSPS2"),
        "outpoint" => return Verdict::Skipped("outpoint is not used by LSPS0 and LSPS2"),
        other => return Verdict::Failed(format!("unknown type {other}")),
    };
    verdict(case, &outcome)
}

/// What is read keeps its text; what the case wants written is the instant in our own form.
fn datetime(case: &Value, text: &str) -> Verdict {
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

fn read<T: DeserializeOwned + Serialize>(text: &str, error: &str, value: impl Fn(&T) -> Value) -> Value {
    match serde_json::from_str::<T>(text) {
        Ok(read) => {
            let written = serde_json::to_value(&read).expect("it is written");
            json!({ "ok": { "value": value(&read), "encode": written } })
        }
        Err(_) => json!({ "error": { "code": error } }),
    }
}

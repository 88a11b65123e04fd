//! `lsps0_framing`: what counts as a message, at an LSP and at a client.

use lsps_testing::{Lsp, LspSetup, NOON, peer};
use lsps_types::AnyRequest;
use lsps_types::jsonrpc::Incoming;
use lsps_types::lsps1::GetOrder;
use serde_json::{Value, json};

use super::{Verdict, client, verdict};

pub fn run(case: &Value) -> Verdict {
    let input = &case["input"];
    let payload = payload(input);
    if input["message_type"].as_u64().is_some_and(|kind| kind != u64::from(lsps_types::jsonrpc::MESSAGE_TYPE)) {
        // Handlers hand over what carries our type and nothing else; there is no way to a core for the rest.
        return verdict(case, &json!({ "ok": { "kind": "ignored", "reason": "other_message_type" } }));
    }
    match input["receiver"].as_str().expect("a receiver") {
        "lsp" => at_the_lsp(case, &payload),
        "client" => at_a_client(case, &payload),
        other => Verdict::Failed(format!("unknown receiver {other}")),
    }
}

fn at_the_lsp(case: &Value, payload: &[u8]) -> Verdict {
    let mut lsp = Lsp::at(NOON, LspSetup { tokens: vec!["t".into()], ..LspSetup::default() });
    let before = lsp.records().clone();
    let replies = lsp.receives(peer(1), payload);
    let reply: Value = match replies.as_slice() {
        [] => return verdict(case, &json!({ "ok": { "kind": "dropped_silently" } })),
        [reply] => serde_json::from_slice(reply).expect("a reply is JSON"),
        more => return Verdict::Failed(format!("{} replies", more.len())),
    };
    if !reply["error"].is_null() {
        assert_eq!(&before, lsp.records(), "an error changes nothing");
        let error = &reply["error"];
        return verdict(case, &json!({ "error": { "code": error["code"], "id": reply["id"], "data": error["data"] } }));
    }
    let incoming = Incoming::decode(payload).expect("it was answered");
    let method = incoming.method().expect("it was answered");
    let params = match AnyRequest::decode(method, &incoming).expect("it was answered") {
        AnyRequest::Lsps0ListProtocols(params) => json!(params),
        AnyRequest::Lsps2GetInfo(params) => json!(params),
        AnyRequest::Lsps2Buy(params) => json!(params),
        other => return Verdict::Failed(format!("{other:?} is not served")),
    };
    assert_eq!(json!(incoming.id()), reply["id"], "the id is echoed");
    verdict(case, &json!({ "ok": { "kind": "request", "id": reply["id"], "method": method.name(), "params": params } }))
}

/// The calls that wait are of a method that defines the error at hand.
fn at_a_client(case: &Value, payload: &[u8]) -> Verdict {
    let class = case["expect"]["ok"]["class"].as_str().unwrap_or_default();
    let outcome = match class.split_once('.').map_or("", |(lsps, _)| lsps) {
        "lsps2" => client::framing(case, payload, &client::a_buy()),
        "" => client::framing(case, payload, &client::a_question()),
        "lsps1" => client::framing(case, payload, &GetOrder { order_id: "a1".into() }),
        other => return Verdict::Failed(format!("unknown protocol {other}")),
    };
    verdict(case, &outcome)
}

fn payload(input: &Value) -> Vec<u8> {
    if let Some(text) = input["payload_text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(hex) = input["payload_hex"].as_str() {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
        return hex.as_bytes().chunks(2).map(byte).collect();
    }
    let parts = input["payload_parts"].as_array().expect("a payload");
    let part = |part: &Value| {
        let times = part[1].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number");
        part[0].as_str().expect("text").repeat(times)
    };
    parts.iter().map(part).collect::<String>().into_bytes()
}

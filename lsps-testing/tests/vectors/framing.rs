//! `lsps0_framing`: which payloads are messages, at an LSP and at a client.

use lightning::ln::msgs::Init;
use lightning::ln::peer_handler::CustomMessageHandler as _;
use lightning::ln::wire::{CustomMessageReader as _, Type as _};
use lightning::types::features::InitFeatures;
use lightning::util::ser::Writeable as _;
use lsps_testing::{Lsp, LspSetup, NOON, peer};
use lsps_transport_ldk::{LspsMessageHandler, PeerEvent, Role};
use lsps_types::AnyRequest;
use lsps_types::jsonrpc::Incoming;
use lsps_types::lsps1::GetOrder;
use serde_json::{Value, json};

use super::{Case, Given, Verdict, client, orders, verdict};

pub fn run(case: &Case) -> Verdict {
    let input = &case.input;
    let kind = input["message_type"].as_u64().unwrap_or(37_913);
    let Some(payload) = received(u16::try_from(kind).expect("a message type"), &payload(input)) else {
        // Pending or answered requests make no difference to a payload that is not read at all.
        input.json();
        return verdict(case, &json!({ "ok": { "kind": "ignored", "reason": "other_message_type" } }));
    };
    match input["receiver"].as_str().expect("a receiver") {
        "lsp" => at_the_lsp(case, &payload),
        "client" => at_a_client(case, &payload),
        other => Verdict::Failed(format!("unknown receiver {other}")),
    }
}

/// Payload that a node's message handler passes on from a message of this type; `None` if it leaves the message to
/// others.
fn received(kind: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let handler = LspsMessageHandler::new(Role::Service);
    let message = handler.read(kind, &mut &payload[..]).expect("a payload of any bytes is read")?;
    assert_eq!((message.type_id(), message.encode().as_slice()), (kind, payload), "it is sent as it was received");
    let secret = bitcoin::secp256k1::SecretKey::from_slice(&[1; 32]).expect("a key");
    let sender = bitcoin::secp256k1::PublicKey::from_secret_key(&bitcoin::secp256k1::Secp256k1::new(), &secret);
    let init = Init { features: InitFeatures::empty(), networks: None, remote_network_address: None };
    handler.peer_connected(sender, &init, true).expect("it may come");
    handler.handle_custom_message(message, sender).expect("no payload disconnects its sender");
    match handler.take().pop() {
        Some(PeerEvent::Message(_, payload)) => Some(payload),
        other => panic!("{other:?}"),
    }
}

/// An LSP that serves what the case says, with the pending or answered requests of the case.
fn prepared_lsp(input: &Given) -> Lsp {
    let protocols: Vec<u16> = if input["protocols"].is_null() { vec![1, 2, 5] } else { input["protocols"].to() };
    assert!(protocols.contains(&2), "an LSP of ours always serves LSPS2");
    let mut config = LspSetup::default().config;
    config.webhooks.serve = protocols.contains(&5);
    let pending: Vec<String> = if input["pending_ids"].is_null() { vec![] } else { input["pending_ids"].to() };
    let setup = LspSetup {
        config,
        tokens: vec!["t".into()],
        elsewhere: !pending.is_empty(),
        orders: protocols.contains(&1).then(orders::sells_anything),
        ..LspSetup::default()
    };
    let mut lsp = Lsp::at(NOON, setup);
    for id in input["answered_ids"].items() {
        let request = json!({ "jsonrpc": "2.0", "method": "lsps0.list_protocols", "params": {}, "id": id.json() });
        assert_eq!(lsp.receives(peer(1), request.to_string().as_bytes()).len(), 1, "it is answered");
    }
    for id in pending {
        let request = json!({ "jsonrpc": "2.0", "method": "lsps2.get_info", "params": {}, "id": id });
        assert!(lsp.receives(peer(1), request.to_string().as_bytes()).is_empty(), "it waits for a decision");
    }
    lsp
}

fn at_the_lsp(case: &Case, payload: &[u8]) -> Verdict {
    let mut lsp = prepared_lsp(&case.input);
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
        AnyRequest::Lsps1GetInfo(params) => json!(params),
        AnyRequest::Lsps5ListWebhooks(params) => json!(params),
        other => return Verdict::Failed(format!("{other:?} is not served")),
    };
    assert_eq!(json!(incoming.id()), reply["id"], "the id is echoed");
    verdict(case, &json!({ "ok": { "kind": "request", "id": reply["id"], "method": method.name(), "params": params } }))
}

/// The pending calls are of a method that defines the error in question.
fn at_a_client(case: &Case, payload: &[u8]) -> Verdict {
    let class = case.expect()["ok"]["class"].as_str().unwrap_or_default();
    let outcome = match class.split_once('.').map_or("", |(lsps, _)| lsps) {
        "lsps2" => client::framing(case, payload, &client::a_buy()),
        "" => client::framing(case, payload, &client::a_question()),
        "lsps1" => client::framing(case, payload, &GetOrder { order_id: "a1".into() }),
        other => return Verdict::Failed(format!("unknown protocol {other}")),
    };
    verdict(case, &outcome)
}

fn payload(input: &Given) -> Vec<u8> {
    if let Some(text) = input["payload_text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(hex) = input["payload_hex"].as_str() {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
        return hex.as_bytes().chunks(2).map(byte).collect();
    }
    let parts: Vec<(String, usize)> = input["payload_parts"].to();
    parts.iter().map(|(text, times)| text.repeat(*times)).collect::<String>().into_bytes()
}

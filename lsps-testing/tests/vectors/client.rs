//! The client's verdicts on messages, purchases and payments, in the words of the vectors.

use lsps_client::jit_receive::{
    AcceptTrust, CannotInvoice, Expected, InvoiceParams, Part, Promised, Received, RouteHint, Rules, Verdict as Judged,
    enough_blocks_left, judge, prepare,
};
use lsps_client::{CallError, Client, Config, Heard, NotSent, Notice};
use lsps_testing::{NOON, peer};
use lsps_types::codes::{CommonError, MethodError};
use lsps_types::jsonrpc::{ErrorReply, Refusal, encode_request};
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps2::{Bought, Buy, GetInfo, OpeningFeeParams};
use lsps_types::{Blocks, DateTime, Msat, PeerId, Ppm, Request};
use serde_json::{Value, json};

use super::messages::some_terms;
use super::{Case, Given, msat, number};

/// Receives a payload; the ids of the vectors stand for pending calls of type `R`.
pub fn framing<R: Request>(case: &Case, payload: &[u8], request: &R) -> Value {
    let input = &case.input;
    let (mut client, lsp) = (Client::new(Config::default(), [7; 32]), peer(9));
    client.peer_connected(lsp);
    let mut payload = payload.to_vec();
    let mut tickets = vec![];
    for (list, answered) in [("answered_ids", true), ("pending_ids", false)] {
        for id in input[list].items() {
            let ticket = client.call(lsp, request, NOON).expect("it is connected");
            let sent = client.drain().written().messages.remove(0).1;
            let ours = serde_json::from_slice::<Value>(&sent).expect("JSON")["id"].as_str().expect("an id").to_string();
            payload = replace(&payload, id.as_str().expect("an id"), &ours);
            if answered {
                let answer = json!({ "jsonrpc": "2.0", "id": ours, "result": {} }).to_string();
                assert_eq!(client.receive(lsp, answer.as_bytes()), Heard::Answer);
                assert!(client.take(&ticket).is_some());
            } else {
                tickets.push((ticket, id.json().clone()));
            }
        }
    }
    let open = client.pending_calls();
    match client.receive(lsp, &payload) {
        Heard::Answer => {}
        Heard::UnknownId => return json!({ "ok": { "kind": "ignored", "reason": "unknown_id" } }),
        Heard::UncorrelatedError => return json!({ "ok": { "kind": "ignored", "reason": "uncorrelated_error" } }),
        Heard::UnknownNotification => return json!({ "ok": { "kind": "ignored", "reason": "unknown_notification" } }),
        Heard::BadFormat(_) => {
            assert_eq!(client.pending_calls(), open, "calls that wait stay as they are");
            assert!(matches!(client.call(lsp, request, NOON), Err(NotSent::Suspended)));
            let released = client.drain().written();
            assert_eq!((released.messages, released.notices), (vec![], vec![Notice::BadPayload(lsp)]));
            return json!({ "error": { "code": "bad_format", "effects": ["drop", "log", "suspend_until_reconnect"] } });
        }
    }
    let outcome = tickets.iter().find_map(|(ticket, id)| Some((client.take(ticket)?, id)));
    let (outcome, id) = outcome.expect("one of the calls is answered");
    match outcome {
        Ok(reply) => json!({ "ok": { "kind": "result", "id": id, "result": reply } }),
        Err(CallError::InvalidReply(_)) => json!({ "ok": { "kind": "invalid_result", "id": id } }),
        Err(CallError::Refused(error)) => {
            let mut outcome = json!({
                "kind": "error",
                "id": id,
                "code": error.object.code,
                "class": class::<R>(&error),
            });
            if let Refusal::InvalidParams(params) = &error.refusal {
                outcome["unrecognized"] = json!(params.unrecognized);
            }
            let safe = error.object.message.to_string();
            assert!(safe.chars().count() <= 300, "{safe:?}");
            let excluded = &case.expect()["ok"]["safe_message_excludes"];
            if excluded.is_array() {
                let absent = excluded.items().filter(|text| !safe.contains(text.as_str().expect("text")));
                outcome["safe_message_excludes"] = absent.map(Given::json).cloned().collect();
            }
            json!({ "ok": outcome })
        }
        Err(other) => json!({ "error": { "code": other.to_string() } }),
    }
}

fn class<R: Request>(error: &ErrorReply<R::Error>) -> String {
    match &error.refusal {
        Refusal::Method(method) => format!("lsps{}.{}", R::METHOD.lsps(), name(method.code())),
        Refusal::ClientRejected(_) => "client_rejected".into(),
        Refusal::InvalidParams(_) => "invalid_params".into(),
        Refusal::Common(CommonError::MethodNotFound) => "method_not_found".into(),
        Refusal::Common(_) => "internal".into(),
        _ => "unrecognized".into(),
    }
}

fn name(code: i64) -> &'static str {
    match code {
        100 => "option_mismatch",
        101 => "not_found",
        102 | 200 => "unrecognized_or_stale_token",
        201 => "invalid_opening_fee_params",
        202 => "payment_size_too_small",
        203 => "payment_size_too_large",
        500 => "too_long",
        501 => "url_parse_error",
        502 => "unsupported_protocol",
        503 => "too_many_webhooks",
        1010 => "app_name_not_found",
        other => panic!("no method defines {other}"),
    }
}

/// Returns the result of a call that is answered with this result or error.
pub fn result<R: Request>(member: &str, text: &str, request: &R) -> Result<R::Reply, CallError<R::Error>> {
    let (mut client, lsp) = (Client::new(Config::default(), [7; 32]), peer(9));
    client.peer_connected(lsp);
    let ticket = client.call(lsp, request, NOON).expect("it is connected");
    let sent: Value = serde_json::from_slice(&client.drain().written().messages[0].1).expect("JSON");
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"{member}":{text}}}"#, sent["id"]);
    assert_eq!(client.receive(lsp, answer.as_bytes()), Heard::Answer);
    client.take(&ticket).expect("it was answered")
}

pub fn get_info_result(input: &Given) -> Value {
    match result("result", &result_text(input), &GetInfo { token: None }) {
        Ok(menu) => json!({ "ok": { "entries": menu.opening_fee_params_menu.len() } }),
        Err(CallError::InvalidReply(at)) if at.path.starts_with("opening_fee_params_menu[") => {
            json!({ "error": { "code": "abort_flow" } })
        }
        Err(_) => json!({ "error": { "code": "invalid_result" } }),
    }
}

pub fn buy_result(input: &Given) -> Value {
    match result("result", &result_text(input), &a_buy()) {
        Ok(bought) => json!({ "ok": bought }),
        Err(_) => json!({ "error": { "code": "invalid_result" } }),
    }
}

pub fn buy_error(input: &Given) -> Value {
    let (class, _) = error_to(input, &a_buy());
    json!({ "ok": { "class": class } })
}

/// Returns the name and the content of the error that answers `request`.
pub fn error_to<R: Request>(input: &Given, request: &R) -> (String, ErrorReply<R::Error>) {
    let Err(CallError::Refused(error)) = result("error", &input["error"].json().to_string(), request) else {
        panic!("an error is an error");
    };
    let class = class::<R>(&error);
    (class.rsplit('.').next().unwrap_or(&class).into(), error)
}

/// Reads a menu entry, buys it, and returns the request that is sent.
pub fn copy_into_buy(input: &Given) -> Value {
    let menu = format!(r#"{{"opening_fee_params_menu":[{}]}}"#, input["entry_text"].as_str().expect("text"));
    let menu = result("result", &menu, &GetInfo { token: None }).expect("a menu");
    let opening_fee_params = menu.opening_fee_params_menu[0].clone();
    let size = input["payment_size_msat"].as_str().map(|_| msat(&input["payment_size_msat"]));
    let sent = encode_request("a", &Buy { opening_fee_params, payment_size_msat: size }).expect("short");
    let sent: Value = serde_json::from_slice(&sent).expect("JSON");
    json!({ "ok": { "opening_fee_params_equals": sent["params"]["opening_fee_params"] } })
}

pub fn derive_invoice(input: &Given) -> Value {
    let text = |name: &str| input[name].as_str().expect("text");
    let small = |name: &str| u16::try_from(number(&input[name])).expect("a u16");
    let size = input["payment_size_msat"].as_str().map(|_| msat(&input["payment_size_msat"]));
    let opening_fee_params =
        OpeningFeeParams { valid_until: text("valid_until").parse().expect("a datetime"), ..some_terms() };
    let bought = Bought {
        jit_channel_scid: text("jit_channel_scid").parse().expect("a SCID"),
        lsp_cltv_expiry_delta: small("lsp_cltv_expiry_delta"),
        client_trusts_lsp: input["client_trusts_lsp"] == true,
    };
    let params = InvoiceParams {
        normal_min_final_cltv_expiry_delta: small("normal_min_final_cltv_expiry_delta"),
        confirmations_to_wait: small("confirmations_to_wait"),
        expiry: input["wanted_expiry_s"].as_u64().map(std::time::Duration::from_secs),
        max_proportional_fee: None,
    };
    let lsp: PeerId = text("lsp_node_id").parse().expect("a node id");
    let rules = Rules { accept_trust: AcceptTrust::Yes, ..Rules::default() };
    let buy = Buy { opening_fee_params, payment_size_msat: size };
    let now = text("now").parse::<DateTime>().expect("a datetime").instant();
    match prepare(lsp, &buy, &bought, &params, &rules, now) {
        Err(CannotInvoice::Expired) => json!({ "error": { "code": "expired" } }),
        Err(CannotInvoice::CannotWaitWhenClientTrustsLsp) => {
            json!({ "error": { "code": "cannot_wait_when_client_trusts_lsp" } })
        }
        Err(other) => json!({ "error": { "code": other.to_string() } }),
        Ok(prepared) => {
            let invoice = prepared.invoice;
            let least = u16::try_from(number(&input["normal_min_final_cltv_expiry_delta"])).expect("a u16");
            assert!(invoice.min_final_cltv_expiry_delta >= least + 2);
            json!({ "ok": {
                "route_hints": [[{
                    "pubkey": invoice.hint.node_id.to_string(),
                    "short_channel_id": invoice.hint.scid,
                    "fee_base_msat": RouteHint::FEE_BASE.0,
                    "fee_proportional_millionths": RouteHint::FEE_PROPORTIONAL_MILLIONTHS,
                    "cltv_expiry_delta": invoice.hint.cltv_expiry_delta,
                }]],
                "min_final_cltv_expiry_delta_at_least": invoice.min_final_cltv_expiry_delta,
                "expiry_s_at_most": invoice.expiry_secs,
                "amount_msat": invoice.amount,
                "basic_mpp": invoice.basic_mpp,
            } })
        }
    }
}

pub fn receive(input: &Given) -> Value {
    let amount = input["payment_size_msat"].as_str().map(|_| msat(&input["payment_size_msat"]));
    let promised = if input["terms"].is_null() {
        Promised::Fee(msat(&input["opening_fee_msat"]))
    } else {
        let (min_fee, proportional) =
            (msat(&input["terms"]["min_fee_msat"]), Ppm(number(&input["terms"]["proportional"])));
        Promised::Rate { min_fee, proportional }
    };
    assert_eq!(input["mode"].as_str(), Some(if amount.is_some() { "fixed" } else { "var" }));
    let expected =
        (input["jit_invoice"] == true).then_some(Expected { amount, promised, max_share: None, least_net: Msat::ZERO });
    let tlvs: Vec<Option<Vec<u8>>> = input["parts"].items().map(tlv).collect();
    let part =
        |(part, tlv): (&Given, &'_ Option<Vec<u8>>)| (msat(&part["onion_msat"]), msat(&part["htlc_msat"]), tlv.clone());
    let parts: Vec<_> = input["parts"].items().zip(&tlvs).map(part).collect();
    let parts: Vec<Part<'_>> = parts
        .iter()
        .map(|(onion, amount, tlv)| Part { onion: *onion, amount: *amount, extra_fee: tlv.as_deref() })
        .collect();
    let received = if input["totals"].is_null() {
        Received::Parts(&parts)
    } else {
        let totals = &input["totals"];
        Received::Totals { received: msat(&totals["received_msat"]), skimmed: msat(&totals["extra_fee_msat"]) }
    };
    match judge(expected.as_ref(), &received) {
        Judged::Claim => json!({ "ok": "claim" }),
        Judged::WaitForMore => json!({ "ok": "wait_for_more" }),
        Judged::Reject(_) => json!({ "error": { "code": "reject" } }),
    }
}

pub fn cltv(input: &Given) -> Value {
    let small = |name: &str| u16::try_from(number(&input[name])).expect("a u16");
    let normal = small("normal_min_final_cltv_expiry_delta");
    // The invoice requires two blocks more than the node needs; the verdict has to leave these to the payer.
    assert_eq!(small("invoice_min_final_cltv_expiry_delta"), normal + 2);
    if enough_blocks_left(Blocks(number(&input["blocks_left"])), normal) {
        json!({ "ok": "accept" })
    } else {
        json!({ "error": { "code": "reject" } })
    }
}

fn tlv(part: &Given) -> Option<Vec<u8>> {
    let hex = part["extra_fee_tlv_hex"].as_str()?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
    Some(hex.chunks(2).map(byte).collect())
}

pub fn result_text(input: &Given) -> String {
    input["result_text"].as_str().map_or_else(|| input["result"].json().to_string(), String::from)
}

pub fn a_buy() -> Buy {
    Buy { opening_fee_params: some_terms(), payment_size_msat: Some(Msat(10_000_000)) }
}

pub fn a_question() -> ListProtocols {
    ListProtocols {}
}

fn replace(payload: &[u8], from: &str, to: &str) -> Vec<u8> {
    match std::str::from_utf8(payload) {
        Ok(text) => text.replace(from, to).into_bytes(),
        Err(_) => payload.to_vec(),
    }
}

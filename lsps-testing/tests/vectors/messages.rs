//! `lsps2_messages`: requests, replies and their consequences.

use lsps_service::{StandardPolicy, TokenTerms};
use lsps_testing::{Lsp, LspSetup, NOON, call, peer};
use lsps_types::lsps2::{Buy, GetInfo, InvalidPromise, Menu, OpeningFeeParams, Promise, PromiseKey, Unpromised};
use lsps_types::{DateTime, Msat, PeerId, Ppm, Scid, Timestamp};
use serde_json::{Value, json};

use super::{Case, Given, Verdict, client, msat, number, verdict};

pub fn run(case: &Case) -> Verdict {
    let input = &case.input;
    let outcome = match input["kind"].as_str().expect("a kind") {
        "get_info_request" => get_info_request(input).1,
        "build_menu" => build_menu(input),
        "build_promise" => build_promise(input),
        "buy_request" => buy_request(input),
        "issue_grants" => issue_grants(input),
        "get_info_result" => client::get_info_result(input),
        "buy_result" => client::buy_result(input),
        "buy_error" => client::buy_error(input),
        "copy_into_buy" => client::copy_into_buy(input),
        "derive_invoice" => client::derive_invoice(input),
        other => return Verdict::Failed(format!("unknown kind {other}")),
    };
    verdict(case, &outcome)
}

/// Asks for a menu; the LSP, and the outcome.
pub fn get_info_request(input: &Given) -> (Lsp, Value) {
    let context = &input["context"];
    let valid = context["valid_tokens"].items().map(|token| (token, None));
    let stale = context["stale_tokens"]
        .items()
        .map(|token| (token, Some(Timestamp::from_unix_millis(NOON.unix_millis() - 1_000))));
    let terms = |(token, valid_until): (&Given, _)| (token.to(), TokenTerms { valid_until, ..TokenTerms::default() });
    let policy = StandardPolicy {
        tokens: valid.chain(stale).map(terms).collect(),
        refused_clients: (context["reject_client"] == true).then(|| peer(1)).into_iter().collect(),
        ..StandardPolicy::default()
    };
    let mut lsp = Lsp::at(NOON, LspSetup { policy: Some(policy), ..LspSetup::default() });
    let params = params_text(input);
    let outcome = match ask(&mut lsp, peer(1), "lsps2.get_info", &params) {
        Err(error) => error,
        // The promise carries the token, so the token is read from there.
        Ok(result) => {
            let menu: Menu = serde_json::from_value(result).expect("a menu");
            let promise = menu.opening_fee_params_menu.first().expect("an entry").promise.as_str().to_string();
            let token = promise.split('.').nth(2).map(|hex| {
                let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
                String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).expect("text")
            });
            json!({ "ok": { "token": token } })
        }
    };
    (lsp, outcome)
}

/// Entries that are not in ascending order are sorted or left out. The case asks whether its entries stay as they are.
fn build_menu(input: &Given) -> Value {
    let entry = |fees: &Given| OpeningFeeParams {
        min_fee_msat: msat(&fees["min_fee_msat"]),
        proportional: Ppm(number(&fees["proportional"])),
        ..some_terms()
    };
    let entries: Vec<_> = input["fees"].items().map(entry).collect();
    if Menu::rising(entries.clone()).opening_fee_params_menu == entries {
        json!({ "ok": "accepted_in_this_order" })
    } else {
        json!({ "error": { "code": "menu_order" } })
    }
}

fn build_promise(input: &Given) -> Value {
    match Promise::issued(input["promise"].as_str().expect("text")) {
        Ok(_) => json!({ "ok": "accepted" }),
        Err(InvalidPromise::TooLong) => json!({ "error": { "code": "promise_too_long" } }),
        Err(InvalidPromise::Characters) => json!({ "error": { "code": "promise_charset" } }),
    }
}

fn buy_request(input: &Given) -> Value {
    let now = |text: &Given| text.as_str().expect("a datetime").parse::<DateTime>().expect("a datetime").instant();
    let context = &input["context"];
    let setup = LspSetup {
        reject_clients: context["reject_client"] == true,
        inbound: context["incoming_liquidity_msat"]
            .as_str()
            .map_or(Msat(u64::MAX), |_| msat(&context["incoming_liquidity_msat"])),
        ..LspSetup::default()
    };
    let mut lsp = Lsp::at(now(&input["now"]), setup);
    if context["lsp_restarted_between"] == true {
        lsp.restarts();
    }
    let mut params = input["params"].json().clone();
    let kind = input["promise"].as_str().expect("a promise");
    if let Some(terms) = params.get_mut("opening_fee_params").and_then(Value::as_object_mut)
        && let Some(promise) = promise(kind, &Value::Object(terms.clone()))
    {
        terms.insert("promise".into(), promise.into());
    }
    match ask(&mut lsp, peer(1), "lsps2.buy", &params.to_string()) {
        Err(error) => error,
        Ok(_) => {
            let buy: Buy = serde_json::from_value(params).expect("it was accepted");
            match buy.payment_size_msat {
                None => json!({ "ok": { "mode": "var" } }),
                Some(size) => {
                    let fee = buy.opening_fee_params.fee_terms().fee_on(size).expect("it was accepted");
                    json!({ "ok": { "mode": "fixed", "opening_fee_msat": fee.0.to_string() } })
                }
            }
        }
    }
}

/// The promise that the case wants in these terms; `None` if the present one stays.
fn promise(kind: &str, terms: &Value) -> Option<String> {
    let issue = |key: [u8; 32], terms: &Value, client| {
        let terms: OpeningFeeParams = serde_json::from_value(terms.clone()).ok()?;
        let unpromised = Unpromised {
            min_fee_msat: terms.min_fee_msat,
            proportional: terms.proportional,
            valid_until: terms.valid_until,
            min_lifetime: terms.min_lifetime,
            max_client_to_self_delay: terms.max_client_to_self_delay,
            min_payment_size_msat: terms.min_payment_size_msat,
            max_payment_size_msat: terms.max_payment_size_msat,
        };
        let issued = PromiseKey::new(key).issue(unpromised, client, None).expect("it fits");
        Some(issued.promise.as_str().to_string())
    };
    let ours = || issue(LSP_KEY, terms, peer(1));
    match kind {
        "issued" => ours(),
        "issued_before_change" => issue(LSP_KEY, &json!(some_terms()), peer(1)),
        "issued_to_other_peer" => issue(LSP_KEY, terms, peer(2)),
        "foreign_key" => issue([1; 32], terms, peer(1)),
        "issued_truncated" => ours().map(|text| text[..text.len() - 1].to_string()),
        "issued_case_flipped" => ours().map(|text| text.to_uppercase()),
        "issued_with_suffix" => ours().map(|text| text + "0"),
        "issued_with_space" => ours().map(|text| text + " "),
        "literal" => None,
        other => panic!("unknown promise {other}"),
    }
}

fn issue_grants(input: &Given) -> Value {
    let scids = |value: &Given| -> Option<Vec<Scid>> {
        let scid = |text: &Given| text.as_str().expect("text").parse().expect("a SCID");
        value.is_array().then(|| value.items().map(scid).collect())
    };
    let existing = scids(&input["existing_scids"]).unwrap_or_default();
    let drawn = scids(&input["rng_scids"]).unwrap_or_else(|| (1..=20_000).map(|n| Scid((n << 40) | (n % 7))).collect());
    // Any seed is good, as only SCIDs are drawn, and the last one is repeated in any case.
    assert!(input["seed"].is_null() || input["seed"] == "any");
    assert!(input["rng_repeats_last"].is_null() || input["rng_repeats_last"] == true);
    let config = lsps_service::Config {
        limits: lsps_service::Limits {
            offers_per_client: 20_000,
            sales_to_strangers: 40_000,
            ..lsps_service::Limits::default()
        },
        ..lsps_service::Config::default()
    };
    let count = usize::try_from(number(&input["count"])).expect("a number");
    let setup = LspSetup { config, scids: existing.iter().copied().chain(drawn).collect(), ..LspSetup::default() };
    let mut lsp = Lsp::at(NOON, setup);
    let mut given = vec![];
    for n in 0..existing.len() + count {
        let menu = call(&mut lsp, peer(1), &GetInfo { token: None }).expect("a menu");
        let opening_fee_params = menu.opening_fee_params_menu.into_iter().next().expect("an entry");
        match call(&mut lsp, peer(1), &Buy { opening_fee_params, payment_size_msat: None }) {
            Ok(bought) if n >= existing.len() => given.push(bought.jit_channel_scid),
            Ok(_) => {}
            Err(error) => return json!({ "error": { "code": error.object.code } }),
        }
    }
    if count > 1 {
        let distinct: std::collections::BTreeSet<_> = given.iter().collect();
        return if distinct.len() == count {
            json!({ "ok": "all_scids_distinct" })
        } else {
            json!({ "ok": "duplicates" })
        };
    }
    json!({ "ok": { "scids": given } })
}

/// Sends raw parameters. Returns the result, or the error as the vectors write it.
pub fn ask(lsp: &mut Lsp, client: PeerId, method: &str, params: &str) -> Result<Value, Value> {
    let payload = format!(r#"{{"jsonrpc":"2.0","id":"a","method":"{method}","params":{params}}}"#);
    let before = lsp.records().clone();
    let replies = lsp.receives(client, payload.as_bytes());
    let [reply] = replies.as_slice() else { panic!("one request, {} replies", replies.len()) };
    let reply: Value = serde_json::from_slice(reply).expect("JSON");
    if reply["error"].is_null() {
        return Ok(reply["result"].clone());
    }
    assert_eq!(&before, lsp.records(), "an error changes nothing");
    Err(json!({ "error": { "code": reply["error"]["code"], "data": reply["error"]["data"] } }))
}

pub fn params_text(input: &Given) -> String {
    input["params_text"].as_str().map_or_else(|| input["params"].json().to_string(), String::from)
}

/// The base entry of the file.
pub fn some_terms() -> OpeningFeeParams {
    OpeningFeeParams {
        min_fee_msat: Msat(546_000),
        proportional: Ppm(1_200),
        valid_until: "2026-03-01T13:00:00.000Z".parse().expect("a datetime"),
        min_lifetime: 1_008,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: Msat(1_000_000),
        max_payment_size_msat: Msat(100_000_000),
        promise: Promise::received("p0-6f1c").expect("short"),
    }
}

/// The key of the LSPs in this test world.
const LSP_KEY: [u8; 32] = [42; 32];

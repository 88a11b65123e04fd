//! The LSP's own bytes: replies are read as plain JSON, not by the types that wrote them.

use std::time::Duration;

use lsps_testing::{Lsp, LspSetup, NOON, peer};
use serde_json::{Value, json};

use super::orders::{Shop, selling};
use super::webhooks;

/// Returns the whole reply to a request with these parameters.
fn reply(lsp: &mut Lsp, method: &str, params: &Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params });
    let replies = lsp.receives(peer(1), request.to_string().as_bytes());
    let [reply] = replies.as_slice() else { panic!("one request, {} replies", replies.len()) };
    let reply: Value = serde_json::from_slice(reply).expect("JSON");
    assert_eq!((&reply["jsonrpc"], &reply["id"]), (&json!("2.0"), &json!("a")));
    reply
}

fn result(lsp: &mut Lsp, method: &str, params: &Value) -> Value {
    let mut reply = reply(lsp, method, params);
    assert!(reply.get("error").is_none(), "{reply}");
    reply["result"].take()
}

/// An amount is a string of decimal digits without a leading zero.
fn is_amount(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.parse::<u64>().is_ok_and(|amount| amount.to_string() == text)
}

fn fits_u32(value: &Value) -> bool {
    value.as_u64().is_some_and(|number| u32::try_from(number).is_ok())
}

fn fits_u16(value: &Value) -> bool {
    value.as_u64().is_some_and(|number| u16::try_from(number).is_ok())
}

/// A datetime has the form `2026-01-01T13:00:00.000Z`.
fn is_datetime(value: &Value) -> bool {
    let shape = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    value.as_str().is_some_and(|text| shape(text) == "0000-00-00T00:00:00.000Z")
}

/// L0-034, L0-036
#[test]
fn results_and_the_data_of_errors_are_objects() {
    let mut lsp = Lsp::at(NOON, LspSetup { config: webhooks::serving(), ..selling() });
    lsp.connects(peer(1));
    let hook = json!({ "app_name": "A", "webhook": "https://a.example.org/" });
    let served = [
        ("lsps0.list_protocols", json!({})),
        ("lsps1.get_info", json!({})),
        ("lsps1.create_order", order_params()),
        ("lsps2.get_info", json!({})),
        ("lsps5.set_webhook", hook.clone()),
        ("lsps5.list_webhooks", json!({})),
        ("lsps5.remove_webhook", json!({ "app_name": "A" })),
    ];
    for (method, params) in served {
        assert!(result(&mut lsp, method, &params).is_object(), "{method}");
    }
    let refused = [
        ("lsps2.get_info", json!({ "token": "unknown" }), 200),
        ("lsps1.get_order", json!({ "order_id": "unknown" }), 101),
        ("lsps5.remove_webhook", json!({ "app_name": "unknown" }), 1_010),
        ("lsps2.buy", json!({}), -32_602),
        ("lsps9.unknown", json!({}), -32_601),
    ];
    for (method, params, code) in refused {
        let error = reply(&mut lsp, method, &params)["error"].take();
        assert_eq!(error["code"], code, "{method}");
        assert!(error["message"].is_string() && error.get("data").is_none_or(Value::is_object), "{error}");
    }
}

/// L0-065, L1-005, L5-035
#[test]
fn methods_without_parameters_take_none() {
    let mut lsp = Lsp::at(NOON, LspSetup { config: webhooks::serving(), ..selling() });
    for method in ["lsps0.list_protocols", "lsps1.get_info", "lsps5.list_webhooks"] {
        let told = result(&mut lsp, method, &json!({}));
        let refused = reply(&mut lsp, method, &json!({ "more": 1 }))["error"].take();
        assert_eq!(
            (&refused["code"], &refused["data"]["unrecognized"]),
            (&json!(-32_602), &json!(["more"])),
            "{method}"
        );
        assert_eq!(result(&mut lsp, method, &json!({})), told, "{method}");
    }
    assert_eq!(result(&mut lsp, "lsps0.list_protocols", &json!({})), json!({ "protocols": [1, 2, 5] }));
}

/// L0-070
#[test]
fn an_optional_parameter_that_is_left_out_counts_as_null() {
    let mut lsp = Lsp::at(NOON, selling());
    lsp.connects(peer(1));
    let menu = result(&mut lsp, "lsps2.get_info", &json!({}));
    assert_eq!(menu, result(&mut lsp, "lsps2.get_info", &json!({ "token": null })));
    let terms = &menu["opening_fee_params_menu"][0];
    result(&mut lsp, "lsps2.buy", &json!({ "opening_fee_params": terms }));
    let mut params = order_params();
    params.as_object_mut().expect("an object").remove("refund_onchain_address");
    let order = result(&mut lsp, "lsps1.create_order", &params);
    assert_eq!((&order["token"], order["payment"].get("onchain")), (&json!(""), None));
}

/// L1-037
#[test]
fn an_order_says_whether_its_channel_is_announced() {
    let mut lsp = Lsp::at(NOON, selling());
    lsp.connects(peer(1));
    let mut params = order_params();
    params.as_object_mut().expect("an object").remove("announce_channel");
    let refused = reply(&mut lsp, "lsps1.create_order", &params)["error"].take();
    assert_eq!((&refused["code"], &refused["data"]["property"]), (&json!(-32_602), &json!("announce_channel")));
}

/// L1-073
#[test]
fn a_way_to_pay_that_was_closed_is_told_as_refunded() {
    let mut shop = Shop::new();
    let ask = json!({ "order_id": shop.order.order_id.as_str() });
    shop.lsp.wait_until(NOON + Duration::from_secs(3_600));
    let order = result(&mut shop.lsp, "lsps1.get_order", &ask);
    for way in ["bolt11", "bolt12"] {
        assert_eq!(order["payment"][way]["state"], "REFUNDED", "{order}");
    }
}

/// L2-012, L2-014, L2-015, L2-017, L2-018, L2-019, L2-021, L2-024, L2-027, L2-070, L2-072
#[test]
fn a_menu_and_a_purchase_are_written_as_the_specification_says() {
    let mut lsp = Lsp::at(NOON, LspSetup::default());
    let menu = result(&mut lsp, "lsps2.get_info", &json!({}));
    let entries = menu["opening_fee_params_menu"].as_array().expect("an array");
    assert!(!entries.is_empty());
    for entry in entries {
        assert!(is_amount(&entry["min_fee_msat"]) && fits_u32(&entry["proportional"]), "{entry}");
        assert!(is_amount(&entry["min_payment_size_msat"]) && is_amount(&entry["max_payment_size_msat"]), "{entry}");
        assert!(is_datetime(&entry["valid_until"]) && entry["promise"].is_string(), "{entry}");
        assert!(fits_u32(&entry["min_lifetime"]) && fits_u32(&entry["max_client_to_self_delay"]), "{entry}");
        assert_eq!(entry.as_object().expect("an object").len(), 8, "{entry}");
    }
    let bought = result(&mut lsp, "lsps2.buy", &json!({ "opening_fee_params": entries[0] }));
    let scid: Vec<&str> = bought["jit_channel_scid"].as_str().expect("a SCID").split('x').collect();
    assert!(scid.len() == 3 && scid.iter().all(|part| part.parse::<u64>().is_ok()), "{bought}");
    assert!(fits_u16(&bought["lsp_cltv_expiry_delta"]), "{bought}");
}

/// L1-007, L1-010, L1-011, L1-012, L1-013, L1-014, L1-015, L1-016, L1-017
#[test]
fn options_are_written_as_the_specification_says() {
    let mut lsp = Lsp::at(NOON, selling());
    let options = result(&mut lsp, "lsps1.get_info", &json!({}));
    assert!(fits_u16(&options["min_required_channel_confirmations"]), "{options}");
    assert!(fits_u16(&options["min_funding_confirms_within_blocks"]), "{options}");
    assert!(options["supports_zero_channel_reserve"].is_boolean(), "{options}");
    assert!(fits_u32(&options["max_channel_expiry_blocks"]), "{options}");
    assert!(options["max_channel_expiry_blocks"].as_u64() >= Some(1), "{options}");
    for bound in ["initial_client_balance", "initial_lsp_balance", "channel_balance"] {
        for end in ["min", "max"] {
            assert!(is_amount(&options[format!("{end}_{bound}_sat")]), "{end} {bound}: {options}");
        }
    }
}

fn order_params() -> Value {
    json!({
        "lsp_balance_sat": "500000",
        "client_balance_sat": "100000",
        "required_channel_confirmations": 0,
        "funding_confirms_within_blocks": 6,
        "channel_expiry_blocks": 144,
        "announce_channel": false,
        "refund_onchain_address": "bc1qvmsy0f3yyes6z9jvddk8xqwznndmdwapvrc0xrmhd3vqj5rhdrrq6hz49h",
    })
}

/// L1-041, L1-043, L1-044, L1-045, L1-046, L1-047, L1-049, L1-050, L1-070, L1-072, L1-077, L1-083, L1-085, L1-089,
/// L1-091, L1-092
#[test]
fn an_order_repeats_its_request_and_adds_up() {
    let mut lsp = Lsp::at(NOON, selling());
    lsp.connects(peer(1));
    for announce in [false, true] {
        let mut asked = order_params();
        asked["announce_channel"] = json!(announce);
        let order = result(&mut lsp, "lsps1.create_order", &asked);
        assert!(order["order_id"].as_str().is_some_and(|id| (1..=64).contains(&id.chars().count())), "{order}");
        for (name, value) in asked.as_object().expect("an object") {
            assert!(order.get(name) == Some(value) || name == "refund_onchain_address", "{name}: {order}");
        }
        assert_eq!(order["created_at"], "2026-01-01T12:00:00.000Z");
        let sat = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok()).expect("an amount");
        let ways = order["payment"].as_object().expect("ways to pay");
        assert_eq!(ways.keys().collect::<Vec<_>>(), ["bolt11", "bolt12", "onchain"]);
        for (name, way) in ways {
            assert_eq!(way["state"], "EXPECT_PAYMENT");
            assert_eq!(sat(&way["order_total_sat"]), sat(&way["fee_total_sat"]) + 100_000, "{name}");
            assert!(is_datetime(&way["expires_at"]), "{name}");
        }
        let short = |text: &Value| text.as_str().is_some_and(|text| (1..=2_048).contains(&text.chars().count()));
        assert!(short(&ways["bolt11"]["invoice"]) && short(&ways["bolt12"]["offer"]));
        assert_eq!(ways["onchain"]["min_onchain_payment_confirmations"], 1);
        assert!(ways["onchain"].get("min_fee_for_0conf").is_none_or(Value::is_null));
    }
}

/// L1-051, L1-072, L1-112, L1-113, L1-114, L1-127
#[test]
fn an_order_names_its_channel_once_its_funding_is_published() {
    let mut shop = Shop::new();
    let ask = json!({ "order_id": shop.order.order_id.as_str() });
    let states = |lsp: &mut Lsp| {
        let order = result(lsp, "lsps1.get_order", &ask);
        ([&order["order_state"], &order["payment"]["bolt11"]["state"]].map(Value::clone), order["channel"].clone())
    };
    assert_eq!(states(&mut shop.lsp), ([json!("CREATED"), json!("EXPECT_PAYMENT")], json!(null)));
    shop.pays();
    assert_eq!(states(&mut shop.lsp), ([json!("CREATED"), json!("HOLD")], json!(null)));
    let txid = "0301e0480b374b32851a9462db29dc19fe830a7f7d7a88b81612b9d42099c0ae";
    let outpoint = json!(format!("{txid}:0"));
    shop.lsp.funding_outpoint = Some(serde_json::from_value(outpoint.clone()).expect("an outpoint"));
    shop.lsp.funding_signed(shop.key(1));
    let (state, channel) = states(&mut shop.lsp);
    assert_eq!((state, &channel["funding_outpoint"]), ([json!("COMPLETED"), json!("PAID")], &outpoint));
    assert_eq!(channel["funded_at"], "2026-01-01T12:00:00.000Z");
    assert!(is_datetime(&channel["expires_at"]));
}

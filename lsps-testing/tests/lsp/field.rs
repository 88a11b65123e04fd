//! Requests as deployed wallets send them, where that differs from the specifications.

use std::time::Duration;

use lsps_service::{
    ChannelEnd, Config, Limits, MethodTerms, OrderConfig, OrderFailure, OrderPolicy, OrderStage, OrderTerms,
    PaymentMethod, StandardPolicy, TokenTerms, UnknownToken,
};
use lsps_testing::{Act, Lsp, LspSetup, NOON, anything, peer};
use lsps_types::{Network, Ppm, Sat};
use serde_json::{Value, json};

/// An LSP that sells channels over Lightning for this fee.
fn seller(fee: u64) -> Lsp {
    seller_with(fee, Config::default())
}

fn seller_with(fee: u64, config: Config) -> Lsp {
    let method = MethodTerms { fee: Sat(fee), expires_at: NOON + Duration::from_secs(3_600) };
    let terms = OrderTerms { bolt11: Some(method), bolt12: Some(method), ..OrderTerms::default() };
    let orders = OrderConfig { network: Some(Network::Bitcoin), ..OrderConfig::default() };
    let config = Config { orders, ..config };
    let mut lsp = Lsp::at(NOON, LspSetup { config, orders: Some((anything(), terms)), ..LspSetup::default() });
    lsp.connects(peer(1));
    lsp
}

/// An order with the parameters that ZEUS sends by default.
fn as_zeus_orders() -> Value {
    json!({
        "lsp_balance_sat": "600000",
        "client_balance_sat": "0",
        "required_channel_confirmations": 0,
        "funding_confirms_within_blocks": 6,
        "channel_expiry_blocks": 13_140,
        "token": "",
        "refund_onchain_address": "",
        "announce_channel": false,
        "client_info": { "app": "ZEUS", "app_version": "0.12.0", "node": "LND", "node_version": "0.20.0-beta" },
    })
}

fn ask(lsp: &mut Lsp, method: &str, params: &Value) -> Value {
    let payload = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params }).to_string();
    let replies = lsp.receives(peer(1), payload.as_bytes());
    let [reply] = replies.as_slice() else { panic!("one request, {} replies", replies.len()) };
    serde_json::from_slice(reply).expect("JSON")
}

#[test]
fn case_Z01_an_order_with_client_info_is_served() {
    let mut order = as_zeus_orders();
    order.as_object_mut().expect("an object").retain(|name, _| name != "token" && name != "refund_onchain_address");
    let reply = ask(&mut seller(1_000), "lsps1.create_order", &order);
    assert_eq!(reply["result"]["order_state"], "CREATED", "{reply}");
}

#[test]
fn case_Z01_a_menu_is_served_with_client_info() {
    let params = json!({ "client_info": as_zeus_orders()["client_info"] });
    let reply = ask(&mut seller(1_000), "lsps2.get_info", &params);
    assert!(reply["result"]["opening_fee_params_menu"].is_array(), "{reply}");
}

#[test]
fn case_Z02_an_empty_token_and_refund_address_are_none() {
    let mut order = as_zeus_orders();
    order.as_object_mut().expect("an object").remove("client_info");
    let reply = ask(&mut seller(1_000), "lsps1.create_order", &order);
    assert_eq!(reply["result"]["order_state"], "CREATED", "{reply}");
    assert_eq!(reply["result"]["token"], "");
    assert_eq!(reply["result"]["payment"]["onchain"], Value::Null);
}

/// Each answer is what it was without the parameter, and only what was answered is told.
#[test]
fn case_Z01_the_operator_is_told_what_program_asked_and_nothing_else_changes() {
    let (mut lsp, mut other) = (seller(1_000), seller(1_000));
    let mut without = as_zeus_orders();
    without.as_object_mut().expect("an object").remove("client_info");
    assert_eq!(ask(&mut lsp, "lsps1.create_order", &as_zeus_orders()), ask(&mut other, "lsps1.create_order", &without));
    assert_eq!(lsp.acts(), other.acts());
    assert_eq!(lsp.records(), other.records());
    let told = lsp.introduced();
    let [introduced] = &told[..] else { panic!("{told:?}") };
    assert_eq!((introduced.client, &*introduced.method), (peer(1), "lsps1.create_order"));
    assert_eq!((introduced.info.app(), introduced.info.app_version()), (Some("ZEUS"), Some("0.12.0")));
    assert_eq!((introduced.info.node(), introduced.info.node_version()), (Some("LND"), Some("0.20.0-beta")));
    assert_eq!(other.introduced(), []);

    let mut refused = as_zeus_orders();
    refused["lsp_balance_sat"] = json!("0");
    assert_eq!(ask(&mut lsp, "lsps1.create_order", &refused)["error"]["code"], -32_602);
    assert_eq!(lsp.introduced(), [], "what was refused is not told");
}

#[test]
fn case_Z01_what_else_is_unknown_is_refused_unless_the_operator_tolerates_it() {
    let mut order = as_zeus_orders();
    order["zap"] = json!({ "any": ["thing"] });
    order["priority"] = json!(1);
    let error = ask(&mut seller(1_000), "lsps1.create_order", &order)["error"].clone();
    assert_eq!((&error["code"], &error["data"]["unrecognized"]), (&json!(-32_602), &json!(["priority", "zap"])));

    let tolerate = |names: &[&str]| {
        let tolerate = names.iter().map(|name| (*name).into()).collect();
        seller_with(1_000, Config { tolerate, ..Config::default() })
    };
    let error = ask(&mut tolerate(&["priority"]), "lsps1.create_order", &order)["error"].clone();
    assert_eq!(error["data"]["unrecognized"], json!(["zap"]));
    let reply = ask(&mut tolerate(&["priority", "zap"]), "lsps1.create_order", &order);
    assert_eq!(reply["result"]["order_state"], "CREATED", "{reply}");

    let mut lsp = tolerate(&["lsp_balance_sat"]);
    order.as_object_mut().expect("an object").retain(|name, _| name != "zap" && name != "priority");
    order["lsp_balance_sat"] = json!("0");
    let error = ask(&mut lsp, "lsps1.create_order", &order)["error"].clone();
    assert_eq!(error["data"]["property"], "lsp_balance_sat", "a parameter that a method has is not skipped");
}

fn unknown(jit: UnknownToken, ordered: UnknownToken) -> Lsp {
    let token = TokenTerms { discount: Ppm(500_000), client: Some(peer(2)), ..TokenTerms::default() };
    let orders = OrderPolicy { unknown_token: ordered, ..OrderPolicy::default() };
    let tokens = [("HALF".to_string(), token)].into();
    let policy = StandardPolicy { tokens, unknown_token: jit, orders: Some(orders), ..StandardPolicy::default() };
    let orders = OrderConfig { network: Some(Network::Bitcoin), ..OrderConfig::default() };
    let config = Config { orders, ..Config::default() };
    let mut lsp = Lsp::at(NOON, LspSetup { config, policy: Some(policy), ..LspSetup::default() });
    lsp.connects(peer(1));
    lsp
}

/// Alby Hub puts its own name there.
#[test]
fn case_Z05_a_token_that_nobody_knows_is_refused_or_none_as_the_operator_says() {
    use UnknownToken::{Default, Refuse};
    for (jit, ordered) in [(Refuse, Refuse), (Default, Refuse), (Refuse, Default), (Default, Default)] {
        let mut lsp = unknown(jit, ordered);
        let mut menu = |token: &Value| ask(&mut lsp, "lsps2.get_info", &json!({ "token": token }));
        let (known, named) = (menu(&Value::Null), menu(&json!("AlbyHub/1.22")));
        let fee = |reply: &Value| reply["result"]["opening_fee_params_menu"][0]["min_fee_msat"].clone();
        match jit {
            Refuse => assert_eq!(named["error"]["code"], 200),
            Default => assert!(fee(&named).is_string() && fee(&named) == fee(&known), "{named}"),
        }
        assert_eq!(menu(&json!("HALF"))["error"]["code"], 200, "a known token of another client is refused");

        let mut order = as_zeus_orders();
        let mut orders = |token: &str| {
            order["token"] = json!(token);
            ask(&mut lsp, "lsps1.create_order", &order)
        };
        let (known, named) = (orders(""), orders("AlbyHub/1.22"));
        let fee = |reply: &Value| reply["result"]["payment"]["bolt11"]["fee_total_sat"].clone();
        match ordered {
            Refuse => assert_eq!(named["error"]["code"], 102),
            Default => {
                assert!(fee(&named).is_string() && fee(&named) == fee(&known), "{named}");
                assert_eq!(named["result"]["token"], "AlbyHub/1.22", "as ordered");
            }
        }
        assert_eq!(orders("HALF")["error"]["code"], 102);
    }
}

/// A JIT channel is bought on the terms that such a token got.
#[test]
fn case_Z05_a_menu_for_an_unknown_token_can_be_bought() {
    let mut lsp = unknown(UnknownToken::Default, UnknownToken::Refuse);
    let menu = ask(&mut lsp, "lsps2.get_info", &json!({ "token": "AlbyHub/1.22" }));
    let terms = &menu["result"]["opening_fee_params_menu"][0];
    let bought = ask(&mut lsp, "lsps2.buy", &json!({ "opening_fee_params": terms }));
    assert!(bought["result"]["jit_channel_scid"].is_string(), "{bought}");
}

#[test]
fn case_Z03_an_order_at_no_price_has_no_payment_and_is_opened_at_once() {
    let mut lsp = seller(0);
    let mut order = as_zeus_orders();
    order
        .as_object_mut()
        .expect("an object")
        .retain(|name, _| name != "client_info" && name != "refund_onchain_address");
    let reply = ask(&mut lsp, "lsps1.create_order", &order);
    assert_eq!(reply["result"]["payment"], json!({}), "{reply}");
    assert_eq!(reply["result"]["order_state"], "CREATED");
    let acts = lsp.acts();
    assert!(matches!(acts[..], [Act::Open { .. }]), "{acts:?}");
}

/// The order as its client sends it, with this token, to an LSP whose price is zero.
fn a_gift(lsp: &mut Lsp) -> Value {
    let mut order = as_zeus_orders();
    order["refund_onchain_address"] = Value::Null;
    ask(lsp, "lsps1.create_order", &order)
}

#[test]
fn case_Z03_a_free_order_ends_with_its_channel_and_nothing_is_booked() {
    let mut lsp = seller(0);
    let order = a_gift(&mut lsp)["result"]["order_id"].clone();
    let known = lsp.service().known_orders().next().expect("it is on record");
    let key = lsp.acts().iter().find_map(|act| if let Act::Open { key, .. } = act { Some(*key) } else { None });
    lsp.funding_signed(key.expect("it is opened"));
    let known = lsp.service().known_order(known.number).expect("it is on record");
    assert!(matches!(known.stage, OrderStage::Completed { paid_by: PaymentMethod::Free, .. }), "{known:?}");
    let now = ask(&mut lsp, "lsps1.get_order", &json!({ "order_id": order }))["result"].clone();
    assert_eq!((&now["order_state"], &now["payment"]), (&json!("COMPLETED"), &json!({})));
    assert!(now["channel"]["funding_outpoint"].is_string());
    assert_eq!(lsp.book().count(), 0);
    assert!(matches!(lsp.acts()[..], [Act::Broadcast(_)]));
}

/// The client is called like one whose payment waits.
#[test]
fn case_Z03_a_free_order_waits_for_its_client_and_then_fails() {
    for comes_back in [true, false] {
        let mut lsp = seller(0);
        a_gift(&mut lsp);
        let key = lsp.acts().iter().find_map(|act| if let Act::Open { key, .. } = act { Some(*key) } else { None });
        lsp.disconnects(peer(1));
        lsp.channel_ends(key.expect("it is opened"), ChannelEnd::PeerGone);
        let acts = lsp.acts();
        assert!(acts.iter().any(|act| matches!(act, Act::Wake { .. })), "{acts:?}");
        lsp.restarts();
        lsp.acts();
        lsp.wait_until(NOON + Duration::from_secs(if comes_back { 3_599 } else { 3_600 }));
        lsp.connects(peer(1));
        let known = lsp.service().known_orders().next().expect("it is on record");
        let opens = lsp.acts().iter().filter(|act| matches!(act, Act::Open { .. })).count();
        if comes_back {
            assert_eq!((opens, known.stage), (1, OrderStage::Open));
        } else {
            assert_eq!((opens, known.stage), (0, OrderStage::Failed { why: OrderFailure::Expired }));
        }
    }
}

#[test]
fn case_Z03_limits_hold_for_free_orders() {
    let limits = Limits { orders_per_client: 2, opens_per_client: 1, ..Limits::default() };
    let mut lsp = seller_with(0, Config { limits, ..Config::default() });
    for n in 1..=3 {
        let payload = as_zeus_orders().to_string();
        let payload = format!(r#"{{"jsonrpc":"2.0","id":"{n}","method":"lsps1.create_order","params":{payload}}}"#);
        let replies = lsp.receives(peer(1), payload.as_bytes());
        let reply: Value = serde_json::from_slice(&replies[0]).expect("JSON");
        assert_eq!(reply["error"]["code"] == 1, n > 2, "{n}: {reply}");
    }
    let opens = lsp.acts().iter().filter(|act| matches!(act, Act::Open { .. })).count();
    assert_eq!(opens, 1, "one channel at a time");
}

/// A zero fee does not give away the client's balance, which is paid for.
#[test]
fn case_Z03_an_order_with_a_balance_for_its_client_is_never_free() {
    let mut lsp = seller(0);
    let mut order = as_zeus_orders();
    order["client_balance_sat"] = json!("1000");
    let reply = ask(&mut lsp, "lsps1.create_order", &order);
    assert_eq!(reply["result"]["payment"]["bolt11"]["order_total_sat"], "1000", "{reply}");
    assert_eq!(lsp.acts(), []);
}

//! The LSP's replies to requests; bytes from strangers do no harm.

use lsps_testing::{Act, Lsp, LspSetup, NOON, call, peer};
use lsps_types::codes::{BuyError, CommonError};
use lsps_types::jsonrpc::Refusal;
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::{Msat, Ppm};
use serde_json::{Value, json};

fn lsp() -> Lsp {
    Lsp::at(NOON, LspSetup::default())
}

fn answer(lsp: &mut Lsp, payload: &str) -> Value {
    let replies = lsp.receives(peer(1), payload.as_bytes());
    let [reply] = replies.as_slice() else { panic!("{} replies", replies.len()) };
    serde_json::from_slice(reply).expect("JSON")
}

#[test]
fn case_T02_unknown_methods_and_services_that_are_off_are_not_found() {
    let mut lsp = lsp();
    for method in ["lsps2.get_versions", "lsps1.get_info", "lsps5.list_webhooks", "nonsense"] {
        let reply = answer(&mut lsp, &json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": {}}).to_string());
        assert_eq!((&reply["error"]["code"], &reply["id"]), (&json!(-32_601), &json!("a")), "{method}");
    }
    let protocols = call(&mut lsp, peer(1), &ListProtocols {}).expect("the peer stays served").protocols;
    assert_eq!(protocols, [2]);
}

#[test]
fn case_T03_every_unknown_parameter_is_named_and_a_wrong_one_has_its_path() {
    let mut lsp = lsp();
    let unknown =
        json!({"jsonrpc": "2.0", "id": "a", "method": "lsps2.get_info", "params": {"token": 1, "x": 1, "y": {}}});
    let data = answer(&mut lsp, &unknown.to_string())["error"]["data"].clone();
    assert_eq!(data["unrecognized"], json!(["x", "y"]));
    let wrong = json!({"jsonrpc": "2.0", "id": "a", "method": "lsps2.get_info", "params": {"token": 1}});
    let data = answer(&mut lsp, &wrong.to_string())["error"]["data"].clone();
    assert_eq!((&data["unrecognized"], &data["property"]), (&json!([]), &json!("token")));
    assert!(data["message"].as_str().is_some_and(|why| why.contains("string")), "{data}");
    let missing = json!({"jsonrpc": "2.0", "id": "a", "method": "lsps2.buy", "params": {}});
    assert_eq!(answer(&mut lsp, &missing.to_string())["error"]["data"]["property"], "opening_fee_params");
}

/// L0-013, L0-014
#[test]
fn case_T07_junk_is_answered_with_a_parse_error_and_changes_nothing() {
    let mut lsp = lsp();
    lsps_testing::buys(&mut lsp, peer(1), None);
    let before = lsp.records().clone();
    let good = r#"{"jsonrpc":"2.0","id":"a","method":"lsps0.list_protocols","params":{}}"#;
    let junk: [&[u8]; 6] = [b"\xff\xfe", b"{\"a\":\"\x00\"}", b"{}{}", b"[]", b"{", &[good.as_bytes(), b" x"].concat()];
    for payload in junk {
        let replies = lsp.receives(peer(1), payload);
        let [reply] = replies.as_slice() else { panic!("{} replies", replies.len()) };
        let reply: Value = serde_json::from_slice(reply).expect("JSON");
        assert_eq!((&reply["error"]["code"], &reply["id"]), (&json!(-32_700), &Value::Null));
        assert_eq!(lsp.acts(), [Act::ReportBadMessage(peer(1))]);
        assert!(answer(&mut lsp, good)["result"].is_object(), "the peer stays served");
    }
    assert_eq!((before.len(), lsp.records()), (1, &before), "its offer is as it was");
}

#[test]
fn case_T08_escapes_order_and_white_space_do_not_matter() {
    let mut lsp = lsp();
    let odd = "\r\n { \"i\\u0064\" : \"a\\\"b\" ,\t\"params\":{ } , \"meth\\u006fd\":\"lsps0.list\\u005fprotocols\", \"jsonrpc\":\"2.0\"} ";
    let reply = answer(&mut lsp, odd);
    assert_eq!((&reply["id"], &reply["result"]), (&json!("a\"b"), &json!({"protocols": [2]})));
}

/// L2-030, L2-034, L2-039, L2-051: a MAC over the terms, the client and the token, and nothing else.
#[test]
fn a_promise_binds_terms_client_and_token() {
    let mut lsp = Lsp::at(NOON, LspSetup { tokens: vec!["SPRING".into()], ..LspSetup::default() });
    let menu = call(&mut lsp, peer(1), &GetInfo { token: Some("SPRING".into()) }).expect("a menu");
    let terms = menu.opening_fee_params_menu[0].clone();
    let buy = |opening_fee_params| Buy { opening_fee_params, payment_size_msat: Some(Msat(10_000_000)) };

    let cheaper = lsps_types::lsps2::OpeningFeeParams { proportional: Ppm(1), ..terms.clone() };
    for (client, request) in [(peer(1), buy(cheaper)), (peer(2), buy(terms.clone()))] {
        let refusal = call(&mut lsp, client, &request).expect_err("not what was promised").refusal;
        assert_eq!(refusal, Refusal::Method(BuyError::InvalidOpeningFeeParams));
    }
    assert!(lsp.records().is_empty(), "refusals leave nothing behind");
    call(&mut lsp, peer(1), &buy(terms)).expect("as promised");
    assert_eq!(lsp.records().len(), 1);
}

#[test]
fn what_one_client_may_have_open_is_bounded_and_others_notice_nothing() {
    let mut lsp = Lsp::at(NOON, LspSetup { scids: (1..100).map(lsps_types::Scid).collect(), ..LspSetup::default() });
    let buy = |lsp: &mut Lsp, client| {
        let menu = call(lsp, client, &GetInfo { token: None }).expect("a menu");
        let opening_fee_params = menu.opening_fee_params_menu[0].clone();
        call(lsp, client, &Buy { opening_fee_params, payment_size_msat: None })
    };
    while buy(&mut lsp, peer(1)).is_ok() {}
    assert_eq!(lsp.records().len(), lsps_service::Limits::default().offers_per_client);
    let refusal = buy(&mut lsp, peer(1)).expect_err("too many").refusal;
    assert!(matches!(refusal, Refusal::ClientRejected(Some(_))), "{refusal:?}");
    buy(&mut lsp, peer(2)).expect("another client");
}

#[test]
fn a_source_that_only_repeats_itself_is_given_up() {
    let mut lsp = lsp();
    lsps_testing::buys(&mut lsp, peer(1), None);
    let menu = call(&mut lsp, peer(1), &GetInfo { token: None }).expect("a menu");
    let request = Buy { opening_fee_params: menu.opening_fee_params_menu[0].clone(), payment_size_msat: None };
    let refusal = call(&mut lsp, peer(1), &request).expect_err("no SCID left").refusal;
    assert_eq!(refusal, Refusal::Common(CommonError::Internal));
}

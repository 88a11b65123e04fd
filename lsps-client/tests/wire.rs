//! The client's own bytes: requests are read as plain JSON, not by the types that wrote them.

mod common;

use common::{LSP, NOON, call, client};
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps1::{self, CreateOrder, GetOrder};
use lsps_types::lsps2::{Buy, GetInfo, OpeningFeeParams, Promise};
use lsps_types::lsps5::{AppName, ListWebhooks, RemoveWebhook, WebhookUrl};
use lsps_types::{Msat, Ppm, Request, Sat};
use serde_json::{Value, json};

fn written<R: Request>(request: &R) -> Value {
    let (_, payload) = call(&mut client(), LSP, request);
    serde_json::from_slice(&payload).expect("one JSON text")
}

fn buy(payment_size_msat: Option<Msat>) -> Buy {
    let opening_fee_params = OpeningFeeParams {
        min_fee_msat: Msat(546_000),
        proportional: Ppm(1_200),
        valid_until: "2026-01-01T13:00:00.000Z".parse().expect("a datetime"),
        min_lifetime: 1_008,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: Msat(1_000_000),
        max_payment_size_msat: Msat(100_000_000),
        promise: Promise::received("promise").expect("short"),
    };
    Buy { opening_fee_params, payment_size_msat }
}

/// L0-018, L0-019, L0-020, L0-021, L2-009
#[test]
fn each_request_is_one_object_with_an_id_and_named_parameters() {
    let order = CreateOrder {
        lsp_balance_sat: Sat(500_000),
        client_balance_sat: Sat(0),
        required_channel_confirmations: 0,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 144,
        token: None,
        refund_onchain_address: None,
        announce_channel: false,
    };
    let requests = [
        ("lsps0.list_protocols", written(&ListProtocols {})),
        ("lsps1.get_info", written(&lsps1::GetInfo {})),
        ("lsps1.create_order", written(&order)),
        ("lsps1.get_order", written(&GetOrder { order_id: "a".into() })),
        ("lsps2.get_info", written(&GetInfo { token: None })),
        ("lsps2.buy", written(&buy(Some(Msat(10_000_000))))),
        ("lsps5.list_webhooks", written(&ListWebhooks {})),
        ("lsps5.remove_webhook", written(&RemoveWebhook { app_name: "A".into() })),
    ];
    for (method, request) in requests {
        let names: Vec<&str> = request.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(names, ["id", "jsonrpc", "method", "params"], "{request}");
        assert_eq!((&request["jsonrpc"], &request["method"]), (&json!("2.0"), &json!(method)));
        assert!(request["id"].is_string() && request["params"].is_object(), "{request}");
    }
}

/// L2-056
#[test]
fn a_purchase_for_any_amount_leaves_the_size_out() {
    assert_eq!(written(&buy(Some(Msat(10_000_000))))["params"]["payment_size_msat"], "10000000");
    assert!(written(&buy(None))["params"].get("payment_size_msat").is_none());
}

/// L5-004, L5-005, L5-007, L5-008, L5-009, L5-010, L5-012
#[test]
fn a_webhook_goes_out_as_the_specification_says_or_not_at_all() {
    let fits = |name: String| AppName::new(name).is_ok();
    assert!(fits("n".repeat(64)) && !fits("n".repeat(65)));
    assert!(fits("\n".repeat(32)) && !fits("\n".repeat(33)), "an escape counts as it is written");
    let is_url = |text: &str| WebhookUrl::new(text.into()).is_ok();
    let of_length = |length: usize| format!("https://push.example.org/{:x<1$}", "", length - 25);
    assert!(is_url(&of_length(1_024)) && !is_url(&of_length(1_025)));
    assert!(
        !is_url("https://push.example.org/é") && !is_url("push.example.org") && !is_url("http://push.example.org/")
    );

    let mut client = client();
    let (name, url) = (AppName::new("app é".into()).unwrap(), WebhookUrl::new(of_length(1_024)).unwrap());
    client.keep_webhook(LSP, name, url, NOON).unwrap();
    client.tick(NOON);
    let payloads: Vec<_> = client.drain().written().messages.into_iter().map(|(_, payload)| payload).collect();
    let [payload] = &payloads[..] else { panic!("one request") };
    let request: Value = serde_json::from_slice(payload).expect("JSON");
    assert_eq!(request["method"], "lsps5.set_webhook");
    assert_eq!(request["params"], json!({ "app_name": "app é", "webhook": of_length(1_024) }));
}

//! The conformance vectors that need somebody who posts.

use std::net::IpAddr;

use lsps_examples::https::Authority;
use lsps_transport_ldk::webhook::{Targets, Undelivered, WebhookConfig};
use serde_json::{Value, json};

use crate::stage::{Does, HERE, SHORT, Service, config, post};

/// L5-065.
#[test]
fn case_N08_targets_of_the_vectors() {
    let cases = vectors("delivery_target");
    for case in &cases {
        let input = &case["input"];
        let resolved: Vec<IpAddr> = serde_json::from_value(input["resolved"].clone()).unwrap();
        let is = match Targets::default().check(input["url"].as_str().unwrap(), &resolved) {
            Ok(()) => json!({"ok": "allow"}),
            Err(Undelivered::Unresolved) => json!({"error": {"code": "unresolved"}}),
            Err(_) => json!({"error": {"code": "blocked"}}),
        };
        assert_eq!(is, case["expect"], "{}", case["name"]);
    }
    assert!(cases.len() >= 21);
}

/// L5-062, L5-063, L5-064, L5-066.
#[tokio::test]
async fn case_N08_responses_of_the_vectors() {
    let cases = vectors("webhook_response");
    for case in &cases {
        let (name, expected) = (&case["name"], &case["expect"]["ok"]);
        let authority = Authority::new().unwrap();
        let does = does(&case["input"]);
        let service = Service::at(HERE, &authority, &["push.test"], move |_| does.clone()).await;
        let config = WebhookConfig { most_attempts: 1, ..config(&authority) };
        let status = case["input"]["status"].as_u64();
        // Only what never comes is given up soon.
        let total_timeout = if status.is_some() { config.total_timeout } else { SHORT };
        let outcome =
            post(WebhookConfig { total_timeout, ..config }, &format!("https://push.test:{}/", service.port)).await;
        let is = if outcome.is_ok() { "delivered" } else { "unusual_ignored" };
        assert_eq!(
            (is, json!(service.requests().len())),
            (expected["outcome"].as_str().unwrap(), expected["requests"].clone()),
            "{name}"
        );
    }
    assert!(cases.len() >= 17);
}

fn does(input: &Value) -> Does {
    let Some(status) = input["status"].as_u64() else { return Does::Waits };
    let interim = input["interim"].as_array().into_iter().flatten();
    let mut text: String = interim.map(|status| format!("HTTP/1.1 {status} Soon\r\n\r\n")).collect();
    text += &format!("HTTP/1.1 {status} Whatever\r\n");
    for (name, value) in input["headers"].as_object().into_iter().flatten() {
        text += &format!("{name}: {}\r\n", value.as_str().unwrap());
    }
    let length = input["body_bytes"].as_u64().map(|length| usize::try_from(length).unwrap());
    let body = length.map_or_else(|| input["body"].as_str().unwrap_or_default().into(), |length| "x".repeat(length));
    Does::Says(format!("{text}content-length: {}\r\n\r\n{body}", body.len()))
}

fn vectors(kind: &str) -> Vec<Value> {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../../../lsps-testing/vectors/lsps5_messages.json")).unwrap();
    all.into_iter().filter(|case| case["input"]["kind"] == kind).collect()
}

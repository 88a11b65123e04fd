//! `lsps5_messages`: registrations and notifications. Cases about a service are in `webhooks`, cases that need a
//! network in `posting`.

use lsps_client::CallError;
use lsps_types::lsps5::{
    Custom, InvalidMethodName, ListWebhooks, Notification, RemoveWebhook, SetWebhook, TooManyWebhooks,
};
use lsps_types::{BlockHeight, Request};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::{error_to, result, result_text};
use super::{Case, Given, Verdict, posting, verdict, webhooks};

pub fn run(case: &Case) -> Verdict {
    let input = &case.input;
    match input["kind"].as_str().expect("a kind") {
        "set_webhook_request" => verdict(case, &webhooks::set_webhook(input)),
        "list_webhooks_request" => verdict(case, &webhooks::list_webhooks(input)),
        "remove_webhook_request" => verdict(case, &webhooks::remove_webhook(input)),
        "set_webhook_result" => verdict(case, &reply(input, &a_webhook())),
        "list_webhooks_result" => verdict(case, &reply(input, &ListWebhooks {})),
        "remove_webhook_result" => verdict(case, &reply(input, &RemoveWebhook { app_name: "A".into() })),
        "set_webhook_error" => verdict(case, &set_webhook_error(input)),
        "build_notification" => verdict(case, &build(input)),
        "parse_notification" => verdict(case, &parse(input)),
        "delivery_target" => verdict(case, &posting::target(input)),
        "webhook_response" => verdict(case, &posting::response(case)),
        "notify_scenario" => verdict(case, &webhooks::notify(input)),
        "retention_scenario" => verdict(case, &webhooks::retention(input)),
        other => Verdict::Failed(format!("unknown kind {other}")),
    }
}

fn a_webhook() -> SetWebhook {
    SetWebhook { app_name: "A".into(), webhook: "https://a.example.org/".into() }
}

fn reply<R: Request>(input: &Given, request: &R) -> Value
where
    R::Reply: Serialize,
{
    match result("result", &result_text(input), request) {
        Ok(reply) => json!({ "ok": reply }),
        Err(CallError::InvalidReply(_)) => json!({ "error": { "code": "invalid_result" } }),
        Err(other) => json!({ "error": { "code": other.to_string() } }),
    }
}

fn set_webhook_error(input: &Given) -> Value {
    let (class, error) = error_to(input, &a_webhook());
    let mut outcome = json!({ "class": class });
    if class == "too_many_webhooks" {
        outcome["max_webhooks"] = json!(error.object.read_data::<TooManyWebhooks>().map(|data| data.max_webhooks));
    }
    json!({ "ok": outcome })
}

fn build(input: &Given) -> Value {
    let (method, params) = (input["method"].as_str().expect("a method"), &input["params"]);
    let timeout = params["timeout"].as_u64().and_then(|height| u32::try_from(height).ok()).map(BlockHeight);
    let known = [
        Notification::WebhookRegistered,
        Notification::PaymentIncoming,
        Notification::ExpirySoon { timeout: timeout.unwrap_or_default() },
        Notification::LiquidityManagementRequest,
        Notification::OnionMessageIncoming,
    ];
    let body = known.into_iter().find(|known| known.method() == Some(method)).and_then(Notification::body);
    let body = body.map_or_else(|| Custom::new(method, params.json()).map(|custom| custom.body()), Ok);
    match body {
        Ok(body) => json!({ "ok": serde_json::from_str::<Value>(&body).expect("JSON") }),
        Err(why) => json!({ "error": { "code": match why {
            InvalidMethodName::Reserved => "reserved_prefix",
            InvalidMethodName::NoPrefix => "missing_prefix",
            InvalidMethodName::NotSnakeCase => "bad_method_name",
            InvalidMethodName::Params => "bad_params",
        } } }),
    }
}

fn parse(input: &Given) -> Value {
    let Ok(notification) = Notification::parse(input["body"].as_str().expect("text").as_bytes()) else {
        return json!({ "error": { "code": "malformed_body" } });
    };
    let event = notification.method().map_or("unknown_ignored", |method| method.trim_start_matches("lsps5."));
    match notification {
        Notification::ExpirySoon { timeout } => json!({ "ok": { "event": event, "timeout": timeout } }),
        _ => json!({ "ok": { "event": event } }),
    }
}

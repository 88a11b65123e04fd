//! The webhook service of `lsps5_messages`: requests to it, and its posts and registrations over time.

use std::collections::BTreeMap;
use std::time::Duration;

use lsps_service::{Input, Record, Service, WakeReason};
use lsps_testing::{Act, Lsp, LspSetup, NOON, call, peer};
use lsps_types::BlockHeight;
use lsps_types::lsps2::PromiseKey;
use lsps_types::lsps5::{ListWebhooks, RemoveWebhook, SetWebhook};
use serde_json::{Value, json};

use super::messages::{ask, params_text};
use super::{Given, number};

pub fn set_webhook(input: &Given) -> Value {
    let mut lsp = with_webhooks(&input["state"]);
    let params = params_text(input);
    if input["state"]["store_fails"] == true {
        return unwritten(&lsp, &params);
    }
    let answer = ask(&mut lsp, peer(1), "lsps5.set_webhook", &params);
    let posts: Vec<_> = lsp.acts().iter().map(post).collect();
    match answer {
        Err(error) => {
            assert!(posts.is_empty(), "an error is no change");
            error
        }
        Ok(mut result) => {
            assert!(posts.iter().all(|(_, body)| body["method"] == "lsps5.webhook_registered") && posts.len() <= 1);
            result["notify_only"] = json!(posts.first().map(|(url, _)| url));
            json!({ "ok": result })
        }
    }
}

/// Registers a webhook at a service whose host cannot write its records: there is no reply.
fn unwritten(lsp: &Lsp, params: &str) -> Value {
    let start = || {
        let mut config = LspSetup::default().config;
        serve(&mut config);
        let key = PromiseKey::new([42; 32]);
        let mut service =
            Service::new(config, LspSetup::default(), || lsps_types::Scid(1), key).expect("valid settings");
        for (name, bytes) in lsp.records() {
            service.load(&Record { name: name.clone(), bytes: bytes.clone() }).expect("we wrote it");
        }
        service
    };
    let payload = format!(r#"{{"jsonrpc":"2.0","id":"a","method":"lsps5.set_webhook","params":{params}}}"#);
    let mut service = start();
    let _ = service.handle(&Input::Message { peer: peer(1), payload: payload.into_bytes() }, NOON);
    let batch = service.drain();
    assert_eq!(batch.records().count(), 1, "nothing but the record can be had before it is written");
    drop(batch);
    assert!(service.drain().is_empty(), "nor by asking again");
    assert!(start().drain().is_empty(), "and what is in the store is as it was");
    json!({ "ok": "no_answer" })
}

pub fn list_webhooks(input: &Given) -> Value {
    let mut lsp = with_webhooks(&input["state"]);
    let client = if input["asking_peer"] == "other" { peer(2) } else { peer(1) };
    match ask(&mut lsp, client, "lsps5.list_webhooks", &params_text(input)) {
        Ok(result) => json!({ "ok": result }),
        Err(error) => error,
    }
}

pub fn remove_webhook(input: &Given) -> Value {
    let mut lsp = with_webhooks(&input["state"]);
    let client = if input["asking_peer"] == "other" { peer(2) } else { peer(1) };
    let mut asks = || ask(&mut lsp, client, "lsps5.remove_webhook", &params_text(input));
    for _ in 1..input["repeat"].as_u64().unwrap_or(1) {
        asks().expect("the first time it is there");
    }
    match asks() {
        Ok(result) => {
            let left = call(&mut lsp, peer(1), &ListWebhooks {}).expect("a list").app_names;
            json!({ "ok": { "result": result, "left": left } })
        }
        Err(error) => error,
    }
}

pub fn notify(input: &Given) -> Value {
    let mut config = LspSetup::default().config;
    serve(&mut config);
    config.webhooks.cooldown = Duration::from_secs(number(&input["cooldown_s"]).into());
    let mut lsp = Lsp::at(NOON, LspSetup { config, hooks_are_silent: true, ..LspSetup::default() });
    let mut names = BTreeMap::new();
    let mut set = |lsp: &mut Lsp, app_name: String, url: &Given| {
        let webhook = text(url);
        names.insert(webhook.clone(), app_name.clone());
        call(lsp, peer(1), &SetWebhook { app_name, webhook }).expect("it may");
        names.clone()
    };
    let mut apps = BTreeMap::new();
    for (name, url) in input["webhooks"].members() {
        apps = set(&mut lsp, name.clone(), url);
    }
    answers(&mut lsp, 200);
    lsp.connects(peer(1));
    let mut steps = vec![];
    for event in input["events"].items() {
        lsp.wait_until(NOON + Duration::from_secs(number(&event["at_s"]).into()));
        match event["event"].as_str().expect("an event") {
            "client_connected" => lsp.connects(peer(1)),
            "client_disconnected" => lsp.disconnects(peer(1)),
            "payment_incoming" => occurs(&mut lsp, WakeReason::PaymentIncoming),
            "onion_message_incoming" => occurs(&mut lsp, WakeReason::OnionMessageIncoming),
            "liquidity_management_request" => occurs(&mut lsp, WakeReason::LiquidityManagementRequest),
            "block" => {
                lsp.block(number(&event["height"]));
                // The node decides when it would close the channel because of an HTLC; the LSP gets the HTLC's expiry.
                let _the_node_counts_from_it = event["contract_timeout"].as_u64();
                if event["would_close_at"].is_number() {
                    let timeout = BlockHeight(number(&event["would_close_at"]));
                    occurs(&mut lsp, WakeReason::ExpirySoon { timeout });
                }
            }
            "set_webhook" => apps = set(&mut lsp, text(&event["app_name"]), &event["webhook"]),
            "remove_webhook" => drop(call(&mut lsp, peer(1), &RemoveWebhook { app_name: text(&event["app_name"]) })),
            other => panic!("unknown event {other}"),
        }
        let posts = answers(&mut lsp, event["http_status"].as_u64().unwrap_or(200));
        let posts = posts.into_iter().map(|(url, body)| {
            let mut post = json!({ "to": apps[&url], "method": body["method"] });
            if body["params"] != json!({}) {
                post["params"] = body["params"].clone();
            }
            post
        });
        steps.push(json!({ "posts": posts.collect::<Vec<_>>() }));
    }
    json!({ "steps": steps })
}

/// Whether a webhook is still registered after a post to it failed, and gets the next post.
pub fn is_kept_after_failure() -> bool {
    let mut config = LspSetup::default().config;
    serve(&mut config);
    let mut lsp = Lsp::at(NOON, LspSetup { config, hooks_are_silent: true, ..LspSetup::default() });
    let webhook = SetWebhook { app_name: "app".into(), webhook: "https://a.example.org/".into() };
    call(&mut lsp, peer(1), &webhook).expect("it may");
    assert_eq!(answers(&mut lsp, 500).len(), 1);
    let is_listed = call(&mut lsp, peer(1), &ListWebhooks {}).expect("a list").app_names == ["app"];
    lsp.disconnects(peer(1));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    is_listed && answers(&mut lsp, 500).len() == 1
}

pub fn retention(input: &Given) -> Value {
    let mut config = LspSetup::default().config;
    serve(&mut config);
    config.webhooks.keep = Duration::from_secs(7 * 86_400);
    let mut lsp = Lsp::at(NOON, LspSetup { config, ..LspSetup::default() });
    let (mut channels, mut was_set) = (0, false);
    let mut steps = vec![];
    for event in input["events"].items() {
        lsp.wait_until(NOON + Duration::from_secs(number(&event["at_s"]).into()));
        let n = event["n"].as_i64().unwrap_or(1);
        match event["event"].as_str().expect("an event") {
            "channel_opened" => channels += n,
            "channel_closed" => channels -= n,
            "set_webhook" => {
                let webhook =
                    SetWebhook { app_name: text(&event["app_name"]), webhook: "https://a.example.org/".into() };
                call(&mut lsp, peer(1), &webhook).expect("it may");
                was_set = true;
            }
            "remove_webhook" => {
                call(&mut lsp, peer(1), &RemoveWebhook { app_name: text(&event["app_name"]) }).expect("it is there");
            }
            "time" => {}
            other => panic!("unknown event {other}"),
        }
        lsp.feed(Input::ChannelsWith { peer: peer(1), any: channels > 0 });
        let kept = !call(&mut lsp, peer(1), &ListWebhooks {}).expect("a list").app_names.is_empty();
        steps.push(if was_set { json!({ "kept": kept }) } else { json!({}) });
    }
    json!({ "steps": steps })
}

fn occurs(lsp: &mut Lsp, reason: WakeReason) {
    lsp.feed(Input::WakeUp { peer: peer(1), reason });
}

/// Answers all posts with this status, and returns them by URL.
fn answers(lsp: &mut Lsp, status: u64) -> Vec<(String, Value)> {
    let mut posts = vec![];
    loop {
        let acts = lsp.acts();
        if acts.is_empty() {
            return posts;
        }
        for act in acts {
            posts.push(post(&act));
            let Act::Post { key, .. } = act else { panic!("{act:?}") };
            lsp.feed(if status == 200 { Input::WebhookDelivered { key } } else { Input::WebhookFailed { key } });
        }
    }
}

fn post(act: &Act) -> (String, Value) {
    let Act::Post { url, body, .. } = act else { panic!("{act:?}") };
    (url.clone(), serde_json::from_str(body).expect("JSON"))
}

/// An LSP whose operator lowered the limit of webhooks, if the case has it lower now, after the webhooks were set.
fn with_webhooks(state: &Given) -> Lsp {
    let mut config = LspSetup::default().config;
    serve(&mut config);
    let mut before = Lsp::at(NOON, LspSetup { config: config.clone(), ..LspSetup::default() });
    for (app_name, url) in state["webhooks"].members() {
        let webhook = SetWebhook { app_name: app_name.clone(), webhook: text(url) };
        call(&mut before, peer(1), &webhook).expect("it may");
    }
    config.limits.webhooks_per_client = usize::try_from(number(&state["max_webhooks"])).expect("a few");
    config.limits.webhooks_per_stranger = config.limits.webhooks_per_client;
    let mut lsp = Lsp::at(NOON, LspSetup { config, ..LspSetup::default() });
    for (name, bytes) in before.records() {
        lsp.finds(Record { name: name.clone(), bytes: bytes.clone() });
    }
    lsp.acts();
    lsp
}

/// The cases do not say that the client has a channel, nor that it has less room without one.
fn serve(config: &mut lsps_service::Config) {
    config.webhooks.serve = true;
    config.limits.webhooks_per_stranger = config.limits.webhooks_per_client;
}

fn text(value: &Given) -> String {
    value.as_str().expect("text").into()
}

//! Stories of a wallet that wants to be called while it is away.
#![allow(non_snake_case)]

mod common;

use common::{DAY, HOUR, LSP, NOON, OTHER_LSP, answer, answer_in_text, client};
use lsps_client::webhooks::{AppState, Event, TooManyApps};
use lsps_client::{Client, Config, FlowId, Notice, Released, Unreadable, Wake};
use lsps_types::jsonrpc::Incoming;
use lsps_types::lsps5::{
    AppName, ListWebhooks, RemoveWebhook, SetWebhook, WebhookRemoved, WebhookSet, WebhookUrl, Webhooks,
};
use lsps_types::{Method, Timestamp};

const SET: WebhookSet = WebhookSet { num_webhooks: 1, max_webhooks: 3, no_change: false };

fn app(name: &str) -> AppName {
    AppName::new(name.into()).unwrap()
}

fn url(device: &str) -> WebhookUrl {
    WebhookUrl::new(format!("https://push.example.org/{device}")).unwrap()
}

/// A connected wallet that wants this webhook, and the request that it sends for it.
fn wants(name: &str, device: &str) -> (Client, Vec<u8>) {
    let mut client = client();
    client.keep_webhook(LSP, app(name), url(device), NOON).unwrap();
    let asked = only(asks(&mut client, NOON));
    (client, asked)
}

/// Like `wants`, with the webhook registered.
fn has(name: &str, device: &str) -> Client {
    let (mut client, asked) = wants(name, device);
    client.receive(LSP, &answer::<SetWebhook>(&asked, &SET));
    assert!(asks(&mut client, NOON).is_empty());
    client
}

/// Messages that the client sends when the time reaches `now`.
fn asks(client: &mut Client, now: Timestamp) -> Vec<Vec<u8>> {
    client.tick(now);
    client.drain().written().messages.into_iter().map(|(_, payload)| payload).collect()
}

fn only(mut payloads: Vec<Vec<u8>>) -> Vec<u8> {
    assert_eq!(payloads.len(), 1, "one question at a time");
    payloads.remove(0)
}

fn method(payload: &[u8]) -> Method {
    Incoming::decode(payload).unwrap().method().unwrap()
}

fn set_of(payload: &[u8]) -> SetWebhook {
    Incoming::decode(payload).unwrap().params().unwrap()
}

fn state(client: &Client, name: &str) -> Option<AppState> {
    client.webhooks(LSP)?.app(&app(name)).map(|app| app.state)
}

fn listed(names: &[&str]) -> Webhooks {
    Webhooks { app_names: names.iter().map(|name| (*name).into()).collect(), max_webhooks: 3 }
}

#[test]
fn what_a_wallet_wants_is_on_record_before_it_is_asked_for() {
    let mut client = client();
    client.keep_webhook(LSP, app("app"), url("phone"), NOON).unwrap();
    client.tick(NOON);
    let batch = client.drain();
    assert_eq!(batch.records().map(|(id, _)| id).collect::<Vec<_>>(), [FlowId::Webhooks(LSP)]);
    let Released { messages, notices, .. } = batch.written();
    let [(to, asked)] = &messages[..] else { panic!("one request") };
    assert_eq!((*to, set_of(asked)), (LSP, SetWebhook::new(app("app"), url("phone"))));
    assert_eq!(notices, [Notice::Webhooks(LSP, Event::Wanted(app("app"), url("phone")))]);

    client.receive(LSP, &answer::<SetWebhook>(asked, &SET));
    assert_eq!(client.next_wake(), Some((Timestamp::default(), Wake::AnswerArrived)), "the answer is to be looked at");
    client.tick(NOON);
    assert_eq!(client.drain().written().notices, [Notice::Webhooks(LSP, Event::Registered(app("app")))]);
    assert_eq!(state(&client, "app"), Some(AppState::Registered));
    client.keep_webhook(LSP, app("app"), url("phone"), NOON).unwrap();
    assert!(client.is_idle(), "the same again is nothing new");
}

#[test]
fn a_changed_url_is_registered_in_place_of_the_other() {
    let mut client = has("app", "phone");
    client.keep_webhook(LSP, app("app"), url("tablet"), NOON).unwrap();
    let asked = only(asks(&mut client, NOON));
    assert_eq!(set_of(&asked).webhook, url("tablet").as_str());
    client.keep_webhook(LSP, app("app"), url("watch"), NOON).unwrap();
    assert!(asks(&mut client, NOON).is_empty(), "the answer comes first");
    client.receive(LSP, &answer::<SetWebhook>(&asked, &SET));
    let again = only(asks(&mut client, NOON));
    assert_eq!(set_of(&again).webhook, url("watch").as_str(), "the wallet changed its mind while it asked");
}

#[test]
fn several_apps_at_several_lsps_are_registered_one_after_the_other() {
    let mut client = client();
    for name in ["one", "two"] {
        client.keep_webhook(LSP, app(name), url(name), NOON).unwrap();
        client.keep_webhook(OTHER_LSP, app(name), url(name), NOON).unwrap();
    }
    for _ in 0..2 {
        client.tick(NOON);
        let messages = client.drain().written().messages;
        assert_eq!(messages.iter().map(|(lsp, _)| *lsp).collect::<Vec<_>>(), [LSP, OTHER_LSP]);
        for (lsp, asked) in messages {
            client.receive(lsp, &answer::<SetWebhook>(&asked, &SET));
        }
    }
    assert!(asks(&mut client, NOON).is_empty());
    assert!(client.webhooks(OTHER_LSP).unwrap().apps().all(|(_, app)| app.state == AppState::Registered));
}

#[test]
fn an_lsp_that_lost_a_webhook_gets_it_again_when_the_wallet_connects() {
    let mut client = has("app", "phone");
    client.peer_disconnected(LSP);
    client.peer_connected(LSP);
    assert!(asks(&mut client, NOON + HOUR).is_empty(), "it said so an hour ago");
    client.peer_disconnected(LSP);
    assert!(asks(&mut client, NOON + DAY).is_empty());
    assert_eq!(client.next_wake(), None, "nobody is there to be asked");
    client.peer_connected(LSP);
    let check = only(asks(&mut client, NOON + DAY));
    assert_eq!(method(&check), Method::Lsps5ListWebhooks);
    client.receive(LSP, &answer::<ListWebhooks>(&check, &listed(&["of another wallet"])));
    let asked = only(asks(&mut client, NOON + DAY));
    assert_eq!(set_of(&asked), SetWebhook::new(app("app"), url("phone")));
    client.receive(LSP, &answer::<SetWebhook>(&asked, &SET));
    assert!(asks(&mut client, NOON + DAY).is_empty());

    let check = only(asks(&mut client, NOON + DAY + DAY));
    client.receive(LSP, &answer::<ListWebhooks>(&check, &listed(&["app"])));
    assert!(asks(&mut client, NOON + DAY + DAY).is_empty(), "all is well");
    for _ in 0..100 {
        client.peer_disconnected(LSP);
        client.peer_connected(LSP);
        assert!(asks(&mut client, NOON + DAY + DAY).is_empty(), "however often it reconnects");
    }
}

#[test]
fn what_is_wanted_outlives_a_restart_and_an_answer_that_was_lost() {
    let (mut client, _lost) = wants("app", "phone");
    client.keep_webhook(LSP, app("other"), url("other"), NOON).unwrap();
    let batch = client.drain();
    let (id, bytes) = batch.records().next().unwrap();

    let mut again = common::taped(Config::default(), [8; 32]);
    again.load(&id.to_string(), bytes.unwrap()).unwrap();
    let twice = again.load(&id.to_string(), bytes.unwrap());
    assert_eq!(twice, Err(Unreadable::Twice { name: id.to_string() }));
    assert!(asks(&mut again, NOON).is_empty(), "nobody is there yet");
    again.peer_connected(LSP);
    let asked = only(asks(&mut again, NOON));
    assert_eq!(set_of(&asked).app_name, "app");
    again.peer_disconnected(LSP);
    again.peer_connected(LSP);
    assert_eq!(set_of(&only(asks(&mut again, NOON))).app_name, "app", "asked again as soon as it is back");

    let asked_at = NOON + HOUR;
    let in_turn = only(asks(&mut again, asked_at));
    assert_eq!(set_of(&in_turn).app_name, "other", "no answer in time: not at once again");
    assert_eq!(set_of(&only(asks(&mut again, asked_at + HOUR))).app_name, "app");
    let name = FlowId::Webhooks(OTHER_LSP).to_string();
    let misnamed = again.load(&name, bytes.unwrap());
    assert_eq!(misnamed, Err(Unreadable::Damaged { name }));
}

#[test]
fn a_refusal_is_told_and_tried_again_some_hours_later() {
    let (mut client, asked) = wants("app", "phone");
    client.receive(LSP, &answer_in_text(&asked, "error", r#"{"code":503,"message":"full","data":{"max_webhooks":1}}"#));
    client.tick(NOON);
    let notices = client.drain().written().notices;
    assert_eq!(notices, [Notice::Webhooks(LSP, Event::Refused { app: app("app"), code: 503 })]);
    assert_eq!(state(&client, "app"), Some(AppState::Refused { code: 503 }));
    assert!(asks(&mut client, NOON + HOUR).is_empty());
    let check = only(asks(&mut client, NOON + DAY));
    client.receive(LSP, &answer::<ListWebhooks>(&check, &listed(&[])));
    assert_eq!(method(&only(asks(&mut client, NOON + DAY))), Method::Lsps5SetWebhook);
}

#[test]
fn what_is_not_wanted_any_more_is_removed_and_then_forgotten() {
    for unknown in [false, true] {
        let mut client = has("app", "phone");
        client.remove_webhook(LSP, &app("app"), NOON);
        let asked = only(asks(&mut client, NOON));
        assert_eq!(method(&asked), Method::Lsps5RemoveWebhook);
        client.receive(
            LSP,
            &if unknown {
                answer_in_text(&asked, "error", r#"{"code":1010,"message":"none"}"#)
            } else {
                answer::<RemoveWebhook>(&asked, &WebhookRemoved {})
            },
        );
        client.tick(NOON);
        let batch = client.drain();
        assert_eq!(batch.records().map(|(_, bytes)| bytes.is_none()).collect::<Vec<_>>(), [true]);
        assert_eq!(batch.written().notices, [Notice::Webhooks(LSP, Event::Removed(app("app")))]);
        assert!(client.webhooks(LSP).is_none() && client.next_wake().is_none());
    }
}

#[test]
fn a_wallet_that_changes_its_mind_while_a_webhook_is_removed_has_it_set_again() {
    let mut client = has("app", "phone");
    client.remove_webhook(LSP, &app("app"), NOON);
    let asked = only(asks(&mut client, NOON));
    client.keep_webhook(LSP, app("app"), url("phone"), NOON).unwrap();
    client.receive(LSP, &answer::<RemoveWebhook>(&asked, &WebhookRemoved {}));
    assert_eq!(method(&only(asks(&mut client, NOON))), Method::Lsps5SetWebhook);
}

/// The LSP answers each removal with an error, or not at all.
#[test]
fn case_X46_a_webhook_that_cannot_be_removed_does_not_keep_others_from_being_set() {
    for refusal in [Some(r#"{"code":-32603,"message":"later"}"#), None] {
        let mut client = has("old", "phone");
        client.remove_webhook(LSP, &app("old"), NOON);
        client.keep_webhook(LSP, app("new"), url("tablet"), NOON).unwrap();
        let (mut now, mut removals, mut is_set) = (NOON, vec![], false);
        while now < NOON + DAY {
            for asked in asks(&mut client, now) {
                match (method(&asked), refusal) {
                    (Method::Lsps5RemoveWebhook, Some(error)) => {
                        removals.push(now);
                        client.receive(LSP, &answer_in_text(&asked, "error", error));
                    }
                    (Method::Lsps5RemoveWebhook, None) => removals.push(now),
                    (Method::Lsps5SetWebhook, _) => {
                        assert!(now < NOON + HOUR, "soon");
                        assert_eq!(set_of(&asked).app_name, "new");
                        is_set = true;
                        client.receive(LSP, &answer::<SetWebhook>(&asked, &SET));
                    }
                    (Method::Lsps5ListWebhooks, _) => {
                        client.receive(LSP, &answer::<ListWebhooks>(&asked, &listed(&["new", "old"])));
                    }
                    (other, _) => panic!("{other:?}"),
                }
            }
            now = now + HOUR / 60;
        }
        assert!(is_set && state(&client, "new") == Some(AppState::Registered));
        assert_eq!(state(&client, "old"), Some(AppState::Unwanted), "it is tried again");
        let pauses: Vec<_> = removals.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        assert!(removals.len() > 2 && pauses.is_sorted(), "ever slower: {pauses:?}");
        assert!(removals.len() < 20, "{pauses:?}");
    }
}

#[test]
fn an_lsp_without_webhooks_is_not_asked_all_the_time() {
    let mut client = has("app", "phone");
    let check = only(asks(&mut client, NOON + DAY));
    client.receive(LSP, &answer_in_text(&check, "error", r#"{"code":-32601,"message":"no"}"#));
    assert!(asks(&mut client, NOON + DAY + HOUR).is_empty());
    assert_eq!(state(&client, "app"), Some(AppState::Registered), "nothing is known to be lost");
    assert_eq!(method(&only(asks(&mut client, NOON + DAY + DAY))), Method::Lsps5ListWebhooks);
}

#[test]
fn the_number_of_apps_is_bounded() {
    let mut client = common::taped(Config { webhook_apps: 2, ..Config::default() }, [7; 32]);
    client.keep_webhook(LSP, app("one"), url("a"), NOON).unwrap();
    client.keep_webhook(OTHER_LSP, app("one"), url("a"), NOON).unwrap();
    assert_eq!(client.keep_webhook(LSP, app("two"), url("a"), NOON), Err(TooManyApps));
    assert_eq!(client.keep_webhook(LSP, app("one"), url("b"), NOON), Ok(()), "a change needs no room");
}

/// The clock was a day ahead when the LSP was last asked.
#[test]
fn case_X19_an_lsp_is_asked_in_time_which_webhooks_it_has_when_the_clock_is_set_right() {
    for restarts in [false, true] {
        let ahead = NOON + DAY;
        let mut client = client();
        client.keep_webhook(LSP, app("wallet"), url("me"), ahead).unwrap();
        client.tick(ahead);
        let batch = client.drain();
        let (name, bytes) =
            batch.records().map(|(id, bytes)| (id.to_string(), bytes.unwrap().to_vec())).next().unwrap();
        let asked = only(batch.written().messages.into_iter().map(|(_, payload)| payload).collect());
        if restarts {
            client = common::client();
            client.load(&name, &bytes).unwrap();
            let asked = only(asks(&mut client, NOON));
            client.receive(LSP, &answer::<SetWebhook>(&asked, &SET));
        } else {
            client.receive(LSP, &answer::<SetWebhook>(&asked, &SET));
            assert!(asks(&mut client, NOON).is_empty());
        }
        let asked = asks(&mut client, NOON + Config::default().check_webhooks);
        assert_eq!(asked.iter().map(|payload| method(payload)).collect::<Vec<_>>(), [Method::Lsps5ListWebhooks]);
    }
}

/// A request without a useful answer is repeated after a minute.
#[test]
fn case_X19_a_question_rests_no_longer_when_the_clock_is_set_right() {
    let ahead = NOON + DAY;
    let mut client = client();
    client.keep_webhook(LSP, app("wallet"), url("me"), ahead).unwrap();
    let asked = only(asks(&mut client, ahead));
    client.receive(LSP, &answer_in_text(&asked, "result", "[]"));
    assert!(asks(&mut client, ahead).is_empty());
    assert!(asks(&mut client, NOON).is_empty());
    assert_eq!(method(&only(asks(&mut client, NOON + HOUR / 60))), Method::Lsps5SetWebhook);
}

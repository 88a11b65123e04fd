//! Clients that want to be called while they are away.

use std::time::Duration;

use lsps_service::{Config, HeldPayment, Input, Limits, Occasion, OrderTerms, PaidBy, Record, WayTerms, WebhookConfig};
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, call, offer_id, peer};
use lsps_types::codes::SetWebhookError;
use lsps_types::jsonrpc::{ErrorReply, Refusal};
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps1::{CreateOrder, Options};
use lsps_types::lsps5::{
    Custom, ListWebhooks, Notification, Profile, RemoveWebhook, SetWebhook, TooManyWebhooks, Verifier, WebhookSet,
    signed_text,
};
use lsps_types::signature::LnSignature;
use lsps_types::{BlockHeight, DateTime, Msat, PaymentHash, PeerId, Preimage, Sat, Timestamp};
use secp256k1::{Secp256k1, SecretKey};

use crate::{SCID, SIZE, key, minutes};

const DAY: Duration = Duration::from_secs(86_400);

pub fn serving() -> Config {
    Config { webhooks: WebhookConfig { serve: true, ..WebhookConfig::default() }, ..Config::default() }
}

/// The record of a client with one webhook.
pub fn record() -> Record {
    let mut lsp = lsp();
    sets(&mut lsp, peer(1), "app", "a");
    let (name, bytes) = lsp.records().iter().next().expect("one");
    Record { name: name.clone(), bytes: bytes.clone() }
}

fn lsp_with(config: Config) -> Lsp {
    Lsp::at(NOON, LspSetup { config, scids: vec![SCID], ..LspSetup::default() })
}

fn lsp() -> Lsp {
    lsp_with(serving())
}

/// One whose webhooks leave the tests to answer.
fn silent() -> Lsp {
    Lsp::at(NOON, LspSetup { config: serving(), hooks_are_silent: true, ..LspSetup::default() })
}

/// One whose client registered two apps, and is away.
fn lsp_with_two() -> Lsp {
    let mut lsp = lsp();
    sets(&mut lsp, peer(1), "one", "a");
    sets(&mut lsp, peer(1), "two", "b");
    lsp.acts();
    lsp
}

fn set(lsp: &mut Lsp, client: PeerId, app: &str, host: &str) -> Result<WebhookSet, ErrorReply<SetWebhookError>> {
    let webhook = format!("https://{host}.example.org/");
    call(lsp, client, &SetWebhook { app_name: app.into(), webhook })
}

pub fn sets(lsp: &mut Lsp, client: PeerId, app: &str, host: &str) -> WebhookSet {
    set(lsp, client, app, host).expect("it may")
}

fn removes(lsp: &mut Lsp, client: PeerId, app: &str) -> bool {
    call(lsp, client, &RemoveWebhook { app_name: app.into() }).is_ok()
}

pub fn apps(lsp: &mut Lsp, client: PeerId) -> Vec<String> {
    call(lsp, client, &ListWebhooks {}).expect("a list, whatever there is").app_names
}

pub fn occurs(lsp: &mut Lsp, occasion: Occasion) {
    lsp.feed(Input::Occasion { peer: peer(1), occasion });
}

fn has_channels(lsp: &mut Lsp, any: bool) {
    lsp.feed(Input::ChannelsWith { peer: peer(1), any });
}

/// What was posted: the host's first letter, and the method without its prefix.
pub fn posts(lsp: &mut Lsp) -> Vec<(String, String)> {
    let post = |act| match act {
        Act::Post { url, body, .. } => {
            let method = body.split('"').nth(7).expect("a method");
            Some((url["https://".len()..][..1].into(), method.trim_start_matches("lsps5.").into()))
        }
        _ => None,
    };
    lsp.acts().into_iter().filter_map(post).collect()
}

fn to_both(method: &str) -> [(String, String); 2] {
    ["a", "b"].map(|host| (host.into(), method.into()))
}

fn to_one(host: &str, method: &str) -> [(String, String); 1] {
    [(host.into(), method.into())]
}

const NOTHING: [(String, String); 0] = [];

/// L5-022, L5-023
#[test]
fn case_N01_webhooks_of_a_client_with_channels_are_kept_and_seven_days_at_the_least_after_the_last() {
    let mut config = serving();
    config.webhooks.keep = 7 * DAY;
    let mut lsp = lsp_with(config.clone());
    has_channels(&mut lsp, true);
    sets(&mut lsp, peer(1), "app", "a");
    lsp.wait_until(NOON + 60 * DAY);
    lsp.restarts();
    assert_eq!(lsp.service().clients_with_channels().collect::<Vec<_>>(), [peer(1)], "the host compares");
    has_channels(&mut lsp, true);
    lsp.wait_until(NOON + 120 * DAY);
    assert_eq!(apps(&mut lsp, peer(1)), ["app"]);
    has_channels(&mut lsp, false);
    lsp.wait_until(NOON + (127 * DAY - Duration::from_secs(1)));
    assert_eq!(apps(&mut lsp, peer(1)), ["app"]);
    lsp.wait_until(NOON + 127 * DAY);
    assert!(apps(&mut lsp, peer(1)).is_empty() && lsp.records().is_empty(), "nothing is left behind");
    assert_eq!(lsp.service().next_wake(), None);

    let mut lsp = lsp_with(config.clone());
    sets(&mut lsp, peer(1), "app", "a");
    lsp.wait_until(NOON + 6 * DAY);
    assert!(sets(&mut lsp, peer(1), "app", "a").no_change, "registered anew is kept anew");
    lsp.wait_until(NOON + 12 * DAY);
    has_channels(&mut lsp, true);
    lsp.wait_until(NOON + 40 * DAY);
    assert_eq!(apps(&mut lsp, peer(1)), ["app"], "a channel in time keeps them");

    config.webhooks.keep = 7 * DAY - Duration::from_secs(1);
    assert_eq!(config.validate().expect_err("too short").field, "webhooks.keep");
}

/// L5-049, L5-050, L5-051, L5-052, L5-055, L5-056, L5-079
#[test]
fn case_N02_what_is_asked_to_be_posted_verifies_when_it_is_signed_as_it_is() {
    let mut lsp = lsp_with_two();
    lsp.wait_until(NOON + Duration::from_millis(7));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    let acts = lsp.acts();
    let Some(Act::Post { url, body, timestamp, .. }) = acts.first() else { panic!("{acts:?}") };
    assert_eq!(url, "https://a.example.org/");
    assert_eq!(body, r#"{"jsonrpc":"2.0","method":"lsps5.payment_incoming","params":{}}"#);
    assert_eq!(timestamp, "2026-01-01T12:00:00.007Z");
    let node_key = SecretKey::from_slice(&[7; 32]).expect("a key");
    let signature = LnSignature::sign(signed_text(timestamp, body).as_bytes(), &node_key).to_string();
    let node = PeerId(node_key.public_key(&Secp256k1::new()).serialize());
    let mut verifier = Verifier::new(Profile::Legacy, 10);
    let verified = verifier.verify(node, timestamp, &signature, body.as_bytes(), NOON);
    assert_eq!(verified, Ok(Notification::PaymentIncoming));
}

/// L5-003, L5-018, L5-034
#[test]
fn case_N04_one_too_many_is_refused_and_counts_for_nobody_else() {
    let mut config = serving();
    config.limits.webhooks_per_client = 2;
    let mut lsp = lsp_with(config);
    for (count, app) in ["one", "two"].into_iter().enumerate() {
        let answer = sets(&mut lsp, peer(1), app, "a");
        assert_eq!((answer.num_webhooks, answer.max_webhooks), (u32::try_from(count + 1).expect("few"), 2));
    }
    let refused = set(&mut lsp, peer(1), "three", "a").expect_err("the third");
    assert_eq!(refused.refusal, Refusal::Method(SetWebhookError::TooManyWebhooks));
    assert_eq!(refused.object.read_data(), Some(TooManyWebhooks { max_webhooks: 2 }));
    assert_eq!(sets(&mut lsp, peer(1), "two", "c").num_webhooks, 2, "in place of another");
    assert_eq!(sets(&mut lsp, peer(2), "one", "a").num_webhooks, 1);
    assert!(removes(&mut lsp, peer(1), "one"));
    assert_eq!(sets(&mut lsp, peer(1), "three", "a").num_webhooks, 2);
}

/// L5-017, L5-020, L5-026, L5-027, L5-028, L5-029, L5-041, L5-084
#[test]
fn case_N05_a_registration_is_durable_and_told_to_its_webhook_once() {
    let mut lsp = silent();
    assert!(!sets(&mut lsp, peer(1), "one", "a").no_change);
    assert_eq!(lsp.records().len(), 1, "written before the answer");
    assert_eq!(posts(&mut lsp), to_one("a", "webhook_registered"));
    assert!(sets(&mut lsp, peer(1), "one", "a").no_change);
    sets(&mut lsp, peer(1), "two", "b");
    assert_eq!(posts(&mut lsp), to_one("b", "webhook_registered"), "nothing for what was there");
    lsp.restarts();
    let [a, b] = to_both("webhook_registered");
    assert_eq!(posts(&mut lsp), [a, b], "of neither it is known whether it was delivered");
    sets(&mut lsp, peer(1), "one", "c");
    assert_eq!(posts(&mut lsp), to_one("c", "webhook_registered"));
    lsp.restarts();
    let [b, c] = ["b", "c"].map(|host| (host.into(), "webhook_registered".into()));
    assert_eq!(posts(&mut lsp), [c, b], "the old URL of app one hears nothing more");
    lsp.wait_until(NOON + serving().webhooks.post_within);
    lsp.restarts();
    assert_eq!(posts(&mut lsp), NOTHING, "and not for ever");
    assert_eq!(apps(&mut lsp, peer(1)), ["one", "two"], "what could not be delivered is registered all the same");
}

/// L5-091, L5-092, L5-093, L5-094
#[test]
fn case_N06_the_same_is_not_said_again_until_minutes_passed_or_the_client_came_and_went() {
    let mut lsp = lsp_with_two();
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), NOTHING);
    occurs(&mut lsp, Occasion::OnionMessageIncoming);
    assert_eq!(posts(&mut lsp), to_both("onion_message_incoming"), "each method has a cooldown of its own");
    sets(&mut lsp, peer(1), "one", "c");
    sets(&mut lsp, peer(1), "one", "a");
    lsp.restarts();
    posts(&mut lsp);
    lsp.wait_until(NOON + Duration::from_secs(299));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), NOTHING, "registering anew or a restart of ours change nothing");
    lsp.wait_until(minutes(5));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "five minutes later");

    lsp.connects(peer(1));
    lsp.disconnects(peer(1));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "the client was here since");
}

#[test]
fn case_N06_a_client_that_comes_and_goes_all_the_time_is_not_called_all_the_time() {
    let mut lsp = lsp_with_two();
    let mut called = 0;
    for _ in 0..1_000 {
        occurs(&mut lsp, Occasion::PaymentIncoming);
        called += posts(&mut lsp).len() / 2;
        lsp.connects(peer(1));
        lsp.disconnects(peer(1));
        sets(&mut lsp, peer(1), "one", "a");
    }
    assert_eq!(called, Limits::default().calls_per_cooldown);
    lsp.wait_until(minutes(5));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"));
}

/// L5-042
#[test]
fn case_N07_a_client_that_is_there_is_not_called() {
    let mut lsp = lsp_with_two();
    lsp.connects_without_channels(peer(1));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    occurs(&mut lsp, Occasion::LiquidityManagementRequest);
    assert_eq!(posts(&mut lsp), NOTHING);
    lsp.disconnects(peer(1));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "what was not said cools nothing");

    let mut lsp = silent();
    sets(&mut lsp, peer(1), "one", "a");
    let [Act::Post { key, .. }] = lsp.acts()[..] else { panic!("one post") };
    lsp.feed(Input::WebhookDelivered { key });
    occurs(&mut lsp, Occasion::PaymentIncoming);
    lsp.connects(peer(1));
    lsp.acts();
    lsp.disconnects(peer(1));
    lsp.restarts();
    assert_eq!(posts(&mut lsp), NOTHING, "it came, and nothing is owed any more");
}

/// L5-002, L5-021, L5-043, L5-044, L5-083, L5-085
#[test]
fn case_J17_a_payment_that_waits_calls_its_client_by_every_webhook() {
    let mut lsp = lsp_with_two();
    buys(&mut lsp, peer(1), Some(SIZE));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    assert_eq!(posts(&mut lsp), NOTHING, "nobody is woken for half a payment");
    lsp.part(2, SCID, 1, Msat(SIZE.0 / 2));
    let acts = lsp.acts();
    assert!(matches!(acts[..], [Act::Wake { .. }, Act::Post { .. }, Act::Post { .. }]), "{acts:?}");
    lsp.restarts();
    assert_eq!(posts(&mut lsp), NOTHING, "it was called already");
    lsp.connects(peer(1));
    assert!(matches!(lsp.acts()[..], [Act::Open { .. }]));
    lsp.funding_signed(key(1));
    lsp.disconnects(peer(1));
    lsp.channel_ready(key(1));
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "gone again, and called again");
    assert!(lsp.sent_to(peer(1)).iter().all(|sent| !String::from_utf8_lossy(sent).contains("\"method\"")));
    lsp.wait_until(NOON + Duration::from_secs(150));
    assert!(lsp.acts().iter().any(|act| matches!(act, Act::Fail { .. })), "it is not held for ever");

    let mut lsp = lsp_with(Config::default());
    buys(&mut lsp, peer(1), Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    assert!(matches!(lsp.acts()[..], [Act::Wake { .. }]), "nobody registered anything");
}

#[test]
fn case_J17_a_call_that_a_crash_took_from_the_store_is_made_after_it() {
    let mut lsp = lsp_with_two();
    buys(&mut lsp, peer(1), Some(SIZE));
    let webhooks = |lsp: &Lsp| {
        let (name, bytes) = lsp.records().iter().find(|(name, _)| name.starts_with("webhooks-")).expect("it is there");
        Record { name: name.clone(), bytes: bytes.clone() }
    };
    let before = webhooks(&lsp);
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"));
    lsp.finds(before);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "records of a batch are written one by one");
}

#[test]
fn case_O08_a_paid_order_calls_its_client() {
    let options = Options {
        min_required_channel_confirmations: 0,
        min_funding_confirms_within_blocks: 1,
        supports_zero_channel_reserve: false,
        max_channel_expiry_blocks: 1_000,
        min_initial_client_balance_sat: Sat(0),
        max_initial_client_balance_sat: Sat(0),
        min_initial_lsp_balance_sat: Sat(0),
        max_initial_lsp_balance_sat: Sat(1_000_000),
        min_channel_balance_sat: Sat(0),
        max_channel_balance_sat: Sat(1_000_000),
    };
    let way = WayTerms { fee: Sat(1_000), expires_at: minutes(60) };
    let terms = OrderTerms { bolt11: None, bolt12: Some(way), onchain: None, remember_until: None };
    let setup = LspSetup { config: serving(), orders: Some((options, terms)), ..LspSetup::default() };
    let mut lsp = Lsp::at(NOON, setup);
    assert_eq!(call(&mut lsp, peer(1), &ListProtocols {}).expect("a list").protocols, [1, 2, 5]);
    sets(&mut lsp, peer(1), "app", "a");
    lsp.connects(peer(1));
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
    call(&mut lsp, peer(1), &order).expect("an order");
    lsp.disconnects(peer(1));
    lsp.acts();
    let number = lsp.service().known_orders().next().expect("one").number;
    let preimage = Preimage([1; 32]);
    lsp.feed(Input::PaymentHeld(HeldPayment {
        by: PaidBy::Offer(offer_id(number)),
        payment_hash: PaymentHash::of(&preimage),
        preimage: Some(preimage),
        amount: Msat(1_000_000),
        claim_before: None,
    }));
    assert_eq!(posts(&mut lsp), to_one("a", "payment_incoming"));
    lsp.connects(peer(1));
    assert!(matches!(lsp.acts()[..], [Act::Open { .. }]), "it came");
}

/// L5-030
#[test]
fn a_webhook_hears_first_that_it_is_registered() {
    let mut lsp = silent();
    sets(&mut lsp, peer(1), "one", "a");
    let [Act::Post { key, .. }] = lsp.acts()[..] else { panic!("one post") };
    lsp.feed(Input::WebhookDelivered { key });
    sets(&mut lsp, peer(1), "two", "b");
    let [Act::Post { key: first, .. }] = lsp.acts()[..] else { panic!("one post") };
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_one("a", "payment_incoming"), "b was not reached yet");
    lsp.feed(Input::WebhookFailed { key: first });
    assert_eq!(posts(&mut lsp), to_one("b", "payment_incoming"), "it could not be told");
    lsp.feed(Input::WebhookFailed { key: first });
    assert_eq!(posts(&mut lsp), NOTHING, "an answer counts once");
}

#[test]
fn a_slow_registration_holds_back_what_follows_no_longer_than_it_lasts() {
    let mut lsp = silent();
    sets(&mut lsp, peer(1), "one", "a");
    lsp.acts();
    lsp.wait_until(NOON + Duration::from_secs(80));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), NOTHING);
    lsp.wait_until(NOON + Duration::from_secs(90));
    assert_eq!(posts(&mut lsp), to_one("a", "payment_incoming"));
    lsp.wait_until(NOON + Duration::from_secs(170));
    lsp.restarts();
    assert_eq!(posts(&mut lsp), NOTHING, "too late for what it was about");
}

/// L5-063
#[test]
fn a_webhook_that_fails_is_kept() {
    let mut lsp = silent();
    sets(&mut lsp, peer(1), "one", "a");
    for minute in 0..100 {
        lsp.wait_until(minutes(6 * minute));
        occurs(&mut lsp, Occasion::PaymentIncoming);
        for act in lsp.acts() {
            let Act::Post { key, .. } = act else { panic!("{act:?}") };
            lsp.feed(Input::WebhookFailed { key });
        }
    }
    assert_eq!(apps(&mut lsp, peer(1)), ["one"]);
}

/// L5-045, L5-086
#[test]
fn a_contract_that_threatens_the_channel_is_told_24_blocks_before() {
    let told_at = |height: u32| {
        let mut lsp = lsp_with_two();
        lsp.block(height);
        occurs(&mut lsp, Occasion::ExpirySoon { timeout: BlockHeight(1_000) });
        let acts = lsp.acts();
        acts.into_iter().next().map(|act| if let Act::Post { body, .. } = act { body } else { panic!("{act:?}") })
    };
    assert_eq!(told_at(975), None);
    let told = r#"{"jsonrpc":"2.0","method":"lsps5.expiry_soon","params":{"timeout":1000}}"#;
    assert_eq!((told_at(976).as_deref(), told_at(1_000).as_deref()), (Some(told), Some(told)));
    assert_eq!(told_at(1_001), None, "too late to come for it");
}

/// L5-046, L5-047, L5-048, L5-080, L5-082, L5-087, L5-088
#[test]
fn an_operator_calls_for_liquidity_onion_messages_and_reasons_of_its_own() {
    let mut lsp = lsp_with_two();
    let own = Custom::new("acme.low_balance", &serde_json::json!({ "sat": 7 })).expect("a method");
    occurs(&mut lsp, Occasion::LiquidityManagementRequest);
    occurs(&mut lsp, Occasion::OnionMessageIncoming);
    occurs(&mut lsp, Occasion::Other(own));
    let bodies: Vec<String> = lsp
        .acts()
        .into_iter()
        .filter_map(|act| match act {
            Act::Post { body, url, .. } => url.contains("//a.").then_some(body),
            _ => None,
        })
        .collect();
    assert_eq!(
        bodies,
        [
            r#"{"jsonrpc":"2.0","method":"lsps5.liquidity_management_request","params":{}}"#,
            r#"{"jsonrpc":"2.0","method":"lsps5.onion_message_incoming","params":{}}"#,
            r#"{"jsonrpc":"2.0","method":"acme.low_balance","params":{"sat":7}}"#,
        ]
    );
}

/// L5-095
#[test]
fn changes_of_webhooks_are_counted_as_each_makes_us_post_to_a_stranger() {
    let mut lsp = lsp();
    let change = |lsp: &mut Lsp, client| {
        let changed = (0..100).filter(|number| {
            let changed = set(lsp, client, "app", &format!("h{number}")).is_ok();
            let _its_count_stays = removes(lsp, client, "app");
            changed
        });
        (changed.count(), posts(lsp).len())
    };
    let limit = Limits::default().webhook_changes;
    assert_eq!(change(&mut lsp, peer(66)), (limit, limit));
    assert_eq!(change(&mut lsp, peer(1)), (limit, limit), "others have their own count");
    lsp.wait_until(minutes(60));
    assert!(lsp.records().is_empty(), "and nobody's is remembered for long");
    assert_eq!(change(&mut lsp, peer(66)), (limit, limit));

    sets(&mut lsp, peer(2), "app", "a");
    assert!((0..100).all(|_| sets(&mut lsp, peer(2), "app", "a").no_change), "what changes nothing does not count");
}

#[test]
fn the_number_of_clients_with_webhooks_is_bounded() {
    let mut config = serving();
    config.limits.webhook_clients = 2;
    let mut lsp = lsp_with(config);
    sets(&mut lsp, peer(1), "app", "a");
    sets(&mut lsp, peer(2), "app", "a");
    let refused = set(&mut lsp, peer(3), "app", "a").expect_err("no room");
    assert!(matches!(refused.refusal, Refusal::ClientRejected(Some(_))), "{refused:?}");
    assert_eq!(sets(&mut lsp, peer(2), "other", "a").num_webhooks, 2, "those who are there notice nothing");
}

/// L5-035, L5-036, L5-037, L5-038, L5-039, L5-040
#[test]
fn a_client_lists_and_removes_its_own_apps_and_no_others() {
    let mut lsp = lsp_with_two();
    sets(&mut lsp, peer(2), "other", "c");
    assert_eq!(apps(&mut lsp, peer(1)), ["one", "two"]);
    assert_eq!(apps(&mut lsp, peer(3)), [""; 0]);
    assert!(!removes(&mut lsp, peer(1), "other") && removes(&mut lsp, peer(1), "one"));
    assert!(!removes(&mut lsp, peer(1), "one"), "once");
    lsp.acts();
    occurs(&mut lsp, Occasion::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_one("b", "payment_incoming"));
}

#[test]
fn case_T02_case_T17_webhooks_are_served_where_somebody_posts_and_listed_then() {
    let mut lsp = lsp_with(Config::default());
    assert_eq!(call(&mut lsp, peer(1), &ListProtocols {}).expect("a list").protocols, [2]);
    let refused = set(&mut lsp, peer(1), "app", "a").expect_err("off");
    assert_eq!(refused.object.code, -32_601);
    assert_eq!(call(&mut crate::webhooks::lsp(), peer(1), &ListProtocols {}).expect("a list").protocols, [2, 5]);
}

#[test]
fn a_timestamp_is_that_of_the_occasion_however_late_it_is_posted() {
    let mut lsp = silent();
    sets(&mut lsp, peer(1), "one", "a");
    let [Act::Post { key, .. }] = lsp.acts()[..] else { panic!("one post") };
    lsp.feed(Input::WebhookDelivered { key });
    lsp.wait_until(NOON + Duration::from_secs(10));
    occurs(&mut lsp, Occasion::PaymentIncoming);
    let asked = lsp.acts();
    lsp.wait_until(NOON + Duration::from_secs(60));
    lsp.restarts();
    assert_eq!(lsp.acts(), asked, "the same post: its receiver can tell");
    let [Act::Post { timestamp, .. }] = &asked[..] else { panic!("{asked:?}") };
    let at: Timestamp = timestamp.parse::<DateTime>().expect("a datetime").instant();
    assert_eq!(at, NOON + Duration::from_secs(10));
}

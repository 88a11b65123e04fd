//! When clients are called, when they are not, and with which notification.

use std::time::Duration;

use lsps_service::{
    Config, Effect, HeldPayment, Input, Limits, MethodTerms, OrderTerms, PaidBy, PostKey, Record, Service, Urgency,
    WakeReason,
};
use lsps_testing::{Act, Lsp, LspSetup, NOON, an_order, buys, call, offer_id, peer};
use lsps_types::jsonrpc::encode_request;
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps1::Options;
use lsps_types::lsps2::PromiseKey;
use lsps_types::lsps5::{Custom, Notification, Profile, SetWebhook, Verifier, signed_text};
use lsps_types::signature::LnSignature;
use lsps_types::{BlockHeight, DateTime, Msat, PaymentHash, PeerId, Preimage, Sat, Timestamp};
use secp256k1::{Secp256k1, SecretKey};

use super::{NOTHING, lsp_with, lsp_with_two, occurs, posts, serving, sets, silent, to_both, to_one};
use crate::{SCID, SIZE, key, minutes};

/// L5-049, L5-050, L5-051, L5-052, L5-055, L5-056, L5-079
#[test]
fn case_N02_what_is_asked_to_be_posted_verifies_when_it_is_signed_as_it_is() {
    let mut lsp = lsp_with_two();
    lsp.wait_until(NOON + Duration::from_millis(7));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
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

/// L5-091, L5-092, L5-093, L5-094
#[test]
fn case_N06_the_same_is_not_said_again_until_minutes_passed_or_the_client_came_and_went() {
    let mut lsp = lsp_with_two();
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), NOTHING);
    occurs(&mut lsp, WakeReason::OnionMessageIncoming);
    assert_eq!(posts(&mut lsp), to_both("onion_message_incoming"), "each method has a cooldown of its own");
    sets(&mut lsp, peer(1), "one", "c");
    sets(&mut lsp, peer(1), "one", "a");
    lsp.restarts();
    posts(&mut lsp);
    lsp.wait_until(NOON + Duration::from_secs(299));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), NOTHING, "registering anew or a restart of ours change nothing");
    lsp.wait_until(minutes(5));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "five minutes later");

    lsp.connects(peer(1));
    lsp.disconnects(peer(1));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "the client was here since");
}

#[test]
fn case_N06_a_client_that_comes_and_goes_all_the_time_is_not_called_all_the_time() {
    let mut lsp = lsp_with_two();
    let mut called = 0;
    for _ in 0..1_000 {
        occurs(&mut lsp, WakeReason::PaymentIncoming);
        called += posts(&mut lsp).len() / 2;
        lsp.connects(peer(1));
        lsp.disconnects(peer(1));
        sets(&mut lsp, peer(1), "one", "a");
    }
    assert_eq!(called, Limits::default().calls_per_cooldown);
    lsp.wait_until(minutes(5));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"));
}

/// L5-042
#[test]
fn case_N07_a_client_that_is_there_is_not_called() {
    let mut lsp = lsp_with_two();
    lsp.connects_without_channels(peer(1));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    occurs(&mut lsp, WakeReason::LiquidityManagementRequest);
    assert_eq!(posts(&mut lsp), NOTHING);
    lsp.disconnects(peer(1));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "what was not said cools nothing");

    let mut lsp = silent();
    sets(&mut lsp, peer(1), "one", "a");
    let [Act::Post { key, .. }] = lsp.acts()[..] else { panic!("one post") };
    lsp.feed(Input::WebhookDelivered { key });
    occurs(&mut lsp, WakeReason::PaymentIncoming);
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
    let way = MethodTerms { fee: Sat(1_000), expires_at: minutes(60) };
    let terms = OrderTerms { bolt11: None, bolt12: Some(way), onchain: None, remember_until: None };
    let setup = LspSetup { config: serving(), orders: Some((options, terms)), ..LspSetup::default() };
    let mut lsp = Lsp::at(NOON, setup);
    assert_eq!(call(&mut lsp, peer(1), &ListProtocols {}).expect("a list").protocols, [1, 2, 5]);
    sets(&mut lsp, peer(1), "app", "a");
    lsp.connects(peer(1));
    call(&mut lsp, peer(1), &an_order()).expect("an order");
    lsp.disconnects(peer(1));
    lsp.acts();
    let number = lsp.service().known_orders().next().expect("one").number;
    let preimage = Preimage([1; 32]);
    lsp.feed(Input::PaymentHeld(HeldPayment {
        by: PaidBy::Offer(offer_id(number)),
        payment_hash: PaymentHash::of(&preimage),
        id: None,
        claimable: true,
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
    occurs(&mut lsp, WakeReason::PaymentIncoming);
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
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), NOTHING);
    lsp.wait_until(NOON + Duration::from_secs(90));
    assert_eq!(posts(&mut lsp), to_one("a", "payment_incoming"));
    lsp.wait_until(NOON + Duration::from_secs(170));
    lsp.restarts();
    assert_eq!(posts(&mut lsp), NOTHING, "too late for what it was about");
}

/// L5-045, L5-086
#[test]
fn a_contract_that_threatens_the_channel_is_told_24_blocks_before() {
    let told_at = |height: u32| {
        let mut lsp = lsp_with_two();
        lsp.block(height);
        occurs(&mut lsp, WakeReason::ExpirySoon { timeout: BlockHeight(1_000) });
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
    occurs(&mut lsp, WakeReason::LiquidityManagementRequest);
    occurs(&mut lsp, WakeReason::OnionMessageIncoming);
    occurs(&mut lsp, WakeReason::Other(own));
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

#[test]
fn a_timestamp_is_that_of_the_occasion_however_late_it_is_posted() {
    let mut lsp = silent();
    sets(&mut lsp, peer(1), "one", "a");
    let [Act::Post { key, .. }] = lsp.acts()[..] else { panic!("one post") };
    lsp.feed(Input::WebhookDelivered { key });
    lsp.wait_until(NOON + Duration::from_secs(10));
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    let asked = lsp.acts();
    lsp.wait_until(NOON + Duration::from_secs(60));
    lsp.restarts();
    assert_eq!(lsp.acts(), asked, "the same post: its receiver can tell");
    let [Act::Post { timestamp, .. }] = &asked[..] else { panic!("{asked:?}") };
    let at: Timestamp = timestamp.parse::<DateTime>().expect("a datetime").instant();
    assert_eq!(at, NOON + Duration::from_secs(10));
}

/// Every post gets this answer. Returns the number of posts.
fn answers(lsp: &mut Lsp, answer: impl Fn(PostKey) -> Input) -> usize {
    let posts: Vec<PostKey> =
        lsp.acts().iter().filter_map(|act| if let Act::Post { key, .. } = act { Some(*key) } else { None }).collect();
    posts.iter().for_each(|key| lsp.feed(answer(*key)));
    posts.len()
}

fn registered(apps: &[&str]) -> Lsp {
    let mut lsp = silent();
    for (app, host) in apps.iter().zip(["a", "b"]) {
        sets(&mut lsp, peer(1), app, host);
    }
    answers(&mut lsp, |key| Input::WebhookDelivered { key });
    lsp
}

/// A crowd had filled the queue of posts when the payment arrived.
#[test]
fn case_X58_a_notification_that_reached_no_webhook_is_raised_again_while_its_occasion_lasts() {
    let mut lsp = registered(&["one", "two"]);
    let unreached = |key| Input::WebhookUnreached { key };
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(answers(&mut lsp, unreached), 2);
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), NOTHING, "not at once: whoever makes them fail is not to have them posted without end");
    let mut at = NOON;
    for pause in [5, 10, 20, 40] {
        lsp.wait_until(at + Duration::from_secs(pause - 1));
        assert_eq!(posts(&mut lsp), NOTHING, "after {pause} s");
        at = at + Duration::from_secs(pause);
        lsp.wait_until(at);
        assert_eq!(answers(&mut lsp, unreached), 2, "after {pause} s");
        lsp.restarts();
    }
    lsp.wait_until(minutes(4));
    assert_eq!(posts(&mut lsp), NOTHING, "the payment was held for 90 s");
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    assert_eq!(posts(&mut lsp), to_both("payment_incoming"), "the next one is told: nobody heard of the first");
}

#[test]
fn case_X58_one_webhook_that_answers_is_enough_whatever_its_answer() {
    for answer in [|key| Input::WebhookDelivered { key }, |key| Input::WebhookFailed { key }] {
        let mut lsp = registered(&["one", "two"]);
        occurs(&mut lsp, WakeReason::PaymentIncoming);
        let [Act::Post { key: first, .. }, Act::Post { key: second, .. }] = lsp.acts()[..] else { panic!("two posts") };
        lsp.feed(answer(first));
        lsp.feed(Input::WebhookUnreached { key: second });
        lsp.wait_until(minutes(4));
        occurs(&mut lsp, WakeReason::PaymentIncoming);
        assert_eq!(posts(&mut lsp), NOTHING, "it is cooling down");
    }
}

#[test]
fn case_X58_a_client_that_came_is_not_called_for_what_it_came_for() {
    let mut lsp = registered(&["one"]);
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    answers(&mut lsp, |key| Input::WebhookUnreached { key });
    lsp.connects(peer(1));
    lsp.disconnects(peer(1));
    lsp.wait_until(NOON + Duration::from_secs(60));
    assert_eq!(posts(&mut lsp), NOTHING);
}

#[test]
fn case_X58_posts_of_a_webhook_that_is_replaced_or_whose_client_came_are_withdrawn() {
    let mut config = serving();
    config.webhooks.serve = true;
    let mut service = Service::new(config, LspSetup::default(), || SCID, PromiseKey::new([42; 32])).expect("it fits");
    let mut given = |input| {
        let _ = service.handle(&input, NOON);
        let released = service.drain().written();
        let posted = released.effects.into_iter().filter_map(|effect| match effect {
            Effect::PostWebhook { key, urgency, .. } => Some((key, urgency)),
            _ => None,
        });
        (posted.collect::<Vec<_>>(), released.withdrawn)
    };
    let set = |host: &str| Input::Message {
        peer: peer(1),
        payload: encode_request(
            "a",
            &SetWebhook { app_name: "app".into(), webhook: format!("https://{host}.example.org/") },
        )
        .expect("short"),
    };
    let (first, withdrawn) = given(set("a"));
    assert!(matches!(first[..], [(_, Urgency::Registration)]) && withdrawn.is_empty(), "{first:?}");
    let (second, withdrawn) = given(set("b"));
    assert_eq!(withdrawn, [first[0].0]);
    let (_, withdrawn) = given(Input::WebhookDelivered { key: second[0].0 });
    assert!(withdrawn.is_empty(), "an answer is no withdrawal");
    let (called, _) = given(Input::WakeUp { peer: peer(1), reason: WakeReason::PaymentIncoming });
    assert!(matches!(called[..], [(_, Urgency::High)]), "{called:?}");
    let (_, withdrawn) = given(Input::PeerConnected { peer: peer(1) });
    assert_eq!(withdrawn, [called[0].0]);
}

#[test]
fn case_X65_a_webhook_that_takes_nothing_more_does_not_silence_the_others() {
    let mut config = serving();
    config.limits.posts_per_webhook = 2;
    let mut lsp = Lsp::at(NOON, LspSetup { config, hooks_are_silent: true, scids: vec![SCID], ..LspSetup::default() });
    sets(&mut lsp, peer(1), "dead", "a");
    answers(&mut lsp, |key| Input::WebhookDelivered { key });
    occurs(&mut lsp, WakeReason::PaymentIncoming);
    occurs(&mut lsp, WakeReason::OnionMessageIncoming);
    assert_eq!(posts(&mut lsp).len(), 2, "which never get an answer");
    sets(&mut lsp, peer(1), "new", "b");
    answers(&mut lsp, |key| Input::WebhookDelivered { key });
    occurs(&mut lsp, WakeReason::LiquidityManagementRequest);
    assert_eq!(posts(&mut lsp), to_one("b", "liquidity_management_request"));
}

//! LSPS5 as bytes: registrations, posts, and the checks of a notification service.
#![allow(non_snake_case)]

mod common;

use std::convert::Infallible;
use std::time::Duration;

use common::{answers, comes_back, id};
use lsps_types::codes::{MethodError, SetWebhookError};
use lsps_types::jsonrpc::ErrorObject;
use lsps_types::lsps5::{
    AppName, Custom, HookAddress, InvalidMethodName, InvalidUrl, ListWebhooks, Notification, Profile, Refused,
    RemoveWebhook, SetWebhook, Signed, TooManyWebhooks, Verifier, WebhookRemoved, WebhookSet, WebhookUrl, Webhooks,
};
use lsps_types::signature::{LnSignature, SignMessage};
use lsps_types::{BlockHeight, PeerId, Timestamp};
use proptest::{collection::vec, prelude::*};
use secp256k1::{Secp256k1, SecretKey};

const NOON: Timestamp = Timestamp::from_unix_millis(1_767_268_800_007);

struct Key(SecretKey);

impl Key {
    fn of(number: u8) -> Self {
        Self(SecretKey::from_slice(&[number; 32]).unwrap())
    }

    fn id(&self) -> PeerId {
        PeerId(self.0.public_key(&Secp256k1::new()).serialize())
    }
}

impl SignMessage for Key {
    type Error = Infallible;

    fn sign_message(&self, message: &[u8]) -> Result<LnSignature, Infallible> {
        Ok(LnSignature::sign(message, &self.0))
    }
}

fn posted(notification: Notification, key: &Key) -> Signed {
    let Ok(signed) = Signed::new(notification.body().unwrap(), NOON, key);
    signed
}

fn verify(verifier: &mut Verifier, lsp: PeerId, post: &Signed, now: Timestamp) -> Result<Notification, Refused> {
    verifier.verify(lsp, post.timestamp.as_str(), &post.signature.to_string(), post.body.as_bytes(), now)
}

/// L0-102
#[test]
fn case_N02_the_very_bytes_that_are_posted_are_signed() {
    let (key, expiry) = (Key::of(7), Notification::ExpirySoon { timeout: BlockHeight(800_000) });
    let post = posted(expiry, &key);
    assert_eq!(post.timestamp.as_str(), "2026-01-01T12:00:00.007Z");
    assert_eq!(post.body, r#"{"jsonrpc":"2.0","method":"lsps5.expiry_soon","params":{"timeout":800000}}"#);
    let text =
        format!("LSPS5: DO NOT SIGN THIS MESSAGE MANUALLY: LSP: At 2026-01-01T12:00:00.007Z I notify {}", post.body);
    assert_eq!(post.signature.signer(text.as_bytes()), Some(key.id()));
    assert_eq!(post.signature.to_string().len(), 104);
    let mut verifier = Verifier::new(Profile::Blip, 0);
    assert_eq!(verify(&mut verifier, key.id(), &post, NOON), Ok(expiry));
}

#[test]
fn case_N03_what_is_unknown_or_in_another_order_verifies_and_is_reported_as_such() {
    let (key, mut verifier) = (Key::of(7), Verifier::new(Profile::Blip, 0));
    for (body, meaning) in [
        (r#" {"params":{"x":1},"method":"lsps5.payment_incoming","jsonrpc":"2.0"} "#, Notification::PaymentIncoming),
        (r#"{"jsonrpc":"2.0","method":"lsps5.future","params":{"x":[1]}}"#, Notification::Unknown),
        (r#"{"jsonrpc":"2.0","method":"acme.low","params":{}}"#, Notification::Unknown),
    ] {
        let Ok(post) = Signed::new(body.into(), NOON, &key);
        assert_eq!(verify(&mut verifier, key.id(), &post, NOON), Ok(meaning));
    }
}

#[test]
fn case_N04_each_fault_of_a_registration_has_its_code() {
    let code = |name: &str, url: &str| {
        let request = SetWebhook { app_name: name.into(), webhook: url.into() };
        request.checked().map_or_else(MethodError::code, |_| 0)
    };
    let good = "https://push.example.org/n";
    assert_eq!(code("app", good), 0);
    assert_eq!(code(&"n".repeat(65), good), 500);
    assert_eq!(code(&"\n".repeat(33), good), 500, "escapes count as they are written");
    assert_eq!(code("app", &format!("{good}{}", "x".repeat(1_000))), 500);
    assert_eq!(code("app", "push.example.org"), 501);
    assert_eq!(code("app", "https://user:pw@push.example.org/"), 501);
    assert_eq!(code("app", "http://push.example.org/n"), 502);

    let error = ErrorObject::of_method_with(SetWebhookError::TooManyWebhooks, &TooManyWebhooks { max_webhooks: 3 });
    assert_eq!(error.read_data::<TooManyWebhooks>(), Some(TooManyWebhooks { max_webhooks: 3 }));
    let bare = ErrorObject::of_method(SetWebhookError::TooManyWebhooks);
    assert_eq!(bare.read_data::<TooManyWebhooks>(), None, "deployed LSPs leave it out");
}

#[test]
fn case_N09_each_way_to_cheat_is_refused_with_its_reason() {
    let (key, other) = (Key::of(7), Key::of(8));
    let post = posted(Notification::PaymentIncoming, &key);
    let mut verifier = Verifier::new(Profile::Legacy, 2);
    assert_eq!(verify(&mut verifier, other.id(), &post, NOON), Err(Refused::BadSignature), "another LSP");
    let altered = Signed { body: post.body.replace("payment_incoming", "webhook_registered"), ..post.clone() };
    assert_eq!(verify(&mut verifier, key.id(), &altered, NOON), Err(Refused::BadSignature), "another body");
    let (late, early) = (NOON + Duration::from_secs(601), Timestamp::from_unix_millis(NOON.unix_millis() - 601_000));
    assert_eq!(verify(&mut verifier, key.id(), &post, late), Err(Refused::StaleTimestamp));
    assert_eq!(verify(&mut verifier, key.id(), &post, early), Err(Refused::StaleTimestamp));
    assert_eq!(verify(&mut verifier, key.id(), &post, NOON), Ok(Notification::PaymentIncoming));
    assert_eq!(verify(&mut verifier, key.id(), &post, NOON), Err(Refused::Replay));

    let mut blip = Verifier::new(Profile::Blip, 0);
    for _ in 0..2 {
        assert_eq!(
            verify(&mut blip, key.id(), &post, late),
            Ok(Notification::PaymentIncoming),
            "the bLIP asks for neither"
        );
    }
}

#[test]
fn the_guard_against_replays_is_bounded_and_forgets() {
    let (key, mut verifier) = (Key::of(7), Verifier::new(Profile::Legacy, 2));
    let post = |minutes: u64| {
        let now = NOON + Duration::from_secs(60 * minutes);
        let Ok(signed) = Signed::new(Notification::PaymentIncoming.body().unwrap(), now, &key);
        (signed, now)
    };
    let mut accept = |minutes| {
        let (signed, now) = post(minutes);
        verify(&mut verifier, key.id(), &signed, now)
    };
    assert!(accept(0).is_ok() && accept(1).is_ok());
    assert_eq!(accept(2), Err(Refused::Full), "nothing that it remembers is given up for it");
    assert!(accept(22).is_ok(), "after twenty minutes a post is too old to come again");
}

/// One LSP sends as many notifications as the verifier remembers.
#[test]
fn case_X47_an_lsp_that_sends_many_notifications_keeps_those_of_no_other_out() {
    let (noisy, quiet, mut verifier) = (Key::of(7), Key::of(8), Verifier::new(Profile::Legacy, 100));
    let numbered = |n: u64, key: &Key| {
        let Ok(post) = Signed::new(Notification::PaymentIncoming.body().unwrap(), NOON + Duration::from_millis(n), key);
        post
    };
    let last = (0..200).map(|n| verify(&mut verifier, noisy.id(), &numbered(n, &noisy), NOON)).last();
    assert_eq!(last, Some(Err(Refused::Full)));
    assert_eq!(verify(&mut verifier, quiet.id(), &numbered(0, &quiet), NOON), Ok(Notification::PaymentIncoming));
    assert_eq!(verify(&mut verifier, quiet.id(), &numbered(0, &quiet), NOON), Err(Refused::Replay));
    assert_eq!(verify(&mut verifier, noisy.id(), &numbered(0, &noisy), NOON), Err(Refused::Replay), "remembered");
}

/// L5-014, L5-015, L5-016, L5-097
#[test]
fn a_url_says_whose_post_wakes_which_device_and_cannot_be_guessed() {
    let address = |service, device| {
        HookAddress { service, lsp: Key::of(7).id(), device, secret: &[0xa5; 32] }.url().map(String::from)
    };
    let (lsp, secret) = (Key::of(7).id(), "a5".repeat(32));
    let device = format!("https://push.example.org/n?lsp={lsp}&device=my%20phone%26%C3%A9&secret={secret}");
    assert_eq!(address("https://push.example.org/n", "my phone&é"), Ok(device));
    let token_alone = format!("https://push.example.org/%C3%A9?v=1&lsp={lsp}&secret={secret}");
    assert_eq!(address("https://push.example.org/é?v=1", ""), Ok(token_alone), "the secret may say it all");
    assert_eq!(address("http://push.example.org/n", "a"), Err(InvalidUrl::NotHttps));
    assert_eq!(address("push.example.org/n", "a"), Err(InvalidUrl::Malformed));
    assert_eq!(address("https://push.example.org/n#a", ""), Err(InvalidUrl::Malformed));
    assert_eq!(address("https://push.example.org/n", &"é".repeat(200)), Err(InvalidUrl::TooLong));
}

/// L5-011, L5-013
#[test]
fn an_iri_becomes_a_uri() {
    assert_eq!(
        WebhookUrl::from_iri("https://push.example.org/é?ü").unwrap().as_str(),
        "https://push.example.org/%C3%A9?%C3%BC"
    );
    assert_eq!(WebhookUrl::from_iri("https://püsh.example.org/"), Err(InvalidUrl::Malformed), "hosts go in Punycode");
    assert_eq!(WebhookUrl::from_iri("http://a/"), Err(InvalidUrl::NotHttps));
}

proptest! {
    /// L5-001
    #[test]
    fn webhook_messages_come_back_as_they_were(
        id in id(), name in ".*", url in ".*", counts in (any::<u32>(), any::<u32>()), names in vec(".*", 0..4), no_change in any::<bool>(),
    ) {
        comes_back(&SetWebhook { app_name: name.clone(), webhook: url })?;
        comes_back(&ListWebhooks {})?;
        comes_back(&RemoveWebhook { app_name: name })?;
        answers::<SetWebhook>(&id, &WebhookSet { num_webhooks: counts.0, max_webhooks: counts.1, no_change })?;
        answers::<ListWebhooks>(&id, &Webhooks { app_names: names, max_webhooks: counts.1 })?;
        answers::<RemoveWebhook>(&id, &WebhookRemoved {})?;
    }

    /// serde_json writes the shortest form, so the limit can be measured from outside.
    #[test]
    fn a_name_is_as_long_as_its_shortest_json(name in "[a\"\\\\\u{0}-\u{1f}é€😀]{0,40}") {
        let written = serde_json::to_string(&name).unwrap().len() - 2;
        prop_assert_eq!(AppName::new(name).is_ok(), written <= 64);
    }

    #[test]
    fn a_url_that_passes_is_ascii_https_with_a_host(url in "(https|HTTPS|http)(:|://)[a-z0-9.:@\\[\\]é \\\\]{0,12}(/|\\?|#)?[ -~é]{0,8}") {
        if let Ok(url) = WebhookUrl::new(url) {
            let lower = url.as_str().to_ascii_lowercase();
            let rest = lower.strip_prefix("https://").expect("the scheme");
            prop_assert!(lower.is_ascii() && !lower.contains([' ', '\\', '#']));
            let host = rest.split(['/', '?']).next().unwrap();
            prop_assert!(!host.is_empty() && !host.contains('@'));
        }
    }

    #[test]
    fn signatures_in_text_are_one_to_one(bytes in vec(any::<u8>(), 65), first in 31u8..=34, at in 0..104usize) {
        let mut bytes: [u8; 65] = bytes.try_into().unwrap();
        bytes[0] = first;
        let signature = LnSignature::from_bytes(bytes).unwrap();
        let text = signature.to_string();
        prop_assert_eq!(text.parse::<LnSignature>(), Ok(signature));
        let mut other = text.into_bytes();
        other[at] = if other[at] == b'y' { b'b' } else { b'y' };
        prop_assert_ne!(String::from_utf8(other).unwrap().parse::<LnSignature>(), Ok(signature));
    }
}

/// L0-032
#[test]
fn an_operators_own_method_has_a_name_in_snake_case() {
    let named = |method: &str| Custom::new(method, &serde_json::json!({}));
    assert!(named("acme.v2_offer.is_new").is_ok());
    for bad in ["Acme.offer", "acme.Offer", "acme.is-new", "acme.", "acme.is new", "acmé.offer", "acme..offer"] {
        assert_eq!(named(bad), Err(InvalidMethodName::NotSnakeCase), "{bad}");
    }
}

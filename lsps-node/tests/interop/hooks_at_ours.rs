//! Our LSP calls a wallet with `lightning-liquidity` over HTTPS.

use lightning::sign::NodeSigner as _;
use lightning::util::message_signing;
use lightning_liquidity::lsps0::ser::LSPSDateTime;
use lightning_liquidity::lsps5::msgs::LSPS5ProtocolError as Wrong;
use lightning_liquidity::lsps5::msgs::{LSPS5ClientError, WebhookNotification};
use lightning_liquidity::lsps5::validator::LSPS5Validator;
use lsps_node::node::within;
use lsps_testing::hook::{Hook, reached_with};
use lsps_testing::https::Authority;
use lsps_testing::scene::Script;
use lsps_types::PeerId;
use lsps_types::lsps5::{Notification, signed_text};

use crate::our_lsp::World;
use crate::{AMOUNT, OUR_LSP, TABLE, listens, the_one_with};
use lsps_testing::table::Outcome::{Cannot, Works};

#[tokio::test(flavor = "multi_thread")]
async fn its_wallet_sets_replaces_lists_and_removes_webhooks() {
    let Called { world, hook } = Called::playing(Script::default()).await;
    let wallet = &world.wallet;
    assert_eq!(wallet.list_protocols().await, [2, 5]);
    assert!(wallet.lists_webhooks().await.is_empty());
    let (a, b, c) = (at(&hook, "/a"), at(&hook, "/b"), at(&hook, "/c"));
    assert_eq!(wallet.sets_webhook("phone", &a).await, Ok((1, 2, false)));
    assert_eq!(wallet.sets_webhook("phone", &a).await, Ok((1, 2, true)));
    assert_eq!(wallet.sets_webhook("phone", &b).await, Ok((1, 2, false)), "it is another URL");
    assert_eq!(wallet.sets_webhook("tablet", &c).await, Ok((2, 2, false)));
    assert_eq!(wallet.lists_webhooks().await, ["phone", "tablet"]);
    assert_eq!(wallet.removes_webhook("phone").await, Ok(()));
    assert_eq!(wallet.removes_webhook("phone").await, Err(Wrong::AppNameNotFound.into()));
    assert_eq!(wallet.lists_webhooks().await, ["tablet"]);

    assert!(within(|| hook.posts().len() == 3).await, "{:?}", hook.posts());
    assert_eq!(hook.notifications(id(&world)), Ok(vec![Notification::WebhookRegistered; 3]));
    let mut paths: Vec<String> = hook.posts().into_iter().map(|post| post.path).collect();
    paths.sort();
    assert_eq!(paths, ["/a", "/b", "/c"]);
    TABLE.shows(OUR_LSP, "LSPS5: webhooks are set, replaced, listed and removed", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_understands_why_its_webhook_is_refused() {
    let Called { world, hook } = Called::playing(Script::default()).await;
    let (wallet, url) = (&world.wallet, at(&hook, "/a"));
    let long = "\n".repeat(33); // two bytes each, as JSON
    assert_eq!(wallet.sets_webhook(&long, &url).await, Err(Wrong::AppNameTooLong.into()));
    assert_eq!(wallet.sets_webhook("phone", &format!("{url}#here")).await, Err(Wrong::UrlParse.into()));
    assert_eq!(wallet.removes_webhook("phone").await, Err(Wrong::AppNameNotFound.into()));
    let unsafe_url = url.replace("https", "http");
    assert_eq!(
        wallet.asks_for_webhook("phone", &unsafe_url),
        Err(Wrong::UnsupportedProtocol.into()),
        "it does not ask"
    );
    assert!(wallet.lists_webhooks().await.is_empty(), "it listens, and nothing was set");
    assert!(hook.posts().is_empty());
    TABLE.shows(OUR_LSP, "LSPS5: a name too long as JSON, a URL that is none, a name that is not known", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_deaf_when_it_has_too_many_webhooks() {
    let (said, on_request) = listens();
    let Called { world, hook } = Called::playing(Script { on_request, ..Script::default() }).await;
    for app in 0..2 {
        let set = world.wallet.sets_webhook(&app.to_string(), &at(&hook, "/a")).await;
        assert_eq!(set, Ok((app + 1, 2, false)));
    }
    world.wallet.asks_for_webhook("one more", &at(&hook, "/a")).expect("it asks");
    let junk = || said.lock().unwrap().iter().any(|message| message.contains("-32700"));
    assert!(within(junk).await, "it does not read the refusal");
    assert!(the_one_with(&said, r#""code":503"#).contains(r#""data":{"max_webhooks":2}"#), "{said:?}");
    let outcome = Cannot(
        "it takes `data` of an error for text, and this is an object with `max_webhooks` (L5-034): it answers the refusal with -32700, \
         and listens to that LSP no more until it reconnects",
    );
    TABLE.shows(OUR_LSP, "LSPS5: one webhook too many", outcome);
}

/// The validator of `lightning-liquidity` rewrites the timestamp before it checks the signature.
#[tokio::test(flavor = "multi_thread")]
async fn its_validator_refuses_every_timestamp_that_the_specification_asks_for() {
    let Called { world, hook } = Called::playing(Script::default()).await;
    world.wallet.sets_webhook("phone", &at(&hook, "/a")).await.expect("it is set");
    assert!(within(|| hook.posts().len() == 1).await, "our LSP posts");
    let (post, lsp) = (hook.posts().remove(0), world.lsp.node.node_id());
    let body = std::str::from_utf8(&post.body).expect("text");
    let as_it_came = signed_text(&post.timestamp, body);
    assert!(message_signing::verify(as_it_came.as_bytes(), &post.signature, &lsp), "LDK itself verifies it");
    assert_eq!(post.timestamp.len(), "YYYY-MM-DDThh:mm:ss.uuuZ".len());
    assert!(post.timestamp.ends_with('Z'), "{}", post.timestamp);

    let time: LSPSDateTime = post.timestamp.parse().expect("it reads it");
    let notification: WebhookNotification = serde_json::from_str(body).expect("it reads it");
    assert_eq!(serde_json::to_string(&notification).unwrap(), body, "the body is not what it stumbles over");
    let validator = LSPS5Validator::new();
    let refused = validator.validate(lsp, &time, &post.signature, &notification);
    assert_eq!(refused, Err(LSPS5ClientError::InvalidSignature), "the table can say so");

    let written_anew = time.to_rfc3339();
    assert_eq!(written_anew, post.timestamp.replace('Z', "+00:00"));
    let signature = world.lsp.node.keys().sign_message(signed_text(&written_anew, body).as_bytes()).expect("it signs");
    assert_eq!(validator.validate(lsp, &time, &signature, &notification), Ok(notification.clone()), "the only cause");
    let outcome = Cannot(
        "it writes the timestamp anew, with `+00:00` for the `Z` that was signed (L5-055, L5-072), so that it refuses every notification \
         of an LSP that keeps to the specification with `InvalidSignature`. `lsps_types::lsps5::Verifier` takes both",
    );
    TABLE.shows(OUR_LSP, "LSPS5: what our LSP posts, judged by its `LSPS5Validator`", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J17_its_wallet_is_called_for_a_payment_and_has_it() {
    let Called { world, hook } = Called::playing(Script::default()).await;
    world.wallet.sets_webhook("phone", &at(&hook, "/a")).await.expect("it is set");
    assert!(within(|| hook.posts().len() == 1).await);
    let (before, (invoice, terms)) = (world.balances(), world.wallet.receives(Some(AMOUNT.0)).await);
    let (lsp, wallet) = (&world.lsp.node, &world.wallet.node);
    wallet.peer_manager().disconnect_by_node_id(lsp.node_id());
    assert!(within(|| lsp.peer_manager().peer_by_node_id(&wallet.node_id()).is_none()).await);
    world.stage.pays(&invoice);
    assert!(within(|| hook.posts().len() == 2).await, "it is called");
    let told = [Notification::WebhookRegistered, Notification::PaymentIncoming];
    assert_eq!(hook.notifications(id(&world)), Ok(told.into()));
    assert!(wallet.channel_manager().list_channels().is_empty(), "nothing is opened with nobody");
    world.stage.connects(lsp, wallet).await;
    world.settles(before, &terms).await;
    assert_eq!(hook.posts().len(), 2, "it is called once");
    TABLE.shows(OUR_LSP, "LSPS5: a payment calls a wallet that is away", Works);
}

/// A wallet of `lightning-liquidity`, our LSP, and the hook to which the LSP posts.
struct Called {
    world: World,
    hook: Hook,
}

impl Called {
    async fn playing(script: Script) -> Self {
        let authority = Authority::new().expect("a key");
        let hook = Hook::content(&authority).await.expect("a port");
        let world = World::playing(Script { webhooks: Some(reached_with(&authority)), ..script }).await;
        Self { world, hook }
    }
}

fn at(hook: &Hook, path: &str) -> String {
    hook.origin() + path
}

fn id(world: &World) -> PeerId {
    PeerId(world.lsp.node.node_id().serialize())
}

//! An LSP with `lightning-liquidity` calls our wallet. It leaves posting to its operator; the operator in these tests
//! hands each post to our verifier.

use std::sync::Arc;
use std::time::Duration;

use lightning_liquidity::lsps5::msgs::{LSPS5_NO_PRIOR_ACTIVITY_ERROR_CODE, WebhookNotification};
use lightning_liquidity::lsps5::validator::LSPS5Validator;
use lightning_liquidity::persist::LIQUIDITY_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE as ITS_RECORDS;
use lsps_client::session::{Failed, NotRegistered};
use lsps_client::{CallError, NotSent};
use lsps_node::node::{passes, within};
use lsps_testing::fault::{Shifted, SickStore};
use lsps_testing::hook::Post;
use lsps_testing::scene::Script;
use lsps_types::codes::{MethodError as _, RemoveWebhookError, SetWebhookError};
use lsps_types::jsonrpc::{ErrorReply, Refusal};
use lsps_types::lsps5::{AppName, ListWebhooks, Notification, RemoveWebhook, SetWebhook, WebhookUrl};

use crate::our_wallet::World;
use crate::stage::Stage;
use crate::their_lsp::{Terms, TheirLsp, fee_on};
use crate::{AMOUNT, OUR_WALLET, TABLE};
use lsps_testing::table::Outcome::{Around, Cannot, Works};

#[tokio::test(flavor = "multi_thread")]
async fn our_wallet_sets_replaces_lists_and_removes_webhooks() {
    let world = World::that_bought(SERVES).await;
    let lsp = world.lsp();
    assert_eq!(lsp.list_protocols().await.expect("an answer").protocols, [2, 5]);
    assert_eq!(world.keeps("a").await, Ok(()));
    assert_eq!(world.keeps("b").await, Ok(()), "it is another URL");
    let again = lsp.call(&SetWebhook::new(app(), url("b"))).await.expect("it is set");
    assert_eq!((again.num_webhooks, again.max_webhooks, again.no_change), (1, 10, true));
    assert_eq!(world.listed().await, ["phone"]);
    lsp.remove_webhook(&app());
    let is_kept = || world.wallet.host.session().with(|client, _| client.webhooks(world.lsp_id()).is_some());
    assert!(within(|| !is_kept()).await, "it is removed");
    assert!(world.listed().await.is_empty());
    let unknown = lsp.call(&RemoveWebhook { app_name: "phone".into() }).await;
    let Err(Failed::Call(CallError::Refused(ErrorReply { refusal, .. }))) = unknown else { panic!("{unknown:?}") };
    assert_eq!(refusal, Refusal::Method(RemoveWebhookError::AppNameNotFound));
    let paths: Vec<String> = world.posts(2).await.into_iter().map(|post| post.path).collect();
    assert_eq!(paths, [url("a").as_str(), url("b").as_str()]);
    TABLE.shows(OUR_WALLET, "LSPS5: webhooks are set, replaced, listed and removed", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_notifications_are_verified_as_they_were_signed() {
    let world = World::that_bought(SERVES).await;
    world.keeps("a").await.expect("it is set");
    let post = world.posts(1).await.remove(0);
    assert_eq!(post.verified(world.lsp_id()), Ok(Notification::WebhookRegistered));
    let tampered = Post { timestamp: post.timestamp.replace("+00:00", "Z"), ..post.clone() };
    assert!(tampered.verified(world.lsp_id()).is_err(), "{tampered:?}");
    let fraction = post.timestamp.split_once('.').expect("a fraction").1;
    assert!(fraction.len() > "123+00:00".len() && fraction.ends_with("+00:00"), "{}", post.timestamp);

    let (lsp, time) = (world.lsp.node.node_id(), post.timestamp.parse().expect("it reads its own"));
    let notification: WebhookNotification = serde_json::from_slice(&post.body).unwrap();
    let judged = LSPS5Validator::new().validate(lsp, &time, &post.signature, &notification);
    assert_eq!(judged, Ok(notification.clone()), "its own validator is fit for nothing else");
    let outcome = Around(
        "it writes the timestamp with up to nine digits of a second and `+00:00`, not three and `Z` (L5-055, R-05); the signature is over \
         what it wrote, and is verified so (L5-072)",
    );
    TABLE.shows(OUR_WALLET, "LSPS5: what it posts, judged by our `Verifier`", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_webhooks_of_its_customers_only() {
    let world = World::playing(SERVES, Script::default()).await;
    let code = i64::from(LSPS5_NO_PRIOR_ACTIVITY_ERROR_CODE);
    assert_eq!(world.keeps("a").await, Err(NotRegistered::Refused { code }));
    assert_eq!(SetWebhookError::from_code(code), None, "no specification has it");
    assert!(world.listed().await.is_empty());
    world.buys().await.expect("it sells");
    assert_eq!(world.keeps("a").await, Ok(()), "now it is a customer");
    assert_eq!(world.listed().await, ["phone"]);
    let outcome = Around(
        "it takes webhooks only of who has a channel or a purchase, and answers 1003 to others, which no specification has (L5-019); \
         our application is told `Refused`, and succeeds when it asks again after it bought",
    );
    TABLE.shows(OUR_WALLET, "LSPS5: a webhook before the first purchase", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_refusal_of_one_too_many_is_understood() {
    let world = World::that_bought(Terms { webhooks: Some(1), ..SERVES }).await;
    world.keeps("a").await.expect("it is set");
    let other = AppName::new("tablet".into()).expect("a name");
    let refused = world.lsp().call(&SetWebhook::new(other.clone(), url("b"))).await;
    let Err(Failed::Call(CallError::Refused(ErrorReply { refusal, object }))) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal, Refusal::Method(SetWebhookError::TooManyWebhooks));
    assert!(object.data.is_none(), "the table can say so");
    let refused = world.lsp().keep_registered(other, url("b")).await;
    assert_eq!(refused, Err(NotRegistered::Refused { code: SetWebhookError::TooManyWebhooks.code() }));
    assert_eq!(world.listed().await, ["phone"]);
    let outcome = Around("it leaves out `data` with `max_webhooks` (L5-034), which our wallet does not need");
    TABLE.shows(OUR_WALLET, "LSPS5: one webhook too many", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_J17_our_wallet_is_called_for_a_payment_and_has_it() {
    let world = World::playing(SERVES, Script::default()).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    world.keeps("a").await.expect("it is set");
    let (lsp, wallet) = (&world.lsp.node, &world.wallet.node);
    wallet.peer_manager().disconnect_by_node_id(lsp.node_id());
    assert!(within(|| world.is_gone(&wallet.node_id())).await);
    world.stage.pays(&jit.invoice);
    let told: Result<Vec<_>, _> = world.posts(2).await.iter().map(|post| post.verified(world.lsp_id())).collect();
    assert_eq!(told, Ok(vec![Notification::WebhookRegistered, Notification::PaymentIncoming]));
    world.stage.connects(lsp, wallet).await;
    world.settles(before, fee_on(AMOUNT.0)).await;
    assert_eq!(world.posts(2).await.len(), 2, "it is called once");
    TABLE.shows(OUR_WALLET, "LSPS5: a payment calls a wallet that is away", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_forgets_webhooks_of_who_has_a_channel_and_our_wallet_sets_them_again() {
    let clock = Arc::new(Shifted::default());
    let world = World::playing(SERVES, Script { wallet_clock: clock.clone(), ..Script::default() }).await;
    let (before, jit) = (world.balances(), world.buys().await.expect("it sells"));
    world.keeps("a").await.expect("it is set");
    world.stage.pays(&jit.invoice);
    world.settles(before, fee_on(AMOUNT.0)).await;
    let usable = || world.lsp.node.channel_manager().list_usable_channels().len();
    assert!(within(|| usable() == 2).await, "the payer's and the wallet's");

    world.lsp.clock.jump(20 * DAY);
    let again = world.lsp().call(&SetWebhook::new(app(), url("a"))).await.expect("it is set");
    assert!(again.no_change);
    world.reconnects().await;
    assert_eq!(world.listed().await, ["phone"]);
    world.lsp.clock.jump(11 * DAY);
    world.reconnects().await;
    assert!(world.listed().await.is_empty(), "the table can say so");

    clock.jump(7 * 60 * 60);
    world.reconnects().await; // the clock jumped, and a wallet that knows of nothing looks once a minute
    assert_eq!(world.posts(2).await[1].verified(world.lsp_id()), Ok(Notification::WebhookRegistered));
    assert_eq!(world.listed().await, ["phone"], "it noticed");
    let outcome = Around(
        "30 days after it was set or last called it forgets a webhook, whether there is a channel or not (L5-023), and setting the same \
         again does not count; our wallet looks every six hours while it is connected, and sets again what is missing",
    );
    TABLE.shows(OUR_WALLET, "LSPS5: a wallet with a channel that is not called for 31 days", outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_confirms_webhooks_that_it_has_not_on_record() {
    let mut stage = Stage::set(Script::default()).await;
    let sick = Arc::new(SickStore::new(Arc::clone(&stage.lsp_store)));
    stage.lsp_store = sick.clone();
    let mut world = World::on(stage, SERVES).await;
    world.buys().await.expect("it sells");
    sick.falls_ill(ITS_RECORDS);
    assert_eq!(world.keeps("a").await, Ok(()), "the table can say so");
    assert!(within(|| sick.refused() > 0).await, "it could not write it");
    world.lsp.node.kill();
    let lsp = world.lsp.node.node_id();
    assert!(within(|| world.wallet.node.peer_manager().peer_by_node_id(&lsp).is_none()).await);
    sick.recovers();
    world.lsp = TheirLsp::start(&world.stage, SERVES).await;
    world.stage.connects(&world.lsp.node, &world.wallet.node).await;
    assert!(world.listed().await.is_empty(), "it does not know of it");
    let outcome = Cannot(
        "it says that the webhook is set before it is on record (L5-020), so that one is lost if the LSP goes down before it is written; \
         our wallet sets it again when it looks next",
    );
    TABLE.shows(OUR_WALLET, "LSPS5: a webhook is set while the LSP's store fails", outcome);
}

impl World {
    async fn that_bought(terms: Terms) -> Self {
        let world = Self::playing(terms, Script::default()).await;
        world.buys().await.expect("it sells");
        world
    }

    async fn keeps(&self, device: &str) -> Result<(), NotRegistered> {
        self.lsp().keep_registered(app(), url(device)).await
    }

    async fn listed(&self) -> Vec<String> {
        for _ in 0..200 {
            match self.lsp().call(&ListWebhooks {}).await {
                // The wallet learns of the connection in its next turn.
                Err(Failed::NotSent(NotSent::NotConnected)) => assert!(passes(50).await),
                answer => return answer.expect("it lists").app_names,
            }
        }
        panic!("they are not connected");
    }

    /// Waits until the LSP has posted `count` notifications, and returns all of them.
    async fn posts(&self, count: usize) -> Vec<Post> {
        let posts = || self.lsp.posts.lock().unwrap().clone();
        assert!(within(|| posts().len() >= count).await, "{:?}", posts());
        posts()
    }

    async fn reconnects(&self) {
        let (lsp, wallet) = (&self.lsp.node, &self.wallet.node);
        wallet.peer_manager().disconnect_by_node_id(lsp.node_id());
        assert!(within(|| self.is_gone(&wallet.node_id())).await);
        self.stage.connects(lsp, wallet).await;
    }
}

fn app() -> AppName {
    AppName::new("phone".into()).expect("a name")
}

fn url(device: &str) -> WebhookUrl {
    WebhookUrl::new(format!("https://push.example.org/wake?device={device}")).expect("a URL")
}

const SERVES: Terms = Terms { token: None, client_trusts_lsp: false, webhooks: Some(10) };
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

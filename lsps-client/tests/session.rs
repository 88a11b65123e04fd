//! Stories of awaited calls. The test acts as the host, so nothing waits for a clock.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use common::{HOUR, LSP, NOON, answer, answer_in_text, client};
use lsps_client::session::{Failed, Lsp, NotRegistered, Session};
use lsps_client::{CallError, Client, NotSent};
use lsps_types::PeerId;
use lsps_types::codes::GetInfoError;
use lsps_types::jsonrpc::Refusal;
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::lsps2::{GetInfo, Menu};
use lsps_types::lsps5::{AppName, SetWebhook, WebhookSet, WebhookUrl};
use tokio::task::yield_now;

struct World {
    session: Session,
    woken: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let woken = Arc::new(AtomicUsize::new(0));
        let bell = Arc::clone(&woken);
        let ring = move || {
            bell.fetch_add(1, Ordering::SeqCst);
        };
        let session = Session::new(client(), || NOON, ring);
        Self { session, woken }
    }

    fn lsp(&self) -> Lsp {
        self.session.lsp(LSP)
    }

    /// Messages that the host would send.
    fn sent(&self) -> Vec<Vec<u8>> {
        let batch = self.session.with(|client, _| client.drain());
        batch.written().messages.into_iter().map(|(_, payload)| payload).collect()
    }

    fn heard(&self, payload: &[u8]) {
        self.session.with(|client, _| client.receive(LSP, payload));
    }
}

/// L0-018
#[tokio::test]
async fn an_answer_reaches_whoever_waits_for_it() {
    let world = World::new();
    let lsp = world.lsp();
    let first = tokio::spawn(async move { lsp.list_protocols().await });
    let lsp = world.lsp();
    let second = tokio::spawn(async move { lsp.get_info(None).await });
    yield_now().await;
    assert!(world.woken.load(Ordering::SeqCst) >= 2, "the host was told that there is something to send");

    let [protocols, menu] = &world.sent()[..] else { panic!("two calls, two messages") };
    world.heard(&answer::<GetInfo>(menu, &Menu::default()));
    world.heard(&answer::<ListProtocols>(protocols, &Protocols { protocols: vec![2] }));
    assert_eq!(second.await.unwrap().unwrap(), Menu::default());
    assert_eq!(first.await.unwrap().unwrap().protocols, [2]);
}

#[tokio::test]
async fn a_refusal_a_time_out_and_a_call_to_nobody_are_told_apart() {
    let world = World::new();
    let lsp = world.lsp();
    let refused = tokio::spawn(async move { lsp.get_info(Some("old".into())).await });
    yield_now().await;
    let sent = world.sent();
    world.heard(&answer_in_text(&sent[0], "error", r#"{"code":200,"message":"no such token"}"#));
    let Err(Failed::Call(CallError::Refused(reply))) = refused.await.unwrap() else { panic!("it was refused") };
    assert!(matches!(reply.refusal, Refusal::Method(GetInfoError::UnrecognizedOrStaleToken)), "{:?}", reply.refusal);

    let lsp = world.lsp();
    let silent = tokio::spawn(async move { lsp.get_info(None).await });
    yield_now().await;
    world.session.with(|client, _| client.tick(NOON + HOUR));
    assert!(matches!(silent.await.unwrap(), Err(Failed::Call(CallError::TimedOut))));

    let stranger = world.session.lsp(PeerId([9; 33]));
    assert!(matches!(stranger.get_info(None).await, Err(Failed::NotSent(NotSent::NotConnected))));
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let world = World::new();
    let lsp = world.lsp();
    let call = tokio::spawn(async move { lsp.get_info(None).await });
    yield_now().await;
    let sent = world.sent();
    assert_eq!(world.session.with(|client, _| client.pending_calls()), 1);
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(world.session.with(|client, _| client.pending_calls()), 0);
    world.heard(&answer::<GetInfo>(&sent[0], &Menu::default()));
    assert_eq!(world.session.with(|client, _| client.ignored_answers()), 1, "what comes later is ignored");
}

#[tokio::test]
async fn an_app_is_kept_registered_and_whoever_waits_hears_of_it() {
    let app = || AppName::new("app".into()).unwrap();
    let url = || WebhookUrl::new("https://push.example.org/phone".into()).unwrap();
    let world = World::new();
    let asked = async |world: &World| {
        let lsp = world.lsp();
        let kept = tokio::spawn(async move { lsp.keep_registered(app(), url()).await });
        yield_now().await;
        world.session.with(Client::tick);
        (kept, world.sent().remove(0))
    };
    let (kept, set) = asked(&world).await;
    world.heard(&answer::<SetWebhook>(&set, &WebhookSet { num_webhooks: 1, max_webhooks: 3, no_change: false }));
    assert!(!kept.is_finished());
    world.session.with(Client::tick);
    assert_eq!(kept.await.unwrap(), Ok(()));
    assert_eq!(world.lsp().keep_registered(app(), url()).await, Ok(()), "it is known already");

    let world = World::new();
    let (kept, set) = asked(&world).await;
    world.heard(&answer_in_text(&set, "error", r#"{"code":503,"message":"full"}"#));
    world.session.with(Client::tick);
    let refused = kept.await.unwrap().unwrap_err();
    assert_eq!(refused, NotRegistered::Refused { code: 503 });
    assert_eq!(refused.to_string(), "the provider refused the webhook: there are too many webhooks");

    let world = World::new();
    let (kept, _) = asked(&world).await;
    kept.abort();
    assert!(kept.await.unwrap_err().is_cancelled());
    assert!(world.session.with(|client, _| client.webhooks(LSP).is_some()), "the wish outlives whoever waited");
}

/// The clock is set back while the client waits for an answer.
#[tokio::test]
#[allow(non_snake_case, reason = "as the table of attacks names it")]
async fn case_X19_with_a_steady_clock_an_answer_is_waited_for_as_long_as_ever() {
    for set in [HOUR, HOUR * 3] {
        let (passed, shown) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(HOUR.as_secs() * 2)));
        let (p, q, s) = (Arc::clone(&passed), Arc::clone(&passed), Arc::clone(&shown));
        let seconds = |of: &AtomicU64| Duration::from_secs(of.load(Ordering::SeqCst));
        let clock = move || NOON + seconds(&p) + seconds(&s);
        let session = Session::with_steady_clock(client(), clock, move || seconds(&q), || ());
        let lsp = session.lsp(LSP);
        let asks = tokio::spawn(async move { lsp.list_protocols().await });
        yield_now().await;
        shown.store(set.as_secs(), Ordering::SeqCst);
        for (second, is_over) in [(59, false), (60, true)] {
            passed.store(second, Ordering::SeqCst);
            session.with(|client, now| client.tick(now));
            yield_now().await;
            assert_eq!(asks.is_finished(), is_over, "{second} {set:?}");
        }
        assert!(matches!(asks.await.unwrap(), Err(Failed::Call(CallError::TimedOut))));
    }
}

//! Stories of awaited orders, in virtual time: the test acts as the host, its node and the LSP.
#![allow(non_snake_case)]

mod common;
#[path = "orders/desk.rs"]
#[allow(dead_code, reason = "the stories of orders use the rest")]
mod desk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{HOUR, LSP, NOON, answer, answer_in_text, client};
use desk::{Facts, OUTPOINT, completed, failed, made, open_as_ordered, options, order, request, with_states};
use lsps_client::Effect;
use lsps_client::jit_receive::Handled;
use lsps_client::order::{CannotOrder, End, PaymentMethod, Quote, State, Trouble, Unpaid};
use lsps_client::session::{NotOrdered, OrderHandle, Outcome, Session};
use lsps_types::lsps1::{CreateOrder, GetInfo, GetOrder, LightningState, OnchainState, Options, Order as Reply};
use lsps_types::{Sat, Timestamp};
use tokio::task::{JoinHandle, yield_now};

struct World {
    session: Session,
    clock: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(AtomicU64::new(0));
        let seconds = Arc::clone(&clock);
        let now = move || NOON + Duration::from_secs(seconds.load(Ordering::SeqCst));
        Self { session: Session::new(client(), now, || ()), clock }
    }

    fn orders(&self, ordered: CreateOrder) -> JoinHandle<Result<OrderHandle, NotOrdered>> {
        let lsp = self.session.lsp(LSP);
        tokio::spawn(async move { lsp.order_channel(request(ordered), &Facts, lightning).await })
    }

    /// Returns the messages that the client sends now, and its effects.
    async fn turn(&self) -> (Vec<Vec<u8>>, Vec<Effect>) {
        yield_now().await;
        let batch = self.session.with(|client, now| {
            client.tick(now);
            client.drain()
        });
        let released = batch.written();
        (released.messages.into_iter().map(|(_, payload)| payload).collect(), released.effects)
    }

    /// Returns the one request that the client sends now.
    async fn question(&self) -> Vec<u8> {
        let (mut questions, _) = self.turn().await;
        assert_eq!(questions.len(), 1);
        questions.remove(0)
    }

    async fn hears(&self, payload: &[u8]) {
        self.session.with(|client, _| client.receive(LSP, payload));
        yield_now().await;
    }

    fn passes(&self, span: Duration) -> Timestamp {
        self.clock.fetch_add(span.as_secs(), Ordering::SeqCst);
        self.session.with(|_, now| now)
    }

    /// Places an order that is being paid by invoice.
    async fn has_ordered(&self) -> OrderHandle {
        let ordering = self.orders(order());
        let question = self.question().await;
        self.hears(&answer::<GetInfo>(&question, &options())).await;
        let question = self.question().await;
        self.hears(&answer::<CreateOrder>(&question, &made("a1", &order()))).await;
        let (_, effects) = self.turn().await;
        assert!(matches!(effects[..], [Effect::PayOrder { .. }]), "the pay hook of the host");
        ordering.await.unwrap().unwrap()
    }

    /// The LSP opens the ordered channel.
    async fn has_channel(&self) {
        let request = open_as_ordered(77);
        self.session.with(|client, now| client.open_requested(&request, now)).expect("it is as ordered");
        self.turn().await;
        let funded = self.session.with(|client, now| client.channel_funded(request.key, OUTPOINT, now));
        assert_eq!(funded, Handled::Taken);
        self.turn().await;
    }

    /// The LSP answers the next `get_order` with this reply.
    async fn is_told(&self, reply: &Reply) {
        self.passes(HOUR);
        let question = self.question().await;
        self.hears(&answer::<GetOrder>(&question, reply)).await;
        self.turn().await;
    }
}

fn lightning(quote: &Quote) -> Option<PaymentMethod> {
    quote.cheapest(|option| (option.method() != PaymentMethod::Onchain).then_some(Sat::ZERO))
}

fn waits(handle: &OrderHandle) -> JoinHandle<Outcome> {
    let handle = handle.clone();
    tokio::spawn(async move { handle.wait().await })
}

#[tokio::test]
async fn a_channel_is_ordered_in_one_call_and_waited_for_in_another() {
    let world = World::new();
    let handle = world.has_ordered().await;
    let waiting = waits(&handle);
    let held = with_states(&made("a1", &order()), LightningState::Hold, OnchainState::ExpectPayment);
    world.is_told(&held).await;
    world.has_channel().await;
    assert!(!waiting.is_finished());
    let snapshot = handle.snapshot().unwrap();
    assert!(matches!(snapshot.state(), State::Paying(paying) if paying.held));

    let next = handle.clone();
    let changing = tokio::spawn(async move { next.changed(&snapshot).await });
    world.is_told(&completed(&held)).await;
    assert!(matches!(waiting.await.unwrap(), Outcome::Ended(End::Done { .. })));
    assert!(changing.await.unwrap().unwrap().end().is_some());
    assert!(matches!(waits(&handle).await.unwrap(), Outcome::Ended(End::Done { .. })), "for whoever asks later too");
    assert_eq!(handle.lsp(), Some(LSP));
}

/// L1-004
#[tokio::test]
async fn case_O12_nothing_is_ordered_that_the_options_do_not_allow() {
    let world = World::new();
    let ordering = world.orders(order());
    let question = world.question().await;
    let options = Options { max_initial_lsp_balance_sat: Sat(1_000), ..options() };
    world.hears(&answer::<GetInfo>(&question, &options)).await;
    assert!(matches!(ordering.await.unwrap(), Err(NotOrdered::NotOffered(CannotOrder::Options(_)))));
    assert_eq!(world.turn().await, (vec![], vec![]));

    let ordering = world.orders(order());
    let question = world.question().await;
    world.hears(&answer_in_text(&question, "error", r#"{"code":-32601,"message":"?"}"#)).await;
    let error = ordering.await.unwrap().err().unwrap();
    assert_eq!(error.to_string(), "asking what can be ordered: the provider does not offer this");
    assert_eq!(world.turn().await, (vec![], vec![]), "no options, no order");
}

#[tokio::test]
async fn a_refusal_and_a_price_that_nobody_chooses_are_told_apart() {
    let world = World::new();
    let ordering = world.orders(order());
    let question = world.question().await;
    world.hears(&answer::<GetInfo>(&question, &options())).await;
    let question = world.question().await;
    world.hears(&answer_in_text(&question, "error", r#"{"code":102,"message":"?","data":{}}"#)).await;
    let error = ordering.await.unwrap().err().unwrap();
    assert_eq!(error.to_string(), "ordering the channel: the token is unknown or no longer good");

    let lsp = world.session.lsp(LSP);
    let ordering = tokio::spawn(async move { lsp.order_channel(request(order()), &Facts, |_| None).await });
    let question = world.question().await;
    world.hears(&answer::<GetInfo>(&question, &options())).await;
    let question = world.question().await;
    world.hears(&answer::<CreateOrder>(&question, &made("a1", &order()))).await;
    assert!(matches!(ordering.await.unwrap(), Err(NotOrdered::NothingChosen)));
    assert_eq!(world.session.with(|client, _| client.orders().count()), 0);
}

#[tokio::test]
async fn dropping_the_call_or_the_wait_pays_and_breaks_nothing() {
    let world = World::new();
    let ordering = world.orders(order());
    let question = world.question().await;
    world.hears(&answer::<GetInfo>(&question, &options())).await;
    let question = world.question().await;
    ordering.abort();
    assert!(ordering.await.unwrap_err().is_cancelled());
    world.hears(&answer::<CreateOrder>(&question, &made("a1", &order()))).await;
    assert_eq!(world.turn().await, (vec![], vec![]));
    assert_eq!(world.session.with(|client, _| (client.orders().count(), client.pending_calls())), (0, 0));

    let handle = world.has_ordered().await;
    let waiting = waits(&handle);
    yield_now().await;
    waiting.abort();
    let _ = waiting.await;
    drop(handle);
    let key = world.session.with(|client, _| client.orders().next().unwrap().key());
    world.has_channel().await;
    world.is_told(&completed(&made("a1", &order()))).await;
    assert!(matches!(world.session.order(key).wait().await, Outcome::Ended(End::Done { .. })));
}

#[tokio::test]
async fn done_failed_refunded_stuck_and_unpaid_are_told_apart() {
    let reply = made("a1", &order());
    let world = World::new();
    let handle = world.has_ordered().await;
    world.is_told(&failed(&reply)).await;
    assert_eq!(handle.wait().await, Outcome::Failed);
    let over = handle.clone();
    let over = tokio::spawn(async move { over.over().await });
    yield_now().await;
    assert!(!over.is_finished());
    let _ = world.session.with(|client, now| client.order_not_sent(handle.key(), now));
    assert_eq!(over.await.unwrap(), Outcome::Ended(End::Unpaid(Unpaid::NotSent)), "the LSP never had it");

    let world = World::new();
    let handle = world.has_ordered().await;
    world.passes(HOUR);
    let question = world.question().await;
    world.hears(&answer_in_text(&question, "error", r#"{"code":101,"message":"?","data":{}}"#)).await;
    world.turn().await;
    assert_eq!(handle.wait().await, Outcome::Stuck(Trouble::Forgotten));

    let world = World::new();
    let stranger = world.session.order(lsps_client::order::OrderKey(1));
    assert_eq!((stranger.wait().await, stranger.snapshot()), (Outcome::NoRecord, None));
}

//! Stories of asking several LSPs at once, in virtual time: the test acts as the host and the LSPs.
#![allow(non_snake_case)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{LSP, NOON, OTHER_LSP, SIZE, answer, answer_in_text, client, terms};
use lsps_client::jit_receive::{FeeLimits, Payment, ReceiveRequest, Rules, Unfit};
use lsps_client::select::{Cheapest, Offer, Select};
use lsps_client::session::{Ask, Failed, Session, Shopped, WhyNot};
use lsps_client::{CallError, NotSent};
use lsps_types::codes::GetInfoError;
use lsps_types::jsonrpc::{Incoming, Refusal};
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::lsps2::{GetInfo, Menu, OpeningFeeParams};
use lsps_types::{Method, Msat, PeerId, Ppm};
use tokio::task::{JoinHandle, yield_now};

const PATIENCE: Duration = Duration::from_secs(10);
const STRANGER: PeerId = PeerId([4; 33]);

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

    fn shops(&self, asks: Vec<Ask>) -> JoinHandle<Shopped> {
        let limits = FeeLimits { max_total_fee: Some(Msat(20_000)), max_proportional_fee: None };
        let (session, request) =
            (self.session.clone(), ReceiveRequest { payment: Payment::Fixed(SIZE), limits, expiry: None });
        tokio::spawn(async move { session.shop(&asks, &request, PATIENCE).await })
    }

    /// Messages sent since the last call.
    async fn asked(&self) -> Vec<(PeerId, Vec<u8>)> {
        yield_now().await;
        self.session.with(|client, _| client.drain()).written().messages
    }

    fn hears(&self, from: PeerId, payload: &[u8]) {
        self.session.with(|client, _| client.receive(from, payload));
    }

    fn passes(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
        self.session.with(|client, now| client.tick(now));
    }
}

fn ask(lsp: PeerId) -> Ask {
    Ask { lsp, token: None, rules: Rules::default(), serves_lsps2: true, broken: 0 }
}

fn selling_at(ppm: u32) -> Menu {
    Menu { opening_fee_params_menu: vec![OpeningFeeParams { proportional: Ppm(ppm), ..terms() }] }
}

fn menu(request: &[u8], ppm: u32) -> Vec<u8> {
    answer::<GetInfo>(request, &selling_at(ppm))
}

fn sellers(shopped: &Shopped) -> Vec<(PeerId, Msat)> {
    shopped.offers.iter().map(|offer| (offer.lsp, offer.choice.fee)).collect()
}

/// L2-050
#[tokio::test]
async fn case_W09_the_cheapest_is_chosen_whoever_answers_first() {
    for other_first in [false, true] {
        let world = World::new();
        let shopping = world.shops(vec![ask(LSP), ask(OTHER_LSP)]);
        let asked = world.asked().await;
        let [(LSP, first), (OTHER_LSP, second)] = &asked[..] else { panic!("both are asked at once") };
        let mut answers = [(LSP, menu(first, 10_000)), (OTHER_LSP, menu(second, 9_000))];
        if other_first {
            answers.reverse();
        }
        answers.iter().for_each(|(from, payload)| world.hears(*from, payload));
        let shopped = shopping.await.unwrap();
        assert_eq!(sellers(&shopped), [(LSP, Msat(10_000)), (OTHER_LSP, Msat(9_000))], "in the order configured");
        let (offer, failures) = shopped.take(&Cheapest).unwrap();
        assert_eq!((offer.lsp, failures.len()), (OTHER_LSP, 0));
    }
}

#[tokio::test]
async fn case_W09_of_equal_offers_the_first_configured_is_taken_unless_a_hook_decides() {
    struct Last;
    impl Select for Last {
        fn select(&self, offers: &[Offer]) -> Option<usize> {
            offers.len().checked_sub(1)
        }
    }
    struct Nobody;
    impl Select for Nobody {
        fn select(&self, _: &[Offer]) -> Option<usize> {
            None
        }
    }
    for (select, taken) in [(&Cheapest as &dyn Select, Some(LSP)), (&Last, Some(OTHER_LSP)), (&Nobody, None)] {
        let world = World::new();
        let shopping = world.shops(vec![ask(LSP), ask(OTHER_LSP)]);
        for (lsp, request) in world.asked().await {
            world.hears(lsp, &menu(&request, 10_000));
        }
        let offer = shopping.await.unwrap().take(select);
        assert_eq!(offer.ok().map(|(offer, _)| offer.lsp), taken);
    }
}

#[tokio::test]
async fn case_X40_an_lsp_that_did_not_sell_on_its_terms_comes_after_the_others() {
    let world = World::new();
    let shopping = world.shops(vec![Ask { broken: 1, ..ask(LSP) }, ask(OTHER_LSP)]);
    for ((lsp, request), ppm) in world.asked().await.into_iter().zip([9_000, 10_000]) {
        world.hears(lsp, &menu(&request, ppm));
    }
    let mut shopped = shopping.await.unwrap();
    let mut next = || shopped.take_next(&Cheapest).map(|offer| offer.lsp);
    assert_eq!([next(), next(), next()], [Some(OTHER_LSP), Some(LSP), None], "each is there once");
}

#[tokio::test]
async fn case_X51_an_lsp_whose_terms_last_comes_before_a_cheaper_one_whose_do_not() {
    let world = World::new();
    let limits = FeeLimits::total(Msat(20_000));
    let request = ReceiveRequest { payment: Payment::Fixed(SIZE), limits, expiry: Some(common::DAY) };
    let (session, asks) = (world.session.clone(), [ask(LSP), ask(OTHER_LSP)]);
    let shopping = tokio::spawn(async move { session.shop(&asks, &request, PATIENCE).await });
    let lasting = OpeningFeeParams { proportional: Ppm(10_000), valid_until: (NOON + common::DAY).into(), ..terms() };
    for (lsp, request) in world.asked().await {
        let menu = if lsp == LSP { selling_at(9_000) } else { Menu { opening_fee_params_menu: vec![lasting.clone()] } };
        world.hears(lsp, &answer::<GetInfo>(&request, &menu));
    }
    let (offer, _) = shopping.await.unwrap().take(&Cheapest).unwrap();
    assert_eq!((offer.lsp, offer.choice.lasts), (OTHER_LSP, true));
}

#[tokio::test]
async fn case_W09_errors_of_the_others_are_kept() {
    let world = World::new();
    let mut unsure = ask(OTHER_LSP);
    unsure.serves_lsps2 = false;
    let shopping = world.shops(vec![ask(LSP), unsure, ask(STRANGER)]);
    for (lsp, request) in world.asked().await {
        match Incoming::decode(&request).unwrap().method().unwrap() {
            Method::Lsps0ListProtocols => {
                world.hears(lsp, &answer::<ListProtocols>(&request, &Protocols { protocols: vec![1, 5] }));
            }
            _ => world.hears(lsp, &menu(&request, 21_000)),
        }
    }
    let shopped = shopping.await.unwrap();
    let Err(nobody) = shopped.take(&Cheapest) else { panic!("nobody sells") };
    let WhyNot::NoOffer(no_offer) = &nobody.failures[&LSP] else { panic!("too dear") };
    assert_eq!(no_offer.reasons, [Unfit::FeeAboveLimit { fee: Msat(21_000) }]);
    assert!(matches!(nobody.failures[&OTHER_LSP], WhyNot::NotServed));
    assert!(matches!(nobody.failures[&STRANGER], WhyNot::GetInfo(Failed::NotSent(NotSent::NotConnected))));
    let sentence = nobody.to_string();
    assert!(
        sentence.starts_with("no provider makes an offer within the limits: none of the LSP's offers"),
        "{sentence}"
    );
    assert!(sentence.ends_with("; it does not serve LSPS2; asking for its terms: the provider is not connected"));
}

#[tokio::test]
async fn one_that_is_silent_holds_up_the_others_until_the_patience_ends_and_is_named() {
    let world = World::new();
    let shopping = world.shops(vec![ask(LSP), ask(OTHER_LSP)]);
    let asked = world.asked().await;
    world.hears(OTHER_LSP, &menu(&asked[1].1, 10_000));
    world.passes(PATIENCE.as_secs() - 1);
    yield_now().await;
    assert!(!shopping.is_finished(), "the silent one may still be cheaper");
    world.passes(1);
    let (offer, failures) = shopping.await.unwrap().take(&Cheapest).unwrap();
    assert_eq!(offer.lsp, OTHER_LSP);
    assert!(matches!(failures[&LSP], WhyNot::GetInfo(Failed::Call(CallError::TimedOut))));
    world.hears(LSP, &menu(&asked[0].1, 1));
    assert_eq!(world.session.with(|client, _| client.pending_calls()), 0, "what comes too late is ignored");
}

/// L0-043, L2-048
#[tokio::test]
async fn case_W12_a_refusal_arrives_at_once_with_code_data_and_a_sentence_of_ours() {
    let world = World::new();
    let shopping = world.shops(vec![ask(LSP)]);
    let asked = world.asked().await;
    let refusal = r#"{"code":200,"message":"<b>no\u0000</b>","data":{"until":"noon"}}"#;
    world.hears(LSP, &answer_in_text(&asked[0].1, "error", refusal));
    let shopped = shopping.await.unwrap();
    let WhyNot::GetInfo(Failed::Call(CallError::Refused(reply))) = &shopped.failures[&LSP] else { panic!("refused") };
    assert_eq!(reply.refusal, Refusal::Method(GetInfoError::UnrecognizedOrStaleToken));
    assert_eq!(reply.object.code, 200);
    assert_eq!(reply.object.data.as_ref().unwrap().get(), r#"{"until":"noon"}"#);
    let sentence = shopped.failures[&LSP].to_string();
    assert_eq!(sentence, "asking for its terms: the token is unknown or no longer good");
    assert_eq!(world.clock.load(Ordering::SeqCst), 0, "no time had to pass");
}

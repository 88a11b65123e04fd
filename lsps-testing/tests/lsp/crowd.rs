//! A crowd of strangers: node IDs are free, so many simultaneous requests must cost little.

use std::time::Duration;

use lsps_service::{Config, HeldHtlc, Input, Limits, PartId, Service};
use lsps_testing::{Act, Lsp, LspSetup, NOON, call, many, peer};
use lsps_types::codes::{BuyError, CreateOrderError, GetInfoError};
use lsps_types::jsonrpc::Refusal;
use lsps_types::lsps2::{Buy, GetInfo, PromiseKey};
use lsps_types::lsps5::SetWebhook;
use lsps_types::{Msat, PaymentHash, PeerId, Request, Scid, Timestamp};

use crate::orders::{order, selling};
use crate::{SIZE, key, lsp_with_offer, minutes, opens};

/// A service that has sold this many offers, each to another client, all at the same instant.
fn that_sold(offers: u32) -> Service {
    let key = PromiseKey::new([42; 32]);
    let mut service = Service::new(Config::default(), LspSetup::default(), || Scid(7), key).expect("valid settings");
    many::offers(offers, SIZE).iter().for_each(|record| service.load(record).expect("it is ours"));
    let _ = service.handle(&Input::Tick, NOON);
    assert!(service.drain().is_empty());
    service
}

fn part(scid: Scid, amount: Msat) -> Input {
    let (part, payment_hash) = (PartId([1; 32]), PaymentHash([1; 32]));
    Input::HtlcHeld(HeldHtlc { part, scid, payment_hash, amount_in: amount, onion_amount: amount, cltv_expiry: None })
}

/// Ticks until nothing is due any more. Returns the largest number of records in one batch, and the total.
fn ticks(service: &mut Service, now: Timestamp) -> (usize, usize) {
    let (mut most, mut all) = (0, 0);
    while service.next_wake().is_some_and(|(at, _)| at <= now) {
        let _ = service.handle(&Input::Tick, now);
        let written = service.drain().records().count();
        (most, all) = (written.max(most), all + written);
    }
    (most, all)
}

#[test]
fn case_X56_what_ends_at_one_instant_is_written_in_pieces() {
    let mut service = that_sold(1_000);
    let over = NOON + Duration::from_secs(2 * 3_600);
    let (most, all) = ticks(&mut service, over);
    assert_eq!(all, 1_000, "all of them are forgotten");
    assert!(most <= 100, "{most} records at once");
}

#[test]
fn case_X56_a_payment_is_let_go_in_time_whatever_else_is_due() {
    let mut service = that_sold(1_000);
    let scid = Scid(1_000 << 40);
    let _ = service.handle(&part(scid, Msat(SIZE.0 / 2)), minutes(59));
    assert_eq!(service.drain().records().count(), 1);
    // All offers ended an hour ago, and with them the half payment.
    let _ = service.handle(&Input::Tick, NOON + Duration::from_secs(2 * 3_600));
    let failed = service.drain().written().effects;
    assert!(format!("{failed:?}").contains("FailPart"), "not behind what nobody waits for: {failed:?}");
}

#[test]
fn case_X56_what_is_due_and_not_looked_at_yet_is_over_all_the_same() {
    let mut service = that_sold(1_000);
    let expired = minutes(61);
    let _ = service.handle(&part(Scid(1_000 << 40), SIZE), expired);
    let batch = service.drain();
    assert!(!format!("{batch:?}").contains("OpenChannel"), "it is too late to pay for it: {batch:?}");
}

fn limited(setup: LspSetup) -> Lsp {
    let limits = Limits { sales_to_strangers: 5, ..Limits::default() };
    let mut config = Config { limits, ..crate::webhooks::serving() };
    config.webhooks.serve = true;
    Lsp::at(NOON, LspSetup { config, scids: scids(), ..setup })
}

fn scids() -> Vec<Scid> {
    (1..5_000).map(|scid| Scid(scid << 40)).collect()
}

fn is_turned_away<R: Request>(lsp: &mut Lsp, client: PeerId, request: &R) -> bool {
    let answer = call(lsp, client, request).map_err(|error| error.refusal);
    matches!(answer, Err(Refusal::ClientRejected(Some(_))))
}

fn buys_one(lsp: &mut Lsp, client: PeerId) -> Buy {
    let menu = call(lsp, client, &GetInfo { token: None }).expect("menus are for all");
    let opening_fee_params = menu.opening_fee_params_menu.into_iter().next().expect("an entry");
    Buy { opening_fee_params, payment_size_msat: None }
}

/// The clock was ahead when the second began in which strangers reached the limit.
#[test]
fn case_X19_case_X56_a_clock_that_is_set_right_turns_no_strangers_away() {
    let mut lsp = limited(LspSetup::default());
    lsp.wait_until(NOON + Duration::from_secs(3_000));
    let wants = |lsp: &mut Lsp, client| {
        let request = buys_one(lsp, client);
        !is_turned_away(lsp, client, &request)
    };
    assert!((1..=5).all(|client| wants(&mut lsp, peer(client))) && !wants(&mut lsp, peer(6)));
    lsp.wait_until(NOON + Duration::from_secs(10));
    assert!(wants(&mut lsp, peer(7)));
}

#[test]
fn case_X56_strangers_are_sold_to_so_often_in_a_second_and_who_has_a_channel_always() {
    let mut lsp = limited(LspSetup::default());
    let wants = |lsp: &mut Lsp, client| {
        let request = buys_one(lsp, client);
        !is_turned_away(lsp, client, &request)
    };
    let sold = (1..=20).filter(|client| wants(&mut lsp, peer(*client))).count();
    assert_eq!((sold, lsp.records().len()), (5, 5), "no record of those that are turned away");
    lsp.feed(Input::ChannelsWith { peer: peer(30), any: true });
    assert!((0..10).all(|_| wants(&mut lsp, peer(30))), "a channel is not free");
    lsp.wait_until(NOON + Duration::from_secs(1));
    assert!(wants(&mut lsp, peer(20)), "a second later");
}

#[test]
fn case_X56_the_same_goes_for_orders_and_webhooks() {
    let mut lsp = limited(selling());
    (1..=20).for_each(|client| lsp.connects(peer(client)));
    let ordered = (1..=10).filter(|client| !is_turned_away(&mut lsp, peer(*client), &order())).count();
    assert_eq!((ordered, lsp.records().len()), (5, 5));
    let hook = || SetWebhook { app_name: "app".into(), webhook: "https://example.org/hook".into() };
    assert!(is_turned_away(&mut lsp, peer(11), &hook()), "one number for all");
    lsp.wait_until(NOON + Duration::from_secs(1));
    // Renewals without a change are written, too.
    let set = (0..10).filter(|_| !is_turned_away(&mut lsp, peer(11), &hook())).count();
    assert_eq!((set, lsp.records().len()), (5, 6));
    lsp.feed(Input::ChannelsWith { peer: peer(11), any: true });
    assert!(!is_turned_away(&mut lsp, peer(11), &hook()));
}

fn stranger(number: u32) -> PeerId {
    let mut id = [3; 33];
    id[1..5].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
}

/// A new node ID each second, for half an hour, orders a channel and does not pay.
#[test]
fn case_X57_strangers_who_order_and_do_not_pay_leave_room_for_the_next() {
    let limits = Limits { orders: 400, sales_to_strangers: 1, ..Limits::default() };
    let mut lsp = Lsp::at(NOON, LspSetup { config: Config { limits, ..Config::default() }, ..selling() });
    let mut most = 0;
    for second in 0..1_800_u32 {
        lsp.wait_until(NOON + Duration::from_secs(second.into()));
        lsp.connects(stranger(second));
        let ordered = call(&mut lsp, stranger(second), &order()).expect("there is room for one a second");
        lsp.disconnects(stranger(second));
        let life = ordered.payment.bolt11.expect("an invoice").expires_at.instant().since(ordered.created_at.instant());
        assert!(life >= Duration::from_secs(60), "{} s to pay it", life.as_secs());
        assert_eq!(
            ordered.payment.onchain.is_some(),
            second < 150,
            "addresses are watched for longer than there is room"
        );
        most = most.max(lsp.records().len());
    }
    assert!((151..=300).contains(&most), "{most}: a quarter of the room is left to others");
    assert_eq!(lsp.records().len(), lsp.service().known_orders().count());
}

/// A new node ID each second, for an hour, buys a channel on the longest terms and is not paid.
#[test]
fn case_X57_strangers_who_buy_and_are_not_paid_leave_room_for_the_next() {
    let limits = Limits { offers: 2_000, sales_to_strangers: 1, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let mut setup = LspSetup { config, scids: scids(), ..LspSetup::default() };
    setup.terms.valid_until = NOON + Duration::from_secs(86_400);
    let mut lsp = Lsp::at(NOON, setup);
    let early = buys_one(&mut lsp, stranger(9_000));
    let mut most = 0;
    for second in 0..3_600_u32 {
        let now = NOON + Duration::from_secs(second.into());
        lsp.wait_until(now);
        let buy = buys_one(&mut lsp, stranger(second));
        let life = buy.opening_fee_params.valid_until.instant().since(now);
        assert!(life >= Duration::from_secs(600), "{} s to be paid", life.as_secs());
        call(&mut lsp, stranger(second), &buy).expect("there is room for one a second");
        most = most.max(lsp.records().len());
    }
    assert!((751..=1_500).contains(&most), "{most}: a quarter of the room is left to others");
    let refused = call(&mut lsp, stranger(9_000), &early).map_err(|error| error.refusal).err();
    assert_eq!(refused, Some(Refusal::Method(BuyError::InvalidOpeningFeeParams)), "it is to ask for the menu again");
    lsp.feed(Input::ChannelsWith { peer: stranger(9_000), any: true });
    assert!(call(&mut lsp, stranger(9_000), &early).is_ok(), "who has a channel is no crowd");
}

#[test]
fn case_X57_a_crowd_of_strangers_leaves_room_for_offers_to_those_who_have_a_channel() {
    let limits = Limits { offers: 40, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let mut lsp = Lsp::at(NOON, LspSetup { config, scids: scids(), ..LspSetup::default() });
    let buys = |lsp: &mut Lsp, client| {
        let buy = buys_one(lsp, client);
        call(lsp, client, &buy).is_ok()
    };
    let sold = (0..60).filter(|number| buys(&mut lsp, stranger(*number))).count();
    assert_eq!(sold, 30);
    lsp.feed(Input::ChannelsWith { peer: peer(30), any: true });
    assert!((0..10).all(|_| buys(&mut lsp, peer(30))) && !buys(&mut lsp, peer(30)));
    lsp.wait_until(minutes(10));
    assert!(buys(&mut lsp, stranger(100)), "what was sold to the crowd is over");
}

#[test]
fn case_X60_a_long_token_is_refused_before_anything_is_kept() {
    let mut lsp = Lsp::at(NOON, LspSetup { elsewhere: true, ..selling() });
    lsp.connects(peer(1));
    let token = "a".repeat(60_000);
    let menu = call(&mut lsp, peer(1), &GetInfo { token: Some(token.clone()) }).map_err(|error| error.refusal);
    assert_eq!(menu.err(), Some(Refusal::Method(GetInfoError::UnrecognizedOrStaleToken)));
    let ordered = call(&mut lsp, peer(1), &lsps_types::lsps1::CreateOrder { token: Some(token), ..order() });
    let refusal = ordered.map_err(|error| error.refusal).err();
    assert_eq!(refusal, Some(Refusal::Method(CreateOrderError::UnrecognizedOrStaleToken)));
    assert!(lsp.pending_decisions().is_empty(), "nobody is asked");
}

#[test]
fn case_X60_strangers_leave_room_for_questions_of_those_who_have_a_channel() {
    let limits = Limits { pending_decisions: 10, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let mut lsp = Lsp::at(NOON, LspSetup { config, elsewhere: true, ..LspSetup::default() });
    lsp.feed(Input::ChannelsWith { peer: peer(30), any: true });
    let mut asks = |client| {
        let payload = lsps_types::jsonrpc::encode_request("a", &GetInfo { token: None }).expect("short");
        lsp.receives(peer(client), &payload);
        lsp.pending_decisions().len()
    };
    let asked: usize = (1..=20).map(&mut asks).sum();
    assert_eq!(asked, 5, "half of the room");
    assert_eq!(asks(30), 1);
}

#[test]
fn case_X62_a_height_beyond_all_heights_does_not_keep_it_busy_for_ever() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.block(100);
    lsp.part(1, crate::SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.claimed(crate::id(1));
    lsp.acts();
    lsp.block(u32::MAX);
    assert!(lsp.acts().len() <= 1, "its funding is broadcast again, once");
    lsp.restarts();
    lsp.block(101);
    assert!(!lsp.service().is_given_up(key(1)));
}

#[test]
fn case_X57_a_client_has_its_time_from_when_it_was_asked() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, crate::SCID, 1, SIZE);
    assert!(matches!(lsp.acts()[..], [Act::Open { .. }]));
    let at = |seconds| NOON + Duration::from_secs(seconds);
    // The node is asked only now, because the store was away or a crowd was there.
    lsp.wait_until(at(50));
    lsp.feed(Input::ChannelAsked { key: key(1) });
    lsp.wait_until(at(109));
    assert_eq!(lsp.acts(), [], "it may still answer");
    lsp.wait_until(at(110));
    assert!(lsp.acts().contains(&crate::fails(1, lsps_types::bolt4::FailureCode::TemporaryChannelFailure)));
}

#[test]
fn case_X57_unknown_parameters_are_told_as_far_as_there_is_room() {
    let mut lsp = Lsp::at(NOON, LspSetup::default());
    let ask = |lsp: &mut Lsp, names: &[String]| {
        let params: Vec<String> = names.iter().map(|name| format!("\"{name}\":0")).collect();
        let request =
            format!(r#"{{"jsonrpc":"2.0","method":"lsps2.get_info","id":"a","params":{{{}}}}}"#, params.join(","));
        let answers = lsp.receives(peer(1), request.as_bytes());
        String::from_utf8(answers[0].clone()).expect("JSON")
    };
    let few = ["first".to_owned(), "second".to_owned()];
    assert!(ask(&mut lsp, &few).contains(r#""unrecognized":["first","second"]"#));
    let many: Vec<String> = (0..6_000).map(|number| format!("n{number}")).collect();
    let answer = ask(&mut lsp, &many);
    assert!(answer.contains(r#""unrecognized":["n0","n1""#) && answer.len() < 6_000, "{} bytes", answer.len());
    let long = ask(&mut lsp, &["n".repeat(60_000)]);
    assert!(long.contains(r#""unrecognized":["nnn"#) && long.len() < 6_000, "{} bytes", long.len());
}

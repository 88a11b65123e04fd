//! Sales: to which clients, at which price, and who decides.

use std::collections::BTreeMap;
use std::time::Duration;

use lsps_service::{
    BuyRefusal, ChannelKey, Config, Decision, FlowId, Input, MenuRefusal, PendingRequest, Sale, Service,
    StandardPolicy, TokenTerms, Trust,
};
use lsps_testing::{Act, Lsp, LspSetup, NOON, call, peer};
use lsps_types::codes::{BuyError, CommonError, GetInfoError};
use lsps_types::jsonrpc::{FromLsp, Refusal, encode_request};
use lsps_types::lsps2::{Buy, GetInfo, OpeningFeeParams, PromiseKey};
use lsps_types::{Msat, PeerId, Ppm, Scid};

use crate::{SCID, SIZE, id, minutes};

fn standard(policy: StandardPolicy) -> Lsp {
    selling(LspSetup { policy: Some(policy), ..LspSetup::default() })
}

fn selling(setup: LspSetup) -> Lsp {
    Lsp::at(NOON, LspSetup { scids: (1..1_000).map(|scid| Scid(scid << 40)).collect(), ..setup })
}

fn menu(lsp: &mut Lsp, client: PeerId, token: Option<&str>) -> Result<Vec<OpeningFeeParams>, Refusal<GetInfoError>> {
    let answer = call(lsp, client, &GetInfo { token: token.map(Into::into) });
    answer.map(|menu| menu.opening_fee_params_menu).map_err(|error| error.refusal)
}

fn buy(lsp: &mut Lsp, client: PeerId, terms: &OpeningFeeParams, size: Option<Msat>) -> Result<Scid, Refusal<BuyError>> {
    let request = Buy { opening_fee_params: terms.clone(), payment_size_msat: size };
    call(lsp, client, &request).map(|bought| bought.jit_channel_scid).map_err(|error| error.refusal)
}

/// A policy that has the token `SPRING` with these terms.
fn with_token(terms: TokenTerms) -> StandardPolicy {
    StandardPolicy { tokens: BTreeMap::from([("SPRING".into(), terms)]), ..StandardPolicy::default() }
}

#[test]
fn case_J27_who_is_not_served_is_told_so_and_nothing_is_kept() {
    let refused_clients = vec![peer(1)];
    let mut lsp = standard(StandardPolicy { refused_clients, max_capacity_sat: 1_000_000, ..Default::default() });
    assert!(matches!(menu(&mut lsp, peer(1), None), Err(Refusal::ClientRejected(Some(_)))));
    let terms = menu(&mut lsp, peer(2), None).expect("a menu")[0].clone();
    assert!(matches!(buy(&mut lsp, peer(1), &terms, None), Err(Refusal::ClientRejected(_))));
    let too_large = Err(Refusal::Method(BuyError::PaymentSizeTooLarge));
    assert_eq!(buy(&mut lsp, peer(2), &terms, Some(Msat(999_000_000))), too_large, "no channel could hold it");
    assert!(lsp.records().is_empty());

    let mut poor =
        selling(LspSetup { inbound: Msat(SIZE.0 - 1), policy: Some(StandardPolicy::default()), ..LspSetup::default() });
    let terms = menu(&mut poor, peer(2), None).expect("a menu")[0].clone();
    assert_eq!(buy(&mut poor, peer(2), &terms, Some(SIZE)), too_large, "the LSP could not receive it");
    assert!(poor.records().is_empty());
}

#[test]
fn case_J28_a_token_is_good_for_its_owner_its_time_and_its_uses() {
    let discount = Ppm(500_000);
    let mut lsp = standard(with_token(TokenTerms { discount, client: Some(peer(1)), ..TokenTerms::default() }));
    let full = menu(&mut lsp, peer(1), None).expect("a menu")[0].clone();
    let half = menu(&mut lsp, peer(1), Some("SPRING")).expect("a menu")[0].clone();
    assert_eq!((half.min_fee_msat.0, half.proportional.0), (full.min_fee_msat.0 / 2, full.proportional.0 / 2));
    let unknown = Err(Refusal::Method(GetInfoError::UnrecognizedOrStaleToken));
    assert_eq!(menu(&mut lsp, peer(2), Some("SPRING")), unknown, "somebody else's");
    assert_eq!(menu(&mut lsp, peer(1), Some("AUTUMN")), unknown);
    let stale = Err(Refusal::Method(BuyError::InvalidOpeningFeeParams));
    assert_eq!(buy(&mut lsp, peer(2), &half, None), stale, "an entry of somebody else's menu");
    assert!(buy(&mut lsp, peer(1), &half, None).is_ok());

    let valid_until = Some(minutes(45));
    let mut lsp = standard(with_token(TokenTerms { discount, valid_until, uses: Some(1), ..TokenTerms::default() }));
    let terms = menu(&mut lsp, peer(1), Some("SPRING")).expect("a menu")[0].clone();
    assert!(buy(&mut lsp, peer(1), &terms, Some(SIZE)).is_ok());
    assert_eq!(menu(&mut lsp, peer(2), Some("SPRING")), unknown, "used up");
    assert_eq!(buy(&mut lsp, peer(1), &terms, Some(SIZE)), stale, "and so are the terms that are out");
    lsp.wait_until(minutes(46));
    assert_eq!(menu(&mut lsp, peer(1), Some("SPRING")), unknown, "over");
}

#[test]
fn case_J28_a_use_that_was_not_paid_for_is_given_back_and_one_that_was_is_not() {
    let valid_until = Some(minutes(60 * 24));
    let uses = || with_token(TokenTerms { valid_until, uses: Some(1), ..TokenTerms::default() });
    let mut lsp = standard(uses());
    let terms = menu(&mut lsp, peer(1), Some("SPRING")).expect("a menu")[0].clone();
    buy(&mut lsp, peer(1), &terms, Some(SIZE)).expect("the only use");
    lsp.wait_until(minutes(61));
    assert!(menu(&mut lsp, peer(2), Some("SPRING")).is_ok(), "its offer ended unpaid");
    lsp.wait_until(minutes(60 * 3));
    assert!(lsp.records().is_empty(), "and is forgotten");

    let mut lsp = standard(uses());
    lsp.connects(peer(1));
    let terms = menu(&mut lsp, peer(1), Some("SPRING")).expect("a menu")[0].clone();
    buy(&mut lsp, peer(1), &terms, Some(SIZE)).expect("the only use");
    lsp.part(1, SCID, 1, SIZE);
    crate::opens(&mut lsp);
    lsp.claimed(id(1));
    lsp.feed(Input::FundingConfirmed { key: crate::key(1) });
    lsp.block(10_000);
    lsp.wait_until(minutes(60 * 23));
    lsp.restarts();
    let used_up = Err(Refusal::Method(GetInfoError::UnrecognizedOrStaleToken));
    assert_eq!(menu(&mut lsp, peer(2), Some("SPRING")), used_up, "remembered for as long as the token is good");
    assert!(lsp.book().all(|entry| entry.token.as_deref() == Some("SPRING")), "and booked under its name");
}

/// L2-020, L2-036
#[test]
fn case_J29_a_menu_rises_follows_the_feerate_and_is_valid_for_ten_minutes_at_least() {
    let mut lsp = standard(StandardPolicy::default());
    let cheap = menu(&mut lsp, peer(1), None).expect("a menu");
    assert_eq!(cheap.len(), 2);
    let fees = |terms: &OpeningFeeParams| (terms.min_fee_msat, terms.proportional);
    assert!(cheap.windows(2).all(|two| fees(&two[0]).0 < fees(&two[1]).0 && fees(&two[0]).1 < fees(&two[1]).1));
    assert!(cheap.iter().all(|terms| terms.valid_until.instant() >= minutes(10)));

    let feerate_sat_per_kw = 10_000;
    let policy = Some(StandardPolicy::default());
    let mut busy = selling(LspSetup { policy, feerate_sat_per_kw, ..LspSetup::default() });
    let dear = menu(&mut busy, peer(1), None).expect("a menu");
    let weight = u64::from(StandardPolicy::default().onchain_weight);
    assert_eq!(dear[0].min_fee_msat.0 - cheap[0].min_fee_msat.0, weight * 10_000, "msat per weight unit, sat per kw");
}

#[test]
fn case_J30_an_scid_that_is_taken_is_drawn_again_within_the_same_buy() {
    let scids = [7, 7, 7, 8, 7, 8, 9].map(|scid| Scid(scid << 40)).to_vec();
    let mut lsp = Lsp::at(NOON, LspSetup { scids, ..LspSetup::default() });
    let mut next = |client| lsps_testing::buys(&mut lsp, peer(client), None).jit_channel_scid;
    assert_eq!([next(1), next(2), next(3)], [7, 8, 9].map(|scid| Scid(scid << 40)));
}

#[test]
fn terms_that_ran_out_cannot_be_bought_whatever_todays_price() {
    let mut lsp = standard(StandardPolicy::default());
    let terms = menu(&mut lsp, peer(1), None).expect("a menu")[0].clone();
    lsp.wait_until(minutes(60));
    assert!(buy(&mut lsp, peer(1), &terms, None).is_ok(), "the last instant counts");
    lsp.wait_until(minutes(60) + Duration::from_millis(1));
    let stale = Err(Refusal::Method(BuyError::InvalidOpeningFeeParams));
    assert_eq!(buy(&mut lsp, peer(1), &terms, None), stale);
}

/// L2-002
#[test]
fn by_default_the_lsp_trusts_its_clients() {
    let mut lsp = standard(StandardPolicy::default());
    assert!(!lsps_testing::buys(&mut lsp, peer(1), Some(SIZE)).client_trusts_lsp);
}

#[test]
fn a_client_who_paid_before_may_be_trusted() {
    let policy = StandardPolicy {
        trust: Trust::ClientTrustsLsp,
        trusted_after: Some(1),
        unpaid_per_client: 2,
        ..StandardPolicy::default()
    };
    let mut lsp = standard(policy);
    lsp.connects(peer(1));
    assert!(lsps_testing::buys(&mut lsp, peer(1), Some(SIZE)).client_trusts_lsp);
    lsp.part(1, SCID, 1, SIZE);
    crate::opens(&mut lsp);
    lsp.claimed(id(1));
    assert!(!lsps_testing::buys(&mut lsp, peer(1), Some(SIZE)).client_trusts_lsp);
    assert!(lsps_testing::buys(&mut lsp, peer(2), Some(SIZE)).client_trusts_lsp, "others are not");
    lsps_testing::buys(&mut lsp, peer(1), Some(SIZE));
    let terms = menu(&mut lsp, peer(1), None).expect("a menu")[0].clone();
    assert!(matches!(buy(&mut lsp, peer(1), &terms, None), Err(Refusal::ClientRejected(_))), "two are unpaid");
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    let refused = |policy: StandardPolicy| {
        let service = Service::new(Config::default(), policy, || SCID, PromiseKey::new([1; 32]));
        service.err().map(|error| error.field)
    };
    let default = StandardPolicy::default;
    assert_eq!(refused(default()), None);
    assert_eq!(refused(StandardPolicy { validities: vec![Duration::from_secs(599)], ..default() }), Some("validities"));
    assert_eq!(refused(StandardPolicy { validities: vec![], ..default() }), Some("validities"));
    let falling = vec![Duration::from_secs(900), Duration::from_secs(800)];
    assert_eq!(refused(StandardPolicy { validities: falling, ..default() }), Some("validities"));
    assert_eq!(refused(StandardPolicy { max_payment_size: Msat(1), ..default() }), Some("max_payment_size"));
    assert_eq!(refused(StandardPolicy { max_capacity_sat: 1, ..default() }), Some("max_capacity_sat"));
    assert_eq!(refused(StandardPolicy { client_reserve: Ppm(1_000_001), ..default() }), Some("client_reserve"));
    let endless = TokenTerms { uses: Some(1), ..TokenTerms::default() };
    assert_eq!(refused(with_token(endless)), Some("tokens.valid_until"));
    let config = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        config.validate().err().map(|error| error.field)
    };
    assert_eq!(config(|config| config.hold = Duration::from_secs(89)), Some("hold"));
    assert_eq!(config(|config| config.cltv_expiry_delta = 47), Some("cltv_expiry_delta"));
    assert_eq!(config(|config| config.limits.offers = 1), Some("limits.offers"));
    assert_eq!(config(|config| config.decision_timeout = Duration::ZERO), Some("decision_timeout"));
}

// An LSP whose decisions are taken elsewhere.

fn elsewhere() -> Lsp {
    selling(LspSetup { elsewhere: true, ..LspSetup::default() })
}

fn asks<R: lsps_types::Request>(lsp: &mut Lsp, client: PeerId, id: &str, request: &R) -> Vec<Vec<u8>> {
    lsp.receives(client, &encode_request(id, request).expect("short"))
}

fn error_of<R: lsps_types::Request>(payload: &[u8]) -> Refusal<R::Error> {
    let FromLsp::Response { outcome: Err(error), .. } = FromLsp::decode(payload).expect("a reply") else {
        panic!("no error")
    };
    error.typed().refusal
}

#[test]
fn what_the_policy_leaves_to_others_is_answered_when_they_decide() {
    let mut lsp = elsewhere();
    lsp.connects(peer(1));
    assert!(asks(&mut lsp, peer(1), "a", &GetInfo { token: Some("SPRING".into()) }).is_empty(), "not yet");
    let [question] = &lsp.pending_decisions()[..] else { panic!("one question") };
    assert_eq!(question.about, PendingRequest::Menu { token: Some("SPRING".into()) });
    let terms = LspSetup::default().terms;
    lsp.feed(Input::Decided { id: question.id, decision: Decision::Menu(Ok(vec![terms])) });
    let sent = lsp.sent_to(peer(1));
    let FromLsp::Response { outcome: Ok(raw), .. } = FromLsp::decode(&sent[0]).expect("a reply") else {
        panic!("a menu")
    };
    let opening_fee_params = raw.reply::<GetInfo>().expect("a menu").opening_fee_params_menu[0].clone();

    let request = Buy { opening_fee_params, payment_size_msat: Some(SIZE) };
    assert!(asks(&mut lsp, peer(1), "b", &request).is_empty());
    let [question] = &lsp.pending_decisions()[..] else { panic!("one question") };
    assert_eq!(question.about, PendingRequest::Buy { token: Some("SPRING".into()), payment_size: Some(SIZE) });
    let sale = Sale { trust: Trust::ClientTrustsLsp, remember_until: None };
    lsp.feed(Input::Decided { id: question.id, decision: Decision::Buy(Ok(sale)) });
    assert_eq!((lsp.sent_to(peer(1)).len(), lsp.records().len()), (1, 1));
    lsp.feed(Input::Decided { id: question.id, decision: Decision::Buy(Err(BuyRefusal::TooLarge)) });
    assert_eq!((lsp.sent_to(peer(1)).len(), lsp.records().len()), (1, 1), "a second answer is nobody's");

    // The policy is not asked about a sale that cannot be made.
    let changed = OpeningFeeParams { proportional: Ppm(1), ..request.opening_fee_params };
    let replies = asks(&mut lsp, peer(1), "c", &Buy { opening_fee_params: changed, payment_size_msat: None });
    assert_eq!(error_of::<Buy>(&replies[0]), Refusal::Method(BuyError::InvalidOpeningFeeParams));
    assert!(lsp.pending_decisions().is_empty());
}

#[test]
fn case_T15_a_decision_that_never_comes_ends_in_an_error() {
    let mut lsp = elsewhere();
    lsp.connects(peer(1));
    asks(&mut lsp, peer(1), "a", &GetInfo { token: None });
    let question = lsp.pending_decisions()[0].clone();
    assert_eq!(lsp.service().next_wake().map(|(at, _)| at), Some(question.until));
    lsp.wait_until(question.until);
    assert_eq!(error_of::<GetInfo>(&lsp.sent_to(peer(1))[0]), Refusal::Common(CommonError::Internal));
    let late = Decision::Menu(Err(MenuRefusal::Token));
    lsp.feed(Input::Decided { id: question.id, decision: late });
    assert_eq!(lsp.sent_to(peer(1)).len(), 1, "too late");
}

/// the first request keeps its answer.
#[test]
fn case_T09_case_X21_a_request_with_an_id_that_waits_is_an_internal_error_and_leaks_nothing() {
    let mut lsp = elsewhere();
    lsp.connects(peer(1));
    assert!(asks(&mut lsp, peer(1), "a", &GetInfo { token: None }).is_empty());
    for _ in 0..10_000 {
        let replies = asks(&mut lsp, peer(1), "a", &GetInfo { token: None });
        assert_eq!(error_of::<GetInfo>(&replies[0]), Refusal::Common(CommonError::Internal));
    }
    assert_eq!(lsp.pending_decisions().len(), 1);
    assert!(asks(&mut lsp, peer(1), "b", &GetInfo { token: None }).is_empty(), "a normal one waits beside it");
    assert_eq!(lsp.pending_decisions().len(), 1);
}

/// L0-022, L0-026
#[test]
fn what_is_decided_first_is_answered_first_and_each_by_itself() {
    let mut lsp = elsewhere();
    lsp.connects(peer(1));
    for id in ["a", "b"] {
        assert!(asks(&mut lsp, peer(1), id, &GetInfo { token: None }).is_empty());
    }
    let questions = lsp.pending_decisions();
    for question in questions.iter().rev() {
        lsp.feed(Input::Decided { id: question.id, decision: Decision::Menu(Err(MenuRefusal::Token)) });
    }
    let id = |reply: &Vec<u8>| match FromLsp::decode(reply) {
        Ok(FromLsp::Response { id, .. }) => id.map(|id| id.to_string()),
        other => panic!("{other:?}"),
    };
    let sent: Vec<_> = lsp.sent_to(peer(1)).iter().map(id).collect();
    assert_eq!(sent, [Some("b".into()), Some("a".into())]);

    for id in ["c", "d"] {
        assert!(asks(&mut lsp, peer(1), id, &GetInfo { token: None }).is_empty());
    }
    let (undecided, _) = lsp.service().next_wake().expect("they wait");
    lsp.wait_until(undecided);
    let sent: Vec<_> = lsp.sent_to(peer(1)).iter().map(id).collect();
    assert_eq!(sent, [Some("c".into()), Some("d".into())], "at one instant, and each by itself");
}

/// L0-061
#[test]
fn case_T10_a_peer_that_goes_takes_what_waits_for_it_along() {
    let mut lsp = elsewhere();
    for round in 0..10_000 {
        lsp.connects(peer(1));
        assert!(asks(&mut lsp, peer(1), "a", &GetInfo { token: None }).is_empty(), "round {round}");
        lsp.disconnects(peer(1));
    }
    let questions = lsp.pending_decisions();
    assert_eq!((questions.len(), lsp.service().next_wake()), (10_000, None), "none of them waits any more");
    lsp.connects(peer(1));
    let decision = Decision::Menu(Err(MenuRefusal::Token));
    lsp.feed(Input::Decided { id: questions[9_999].id, decision });
    assert!(lsp.sent_to(peer(1)).is_empty(), "an answer to a connection that is no more");
}

#[test]
fn case_T12_who_hits_a_limit_hears_so_under_its_own_id_and_nobody_else_does() {
    let mut lsp = elsewhere();
    for client in [peer(1), peer(2)] {
        lsp.connects(client);
    }
    for number in 0..4 {
        assert!(asks(&mut lsp, peer(1), &number.to_string(), &GetInfo { token: None }).is_empty());
    }
    let replies = asks(&mut lsp, peer(1), "one more", &GetInfo { token: None });
    let FromLsp::Response { id: Some(id), outcome: Err(_) } = FromLsp::decode(&replies[0]).expect("a reply") else {
        panic!("an error")
    };
    assert_eq!(id.to_string(), "one more");
    assert!(asks(&mut lsp, peer(2), "a", &GetInfo { token: None }).is_empty(), "waits as if nothing had been");
    assert_eq!(lsp.pending_decisions().len(), 5);
    assert_eq!(lsp.acts(), Vec::<Act>::new());
}

/// A payment that is under way when its offer ends continues, and its channel is opened.
#[test]
fn case_X12_what_is_being_paid_when_its_offer_ends_counts_as_a_use_of_its_token() {
    let valid_until = Some(minutes(60 * 24));
    let mut lsp = standard(with_token(TokenTerms { valid_until, uses: Some(1), ..TokenTerms::default() }));
    let terms = menu(&mut lsp, peer(1), Some("SPRING")).expect("a menu")[0].clone();
    let scid = buy(&mut lsp, peer(1), &terms, None).expect("sold");
    lsp.connects(peer(1));
    lsp.wait_until(minutes(59) + Duration::from_secs(59));
    lsp.part(1, scid, 1, SIZE);
    lsp.wait_until(minutes(60));
    let used_up = Err(Refusal::Method(GetInfoError::UnrecognizedOrStaleToken));
    assert_eq!(menu(&mut lsp, peer(2), Some("SPRING")), used_up, "its channel is being opened");
    let key = ChannelKey { flow: FlowId::JitChannel(scid), attempt: 1 };
    lsp.funding_signed(key);
    lsp.channel_ready(key);
    lsp.claimed(id(1));
    assert_eq!(menu(&mut lsp, peer(2), Some("SPRING")), used_up, "paid");
}

/// A channel that stays open without payment may still be paid for later, if the operator says so.
#[test]
fn case_X12_what_can_still_be_paid_counts_as_a_use_of_its_token() {
    let valid_until = Some(minutes(60 * 24));
    let policy = with_token(TokenTerms { valid_until, uses: Some(1), ..TokenTerms::default() });
    let config = Config { honour_expired: Duration::from_secs(600), ..Config::default() };
    let mut lsp = selling(LspSetup { policy: Some(policy), config, ..LspSetup::default() });
    let terms = menu(&mut lsp, peer(1), Some("SPRING")).expect("a menu")[0].clone();
    let scid = buy(&mut lsp, peer(1), &terms, None).expect("sold");
    lsp.connects(peer(1));
    lsp.part(1, scid, 1, SIZE);
    let key = ChannelKey { flow: FlowId::JitChannel(scid), attempt: 1 };
    lsp.funding_signed(key);
    lsp.channel_ready(key);
    lsp.failed_by_client(id(1));
    let used_up = Err(Refusal::Method(GetInfoError::UnrecognizedOrStaleToken));
    lsp.wait_until(minutes(60));
    assert_eq!(menu(&mut lsp, peer(2), Some("SPRING")), used_up);
    lsp.wait_until(minutes(70));
    assert!(menu(&mut lsp, peer(2), Some("SPRING")).is_ok(), "given back");
}

/// A token expires exactly at its time, for the menu and for a purchase alike.
#[test]
fn case_X12_a_token_ends_when_its_time_is_reached() {
    let valid_until = Some(minutes(45));
    let mut lsp = standard(with_token(TokenTerms { valid_until, ..TokenTerms::default() }));
    let terms = menu(&mut lsp, peer(1), Some("SPRING")).expect("a menu")[0].clone();
    lsp.wait_until(minutes(45));
    assert_eq!(menu(&mut lsp, peer(1), Some("SPRING")), Err(Refusal::Method(GetInfoError::UnrecognizedOrStaleToken)));
    let stale = Err(Refusal::Method(BuyError::InvalidOpeningFeeParams));
    assert_eq!(buy(&mut lsp, peer(1), &terms, None), stale);
}

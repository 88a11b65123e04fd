//! Stories of calls: answers that arrive, arrive late, come from another peer, or never arrive.
#![allow(non_snake_case)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use common::{HOUR, LSP, NOON, OTHER_LSP, answer, answer_in_text, call, client, id_of, outcome, released};
use lsps_client::{CallError, Client, Config, Heard, NotSent, Notice};
use lsps_types::codes::BuyError;
use lsps_types::jsonrpc::Refusal;
use lsps_types::jsonrpc::{RequestId, TooLarge};
use lsps_types::lsps0::{ListProtocols, Protocols};
use lsps_types::lsps2::{Buy, GetInfo, Menu};
use lsps_types::{ClientInfo, Msat};

const ASK: ListProtocols = ListProtocols {};

fn protocols(numbers: &[u16]) -> Protocols {
    Protocols { protocols: numbers.to_vec() }
}

#[test]
fn an_answer_is_there_once() {
    let mut client = client();
    let (ticket, sent) = call(&mut client, LSP, &ASK);
    assert!(client.take(&ticket).is_none());

    assert_eq!(client.receive(LSP, &answer::<ListProtocols>(&sent, &protocols(&[1, 2, 65_000]))), Heard::Answer);
    assert_eq!(client.take(&ticket).unwrap().unwrap(), protocols(&[1, 2, 65_000]));
    assert!(matches!(client.take(&ticket), Some(Err(CallError::Forgotten))));
}

#[test]
fn case_T04_late_foreign_and_repeated_answers_are_ignored_and_counted() {
    let mut client = client();
    let (ticket, sent) = call(&mut client, LSP, &ASK);
    let reply = answer::<ListProtocols>(&sent, &protocols(&[2]));

    assert_eq!(client.receive(OTHER_LSP, &reply), Heard::UnknownId);
    assert!(client.take(&ticket).is_none(), "nobody answers for another");

    client.tick(NOON + HOUR);
    assert_eq!(client.receive(LSP, &reply), Heard::UnknownId);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::TimedOut))), "too late is too late");

    let (ticket, sent) = call(&mut client, LSP, &ASK);
    let (first, second) = (protocols(&[2]), protocols(&[5]));
    assert_eq!(client.receive(LSP, &answer::<ListProtocols>(&sent, &first)), Heard::Answer);
    assert_eq!(client.receive(LSP, &answer::<ListProtocols>(&sent, &second)), Heard::UnknownId);
    assert_eq!(client.take(&ticket).unwrap().unwrap(), first);
    assert_eq!(client.receive(LSP, &answer::<ListProtocols>(&sent, &second)), Heard::UnknownId);

    assert_eq!(client.ignored_answers(), 4);
    assert!(client.call(LSP, &ASK, NOON).is_ok(), "the LSP is not banned");
}

#[test]
fn case_T05_notifications_mean_nothing_here() {
    let mut client = client();
    let (ticket, _) = call(&mut client, LSP, &ASK);
    for method in ["lsps9.something", "lsps5.payment_incoming"] {
        let news = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{}}}}"#);
        assert_eq!(client.receive(LSP, news.as_bytes()), Heard::UnknownNotification);
    }
    assert_eq!(released(&mut client), (vec![], vec![Notice::UnknownNotification(LSP)]));
    assert!(client.take(&ticket).is_none(), "the call still waits");
    assert!(client.call(LSP, &ASK, NOON).is_ok(), "the LSP is still asked");
}

/// L0-011
#[test]
fn case_T06_after_a_bad_payload_the_LSP_is_asked_nothing_until_it_reconnects() {
    let mut client = client();
    let (ticket, sent) = call(&mut client, LSP, &ASK);

    for bad in [&b"{]"[..], b"\xff\xfe", b"[]", br#"{"jsonrpc":"2.0","id":"z","method":"lsps0.list_protocols"}"#] {
        assert!(matches!(client.receive(LSP, bad), Heard::BadFormat(_)));
    }
    let batch = client.drain();
    assert_eq!(batch.records().count(), 0);
    let released = batch.written();
    assert!(released.messages.is_empty(), "bad payloads are never answered");
    assert_eq!(released.notices, [Notice::BadPayload(LSP)], "and told once");
    assert!(matches!(client.call(LSP, &ASK, NOON), Err(NotSent::Suspended)));
    assert!(client.call(OTHER_LSP, &ASK, NOON).is_ok(), "others notice nothing");

    client.receive(LSP, &answer::<ListProtocols>(&sent, &protocols(&[2])));
    assert_eq!(client.take(&ticket).unwrap().unwrap(), protocols(&[2]), "what was asked before may still be answered");

    client.peer_disconnected(LSP);
    client.peer_connected(LSP);
    assert!(client.call(LSP, &ASK, NOON).is_ok());
}

#[test]
fn case_T10_ten_thousand_disconnects_leave_nothing_behind() {
    let mut client = client();
    for _ in 0..10_000 {
        let (kept, _) = call(&mut client, LSP, &ASK);
        let (forgotten, _) = call(&mut client, LSP, &ASK);
        client.forget(&forgotten);
        client.peer_disconnected(LSP);
        assert!(matches!(client.take(&kept), Some(Err(CallError::Disconnected))));
        client.peer_connected(LSP);
    }
    assert_eq!((client.pending_calls(), client.next_wake()), (0, None));
    assert!(client.drain().is_empty());
    let (ticket, sent) = call(&mut client, LSP, &ASK);
    client.receive(LSP, &answer::<ListProtocols>(&sent, &protocols(&[2])));
    assert!(client.take(&ticket).unwrap().is_ok());
}

/// L0-060
#[test]
fn case_T11_each_way_of_not_answering_has_its_own_error() {
    let mut client = common::taped(Config::default(), [7; 32]);
    assert!(matches!(client.call(LSP, &ASK, NOON), Err(NotSent::NotConnected)));

    client.peer_connected(LSP);
    let (ticket, _) = call(&mut client, LSP, &ASK);
    let (deadline, why) = client.next_wake().expect("calls have deadlines");
    assert_eq!(why, lsps_client::Wake::AnswerOverdue);
    client.tick(just_before(deadline));
    assert!(client.take(&ticket).is_none());
    client.tick(deadline);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::TimedOut))));

    let (ticket, _) = call(&mut client, LSP, &ASK);
    client.peer_disconnected(LSP);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::Disconnected))));

    assert_eq!((client.pending_calls(), client.next_wake()), (0, None), "nothing is left behind");
    assert!(client.drain().is_empty());
}

fn just_before(instant: lsps_types::Timestamp) -> lsps_types::Timestamp {
    lsps_types::Timestamp::from_unix_millis(instant.unix_millis() - 1)
}

#[test]
fn what_was_not_sent_before_a_disconnect_is_not_sent_after_it() {
    let mut client = client();
    let ticket = client.call(LSP, &ASK, NOON).unwrap();
    client.peer_disconnected(LSP);
    client.peer_connected(LSP);
    assert!(client.drain().is_empty(), "nobody waits for that answer any more");
    assert!(matches!(client.take(&ticket), Some(Err(CallError::Disconnected))));
}

#[test]
fn lost_tickets_cost_no_place_for_ever() {
    let limit = Config::default().calls_per_lsp;
    let mut client = client();
    for n in 0..limit {
        let (_lost, sent) = call(&mut client, LSP, &ASK);
        if n % 2 == 0 {
            client.receive(LSP, &answer::<ListProtocols>(&sent, &protocols(&[2])));
        }
    }
    assert!(matches!(client.call(LSP, &ASK, NOON), Err(NotSent::TooManyPending)));
    let ticket = client.call(OTHER_LSP, &ASK, NOON).expect("others have room");
    client.forget(&ticket);

    let mut turns = 0;
    while let Some((wake, _)) = client.next_wake() {
        client.tick(wake);
        turns += 1;
        assert!(turns < 10, "each wake has to change something");
    }
    assert_eq!(client.pending_calls(), 0);
    assert!(client.call(LSP, &ASK, NOON).is_ok());
}

#[test]
fn a_wallet_that_slept_past_every_deadline_still_learns_the_outcome() {
    let mut client = client();
    let (answered, sent) = call(&mut client, LSP, &ASK);
    let (open, _) = call(&mut client, LSP, &ASK);
    client.receive(LSP, &answer::<ListProtocols>(&sent, &protocols(&[2])));
    client.tick(NOON + 1_000 * HOUR);
    assert!(client.take(&answered).unwrap().is_ok());
    assert!(matches!(client.take(&open), Some(Err(CallError::TimedOut))));
}

/// L0-027
#[test]
fn an_answer_is_for_the_call_with_its_id_whichever_that_is() {
    for answered in 0..4 {
        let mut client = client();
        let calls: Vec<_> = (0..4).map(|_| call(&mut client, LSP, &ASK)).collect();
        let reply = answer::<ListProtocols>(&calls[answered].1, &protocols(&[2]));
        assert_eq!(client.receive(LSP, &reply), Heard::Answer);
        let is_there: Vec<bool> = calls.iter().map(|(ticket, _)| client.take(ticket).is_some()).collect();
        assert_eq!(is_there, [0, 1, 2, 3].map(|n| n == answered));
    }
}

/// L0-027
#[test]
fn case_T13_answers_are_matched_by_id_in_any_order() {
    let mut client = client();
    let (protocols_ticket, protocols_sent) = call(&mut client, LSP, &ASK);
    let (menu_ticket, menu_sent) = call(&mut client, LSP, &GetInfo { token: None });

    assert_eq!(client.receive(LSP, &answer::<GetInfo>(&menu_sent, &Menu::default())), Heard::Answer);
    assert!(client.take(&protocols_ticket).is_none());
    assert_eq!(client.receive(LSP, &answer::<ListProtocols>(&protocols_sent, &protocols(&[2]))), Heard::Answer);

    assert_eq!(client.take(&protocols_ticket).unwrap().unwrap(), protocols(&[2]));
    assert_eq!(client.take(&menu_ticket).unwrap().unwrap(), Menu::default());
}

#[test]
fn a_refusal_reaches_the_caller_with_its_meaning() {
    let buy = Buy { opening_fee_params: common::terms(), payment_size_msat: Some(Msat(1)) };
    let refused = outcome(&buy, "error", r#"{"code":202,"message":"a\u0000<b>"}"#);
    let Err(CallError::Refused(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.refusal, Refusal::Method(BuyError::PaymentSizeTooSmall));
    assert_eq!(error.to_string(), "the payment is too small", "our words, not the peer's");
}

#[test]
fn an_answer_of_the_wrong_shape_fails_that_call_only() {
    let mut client = client();
    let (ticket, sent) = call(&mut client, LSP, &ASK);
    assert_eq!(client.receive(LSP, &answer_in_text(&sent, "result", "true")), Heard::Answer);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::InvalidReply(_)))));
    assert!(client.call(LSP, &ASK, NOON).is_ok());
}

/// L0-016
#[test]
fn what_does_not_fit_into_a_message_is_not_sent() {
    let mut client = client();
    let long = GetInfo { token: Some("x".repeat(65_533)) };
    assert!(matches!(client.call(LSP, &long, NOON), Err(NotSent::TooLarge(TooLarge))));
    assert_eq!(client.pending_calls(), 0);
    assert!(client.drain().is_empty());
}

/// L0-056, L0-057
#[test]
fn request_ids_are_long_distinct_and_fresh_at_every_start() {
    let ids = |entropy| {
        let mut client = common::taped(Config::default(), entropy);
        client.peer_connected(LSP);
        let mut ids = BTreeSet::new();
        for _ in 0..10_000 {
            let (ticket, sent) = call(&mut client, LSP, &ASK);
            client.forget(&ticket);
            let RequestId::Text(id) = id_of(&sent) else { panic!("ids are strings") };
            assert!(id.len() >= 20 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}: 80 bits in hex at the least");
            ids.insert(id);
        }
        ids
    };
    let (one, two) = (ids([1; 32]), ids([2; 32]));
    assert_eq!((one.len(), two.len()), (10_000, 10_000));
    assert!(one.is_disjoint(&two));
    let heads: BTreeSet<&str> = one.iter().map(|id| &id[..4]).collect();
    assert!(heads.len() > 5_000, "no part of an id is a counter");
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_future_is_woken_by_whatever_ends_its_call() {
    type End = fn(&mut Client, &[u8]);
    let ends: [End; 3] = [
        |client, sent| assert_eq!(client.receive(LSP, &answer::<ListProtocols>(sent, &protocols(&[2]))), Heard::Answer),
        |client, _| client.peer_disconnected(LSP),
        |client, _| client.tick(NOON + Duration::from_secs(60)),
    ];
    for end in ends {
        let mut client = client();
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let (ticket, sent) = call(&mut client, LSP, &ASK);
        assert!(client.poll_take(&ticket, &waker).is_pending());
        assert!(client.poll_take(&ticket, &waker).is_pending());
        assert_eq!(bell.0.load(Ordering::Relaxed), 0);
        end(&mut client, &sent);
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert!(matches!(client.poll_take(&ticket, &waker), Poll::Ready(_)));
    }
}

/// L0-042: whatever an LSP writes where, nobody who reads an error of ours is shown more of it than harmless text.
#[test]
fn case_T14_no_error_shows_what_an_LSP_wrote_unfiltered() {
    let evil = r"\u0000<script>\u001b[31m\u202e\n";
    let long = "x".repeat(15_000);
    let entry = |name: &str| {
        format!(
            r#"{{"opening_fee_params_menu":[{{"min_fee_msat":"1","proportional":1,"valid_until":"2026-01-01T13:00:00.000Z",
            "min_lifetime":1,"max_client_to_self_delay":1,"min_payment_size_msat":"1","max_payment_size_msat":"1","promise":"p","{name}":1}}]}}"#
        )
    };
    for text in [evil, &long] {
        let answers = [
            ("error", format!(r#"{{"code":1,"message":"{text}","data":{{"message":"{text}"}}}}"#)),
            ("error", format!(r#"{{"code":200,"message":"{text}"}}"#)),
            ("error", format!(r#"{{"code":777,"message":"{text}"}}"#)),
            (
                "error",
                format!(
                    r#"{{"code":-32602,"message":"{text}","data":{{"unrecognized":["{text}"],"property":"{text}"}}}}"#
                ),
            ),
            ("result", format!(r#"{{"opening_fee_params_menu":"{text}"}}"#)),
            ("result", entry(text)),
        ];
        for (member, answer) in answers {
            let error = outcome(&GetInfo { token: None }, member, &answer).expect_err("no menu");
            let shown = error.to_string();
            assert!(!shown.chars().any(|c| c.is_control() || "<\u{202e}".contains(c)), "{member}: {shown:?}");
            assert!(shown.chars().count() <= 600, "{} characters for {member}", shown.chars().count());
        }
    }
}

/// A client with a call whose time-out is half a minute away.
fn half_waited() -> (Client, lsps_client::Ticket<ListProtocols>) {
    let mut client = client();
    let (ticket, _) = call(&mut client, LSP, &ASK);
    client.tick(NOON + MINUTE / 2);
    (client, ticket)
}

#[test]
fn case_X19_an_answer_is_not_waited_for_longer_when_the_clock_is_set_back() {
    let (mut client, ticket) = half_waited();
    let set_back = earlier(NOON, HOUR);
    client.clock_set(NOON + MINUTE / 2, set_back);
    client.tick(just_before(set_back + MINUTE / 2));
    assert!(client.take(&ticket).is_none());
    client.tick(set_back + MINUTE / 2);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::TimedOut))));

    // The client is not told by how much the clock was set.
    let (mut client, ticket) = half_waited();
    client.tick(set_back);
    assert!(client.next_wake().is_some_and(|(at, _)| at <= set_back + MINUTE));
    client.tick(set_back + MINUTE);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::TimedOut))));

    // The caller gives a time-out of its own.
    let mut client = common::client();
    let ticket = client.call_within(LSP, &ASK, HOUR, NOON).unwrap();
    client.tick(NOON);
    client.tick(set_back);
    client.tick(just_before(set_back + HOUR));
    assert!(client.take(&ticket).is_none());
    client.tick(set_back + HOUR);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::TimedOut))));
}

#[test]
fn case_X19_an_answer_is_not_late_because_the_clock_is_set_forward() {
    let (mut client, ticket) = half_waited();
    client.clock_set(NOON + MINUTE / 2, NOON + HOUR);
    client.tick(just_before(NOON + HOUR + MINUTE / 2));
    assert!(client.take(&ticket).is_none());
    client.tick(NOON + HOUR + MINUTE / 2);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::TimedOut))));
}

#[test]
fn case_X19_an_outcome_that_nobody_takes_goes_in_time_when_the_clock_is_set_back() {
    let (mut client, _lost) = half_waited();
    client.tick(NOON + MINUTE);
    let set_back = earlier(NOON, HOUR);
    client.tick(set_back);
    client.tick(set_back + Config::default().keep_outcomes);
    assert_eq!(client.pending_calls(), 0);
}

fn earlier(instant: lsps_types::Timestamp, span: Duration) -> lsps_types::Timestamp {
    let span = u64::try_from(span.as_millis()).expect("some hours");
    lsps_types::Timestamp::from_unix_millis(instant.unix_millis() - span)
}

const MINUTE: Duration = Duration::from_secs(60);

/// A client that tells LSPs what it is.
fn told() -> Client {
    let info = ClientInfo::default().with_app("Lantern", Some("0.14.1")).expect("it is short");
    let config = Config { client_info: Some(info), ..Config::default() };
    let mut client = common::taped(config, [7; 32]);
    client.peer_connected(LSP);
    client.peer_connected(OTHER_LSP);
    client
}

fn params(request: &[u8]) -> String {
    let request = std::str::from_utf8(request).expect("text");
    let (_, rest) = request.split_once("\"params\":").expect("a request");
    rest.rsplit_once(",\"id\"").expect("an id").0.into()
}

const UNKNOWN: &str = r#"{"code":-32602,"message":"m","data":{"unrecognized":["client_info"]}}"#;

/// L0-120
#[test]
fn case_Z01_an_lsp_that_does_not_know_client_info_is_asked_once_more_without_it() {
    let ask = GetInfo { token: Some("t".into()) };
    let (_, sent) = call(&mut client(), LSP, &ask);
    assert_eq!(params(&sent), r#"{"token":"t"}"#, "nothing is told by default");

    let mut client = told();
    let (ticket, first) = call(&mut client, LSP, &ask);
    assert_eq!(params(&first), r#"{"token":"t","client_info":{"app":"Lantern","app_version":"0.14.1"}}"#);
    assert_eq!(client.receive(LSP, &answer_in_text(&first, "error", UNKNOWN)), Heard::Answer);
    assert!(client.take(&ticket).is_none(), "the call goes on");
    let again = client.drain().written().messages;
    let [(to, again)] = &again[..] else { panic!("{again:?}") };
    assert_eq!((*to, params(again)), (LSP, r#"{"token":"t"}"#.into()));
    assert_ne!(id_of(again), id_of(&first));
    assert_eq!(
        client.receive(LSP, &answer_in_text(&first, "error", UNKNOWN)),
        Heard::UnknownId,
        "that one is answered"
    );
    assert_eq!(client.receive(OTHER_LSP, &answer::<GetInfo>(again, &Menu::default())), Heard::UnknownId);
    assert_eq!(client.receive(LSP, &answer::<GetInfo>(again, &Menu::default())), Heard::Answer);
    assert_eq!(client.take(&ticket).unwrap().unwrap(), Menu::default());
    assert_eq!(client.pending_calls(), 0);
}

#[test]
fn case_Z01_the_second_answer_is_the_last_and_other_errors_are_answers() {
    let mut client = told();
    let (ticket, first) = call(&mut client, LSP, &GetInfo::default());
    let _ = client.receive(LSP, &answer_in_text(&first, "error", UNKNOWN));
    let again = client.drain().written().messages.remove(0).1;
    let _ = client.receive(LSP, &answer_in_text(&again, "error", UNKNOWN));
    assert!(client.drain().written().messages.is_empty(), "it is not asked a third time");
    assert!(matches!(client.take(&ticket), Some(Err(CallError::Refused(_)))));

    for other in [
        r#"{"code":-32602,"message":"m","data":{"unrecognized":["client_info","token"]}}"#,
        r#"{"code":-32602,"message":"m","data":{"unrecognized":[]}}"#,
        r#"{"code":-32602,"message":"m"}"#,
        r#"{"code":200,"message":"m","data":{"unrecognized":["client_info"]}}"#,
    ] {
        let (ticket, sent) = call(&mut client, LSP, &GetInfo::default());
        let _ = client.receive(LSP, &answer_in_text(&sent, "error", other));
        assert!(client.drain().written().messages.is_empty(), "{other}");
        assert!(matches!(client.take(&ticket), Some(Err(CallError::Refused(_)))), "{other}");
    }
    let (_, sent) = call(&mut client, LSP, &ASK);
    assert_eq!(params(&sent), "{}", "the method has no such parameter");
}

/// The time limit is that of the whole call, and a disconnection ends it.
#[test]
fn case_Z01_a_repeated_call_ends_as_any_other() {
    let mut client = told();
    let repeated = |client: &mut Client| {
        let (ticket, sent) = call(client, LSP, &GetInfo::default());
        let _ = client.receive(LSP, &answer_in_text(&sent, "error", UNKNOWN));
        assert_eq!(client.drain().written().messages.len(), 1);
        ticket
    };
    let ticket = repeated(&mut client);
    client.tick(NOON + HOUR);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::TimedOut))));
    let ticket = repeated(&mut client);
    client.peer_disconnected(LSP);
    assert!(matches!(client.take(&ticket), Some(Err(CallError::Disconnected))));
}

/// L0-115
#[test]
fn case_Z01_a_text_of_client_info_that_is_too_long_is_not_sent() {
    let longest = "v".repeat(ClientInfo::LONGEST_TEXT);
    assert!(ClientInfo::default().with_node("LND", Some(&longest)).is_ok());
    for too_long in ["v".repeat(65), "\u{e9}".repeat(33)] {
        let refused = ClientInfo::default().with_app("Lantern", Some(&too_long)).unwrap_err();
        assert_eq!((refused.member, refused.length), ("app_version", too_long.len()));
        assert!(ClientInfo::default().with_node(&too_long, None).is_err());
    }
}

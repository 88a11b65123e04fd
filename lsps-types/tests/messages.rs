//! Messages as bytes: each side reads what the other writes.
#![allow(non_snake_case)]

use lsps_types::{
    Msat, PeerId, Ppm, Request, Timestamp,
    codes::{BuyError, CommonError, GetInfoError},
    jsonrpc::{
        BadFormat, ErrorObject, ErrorReply, FromLsp, Incoming, InvalidParams, InvalidReply, MAX_PAYLOAD, NotARequest,
        Refusal, RequestId, TooLarge, encode_error, encode_reply, encode_request,
    },
    lsps0::{ListProtocols, Protocols},
    lsps2::{Buy, GetInfo, Menu, OpeningFeeParams, PromiseKey, Unpromised},
};
use serde_json::{Value, json};

#[test]
fn case_T01_errors_keep_their_data_and_get_a_meaning() {
    let refusal = |error: Value| error_of::<Buy>(error).refusal;
    let late = error_of::<Buy>(json!({"code": 201, "message": "late", "data": {"hint": [1]}, "extra": 1}));
    assert_eq!(late.refusal, Refusal::Method(BuyError::InvalidOpeningFeeParams));
    assert_eq!(late.to_string(), BuyError::InvalidOpeningFeeParams.to_string(), "our words, not theirs");
    assert_eq!(late.object.message.to_string(), "late");
    assert_eq!(late.object.data.unwrap().get(), r#"{"hint":[1]}"#);

    assert_eq!(refusal(json!({"code": 777, "message": ""})), Refusal::Unrecognized(777));
    assert_eq!(refusal(json!({"code": 200, "message": ""})), Refusal::Unrecognized(200));
    assert_eq!(refusal(json!({"code": -32042, "message": ""})), Refusal::Common(CommonError::Internal));
    assert_eq!(refusal(json!({"code": -32601, "message": ""})), Refusal::Common(CommonError::MethodNotFound));
    assert_eq!(
        refusal(json!({"code": 1, "message": "", "data": {"message": "no"}})),
        Refusal::ClientRejected(Some("no".into()))
    );
    assert_eq!(refusal(json!({"code": 1, "message": "", "data": "no"})), Refusal::ClientRejected(None));
    let unknown = InvalidParams { unrecognized: vec!["token".into()], ..InvalidParams::default() };
    assert_eq!(
        refusal(json!({"code": -32602, "message": "", "data": {"unrecognized": ["token"], "more": 1}})),
        Refusal::InvalidParams(unknown)
    );
    assert_eq!(refusal(json!({"code": -32602, "message": ""})), Refusal::InvalidParams(InvalidParams::default()));
}

#[test]
fn case_T16_version_outcome_and_id_are_what_json_rpc_wants() {
    let at_lsp = |text: &str| Incoming::decode(text.as_bytes()).map(|incoming| incoming.id().clone());
    for version in ["", r#""jsonrpc":"1.0","#, r#""jsonrpc":2.0,"#, r#""jsonrpc":null,"#] {
        let request = format!(r#"{{{version}"id":"a","method":"m","params":{{}}}}"#);
        assert!(matches!(at_lsp(&request), Err(NotARequest::Bad(BadFormat::Version))), "{request}");
        let response = format!(r#"{{{version}"id":"a","result":{{}}}}"#);
        assert!(matches!(FromLsp::decode(response.as_bytes()), Err(BadFormat::Version)), "{response}");
    }
    let both = r#"{"jsonrpc":"2.0","id":"a","result":{},"error":{"code":1,"message":""}}"#;
    assert!(FromLsp::decode(both.as_bytes()).is_err());
    let neither = r#"{"jsonrpc":"2.0","id":"a"}"#;
    assert!(FromLsp::decode(neither.as_bytes()).is_err());
    let with_id = |id: &str| at_lsp(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m","params":{{}}}}"#));
    assert_eq!(with_id("-7"), Ok(RequestId::Number(-7)), "echoed as it came");
    for id in ["null", "1.5", "1e3", "{}", "18446744073709551615", "-0"] {
        assert!(matches!(with_id(id), Err(NotARequest::Bad(BadFormat::Kind(_)))), "{id}");
    }
}

#[test]
fn case_T03_all_unknown_parameters_are_listed_and_a_wrong_one_is_named() {
    let invalid = params_error::<GetInfo>(json!({"version": 1, "token": 7, "x": {}}));
    assert_eq!(invalid.unrecognized, ["version", "x"]);
    assert_eq!(invalid.property.as_deref(), Some("token"));
    assert_eq!(invalid.message.unwrap().to_string(), "invalid type: integer `7`, expected a string");

    let invalid = params_error::<GetInfo>(json!({"version": 1, "token": null}));
    assert_eq!(invalid, InvalidParams { unrecognized: vec!["version".into()], ..InvalidParams::default() });

    let invalid = params_error::<Buy>(json!({}));
    assert_eq!(invalid.unrecognized, [""; 0]);
    assert_eq!(invalid.property.as_deref(), Some("opening_fee_params"));
    assert_eq!(invalid.message.unwrap().to_string(), "missing field `opening_fee_params`");

    let invalid = params_error::<Buy>(json!({"opening_fee_params": terms(), "payment_size_msat": null, "a<b": 1}));
    assert_eq!(invalid, InvalidParams { unrecognized: vec!["a<b".into()], ..InvalidParams::default() });
    assert_eq!(
        serde_json::to_value(ErrorObject::invalid_params(&InvalidParams::default())).unwrap(),
        json!({"code": -32602, "message": "Invalid params", "data": {"unrecognized": []}})
    );
}

#[test]
fn parameters_are_an_object_by_name() {
    let invalid = params_error::<ListProtocols>(json!([1]));
    assert_eq!((invalid.unrecognized.len(), invalid.message.unwrap().to_string()), (0, "not an object".into()));
    let fields = json!(["1", 1, "2026-03-01T13:00:00Z", 1, 1, "1", "2", "p"]);
    let invalid = params_error::<Buy>(json!({"opening_fee_params": fields}));
    assert_eq!(invalid.property.as_deref(), Some("opening_fee_params"));
}

/// An LSP has a separate error for wrong terms, so it has to distinguish them from wrong parameters.
#[test]
fn what_is_wrong_within_the_terms_is_named_by_its_path() {
    let property = |terms: Value| params_error::<Buy>(json!({"opening_fee_params": terms})).property.unwrap();
    let with = |key: &str, value: Value| {
        let mut terms = terms();
        terms[key] = value;
        terms
    };
    assert_eq!(property(with("x", json!(1))), "opening_fee_params.x");
    assert_eq!(property(with("min_lifetime", json!("1"))), "opening_fee_params.min_lifetime");
    assert_eq!(property(with("promise", json!("é".repeat(257)))), "opening_fee_params.promise");
    assert_eq!(property(json!({})), "opening_fee_params.min_fee_msat");
    for no_terms in [json!([terms()]), json!(null), json!("x")] {
        assert_eq!(property(no_terms), "opening_fee_params");
    }
}

#[test]
fn case_T08_escapes_key_order_and_white_space_are_read() {
    let request = concat!(
        " {\"par\\u0061ms\":{\"t\\u006fken\":\"\\u0053\"}\t,\n\"id\": \"\\u0000\\u00e9\\ud83d\\ude00\" ,",
        "\"jsonrpc\":\"2\\u002e0\",\r\n\"method\":\"\\u006csps2.get\\u005finfo\",\"trace\":[]} "
    );
    let incoming = Incoming::decode(request.as_bytes()).unwrap();
    assert_eq!(*incoming.id(), RequestId::Text("\0é😀".into()));
    assert_eq!(incoming.method_name(), "lsps2.get_info");
    assert_eq!(incoming.params(), Ok(GetInfo { token: Some("S".into()) }));

    let error = encode_error(incoming.id(), &ErrorObject::of_method(GetInfoError::UnrecognizedOrStaleToken));
    let text = String::from_utf8(error).unwrap();
    assert!(text.starts_with(r#"{"jsonrpc":"2.0","id":"\u0000é😀","error":{"code":200,"#), "{text}");
}

#[test]
fn an_lsp_answers_all_but_requests_with_a_parse_error() {
    let decode = |text: &str| Incoming::decode(text.as_bytes()).map(|incoming| incoming.id().clone());
    let with_id = |id: &str| decode(&format!(r#"{{"jsonrpc":"2.0","method":"lsps0.list_protocols","id":{id}}}"#));
    assert_eq!(with_id("-7"), Ok(RequestId::Number(-7)));
    assert_eq!(with_id("\"\""), Ok(RequestId::Text(String::new())));
    assert!(with_id(&format!("{:?}", "é".repeat(128))).is_ok());
    let long = format!("{:?}", "a".repeat(257));
    for id in ["null", "1.0", "1e3", "-0", "9223372036854775808", "{}", "[1]", "true", &long] {
        assert!(matches!(with_id(id), Err(NotARequest::Bad(BadFormat::Kind(_)))), "{id}");
    }

    let uncorrelated = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#;
    assert_eq!(decode(uncorrelated), Err(NotARequest::UncorrelatedError));
    for response in [r#"{"jsonrpc":"2.0","id":"a","error":{}}"#, r#"{"jsonrpc":"2.0","id":null,"result":{}}"#] {
        assert!(matches!(decode(response), Err(NotARequest::Bad(BadFormat::Kind(_)))));
    }
    assert_eq!(Incoming::decode(b"\xff{}").unwrap_err(), BadFormat::NotUtf8.into());
    assert_eq!(Incoming::decode(&[b' '; MAX_PAYLOAD + 1]).unwrap_err(), BadFormat::TooLong.into());
    assert_eq!(
        String::from_utf8(Incoming::decode(b"{}").unwrap_err().answer().unwrap()).unwrap(),
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#
    );
}

/// This is the example of docs/cores.md.
#[test]
fn case_X54_two_services_that_answer_each_other_fall_silent() {
    fn answer(payload: &[u8]) -> Option<Vec<u8>> {
        let request = match Incoming::decode(payload) {
            Ok(request) => request,
            Err(not_one) => return not_one.answer(),
        };
        Some(match request.params::<GetInfo>() {
            Ok(GetInfo { token: _ }) => encode_reply::<GetInfo>(request.id(), &Menu::default()),
            Err(invalid) => encode_error(request.id(), &ErrorObject::invalid_params(&invalid)),
        })
    }
    let firsts = [
        r#"{"jsonrpc":"2.0","id":"a","method":"lsps2.get_info","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":"a","method":"lsps2.get_info","params":{"version":1}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
        "no JSON",
    ];
    for first in firsts {
        let mut said = Some(first.as_bytes().to_vec());
        for _ in 0..4 {
            said = said.and_then(|payload| answer(&payload));
        }
        assert_eq!(said, None, "{first}");
    }
}

/// L0-016
#[test]
fn no_payload_is_too_long() {
    let token = |bytes| GetInfo { token: Some("t".repeat(bytes)) };
    let overhead = encode_request("i", &token(0)).unwrap().len();
    assert_eq!(encode_request("i", &token(MAX_PAYLOAD - overhead)).unwrap().len(), MAX_PAYLOAD);
    assert_eq!(encode_request("i", &token(MAX_PAYLOAD - overhead + 1)), Err(TooLarge));

    let id = RequestId::Text("\u{1}".repeat(256));
    let menu = Menu { opening_fee_params_menu: vec![serde_json::from_value(terms()).unwrap(); 1_000] };
    let answer: Value = serde_json::from_slice(&encode_reply::<GetInfo>(&id, &menu)).unwrap();
    assert_eq!(answer["error"]["code"], -32603);

    let names = InvalidParams { unrecognized: vec!["n".repeat(MAX_PAYLOAD)], ..InvalidParams::default() };
    let answer: Value = serde_json::from_slice(&encode_error(&id, &ErrorObject::invalid_params(&names))).unwrap();
    assert_eq!(answer["error"]["data"], json!({"unrecognized": []}));
    let wordy = ErrorObject::client_rejected(&"n".repeat(MAX_PAYLOAD));
    let answer: Value = serde_json::from_slice(&encode_error(&id, &wordy)).unwrap();
    assert_eq!(answer["error"], json!({"code": 1, "message": "Client rejected"}));
}

#[test]
fn a_client_takes_only_responses_and_notifications() {
    let decode = |rest: &str| FromLsp::decode(format!(r#"{{"jsonrpc":"2.0",{rest}}}"#).as_bytes()).map(|_| ());
    for good in [r#""id":1,"result":{}"#, r#""id":null,"result":1,"error":null"#, r#""method":"x""#] {
        assert_eq!(decode(good), Ok(()), "{good}");
    }
    for bad in [
        r#""id":"i""#,
        r#""id":"i","result":null,"error":null"#,
        r#""id":"i","result":{},"error":{"code":1,"message":""}"#,
        r#""id":"i","error":{"code":1.0,"message":""}"#,
        r#""id":"i","error":{"code":1}"#,
        r#""id":"i","error":[1,"m"]"#,
        r#""id":null,"method":"x""#,
        r#""method":"x","result":{}"#,
        r#""method":1"#,
        r#""result":{}"#,
    ] {
        assert!(matches!(decode(bad), Err(BadFormat::Kind(_))), "{bad}");
    }
}

#[test]
fn unknown_members_of_a_result_are_skipped() {
    let reply = reply::<ListProtocols>(json!({"protocols": [1, 65000], "x": {"y": [[]]}}));
    assert_eq!(reply, Ok(Protocols { protocols: vec![1, 65000] }));
}

#[test]
fn case_W01_odd_terms_spoil_the_menu() {
    let with = |key: &str, value: Value| {
        let mut second = terms();
        second[key] = value;
        reply::<GetInfo>(json!({"opening_fee_params_menu": [terms(), second]}))
    };
    let unknown = with("base_fee_msat", json!("1")).unwrap_err();
    assert_eq!(unknown.path, "opening_fee_params_menu[1].base_fee_msat");
    let long = with("promise", json!("a".repeat(513))).unwrap_err();
    assert_eq!(long.path, "opening_fee_params_menu[1].promise");
    assert_eq!(long.message.to_string(), "a promise has at most 512 bytes");
    for promise in ["a".repeat(512), "\"".repeat(256), "é".repeat(256), "\u{1}".repeat(85), String::new()] {
        assert_eq!(with("promise", json!(promise)).unwrap().opening_fee_params_menu[1].promise.as_str(), promise);
    }
    assert!(with("promise", json!("\"".repeat(257))).is_err());
    assert!(with("promise", json!("\u{1}".repeat(86))).is_err());
}

#[test]
fn case_W02_terms_are_echoed_as_they_came() {
    for valid_until in ["2026-03-01T13:00:00Z", "2026-03-01T13:00:00.123456789Z", "2026-03-01T13:00:00.5+00:00"] {
        let mut entry = terms();
        entry["valid_until"] = json!(valid_until);
        entry["promise"] = json!("é\" 1e5 \u{1}");
        let menu = reply::<GetInfo>(json!({"opening_fee_params_menu": [entry]})).unwrap();
        let [terms] = <[OpeningFeeParams; 1]>::try_from(menu.opening_fee_params_menu).unwrap();

        let buy = Buy { opening_fee_params: terms, payment_size_msat: Some(Msat(10_000_000)) };
        let request: Value = serde_json::from_slice(&encode_request("i", &buy).unwrap()).unwrap();
        assert_eq!(request["params"], json!({"opening_fee_params": entry, "payment_size_msat": "10000000"}));
    }
}

/// Serde quotes values that do not fit, so a peer could otherwise make us write and show any amount of text.
#[test]
fn case_T14_what_quotes_a_peer_is_safe_and_bounded() {
    let invalid = params_error::<GetInfo>(json!({"token": ["x<\u{1b}".repeat(100)]}));
    assert_eq!(invalid.property.as_deref(), Some("token"));
    let invalid = params_error::<Buy>(json!({"opening_fee_params": "x<\u{1b}".repeat(5_000)}));
    assert!(invalid.message.unwrap().unfiltered().chars().count() < 300);

    let odd = reply::<GetInfo>(json!({"opening_fee_params_menu": [{"<b>\n".repeat(1_000): 1}]})).unwrap_err();
    assert!(odd.path.starts_with("opening_fee_params_menu[0].bb"), "{odd}");
    assert!(odd.to_string().chars().count() < 320 && !odd.to_string().contains(['<', '\n']));

    let error = error_of::<Buy>(json!({"code": 1, "message": "a\u{0}<b>\r\nc\u{1b}[31m\u{9b}\u{2028}\u{202e}é"}));
    assert_eq!(error.object.message.to_string(), "abc[31mé");
    let error = error_of::<Buy>(json!({"code": 1, "message": "x<".repeat(30_000)}));
    assert_eq!(error.object.message.to_string(), "x".repeat(256) + "…");
}

#[test]
fn what_is_optional_is_left_out_and_never_null() {
    let buy = Buy { opening_fee_params: serde_json::from_value(terms()).unwrap(), payment_size_msat: None };
    let request = String::from_utf8(encode_request("i", &buy).unwrap()).unwrap();
    assert!(!request.contains("null") && !request.contains("\"payment_size_msat\""));
}

fn terms() -> Value {
    json!({
        "min_fee_msat": "546000",
        "proportional": 1200,
        "valid_until": "2026-03-01T13:00:00.000Z",
        "min_lifetime": 1008,
        "max_client_to_self_delay": 2016,
        "min_payment_size_msat": "1000000",
        "max_payment_size_msat": "100000000",
        "promise": "p0-6f1c",
    })
}

fn params_error<R: Request + core::fmt::Debug>(params: Value) -> InvalidParams {
    let request = json!({"jsonrpc": "2.0", "id": "i", "method": R::METHOD.name(), "params": params}).to_string();
    Incoming::decode(request.as_bytes()).unwrap().params::<R>().unwrap_err()
}

fn reply<R: Request>(result: Value) -> Result<R::Reply, InvalidReply> {
    let response = json!({"jsonrpc": "2.0", "id": "i", "result": result}).to_string();
    match FromLsp::decode(response.as_bytes()) {
        Ok(FromLsp::Response { outcome: Ok(raw), .. }) => raw.reply::<R>(),
        other => panic!("{other:?}"),
    }
}

fn error_of<R: Request>(error: Value) -> ErrorReply<R::Error> {
    let response = json!({"jsonrpc": "2.0", "id": "i", "error": error}).to_string();
    match FromLsp::decode(response.as_bytes()) {
        Ok(FromLsp::Response { outcome: Err(error), .. }) => error.typed(),
        other => panic!("{other:?}"),
    }
}

/// A promise is kept as long as its terms say, for the payments that the terms allow.
#[test]
fn case_X55_a_promise_alone_does_not_make_a_sale() {
    const NOON: Timestamp = Timestamp::from_unix_millis(1_767_268_800_000);
    let (key, client) = (PromiseKey::new([9; 32]), PeerId([2; 33]));
    let terms = Unpromised {
        min_fee_msat: Msat(2_000),
        proportional: Ppm(10_000),
        valid_until: NOON.into(),
        min_lifetime: 1_008,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: Msat(1_000),
        max_payment_size_msat: Msat(100_000_000),
    };
    let opening_fee_params = key.issue(terms, client, Some("coupon")).unwrap();
    let asks = |size: Option<u64>, by, now| {
        let buy = Buy { opening_fee_params: opening_fee_params.clone(), payment_size_msat: size.map(Msat) };
        assert!(key.verify(&buy.opening_fee_params, client).is_ok(), "that is all the same to the promise");
        key.check(&buy, by, now)
    };
    let later = NOON + std::time::Duration::from_millis(1);
    assert_eq!(asks(Some(2_001), client, NOON), Ok(Some("coupon".into())));
    assert_eq!(asks(None, client, NOON), Ok(Some("coupon".into())));
    assert_eq!(asks(None, client, later), Err(BuyError::InvalidOpeningFeeParams), "expired");
    assert_eq!(asks(None, PeerId([3; 33]), NOON), Err(BuyError::InvalidOpeningFeeParams), "another client");
    assert_eq!(asks(Some(999), client, NOON), Err(BuyError::PaymentSizeTooSmall));
    assert_eq!(asks(Some(2_000), client, NOON), Err(BuyError::PaymentSizeTooSmall), "nothing is left of it");
    assert_eq!(asks(Some(100_000_001), client, NOON), Err(BuyError::PaymentSizeTooLarge));
}

//! Rules that hold for every message.

use lsps_types::bolt4::FailureCode;
use lsps_types::codes::{
    BuyError, CommonError, CreateOrderError, GetInfoError, GetOrderError, MethodError, NoError, RemoveWebhookError,
    SetWebhookError,
};
use lsps_types::jsonrpc::{ErrorObject, Refusal, encode_request};
use lsps_types::lsps2::{Buy, GetInfo, OpeningFeeParams, Promise};
use lsps_types::lsps5::{ListWebhooks, RemoveWebhook, SetWebhook};
use lsps_types::{Address, DateTime, Method, Msat, OutPoint, Ppm, Request, Sat, Timestamp, lsps0, lsps1};
use serde_json::{Value, json};

/// One message of each kind, as an ordinary client sends it.
fn requests() -> Vec<Vec<u8>> {
    let opening_fee_params = OpeningFeeParams {
        min_fee_msat: Msat(1_000_000),
        proportional: Ppm(4_000),
        valid_until: DateTime::from(Timestamp::from_unix_millis(1_767_268_800_000)),
        min_lifetime: 4_320,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: Msat(1_000),
        max_payment_size_msat: Msat(u64::MAX),
        promise: Promise::received("p".repeat(512)).expect("short enough"),
    };
    let order = lsps1::CreateOrder {
        lsp_balance_sat: Sat(u64::MAX),
        client_balance_sat: Sat(u64::MAX),
        required_channel_confirmations: u16::MAX,
        funding_confirms_within_blocks: u16::MAX,
        channel_expiry_blocks: u32::MAX,
        token: None,
        refund_onchain_address: "bcrt1q9e7jcqaf2pawye0v7k6n26y955ee8gszrwzkyg".parse().ok(),
        announce_channel: false,
    };
    vec![
        request(&lsps0::ListProtocols {}),
        request(&lsps1::GetInfo {}),
        request(&order),
        request(&lsps1::GetOrder { order_id: "5f0c3e9a-77d1-428e-9b6a-0123456789ab".into() }),
        request(&GetInfo { token: None }),
        request(&Buy { opening_fee_params, payment_size_msat: Some(Msat(u64::MAX)) }),
        request(&SetWebhook { app_name: "an app".into(), webhook: "https://push.example.org/n".into() }),
        request(&ListWebhooks {}),
        request(&RemoveWebhook { app_name: "an app".into() }),
    ]
}

fn request<R: Request>(request: &R) -> Vec<u8> {
    encode_request("5f0c3e9a77d1428e9b6a5f0c3e9a77d1", request).expect("it is short")
}

/// L0-017
#[test]
fn ordinary_requests_are_small() {
    assert_eq!(requests().len(), Method::ALL.len(), "each method is here");
    for request in requests() {
        assert!(request.len() < 1_000, "{}", String::from_utf8_lossy(&request));
    }
}

/// L0-033
#[test]
fn methods_are_named_after_their_specification() {
    for method in Method::ALL {
        let (prefix, name) = method.name().split_once('.').expect("a dot");
        assert_eq!(prefix, format!("lsps{}", method.lsps()));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
    }
}

/// L0-052: the codes of a method lie in the hundred of its specification, except 1010 (reading R-31).
#[test]
fn codes_are_numbered_after_their_specification() {
    fn are_of<E: MethodError>(lsps: i64, errors: &[E]) {
        for error in errors {
            let code = ErrorObject::of_method(*error).code;
            assert!((100 * lsps..100 * lsps + 100).contains(&code) || code == 1_010, "{error:?} is {code}");
        }
    }
    are_of(1, &[CreateOrderError::OptionMismatch, CreateOrderError::UnrecognizedOrStaleToken]);
    are_of(1, &[GetOrderError::NotFound]);
    are_of(2, &[GetInfoError::UnrecognizedOrStaleToken]);
    are_of(2, &[BuyError::InvalidOpeningFeeParams, BuyError::PaymentSizeTooSmall, BuyError::PaymentSizeTooLarge]);
    are_of(5, &[SetWebhookError::TooLong, SetWebhookError::UrlParse, SetWebhookError::UnsupportedProtocol]);
    are_of(5, &[SetWebhookError::TooManyWebhooks]);
    are_of(5, &[RemoveWebhookError::AppNameNotFound]);
}

/// L0-079
#[test]
fn what_needs_no_escape_has_none() {
    let hook =
        SetWebhook { app_name: "café ☕ / 'x'".into(), webhook: "https://push.example.org/n?a=1&b=<2>".into() };
    let text = String::from_utf8(request(&hook)).expect("UTF-8");
    assert!(!text.contains('\\'), "{text}");
    assert!(text.contains(&hook.app_name) && text.contains(&hook.webhook), "{text}");
}

/// L0-109
#[test]
fn an_output_has_an_index_of_16_bits() {
    let output = |index: u32| format!("{}:{index}", "ab".repeat(32)).parse::<OutPoint>();
    assert_eq!(output(65_535).map(|output| output.index), Ok(65_535));
    assert!(output(65_536).is_err());
}

/// L2-098: the numbers of BOLT 4, and `mpp_timeout` (23) is not among them.
#[test]
fn failures_have_the_numbers_of_bolt_4() {
    assert_eq!(FailureCode::TemporaryChannelFailure.number(), 0x1000 | 7);
    assert_eq!(FailureCode::UnknownNextPeer.number(), 0x4000 | 10);
}

/// L0-041
#[test]
fn a_generic_error_can_answer_any_method() {
    let internal = ErrorObject::internal().typed::<NoError>().refusal;
    assert_eq!(internal, Refusal::Common(CommonError::Internal));
    assert_eq!(
        ErrorObject::internal().typed::<<Buy as Request>::Error>().refusal,
        Refusal::Common(CommonError::Internal)
    );
}

/// L0-081: each string of digits is an amount, and its name ends in the unit.
#[test]
fn amounts_and_only_amounts_end_in_their_unit() {
    fn look(name: &str, value: &Value) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| look(name, value)),
            Value::Array(items) => items.iter().for_each(|item| look(name, item)),
            Value::String(text) => {
                let digits = text.bytes().all(|b| b.is_ascii_digit());
                assert_eq!(digits, name.ends_with("_sat") || name.ends_with("_msat"), "{name}: {text}");
            }
            Value::Number(_) => assert!(!name.ends_with("sat"), "{name}"),
            Value::Null | Value::Bool(_) => {}
        }
    }
    for request in requests() {
        look("", &serde_json::from_slice(&request).expect("JSON"));
    }
    let options = json!({
        "min_required_channel_confirmations": 0, "min_funding_confirms_within_blocks": 6,
        "supports_zero_channel_reserve": false, "max_channel_expiry_blocks": 1,
        "min_initial_client_balance_sat": "0", "max_initial_client_balance_sat": "1",
        "min_initial_lsp_balance_sat": "0", "max_initial_lsp_balance_sat": "1",
        "min_channel_balance_sat": "0", "max_channel_balance_sat": "1",
    });
    let options: lsps1::Options = serde_json::from_value(options).expect("options");
    look("", &json!(options));
}

/// L0-099
#[test]
fn the_kinds_of_address_that_every_reader_knows_are_told_apart() {
    let is_common = |text: &str| text.parse::<Address>().expect("an address").is_common();
    assert!(is_common("bc1qe2tczyk2rw7u47kzxxee5g7ufkncdmlcpmw3pk"));
    assert!(is_common("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"));
    assert!(!is_common("bc1s8ausvjv48f"));
}

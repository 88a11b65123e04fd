//! Stories of terms: the offered ones, the chosen one, and the contents of the invoice.
#![allow(non_snake_case)]

mod common;

use std::time::Duration;

use common::{BOUGHT, DAY, FEE, HOUR, LSP, NOON, PARAMS, SIZE, blocks, buy, client, hash, outcome, prepared, terms};
use lsps_client::CallError;
use lsps_client::jit_receive::{
    AcceptTrust, CannotInvoice, FeeLimits, InvoiceParams, Payment, ReceiveRequest, Rules, Unfit, choose, prepare,
};
use lsps_types::lsps2::{Bought, GetInfo, Menu, OpeningFeeParams};
use lsps_types::{Msat, Ppm};

fn request(payment: Payment) -> ReceiveRequest {
    ReceiveRequest { payment, limits: FeeLimits::UNLIMITED, expiry: None }
}

fn menu(entries: &[OpeningFeeParams]) -> Menu {
    Menu { opening_fee_params_menu: entries.to_vec() }
}

// Choosing

#[test]
fn the_cheapest_terms_for_the_amount_win_in_whatever_order_they_come() {
    let flat = OpeningFeeParams { min_fee_msat: Msat(9_000), proportional: Ppm(0), ..terms() };
    let steep = OpeningFeeParams { min_fee_msat: Msat(0), proportional: Ppm(10_000), ..terms() };
    for entries in [[flat.clone(), steep.clone()], [steep.clone(), flat.clone()]] {
        let small = choose(&menu(&entries), &request(Payment::Fixed(Msat(700_000))), &Rules::default(), NOON).unwrap();
        assert_eq!((small.params, small.fee), (steep.clone(), Msat(7_000)));
        let large =
            choose(&menu(&entries), &request(Payment::Fixed(Msat(1_000_000))), &Rules::default(), NOON).unwrap();
        assert_eq!((large.params, large.fee), (flat.clone(), Msat(9_000)));
    }
}

#[test]
fn of_equally_cheap_terms_those_valid_longest_win() {
    let longer = OpeningFeeParams { valid_until: (NOON + 2 * HOUR).into(), ..terms() };
    for entries in [[terms(), longer.clone()], [longer.clone(), terms()]] {
        assert_eq!(
            choose(&menu(&entries), &request(Payment::Fixed(SIZE)), &Rules::default(), NOON).unwrap().params,
            longer
        );
    }
}

#[test]
fn case_X51_terms_that_last_as_long_as_is_wanted_are_preferred_to_cheaper_ones() {
    let dear = OpeningFeeParams { proportional: Ppm(20_000), valid_until: (NOON + DAY).into(), ..terms() };
    let chosen = |expiry| {
        let request = ReceiveRequest { expiry, ..request(Payment::Fixed(SIZE)) };
        let choice = choose(&menu(&[terms(), dear.clone()]), &request, &Rules::default(), NOON).unwrap();
        (choice.fee, choice.lasts)
    };
    assert_eq!(chosen(None), (FEE, true), "the cheapest, however long it lasts");
    assert_eq!(chosen(Some(HOUR)), (FEE, true));
    assert_eq!(chosen(Some(HOUR + Duration::from_millis(1))), (Msat(20_000), true));
    assert_eq!(chosen(Some(DAY)), (Msat(20_000), true));
    assert_eq!(chosen(Some(2 * DAY)), (FEE, false), "none does: the cheapest, and it says so");
    let request = ReceiveRequest { limits: FeeLimits::total(FEE), expiry: Some(DAY), ..request(Payment::Fixed(SIZE)) };
    let choice = choose(&menu(&[terms(), dear]), &request, &Rules::default(), NOON).unwrap();
    assert_eq!((choice.fee, choice.lasts), (FEE, false), "within the limits in any case");
}

#[test]
fn case_X52_terms_that_leave_next_to_nothing_are_not_bought() {
    let rules = Rules::default();
    let size = Msat(rules.least_net.0 + 10_000);
    let leaving = |less: u64| OpeningFeeParams { min_fee_msat: Msat(10_000 + less), proportional: Ppm(0), ..terms() };
    let choose = |entry| choose(&menu(&[entry]), &request(Payment::Fixed(size)), &rules, NOON);
    assert!(choose(leaving(0)).is_ok(), "exactly the least");
    let too_little = Unfit::LeavesTooLittle { net: Msat(rules.least_net.0 - 1), least: rules.least_net };
    assert_eq!(choose(leaving(1)).unwrap_err().reasons, [too_little]);
    let prepare = |less| {
        let buy = lsps_types::lsps2::Buy { opening_fee_params: leaving(less), payment_size_msat: Some(size) };
        prepare(LSP, &buy, &BOUGHT, &PARAMS, &rules, NOON)
    };
    assert!(prepare(0).is_ok());
    let refused = CannotInvoice::LeavesTooLittle { fee: Msat(10_001), least: rules.least_net };
    assert_eq!(prepare(1), Err(refused), "nor by an application that chose by itself");
}

/// An application cannot leave out a limit by accident: the absence of a limit has to be stated.
#[test]
fn case_X37_a_limit_is_named_or_its_absence_is() {
    let entry = OpeningFeeParams { min_fee_msat: Msat(20_001), proportional: Ppm(0), ..terms() };
    let refused = |limits| {
        let request = ReceiveRequest { limits, ..request(Payment::Fixed(SIZE)) };
        choose(&menu(std::slice::from_ref(&entry)), &request, &Rules::default(), NOON).err().map(|no| no.reasons)
    };
    assert_eq!(refused(FeeLimits::total(Msat(20_001))), None);
    assert_eq!(refused(FeeLimits::total(Msat(20_000))), Some(vec![Unfit::FeeAboveLimit { fee: Msat(20_001) }]));
    assert_eq!(refused(FeeLimits::share(Ppm(20_001))), None);
    assert_eq!(refused(FeeLimits::share(Ppm(20_000))), Some(vec![Unfit::FeeAboveShare { fee: Msat(20_001) }]));
    assert_eq!(refused(FeeLimits::UNLIMITED), None, "whoever wants none says so: there is no default");
}

#[test]
fn case_W01_an_entry_with_an_unknown_field_or_a_long_promise_ends_the_flow() {
    let entry = |extra: &str, promise: &str| {
        format!(
            r#"{{"opening_fee_params_menu":[{{"min_fee_msat":"2000","proportional":1,"valid_until":"2026-01-01T13:00:00Z",
            "min_lifetime":1,"max_client_to_self_delay":2016,"min_payment_size_msat":"1","max_payment_size_msat":"9",
            "promise":"{promise}"{extra}}}]}}"#
        )
    };
    let ask = GetInfo { token: None };
    assert!(outcome(&ask, "result", &entry("", &"p".repeat(512))).is_ok());
    for bad in [entry(r#","base_fee_msat":"1""#, "p"), entry("", &"p".repeat(513))] {
        let Err(CallError::InvalidReply(why)) = outcome(&ask, "result", &bad) else { panic!("it was read: {bad}") };
        assert!(why.path.starts_with("opening_fee_params_menu[0]"), "{}", why.path);
    }
}

#[test]
fn case_W02_valid_until_is_echoed_byte_for_byte() {
    for text in ["2026-01-01T13:00:00Z", "2026-01-01T13:00:00.5Z", "2026-01-01T13:00:00.123456789Z"] {
        let entry = OpeningFeeParams { valid_until: text.parse().unwrap(), ..terms() };
        let choice = choose(&menu(&[entry]), &request(Payment::Fixed(SIZE)), &Rules::default(), NOON).unwrap();
        let mut client = client();
        let (_, sent) = common::call(&mut client, LSP, &choice.buy());
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.contains(&format!(r#""valid_until":"{text}""#)), "{sent}");
        assert!(sent.contains(r#""payment_size_msat":"1000000""#), "{sent}");
    }
}

/// L2-056
#[test]
fn a_payment_of_any_size_is_bought_without_a_size() {
    let request = request(Payment::Variable { expected: SIZE });
    let choice = choose(&menu(&[terms()]), &request, &Rules::default(), NOON).unwrap();
    assert_eq!((choice.fee, choice.buy().payment_size_msat), (FEE, None));
}

/// L2-050, L2-060
#[test]
fn case_W03_absurd_terms_are_refused_and_the_reason_is_named() {
    let valid_for = |span| OpeningFeeParams { valid_until: (NOON + span).into(), ..terms() };
    let absurd = [
        (valid_for(Duration::from_secs(1)), Unfit::ExpiresTooSoon),
        (OpeningFeeParams { min_payment_size_msat: Msat(200_000_000), ..terms() }, Unfit::EmptyRange),
        (
            OpeningFeeParams { min_payment_size_msat: Msat(1_000_001), ..terms() },
            Unfit::PaymentTooSmall { min: Msat(1_000_001) },
        ),
        (
            OpeningFeeParams { max_payment_size_msat: Msat(999_999), ..terms() },
            Unfit::PaymentTooLarge { max: Msat(999_999) },
        ),
        (OpeningFeeParams { max_client_to_self_delay: 143, ..terms() }, Unfit::SelfDelayTooShort { max: blocks(143) }),
        (OpeningFeeParams { min_fee_msat: SIZE, ..terms() }, Unfit::FeeSwallowsPayment { fee: SIZE }),
        (OpeningFeeParams { proportional: Ppm(10_001), ..terms() }, Unfit::FeeAboveShare { fee: Msat(10_001) }),
        (OpeningFeeParams { min_fee_msat: Msat(20_001), ..terms() }, Unfit::FeeAboveLimit { fee: Msat(20_001) }),
    ];
    let limits = FeeLimits { max_total_fee: Some(Msat(20_000)), max_proportional_fee: Some(Ppm(10_000)) };
    let limited = ReceiveRequest { payment: Payment::Fixed(SIZE), limits, expiry: None };
    for (entry, reason) in &absurd {
        let refused = choose(&menu(std::slice::from_ref(entry)), &limited, &Rules::default(), NOON).unwrap_err();
        assert_eq!(refused.reasons, [*reason]);
    }
    let all: Vec<_> = absurd.iter().map(|(entry, _)| entry.clone()).collect();
    let refused = choose(&menu(&all), &limited, &Rules::default(), NOON).unwrap_err();
    assert_eq!(refused.reasons, absurd.map(|(_, reason)| reason), "entry by entry");
    assert!(choose(&menu(&[terms()]), &limited, &Rules::default(), NOON).is_ok(), "at the limit is within it");

    let huge = OpeningFeeParams { max_payment_size_msat: Msat(u64::MAX), ..terms() };
    let refused =
        choose(&menu(&[huge]), &request(Payment::Fixed(Msat(u64::MAX))), &Rules::default(), NOON).unwrap_err();
    assert_eq!(refused.reasons, [Unfit::FeeOverflow]);
    assert!(choose(&menu(&[]), &limited, &Rules::default(), NOON).unwrap_err().reasons.is_empty(), "nothing on offer");

    let slow = Bought { lsp_cltv_expiry_delta: 2_017, ..BOUGHT };
    let refused = prepare(LSP, &buy(Some(SIZE)), &slow, &PARAMS, &Rules::default(), NOON).unwrap_err();
    assert_eq!(refused, CannotInvoice::CltvDeltaTooLarge { delta: 2_017, max: 2_016 });
    let unreadable = r#"{"jit_channel_scid":"1x2x3","lsp_cltv_expiry_delta":70000}"#;
    assert!(matches!(outcome(&buy(None), "result", unreadable), Err(CallError::InvalidReply(_))));
}

// The invoice

/// L2-007, L2-074, L2-075
#[test]
fn case_W07_an_LSP_that_wants_trust_is_refused_before_any_invoice_exists_unless_the_rules_say_yes() {
    let (bought, buy) = (Bought { client_trusts_lsp: true, ..BOUGHT }, buy(Some(SIZE)));
    let refused = prepare(LSP, &buy, &bought, &PARAMS, &Rules::default(), NOON);
    assert_eq!(refused, Err(CannotInvoice::TrustRefused));

    let trusting = Rules { accept_trust: AcceptTrust::Yes, ..Rules::default() };
    let prepared = prepare(LSP, &buy, &bought, &PARAMS, &trusting, NOON).unwrap();
    let mut client = client();
    client.register(&prepared, hash(1), NOON).unwrap();
    assert!(client.purchase(hash(1)).unwrap().terms().client_trusts_lsp, "and it stays visible");

    let patient = InvoiceParams { confirmations_to_wait: 1, ..PARAMS };
    let refused = prepare(LSP, &buy, &bought, &patient, &trusting, NOON);
    assert_eq!(refused, Err(CannotInvoice::CannotWaitWhenClientTrustsLsp));
}

/// L2-059, L2-076, L2-089, L2-090
#[test]
fn case_W08_the_invoice_has_one_free_hop_a_larger_final_delta_and_ends_with_the_purchase() {
    let fixed = prepared(LSP, &buy(Some(SIZE))).invoice;
    assert_eq!(
        (fixed.hint.node_id, fixed.hint.scid, fixed.hint.cltv_expiry_delta),
        (LSP, BOUGHT.jit_channel_scid, 144)
    );
    assert_eq!((fixed.amount, fixed.basic_mpp, fixed.min_final_cltv_expiry_delta), (Some(SIZE), true, 146));
    assert_eq!((fixed.timestamp, fixed.expiry_secs), (NOON, 3_600));

    let variable = prepared(LSP, &buy(None)).invoice;
    assert_eq!((variable.amount, variable.basic_mpp), (None, false));

    let preparing =
        |params, now| prepare(LSP, &buy(Some(SIZE)), &BOUGHT, &params, &Rules::default(), now).map(|p| p.invoice);
    assert_eq!(
        preparing(InvoiceParams { confirmations_to_wait: 6, ..PARAMS }, NOON).unwrap().min_final_cltv_expiry_delta,
        152
    );
    let short = preparing(InvoiceParams { expiry: Some(Duration::from_secs(600)), ..PARAMS }, NOON);
    assert_eq!(short.unwrap().expiry_secs, 600);
    assert_eq!(preparing(InvoiceParams { expiry: Some(DAY), ..PARAMS }, NOON).unwrap().expiry_secs, 3_600);
    let too_many = InvoiceParams { confirmations_to_wait: u16::MAX, ..PARAMS };
    assert_eq!(preparing(too_many, NOON), Err(CannotInvoice::FinalDeltaTooLarge));
    assert_eq!(preparing(PARAMS, NOON + HOUR), Err(CannotInvoice::Expired));

    for late in [1, 999, 1_000, 1_999, 3_598_999] {
        let now = NOON + Duration::from_millis(late);
        let invoice = preparing(PARAMS, now).unwrap();
        assert!(invoice.timestamp <= now);
        let end = invoice.timestamp + Duration::from_secs(invoice.expiry_secs);
        assert!(end <= NOON + HOUR, "made {late} ms late, it outlives the purchase");
    }
}

//! Properties that hold for any input.

mod common;

use common::{answers, comes_back, id};
use lsps_types::{
    DateTime, Msat, PeerId, Ppm, Scid, Timestamp,
    jsonrpc::{FromLsp, Incoming},
    lsps0::{ListProtocols, Protocols},
    lsps2::{
        Bought, Buy, GetInfo, Menu, NotPromised, OpeningFeeParams, Promise, PromiseKey, Unpromised,
        fee::{FeeTerms, opening_fee, split},
    },
};
use proptest::{collection::vec, option, prelude::*};

proptest! {
    /// The model computes in unbounded whole numbers and checks the bounds of the spec after each step. L2-044
    #[test]
    fn the_fee_is_what_the_formula_says(size in amount(), min_fee in amount(), ppm in share()) {
        let fits = |n: u128| u64::try_from(n).ok();
        let model = fits(u128::from(size) * u128::from(ppm))
            .and_then(|scaled| fits(u128::from(scaled) + 999_999))
            .map(|sum| Msat((sum / 1_000_000).max(min_fee)));
        prop_assert_eq!(opening_fee(Msat(size), Msat(min_fee), Ppm(ppm)), model);
    }

    #[test]
    fn a_single_part_carries_its_fee_and_keeps_the_minimum(
        amount in amount(), min_fee in amount(), ppm in share(), minimum in amount(), bounds in (amount(), amount()),
    ) {
        let terms = FeeTerms {
            min_fee: Msat(min_fee), proportional: Ppm(ppm), min_payment_size: Msat(bounds.0), max_payment_size: Msat(bounds.1),
        };
        let fee = opening_fee(Msat(amount), Msat(min_fee), Ppm(ppm));
        let carries = |fee: &Msat| u128::from(fee.0) + u128::from(minimum.max(1)) <= u128::from(amount);
        let model = fee.filter(carries).filter(|_| bounds.0 <= amount && amount <= bounds.1);
        prop_assert_eq!(terms.fee_on_single_part(Msat(amount), Msat(minimum)), model);
    }

    #[test]
    fn a_split_takes_the_fee_exactly_or_not_at_all(
        parts in vec(amount(), 0..6), fee in amount(), minimum in prop_oneof![0u64..3, amount()],
    ) {
        let keep = u128::from(minimum.max(1));
        let too_small = parts.iter().any(|part| u128::from(*part) < keep);
        let room: u128 = parts.iter().map(|part| u128::from(*part).saturating_sub(keep)).sum();
        let amounts: Vec<Msat> = parts.iter().copied().map(Msat).collect();
        match split(Msat(fee), &amounts, Msat(minimum)) {
            None => prop_assert!(too_small || room < u128::from(fee) || room > u128::from(u64::MAX)),
            Some(shares) => {
                prop_assert!(!too_small && shares.len() == parts.len());
                prop_assert_eq!(shares.iter().map(|share| u128::from(share.0)).sum::<u128>(), u128::from(fee));
                for (share, part) in shares.iter().zip(&parts) {
                    let spare = u128::from(*part) - keep;
                    prop_assert!(u128::from(share.0) <= spare);
                    let fair = (u128::from(fee) * spare).checked_div(room).unwrap_or_default();
                    prop_assert!((fair..=fair + 1).contains(&u128::from(share.0)), "{share:?} where {fair} is fair");
                }
            }
        }
    }

    #[test]
    fn a_promise_is_good_for_its_terms_client_key_and_token(
        terms in terms(), other in terms(), field in 0..7usize, client in peer(), key in any::<[u8; 32]>(),
        token in option::of(".{0,40}"), flip in any::<prop::sample::Index>(),
    ) {
        let lsp = PromiseKey::new(key);
        let promised = lsp.issue(unpromised(&terms), client, token.as_deref()).unwrap();
        prop_assert_eq!(lsp.verify(&promised, client), Ok(token.clone()));
        prop_assert!(Promise::issued(promised.promise.as_str()).is_ok());

        let changed = with_field_of(&promised, &other, field);
        let same = changed == promised;
        prop_assert_eq!(lsp.verify(&changed, client).is_ok(), same);

        let mut other_client = client;
        other_client.0[1 + flip.index(32)] ^= 1;
        prop_assert_eq!(lsp.verify(&promised, other_client), Err(NotPromised));
        let mut other_key = key;
        other_key[flip.index(32)] ^= 1;
        prop_assert_eq!(PromiseKey::new(other_key).verify(&promised, client), Err(NotPromised));

        let mut text = promised.promise.as_str().as_bytes().to_vec();
        let at = flip.index(text.len());
        text[at] ^= 1;
        let text = String::from_utf8(text).unwrap();
        let forged = OpeningFeeParams { promise: Promise::received(text).unwrap(), ..promised };
        prop_assert_eq!(lsp.verify(&forged, client), Err(NotPromised));
    }

    /// L2-001
    #[test]
    fn requests_come_back_as_they_were(token in option::of(".*"), terms in terms(), size in option::of(amount())) {
        comes_back(&ListProtocols {})?;
        comes_back(&GetInfo { token })?;
        comes_back(&Buy { opening_fee_params: terms, payment_size_msat: size.map(Msat) })?;
    }

    #[test]
    fn replies_come_back_as_they_were(
        id in id(), menu in vec(terms(), 0..4), protocols in vec(any::<u16>(), 0..4), scid in any::<u64>(),
        delta in any::<u16>(), trusts in any::<bool>(),
    ) {
        answers::<ListProtocols>(&id, &Protocols { protocols })?;
        answers::<GetInfo>(&id, &Menu { opening_fee_params_menu: menu })?;
        let bought = Bought { jit_channel_scid: Scid(scid), lsp_cltv_expiry_delta: delta, client_trusts_lsp: trusts };
        answers::<Buy>(&id, &bought)?;
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..200), text in like_json()) {
        for payload in [bytes.as_slice(), text.as_bytes()] {
            if let Ok(incoming) = Incoming::decode(payload) {
                let _ = (incoming.params::<ListProtocols>(), incoming.params::<GetInfo>(), incoming.params::<Buy>());
            }
            if let Ok(FromLsp::Response { outcome: Ok(result), .. }) = FromLsp::decode(payload) {
                let _ = (result.reply::<ListProtocols>(), result.reply::<GetInfo>(), result.reply::<Buy>());
            }
        }
    }

    /// Text that our own walk accepts is JSON for other parsers, too, and none of its members is read differently.
    #[test]
    fn what_passes_is_json(text in like_json()) {
        let request = format!(r#"{{"jsonrpc":"2.0","id":"i","method":"m","x":{text},"params":{{"y":{text}}}}}"#);
        let ours = Incoming::decode(request.as_bytes()).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&request);
        prop_assert!(theirs.is_ok() || !ours, "{}", request);
        // Repeated keys are exempt: `Value` keeps one of them, so the text has more members than the value.
        if let Ok(value) = theirs && !has_key_twice(&request, &value) {
            prop_assert!(ours, "{}", request);
        }
    }
}

/// Amounts near the bounds of each step of the formula, and others.
fn amount() -> impl Strategy<Value = u64> {
    let near = |n: u64| (n.saturating_sub(3)..=n.saturating_add(3)).boxed();
    prop_oneof![
        0u64..10,
        near(1_000_000),
        near(u64::MAX - 999_999),
        near(u64::MAX / 1_200),
        near(u64::MAX),
        any::<u64>()
    ]
}

fn share() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..3, Just(1_200), 999_990u32..1_000_010, Just(u32::MAX), any::<u32>()]
}

fn peer() -> impl Strategy<Value = PeerId> {
    (any::<[u8; 32]>(), 2u8..=3).prop_map(|(x, parity)| {
        let mut key = [parity; 33];
        key[1..].copy_from_slice(&x);
        PeerId(key)
    })
}

fn terms() -> impl Strategy<Value = OpeningFeeParams> {
    let fraction = prop_oneof![Just(String::new()), "\\.[0-9]{1,9}"];
    let zone = prop_oneof![Just("Z"), Just("+00:00")];
    let datetime = (0u64..253_402_300_800, fraction, zone).prop_map(|(seconds, fraction, zone)| {
        let whole = DateTime::from(Timestamp::from_unix_millis(seconds * 1_000));
        format!("{}{fraction}{zone}", &whole.as_str()[..19]).parse().unwrap()
    });
    (amount(), share(), datetime, any::<u32>(), any::<u32>(), amount(), amount(), ".{0,85}").prop_map(
        |(min_fee, ppm, valid_until, min_lifetime, max_client_to_self_delay, min_size, max_size, promise)| {
            OpeningFeeParams {
                min_fee_msat: Msat(min_fee),
                proportional: Ppm(ppm),
                valid_until,
                min_lifetime,
                max_client_to_self_delay,
                min_payment_size_msat: Msat(min_size),
                max_payment_size_msat: Msat(max_size),
                promise: Promise::received(promise).unwrap(),
            }
        },
    )
}

fn unpromised(terms: &OpeningFeeParams) -> Unpromised {
    Unpromised {
        min_fee_msat: terms.min_fee_msat,
        proportional: terms.proportional,
        valid_until: terms.valid_until.clone(),
        min_lifetime: terms.min_lifetime,
        max_client_to_self_delay: terms.max_client_to_self_delay,
        min_payment_size_msat: terms.min_payment_size_msat,
        max_payment_size_msat: terms.max_payment_size_msat,
    }
}

/// Terms with one of the seven fields taken from other terms; a date only if it is another instant.
fn with_field_of(terms: &OpeningFeeParams, other: &OpeningFeeParams, field: usize) -> OpeningFeeParams {
    let mut changed = terms.clone();
    match field {
        0 => changed.min_fee_msat = other.min_fee_msat,
        1 => changed.proportional = other.proportional,
        2 if changed.valid_until.instant() != other.valid_until.instant() => {
            changed.valid_until = other.valid_until.clone();
        }
        2 => {}
        3 => changed.min_lifetime = other.min_lifetime,
        4 => changed.max_client_to_self_delay = other.max_client_to_self_delay,
        5 => changed.min_payment_size_msat = other.min_payment_size_msat,
        _ => changed.max_payment_size_msat = other.max_payment_size_msat,
    }
    changed
}

/// JSON values, some with a character lost, doubled or changed.
fn like_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_string()),
        any::<bool>().prop_map(|b| b.to_string()),
        "-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
        "\"([a-c\\u{e9}]|\\\\[\"\\\\/bfnrtux]|\\\\u[0-9a-f]{4}|\\\\ud83d\\\\ude00){0,4}\"",
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        let member = ("\"[ab]{0,2}\"", inner.clone()).prop_map(|(key, value)| format!("{key} :{value}"));
        prop_oneof![
            vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            vec(member, 0..4).prop_map(|members| format!("{{ {} }}", members.join(",\t"))),
        ]
    });
    let damage = option::weighted(0.3, (any::<prop::sample::Index>(), "[\\[\\]{}\",:0a \\u{b}\\\\]{0,2}"));
    (value, damage).prop_map(|(text, damage)| match damage {
        None => text,
        Some((at, put)) => {
            let chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len());
            chars[..at].iter().copied().chain(put.chars()).chain(chars[at + 1..].iter().copied()).collect()
        }
    })
}

/// Compares the number of colons outside of strings, one for each member in the text, with the number of members in the
/// value.
fn has_key_twice(text: &str, value: &serde_json::Value) -> bool {
    fn members(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::Object(map) => map.len() + map.values().map(members).sum::<usize>(),
            serde_json::Value::Array(items) => items.iter().map(members).sum(),
            _ => 0,
        }
    }
    let (mut written, mut in_string, mut escaped) = (0, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            ':' if !in_string => written += 1,
            _ => {}
        }
    }
    written != members(value)
}

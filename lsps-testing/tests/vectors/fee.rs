//! `lsps2_fee`: the opening fee, and whether a payment can carry it.

use lsps_types::codes::{BuyError, MethodError};
use lsps_types::lsps2::fee::{FeeTerms, opening_fee};
use lsps_types::{Msat, Ppm};
use serde_json::{Value, json};

use super::{Case, Given, Verdict, msat, verdict};

pub fn run(case: &Case) -> Verdict {
    let input = &case.input;
    let Ok(proportional) = input["proportional"].as_str().expect("a share").parse().map(Ppm) else {
        input.json(); // no amount makes a difference to a share that cannot be read
        return verdict(case, &json!({ "error": { "code": "invalid_ppm" } }));
    };
    let outcome = match input["kind"].as_str().expect("a kind") {
        "compute_opening_fee" => {
            match opening_fee(msat(&input["payment_size_msat"]), msat(&input["min_fee_msat"]), proportional) {
                Some(fee) => json!({ "ok": { "opening_fee_msat": fee.0.to_string() } }),
                None => json!({ "error": { "code": "overflow" } }),
            }
        }
        "buy_check" => buy_check(input, &terms(input, proportional)),
        "var_invoice_check" => {
            let (value, minimum) = (msat(&input["htlc_value_msat"]), msat(&input["htlc_minimum_msat"]));
            match terms(input, proportional).fee_on_single_part(value, minimum) {
                Some(fee) => json!({ "ok": {
                    "opening_fee_msat": fee.0.to_string(),
                    "forward_amount_msat": (value.0 - fee.0).to_string(),
                } }),
                None => json!({ "error": { "code": "unknown_next_peer" } }),
            }
        }
        other => return Verdict::Failed(format!("unknown kind {other}")),
    };
    verdict(case, &outcome)
}

fn buy_check(input: &Given, terms: &FeeTerms) -> Value {
    let size = msat(&input["payment_size_msat"]);
    let inbound =
        input["incoming_liquidity_msat"].as_str().map_or(Msat(u64::MAX), |_| msat(&input["incoming_liquidity_msat"]));
    let checked =
        terms.fee_on(size).and_then(|fee| if size <= inbound { Ok(fee) } else { Err(BuyError::PaymentSizeTooLarge) });
    match checked {
        Ok(fee) => json!({ "ok": {
            "opening_fee_msat": fee.0.to_string(),
            "client_receives_min_msat": (size.0 - fee.0).to_string(),
        } }),
        Err(error) => json!({ "error": { "code": error.code() } }),
    }
}

fn terms(input: &Given, proportional: Ppm) -> FeeTerms {
    FeeTerms {
        min_fee: msat(&input["min_fee_msat"]),
        proportional,
        min_payment_size: msat(&input["min_payment_size_msat"]),
        max_payment_size: msat(&input["max_payment_size_msat"]),
    }
}

//! The cases of `lsps1_messages` about a client: the requests that it sends, and the replies that it reads. Those about
//! an LSP are in [`orders`].

use lsps_client::CallError;
use lsps_client::jit_receive::FeeLimits;
use lsps_client::order::{CannotOrder, CheckedRequest, LspOptions, OrderRequest, PaymentMethod, RefuseOrder, Rules};
use lsps_testing::{an_order, anything, peer};
use lsps_types::Network;
use lsps_types::lsps1::{CreateOrder, Expect, GetInfo, LdkInvoices, Options, Order, OrderState, Status};
use serde_json::{Value, json};

use super::client::{result, result_text};
use super::schemas::network;
use super::{Case, Given, Verdict, orders, verdict};

pub fn run(case: &Case) -> Verdict {
    let input = &case.input;
    match input["kind"].as_str().expect("a kind") {
        "get_info_request" => orders::request(case, "lsps1.get_info"),
        "get_info_result" => verdict(case, &get_info_result(input)),
        "create_order_request" => orders::request(case, "lsps1.create_order"),
        "create_order_result" => verdict(case, &create_order_result(input)),
        "get_order_request" => orders::request(case, "lsps1.get_order"),
        "prepare_order" => verdict(case, &prepare_order(input)),
        "order_scenario" => orders::scenario(case),
        other => Verdict::Failed(format!("unknown kind {other}")),
    }
}

fn get_info_result(input: &Given) -> Value {
    match result("result", &result_text(input), &GetInfo {}) {
        Ok(options) => {
            assert_eq!(serde_json::from_value::<Options>(json!(options)).expect("options"), options);
            json!({ "ok": "options" })
        }
        Err(CallError::InvalidReply(_)) => json!({ "error": { "code": "invalid_result" } }),
        Err(other) => json!({ "error": { "code": other.to_string() } }),
    }
}

fn prepare_order(input: &Given) -> Value {
    let order = CreateOrder {
        lsp_balance_sat: input["lsp_balance_sat"].to(),
        client_balance_sat: input["client_balance_sat"].to(),
        ..an_order()
    };
    match checked(order, Network::Bitcoin, input["peer_supports_large_channels"] == true) {
        Ok(_) => json!({ "ok": "may_send" }),
        Err(CannotOrder::LargeChannels) => json!({ "error": { "code": "large_channels_unsupported" } }),
        Err(other) => json!({ "error": { "code": other.to_string() } }),
    }
}

/// Drafts the order as a wallet sends it to an LSP that offers anything.
pub fn checked(order: CreateOrder, network: Network, large_channels: bool) -> Result<CheckedRequest, CannotOrder> {
    let rules = Rules { pay_only_the_lsp: false, ..Rules::default() };
    let request = OrderRequest { order, limits: FeeLimits::UNLIMITED, network, large_channels, rules };
    LspOptions { lsp: peer(9), options: anything() }.check(request)
}

fn create_order_result(input: &Given) -> Value {
    let ordered: CreateOrder = input["ordered"].to();
    let expect = Expect { network: network(&input["network"]), payee: None, now: None };
    let order: Order = match result("result", &result_text(input), &ordered) {
        Ok(order) => order,
        Err(CallError::InvalidReply(_)) => return json!({ "error": { "code": "invalid_result" } }),
        Err(other) => return json!({ "error": { "code": other.to_string() } }),
    };
    let again: Order = serde_json::from_value(json!(order)).expect("what is written can be read");
    assert_eq!(json!(again), json!(order));
    let quote = checked(ordered.clone(), expect.network, true).expect("it was sent").verify(
        &order,
        &LdkInvoices,
        order.created_at.instant(),
    );
    match order.judge(&ordered, &expect, &LdkInvoices) {
        Err(mismatch) => {
            assert_eq!(quote, Err(RefuseOrder::Differs(mismatch)));
            json!({ "error": { "code": "mirror_mismatch", "field": mismatch.field } })
        }
        Ok(found) => {
            let usable = [
                (PaymentMethod::Bolt11, found.bolt11),
                (PaymentMethod::Bolt12, found.bolt12),
                (PaymentMethod::Onchain, found.onchain),
            ];
            let usable: Vec<_> =
                usable.into_iter().filter(|(_, status)| *status == Status::Usable).map(|(kind, _)| kind).collect();
            let options: Vec<_> = quote.iter().flat_map(|quote| &quote.options).map(|option| option.method()).collect();
            let is_new = order.order_state == OrderState::Created && order.channel.is_none();
            assert_eq!(
                options,
                if is_new { usable } else { vec![] },
                "what can be used is what a wallet would choose among"
            );
            json!({ "ok": { "bolt11": word(found.bolt11), "bolt12": word(found.bolt12), "onchain": word(found.onchain) } })
        }
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Absent => "absent",
        Status::Usable => "usable",
        Status::Held => "held",
        Status::Paid => "paid",
        Status::Refunded => "refunded",
        Status::Unusable(_) => "invalid",
    }
}

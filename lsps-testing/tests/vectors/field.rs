//! `field_messages`: requests and replies of deployed wallets and LSPs, where they are outside the specifications.

use lsps_client::order::RefuseOrder;
use lsps_client::{CallError, Client, Config, Heard};
use lsps_testing::{Lsp, LspSetup, NOON, peer};
use lsps_types::ClientInfo;
use lsps_types::lsps1::{CreateOrder, LdkInvoices, Order, OrderState};
use serde_json::{Value, json};

use super::client::{result, result_text};
use super::lsps1::checked;
use super::schemas::network;
use super::{Case, Given, Verdict, messages, orders, verdict};

/// Cases whose methods are not served yet.
const AWAIT_LSPS7: [&str; 3] = ["f7_all_keys", "f7_info_bad_member", "f7_empty_params_get_channels"];

pub fn run(case: &Case) -> Verdict {
    let input = &case.input;
    let outcome = match input["kind"].as_str().expect("a kind") {
        "field_request" if AWAIT_LSPS7.contains(&&*case.name) => return awaits(input),
        "field_request" => request(case),
        "field_equal_quotes" => equal_quotes(input),
        "field_order_result" => order_result(input),
        "field_order_scenario" => return orders::scenario(case),
        "field_retry" => retry(input),
        "field_client_info" => client_info(input),
        other => return Verdict::Failed(format!("unknown kind {other}")),
    };
    verdict(case, &outcome)
}

/// Checks that the method is not served, so that the list above does not outlive its reason.
fn awaits(input: &Given) -> Verdict {
    let mut lsp = orders::seller(input);
    let method = input["method"].as_str().expect("a method");
    match messages::ask(&mut lsp, peer(1), method, &messages::params_text(input)) {
        Err(error) if error["error"]["code"] == -32_601 => Verdict::Awaits("LSPS7"),
        other => Verdict::Failed(format!("{method} is served: {other:?}")),
    }
}

fn request(case: &Case) -> Value {
    let input = &case.input;
    let method = input["method"].as_str().expect("a method");
    let (mut lsp, mut outcome) = match method {
        "lsps2.get_info" => messages::get_info_request(input),
        "lsps2.buy" => {
            let mut lsp = Lsp::at(NOON, LspSetup::default());
            let answer = messages::ask(&mut lsp, peer(1), method, &messages::params_text(input));
            (lsp, answer.map_or_else(|error| error, |result| json!({ "ok": result })))
        }
        _ => {
            let (lsp, result, outcome) = orders::asked(input, method);
            (lsp, also(case.expect(), &result, outcome))
        }
    };
    assert_eq!(network(&input["network"]), lsps_types::Network::Bitcoin);
    if let Some(ok) = outcome.get_mut("ok").and_then(Value::as_object_mut) {
        let told = lsp.introduced().pop().map(|introduced| introduced.info);
        ok.insert("client_info".into(), json!(told));
    }
    outcome
}

/// The outcome with what this case wants to be told besides: the payment, or the totals of its methods.
fn also(expect: &Given, result: &Value, mut outcome: Value) -> Value {
    let payment = &result["payment"];
    if outcome.get("ok").is_some() && expect["ok"].get("payment").is_some() {
        outcome["ok"]["payment"] = payment.clone();
    }
    if outcome.get("ok").is_some() && expect["ok"].get("totals").is_some() {
        // Our LSP takes offers as well.
        let totals = payment.as_object().into_iter().flatten().filter(|(method, _)| *method != "bolt12");
        let totals = totals.map(|(method, terms)| (method.clone(), terms["order_total_sat"].clone()));
        outcome["ok"]["totals"] = Value::Object(totals.collect());
    }
    outcome
}

/// The LSP is the same each time, so that ids, invoices and dates are the same too.
fn equal_quotes(input: &Given) -> Value {
    let method = input["method"].as_str().expect("a method");
    let quote = |params: &Given| {
        let mut lsp = orders::seller(input);
        messages::ask(&mut lsp, peer(1), method, &params.json().to_string()).expect("an order")
    };
    let quotes: Vec<Value> = input["params"].items().map(quote).collect();
    assert!(quotes.len() > 1);
    match quotes.windows(2).all(|pair| pair[0] == pair[1]) {
        true => json!({ "ok": "equal" }),
        false => json!({ "ok": quotes }),
    }
}

fn order_result(input: &Given) -> Value {
    let (ordered, network): (CreateOrder, _) = (input["ordered"].to(), network(&input["network"]));
    let order: Order = match result("result", &result_text(input), &ordered) {
        Ok(order) => order,
        Err(CallError::InvalidReply(_)) => return json!({ "error": { "code": "invalid_result" } }),
        Err(other) => return json!({ "error": { "code": other.to_string() } }),
    };
    let checked = checked(ordered, network, true).expect("it was sent");
    let verdict = match checked.verify(&order, &LdkInvoices, order.created_at.instant()) {
        Ok(quote) if quote.is_free() => "free",
        Ok(_) => "to_be_paid",
        Err(RefuseOrder::NotNew) if order.order_state == OrderState::Failed => "failed",
        Err(RefuseOrder::NoPaymentMethod(_)) => "no_usable_way",
        Err(other) => return json!({ "error": { "code": other.to_string() } }),
    };
    json!({ "ok": { "verdict": verdict } })
}

fn retry(input: &Given) -> Value {
    assert_eq!(input["method"].as_str(), Some("lsps1.create_order"));
    let mut params = input["params"].json().clone();
    let info = params.as_object_mut().and_then(|params| params.remove("client_info")).expect("it is there");
    let info: ClientInfo = serde_json::from_value(info).expect("it may be sent");
    let order: CreateOrder = serde_json::from_value(params).expect("an order");
    let mut client = Client::new(Config { client_info: Some(info), ..Config::default() }, [7; 32]);
    client.peer_connected(peer(9));
    let ticket = client.call(peer(9), &order, NOON).expect("it is connected");
    let first = sent(&mut client).expect("a request");
    assert_eq!(&first["params"], input["params"].json());
    let answer = json!({ "jsonrpc": "2.0", "id": first["id"], "error": input["error"].json() });
    assert_eq!(client.receive(peer(9), answer.to_string().as_bytes()), Heard::Answer);
    let next = sent(&mut client);
    assert_eq!(client.take(&ticket).is_none(), next.is_some(), "the call goes on, or is over");
    json!({ "ok": { "next_params": next.map(|next| next["params"].clone()) } })
}

/// The last message that the client sends, if there is one.
fn sent(client: &mut Client) -> Option<Value> {
    let message = client.drain().written().messages.pop();
    message.map(|(_, payload)| serde_json::from_slice(&payload).expect("JSON"))
}

fn client_info(input: &Given) -> Value {
    match serde_json::from_value::<ClientInfo>(input["client_info"].json().clone()) {
        Ok(_) => json!({ "ok": "may_send" }),
        Err(error) => {
            assert!(error.to_string().contains("at most 64"), "{error}");
            json!({ "error": { "code": "too_long" } })
        }
    }
}

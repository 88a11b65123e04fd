//! The cases of `lsps1_messages` about an LSP: its replies, and its acts after each event.

use std::num::NonZeroU16;
use std::time::Duration;

use lsps_service::{
    ChannelEnd, ChannelKey, Config, Deposit, FlowId, HeldPayment, Input, MethodTerms, OrderConfig, OrderNumber,
    OrderTerms, PaidBy, RefundKey,
};
use lsps_testing::{Act, Lsp, LspSetup, NOON, address_of, an_order, anything, call, offer_id, peer};
use lsps_types::lsps1::{Confirmation, CreateOrder, GetOrder, Options, Order};
use lsps_types::{
    BlockHeight, Blocks, DateTime, FeeRate, Network, OutPoint, PaymentHash, Preimage, Sat, Timestamp, Txid,
};
use serde_json::{Value, json};

use super::{Case, Given, Verdict, msat, number, schemas::network, verdict, verdict_on_steps};

/// Sends a request to the service of an LSP that sells channels.
pub fn request(case: &Case, method: &str) -> Verdict {
    let (_, _, outcome) = asked(&case.input, method);
    verdict(case, &outcome)
}

/// The LSP of a case, which sells channels, connected to client 1.
pub fn seller(input: &Given) -> Lsp {
    let context = &input["context"];
    let texts = |tokens: &Given| tokens.items().map(|token| token.as_str().expect("a token").into()).collect();
    let setup = LspSetup {
        tokens: texts(&context["valid_tokens"]),
        free_tokens: texts(&context["free_tokens"]),
        reject_clients: context["reject_client"] == true,
        ..selling(&input["options"], &input["network"], context["onchain_disabled"] == true)
    };
    let mut lsp = Lsp::at(NOON, setup);
    lsp.connects(peer(1));
    lsp
}

/// Sends the request of a case. The LSP, its result, and the outcome in the words of the cases.
pub fn asked(input: &Given, method: &str) -> (Lsp, Value, Value) {
    let mut lsp = seller(input);
    let mut params = input["params_text"].as_str().map_or_else(|| input["params"].json().to_string(), String::from);
    let mut known = vec![];
    for named in input["known_orders"].items() {
        let order = call(&mut lsp, peer(1), &order()).expect("an order");
        let (named, ours) = (named.as_str().expect("a name"), order.order_id.to_string());
        params = params.replace(&format!("\"{named}\""), &format!("\"{ours}\""));
        known.push((named, ours));
    }
    let client = if input["asking_peer"] == "other" { peer(2) } else { peer(1) };
    lsp.connects(client);
    let payload = format!(r#"{{"jsonrpc":"2.0","id":"a","method":"{method}","params":{params}}}"#);
    let replies = lsp.receives(client, payload.as_bytes());
    let [reply] = replies.as_slice() else { panic!("one request, {} replies", replies.len()) };
    let mut reply: Value = serde_json::from_slice(reply).expect("JSON");
    let (result, error) = (reply["result"].take(), reply["error"].take());
    let outcome = match (&result, error) {
        (Value::Null, error) => json!({ "error": error }),
        (_, Value::Null) if method == "lsps1.get_info" => json!({ "ok": {} }),
        (result, _) if method == "lsps1.get_order" => {
            let named = known.iter().find(|(_, ours)| result["order_id"] == *ours).map(|(named, _)| *named);
            json!({ "ok": { "order_id": named.unwrap_or("another") } })
        }
        (result, _) => json!({ "ok": {
            "order_state": result["order_state"],
            "channel": result["channel"],
            "onchain_offered": result["payment"].get("onchain").is_some(),
            "token": result["token"],
        } }),
    };
    (lsp, result, outcome)
}

fn selling(options: &Given, on: &Given, onchain_disabled: bool) -> LspSetup {
    let options = if options.is_null() { anything() } else { options.to() };
    let network = if on.is_null() { Network::Bitcoin } else { network(on) };
    let orders = OrderConfig { network: Some(network), ..OrderConfig::default() };
    let config = Config { orders, ..Config::default() };
    LspSetup { config, orders: Some((options, some_terms(onchain_disabled))), ..LspSetup::default() }
}

/// Options and terms of an LSP that sells any channel, for any payment method.
pub fn sells_anything() -> (Options, OrderTerms) {
    (anything(), some_terms(false))
}

fn some_terms(onchain_disabled: bool) -> OrderTerms {
    let way = |hours: u64| MethodTerms { fee: Sat(8_888), expires_at: NOON + Duration::from_secs(3_600 * hours) };
    OrderTerms {
        bolt11: Some(way(1)),
        bolt12: Some(way(1)),
        onchain: (!onchain_disabled).then(|| (way(2), confirmation(1, None))),
        remember_until: None,
    }
}

/// Compares the LSP's acts after each event, and the order that it then reports, with the case.
pub fn scenario(case: &Case) -> Verdict {
    verdict_on_steps(case, &play(&case.input), differs)
}

struct Step {
    acts: Vec<Act>,
    order: Order,
    /// Payment hashes, each with its payment method.
    hashes: Vec<(&'static str, PaymentHash)>,
    /// Fee of the refund that the event is about, as the wallet makes it, in satoshis.
    refund_fee_sat: u32,
}

fn play(input: &Given) -> Vec<Step> {
    let created_at = at(&input["created_at"]);
    let mut lsp = Lsp::at(created_at, scenario_setup(input));
    let client = peer(1);
    lsp.block(HEIGHT);
    lsp.connects(client);
    let ordered: CreateOrder = input["order"].to();
    let order = call(&mut lsp, client, &ordered).expect("an order");
    check_totals(&input["payment"], &order);
    let named = lsp.service().known_orders().next().expect("one order").number;
    // Some cases tell what follows from the order itself; in the others the client is away then.
    if input["events"].items().next().is_none_or(|first| first["event"] != "order_created") {
        lsp.disconnects(client);
        lsp.acts();
    }
    let (mut height, mut key, mut hashes) = (HEIGHT, ChannelKey { flow: FlowId::Order(named), attempt: 0 }, vec![]);
    let mut steps = vec![];
    let mut refund = None;
    for event in input["events"].items() {
        lsp.wait_until(at(&event["at"]));
        match event["event"].as_str().expect("an event") {
            "peer_connected" => lsp.connects(client),
            "peer_disconnected" => lsp.disconnects(client),
            "htlc_held" => {
                let held = held(event, named, &order);
                hashes.push((if held.by == PaidBy::Invoice { "bolt11" } else { "bolt12" }, held.payment_hash));
                lsp.feed(Input::PaymentHeld(held));
            }
            "tx_seen" | "tx_confirmed" => {
                let depth = number_or(&event["confirmations"], 0);
                height += u32::from(depth > 0); // a block brought it
                lsp.block(height);
                lsp.feed(Input::Deposit(deposit(event, input, named, (depth > 0).then(|| height + 1 - depth))));
            }
            "tx_unconfirmed" => lsp.feed(Input::Deposit(deposit(event, input, named, None))),
            "funding_published" => {
                lsp.funding_outpoint = (!event["outpoint"].is_null()).then(|| event["outpoint"].to());
                lsp.funding_signed(key);
            }
            "open_failed" => lsp.channel_ends(key, ChannelEnd::CannotOpen("no coins".into())),
            "refund_confirmed" => lsp.feed(Input::RefundConfirmed { key: refund.expect("a refund") }),
            "block" => lsp.block(number(&event["height"])),
            "restart" => lsp.restarts(),
            "order_created" => {}
            "time" => {}
            other => panic!("unknown event {other}"),
        }
        let acts = lsp.acts();
        key = acts.iter().fold(key, |key, act| if let Act::Open { key, .. } = act { *key } else { key });
        if acts.iter().any(|act| matches!(act, Act::Refund { .. })) {
            refund = Some(RefundKey { order: named, number: 0 });
        }
        let order = call(&mut lsp, client, &GetOrder { order_id: order.order_id.as_str().into() }).expect("our order");
        let sat_per_vbyte = number_or(&event["refund_fee_rate_sat_per_vb"], 1);
        let refund_fee_sat = number_or(&event["refund_tx_vbytes"], REFUND_VBYTES) * sat_per_vbyte;
        steps.push(Step { acts, order, hashes: hashes.clone(), refund_fee_sat });
    }
    steps
}

/// Checks that the LSP asks for the amounts of the case, including the total.
fn check_totals(payment: &Given, order: &Order) {
    let order = json!(order);
    for (way, terms) in payment.members().filter(|(_, terms)| !terms["order_total_sat"].is_null()) {
        assert_eq!(order["payment"][way]["order_total_sat"], *terms["order_total_sat"].json(), "{way}");
    }
}

fn scenario_setup(input: &Given) -> LspSetup {
    let payment = &input["payment"];
    let way = |name: &str| {
        let way = &payment[name];
        way.is_object().then(|| MethodTerms { fee: sat(&way["fee_total_sat"]), expires_at: at(&way["expires_at"]) })
    };
    let onchain = way("onchain").map(|terms| {
        let way = &payment["onchain"];
        (terms, confirmation(number(&way["min_onchain_payment_confirmations"]), way.get("min_fee_for_0conf")))
    });
    let nothing = MethodTerms { fee: Sat::ZERO, expires_at: at(&input["created_at"]) + Duration::from_secs(3_600) };
    let is_free = payment.json().as_object().is_some_and(|ways| ways.is_empty());
    let bolt11 = way("bolt11").or(is_free.then_some(nothing));
    let terms = OrderTerms { bolt11, bolt12: way("bolt12"), onchain, remember_until: None };
    let config = Config {
        htlc_safety_blocks: Blocks(number_or(&input["policy"]["htlc_safety_blocks"], 0)),
        // The scenarios keep an open in progress for longer than the default time-out.
        open_timeout: Duration::from_secs(86_400),
        sign_timeout: Duration::from_secs(86_400),
        ..Config::default()
    };
    let distrusts_deposits = input["policy"]["distrust_tx"] == true;
    let tokens = input["order"]["token"].as_str().map(String::from).into_iter().collect();
    LspSetup { config, tokens, orders: Some((anything(), terms)), distrusts_deposits, ..LspSetup::default() }
}

fn held(event: &Given, named: OrderNumber, order: &Order) -> HeldPayment {
    let amount = msat(&event["amount_msat"]);
    let claim_before = event["cltv_expiry"].as_u64().map(|_| BlockHeight(number(&event["cltv_expiry"])));
    let held = |by, payment_hash, preimage| HeldPayment {
        by,
        payment_hash,
        id: None,
        claimable: true,
        preimage,
        amount,
        claim_before,
    };
    if event["option"] == "bolt11" {
        let invoice = &order.payment.bolt11.as_ref().expect("an invoice").invoice;
        let hash = invoice.strip_prefix("invoice ").and_then(|hash| hash.parse().ok()).expect("a hash");
        return held(PaidBy::Invoice, hash, None);
    }
    let preimage = Preimage([u8::try_from(number_or(&event["payment"], 1)).expect("a small number"); 32]);
    held(PaidBy::Offer(offer_id(named)), PaymentHash::of(&preimage), Some(preimage))
}

fn deposit(event: &Given, input: &Given, named: OrderNumber, confirmed_at: Option<u32>) -> Deposit {
    let tx = event["tx"].as_str().unwrap_or("a").as_bytes()[0];
    // A later event that leaves out the amount has the amount of the first event of this transaction.
    let of_tx = |other: &&Given| other["tx"] == event["tx"] && other["amount_sat"].is_string();
    let first = input["events"].items().find(of_tx).expect("an amount");
    let amount = if event["amount_sat"].is_string() { &event["amount_sat"] } else { &first["amount_sat"] };
    Deposit {
        address: address_of(named),
        outpoint: OutPoint { txid: Txid([tx; 32]), index: 0 },
        amount: sat(amount),
        confirmed_at: confirmed_at.map(BlockHeight),
        fee_rate: event["fee_rate"].as_u64().map(|_| FeeRate(number(&event["fee_rate"]))),
    }
}

/// Why the acts and the reported order differ from the wanted ones, or `None` if they do not.
fn differs(wanted: &Given, step: &Step) -> Option<String> {
    let mut left: Vec<&Act> = step.acts.iter().collect();
    for action in wanted["actions"].items() {
        let mut done = |is: &dyn Fn(&Act) -> bool| {
            let found = left.iter().position(|act| is(act));
            found.map(|at| left.remove(at)).is_some()
        };
        let of_way = |hash: &PaymentHash| {
            let mut of_way = step.hashes.iter().filter(|(way, _)| action["option"] == *way);
            let nth = usize::try_from(number_or(&action["payment"], 1)).expect("small") - 1;
            of_way.nth(nth).is_some_and(|(_, other)| other == hash)
        };
        let satisfied = match action["do"].as_str().expect("an action") {
            // We refuse payments for cancelled invoices and offers.
            "cancel_invoice" | "cancel_offer" => {
                action.json();
                true
            }
            "open_channel" => done(&|act| {
                matches!(act, Act::Open { terms, .. }
                    if terms.capacity_sat >= sat(&action["min_capacity_sat"]).0
                        && terms.push >= msat(&action["min_push_msat"])
                        && action["announce"] == terms.announce
                        && terms.confirm_within == Some(Blocks(number(&action["confirm_within_blocks"]))))
            }),
            "release_preimage" => done(&|act| matches!(act, Act::Claim(hash) if of_way(hash))),
            "fail_htlc" => done(&|act| matches!(act, Act::FailPayment(hash) if of_way(hash))),
            "refund_onchain" => done(&|act| {
                matches!(act, Act::Refund { to, deposits }
                    if action["address"] == to.as_str()
                        && (action["min_amount_sat"].is_null() || refunded(deposits, step.refund_fee_sat) >= sat(&action["min_amount_sat"])))
            }),
            "bump_refund_fee" => done(&|act| matches!(act, Act::BumpRefund(_))),
            other => panic!("unknown action {other}"),
        };
        if !satisfied {
            return Some(format!("wanted {action}, done {:?}", step.acts));
        }
    }
    left.retain(|act| !matches!(act, Act::Abandon(_) | Act::Wake { .. } | Act::Broadcast(_) | Act::Keep(..)));
    if !left.is_empty() {
        return Some(format!("not wanted: {left:?}"));
    }
    let order = json!(step.order);
    let payment = |way: &str| &order["payment"][way]["state"];
    let said = json!({
        "order": order["order_state"],
        "bolt11": payment("bolt11"),
        "bolt12": payment("bolt12"),
        "onchain": payment("onchain"),
    });
    for (name, state) in said.as_object().expect("an object") {
        if wanted.get(name).is_some_and(|wanted| wanted.json() != state) {
            return Some(format!("{name} is {state}, wanted {}", wanted[name.as_str()]));
        }
    }
    channel_differs(wanted.get("channel")?, &order["channel"])
}

fn channel_differs(wanted: &Given, channel: &Value) -> Option<String> {
    let not_before = wanted["expires_at_not_before"].as_str().map(|_| at(&wanted["expires_at_not_before"]));
    let expires_at = channel["expires_at"].as_str().map(parsed);
    let is_kept = not_before.is_none_or(|least| expires_at.is_some_and(|at| at >= least));
    let is_there = wanted.is_null() == channel.is_null() && *wanted["funded_at"].json() == channel["funded_at"];
    let funding = &wanted["funding_outpoint"];
    let is_ours = wanted.is_null()
        || if funding.is_null() {
            channel["funding_outpoint"].is_string()
        } else {
            *funding.json() == channel["funding_outpoint"]
        };
    (!is_there || !is_ours || !is_kept).then(|| format!("the channel is {channel}, wanted {wanted}"))
}

/// Amount of the outputs that is refunded by a transaction with this fee.
fn refunded(deposits: &[(OutPoint, Sat)], fee_sat: u32) -> Sat {
    Sat(deposits.iter().map(|(_, amount)| amount.0).sum::<u64>() - u64::from(fee_sat))
}

/// An order with an LSP balance of 5 000 000 sat.
fn order() -> CreateOrder {
    CreateOrder { lsp_balance_sat: Sat(5_000_000), ..an_order() }
}

fn confirmation(blocks: u32, above: Option<&Given>) -> Confirmation {
    let blocks = NonZeroU16::new(u16::try_from(blocks).expect("few"));
    blocks.map_or_else(|| Confirmation::AtOnce { above: above.map(|rate| FeeRate(number(rate))) }, Confirmation::After)
}

fn at(value: &Given) -> Timestamp {
    parsed(value.as_str().expect("a time"))
}

fn parsed(text: &str) -> Timestamp {
    text.parse::<DateTime>().expect("a time").instant()
}

fn sat(value: &Given) -> Sat {
    value.as_str().expect("an amount").parse().expect("an amount")
}

fn number_or(value: &Given, otherwise: u32) -> u32 {
    if value.is_null() { otherwise } else { number(value) }
}

/// Size in virtual bytes of a refund with one input and one output, unless an event gives another.
const REFUND_VBYTES: u32 = 110;
/// Height of the chain at the start.
const HEIGHT: u32 = 900;

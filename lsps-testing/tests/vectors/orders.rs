//! `lsps1_messages` about an LSP: what it answers, and what it does after each event.

use std::num::NonZeroU16;
use std::time::Duration;

use lsps_service::{
    ChannelEnd, ChannelKey, Config, Deposit, FlowId, HeldPayment, Input, OrderConfig, OrderNumber, OrderTerms, PaidBy,
    RefundKey, WayTerms,
};
use lsps_testing::{Act, Lsp, LspSetup, NOON, address_of, anything, call, offer_id, peer};
use lsps_types::lsps1::{Confirmation, CreateOrder, GetOrder, Order};
use lsps_types::{
    BlockHeight, Blocks, DateTime, FeeRate, Network, OutPoint, PaymentHash, Preimage, Sat, Timestamp, Txid,
};
use serde_json::{Value, json};

use super::{Verdict, accepted, msat, number, schemas::network, verdict};

/// A request, through the service of an LSP that sells channels.
pub fn request(case: &Value, method: &str) -> Verdict {
    let input = &case["input"];
    let context = &input["context"];
    let tokens = context["valid_tokens"].as_array().into_iter().flatten();
    let setup = LspSetup {
        tokens: tokens.map(|token| token.as_str().expect("a token").into()).collect(),
        reject_clients: context["reject_client"] == true,
        ..selling(&input["options"], &input["network"], context["onchain_disabled"] == true)
    };
    let mut lsp = Lsp::at(NOON, setup);
    lsp.connects(peer(1));
    let mut params = input["params_text"].as_str().map_or_else(|| input["params"].to_string(), String::from);
    if let Some(known) = input["known_orders"].as_array() {
        for (named, order) in known.iter().map(|named| (named, call(&mut lsp, peer(1), &order()).expect("an order"))) {
            let named = named.as_str().expect("a name");
            params = params.replace(&format!("\"{named}\""), &format!("\"{}\"", order.order_id));
        }
    }
    let client = if input["asking_peer"] == "other" { peer(2) } else { peer(1) };
    lsp.connects(client);
    let payload = format!(r#"{{"jsonrpc":"2.0","id":"a","method":"{method}","params":{params}}}"#);
    let replies = lsp.receives(client, payload.as_bytes());
    let [reply] = replies.as_slice() else { panic!("one request, {} replies", replies.len()) };
    let mut reply: Value = serde_json::from_slice(reply).expect("JSON");
    let outcome = match (reply["result"].take(), reply["error"].take()) {
        (Value::Null, error) => json!({ "error": error }),
        (_, Value::Null) if method == "lsps1.get_info" => json!({ "ok": {} }),
        (result, _) if method == "lsps1.get_order" => {
            json!({ "ok": { "order_id": unnamed(input, &result["order_id"]) } })
        }
        (result, _) => json!({ "ok": {
            "order_state": result["order_state"],
            "channel": result["channel"],
            "onchain_offered": result["payment"].get("onchain").is_some(),
            "token": result["token"],
        } }),
    };
    verdict(case, &outcome)
}

/// The vectors' name of the order that was asked for; any other is another.
fn unnamed(input: &Value, id: &Value) -> Value {
    if id.as_str().is_some_and(|id| id.len() == 36) { input["params"]["order_id"].clone() } else { id.clone() }
}

fn selling(options: &Value, on: &Value, onchain_disabled: bool) -> LspSetup {
    let options =
        if options.is_null() { anything() } else { serde_json::from_value(options.clone()).expect("options") };
    let way = |hours: u64| WayTerms { fee: Sat(8_888), expires_at: NOON + Duration::from_secs(3_600 * hours) };
    let terms = OrderTerms {
        bolt11: Some(way(1)),
        bolt12: Some(way(1)),
        onchain: (!onchain_disabled).then(|| (way(2), confirmation(1, None))),
        remember_until: None,
    };
    let network = if on.is_null() { Network::Bitcoin } else { network(on) };
    let orders = OrderConfig { network, ..OrderConfig::default() };
    let config = Config { orders, ..Config::default() };
    LspSetup { config, orders: Some((options, terms)), ..LspSetup::default() }
}

/// What an LSP does after each event, and what it then says of the order.
pub fn scenario(case: &Value) -> Verdict {
    let steps = play(&case["input"]);
    let complaints: Vec<String> = accepted(case)
        .filter_map(|outcome| {
            let wanted = outcome["steps"].as_array().expect("steps");
            assert_eq!(wanted.len(), steps.len(), "a step for each event");
            let mut steps = wanted.iter().zip(&steps).enumerate();
            steps.find_map(|(n, (wanted, step))| differs(wanted, step).map(|why| format!("step {n}: {why}")))
        })
        .collect();
    if complaints.len() < accepted(case).count() { Verdict::Passed } else { Verdict::Failed(complaints.join("; or ")) }
}

struct Step {
    acts: Vec<Act>,
    order: Order,
    /// Hashes of the payments of each way.
    hashes: Vec<(&'static str, PaymentHash)>,
}

fn play(input: &Value) -> Vec<Step> {
    let created_at = at(&input["created_at"]);
    let mut lsp = Lsp::at(created_at, scenario_setup(input));
    let client = peer(1);
    lsp.block(HEIGHT);
    lsp.connects(client);
    let ordered: CreateOrder = serde_json::from_value(input["order"].clone()).expect("an order");
    let order = call(&mut lsp, client, &ordered).expect("an order");
    let named = lsp.service().known_orders().next().expect("one order").number;
    lsp.disconnects(client);
    lsp.acts();
    let (mut height, mut key, mut hashes) = (HEIGHT, ChannelKey { flow: FlowId::Order(named), attempt: 0 }, vec![]);
    let mut steps = vec![];
    let mut refund = None;
    for event in input["events"].as_array().expect("events") {
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
            "funding_published" => lsp.funding_signed(key),
            "open_failed" => lsp.channel_ends(key, ChannelEnd::CannotOpen("no coins".into())),
            "refund_confirmed" => lsp.feed(Input::RefundConfirmed { key: refund.expect("a refund") }),
            "block" => lsp.block(number(&event["height"])),
            "time" => {}
            other => panic!("unknown event {other}"),
        }
        let acts = lsp.acts();
        key = acts.iter().fold(key, |key, act| if let Act::Open { key, .. } = act { *key } else { key });
        if acts.iter().any(|act| matches!(act, Act::Refund { .. })) {
            refund = Some(RefundKey { order: named, number: 0 });
        }
        let order = call(&mut lsp, client, &GetOrder { order_id: order.order_id.as_str().into() }).expect("our order");
        steps.push(Step { acts, order, hashes: hashes.clone() });
    }
    steps
}

fn scenario_setup(input: &Value) -> LspSetup {
    let payment = &input["payment"];
    let way = |name: &str| {
        let way = &payment[name];
        way.is_object().then(|| WayTerms { fee: sat(&way["fee_total_sat"]), expires_at: at(&way["expires_at"]) })
    };
    let onchain = way("onchain").map(|terms| {
        let way = &payment["onchain"];
        (terms, confirmation(number(&way["min_onchain_payment_confirmations"]), way.get("min_fee_for_0conf")))
    });
    let terms = OrderTerms { bolt11: way("bolt11"), bolt12: way("bolt12"), onchain, remember_until: None };
    let config = Config {
        htlc_safety_blocks: Blocks(number_or(&input["policy"]["htlc_safety_blocks"], 0)),
        // The scenarios leave an open in progress for longer than we would.
        open_timeout: Duration::from_secs(86_400),
        ..Config::default()
    };
    let distrusts_deposits = input["policy"]["distrust_tx"] == true;
    LspSetup { config, orders: Some((anything(), terms)), distrusts_deposits, ..LspSetup::default() }
}

fn held(event: &Value, named: OrderNumber, order: &Order) -> HeldPayment {
    let amount = msat(&event["amount_msat"]);
    let claim_before = event["cltv_expiry"].as_u64().map(|_| BlockHeight(number(&event["cltv_expiry"])));
    if event["option"] == "bolt11" {
        let invoice = &order.payment.bolt11.as_ref().expect("an invoice").invoice;
        let hash = invoice.strip_prefix("invoice ").and_then(|hash| hash.parse().ok()).expect("a hash");
        return HeldPayment { by: PaidBy::Invoice, payment_hash: hash, preimage: None, amount, claim_before };
    }
    let preimage = Preimage([u8::try_from(number_or(&event["payment"], 1)).expect("a small number"); 32]);
    let (by, payment_hash) = (PaidBy::Offer(offer_id(named)), PaymentHash::of(&preimage));
    HeldPayment { by, payment_hash, preimage: Some(preimage), amount, claim_before }
}

fn deposit(event: &Value, input: &Value, named: OrderNumber, confirmed_at: Option<u32>) -> Deposit {
    let tx = event["tx"].as_str().unwrap_or("a").as_bytes()[0];
    // What is not said again is as it was said first.
    let of_tx = |other: &&Value| other["tx"] == event["tx"] && other["amount_sat"].is_string();
    let first = input["events"].as_array().into_iter().flatten().find(of_tx).expect("an amount");
    let amount = if event["amount_sat"].is_string() { &event["amount_sat"] } else { &first["amount_sat"] };
    Deposit {
        address: address_of(named),
        outpoint: OutPoint { txid: Txid([tx; 32]), index: 0 },
        amount: sat(amount),
        confirmed_at: confirmed_at.map(BlockHeight),
        fee_rate: event["fee_rate"].as_u64().map(|_| FeeRate(number(&event["fee_rate"]))),
    }
}

/// Why what was done and said is not what was wanted, if it is not.
fn differs(wanted: &Value, step: &Step) -> Option<String> {
    let mut left: Vec<&Act> = step.acts.iter().collect();
    for action in wanted["actions"].as_array().expect("actions") {
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
            // We refuse what comes for those.
            "cancel_invoice" | "cancel_offer" => true,
            "open_channel" => done(&|act| {
                matches!(act, Act::Open { terms, .. }
                    if terms.capacity_sat >= sat(&action["min_capacity_sat"]).0
                        && terms.push >= msat(&action["min_push_msat"])
                        && terms.announce == action["announce"]
                        && terms.confirm_within == Some(Blocks(number(&action["confirm_within_blocks"]))))
            }),
            "release_preimage" => done(&|act| matches!(act, Act::Claim(hash) if of_way(hash))),
            "fail_htlc" => done(&|act| matches!(act, Act::FailPayment(hash) if of_way(hash))),
            "refund_onchain" => done(&|act| {
                matches!(act, Act::Refund { to, deposits }
                    if *to == action["address"] && action["min_amount_sat"].is_null() || refunded(deposits) >= sat(&action["min_amount_sat"]))
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
    let states = said.as_object().expect("an object").iter();
    let mut wrong = states.filter(|(name, state)| wanted.get(*name).is_some_and(|wanted| wanted != *state));
    if let Some((name, state)) = wrong.next() {
        return Some(format!("{name} is {state}, wanted {}", wanted[name]));
    }
    channel_differs(wanted.get("channel")?, &order["channel"])
}

fn channel_differs(wanted: &Value, channel: &Value) -> Option<String> {
    let not_before = wanted["expires_at_not_before"].as_str().map(|_| at(&wanted["expires_at_not_before"]));
    let is_kept = not_before.is_none_or(|least| at(&channel["expires_at"]) >= least);
    let is_there = wanted.is_null() == channel.is_null() && wanted["funded_at"] == channel["funded_at"];
    let is_ours = wanted.is_null() || channel["funding_outpoint"].is_string();
    (!is_there || !is_ours || !is_kept).then(|| format!("the channel is {channel}, wanted {wanted}"))
}

/// What goes back of the outputs, by a transaction of 110 virtual bytes at the least fee rate.
fn refunded(deposits: &[(OutPoint, Sat)]) -> Sat {
    Sat(deposits.iter().map(|(_, amount)| amount.0).sum::<u64>() - 110)
}

/// An order of everything.
fn order() -> CreateOrder {
    CreateOrder {
        lsp_balance_sat: Sat(5_000_000),
        client_balance_sat: Sat(0),
        required_channel_confirmations: 0,
        funding_confirms_within_blocks: 6,
        channel_expiry_blocks: 144,
        token: None,
        refund_onchain_address: None,
        announce_channel: false,
    }
}

fn confirmation(blocks: u32, above: Option<&Value>) -> Confirmation {
    let blocks = NonZeroU16::new(u16::try_from(blocks).expect("few"));
    blocks.map_or_else(|| Confirmation::AtOnce { above: above.map(|rate| FeeRate(number(rate))) }, Confirmation::After)
}

fn at(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse::<DateTime>().expect("a time").instant()
}

fn sat(value: &Value) -> Sat {
    value.as_str().expect("an amount").parse().expect("an amount")
}

fn number_or(value: &Value, otherwise: u32) -> u32 {
    if value.is_null() { otherwise } else { number(value) }
}

/// Of the chain at the start.
const HEIGHT: u32 = 900;

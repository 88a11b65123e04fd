//! `lsps2_htlc_scenarios`: acts of an LSP after each event.

use std::time::Duration;

use lsps_service::{ChannelEnd, ChannelKey, Config, FlowId, HeldHtlc, Input, OfferTerms, PartId, Trust};
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, peer};
use lsps_types::bolt4::{EXTRA_FEE_TLV, FailureCode, encode_extra_fee};
use lsps_types::lsps2::fee::opening_fee;
use lsps_types::{BlockHeight, Blocks, Msat, PaymentHash, Ppm, Scid};
use serde_json::json;

use super::{Case, Given, Verdict, client, msat, number, verdict, verdict_on_steps};

pub fn run(case: &Case) -> Verdict {
    let input = &case.input;
    match input["kind"].as_str().expect("a kind") {
        "lsp_scenario" => lsp_scenario(case),
        "client_receive" => verdict(case, &client::receive(input)),
        "client_cltv" => verdict(case, &client::cltv(input)),
        "lsp_may_close" => {
            let (paid, depth) = (input["paid"].as_bool().expect("paid"), number(&input["confirmations"]));
            let may = lsps_service::may_close(paid, Blocks(depth), Blocks(number(&input["min_lifetime"])));
            verdict(case, &json!({ "ok": may }))
        }
        "encode_extra_fee" => {
            let hex: String =
                encode_extra_fee(msat(&input["amount_msat"])).iter().map(|b| format!("{b:02x}")).collect();
            verdict(case, &json!({ "ok": { "type": EXTRA_FEE_TLV, "value_hex": hex } }))
        }
        "bolt4_code" => {
            let code = code(input["name"].as_str().expect("a name")).map(|code| format!("{:04x}", code.number()));
            verdict(case, &json!({ "ok": { "code_hex": code } }))
        }
        other => Verdict::Failed(format!("unknown kind {other}")),
    }
}

fn lsp_scenario(case: &Case) -> Verdict {
    let htlc_minimum = msat(&case.input["setup"]["htlc_minimum_msat"]);
    verdict_on_steps(case, &play(&case.input), |wanted, done| differs(wanted, done, htlc_minimum))
}

/// Plays the events, and returns the acts after each.
fn play(input: &Given) -> Vec<Vec<Act>> {
    let setup = &input["setup"];
    let scid: Scid = JIT_SCID.parse().expect("a SCID");
    let setup_of_lsp = lsp_setup(setup, scid);
    let client = peer(1);
    let size = setup["payment_size_msat"].as_str().map(|_| msat(&setup["payment_size_msat"]));
    assert_eq!(setup["mode"].as_str(), Some(if size.is_some() { "fixed" } else { "var" }));
    if !setup["opening_fee_msat"].is_null() {
        let OfferTerms { min_fee, proportional, .. } = setup_of_lsp.terms;
        let fee = size.and_then(|size| opening_fee(size, min_fee, proportional));
        assert_eq!(fee, Some(msat(&setup["opening_fee_msat"])));
    }
    let mut lsp = Lsp::at(NOON, setup_of_lsp);
    buys(&mut lsp, client, size);
    if setup["client_connected"].as_bool().expect("client_connected") {
        lsp.connects(client);
    }
    let mut key = ChannelKey { flow: FlowId::JitChannel(scid), attempt: 0 };
    let mut steps: Vec<Vec<Act>> = vec![];
    for event in input["events"].items() {
        lsp.wait_until(NOON + Duration::from_millis(event["at_ms"].as_u64().expect("at_ms")));
        let part = || id(event["id"].as_str().expect("an id"));
        match event["ev"].as_str().expect("an event") {
            "htlc" => {
                let amount_in = msat(&event["amount_msat"]);
                let onion_amount = event["onion_msat"].as_str().map_or(amount_in, |_| msat(&event["onion_msat"]));
                let PartId(hash) = id(event["hash"].as_str().expect("a hash"));
                lsp.htlc(HeldHtlc {
                    part: part(),
                    scid: event["scid"].as_str().map_or(scid, |text| text.parse().expect("a SCID")),
                    payment_hash: PaymentHash(hash),
                    amount_in,
                    onion_amount,
                    cltv_expiry: event["cltv_expiry"].as_u64().map(|_| BlockHeight(number(&event["cltv_expiry"]))),
                });
            }
            "htlc_gone" => lsp.feed(Input::PartGone { part: part() }),
            "tick" => {}
            "connect" => lsp.connects(client),
            "disconnect" => lsp.disconnects(client),
            "accept_channel" => {
                let delay = u16::try_from(number(&event["to_self_delay"])).expect("a delay");
                lsp.accepts_channel(key, Some(delay));
            }
            "open_rejected" => lsp.channel_ends(key, ChannelEnd::Rejected),
            "lsp_aborts_open" => lsp.channel_ends(key, ChannelEnd::TryAgain),
            "open_failed" => lsp.channel_ends(key, ChannelEnd::CannotOpen("no coins".into())),
            "funding_signed" => lsp.funding_signed(key),
            "client_channel_ready" => lsp.channel_ready(key),
            "fulfilled" => lsp.claimed(part()),
            "failed_by_client" => lsp.failed_by_client(part()),
            "block" => lsp.block(number(&event["height"])),
            "restart" => lsp.restarts(),
            other => panic!("unknown event {other}"),
        }
        let mut acts = lsp.acts();
        if event["ev"] == "restart" {
            // An act that was requested before the restart and has no outcome yet may be requested again.
            acts.retain(|act| !steps.iter().flatten().any(|earlier| earlier == act));
        }
        key = acts.iter().fold(key, |key, act| if let Act::Open { key, .. } = act { *key } else { key });
        steps.push(acts);
    }
    steps
}

fn lsp_setup(setup: &Given, scid: Scid) -> LspSetup {
    let config = Config {
        hold: Duration::from_millis(setup["hold_timeout_ms"].as_u64().expect("hold_timeout_ms")),
        // The scenarios keep an open in progress for longer than the default time-out.
        open_timeout: Duration::from_secs(600),
        sign_timeout: Duration::from_secs(600),
        htlc_minimum: msat(&setup["htlc_minimum_msat"]),
        htlc_safety_blocks: Blocks(
            setup["htlc_safety_blocks"].as_u64().map_or(0, |_| number(&setup["htlc_safety_blocks"])),
        ),
        ..Config::default()
    };
    let terms = OfferTerms {
        min_fee: msat(&setup["min_fee_msat"]),
        proportional: Ppm(number(&setup["proportional"])),
        valid_until: NOON + Duration::from_millis(setup["valid_until_ms"].as_u64().expect("valid_until_ms")),
        min_lifetime: Blocks(1_008),
        max_client_to_self_delay: Blocks(2_016),
        min_payment_size: msat(&setup["min_payment_size_msat"]),
        max_payment_size: msat(&setup["max_payment_size_msat"]),
    };
    let trust = if setup["client_trusts_lsp"] == true { Trust::ClientTrustsLsp } else { Trust::LspTrustsClient };
    LspSetup { config, terms, trust, scids: vec![scid], ..LspSetup::default() }
}

/// Why the acts differ from the wanted ones, or `None` if they do not.
fn differs(wanted: &Given, done: &[Act], htlc_minimum: Msat) -> Option<String> {
    let mut left: Vec<&Act> = done.iter().collect();
    for action in wanted.items() {
        let satisfied = match action["do"].as_str().expect("an action") {
            // These are statements about state, and actions that nodes take by themselves.
            "hold" | "flow_complete" | "send_channel_ready" | "claim_incoming" => {
                action.json();
                true
            }
            "keep_funding_unbroadcast" => !done.iter().any(|act| matches!(act, Act::Broadcast(_))),
            "broadcast_funding" => take(&mut left, |act| matches!(act, Act::Broadcast(_))) == 1,
            "abort_open" => take(&mut left, |act| matches!(act, Act::Abandon(_))) == 1,
            "open_channel" => opens(action, &mut left),
            "not_ours" => ids(action).all(|id| take(&mut left, |act| *act == Act::NotMine(id)) == 1),
            "fail" => match action["code"].as_str().expect("a code") {
                "as_received" => {
                    action.json();
                    true
                }
                name => code(name).is_some_and(|code| {
                    ids(action).all(|part| take(&mut left, |act| *act == Act::Fail { part, code }) == 1)
                }),
            },
            "forward" => forwards(action, &mut left, htlc_minimum),
            other => panic!("unknown action {other}"),
        };
        if !satisfied {
            return Some(format!("wanted {action}, done {done:?}"));
        }
    }
    left.retain(|act| !matches!(act, Act::Abandon(_) | Act::Wake { .. }));
    (!left.is_empty()).then(|| format!("not wanted: {left:?}"))
}

/// The binding gives a channel an SCID alias exactly if the core does not want it announced.
fn opens(action: &Given, left: &mut Vec<&Act>) -> bool {
    let least = msat(&action["min_forwardable_msat"]);
    let delay = number(&action["max_client_to_self_delay"]);
    let is_announced = action["announce"] == true;
    assert_eq!(action["scid_alias"] == true, !is_announced, "{action}");
    take(left, |act| {
        matches!(act, Act::Open { terms, .. }
            if terms.deliver >= least
                && terms.max_client_to_self_delay == Some(delay)
                && terms.announce == is_announced)
    }) == 1
}

/// Any split that obeys the rule is accepted, as long as every part keeps the minimum and no part carries more than
/// came in.
fn forwards(action: &Given, left: &mut Vec<&Act>, htlc_minimum: Msat) -> bool {
    let (mut fee_wanted, mut fee_taken) = (0, 0);
    for part in action["parts"].items() {
        let out_wanted = msat(&part["out_msat"]).0;
        let extra_fee = if part["extra_fee_msat"].is_null() { 0 } else { msat(&part["extra_fee_msat"]).0 };
        let came_in = msat(&part["in_msat"]).0;
        fee_wanted += extra_fee;
        let id = id(part["id"].as_str().expect("an id"));
        let found = left.iter().position(|act| matches!(act, Act::Forward { part, .. } if *part == id));
        let Some(Act::Forward { amount, extra_fee: taken, .. }) = found.map(|at| left.remove(at)) else { return false };
        let is_whole = amount.0 + taken.0 == out_wanted + extra_fee && amount.0 + taken.0 <= came_in;
        if !is_whole || *amount < htlc_minimum.max(Msat(1)) {
            return false;
        }
        fee_taken += taken.0;
    }
    match action["rule"].as_str() {
        None | Some("any split with the same total fee, every out ≥ htlc_minimum, TLV iff fee > 0") => {
            fee_taken == fee_wanted
        }
        Some("no opening fee any more" | "no opening fee; ordinary channel fees may apply") => fee_taken == 0,
        Some("onion amount = out + extra_fee; the LSP keeps no more than the fee") => fee_taken <= fee_wanted,
        Some(other) => panic!("unknown rule {other}"),
    }
}

fn take(left: &mut Vec<&Act>, wanted: impl Fn(&Act) -> bool) -> usize {
    let before = left.len();
    left.retain(|act| !wanted(act));
    before - left.len()
}

fn ids(action: &Given) -> impl Iterator<Item = PartId> {
    action["ids"].items().map(|text| id(text.as_str().expect("an id")))
}

/// The whole text, as 32 bytes.
fn id(text: &str) -> PartId {
    let mut bytes = [0; 32];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    PartId(bytes)
}

fn code(name: &str) -> Option<FailureCode> {
    match name {
        "unknown_next_peer" => Some(FailureCode::UnknownNextPeer),
        "temporary_channel_failure" => Some(FailureCode::TemporaryChannelFailure),
        _ => None,
    }
}

const JIT_SCID: &str = "29451x4815x1";

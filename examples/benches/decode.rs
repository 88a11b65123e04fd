//! How long it takes to read a message, beside the floor: `serde_json` into the same struct, with no envelope, no limits
//! and no checks. And beside the way by `serde_json::Value` into the structs of `lightning-liquidity`, which is how that
//! crate reads; its own entry is private, so this leaves out what it does besides. Same bytes, same run; ratios of medians.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lightning_liquidity::lsps0::msgs::LSPS0ListProtocolsResponse;
use lightning_liquidity::lsps1::msgs::LSPS1CreateOrderResponse;
use lightning_liquidity::lsps2::msgs::{LSPS2BuyRequest, LSPS2GetInfoRequest, LSPS2GetInfoResponse};
use lightning_liquidity::lsps5::msgs::SetWebhookRequest;
use lsps_types::Request;
use lsps_types::jsonrpc::{FromLsp, Incoming};
use lsps_types::lsps0::ListProtocols;
use lsps_types::lsps1::CreateOrder;
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::lsps5::SetWebhook;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn main() {
    println!("{:32}{:>8}{:>10}{:>12}{:>10}{:>12}", "message", "bytes", "ours", "bare serde", "ratio", "by Value");
    let terms = r#"{"min_fee_msat":"1303600","proportional":4000,"valid_until":"2026-01-01T13:00:00.000Z","min_lifetime":4320,"max_client_to_self_delay":2016,"min_payment_size_msat":"1000","max_payment_size_msat":"10000000000","promise":"1.60a1c7e6f0d94b5a8e3c2d1f60a1c7e6f0d94b5a8e3c2d1f60a1c7e6f0d94b5a"}"#;
    let menu = format!(r#"{{"opening_fee_params_menu":[{terms},{terms},{terms}]}}"#);
    let buy = format!(r#"{{"opening_fee_params":{terms},"payment_size_msat":"40000000"}}"#);
    let order = r#"{"order_id":"bb4b5d0a-8334-49d8-9463-90a6d413af7c","lsp_balance_sat":"5000000","client_balance_sat":"2000000","required_channel_confirmations":0,"funding_confirms_within_blocks":6,"channel_expiry_blocks":144,"token":"","created_at":"2026-03-01T12:00:00.000Z","announce_channel":true,"order_state":"CREATED","payment":{"onchain":{"state":"EXPECT_PAYMENT","expires_at":"2026-03-01T13:00:00.000Z","fee_total_sat":"9999","order_total_sat":"2009999","address":"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0","min_fee_for_0conf":253,"min_onchain_payment_confirmations":0}},"channel":null}"#;
    let webhook = r#"{"app_name":"an app","webhook":"https://push.example.org/n?token=5f0c3e9a77d1428e9b6a"}"#;
    request::<GetInfo, LSPS2GetInfoRequest>(r#"{"token":"spring"}"#);
    request::<Buy, LSPS2BuyRequest>(&buy);
    request::<SetWebhook, SetWebhookRequest>(webhook);
    reply::<ListProtocols, LSPS0ListProtocolsResponse>(r#"{"protocols":[1,2,5]}"#);
    reply::<GetInfo, LSPS2GetInfoResponse>(&menu);
    reply::<CreateOrder, LSPS1CreateOrderResponse>(order);
}

/// An LSP reads a request.
fn request<R: Request, Theirs: DeserializeOwned>(params: &str) {
    #[derive(Deserialize)]
    struct Bare<'a, R> {
        #[serde(borrow)]
        jsonrpc: &'a str,
        id: &'a str,
        method: &'a str,
        params: R,
    }
    let name = R::METHOD.name();
    let payload =
        format!(r#"{{"jsonrpc":"2.0","method":"{name}","params":{params},"id":"5f0c3e9a77d1428e9b6a5f0c3e9a77d1"}}"#);
    let ours = || Incoming::decode(payload.as_bytes()).expect("a request").params::<R>().expect("its parameters");
    let bare = || {
        let bare: Bare<'_, R> = serde_json::from_slice(payload.as_bytes()).expect("a request");
        black_box((bare.jsonrpc, bare.id, bare.method));
        bare.params
    };
    row(&format!("{name} request"), payload.len(), ours, bare, || by_value::<Theirs>(&payload, "params"));
}

/// A client reads a reply.
fn reply<R: Request, Theirs: DeserializeOwned>(result: &str) {
    #[derive(Deserialize)]
    struct Bare<'a, R> {
        #[serde(borrow)]
        jsonrpc: &'a str,
        id: &'a str,
        result: R,
    }
    let payload = format!(r#"{{"jsonrpc":"2.0","id":"5f0c3e9a77d1428e9b6a5f0c3e9a77d1","result":{result}}}"#);
    let ours = || {
        let Ok(FromLsp::Response { outcome: Ok(raw), .. }) = FromLsp::decode(payload.as_bytes()) else { panic!() };
        raw.reply::<R>().expect("the reply")
    };
    let bare = || {
        let bare: Bare<'_, R::Reply> = serde_json::from_slice(payload.as_bytes()).expect("a reply");
        black_box((bare.jsonrpc, bare.id));
        bare.result
    };
    let name = format!("{} reply", R::METHOD.name());
    row(&name, payload.len(), ours, bare, || by_value::<Theirs>(&payload, "result"));
}

fn by_value<T: DeserializeOwned>(payload: &str, member: &str) -> T {
    let mut value: Value = serde_json::from_str(payload).expect("JSON");
    serde_json::from_value(value[member].take()).expect("what the other crate reads")
}

fn row<A, B, C>(name: &str, bytes: usize, ours: impl Fn() -> A, bare: impl Fn() -> B, theirs: impl Fn() -> C) {
    // Taken in turns, so that what disturbs one disturbs all.
    let mut times = [vec![], vec![], vec![]];
    for _ in 0..SAMPLES {
        times[0].push(time(&ours));
        times[1].push(time(&bare));
        times[2].push(time(&theirs));
    }
    let [ours, bare, theirs] = times.map(|mut times| {
        times.sort();
        times[SAMPLES / 2]
    });
    let nanos = |time: Duration| format!("{} ns", time.as_nanos() / u128::from(CALLS));
    let ratio = |a: Duration, b: Duration| format!("{:.2}", a.as_secs_f64() / b.as_secs_f64());
    let (floor, other) = (ratio(ours, bare), ratio(theirs, ours));
    println!("{name:32}{bytes:>8}{:>10}{:>12}{floor:>10}{other:>11}x", nanos(ours), nanos(bare));
}

fn time<T>(call: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..CALLS {
        black_box(call());
    }
    start.elapsed()
}

const SAMPLES: usize = 61;
const CALLS: u32 = 2_000;

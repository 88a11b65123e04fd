//! A client that is played by the test, over a real connection, and sends invalid messages. Our LSP answers as the
//! specifications require, and another wallet is paid anyway.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bitcoin::{Address, Network};
use lightning::util::config::UserConfig;
use lsps_node::node::{Node, Setup, passes, within};
use lsps_node::store::MemoryStore;
use lsps_service::TokenTerms;
use lsps_testing::fault::{Power, Wire};
use lsps_testing::scene::{Scene, Script};
use lsps_transport_ldk::{LspEvent, LspsMessageHandler, PeerEvent, Role};
use lsps_types::{PeerId, Ppm};
use serde_json::{Value, json};

use crate::{AMOUNT, BY_HAND, FEE_LIMIT, HOUR, RAW};
use lsps_testing::table::Outcome::Works;

const PARSE_ERROR: i64 = -32_700;
const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_gets_one_error_each() {
    let world = World::new().await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":"a","method":"lsps2.get_info","params":{}{}}}"#,
        "[".repeat(9_000),
        "]".repeat(9_000)
    );
    let long_id = json!({"jsonrpc": "2.0", "id": "i".repeat(60_000), "method": "lsps0.list_protocols", "params": {}});
    let junk: [&[u8]; 15] = [
        b"",
        b"hello",
        b"\xff\xfe\x00",
        b"{",
        b"[]",
        b"null",
        br#"{"jsonrpc":"2.0","id":"a","method":"lsps0.list_protocols","params":{}} {}"#,
        br#"[{"jsonrpc":"2.0","id":"a","method":"lsps0.list_protocols","params":{}}]"#,
        br#"{"jsonrpc":"1.0","id":"a","method":"lsps0.list_protocols","params":{}}"#,
        br#"{"jsonrpc":"2.0","method":"lsps0.list_protocols","params":{}}"#,
        br#"{"jsonrpc":"2.0","id":null,"method":"lsps0.list_protocols","params":{}}"#,
        br#"{"jsonrpc":"2.0","id":"a","id":"b","method":"lsps0.list_protocols","params":{}}"#,
        br#"{"jsonrpc":"2.0","id":"a","result":{"protocols":[2]}}"#,
        deep.as_bytes(),
        &serde_json::to_vec(&long_id).unwrap(),
    ];
    for payload in junk {
        let answers = world.says(payload).await;
        let [answer] = &answers[..] else { panic!("{answers:?} to {}", String::from_utf8_lossy(payload)) };
        assert_eq!((&answer["id"], code(answer)), (&Value::Null, PARSE_ERROR), "{}", String::from_utf8_lossy(payload));
    }
    world.another_wallet_is_paid().await;
    BY_HAND.shows(RAW, "what is no request: bad UTF-8, half an object, an array, two objects, 9 000 levels, an id of 60 000 characters", Works);
}

/// Otherwise two LSPs would send each other errors forever.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_for_nothing_is_not_answered() {
    let world = World::new().await;
    let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": PARSE_ERROR, "message": "what?"}});
    assert_eq!(world.asks(&error).await, [] as [Value; 0]);
    world.another_wallet_is_paid().await;
    BY_HAND.shows(RAW, "an error that answers nothing", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_come_back_as_they_were_whatever_they_are() {
    let world = World::new().await;
    for id in [json!(7), json!(-1), json!(i64::MAX), json!(""), json!("\u{1f980}")] {
        let answers = world.asks(&request(&id, "lsps0.list_protocols", &json!({}))).await;
        assert_eq!(answers, [json!({"jsonrpc": "2.0", "id": id, "result": {"protocols": [2]}})]);
    }
    for _ in 0..2 {
        let [answer] = &world.asks(&request(&json!("twice"), "lsps2.get_info", &json!({}))).await[..] else { panic!() };
        assert!(answer["result"]["opening_fee_params_menu"].is_array(), "an id that was answered is free again");
    }
    world.another_wallet_is_paid().await;
    BY_HAND.shows(RAW, "ids that are numbers, empty, or used again", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_and_what_does_not_fit_is_said() {
    let world = World::new().await;
    let huge = "t".repeat(65_000);
    let cases = [
        ("lsps2.sell", json!({}), METHOD_NOT_FOUND),
        ("lsps1.get_info", json!({}), METHOD_NOT_FOUND),
        ("rm -rf", json!({}), METHOD_NOT_FOUND),
        ("lsps2.get_info", json!({"token": huge}), 200),
        ("lsps2.get_info", json!({"token": 7}), INVALID_PARAMS),
        ("lsps2.get_info", json!({"version": 1}), INVALID_PARAMS),
        ("lsps2.buy", json!({}), INVALID_PARAMS),
        ("lsps2.buy", json!({"opening_fee_params": "all of them"}), INVALID_PARAMS),
    ];
    for (method, params, expected) in cases {
        let answers = world.asks(&request(&json!("a"), method, &params)).await;
        let [answer] = &answers[..] else { panic!("{answers:?} to {method}") };
        assert_eq!((&answer["id"], code(answer)), (&json!("a"), expected), "{method}: {answer}");
        assert_eq!(answer["error"]["data"]["unrecognized"].is_array(), expected == INVALID_PARAMS);
    }
    world.another_wallet_is_paid().await;
    BY_HAND.shows(RAW, "methods and parameters that do not exist, or do not fit", Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sold_that_was_not_offered_to_who_buys() {
    let world = World::new().await;
    let terms = world.terms().await;
    let changed = |name: &str, value: Value| {
        let mut terms = terms.clone();
        terms[name] = value;
        terms
    };
    let stranger = Raw::connect(&world.scene, [67; 32]).await;
    let of_another = stranger.asks(&request(&json!("a"), "lsps2.get_info", &json!({}))).await;
    let of_another = of_another[0]["result"]["opening_fee_params_menu"][0].clone();
    for bad in [
        changed("min_fee_msat", json!("0")),
        changed("proportional", json!(0)),
        changed("valid_until", json!("2099-01-01T00:00:00.000Z")),
        changed("promise", json!("")),
        of_another,
    ] {
        let answers = world.asks(&buy(&bad, "40000000")).await;
        assert_eq!(code(&answers[0]), 201, "{bad}");
    }
    for (size, expected) in [("1", 202), ("18446744073709551615", 203)] {
        assert_eq!(code(&world.asks(&buy(&terms, size)).await[0]), expected, "{size}");
    }
    let [first, second] = [world.asks(&buy(&terms, "40000000")).await, world.asks(&buy(&terms, "40000000")).await];
    let scid = |answers: &[Value]| answers[0]["result"]["jit_channel_scid"].clone();
    assert!(scid(&first).is_string() && scid(&first) != scid(&second), "each buy has an SCID of its own");
    world.another_wallet_is_paid().await;
    BY_HAND.shows(RAW, "buying what was changed, or offered to another", Works);
}

/// ZEUS has these parameters in each of its orders, and does not repeat one without them. The free channel opens by
/// itself.
#[tokio::test(flavor = "multi_thread")]
async fn case_Z01_orders_as_zeus_sends_them_are_served_and_a_gift_is_opened() {
    let gift = TokenTerms { discount: Ppm(1_000_000), ..TokenTerms::default() };
    let mut script = Script::of_orders();
    script.policy.tokens = [("GIFT".into(), gift)].into();
    let scene = Scene::set(script).await.expect("the nodes start");
    scene.chain.give(&scene.lsp.node.wallet().script(), 5_000_000);
    scene.trio().are_current().await.expect("it has coins");
    let mut events = scene.lsp.host.events();
    let world = World { raw: Raw::connect(&scene, [66; 32]).await, scene };
    let script = world.raw.node.wallet().script();
    let refund = Address::from_script(&script, Network::Regtest).expect("SegWit").to_string();
    let orders = |token: &'static str, refund: &str| {
        json!({
            "lsp_balance_sat": "600000", "client_balance_sat": "0", "required_channel_confirmations": 0,
            "funding_confirms_within_blocks": 6, "channel_expiry_blocks": 4_380, "token": token,
            "refund_onchain_address": refund, "announce_channel": false,
            "client_info": { "app": "ZEUS", "app_version": "0.12.0", "node": "LND", "node_version": "0.20.0-beta" },
        })
    };
    let asks = async |params: Value| world.raw.calls("lsps1.create_order", &params).await;
    for (params, onchain) in [(orders("", ""), false), (orders("", &refund), true)] {
        let answer = asks(params).await;
        let order = &answer["result"];
        assert_eq!((&order["order_state"], &order["token"]), (&json!("CREATED"), &json!("")), "{answer}");
        assert!(order["payment"]["bolt11"]["invoice"].is_string(), "{answer}");
        assert_eq!(order["payment"].get("onchain").is_some(), onchain, "{answer}");
    }
    let gift = asks(orders("GIFT", "")).await;
    assert_eq!((&gift["result"]["payment"], &gift["result"]["token"]), (&json!({}), &json!("GIFT")), "{gift}");
    let get = json!({ "order_id": gift["result"]["order_id"] });
    let mut now = Value::Null;
    for _ in 0..200 {
        now = world.raw.calls("lsps1.get_order", &get).await;
        if now["result"]["order_state"] == "COMPLETED" || !passes(50).await {
            break;
        }
    }
    let funding = now["result"]["channel"]["funding_outpoint"].as_str().unwrap_or_else(|| panic!("{now}"));
    let channels = world.raw.node.channel_manager().list_channels();
    let [channel] = &channels[..] else { panic!("{channels:?}") };
    let outpoint = channel.funding_txo.expect("it is funded");
    assert_eq!(
        (format!("{}:{}", outpoint.txid, outpoint.index).as_str(), channel.channel_value_satoshis),
        (funding, 600_000)
    );
    let told = std::iter::from_fn(|| events.try_recv()).find_map(|event| match event {
        LspEvent::ClientIntroduced(introduced) => Some(introduced.info),
        _ => None,
    });
    let told = told.expect("the operator is told");
    assert_eq!((told.app(), told.node_version()), (Some("ZEUS"), Some("0.20.0-beta")));
    BY_HAND.shows(
        RAW,
        "orders as ZEUS sends them: `client_info`, `token` and `refund_onchain_address` that are empty, a token that gives the channel away",
        Works,
    );
}

/// The client sends more requests than it may have waiting. The excess is dropped, and no other peer is affected.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_peer_is_its_own_loss() {
    let world = World::new().await;
    let ask = |id: String| serde_json::to_vec(&request(&json!(id), "lsps2.get_info", &json!({}))).unwrap();
    world.raw.sends((0..1_000).map(|n| ask(n.to_string())));
    world.another_wallet_is_paid().await;
    assert!(within(|| world.raw.hears(|answer| answer["result"].is_object())).await, "some are answered");
    let is_heard_again = || world.raw.hears(|answer| answer["id"] == "after it");
    for _ in 0..40 {
        world.raw.sends([ask("after it".into())]);
        if passes(250).await && is_heard_again() {
            break;
        }
    }
    assert!(is_heard_again(), "it is never heard again");
    BY_HAND.shows(RAW, "1 000 requests at once", Works);
}

/// The client sends requests and does not read the answers. Requests that are not dropped wait in its connection until
/// that takes in no more.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_its_answers_is_its_own_loss() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let script = Script {
        on_request: Arc::new(move |message| {
            if !message.sent && message.payload.ends_with(br#""slow"}"#) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }),
        ..Script::default()
    };
    let scene = Scene::set(script).await.expect("the nodes start");
    let wire = Wire::to(scene.lsp.node.address(), Power::default()).await.expect("a port");
    let world = World { raw: Raw::connect_at(&scene, wire.address(), [66; 32]).await, scene };
    let ask = br#"{"jsonrpc":"2.0","method":"lsps2.get_info","params":{},"id":"slow"}"#;
    world.raw.sends([ask.to_vec()]);
    assert!(within(|| asked.load(Ordering::SeqCst) == 1).await, "it is heard");
    wire.clogs();
    world.raw.sends(std::iter::repeat_n(ask.to_vec(), 10_000));
    let mut heard = 0;
    while heard < 1_000 || heard < asked.load(Ordering::SeqCst) {
        heard = asked.load(Ordering::SeqCst);
        assert!(passes(1_000).await);
    }
    world.another_wallet_is_paid().await;
    BY_HAND.shows(RAW, "10 000 requests whose answers nobody takes", Works);
}

/// The scene of an honest wallet, and this client.
struct World {
    scene: Scene,
    raw: Raw,
}

impl World {
    async fn new() -> Self {
        let scene = Scene::set(Script::default()).await.expect("the nodes start");
        let raw = Raw::connect(&scene, [66; 32]).await;
        Self { scene, raw }
    }

    async fn says(&self, payload: &[u8]) -> Vec<Value> {
        self.raw.says(payload).await
    }

    async fn asks(&self, message: &Value) -> Vec<Value> {
        self.raw.asks(message).await
    }

    async fn terms(&self) -> Value {
        let menu = self.asks(&request(&json!("a"), "lsps2.get_info", &json!({}))).await;
        menu[0]["result"]["opening_fee_params_menu"][0].clone()
    }

    async fn another_wallet_is_paid(&self) {
        let before = self.scene.balances().expect("nothing is under way");
        let wallet = &self.scene.wallet.host;
        let jit = wallet.receive_via_jit_channel(AMOUNT, "in spite of it", HOUR, FEE_LIMIT).await.expect("it sells");
        self.scene.payer.pay(&jit.invoice, AMOUNT.0).expect("a route");
        let account = self.scene.settle(before, jit.fee.0).await.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((account.paid, account.received), (AMOUNT.0, AMOUNT.0 - jit.fee.0));
    }
}

struct Raw {
    node: Arc<Node<LspsMessageHandler>>,
    messages: Arc<LspsMessageHandler>,
    lsp: PeerId,
    heard: Mutex<Vec<Value>>,
}

impl Raw {
    async fn connect(scene: &Scene, seed: [u8; 32]) -> Self {
        Self::connect_at(scene, scene.lsp.node.address(), seed).await
    }

    async fn connect_at(scene: &Scene, address: SocketAddr, seed: [u8; 32]) -> Self {
        let messages = LspsMessageHandler::new(Role::Client);
        let (store, config) = (Arc::new(MemoryStore::new()), UserConfig::default());
        let setup = Setup { name: "raw client", seed, store, config, chain: Arc::new(scene.chain.clone()) };
        let node = Node::build(setup, Arc::clone(&messages)).await.expect("it starts");
        node.run(|_| std::future::ready(Ok(())));
        let lsp = scene.lsp.node.node_id();
        assert!(node.connect(lsp, address).await);
        Self { node, messages, lsp: lsp.into(), heard: Mutex::default() }
    }

    /// Returns the answers to this payload, that is, all messages before the answer to a request that follows it.
    async fn says(&self, payload: &[u8]) -> Vec<Value> {
        let follows = request(&json!("follows"), "lsps0.list_protocols", &json!({}));
        self.sends([payload.to_vec(), serde_json::to_vec(&follows).unwrap()]);
        let is_last = |answer: &Value| answer["id"] == "follows";
        assert!(within(|| self.hears(is_last)).await, "it listens no more after {}", String::from_utf8_lossy(payload));
        let mut answers = std::mem::take(&mut *self.heard.lock().unwrap());
        answers.retain(|answer| !is_last(answer));
        answers
    }

    async fn asks(&self, message: &Value) -> Vec<Value> {
        self.says(&serde_json::to_vec(message).unwrap()).await
    }

    /// Returns the answer to this request, which others may overtake.
    async fn calls(&self, method: &str, params: &Value) -> Value {
        let id = json!("call");
        self.sends([serde_json::to_vec(&request(&id, method, params)).unwrap()]);
        assert!(within(|| self.hears(|answer| answer["id"] == id)).await, "{method} is not answered");
        let mut heard = std::mem::take(&mut *self.heard.lock().unwrap());
        heard.retain(|answer| answer["id"] == id);
        heard.remove(0)
    }

    fn sends(&self, payloads: impl IntoIterator<Item = Vec<u8>>) {
        self.messages.send(payloads.into_iter().map(|payload| (self.lsp, payload)));
        self.node.peer_manager().process_events();
    }

    /// Whether one of the received answers satisfies `is_it`.
    fn hears(&self, is_it: impl Fn(&Value) -> bool) -> bool {
        let mut heard = self.heard.lock().unwrap();
        heard.extend(self.messages.take().into_iter().filter_map(|event| match event {
            PeerEvent::Message(_, payload) => Some(serde_json::from_slice::<Value>(&payload).expect("JSON")),
            PeerEvent::Connected(_) | PeerEvent::Disconnected(_) => None,
        }));
        heard.iter().any(is_it)
    }
}

fn request(id: &Value, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn buy(terms: &Value, size: &str) -> Value {
    request(&json!("a"), "lsps2.buy", &json!({"opening_fee_params": terms, "payment_size_msat": size}))
}

fn code(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {answer}"))
}

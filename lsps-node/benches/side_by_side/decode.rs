//! Time to read a message. It is compared with the floor, `serde_json` into the same struct without envelope, limits
//! and checks, and with `lightning-liquidity`. Both sides go from the bytes that the node has to the typed message.

use std::hint::black_box;

use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::ln::wire::CustomMessageReader;
use lightning_liquidity::lsps1::msgs::LSPS1OrderParams;
use lightning_liquidity::lsps2::msgs::LSPS2OpeningFeeParams;
use lsps_client::{Client as Wallet, Config};
use lsps_testing::NOON;
use lsps_transport_ldk::{LspsMessageHandler, Role};
use lsps_types::jsonrpc::{FromLsp, Incoming, MESSAGE_TYPE};
use lsps_types::lsps0::ListProtocols;
use lsps_types::{Request, lsps1, lsps2, lsps5};
use serde::Deserialize;
use serde_json::Value;

use crate::clock::{in_turns, median, per_piece};
use crate::report::{Report, micros, times};
use crate::serve::ID;
use crate::side::{Client, clients};
use crate::theirs::Theirs;

pub fn run(report: &mut Report) {
    let lsp = clients(1)[0];
    let mut rows = Rows { lsp, theirs: Theirs::client(), taken: vec![] };
    rows.requests();
    rows.replies();
    let line = |row: &Row| {
        let (floor, others) = (row.ours / row.floor, row.theirs / row.from_node);
        let times_of = [row.floor, row.ours, row.from_node, row.theirs].map(micros);
        [vec![row.name.clone(), row.bytes.to_string()], times_of.into(), vec![times(floor), times(others)]].concat()
    };
    let lines: Vec<_> = rows.taken.iter().map(line).collect();
    let head = ["message", "bytes", "floor", "ours", "ours, from the node", "theirs", "ours / floor", "theirs / ours"];
    report.table("Reading messages", ABOUT, &head, &lines);
    let floor = |row: &Row| row.ours / row.floor;
    let beside = |row: &Row| row.from_node / row.theirs;
    for (wanted, unit, of, holds) in
        [(1.5, "× the floor", &floor as &dyn Fn(&Row) -> f64, HOLDS_FLOOR), (0.4, "× theirs", &beside, HOLDS_THEIRS)]
    {
        let (met, all) = (rows.taken.iter().filter(|row| of(row) <= wanted).count(), rows.taken.len());
        let worst = rows.taken.iter().map(of).fold(0.0, f64::max);
        report.target(&format!("each message, the worst ({met} of {all} meet it)"), wanted, worst, unit, holds);
    }
    let order = rows.taken.iter().find(|row| row.name == "lsps1.create_order reply").expect("it was read");
    report.target("read an order with an invoice", 2.0 / 37.0, beside(order), "× theirs", HOLDS_ORDER);
}

struct Rows {
    lsp: Client,
    theirs: Theirs,
    taken: Vec<Row>,
}

/// One row, in nanoseconds.
struct Row {
    name: String,
    bytes: usize,
    floor: f64,
    ours: f64,
    from_node: f64,
    theirs: f64,
}

impl Rows {
    fn requests(&mut self) {
        let (buy, id) = (format!(r#"{{"opening_fee_params":{TERMS},"payment_size_msat":"40000000"}}"#), ORDER_ID);
        self.request::<ListProtocols>("{}");
        self.request::<lsps1::GetInfo>("{}");
        self.request::<lsps1::CreateOrder>(&format!("{{{ORDERED},\"token\":\"spring\"}}"));
        self.request::<lsps1::GetOrder>(&format!(r#"{{"order_id":"{id}"}}"#));
        self.request::<lsps2::GetInfo>(r#"{"token":"spring"}"#);
        self.request::<lsps2::Buy>(&buy);
        self.request::<lsps5::SetWebhook>(&format!(r#"{{"app_name":"an app","webhook":"{WEBHOOK}"}}"#));
        self.request::<lsps5::ListWebhooks>("{}");
        self.request::<lsps5::RemoveWebhook>(r#"{"app_name":"an app"}"#);
    }

    fn replies(&mut self) {
        let to = self.lsp.key;
        let menu = format!(r#"{{"opening_fee_params_menu":[{TERMS},{TERMS},{TERMS}]}}"#);
        let order = format!(r#"{{"order_id":"{ORDER_ID}",{ORDERED},"token":"",{PAYMENT}}}"#);
        let bought = r#"{"jit_channel_scid":"29451x4815x1","lsp_cltv_expiry_delta":144,"client_trusts_lsp":false}"#;
        let terms: LSPS2OpeningFeeParams = serde_json::from_str(TERMS).expect("terms");
        let ordered: LSPS1OrderParams = serde_json::from_str(&format!("{{{ORDERED}}}")).expect("an order");
        let our_order: lsps1::CreateOrder = serde_json::from_str(&format!("{{{ORDERED}}}")).expect("an order");
        let our_terms = serde_json::from_str(TERMS).expect("terms");
        self.reply(&ListProtocols {}, r#"{"protocols":[1,2,5]}"#, |theirs| {
            theirs.manager.lsps0_client_handler().list_protocols(&to);
        });
        self.reply(&lsps1::GetInfo {}, OPTIONS, |theirs| {
            theirs.manager.lsps1_client_handler().expect("configured").request_supported_options(to);
        });
        self.reply(&our_order, &order, |theirs| {
            let client = theirs.manager.lsps1_client_handler().expect("configured");
            client.create_order(&to, ordered.clone(), None);
        });
        self.reply(&lsps2::GetInfo { token: None }, &menu, |theirs| {
            theirs.manager.lsps2_client_handler().expect("configured").request_opening_params(to, None);
        });
        self.reply(&lsps2::Buy { opening_fee_params: our_terms, payment_size_msat: None }, bought, |theirs| {
            let client = theirs.manager.lsps2_client_handler().expect("configured");
            client.select_opening_params(to, None, terms.clone()).expect("a request");
        });
        let set: lsps5::SetWebhook =
            serde_json::from_str(&format!(r#"{{"app_name":"an app","webhook":"{WEBHOOK}"}}"#)).expect("a webhook");
        self.reply(&set, r#"{"num_webhooks":2,"max_webhooks":5,"no_change":false}"#, |theirs| {
            let client = theirs.manager.lsps5_client_handler().expect("configured");
            client.set_webhook(to, "an app".into(), WEBHOOK.into()).expect("a request");
        });
        self.reply(&lsps5::ListWebhooks {}, r#"{"app_names":["an app","another"],"max_webhooks":5}"#, |theirs| {
            theirs.manager.lsps5_client_handler().expect("configured").list_webhooks(to);
        });
    }

    /// Measures how an LSP reads a request.
    fn request<R: Request>(&mut self, params: &str) {
        #[derive(Deserialize)]
        struct Bare<'a, R> {
            #[serde(borrow)]
            jsonrpc: &'a str,
            id: &'a str,
            method: &'a str,
            params: R,
        }
        let name = R::METHOD.name();
        let payload = format!(r#"{{"jsonrpc":"2.0","method":"{name}","params":{params},"id":"{ID}"}}"#);
        let bytes = payload.as_bytes();
        let floor = || {
            let bare: Bare<'_, R> = serde_json::from_slice(bytes).expect("a request");
            black_box((bare.jsonrpc, bare.id, bare.method, bare.params));
        };
        let ours = || {
            black_box(Incoming::decode(black_box(bytes)).expect("a request").params::<R>().expect("its parameters"));
        };
        let messages = LspsMessageHandler::new(Role::Service);
        let from_node = || {
            let message = messages.read(MESSAGE_TYPE, &mut &*bytes).expect("readable").expect("ours");
            black_box(Incoming::decode(&message.payload).expect("a request").params::<R>().expect("its parameters"));
        };
        // This manager serves nobody: it reads the request and declines it with a sentence, whose time is not counted.
        let (manager, from) = (&self.theirs.manager, self.lsp.key);
        let theirs = || {
            let message = manager.read(MESSAGE_TYPE, &mut &*bytes).expect("readable").expect("theirs");
            black_box(manager.handle_custom_message(message, from)).expect_err("nobody serves");
        };
        let lsps = R::METHOD.lsps();
        let sentence = || {
            black_box(format!(
                "Received LSPS{lsps} request message without LSPS{lsps} service handler configured. From node {from}"
            ));
        };
        let declined = manager.read(MESSAGE_TYPE, &mut &*bytes).expect("readable").expect("theirs");
        let why = manager.handle_custom_message(declined, from).expect_err("nobody serves").err;
        assert!(why.contains("without"), "it was read: {why}");
        let [floor, ours, from_node, theirs, sentence] = in_turns([&floor, &ours, &from_node, &theirs, &sentence]);
        let theirs = theirs - sentence;
        self.taken.push(Row { name: format!("{name} request"), bytes: bytes.len(), floor, ours, from_node, theirs });
    }

    /// Measures how a client reads a reply to a request that it sent.
    fn reply<R: Request>(&mut self, request: &R, result: &str, ask: impl Fn(&Theirs)) {
        #[derive(Deserialize)]
        struct Bare<'a, R> {
            #[serde(borrow)]
            jsonrpc: &'a str,
            id: &'a str,
            result: R,
        }
        let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":"{id}","result":{result}}}"#).into_bytes();
        let payload = answer(ID);
        let floor = || {
            let bare: Bare<'_, R::Reply> = serde_json::from_slice(&payload).expect("a reply");
            black_box((bare.jsonrpc, bare.id, bare.result));
        };
        let ours = || {
            let Ok(FromLsp::Response { outcome: Ok(raw), .. }) = FromLsp::decode(black_box(&payload)) else { panic!() };
            black_box(raw.reply::<R>().expect("the reply"));
        };
        let [floor, ours] = in_turns([&floor, &ours]);

        let messages = LspsMessageHandler::new(Role::Client);
        let mut wallet = Wallet::new(Config { calls_per_lsp: ASKED, ..Config::default() }, [7; 32]);
        wallet.peer_connected(self.lsp.id);
        let (mut our_times, mut their_times) = (vec![], vec![]);
        for _ in 0..SAMPLES {
            let call = |_| wallet.call(self.lsp.id, request, NOON).expect("it is sent");
            let tickets: Vec<_> = (0..ASKED).map(call).collect();
            let sent = wallet.drain().written().messages;
            let answers: Vec<_> = sent.iter().map(|(_, request)| answer(&id_of(request))).collect();
            let (nanos, ()) = per_piece(ASKED, || {
                for (bytes, ticket) in answers.iter().zip(&tickets) {
                    let message = messages.read(MESSAGE_TYPE, &mut bytes.as_slice()).expect("readable").expect("ours");
                    wallet.receive(self.lsp.id, &message.payload);
                    assert!(black_box(wallet.take(ticket)).is_some_and(|outcome| outcome.is_ok()));
                }
            });
            our_times.push(nanos);

            let manager = &self.theirs.manager;
            (0..ASKED).for_each(|_| ask(&self.theirs));
            let sent = manager.get_and_clear_pending_msg();
            let answers: Vec<_> = sent.iter().map(|(_, request)| answer(&id_of(request.payload.as_bytes()))).collect();
            let (nanos, ()) = per_piece(ASKED, || {
                for bytes in &answers {
                    let message = manager.read(MESSAGE_TYPE, &mut bytes.as_slice()).expect("readable").expect("theirs");
                    manager.handle_custom_message(message, self.lsp.key).expect("it is taken");
                    assert!(black_box(manager.next_event()).is_some());
                }
            });
            their_times.push(nanos);
        }
        let (from_node, theirs) = (median(our_times), median(their_times));
        let name = format!("{} reply", R::METHOD.name());
        self.taken.push(Row { name, bytes: payload.len(), floor, ours, from_node, theirs });
    }
}

fn id_of(request: &[u8]) -> String {
    let request: Value = serde_json::from_slice(request).expect("JSON");
    request["id"].as_str().expect("an id").into()
}

const SAMPLES: usize = 201;
/// Number of pending requests. `lightning-liquidity` forgets requests beyond five.
const ASKED: usize = 5;

const ABOUT: &str = "The floor is `serde_json` into our structs, without envelope, limits and checks. \"From the node\" begins at the `CustomMessageReader`, as theirs does; for replies it ends where the application has the typed reply of its call in hand, for requests with the typed request. Of theirs, requests are those to a manager that serves nobody, less the sentence with which it declines.";
const HOLDS_FLOOR: &str = "a second, strict walk over the text looks for repeated keys and lone surrogates";
const HOLDS_THEIRS: &str = "of replies, the wallet's table of calls is 0.6 to 1 µs (\"from the node\" less \"ours\"); of a buy, the second walk";
const HOLDS_ORDER: &str =
    "the invoice is not parsed, but its thousand bytes are walked over twice and copied to wait for its caller";

const WEBHOOK: &str = "https://push.example.org/n?token=5f0c3e9a77d1428e9b6a";
const ORDER_ID: &str = "bb4b5d0a-8334-49d8-9463-90a6d413af7c";
const TERMS: &str = r#"{"min_fee_msat":"1303600","proportional":4000,"valid_until":"2100-01-01T13:00:00.000Z","min_lifetime":4320,"max_client_to_self_delay":2016,"min_payment_size_msat":"1000","max_payment_size_msat":"10000000000","promise":"1.60a1c7e6f0d94b5a8e3c2d1f60a1c7e6f0d94b5a8e3c2d1f60a1c7e6f0d94b5a"}"#;
const OPTIONS: &str = r#"{"min_required_channel_confirmations":0,"min_funding_confirms_within_blocks":6,"supports_zero_channel_reserve":true,"max_channel_expiry_blocks":20160,"min_initial_client_balance_sat":"20000","max_initial_client_balance_sat":"100000000","min_initial_lsp_balance_sat":"0","max_initial_lsp_balance_sat":"100000000","min_channel_balance_sat":"50000","max_channel_balance_sat":"100000000"}"#;
const ORDERED: &str = r#""lsp_balance_sat":"5000000","client_balance_sat":"2000000","required_channel_confirmations":0,"funding_confirms_within_blocks":6,"channel_expiry_blocks":144,"announce_channel":true"#;
const PAYMENT: &str = r#""created_at":"2026-03-01T12:00:00.000Z","order_state":"CREATED","payment":{"bolt11":{"state":"EXPECT_PAYMENT","expires_at":"2026-03-01T13:00:00.000Z","fee_total_sat":"8888","order_total_sat":"2008888","invoice":"lnbc20088880n1p56g2jqpp5kuuzdvs7e7ssn2pztwvzn5hfk58jttcvjt0094mny2cm4nzuw9jssp5ucduxnhr6utcascl2dgqauz69qxp0ddad3m92ds0uck7w9tlm5xqdqjf3f4q5e3yphhyer9wgxqrrsscqzys9qrsgqcywz7kdxuxqvyf2n3crph096v2kx2lzy7yuz8kjwffsgqq0vdsfhc8j73gqq2jncqrq3xy3nv03gv5ky8z4cqpyphlyhaau05hvzjcqplfjfwe"},"onchain":{"state":"EXPECT_PAYMENT","expires_at":"2026-03-01T13:00:00.000Z","fee_total_sat":"9999","order_total_sat":"2009999","address":"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0","min_fee_for_0conf":253,"min_onchain_payment_confirmations":0}},"channel":null"#;

//! Our client and LSP with those of `lightning-liquidity`, and with a client that sends invalid messages.
//! `docs/interop.md` is written from the outcomes.
#![allow(non_snake_case)]

mod hooks_at_ours;
mod hooks_at_theirs;
mod liquidity;
mod lsps1;
mod lsps5;
mod our_lsp;
mod our_wallet;
mod raw;
mod stage;
mod their_lsp;
mod their_wallet;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lsps_testing::scene::OnMessage;
use lsps_testing::table::Table;
use lsps_transport_ldk::{Msat, Ppm};

const AMOUNT: Msat = Msat(40_000_000);
const FEE_LIMIT: Msat = Msat(2_000_000);
const SHARE_LIMIT: Ppm = Ppm(50_000);
const HOUR: Duration = Duration::from_secs(3_600);

/// Our wallet buys from an LSP of `lightning-liquidity`.
const OUR_WALLET: &str = "our wallet, its LSP";
/// A wallet of `lightning-liquidity` buys from our LSP.
const OUR_LSP: &str = "its wallet, our LSP";
/// Messages that one side writes and the other reads.
const MESSAGES: &str = "messages";

static TABLE: Table = Table::new(
    "interop",
    "lightning-liquidity 0.2.7",
    &[
        (OUR_WALLET, "`lsps0.list_protocols`"),
        (OUR_WALLET, "a method it does not serve"),
        (OUR_WALLET, "`get_info`, `buy`"),
        (OUR_WALLET, "a token that is refused"),
        (OUR_WALLET, "the channel opens"),
        (OUR_WALLET, "a fixed amount"),
        (OUR_WALLET, "an amount the payer chooses"),
        (OUR_WALLET, "a payment in four parts"),
        (OUR_WALLET, "a later payment over the same SCID"),
        (OUR_WALLET, "a later payment over the same SCID, the first in four parts"),
        (OUR_WALLET, "client trusts LSP"),
        (OUR_WALLET, "client trusts LSP, in four parts"),
        (OUR_WALLET, "the wallet restarts between buy and payment"),
        (OUR_WALLET, "the LSP restarts between buy and payment"),
        (OUR_WALLET, "LSPS5: webhooks are set, replaced, listed and removed"),
        (OUR_WALLET, "LSPS5: what it posts, judged by our `Verifier`"),
        (OUR_WALLET, "LSPS5: a webhook before the first purchase"),
        (OUR_WALLET, "LSPS5: one webhook too many"),
        (OUR_WALLET, "LSPS5: a payment calls a wallet that is away"),
        (OUR_WALLET, "LSPS5: a wallet with a channel that is not called for 31 days"),
        (OUR_WALLET, "LSPS5: a webhook is set while the LSP's store fails"),
        (OUR_LSP, "`lsps0.list_protocols`"),
        (OUR_LSP, "`get_info`, `buy`"),
        (OUR_LSP, "a token that is refused"),
        (OUR_LSP, "a size that is refused"),
        (OUR_LSP, "a client that is refused"),
        (OUR_LSP, "a fixed amount"),
        (OUR_LSP, "an amount the payer chooses"),
        (OUR_LSP, "a payment in four parts"),
        (OUR_LSP, "client trusts LSP"),
        (OUR_LSP, "client trusts LSP, in four parts"),
        (OUR_LSP, "the wallet restarts between buy and payment"),
        (OUR_LSP, "the LSP restarts between buy and payment"),
        (
            OUR_LSP,
            "LSPS1: a channel is ordered, paid on the chain and opened (`OrderPolicy` with `onchain`, `confirmations` of 0)",
        ),
        (OUR_LSP, "LSPS5: webhooks are set, replaced, listed and removed"),
        (OUR_LSP, "LSPS5: a name too long as JSON, a URL that is none, a name that is not known"),
        (OUR_LSP, "LSPS5: one webhook too many"),
        (OUR_LSP, "LSPS5: what our LSP posts, judged by its `LSPS5Validator`"),
        (OUR_LSP, "LSPS5: a payment calls a wallet that is away"),
        (MESSAGES, "LSPS1: its requests, read by ours"),
        (MESSAGES, "LSPS1: our requests, read by its"),
        (MESSAGES, "LSPS1: its replies, read by ours"),
        (MESSAGES, "LSPS1: our replies, read by its"),
        (MESSAGES, "LSPS1: a lightning payment on `HOLD`, written by ours"),
        (MESSAGES, "LSPS1: an order of the default `OrderPolicy`, written by ours"),
        (
            MESSAGES,
            "LSPS1: a payment on the chain that has to confirm, written by ours (`OrderPolicy` with `onchain`, `confirmations` above 0)",
        ),
        (MESSAGES, "LSPS5: its requests, replies and notifications, read by ours"),
        (MESSAGES, "LSPS5: our requests, replies and notifications, read by its"),
        (MESSAGES, "LSPS5: a webhook with `~`, `+` or `,` in its URL, written by ours"),
        (MESSAGES, "-32602 with its `data`, written by ours"),
    ],
);

/// A client sends invalid messages to our LSP.
const RAW: &str = "a client, our LSP";

static BY_HAND: Table = Table::new(
    "interop",
    "A client by hand",
    &[
        (
            RAW,
            "what is no request: bad UTF-8, half an object, an array, two objects, 9 000 levels, an id of 60 000 characters",
        ),
        (RAW, "an error that answers nothing"),
        (RAW, "ids that are numbers, empty, or used again"),
        (RAW, "methods and parameters that do not exist, or do not fit"),
        (RAW, "buying what was changed, or offered to another"),
        (
            RAW,
            "orders as ZEUS sends them: `client_info`, `token` and `refund_onchain_address` that are empty, a token that gives the channel away",
        ),
        (RAW, "1 000 requests at once"),
        (RAW, "10 000 requests whose answers nobody takes"),
    ],
);

/// Records all protocol messages of a node.
fn listens() -> (Arc<Mutex<Vec<String>>>, OnMessage) {
    let said = Arc::new(Mutex::new(vec![]));
    let s = Arc::clone(&said);
    let observer: OnMessage =
        Arc::new(move |message| s.lock().unwrap().push(String::from_utf8_lossy(message.payload).into_owned()));
    (said, observer)
}

/// The only message that contains these words.
fn the_one_with(said: &Mutex<Vec<String>>, words: &str) -> String {
    let said = said.lock().unwrap();
    let found: Vec<&String> = said.iter().filter(|message| message.contains(words)).collect();
    let [one] = found[..] else { panic!("{words} is in {found:?} of {said:?}") };
    one.clone()
}

/// A string member of the object in this message.
fn text_of(message: &str, name: &str) -> String {
    let (_, rest) = message.split_once(&format!("\"{name}\":\"")).unwrap_or_else(|| panic!("no {name} in {message}"));
    rest.split('"').next().expect("the end of a string").into()
}

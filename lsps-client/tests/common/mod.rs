//! A wallet whose LSPs are played by the test.
#![allow(dead_code, reason = "each file of tests uses its own part")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lsps_client::jit_receive::{InvoiceParams, OpenRequest, Prepared, Rules, prepare};
use lsps_client::{CallError, ChannelKey, Client, Config, Effect, Heard, Notice, Released, Tape, Ticket, Turn, replay};
use lsps_types::jsonrpc::{Incoming, RequestId, encode_reply};
use lsps_types::lsps2::{Bought, Buy, OpeningFeeParams, Promise};
use lsps_types::{Blocks, DateTime, Msat, PaymentHash, PeerId, Ppm, Request, Sat, Scid, Timestamp};

pub const NOON: Timestamp = Timestamp::from_unix_millis(1_767_268_800_000);
pub const LSP: PeerId = PeerId([2; 33]);
pub const OTHER_LSP: PeerId = PeerId([3; 33]);
pub const HOUR: Duration = Duration::from_secs(60 * 60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Size of the payment.
pub const SIZE: Msat = Msat(1_000_000);
/// Opening fee: one percent of the size.
pub const FEE: Msat = Msat(10_000);
pub const BOUGHT: Bought = Bought {
    jit_channel_scid: Scid(29_451 << 40 | 4_815 << 16 | 1),
    lsp_cltv_expiry_delta: 144,
    client_trusts_lsp: false,
};
pub const PARAMS: InvoiceParams = InvoiceParams {
    normal_min_final_cltv_expiry_delta: 144,
    confirmations_to_wait: 0,
    expiry: None,
    max_proportional_fee: None,
};

/// A client whose tape is replayed when the client is dropped. All these stories are replayed.
pub fn taped(config: Config, entropy: [u8; 32]) -> Client {
    let mut client = Client::new(config.clone(), entropy);
    client.record_on(Box::new(Kept::new(config)));
    client
}

/// A tape of one client.
pub struct Kept {
    config: Config,
    turns: Arc<Mutex<Vec<Turn>>>,
    /// Whether this is the copy that the client holds.
    is_first: bool,
}

impl Kept {
    pub fn new(config: Config) -> Self {
        Self { config, turns: Arc::default(), is_first: true }
    }

    /// A reader of the same tape.
    pub fn copy(&self) -> Self {
        Self { config: self.config.clone(), turns: Arc::clone(&self.turns), is_first: false }
    }

    pub fn turns(&self) -> Vec<Turn> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the client that the tape leads to, after a round trip through the text of a file.
    pub fn replays(&self) -> Client {
        let turns = self.turns();
        let text: Vec<String> =
            turns.iter().map(|turn| serde_json::to_string(turn).expect("a turn is plain data")).collect();
        let read: Vec<Turn> = text.iter().map(|line| serde_json::from_str(line).expect("it was written so")).collect();
        assert_eq!(read, turns);
        replay(&read, |ids| Client::new(self.config.clone(), ids)).expect("it goes as it went")
    }
}

impl Tape<Turn> for Kept {
    fn keep(&mut self, turn: Turn) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).push(turn);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_first && !std::thread::panicking() {
            drop(replay(&self.turns(), |ids| Client::new(self.config.clone(), ids)).expect("it goes as it went"));
        }
    }
}

/// Everything that can be asked of a client.
pub fn state(client: &Client) -> impl PartialEq + std::fmt::Debug + use<> {
    let purchases: Vec<_> = client.purchases().cloned().collect();
    let orders: Vec<_> = client.orders().cloned().collect();
    let webhooks = [LSP, OTHER_LSP].map(|lsp| client.webhooks(lsp).cloned());
    let calls = (client.pending_calls(), client.ignored_answers());
    (purchases, orders, webhooks, calls, client.next_wake(), client.is_idle())
}

/// A client to which both LSPs are connected.
pub fn client() -> Client {
    let mut client = taped(Config::default(), [7; 32]);
    client.peer_connected(LSP);
    client.peer_connected(OTHER_LSP);
    client
}

/// Makes a call, and returns its ticket and the payload that is sent.
pub fn call<R: Request>(client: &mut Client, lsp: PeerId, request: &R) -> (Ticket<R>, Vec<u8>) {
    let ticket = client.call(lsp, request, NOON).expect("it is connected");
    let Released { messages, .. } = client.drain().written();
    let [(to, payload)] = &messages[..] else { panic!("one call, one message") };
    assert_eq!(*to, lsp);
    (ticket, payload.clone())
}

pub fn id_of(request: &[u8]) -> RequestId {
    Incoming::decode(request).expect("clients write requests").id().clone()
}

/// The LSP's answer to that payload.
pub fn answer<R: Request>(request: &[u8], reply: &R::Reply) -> Vec<u8> {
    encode_reply::<R>(&id_of(request), reply)
}

/// An answer in words of our own; `member` is `result` or `error`.
pub fn answer_in_text(request: &[u8], member: &str, text: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":"{}","{member}":{text}}}"#, id_of(request)).into_bytes()
}

/// Returns the result of a call whose response has this member in words of our own.
pub fn outcome<R: Request>(request: &R, member: &str, text: &str) -> Result<R::Reply, CallError<R::Error>> {
    let mut client = client();
    let (ticket, sent) = call(&mut client, LSP, request);
    assert_eq!(client.receive(LSP, &answer_in_text(&sent, member, text)), Heard::Answer);
    client.take(&ticket).expect("it was answered")
}

/// Effects and notices that are released once all records are written.
pub fn released(client: &mut Client) -> (Vec<Effect>, Vec<Notice>) {
    let Released { effects, notices, .. } = client.drain().written();
    (effects, notices)
}

pub fn effects(client: &mut Client) -> Vec<Effect> {
    released(client).0
}

/// Terms with a fee of one percent, at least 2 000 msat, that are valid for an hour.
pub fn terms() -> OpeningFeeParams {
    OpeningFeeParams {
        min_fee_msat: Msat(2_000),
        proportional: Ppm(10_000),
        valid_until: DateTime::from(NOON + HOUR),
        min_lifetime: 1_008,
        max_client_to_self_delay: 2_016,
        min_payment_size_msat: Msat(10_000),
        max_payment_size_msat: Msat(100_000_000),
        promise: Promise::received("abc").expect("short enough"),
    }
}

pub const fn hash(number: u8) -> PaymentHash {
    PaymentHash([number; 32])
}

/// The request to open a channel as a purchase gets it.
pub fn open_request(key: u128) -> OpenRequest {
    OpenRequest {
        lsp: LSP,
        key: ChannelKey(key),
        announced: false,
        scid_alias: true,
        zero_conf: true,
        funding: Sat(100_000),
        pushed: Msat::ZERO,
    }
}

pub fn blocks(number: u32) -> Blocks {
    Blocks(number)
}

pub fn buy(size: Option<Msat>) -> Buy {
    Buy { opening_fee_params: terms(), payment_size_msat: size }
}

pub fn prepared(lsp: PeerId, buy: &Buy) -> Prepared {
    prepare(lsp, buy, &BOUGHT, &PARAMS, &Rules::default(), NOON).expect("nothing is wrong with it")
}

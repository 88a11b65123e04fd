//! An LSP at work: requests, and parts of payments.

use lsps_types::jsonrpc::{FromLsp, encode_request};
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::{Request, Scid};

use crate::SIZE;
use crate::clock::{median, per_piece};
use crate::ours::Ours;
use crate::report::{Report, micros, times};
use crate::side::{Client, Side, clients, scid_of};
use crate::theirs::Theirs;

/// Measures `get_info` and `buy` of fresh clients, beside others with one offer each.
pub fn requests(report: &mut Report) {
    let all = clients(MOST + FRESH * SAMPLES);
    let mut rows = vec![];
    let mut both = vec![];
    for others in [1, 1_000, MOST] {
        let (others, fresh) = (&all[..others as usize], &all[MOST as usize..]);
        let (mine, other) = (asked_and_sold::<Ours>(others, fresh), asked_and_sold::<Theirs>(others, fresh));
        for (what, mine, other) in [("get_info", mine.menu, other.menu), ("buy", mine.buy, other.buy)] {
            rows.push(vec![
                format!("{what} beside {} clients", others.len()),
                micros(mine),
                micros(other),
                times(other / mine),
            ]);
        }
        both.push((mine, other));
    }
    report.table("Requests", ABOUT_REQUESTS, &["request", "ours", "theirs", "theirs / ours"], &rows);
    let [(first, others_first), .., (last, others_last)] = both.as_slice() else { panic!("three") };
    report.target("get_info handled and answered", 0.41, first.menu / others_first.menu, "× theirs", HOLDS_MENU);
    report.target("the same at 100 000 clients", 0.41, last.menu / others_last.menu, "× theirs", HOLDS_MENU);
    report.target("buy with its write", 0.48, first.buy / others_first.buy, "× theirs", HOLDS_BUY);
    report.target("the same at 100 000 clients", 0.48, last.buy / others_last.buy, "× theirs", HOLDS_CACHE);
    report.target("get_info at 100 000 clients", 1.2, last.menu / first.menu, "× at 1", HOLDS_CACHE);
    report.target("buy at 100 000 clients", 1.2, last.buy / first.buy, "× at 1", HOLDS_CACHE);
}

/// Measures a purchase and a part of a client that has channels.
pub fn one_client(report: &mut Report) {
    let client = clients(1)[0];
    let mut rows = vec![];
    let mut both = vec![];
    for channels in [0, 1, 10, 100, 1_000] {
        let (mine, other) = (bought_and_paid::<Ours>(&client, channels), bought_and_paid::<Theirs>(&client, channels));
        for (what, mine, other) in [("buy", mine.buy, other.buy), ("part", mine.part, other.part)] {
            rows.push(vec![
                format!("{what}, {channels} channels"),
                micros(mine.nanos),
                micros(other.nanos),
                times(other.nanos / mine.nanos),
                mine.written(),
                other.written(),
            ]);
        }
        both.push((mine, other));
    }
    let head = ["what", "ours", "theirs", "theirs / ours", "ours writes", "theirs writes"];
    report.table("One client with channels", ABOUT_ONE_CLIENT, &head, &rows);
    let [(none, _), .., (thousand, others)] = both.as_slice() else { panic!("five") };
    let ratio = thousand.buy.nanos / others.buy.nanos;
    report.target("buy with its write, client with 1 000 channels", 3.0 / 857.0, ratio, "× theirs", HOLDS_THOUSAND);
    let flat = thousand.buy.nanos / none.buy.nanos;
    report.target("the same", 1.2, flat, "× with none", HOLDS_THOUSAND);
    report.target("writes of a buy", 1.0, none.buy.writes.max(thousand.buy.writes), "", "");
    report.target("bytes of a buy", 400.0, none.buy.bytes.max(thousand.buy.bytes), " B", "");
}

/// Measures the parts of one payment, one after the other.
pub fn parts(report: &mut Report) {
    let client = clients(1);
    let (mine, other) = (written_by_parts::<Ours>(&client), written_by_parts::<Theirs>(&client));
    let row = |part: usize| vec![format!("{part}"), format!("{} B", mine[part - 1]), format!("{} B", other[part - 1])];
    let rows: Vec<_> = [1, 2, 5, 10, 20, 50].map(row).into();
    report.table("Parts of one payment", ABOUT_PARTS, &["part", "ours writes", "theirs writes"], &rows);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let bytes = |part: usize| mine[part - 1] as f64;
    report.target("bytes written for the 10th part of a payment", 600.0, bytes(10), " B", HOLDS_PARTS);
    report.target("bytes written for the 50th part of a payment", 600.0, bytes(50), " B", HOLDS_PARTS);
}

#[derive(Clone, Copy)]
struct Sold {
    menu: f64,
    buy: f64,
}

fn asked_and_sold<S: Side>(others: &[Client], fresh: &[Client]) -> Sold {
    let mut lsp = S::start(S::offers(others));
    let (mut menus, mut buys) = (vec![], vec![]);
    for clients in fresh.chunks(FRESH as usize) {
        if others.len() < FEW {
            lsp = S::start(S::offers(others));
        }
        lsp.connect(clients);
        let ask = encode_request(ID, &GetInfo { token: None }).expect("a short request");
        let (nanos, answers) =
            per_piece(clients.len(), || clients.iter().map(|client| lsp.receives(client, &ask)).collect::<Vec<_>>());
        menus.push(nanos);
        let orders: Vec<_> = answers.iter().map(|answer| order(answer)).collect();
        let (nanos, _) = per_piece(clients.len(), || {
            let both = clients.iter().zip(&orders);
            both.map(|(client, order)| lsp.receives(client, order)).collect::<Vec<_>>()
        });
        buys.push(nanos);
    }
    Sold { menu: median(menus), buy: median(buys) }
}

#[derive(Clone, Copy)]
struct Cost {
    nanos: f64,
    writes: f64,
    bytes: f64,
}

impl Cost {
    fn written(&self) -> String {
        format!("{:.0} B in {:.0}", self.bytes, self.writes)
    }
}

struct Paid {
    buy: Cost,
    part: Cost,
}

fn bought_and_paid<S: Side>(client: &Client, channels: u32) -> Paid {
    let (mut buys, mut parts) = (vec![], vec![]);
    let mut written = [(0, 0); 2];
    for _ in 0..SAMPLES {
        let mut lsp = S::start(S::channels(client, channels));
        lsp.connect(std::slice::from_ref(client));
        let ask = encode_request(ID, &GetInfo { token: None }).expect("a short request");
        let menu = lsp.receives(client, &ask);
        let orders: Vec<_> = (0..AT_ONCE).map(|_| order(&menu)).collect();
        lsp.store().take();
        let (nanos, answers) =
            per_piece(AT_ONCE, || orders.iter().map(|order| lsp.receives(client, order)).collect::<Vec<_>>());
        buys.push(nanos);
        written[0] = lsp.store().take();
        let scids: Vec<Scid> = answers.iter().map(|answer| reply::<Buy>(answer).jit_channel_scid).collect();
        let (nanos, ()) = per_piece(AT_ONCE, || {
            for (number, scid) in (1..).zip(&scids) {
                lsp.part(*scid, [number; 32], [number; 32]);
            }
        });
        parts.push(nanos);
        written[1] = lsp.store().take();
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = |count: usize| count as f64 / AT_ONCE as f64;
    let cost = |samples, (writes, bytes)| Cost { nanos: median(samples), writes: each(writes), bytes: each(bytes) };
    Paid { buy: cost(buys, written[0]), part: cost(parts, written[1]) }
}

/// Bytes written for the first part, the second and so on.
fn written_by_parts<S: Side>(client: &[Client]) -> Vec<usize> {
    let mut lsp = S::start(S::offers(client));
    let mut bytes = vec![];
    for number in 1..=50 {
        lsp.part(scid_of(0), [number; 32], [7; 32]);
        bytes.push(lsp.store().take().1);
    }
    bytes
}

/// A purchase of the first entry of the menu in this answer.
pub fn order(answer: &[u8]) -> Vec<u8> {
    let menu = reply::<GetInfo>(answer);
    let opening_fee_params = menu.opening_fee_params_menu.into_iter().next().expect("an entry");
    encode_request(ID, &Buy { opening_fee_params, payment_size_msat: Some(SIZE) }).expect("a short request")
}

fn reply<R: Request>(answer: &[u8]) -> R::Reply {
    match FromLsp::decode(answer) {
        Ok(FromLsp::Response { outcome: Ok(raw), .. }) => raw.reply::<R>().expect("the reply"),
        other => panic!("no reply: {other:?}"),
    }
}

pub const ID: &str = "5f0c3e9a77d1428e9b6a5f0c3e9a77d1";
/// Number of clients that, together with the fresh ones, `lightning-liquidity` can take.
const MOST: u32 = 95_000;
const FRESH: u32 = 100;
/// With fewer clients than this, the fresh ones would change the number noticeably.
const FEW: usize = 10_000;
const SAMPLES: u32 = 31;
/// Number of requests of one client in one sample; `lightning-liquidity` allows ten pending ones.
const AT_ONCE: usize = 8;

const ABOUT_REQUESTS: &str = "A client that the LSP has not seen asks for a menu of two entries, then buys. The time of \
`lightning-liquidity` includes no policy: the menu is at hand. At 95 000 clients it is near its limit of 100 000.";
const ABOUT_ONE_CLIENT: &str =
    "A client that has channels, each of which was paid for, buys another and gets a part of its payment.";
const ABOUT_PARTS: &str = "Each part is written before it is answered for.";
const HOLDS_MENU: &str =
    "by a profile, the two promises take a third of it; reading is a seventh, the rest JSON out, lists and queues";
const HOLDS_CACHE: &str = "likely the cache, which does not hold the maps of 100 000 offers";
const HOLDS_BUY: &str = "one HMAC, JSON in and out, and the maps that the offer is entered in";
const HOLDS_THOUSAND: &str = "likely the cache, cold after 1 000 records; nothing goes through the channels";
const HOLDS_PARTS: &str = "the record of an offer has all its parts, 39 B each, of which at most 50 wait; LDK hands over one part at \
a time and wants each durable before the next";

//! Costs that an LSP with many clients has without a request: finding an offer, starting, and the passing of time.

use crate::clock::{median, per_piece};
use crate::ours::Ours;
use crate::report::{Report, micros, times};
use crate::side::{Side, clients, scid_of};
use crate::theirs::Theirs;

/// Measures a part for one of many offers, a part for none of them, and a tick.
pub fn lookup(report: &mut Report) {
    let all = clients(100_000);
    let few = (found::<Ours>(&all[..1_000]), found::<Theirs>(&all[..1_000]));
    let many = (found::<Ours>(&all), found::<Theirs>(&all));
    let row = |what: &str, of: fn(&Found) -> f64, many: &(Found, Found), offers| {
        vec![
            format!("{what}, {offers} offers"),
            micros(of(&many.0)),
            micros(of(&many.1)),
            times(of(&many.1) / of(&many.0)),
        ]
    };
    let mut rows = vec![];
    for (what, of) in [
        ("a part, with its write", (|found| found.part) as fn(&Found) -> f64),
        ("a part that is for none of them", |found| found.foreign),
        ("a tick with nothing due", |found| found.tick),
    ] {
        rows.push(row(what, of, &few, "1 000"));
        rows.push(row(what, of, &many, "100 000"));
    }
    report.table("Many live offers", ABOUT_LOOKUP, &["what", "ours", "theirs", "theirs / ours"], &rows);
    report.target(
        "a part with its write beside 100 000 offers",
        1.2,
        many.0.part / few.0.part,
        "× beside 1 000",
        HOLDS_LOOKUP,
    );
    let alone = many.0.foreign / few.0.foreign;
    report.target("whether a part is ours, beside 100 000 offers", 1.2, alone, "× beside 1 000", HOLDS_LOOKUP);
    report.target("idle tick with 100 000 clients", 1.0 / 23_000.0, many.0.tick / many.1.tick, "× theirs", "");
}

/// Measures the start: from the records to an LSP that is ready to serve.
pub fn start(report: &mut Report) {
    let all = clients(100_000);
    let mut rows = vec![];
    let mut last = 0.0;
    for count in [1_000, 10_000, 100_000] {
        let clients = &all[..count];
        let start = |ours: bool| {
            let samples = (0..3).map(|_| {
                let store = if ours { Ours::offers(clients) } else { Theirs::offers(clients) };
                let (nanos, alive) = per_piece(1, || {
                    if ours { (Some(Ours::start(store)), None) } else { (None, Some(Theirs::start(store))) }
                });
                drop(alive);
                nanos
            });
            median(samples.collect())
        };
        let (mine, other) = (start(true), start(false));
        let millis = |nanos: f64| format!("{:.1} ms", nanos / 1e6);
        rows.push(vec![format!("{count} clients"), millis(mine), millis(other), times(other / mine)]);
        last = mine / other;
    }
    report.table("Start", ABOUT_START, &["with", "ours", "theirs", "theirs / ours"], &rows);
    report.target("start with 100 000 clients", 0.37, last, "× theirs", HOLDS_START);
}

struct Found {
    part: f64,
    foreign: f64,
    tick: f64,
}

fn found<S: Side>(clients: &[crate::side::Client]) -> Found {
    let mut lsp = S::start(S::offers(clients));
    let (mut parts, mut foreign, mut ticks) = (vec![], vec![], vec![]);
    let stride = clients.len() / (SAMPLES * AT_ONCE);
    for sample in 0..SAMPLES {
        let names: Vec<[u8; 32]> = (0..AT_ONCE).map(|n| name(sample * AT_ONCE + n)).collect();
        // The order of the offers is one that no cache can predict.
        let scid = |n: usize| scid_of((n * 7_919) % (SAMPLES * AT_ONCE) * stride);
        let (nanos, ()) = per_piece(AT_ONCE, || {
            for (n, name) in names.iter().enumerate() {
                lsp.part(scid(sample * AT_ONCE + n), *name, *name);
            }
        });
        parts.push(nanos);
        let (nanos, ()) = per_piece(AT_ONCE, || {
            for (n, name) in names.iter().enumerate() {
                let between = lsps_types::Scid(scid(sample * AT_ONCE + n).0 + 1);
                lsp.part(between, *name, *name);
            }
        });
        foreign.push(nanos);
        ticks.push(per_piece(1, || lsp.tick()).0);
    }
    Found { part: median(parts), foreign: median(foreign), tick: median(ticks) }
}

fn name(number: usize) -> [u8; 32] {
    let mut name = [9; 32];
    name[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    name
}

const SAMPLES: usize = 31;
const AT_ONCE: usize = 30;

const ABOUT_LOOKUP: &str = "The first part of a payment to one of many offers, each of another client. A tick of \
`lightning-liquidity` is its `persist`, which a node calls whenever something may have changed.";
const ABOUT_START: &str = "One offer for each client, from a store in memory.";
const HOLDS_LOOKUP: &str =
    "likely the cache: the offer, and the leaves of the maps it is found and entered in, are not there";
const HOLDS_START: &str = "each record is read and entered in the index";

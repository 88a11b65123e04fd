//! Memory per client and per offer.

use allocation_counter::measure;
use lsps_types::jsonrpc::encode_request;
use lsps_types::lsps2::GetInfo;

use crate::ours::Ours;
use crate::report::{Report, times};
use crate::serve::{ID, order};
use crate::side::{Client, Side, clients};
use crate::theirs::Theirs;

pub fn run(report: &mut Report) {
    let clients = clients(10_000);
    let (mine, other) = (taken_up::<Ours>(&clients), taken_up::<Theirs>(&clients));
    let row = |what: &str, mine: f64, other: f64| {
        let ratio = if mine < 1.0 { "–".into() } else { times(other / mine) };
        vec![what.into(), format!("{mine:.0} B"), format!("{other:.0} B"), ratio]
    };
    let rows = [
        row("a client that asked for a menu", mine.asked, other.asked),
        row("its first offer, on top of that", mine.sold, other.sold),
    ];
    report.table("Memory", ABOUT_MEMORY, &["for", "ours", "theirs", "theirs / ours"], &rows);
    report.target("memory for a client that only asked", 0.0, mine.asked, " B", "");
    report.target("memory for a live offer", 600.0, mine.sold, " B", HOLDS_OFFER);
}

struct TakenUp {
    asked: f64,
    sold: f64,
}

fn taken_up<S: Side>(clients: &[Client]) -> TakenUp {
    let mut lsp = S::start(S::offers(&[]));
    lsp.connect(clients);
    let ask = encode_request(ID, &GetInfo { token: None }).expect("a short request");
    // The first request sets up everything that is set up only once.
    let (first, others) = clients.split_first().expect("a client");
    lsp.receives(first, &ask);
    let asked = measure(|| {
        for client in others {
            lsp.receives(client, &ask);
        }
    });
    let orders: Vec<_> = others.iter().map(|client| order(&lsp.receives(client, &ask))).collect();
    let sold = measure(|| {
        for (client, order) in others.iter().zip(&orders) {
            lsp.receives(client, order);
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "statistics")]
    let each = |bytes: i64| bytes as f64 / others.len() as f64;
    TakenUp { asked: each(asked.bytes_current), sold: each(sold.bytes_current) }
}

const ABOUT_MEMORY: &str = "Of the allocator, without its own overhead; what was written is not counted. `lightning-liquidity` forgets \
clients without offers when it persists the next time.";
const HOLDS_OFFER: &str = "the offer, and its entries in the index";

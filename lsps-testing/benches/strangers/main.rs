//! Effect of a crowd of strangers on clients that are paid: an LSP whose node and records are in files, a thousand node
//! IDs that attack, and honest payments at the same time. `cargo bench -p lsps-testing --features nodes --bench
//! strangers` runs it; a name after `--` runs one row; with `LSPS_BLESS=1` the table goes to `docs/benchmarks.md`.
//!
//! Each row is a process of its own, so that its memory can be measured. A stranger consists only of its messages,
//! which enter where LDK's peer handler passes them on. Handshakes and sockets are LDK's and not part of the bench.

mod alone;
mod attack;
mod beside;
mod load;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use attack::Attack;

/// Figures of one row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Figures {
    /// Slowest answer to an event of an HTLC, in milliseconds; 0 if the row has no node.
    event_ms: f64,
    /// Median answer to an event of an HTLC, in milliseconds.
    event_median_ms: f64,
    /// Slowest honest payment, in milliseconds, from its HTLC to the payer's `PaymentSent`.
    pay_ms: f64,
    /// Time from the HTLC to the notification of a client that is away, in milliseconds.
    call_ms: f64,
    /// Memory that the process took in addition while the crowd was there, in megabytes.
    grown_mb: f64,
    /// Remarks.
    about: String,
}

/// A row: its name, the situation from the list of attacks, and the function that plays it.
struct Row {
    name: &'static str,
    what: &'static str,
    /// Outcome before the host and the service had their bounds, where it was measured.
    before: &'static str,
    run: fn() -> Result<Figures, lsps_testing::scene::Error>,
}

const ROWS: [Row; 14] = [
    Row { name: "quiet", before: "", what: "nobody else", run: || beside::run(Attack::Nothing) },
    Row {
        name: "X56",
        before: "event 11–76 s, payment failed",
        what: "1 000 ids, 20 `lsps2.buy` each, every second",
        run: || beside::run(Attack::Buys),
    },
    Row {
        name: "X57",
        before: "event 0.8 s, payment failed",
        what: "1 000 ids ask for menus without pause",
        run: || beside::run(Attack::Menus),
    },
    Row {
        name: "X57-long",
        before: "event 13 s, 3.7 GB",
        what: "the same, with 65 kB of unknown parameters",
        run: || beside::run(Attack::LongMenus),
    },
    Row {
        name: "X58",
        before: "call refused, or after 77 s",
        what: "1 000 ids register webhooks whose names no server resolves, without pause",
        run: || beside::run(Attack::Hooks),
    },
    Row {
        name: "X59",
        before: "closed to everybody, 2.5 GB",
        what: "200 000 ids with a webhook each, 100 a second",
        run: alone::hooks,
    },
    Row {
        name: "X60",
        before: "629 MB",
        what: "2 500 ids, 4 requests each, long tokens, a policy that decides later",
        run: alone::tokens,
    },
    Row {
        name: "X61",
        before: "no bound",
        what: "1 000 ids that come, send 64 messages of 65 kB and go, without pause",
        run: || beside::run(Attack::Flaps),
    },
    Row {
        name: "X63",
        before: "4 744 of 5 000 events lost",
        what: "1 000 ids, 5 `lsps1.create_order` each, every second",
        run: || beside::run(Attack::Orders),
    },
    Row {
        name: "X64",
        before: "two entries each",
        what: "a client that refuses 2 000 opens of its channel",
        run: alone::refused_opens,
    },
    Row { name: "X65", before: "quadratic", what: "4 000 ids that come and go, without pause", run: alone::moves },
    Row { name: "menus", before: "", what: "1 000 clients, 10 `lsps2.get_info` each at once", run: load::menus },
    Row {
        name: "buys",
        before: "",
        what: "1 000 clients with channels, 10 `lsps2.buy` each at once; a write takes 5 ms",
        run: load::purchases,
    },
    Row { name: "parts", before: "", what: "100 payments of 10 parts each; a write takes 5 ms", run: load::parts },
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let Ok(name) = std::env::var(ROW) {
        let row = ROWS.iter().find(|row| row.name == name).expect("a row");
        let figures = (row.run)();
        return match figures {
            Ok(figures) => {
                println!("{}", serde_json::to_string(&figures).expect("plain numbers"));
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("{name}: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let mut table = String::from(HEAD);
    let mut is_within = true;
    for row in ROWS.iter().filter(|row| wanted.is_empty() || wanted.iter().any(|name| name == row.name)) {
        let program = std::env::current_exe().expect("this program");
        let ran = Command::new(program).env(ROW, row.name).output().expect("it starts");
        eprint!("{}", String::from_utf8_lossy(&ran.stderr));
        let text = String::from_utf8_lossy(&ran.stdout);
        let figures = text.lines().last().and_then(|line| serde_json::from_str::<Figures>(line).ok());
        let line = figures.map_or_else(|| row.failed(), |figures| row.line(&figures));
        is_within &= !line.contains("**");
        println!("{line}");
        table += &line;
        table.push('\n');
    }
    if std::env::var_os("LSPS_BLESS").is_some() && wanted.is_empty() {
        write_down(&table);
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Row {
    fn line(&self, figures: &Figures) -> String {
        let Figures { event_ms, event_median_ms, pay_ms, call_ms, grown_mb, about } = figures;
        let cell = |value: f64, limit: f64, unit: &str| match value {
            0.0 => "–".to_owned(),
            value if value <= limit => format!("{value:.0} {unit}"),
            value => format!("**{value:.0} {unit}**"),
        };
        let event = match cell(*event_ms, EVENT_MS, "ms") {
            none if none == "–" => none,
            most => format!("{most} ({event_median_ms:.1})"),
        };
        let [pay, call] = [pay_ms, call_ms].map(|ms| cell(*ms, PAY_MS, "ms"));
        let (name, what, before, grown) = (self.name, self.what, self.before, cell(*grown_mb, GROWN_MB, "MB"));
        format!("| {name} | {what} | {event} | {pay} | {call} | {grown} | {before} | {about} |")
    }

    fn failed(&self) -> String {
        format!("| {} | {} | **failed** | | | | | |", self.name, self.what)
    }
}

/// Puts the table at the end of the document.
fn write_down(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
    let mut text = std::fs::read_to_string(&path).expect("the document");
    text.truncate(text.find(TITLE).unwrap_or(text.len()));
    write!(text, "{TITLE}{ABOUT}\n{table}").expect("a string takes all");
    std::fs::write(&path, text).expect("docs can be written");
}

/// Environment variable that names the row of a process.
const ROW: &str = "LSPS_BENCH_ROW";
/// Limits in milliseconds and megabytes.
const EVENT_MS: f64 = 1_000.0;
const PAY_MS: f64 = 5_000.0;
const GROWN_MB: f64 = 128.0;
const TITLE: &str = "\n# A crowd of strangers\n";
const ABOUT: &str = "
An LSP in one process with its payer and a wallet, node and records in files (in the directory `TMPDIR`; on a disk that others
use too, theirs is measured), defaults throughout; a stranger is the messages that it sends, which enter where LDK's peer handler
hands them over. An event is that of an HTLC for an offer of ours which the node does not hold any more, every 20 ms: the slowest
answer, and the median. A payment is one that opens a channel, from its HTLC to the payer's news that it arrived: the slowest of
three, the first of them by a client without channel. A call is the time from the HTLC to the notification of a wallet that is
away. Memory is what the process took on top of what it had before the crowd came. X59, X60, X64 and X65 are the service or the
inbox alone, and what it allocated. The last three rows are the host's turn alone, on a node that answers at once; an event there
is that of an HTLC with its record. A figure beyond its limit is printed in bold and fails the run. \"Before\" is how the attack
went before there were bounds. Written by `LSPS_BLESS=1 cargo bench -p lsps-testing --features nodes --bench strangers`.
";
const HEAD: &str =
    "| | the crowd | an event, at most 1 000 ms | a payment, at most 5 000 ms | a call, at most 5 000 ms | \
memory, at most 128 MB | before | |
| --- | --- | --: | --: | --: | --: | --- | --- |
";

//! The document `docs/benchmarks.md`, written from the measurements.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lsps_types::{DateTime, Timestamp};

/// Measured tables, and targets with their outcomes.
#[derive(Default)]
pub struct Report {
    tables: String,
    targets: Vec<[String; 4]>,
}

impl Report {
    /// Adds a table with a text about it.
    pub fn table(&mut self, title: &str, about: &str, head: &[&str], rows: &[Vec<String>]) {
        let mut table = format!("\n## {title}\n\n{about}\n\n");
        line(&mut table, head);
        line(&mut table, &[&["---"], vec!["--:"; head.len() - 1].as_slice()].concat());
        for row in rows {
            line(&mut table, row);
        }
        print!("{table}");
        self.tables += &table;
    }

    /// Adds a target: its name, the wanted and the measured value with their unit, and why it is missed, if it is.
    pub fn target(&mut self, what: &str, wanted: f64, measured: f64, unit: &str, holds: &str) {
        let (verdict, why) = if measured <= wanted { ("met", "") } else { ("missed", holds) };
        let number = |n: f64| match n {
            n if n == 0.0 || n >= 100.0 => format!("{n:.0}{unit}"),
            n if n < 0.01 => format!("{n:.5}{unit}"),
            n => format!("{n:.2}{unit}"),
        };
        let verdict = if why.is_empty() { verdict.into() } else { format!("{verdict}: {why}") };
        self.targets.push([what.into(), format!("≤ {}", number(wanted)), number(measured), verdict]);
    }

    /// Prints the targets, and writes the document if asked to.
    pub fn finish(mut self) {
        let rows: Vec<_> = self.targets.drain(..).map(Vec::from).collect();
        let tables = std::mem::take(&mut self.tables);
        self.table("Targets", ABOUT_TARGETS, &["what", "wanted", "measured", "verdict"], &rows);
        if std::env::var_os("LSPS_BLESS").is_some() {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            let now = Timestamp::from_unix_millis(u64::try_from(since_epoch.as_millis()).expect("before the end"));
            let (date, targets) = (DateTime::from(now).as_str()[..10].to_string(), &self.tables);
            let versions = concat!("lsps ", env!("CARGO_PKG_VERSION"), ", lightning-liquidity 0.2.7");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
            let old = std::fs::read_to_string(&path).unwrap_or_default();
            let others = old.find(STRANGERS).map_or("", |at| &old[at..]);
            let text = format!("{HEAD}\n{date}; {versions}.\n{targets}{tables}{others}");
            std::fs::write(&path, text).expect("docs can be written");
        }
    }
}

/// Formats nanoseconds as microseconds.
pub fn micros(nanos: f64) -> String {
    if nanos < 10_000.0 { format!("{:.2} µs", nanos / 1e3) } else { format!("{:.1} µs", nanos / 1e3) }
}

/// A ratio as text, with the sign `×`.
pub fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}×") } else { format!("{ratio:.0}×") }
}

fn line(table: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        write!(table, "| {} ", cell.as_ref()).expect("a string takes all");
    }
    table.push_str("|\n");
}

/// Heading of the table that the bench `strangers` writes.
const STRANGERS: &str = "\n# A crowd of strangers\n";

const HEAD: &str = "# Benchmarks

Beside `lightning-liquidity`, driven through its public interface: the same work in the same process on the same bytes. Times are
medians of thread CPU time, and only their ratios say something about another machine; they vary by a tenth from run to run, and by a
third where caches are cold and something else runs on the machine. Both sides begin with the bytes of a message as the node
reads them and end with the bytes of the answer; what has to be written goes to a store that counts it. Written by
`LSPS_BLESS=1 cargo bench -p lsps-node`.
";

const ABOUT_TARGETS: &str = "\"× theirs\" and \"× the floor\": our time as a multiple of that, in this run. These were amounts of time \
on a machine on which both sides are faster, divided by what `lightning-liquidity` took there.";

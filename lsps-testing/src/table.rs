//! `docs/interop.md`: the result of each flow between two implementations, written by the tests.
//!
//! Each peer has a section, and one test binary that owns it. A test reports its result at its end; the last test of a
//! complete run compares the section with the file, or writes it if `LSPS_BLESS` is set. Another peer gets a [`Table`]
//! of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The section of a peer.
pub struct Table {
    /// Name of the test that writes it.
    test: &'static str,
    /// Name and version of the peer.
    peer: &'static str,
    /// Expected rows in their order: the roles, and the flow.
    rows: &'static [(&'static str, &'static str)],
    shown: Mutex<BTreeMap<usize, Outcome>>,
}

/// Result of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The flow works as the specifications say.
    Works,
    /// The flow works, since this implementation handles this deviation of the peer.
    Around(&'static str),
    /// The flow fails in an orderly way, for this reason.
    Cannot(&'static str),
}

impl Table {
    /// Creates the section of a peer, by its name and version, which this test of `lsps-node` writes.
    #[must_use]
    pub const fn new(test: &'static str, peer: &'static str, rows: &'static [(&'static str, &'static str)]) -> Self {
        Self { test, peer, rows, shown: Mutex::new(BTreeMap::new()) }
    }

    /// Enters the result of a test.
    pub fn shows(&self, role: &str, flow: &str, outcome: Outcome) {
        let row = self.rows.iter().position(|row| *row == (role, flow));
        let row = row.unwrap_or_else(|| panic!("`{role}`, `{flow}` is not among the rows"));
        let mut shown = lock(&self.shown);
        let before = shown.insert(row, outcome);
        assert!(before.is_none_or(|before| before == outcome), "two tests differ about `{role}`, `{flow}`");
        if shown.len() == self.rows.len() {
            self.compare(&shown);
        }
    }

    fn compare(&self, shown: &BTreeMap<usize, Outcome>) {
        let (_one_at_a_time, file) = (lock(&FILE), root().join("docs/interop.md"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|_| HEAD.into());
        let fresh = self.placed_in(&text, &self.section(shown));
        if std::env::var_os("LSPS_BLESS").is_some() {
            std::fs::write(&file, fresh).expect("docs can be written");
        } else {
            assert!(text == fresh, "docs/interop.md is stale: run this again with LSPS_BLESS=1");
        }
    }

    fn section(&self, shown: &BTreeMap<usize, Outcome>) -> String {
        let command = format!("LSPS_BLESS=1 cargo test -p lsps-node --test {}", self.test);
        let mut text = format!("## {}\n\nWritten by `{command}`.\n\n", self.peer);
        text += "| Who | Flow | Outcome |\n|---|---|---|\n";
        for (row, (role, flow)) in self.rows.iter().enumerate() {
            let outcome = match shown[&row] {
                Outcome::Works => "works".into(),
                Outcome::Around(departure) => format!("works around a departure: {departure}"),
                Outcome::Cannot(why) => format!("**cannot**: {why}"),
            };
            writeln!(text, "| {role} | {flow} | {outcome} |").expect("a string");
        }
        text
    }

    /// The text with the section in the place of the former one, or at the end.
    fn placed_in(&self, text: &str, section: &str) -> String {
        let heading = format!("## {}\n", self.peer);
        let Some(start) = text.find(&heading) else { return format!("{text}\n{section}") };
        let rest = text[start + heading.len()..].find("\n## ").map_or("", |end| &text[start + heading.len() + end..]);
        format!("{}{section}{rest}", &text[..start])
    }
}

/// Lock of the file: sections are written one after the other.
static FILE: Mutex<()> = Mutex::new(());

/// Locks a value, which is consistent even if a test panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").into()
}

const HEAD: &str = "# Interoperability

What comes of our sides against those of others, on LDK nodes over TCP on an embedded chain, and of messages written by one
and read by the other. Each section is written by a complete run of its tests; without `LSPS_BLESS` they fail when it is not
what they saw. Clauses (`L2-113`) and readings (`R-07`) are those of [CONFORMANCE.md](../CONFORMANCE.md).
";

#[test]
fn a_section_is_written_where_it_was() {
    let table = Table::new("interop", "b 1.0", &[("who", "what")]);
    let section = table.section(&BTreeMap::from([(0, Outcome::Works)]));
    let other = |name: &str| format!("## {name}\n\n| Who |\n");
    let text = format!("{HEAD}\n{}\n## b 1.0\n\nold\n\n{}", other("a"), other("c"));
    assert_eq!(table.placed_in(&text, &section), format!("{HEAD}\n{}\n{section}\n{}", other("a"), other("c")));
    assert_eq!(table.placed_in(HEAD, &section), format!("{HEAD}\n{section}"));
}

//! `CONFORMANCE.md` and `docs/conformance`: the tests that show each clause, written from the tests that ran.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Topic, Verdict, cases};

/// Per clause: the tests and cases that show it, and the side whose code they run.
type Shown = BTreeMap<String, Vec<(String, Side)>>;

/// The side of the protocols whose code a case or test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Client,
    Lsp,
    /// Messages, which both sides read and write, or two nodes with each other.
    Both,
}

/// All documents, by their paths: the index, one for each protocol, the cases and the readings.
pub fn documents(topics: &[Topic]) -> Vec<(PathBuf, String)> {
    let mut shown = by_vectors(topics);
    for (clause, test, side) in by_tests() {
        shown.entry(clause).or_default().push((format!("`{test}`"), side));
    }
    for (clause, duty) in table("duties.tsv").iter().filter_map(|line| line.split_once('\t')) {
        shown.entry(clause.into()).or_default().push((duty.into(), Side::Both));
    }
    let mut from_elsewhere: Vec<String> = vec![];
    let mut protocols: BTreeMap<&str, Protocol> = BTreeMap::new();
    let clauses = table("clauses.tsv");
    for line in &clauses {
        let [id, role, level, clause] = line.splitn(4, '\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let by = shown.remove(id).unwrap_or_default();
        assert!(!by.is_empty(), "nothing shows {id}: {clause}");
        if level.starts_with("MUST") && !by.iter().any(|(_, side)| is_own(role, *side)) {
            from_elsewhere.push(id.to_string());
        }
        let by: Vec<String> = by.into_iter().map(|(by, _)| by).collect();
        let protocol = protocols.entry(&id[1..2]).or_default();
        writeln!(protocol.rows, "| {id} | {role} | {level} | {clause} | {} |", by.join(", ")).expect("a string");
        *protocol.counts.entry(level.split(' ').next().unwrap_or_default()).or_default() += 1;
    }
    assert!(shown.is_empty(), "no such clauses: {:?}", shown.keys());
    assert!(from_elsewhere.is_empty(), "shown by the other side's code only: {from_elsewhere:?}");
    let (mut index, mut documents) = (String::from(HEAD), vec![]);
    for (number, Protocol { rows, counts }) in protocols {
        let name = format!("docs/conformance/lsps{number}.md");
        let of = |level| counts.get(level).copied().unwrap_or(0);
        let all: usize = counts.values().sum();
        let (must, should, may) = (of("MUST"), of("SHOULD"), of("MAY"));
        writeln!(index, "| [LSPS{number}]({name}) | {all} | {must} | {should} | {may} |").expect("a string");
        documents.push((root().join(name), format!("# LSPS{number}\n{CLAUSES}{rows}")));
    }
    let readings = std::fs::read_to_string(folder().join("readings.md")).expect("it is there");
    documents.push((root().join("docs/conformance/cases.md"), cases_by_id()));
    documents.push((root().join("docs/conformance/readings.md"), readings.replacen("## ", "# ", 1)));
    documents.push((root().join("CONFORMANCE.md"), index + FOOT));
    documents
}

/// The rows of a protocol, and its number of clauses by level.
#[derive(Default)]
struct Protocol<'a> {
    rows: String,
    counts: BTreeMap<&'a str, usize>,
}

/// A MUST of an LSP is not shown by a client that refuses an LSP which breaks it, nor the other way round.
fn is_own(role: &str, side: Side) -> bool {
    match role {
        "LSP" => side != Side::Client,
        "client" => side != Side::Lsp,
        _ => true,
    }
}

/// Cases that pass.
fn by_vectors(topics: &[Topic]) -> Shown {
    let mut counts: BTreeMap<(String, &str, Side), usize> = BTreeMap::new();
    for (topic, check) in topics {
        let passed = cases(topic).into_iter().filter(|case| matches!(case.run(*check), Verdict::Passed(_)));
        for (clause, side) in passed.flat_map(|case| case.ids.clone().into_iter().map(move |id| (id, case.side()))) {
            *counts.entry((clause, topic, side)).or_default() += 1;
        }
    }
    let mut shown = Shown::new();
    for ((clause, topic, side), count) in counts {
        let at = match side {
            Side::Client => " at a client",
            Side::Lsp => " at an LSP",
            Side::Both => "",
        };
        shown.entry(clause).or_default().push((format!("{topic}{at} × {count}"), side));
    }
    shown
}

/// Situations from the field by id, with the tests that have the id in their name.
fn cases_by_id() -> String {
    let mut cases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let files = files_below("tests").into_iter().chain(files_below("src"));
    for name in files.flat_map(|file| tests_in(&file)).map(|test| test.name) {
        for id in name.split("case_").skip(1).filter_map(|rest| rest.split('_').next()) {
            cases.entry(id.into()).or_default().push(format!("`{name}`"));
        }
    }
    let numbers = [("T", 17), ("J", 37), ("W", 14), ("H", 7), ("N", 10), ("O", 15), ("X", 65)];
    let all = numbers.iter().flat_map(|(group, last)| (1..=*last).map(move |number| format!("{group}{number:02}")));
    let missing: Vec<String> = all.filter(|id| !cases.contains_key(id)).collect();
    assert!(missing.is_empty(), "no test shows the cases {missing:?}");
    let mut text = String::from(CASES);
    for (id, tests) in cases {
        writeln!(text, "| {id} | {} |", tests.join(", ")).expect("a string");
    }
    text
}

/// Tests that name clauses in the comment above them.
fn by_tests() -> Vec<(String, String, Side)> {
    let mut found = vec![];
    for file in files_below("tests") {
        for Test { name, clauses } in tests_in(&file) {
            found.extend(clauses.into_iter().map(|clause| (clause, name.clone(), side_of(&file))));
        }
    }
    found
}

/// A test that `cargo test` runs.
struct Test {
    name: String,
    /// Clauses that the comment above the test names.
    clauses: Vec<String>,
}

fn tests_in(file: &Path) -> Vec<Test> {
    let (mut tests, mut clauses, mut attributes) = (vec![], vec![], String::new());
    for line in std::fs::read_to_string(file).expect("a source file").lines().map(str::trim) {
        if line.starts_with("//") {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            clauses.extend(words.filter(|word| is_clause(word)).map(String::from));
        } else if line.starts_with("#[") {
            attributes += line;
        } else if let Some(name) = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next()) {
            if attributes.contains("test") && !attributes.contains("ignore") {
                tests.push(Test { name: name.into(), clauses });
            }
            (clauses, attributes) = (vec![], String::new());
        }
    }
    tests
}

fn side_of(file: &Path) -> Side {
    let within = |folder: &str| file.starts_with(root().join(folder));
    if within("lsps-client") {
        Side::Client
    } else if ["lsps-service", "lsps-testing/tests/lsp"].into_iter().any(within) {
        Side::Lsp
    } else {
        Side::Both
    }
}

fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut files = vec![];
    let members = [
        "lsps-types",
        "lsps-client",
        "lsps-service",
        "lsps-host",
        "lsps-transport-ldk",
        "lsps-node",
        "lsps-testing",
        "examples",
    ];
    for member in members {
        rust_files(&root().join(member).join(folder), &mut files);
    }
    files.sort();
    files
}

/// Whether the word has the form `L0-017`.
fn is_clause(word: &str) -> bool {
    matches!(word.as_bytes(), [b'L', b'0'..=b'9', b'-', rest @ ..] if rest.len() == 3 && rest.iter().all(u8::is_ascii_digit))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn table(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder().join(name)).expect("it is there");
    text.lines().map(String::from).collect()
}

fn folder() -> PathBuf {
    root().join("lsps-testing/conformance")
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").into()
}

const HEAD: &str = "# Conformance

Every clause of LSPS0, 1, 2 and 5 (bLIP-50, 51, 52, 55) is in a table, in our words, with what shows that it is kept: cases of
`lsps-testing/vectors` that pass, tests that name it and are run by `cargo test`, or why it is the host's. A MUST of an LSP is shown at
an LSP, one of a client at a client. This file and `docs/conformance` are written by
`LSPS_BLESS=1 cargo test -p lsps-testing --test vectors conformance`; a test fails when one of them is stale.

| Protocol | Clauses | MUST | SHOULD | MAY |
|---|---|---|---|---|
";

const FOOT: &str = "
MUST NOT and SHOULD NOT are counted as MUST and SHOULD.

- [Situations from the field](docs/conformance/cases.md): what broke in systems that do this job, and the tests of each.
- [Readings of unclear or contradictory text](docs/conformance/readings.md).
";

const CLAUSES: &str = "
The clauses in our words, and what shows that they are kept: cases of `lsps-testing/vectors`, by file, side and number, and tests by
name. The [index](../../CONFORMANCE.md) says how this is written.

| Clause | Role | Level | What it says | Shown by |
|---|---|---|---|---|
";

const CASES: &str = "# Situations from the field

What broke, or was left undone, in systems that do this job, by id: T requests, J JIT channels at the LSP, W wallets, O orders, N
webhooks, H hosting, X attacks and accidents. Each is shown by the tests whose names carry its id.

| Case | Tests |
|---|---|
";

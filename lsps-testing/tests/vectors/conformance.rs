//! `CONFORMANCE.md`: which clause is shown by what, written from what ran.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Topic, Verdict, cases};

/// By clause: what shows it.
type Shown = BTreeMap<String, Vec<String>>;

/// The whole document.
pub fn document(topics: &[Topic]) -> String {
    let mut shown = by_vectors(topics);
    for (clause, test) in by_tests() {
        shown.entry(clause).or_default().push(format!("`{test}`"));
    }
    for (clause, duty) in table("duties.tsv").iter().filter_map(|line| line.split_once('\t')) {
        shown.entry(clause.into()).or_default().push(duty.into());
    }
    let mut text = String::from(HEAD);
    for line in table("clauses.tsv") {
        let [id, role, level, clause] = line.splitn(4, '\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let by = shown.remove(id).unwrap_or_default();
        assert!(!by.is_empty(), "nothing shows {id}: {clause}");
        writeln!(text, "| {id} | {role} | {level} | {clause} | {} |", by.join(", ")).expect("a string");
    }
    assert!(shown.is_empty(), "no such clauses: {:?}", shown.keys());
    text + &cases_by_id() + "\n" + &std::fs::read_to_string(folder().join("readings.md")).expect("it is there")
}

/// Cases that pass.
fn by_vectors(topics: &[Topic]) -> Shown {
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for (topic, check) in topics {
        let passed = cases(topic).into_iter().filter(|case| matches!(case.run(*check), Verdict::Passed(_)));
        for clause in passed.flat_map(|case| case.ids) {
            *counts.entry((clause, topic)).or_default() += 1;
        }
    }
    let mut shown = Shown::new();
    for ((clause, topic), count) in counts {
        shown.entry(clause).or_default().push(format!("{topic} × {count}"));
    }
    shown
}

/// Situations from the field, by id: the tests whose names carry it.
fn cases_by_id() -> String {
    let mut cases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in test_files() {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let names = text.lines().filter_map(|line| line.split("fn ").nth(1)?.split('(').next());
        for name in names {
            for id in name.split("case_").skip(1).filter_map(|rest| rest.split('_').next()) {
                cases.entry(id.into()).or_default().push(format!("`{name}`"));
            }
        }
    }
    let numbers = [("T", 17), ("J", 37), ("W", 14), ("H", 7), ("N", 10), ("O", 15)];
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
fn by_tests() -> Vec<(String, String)> {
    let mut found = vec![];
    for file in test_files() {
        let mut above = vec![];
        for line in std::fs::read_to_string(&file).expect("a source file").lines().map(str::trim) {
            if line.starts_with("//") {
                above.extend(
                    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                        .filter(|word| is_clause(word))
                        .map(String::from),
                );
            } else if let Some(name) = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next()) {
                found.extend(above.drain(..).map(|clause| (clause, name.to_string())));
            }
        }
    }
    found
}

fn test_files() -> Vec<PathBuf> {
    let mut files = vec![];
    for member in ["lsps-types", "lsps-client", "lsps-service", "lsps-testing", "lsps-transport-ldk", "examples"] {
        rust_files(&root().join(member).join("tests"), &mut files);
    }
    files.sort();
    files
}

/// `L0-017`.
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

Every clause of LSPS0, 1, 2 and 5 (bLIP-50, 51, 52, 55), in our words, and what shows that it is kept: cases of
`lsps-testing/vectors` that pass, tests that name it, or why it is the host's. Written by `LSPS_BLESS=1 cargo test -p lsps-testing --test vectors conformance`; a
test fails when it is stale.

| Clause | Role | Level | What it says | Shown by |
|---|---|---|---|---|
";

const CASES: &str = "
## Situations from the field

What broke, or was left undone, in systems that do this job, by id: T requests, J JIT channels at the LSP, W wallets, O orders, N
webhooks, H hosting. Each is shown by the tests whose names carry its id.

| Case | Tests |
|---|---|
";

//! The rows of `docs/conformance`, which name the tests of a clause.

use std::collections::{BTreeMap, BTreeSet};

use lsps_testing::mutants::{Mutant, root};
use serde_json::Value;

/// Tests and cases of one clause.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Names of tests.
    pub tests: BTreeSet<String>,
    /// Names of cases that list the clause, by their file of vectors.
    pub cases: BTreeMap<String, BTreeSet<String>>,
}

pub fn read() -> BTreeMap<String, Row> {
    let texts = ["0", "1", "2", "5"].map(|number| root().join(format!("docs/conformance/lsps{number}.md")));
    let text = texts.map(|path| std::fs::read_to_string(path).expect("it is there")).concat();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| L")) {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let [id, .., shown] = cells[..] else { continue };
        let quoted = shown.split('`').skip(1).step_by(2).filter(|text| text.matches('_').count() > 2);
        rows.entry(id.into()).or_default().tests = quoted.map(String::from).collect();
    }
    for topic in TOPICS {
        let path = root().join(format!("lsps-testing/vectors/{topic}.json"));
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("JSON");
        for case in cases {
            for id in case["id"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let of_topic = rows.entry(id.into()).or_default().cases.entry(topic.into()).or_default();
                of_topic.insert(case["name"].as_str().unwrap_or_default().into());
            }
        }
    }
    rows
}

/// The rows of the clauses that a mutant breaks.
pub fn of<'a>(rows: &'a BTreeMap<String, Row>, mutant: &'a Mutant) -> impl Iterator<Item = &'a Row> {
    mutant.clauses.iter().filter_map(|clause| rows.get(clause))
}

const TOPICS: [&str; 8] = [
    "lsps0_framing",
    "common_schemas",
    "lsps1_messages",
    "lsps2_fee",
    "lsps2_messages",
    "lsps2_htlc_scenarios",
    "lsps5_messages",
    "lsps5_signatures",
];

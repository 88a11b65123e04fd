//! The conformance vectors: `lsps-testing/vectors/*.json`, or the folder named by `LSPS_VECTORS`.
//!
//! A case passes if the outcome is what it expects or one of what it also allows. A case that cannot be run fails.

use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use lsps_types::Msat;

#[path = "vectors/client.rs"]
mod client;
#[path = "vectors/conformance.rs"]
mod conformance;
#[path = "vectors/fee.rs"]
mod fee;
#[path = "vectors/framing.rs"]
mod framing;
#[path = "vectors/lsps1.rs"]
mod lsps1;
#[path = "vectors/lsps5.rs"]
mod lsps5;
#[path = "vectors/messages.rs"]
mod messages;
#[path = "vectors/orders.rs"]
mod orders;
#[path = "vectors/posting.rs"]
mod posting;
#[path = "vectors/scenario.rs"]
mod scenario;
#[path = "vectors/schemas.rs"]
mod schemas;
#[path = "vectors/signatures.rs"]
mod signatures;
#[path = "../../examples/tests/webhooks/stage.rs"]
#[allow(dead_code, reason = "the other tests of posting use the rest")]
mod stage;
#[path = "vectors/webhooks.rs"]
mod webhooks;

/// What one case came to.
enum Verdict {
    Passed,
    Failed(String),
}

/// A file of cases, and what runs one of them.
type Topic = (&'static str, fn(&Value) -> Verdict);

/// What is tested, and how.
const TOPICS: [Topic; 8] = [
    ("lsps0_framing", framing::run),
    ("common_schemas", schemas::run),
    ("lsps1_messages", lsps1::run),
    ("lsps2_fee", fee::run),
    ("lsps2_messages", messages::run),
    ("lsps2_htlc_scenarios", scenario::run),
    ("lsps5_messages", lsps5::run),
    ("lsps5_signatures", signatures::run),
];

#[test]
fn lsps0_framing() {
    run("lsps0_framing");
}

#[test]
fn common_schemas() {
    run("common_schemas");
}

#[test]
fn lsps1_messages() {
    run("lsps1_messages");
}

#[test]
fn lsps2_fee() {
    run("lsps2_fee");
}

#[test]
fn lsps2_messages() {
    run("lsps2_messages");
}

#[test]
fn lsps2_htlc_scenarios() {
    run("lsps2_htlc_scenarios");
}

#[test]
fn lsps5_messages() {
    run("lsps5_messages");
}

#[test]
fn lsps5_signatures() {
    run("lsps5_signatures");
}

/// Told to write it, it does; else it fails when `CONFORMANCE.md` is not what it would write.
#[test]
fn conformance_document_is_current() {
    if std::env::var_os("LSPS_VECTORS").is_some() {
        return; // other vectors, other document
    }
    let (path, document) = (conformance::root().join("CONFORMANCE.md"), conformance::document(&TOPICS));
    if std::env::var_os("LSPS_BLESS").is_some() {
        std::fs::write(&path, &document).expect("it can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document, "CONFORMANCE.md is stale; its head says how to write it again");
}

fn run(topic: &str) {
    let (_, check) = TOPICS.iter().find(|(name, _)| *name == topic).expect("a topic");
    let cases = cases(topic);
    let (mut passed, mut failed) = (0, vec![]);
    for case in &cases {
        match check(case) {
            Verdict::Passed => passed += 1,
            Verdict::Failed(why) => failed.push(format!("{}: {why}", case["name"])),
        }
    }
    // The harness swallows what is printed in the usual way.
    let line =
        format!("{topic}: {passed} passed, {} failed, {} skipped\n", failed.len(), cases.len() - passed - failed.len());
    std::io::stdout().write_all(line.as_bytes()).expect("stdout is there");
    assert!(!cases.is_empty(), "{topic} has no cases");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn cases(topic: &str) -> Vec<Value> {
    let folder = std::env::var_os("LSPS_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors"), PathBuf::from);
    let path = folder.join(format!("{topic}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("vectors are a JSON array")
}

/// The outcomes that a case accepts.
fn accepted(case: &Value) -> impl Iterator<Item = &Value> {
    std::iter::once(&case["expect"]).chain(case["also_ok"].as_array().into_iter().flatten())
}

fn verdict(case: &Value, outcome: &Value) -> Verdict {
    if accepted(case).any(|accepted| is_like(accepted, outcome)) {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("wanted {}, got {outcome}", case["expect"]))
    }
}

/// A result has to be the wanted one. Of an error, what is not listed is not looked at.
fn is_like(wanted: &Value, got: &Value) -> bool {
    match (wanted.get("ok"), got.get("ok")) {
        (Some(wanted), Some(got)) => matches(wanted, got, Members::Exactly),
        (None, None) => matches(wanted, got, Members::AtLeast),
        _ => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    Exactly,
    AtLeast,
}

/// `"*"` is any text, and the order of names does not matter.
fn matches(wanted: &Value, got: &Value, members: Members) -> bool {
    match (wanted, got) {
        (Value::String(any), Value::String(text)) if any == "*" => !text.is_empty(),
        (Value::Object(wanted), Value::Object(got)) => {
            let fits = |(name, wanted): (&String, &Value)| match got.get(name) {
                Some(got) if name == "unrecognized" || name == "app_names" => is_same_set(wanted, got),
                Some(got) => matches(wanted, got, members),
                None => false,
            };
            wanted.iter().all(fits) && (members == Members::AtLeast || wanted.len() == got.len())
        }
        _ => wanted == got,
    }
}

fn is_same_set(wanted: &Value, got: &Value) -> bool {
    let sorted = |list: &Value| {
        let mut names: Vec<String> = list.as_array().into_iter().flatten().map(Value::to_string).collect();
        names.sort();
        names
    };
    sorted(wanted) == sorted(got)
}

fn msat(value: &Value) -> Msat {
    value.as_str().expect("an amount").parse().expect("an amount")
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|n| u32::try_from(n).ok()).expect("a number")
}

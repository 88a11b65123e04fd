//! The conformance vectors: `lsps-testing/vectors/*.json`, or the folder that `LSPS_VECTORS` names.
//!
//! A case passes if the outcome is the expected one or one that it also allows. A case that cannot be run fails.

use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use serde_json::Value;

use lsps_types::Msat;

use conformance::Side;
use given::Given;

#[path = "vectors/client.rs"]
mod client;
#[path = "vectors/conformance.rs"]
mod conformance;
#[path = "vectors/fee.rs"]
mod fee;
#[path = "vectors/field.rs"]
mod field;
#[path = "vectors/framing.rs"]
mod framing;
#[path = "vectors/given.rs"]
mod given;
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
#[path = "vectors/webhooks.rs"]
mod webhooks;

/// One case of a file.
pub struct Case {
    name: String,
    /// Clauses that the case shows.
    ids: Vec<String>,
    input: Given,
    /// The wanted outcome, followed by others that conform, too.
    accepts: Vec<Given>,
}

impl Case {
    fn new(case: &Value) -> Self {
        let ids = case["id"].as_array().into_iter().flatten().map(|id| id.as_str().expect("an id").into()).collect();
        let also = case["also_ok"].as_array().into_iter().flatten();
        let accepts = std::iter::once(&case["expect"]).chain(also).cloned().map(Given::new).collect();
        let name = case["name"].as_str().expect("a name").into();
        Self { name, ids, input: Given::new(case["input"].clone()), accepts }
    }

    /// The wanted outcome.
    fn expect(&self) -> &Given {
        &self.accepts[0]
    }

    /// The side whose code the vector runs.
    fn side(&self) -> Side {
        let kind = self.input["kind"].as_str().unwrap_or_default();
        let heads = ["client_", "copy_into_", "derive_", "parse_", "prepare_", "verify"];
        match self.input["receiver"].as_str() {
            Some("client") => Side::Client,
            Some(_) => Side::Lsp,
            None if kind.is_empty() || ["compute_", "encode_", "bolt4_"].iter().any(|head| kind.starts_with(head)) => {
                Side::Both
            }
            None if ["_result", "_error"].iter().any(|end| kind.ends_with(end)) => Side::Client,
            None if self.input["role"] == "client" => Side::Client,
            None if heads.iter().any(|head| kind.starts_with(head)) => Side::Client,
            None => Side::Lsp,
        }
    }

    /// Fails a case that names the other side than the one whose code it runs.
    fn check_side(&self) {
        let side = if self.side() == Side::Client { "client" } else { "lsp" };
        let said = self.input["role"].as_str();
        assert!(said.is_none_or(|said| said == side), "runs the {side}'s code");
    }

    /// Runs the case. A panic fails this case, not its file. An input that nobody read fails it, too: a case whose
    /// precondition was ignored shows nothing.
    fn run(&self, check: fn(&Self) -> Verdict) -> Verdict {
        let verdict = catch_unwind(AssertUnwindSafe(|| {
            self.check_side();
            check(self)
        }));
        match verdict.unwrap_or_else(|panic| Verdict::Failed(format!("panicked: {}", text_of(&*panic)))) {
            Verdict::Passed(accepted) => {
                let ignored = [self.input.unread(), self.accepts[accepted].unread()].concat();
                if ignored.is_empty() {
                    Verdict::Passed(accepted)
                } else {
                    Verdict::Failed(format!("nothing read {}", ignored.join(", ")))
                }
            }
            other @ (Verdict::Failed(_) | Verdict::Awaits(_)) => other,
        }
    }
}

/// The result of one case.
pub enum Verdict {
    /// The outcome has this index in `Case::accepts`.
    Passed(usize),
    /// Why the outcome is none of the accepted ones.
    Failed(String),
    /// The protocol that the case is about, which is not served yet.
    Awaits(&'static str),
}

/// A file of cases, and the function that runs one of them.
type Topic = (&'static str, fn(&Case) -> Verdict);

/// Tested topics, and the function that runs each case.
const TOPICS: [Topic; 9] = [
    ("lsps0_framing", framing::run),
    ("common_schemas", schemas::run),
    ("lsps1_messages", lsps1::run),
    ("lsps2_fee", fee::run),
    ("lsps2_messages", messages::run),
    ("lsps2_htlc_scenarios", scenario::run),
    ("lsps5_messages", lsps5::run),
    ("lsps5_signatures", signatures::run),
    ("field_messages", field::run),
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

#[test]
fn field_messages() {
    run("field_messages");
}

/// The test writes `CONFORMANCE.md` and `docs/conformance` if told to. Otherwise it fails if a file differs from what it
/// would write.
#[test]
fn conformance_document_is_current() {
    if std::env::var_os("LSPS_VECTORS").is_some() {
        return; // other vectors, other document
    }
    for (path, document) in conformance::documents(&TOPICS) {
        if std::env::var_os("LSPS_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            std::fs::write(&path, &document).expect("it can be written");
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == document, "{} is stale; CONFORMANCE.md says how to write it again", path.display());
    }
}

fn run(topic: &str) {
    let (_, check) = TOPICS.iter().find(|(name, _)| *name == topic).expect("a topic");
    let cases = cases(topic);
    let (mut passed, mut failed, mut awaiting) = (0, vec![], vec![]);
    for case in &cases {
        match case.run(*check) {
            Verdict::Passed(_) => passed += 1,
            Verdict::Failed(why) => failed.push(format!("{}: {why}", case.name)),
            Verdict::Awaits(protocol) => awaiting.push(format!("{} awaits {protocol}", case.name)),
        }
    }
    // The harness swallows output that is printed in the usual way.
    let line = format!("{topic}: {passed} passed, {} failed, {} skipped {awaiting:?}\n", failed.len(), awaiting.len());
    std::io::stdout().write_all(line.as_bytes()).expect("stdout is there");
    assert!(!cases.is_empty(), "{topic} has no cases");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn cases(topic: &str) -> Vec<Case> {
    let folder = std::env::var_os("LSPS_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors"), PathBuf::from);
    let path = folder.join(format!("{topic}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cases: Vec<Value> = serde_json::from_str(&text).expect("vectors are a JSON array");
    cases.iter().map(Case::new).collect()
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

fn verdict(case: &Case, outcome: &Value) -> Verdict {
    match case.accepts.iter().position(|accepted| is_like(accepted.json(), outcome)) {
        Some(accepted) => Verdict::Passed(accepted),
        None => Verdict::Failed(format!("wanted {}, got {outcome}", case.expect())),
    }
}

/// Compares the steps of a scenario with each outcome that the case accepts. `differs` says why a step is not as wanted.
fn verdict_on_steps<S>(case: &Case, steps: &[S], differs: impl Fn(&Given, &S) -> Option<String>) -> Verdict {
    let mut complaints = vec![];
    for (n, outcome) in case.accepts.iter().enumerate() {
        let wanted = &outcome["steps"];
        assert_eq!(wanted.items().count(), steps.len(), "a step for each event");
        let mut steps = wanted.items().zip(steps).enumerate();
        match steps.find_map(|(n, (wanted, step))| differs(wanted, step).map(|why| format!("step {n}: {why}"))) {
            None => return Verdict::Passed(n),
            Some(why) => complaints.push(why),
        }
    }
    Verdict::Failed(complaints.join("; or "))
}

/// A result has to be the wanted one. Members of an error that the case does not list are ignored.
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

fn msat(value: &Given) -> Msat {
    value.as_str().expect("an amount").parse().expect("an amount")
}

fn number(value: &Given) -> u32 {
    value.as_u64().and_then(|n| u32::try_from(n).ok()).expect("a number")
}

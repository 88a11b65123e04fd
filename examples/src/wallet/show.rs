//! Output for people and for machines. A closed pipe ends it without a word.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use lsps_node::lsps_transport_ldk::types::{DateTime, Timestamp};
use serde_json::{Map, Value, json};

use super::Failure;

/// Where and how answers are shown.
#[derive(Clone, Copy)]
pub struct Screen {
    /// One JSON object a line.
    pub json: bool,
    /// Long ids whole.
    pub verbose: bool,
}

impl Screen {
    /// Shows what a command answered.
    pub fn answer(self, answer: &Value) -> ExitCode {
        if self.json {
            line(&json!({ "ok": true, "answer": answer }).to_string());
        } else {
            self.people(answer);
        }
        ExitCode::SUCCESS
    }

    /// Shows why a command failed.
    pub fn failure(self, why: &Failure) -> ExitCode {
        if self.json {
            line(&json!({ "ok": false, "error": why.to_string() }).to_string());
        } else {
            let _ = writeln!(stderr(), "wallet: {why}");
        }
        ExitCode::FAILURE
    }

    /// Shows the progress of a command.
    pub fn progress(self, progress: &Value) {
        match progress {
            _ if self.json => line(&json!({ "progress": progress }).to_string()),
            Value::String(text) => drop(writeln!(stderr(), "… {text}")),
            other => self.people(other),
        }
    }

    fn people(self, value: &Value) {
        match value {
            Value::Array(rows) if rows.is_empty() => line("none"),
            Value::Array(rows) => self.table(rows),
            Value::Object(fields) => {
                let width = fields.keys().map(|name| title(name).len()).max().unwrap_or_default();
                for name in in_order(fields) {
                    let value = &fields[name];
                    line(&format!("{:width$}  {}", title(name), self.cell(name, value, true)));
                }
            }
            other => line(&self.cell("", other, true)),
        }
    }

    fn table(self, rows: &[Value]) {
        let rows: Vec<&Map<String, Value>> = rows.iter().filter_map(Value::as_object).collect();
        let names: Vec<&String> = rows.first().map(|row| in_order(row)).unwrap_or_default();
        let cell = |row: &Map<String, Value>, name: &String| {
            row.get(name).map_or_else(String::new, |value| self.cell(name, value, self.verbose))
        };
        let width = |name: &String| {
            let cells = rows.iter().map(|row| cell(row, name).chars().count());
            cells.chain([title(name).len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = names.iter().map(|name| width(name)).collect();
        let print = |cells: Vec<String>| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            line(padded.collect::<Vec<_>>().join("  ").trim_end());
        };
        print(names.iter().map(|name| title(name)).collect());
        for row in &rows {
            print(names.iter().map(|name| cell(row, name)).collect());
        }
    }

    /// A value in a cell; millisatoshis are shown as satoshis.
    fn cell(self, name: &str, value: &Value, whole: bool) -> String {
        match value {
            Value::Null => "-".into(),
            Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.into(),
            Value::Number(number) if name.ends_with("_msat") => sat(number.as_u64().unwrap_or_default()),
            Value::Number(number) if name.ends_with("_at") => time(number.as_u64().unwrap_or_default()),
            Value::String(text) if !whole && text.len() > LONG => text.chars().take(SHORT).chain(['…']).collect(),
            Value::String(text) => text.clone(),
            Value::Array(all) if all.is_empty() => "none".into(),
            Value::Array(all) => all.iter().map(|one| self.cell(name, one, whole)).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        }
    }
}

fn title(name: &str) -> String {
    name.replace("_msat", " sat").replace("_sat", " sat").replace('_', " ")
}

/// The names of the fields, what matters first.
fn in_order(fields: &Map<String, Value>) -> Vec<&String> {
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort_by_key(|name| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    names
}

/// A second since 1970 as a time.
fn time(second: u64) -> String {
    let time = DateTime::from(Timestamp::from_unix_millis(second.saturating_mul(1_000)));
    time.as_str().get(..16).unwrap_or_default().replace('T', " ") + " UTC"
}

/// Millisatoshis as satoshis.
pub fn sat(msat: u64) -> String {
    let (whole, rest) = (msat / 1_000, msat % 1_000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") }
}

fn line(text: &str) {
    if writeln!(stdout(), "{text}").is_err() {
        std::process::exit(0); // nobody reads any more
    }
}

const ORDER: [&str; 22] = [
    "event",
    "node_id",
    "invoice",
    "fee_msat",
    "over",
    "created_at",
    "kind",
    "status",
    "amount_msat",
    "description",
    "id",
    "peer",
    "capacity_sat",
    "outbound_msat",
    "inbound_msat",
    "is_usable",
    "lightning_sat",
    "can_send_msat",
    "can_receive_msat",
    "onchain_sat",
    "onchain_spendable_sat",
    "words",
];
const LONG: usize = 24;
const SHORT: usize = 12;

//! A child process writes, and is killed while it does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use lsps_node::store::Store;
use lsps_transport_ldk::BatchStore;

use crate::{Kind, Opened, directory};

#[test]
fn what_was_answered_before_kill_9_is_there_and_in_the_order_of_the_writes() {
    for kind in Kind::ON_DISK {
        let directory = directory();
        let mut last = 0;
        for life in 1..=lives() {
            let told = lives_and_dies(kind, directory.path(), life);
            last = told.max(last);
            let Opened { store, batches } = kind.open(directory.path());
            let [manager, monitor, record] = ["manager", "monitor", "record_0"].map(|key| number(&store, key));
            assert!(monitor >= last, "{kind:?}: {last} was answered, {monitor} is there");
            assert!(manager >= monitor && manager <= last + 1, "{kind:?}: {manager} {monitor} {last}");
            let records: Vec<u64> = (0..RECORDS).map(|n| number(&store, &format!("record_{n}"))).collect();
            assert!(records.iter().all(|n| (last..=last + 1).contains(n)), "{kind:?}: {records:?}");
            if batches.is_some() {
                assert!(records.iter().all(|n| *n == record), "{kind:?}: half a batch: {records:?}");
            }
            last = manager.max(record);
        }
    }
}

/// Number of kills of each kind of store: `LSPS_KILLS`, or a few.
fn lives() -> usize {
    std::env::var("LSPS_KILLS").map_or(8, |kills| kills.parse().expect("LSPS_KILLS is a number"))
}

/// Starts the child, kills it when it has told `rounds` rounds, and returns the last round that it told.
fn lives_and_dies(kind: Kind, directory: &Path, rounds: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "kill::child", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(KIND, format!("{kind:?}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let told = lines.filter_map(|line| line.strip_prefix("written ")?.parse().ok());
    let mut last = 0;
    for (count, n) in told.enumerate() {
        if count + 1 == rounds {
            child.kill().expect("it lives");
        }
        last = n; // what it told until it was dead
    }
    child.wait().expect("it is dead");
    last
}

/// The child of the test above.
#[test]
#[ignore = "writes until it is killed"]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let name = std::env::var(KIND).expect("a kind");
    let kind = Kind::ON_DISK.into_iter().find(|kind| format!("{kind:?}") == name).expect("a kind");
    let Opened { store, batches } = kind.open(directory.as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut out = std::io::stdout();
    writeln!(out).expect("a pipe"); // the test harness left a line open
    // A round that the last life did not end is done again.
    let first = ["manager", "monitor", "record_0"].map(|key| number(&store, key)).into_iter().min().unwrap_or_default();
    for n in first + 1.. {
        for key in ["manager", "monitor"] {
            store.write("node", "", key, content(n)).expect("it is written");
        }
        runtime.block_on(write_records(&store, batches.as_deref(), n));
        writeln!(out, "written {n}").expect("a pipe");
    }
}

async fn write_records(store: &Store, batches: Option<&dyn BatchStore>, n: u64) {
    let keys = (0..RECORDS).map(|record| format!("record_{record}"));
    match batches {
        Some(batches) => {
            let changes = keys.map(|key| (key, Some(content(n)))).collect();
            batches.write_all("node", "", changes).await.expect("it is written");
        }
        None => keys.for_each(|key| store.write("node", "", &key, content(n)).expect("it is written")),
    }
}

/// Content that is longer than a page, so that half of it would be noticed.
fn content(n: u64) -> Vec<u8> {
    n.to_be_bytes().repeat(2_000)
}

fn number(store: &Store, key: &str) -> u64 {
    let Ok(bytes) = store.read("node", "", key) else { return 0 };
    let n = u64::from_be_bytes(*bytes.first_chunk().expect("a number"));
    assert_eq!(bytes, content(n), "half an entry");
    n
}

const DIRECTORY: &str = "LSPS_STORE_DIRECTORY";
const KIND: &str = "LSPS_STORE_KIND";
const RECORDS: u64 = 8;

//! A diary of a cut that fails: with `LSPS_DIARY=DIRECTORY` the log of all nodes, their events and the tape of the LSP
//! are written to that directory, and removed if the cut ended well.

use std::fs::File;
use std::io::{LineWriter, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lsps_node::node::logger::overhear;

/// Keeps a diary of this cut. Only one diary is kept at a time, so the tests have to run one by one.
pub async fn of<T>(name: &str, cut: impl Future<Output = T>) -> T {
    let Some(directory) = std::env::var_os("LSPS_DIARY").map(PathBuf::from) else { return cut.await };
    let name: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let (log, tape) = (directory.join(format!("{name}.log")), directory.join(format!("{name}.tape")));
    let _ = std::fs::remove_file(&tape);
    *open() = Some((LineWriter::new(File::create(&log).expect("the directory is there")), tape.clone()));
    overhear(|line| note(|| line.to_owned()));
    let end = cut.await;
    *open() = None;
    // The files of a cut that panicked stay.
    let _ = (std::fs::remove_file(log), std::fs::remove_file(tape));
    end
}

/// Adds a line to the diary.
pub fn note(line: impl FnOnce() -> String) {
    if let Some((log, _)) = &mut *open() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let _ = writeln!(log, "{}.{:06} {}", now.as_secs() % 100_000, now.subsec_micros(), line());
    }
}

/// Path of the LSP's tape.
pub fn tape() -> Option<PathBuf> {
    open().as_ref().map(|(_, tape)| tape.clone())
}

fn open() -> MutexGuard<'static, Option<(LineWriter<File>, PathBuf)>> {
    static OPEN: Mutex<Option<(LineWriter<File>, PathBuf)>> = Mutex::new(None);
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

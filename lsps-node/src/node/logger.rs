//! A quiet logger that collects the failure codes of payments.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use lightning::util::logger::{Level, Logger, Record};

/// Writes messages of at least its level to standard error or to a sink.
pub struct NodeLogger {
    name: String,
    level: AtomicU8,
    sink: Mutex<Option<Sink>>,
    failure_codes: Mutex<Vec<FailureCode>>,
}

impl NodeLogger {
    /// Creates a logger for the node of this name that shows errors only.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            level: AtomicU8::new(rank(Level::Error)),
            sink: Mutex::default(),
            failure_codes: Mutex::default(),
        }
    }

    /// Shows messages of at least this level from now on.
    pub fn set_level(&self, level: Level) {
        self.level.store(rank(level), Ordering::Relaxed);
    }

    /// Sends lines to `sink` instead of standard error.
    pub fn set_sink(&self, sink: impl Fn(&str) + Send + 'static) {
        *lock(&self.sink) = Some(Box::new(sink));
    }

    /// BOLT 4 codes with which payments of this node failed, in the order of arrival.
    ///
    /// LDK's events do not contain them, but its log does: one line at level Info per decoded failure onion.
    #[must_use]
    pub fn failure_codes(&self) -> Vec<FailureCode> {
        lock(&self.failure_codes).clone()
    }
}

impl Logger for NodeLogger {
    fn log(&self, record: Record) {
        let shown = rank(record.level) >= self.level.load(Ordering::Relaxed);
        let failure = record.level == Level::Info && record.module_path.ends_with("onion_utils");
        let overheard = OVERHEARD.get().filter(|_| rank(record.level) >= rank(Level::Trace));
        if !shown && !failure && overheard.is_none() {
            return; // formatting is the expensive part
        }
        let text = record.args.to_string();
        if failure {
            lock(&self.failure_codes).extend(parse_failure_code(&text));
        }
        if !shown && overheard.is_none() {
            return;
        }
        let line = format!("{} {:5} {}:{} {text}", self.name, record.level, record.module_path, record.line);
        if let Some(overheard) = overheard {
            overheard(&line);
        }
        if shown {
            match &*lock(&self.sink) {
                Some(sink) => sink(&line),
                None => eprintln!("{line}"),
            }
        }
    }
}

/// Sends each line of every node of this process to `sink` too, down to level Trace, from a node's load on. Only the first
/// sink is used.
pub fn overhear(sink: impl Fn(&str) + Send + Sync + 'static) {
    let _ = OVERHEARD.set(Box::new(sink));
}

static OVERHEARD: OnceLock<SharedSink> = OnceLock::new();

type SharedSink = Box<dyn Fn(&str) + Send + Sync>;

/// BOLT 4 failure code of a payment: `0x400a` is `unknown_next_peer`, `0x1007` `temporary_channel_failure`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FailureCode(pub u16);

impl std::fmt::Debug for FailureCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

type Sink = Box<dyn Fn(&str) + Send>;

/// Parses `Onion Error[from <node>: <name>(0x<code>)…`.
fn parse_failure_code(text: &str) -> Option<FailureCode> {
    let (_, after) = text.strip_prefix("Onion Error[from ")?.split_once("(0x")?;
    let (digits, _) = after.split_once(')')?;
    u16::from_str_radix(digits, 16).ok().map(FailureCode)
}

fn rank(level: Level) -> u8 {
    match level {
        Level::Gossip => 0,
        Level::Trace => 1,
        Level::Debug => 2,
        Level::Info => 3,
        Level::Warn => 4,
        Level::Error => 5,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking sink must not silence the node; the locked data is always consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_with_and_without_details() {
        let plain = "Onion Error[from 02ab: TemporaryChannelFailure(0x1007)]";
        let detailed = "Onion Error[from 02ab: FinalIncorrectHTLCAmount(0x13) htlc_msat(0000)]";
        assert_eq!(parse_failure_code(plain), Some(FailureCode(0x1007)));
        assert_eq!(parse_failure_code(detailed), Some(FailureCode(0x13)));
        assert_eq!(parse_failure_code("nothing of the kind (0x1007)"), None);
    }
}

//! A store in an SQLite database.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::io;
use lightning::util::persist::KVStoreSync;
use lsps_transport_ldk::{BatchStore, Change};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

/// A store in one SQLite file. A call returns when its change is synced to the disk, and a batch of records is one
/// transaction.
///
/// Like every store of a node it belongs to one process; [`DirectoryLock`](super::DirectoryLock) keeps others off.
pub struct SqliteStore {
    connection: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens the database, or creates it.
    ///
    /// # Errors
    ///
    /// The file is no database of this crate, was made by a later release, or cannot be read or written.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        Self::connect(path).map_err(|why| broken(format!("{}: {why}", path.display())))
    }

    fn connect(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        prepare(&transaction)?;
        transaction.commit()?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A commit of a write-ahead log is synced only at this level; the default level may lose it in a power cut.
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic dropped was rolled back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_batch(&self, primary: &str, secondary: &str, changes: &[Change]) -> rusqlite::Result<()> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (key, content) in changes {
            match content {
                Some(bytes) => put(&transaction, primary, secondary, key, bytes)?,
                None => delete(&transaction, primary, secondary, key)?,
            }
        }
        transaction.commit()
    }
}

impl KVStoreSync for SqliteStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        let connection = self.connection();
        let mut query = connection.prepare_cached(READ).map_err(broken)?;
        let found = query.query_row(params![primary, secondary, key], |row| row.get(0)).optional().map_err(broken)?;
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such key"))
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Result<(), io::Error> {
        put(&self.connection(), primary, secondary, key, &value).map_err(broken)
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _lazy: bool) -> Result<(), io::Error> {
        delete(&self.connection(), primary, secondary, key).map_err(broken)
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        let connection = self.connection();
        let mut query = connection.prepare_cached(LIST).map_err(broken)?;
        let keys = query.query_map(params![primary, secondary], |row| row.get(0)).map_err(broken)?;
        keys.collect::<Result<_, _>>().map_err(broken)
    }
}

impl BatchStore for SqliteStore {
    fn write_all(&self, primary: &str, secondary: &str, changes: Vec<Change>) -> Answer {
        let written = self.write_batch(primary, secondary, &changes).map_err(broken);
        Box::pin(std::future::ready(written))
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<(), io::Error>> + Send>>;

fn put(at: &Connection, primary: &str, secondary: &str, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    at.prepare_cached(WRITE)?.execute(params![primary, secondary, key, value]).map(drop)
}

fn delete(at: &Connection, primary: &str, secondary: &str, key: &str) -> rusqlite::Result<()> {
    at.prepare_cached(REMOVE)?.execute(params![primary, secondary, key]).map(drop)
}

/// Creates the table, or checks that this release can read the file.
fn prepare(file: &Transaction<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let number = |pragma: &str| file.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 = file.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION, LAYOUT) => Ok(()),
        (APPLICATION, newer) if newer > LAYOUT => {
            Err(format!("layout {newer} is of a later release, this one reads layout {LAYOUT}: update the program")
                .into())
        }
        (0, 0) if tables == 0 => {
            file.execute_batch(TABLE)?;
            file.pragma_update(None, "application_id", APPLICATION)?;
            file.pragma_update(None, "user_version", LAYOUT)?;
            Ok(())
        }
        _ => Err("a database of another program: choose another file".into()),
    }
}

fn broken(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::Other, why.to_string())
}

/// `LSPS` in ASCII.
const APPLICATION: i64 = 0x4c53_5053;
const LAYOUT: i64 = 1;
/// Time to wait for a tool that reads or copies the file.
const PATIENCE: Duration = Duration::from_secs(5);
const TABLE: &str = "CREATE TABLE entries (
    primary_namespace TEXT NOT NULL,
    secondary_namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (primary_namespace, secondary_namespace, key)
) STRICT";
const READ: &str = "SELECT value FROM entries WHERE primary_namespace = ? AND secondary_namespace = ? AND key = ?";
const LIST: &str = "SELECT key FROM entries WHERE primary_namespace = ? AND secondary_namespace = ? ORDER BY key";
const WRITE: &str = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)";
const REMOVE: &str = "DELETE FROM entries WHERE primary_namespace = ? AND secondary_namespace = ? AND key = ?";

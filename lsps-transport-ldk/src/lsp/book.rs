//! The operator's book in the node's store: one JSON text per entry, under its own name, never changed.

use lightning::io;
use lsps_service::{BookEntry, BookKey};

use crate::store::RecordStore;

#[derive(Clone)]
pub(super) struct Book(RecordStore);

impl Book {
    pub fn beside(records: &RecordStore) -> Self {
        Self(records.beside("book"))
    }

    /// Writing one twice leaves one.
    pub async fn enter(&self, key: BookKey, entry: &BookEntry) -> Result<(), io::Error> {
        let text = serde_json::to_vec(entry).map_err(|error| broken(&error))?;
        self.0.write([(key, Some(text.as_slice()))].into_iter()).await
    }

    /// All of it, by time.
    pub async fn read(&self) -> Result<Vec<BookEntry>, io::Error> {
        let read = |(_, text): (String, Vec<u8>)| serde_json::from_slice(&text).map_err(|error| broken(&error));
        let mut entries: Vec<BookEntry> = self.0.load().await?.into_iter().map(read).collect::<Result<_, _>>()?;
        entries.sort_by_key(|entry| entry.at);
        Ok(entries)
    }
}

fn broken(error: &serde_json::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

//! The operator's book in the record store: one JSON text per entry, each under its own name, never changed.

use std::collections::BTreeMap;

use lsps_service::{BookEntry, BookKey};

use crate::ports::StoreError;
use crate::records::Records;

#[derive(Clone)]
pub(super) struct Book(Records);

/// The book in pages, by time: the entries that existed at the call of [`Lsp::book_pages`](crate::Lsp::book_pages).
pub struct BookPages {
    store: Records,
    /// Names of the entries that were not read yet, the earliest last.
    names: Vec<String>,
}

/// A page of the book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookPage {
    /// The entries, by time.
    pub entries: Vec<BookEntry>,
    /// The names of entries that the store failed to read, or that are damaged, each with the reason.
    pub unread: Vec<(String, String)>,
}

impl Book {
    pub fn beside(records: &Records) -> Self {
        Self(records.beside("book"))
    }

    /// Writes entries. Writing an entry twice has no further effect.
    pub async fn enter(&self, entries: &BTreeMap<BookKey, BookEntry>) -> Result<(), StoreError> {
        let mut texts = vec![];
        for (key, entry) in entries {
            texts.push((*key, serde_json::to_vec(entry).map_err(|error| broken(error.to_string()))?));
        }
        self.0.write(texts.iter().map(|(key, text)| (key, Some(text.as_slice())))).await
    }

    pub async fn pages(&self) -> Result<BookPages, StoreError> {
        let mut names = self.0.names().await?;
        names.sort_by_cached_key(|name| std::cmp::Reverse((time_of(name), name.clone())));
        Ok(BookPages { store: self.0.clone(), names })
    }

    /// The whole book, by time.
    pub async fn read(&self) -> Result<Vec<BookEntry>, StoreError> {
        let (mut pages, mut entries) = (self.pages().await?, vec![]);
        while let Some(page) = pages.next(PAGE).await {
            if let Some((name, why)) = page.unread.first() {
                return Err(broken(format!("entry {name:?} of the book cannot be read: {why}")));
            }
            entries.extend(page.entries);
        }
        Ok(entries)
    }
}

impl BookPages {
    /// The number of entries that are left to read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.names.len()
    }

    /// The next page, of at most this number of entries, some of which may be unreadable. `None`: all pages were read.
    pub async fn next(&mut self, entries: usize) -> Option<BookPage> {
        let some = self.names.split_off(self.names.len().saturating_sub(entries.max(1)));
        if some.is_empty() {
            return None;
        }
        let (read, mut page) = (self.store.read(some).await, BookPage::default());
        page.unread.extend(read.failed.into_iter().map(|(name, error)| (name, error.to_string())));
        for (name, text) in read.records {
            match serde_json::from_slice(&text) {
                Ok(entry) => page.entries.push(entry),
                Err(error) => page.unread.push((name, error.to_string())),
            }
        }
        page.entries.sort_by_key(|entry: &BookEntry| entry.at);
        Some(page)
    }
}

/// The time in the name of a [`BookKey`]: the second last number.
fn time_of(name: &str) -> u64 {
    name.rsplit('-').nth(1).and_then(|millis| millis.parse().ok()).unwrap_or_default()
}

fn broken(why: String) -> StoreError {
    StoreError::Failed(why)
}

const PAGE: usize = 1_000;

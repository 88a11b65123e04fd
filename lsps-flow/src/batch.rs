//! Write before act: the records of a turn are written before its messages and effects are released.

use alloc::{collections::BTreeMap, vec::Vec};

/// The outputs that a core releases once its records are durable: messages, effects and the like.
pub trait Release: Default {
    /// Whether there is no output.
    fn is_empty(&self) -> bool;
}

/// Changes that a core made since its last batch.
#[derive(Debug)]
pub struct Changes<F, R> {
    /// New content of each changed record; `None` if the record is to be deleted.
    pub records: BTreeMap<F, Option<Vec<u8>>>,
    /// Outputs that may be released once the records are durable.
    pub released: R,
}

impl<F, R: Default> Default for Changes<F, R> {
    fn default() -> Self {
        Self { records: BTreeMap::new(), released: R::default() }
    }
}

impl<F, R: Release> Changes<F, R> {
    /// Whether there is no record and no output.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.released.is_empty()
    }

    /// Takes the changes, for the host.
    pub fn drain(&mut self) -> Batch<F, R> {
        Batch(core::mem::take(self))
    }
}

/// Records and outputs since the last drain. Write the records, then call [`written`](Self::written).
#[derive(Debug)]
#[must_use = "records that are never written are lost in a crash"]
pub struct Batch<F, R>(Changes<F, R>);

impl<F, R: Default> Default for Batch<F, R> {
    fn default() -> Self {
        Self(Changes::default())
    }
}

impl<F: Copy, R: Release> Batch<F, R> {
    /// Records to make durable, in any order: the new content of each, or `None` if the record is to be deleted.
    pub fn records(&self) -> impl Iterator<Item = (F, Option<&[u8]>)> {
        self.0.records.iter().map(|(id, bytes)| (*id, bytes.as_deref()))
    }

    /// Releases the outputs. Call this only once the records are durable.
    #[must_use = "these are the messages and the acts that were waited for"]
    pub fn written(self) -> R {
        self.0.released
    }

    /// Whether there is no record and no output.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn released(&self) -> &R {
        &self.0.released
    }
}

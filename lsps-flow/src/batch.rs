//! Write before act: records first, then messages and effects.

use alloc::{collections::BTreeMap, vec::Vec};

/// What a core lets out once its records are durable: messages, effects and the like.
pub trait Release: Default {
    /// Whether there is nothing to send, do or tell.
    fn is_empty(&self) -> bool;
}

/// What has changed since the last batch, as a core collects it.
#[derive(Debug)]
pub struct Changes<F, R> {
    /// The new content of each record, or `None` where it is to be deleted.
    pub records: BTreeMap<F, Option<Vec<u8>>>,
    /// What may happen once they are durable.
    pub released: R,
}

impl<F, R: Default> Default for Changes<F, R> {
    fn default() -> Self {
        Self { records: BTreeMap::new(), released: R::default() }
    }
}

impl<F, R: Release> Changes<F, R> {
    /// Whether there is nothing to write, send, do or tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.released.is_empty()
    }

    /// All of it, for the host.
    pub fn drain(&mut self) -> Batch<F, R> {
        Batch(core::mem::take(self))
    }
}

/// Everything since the last drain. Write the records, then ask for the rest.
#[derive(Debug)]
#[must_use = "records that are never written are lost in a crash"]
pub struct Batch<F, R>(Changes<F, R>);

impl<F, R: Default> Default for Batch<F, R> {
    fn default() -> Self {
        Self(Changes::default())
    }
}

impl<F: Copy, R: Release> Batch<F, R> {
    /// What to make durable, in any order: the new content of a record, or `None` where it is to be deleted.
    pub fn records(&self) -> impl Iterator<Item = (F, Option<&[u8]>)> {
        self.0.records.iter().map(|(id, bytes)| (*id, bytes.as_deref()))
    }

    /// Call once the records are durable; nothing else yields the messages and effects.
    #[must_use = "these are the messages and the acts that were waited for"]
    pub fn written(self) -> R {
        self.0.released
    }

    /// Whether there is nothing to write, send, do or tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn released(&self) -> &R {
        &self.0.released
    }
}

//! LSPS2: JIT channels.

use lsps_types::Blocks;

pub(crate) mod advance;
pub(crate) mod change;
pub(crate) mod index;
pub(crate) mod jit_channel;
pub(crate) mod offers;
pub(crate) mod outstanding;
pub(crate) mod part_news;
pub(crate) mod parts;
pub(crate) mod requests;

/// Whether the LSP may close a JIT channel that has this many confirmations.
///
/// Spec: LSPS2 §1 `min_lifetime`; the promise holds only for a channel that was paid for.
#[must_use]
pub fn may_close(paid: bool, confirmations: Blocks, min_lifetime: Blocks) -> bool {
    !paid || confirmations >= min_lifetime
}

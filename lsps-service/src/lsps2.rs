//! LSPS2: JIT channels.

pub(crate) mod channel;
pub(crate) mod jit_channel;
pub(crate) mod outstanding;
pub(crate) mod parts;
pub(crate) mod progress;
pub(crate) mod requests;

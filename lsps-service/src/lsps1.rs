//! LSPS1: orders of channels.

pub(crate) mod advance;
pub(crate) mod change;
pub(crate) mod order;
pub(crate) mod orders;
pub(crate) mod outstanding;
pub(crate) mod payments;
mod refunds;
pub(crate) mod reply;
pub(crate) mod requests;
pub(crate) mod view;

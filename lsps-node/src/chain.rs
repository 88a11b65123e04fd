//! Where a node has its blocks from.

pub mod embedded;

//! Sources of blocks for a node.

pub mod embedded;

//! Waiting for the tasks of nodes.

use std::sync::Weak;
use std::time::{Duration, Instant};

/// Whether `is_true` becomes true within a minute, which is generous on a busy machine.
pub async fn within(is_true: impl Fn() -> bool) -> bool {
    for _ in 0..12_000 {
        if is_true() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

/// Repeats `turn` as long as the node exists, for a node without a host.
pub async fn while_there<N>(node: Weak<N>, mut turn: impl FnMut(&N)) {
    while let Some(node) = node.upgrade() {
        turn(&node);
        drop(node);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for this time, in a test that shows that an event does not happen meanwhile.
pub async fn passes(millis: u64) -> bool {
    let start = Instant::now();
    within(|| start.elapsed() >= Duration::from_millis(millis)).await
}

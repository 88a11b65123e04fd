//! Waiting for what nodes do in their own time.

use std::sync::Weak;
use std::time::{Duration, Instant};

/// Whether it comes true within ten seconds.
pub async fn within(is_true: impl Fn() -> bool) -> bool {
    for _ in 0..2_000 {
        if is_true() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

/// Does this again and again, for a node that has no host, as long as the node is there.
pub async fn while_there<N>(node: Weak<N>, mut turn: impl FnMut(&N)) {
    while let Some(node) = node.upgrade() {
        turn(&node);
        drop(node);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// For what must not happen meanwhile.
pub async fn passes(millis: u64) -> bool {
    let start = Instant::now();
    within(|| start.elapsed() >= Duration::from_millis(millis)).await
}

//! Scripts found by soaks of the hostile world of orders, minimized. Each showed a fault that is fixed.

use lsps_testing::order_world::{Amount, Step};

use super::plays_hostile;

/// The order is completed while the store fails, a block comes, and the process dies before the order is on record.
const NOT_ON_RECORD: &[Step] = &[
    Step::Pay { order: 214, by_offer: false, amount: Amount::Exact, expires_soon: false },
    Step::Accept { channel: 33 },
    Step::Store { works: false },
    Step::Sign { channel: 14 },
    Step::Crash { after: 1, saved: false },
    Step::Ordinary { client: 2, keeps: false },
    Step::Blocks { count: 1, are_full: false },
    Step::Wait { seconds: 7201 },
    Step::Store { works: true },
];

#[test]
fn an_order_completed_while_the_store_fails_is_not_published_by_a_block() {
    let _ = plays_hostile(false, NOT_ON_RECORD);
}

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

/// The block of a refunded output is gone, the output too, and both come back: the next refund is the same transaction.
const REFUNDED_AGAIN: &[Step] = &[
    Step::Deposit { order: 0, amount: Amount::Exact, is_dear: false },
    Step::Cancel { order: 0 },
    Step::Blocks { count: 1, are_full: false },
    Step::Reorg { deposit: 0 },
    Step::Replace { deposit: 0 },
    Step::ComeBack { deposit: 0 },
];

/// The same, found by chance: the channel of the order is published meanwhile, and dust comes.
const REFUNDED_AGAIN_BESIDE_A_CHANNEL: &[Step] = &[
    Step::Crash { after: 1, saved: false },
    Step::Deposit { order: 43, amount: Amount::Exact, is_dear: true },
    Step::Deposit { order: 209, amount: Amount::Exact, is_dear: false },
    Step::Proceed { client: 0 },
    Step::Blocks { count: 3, are_full: false },
    Step::Reorg { deposit: 219 },
    Step::Replace { deposit: 219 },
    Step::Deposit { order: 8, amount: Amount::Exact, is_dear: true },
    Step::Deposit { order: 253, amount: Amount::Short, is_dear: false },
    Step::Deposit { order: 62, amount: Amount::Exact, is_dear: false },
    Step::Deposit { order: 71, amount: Amount::Over, is_dear: true },
    Step::Deposit { order: 79, amount: Amount::Exact, is_dear: true },
    Step::Deposit { order: 18, amount: Amount::Over, is_dear: true },
    Step::Dust { order: 233, count: 2 },
    Step::Deposit { order: 213, amount: Amount::Over, is_dear: false },
    Step::Dust { order: 136, count: 10 },
    Step::ComeBack { deposit: 253 },
];

/// Dust is confirmed with the payment of an order, and double-spent after its block is gone.
const DUST_IS_GONE: &[Step] = &[
    Step::Pay { order: 255, by_offer: true, amount: Amount::Exact, expires_soon: true },
    Step::Deposit { order: 225, amount: Amount::Dust, is_dear: true },
    Step::Blocks { count: 1, are_full: false },
    Step::Proceed { client: 0 },
    Step::Reorg { deposit: 228 },
    Step::Replace { deposit: 141 },
];

#[test]
fn dust_that_is_double_spent_is_booked_as_received_and_lost() {
    let _ = plays_hostile(false, DUST_IS_GONE);
}

#[test]
fn a_refund_that_follows_a_void_one_and_is_the_same_transaction_is_booked_once() {
    let _ = plays_hostile(false, REFUNDED_AGAIN);
    let _ = plays_hostile(false, REFUNDED_AGAIN_BESIDE_A_CHANNEL);
}

#[test]
fn an_order_completed_while_the_store_fails_is_not_published_by_a_block() {
    let _ = plays_hostile(false, NOT_ON_RECORD);
}

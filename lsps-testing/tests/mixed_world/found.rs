//! Minimized scripts from soaks. Each one failed before a bug was fixed.

use lsps_service::Trust;
use lsps_testing::mixed_world::Step;
use lsps_testing::order_world::{self, Amount};
use lsps_testing::world;

use crate::plays;

/// The clock is a day ahead and an order ends, while the store refuses. A deposit for it is not the wallet's: the order
/// is still on record, and after a crash it wants its deposit back.
const REMOVED_IN_MEMORY: &[Step] = &[
    Step::Sale(world::Step::SetClock { seconds: 90000, back: false }),
    Step::Sale(world::Step::Store { works: false }),
    Step::Order(order_world::Step::Deposit { order: 93, amount: Amount::Short, is_dear: true }),
    Step::Sale(world::Step::SetClock { seconds: 90000, back: false }),
    Step::Order(order_world::Step::Pay { order: 117, by_offer: true, amount: Amount::Exact, expires_soon: true }),
    Step::Sale(world::Step::Crash { after: 7, saved: false }),
    Step::Sale(world::Step::PayAgain { part: 198, changed: world::Changed::Nothing }),
    Step::Sale(world::Step::Show),
    Step::Sale(world::Step::Refuse { call: world::Call::Fail }),
    Step::Order(order_world::Step::Accept { channel: 134 }),
    Step::Sale(world::Step::Refuse { call: world::Call::Broadcast }),
    Step::Sale(world::Step::Buy { client: 0, fixed: true }),
    Step::Sale(world::Step::Replay),
];

#[test]
fn a_deposit_is_free_once_the_removal_of_its_order_is_on_record() {
    let _ = plays(Trust::LspTrustsClient, false, REMOVED_IN_MEMORY);
}

/// The order of a deposit that was refunded is removed, while the store refuses, and a reorganisation takes the refund back.
const REFUND_TAKEN_BACK: &[Step] = &[
    Step::Order(order_world::Step::Pay { order: 183, by_offer: false, amount: Amount::Exact, expires_soon: true }),
    Step::Order(order_world::Step::Dust { order: 88, count: 11 }),
    Step::Sale(world::Step::Block { is_full: false }),
    Step::Order(order_world::Step::Cancel { order: 97 }),
    Step::Sale(world::Step::Mute { on: true }),
    Step::Sale(world::Step::Block { is_full: false }),
    Step::Order(order_world::Step::Crash { after: 5, saved: true }),
    Step::Sale(world::Step::Burst { count: 2 }),
    Step::Order(order_world::Step::Blocks { count: 3, are_full: false }),
    Step::Order(order_world::Step::Wait { seconds: 7201 }),
    Step::Sale(world::Step::Store { works: false }),
    Step::Sale(world::Step::Mute { on: false }),
    Step::Sale(world::Step::Reorg { depth: 6 }),
];

#[test]
fn a_deposit_is_not_free_while_its_refund_is_on_record() {
    let _ = plays(Trust::LspTrustsClient, false, REFUND_TAKEN_BACK);
}

/// A deposit is lost, the clock is set back, and the deposit is found again: in the book, that is before the loss.
const FOUND_BEFORE_IT_WAS_LOST: &[Step] = &[
    Step::Order(order_world::Step::Deposit { order: 141, amount: Amount::Exact, is_dear: true }),
    Step::Sale(world::Step::Accept { channel: 208, greedy: false }),
    Step::Sale(world::Step::Sign { channel: 208 }),
    Step::Sale(world::Step::Save),
    Step::Order(order_world::Step::Replace { deposit: 95 }),
    Step::Sale(world::Step::SetClock { seconds: 60, back: true }),
    Step::Order(order_world::Step::ComeBack { deposit: 196 }),
];

#[test]
fn a_clock_that_is_set_back_does_not_change_the_sums_of_the_book() {
    let _ = plays(Trust::ClientTrustsLsp, false, FOUND_BEFORE_IT_WAS_LOST);
}

/// An order is paid, and a crash takes its channel from the node before both sides signed. Its client stays away with an
/// HTLC of a JIT payment.
const OPEN_TAKEN_BY_A_CRASH: &[Step] = &[
    Step::Sale(world::Step::Pay { offer: 104, hash: 2, tenths: 6, expires_soon: false }),
    Step::Sale(world::Step::Pay { offer: 245, hash: 2, tenths: 5, expires_soon: false }),
    Step::Order(order_world::Step::Proceed { client: 0 }),
    Step::Order(order_world::Step::Pay { order: 48, by_offer: true, amount: Amount::Over, expires_soon: false }),
    Step::Sale(world::Step::Mute { on: true }),
    Step::Sale(world::Step::Proceed { client: 0 }),
    Step::Sale(world::Step::Mute { on: false }),
    Step::Sale(world::Step::Crash { after: 2, saved: false }),
    Step::Sale(world::Step::ClaimOne { payment: 129, part: 140 }),
];

#[test]
fn a_channel_that_a_crash_took_holds_up_no_payment() {
    let _ = plays(Trust::LspTrustsClient, false, OPEN_TAKEN_BY_A_CRASH);
}

/// A part of so little that no fee is kept of it is at its client, who claims another HTLC of that amount over the channel of
/// an order.
const LIKE_A_SMALL_PART: &[Step] = &[
    Step::Sale(world::Step::Pay { offer: 24, hash: 2, tenths: 3, expires_soon: false }),
    Step::Sale(world::Step::Pay { offer: 96, hash: 2, tenths: 6, expires_soon: false }),
    Step::Sale(world::Step::PayOdd { offer: 128, hash: 2, odd: 170 }),
    Step::Order(order_world::Step::Deposit { order: 248, amount: Amount::Exact, is_dear: true }),
    Step::Sale(world::Step::Pay { offer: 110, hash: 2, tenths: 5, expires_soon: false }),
    Step::Sale(world::Step::Proceed { client: 0 }),
    Step::Order(order_world::Step::Ordinary { client: 0, keeps: false }),
];

#[test]
fn a_claim_that_looks_like_a_part_without_a_fee_publishes_nothing_on_trust() {
    let _ = plays(Trust::ClientTrustsLsp, false, LIKE_A_SMALL_PART);
}

/// Dust is refunded, one of its outputs is double-spent after a reorganisation and comes back, and the first refund is mined after
/// the dust was kept.
const VOID_REFUND_IS_MINED: &[Step] = &[
    Step::Order(order_world::Step::Dust { order: 82, count: 7 }),
    Step::Sale(world::Step::Block { is_full: false }),
    Step::Sale(world::Step::SetClock { seconds: 90000, back: false }),
    Step::Sale(world::Step::Reorg { depth: 3 }),
    Step::Order(order_world::Step::Deposit { order: 176, amount: Amount::Dust, is_dear: true }),
    Step::Order(order_world::Step::Replace { deposit: 109 }),
    Step::Order(order_world::Step::Deposit { order: 219, amount: Amount::Short, is_dear: false }),
    Step::Order(order_world::Step::ComeBack { deposit: 131 }),
];

#[test]
fn dust_that_was_kept_and_then_given_back_by_a_void_refund_adds_up() {
    let _ = plays(Trust::LspTrustsClient, false, VOID_REFUND_IS_MINED);
}

/// A client that holds an HTLC of a purchase refuses the channel that it ordered and paid for.
const REFUSES_WHILE_IT_HOLDS: &[Step] = &[
    Step::Sale(world::Step::PayOdd { offer: 184, hash: 3, odd: 135 }),
    Step::Sale(world::Step::Proceed { client: 0 }),
    Step::Order(order_world::Step::Pay { order: 10, by_offer: false, amount: Amount::Exact, expires_soon: false }),
    Step::Sale(world::Step::Accept { channel: 204, greedy: false }),
    Step::Sale(world::Step::Reject { channel: 58 }),
];

#[test]
fn a_payment_for_a_refused_channel_waits_for_the_htlc_that_its_client_holds() {
    let _ = plays(Trust::LspTrustsClient, false, REFUSES_WHILE_IT_HOLDS);
}

//! Minimized scripts from soaks. Each one failed before a bug was fixed.

use lsps_testing::wallet_world::{How, Skim, Step};

use super::plays;

/// A purchase is paid twice. The node reports the claim of the first payment late, as an event before it waits for a record
/// that cannot be read; the process dies, and the second payment looks just like the one that is on record.
const PAID_TWICE: &[Step] = &[
    Step::Proceed { lsp: 149 },
    Step::Proceed { lsp: 211 },
    Step::Receive { amount: 111, kind: 0 },
    Step::Proceed { lsp: 100 },
    Step::Receive { amount: 176, kind: 3 },
    Step::Receive { amount: 226, kind: 3 },
    Step::Order { lsp: 248, size: 166, way: 3, refundable: true },
    Step::Disconnect { lsp: 222 },
    Step::Proceed { lsp: 80 },
    Step::Proceed { lsp: 58 },
    Step::Serve { purchase: 187 },
    Step::Hide { record: 131 },
    Step::Forward { purchase: 63, channel: 40, skim: Skim::Promised, amount: 40, parts: 0 },
    Step::Block { count: 150 },
    Step::Serve { purchase: 52 },
    Step::Forward { purchase: 135, channel: 183, skim: Skim::Promised, amount: 183, parts: 1 },
    Step::Proceed { lsp: 156 },
    Step::Crash { after: 0, saved: false },
    Step::Order { lsp: 160, size: 111, way: 0, refundable: true },
];

#[test]
fn the_fee_of_a_purchase_is_kept_once_though_it_is_paid_twice() {
    let _ = plays(1163, PAID_TWICE);
}

/// A payment that waits for confirmations fails back while its node reports nothing, and its payer pays again without a
/// skim.
const PAID_AGAIN: &[Step] = &[
    Step::Receive { amount: 237, kind: 0 },
    Step::Proceed { lsp: 182 },
    Step::Serve { purchase: 184 },
    Step::Forward { purchase: 209, channel: 120, skim: Skim::Less, amount: 120, parts: 0 },
    Step::Serve { purchase: 177 },
    Step::Forward { purchase: 249, channel: 127, skim: Skim::Nothing, amount: 127, parts: 1 },
    Step::Mute { on: true },
    Step::Restart,
    Step::Block { count: 150 },
    Step::Serve { purchase: 101 },
    Step::Forward { purchase: 159, channel: 201, skim: Skim::Nothing, amount: 100, parts: 0 },
];

#[test]
fn a_payment_that_comes_in_the_place_of_a_held_one_is_claimed() {
    let _ = plays(2342, PAID_AGAIN);
}

/// Two payments are held over one channel of two, the second without a purchase's channel of its own. A third payment
/// arrives.
const OVER_A_HELD_CHANNEL: &[Step] = &[
    Step::Receive { amount: 174, kind: 3 },
    Step::Receive { amount: 79, kind: 2 },
    Step::Receive { amount: 87, kind: 5 },
    Step::Proceed { lsp: 138 },
    Step::Serve { purchase: 210 },
    Step::Forward { purchase: 70, channel: 108, skim: Skim::Promised, amount: 108, parts: 0 },
    Step::Serve { purchase: 94 },
    Step::Forward { purchase: 75, channel: 197, skim: Skim::Boast, amount: 197, parts: 2 },
    Step::Forward { purchase: 92, channel: 34, skim: Skim::Less, amount: 100, parts: 0 },
    Step::Forward { purchase: 129, channel: 83, skim: Skim::Nothing, amount: 83, parts: 1 },
];

#[test]
fn a_payment_over_the_channel_of_a_held_one_uses_up_another_channel() {
    let _ = plays(5650, OVER_A_HELD_CHANNEL);
}

/// The node gives the payment by offer up, and the order is paid on-chain. The node was not saved since, and a crash brings
/// the payment back.
const GIVEN_UP_BEFORE_A_CRASH: &[Step] = &[
    Step::Proceed { lsp: 113 },
    Step::Receive { amount: 169, kind: 2 },
    Step::Receive { amount: 33, kind: 3 },
    Step::Connect { lsp: 208 },
    Step::Order { lsp: 245, size: 39, way: 4, refundable: true },
    Step::Proceed { lsp: 44 },
    Step::Return { payment: 59 },
    Step::Answer { lsp: 182, how: How::Honest },
    Step::Order { lsp: 85, size: 186, way: 0, refundable: true },
    Step::Crash { after: 8, saved: false },
    Step::Proceed { lsp: 154 },
    Step::OfferTimesOut { payment: 248 },
];

#[test]
fn a_payment_that_a_crash_brings_back_does_not_pay_an_order_twice() {
    let _ = plays(8886, GIVEN_UP_BEFORE_A_CRASH);
}

/// A payment is held over the channel of another purchase. The process dies between the records of the two purchases.
const CUT_BATCH: &[Step] = &[
    Step::Order { lsp: 89, size: 176, way: 1, refundable: true },
    Step::Proceed { lsp: 134 },
    Step::Fulfil { order: 52 },
    Step::Babble { lsp: 137, what: 52 },
    Step::Proceed { lsp: 34 },
    Step::SendInvoice { payment: 103, same_hash: false },
    Step::Receive { amount: 21, kind: 3 },
    Step::Proceed { lsp: 48 },
    Step::Receive { amount: 126, kind: 0 },
    Step::Proceed { lsp: 229 },
    Step::Receive { amount: 16, kind: 5 },
    Step::Answer { lsp: 34, how: How::Honest },
    Step::Wait { seconds: 11 },
    Step::EndOrder { order: 112 },
    Step::Proceed { lsp: 97 },
    Step::Serve { purchase: 217 },
    Step::Store { works: false },
    Step::EndOrder { order: 72 },
    Step::Forward { purchase: 14, channel: 226, skim: Skim::Promised, amount: 226, parts: 0 },
    Step::Serve { purchase: 4 },
    Step::Crash { after: 3, saved: false },
    Step::Store { works: true },
    Step::Proceed { lsp: 211 },
    Step::Forward { purchase: 181, channel: 173, skim: Skim::Boast, amount: 173, parts: 2 },
    Step::Forward { purchase: 163, channel: 192, skim: Skim::Nothing, amount: 192, parts: 2 },
];

#[test]
fn a_channel_that_two_records_have_is_paid_for_once() {
    let _ = plays(10024, CUT_BATCH);
}

/// The node reports a payment late, when it has failed that and holds another one with the same hash.
const REPLACED: &[Step] = &[
    Step::Receive { amount: 207, kind: 0 },
    Step::Proceed { lsp: 178 },
    Step::Serve { purchase: 150 },
    Step::Mute { on: true },
    Step::Forward { purchase: 79, channel: 103, skim: Skim::Nothing, amount: 103, parts: 0 },
    Step::Store { works: false },
    Step::Block { count: 150 },
    Step::Wait { seconds: 1728000 },
    Step::Save,
    Step::Forward { purchase: 17, channel: 73, skim: Skim::OneMore, amount: 73, parts: 2 },
    Step::Forward { purchase: 160, channel: 43, skim: Skim::Boast, amount: 43, parts: 1 },
];

#[test]
fn a_payment_that_was_replaced_is_not_left_to_the_application() {
    let _ = plays(21487, REPLACED);
}

/// The node reports a payment to the application's hash while another record cannot be read, and fails it in time.
const BESIDE_AN_UNREAD_RECORD: &[Step] = &[
    Step::Order { lsp: 125, size: 138, way: 4, refundable: true },
    Step::Receive { amount: 157, kind: 2 },
    Step::Proceed { lsp: 194 },
    Step::Serve { purchase: 43 },
    Step::Hide { record: 2 },
    Step::Forward { purchase: 249, channel: 125, skim: Skim::Promised, amount: 125, parts: 1 },
    Step::Block { count: 150 },
];

#[test]
fn a_payment_of_a_known_purchase_does_not_wait_for_a_record_that_cannot_be_read() {
    let _ = plays(101_257, BESIDE_AN_UNREAD_RECORD);
}

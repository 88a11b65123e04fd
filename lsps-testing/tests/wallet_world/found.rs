//! Minimized scripts from soaks. Each one failed before a bug was fixed.

use lsps_testing::wallet_world::{Skim, Step};

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

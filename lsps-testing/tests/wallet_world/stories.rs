//! Scenarios of a wallet, written as steps of its world.

use lsps_testing::wallet_world::{Lie, Skim, Step};

use super::plays;

/// Kind of world in which the wallet waits for three confirmations.
const PATIENT: u64 = 2;

/// A payment over the channel of an order waits for confirmations, and the channel of its purchase is closed.
#[test]
fn a_held_payment_is_claimed_though_another_channel_closes() {
    let world = plays(
        PATIENT,
        &[
            Step::Connect { lsp: 0 },
            Step::Receive { amount: 100, kind: 0 },
            Step::Proceed { lsp: 0 },
            Step::Serve { purchase: 0 },
            Step::Order { lsp: 0, size: 1, way: 0, refundable: false },
            Step::Proceed { lsp: 0 },
            Step::Save,
            Step::Wait { seconds: 1 },
            Step::Save,
            Step::Tell { order: 0, lie: Lie::Held },
            Step::Fulfil { order: 0 },
            Step::Forward { purchase: 0, channel: 1, skim: Skim::Nothing, amount: 100, parts: 0 },
            Step::Save,
            Step::Close { channel: 0 },
            Step::Save,
            Step::Block { count: 3 },
            Step::Save,
        ],
    );
    assert_eq!(world.sums()[0], 1, "it is claimed");
}

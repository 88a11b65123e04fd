//! Scripts that soaks of the hostile world found, as short as they get. Each broke something that is mended.

use lsps_service::Trust;
use lsps_testing::world::{Call, Changed, Step};

use super::plays_hostile;

const fn pay(offer: u8, hash: u8, tenths: u8) -> Step {
    Step::Pay { offer, hash, tenths, expires_soon: false }
}

const fn again(part: u8) -> Step {
    Step::PayAgain { part, changed: Changed::Nothing }
}

const PROCEED: Step = Step::Proceed { client: 0 };
const BUY: Step = Step::Buy { client: 0, fixed: true };
const MUTE: Step = Step::Mute { on: true };
const SPEAK: Step = Step::Mute { on: false };

/// While the node tells nothing, the channel is to be given up, and is signed, used and closed.
const USED_AND_CLOSED: &[Step] = &[
    MUTE,
    Step::Sign { channel: 22 },
    Step::Wait { seconds: 601 },
    Step::Ready { channel: 103 },
    Step::PayOrdinary { client: 0, amount: 152, same_hash: true },
    PROCEED,
    Step::Claim { payment: 4, rounded: true },
    Step::Close { channel: 130 },
];

/// An onion comes again in an HTLC that expires sooner, and the store fails for some blocks.
const EXPIRES_SOONER: &[Step] = &[
    Step::Sign { channel: 158 },
    Step::Save,
    pay(148, 0, 5),
    Step::Ready { channel: 248 },
    Step::Save,
    Step::Retry { payment: 12, told_late: false },
    again(62),
    Step::Store { works: false },
    Step::Pay { offer: 188, hash: 3, tenths: 5, expires_soon: true },
    Step::PayShort { offer: 151, hash: 3 },
    Step::PayOdd { offer: 241, hash: 2, odd: 137 },
    Step::PayShort { offer: 135, hash: 0 },
    Step::Connect { client: 0 },
    Step::PayAgain { part: 255, changed: Changed::Expiry },
    Step::Save,
    Step::Block { is_full: false },
    Step::Block { is_full: false },
    Step::Block { is_full: true },
    Step::Crash { after: 5, saved: true },
    Step::Proceed { client: 2 },
];

/// The offer is forgotten whose parts kept another channel of the client from being given up.
const FORGOTTEN: &[Step] = &[
    Step::Proceed { client: 1 },
    pay(12, 3, 6),
    Step::PayOdd { offer: 25, hash: 3, odd: 78 },
    Step::Proceed { client: 2 },
    BUY,
    Step::Disconnect { client: 0 },
    Step::Buy { client: 1, fixed: true },
    PROCEED,
    Step::RefuseForward,
    Step::Ready { channel: 197 },
    Step::Buy { client: 2, fixed: true },
    Step::RefuseForward,
    Step::Crash { after: 4, saved: false },
    Step::PayShort { offer: 29, hash: 1 },
    Step::PayOdd { offer: 160, hash: 3, odd: 215 },
    PROCEED,
    SPEAK,
    Step::ClaimOne { payment: 216, part: 54 },
    Step::Proceed { client: 2 },
    pay(51, 2, 10),
    Step::Replay,
    Step::PayOdd { offer: 236, hash: 1, odd: 16 },
    pay(117, 1, 10),
    PROCEED,
];

/// Payments to two offers of one client with the same hash and amount; the one over the first channel is claimed.
const ALIKE: &[Step] = &[
    Step::RefuseForward,
    pay(140, 3, 10),
    Step::Feerate { times: 2 },
    BUY,
    Step::Sign { channel: 10 },
    MUTE,
    pay(167, 3, 10),
    Step::Crash { after: 0, saved: true },
    SPEAK,
    PROCEED,
    Step::Ready { channel: 217 },
    Step::Claim { payment: 62, rounded: false },
];

/// Another HTLC by the name of a part hides that the part is gone.
const HIDDEN: &[Step] = &[
    PROCEED,
    Step::Wait { seconds: 1 },
    pay(0, 0, 10),
    pay(0, 0, 10),
    Step::Wait { seconds: 601 },
    MUTE,
    again(52),
    Step::Fail { payment: 0 },
    pay(0, 0, 5),
    pay(0, 0, 1),
    Step::PayShort { offer: 0, hash: 0 },
    Step::PayAgain { part: 21, changed: Changed::LessIn },
];

/// The node refuses to fail an HTLC that came by the name of a part which is with the client.
const REFUSES_TO_FAIL: &[Step] =
    &[Step::Refuse { call: Call::Fail }, PROCEED, again(0), Step::Claim { payment: 0, rounded: false }];

fn plays(script: &[Step]) {
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        let _ = plays_hostile(trust, false, script);
    }
}

#[test]
fn case_X07_a_channel_that_was_used_and_closed_while_the_node_was_mute_is_published() {
    plays(USED_AND_CLOSED);
}

#[test]
fn case_X01_an_onion_that_comes_again_with_another_expiry_is_failed_in_time() {
    plays(EXPIRES_SOONER);
}

#[test]
fn what_waited_for_the_parts_of_a_forgotten_offer_goes_on() {
    plays(FORGOTTEN);
}

#[test]
fn case_X04_of_alike_payments_the_one_of_the_channel_it_went_over_was_claimed() {
    plays(ALIKE);
}

#[test]
fn case_X01_an_htlc_by_the_name_of_a_part_hides_that_part_only_while_it_is_there() {
    plays(HIDDEN);
}

#[test]
fn an_htlc_that_the_node_refuses_to_fail_is_not_the_part_of_its_name() {
    plays(REFUSES_TO_FAIL);
}

//! Scripts found by soaks of the hostile world, minimized. Each showed a fault that is fixed.

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

/// While the node reports nothing, the LSP wants to abandon the channel, which meanwhile is signed, used and closed.
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

/// An offer is forgotten although its parts kept another channel of the client from being abandoned.
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

/// Another HTLC with the same name as a part hides that the part is gone.
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

/// The node refuses to fail an HTLC whose id is that of a part at the client.
const REFUSES_TO_FAIL: &[Step] =
    &[Step::Refuse { call: Call::Fail }, PROCEED, again(0), Step::Claim { payment: 0, rounded: false }];

/// Of two equal payments one fails and one is claimed while the store refuses to write, so that the node reports the
/// claim several times.
const STORE_REFUSES_A_CLAIM: &[Step] = &[
    Step::Buy { client: 0, fixed: false },
    pay(81, 3, 10),
    PROCEED,
    Step::Store { works: false },
    MUTE,
    Step::FailOne { payment: 199, part: 14 },
    Step::Claim { payment: 244, rounded: false },
    SPEAK,
];

/// A part waits for the store before it is forwarded; an equal ordinary payment is claimed.
const CLAIMED_WHILE_HELD: &[Step] = &[
    PROCEED,
    Step::ClaimOne { payment: 3, part: 108 },
    Step::PayOdd { offer: 254, hash: 0, odd: 177 },
    PROCEED,
    Step::Retry { payment: 212, told_late: true },
    Step::Refuse { call: Call::Marker },
    PROCEED,
    Step::PayOrdinary { client: 0, amount: 117, same_hash: false },
    Step::Crash { after: 7, saved: true },
    pay(44, 3, 10),
    Step::Retry { payment: 53, told_late: false },
    Step::Store { works: false },
    Step::RefuseForward,
    PROCEED,
    Step::Claim { payment: 158, rounded: false },
];

/// The LSP failed a part, but its node forgot that. The record of the failure is read only after ten minutes, by a
/// process that dies at once.
const READ_TOO_LATE: &[Step] = &[
    Step::Hide { sale: 121 },
    Step::Save,
    Step::SetWebhook { client: 0, app: 2, url: 1 },
    Step::Disconnect { client: 0 },
    pay(156, 3, 6),
    Step::Refuse { call: Call::Open },
    pay(252, 3, 5),
    Step::Fence { after: 3, is_told: true },
    PROCEED,
    Step::Fence { after: 2, is_told: true },
    Step::Connect { client: 1 },
    Step::Buy { client: 1, fixed: true },
    Step::Wait { seconds: 3_601 },
    Step::Show,
];

/// A client comes back when feerates have doubled, and they double again before the payment is forwarded.
const DEARER: &[Step] = &[
    Step::Crash { after: 0, saved: false },
    Step::Reject { channel: 165 },
    Step::Feerate { times: 2 },
    PROCEED,
    Step::Feerate { times: 4 },
    PROCEED,
];

/// The store holds up the decision to forward a part, made while the first part of its payment is at the client, until the
/// client has failed that.
const HELD_UP_BY_THE_STORE: &[Step] = &[
    Step::Crash { after: 8, saved: true },
    PROCEED,
    pay(183, 0, 3),
    Step::Store { works: false },
    PROCEED,
    Step::Fail { payment: 60 },
];

/// A part is told again after it was failed and forgotten.
const TOLD_AGAIN_AND_NOT_HELD: &[Step] =
    &[MUTE, pay(60, 0, 1), Step::Wait { seconds: 151 }, Step::Wait { seconds: 601 }, Step::Replay, SPEAK, PROCEED];

/// A payer pays once more, in parts, when its payment is claimed and that is not told yet.
const PAID_AGAIN_WHILE_BEING_CLAIMED: &[Step] = &[
    PROCEED,
    Step::Store { works: false },
    pay(61, 3, 10),
    Step::PayOdd { offer: 241, hash: 0, odd: 42 },
    pay(137, 0, 6),
    pay(34, 0, 4),
    Step::Claim { payment: 116, rounded: false },
    Step::Store { works: true },
    Step::Save,
    Step::ClaimOne { payment: 180, part: 210 },
];

/// Of two equal parts one is claimed, which is told again after a crash, when the other has failed.
const EQUAL_PARTS: &[Step] = &[
    PROCEED,
    Step::Retry { payment: 58, told_late: true },
    Step::Save,
    Step::Crash { after: 5, saved: false },
    Step::ClaimOne { payment: 181, part: 176 },
    MUTE,
    PROCEED,
    Step::Fail { payment: 253 },
    Step::Crash { after: 3, saved: true },
    Step::SetClock { seconds: 90_000, back: false },
    Step::SetClock { seconds: 60, back: false },
];

/// While the record of a sale is missing, the onion of its part comes again to another sale.
const NAME_OF_A_MISSING_RECORD: &[Step] = &[
    PROCEED,
    Step::Connect { client: 1 },
    Step::Buy { client: 1, fixed: false },
    MUTE,
    Step::PayAgain { part: 160, changed: Changed::Scid },
    pay(13, 0, 10),
    Step::Crash { after: 1, saved: true },
    Step::Swap,
    Step::Hide { sale: 96 },
    SPEAK,
    Step::Refuse { call: Call::Fail },
];

/// The client fails a payment whose payer pays on, and an onion of it comes again.
const FAILED_AND_PAID_ON: &[Step] = &[
    pay(77, 2, 10),
    pay(158, 0, 10),
    pay(109, 2, 5),
    Step::Connect { client: 0 },
    PROCEED,
    pay(162, 1, 10),
    pay(130, 2, 1),
    Step::Fail { payment: 9 },
    pay(189, 2, 5),
    Step::Proceed { client: 2 },
    Step::Fail { payment: 157 },
    Step::PayAgain { part: 26, changed: Changed::Scid },
];

/// A claim is on record and its node forgot it; its client stays away for longer than outcomes are kept, while a payment like it
/// is with the client.
const CLAIMED_AGAIN_LATE: &[Step] = &[
    Step::Proceed { client: 2 },
    Step::Buy { client: 2, fixed: true },
    Step::Buy { client: 2, fixed: true },
    pay(190, 1, 10),
    pay(26, 3, 10),
    Step::Accept { channel: 142, greedy: false },
    Step::Proceed { client: 2 },
    Step::Fence { after: 1, is_told: true },
    Step::Claim { payment: 187, rounded: true },
    Step::Wait { seconds: 3_601 },
];

/// A claim that is on record is told again after a start, when a payment like it has failed.
const RETOLD: &[Step] = &[
    BUY,
    Step::Crash { after: 9, saved: true },
    PROCEED,
    pay(203, 1, 10),
    Step::Hide { sale: 92 },
    PROCEED,
    Step::Ready { channel: 90 },
    Step::Crash { after: 4, saved: true },
    Step::Claim { payment: 179, rounded: false },
    PROCEED,
    Step::Retry { payment: 52, told_late: false },
];

/// An HTLC for one offer has the name of a part of another, whose record the store does not give back.
const NAMED_LIKE_A_HIDDEN_ONE: &[Step] = &[
    PROCEED,
    Step::Connect { client: 2 },
    Step::Hide { sale: 182 },
    Step::Buy { client: 2, fixed: true },
    Step::Crash { after: 0, saved: true },
    Step::PayAgain { part: 248, changed: Changed::Scid },
];

/// Of a payment in two parts the smaller fails, and a part of the whole size takes its place; the client fails the other and
/// claims that.
const LATE_PART: &[Step] = &[
    Step::RefuseForward,
    PROCEED,
    Step::Pay { offer: 172, hash: 3, tenths: 6, expires_soon: true },
    Step::PayOdd { offer: 228, hash: 3, odd: 110 },
    Step::RefuseForward,
    PROCEED,
    pay(225, 3, 10),
    Step::FailOne { payment: 64, part: 153 },
    Step::Save,
    Step::Claim { payment: 108, rounded: false },
];

/// One part of a payment is claimed while an equal one is on its way; the process dies, and the claim is told again.
const EQUAL_ONE_SENT: &[Step] = &[
    PROCEED,
    MUTE,
    Step::Crash { after: 8, saved: false },
    pay(176, 0, 10),
    Step::ClaimOne { payment: 96, part: 58 },
    SPEAK,
];

/// A payment to a second offer is claimed over the channel of the first. The process dies, the record of the second offer cannot
/// be read, and the claim is told again; the first offer had a payment like it that failed.
const CLAIM_OF_A_MISSING_RECORD: &[Step] = &[
    BUY,
    PROCEED,
    pay(122, 3, 10),
    Step::FailOne { payment: 82, part: 103 },
    Step::Save,
    BUY,
    Step::Pay { offer: 7, hash: 3, tenths: 6, expires_soon: true },
    Step::Fail { payment: 22 },
    pay(141, 1, 5),
    pay(196, 0, 10),
    Step::Proceed { client: 2 },
    Step::RefuseForward,
    pay(36, 1, 5),
    Step::Buy { client: 2, fixed: true },
    PROCEED,
    Step::ClaimOne { payment: 84, part: 116 },
    Step::Crash { after: 6, saved: false },
    Step::Hide { sale: 253 },
    pay(178, 3, 4),
    Step::Wait { seconds: 91 },
    PROCEED,
];

/// A claim is on record and its node forgot it. The client claims again, and fails a payment like it to another offer, while the
/// node reports nothing.
const CLAIMED_AGAIN_UNTOLD: &[Step] = &[
    BUY,
    BUY,
    pay(236, 0, 10),
    PROCEED,
    Step::Crash { after: 4, saved: false },
    Step::Claim { payment: 98, rounded: true },
    MUTE,
    PROCEED,
    Step::Retry { payment: 119, told_late: true },
];

/// The same, and the claim is told when the outcome is older than outcomes are kept; the process dies once more.
const CLAIMED_AGAIN_WHEN_OLD: &[Step] = &[
    BUY,
    BUY,
    pay(236, 0, 10),
    PROCEED,
    Step::Crash { after: 4, saved: false },
    Step::Claim { payment: 17, rounded: false },
    Step::Wait { seconds: 3_601 },
    Step::Crash { after: 1, saved: false },
    PROCEED,
];

/// An HTLC arrives for one offer that is equal, also in its hash, to a claimed one of another; the node forgets both.
const EQUAL_OF_ANOTHER_OFFER: &[Step] = &[
    PROCEED,
    Step::Buy { client: 0, fixed: false },
    pay(147, 3, 10),
    Step::Fail { payment: 66 },
    pay(254, 2, 10),
    PROCEED,
    Step::Fail { payment: 12 },
    Step::Claim { payment: 27, rounded: false },
    Step::Crash { after: 5, saved: false },
    pay(86, 3, 10),
];

/// The LSP failed a part and its node forgot that. The store then fails for longer than outcomes are kept.
const FAILED_AGAIN_TOO_LATE: &[Step] = &[
    Step::Proceed { client: 2 },
    Step::Pay { offer: 70, hash: 3, tenths: 10, expires_soon: true },
    Step::SetWebhook { client: 2, app: 0, url: 0 },
    Step::Crash { after: 10, saved: false },
    Step::Save,
    Step::Hide { sale: 9 },
    Step::Wait { seconds: 91 },
    Step::Store { works: false },
    Step::SetClock { seconds: 3_601, back: false },
    Step::Show,
    Step::Wait { seconds: 3_601 },
    Step::Block { is_full: true },
    Step::Block { is_full: true },
    Step::Block { is_full: false },
];

/// The node forgot that it failed a part, and refuses the first call to fail it again; the second call is for the HTLC that it
/// tells.
const FAILED_FOR_TWO_REASONS: &[Step] = &[
    BUY,
    Step::Wait { seconds: 151 },
    Step::Hide { sale: 240 },
    Step::Crash { after: 0, saved: false },
    pay(113, 3, 1),
    Step::Refuse { call: Call::Fail },
];

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

#[test]
fn case_X04_a_claim_that_the_store_refuses_is_no_second_claim_when_it_is_told_again() {
    plays(STORE_REFUSES_A_CLAIM);
}

#[test]
fn case_X04_a_part_that_is_held_and_taken_for_the_claimed_one_is_failed() {
    plays(CLAIMED_WHILE_HELD);
}

#[test]
fn an_outcome_is_kept_until_the_node_has_saved_what_it_was_asked_for_again() {
    plays(READ_TOO_LATE);
}

#[test]
fn case_X16_a_channel_for_a_client_that_comes_back_is_planned_at_the_feerate_of_now() {
    plays(DEARER);
}

#[test]
fn case_X18_a_decision_that_the_store_held_up_forwards_no_part_alone() {
    plays(HELD_UP_BY_THE_STORE);
    plays(FAILED_AND_PAID_ON);
}

#[test]
fn case_X18_a_part_that_is_told_again_and_not_held_completes_no_payment() {
    plays(TOLD_AGAIN_AND_NOT_HELD);
}

#[test]
fn case_X18_the_fee_is_kept_once_when_a_payment_that_is_being_claimed_is_paid_again() {
    plays(PAID_AGAIN_WHILE_BEING_CLAIMED);
}

#[test]
fn case_X04_a_claim_that_is_told_again_is_not_that_of_an_equal_part() {
    plays(EQUAL_PARTS);
}

#[test]
fn case_X01_the_name_of_a_part_of_a_missing_record_stays_with_the_htlc_that_has_it() {
    plays(NAME_OF_A_MISSING_RECORD);
}

#[test]
fn case_X04_a_claim_is_known_until_the_node_that_forgot_it_has_told_it_again() {
    plays(CLAIMED_AGAIN_LATE);
}

#[test]
fn case_X04_a_claim_over_its_own_channel_that_is_known_may_be_told_again_after_a_start() {
    plays(RETOLD);
}

#[test]
fn case_X01_a_part_of_an_offer_that_was_read_late_gives_its_name_to_the_htlc_that_the_node_holds() {
    plays(NAMED_LIKE_A_HIDDEN_ONE);
}

#[test]
fn case_X04_a_part_that_is_held_is_not_the_one_that_is_with_the_client() {
    plays(EQUAL_ONE_SENT);
}

#[test]
fn case_X06_a_late_part_that_cannot_pay_its_share_of_the_fee_is_failed() {
    plays(LATE_PART);
}

#[test]
fn case_X65_a_claim_that_no_part_waits_for_may_be_that_of_a_record_that_cannot_be_read() {
    plays(CLAIM_OF_A_MISSING_RECORD);
}

#[test]
fn case_X04_a_claim_that_the_node_forgot_is_known_until_it_is_told_again() {
    plays(CLAIMED_AGAIN_UNTOLD);
    plays(CLAIMED_AGAIN_WHEN_OLD);
}

#[test]
fn case_X04_what_is_shown_at_the_client_may_be_the_claimed_part_of_another_offer() {
    plays(EQUAL_OF_ANOTHER_OFFER);
}

#[test]
fn an_htlc_that_waits_to_be_failed_is_failed_however_long_the_store_fails() {
    plays(FAILED_AGAIN_TOO_LATE);
    plays(FAILED_FOR_TWO_REASONS);
}

//! Parts that are held, and for how long.

use std::time::Duration;

use lsps_service::{Config, HeldHtlc, Input};
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, peer};
use lsps_types::bolt4::FailureCode::{TemporaryChannelFailure, UnknownNextPeer};
use lsps_types::{BlockHeight, Msat, PaymentHash};

use crate::{FEE, OTHER_SCID, SCID, SIZE, fails, forwards, id, key, lsp_with_offer, minutes, of_parts, offered, opens};

const HALF: Msat = Msat(SIZE.0 / 2);

/// Both halves are forwarded, each less its share of the fee.
fn halves(one: u8, other: u8) -> [Act; 2] {
    let share = FEE.0 / 2; // they differ in amount, as claims are told by it
    [(one, share + 1_000), (other, share - 1_000)].map(|(part, share)| forwards(part, HALF.0 - share, share))
}

/// L2-080
#[test]
fn case_J07_the_end_of_the_offer_fails_what_waits_but_not_what_is_under_way() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(NOON + Duration::from_secs(3_580));
    lsp.part(1, SCID, 1, HALF);
    lsp.wait_until(NOON + Duration::from_secs(3_599));
    assert_eq!(lsp.acts(), []);
    lsp.wait_until(minutes(60));
    assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "held when it ended");
    lsp.part(2, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [fails(2, UnknownNextPeer)], "arrived when it had ended");

    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(NOON + Duration::from_secs(3_580));
    lsp.part(1, SCID, 1, SIZE);
    lsp.acts();
    lsp.wait_until(minutes(60));
    assert_eq!(lsp.acts(), [], "a complete set whose open has begun goes on");
    assert_eq!(of_parts(opens(&mut lsp)), [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
}

#[test]
fn case_J08_a_partial_set_is_held_for_90_seconds_and_the_next_one_works() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 4));
    lsp.wait_until(NOON + Duration::from_secs(60));
    lsp.part(2, SCID, 1, Msat(SIZE.0 / 4));
    lsp.wait_until(NOON + Duration::from_millis(89_999));
    assert_eq!(lsp.acts(), [], "the first part starts the clock, no later one does");
    lsp.wait_until(NOON + Duration::from_secs(90));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure), fails(2, TemporaryChannelFailure)]);
    lsp.part(3, SCID, 1, HALF);
    lsp.wait_until(NOON + Duration::from_secs(179));
    lsp.part(4, SCID, 1, HALF);
    lsp.acts();
    assert_eq!(of_parts(opens(&mut lsp)), halves(3, 4));
}

#[test]
fn case_J09_a_part_that_the_node_timed_out_counts_no_longer() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, HALF);
    lsp.feed(Input::PartGone { part: id(1) });
    lsp.part(2, SCID, 1, HALF);
    assert_eq!(lsp.acts(), [], "half is not enough");
    lsp.part(3, SCID, 1, HALF);
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]));
    lsp.feed(Input::PartGone { part: id(2) });
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))], "nothing to open for any more");
}

#[test]
fn case_J10_a_bad_part_fails_alone() {
    let config = Config { htlc_minimum: Msat(1_000), ..Config::default() };
    let mut lsp = offered(Some(SIZE), LspSetup { config, ..LspSetup::default() });
    lsp.part(1, SCID, 1, HALF);
    lsp.part(2, SCID, 1, Msat(999));
    lsp.part(3, SCID, 1, Msat(u64::MAX));
    assert_eq!(lsp.acts(), [fails(2, UnknownNextPeer), fails(3, UnknownNextPeer)]);
    lsp.part(4, SCID, 1, HALF);
    lsp.acts();
    assert_eq!(of_parts(opens(&mut lsp)), halves(1, 4));
}

#[test]
fn case_J12_a_second_payment_waits_for_the_channel_of_the_first() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    lsp.part(2, SCID, 2, SIZE);
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]), "one channel");
    assert_eq!(of_parts(opens(&mut lsp)), [forwards(1, SIZE.0 - FEE.0, FEE.0)], "the second waits for the fee");
    lsp.claimed(id(1));
    assert_eq!(lsp.acts(), [forwards(2, SIZE.0, 0)], "and passes whole");
}

#[test]
fn case_J13_parts_for_another_clients_scid_are_not_joined() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    assert_eq!(buys(&mut lsp, peer(2), Some(SIZE)).jit_channel_scid, OTHER_SCID);
    lsp.connects(peer(2));
    lsp.part(1, SCID, 1, HALF);
    lsp.part(2, OTHER_SCID, 1, HALF);
    assert_eq!(lsp.acts(), [], "neither is complete");
}

#[test]
fn case_J17_a_client_that_is_away_is_called_and_waited_for() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.disconnects(peer(1));
    lsp.part(1, SCID, 1, HALF);
    assert_eq!(lsp.acts(), [], "nobody is woken for half a payment");
    lsp.part(2, SCID, 1, HALF);
    assert_eq!(lsp.acts(), [Act::Wake { peer: peer(1), call: 1 }]);
    lsp.connects_without_channels(peer(1));
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]), "opened as soon as it is connected");
    lsp.funding_signed(key(1));
    lsp.disconnects(peer(1));
    lsp.channel_ready(key(1));
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1)), Act::Wake { peer: peer(1), call: 2 }]);
    lsp.connects_without_channels(peer(1));
    assert_eq!(lsp.acts(), [], "connected is not usable");
    assert_eq!(lsp.service().waiting_clients().collect::<Vec<_>>(), [peer(1)], "the host asks its node");
    lsp.feed(Input::ChannelsUsable { peer: peer(1) });
    assert_eq!(lsp.acts(), halves(1, 2));
}

#[test]
fn case_J17_a_client_that_stays_away_does_not_keep_the_payers_money() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.disconnects(peer(1));
    lsp.part(1, SCID, 1, SIZE);
    lsp.acts();
    lsp.wait_until(NOON + Duration::from_secs(90));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);

    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    lsp.funding_signed(key(1));
    lsp.disconnects(peer(1));
    lsp.channel_ready(key(1));
    lsp.acts();
    lsp.wait_until(NOON + Duration::from_secs(149));
    assert_eq!(lsp.acts(), []);
    lsp.wait_until(NOON + Duration::from_secs(150));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)], "also where the channel is open");
}

#[test]
fn case_J24_a_late_part_passes_whole_until_the_offer_ends() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.claimed(id(1));
    lsp.acts();
    lsp.wait_until(minutes(59));
    lsp.part(2, SCID, 2, Msat(7));
    assert_eq!(lsp.acts(), [forwards(2, 7, 0)]);
    lsp.wait_until(minutes(60));
    lsp.part(3, SCID, 3, Msat(7));
    assert_eq!(lsp.acts(), [fails(3, UnknownNextPeer)]);
}

#[test]
fn case_J25_a_part_near_its_expiry_is_let_go() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    let mut part = HeldHtlc {
        part: id(1),
        scid: SCID,
        payment_hash: PaymentHash([1; 32]),
        amount_in: HALF,
        onion_amount: HALF,
        cltv_expiry: Some(BlockHeight(1_000)),
    };
    lsp.block(957);
    lsp.htlc(part);
    assert_eq!(lsp.acts(), []);
    lsp.block(958);
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)], "42 blocks are left");
    part.part = id(2);
    lsp.htlc(part);
    assert_eq!(lsp.acts(), [fails(2, TemporaryChannelFailure)], "too late to begin with");
}

#[test]
fn case_J26_more_parts_than_a_channel_has_slots_for_and_sets_too_fine_for_the_fee_fail() {
    let mut config = Config { htlc_minimum: Msat(1_000_000), ..Config::default() };
    config.limits.parts_per_offer = 3;
    let mut lsp = offered(Some(Msat(3_000_000)), LspSetup { config, ..LspSetup::default() });
    for part in 1..=3 {
        lsp.part(part, SCID, 1, Msat(1_000_000));
    }
    let all = [fails(1, UnknownNextPeer), fails(2, UnknownNextPeer), fails(3, UnknownNextPeer)];
    assert_eq!(lsp.acts(), all, "each part keeps its minimum: nothing is left for the fee, and nothing is opened");
    for part in 4..=7 {
        lsp.part(part, SCID, 2, Msat(1_000_000 / 2 * 2));
        lsp.acts();
    }
    let mut lsp = offered(Some(SIZE), {
        let mut config = Config::default();
        config.limits.parts_per_offer = 3;
        LspSetup { config, ..LspSetup::default() }
    });
    for part in 1..=4 {
        lsp.part(part, SCID, 1, Msat(1_000));
    }
    assert_eq!(lsp.acts(), [fails(4, UnknownNextPeer)], "the fourth has no slot; the others wait");
}

#[test]
fn case_J31_a_payment_over_an_open_unpaid_channel_is_honoured_after_the_end_where_the_operator_says_so() {
    let late = |honour_expired: Duration, before: fn(&mut Lsp)| {
        let config = Config { honour_expired, ..Config::default() };
        let mut lsp = offered(Some(SIZE), LspSetup { config, ..LspSetup::default() });
        before(&mut lsp);
        lsp.wait_until(minutes(61));
        lsp.acts();
        lsp.part(2, SCID, 2, SIZE);
        lsp.acts()
    };
    let unpaid = |lsp: &mut Lsp| {
        lsp.part(1, SCID, 1, SIZE);
        opens(lsp);
        lsp.failed_by_client(id(1));
    };
    let paid = |lsp: &mut Lsp| {
        lsp.part(1, SCID, 1, SIZE);
        opens(lsp);
        lsp.claimed(id(1));
    };
    let generous = Duration::from_secs(120);
    assert_eq!(late(Duration::ZERO, unpaid), [fails(2, UnknownNextPeer)], "the default");
    assert_eq!(late(generous, unpaid), [forwards(2, SIZE.0 - FEE.0, FEE.0)]);
    assert_eq!(late(generous, paid), [fails(2, UnknownNextPeer)], "what was sold is delivered");
    assert_eq!(late(generous, |_| ()), [fails(2, UnknownNextPeer)], "no channel is opened for it");
}

#[test]
fn clocks_may_fall_back_a_moment_and_deadlines_do_not() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(minutes(60));
    lsp.wait_until(NOON + Duration::from_secs(3_597));
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)]);
}

#[test]
fn what_is_over_is_forgotten_and_not_before() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(minutes(119));
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "still known as ours");
    lsp.wait_until(minutes(120));
    assert!(lsp.records().is_empty());
    lsp.part(2, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [Act::NotMine(id(2))]);

    // A channel that was paid for is remembered for as long as was promised.
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.claimed(id(1));
    lsp.block(100);
    lsp.feed(Input::FundingConfirmed { key: key(1) });
    lsp.wait_until(minutes(10_000));
    lsp.block(100 + 1_007);
    assert_eq!(lsp.records().len(), 1);
    lsp.block(100 + 1_008);
    assert!(lsp.records().is_empty());
}

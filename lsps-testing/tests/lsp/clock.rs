//! A clock that was ahead and is set right, or is set while the service runs: time-outs keep their lengths.

use std::time::Duration;

use lsps_service::{Input, Trust};
use lsps_testing::{Act, Lsp, LspSetup, NOON, peer};
use lsps_types::bolt4::FailureCode::TemporaryChannelFailure;
use lsps_types::{Msat, Timestamp};

use crate::{SCID, SIZE, fails, id, key, lsp_with_offer, offered, opens};

fn after(seconds: u64) -> Timestamp {
    NOON + Duration::from_secs(seconds)
}

/// Half of a payment arrived while the clock was five minutes ahead; then the clock was set right.
fn half_held() -> Lsp {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(after(300));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    lsp.wait_until(after(10));
    lsp
}

#[test]
fn case_X19_a_part_is_held_no_longer_when_a_clock_that_was_ahead_is_set_right() {
    let mut lsp = half_held();
    lsp.wait_until(after(99));
    assert_eq!(lsp.acts(), []);
    lsp.wait_until(after(100));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)], "90 s, not 380");
}

#[test]
fn case_X19_a_wait_that_was_put_on_record_by_a_clock_ahead_is_no_longer_after_a_restart() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(after(3_000));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    lsp.sets_clock_unseen(after(10));
    lsp.restarts();
    lsp.wait_until(after(99));
    assert_eq!(lsp.acts(), []);
    lsp.wait_until(after(100));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);
}

#[test]
fn case_X19_an_open_is_given_up_and_an_outcome_forgotten_in_time_when_a_clock_that_was_ahead_is_set_right() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(after(300));
    lsp.part(1, SCID, 1, SIZE);
    lsp.acts();
    lsp.wait_until(after(10));
    lsp.wait_until(after(70));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1)), fails(1, TemporaryChannelFailure)]);

    let mut lsp = offered(Some(SIZE), LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.wait_until(after(300));
    lsp.feed(Input::PartPresumedFailed { part: id(1) });
    lsp.wait_until(after(10));
    lsp.wait_until(after(609));
    assert_eq!(lsp.acts(), []);
    lsp.wait_until(after(610));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
}

/// The host has a steady clock, and reports when the other clock was set.
#[test]
fn case_X19_a_clock_that_is_set_makes_no_wait_shorter_or_longer_where_the_host_tells() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    lsp.wait_until(after(10));
    lsp.sets_clock(after(310));
    lsp.wait_until(after(389));
    assert_eq!(lsp.acts(), [], "79 of 90 s were left");
    lsp.sets_clock(after(89));
    assert_eq!(lsp.acts(), []);
    lsp.wait_until(after(90));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);
}

/// The offer is still for sale, its price is that of the present, and nothing is sold twice.
#[test]
fn case_X19_an_offer_ends_at_its_date_whatever_the_clock_showed_meanwhile() {
    let mut lsp = half_held();
    lsp.wait_until(after(100));
    lsp.acts();
    lsp.connects(peer(1));
    lsp.part(2, SCID, 1, SIZE);
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { key: first, .. }] if *first == key(1)));
    let next = lsp.service().next_wake().map(|(at, _)| at).expect("the open");
    assert_eq!(next, after(160));
}

#[test]
fn case_X19_a_clock_that_falls_back_for_a_moment_changes_nothing() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(after(10));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    let before = lsp.records().clone();
    lsp.wait_until(after(6));
    assert_eq!(lsp.records(), &before);
    lsp.wait_until(after(100));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);
}

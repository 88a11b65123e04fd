//! The operator's book, line by line.

use std::time::Duration;

use lsps_service::{BookTotals, Booking, ChannelEnd, HeldHtlc, Input};
use lsps_testing::{Lsp, LspSetup, MINING_SAT, NOON};
use lsps_types::{Msat, PaymentHash, Ppm};

use crate::{FEE, SCID, SIZE, forwards, id, key, lsp_with_offer, of_parts, offered, opens};

/// A part that brings more than its onion asks to forward.
fn generous(part: u8, hash: u8, amount: Msat, more: u64) -> HeldHtlc {
    HeldHtlc {
        part: id(part),
        scid: SCID,
        payment_hash: PaymentHash([hash; 32]),
        amount_in: Msat(amount.0 + more),
        onion_amount: amount,
        cltv_expiry: None,
    }
}

fn entries(lsp: &Lsp) -> Vec<Booking> {
    lsp.book().map(|entry| entry.what.clone()).collect()
}

#[test]
fn each_thing_is_in_it_once_however_often_the_process_dies() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(SIZE.0 + 5));
    opens(&mut lsp);
    for _ in 0..3 {
        lsp.restarts();
        lsp.claimed(id(1));
        lsp.feed(Input::FundingConfirmed { key: key(1) });
    }
    let payment_hash = PaymentHash([1; 32]);
    let expected = [
        Booking::FeeAsked { payment_hash, fee: FEE },
        Booking::FeeEarned { payment_hash, part: id(1), fee: FEE, surplus: Msat(0), was_lost: false },
        Booking::ChannelPaid { key: key(1), mining_sat: MINING_SAT },
    ];
    assert_eq!(entries(&lsp), expected);
}

#[test]
fn what_a_payer_gives_beyond_its_onion_is_booked_with_a_fee_and_without_one() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.htlc(generous(1, 1, SIZE, 3));
    opens(&mut lsp);
    lsp.claimed(id(1));
    lsp.htlc(generous(2, 2, Msat(5_000), 7));
    lsp.part(3, SCID, 2, Msat(5_000));
    assert_eq!(of_parts(lsp.acts()), [forwards(2, 5_000, 0), forwards(3, 5_000, 0)]);
    lsp.claimed(id(2));
    lsp.claimed(id(3));
    let earned: Vec<_> = entries(&lsp).into_iter().filter(|what| matches!(what, Booking::FeeEarned { .. })).collect();
    let [first, second] = [1, 2].map(|number| (PaymentHash([number; 32]), id(number)));
    let expected = [
        Booking::FeeEarned { payment_hash: first.0, part: first.1, fee: FEE, surplus: Msat(3), was_lost: false },
        Booking::FeeEarned { payment_hash: second.0, part: second.1, fee: Msat(0), surplus: Msat(7), was_lost: false },
    ];
    assert_eq!(earned, expected, "and nothing of a part that brought nothing");
}

#[test]
fn a_channel_that_is_given_away_asks_for_nothing() {
    let mut setup = LspSetup::default();
    (setup.terms.min_fee, setup.terms.proportional) = (Msat(0), Ppm(0));
    let mut lsp = offered(Some(SIZE), setup);
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(of_parts(opens(&mut lsp)), [forwards(1, SIZE.0, 0)]);
    lsp.claimed(id(1));
    assert_eq!(entries(&lsp), []);
}

#[test]
fn a_fee_that_was_given_up_and_comes_after_all_is_earned_and_no_longer_lost() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.failed_by_client(id(1));
    assert_eq!(BookTotals::of(lsp.book()).lost, FEE);
    lsp.wait_until(NOON + Duration::from_secs(1));
    lsp.claimed(id(1));
    let totals = BookTotals::of(lsp.book());
    assert_eq!((totals.asked, totals.earned, totals.lost), (FEE, FEE, Msat(0)));
}

#[test]
fn a_part_that_is_gone_takes_no_other_payment_along() {
    let mut lsp = lsp_with_offer(None);
    lsp.part(1, SCID, 1, Msat(600_000_000));
    lsp.part(2, SCID, 2, Msat(400_000_000));
    lsp.feed(Input::PartGone { part: id(2) });
    lsp.acts();
    let acts = of_parts(opens(&mut lsp));
    assert_eq!(acts, [forwards(1, 599_000_000, 1_000_000)], "the first is still there");
}

/// A client that buys channels and refuses each open moves no money: the book does not grow.
#[test]
fn case_X64_opens_that_are_refused_again_and_again_are_no_entries() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    for attempt in 1..=20 {
        lsp.part(attempt, SCID, attempt, SIZE);
        lsp.restarts();
        lsp.channel_ends(key(attempt.into()), ChannelEnd::Rejected);
        lsp.acts();
    }
    assert_eq!(entries(&lsp), []);
    lsp.part(21, SCID, 1, SIZE);
    lsp.funding_signed(key(21));
    lsp.channel_ready(key(21));
    let totals = BookTotals::of(lsp.book());
    assert_eq!((totals.asked, totals.earned, totals.lost), (FEE, Msat::ZERO, Msat::ZERO), "what is sent is asked for");
    lsp.claimed(id(21));
    let totals = BookTotals::of(lsp.book());
    assert_eq!((totals.asked, totals.earned, totals.lost), (FEE, FEE, Msat::ZERO));
}

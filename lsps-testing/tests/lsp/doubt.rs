//! Reports of the node that are wrong or incomplete.

use std::time::Duration;

use lsps_service::{BookTotals, ChannelKey, FlowId, HeldHtlc, Input, Trust, Wake, WhichPart};
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, peer};
use lsps_types::bolt4::FailureCode::{TemporaryChannelFailure, UnknownNextPeer};
use lsps_types::{Msat, PaymentHash};

use crate::{FEE, OTHER_SCID, SCID, SIZE, fails, forwards, id, key, lsp_with_offer, of_parts, offered, opens};

fn on_trust() -> LspSetup {
    LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() }
}

fn claim(amount: Msat, over: Option<ChannelKey>) -> Input {
    Input::PartForwarded { part: WhichPart::Sent { to: peer(1), amount, amount_in: None, skim: Some(FEE) }, over }
}

/// The node reports that it holds the part again, and that nothing like it is with the client.
fn is_held_again(lsp: &mut Lsp, part: u8, amount_in: Msat) {
    lsp.feed(Input::PartAtClient { part: id(part), is_there: false });
    lsp.feed(Input::PartStillHeld { part: id(part), amount_in });
}

#[test]
fn a_part_that_seemed_not_to_be_sent_and_then_lost_still_pays_when_it_is_claimed() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    is_held_again(&mut lsp, 1, SIZE);
    lsp.feed(Input::PartGone { part: id(1) });
    lsp.feed(claim(Msat(SIZE.0 - FEE.0), None));
    assert_eq!(BookTotals::of(lsp.book()).earned, FEE);
}

#[test]
fn a_channel_that_carried_another_offers_payment_is_owed_to_the_client() {
    let mut lsp = offered(Some(SIZE), on_trust());
    assert_eq!(buys(&mut lsp, peer(1), Some(SIZE)).jit_channel_scid, OTHER_SCID);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.part(2, OTHER_SCID, 2, Msat(SIZE.0 + 1_000));
    let other = ChannelKey { flow: FlowId::JitChannel(OTHER_SCID), attempt: 1 };
    lsp.funding_signed(other);
    lsp.channel_ready(other);
    assert_eq!(of_parts(lsp.acts()), [forwards(2, SIZE.0 + 1_000 - FEE.0, FEE.0)]);
    lsp.feed(claim(Msat(SIZE.0 + 1_000 - FEE.0), Some(key(1))));
    assert_eq!(
        lsp.acts(),
        [Act::Broadcast(key(1)), Act::Broadcast(other)],
        "the one that was used, the one that was paid for"
    );
    lsp.failed_by_client(id(1));
    assert_eq!(lsp.acts(), [], "and it is not given up with its own payment");
}

#[test]
fn a_channel_that_carried_what_the_lsp_knows_nothing_of_is_owed_to_the_client() {
    let mut lsp = offered(Some(SIZE), on_trust());
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.feed(claim(Msat(77_000), Some(key(1))));
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
    lsp.failed_by_client(id(1));
    assert_eq!(lsp.acts(), [], "it has the client's money in it");
}

#[test]
fn case_X06_a_client_that_claims_one_part_pays_its_share_and_has_its_channel() {
    let mut lsp = offered(Some(SIZE), on_trust());
    lsp.part(1, SCID, 1, Msat(600_000_000));
    lsp.part(2, SCID, 1, Msat(400_000_000));
    opens(&mut lsp);
    lsp.claimed(id(2));
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
    lsp.failed_by_client(id(1));
    assert_eq!(lsp.acts(), []);
    let totals = BookTotals::of(lsp.book());
    assert_eq!((totals.earned, totals.lost), (Msat(480_000), Msat(720_000)));
    lsp.part(3, SCID, 2, SIZE);
    assert_eq!(lsp.acts(), [forwards(3, SIZE.0 - 720_000, 720_000)], "the rest of the fee is due");
}

#[test]
fn case_J15_a_channel_in_doubt_is_given_up_once_no_news_of_it_can_come() {
    let mut lsp = offered(Some(SIZE), on_trust());
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    is_held_again(&mut lsp, 1, SIZE);
    lsp.failed_by_client(id(1));
    lsp.acts();
    lsp.wait_until(NOON + Duration::from_secs(599));
    assert_eq!(lsp.acts(), [], "what was asked first may have been done");
    lsp.wait_until(NOON + Duration::from_secs(600));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
}

#[test]
fn a_record_stays_until_its_funding_is_confirmed() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.failed_by_client(id(1));
    let long_after = NOON + Duration::from_secs(1_000_000);
    lsp.wait_until(long_after);
    assert_eq!(lsp.records().len(), 1);
    lsp.restarts();
    assert!(lsp.acts().contains(&Act::Broadcast(key(1))), "it is still owed to the wallet's coins");
    lsp.feed(Input::FundingConfirmed { key: key(1) });
    lsp.wait_until(long_after + Duration::from_secs(1));
    assert!(lsp.records().is_empty());
}

#[test]
fn the_smallest_htlc_is_taken_and_one_that_brings_less_than_it_asks_is_not() {
    let tiny = |amount_in: u64, onion_amount: u64| HeldHtlc {
        part: id(9),
        scid: SCID,
        payment_hash: PaymentHash([9; 32]),
        amount_in: Msat(amount_in),
        onion_amount: Msat(onion_amount),
        cltv_expiry: None,
    };
    let taken = |htlc: HeldHtlc| {
        let mut lsp: Lsp = lsp_with_offer(Some(SIZE));
        lsp.htlc(htlc);
        lsp.acts()
    };
    assert_eq!(taken(tiny(1, 1)), []);
    assert_eq!(taken(tiny(0, 0)), [fails(9, UnknownNextPeer)]);
    assert_eq!(taken(tiny(4, 5)), [fails(9, UnknownNextPeer)]);
}

#[test]
fn a_retry_of_a_payment_of_any_size_is_not_a_second_part() {
    let mut lsp = lsp_with_offer(None);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.failed_by_client(id(1));
    lsp.part(2, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [forwards(2, SIZE.0 - FEE.0, FEE.0)]);
}

#[test]
fn outcomes_are_forgotten_once_the_node_has_surely_saved_them() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.claimed(id(1));
    let next = NOON + Duration::from_secs(600);
    assert_eq!(lsp.service().next_wake(), Some((next, Wake::OutcomeForgotten)));
    let size = |lsp: &Lsp| lsp.records().values().map(Vec::len).sum::<usize>();
    lsp.wait_until(NOON + Duration::from_secs(601));
    let at_rest = size(&lsp);
    for part in 2..20 {
        lsp.part(part, SCID, part, Msat(5_000));
        lsp.claimed(id(part));
    }
    assert!(size(&lsp) > at_rest + 18 * 32);
    lsp.wait_until(NOON + Duration::from_secs(1_202));
    assert!(size(&lsp) <= at_rest + 8, "{} and {at_rest} bytes", size(&lsp));
}

#[test]
fn a_fee_is_asked_for_when_the_payment_can_go_on_and_not_before() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.failed_by_client(id(1));
    lsp.disconnects(peer(1));
    lsp.connects_without_channels(peer(1));
    lsp.part(2, SCID, 2, SIZE);
    assert_eq!(BookTotals::of(lsp.book()).asked, FEE, "for the first");
    lsp.connects(peer(1));
    assert_eq!(BookTotals::of(lsp.book()).asked, Msat(2 * FEE.0));
}

#[test]
fn what_was_paid_of_a_fee_is_remembered_for_as_long_as_the_rest_is_due() {
    let (mut setup, fee, half) = (LspSetup::default(), Msat(600_000_000), Msat(SIZE.0 / 2));
    setup.terms.min_fee = fee;
    let mut lsp = offered(Some(SIZE), setup);
    lsp.part(1, SCID, 1, half);
    lsp.part(2, SCID, 1, half);
    opens(&mut lsp);
    lsp.claimed(id(1));
    lsp.failed_by_client(id(2));
    let paid = fee.0 / 2 + 1_000;
    assert_eq!(BookTotals::of(lsp.book()).earned, Msat(paid), "its share");
    lsp.wait_until(NOON + Duration::from_secs(1_300));
    lsp.restarts();
    lsp.part(3, SCID, 2, SIZE);
    assert_eq!(of_parts(lsp.acts()), [forwards(3, SIZE.0 - (fee.0 - paid), fee.0 - paid)]);
    assert_eq!(BookTotals::of(lsp.book()).asked, Msat(fee.0 + (fee.0 - paid)), "what is left is asked for once");
}

#[test]
fn a_payment_under_way_gives_no_other_one_more_time() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.disconnects(peer(1));
    lsp.connects_without_channels(peer(1));
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.part(2, SCID, 2, Msat(SIZE.0 / 2));
    lsp.part(3, SCID, 3, SIZE);
    lsp.wait_until(NOON + Duration::from_secs(90));
    let [half, whole] = [fails(2, TemporaryChannelFailure), fails(3, TemporaryChannelFailure)];
    assert_eq!(lsp.acts(), [half, whole]);
    lsp.wait_until(NOON + Duration::from_secs(150));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);
}

/// Found by random testing: the store refused to write for longer than outcomes are kept, and the request to fail the HTLC was
/// dropped with the outcome.
#[test]
fn an_htlc_by_the_name_of_a_part_that_is_over_is_failed_before_the_part_is_forgotten() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    lsp.wait_until(NOON + Duration::from_secs(100));
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);
    lsp.is_slow_to_fail = true;
    lsp.feed(Input::PartStillHeld { part: id(1), amount_in: Msat(SIZE.0 / 2) });
    let knows_it = |lsp: &Lsp| lsp.service().known_parts().any(|part| part.id == id(1));
    lsp.wait_until(NOON + Duration::from_secs(1_200));
    assert!(knows_it(&lsp), "the node holds it");
    lsp.feed(Input::PartFailed { part: id(1) });
    lsp.wait_until(NOON + Duration::from_secs(2_400));
    assert!(!knows_it(&lsp));
}

/// Found by random testing: the HTLC that came by the name of a doubtful part took its place, with a fee of its own, beside
/// the one part that pays the fee.
#[test]
fn a_payment_without_a_size_stays_in_one_part_when_an_onion_comes_again() {
    for is_told in [false, true] {
        let mut lsp = lsp_with_offer(None);
        lsp.part(1, SCID, 1, SIZE);
        opens(&mut lsp);
        lsp.feed(Input::PartAtClient { part: id(1), is_there: false });
        lsp.connects_without_channels(peer(1));
        lsp.part(2, SCID, 1, Msat(SIZE.0 / 2));
        lsp.acts();
        if is_told {
            lsp.feed(Input::PartStillHeld { part: id(1), amount_in: SIZE });
        } else {
            lsp.part(1, SCID, 1, SIZE);
        }
        assert_eq!(of_parts(lsp.acts()), [fails(1, UnknownNextPeer)], "{is_told}");
    }
}

//! Channels that fail to open, are not paid for, close, or get stuck.

use std::time::Duration;

use lsps_service::{
    BookTotals, ChannelEnd, ChannelRequest, Input, NodeFacts, OpenTerms, Policy as _, StandardPolicy, Trust,
};
use lsps_testing::{Act, Lsp, LspSetup, MINING_SAT, NOON, peer};
use lsps_types::bolt4::FailureCode::{self, TemporaryChannelFailure, UnknownNextPeer};
use lsps_types::{BlockHeight, Msat, Ppm};

use crate::{FEE, SCID, SIZE, fails, forwards, id, key, lsp_with_offer, of_parts, offered, opens};

fn on_trust() -> LspSetup {
    LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() }
}

/// A complete set whose channel opened, and whose parts the client then failed.
fn probed(setup: LspSetup) -> Lsp {
    let mut lsp = offered(Some(SIZE), setup);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.acts();
    lsp.failed_by_client(id(1));
    lsp
}

#[test]
fn case_J15_after_a_probe_the_channel_stays_and_the_fee_is_still_due() {
    let mut lsp = probed(LspSetup::default());
    assert_eq!(lsp.acts(), [], "the LSP took the risk: the channel is there");
    lsp.part(2, SCID, 2, SIZE);
    assert_eq!(lsp.acts(), [forwards(2, SIZE.0 - FEE.0, FEE.0)]);
    lsp.claimed(id(2));
    let totals = BookTotals::of(lsp.book());
    assert_eq!((totals.asked, totals.lost, totals.earned), (Msat(2 * FEE.0), FEE, FEE));
}

#[test]
fn case_J15_after_a_probe_on_trust_the_channel_is_given_up_and_costs_nothing() {
    let mut lsp = probed(on_trust());
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
    lsp.part(2, SCID, 2, SIZE);
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { key: second, .. }] if *second == key(2)), "usable again");
    let totals = BookTotals::of(lsp.book());
    assert_eq!((totals.asked, totals.lost, totals.mining_sat), (FEE, FEE, 0), "the second is not sent yet");
}

#[test]
fn case_J16_a_retry_in_parts_is_collected_in_full_before_any_is_forwarded() {
    let mut lsp = probed(LspSetup::default());
    lsp.part(2, SCID, 2, Msat(SIZE.0 / 2));
    assert_eq!(lsp.acts(), []);
    lsp.part(3, SCID, 2, Msat(SIZE.0 / 2));
    let share = FEE.0 / 2;
    let forwarded =
        [(2, share + 1_000), (3, share - 1_000)].map(|(part, share)| forwards(part, SIZE.0 / 2 - share, share));
    assert_eq!(lsp.acts(), forwarded, "they differ in amount, as claims are told by it");
}

#[test]
fn a_part_sent_again_after_one_that_failed_carries_its_share_of_the_fee() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    lsp.part(2, SCID, 1, Msat(SIZE.0 / 2));
    opens(&mut lsp);
    lsp.acts();
    lsp.failed_by_client(id(1));
    lsp.part(3, SCID, 1, Msat(SIZE.0 / 2));
    let share = FEE.0 / 2 + 1_000;
    assert_eq!(lsp.acts(), [forwards(3, SIZE.0 / 2 - share, share)]);
}

/// Returns the failure code that the payer sees when the open ends like this, and what else the LSP does.
fn after(why: impl Fn(&mut Lsp)) -> (FailureCode, Vec<Act>) {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    lsp.acts();
    why(&mut lsp);
    let mut acts = lsp.acts();
    let failed = acts.iter().position(|act| matches!(act, Act::Fail { .. })).expect("the part goes back");
    let Act::Fail { code, .. } = acts.remove(failed) else { unreachable!("found as such") };
    // However the open ended, the offer is usable again, with a new attempt.
    lsp.connects(peer(1));
    lsp.part(2, SCID, 1, SIZE);
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { key: second, .. }] if *second == key(2)));
    (code, acts)
}

/// L2-130: nothing was sent before the channel was ready.
#[test]
fn case_J18_an_open_that_fails_gives_the_payment_back_and_the_offer_can_be_used_again() {
    let ends = |why: ChannelEnd| after(move |lsp| lsp.channel_ends(key(1), why.clone()));
    assert_eq!(ends(ChannelEnd::Rejected), (UnknownNextPeer, vec![]));
    assert_eq!(ends(ChannelEnd::CannotOpen("no coins".into())), (TemporaryChannelFailure, vec![]));
    let gone = after(|lsp| lsp.disconnects(peer(1)));
    assert_eq!(gone, (TemporaryChannelFailure, vec![Act::Abandon(key(1))]), "the node would send the open again");
    let after_funding = after(|lsp| {
        lsp.accepts_channel(key(1), None);
        lsp.channel_ends(key(1), ChannelEnd::PeerGone);
    });
    assert_eq!(after_funding, (TemporaryChannelFailure, vec![Act::Abandon(key(1))]), "inputs come back");
}

#[test]
fn case_J19_an_open_that_is_never_answered_is_given_up() {
    let (code, acts) = after(|lsp| lsp.wait_until(NOON + Duration::from_secs(60)));
    assert_eq!((code, acts), (TemporaryChannelFailure, vec![Act::Abandon(key(1))]));
}

#[test]
fn news_of_an_earlier_attempt_changes_nothing() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    lsp.channel_ends(key(1), ChannelEnd::Rejected);
    lsp.part(2, SCID, 1, SIZE);
    lsp.acts();
    let before = lsp.records().clone();
    for late in [Input::ChannelPending { key: key(1) }, Input::ChannelEnded { key: key(1), why: ChannelEnd::Closed }] {
        lsp.feed(late);
    }
    assert_eq!(lsp.acts(), []);
    assert_eq!(lsp.records(), &before);
}

#[test]
fn case_J21_the_funding_stays_off_the_chain_until_the_claim() {
    let mut lsp = offered(Some(SIZE), on_trust());
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(of_parts(opens(&mut lsp)), [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
    lsp.restarts();
    assert!(!lsp.acts().contains(&Act::Broadcast(key(1))));
    lsp.claimed(id(1));
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
    lsp.restarts();
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))], "until it is confirmed");
    lsp.feed(Input::FundingConfirmed { key: key(1) });
    lsp.restarts();
    assert_eq!(lsp.acts(), []);
}

#[test]
fn case_J21_a_channel_that_closes_first_is_broadcast_only_if_the_client_claimed() {
    let closed_while_sent = || {
        let mut lsp = offered(Some(SIZE), on_trust());
        lsp.part(1, SCID, 1, SIZE);
        opens(&mut lsp);
        lsp.acts();
        lsp.channel_ends(key(1), ChannelEnd::Closed);
        assert_eq!(lsp.acts(), [], "not known yet");
        lsp
    };
    let mut lsp = closed_while_sent();
    lsp.claimed(id(1));
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
    let mut lsp = closed_while_sent();
    lsp.failed_by_client(id(1));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
}

#[test]
fn case_J22_a_forward_that_the_node_refuses_fails_alone() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    lsp.part(2, SCID, 1, Msat(SIZE.0 / 2));
    opens(&mut lsp);
    lsp.acts();
    lsp.feed(Input::ForwardRefused { part: id(1) });
    assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);
    lsp.failed_by_client(id(2));
    lsp.part(3, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [forwards(3, SIZE.0 - FEE.0, FEE.0)], "the fee is due as before");
}

#[test]
fn case_J33_the_clients_reserve_is_a_matter_of_policy_and_the_first_payment_fits() {
    let policy = StandardPolicy { client_reserve: Ppm(0), ..StandardPolicy::default() };
    let mut lsp = offered(Some(SIZE), LspSetup { policy: Some(policy), ..LspSetup::default() });
    lsp.part(1, SCID, 1, SIZE);
    let [Act::Open { terms: OpenTerms { client_reserve, deliver, .. }, .. }] = lsp.acts()[..] else {
        panic!("one channel")
    };
    assert_eq!(client_reserve, Ppm(0));
    let ask = ChannelRequest { client: peer(1), deliver, htlcs: 1 };
    let plan = StandardPolicy::default().channel(&ask, &NodeFacts::default()).expect("a channel");
    let least = deliver.to_sat_ceil() + deliver.to_sat_ceil() / 100 + 10_000;
    assert!(plan.capacity_sat >= least, "room for reserve, commitment fee and anchors: {}", plan.capacity_sat);
}

/// L2-129
#[test]
fn case_J34_a_longer_delay_than_promised_is_refused_and_a_promised_channel_may_not_be_closed() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    lsp.acts();
    lsp.accepts_channel(key(1), Some(2_017));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1)), fails(1, UnknownNextPeer)]);

    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    lsp.accepts_channel(key(1), Some(2_016));
    opens(&mut lsp);
    assert_eq!(lsp.service().may_close(key(1)), Ok(()), "nobody paid for it");
    lsp.claimed(id(1));
    let promised = lsp.service().may_close(key(1)).expect_err("paid for");
    assert_eq!(promised.until, None, "its time begins with its confirmation");
    lsp.block(500);
    lsp.feed(Input::FundingConfirmed { key: key(1) });
    lsp.block(500 + 1_007);
    assert_eq!(lsp.service().may_close(key(1)).expect_err("one block short").until, Some(BlockHeight(1_508)));
    lsp.block(500 + 1_008);
    assert_eq!(lsp.service().may_close(key(1)), Ok(()));
}

#[test]
fn case_J37_a_stuck_funding_is_broadcast_again_until_it_is_deep_in_the_chain() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.block(100);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.claimed(id(1));
    lsp.acts();
    lsp.block(111);
    assert_eq!(lsp.acts(), []);
    lsp.block(112);
    assert_eq!(lsp.acts(), [Act::BroadcastAgain(key(1))], "the host raises its fee and tells the operator");
    lsp.block(124);
    assert_eq!(lsp.acts(), [Act::BroadcastAgain(key(1))]);
    assert_eq!(BookTotals::of(lsp.book()).mining_sat, 0, "not spent yet");
    lsp.feed(Input::FundingConfirmed { key: key(1) });
    lsp.block(200);
    assert_eq!((lsp.acts(), BookTotals::of(lsp.book()).mining_sat), (vec![], MINING_SAT));
}

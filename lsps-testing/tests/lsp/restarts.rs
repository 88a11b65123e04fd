//! A node that has events to report after a start, or that is ahead of the service.

use std::time::Duration;

use lsps_service::{BookTotals, ChannelEnd, ChannelKey, FlowId, Input, Trust, WhichPart};
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, peer};
use lsps_types::Msat;
use lsps_types::bolt4::FailureCode::TemporaryChannelFailure;

use crate::{FEE, OTHER_SCID, SCID, SIZE, fails, forwards, id, key, of_parts, offered, opens};

fn on_trust() -> LspSetup {
    LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() }
}

/// The client claims the payment of the first offer over this channel.
fn claim(over: ChannelKey) -> Input {
    let part = WhichPart::Sent { to: peer(1), amount: Msat(SIZE.0 - FEE.0), amount_in: Some(SIZE), skim: Some(FEE) };
    Input::PartForwarded { part, over: Some(over) }
}

/// A payment that the service does not know.
fn ordinary() -> WhichPart {
    WhichPart::Sent { to: peer(1), amount: Msat(77_000), amount_in: Some(Msat(78_000)), skim: None }
}

/// A whole payment is at the client, over a channel that is not published before the claim.
fn sent() -> Lsp {
    let mut lsp = offered(Some(SIZE), on_trust());
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(of_parts(opens(&mut lsp)), [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
    lsp
}

#[test]
fn case_X03_a_failure_that_was_guessed_gives_no_channel_up() {
    let mut lsp = sent();
    lsp.feed(Input::PartPresumedFailed { part: id(1) });
    assert_eq!(lsp.acts(), [], "the client may have claimed");
    lsp.part(2, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [forwards(2, SIZE.0 - FEE.0, FEE.0)], "the payer may try again");
    lsp.feed(Input::PartPresumedFailed { part: id(2) });
    lsp.feed(claim(key(1)));
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
    assert!(lsp.carries_others(key(1)), "the fee is paid, whatever was believed");
    assert!(lsp.service().may_close(key(1)).is_err(), "and the channel is promised");
    lsp.part(3, SCID, 3, SIZE);
    assert_eq!(lsp.acts(), [forwards(3, SIZE.0, 0)], "no second fee");
}

#[test]
fn case_X03_a_failure_that_was_guessed_ends_the_channel_once_no_claim_of_it_can_come() {
    let mut lsp = sent();
    lsp.feed(Input::PartPresumedFailed { part: id(1) });
    lsp.wait_until(NOON + Duration::from_secs(599));
    assert_eq!(lsp.acts(), []);
    lsp.wait_until(NOON + Duration::from_secs(600));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
}

/// The process is away for longer than outcomes are remembered; its node has yet to report the meantime.
#[test]
fn case_X03_nothing_is_forgotten_before_the_node_has_told_its_events() {
    let away = || {
        let mut lsp = sent();
        lsp.feed(Input::PartPresumedFailed { part: id(1) });
        lsp.wait_until(NOON + Duration::from_secs(500));
        lsp.restarts_before_its_node();
        lsp.wait_until(NOON + Duration::from_secs(10_000));
        assert_eq!(lsp.acts(), [], "its events are still to come");
        lsp
    };
    let mut lsp = away();
    assert!(lsp.service().next_wake().is_none_or(|(at, _)| at > NOON + Duration::from_secs(10_000)), "nor asked for");
    lsp.feed(claim(key(1)));
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
    lsp.feed(Input::NodeCaughtUp);
    assert_eq!(lsp.acts(), []);

    let mut lsp = away();
    lsp.feed(Input::NodeCaughtUp);
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))], "now none will come");
}

/// The offer ended and its funding transaction has many confirmations, so that nothing but the outcome keeps the
/// record.
#[test]
fn case_X03_an_offer_is_not_forgotten_before_the_node_has_told_its_events() {
    let away = |trust| {
        let mut lsp = offered(Some(SIZE), LspSetup { trust, ..LspSetup::default() });
        lsp.part(1, SCID, 1, SIZE);
        opens(&mut lsp);
        if trust == Trust::ClientTrustsLsp {
            lsp.feed(Input::PartForwarded { part: ordinary(), over: Some(key(1)) });
        }
        lsp.feed(Input::FundingConfirmed { key: key(1) });
        lsp.feed(Input::PartPresumedFailed { part: id(1) });
        lsp.restarts_before_its_node();
        lsp.wait_until(NOON + Duration::from_secs(86_400));
        lsp.acts();
        lsp
    };
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        let mut lsp = away(trust);
        lsp.feed(claim(key(1)));
        assert_eq!(BookTotals::of(lsp.book()).earned, FEE, "a day later, and it is this offer's: {trust:?}");
        assert!(lsp.service().may_close(key(1)).is_err(), "its channel is promised");

        let mut lsp = away(trust);
        lsp.feed(Input::NodeCaughtUp);
        lsp.wait_until(NOON + Duration::from_secs(86_400 + 600));
        assert!(lsp.records().is_empty() && lsp.service().next_wake().is_none(), "now none will come: {trust:?}");
    }
}

/// The node closed the channel meanwhile, after it had carried a payment that the service does not know.
#[test]
fn case_X03_a_channel_that_is_gone_after_a_restart_is_kept_until_the_node_has_told_its_events() {
    let found_closed = || {
        let mut lsp = offered(Some(SIZE), on_trust());
        lsp.part(1, SCID, 1, SIZE);
        lsp.funding_signed(key(1));
        lsp.acts();
        lsp.restarts_before_its_node();
        lsp.channel_ends(key(1), ChannelEnd::Closed);
        assert!(!lsp.acts().contains(&Act::Abandon(key(1))));
        lsp
    };
    let mut lsp = found_closed();
    lsp.feed(Input::PartForwarded { part: ordinary(), over: Some(key(1)) });
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
    let mut lsp = found_closed();
    lsp.feed(Input::NodeCaughtUp);
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
}

/// The payment of the first offer is at the client; that of the second arrived, and its channel is being opened.
fn two_offers() -> (Lsp, ChannelKey) {
    let mut lsp = offered(Some(SIZE), on_trust());
    assert_eq!(buys(&mut lsp, peer(1), Some(SIZE)).jit_channel_scid, OTHER_SCID);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.part(2, OTHER_SCID, 2, SIZE);
    lsp.acts();
    (lsp, ChannelKey { flow: FlowId::JitChannel(OTHER_SCID), attempt: 1 })
}

/// The node is ahead: it used the channel before the service was told that the channel is ready.
#[test]
fn case_X07_a_signed_channel_is_not_given_up_while_another_payment_may_be_on_it() {
    let mut lsp = two_offers().0;
    let other = two_offers().1;
    lsp.funding_signed(other);
    lsp.feed(Input::PartGone { part: id(2) });
    assert_eq!(lsp.acts(), [], "the payment of the first offer may be on it");
    lsp.feed(claim(other));
    assert_eq!(lsp.acts(), [Act::Broadcast(other), Act::Broadcast(key(1))]);

    let mut lsp = two_offers().0;
    lsp.funding_signed(other);
    lsp.feed(Input::PartGone { part: id(2) });
    lsp.feed(Input::PartPresumedFailed { part: id(1) });
    assert_eq!(lsp.acts(), [], "nor while it is not known what became of that");
    lsp.wait_until(NOON + Duration::from_secs(600));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1)), Act::Abandon(other)]);
}

#[test]
fn case_X07_a_channel_that_may_be_signed_is_not_given_up_while_another_payment_may_be_on_it() {
    let (mut lsp, other) = two_offers();
    lsp.accepts_channel(other, None);
    lsp.wait_until(NOON + Duration::from_secs(60));
    assert_eq!(lsp.acts(), [fails(2, TemporaryChannelFailure)], "its own payment goes back");
    let next = lsp.service().next_wake().map(|(at, _)| at);
    assert!(next.is_none_or(|at| at > NOON + Duration::from_secs(60)), "and nothing waits for the time");
    lsp.failed_by_client(id(1));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1)), Act::Abandon(other)]);
}

/// The node reports that the channel was used after the decision to abandon it and before the node abandons it.
#[test]
fn case_X07_a_claim_over_a_channel_that_is_about_to_be_given_up_saves_it() {
    let mut lsp = sent();
    lsp.keeps_abandoned = true;
    lsp.failed_by_client(id(1));
    assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
    lsp.feed(Input::PartForwarded { part: ordinary(), over: Some(key(1)) });
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
}

fn knows_the_part(lsp: &Lsp) -> bool {
    lsp.service().known_parts().any(|part| part.id == id(1))
}

/// The node forgot a claim and shows the HTLC at the client. Its client claims it again when the outcome is old; the node may
/// die before it has saved that, and report the claim once more.
#[test]
fn case_X04_a_claim_that_is_told_again_late_is_known_for_as_long_as_the_node_may_forget_it() {
    let mut lsp = sent();
    lsp.feed(claim(key(1)));
    lsp.restarts();
    lsp.feed(Input::PartAtClient { part: id(1), is_there: true });
    lsp.wait_until(NOON + Duration::from_secs(3_600));
    lsp.feed(claim(key(1)));
    assert!(knows_the_part(&lsp), "the node has not saved it yet");
    lsp.wait_until(NOON + Duration::from_secs(3_600 + 601));
    assert!(!knows_the_part(&lsp));
}

/// The process is down for an hour after a claim, and its node starts from an older state.
#[test]
fn case_X04_an_outcome_is_known_after_a_start_for_as_long_as_the_node_may_forget_it() {
    let mut lsp = sent();
    lsp.feed(claim(key(1)));
    lsp.restarts_before_its_node();
    lsp.wait_until(NOON + Duration::from_secs(3_600));
    lsp.feed(claim(key(1)));
    lsp.feed(Input::NodeCaughtUp);
    assert!(knows_the_part(&lsp), "the node has not saved what it told");
    lsp.wait_until(NOON + Duration::from_secs(3_600 + 601));
    assert!(!knows_the_part(&lsp));
}

//! Strangers who choose every value that an event carries.

use std::time::Duration;

use lsps_service::{BookTotals, ChannelEnd, ChannelKey, Config, FlowId, HeldHtlc, Input, Trust, WhichPart};
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, call, peer};
use lsps_types::bolt4::FailureCode::{TemporaryChannelFailure, UnknownNextPeer};
use lsps_types::jsonrpc::Refusal;
use lsps_types::lsps2::{Buy, GetInfo};
use lsps_types::{Msat, PaymentHash};

use crate::{FEE, OTHER_SCID, SCID, SIZE, fails, forwards, id, key, lsp_with_offer, minutes, of_parts, offered, opens};

const HALF: Msat = Msat(SIZE.0 / 2);
const ONE_SAT: Msat = Msat(1_000);

/// An HTLC with the id of part 1.
fn by_the_same_name(hash: u8, amount_in: Msat, onion_amount: Msat) -> HeldHtlc {
    let payment_hash = PaymentHash([hash; 32]);
    HeldHtlc { part: id(1), scid: SCID, payment_hash, amount_in, onion_amount, cltv_expiry: None }
}

/// The whole payment was forwarded and is at the client.
fn sent(setup: LspSetup) -> Lsp {
    let mut lsp = offered(Some(SIZE), setup);
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(of_parts(opens(&mut lsp)), [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
    lsp
}

fn is_gone_from_the_client(lsp: &mut Lsp, part: u8) {
    lsp.feed(Input::PartAtClient { part: id(part), is_there: false });
}

/// Once a part is forwarded its id is free at the node: an upstream node sends the onion again and pays 1 sat for it.
#[test]
fn case_X01_the_same_onion_again_is_forwarded_only_for_the_same_money_and_in_place_of_the_first() {
    let mut lsp = sent(LspSetup::default());
    for again in [by_the_same_name(1, ONE_SAT, SIZE), by_the_same_name(1, SIZE, SIZE)] {
        lsp.htlc(again);
        assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "the first is with the client: {again:?}");
    }
    is_gone_from_the_client(&mut lsp, 1);
    let (little, much) = (by_the_same_name(1, Msat(SIZE.0 - 1), SIZE), by_the_same_name(1, Msat(SIZE.0 + 5), SIZE));
    for again in [little, much, by_the_same_name(2, SIZE, SIZE), by_the_same_name(1, SIZE, HALF)] {
        lsp.htlc(again);
        assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "it is another HTLC: {again:?}");
    }
    lsp.htlc(by_the_same_name(1, SIZE, SIZE));
    assert_eq!(lsp.acts(), [forwards(1, SIZE.0 - FEE.0, FEE.0)], "it brings what the first brought");
}

/// After a crash, or while the client's channels are not usable, the HTLC that the node holds under a part's id need
/// not be the one on record.
#[test]
fn case_X01_what_is_still_held_by_the_name_of_a_part_has_to_bring_what_the_part_brought() {
    let mut lsp = sent(LspSetup::default());
    lsp.feed(Input::PartStillHeld { part: id(1), amount_in: SIZE });
    assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "the first is with the client");
    is_gone_from_the_client(&mut lsp, 1);
    for another in [ONE_SAT, Msat(SIZE.0 + 5)] {
        lsp.feed(Input::PartStillHeld { part: id(1), amount_in: another });
        assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)]);
    }
    lsp.feed(Input::PartStillHeld { part: id(1), amount_in: SIZE });
    lsp.feed(Input::ChannelsUsable { peer: peer(1) });
    assert_eq!(lsp.acts(), [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
    lsp.claimed(id(1));
    lsp.feed(Input::PartStillHeld { part: id(1), amount_in: SIZE });
    assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)], "claimed: another HTLC");
}

/// Found by random testing: the record took the incoming amount of another HTLC with the onion of a part that was claimed,
/// so that the claim was not recognized, and counted for an equal part of another offer.
#[test]
fn case_X01_more_money_by_the_name_of_a_part_does_not_hide_its_claim() {
    let more = Msat(SIZE.0 + 5);
    let others: [fn(&mut Lsp, Msat); 2] = [
        |lsp, more| lsp.feed(Input::PartStillHeld { part: id(1), amount_in: more }),
        |lsp, more| lsp.htlc(by_the_same_name(1, more, SIZE)),
    ];
    for other in others {
        let mut lsp = sent(LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
        is_gone_from_the_client(&mut lsp, 1);
        other(&mut lsp, more);
        assert_eq!(of_parts(lsp.acts()), [fails(1, UnknownNextPeer)]);
        lsp.feed(claims(Msat(SIZE.0 - FEE.0), Some(SIZE), Some(FEE)));
        lsp.acts();
        let totals = BookTotals::of(lsp.book());
        assert_eq!((totals.earned, totals.surplus), (FEE, Msat(0)));
    }
}

/// The claim of the first HTLC is reported while another HTLC with the same onion is held in its place, or is about to
/// be failed.
#[test]
fn case_X01_what_waits_in_the_place_of_a_part_that_was_claimed_is_failed() {
    for expires in [false, true] {
        let mut lsp = sent(LspSetup::default());
        is_gone_from_the_client(&mut lsp, 1);
        lsp.htlc(by_the_same_name(1, SIZE, SIZE));
        assert_eq!(lsp.acts(), [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
        lsp.feed(Input::PartAtClient { part: id(1), is_there: false });
        lsp.disconnects(peer(1));
        lsp.feed(Input::PartStillHeld { part: id(1), amount_in: SIZE });
        lsp.acts();
        if expires {
            lsp.is_slow_to_fail = true;
            lsp.wait_until(minutes(5));
            assert_eq!(lsp.acts(), [fails(1, TemporaryChannelFailure)]);
            lsp.is_slow_to_fail = false;
        }
        lsp.claimed(id(1));
        let now = if expires { vec![] } else { vec![fails(1, UnknownNextPeer)] };
        assert_eq!(of_parts(lsp.acts()), now, "that was the first one");
        assert_eq!(BookTotals::of(lsp.book()).earned, FEE);
        lsp.restarts();
        assert_eq!(of_parts(lsp.acts()), [], "it is done");
    }
}

#[test]
fn case_X01_a_held_part_whose_place_another_htlc_took_counts_no_longer() {
    let others: [fn(&mut Lsp); 3] = [
        |lsp| lsp.htlc(by_the_same_name(1, ONE_SAT, HALF)),
        |lsp| lsp.htlc(by_the_same_name(2, SIZE, HALF)),
        |lsp| lsp.feed(Input::PartStillHeld { part: id(1), amount_in: ONE_SAT }),
    ];
    for other in others {
        let mut lsp = lsp_with_offer(Some(SIZE));
        lsp.part(1, SCID, 1, HALF);
        other(&mut lsp);
        assert_eq!(lsp.acts(), [fails(1, UnknownNextPeer)]);
        lsp.part(2, SCID, 1, HALF);
        assert_eq!(lsp.acts(), [], "half is not enough");
        lsp.part(3, SCID, 1, HALF);
        assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]));
    }
}

fn claims(amount: Msat, amount_in: Option<Msat>, skim: Option<Msat>) -> Input {
    claims_over(amount, amount_in, skim, None)
}

fn claims_over(amount: Msat, amount_in: Option<Msat>, skim: Option<Msat>, over: Option<ChannelKey>) -> Input {
    Input::PartForwarded { part: WhichPart::Sent { to: peer(1), amount, amount_in, skim }, over }
}

/// The client holds the JIT part. It pays itself the same amount in an ordinary payment, claims that and fails the
/// part.
#[test]
fn case_X04_a_claim_that_looks_alike_neither_earns_nor_publishes() {
    let out = Msat(SIZE.0 - FEE.0);
    let look_alikes = [
        claims(out, Some(Msat(out.0 + 1_000)), None),
        claims(out, Some(SIZE), Some(Msat(FEE.0 - 1))),
        claims(out, None, Some(Msat(FEE.0 + 1))),
        claims(out, Some(Msat(SIZE.0 - 1)), Some(FEE)),
    ];
    for look_alike in look_alikes {
        let mut lsp = sent(LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
        lsp.feed(look_alike.clone());
        assert_eq!(lsp.acts(), [], "{look_alike:?}");
        lsp.failed_by_client(id(1));
        assert_eq!(lsp.acts(), [Act::Abandon(key(1))]);
        lsp.feed(look_alike);
        let totals = BookTotals::of(lsp.book());
        assert_eq!((lsp.acts(), totals.earned, totals.lost), (vec![], Msat(0), FEE));
    }
}

/// LDK 0.2 reports a claim in one of these forms: normal, with the upstream channel closed, claimed on-chain, or both.
#[test]
fn case_X04_a_claim_earns_in_whatever_shape_it_is_told() {
    let out = Msat(SIZE.0 - FEE.0);
    let own = Some(key(1));
    let shapes = [(Some(SIZE), Some(FEE), None), (None, Some(FEE), None), (Some(SIZE), None, None), (None, None, own)];
    for (told_in, skim, over) in shapes {
        let mut lsp = sent(LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
        for _ in 0..2 {
            lsp.feed(claims_over(out, told_in, skim, over));
        }
        assert_eq!(lsp.acts(), [Act::Broadcast(key(1))]);
        assert_eq!(BookTotals::of(lsp.book()).earned, FEE);
    }
}

/// An accomplice closes its own channel to the LSP while an ordinary payment of the same amount is on its way to the
/// client. The node then reports neither the incoming amount nor the skimmed fee.
#[test]
fn case_X04_a_claim_of_which_the_node_tells_no_money_earns_over_its_own_channel_only() {
    let out = Msat(SIZE.0 - FEE.0);
    let another = ChannelKey { flow: FlowId::JitChannel(OTHER_SCID), attempt: 1 };
    for over in [None, Some(another)] {
        let mut lsp = sent(LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
        lsp.feed(claims_over(out, None, None, over));
        assert_eq!(lsp.acts(), [], "nothing is published");
        assert_eq!(BookTotals::of(lsp.book()).earned, Msat::ZERO);
    }
}

/// Two equal halves are at the client, which claimed the first; the process dies. The node reports the claim again, or
/// has forgotten it and the client repeats it. The amounts of the halves are the least that the channel carries, so that
/// the service cannot send amounts that differ.
fn one_of_two_equal_halves_is_claimed(trust: Trust) -> Lsp {
    let config = Config { htlc_minimum: Msat(HALF.0 - HALF_FEE.0), ..Config::default() };
    let mut lsp = offered(Some(SIZE), LspSetup { config, trust, ..LspSetup::default() });
    lsp.part(1, SCID, 1, HALF);
    lsp.part(2, SCID, 1, HALF);
    opens(&mut lsp);
    lsp.feed(claims_a_half());
    assert_eq!(BookTotals::of(lsp.book()).earned, HALF_FEE);
    lsp.restarts();
    lsp.acts();
    lsp
}

const HALF_FEE: Msat = Msat(FEE.0 / 2);

fn claims_a_half() -> Input {
    claims_over(Msat(HALF.0 - HALF_FEE.0), Some(HALF), Some(HALF_FEE), Some(key(1)))
}

/// The host reports the claim. Before that it reports which equal parts the node shows at the client, as `parts_like`
/// requires.
fn told_with_whereabouts(lsp: &mut Lsp, at_client: usize) {
    let Input::PartForwarded { part: claimed, .. } = claims_a_half() else { unreachable!("it is a claim") };
    let like: Vec<_> = lsp.service().parts_like(claimed).collect();
    assert!(like.iter().all(|part| part.sent.is_some() && part.amount_in == HALF));
    for (number, part) in like.iter().enumerate() {
        lsp.feed(Input::PartAtClient { part: part.id, is_there: number < at_client });
    }
    lsp.feed(claims_a_half());
}

#[test]
fn case_X04_a_claim_that_is_told_again_is_not_that_of_an_equal_part_which_is_with_the_client() {
    for trust in [Trust::LspTrustsClient, Trust::ClientTrustsLsp] {
        let mut lsp = one_of_two_equal_halves_is_claimed(trust);
        for _ in 0..2 {
            told_with_whereabouts(&mut lsp, 1);
            assert_eq!(BookTotals::of(lsp.book()).earned, HALF_FEE, "the node shows the second half at the client");
        }
        lsp.failed_by_client(id(2));
        let totals = BookTotals::of(lsp.book());
        assert_eq!((totals.earned, totals.lost), (HALF_FEE, HALF_FEE));

        let mut lsp = one_of_two_equal_halves_is_claimed(trust);
        told_with_whereabouts(&mut lsp, 0);
        assert_eq!(BookTotals::of(lsp.book()).earned, FEE, "the second half is not there any more");
    }
}

/// The node has forgotten the claim and shows both halves at the client after the start. Then the client repeats the
/// claim and fails the other half before any of it is reported.
#[test]
fn case_X04_a_claim_that_the_node_forgot_counts_once_whatever_becomes_of_an_equal_part() {
    let mut lsp = one_of_two_equal_halves_is_claimed(Trust::ClientTrustsLsp);
    let known: Vec<_> = lsp.service().known_parts().map(|part| (part.id, part.sent, part.claimed)).collect();
    let net = Some(Msat(HALF.0 - HALF_FEE.0));
    assert_eq!(known, [(id(1), None, net), (id(2), net, None)]);
    for part in [1, 2] {
        lsp.feed(Input::PartAtClient { part: id(part), is_there: true });
    }
    lsp.feed(Input::NodeCaughtUp);
    told_with_whereabouts(&mut lsp, 0);
    assert_eq!(BookTotals::of(lsp.book()).earned, HALF_FEE);
    told_with_whereabouts(&mut lsp, 0);
    assert_eq!(BookTotals::of(lsp.book()).earned, FEE, "another one is that of the second half");
}

/// The node's report that a part is at the client applies to the next reported claim only, not to later ones.
#[test]
fn case_X04_an_equal_part_that_was_with_the_client_a_while_ago_may_be_claimed() {
    let mut lsp = one_of_two_equal_halves_is_claimed(Trust::LspTrustsClient);
    lsp.feed(Input::PartAtClient { part: id(2), is_there: true });
    lsp.feed(Input::Tick);
    lsp.feed(claims_a_half());
    assert_eq!(BookTotals::of(lsp.book()).earned, FEE);
}

/// A stranger sends 50 parts of 1 msat, with 50 payment hashes or with one, and the payer sends four parts.
#[test]
fn case_X11_junk_keeps_no_payment_out() {
    for hash_of in [|junk: u8| junk, |_| 100, |_| 1] {
        let mut lsp = lsp_with_offer(Some(SIZE));
        for junk in 100..150 {
            lsp.part(junk, SCID, hash_of(junk), Msat(1));
        }
        assert_eq!(lsp.acts(), [], "they fill the offer");
        lsp.part(150, SCID, 150, Msat(1));
        assert_eq!(lsp.acts(), [fails(150, UnknownNextPeer)], "one more of the same gets nothing");
        for part in 1..=4 {
            lsp.part(part, SCID, 1, Msat(SIZE.0 / 4));
        }
        let acts = lsp.acts();
        assert!(acts.iter().any(|act| matches!(act, Act::Open { .. })), "{acts:?}");
        assert!(acts.iter().all(|act| !matches!(act, Act::Fail { part, .. } if part.0[0] < 100)), "{acts:?}");
    }
}

/// A stranger makes the LSP remember parts, each a little larger than the one that it displaces. They are forgotten
/// when a payment needs the room.
#[test]
fn case_X11_outcomes_of_junk_keep_no_payment_out() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    for junk in 0..2_000_u32 {
        let (mut part, mut hash) = ([200; 32], [200; 32]);
        part[..4].copy_from_slice(&junk.to_be_bytes());
        hash[..4].copy_from_slice(&junk.to_be_bytes());
        let amount = Msat(1 + u64::from(junk));
        let (part, payment_hash) = (lsps_service::PartId(part), PaymentHash(hash));
        lsp.htlc(HeldHtlc {
            part,
            scid: SCID,
            payment_hash,
            amount_in: amount,
            onion_amount: amount,
            cltv_expiry: None,
        });
    }
    assert_eq!(lsp.service().known_parts().count(), lsps_service::Limits::default().known_parts_per_offer);
    lsp.acts();
    lsp.part(1, SCID, 1, SIZE);
    assert!(lsp.acts().iter().any(|act| matches!(act, Act::Open { .. })));
}

/// A payment that is under way does not lose a part to a larger one.
#[test]
fn case_X11_a_payment_under_way_gives_way_to_nothing() {
    let mut setup = LspSetup::default();
    setup.config.limits.parts_per_offer = 2;
    let mut lsp = offered(Some(SIZE), setup);
    lsp.part(1, SCID, 1, HALF);
    lsp.part(2, SCID, 1, HALF);
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]));
    lsp.part(3, SCID, 2, Msat(2 * SIZE.0));
    lsp.part(4, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [fails(3, UnknownNextPeer), fails(4, UnknownNextPeer)]);
}

/// The LSP must publish a channel that it opened on trust as soon as the client claims anything over it.
#[test]
fn case_X06_a_channel_on_trust_carries_nothing_else_until_its_fee_is_paid() {
    let mut lsp = sent(LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
    assert!(!lsp.carries_others(key(1)));
    lsp.claimed(id(1));
    assert!(lsp.carries_others(key(1)));
    let lsp = sent(LspSetup::default());
    assert!(lsp.carries_others(key(1)), "one that is published anyway");
}

#[test]
fn case_X06_a_fee_that_is_paid_in_part_opens_the_channel_to_nobody_else() {
    let mut lsp = offered(Some(SIZE), LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
    lsp.part(1, SCID, 1, HALF);
    lsp.part(2, SCID, 1, HALF);
    opens(&mut lsp);
    lsp.claimed(id(1));
    assert!(!lsp.carries_others(key(1)));
    lsp.claimed(id(2));
    assert!(lsp.carries_others(key(1)));
}

/// A channel that was claimed over, or whose fee was paid in part, is published. Once nobody can pay the rest of the
/// fee, the LSP gains nothing by keeping the client's other payments off the channel.
#[test]
fn case_X06_a_published_channel_is_open_to_others_once_its_offer_is_over() {
    let on_trust = || LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() };
    let used = || {
        let mut lsp = sent(on_trust());
        let ordinary = WhichPart::Sent { to: peer(1), amount: Msat(1_000), amount_in: Some(Msat(1_001)), skim: None };
        lsp.feed(Input::PartForwarded { part: ordinary, over: Some(key(1)) });
        lsp.failed_by_client(id(1));
        lsp
    };
    let partly_paid = || {
        let mut lsp = offered(Some(SIZE), on_trust());
        lsp.part(1, SCID, 1, HALF);
        lsp.part(2, SCID, 1, HALF);
        opens(&mut lsp);
        lsp.claimed(id(1));
        lsp.failed_by_client(id(2));
        lsp
    };
    for published in [&used as &dyn Fn() -> Lsp, &partly_paid] {
        let mut lsp = published();
        lsp.wait_until(minutes(59));
        lsp.restarts();
        assert!(!lsp.carries_others(key(1)), "the fee may still be paid");
        lsp.wait_until(minutes(60));
        assert!(lsp.carries_others(key(1)));

        let mut lsp = published();
        lsp.feed(Input::FundingConfirmed { key: key(1) });
        lsp.restarts_before_its_node();
        lsp.wait_until(minutes(24 * 60));
        lsp.feed(Input::NodeCaughtUp);
        assert!(lsp.carries_others(key(1)), "the process was away for so long that the offer was to be forgotten");
        lsp.wait_until(minutes(24 * 60 + 10));
        assert!(lsp.records().is_empty(), "and is, once the node has surely saved that");
    }
}

/// The client has another channel, over which an accomplice pays it 1 sat. The node sends that payment over the channel
/// on trust, as the smallest that fits, and once it is claimed the channel has to be published. The client then fails
/// the part that would have paid the fee.
#[test]
fn case_X06_who_had_a_channel_on_trust_published_without_its_fee_gets_no_other_on_trust() {
    let mut lsp = sent(LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
    let ordinary = WhichPart::Sent { to: peer(1), amount: Msat(1_000), amount_in: Some(Msat(1_001)), skim: None };
    lsp.feed(Input::PartForwarded { part: ordinary, over: Some(key(1)) });
    assert_eq!(lsp.acts(), [Act::Broadcast(key(1))], "the client has 1 sat in it");
    lsp.failed_by_client(id(1));
    let menu = call(&mut lsp, peer(1), &GetInfo { token: None }).expect("a menu");
    let opening_fee_params = menu.opening_fee_params_menu.into_iter().next().expect("an entry");
    let buy = Buy { opening_fee_params, payment_size_msat: Some(SIZE) };
    let refused = call(&mut lsp, peer(1), &buy).expect_err("it owes a fee");
    assert!(matches!(refused.refusal, Refusal::ClientRejected(Some(_))), "{refused:?}");
    assert!(call(&mut lsp, peer(2), &buy).is_err(), "a promise is for one client");
    lsp.part(2, SCID, 1, SIZE);
    lsp.claimed(id(2));
    assert!(call(&mut lsp, peer(1), &buy).is_ok(), "it paid");
}

/// The client buys many channels at once, and does the same with one after the other.
#[test]
fn case_X06_who_owes_the_fee_of_a_channel_on_trust_gets_none_that_it_bought_before() {
    let mut lsp = offered(Some(SIZE), LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
    assert_eq!(buys(&mut lsp, peer(1), Some(SIZE)).jit_channel_scid, OTHER_SCID);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    let ordinary = WhichPart::Sent { to: peer(1), amount: Msat(1_000), amount_in: Some(Msat(1_001)), skim: None };
    lsp.feed(Input::PartForwarded { part: ordinary, over: Some(key(1)) });
    lsp.failed_by_client(id(1));
    lsp.acts();
    lsp.part(2, OTHER_SCID, 2, SIZE);
    assert_eq!(lsp.acts(), [fails(2, UnknownNextPeer)]);
    lsp.part(3, SCID, 3, SIZE);
    lsp.claimed(id(3));
    lsp.acts();
    lsp.part(4, OTHER_SCID, 4, SIZE);
    assert!(matches!(lsp.acts()[..], [Act::Open { .. }]), "it paid");
}

/// The client could claim the excess part only, and have its channel published for little or no fee.
#[test]
fn case_X06_what_comes_on_top_of_a_whole_payment_does_not_get_to_a_client_on_trust() {
    let setup = || LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() };
    let refused = |part| [Act::Fail { part: id(part), code: TemporaryChannelFailure }];
    let mut lsp = sent(setup());
    lsp.acts();
    lsp.part(2, SCID, 1, Msat(SIZE.0 / 10));
    assert_eq!(lsp.acts(), refused(2), "the whole is with the client");
    lsp.failed_by_client(id(1));
    lsp.acts();

    let mut lsp = offered(Some(SIZE), setup());
    lsp.part(1, SCID, 1, Msat(SIZE.0 - 1));
    lsp.part(2, SCID, 1, Msat(SIZE.0 + 2));
    assert_eq!(lsp.acts(), refused(2), "more than twice the size");
    lsp.part(3, SCID, 1, SIZE);
    assert!(matches!(lsp.acts()[..], [Act::Open { .. }]), "payers may overpay");
    lsp.part(4, SCID, 1, Msat(1_000));
    assert_eq!(lsp.acts(), refused(4), "the channel is being opened");

    let mut lsp = sent(LspSetup::default());
    lsp.acts();
    lsp.part(2, SCID, 1, Msat(SIZE.0 / 10));
    assert!(matches!(lsp.acts()[..], [Act::Forward { .. }]), "a channel that is published anyway");
}

/// A set may come to twice its size, as payers may overpay. A client that claims the size or more pays at least half
/// the fee, less the satoshi by which parts are told apart, and the rest stays due.
#[test]
fn case_X06_who_is_sent_twice_the_size_and_claims_it_once_pays_half_the_fee_and_owes_the_rest() {
    for (parts, claims) in [([SIZE.0 - 1, SIZE.0 + 1], 2), ([1, 2 * SIZE.0 - 1], 2), ([SIZE.0 / 3, SIZE.0], 2)] {
        let mut lsp = offered(Some(SIZE), LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
        lsp.part(1, SCID, 1, Msat(parts[0]));
        lsp.part(2, SCID, 1, Msat(parts[1]));
        opens(&mut lsp);
        lsp.claimed(id(claims));
        lsp.failed_by_client(id(1));
        let totals = BookTotals::of(lsp.book());
        assert!(totals.earned >= Msat(FEE.0 / 2 - 1_000), "{parts:?}: {} msat", totals.earned.0);
        lsp.acts();
        lsp.part(3, SCID, 2, SIZE);
        let rest = FEE.0 - totals.earned.0;
        assert_eq!(of_parts(lsp.acts()), [forwards(3, SIZE.0 - rest, rest)]);
    }
}

/// The channel of one payment waits while another payment of its client may be on it. It can be abandoned when that
/// payment comes back, although the node reports nothing about the channel.
#[test]
fn what_may_have_gone_over_a_channel_and_came_back_lets_go_of_it() {
    let mut lsp = offered(Some(SIZE), LspSetup { trust: Trust::ClientTrustsLsp, ..LspSetup::default() });
    assert_eq!(buys(&mut lsp, peer(1), Some(SIZE)).jit_channel_scid, OTHER_SCID);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    lsp.part(2, OTHER_SCID, 2, SIZE);
    let other = ChannelKey { flow: FlowId::JitChannel(OTHER_SCID), attempt: 1 };
    lsp.funding_signed(other);
    lsp.channel_ready(other);
    lsp.acts();
    lsp.failed_by_client(id(1));
    assert_eq!(lsp.acts(), [], "the other payment may be on it");
    lsp.failed_by_client(id(2));
    let acts = lsp.acts();
    assert!(acts.contains(&Act::Abandon(key(1))) && acts.contains(&Act::Abandon(other)), "{acts:?}");
}

/// The offer ends while its channel is being opened. Its payment and later ones are failed.
#[test]
fn an_offer_that_ends_in_the_middle_of_an_open_whose_payment_goes_opens_nothing_more() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.wait_until(NOON + Duration::from_secs(3_580));
    lsp.part(1, SCID, 1, SIZE);
    lsp.acts();
    lsp.wait_until(NOON + Duration::from_secs(3_600));
    lsp.channel_ends(key(1), ChannelEnd::TryAgain);
    assert!(matches!(lsp.acts().as_slice(), [Act::Fail { .. }]), "no set is complete in time any more");
    lsp.part(2, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [fails(2, UnknownNextPeer)]);
}

/// The payer retries in two parts before its first attempt is known to have failed. Half of the retry alone is no
/// complete payment.
#[test]
fn case_X18_a_try_that_is_gone_completes_no_other() {
    let mut lsp = sent(LspSetup::default());
    is_gone_from_the_client(&mut lsp, 1);
    lsp.part(2, SCID, 1, HALF);
    assert_eq!(lsp.acts(), [], "alone");
    lsp.feed(Input::Tick);
    assert_eq!(lsp.acts(), []);
    lsp.part(3, SCID, 1, HALF);
    assert_eq!(lsp.acts(), [], "the first may have been claimed");
    lsp.failed_by_client(id(1));
    let forwarded = |acts: Vec<Act>| -> (u64, u64) {
        let parts = acts.iter().map(|act| match act {
            Act::Forward { amount, extra_fee, .. } => (amount.0, extra_fee.0),
            other => panic!("{other:?}"),
        });
        parts.fold((0, 0), |(amount, fee), (a, f)| (amount + a, fee + f))
    };
    assert_eq!(forwarded(lsp.acts()), (SIZE.0 - FEE.0, FEE.0), "both, with the fee");
    lsp.claimed(id(2));
    lsp.claimed(id(3));
    lsp.part(4, SCID, 2, ONE_SAT);
    assert_eq!(lsp.acts(), [forwards(4, ONE_SAT.0, 0)], "the fee is paid");
}

/// One of two parts of the first attempt is known to have failed. The other is gone as well, but does not count towards
/// the next attempt.
#[test]
fn case_X18_half_of_a_try_that_is_gone_completes_no_other() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, HALF);
    lsp.part(2, SCID, 1, HALF);
    opens(&mut lsp);
    lsp.failed_by_client(id(1));
    is_gone_from_the_client(&mut lsp, 2);
    lsp.part(3, SCID, 1, HALF);
    assert_eq!(lsp.acts(), []);
    lsp.disconnects(peer(1));
    lsp.restarts();
    is_gone_from_the_client(&mut lsp, 2);
    lsp.connects(peer(1));
    assert!(of_parts(lsp.acts()).iter().all(|act| !matches!(act, Act::Forward { part, .. } if *part == id(3))));
    lsp.feed(Input::PartAtClient { part: id(2), is_there: true });
    assert!(matches!(lsp.acts()[..], [Act::Forward { part, .. }] if part == id(3)), "it is there after all");
}

#[test]
fn case_X18_a_payment_of_any_size_that_is_tried_again_for_another_amount_pays_the_fee_of_that() {
    let mut lsp = lsp_with_offer(None);
    lsp.part(1, SCID, 1, SIZE);
    opens(&mut lsp);
    is_gone_from_the_client(&mut lsp, 1);
    lsp.part(2, SCID, 1, Msat(2 * SIZE.0));
    assert_eq!(lsp.acts(), [], "the first may have been claimed");
    lsp.failed_by_client(id(1));
    assert_eq!(of_parts(lsp.acts()), [forwards(2, 2 * (SIZE.0 - FEE.0), 2 * FEE.0)]);
}

/// Equal parts are sent amounts that differ, so that a claim which is told again after a crash is not taken for that of the
/// other part, which is gone as well.
#[test]
fn case_X04_a_claim_that_is_told_again_is_not_that_of_an_equal_part() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, HALF);
    lsp.part(2, SCID, 1, HALF);
    let forwarded: Vec<(Msat, Msat)> = of_parts(opens(&mut lsp))
        .iter()
        .filter_map(
            |act| if let Act::Forward { amount, extra_fee, .. } = act { Some((*amount, *extra_fee)) } else { None },
        )
        .collect();
    let [(amount, skim), (other, _)] = forwarded[..] else { panic!("{forwarded:?}") };
    assert_ne!(amount, other);
    let part = WhichPart::Sent { to: peer(1), amount, amount_in: Some(HALF), skim: Some(skim) };
    let claim = Input::PartForwarded { part, over: Some(key(1)) };
    lsp.feed(claim.clone());
    is_gone_from_the_client(&mut lsp, 2);
    lsp.restarts_before_its_node();
    is_gone_from_the_client(&mut lsp, 2);
    lsp.feed(claim);
    assert_eq!(BookTotals::of(lsp.book()).earned, skim, "once");
}

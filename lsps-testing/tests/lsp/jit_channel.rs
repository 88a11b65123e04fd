//! JIT channels at the LSP, as stories: the first payment, part by part.

use std::collections::BTreeSet;
use std::time::Duration;

use lsps_service::{Config, HeldHtlc, Input, OfferTerms, WhichPart};
use lsps_testing::{Act, Lsp, LspSetup, NOON, buys, peer};
use lsps_types::bolt4::FailureCode;
use lsps_types::{Msat, PaymentHash, Ppm, Scid};

use crate::{FEE, SCID, SIZE, fails, forwards, id, key, lsp_with_offer, opens};

/// The claim as a node reports it that knows neither the part nor the amount that came in.
fn claim(amount: Msat) -> Input {
    Input::PartForwarded {
        part: WhichPart::Sent { to: peer(1), amount, amount_in: None, skim: None },
        over: Some(key(1)),
    }
}

/// L2-126
#[test]
fn case_J01_one_two_or_ten_parts_open_one_channel_and_lose_the_fee_once() {
    for parts in [1, 2, 10] {
        let mut lsp = lsp_with_offer(Some(SIZE));
        for part in 0..parts {
            lsp.part(part, SCID, 1, Msat(SIZE.0 / u64::from(parts)));
        }
        let acts = lsp.acts();
        let [Act::Open { terms, .. }] = acts[..] else { panic!("{acts:?}") };
        assert_eq!((terms.deliver.0, terms.confirmations), (SIZE.0 - FEE.0, 0));
        let acts = opens(&mut lsp);
        let (mut out, mut kept) = (0, 0);
        for act in &acts[1..] {
            let Act::Forward { amount, extra_fee, .. } = act else { panic!("{act:?}") };
            (out, kept) = (out + amount.0, kept + extra_fee.0);
        }
        assert_eq!((acts.len() - 1, out, kept), (usize::from(parts), SIZE.0 - FEE.0, FEE.0));
        let fair = FEE.0 / u64::from(parts);
        let most = 1_000 * u64::from(parts); // a satoshi for each other part
        let pays = |act: &Act| matches!(act, Act::Forward { extra_fee, .. } if extra_fee.0.abs_diff(fair) < most);
        assert!(acts[1..].iter().all(pays), "each part pays its share: {acts:?}");
        let amounts: BTreeSet<u64> = acts[1..]
            .iter()
            .filter_map(|act| if let Act::Forward { amount, .. } = act { Some(amount.0 / 1_000) } else { None })
            .collect();
        assert_eq!(
            amounts.len(),
            usize::from(parts),
            "a claim is told by its amount, on the chain in satoshis: {acts:?}"
        );
    }
}

#[test]
fn case_J02_the_fee_counts_once_from_recorded_skims_however_the_claim_is_told() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(600_000_000));
    lsp.part(2, SCID, 1, Msat(400_000_000));
    lsp.acts();
    opens(&mut lsp);
    // The claim is reported by its amount only, as by a node that knows no part; then the same event comes again.
    for _ in 0..2 {
        lsp.feed(claim(Msat(599_280_000)));
    }
    lsp.claimed(id(2));
    // The fee is paid, so the next payment is forwarded in full.
    lsp.part(3, SCID, 2, Msat(5_000_000));
    assert_eq!(lsp.acts(), [forwards(3, 5_000_000, 0)]);
}

#[test]
fn case_J02_a_claim_told_after_the_part_was_taken_for_failed_still_pays() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    lsp.acts();
    opens(&mut lsp);
    lsp.failed_by_client(id(1));
    lsp.feed(claim(Msat(SIZE.0 - FEE.0)));
    lsp.part(2, SCID, 2, Msat(5_000_000));
    // The LSP does not charge the fee of a claimed part again, even if the claim is reported late: it keeps no more
    // than promised.
    lsp.part(3, SCID, 2, Msat(995_000_000));
    let kept: u64 =
        lsp.acts().iter().map(|act| if let Act::Forward { extra_fee, .. } = act { extra_fee.0 } else { 0 }).sum();
    assert_eq!(kept, 0);
}

#[test]
fn case_J03_parts_are_told_apart_by_the_nodes_own_name_for_them() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    // Two upstream channels number their HTLCs alike; the node reports different ids for them.
    lsp.part(1, SCID, 1, Msat(SIZE.0 / 2));
    lsp.part(2, SCID, 1, Msat(SIZE.0 / 2));
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]));
}

#[test]
fn case_J04_a_part_told_again_is_held_asked_again_or_failed_as_its_state_says() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(400_000_000));
    lsp.part(1, SCID, 1, Msat(400_000_000));
    assert_eq!(lsp.acts(), [], "held: counted once");
    lsp.feed(Input::PartGone { part: id(1) });
    lsp.part(1, SCID, 1, SIZE);
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]), "gone before: a fresh part");
    assert_eq!(opens(&mut lsp)[1..], [forwards(1, SIZE.0 - FEE.0, FEE.0)]);
    lsp.feed(Input::PartAtClient { part: id(1), is_there: false });
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [forwards(1, SIZE.0 - FEE.0, FEE.0)], "sent and nowhere: asked again, same amount");
    lsp.claimed(id(1));
    lsp.part(1, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [fails(1, FailureCode::UnknownNextPeer)], "claimed: another HTLC with the same onion");
}

#[test]
fn case_J05_a_part_that_brings_less_than_its_onion_asks_fails_alone() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    let (part, payment_hash) = (id(9), PaymentHash([1; 32]));
    lsp.htlc(HeldHtlc {
        part,
        scid: SCID,
        payment_hash,
        amount_in: Msat(SIZE.0 - 1),
        onion_amount: SIZE,
        cltv_expiry: None,
    });
    assert_eq!(lsp.acts(), [fails(9, FailureCode::UnknownNextPeer)]);
    lsp.part(1, SCID, 1, SIZE);
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { .. }]), "the offer is unharmed");
}

#[test]
fn case_J06_parts_to_an_offer_that_is_over_fail_and_unknown_scids_are_not_ours() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, Scid(9 << 40), 1, SIZE);
    assert_eq!(lsp.acts(), [Act::NotMine(id(1))]);
    lsp.wait_until(NOON + Duration::from_secs(3_600));
    lsp.part(2, SCID, 1, SIZE);
    assert_eq!(lsp.acts(), [fails(2, FailureCode::UnknownNextPeer)], "expired");

    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, SIZE);
    lsp.acts();
    opens(&mut lsp);
    lsp.claimed(id(1));
    lsp.channel_ends(key(1), lsps_service::ChannelEnd::Closed);
    lsp.part(2, SCID, 2, SIZE);
    assert_eq!(lsp.acts(), [fails(2, FailureCode::UnknownNextPeer)], "its channel is closed");
}

#[test]
fn case_J11_the_fee_of_an_overpaid_set_is_that_of_the_agreed_size() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(SIZE.0 + 77_777_777));
    lsp.acts();
    assert_eq!(opens(&mut lsp)[1..], [forwards(1, SIZE.0 + 77_777_777 - FEE.0, FEE.0)]);
}

/// L2-110
#[test]
fn case_J14_a_payment_of_any_size_is_one_part_that_can_carry_the_fee() {
    let terms = OfferTerms { min_fee: Msat(2_000_000), proportional: Ppm(4_000_000), ..LspSetup::default().terms };
    let config = Config { htlc_minimum: Msat(1_000), ..Config::default() };
    let dear = LspSetup { scids: vec![SCID], config, terms, ..LspSetup::default() };
    let refused = |amount| {
        let mut lsp = Lsp::at(NOON, dear.clone());
        buys(&mut lsp, peer(1), None);
        lsp.connects(peer(1));
        lsp.part(1, SCID, 1, Msat(amount));
        lsp.acts() == [fails(1, FailureCode::UnknownNextPeer)]
    };
    assert!(refused(4_611_686_018_427_387_904), "the fee overflows");
    assert!(refused(2_000_999), "one msat too little for fee and minimum");

    let cheap = LspSetup { terms: OfferTerms { proportional: Ppm(0), ..dear.terms.clone() }, ..dear.clone() };
    let mut lsp = Lsp::at(NOON, cheap);
    buys(&mut lsp, peer(1), None);
    lsp.connects(peer(1));
    lsp.part(1, SCID, 1, Msat(2_001_000));
    lsp.part(2, SCID, 1, Msat(2_001_000));
    let acts = lsp.acts();
    assert!(
        matches!(acts.as_slice(), [Act::Open { terms, .. }, Act::Fail { part, .. }] if *part == id(2) && terms.deliver == Msat(1_000)),
        "exactly enough opens, and a second part fails: {acts:?}"
    );
}

#[test]
fn a_process_that_dies_while_opening_asks_for_the_same_channel_again() {
    let mut lsp = lsp_with_offer(Some(SIZE));
    lsp.part(1, SCID, 1, Msat(600_000_000));
    lsp.restarts();
    assert_eq!(lsp.acts(), [], "the held part is remembered, and opens nothing");
    lsp.part(2, SCID, 1, Msat(400_000_000));
    lsp.restarts();
    assert!(matches!(lsp.acts().as_slice(), [Act::Open { key: k, .. }] if *k == key(1)), "one channel, one key");
    assert_eq!(opens(&mut lsp)[1..], [forwards(1, 599_280_000, 720_000), forwards(2, 399_520_000, 480_000)]);
}
